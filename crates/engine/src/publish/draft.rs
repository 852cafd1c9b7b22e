//! A release that is not out yet.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use wheelfarm_core::release::ReleaseError;
use wheelfarm_core::release::catalog::{self, Catalog, CatalogWheel, Track, VariantTree};
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::release::links::Links;
use wheelfarm_core::wheel::name::WheelName;

use super::records::{ReadyWheel, RecordError, receipt_suffix};
use crate::prove::container::ProofRecord;
use crate::run::StopSignal;
use crate::shelf::change::between;
use crate::shelf::{Blob, Brought, Change, Fault, Head, Progress, Shelf, Snapshot};

/// A release could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PublishError<F: Fault> {
    /// The wheels do not go together, or not with what is out.
    #[error("failed to lay out the release")]
    Release(#[source] ReleaseError),
    /// A wheel on record cannot go out.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The shelf failed.
    #[error("failed to {action} `{address}`")]
    Shelf {
        /// What was done.
        action: &'static str,
        /// To which shelf.
        address: String,
        /// Why.
        #[source]
        source: F,
    },
    /// The release is out, and a place that shows it does not yet.
    #[error("failed to show the release of `{address}`")]
    Unshown {
        /// The shelf.
        address: String,
        /// Why.
        #[source]
        source: F,
    },
    /// What the shelf has after the release is not what was published.
    #[error("`{address}` does not have the release that was published: {what}")]
    Unsettled {
        /// The shelf.
        address: String,
        /// What is wrong.
        what: String,
    },
    /// The user asked to stop.
    #[error("stopped; the release is as it was")]
    Stopped,
}

impl<F: Fault> Fault for PublishError<F> {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Release(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Shelf { source, .. } => source.hint(),
            Self::Unsettled { .. } | Self::Unshown { .. } => {
                Some("run it again: nothing is brought twice".to_owned())
            }
            Self::Stopped => None,
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Release(_) => true,
            Self::Record(error) => error.is_refusal(),
            Self::Shelf { source, .. } | Self::Unshown { source, .. } => source.is_refusal(),
            Self::Unsettled { .. } | Self::Stopped => false,
        }
    }

    fn is_bad_input(&self) -> bool {
        matches!(self, Self::Shelf { source, .. } if source.is_bad_input())
    }
}

/// A release as it would be, on the state of the shelf that was read.
#[derive(Debug, Clone)]
pub struct Draft {
    read: Snapshot,
    catalog: Catalog,
    wheels: Vec<ReadyWheel>,
    blobs: Vec<Blob>,
    links: Links,
    index_url: Option<String>,
    track: Track,
    /// Files beside wheels that are on the shelf and of no record any more.
    gone: BTreeSet<String>,
    proofs: Vec<ProofRecord>,
}

/// A draft for whoever tries it before it goes out.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The catalog of the release as it would be.
    pub catalog: &'a Catalog,
    /// The wheels that come or change with it.
    pub changed: BTreeSet<WheelName>,
    /// Where the files that the shelf may not have yet lie on this machine, by their path from the
    /// root of the release.
    pub places: BTreeMap<String, Utf8PathBuf>,
}

/// What came of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The number of the release that lists the wheels; one from before if there was nothing to do.
    pub release: u64,
    /// Where it can be read.
    pub head: Head,
    /// What it lists.
    pub catalog: Catalog,
    /// What bringing took.
    pub brought: Brought,
    /// How many files were written, the wheels and their METADATA left out.
    pub written: usize,
    /// How many files were deleted.
    pub deleted: usize,
}

impl Draft {
    /// The release of `wheels` on `track` after the one that `shelf` has, made at `now` (RFC 3339).
    /// `variants` is what is wanted of the tree of wheel variants, if anything is; without it, what there
    /// is of it stays.
    pub async fn of<S: Shelf>(
        shelf: &S,
        wheels: Vec<ReadyWheel>,
        track: Track,
        variants: Option<VariantTree>,
        now: &str,
    ) -> Result<Self, PublishError<S::Error>> {
        let fail = |source| shelf_failed(shelf, "read", source);
        let read = shelf.read().await.map_err(fail)?;
        shelf.check_writing(&read.catalog).map_err(fail)?;
        let told = wheels.iter().map(|ready| CatalogWheel {
            variant: ready.variant.as_ref().map(|made| made.variant.clone()),
            ..ready.wheel.clone()
        });
        let mut catalog = read
            .catalog
            .with(told, track, now)
            .map_err(PublishError::Release)?;
        catalog.variants = match (variants, catalog.variants) {
            // What was decided once stays until something else is.
            (Some(wanted), Some(old)) if wanted.plain.is_empty() => Some(old),
            (Some(wanted), _) => Some(wanted),
            (None, old) => old,
        };
        let mut draft = Self {
            blobs: blobs(&wheels, &catalog)?,
            catalog,
            links: shelf.links(),
            index_url: shelf.index_url(),
            wheels,
            track,
            gone: BTreeSet::new(),
            proofs: Vec::new(),
            read,
        };
        let lost = draft.lost_receipts();
        for path in lost {
            let there = shelf.file(&draft.read.head, &path).await.map_err(fail)?;
            if there.is_some() {
                draft.gone.insert(path);
            }
        }
        Ok(draft)
    }

