//! What is printed of a host and of its logs.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::One;
use crate::diagnose::Diagnosis;
use crate::doctor::{Ending, Group, State};
use crate::ident::JobId;
use crate::receipt::MachineReceipt;

/// What `wheelfarm doctor --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Doctor {
    schema: One,
    ending: Ending,
    counts: CheckCounts,
    checks: Vec<HostCheck>,
}

/// How many checks ended how.
#[derive(JsonSchema)]
pub(in crate::schema) struct CheckCounts {
    pass: u64,
    warn: u64,
    fail: u64,
    not_checked: u64,
}

/// A check of the host.
#[derive(JsonSchema)]
pub(in crate::schema) struct HostCheck {
    /// What it is about, by a stable name.
    check: String,
    group: Group,
    /// Which of several: an environment, a server, a disk.
    subject: Option<String>,
    state: State,
    /// What was found.
    seen: String,
    /// What to type; null when it passed.
    hint: Option<String>,
}

/// What `wheelfarm diagnose --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Diagnose {
    schema: One,
    /// Where it was read.
    log: String,
    /// What is on record of the job, where the log is one of the farm's.
    job: Option<FailedJob>,
    /// Whether a rule says why.
    is_known: bool,
    /// The rules that fit, the likeliest cause first.
    diagnoses: Vec<Diagnosis>,
    /// Versions that the log names, by what they are of.
    facts: BTreeMap<String, String>,
    /// For an assistant, when no rule says why.
    prompt: Option<String>,
    /// With `--assistant`.
    assistant: Option<AssistantAnswer>,
}

/// A failure on record.
#[derive(JsonSchema)]
pub(in crate::schema) struct FailedJob {
    job: String,
    stage: String,
    kind: String,
    detail: String,
    hint: Option<String>,
}

/// What an assistant answered; nothing of it was run.
#[derive(JsonSchema)]
pub(in crate::schema) struct AssistantAnswer {
    /// The command.
    name: String,
    answer: String,
}

/// What `wheelfarm diagnose --list --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct DiagnosisRules {
    schema: One,
    rules: Vec<DiagnosisRule>,
}

/// A rule, with `{slots}` for what a log says.
#[derive(JsonSchema)]
pub(in crate::schema) struct DiagnosisRule {
    id: String,
    /// `cause`, `notice` or `end`.
    kind: String,
    /// Where it is met.
    places: Vec<String>,
    /// Rules that say less of the same.
    outranks: Vec<String>,
    title: String,
    meaning: String,
    fix: String,
    sources: Vec<String>,
    examples: Vec<DiagnosisExample>,
}

/// A log that the rule fits.
#[derive(JsonSchema)]
pub(in crate::schema) struct DiagnosisExample {
    /// `made-here` or `quoted`.
    origin: String,
    /// How it was made, or its address.
    from: String,
    log: String,
}

/// What `wheelfarm gc --format json` prints, without `--from`.
#[derive(JsonSchema)]
pub(in crate::schema) struct Cleared {
    schema: One,
    dry_run: bool,
    freed_bytes: u64,
    things: Vec<Thing>,
}

/// A thing on this host that is the farm's.
#[derive(JsonSchema)]
pub(in crate::schema) struct Thing {
    kind: ThingKind,
    name: String,
    job: Option<JobId>,
    /// Null where it cannot be measured.
    size_bytes: Option<u64>,
    verdict: ThingVerdict,
    /// What it shrinks to.
    to_bytes: Option<u64>,
    why: String,
    end: ThingEnd,
    freed_bytes: Option<u64>,
    error: Option<String>,
}

/// What it is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum ThingKind {
    /// Of a build or a proof.
    Container,
    /// Of a build that runs, or was killed.
    Volume,
    /// An image that nothing names any more.
    UnnamedImage,
    /// The image of a job.
    JobImage,
    /// The image of a proof.
    ProofImage,
    /// The objects of a failed build.
    KeptVolume,
    /// A compiler cache.
    Cache,
    /// The torch or the toolkit of an environment.
    StageImage,
    /// The base that was made by debootstrap.
    BaseImage,
    /// What a failed job left.
    FailedJob,
    /// Runs in the store.
    OldRuns,
}

/// What is to become of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum ThingVerdict {
    Goes,
    Shrinks,
    Stays,
}

/// What became of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum ThingEnd {
    /// Nothing.
    Stayed,
    /// With `--dry-run`.
    Shown,
    /// It is gone, or smaller.
    Freed,
    /// It could not be cleared.
    Failed,
    /// There was room enough before its turn, or the run was stopped.
    NotReached,
}

/// What `wheelfarm prove --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Prove {
    schema: One,
    proofs: Vec<Proof>,
}

/// The proof of a wheel.
#[derive(JsonSchema)]
pub(in crate::schema) struct Proof {
    /// The wheel.
    file: String,
    /// The jobs whose record has the receipt now.
    on_record: Vec<JobId>,
    receipt: MachineReceipt,
    /// The jobs whose record keeps an earlier receipt, and why.
    stays: Vec<KeptReceipt>,
}

/// An earlier receipt that says more.
#[derive(JsonSchema)]
pub(in crate::schema) struct KeptReceipt {
    job: JobId,
    reason: String,
}
