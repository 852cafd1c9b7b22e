//! What lies on the host of a farm's: containers, volumes and images that carry its labels, and folders of its
//! `out/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use camino::Utf8PathBuf;
use wheelfarm_core::ident::JobId;

use super::disk::folder_bytes;
use super::image_tree::ImageTree;
use super::volumes::volume_sizes;
use crate::container::{
    ContainerId, ContainerState, ContainerSummary, Engine, EngineError, ImageId, ImageKind,
    ImageRef, ImageSummary, Labels, VolumeSummary, labels,
};
use crate::out_folder::OutFolder;
use crate::run::farm_labels;
use crate::store;

/// What a thing is, in the order in which things go: what is of least use first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThingKind {
    /// A container of a job, a proof or a look into an image.
    Container,
    /// What such a container writes to.
    Volume,
    /// An image whose name another took, or a step that no image came of.
    UnnamedImage,
    /// A job's own image.
    JobImage,
    /// What wheels are proved in.
    ProofImage,
    /// A build that did not end, for `build --resume`.
    KeptVolume,
    /// A compiler cache.
    Cache,
    /// A stage that jobs share.
    StageImage,
    /// A bootstrapped Debian.
    BaseImage,
    /// What a failed job left in `out/failed/`.
    FailedJob,
    /// Runs in the store that ended long ago.
    OldRuns,
}

impl ThingKind {
    /// The stable name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Volume => "volume",
            Self::UnnamedImage => "unnamed-image",
            Self::JobImage => "job-image",
            Self::ProofImage => "proof-image",
            Self::KeptVolume => "kept-volume",
            Self::Cache => "cache",
            Self::StageImage => "stage-image",
            Self::BaseImage => "base-image",
            Self::FailedJob => "failed-job",
            Self::OldRuns => "old-runs",
        }
    }
}

impl fmt::Display for ThingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a thing is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A container.
    Container(ContainerId),
    /// A volume, by its name.
    Volume,
    /// An image: the name, or the id of one that has none, and its id.
    Image(ImageRef, ImageId),
    /// A folder.
    Folder(Utf8PathBuf),
    /// What a store has of the runs that ended before a time.
    Runs {
        /// The store.
        store: Utf8PathBuf,
        /// The time, in seconds since 1970.
        before_s: u64,
    },
}

/// Something of the farm's that takes up room.
#[derive(Debug, Clone)]
pub struct Thing {
    /// What it is.
    pub kind: ThingKind,
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub place: Place,
    /// What removing it alone would free; `None` when that is not known. Of a container, what stands in its
    /// volumes counts there.
    pub size_bytes: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub made_at_s: Option<u64>,
    /// Its labels; a folder has none.
    pub labels: Labels,
    /// Of a container: how far it has come.
    pub state: Option<ContainerState>,
    /// The containers that have it.
    pub holders: Vec<String>,
}

impl Thing {
    /// The job that it is of.
    pub fn job(&self) -> Option<&str> {
        self.labels.value(labels::JOB)
    }
}

/// Of which volumes the size is asked for: that takes a container, which has them for as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes<'a> {
    /// Of all, if an image of the farm's is there to do it with.
    Measured,
    /// While these jobs run, of those alone that none of them removes: caches, and kept builds of other jobs that
    /// no container has. The engine does not remove a volume that a container has; and one that is gone when a
    /// container is made with it is made again, empty and without labels.
    WhileBuilding(&'a BTreeSet<JobId>),
    /// Of none.
    Unknown,
}

impl Sizes<'_> {
    fn asks_for(
        self,
        kind: ThingKind,
        volume: &VolumeSummary,
        containers: &[ContainerSummary],
    ) -> bool {
        let running = match self {
            Self::Measured => return true,
            Self::Unknown => return false,
            Self::WhileBuilding(running) => running,
        };
        let job = volume.labels.value(labels::JOB);
        let mut containers = containers.iter();
        let is_used = running.iter().any(|one| job == Some(one.as_str()))
            || containers.any(|container| container.volumes.contains(&volume.name));
        kind == ThingKind::Cache || kind == ThingKind::KeptVolume && !is_used
    }
}

/// What lies on the host of a farm's.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// By kind, then by name.
    pub things: Vec<Thing>,
    /// The farm's store, if it has one.
    pub(super) store: Option<Utf8PathBuf>,
    /// An image that the farm has here and that can look into volumes.
    pub(super) tool: Option<ImageId>,
    pub(super) images: ImageTree,
    pub(super) owner: Labels,
}

