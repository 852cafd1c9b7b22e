//! One job from its source to its record: the stages in order, each taking what the one before
//! made.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::estimate::{Grant, Host};
use wheelfarm_core::gate::report;
use wheelfarm_core::manifest::{CacheFigures, CommandsRecord, CostRecord};
use wheelfarm_core::outcome::{Failure, FailureKind, Outcome, Stage};
use wheelfarm_core::plan::{Job, Plan};
use wheelfarm_core::render;
use wheelfarm_core::source::patch::PatchedTree;
use wheelfarm_core::source::{Source, SourceTree};

use super::adopt::{Adopted, AttemptNote, Prepared};
use super::compile::Compiled;
use super::gate::{self, JudgedWheel};
use super::image::Images;
use super::log::JobLog;
use super::{
    BuildMode, GateSummary, JobSummary, RunSettings, StopSignal, collect, farm_labels, patch,
    record,
};
use crate::container::{
    self, ContainerSummary, Engine, EngineError, EngineErrorKind, EngineFacts, Labels, Owned,
    OwnedContainer, RunEnd,
};
use crate::event::Event;
use crate::fetch::{FetchError, FetchErrorKind, FetchProgress, Fetcher, put_below};
use crate::files::FileError;
use crate::out_folder::{OutFolder, StagedJob};

/// How long a container may take to stop when it is asked to.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// What every job of a run shares.
#[derive(Debug)]
pub(super) struct JobContext<E: Engine> {
    pub(super) engine: Arc<E>,
    pub(super) out: OutFolder,
    pub(super) fetcher: Fetcher,
    pub(super) settings: RunSettings,
    pub(super) plan: Plan,
    pub(super) facts: EngineFacts,
    pub(super) images: Images,
    pub(super) stop: StopSignal,
    pub(super) events: mpsc::Sender<Event>,
}

/// Why a job did not go on.
#[derive(Debug)]
pub(super) enum Halt {
    Failed(Failure),
    Cancelled,
}

impl Halt {
    pub(super) fn failed(stage: Stage, kind: FailureKind, detail: impl Into<String>) -> Self {
        Self::Failed(Failure {
            stage,
            kind,
            detail: detail.into(),
            hint: None,
        })
    }

    pub(super) fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.hint = Some(text.into());
        }
        self
    }

    pub(super) fn engine(stage: Stage, error: &EngineError) -> Self {
        let kind = match error.kind() {
            EngineErrorKind::DiskFull => FailureKind::DiskFull,
            EngineErrorKind::Cancelled => return Self::Cancelled,
            EngineErrorKind::BuildFailed => FailureKind::Script { exit_code: 1 },
            // Other environments start from other images.
            EngineErrorKind::NoSuchImage => FailureKind::Unreachable,
            EngineErrorKind::Gone
            | EngineErrorKind::PermissionDenied
            | EngineErrorKind::NoSuchPath
            | EngineErrorKind::NameTaken
            | EngineErrorKind::GpuUnavailable
            | EngineErrorKind::Other => FailureKind::Infrastructure,
        };
        let halt = Self::failed(stage, kind, chain(error));
        match error.hint() {
            Some(hint) => halt.with_hint(hint),
            None => halt,
        }
    }

    pub(super) fn file(stage: Stage, error: &FileError) -> Self {
        if error.is_disk_full() {
            let halt = Self::failed(stage, FailureKind::DiskFull, chain(error));
            return halt.with_hint("free some space and run again; nothing half-written is kept");
        }
        Self::failed(stage, FailureKind::Infrastructure, chain(error))
    }
}

/// One job while it runs.
#[derive(Debug)]
pub(super) struct RunningJob<'a, E: Engine> {
    pub(super) cx: &'a JobContext<E>,
    pub(super) job: &'a Job,
    pub(super) log: JobLog,
    pub(super) stages: Vec<(Stage, Duration)>,
    pub(super) grant: Grant,
    pub(super) attempt: u32,
    /// Stops the making of its image.
    pub(super) image_stop: CancellationToken,
    /// What the package compiles in; it stays until the job's files are in place.
    pub(super) container: Option<OwnedContainer<E>>,
    /// What the compiler cache did for the last build of it.
    pub(super) cache: Option<CacheFigures>,
}

/// What the dispatcher gives a job to do.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) job: Job,
    pub(super) grant: Grant,
    /// The first is 1.
    pub(super) attempt: u32,
    pub(super) adopted: Option<Adopted>,
}

impl<E: Engine> JobContext<E> {
    /// The labels of what the whole run creates.
    pub(super) fn labels(&self) -> Labels {
        farm_labels(&self.label())
    }

    /// What the host gives to jobs.
    pub(super) fn host(&self) -> Host {
        let (settings, facts) = (&self.settings, &self.facts);
        let memory_bytes = facts.memory_bytes;
        Host::new(facts.cpus, memory_bytes, settings.memory, settings.jobs)
    }

