//! Jobs that a killed run left in a container: the next run goes on with them.
//!
//! Before a container is begun, what the stages before it found out is written beside the job's log.
//! A container runs on when the farm's process is killed, and what has ended stays to be looked into; so
//! all that is lost with the process is the stage that it was in.

use std::time::Duration;

use camino::Utf8Path;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelfarm_core::estimate::Grant;
use wheelfarm_core::manifest::{PatchRecord, SourceRecord};
use wheelfarm_core::outcome::Stage;
use wheelfarm_core::plan::{Job, JobDigest};

use super::image::{BuilderImage, kind_label};
use super::job::{JobContext, RunningJob};
use super::log::LogPlace;
use crate::container::{
    ContainerSpec, ContainerState, ContainerSummary, Engine, EngineError, ImageKind, ImageSummary,
    Owned,
};
use crate::files::{self, FileError};
use crate::out_folder::{ATTEMPT_FILE, StagedJob};

const SCHEMA: u32 = 1;

/// What the stages before the container found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub(super) source: SourceRecord,
    pub(super) patches: Vec<PatchRecord>,
    pub(super) image: BuilderImage,
}

/// What is written down before a container is begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AttemptNote {
    schema: u32,
    job_digest: JobDigest,
    pub(super) container: String,
    pub(super) volumes: Vec<String>,
    pub(super) attempt: u32,
    pub(super) grant: Grant,
    pub(super) prepared: Prepared,
    pub(super) stages: Vec<(Stage, Duration)>,
    pub(super) log: LogPlace,
}

impl AttemptNote {
    /// The note of a container that is about to be begun.
    pub(super) fn new<E: Engine>(
        running: &RunningJob<'_, E>,
        spec: &ContainerSpec,
        prepared: &Prepared,
        log: LogPlace,
    ) -> Self {
        Self {
            schema: SCHEMA,
            job_digest: running.job.digest(),
            container: spec.name.clone(),
            volumes: spec
                .volumes
                .iter()
                .filter(|one| one.goes_with_container())
                .map(|one| one.name.clone())
                .collect(),
            attempt: running.attempt,
            grant: running.grant,
            prepared: prepared.clone(),
            stages: running.stages.clone(),
            log,
        }
    }

    pub(super) fn write(&self, staged: &StagedJob) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).expect("plain values serialise");
        files::write_atomic(staged.path().join(ATTEMPT_FILE), &text)
    }

    fn read(folder: &Utf8Path) -> Option<Self> {
        let text = fs::read(folder.join(ATTEMPT_FILE)).ok()?;
        let note: Self = serde_json::from_slice(&text).ok()?;
        (note.schema == SCHEMA).then_some(note)
    }
}

/// A container of a killed run, with all that its job needs to go on.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) staged: StagedJob,
    pub(super) note: AttemptNote,
    pub(super) found: ContainerSummary,
}

impl<E: Engine> JobContext<E> {
    /// The containers that jobs of this run can go on with; everything else that a killed run left is
    /// removed, in the engine and on disk.
    pub(super) async fn adopt<'a>(
        &self,
        jobs: impl Iterator<Item = &'a Job> + Clone,
    ) -> Result<Vec<Adopted>, EngineError> {
        let mut adopted = Vec::new();
        let unfinished = self.out.unfinished().unwrap_or_else(|error| {
            tracing::warn!(%error, "unfinished jobs not looked at");
            Vec::new()
        });
        for staged in unfinished {
            let job = jobs.clone().find(|job| job.id() == staged.job());
            match self.adoptable(job, &staged).await? {
                Some((note, found)) => adopted.push(Adopted {
                    staged,
                    note,
                    found,
                }),
                None => {
                    if let Err(error) = self.out.discard(staged) {
                        tracing::warn!(%error, "unfinished job not removed");
                    }
                }
            }
        }
        let stays = Owned {
            containers: adopted.iter().map(|one| one.found.id.clone()).collect(),
            volumes: adopted
                .iter()
                .flat_map(|one| one.note.volumes.clone())
                .collect(),
        };
        self.remove_leftovers(&stays).await?;
        self.remove_left_images(&adopted).await?;
        Ok(adopted)
    }

    /// Removes the images that jobs of a killed run had for themselves.
    async fn remove_left_images(&self, adopted: &[Adopted]) -> Result<(), EngineError> {
        let left = kind_label(self.labels(), ImageKind::Job);
        let images = self.engine.images().await?;
        let is_left = |image: &&ImageSummary| {
            let mut wanted = adopted.iter().map(|one| &one.note.prepared.image.id);
            image.labels.contain(&left) && !wanted.any(|id| *id == image.id)
        };
        for name in images.iter().filter(is_left).flat_map(|image| &image.names) {
            // `wheelfarm gc` tries again.
            if let Err(error) = self.engine.remove_image(name).await {
                tracing::warn!(%name, %error, "image of a killed run not removed");
            }
        }
        Ok(())
    }

    async fn adoptable(
        &self,
        job: Option<&Job>,
        staged: &StagedJob,
    ) -> Result<Option<(AttemptNote, ContainerSummary)>, EngineError> {
        let (Some(job), Some(note)) = (job, AttemptNote::read(staged.path())) else {
            return Ok(None);
        };
        if note.job_digest != job.digest() {
            return Ok(None);
        }
        let Some(found) = self.engine.find(&note.container).await? else {
            return Ok(None);
        };
        let is_ours = found.labels.contain(&self.job_labels(job));
        Ok((is_ours && can_go_on(&found)).then_some((note, found)))
    }
}

/// Whether a container that was found is worth going on with. One that ended badly without anybody
/// watching was stopped with its host or its engine, or fails again in a moment, from the cache.
pub(super) fn can_go_on(found: &ContainerSummary) -> bool {
    match found.state {
        ContainerState::Created => false,
        ContainerState::Running => true,
        ContainerState::Ended(exit) => exit.code == 0 && !exit.out_of_memory,
    }
}

/// For how long a container has been running, by the clocks of the engine's host and of this one.
pub(super) fn running_for(found: &ContainerSummary) -> Duration {
    let started = match found.state {
        ContainerState::Running => found.started_at_s,
        ContainerState::Created | ContainerState::Ended(_) => None,
    };
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    Duration::from_secs(started.map_or(0, |started| now.saturating_sub(started)))
}

/// For how long a container that has ended ran, by its engine's clock.
pub(super) fn ran_for(found: &ContainerSummary) -> Option<Duration> {
    let seconds = found.finished_at_s?.checked_sub(found.started_at_s?)?;
    Some(Duration::from_secs(seconds))
}
