//! The job's container: the package compiles in it, its command lines are looked at, and its wheel is
//! taken out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wheelfarm_core::commands::CommandReport;
use wheelfarm_core::estimate::{self, Grant, ObjectCache, Sample, SampleEnd, Subject};
use wheelfarm_core::manifest::CommandsRecord;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::package::{GpuWish, Resources};
use wheelfarm_core::plan::Job;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_core::render::REHEARSAL_VARIABLE;

use super::adopt::{AttemptNote, FoundAfter, Prepared, can_go_on};
use super::cache::Usage;
use super::image::BuilderImage;
use super::job::{GRACE, Halt, JobContext, RunningJob};
use super::log::LogPlace;
use super::{BuildMode, Objects, cache, collect, commands};
use crate::container::{
    self, ContainerSpec, ContainerSummary, Engine, EngineError, EngineErrorKind, GpuAccess,
    GpuOffer, Labels, Network, OwnedContainer, RootFileSystem, RunEnd, RunHow, RunLimits, Tmpfs,
    Volume,
};
use crate::event::Event;
use crate::files::FileError;
use crate::host::disk;
use crate::out_folder::StagedJob;

/// How often a container is followed again that the engine lost sight of.
const MOST_ROUNDS: u32 = 10;

/// With less than this left, a disk counts as full: compilers give up before the last byte.
const FULL_BYTES: u64 = 256 << 20;

/// How many times what its package declares a build is believed to have written.
const MOST_TIMES: u64 = 8;

/// How long a wheel may take to come out of its container: the largest has a few GB.
const COLLECT_TIME: Duration = Duration::from_mins(30);

/// What a container leaves that ended well.
#[derive(Debug)]
pub(super) enum Compiled {
    Wheel {
        end: RunEnd,
        commands: CommandsRecord,
        collected: Box<collect::Collected>,
    },
    Rehearsed {
        commands: CommandsRecord,
    },
}

impl<E: Engine> JobContext<E> {
    fn kept_labels(&self, job: &Job) -> Labels {
        Labels::default()
            .with(container::labels::KEPT, &self.label())
            .with(container::labels::JOB, job.id().as_str())
    }

    /// Removes what is kept of a job's builds, but for one volume. One that cannot be removed now is
    /// tried again by the job's next build.
    pub(super) async fn remove_kept(&self, job: &Job, except: Option<&str>) {
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
}

impl<E: Engine> RunningJob<'_, E> {
    /// The stages that need the job's container, begun anew.
    pub(super) async fn in_container(
        &mut self,
        prepared: &Prepared,
        staged: &StagedJob,
    ) -> Result<Compiled, Halt> {
        let log = self.log.place();
        let log = log.map_err(|error| {
            let error = FileError::new("write", staged.path(), error);
            Halt::file(Stage::Compile, &error)
        })?;
        let begun = self.begin(Stage::Compile).await?;
        let spec = self.compile_spec(&prepared.image).await;
        let note = AttemptNote::new(self, &spec, prepared, log);
        if self.cx.settings.mode == BuildMode::Build {
            note.write(staged)
                .map_err(|error| Halt::file(Stage::Compile, &error))?;
        }
        let container = self.compile_container(spec).await?;
        self.see_through(container, None, log, staged, begun).await
    }

    /// The same stages in a container that an earlier run had begun.
    pub(super) async fn go_on(
        &mut self,
        note: AttemptNote,
        found: ContainerSummary,
        staged: &StagedJob,
    ) -> Result<Compiled, Halt> {
        let begun = self.begin(Stage::Compile).await?;
        let engine = Arc::clone(&self.cx.engine);
        let after = FoundAfter::of(&found);
        let container = OwnedContainer::adopt(engine, note.container, found.id, note.volumes);
        self.see_through(container, Some(after), note.log, staged, begun)
            .await
    }

    async fn see_through(
        &mut self,
        mut container: OwnedContainer<E>,
        found: Option<FoundAfter>,
        log: LogPlace,
        staged: &StagedJob,
        begun: Instant,
    ) -> Result<Compiled, Halt> {
        self.tell(Event::AttemptStarted {
            job: self.job.id().clone(),
            attempt: self.attempt,
            grant: self.grant,
            adopted: found.is_some(),
        })
        .await;
        let res = self
            .compile_and_collect(&container, (found, log), staged, begun)
            .await;
        // Until the wheel is on record: a disk may be full by then.
        if self.keeps_objects() {
            container.keep_volumes();
        }
        self.container = Some(container);
        res
    }

