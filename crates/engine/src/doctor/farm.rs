//! What lies on this host of a farm's: `out/`, the store, images, sources.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use rustix::fs::Access;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::doctor::facts::{Hold, ImagesHere, OutFacts, StoreFacts};
use wheelfarm_core::doctor::wants::Wants;
use wheelfarm_core::matrix::TorchIndex;
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::render;

use super::FarmRequest;
use crate::container::{Engine, EngineError, ImageRef};
use crate::fetch::Fetcher;
use crate::fetch::Holding;
use crate::host::disk::there;
use crate::out_folder::{OutError, OutFolder};
use crate::run::{farm_labels, shared_images};
use crate::store::{self, History, RunState, StoreError};

pub(super) fn out(folder: &Utf8Path) -> OutFacts {
    let hold = if folder.is_dir() {
        match OutFolder::hold(folder) {
            // Given back at once: a build that begins now is not kept out.
            Ok(_) => hold(folder),
            Err(OutError::Busy(_)) => Hold::Busy,
            Err(error @ OutError::Prepare { .. }) => Hold::Unwritable(chain(&error)),
        }
    } else {
        hold(folder)
    };
    let store = store(&folder.join(store::FILE_NAME), &hold);
    OutFacts {
        folder: folder.to_owned(),
        hold,
        store,
    }
}

/// Whether a folder can be written, or made.
pub(super) fn hold(folder: &Utf8Path) -> Hold {
    let there = there(folder);
    let rights = Access::WRITE_OK | Access::EXEC_OK;
    if !there.is_dir() {
        return Hold::Unwritable(format!("`{there}` is no folder"));
    }
    match rustix::fs::access(there.as_std_path(), rights) {
        Ok(()) if there == folder => Hold::Free,
        Ok(()) => Hold::ToBeMade,
        Err(errno) => Hold::Unwritable(format!("`{there}`: {errno}")),
    }
}

fn store(file: &Utf8Path, hold: &Hold) -> StoreFacts {
    let last = History::open(file).and_then(|history| history.runs(1));
    match last {
        Ok(runs) => {
            // One that goes on holds the folder.
            let killed = runs.first().filter(|run| run.state == RunState::Running);
            let killed = killed.filter(|_| *hold != Hold::Busy);
            StoreFacts::Readable {
                killed: killed.map(|run| run.id.to_string()),
            }
        }
        Err(StoreError::Missing(_)) => StoreFacts::None,
        Err(error @ StoreError::Older { .. }) => StoreFacts::Older(chain(&error)),
        Err(error @ StoreError::Newer { .. }) => StoreFacts::Newer(chain(&error)),
        Err(error) if error.is_corrupt() => StoreFacts::Broken(chain(&error)),
        Err(error) => StoreFacts::Unreadable(chain(&error)),
    }
}

/// How many containers and volumes carry the label of a farm.
pub(super) async fn leftovers<E: Engine>(engine: &E, label: &str) -> Result<usize, EngineError> {
    let owned = engine.owned(&farm_labels(label)).await?;
    Ok(owned.containers.len() + owned.volumes.len())
}

/// Which images of the jobs that need a build are there.
pub(super) async fn images<E: Engine>(
    engine: &E,
    farm: &FarmRequest<'_>,
) -> Result<ImagesHere, EngineError> {
    let mut images = ImagesHere::default();
    let jobs = farm.jobs.iter().filter(|(_, need)| *need != Need::UpToDate);
    // Jobs of one environment share their stages.
    let environments: BTreeMap<_, _> = jobs.map(|(job, _)| (environment(job), *job)).collect();
    for job in environments.values() {
        let base = render::base_reference(job);
        let names = shared_images(engine, job, farm.ca_bundle.as_deref()).await?;
        let [_, torch, toolkit] = names.as_slice() else {
            lacks_torch(&mut images, job, &base);
            images.stages_to_make += 1;
            continue;
        };
        images.bases.insert(base.clone());
        let (has_torch, has_toolkit) = (
            is_there(engine, torch).await?,
            is_there(engine, toolkit).await?,
        );
        match (has_torch, has_toolkit) {
            (true, true) => continue,
            (true, false) => {
                images.compilers_on.insert(base);
            }
            (false, _) => lacks_torch(&mut images, job, &base),
        }
        images.stages_to_make += 1;
    }
    Ok(images)
}

/// What sets the stages of two jobs apart.
fn environment(job: &Job) -> (String, String, String) {
    let environment = job.environment();
    (
        environment.name.clone(),
        environment.torch.to_string(),
        environment.python.to_string(),
    )
}

async fn is_there<E: Engine>(engine: &E, name: &ImageRef) -> Result<bool, EngineError> {
    Ok(engine.image(name).await?.is_some())
}

/// Notes that torch, and the compilers on it, are still to be installed for a job.
fn lacks_torch(images: &mut ImagesHere, job: &Job, base: &str) {
    images.compilers_on.insert(base.to_owned());
    let environment = job.environment();
    images.torch_from.insert(match &environment.torch_index {
        TorchIndex::Pypi => environment.package_index.clone(),
        TorchIndex::Url(url) => url.clone(),
    });
}

/// Which sources are in the cache, by their place in the list. A cache that cannot be read has none.
pub(super) async fn sources_here(fetcher: &Fetcher, wants: &Wants) -> BTreeSet<usize> {
    let mut here = BTreeSet::new();
    for (place, wanted) in wants.sources.iter().enumerate() {
        match fetcher.holding(&wanted.source).await {
            Ok(Holding::Whole) => {
                here.insert(place);
            }
            Ok(Holding::Lacking) => {}
            Err(error) => tracing::debug!(%error, "source not looked for in the cache"),
        }
    }
    here
}