    /// The release as somebody tries it who is to refuse it.
    pub fn candidate(&self) -> Candidate<'_> {
        let blobs = self.blobs.iter();
        Candidate {
            catalog: &self.catalog,
            changed: self
                .changed()
                .map(|wheel| wheel.file_name.clone())
                .collect(),
            places: blobs
                .map(|blob| (blob.path.clone(), blob.source.clone()))
                .collect(),
        }
    }

    /// The wheels of this publication.
    pub fn wheels(&self) -> &[ReadyWheel] {
        &self.wheels
    }

    /// What the catalog will say of them, in the order of their names.
    pub fn listed(&self) -> Vec<&CatalogWheel> {
        let names: BTreeSet<_> = self
            .wheels
            .iter()
            .map(|ready| &ready.wheel.file_name)
            .collect();
        let wheels = names.into_iter();
        wheels
            .filter_map(|name| self.catalog.wheels.get(name))
            .collect()
    }

    /// The track that they are listed on.
    pub fn track(&self) -> Track {
        self.track
    }

    /// The state of the shelf that it is made on.
    pub fn head(&self) -> &Head {
        &self.read.head
    }

    /// The number that the release would have.
    pub fn release(&self) -> u64 {
        self.catalog.release
    }

    /// What is brought, unless the shelf has it.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// The paths of those blobs that the shelf does not have.
    pub async fn missing<S: Shelf>(
        &self,
        shelf: &S,
    ) -> Result<BTreeSet<String>, PublishError<S::Error>> {
        let fail = |source| shelf_failed(shelf, "read", source);
        let there = shelf.files(&self.read.head).await.map_err(fail)?;
        let blobs = self.blobs.iter().map(|blob| &blob.path);
        Ok(blobs
            .filter(|path| !there.contains_key(*path))
            .cloned()
            .collect())
    }

    /// How lines that somebody types here point at the files of the release.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Takes up what a proof of a wheel came to; it goes out beside the wheel.
    pub fn add_proof(&mut self, proof: ProofRecord) {
        self.proofs.push(proof);
    }

    /// Whether the shelf has all of this.
    pub fn is_there(&self) -> bool {
        let old = self.layout_of(&self.read.catalog);
        self.proofs.is_empty()
            && self.read.catalog.release > 0
            && old.is_there()
            && self.catalog.wheels == self.read.catalog.wheels
            && self.catalog.variants == self.read.catalog.variants
    }

    /// What would become of the shelf. Wheels that were not brought yet have no commit in it.
    pub fn change(&self) -> Change {
        let old = self.layout_of(&self.read.catalog);
        let new = self.layout_of(&self.catalog);
        let old = (self.read.catalog.release > 0).then_some(&old);
        let mut change = between(old, &new, self.title());
        for ready in &self.wheels {
            let Some(listed) = self.changed().find(|wheel| {
                wheel.file_name == ready.wheel.file_name && wheel.job == ready.wheel.job
            }) else {
                continue;
            };
            let beside = ready.beside.iter();
            let beside =
                beside.map(|(suffix, text)| (format!("{}{suffix}", listed.path()), text.clone()));
            change.put.extend(beside);
        }
        let proofs = self.proofs.iter();
        change
            .put
            .extend(proofs.map(|proof| (proof.path.clone(), proof.text.clone().into_bytes())));
        change.delete.extend(self.gone.iter().cloned());
        change.add.clone_from(&self.blobs);
        change
    }

    /// Brings the wheels and lists them, and looks whether the shelf says so afterwards. Nothing is
    /// done when the shelf has all of it.
    ///
    /// Cut at any moment, the shelf has the old release or the new one, and this, run again, ends in
    /// the new one.
    pub async fn publish<S: Shelf>(
        mut self,
        shelf: &S,
        progress: &dyn Progress,
        stop: &StopSignal,
    ) -> Result<Published, PublishError<S::Error>> {
        let fail = |action| move |source| shelf_failed(shelf, action, source);
        if self.is_there() {
            let settled = shelf.settle(&self.read.catalog).await;
            settled.map_err(|source| unshown(shelf, source))?;
            return Ok(Published {
                release: self.read.catalog.release,
                head: self.read.head,
                catalog: self.read.catalog,
                brought: Brought {
                    unchanged: self.blobs.len(),
                    ..Brought::default()
                },
                written: 0,
                deleted: 0,
            });
        }
        let brought = tokio::select! {
            biased;
            () = stop.stop.cancelled() => return Err(PublishError::Stopped),
            brought = shelf.bring(&self.blobs, progress) => brought.map_err(fail("bring wheels to"))?,
        };
        self.pin(brought.commit.as_deref());
        let change = self.change();
        // Not to be stopped any more: it comes about as a whole.
        let head = shelf.commit(&self.read.head, &change).await;
        let head = head.map_err(fail("publish to"))?;
        self.check(shelf, &head).await?;
        let settled = shelf.settle(&self.catalog).await;
        settled.map_err(|source| unshown(shelf, source))?;
        Ok(Published {
            release: self.catalog.release,
            head,
            catalog: self.catalog,
            written: change.put.len(),
            deleted: change.delete.len(),
            brought,
        })
    }

    /// Gives the wheels that came now the commit that links to them are pinned to.
    fn pin(&mut self, commit: Option<&str>) {
        for ready in &self.wheels {
            if let Some(wheel) = self.catalog.wheels.get_mut(&ready.wheel.file_name) {
                let variant = wheel.variant.as_mut().map(|variant| &mut variant.commit);
                for pinned in [Some(&mut wheel.commit), variant].into_iter().flatten() {
                    *pinned = pinned.take().or_else(|| commit.map(str::to_owned));
                }
            }
        }
    }

    async fn check<S: Shelf>(&self, shelf: &S, head: &Head) -> Result<(), PublishError<S::Error>> {
        let fail = |source| shelf_failed(shelf, "read", source);
        let unsettled = |what: &str| PublishError::Unsettled {
            address: shelf.address(),
            what: what.to_owned(),
        };
        // As it is at that state: somebody else may have published since.
        let text = shelf.file(head, catalog::FILE_NAME).await.map_err(fail)?;
        let text = text.ok_or_else(|| unsettled("it has no catalog"))?;
        let now = Catalog::parse(&String::from_utf8_lossy(&text));
        let now = now.map_err(|_| unsettled("its catalog cannot be read"))?;
        if now.wheels != self.catalog.wheels || now.release != self.catalog.release {
            return Err(unsettled("its catalog is another one"));
        }
        Ok(())
    }

    /// The wheels that are new or told otherwise than before.
    fn changed(&self) -> impl Iterator<Item = &CatalogWheel> {
        let listed = self.listed().into_iter();
        listed.filter(|wheel| self.read.catalog.wheels.get(&wheel.file_name) != Some(wheel))
    }

    /// Receipts that stand beside wheels whose records have none any more: they were built again to
    /// the same bytes since they ran.
    fn lost_receipts(&self) -> Vec<String> {
        let suffix = receipt_suffix();
        let known = |wheel: &&CatalogWheel| self.read.catalog.wheels.contains_key(&wheel.file_name);
        let has_none = |wheel: &&CatalogWheel| {
            let mut told = self.wheels.iter();
            told.any(|ready| ready.wheel.job == wheel.job && !ready.beside.contains_key(&suffix))
        };
        let lost = self.changed().filter(known).filter(has_none);
        lost.map(|wheel| format!("{}{suffix}", wheel.path()))
            .collect()
    }

    fn layout_of<'a>(&'a self, catalog: &'a Catalog) -> Layout<'a> {
        Layout {
            catalog,
            links: &self.links,
            index_url: self.index_url.as_deref(),
        }
    }

    /// In a line: `publish sageattention 1.0.6, torch-spline-conv 1.2.2 (stable)`.
    fn title(&self) -> String {
        let versions: BTreeSet<String> = self
            .wheels
            .iter()
            .map(|ready| format!("{} {}", ready.manifest.package, ready.manifest.version))
            .collect();
        let what = if versions.len() > 3 {
            format!(
                "{} wheels of {} versions",
                self.wheels.len(),
                versions.len()
            )
        } else {
            versions.into_iter().collect::<Vec<_>>().join(", ")
        };
        format!("publish {what} ({})", self.track)
    }
}

