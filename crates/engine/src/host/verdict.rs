//! What goes and what stays, and why: a function of what lies there, what the farm still needs, and the
//! rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wheelfarm_core::ident::JobId;
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::quantity::ByteSize;

use super::things::{Inventory, Thing, ThingKind};
use crate::container::{ContainerState, Engine, EngineError, ImageRef, labels};
use crate::run::shared_images;

/// How old an image without a name must be: a build of images gives its steps labels before it gives the
/// last one a name.
const UNNAMED_AGE: Duration = Duration::from_hours(1);

/// How old a step that no image came of must be: a younger one may be of a build that goes on, of another
/// farm that shares it.
const STEP_AGE: Duration = Duration::from_hours(24);

/// What the farm as it is now still needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The digest of every job, by id.
    pub jobs: BTreeMap<String, String>,
    /// The jobs that are not up to date.
    pub undone: BTreeSet<String>,
    /// The packages.
    pub packages: BTreeSet<String>,
    /// The names of the images that jobs start from.
    pub images: BTreeSet<String>,
}

impl Wanted {
    /// What the jobs of a plan need, with what each job needs done.
    ///
    /// # Errors
    /// The engine does not say which base images it has.
    pub async fn of<E: Engine>(
        engine: &E,
        needs: &[(&Job, Need)],
        ca_bundle: Option<&[u8]>,
    ) -> Result<Self, EngineError> {
        let mut wanted = Self::default();
        for (job, need) in needs {
            let id = job.id().as_str().to_owned();
            if *need != Need::UpToDate {
                wanted.undone.insert(id.clone());
            }
            wanted.jobs.insert(id, job.digest().to_string());
            wanted.packages.insert(job.package().to_string());
            let images = shared_images(engine, job, ca_bundle).await?;
            wanted.images.extend(images.iter().map(ImageRef::to_string));
        }
        Ok(wanted)
    }

    /// Whether a build would go on from what is there of a thing's job.
    fn would_go_on(&self, thing: &Thing) -> bool {
        let Some(job) = thing.job() else { return false };
        let digest = thing.labels.value(labels::DIGEST);
        self.undone.contains(job) && self.jobs.get(job).map(String::as_str) == digest
    }
}

/// Which images of shared stages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedImages {
    /// Those that the matrix does not need.
    Unneeded,
    /// All.
    All,
}

/// When things are cleared away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// While nothing of the farm runs.
    Idle,
    /// While these jobs run, to make room for another.
    Building(BTreeSet<JobId>),
}

/// What is let go.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The time, in seconds since 1970.
    pub now_s: u64,
    /// How long proof images and what failed jobs left is kept.
    pub keep: Duration,
    /// The most that one package's compiler cache may hold; without it, a cache stays as large as it is.
    pub cache_bytes: Option<u64>,
    /// Which images of shared stages go.
    pub shared: SharedImages,
    /// When.
    pub when: When,
}

/// What becomes of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes, for this reason.
    Goes(String),
    /// It is made smaller, for this reason.
    Shrinks {
        /// To how many bytes.
        to_bytes: u64,
        /// Why.
        why: String,
    },
    /// It stays, for this reason.
    Stays(String),
}

impl Verdict {
    /// The stable name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Goes(_) => "goes",
            Self::Shrinks { .. } => "shrinks",
            Self::Stays(_) => "stays",
        }
    }

    /// Why.
    pub fn why(&self) -> &str {
        match self {
            Self::Goes(why) | Self::Stays(why) | Self::Shrinks { why, .. } => why,
        }
    }
}

/// What becomes of each thing, in the order of the inventory.
pub(super) fn judge(inventory: &Inventory, wanted: &Wanted, rules: &Rules) -> Vec<Verdict> {
    // A container that goes holds nothing any more. They come first.
    let mut gone = BTreeSet::new();
    let mut verdicts = Vec::new();
    for thing in &inventory.things {
        let holder = thing.holders.iter().find(|name| !gone.contains(*name));
        let verdict = judge_one(thing, holder, wanted, rules);
        if thing.kind == ThingKind::Container && matches!(verdict, Verdict::Goes(_)) {
            gone.insert(thing.name.clone());
        }
        verdicts.push(verdict);
    }
    verdicts
}

