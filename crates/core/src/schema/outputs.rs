//! The shapes of the JSON that commands print, for its schemas alone: what prints it stands in the command
//! line's crate. Tests there hold real output against these, and find a key that is not here.

#![expect(
    dead_code,
    reason = "only their schemas are made; what is printed is made elsewhere"
)]
#![expect(
    clippy::struct_field_names,
    reason = "a field is named as the JSON key is"
)]

pub(super) mod farm;
pub(super) mod host;
pub(super) mod shelf;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use crate::diagnose::Diagnosis;
use crate::digest::Sha256Digest;
use crate::estimate::{Accuracy, Forecast, Grant, Objects, Sample};
use crate::fatbin::Compression;
use crate::gate::finding::{Finding, Verdict};
use crate::gpu::rules::WhyNot;
use crate::ident::{JobId, PackageName};
use crate::manifest::{CacheFigures, CommandsRecord, ObjectCounts, RunsOn};
use crate::outcome::Stage;
use crate::plan::JobDigest;
use crate::release::catalog::{CatalogWheel, Track};
use crate::wheel::elf::Machine;

/// Always 1.
#[derive(JsonSchema)]
#[schemars(inline, extend("const" = 1))]
pub(super) struct One(u32);

/// Why a job is built, or is not.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Need {
    /// There is no wheel on record.
    New,
    /// Something that can change its bytes has changed.
    InputsChanged,
    /// There is a record, and its wheel is gone or cut.
    WheelMissing,
    /// Asked for with `--force`.
    Forced,
    /// Asked for with `--rehearse`.
    Rehearsed,
    /// Nothing is to be done.
    UpToDate,
}

/// What `wheelfarm plan --format json` prints.
#[derive(JsonSchema)]
pub(super) struct Plan {
    schema: One,
    /// Sorted by id.
    jobs: Vec<PlanJob>,
    /// What is left out, and why.
    excluded: Vec<Excluded>,
    /// With `--explain`: what a build is expected to take.
    #[schemars(skip_serializing_if = "Option::is_none")]
    forecast: Option<Explained>,
}

/// A job.
#[derive(JsonSchema)]
pub(super) struct PlanJob {
    id: JobId,
    digest: JobDigest,
    package: PackageName,
    /// The upstream version.
    version: String,
    /// The environment's name in the matrix.
    environment: String,
    cuda: String,
    torch: String,
    python: String,
    /// The archs, with blanks between them; null for a package that is compiled on the user's GPU.
    archs: Option<String>,
    /// In the order in which they are applied.
    patches: Vec<Patch>,
    /// What is different from the record; null when something is and what it is was not kept.
    changes: Option<Vec<Change>>,
    /// How the last run of the job failed, if it did.
    last_failure: Option<LastFailure>,
    need: Need,
    /// `need` in words.
    reason: String,
}

/// A patch.
#[derive(JsonSchema)]
pub(super) struct Patch {
    /// Its file.
    name: String,
    /// The digest of its text.
    sha256: Sha256Digest,
}

/// One thing that is different between a record and what would be built.
#[derive(JsonSchema)]
pub(super) struct Change {
    /// Where, in `inputs.json`.
    field: String,
    /// On record.
    before: Option<String>,
    /// Now.
    after: Option<String>,
}

/// How a job failed the last time.
#[derive(JsonSchema)]
pub(super) struct LastFailure {
    stage: Stage,
    kind: FailureKind,
    /// Of the build, where it ended by itself.
    exit_code: Option<i64>,
    detail: String,
    /// What to type or change.
    hint: Option<String>,
    /// Whether it failed with the inputs that it has now.
    same_inputs: bool,
}

/// Why a job failed, as far as someone would act on the difference.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum FailureKind {
    /// The build, or a patch script, ended with an exit code.
    Script,
    /// A process was killed at the memory limit.
    OutOfMemory,
    /// The time limit was reached.
    TimedOut,
    /// Nothing was said for longer than `silence`.
    Stalled,
    /// A disk is full.
    DiskFull,
    /// There is no wheel, or more than one.
    NothingCollected,
    /// The source, a patch or the wheel is not what it should be.
    Rejected,
    /// A server cannot be reached.
    Unreachable,
    /// The engine or the host failed.
    Infrastructure,
}

/// A combination that is left out.
#[derive(JsonSchema)]
pub(super) struct Excluded {
    id: JobId,
    reason: String,
}

