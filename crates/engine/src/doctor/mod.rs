//! Looks at a host before a night: what core's `doctor` judges is gathered here, all of it at once where it
//! can be.
//!
//! It changes nothing: it makes no folder, builds no image, and the one container that it starts (to see whether
//! a GPU reaches it) is removed. Each look outside has a limit in time.

mod farm;
mod gpu;
mod machine;
mod network;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use camino::Utf8PathBuf;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::doctor::facts::{
    Facts, FarmFacts, NetworkFacts, PlaceFacts, Proofs, Seen, Unseen,
};
use wheelfarm_core::doctor::targets::{self, Here};
use wheelfarm_core::plan::{Job, Need};

use crate::container::{Engine, EngineError};
use crate::fetch::{FetchError, Fetcher};
use crate::out_folder::folder_label;
use crate::shelf::hub::{Credentials, Endpoint, Repository, standing};

/// What is looked at.
pub struct Request<'a> {
    /// The farm, if there is a matrix.
    pub farm: Seen<FarmRequest<'a>>,
    /// Its folder of wheels and records.
    pub out: Utf8PathBuf,
    /// Where downloads are kept.
    pub cache: Utf8PathBuf,
    /// Where wheels go to.
    pub place: Option<PlaceRequest>,
    /// Whether servers are asked.
    pub network: Network,
    /// What the night does besides.
    pub proofs: Proofs,
    /// The environment, tokens included.
    pub variables: Vec<(OsString, OsString)>,
}

impl fmt::Debug for Request<'_> {
    /// Without the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("farm", &self.farm)
            .field("out", &self.out)
            .field("place", &self.place)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

/// A farm, and what is already known of it.
#[derive(Debug)]
pub struct FarmRequest<'a> {
    /// Its name.
    pub name: String,
    /// Its jobs.
    pub jobs: &'a [(&'a Job, Need)],
    /// The certificates that containers are to trust.
    pub ca_bundle: Option<Vec<u8>>,
    /// What core needs to know.
    pub facts: FarmFacts,
}

/// A place that wheels go to.
#[derive(Debug)]
pub enum PlaceRequest {
    /// A folder.
    Folder(Utf8PathBuf),
    /// A repository on a Hub.
    Hub(Endpoint, Repository),
}

/// Whether servers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// They are.
    Asked,
    /// They are not.
    NotAsked,
}

/// Why servers are not asked.
const OFFLINE: &str = "not asked, by --offline";

/// Looks at everything. `engine` is the engine, or why there is none.
///
/// # Errors
/// HTTPS cannot be set up on this machine.
pub async fn look<E: Engine>(
    request: Request<'_>,
    engine: Result<Arc<E>, EngineError>,
) -> Result<Facts, FetchError> {
    let limits = network::limits();
    let fetcher = Fetcher::new(request.cache.clone(), limits.clone())?;
    let survey = match &engine {
        Ok(engine) => engine.survey().await.map_err(|error| gone(&error)),
        Err(error) => Err(gone(error)),
    };
    let engine = engine.ok().filter(|_| survey.is_ok());
    let out = farm::out(&request.out);
    let farm = request.farm.as_ref();
    let images = match (&engine, farm) {
        (Some(engine), Ok(farm)) => farm::images(&**engine, farm)
            .await
            .map_err(|error| gone(&error)),
        (None, _) => Err(no_engine()),
        (_, Err(unseen)) => Err(unseen.clone()),
    };
    let leftovers = match (&engine, farm) {
        (Some(engine), Ok(farm)) => {
            let root = request
                .out
                .canonicalize_utf8()
                .unwrap_or_else(|_| request.out.clone());
            let label = folder_label(&farm.name, &root);
            farm::leftovers(&**engine, &label)
                .await
                .map_err(|error| gone(&error))
        }
        (None, _) => Err(no_engine()),
        (_, Err(unseen)) => Err(unseen.clone()),
    };
    let data_folder = match &engine {
        Some(engine) => engine
            .describe()
            .await
            .ok()
            .and_then(|facts| facts.data_folder),
        None => None,
    };
    let disks = machine::disks(data_folder, &request.out, &request.cache);
    let asked = asked(&request, &fetcher, (&survey, images.as_ref().ok())).await;
    let network = NetworkFacts {
        asked,
        proxies: network::proxies(&request.variables),
    };
    let place = place(&request, &limits).await;
    let mut gpu = gpu::look().await;
    if let (Some(engine), Ok(survey)) = (&engine, &survey) {
        gpu.in_container =
            gpu::in_container(engine, survey.gpu, farm.ok().map(|farm| farm.jobs)).await;
    }
    Ok(Facts {
        farm: request.farm.map(|farm| farm.facts),
        out,
        engine: survey,
        images,
        leftovers,
        machine: machine::look(),
        gpu,
        disks,
        commands: machine::commands(&request.variables),
        network,
        place,
        proofs: request.proofs,
    })
}

fn gone(error: &EngineError) -> Unseen {
    let hint = error.hint().unwrap_or("docker info");
    Unseen::new(chain(error), hint)
}

fn no_engine() -> Unseen {
    Unseen::new(
        "the engine does not answer",
        "start the engine: `sudo systemctl start docker`, or name another with DOCKER_HOST",
    )
}

/// Asks every server that the night needs.
async fn asked(
    request: &Request<'_>,
    fetcher: &Fetcher,
    (survey, images): (
        &Seen<wheelfarm_core::doctor::facts::EngineSurvey>,
        Option<&wheelfarm_core::doctor::facts::ImagesHere>,
    ),
) -> Vec<targets::Asked> {
    let mut list = Vec::new();
    if let Ok(farm) = &request.farm {
        let wants = &farm.facts.wants;
        let mirrors = survey.as_ref().map_or(&[][..], |survey| &survey.mirrors);
        let here = Here {
            images,
            sources: farm::sources_here(fetcher, wants).await,
            mirrors,
        };
        list = targets::targets(wants, &here);
    }
    if let Some(PlaceRequest::Hub(endpoint, repository)) = &request.place {
        list.push(targets::hub(endpoint.as_str(), &repository.to_string()));
    }
    match request.network {
        Network::Asked => network::ask(list, fetcher).await,
        Network::NotAsked => network::not_asked(list),
    }
}

async fn place(request: &Request<'_>, limits: &crate::fetch::FetchOptions) -> Option<PlaceFacts> {
    Some(match request.place.as_ref()? {
        PlaceRequest::Folder(folder) => PlaceFacts::Folder {
            folder: folder.clone(),
            hold: farm::hold(folder),
        },
        PlaceRequest::Hub(endpoint, repository) => {
            let credentials = Credentials::of(&request.variables);
            let not_asked = match request.network {
                Network::Asked => None,
                Network::NotAsked => Some(OFFLINE),
            };
            let hub = standing(&credentials, (endpoint, repository), limits, not_asked);
            PlaceFacts::Hub(Box::new(hub.await))
        }
    })
}
