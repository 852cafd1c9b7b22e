//! A run: the dispatcher starts jobs, hears what they say, and sees them to their end.
//!
//! The dispatcher alone talks to the reporter and hears the user's wish to stop; jobs are tasks of
//! one `JoinSet`, so no task outlives the run. Containers outlive a run that is killed, and the next one
//! goes on with them.

mod adopt;
mod bootstrap_root;
mod cache;
mod collect;
mod commands;
mod compile;
mod dispatcher;
mod gate;
mod image;
mod job;
mod log;
mod patch;
mod record;
mod teller;

use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::estimate::{Forecast, Grant, Host, LEAST_BYTES, ObjectCache};
use wheelfarm_core::gate::finding::{Finding, Verdict};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::manifest::{CacheFigures, CommandsRecord, ObjectCounts, RunsOn};
use wheelfarm_core::outcome::{Outcome, Stage};
use wheelfarm_core::package::GpuWish;
use wheelfarm_core::plan::{Job, Need, Plan};
use wheelfarm_core::quantity::ByteSize;

use crate::container::{Engine, EngineError, EngineFacts, GpuOffer, Labels};
use crate::event::{Event, Reporter};
use crate::fetch::Fetcher;
use crate::out_folder::OutFolder;
use crate::store::{LedgerError, StoreError};

pub(crate) use gate::REPORT_FILE;
pub use image::shared_images;
pub(crate) use image::{kind_label, torch_image};
pub(crate) use log::FILE_NAME as LOG_FILE;

use adopt::{Adopted, Left};
use dispatcher::{Dispatcher, Ended, Waiting};
use image::Images;
use job::JobContext;
use teller::Teller;

/// How many events may wait for the reporter before jobs wait for it.
const EVENTS_AHEAD: usize = 1024;

/// What a run is told besides its jobs.
#[derive(Debug)]
pub struct RunSettings {
    /// The farm's name.
    pub farm: String,
    /// The most jobs at a time; `None`: memory and cores decide.
    pub jobs: Option<u32>,
    /// The most memory that all jobs together may be given.
    pub memory: Option<ByteSize>,
    /// What must stay free of every disk that jobs write to.
    pub disk_reserve: ByteSize,
    /// A PEM file that containers shall trust.
    pub ca_bundle: Option<Vec<u8>>,
    /// Where the symbol tables of environments are kept between runs.
    pub cache: Utf8PathBuf,
    /// The most that the compiler cache of each package may hold; no cache when absent.
    pub compiler_cache: Option<ByteSize>,
    /// Whether packages are compiled, or only their command lines looked at.
    pub mode: BuildMode,
    /// Whether what a stopped or failed build has compiled is kept for the next one.
    pub objects: Objects,
    /// How long the run waits for what may come back.
    pub patience: Patience,
    /// A file that every event is appended to.
    pub events: Option<Utf8PathBuf>,
}

impl RunSettings {
    /// Whether jobs that differ in Python alone find each other's objects.
    pub fn object_cache(&self) -> ObjectCache {
        match (self.compiler_cache, self.mode) {
            (Some(_), BuildMode::Build) => ObjectCache::On,
            (None, _) | (_, BuildMode::Rehearse) => ObjectCache::Off,
        }
    }
}

/// How long a run waits for what may come back, and how often it tries.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an engine that went away.
    pub engine: Duration,
    /// Between two looks at whether it is back.
    pub look_again: Duration,
    /// For an answer of it.
    pub answer: Duration,
    /// Before a job is begun again whose source could not be reached.
    pub later: Duration,
    /// After how many jobs in a row that failed for good and are not to blame no further job is begun.
    pub host_failures: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // An upgrade of the engine, or of the kernel's host under it.
            engine: Duration::from_mins(10),
            look_again: Duration::from_secs(5),
            answer: Duration::from_secs(20),
            later: Duration::from_mins(2),
            host_failures: 3,
        }
    }
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildMode {
    /// Wheels are made.
    Build,
    /// The build runs with compilers that only write their command lines down, which are held
    /// against the contract. No wheel is made.
    Rehearse,
}

/// What becomes of the objects of a build that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objects {
    /// They go with the container.
    Discard,
    /// They stay in the engine, and a build of the same job digest goes on from there.
    Keep,
}

/// Where a run works, and what with.
#[derive(Debug)]
pub struct Workplace<E: Engine> {
    /// The engine.
    pub engine: Arc<E>,
    /// The folder that wheels go to, which this run alone writes.
    pub out: OutFolder,
    /// Brings sources.
    pub fetcher: Fetcher,
    /// What the run is told besides its jobs.
    pub settings: RunSettings,
    /// Every job of the matrix, also those that this run is not about: what they need stays.
    pub plan: Plan,
}