/// A forecast and what it was made with.
#[derive(JsonSchema)]
pub(super) struct Explained {
    #[schemars(flatten)]
    forecast: Forecast,
    /// With `--price-per-hour`.
    cost: Option<Cost>,
    host: Host,
    /// Whether there were builds to learn from.
    has_history: bool,
    /// Jobs of which nothing is known.
    unknown: Vec<JobId>,
}

/// In the currency of the price, which nobody names.
#[derive(JsonSchema)]
pub(super) struct Cost {
    price_per_hour: String,
    low: String,
    likely: String,
    high: String,
}

/// What jobs may use.
#[derive(JsonSchema)]
pub(super) struct Host {
    cpus: u32,
    memory_bytes: u64,
    /// The most at a time.
    jobs: Option<u32>,
}

/// How a job ended.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// Its wheel is on record.
    Built,
    /// Its wheel was already on record.
    UpToDate,
    /// Its command lines were looked at; there is no wheel.
    Rehearsed,
    /// It failed.
    Failed,
    /// It was stopped.
    Cancelled,
    /// It was never begun.
    NotStarted,
}

/// What `wheelfarm build --format json` prints when it ends.
#[derive(JsonSchema)]
pub(super) struct Build {
    schema: One,
    /// In the order of the plan.
    jobs: Vec<BuildJob>,
    elapsed_ms: u64,
    /// Why no further job was begun, if so.
    closed: Option<String>,
    /// How the forecast compares with what came of it.
    forecast: Option<Accuracy>,
    /// Objects that all jobs needed and compiled.
    objects: Option<ObjectCounts>,
}

/// What came of a job.
#[derive(JsonSchema)]
pub(super) struct BuildJob {
    job: JobId,
    outcome: Outcome,
    /// Compile containers.
    attempts: u32,
    elapsed_ms: u64,
    /// By stage.
    stages_ms: BTreeMap<String, u64>,
    /// Where its record, or what is left of a failed build, lies.
    folder: Option<String>,
    /// Its wheel's file name in that folder.
    wheel: Option<String>,
    commands: Option<CommandsRecord>,
    cache: Option<CacheFigures>,
    /// What the gate said.
    gate: Option<Gate>,
    failure: Option<BuildFailure>,
}

/// What the gate said of a wheel that went on record.
#[derive(JsonSchema)]
pub(super) struct Gate {
    verdict: Verdict,
    findings: Vec<Finding>,
    /// For every GPU that is known.
    runs_on: Vec<RunsOn>,
}

/// Why a job failed.
#[derive(JsonSchema)]
pub(super) struct BuildFailure {
    stage: Stage,
    kind: FailureKind,
    detail: String,
    /// What to type or change.
    hint: Option<String>,
    /// Of its log.
    last_lines: Vec<String>,
    /// What its log says of why, where a rule fits.
    diagnosis: Option<Diagnosis>,
}

/// What `wheelfarm runs --format json` prints.
#[derive(JsonSchema)]
pub(super) struct Runs {
    schema: One,
    /// The newest last.
    runs: Vec<Run>,
}

/// A run.
#[derive(JsonSchema)]
pub(super) struct Run {
    /// Its number.
    run: u64,
    state: RunState,
    /// RFC 3339 in UTC, as all times are.
    started_at: String,
    /// When it ended, or was last heard of.
    ended_at: Option<String>,
    /// Null of a run that was killed.
    elapsed_ms: Option<u64>,
    /// Its process.
    pid: i64,
    /// Its machine.
    host: String,
    /// The program and its version.
    program: String,
    /// The engine and its version.
    engine: String,
    /// How many jobs it had to build.
    jobs_to_build: Option<u64>,
    /// As `plan --explain` has it.
    forecast: Option<Value>,
    /// Why no further job was begun.
    admission_stopped: Option<String>,
    /// How many of its jobs are in which state.
    counts: BTreeMap<String, u64>,
}

/// How far a run has come.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum RunState {
    /// It goes on, or was killed and no run came after it.
    Running,
    /// It came to its end.
    Finished,
    /// It was killed.
    Interrupted,
}

/// What `wheelfarm runs RUN --format json` prints.
#[derive(JsonSchema)]
pub(super) struct RunDetail {
    schema: One,
    #[schemars(flatten)]
    run: Run,
    /// What its compilations took together.
    actual: Actual,
    /// By id.
    jobs: Vec<RunJob>,
}

/// What the compilations of a run took together.
#[derive(JsonSchema)]
pub(super) struct Actual {
    wall_ms: Option<u64>,
    cpu_ms: u64,
    peak_memory_bytes: Option<u64>,
    objects: Option<Objects>,
}