impl Inventory {
    /// Looks at everything of the farm's in the engine and in its `out/`.
    ///
    /// # Errors
    /// The engine cannot list what it has. Volumes whose size cannot be measured have none.
    pub async fn take<E: Engine>(
        engine: &Arc<E>,
        out: &OutFolder,
        farm: &str,
        sizes: Sizes<'_>,
    ) -> Result<Self, EngineError> {
        let label = out.label(farm);
        let owner = farm_labels(&label);
        let containers = engine.containers(&Labels::default()).await?;
        let images = engine.images().await?;
        let mut volumes = Vec::new();
        for (kind, key) in [
            (ThingKind::Volume, labels::FARM),
            (ThingKind::KeptVolume, labels::KEPT),
            (ThingKind::Cache, labels::CACHE),
        ] {
            let own = Labels::default().with(key, &label);
            let listed = engine.volumes(&own).await?;
            volumes.extend(listed.into_iter().map(|volume| (kind, volume)));
        }
        let tool = tool(&images, &owner);
        let asked = volumes.iter();
        let asked = asked.filter(|(kind, one)| sizes.asks_for(*kind, one, &containers));
        let names: Vec<_> = asked.map(|(_, volume)| volume.name.clone()).collect();
        let measured = match &tool {
            Some(tool) => {
                let measured = volume_sizes(engine, tool, &names, &owner).await;
                measured.unwrap_or_else(|error| {
                    tracing::warn!(%error, "volumes not measured");
                    BTreeMap::new()
                })
            }
            None => BTreeMap::new(),
        };
        let tree = ImageTree::new(&images);
        let mut things = own_containers(&containers, &owner);
        things.extend(
            volumes
                .into_iter()
                .map(|(kind, volume)| volume_thing(kind, volume, &measured, &containers)),
        );
        things.extend(own_images(&images, &tree, &containers, &owner));
        things.extend(failed_jobs(out));
        things.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let store = out.root().join(store::FILE_NAME);
        Ok(Self {
            things,
            store: store.is_file().then_some(store),
            tool,
            images: tree,
            owner,
        })
    }
}

fn own_containers(containers: &[ContainerSummary], owner: &Labels) -> Vec<Thing> {
    let own = containers
        .iter()
        .filter(|container| container.labels.contain(owner));
    own.map(|container| Thing {
        kind: ThingKind::Container,
        name: container.name.clone(),
        place: Place::Container(container.id.clone()),
        size_bytes: None,
        made_at_s: Some(container.created_at_s),
        labels: container.labels.clone(),
        state: Some(container.state),
        holders: Vec::new(),
    })
    .collect()
}

fn volume_thing(
    kind: ThingKind,
    volume: VolumeSummary,
    measured: &BTreeMap<String, u64>,
    containers: &[ContainerSummary],
) -> Thing {
    let holders = containers
        .iter()
        .filter(|container| container.volumes.contains(&volume.name))
        .map(|container| container.name.clone());
    Thing {
        kind,
        place: Place::Volume,
        size_bytes: measured.get(&volume.name).copied(),
        made_at_s: volume.created_at_s,
        labels: volume.labels,
        state: None,
        holders: holders.collect(),
        name: volume.name,
    }
}

fn own_images(
    images: &[ImageSummary],
    tree: &ImageTree,
    containers: &[ContainerSummary],
    owner: &Labels,
) -> Vec<Thing> {
    let unfinished = unfinished_steps(images, owner);
    let mut things = Vec::new();
    for image in images {
        let mut add = |kind: ThingKind, name: &ImageRef| {
            let holders = containers
                .iter()
                .filter(|container| container.image == image.id)
                .map(|container| container.name.clone());
            things.push(Thing {
                kind,
                name: name.to_string(),
                place: Place::Image(name.clone(), image.id.clone()),
                size_bytes: Some(tree.freed_by(&image.id)),
                made_at_s: Some(image.created_at_s),
                labels: image.labels.clone(),
                state: None,
                holders: holders.collect(),
            });
        };
        let is_own = image.labels.contain(owner);
        for name in &image.names {
            // An image that somebody builds on one of the farm's has its labels, and a name of its own.
            match kind_of_name(name) {
                Some(ImageKind::Base) if image.labels.value(labels::RECIPE).is_some() => {
                    add(ThingKind::BaseImage, name);
                }
                Some(ImageKind::Torch | ImageKind::Toolkit) if is_own => {
                    add(ThingKind::StageImage, name);
                }
                Some(ImageKind::Proof) if is_own => add(ThingKind::ProofImage, name),
                Some(ImageKind::Job) if is_own => add(ThingKind::JobImage, name),
                Some(_) | None => {}
            }
        }
        if unfinished.contains(&image.id) {
            add(
                ThingKind::UnnamedImage,
                &ImageRef::new(image.id.to_string()),
            );
        }
    }
    things
}

fn kind_of_name(name: &ImageRef) -> Option<ImageKind> {
    ImageKind::ALL
        .into_iter()
        .find(|kind| name.as_str().starts_with(kind.name_start()))
}

