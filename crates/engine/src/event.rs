//! What a run says of itself while it goes on. Renderers turn it into a terminal picture or lines.

use std::time::Duration;

use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Outcome, Stage};

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The run begins with this many jobs to build.
    RunStarted {
        /// Jobs that will be built.
        jobs: usize,
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
        /// Why it is built.
        why: &'static str,
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
    /// The user asked to stop.
    Stopping {
        /// Whether containers are killed at once instead of asked first.
        at_once: bool,
    },
}

/// Shows events. Called by the dispatcher alone, one event at a time.
pub trait Reporter: Send {
    /// Takes the next event.
    fn report(&mut self, event: &Event);
}