/// A job of a run.
#[derive(JsonSchema)]
pub(super) struct RunJob {
    job: JobId,
    digest: Option<JobDigest>,
    package: Option<PackageName>,
    version: Option<String>,
    /// `cu130/torch2.11`.
    channel: Option<String>,
    /// Why it was built.
    why: Option<String>,
    state: JobState,
    started_at: Option<String>,
    ended_at: Option<String>,
    elapsed_ms: Option<u64>,
    failure: Option<Failure>,
    /// What its log says of why, where a rule fits.
    diagnosis: Option<Diagnosis>,
    /// In order.
    stages: Vec<RunStage>,
    /// Its compile containers.
    attempts: Vec<Attempt>,
    /// How often it began again, and why.
    retries: Vec<Retry>,
}

/// How far a job has come.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum JobState {
    /// It goes on.
    Running,
    /// Its wheel is on record.
    Built,
    /// Its wheel was already on record.
    UpToDate,
    /// Its command lines were looked at.
    Rehearsed,
    /// It failed.
    Failed,
    /// It was stopped.
    Cancelled,
    /// It was never begun.
    NotStarted,
    /// Its run was killed while it ran.
    Interrupted,
}

/// Why a job failed.
#[derive(JsonSchema)]
pub(super) struct Failure {
    stage: Stage,
    kind: FailureKind,
    detail: String,
    /// What to type or change.
    hint: Option<String>,
}

/// A stage that a job entered.
#[derive(JsonSchema)]
pub(super) struct RunStage {
    stage: Stage,
    started_at: String,
    /// Null when it did not end well.
    wall_ms: Option<u64>,
}

/// A compile container of a job.
#[derive(JsonSchema)]
pub(super) struct Attempt {
    /// The first is 1.
    attempt: u32,
    grant: Option<Grant>,
    /// Whether an earlier run had started it.
    adopted: Option<bool>,
    started_at: Option<String>,
    ended_at: Option<String>,
    /// What it took.
    sample: Option<Sample>,
}

/// Why a job began again.
#[derive(JsonSchema)]
pub(super) struct Retry {
    at: String,
    failure: Failure,
    /// What was done about it.
    remedy: String,
}

/// What every event has.
#[derive(JsonSchema)]
pub(super) struct Line {
    schema: One,
    /// Its number: it grows by one from event to event, across runs.
    seq: u64,
    /// The run.
    run: u64,
    /// When it was written: RFC 3339 in UTC.
    at: String,
}

/// A line of `wheelfarm events` and of `wheelfarm build --events FILE`.
#[derive(JsonSchema)]
#[schemars(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// A process begins a run.
    RunBegun {
        #[schemars(flatten)]
        line: Line,
        pid: i64,
        host: String,
        program: String,
        engine: String,
    },
    /// What the run is expected to take.
    RunForecast {
        #[schemars(flatten)]
        line: Line,
        /// As `plan --explain` has it.
        forecast: Value,
    },
    /// It begins to build.
    RunStarted {
        #[schemars(flatten)]
        line: Line,
        /// How many there are to build.
        jobs: u64,
    },
    /// A job needs nothing done.
    JobUpToDate {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
    },
    /// A job begins.
    JobStarted {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        digest: JobDigest,
        package: PackageName,
        version: String,
        channel: String,
        /// Why it is built.
        why: String,
    },
    /// A job enters a stage.
    StageStarted {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        stage: Stage,
    },
    /// A stage ended well.
    StageFinished {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        stage: Stage,
        elapsed_ms: u64,
    },
    /// A container begins to compile.
    AttemptStarted {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        /// The first is 1.
        attempt: u32,
        grant: Grant,
        /// Whether an earlier run had started it.
        adopted: bool,
    },
    /// It has ended.
    AttemptEnded {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        attempt: u32,
        /// What it took, when something can be learned from it.
        sample: Option<Sample>,
    },
    /// A job failed in a way that passes, and begins again.
    JobRetried {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        failure: Failure,
        /// What is done about it.
        remedy: String,
    },
    /// Something of a job that a person should know.
    Note {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        text: String,
    },
    /// Something of the run that a person should know.
    RunNote {
        #[schemars(flatten)]
        line: Line,
        text: String,
    },
    /// A job ended.
    JobFinished {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        outcome: Outcome,
        failure: Option<Failure>,
        elapsed_ms: u64,
    },
    /// No further job is begun.
    AdmissionStopped {
        #[schemars(flatten)]
        line: Line,
        reason: String,
    },
    /// The user asked to stop.
    Stopping {
        #[schemars(flatten)]
        line: Line,
        /// Whether containers are killed instead of asked first.
        at_once: bool,
    },
    /// Every job has ended.
    RunFinished {
        #[schemars(flatten)]
        line: Line,
        elapsed_ms: u64,
    },
    /// Of a run that was killed, written by the one that came after: a job was in flight.
    JobInterrupted {
        #[schemars(flatten)]
        line: Line,
        job: JobId,
        stage: Option<Stage>,
        attempt: Option<u32>,
    },
    /// The same of the run.
    RunInterrupted {
        #[schemars(flatten)]
        line: Line,
        /// When.
        last_heard: Option<String>,
    },
}

