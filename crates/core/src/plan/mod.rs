//! From a matrix to the jobs of a run: which are built and why, which are up to date, which are
//! left out and for what reason.

pub mod changes;
mod expand;
mod github;
pub mod inputs;
mod job;
pub mod patches;
mod rules;
mod selector;

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::ident::JobId;
use crate::release::channel::Channel;

pub use expand::{PlanInput, expand};
pub use github::{GITHUB_JOB_LIMIT, GithubError, github_matrix};
pub use job::{Environment, Job, JobDigest, JobPatch};
pub use patches::PatchKey;
pub use selector::{Selector, SelectorError};

/// The jobs of a matrix.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What can be built, sorted by id.
    pub jobs: Vec<Job>,
    /// What is left out, sorted by id.
    pub excluded: Vec<ExcludedJob>,
    /// What the compatibility table has no row for.
    pub warnings: Vec<Diagnostic>,
}

/// A combination that is not built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExcludedJob {
    /// The id it would have.
    pub id: JobId,
    /// Why it is not built.
    pub reason: String,
}

/// What is on record of a job: what `out/jobs/<id>/manifest.json` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnRecord {
    /// The digest of the job that made the wheel.
    pub digest: JobDigest,
    /// Whether the wheel still lies beside the manifest, with the size on record.
    pub wheel: WheelPresence,
}

/// Whether a recorded wheel is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WheelPresence {
    /// With the size on record.
    Present,
    /// Gone or of another size.
    Missing,
}

/// Whether a job will be built, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing is on record.
    New,
    /// Something that can change the wheel's bytes is not what it was.
    InputsChanged,
    /// The wheel on record is gone.
    WheelMissing,
    /// The user asked for it.
    Forced,
    /// Only its command lines are asked for.
    Rehearsed,
    /// The wheel on record is what this job would build.
    UpToDate,
}

impl Need {
    /// Why, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::New => "no wheel on record",
            Self::InputsChanged => "its inputs changed since the wheel on record",
            Self::WheelMissing => "the wheel on record is gone",
            Self::Forced => "asked for with --force",
            Self::Rehearsed => "asked for with --rehearse",
            Self::UpToDate => "up to date",
        }
    }

    /// The stable name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::InputsChanged => "inputs-changed",
            Self::WheelMissing => "wheel-missing",
            Self::Forced => "forced",
            Self::Rehearsed => "rehearsed",
            Self::UpToDate => "up-to-date",
        }
    }
}

impl Plan {
    /// Keeps the jobs that `selector` picks; excluded ones are filtered alike.
    pub fn select(&mut self, selector: &Selector) {
        self.jobs.retain(|job| selector.picks(job.id()));
        self.excluded.retain(|job| selector.picks(&job.id));
    }

    /// What each job needs, given what is on record.
    pub fn needs(&self, on_record: &BTreeMap<JobId, OnRecord>) -> Vec<(&Job, Need)> {
        self.jobs
            .iter()
            .map(|job| (job, need(job, on_record.get(job.id()))))
            .collect()
    }

    /// The channels that the plan's jobs fill.
    pub fn channels(&self) -> Vec<Channel> {
        let mut channels: Vec<_> = self.jobs.iter().map(Job::channel).collect();
        channels.sort();
        channels.dedup();
        channels
    }
}

fn need(job: &Job, on_record: Option<&OnRecord>) -> Need {
    match on_record {
        None => Need::New,
        Some(record) if record.digest != job.digest() => Need::InputsChanged,
        Some(record) => match record.wheel {
            WheelPresence::Missing => Need::WheelMissing,
            WheelPresence::Present => Need::UpToDate,
        },
    }
}