/// Images without a name and without images on top that are the farm's: those that have its labels, and steps of
/// a build that failed, which have none. Such a step is the farm's when it was made on top of a step of
/// an image of the farm's. What stands on a named image is somebody's who built on that.
fn unfinished_steps(images: &[ImageSummary], owner: &Labels) -> BTreeSet<ImageId> {
    let by_id: BTreeMap<_, _> = images.iter().map(|image| (&image.id, image)).collect();
    let parent = |image: &&ImageSummary| by_id.get(image.parent.as_ref()?).copied();
    // The steps below an image, down to where it started from.
    let steps = |image| {
        std::iter::successors(parent(&image), |image| parent(image))
            .take_while(|image| image.names.is_empty())
    };
    let parents: BTreeSet<_> = images.iter().filter_map(|i| i.parent.as_ref()).collect();
    let own_steps: BTreeSet<_> = images
        .iter()
        .filter(|image| image.labels.contain(owner))
        .flat_map(|image| steps(image).map(|step| &step.id))
        .collect();
    let is_stage = |image: &ImageSummary| {
        let kind = image.labels.value(labels::IMAGE_KIND);
        kind.is_some_and(|kind| {
            [ImageKind::Torch, ImageKind::Toolkit]
                .map(ImageKind::as_str)
                .contains(&kind)
        })
    };
    images
        .iter()
        .filter(|image| image.names.is_empty() && !parents.contains(&image.id))
        .filter(|image| match image.labels.value(labels::FARM) {
            Some(_) => image.labels.contain(owner) && !is_stage(image),
            None => steps(image).any(|step| own_steps.contains(&step.id)),
        })
        .map(|image| image.id.clone())
        .collect()
}

/// The smallest of the farm's images and of the bases that farms share: each has a shell, `du` and `find`.
fn tool(images: &[ImageSummary], owner: &Labels) -> Option<ImageId> {
    images
        .iter()
        .filter(|image| {
            let kind = image.names.iter().find_map(kind_of_name);
            match kind {
                Some(ImageKind::Base) => image.labels.value(labels::RECIPE).is_some(),
                Some(_) => image.labels.contain(owner),
                None => false,
            }
        })
        .min_by_key(|image| image.size_bytes)
        .map(|image| image.id.clone())
}

fn failed_jobs(out: &OutFolder) -> Vec<Thing> {
    let Ok(entries) = out.root().join("failed").read_dir_utf8() else {
        return Vec::new();
    };
    let things = entries.flatten().map(|entry| {
        let changed = entry.metadata().and_then(|facts| facts.modified()).ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let folder = entry.path().to_owned();
        Thing {
            kind: ThingKind::FailedJob,
            name: entry.file_name().to_owned(),
            size_bytes: Some(folder_bytes(&folder)),
            place: Place::Folder(folder),
            made_at_s: changed.map(|time| time.as_secs()),
            labels: Labels::default(),
            state: None,
            holders: Vec::new(),
        }
    });
    things.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, parent: &str, names: &[&str], own: &[(&str, &str)]) -> ImageSummary {
        ImageSummary {
            id: ImageId::new(id),
            names: names.iter().map(|name| ImageRef::new(*name)).collect(),
            parent: (!parent.is_empty()).then(|| ImageId::new(parent)),
            labels: own
                .iter()
                .fold(Labels::default(), |all, (key, value)| all.with(key, value)),
            size_bytes: 1,
            created_at_s: 0,
        }
    }

    #[test]
    fn steps_are_told_apart_by_what_they_stand_on() {
        let farm = (labels::FARM, "ours");
        let images = [
            image("base", "", &["nvidia/cuda:13"], &[]),
            image("shared", "base", &[], &[]),
            image("toolkit-step", "shared", &[], &[]),
            image(
                "toolkit",
                "toolkit-step",
                &["wheelfarm/toolkit:1"],
                &[farm, (labels::IMAGE_KIND, "toolkit")],
            ),
            // A job whose requirements could not be installed: a step without any label.
            image("failed", "toolkit-step", &[], &[]),
            // Somebody's own build on the same base, and one on our image, which has its labels.
            image("mine", "base", &[], &[]),
            image(
                "on-ours",
                "toolkit",
                &[],
                &[farm, (labels::IMAGE_KIND, "toolkit")],
            ),
            // A proof whose name another took, and one of another farm.
            image(
                "proof",
                "toolkit",
                &[],
                &[farm, (labels::IMAGE_KIND, "proof")],
            ),
            image("theirs", "shared", &[], &[(labels::FARM, "theirs")]),
        ];
        let owner = Labels::default().with(labels::FARM, "ours");
        let found = unfinished_steps(&images, &owner);
        let found: Vec<_> = found.iter().map(ImageId::as_str).collect();
        assert_eq!(found, ["failed", "proof"]);
    }

    #[test]
    fn an_image_that_looks_into_volumes_is_the_farms_or_a_base() {
        let owner = Labels::default().with(labels::FARM, "ours");
        let theirs = image("t", "", &["wheelfarm/job:1"], &[(labels::FARM, "theirs")]);
        let copied = image("c", "", &["me/app:1"], &[(labels::FARM, "ours")]);
        assert_eq!(tool(&[theirs.clone(), copied], &owner), None);
        let base = image(
            "b",
            "",
            &["wheelfarm/debian:bookworm"],
            &[(labels::RECIPE, "r")],
        );
        assert_eq!(tool(&[theirs, base], &owner), Some(ImageId::new("b")));
    }
}