/// The user's wish to stop: first kindly, then at once.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    /// Stop starting; ask containers to stop.
    pub stop: CancellationToken,
    /// Kill them.
    pub at_once: CancellationToken,
}

/// What became of every job.
#[derive(Debug)]
pub struct RunSummary {
    /// By job, in the order of the plan.
    pub jobs: Vec<JobSummary>,
    /// The whole run.
    pub elapsed: Duration,
    /// What it was expected to take; `None` where nothing was known or to be compiled.
    pub forecast: Option<Forecast>,
    /// Why jobs were not begun, when that was not the user's wish.
    pub closed: Option<String>,
}

/// What became of one job.
#[derive(Debug)]
pub struct JobSummary {
    /// Which.
    pub job: JobId,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in its last attempt.
    pub elapsed: Duration,
    /// How often it was begun; 0 when it needed nothing done.
    pub attempts: u32,
    /// Wall time of each finished stage.
    pub stages: Vec<(Stage, Duration)>,
    /// The lines of the log that tell most, when it failed.
    pub last_lines: Vec<String>,
    /// The folder with its log, and with its wheel when it was built.
    pub folder: Option<Utf8PathBuf>,
    /// The wheel's file name, when there is one.
    pub wheel: Option<String>,
    /// What was found of nvcc's command lines, when they were looked at in this run.
    pub commands: Option<CommandsRecord>,
    /// What the compiler cache did for it, when it was compiled in this run.
    pub cache: Option<CacheFigures>,
    /// What the gate says of that wheel, when it was judged in this run.
    pub gate: Option<GateSummary>,
}

/// The gate's answer on a wheel that went on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSummary {
    /// The answer.
    pub verdict: Verdict,
    /// The answer in a line, with how many findings there are.
    pub line: String,
    /// What was found that did not keep the wheel back.
    pub findings: Vec<Finding>,
    /// Where the wheel runs.
    pub runs_on: Vec<RunsOn>,
}

impl RunSummary {
    /// Objects that all jobs of the run needed, and those that a compiler made: the hit rate is what is
    /// left. `None` when nothing was compiled, or nothing is known of it.
    pub fn objects(&self) -> Option<ObjectCounts> {
        let counts = self
            .jobs
            .iter()
            .filter_map(|job| Some(job.cache.as_ref()?.objects()));
        let sum = counts.reduce(|sum, one| ObjectCounts {
            needed: sum.needed.saturating_add(one.needed),
            compiled: sum.compiled.saturating_add(one.compiled),
        });
        sum.filter(|sum| sum.needed > 0)
    }
}

impl JobSummary {
    fn without_work(job: JobId, outcome: Outcome) -> Self {
        Self {
            job,
            outcome,
            elapsed: Duration::ZERO,
            attempts: 0,
            stages: Vec::new(),
            last_lines: Vec::new(),
            folder: None,
            wheel: None,
            commands: None,
            cache: None,
            gate: None,
        }
    }
}

/// A run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The engine does not answer.
    #[error("failed to reach the container engine")]
    Engine(#[source] EngineError),
    /// The farm's memory cannot be opened.
    #[error(transparent)]
    Store(StoreError),
    /// The run cannot be written down.
    #[error(transparent)]
    Ledger(LedgerError),
    /// A package needs a GPU and the engine offers none.
    #[error("job `{job}` needs a GPU, and the engine offers none")]
    NoGpu {
        /// The first such job.
        job: JobId,
    },
    /// What a killed run left runs on, for jobs that this run does not build, and leaves it no memory.
    #[error(
        "failed to find memory for jobs: of {}, {} are held by containers of a killed run: {}",
        ByteSize::from_bytes(*.host_bytes), ByteSize::from_bytes(*.held_bytes), .containers.join(", ")
    )]
    NoMemory {
        /// What the host gives to jobs.
        host_bytes: u64,
        /// What is held of it.
        held_bytes: u64,
        /// The names of those that hold it.
        containers: Vec<String>,
    },
}