/// What every answer of `resolve` has.
#[derive(JsonSchema)]
pub(super) struct Asked {
    schema: One,
    /// What was asked, with what was found out of an image, a lock or this machine.
    question: Question,
    /// What the question leaves open and the answer does not.
    assumed: Vec<String>,
    /// The nearest wheel of a later version, which the environment keeps from being the answer.
    newer: Option<NearMiss>,
}

/// What `wheelfarm resolve --format json` prints.
#[derive(JsonSchema)]
#[schemars(tag = "outcome", rename_all = "kebab-case")]
pub(super) enum Resolve {
    /// One wheel is right: exit code 0.
    One {
        #[schemars(flatten)]
        asked: Asked,
        wheel: Box<Candidate>,
    },
    /// It may be one of several: exit code 4.
    Several {
        #[schemars(flatten)]
        asked: Asked,
        /// The likeliest first.
        candidates: Vec<Candidate>,
        /// What would decide.
        give: Vec<String>,
    },
    /// None: exit code 1.
    None {
        #[schemars(flatten)]
        asked: Asked,
        /// The nearest first.
        near_misses: Vec<NearMiss>,
        /// The job that would build it, or why there is none.
        job: Job,
        /// Packages with a similar name, when the release has none of this.
        packages: Vec<PackageName>,
    },
}

/// The question.
#[derive(JsonSchema)]
pub(super) struct Question {
    package: PackageName,
    /// A range by PEP 440; empty for all.
    versions: String,
    python: Option<String>,
    torch: Option<String>,
    cuda: Option<String>,
    /// Compute capabilities.
    gpus: Vec<String>,
    driver: Option<String>,
    glibc: Option<String>,
    machine: Option<String>,
    track: Track,
    variant: Option<String>,
}

/// A wheel that fits.
#[derive(JsonSchema)]
pub(super) struct Candidate {
    wheel: CatalogWheel,
    /// Where it is.
    url: String,
    /// The torch to pin beside it.
    torch: Option<String>,
    /// What the catalog does not tell of it.
    unknown: Vec<Miss>,
    lines: Lines,
}

/// What to paste.
#[derive(JsonSchema)]
pub(super) struct Lines {
    /// A `RUN` of a Dockerfile.
    dockerfile: String,
    /// A line of a requirements file.
    pip: String,
    /// The same where every line has a digest.
    pip_require_hashes: String,
    /// The parts of a pyproject.toml that uv reads.
    uv: String,
}

/// A rule and what it says.
#[derive(JsonSchema)]
pub(super) struct Miss {
    /// `version`, `machine`, `python`, `torch`, `cuda`, `glibc`, `gpu`, `driver`, `variant`, `yanked` or
    /// `track`.
    rule: String,
    reason: String,
}

/// A wheel that does not fit.
#[derive(JsonSchema)]
pub(super) struct NearMiss {
    file_name: String,
    job: JobId,
    rule: String,
    reason: String,
    /// The other reasons.
    more: Vec<Miss>,
}

/// What would have to be built.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Job {
    /// A job.
    Add {
        id: JobId,
        /// What to write into a matrix.
        matrix: String,
        /// What was not told and is left open in it.
        not_known: Vec<String>,
    },
    /// None would be it.
    None {
        /// Why.
        none: String,
    },
}

/// What `wheelfarm inspect --format json` prints.
#[derive(JsonSchema)]
pub(super) struct Inspect {
    schema: One,
    /// In the order in which they were named.
    files: Vec<InspectedFile>,
}

/// A file and, with `--gpu`, the answers.
#[derive(JsonSchema)]
pub(super) struct InspectedFile {
    #[schemars(flatten)]
    inspection: Inspection,
    /// With `--gpu`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    answers: Option<Vec<GpuAnswer>>,
}

