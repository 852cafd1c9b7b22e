//! A container that must not be left behind, and its run from start to end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    ContainerId, ContainerSpec, Engine, EngineError, EngineErrorKind, Labels, Lines, Owned,
    TarSource, Usage, Volume,
};

/// How often a running container's memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// How long a killed container may take to be gone.
const KILL_TIME: Duration = Duration::from_mins(1);

/// The limits in time of a run.
#[derive(Debug, Clone, Copy)]
pub struct RunLimits {
    /// The whole run.
    pub total: Duration,
    /// The longest time without output.
    pub silence: Duration,
    /// How long a container that is asked to stop may take.
    pub grace: Duration,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunHow {
    /// By itself; the exit code says how well.
    Exited,
    /// A process was killed at the memory limit.
    OutOfMemory,
    /// It was killed at the total limit.
    TimedOut,
    /// It was killed at the silence limit.
    Stalled,
    /// It was stopped for the user.
    Cancelled,
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// Why.
    pub how: RunHow,
    /// The exit code.
    pub exit_code: i64,
    /// The most memory seen, in samples a second apart; absent for a run shorter than that.
    pub peak_memory_bytes: Option<u64>,
    /// Processor time at the last sample.
    pub cpu_time: Option<Duration>,
}

/// A container and its volumes. `remove` it on every path: dropping one only warns.
#[derive(Debug)]
pub struct OwnedContainer<E: Engine> {
    engine: Arc<E>,
    name: String,
    volumes: Vec<String>,
    id: Option<ContainerId>,
}

impl<E: Engine> OwnedContainer<E> {
    /// Creates a container. One of the same name and labels is a leftover and is replaced.
    pub async fn create(engine: Arc<E>, spec: ContainerSpec) -> Result<Self, EngineError> {
        let created = engine.create(&spec).await;
        let id = match created {
            Err(error) if error.kind() == EngineErrorKind::NameTaken => {
                remove_owned(&*engine, &spec.labels).await?;
                engine.create(&spec).await?
            }
            created => created?,
        };
        Ok(Self {
            engine,
            name: spec.name,
            volumes: spec
                .volumes
                .into_iter()
                .filter(Volume::goes_with_container)
                .map(|volume| volume.name)
                .collect(),
            id: Some(id),
        })
    }

    /// Takes over a container that is there, and its volumes.
    pub fn adopt(engine: Arc<E>, name: String, id: ContainerId, volumes: Vec<String>) -> Self {
        Self {
            engine,
            name,
            volumes,
            id: Some(id),
        }
    }

    /// Starts it, gives its output to `on_line`, and waits for its end. The ended container stays,
    /// so that files can be taken out.
    ///
    /// Not cancel-safe: cancel `stop` instead.
    pub async fn run_to_end(
        &self,
        limits: &RunLimits,
        stop: &CancellationToken,
        at_once: &CancellationToken,
        on_line: impl FnMut(&[u8]) + Send,
    ) -> Result<RunEnd, EngineError> {
        self.engine.start(self.id()?).await?;
        self.attach_to_end(Duration::ZERO, limits, stop, at_once, on_line)
            .await
    }

    /// Sees a container to its end that has been running for `elapsed`, which counts against the total limit:
    /// nothing of one that had ended when it was found. Its output comes from its beginning.
    ///
    /// Not cancel-safe: cancel `stop` instead.
    pub async fn attach_to_end(
        &self,
        elapsed: Duration,
        limits: &RunLimits,
        stop: &CancellationToken,
        at_once: &CancellationToken,
        mut on_line: impl FnMut(&[u8]) + Send,
    ) -> Result<RunEnd, EngineError> {
        let id = self.id()?;
        let mut watch = Watch {
            engine: &*self.engine,
            id,
            limits,
            left: limits.total.saturating_sub(elapsed),
            peak: None,
        };
        let how = watch.follow(stop, at_once, &mut on_line).await?;
        let exit = time::timeout(KILL_TIME, self.engine.wait(id))
            .await
            .map_err(|_| EngineError::new("see the container end", EngineErrorKind::Gone))??;
        let how = match how {
            RunHow::Exited if exit.out_of_memory => RunHow::OutOfMemory,
            how @ (RunHow::Exited
            | RunHow::OutOfMemory
            | RunHow::TimedOut
            | RunHow::Stalled
            | RunHow::Cancelled) => how,
        };
        Ok(RunEnd {
            how,
            exit_code: exit.code,
            peak_memory_bytes: watch.peak.map(|usage| usage.memory_bytes),
            cpu_time: watch.peak.map(|usage| usage.cpu_time),
        })
    }

    /// Unpacks a tar into one of its folders.
    pub async fn upload(&self, folder: &str, archive: TarSource) -> Result<(), EngineError> {
        self.engine.upload(self.id()?, folder, archive).await
    }