    pub(super) fn label(&self) -> String {
        self.out.label(&self.settings.farm)
    }

    /// The labels of what one job creates.
    pub(super) fn job_labels(&self, job: &Job) -> Labels {
        self.labels()
            .with(container::labels::JOB, job.id().as_str())
            .with(container::labels::DIGEST, &job.digest().to_string())
    }

    /// Names what a job creates in the engine: two farms of one host may build the same job at the same
    /// time, and the engine has one space of names.
    pub(super) fn key(&self, job: &Job) -> String {
        let farm = Sha256Digest::of(self.label().as_bytes());
        format!("{}-{}", job.digest().short(), farm.short())
    }

    /// Removes the containers and volumes that a killed run of this folder left in the engine.
    pub(super) async fn remove_leftovers(&self, stays: &Owned) -> Result<(), EngineError> {
        container::remove_owned_but(&*self.engine, &self.labels(), stays).await
    }

    pub(super) async fn run(&self, assignment: Assignment) -> JobSummary {
        let started = Instant::now();
        let Assignment {
            job,
            grant,
            attempt,
            adopted,
        } = assignment;
        let id = job.id().clone();
        let events = self.events.clone();
        let (staged, adopted) = match adopted {
            Some(adopted) => (Ok(adopted.staged), Some((adopted.note, adopted.found))),
            None if self.settings.mode == BuildMode::Rehearse => {
                (self.out.stage_rehearsal(&id), None)
            }
            None => (self.out.stage(&id), None),
        };
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => return failed_early(&job, Halt::file(Stage::Fetch, &error), started),
        };
        let log = match &adopted {
            Some((note, _)) => JobLog::reopen(staged.path(), &id, events, note.log),
            None => JobLog::create(staged.path(), &id, events),
        };
        let log = match log {
            Ok(log) => log,
            Err(error) => {
                let error = FileError::new("write", staged.path(), error);
                return failed_early(&job, Halt::file(Stage::Fetch, &error), started);
            }
        };
        let mut running = RunningJob {
            cx: self,
            job: &job,
            log,
            stages: Vec::new(),
            grant,
            attempt,
            image_stop: self.stop.stop.child_token(),
            container: None,
            cache: None,
        };
        let res = running.stages(&staged, adopted).await;
        let is_built = matches!(res, Ok(Done::Built { .. }));
        let container = running.container.take();
        let summary = running.end(staged, res);
        // Until the job's files are in place, a killed run finds them again in its container.
        if let Some(mut container) = container
            && let Err(error) = container.remove().await
        {
            tracing::warn!(job = %id, %error, "container left for the next run to remove");
        }
        super::image::remove_builder(self, &job).await;
        if is_built && summary.outcome == Outcome::Built {
            self.remove_kept(&job, None).await;
        }
        JobSummary {
            elapsed: started.elapsed(),
            ..summary
        }
    }

    async fn say(&self, event: Event) {
        // The dispatcher outlives every job, so the channel is open.
        if self.events.send(event).await.is_err() {
            tracing::trace!("event not heard");
        }
    }
}

/// What a job that went through gives.
#[derive(Debug)]
enum Done {
    /// A wheel, ready to go on record.
    Built {
        file_name: String,
        gate: Box<GateSummary>,
        commands: CommandsRecord,
    },
    /// Command lines as they should be.
    Rehearsed { commands: CommandsRecord },
}

fn gate_summary(wheel: &JudgedWheel) -> GateSummary {
    let judgement = wheel.judgement();
    GateSummary {
        verdict: judgement.verdict,
        line: report::verdict_line(judgement),
        findings: judgement.findings.clone(),
        runs_on: report::runs_on_records(wheel.report()),
    }
}

fn failed_early(job: &Job, halt: Halt, started: Instant) -> JobSummary {
    let outcome = match halt {
        Halt::Failed(failure) => Outcome::Failed(failure),
        Halt::Cancelled => Outcome::Cancelled,
    };
    JobSummary {
        elapsed: started.elapsed(),
        ..JobSummary::without_work(job.id().clone(), outcome)
    }
}

