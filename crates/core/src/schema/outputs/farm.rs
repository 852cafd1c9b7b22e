//! What is printed of the files of a farm and of what works with what.

use schemars::JsonSchema;
use serde_json::Value;

use super::One;
use crate::compat::{Answer, Index};
use crate::digest::Sha256Digest;
use crate::gpu::Capability;
use crate::ident::{JobId, PackageName};
use crate::recipe::{Manager, Refusal, TorchPick};
use crate::schema::HttpsUrl;
use crate::source::patch::{AppliedFile, Conflict, Drift};
use crate::wheel::name::WheelName;

/// What `wheelfarm compat --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Compat {
    schema: One,
    question: CompatQuestion,
    #[schemars(flatten)]
    answer: Answer,
}

/// What was asked; null for what was not.
#[derive(JsonSchema)]
pub(in crate::schema) struct CompatQuestion {
    gpu: Option<Capability>,
    torch: Option<String>,
    cuda: Option<String>,
    python: Option<String>,
}

/// What `wheelfarm resolve --environment TOOL --format json` prints.
#[derive(JsonSchema)]
#[schemars(tag = "outcome", rename_all = "kebab-case")]
pub(in crate::schema) enum Recipe {
    /// There is one: exit code 0.
    One {
        schema: One,
        tool: Manager,
        question: RecipeQuestion,
        recipe: Box<Environment>,
    },
    /// There is none: exit code 1, or 4 where it is not known.
    None {
        schema: One,
        tool: Manager,
        question: RecipeQuestion,
        refusal: Refusal,
    },
}

/// The environment as far as it was told.
#[derive(JsonSchema)]
pub(in crate::schema) struct RecipeQuestion {
    python: Option<String>,
    torch: Option<String>,
    cuda: Option<String>,
    gpus: Vec<Capability>,
    driver: Option<String>,
    glibc: Option<String>,
    machine: Option<String>,
    track: String,
    variant: Option<String>,
}

/// Versions that fit one another.
#[derive(JsonSchema)]
pub(in crate::schema) struct Environment {
    /// The file that it is written into.
    file_name: String,
    /// The file.
    text: String,
    torch: TorchPick,
    /// Of torch; null for PyPI.
    index_url: Option<HttpsUrl>,
    python: String,
    companions: Vec<Companion>,
    /// The farm's.
    wheels: Vec<RecipeWheel>,
    /// The GPUs that all of it runs on.
    gpus: Vec<Capability>,
    /// Null where it is not known.
    least_driver: Option<String>,
    /// Why a nightly is needed; null where none is.
    nightly: Option<String>,
    /// What a reader should know, a sentence each.
    notes: Vec<String>,
}

/// A package that goes with torch.
#[derive(JsonSchema)]
pub(in crate::schema) struct Companion {
    package: String,
    /// Null when none fits.
    version: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    index: Option<Index>,
    /// Why none fits.
    #[schemars(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// A wheel of the farm.
#[derive(JsonSchema)]
pub(in crate::schema) struct RecipeWheel {
    file_name: WheelName,
    sha256: Sha256Digest,
    /// Where it is.
    url: String,
}

/// What `wheelfarm watch --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Watch {
    schema: One,
    news: Vec<News>,
    not_checked: Vec<NotChecked>,
    /// How much is left out because it was told before.
    told_before: u64,
    diffs: Vec<Diff>,
}

/// Something that the matrix or a package lacks.
#[derive(JsonSchema)]
pub(in crate::schema) struct News {
    /// What it is about, by a stable name.
    kind: String,
    /// What it is of.
    subject: String,
    /// What is out there.
    there: String,
    /// What the matrix or the package has.
    here: String,
    notes: Vec<String>,
    /// Where to look.
    link: String,
    /// The same news has the same.
    fingerprint: String,
    /// Null when nothing follows from it for the matrix.
    matrix: Option<Fate>,
    /// Null when nothing follows from it for package.yaml.
    package: Option<Fate>,
}

/// Whether a change is proposed.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(in crate::schema) enum Fate {
    /// It is in the diff.
    Proposed {
        proposed: super::shelf::True,
        /// Jobs after it less jobs before it.
        jobs: i64,
    },
    /// It is not.
    LeftOut {
        proposed: super::shelf::False,
        reason: String,
    },
}

/// What could not be looked up.
#[derive(JsonSchema)]
pub(in crate::schema) struct NotChecked {
    subject: String,
    reason: String,
}

/// A proposed change of a file.
#[derive(JsonSchema)]
pub(in crate::schema) struct Diff {
    path: String,
    /// A unified diff.
    diff: String,
    /// Whether the file has it by now.
    written: bool,
}

/// What `wheelfarm patch check --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct PatchCheck {
    schema: One,
    releases: Vec<ReleasePatches>,
    summary: PatchCounts,
}

