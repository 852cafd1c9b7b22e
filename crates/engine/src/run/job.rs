//! One job from its source to its record: the stages in order, each taking what the one before
//! made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use tokio::sync::mpsc;
use wheelfarm_core::commands::CommandReport;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::report;
use wheelfarm_core::manifest::{CommandsRecord, CostRecord};
use wheelfarm_core::outcome::{Failure, FailureKind, Outcome, Stage};
use wheelfarm_core::package::{GpuWish, Resources};
use wheelfarm_core::plan::Job;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_core::render::{self, REHEARSAL_VARIABLE};
use wheelfarm_core::source::patch::PatchedTree;
use wheelfarm_core::source::{Source, SourceTree};

use super::gate::{self, JudgedWheel};
use super::image::{BuilderImage, Images};
use super::log::JobLog;
use super::{
    BuildMode, GateSummary, JobSummary, Objects, RunSettings, StopSignal, collect, commands,
    farm_labels, patch, record,
};
use crate::container::{
    self, ContainerSpec, Engine, EngineError, EngineErrorKind, EngineFacts, GpuAccess, GpuOffer,
    Labels, Network, OwnedContainer, RootFileSystem, RunEnd, RunHow, RunLimits, Tmpfs, Volume,
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
}

impl<E: Engine> JobContext<E> {
    /// The labels of what the whole run creates.
    pub(super) fn labels(&self) -> Labels {
        farm_labels(&self.label())
    }

    fn label(&self) -> String {
        self.out.label(&self.settings.farm)
    }

    /// Removes the containers and volumes that a killed run of this folder left in the engine.
    pub(super) async fn remove_leftovers(&self) -> Result<(), EngineError> {
        container::remove_owned(&*self.engine, &self.labels()).await
    }

    pub(super) async fn run(&self, job: Job) -> JobSummary {
        let started = Instant::now();
        let id = job.id().clone();
        let staged = match self.out.stage(&id) {
            Ok(staged) => staged,
            Err(error) => return failed_early(&job, Halt::file(Stage::Fetch, &error), started),
        };
        let log = match JobLog::create(staged.path(), &id, self.events.clone()) {
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
        };
        let res = running.stages(&staged).await;
        super::image::remove_builder(&running).await;
        let is_built = matches!(res, Ok(Done::Built { .. }));
        let summary = running.end(staged, res);
        if is_built && summary.outcome == Outcome::Built {
            self.remove_kept(&job, None).await;
        }
        JobSummary {
            elapsed: started.elapsed(),
            ..summary
        }
    }

    /// What a container may use: the package's wish, cut to what the host has for each job.
    fn share(&self, resources: &Resources) -> (u64, u64) {
        let slots = u64::try_from(self.settings.jobs).unwrap_or(1).max(1);
        let host = self.facts.memory_bytes;
        let budget = self
            .settings
            .memory
            .map_or(host, |cap| cap.bytes().min(host));
        let memory_bytes = resources.memory.bytes().min(budget / slots);
        let milli_cpus = (u64::from(self.facts.cpus) * 1000 / slots).max(1000);
        (memory_bytes, milli_cpus)
    }

    fn kept_labels(&self, job: &Job) -> Labels {
        Labels::default()
            .with(container::labels::KEPT, &self.label())
            .with(container::labels::JOB, job.id().as_str())
    }