/// Builds the jobs that need it, and says how each of `needs` ended.
///
/// # Errors
/// Only what keeps the run from beginning; a job that fails is in the summary.
pub async fn build<E: Engine>(
    workplace: Workplace<E>,
    needs: &[(&Job, Need)],
    stop: StopSignal,
    reporter: &mut dyn Reporter,
) -> Result<RunSummary, RunError> {
    let started = Instant::now();
    let work: Vec<(&Job, Need)> = needs
        .iter()
        .filter(|(_, need)| *need != Need::UpToDate)
        .copied()
        .collect();
    let Workplace {
        engine,
        out,
        fetcher,
        settings,
        plan,
    } = workplace;
    let facts = engine.describe().await.map_err(RunError::Engine)?;
    refuse_missing_gpu(&work, &facts)?;
    let (events, inbox) = mpsc::channel(EVENTS_AHEAD);
    let cx = Arc::new(JobContext {
        engine,
        out,
        fetcher,
        settings,
        plan,
        facts,
        images: Images::default(),
        stop,
        events,
    });
    let jobs: Vec<_> = work.iter().map(|(job, _)| *job).collect();
    let Left {
        adopted,
        others,
        unfinished,
    } = cx.adopt(&jobs).await.map_err(RunError::Engine)?;
    let beside: Vec<_> = others.iter().filter(|one| one.is_running()).collect();
    let host = host_beside(&cx, &beside, &adopted, work.len())?;
    let ledger = teller::open_ledger(&cx, reporter, &unfinished)?;
    let mut teller = Teller::new(reporter, ledger);
    let mut summary = up_to_date(needs, &mut |event| teller.tell(event));
    teller.tell(&Event::RunStarted { jobs: work.len() });
    let waiting = waiting(&work, adopted, cx.settings.object_cache());
    let mut dispatcher = Dispatcher::new(cx, inbox, teller, waiting);
    dispatcher.leave_alone(&beside, host);
    summary.forecast = dispatcher.forecast();
    let Ended {
        jobs: mut ended,
        closed,
    } = dispatcher.run().await;
    summary.closed = closed;
    ended.extend(summary.jobs.into_iter().map(|job| (job.job.clone(), job)));
    summary.jobs = needs
        .iter()
        .filter_map(|(job, _)| ended.remove(job.id()))
        .collect();
    summary.elapsed = started.elapsed();
    Ok(summary)
}

/// What the host gives to this run's jobs beside containers that run for others. `adopted` have theirs already,
/// and may be the whole work.
fn host_beside<E: Engine>(
    cx: &JobContext<E>,
    beside: &[&Adopted],
    adopted: &[Adopted],
    jobs: usize,
) -> Result<Host, RunError> {
    let whole = cx.host();
    let had = adopted.iter().map(|one| one.note.grant.memory_bytes);
    let least_bytes = if adopted.len() < jobs {
        LEAST_BYTES
    } else {
        had.min().unwrap_or(0).min(LEAST_BYTES)
    };
    let grants: Vec<Grant> = beside.iter().map(|one| one.note.grant).collect();
    let mut host = whole.beside(&grants);
    // They hold memory of the host, which may have more than the matrix lets this run use.
    let (facts, jobs_at_a_time) = (&cx.facts, cx.settings.jobs);
    let all = Host::new(facts.cpus, facts.memory_bytes, None, jobs_at_a_time);
    host.memory_bytes = whole.memory_bytes.min(all.beside(&grants).memory_bytes);
    if beside.is_empty() || host.memory_bytes >= least_bytes {
        return Ok(host);
    }
    Err(RunError::NoMemory {
        host_bytes: all.memory_bytes,
        held_bytes: grants.iter().map(|grant| grant.memory_bytes).sum(),
        containers: beside
            .iter()
            .map(|one| format!("`{}`", one.note.container))
            .collect(),
    })
}

/// The jobs to begin: first those whose container was found, since that holds memory already.
fn waiting(work: &[(&Job, Need)], mut adopted: Vec<Adopted>, cache: ObjectCache) -> Vec<Waiting> {
    let mut waiting: Vec<Waiting> = work
        .iter()
        .map(|(job, need)| {
            let found = adopted.iter().position(|one| one.staged.job() == job.id());
            let found = found.map(|place| adopted.swap_remove(place));
            Waiting::new((*job).clone(), *need, found, cache)
        })
        .collect();
    waiting.sort_by_key(|waiting| waiting.adopted.is_none());
    waiting
}

/// The summary of the jobs that need nothing done. It needs no engine.
pub fn up_to_date(needs: &[(&Job, Need)], tell: &mut dyn FnMut(&Event)) -> RunSummary {
    let mut jobs = Vec::new();
    for (job, _) in needs.iter().filter(|(_, need)| *need == Need::UpToDate) {
        let job = job.id().clone();
        tell(&Event::JobUpToDate { job: job.clone() });
        jobs.push(JobSummary::without_work(job, Outcome::UpToDate));
    }
    RunSummary {
        jobs,
        elapsed: Duration::ZERO,
        forecast: None,
        closed: None,
    }
}

fn refuse_missing_gpu(work: &[(&Job, Need)], facts: &EngineFacts) -> Result<(), RunError> {
    let needy = work
        .iter()
        .find(|(job, _)| job.release().gpu == GpuWish::Required);
    match (needy, facts.gpu) {
        (Some((job, _)), GpuOffer::None) => Err(RunError::NoGpu {
            job: job.id().clone(),
        }),
        _ => Ok(()),
    }
}

/// The labels of everything that a run creates in the engine.
pub fn farm_labels(label: &str) -> Labels {
    Labels::default().with(crate::container::labels::FARM, label)
}