fn judge_one(thing: &Thing, holder: Option<&String>, wanted: &Wanted, rules: &Rules) -> Verdict {
    let goes = |why: &str| Verdict::Goes(why.to_owned());
    let stays = |why: &str| Verdict::Stays(why.to_owned());
    if let When::Building(running) = &rules.when
        && (matches!(thing.kind, ThingKind::Container | ThingKind::Volume)
            || running.iter().any(|job| thing.job() == Some(job.as_str())))
    {
        return stays("the run has it");
    }
    if let (Some(holder), true) = (holder, thing.kind != ThingKind::Cache) {
        return Verdict::Stays(format!("container {holder} has it"));
    }
    let is_old = |age: Duration| {
        let made = thing.made_at_s.unwrap_or(rules.now_s);
        rules.now_s.saturating_sub(made) > age.as_secs()
    };
    let (is_building, is_alone) = match &rules.when {
        When::Idle => (false, true),
        When::Building(running) => (true, running.is_empty()),
    };
    match thing.kind {
        ThingKind::Container => judge_container(thing, wanted),
        ThingKind::Volume => goes("no container has it any more"),
        ThingKind::UnnamedImage => {
            let (age, why) = match thing.labels.value(labels::FARM) {
                Some(_) => (UNNAMED_AGE, "another image took its name"),
                None => (STEP_AGE, "a step that no image came of"),
            };
            if is_alone && is_old(age) {
                goes(why)
            } else {
                stays("it may be a step of an image that is being built")
            }
        }
        ThingKind::JobImage => goes("the job that it was built for has ended"),
        ThingKind::ProofImage | ThingKind::StageImage if rules.shared == SharedImages::All => {
            goes("all images go")
        }
        ThingKind::ProofImage if is_building => goes("the next proof makes it again"),
        ThingKind::ProofImage if is_old(rules.keep) => {
            goes("it is old; the next proof makes it again")
        }
        ThingKind::ProofImage => stays("the next proof starts from it"),
        ThingKind::KeptVolume if wanted.would_go_on(thing) => {
            stays("`build --resume` goes on from it")
        }
        ThingKind::KeptVolume => goes("no job of the matrix would go on from it"),
        ThingKind::Cache => judge_cache(thing, holder, wanted, rules),
        ThingKind::StageImage if wanted.images.contains(&thing.name) => {
            stays("the matrix needs it")
        }
        ThingKind::StageImage => goes("no job of the matrix needs it"),
        ThingKind::BaseImage => stays("every farm of this host shares it"),
        ThingKind::FailedJob if is_old(rules.keep) => goes("it is old"),
        ThingKind::OldRuns => goes("they are old; what was learned of packages stays"),
        ThingKind::FailedJob => stays("someone may want to read why the job failed"),
    }
}

fn judge_container(thing: &Thing, wanted: &Wanted) -> Verdict {
    let why = match thing.state {
        Some(ContainerState::Running) if wanted.would_go_on(thing) => {
            "it runs; the next build goes on with it"
        }
        Some(ContainerState::Ended(_)) if wanted.would_go_on(thing) => {
            "it has ended; the next build looks at what came of it"
        }
        Some(ContainerState::Running | ContainerState::Ended(_) | ContainerState::Created)
        | None => return Verdict::Goes("a run that is no more left it".to_owned()),
    };
    Verdict::Stays(why.to_owned())
}

fn judge_cache(thing: &Thing, holder: Option<&String>, wanted: &Wanted, rules: &Rules) -> Verdict {
    let package = thing.labels.value(labels::PACKAGE);
    let is_wanted = package.is_none_or(|package| wanted.packages.contains(package));
    match (thing.size_bytes, rules.cache_bytes) {
        _ if !is_wanted && holder.is_none() => {
            Verdict::Goes("its package is not in the matrix".to_owned())
        }
        (Some(size), Some(limit)) if size > limit => Verdict::Shrinks {
            to_bytes: limit,
            why: format!("a cache may hold {}", ByteSize::from_bytes(limit)),
        },
        (None, Some(_)) => Verdict::Stays("how large it is: not checked".to_owned()),
        (Some(_), Some(_)) | (_, None) => {
            Verdict::Stays("builds find there what is compiled already".to_owned())
        }
    }
}
