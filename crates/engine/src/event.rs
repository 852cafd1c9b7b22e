//! What a run says of itself while it goes on. Renderers turn it into a terminal picture or lines.

use std::time::Duration;

use serde_json::{Value, json};
use wheelfarm_core::estimate::{Grant, Sample, Subject};
use wheelfarm_core::ident::{JobId, PackageName};
use wheelfarm_core::outcome::{Failure, Outcome, Stage};
use wheelfarm_core::plan::{Job, JobDigest};

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The run begins with this many jobs to build.
    RunStarted {
        /// Jobs that will be built.
        jobs: usize,
    },
    /// What the run was expected to take, before it began.
    RunForecast {
        /// The forecast, as `plan --explain` has it in JSON.
        forecast: Value,
    },
    /// A job needs nothing done.
    JobUpToDate {
        /// Which.
        job: JobId,
    },
    /// A job begins.
    JobStarted {
        /// Which.
        job: JobId,
        /// Which inputs it is built from.
        digest: JobDigest,
        /// What is built.
        package: PackageName,
        /// Its version, with the variant behind a dash when it has one.
        version: String,
        /// `cu130/torch2.11`.
        channel: String,
        /// Why it is built.
        why: &'static str,
    },
    /// A container of a job begins to compile.
    AttemptStarted {
        /// Which.
        job: JobId,
        /// The first is 1.
        attempt: u32,
        /// What the container may use.
        grant: Grant,
        /// Whether it was found running: an earlier run of the farm had started it.
        adopted: bool,
    },
    /// The container has ended.
    AttemptEnded {
        /// Which.
        job: JobId,
        /// The first is 1.
        attempt: u32,
        /// What it took, when something can be learned from it.
        sample: Option<Sample>,
    },
    /// A job failed in a way that passes, and begins again.
    JobRetried {
        /// Which.
        job: JobId,
        /// Why the attempt failed.
        failure: Failure,
        /// What is done about it, in a lowercase fragment.
        remedy: String,
    },
    /// A job enters a stage.
    StageStarted {
        /// Which.
        job: JobId,
        /// The stage.
        stage: Stage,
    },
    /// A stage ended well.
    StageFinished {
        /// Which.
        job: JobId,
        /// The stage.
        stage: Stage,
        /// How long it took.
        elapsed: Duration,
    },
    /// A line of a job's output, cleaned for a terminal.
    Line {
        /// Which.
        job: JobId,
        /// The line, without its end.
        text: String,
    },
    /// Something a person should know that is not a failure.
    Note {
        /// Which.
        job: JobId,
        /// What.
        text: String,
    },
    /// A job ended.
    JobFinished {
        /// Which.
        job: JobId,
        /// How.
        outcome: Outcome,
        /// How long it took, queueing aside.
        elapsed: Duration,
    },
    /// No further job is begun: the host or its engine fails them all alike.
    AdmissionStopped {
        /// Why.
        reason: String,
    },
    /// Something about the whole run that a person should know.
    RunNote {
        /// What.
        text: String,
    },
    /// Every job has ended.
    RunFinished {
        /// How long it took.
        elapsed: Duration,
    },
    /// The user asked to stop.
    Stopping {
        /// Whether containers are killed at once instead of asked first.
        at_once: bool,
    },
}

impl Event {
    /// That `job` begins.
    pub fn job_started(job: &Job, why: &'static str) -> Self {
        let Subject {
            package, version, ..
        } = Subject::of(job);
        Self::JobStarted {
            job: job.id().clone(),
            digest: job.digest(),
            package,
            version,
            channel: job.environment().channel().to_string(),
            why,
        }
    }

    /// The event as an object of a JSON stream, `event` its kind. Durations are in milliseconds,
    /// memory is in bytes.
    pub fn to_json(&self) -> Value {
        match self {
            Self::RunStarted { jobs } => json!({ "event": "run-started", "jobs": jobs }),
            Self::RunForecast { forecast } => json!({
                "event": "run-forecast", "forecast": forecast,
            }),
            Self::JobUpToDate { job } => json!({ "event": "job-up-to-date", "job": job }),
            Self::JobStarted {
                job,
                digest,
                package,
                version,
                channel,
                why,
            } => json!({
                "event": "job-started", "job": job, "digest": digest, "package": package,
                "version": version, "channel": channel, "why": why,
            }),
            Self::AttemptStarted {
                job,
                attempt,
                grant,
                adopted,
            } => json!({
                "event": "attempt-started", "job": job, "attempt": attempt, "grant": grant,
                "adopted": adopted,
            }),
            Self::AttemptEnded {
                job,
                attempt,
                sample,
            } => json!({
                "event": "attempt-ended", "job": job, "attempt": attempt, "sample": sample,
            }),
            Self::JobRetried {
                job,
                failure,
                remedy,
            } => json!({
                "event": "job-retried", "job": job, "failure": failure_json(failure), "remedy": remedy,
            }),
            Self::StageStarted { job, stage } => json!({
                "event": "stage-started", "job": job, "stage": stage,
            }),
            Self::StageFinished {
                job,
                stage,
                elapsed,
            } => json!({
                "event": "stage-finished", "job": job, "stage": stage, "elapsed_ms": ms(*elapsed),
            }),
            Self::Line { job, text } => json!({ "event": "line", "job": job, "text": text }),
            Self::Note { job, text } => json!({ "event": "note", "job": job, "text": text }),
            Self::RunNote { text } => json!({ "event": "run-note", "text": text }),
            Self::JobFinished {
                job,
                outcome,
                elapsed,
            } => {
                let failure = match outcome {
                    Outcome::Failed(failure) => Some(failure_json(failure)),
                    Outcome::Built
                    | Outcome::UpToDate
                    | Outcome::Rehearsed
                    | Outcome::Cancelled
                    | Outcome::NotStarted => None,
                };
                json!({
                    "event": "job-finished", "job": job, "outcome": outcome.as_str(),
                    "failure": failure, "elapsed_ms": ms(*elapsed),
                })
            }
            Self::AdmissionStopped { reason } => json!({
                "event": "admission-stopped", "reason": reason,
            }),
            Self::RunFinished { elapsed } => json!({
                "event": "run-finished", "elapsed_ms": ms(*elapsed),
            }),
            Self::Stopping { at_once } => json!({ "event": "stopping", "at_once": at_once }),
        }
    }
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "stage": failure.stage, "kind": failure.kind.as_str(), "detail": failure.detail,
        "hint": failure.hint,
    })
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Shows events. Called by the dispatcher alone, one event at a time.
pub trait Reporter: Send {
    /// Takes the next event.
    fn report(&mut self, event: &Event);
}