impl<E: Engine> RunningJob<'_, E> {
    /// Puts the staged folder where its outcome belongs.
    fn end(self, staged: StagedJob, res: Result<Done, Halt>) -> JobSummary {
        let Self {
            cx,
            job,
            log,
            stages,
            cache,
            ..
        } = self;
        let mut summary = JobSummary {
            stages,
            cache,
            ..JobSummary::without_work(job.id().clone(), Outcome::Built)
        };
        let last_lines = log.telling_lines();
        // A wheel is worth more than its log.
        if let Err(error) = log.close() {
            tracing::warn!(job = %job.id(), %error, "log not whole");
        }
        let put = match res {
            Ok(Done::Built {
                file_name,
                gate,
                commands,
            }) => {
                summary.wheel = Some(file_name);
                summary.gate = Some(*gate);
                summary.commands = Some(commands);
                cx.out.record(staged).map(Some)
            }
            Ok(Done::Rehearsed { commands }) => {
                summary.outcome = Outcome::Rehearsed;
                summary.commands = Some(commands);
                cx.out.discard(staged).map(|()| None)
            }
            Err(Halt::Cancelled) => {
                summary.outcome = Outcome::Cancelled;
                cx.out.discard(staged).map(|()| None)
            }
            Err(Halt::Failed(failure)) => {
                if let Err(error) = record::write_failure(job, &staged, &failure) {
                    tracing::warn!(job = %job.id(), %error, "failure not on record");
                }
                summary.outcome = Outcome::Failed(failure);
                summary.last_lines = last_lines;
                collect::discard_raw(&staged);
                cx.out.keep_failed(staged).map(Some)
            }
        };
        match put {
            Ok(folder) => summary.folder = folder,
            Err(error) if summary.outcome == Outcome::Built => {
                summary.wheel = None;
                summary.gate = None;
                if let Halt::Failed(failure) = Halt::file(Stage::Record, &error) {
                    summary.outcome = Outcome::Failed(failure);
                }
            }
            Err(error) => tracing::warn!(job = %job.id(), %error, "job folder lost"),
        }
        summary
    }

    /// The stages before the container.
    async fn prepare(&mut self, staged: &StagedJob) -> Result<Prepared, Halt> {
        let begun = self.begin(Stage::Fetch).await?;
        let tree = self.fetch().await?;
        let tree_sha256 = tree.digest();
        self.finish(Stage::Fetch, begun).await;

        let begun = self.begin(Stage::Patch).await?;
        let patched = patch::patch(self, tree).await?;
        self.finish(Stage::Patch, begun).await;

        let begun = self.begin(Stage::Render).await?;
        let source = record::source_record(self.job, tree_sha256, &patched);
        let patches = record::patch_records(&patched);
        let context = self.render(staged, patched).await?;
        self.finish(Stage::Render, begun).await;

        let begun = self.begin(Stage::Image).await?;
        let image = super::image::builder(self, &context).await?;
        self.finish(Stage::Image, begun).await;
        Ok(Prepared {
            source,
            patches,
            image,
        })
    }

    /// Every stage, from the container on when that was found.
    async fn stages(
        &mut self,
        staged: &StagedJob,
        adopted: Option<(AttemptNote, ContainerSummary)>,
    ) -> Result<Done, Halt> {
        let (prepared, compiled) = if let Some((note, found)) = adopted {
            self.stages.clone_from(&note.stages);
            let prepared = note.prepared.clone();
            (prepared, self.go_on(note, found, staged).await?)
        } else {
            let prepared = self.prepare(staged).await?;
            let compiled = self.in_container(&prepared, staged).await?;
            (prepared, compiled)
        };
        let (end, commands, collected) = match compiled {
            Compiled::Wheel {
                end,
                commands,
                collected,
            } => (end, commands, collected),
            Compiled::Rehearsed { commands } => return Ok(Done::Rehearsed { commands }),
        };

        let begun = self.begin(Stage::Finish).await?;
        let wheel = collect::finish(self.job, staged, collected.wheel).await?;
        self.finish(Stage::Finish, begun).await;

        let begun = self.begin(Stage::Inspect).await?;
        let report = gate::inspect(staged, &wheel).await?;
        self.finish(Stage::Inspect, begun).await;

        let begun = self.begin(Stage::Judge).await?;
        let wheel = gate::judge(self, staged, wheel, report).await?;
        self.finish(Stage::Judge, begun).await;

        let begun = self.begin(Stage::Record).await?;
        let built = Done::Built {
            file_name: wheel.wheel().name().to_string(),
            gate: Box::new(gate_summary(&wheel)),
            commands: commands.clone(),
        };
        let cost = self.cost(&end);
        let facts = record::Facts {
            cost,
            wheel,
            source: prepared.source,
            patches: prepared.patches,
            image: prepared.image,
            tools: collected.tools,
            engine: format!("{} {}", self.cx.facts.name, self.cx.facts.version),
            commands,
        };
        record::write(self.job, staged, facts)
            .map_err(|error| Halt::file(Stage::Record, &error))?;
        self.finish(Stage::Record, begun).await;
        Ok(built)
    }

    pub(super) async fn begin(&mut self, stage: Stage) -> Result<Instant, Halt> {
        if self.cx.stop.stop.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        self.log.begin(stage);
        let job = self.job.id().clone();
        self.cx.say(Event::StageStarted { job, stage }).await;
        Ok(Instant::now())
    }

    pub(super) async fn finish(&mut self, stage: Stage, begun: Instant) {
        let elapsed = begun.elapsed();
        self.stages.push((stage, elapsed));
        let job = self.job.id().clone();
        let event = Event::StageFinished {
            job,
            stage,
            elapsed,
        };
        self.cx.say(event).await;
    }

    pub(super) async fn note(&mut self, text: String) {
        self.log.line(format!("wheelfarm: {text}").as_bytes());
        let job = self.job.id().clone();
        self.cx.say(Event::Note { job, text }).await;
    }

    /// The package's own source, and what is put into it.
    async fn fetch(&mut self) -> Result<SourceTree, Halt> {
        let release = self.job.release();
        let mut tree = self.fetch_one(&release.source).await?;
        for extra in &release.extra_sources {
            let folder = &extra.into.value;
            let part = self.fetch_one(&extra.source).await?;
            put_below(&mut tree, folder, &part).map_err(|error| {
                let detail = format!(
                    "{} cannot be put into `{folder}`: {}",
                    extra.source,
                    chain(&error)
                );
                Halt::failed(Stage::Fetch, FailureKind::Rejected, detail)
            })?;
        }
        Ok(tree)
    }

    async fn fetch_one(&self, source: &Source) -> Result<SourceTree, Halt> {
        let cancel = self.cx.stop.stop.clone();
        let (job, events) = (self.job.id(), &self.cx.events);
        let progress = |progress: FetchProgress| {
            if let Some(text) = progress_line(&progress) {
                // The screen may skip a line when it is slow.
                let job = job.clone();
                if events.try_send(Event::Line { job, text }).is_err() {
                    tracing::trace!("line not shown");
                }
            }
        };
        let fetched = self.cx.fetcher.fetch(source, progress);
        let res = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Halt::Cancelled),
            res = fetched => res,
        };
        res.map_err(|error| fetch_halt(&error))
    }

    async fn render(
        &mut self,
        staged: &StagedJob,
        patched: PatchedTree,
    ) -> Result<Utf8PathBuf, Halt> {
        let ca_bundle = self.cx.settings.ca_bundle.as_deref();
        let context = render::render(self.job, &patched, ca_bundle)
            .map_err(|error| Halt::failed(Stage::Render, FailureKind::Rejected, chain(&error)))?;
        record::write_context(context, staged)
            .await
            .map_err(|error| Halt::file(Stage::Render, &error))
    }

    pub(super) fn labels(&self) -> Labels {
        self.cx.job_labels(self.job)
    }

    pub(super) async fn tell(&self, event: Event) {
        self.cx.say(event).await;
    }

    fn cost(&self, end: &RunEnd) -> CostRecord {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        CostRecord {
            finished_at: jiff::Timestamp::now().to_string(),
            stages_ms: self
                .stages
                .iter()
                .map(|(stage, elapsed)| (stage.to_string(), ms(*elapsed)))
                .collect(),
            compile_cpu_ms: end.cpu_time.map(ms),
            peak_memory_bytes: end.peak_memory_bytes,
            cache: self.cache.clone(),
        }
    }
}

