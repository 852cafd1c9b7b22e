//! How a job ends. A build that fails is a value, not an error of the farm.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ident::JobId;
use crate::plan::{Job, JobDigest};

/// A step of a job; a failure names its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The source is brought here and checked against its digest.
    Fetch,
    /// The patches are applied.
    Patch,
    /// The Dockerfile and the context are made.
    Render,
    /// The image is built.
    Image,
    /// The wheel is compiled, without a network.
    Compile,
    /// The wheel is taken out of the container.
    Collect,
    /// The wheel gets its version, tags, requirements and normal form.
    Finish,
    /// Everything that the wheel holds is read.
    Inspect,
    /// The wheel is held against its contract.
    Judge,
    /// Wheel and manifest are put into place.
    Record,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 10] = [
        Self::Fetch,
        Self::Patch,
        Self::Render,
        Self::Image,
        Self::Compile,
        Self::Collect,
        Self::Finish,
        Self::Inspect,
        Self::Judge,
        Self::Record,
    ];

    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Patch => "patch",
            Self::Render => "render",
            Self::Image => "image",
            Self::Compile => "compile",
            Self::Collect => "collect",
            Self::Finish => "finish",
            Self::Inspect => "inspect",
            Self::Judge => "judge",
            Self::Record => "record",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a job failed, as far as someone would act on the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// The build, or a patch script, ended with this exit code.
    Script {
        /// Never zero.
        exit_code: i64,
    },
    /// The engine killed a process of the build at the memory limit, whatever the exit code.
    OutOfMemory,
    /// The build ran past its total limit.
    TimedOut,
    /// The build printed nothing for longer than its limit.
    Stalled,
    /// A disk is full: the engine's or the farm's.
    DiskFull,
    /// The build ended well and left no wheel.
    NothingCollected,
    /// An input or a wheel is not what the package says: a patch that does not apply, another
    /// digest, another name or version.
    Rejected,
    /// A source or a registry could not be reached: other jobs may not need it.
    Unreachable,
    /// The engine or the host did not do its part: other jobs would fail alike.
    Infrastructure,
}

impl FailureKind {
    /// The stable name, stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Script { .. } => "script",
            Self::OutOfMemory => "out-of-memory",
            Self::TimedOut => "timed-out",
            Self::Stalled => "stalled",
            Self::DiskFull => "disk-full",
            Self::NothingCollected => "nothing-collected",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Infrastructure => "infrastructure",
        }
    }

    /// Whether the job itself is at fault, or what it ran on.
    pub fn blame(&self) -> Blame {
        match self {
            Self::DiskFull | Self::Infrastructure => Blame::Host,
            Self::Unreachable => Blame::Network,
            Self::Script { .. }
            | Self::OutOfMemory
            | Self::TimedOut
            | Self::Stalled
            | Self::NothingCollected
            | Self::Rejected => Blame::Job,
        }
    }
}

/// What may help a job that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: from the same inputs it fails again.
    None,
    /// Fewer compilers side by side, so that each has more memory; then more memory.
    MoreMemoryEach,
    /// To begin again when the other jobs are done: a server may be back by then.
    Later,
    /// To begin again once the engine answers.
    Engine,
    /// To begin again once caches have made room.
    Room,
}

impl Remedy {
    /// How often a job is begun again for this reason.
    pub const fn tries(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Room => 1,
            Self::Later | Self::Engine => 2,
            // Halving ends at one compiler with all the memory there is.
            Self::MoreMemoryEach => u32::MAX,
        }
    }
}

/// What has to be mended before a failed job can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The package, its settings or its limits.
    Job,
    /// The way to a source or a registry.
    Network,
    /// The host or its engine: other jobs may fail alike.
    Host,
}

/// Why a job failed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step it failed in.
    pub stage: Stage,
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What happened, in a lowercase fragment; may have several lines.
    pub detail: String,
    /// What to type or change.
    pub hint: Option<String>,
}

impl Failure {
    /// What may help: the one place that decides whether a job is begun again.
    pub fn remedy(&self) -> Remedy {
        match self.kind {
            FailureKind::OutOfMemory if self.stage == Stage::Compile => Remedy::MoreMemoryEach,
            FailureKind::Unreachable => Remedy::Later,
            // What an image is made of is downloaded.
            FailureKind::TimedOut | FailureKind::Stalled if self.stage == Stage::Image => {
                Remedy::Later
            }
            FailureKind::Infrastructure => Remedy::Engine,
            FailureKind::DiskFull => Remedy::Room,
            // From the same inputs it fails again: a person has to look.
            FailureKind::OutOfMemory
            | FailureKind::Script { .. }
            | FailureKind::TimedOut
            | FailureKind::Stalled
            | FailureKind::NothingCollected
            | FailureKind::Rejected => Remedy::None,
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its wheel is on record.
    Built,
    /// Its wheel was already on record.
    UpToDate,
    /// It was rehearsed: its command lines are as its contract wants them; nothing was compiled.
    Rehearsed,
    /// It failed.
    Failed(Failure),
    /// It was stopped while it ran.
    Cancelled,
    /// It was never begun: the run was stopped first, or the host failed.
    NotStarted,
}

impl Outcome {
    /// The stable name, stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::UpToDate => "up-to-date",
            Self::Rehearsed => "rehearsed",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
            Self::NotStarted => "not-started",
        }
    }
}

/// How the last run of a job failed: `outcome.json` in `out/failed/<id>/`.
///
/// Readers of schema 1 accept keys that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// Always [`FailureRecord::SCHEMA`].
    pub schema: u32,
    /// The job.
    pub job: JobId,
    /// Its digest when it failed.
    pub job_digest: JobDigest,
    /// The step it failed in.
    pub stage: Stage,
    /// The stable name of what kind of failure it was.
    pub kind: String,
    /// The exit code, where a script failed.
    pub exit_code: Option<i64>,
    /// What happened.
    pub detail: String,
    /// What to type or change.
    pub hint: Option<String>,
}

impl FailureRecord {
    /// The schema that this program writes, and the only one that it reads.
    pub const SCHEMA: u32 = 1;

    /// The file's name.
    pub const FILE_NAME: &str = "outcome.json";

    /// The record of `job`, which ended with `failure`.
    pub fn new(job: &Job, failure: &Failure) -> Self {
        Self {
            schema: Self::SCHEMA,
            job: job.id().clone(),
            job_digest: job.digest(),
            stage: failure.stage,
            kind: failure.kind.as_str().to_owned(),
            exit_code: match failure.kind {
                FailureKind::Script { exit_code } => Some(exit_code),
                FailureKind::OutOfMemory
                | FailureKind::TimedOut
                | FailureKind::Stalled
                | FailureKind::DiskFull
                | FailureKind::NothingCollected
                | FailureKind::Rejected
                | FailureKind::Unreachable
                | FailureKind::Infrastructure => None,
            },
            detail: failure.detail.clone(),
            hint: failure.hint.clone(),
        }
    }

    /// Reads a record; nothing when it is none, or one of another schema.
    pub fn parse(text: &str) -> Option<Self> {
        let record: Self = serde_json::from_str(text).ok()?;
        (record.schema == Self::SCHEMA).then_some(record)
    }

    /// Writes a record: sorted keys, a newline at the end.
    pub fn to_text(&self) -> String {
        let value = serde_json::to_value(self).expect("plain texts and numbers serialise");
        format!("{value:#}\n")
    }
}
