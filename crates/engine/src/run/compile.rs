//! The job's container: the package compiles in it, its command lines are looked at, and its wheel is
//! taken out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wheelfarm_core::commands::CommandReport;
use wheelfarm_core::manifest::CommandsRecord;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::package::{GpuWish, Resources};
use wheelfarm_core::plan::Job;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_core::render::REHEARSAL_VARIABLE;

use super::image::BuilderImage;
use super::job::{GRACE, Halt, JobContext, RunningJob};
use super::{BuildMode, Objects, collect, commands};
use crate::container::{
    self, ContainerSpec, Engine, GpuAccess, GpuOffer, Labels, Network, OwnedContainer,
    RootFileSystem, RunEnd, RunHow, RunLimits, Tmpfs, Volume,
};
use crate::out_folder::StagedJob;

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
    /// The stages that need the job's container, which is gone afterwards whatever happens.
    pub(super) async fn in_container(
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