fn fetch_halt(error: &FetchError) -> Halt {
    let kind = match error.kind() {
        FetchErrorKind::Source => FailureKind::Rejected,
        FetchErrorKind::Network => FailureKind::Unreachable,
        FetchErrorKind::DiskFull => FailureKind::DiskFull,
        FetchErrorKind::Machine => FailureKind::Infrastructure,
    };
    let halt = Halt::failed(Stage::Fetch, kind, chain(error));
    match error.hint() {
        Some(hint) => halt.with_hint(hint),
        None => halt,
    }
}

/// How far a fetch got, in a line.
fn progress_line(progress: &FetchProgress) -> Option<String> {
    const MIB: u64 = 1024 * 1024;
    match progress {
        FetchProgress::Downloading {
            file_name,
            received_bytes,
            total_bytes,
        } => {
            let total = total_bytes.map(|total| format!(" of {}", total / MIB));
            let total = total.unwrap_or_default();
            Some(format!("{file_name}: {}{total} MiB", received_bytes / MIB))
        }
        FetchProgress::Retrying {
            reason,
            attempt,
            wait,
        } => Some(format!(
            "{reason}; attempt {attempt} in {}s",
            wait.as_secs()
        )),
        FetchProgress::Yanked { file_name, .. } => {
            Some(format!("{file_name} is yanked; taken because it is pinned"))
        }
        FetchProgress::Index { url } => Some(url.clone()),
        FetchProgress::Git { line } => Some(line.clone()),
        FetchProgress::Cached | FetchProgress::Waiting | FetchProgress::Reading => None,
    }
}