/// How many patches there are of which kind.
#[derive(JsonSchema)]
pub(in crate::schema) struct PatchCounts {
    releases: u64,
    patches: u64,
    fits: u64,
    fits_moved: u64,
    already_there: u64,
    drifted: u64,
    not_checked: u64,
}

/// The patches of a release.
#[derive(JsonSchema)]
pub(in crate::schema) struct ReleasePatches {
    package: PackageName,
    /// As package.yaml names it.
    release: String,
    version: String,
    targets: Vec<PatchTarget>,
}

/// A source that they were held against.
#[derive(JsonSchema)]
pub(in crate::schema) struct PatchTarget {
    /// `claimed`, `head` or `against`.
    target: String,
    source: Option<String>,
    outcome: PatchOutcome,
    /// Why it was not checked.
    reason: Option<String>,
    patches: Vec<PatchFit>,
}

/// What came of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum PatchOutcome {
    /// See `patches`.
    Checked,
    /// It is the claimed source once more.
    SameAsClaimed,
    /// It could not be had.
    NotChecked,
}

/// How a patch fits.
#[derive(JsonSchema)]
pub(in crate::schema) struct PatchFit {
    name: String,
    sha256: Sha256Digest,
    /// Earlier patches that do not fit and are not there.
    without: Vec<String>,
    verdict: PatchVerdict,
    /// The least and the most lines away from where the patch says.
    moved_by_lines: Option<[u64; 2]>,
    files: Vec<AppliedFile>,
    faults: Vec<Drift>,
    /// Why it was not checked.
    reason: Option<String>,
}

/// Whether it fits.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum PatchVerdict {
    Fits,
    /// Elsewhere than it says.
    FitsMoved,
    /// The source has its changes already.
    AlreadyThere,
    /// It does not apply.
    Drifted,
    NotChecked,
}

/// What `wheelfarm patch refresh --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct PatchRefresh {
    schema: One,
    package: PackageName,
    /// The release that the patches are of.
    version: String,
    /// The source that they are to fit.
    source: String,
    patches: Vec<PatchProposal>,
    /// The folder that they were written into.
    written: Option<String>,
}

/// What is proposed for a patch.
#[derive(JsonSchema)]
pub(in crate::schema) struct PatchProposal {
    name: String,
    proposal: ProposalKind,
    new_name: Option<String>,
    /// The patch.
    text: Option<String>,
    conflicts: Vec<Conflict>,
    /// Why it was not checked.
    reason: Option<String>,
    without: Vec<String>,
}

/// What to do with it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(in crate::schema) enum ProposalKind {
    /// It fits.
    Keep,
    /// By `text`.
    Replace,
    /// The source has its changes already.
    Drop,
    /// A person has to decide.
    Conflict,
    NotChecked,
}

/// What `wheelfarm init --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Init {
    schema: One,
    farm: String,
    folder: String,
    dry_run: bool,
    /// What was chosen, and why.
    choices: Vec<Choice>,
    /// Files that are new.
    written: Vec<String>,
    /// Files that were there with other text, and were left.
    kept: Vec<String>,
    /// Files that were there with the same text.
    same: Vec<String>,
    jobs: Vec<JobId>,
    /// What to type.
    next: Vec<String>,
}

/// Something that was chosen.
#[derive(JsonSchema)]
pub(in crate::schema) struct Choice {
    what: String,
    value: String,
    why: String,
}

/// What `wheelfarm init package --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct InitPackage {
    schema: One,
    package: PackageName,
    version: String,
    files: Vec<String>,
    /// The CUDA sources that were found.
    cuda_files: Vec<String>,
    /// The extension modules that setup.py seems to build.
    extensions: Vec<Extension>,
    remarks: Vec<Remark>,
    not_checked: Vec<String>,
    /// Why the matrix cannot be planned with it as it is.
    plan_faults: Vec<String>,
    /// What to type.
    next: Vec<String>,
}

/// An extension module.
#[derive(JsonSchema)]
pub(in crate::schema) struct Extension {
    glob: String,
    /// Whether its name is written out in setup.py.
    exact: bool,
    line: u64,
}

/// Something in its files that a person should read.
#[derive(JsonSchema)]
pub(in crate::schema) struct Remark {
    file: String,
    line: u64,
    what: String,
}

/// What `wheelfarm explain --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Explain {
    schema: One,
    rules: Vec<GateRule>,
}

/// A rule of the gate.
#[derive(JsonSchema)]
pub(in crate::schema) struct GateRule {
    id: String,
    /// `error`, `warning` or `not-checked`.
    severity: String,
    title: String,
    why: String,
    source: String,
    fix: String,
}

/// What `wheelfarm schema --format json` prints.
#[derive(JsonSchema)]
pub(in crate::schema) struct Schemas {
    schema: One,
    schemas: Vec<SchemaEntry>,
}

/// A schema.
#[derive(JsonSchema)]
pub(in crate::schema) struct SchemaEntry {
    name: String,
    title: Value,
    id: Value,
}