    /// One of its paths as a tar.
    pub async fn download(&self, path: &str) -> Result<E::Download, EngineError> {
        self.engine.download(self.id()?, path).await
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Itself as the engine sees it now; `None` when it is gone.
    pub async fn find(&self) -> Result<Option<super::ContainerSummary>, EngineError> {
        self.engine.find(&self.name).await
    }

    /// Leaves its volumes where they are when it is removed.
    pub fn keep_volumes(&mut self) {
        self.volumes.clear();
    }

    /// Removes it and its volumes. On an error it stays owned, so that a retry is possible.
    pub async fn remove(&mut self) -> Result<(), EngineError> {
        if let Some(id) = &self.id {
            self.engine.remove(id).await?;
            self.id = None;
        }
        while let Some(volume) = self.volumes.last() {
            self.engine.remove_volume(volume).await?;
            self.volumes.pop();
        }
        Ok(())
    }

    fn id(&self) -> Result<&ContainerId, EngineError> {
        self.id
            .as_ref()
            .ok_or_else(|| EngineError::new("use a removed container", EngineErrorKind::Other))
    }
}

impl<E: Engine> Drop for OwnedContainer<E> {
    fn drop(&mut self) {
        if self.id.is_some() {
            tracing::warn!(container = %self.name, "container was not removed");
        }
    }
}

struct Watch<'a, E: Engine> {
    engine: &'a E,
    id: &'a ContainerId,
    limits: &'a RunLimits,
    /// What is left of the total limit.
    left: Duration,
    peak: Option<Usage>,
}

impl<E: Engine> Watch<'_, E> {
    async fn follow(
        &mut self,
        stop: &CancellationToken,
        at_once: &CancellationToken,
        on_line: &mut (impl FnMut(&[u8]) + Send),
    ) -> Result<RunHow, EngineError> {
        let mut logs = std::pin::pin!(self.engine.logs(self.id));
        let mut lines = Lines::default();
        let mut samples = time::interval(SAMPLE_EVERY);
        samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
        samples.tick().await;
        let deadline = Instant::now() + self.left;
        let mut silence = Instant::now() + self.limits.silence;
        let how = loop {
            tokio::select! {
                biased;
                () = at_once.cancelled() => break RunHow::Cancelled,
                () = stop.cancelled() => break RunHow::Cancelled,
                () = time::sleep_until(deadline) => break RunHow::TimedOut,
                () = time::sleep_until(silence) => break RunHow::Stalled,
                _ = samples.tick() => {
                    self.sample().await;
                    // An engine that is slow to answer must not keep the log from its turn.
                    samples.reset();
                }
                chunk = logs.next() => match chunk {
                    None => break RunHow::Exited,
                    Some(chunk) => {
                        lines.push(&chunk?, on_line);
                        silence = Instant::now() + self.limits.silence;
                    }
                },
            }
        };
        self.end(how, at_once).await?;
        // What it said last is often why it was stopped.
        let rest = async {
            while let Some(Ok(chunk)) = logs.next().await {
                lines.push(&chunk, on_line);
            }
        };
        if time::timeout(SAMPLE_EVERY, rest).await.is_err() {
            tracing::debug!("log stream did not end with its container");
        }
        lines.finish(on_line);
        Ok(how)
    }

    async fn end(&self, how: RunHow, at_once: &CancellationToken) -> Result<(), EngineError> {
        match how {
            RunHow::Exited | RunHow::OutOfMemory => Ok(()),
            RunHow::TimedOut | RunHow::Stalled => self.engine.kill(self.id).await,
            RunHow::Cancelled => {
                tokio::select! {
                    biased;
                    () = at_once.cancelled() => self.engine.kill(self.id).await,
                    res = self.engine.stop(self.id, self.limits.grace) => res,
                }
            }
        }
    }

    /// Best effort: a figure that is missing never fails a build.
    async fn sample(&mut self) {
        match time::timeout(SAMPLE_EVERY, self.engine.usage(self.id)).await {
            Ok(Ok(usage)) => {
                let peak = self.peak.get_or_insert_default();
                peak.memory_bytes = peak.memory_bytes.max(usage.memory_bytes);
                peak.cpu_time = peak.cpu_time.max(usage.cpu_time);
            }
            Ok(Err(error)) => tracing::debug!(%error, "no usage"),
            Err(_) => tracing::debug!("no usage in time"),
        }
    }
}

/// Removes every container and volume that carries all of `labels`, and nothing else.
pub async fn remove_owned<E: Engine>(engine: &E, labels: &Labels) -> Result<(), EngineError> {
    remove_owned_but(engine, labels, &Owned::default()).await
}

/// Removes what carries all of `labels`, but for what is in `except`. One thing that cannot be removed does
/// not keep the others.
pub async fn remove_owned_but<E: Engine>(
    engine: &E,
    labels: &Labels,
    except: &Owned,
) -> Result<(), EngineError> {
    let owned = engine.owned(labels).await?;
    let goes = |container: &&ContainerId| !except.containers.contains(container);
    let mut failed = None;
    for container in owned.containers.iter().filter(goes) {
        failed = failed.or(engine.remove(container).await.err());
    }
    let goes = |volume: &&String| !except.volumes.contains(volume);
    for volume in owned.volumes.iter().filter(goes) {
        failed = failed.or(engine.remove_volume(volume).await.err());
    }
    failed.map_or(Ok(()), Err)
}