fn shelf_failed<S: Shelf>(
    shelf: &S,
    action: &'static str,
    source: S::Error,
) -> PublishError<S::Error> {
    PublishError::Shelf {
        action,
        address: shelf.address(),
        source,
    }
}

fn unshown<S: Shelf>(shelf: &S, source: S::Error) -> PublishError<S::Error> {
    PublishError::Unshown {
        address: shelf.address(),
        source,
    }
}

/// Several jobs may have made one file: it is brought once. A variant that is out stays as it is, even if
/// it would be packed in another way now.
fn blobs(wheels: &[ReadyWheel], catalog: &Catalog) -> Result<Vec<Blob>, RecordError> {
    let mut blobs = BTreeMap::new();
    for ready in wheels {
        let listed = catalog.wheels.get(&ready.wheel.file_name);
        let listed = listed.and_then(|wheel| wheel.variant.as_ref());
        let made = ready.variant.as_ref();
        let made = made.filter(|made| listed.is_some_and(|it| it.sha256 == made.variant.sha256));
        let variant = made.into_iter().flat_map(|made| made.blobs.clone());
        for blob in ready.blobs()?.into_iter().chain(variant) {
            blobs.entry(blob.path.clone()).or_insert(blob);
        }
    }
    Ok(blobs.into_values().collect())
}
