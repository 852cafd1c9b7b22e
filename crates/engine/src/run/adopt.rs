//! Jobs that a killed run left in a container: the next run goes on with them.
//!
//! Before a container is begun, what the stages before it found out is written beside the job's log.
//! A container runs on when the farm's process is killed, and what has ended stays to be looked into; so
//! all that is lost with the process is the stage that it was in.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8Path;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelfarm_core::estimate::Grant;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::manifest::{PatchRecord, SourceRecord};
use wheelfarm_core::outcome::Stage;
use wheelfarm_core::plan::{Job, JobDigest, Need};

use super::BuildMode;
use super::image::{BuilderImage, kind_label};
use super::job::{JobContext, RunningJob};
use super::log::LogPlace;
use crate::container::{
    ContainerSpec, ContainerState, ContainerSummary, Engine, EngineError, EngineErrorKind,
    ImageKind, ImageSummary, Owned,
};
use crate::farm_folder::on_record;
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

impl Adopted {
    /// Whether it runs now, and so holds what it was given.
    pub(super) fn is_running(&self) -> bool {
        match self.found.state {
            ContainerState::Running => true,
            ContainerState::Created | ContainerState::Ended(_) => false,
        }
    }
}

/// What a killed run left that stays.
#[derive(Debug)]
pub(super) struct Left {
    /// What jobs of this run go on with.
    pub(super) adopted: Vec<Adopted>,
    /// What stays for a run that is about its jobs.
    pub(super) others: Vec<Adopted>,
    /// The jobs whose last attempt did not come to a record.
    pub(super) unfinished: BTreeSet<JobId>,
}

impl<E: Engine> JobContext<E> {
    /// The containers that jobs of this run can go on with. What runs for jobs that this run is not about
    /// stays for a run that is, unless they are up to date; everything else that a killed run left is
    /// removed, in the engine and on disk.
    pub(super) async fn adopt(&self, selected: &[&Job]) -> Result<Left, EngineError> {
        let (mut adopted, mut others) = (Vec::new(), Vec::new());
        let unfinished = self.out.unfinished().unwrap_or_else(|error| {
            tracing::warn!(%error, "unfinished jobs not looked at");
            Vec::new()
        });
        let names = unfinished.iter().map(|staged| staged.job().clone());
        let names: BTreeSet<_> = names.collect();
        let done = self.done_among(&names);
        for staged in unfinished {
            let is_selected = selected.iter().any(|job| job.id() == staged.job());
            // Begun by `--force`: no other run is about it.
            let is_wanted = is_selected || !done.contains(staged.job());
            let mut jobs = self.plan.jobs.iter();
            let job = jobs.find(|job| job.id() == staged.job() && is_wanted);
            let Some((note, found)) = self.adoptable(job, &staged).await? else {
                if let Err(error) = self.out.discard(staged) {
                    tracing::warn!(%error, "unfinished job not removed");
                }
                continue;
            };
            let one = Adopted {
                staged,
                note,
                found,
            };
            if is_selected && self.settings.mode == BuildMode::Build {
                adopted.push(one);
            } else {
                others.push(one);
            }
        }
        let all: Vec<_> = adopted.iter().chain(&others).collect();
        let stays = Owned {
            containers: all.iter().map(|one| one.found.id.clone()).collect(),
            volumes: all
                .iter()
                .flat_map(|one| one.note.volumes.clone())
                .collect(),
        };
        if let Err(error) = self.remove_leftovers(&stays).await {
            if error.kind() == EngineErrorKind::Gone {
                return Err(error);
            }
            tracing::warn!(%error, "something of a killed run stays");
        }
        self.remove_left_images(&all).await?;
        Ok(Left {
            adopted,
            others,
            unfinished: names,
        })
    }

    /// Those of these jobs that are up to date.
    fn done_among(&self, jobs: &BTreeSet<JobId>) -> BTreeSet<JobId> {
        if jobs.is_empty() {
            return BTreeSet::new();
        }
        // Without records, nothing is taken for done.
        let records = on_record(self.out.root()).unwrap_or_default();
        let needs = self.plan.needs(&records).into_iter();
        needs
            .filter(|(job, need)| *need == Need::UpToDate && jobs.contains(job.id()))
            .map(|(job, _)| job.id().clone())
            .collect()
    }

    /// Removes the images that jobs of a killed run had for themselves.
    async fn remove_left_images(&self, adopted: &[&Adopted]) -> Result<(), EngineError> {
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

/// For how long a container ran before it was found, by the clocks of the engine's host and of this one.
#[derive(Debug, Clone, Copy)]
pub(super) enum FoundAfter {
    /// It runs on.
    Running(Duration),
    /// It had ended by then.
    Ended(Duration),
}

impl FoundAfter {
    pub(super) fn of(found: &ContainerSummary) -> Self {
        let since_start = |until: Option<u64>| {
            let times = found.started_at_s.zip(until);
            Duration::from_secs(times.map_or(0, |(started, until)| until.saturating_sub(started)))
        };
        let now_s = u64::try_from(jiff::Timestamp::now().as_second()).ok();
        match found.state {
            ContainerState::Created => Self::Running(Duration::ZERO),
            ContainerState::Running => Self::Running(since_start(now_s)),
            ContainerState::Ended(_) => Self::Ended(since_start(found.finished_at_s)),
        }
    }

    /// How long it has taken.
    pub(super) fn took(self) -> Duration {
        match self {
            Self::Running(time) | Self::Ended(time) => time,
        }
    }

    /// What of that counts against its limit: what has ended, while nobody watched, cannot be stopped any more.
    pub(super) fn counts(self) -> Duration {
        match self {
            Self::Running(time) => time,
            Self::Ended(_) => Duration::ZERO,
        }
    }
}