/// What a file does on a GPU.
#[derive(JsonSchema)]
pub(super) struct GpuAnswer {
    /// Its compute capability.
    gpu: String,
    verdict: GpuVerdictName,
    sentence: String,
}

/// What GPU code does on a GPU.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum GpuVerdictName {
    /// All of it runs as it is.
    Native,
    /// It runs once the driver has compiled it.
    Jit,
    /// Some of it runs.
    Partly,
    /// None of it runs.
    Fails,
    /// That is not known.
    Unknown,
    /// There is none.
    NoDeviceCode,
}

/// What stands in a file.
#[derive(JsonSchema)]
pub(super) struct Inspection {
    /// Its name.
    file: String,
    kind: FileKind,
    /// Of METADATA, as all until `tags`; null of a module.
    name: Option<String>,
    version: Option<String>,
    requires_python: Option<String>,
    requires_dist: Option<Vec<String>>,
    tags: Vec<String>,
    /// Null when not all of it was read.
    sha256: Option<Sha256Digest>,
    size_bytes: u64,
    modules: Vec<Module>,
    /// Files with GPU code that are no modules.
    gpu_files: Vec<String>,
    /// For every GPU that is known.
    runs_on: Vec<GpuVerdict>,
    findings: Vec<Finding>,
}

/// What kind of file it is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum FileKind {
    /// A wheel.
    Wheel,
    /// A module by itself.
    Module,
}

/// What GPU code does on one GPU, counted in containers.
#[derive(JsonSchema)]
pub(super) struct GpuVerdict {
    /// Its compute capability.
    gpu: String,
    /// A GPU that has it.
    name: String,
    verdict: GpuVerdictName,
    native: u64,
    jit: u64,
    /// Those that run only if the driver links them anew, which is not proven.
    link_unproven: u64,
    fails: u64,
    unknown: u64,
    total: u64,
    /// The newest PTX ISA that the driver has to compile.
    ptx: Option<String>,
    /// The least driver for its machine code.
    native_driver: Option<String>,
    /// The least driver for all that runs.
    least_driver: Option<String>,
    held: Held,
}

/// By arch, why what failing containers hold is of no use.
#[derive(JsonSchema)]
pub(super) struct Held {
    machine_code: BTreeMap<String, WhyNot>,
    ptx: BTreeMap<String, WhyNot>,
}

/// A compiled library.
#[derive(JsonSchema)]
pub(super) struct Module {
    /// Where it stands in the wheel.
    path: String,
    machine: Machine,
    size_bytes: u64,
    soname: Option<String>,
    needed: Vec<String>,
    rpath: Vec<String>,
    /// The newest symbol version that it needs, by prefix.
    highest: BTreeMap<String, Option<String>>,
    torch: ModuleTorch,
    python: ModulePython,
    containers: Containers,
    images: Vec<Image>,
    /// With `--deep`: how many, by arch.
    kernels: Option<BTreeMap<String, u64>>,
    /// Whether it has code for AMD's GPUs.
    has_hip: bool,
}

/// What a module has to do with torch.
#[derive(JsonSchema)]
pub(super) struct ModuleTorch {
    /// `cxx`, `stable`, or null without either.
    abi: Option<String>,
    symbols: Vec<String>,
}

/// What a module has to do with Python.
#[derive(JsonSchema)]
pub(super) struct ModulePython {
    uses_c_api: bool,
    built_for: Option<String>,
}

/// How many containers a module has.
#[derive(JsonSchema)]
pub(super) struct Containers {
    total: u64,
    /// Of device linking.
    stubs: u64,
    relocatable: u64,
}

/// GPU code for one arch.
#[derive(JsonSchema)]
pub(super) struct Image {
    /// The offset of its container.
    container: u64,
    section: String,
    /// `sass`, `ptx`, `lto` or `unknown`.
    kind: String,
    arch: Option<String>,
    version: String,
    compression: Compression,
    stored_bytes: u64,
    size_bytes: Option<u64>,
}

/// `report.json` beside a wheel on record: what stands in it and what the gate says.
#[derive(JsonSchema)]
pub(super) struct Report {
    schema: One,
    #[schemars(flatten)]
    inspection: Inspection,
    verdict: Verdict,
}

/// What `wheelfarm verify --format json` prints.
#[derive(JsonSchema)]
pub(super) struct Verify {
    schema: One,
    /// In the order in which they were named.
    wheels: Vec<Verified>,
}

/// A wheel and its verdict.
#[derive(JsonSchema)]
pub(super) struct Verified {
    /// As it was named.
    wheel: String,
    verdict: Verdict,
    findings: Vec<Finding>,
}