    /// Removes what is kept of a job's builds, but for one volume. One that cannot be removed now is
    /// tried again by the job's next build.
    async fn remove_kept(&self, job: &Job, except: Option<&str>) {
        let kept = match self.engine.owned(&self.kept_labels(job)).await {
            Ok(kept) => kept.volumes,
            Err(error) => {
                tracing::warn!(job = %job.id(), %error, "kept volumes not listed");
                return;
            }
        };
        let others = kept.iter().filter(|name| Some(name.as_str()) != except);
        for volume in others {
            if let Err(error) = self.engine.remove_volume(volume).await {
                tracing::warn!(job = %job.id(), %error, "kept volume not removed");
            }
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

/// What a container leaves that ended well.
#[derive(Debug)]
enum Compiled {
    Wheel {
        end: RunEnd,
        commands: CommandsRecord,
        collected: Box<collect::Collected>,
    },
    Rehearsed {
        commands: CommandsRecord,
    },
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
        } = self;
        let mut summary = JobSummary {
            stages,
            ..JobSummary::without_work(job.id().clone(), Outcome::Built)
        };
        let last_lines = log.telling_lines();
        let closed = log
            .close()
            .map_err(|error| FileError::new("write", staged.path(), error))
            .map_err(|error| Halt::file(Stage::Record, &error));
        let put = match res.and_then(|done| closed.map(|()| done)) {
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
                summary.outcome = Outcome::Failed(failure);
                summary.last_lines = last_lines;
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

    /// Every stage.
    async fn stages(&mut self, staged: &StagedJob) -> Result<Done, Halt> {
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

        let res = self.in_container(&image, staged).await;
        super::image::remove_builder(self).await;
        let (end, commands, collected) = match res? {
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
            source,
            patches,
            image,
            tools: collected.tools,
            engine: format!("{} {}", self.cx.facts.name, self.cx.facts.version),
            commands,
        };
        record::write(self.job, staged, facts)
            .map_err(|error| Halt::file(Stage::Record, &error))?;
        self.finish(Stage::Record, begun).await;
        Ok(built)
    }

    /// The stages that need the job's container, which is gone afterwards whatever happens.
    async fn in_container(
        &mut self,
        image: &BuilderImage,
        staged: &StagedJob,
    ) -> Result<Compiled, Halt> {
        let begun = self.begin(Stage::Compile).await?;
        let mut container = self.compile_container(image).await?;
        let res = self
            .compile_and_collect(&mut container, staged, begun)
            .await;
        // Until the wheel is on record: a disk may be full by then.
        if self.keeps_objects() {
            container.keep_volumes();
        }
        if let Err(error) = container.remove().await {
            tracing::warn!(job = %self.job.id(), %error, "container left for the next run to remove");
        }
        res
    }

    async fn begin(&mut self, stage: Stage) -> Result<Instant, Halt> {
        if self.cx.stop.stop.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        self.log.begin(stage);
        let job = self.job.id().clone();
        self.cx.say(Event::StageStarted { job, stage }).await;
        Ok(Instant::now())
    }

    async fn finish(&mut self, stage: Stage, begun: Instant) {
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

    async fn compile_container(&mut self, image: &BuilderImage) -> Result<OwnedContainer<E>, Halt> {
        let spec = self.compile_spec(image).await;
        if self.keeps_objects() {
            // What was kept of the job under another digest is of no use any more.
            let own = spec.volumes.first().map(|volume| volume.name.as_str());
            self.cx.remove_kept(self.job, own).await;
        }
        let created = OwnedContainer::create(Arc::clone(&self.cx.engine), spec).await;
        if created.is_err() {
            // A volume that was filled in part looks like one that was gone on from.
            self.cx.remove_kept(self.job, None).await;
        }
        created.map_err(|error| Halt::engine(Stage::Compile, &error))
    }

    async fn compile_spec(&mut self, image: &BuilderImage) -> ContainerSpec {
        let resources = self.job.release().resources;
        let (memory_bytes, milli_cpus) = self.cx.share(&resources);
        if memory_bytes < resources.memory.bytes() {
            let text = format!(
                "memory limited to {} MiB; the package asks for {}",
                memory_bytes / (1024 * 1024),
                resources.memory
            );
            self.note(text).await;
        }
        let process_mib = resources.memory_per_process.bytes() / (1024 * 1024);
        let name = format!("wheelfarm-{}-{}", self.job.id(), self.key());
        let mut env = BTreeMap::from([("PROCESS_MEMORY_MIB".to_owned(), process_mib.to_string())]);
        if self.cx.settings.mode == BuildMode::Rehearse {
            env.insert(REHEARSAL_VARIABLE.to_owned(), "1".to_owned());
        }
        ContainerSpec {
            image: image.id.clone(),
            command: Vec::new(),
            env,
            working_dir: None,
            user: Some("10001:10001".to_owned()),
            network: Network::Off,
            memory_bytes,
            milli_cpus,
            pids_limit: resources.processes,
            root: RootFileSystem::ReadOnly,
            tmpfs: vec![Tmpfs {
                path: "/tmp".to_owned(),
                size_bytes: memory_bytes / 4,
            }],
            volumes: vec![self.volume(&name)],
            gpu: self.gpu().await,
            labels: self.labels(),
            name,
        }
    }

    /// Names what this job creates in the engine: two farms of one host may build the same job at
    /// the same time, and the engine has one space of names.
    pub(super) fn key(&self) -> String {
        let farm = Sha256Digest::of(self.cx.label().as_bytes());
        format!("{}-{}", self.job.digest().short(), farm.short())
    }

    pub(super) fn labels(&self) -> Labels {
        self.cx
            .labels()
            .with(container::labels::JOB, self.job.id().as_str())
            .with(container::labels::DIGEST, &self.job.digest().to_string())
    }

    /// A rehearsal leaves nothing that a build could go on from.
    fn keeps_objects(&self) -> bool {
        let settings = &self.cx.settings;
        settings.objects == Objects::Keep && settings.mode == BuildMode::Build
    }

    /// Where the build happens. What is kept is not the farm's to clean up: the next run goes on
    /// from it.
    fn volume(&self, container: &str) -> Volume {
        let path = "/build".to_owned();
        if !self.keeps_objects() {
            return Volume {
                name: container.to_owned(),
                path,
                labels: self.labels(),
            };
        }
        Volume {
            name: format!("wheelfarm-kept-{}-{}", self.job.id(), self.key()),
            path,
            labels: self
                .cx
                .kept_labels(self.job)
                .with(container::labels::DIGEST, &self.job.digest().to_string()),
        }
    }

    async fn gpu(&mut self) -> Option<GpuAccess> {
        match (self.job.release().gpu, self.cx.facts.gpu) {
            (GpuWish::None, _) => None,
            (GpuWish::Auto | GpuWish::Required, GpuOffer::None) => {
                let text = "the engine offers no GPU: building without one".to_owned();
                self.note(text).await;
                None
            }
            (GpuWish::Auto | GpuWish::Required, offer) => Some(GpuAccess { offer }),
        }
    }

    async fn compile_and_collect(
        &mut self,
        container: &mut OwnedContainer<E>,
        staged: &StagedJob,
        begun: Instant,
    ) -> Result<Compiled, Halt> {
        let (end, commands) = self.compile(container, staged).await?;
        self.finish(Stage::Compile, begun).await;
        let commands = CommandsRecord::from(commands);
        if self.cx.settings.mode == BuildMode::Rehearse {
            return Ok(Compiled::Rehearsed { commands });
        }
        let begun = self.begin(Stage::Collect).await?;
        let collected = collect::collect(self, container, staged).await?;
        self.finish(Stage::Collect, begun).await;
        Ok(Compiled::Wheel {
            end,
            commands,
            collected: Box::new(collected),
        })
    }

    /// Runs the build, and stops it as soon as its command lines are wrong: it may take hours.
    async fn compile(
        &mut self,
        container: &OwnedContainer<E>,
        staged: &StagedJob,
    ) -> Result<(RunEnd, CommandReport), Halt> {
        let resources = self.job.release().resources;
        let limits = RunLimits {
            total: resources.time.duration(),
            silence: resources.silence.duration(),
            grace: GRACE,
        };
        let (log, stop) = (&mut self.log, &self.cx.stop);
        let at_once = stop.at_once.child_token();
        let mut wrong = None;
        let end = {
            let run = container.run_to_end(&limits, &stop.stop, &at_once, |line| log.line(line));
            let mut run = std::pin::pin!(run);
            tokio::select! {
                biased;
                end = &mut run => end,
                faults = commands::first_faults(self.job, container) => {
                    wrong = Some(faults);
                    at_once.cancel();
                    run.await
                }
            }
        };
        let end = end.map_err(|error| Halt::engine(Stage::Compile, &error))?;
        if let Some(faults) = wrong {
            return Err(commands::faults_halt(&faults));
        }
        let memory_bytes = self.cx.share(&resources).0;
        if let Err(mut halt) = compile_verdict(&end, &resources, memory_bytes) {
            if let Halt::Failed(failure) = &mut halt {
                for fault in commands::faults_of_failed(self.job, container).await {
                    failure.detail = format!("{}\n{fault}", failure.detail);
                }
            }
            return Err(halt);
        }
        let report = commands::check(self.job, container, staged).await?;
        if let Some(reason) = &report.not_checked {
            self.note(format!("nvcc's command lines: not checked, {reason}"))
                .await;
        }
        Ok((end, report))
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
        }
    }
}

fn compile_verdict(end: &RunEnd, resources: &Resources, memory_bytes: u64) -> Result<(), Halt> {
    let (kind, detail, hint) = match end.how {
        RunHow::Exited => match end.exit_code {
            0 => return Ok(()),
            exit_code => (
                FailureKind::Script { exit_code },
                format!("the build ended with exit code {exit_code}"),
                None,
            ),
        },
        RunHow::OutOfMemory => (
            FailureKind::OutOfMemory,
            format!(
                "the build ran out of its {} of memory",
                ByteSize::from_bytes(memory_bytes)
            ),
            Some("raise `resources.memory`, or `memory-per-process` so that fewer compilers run"),
        ),
        RunHow::TimedOut => (
            FailureKind::TimedOut,
            format!("the build ran longer than {}", resources.time),
            Some("raise `resources.time` in the package"),
        ),
        RunHow::Stalled => (
            FailureKind::Stalled,
            format!("the build printed nothing for {}", resources.silence),
            Some("raise `resources.silence` in the package"),
        ),
        RunHow::Cancelled => return Err(Halt::Cancelled),
    };
    let halt = Halt::failed(Stage::Compile, kind, detail);
    Err(match hint {
        Some(hint) => halt.with_hint(hint),
        None => halt,
    })
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