    async fn compile_container(&mut self, spec: ContainerSpec) -> Result<OwnedContainer<E>, Halt> {
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
        let Grant {
            compilers,
            milli_cpus,
            memory_bytes,
        } = self.grant;
        if memory_bytes < resources.memory.bytes() {
            let text = format!(
                "memory limited to {} MiB; the package asks for {}",
                memory_bytes / (1024 * 1024),
                resources.memory
            );
            self.note(text).await;
        }
        let process_mib = resources.memory_per_process.bytes() / (1024 * 1024);
        // A rehearsal leaves alone what a killed build of the job has running.
        let kind = match self.cx.settings.mode {
            BuildMode::Build => "",
            BuildMode::Rehearse => "rehearsal-",
        };
        let key = self.cx.key(self.job);
        let name = format!("wheelfarm-{kind}{}-{key}", self.job.id());
        let mut env = BTreeMap::from([("PROCESS_MEMORY_MIB".to_owned(), process_mib.to_string())]);
        // Never more than the package's own `MAX_JOBS`, if it has one: the grant was made with it.
        env.insert("MAX_JOBS".to_owned(), compilers.to_string());
        if self.cx.settings.mode == BuildMode::Rehearse {
            env.insert(REHEARSAL_VARIABLE.to_owned(), "1".to_owned());
        }
        let mut volumes = vec![self.volume(&name)];
        volumes.extend(self.cache_volume(&mut env));
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
            volumes,
            gpu: self.gpu().await,
            labels: self.labels(),
            name,
        }
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
            name: format!("wheelfarm-kept-{}-{}", self.job.id(), self.cx.key(self.job)),
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
        container: &OwnedContainer<E>,
        begin: (Option<FoundAfter>, LogPlace),
        staged: &StagedJob,
        begun: Instant,
    ) -> Result<Compiled, Halt> {
        let (end, commands) = self.compile(container, begin, staged, begun).await?;
        self.finish(Stage::Compile, begun).await;
        let commands = CommandsRecord::from(commands);
        if self.cx.settings.mode == BuildMode::Rehearse {
            return Ok(Compiled::Rehearsed { commands });
        }
        let begun = self.begin(Stage::Collect).await?;
        let at_once = self.cx.stop.at_once.clone();
        let collected = {
            let collected = collect::collect(self, container, staged);
            tokio::select! {
                biased;
                () = at_once.cancelled() => return Err(Halt::Cancelled),
                res = tokio::time::timeout(COLLECT_TIME, collected) => res,
            }
        };
        let collected = collected.unwrap_or_else(|_| {
            let minutes = COLLECT_TIME.as_secs() / 60;
            let detail = format!("the wheel was not out of its container after {minutes} minutes");
            Err(Halt::failed(
                Stage::Collect,
                FailureKind::Infrastructure,
                detail,
            ))
        })?;
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
        (found, log): (Option<FoundAfter>, LogPlace),
        staged: &StagedJob,
        begun: Instant,
    ) -> Result<(RunEnd, CommandReport), Halt> {
        let resources = self.job.release().resources;
        let mut found = found;
        let mut since = begun;
        let mut rounds = 0;
        let end = loop {
            match self.follow(container, found).await? {
                Ok(end) => break end,
                Err(error) if error.kind() == EngineErrorKind::Gone && rounds < MOST_ROUNDS => {
                    rounds += 1;
                    // The container may have outlived its engine.
                    let Some(after) = self.engine_back(container).await? else {
                        return Err(Halt::engine(Stage::Compile, &error));
                    };
                    // Not into the log: that has only what was built, and goes back.
                    let job = self.job.id().clone();
                    let text = "the engine was away; the container runs on".to_owned();
                    self.tell(Event::Note { job, text }).await;
                    let back = self.log.go_back(log);
                    back.map_err(|error| {
                        let error = FileError::new("write", staged.path(), error);
                        Halt::file(Stage::Compile, &error)
                    })?;
                    self.log.begin(Stage::Compile);
                    (found, since) = (Some(after), Instant::now());
                }
                Err(error) => return Err(Halt::engine(Stage::Compile, &error)),
            }
        };
        let compiled_for = found.map_or(Duration::ZERO, FoundAfter::took) + since.elapsed();
        let left = cache::left_by(container).await;
        self.cache = left.cache;
        if let Some(figures) = &self.cache {
            self.note(figures.to_string()).await;
        }
        let sample = self.sample(&end, left.usage, compiled_for);
        let (job, attempt) = (self.job.id().clone(), self.attempt);
        self.tell(Event::AttemptEnded {
            job,
            attempt,
            sample,
        })
        .await;
        if let Err(mut halt) = compile_verdict(&end, &resources, self.grant) {
            self.blame_a_full_disk(&mut halt);
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

    /// Sees the container to its end, from its start or from where it is.
    async fn follow(
        &mut self,
        container: &OwnedContainer<E>,
        found: Option<FoundAfter>,
    ) -> Result<Result<RunEnd, EngineError>, Halt> {
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
            let on_line = |line: &[u8]| log.line(line);
            let run = async {
                match found {
                    None => {
                        let run = container.run_to_end(&limits, &stop.stop, &at_once, on_line);
                        run.await
                    }
                    Some(after) => {
                        let (counts, limits) = (after.counts(), &limits);
                        container
                            .attach_to_end(counts, limits, &stop.stop, &at_once, on_line)
                            .await
                    }
                }
            };
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
        match wrong {
            Some(faults) => end
                .map_err(|error| Halt::engine(Stage::Compile, &error))
                .and(Err(commands::faults_halt(&faults))),
            None => Ok(end),
        }
    }

    /// Waits until the engine answers again: how long the container has been running, when it is still worth
    /// following.
    async fn engine_back(&self, container: &OwnedContainer<E>) -> Result<Option<FoundAfter>, Halt> {
        let patience = self.cx.settings.patience;
        let deadline = Instant::now() + patience.engine;
        while Instant::now() < deadline {
            tokio::select! {
                biased;
                () = self.cx.stop.stop.cancelled() => return Err(Halt::Cancelled),
                () = tokio::time::sleep(patience.look_again) => {}
            }
            let asked = tokio::select! {
                biased;
                () = self.cx.stop.stop.cancelled() => return Err(Halt::Cancelled),
                asked = tokio::time::timeout(patience.answer, container.find()) => asked,
            };
            match asked {
                Ok(Ok(Some(found))) if can_go_on(&found) => {
                    return Ok(Some(FoundAfter::of(&found)));
                }
                Ok(Ok(_)) => return Ok(None),
                Ok(Err(error)) => tracing::debug!(%error, "engine not back yet"),
                Err(_) => tracing::debug!("engine does not answer yet"),
            }
        }
        Ok(None)
    }

    /// A package's own exit code says nothing when there was no room left: the disk is the host's.
    fn blame_a_full_disk(&self, halt: &mut Halt) {
        let Halt::Failed(failure) = halt else {
            return;
        };
        let is_own = matches!(failure.kind, FailureKind::Script { .. });
        let folder = self.cx.facts.data_folder.as_ref();
        let room = folder.and_then(|folder| disk::room(folder).ok());
        if let Some(room) = room
            && is_own
            && room.free_bytes < FULL_BYTES
        {
            failure.kind = FailureKind::DiskFull;
            failure.detail = format!(
                "{}, with {} left on the engine's disk",
                failure.detail,
                ByteSize::from_bytes(room.free_bytes)
            );
            failure.hint = Some(
                "free some space: `wheelfarm gc --dry-run` shows what the farm no longer needs"
                    .to_owned(),
            );
        }
    }

    /// What can be learned from how the container ended. What the build says of itself counts for what the
    /// engine did not see: a run that was followed from its middle, a peak between two looks.
    fn sample(&self, end: &RunEnd, usage: Option<Usage>, compiled_for: Duration) -> Option<Sample> {
        // A rehearsal compiles nothing; and where there is a cache, only its figures tell a build that
        // compiled everything from one that compiled nothing.
        let settings = &self.cx.settings;
        let is_known = settings.object_cache() == ObjectCache::Off || self.cache.is_some();
        if settings.mode == BuildMode::Rehearse || !is_known {
            return None;
        }
        let how = match end.how {
            RunHow::Exited if end.exit_code == 0 => SampleEnd::Done,
            RunHow::OutOfMemory => SampleEnd::OutOfMemory,
            RunHow::Exited | RunHow::TimedOut | RunHow::Stalled | RunHow::Cancelled => return None,
        };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // The build could have written anything there.
        let usage = usage.unwrap_or_default();
        let most_cpu_ms = ms(compiled_for).saturating_mul(u64::from(self.cx.facts.cpus));
        let most_bytes = self
            .job
            .release()
            .resources
            .disk
            .bytes()
            .saturating_mul(MOST_TIMES);
        let peak = usage
            .peak_memory_bytes
            .map(|peak| peak.min(self.grant.memory_bytes));
        let Subject {
            package,
            version,
            targets,
            ..
        } = Subject::of(self.job);
        Some(Sample {
            at: jiff::Timestamp::now().to_string(),
            package,
            version,
            channel: self.job.channel().to_string(),
            targets,
            grant: self.grant,
            end: how,
            peak_memory_bytes: end.peak_memory_bytes.max(peak),
            cpu_ms: end
                .cpu_time
                .map(ms)
                .max(usage.cpu_ms.map(|cpu_ms| cpu_ms.min(most_cpu_ms))),
            compile_ms: ms(compiled_for),
            objects: self.cache.as_ref().map(|figures| {
                let counts = figures.objects();
                estimate::Objects {
                    needed: counts.needed,
                    compiled: counts.compiled,
                }
            }),
            disk_bytes: usage.build_bytes.map(|bytes| bytes.min(most_bytes)),
        })
    }
}

fn compile_verdict(end: &RunEnd, resources: &Resources, grant: Grant) -> Result<(), Halt> {
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
            format!("the build ran out of memory with {grant}"),
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
