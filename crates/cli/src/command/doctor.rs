//! `wheelfarm doctor`.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::doctor::facts::{Facts, FarmFacts, Proofs, Seen, Unseen};
use wheelfarm_core::doctor::wants::Wants;
use wheelfarm_core::doctor::{Ending, ending, judge};
use wheelfarm_core::estimate::{History, ObjectCache, Planned};
use wheelfarm_core::matrix::CaBundle;
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::doctor::{self, FarmRequest, Network, PlaceRequest, Request};
use wheelfarm_engine::shelf::place::{Place, endpoint};
use wheelfarm_engine::store;

use super::{Selected, cache_folder, unless_stopped};
use crate::args::{DoctorArgs, Format, Selection};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// The matrix that is meant when none is named.
const MATRIX: &str = "matrix.yaml";

/// How many builds of each release are asked of the store.
const REMEMBERED: u32 = 200;

pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let place = place(args)?;
    let selection = selection(args)?;
    let selected = selection.as_ref().map(Selected::read).transpose()?;
    let needs = match (&selected, &selection) {
        (Some(selected), Some(selection)) => selected.needs(selection, false)?,
        (_, _) => Vec::new(),
    };
    let farm = match (&selected, &selection) {
        (Some(selected), Some(selection)) => Ok(farm(selected, selection, &needs)),
        (_, _) => Err(Unseen::new(
            format!("there is no `{MATRIX}` here"),
            "run it in the folder of matrix.yaml, or name one: `--matrix FILE`",
        )),
    };
    let request = Request {
        farm,
        out: args.out.clone(),
        cache: cache_folder(args.cache.as_ref()),
        place,
        network: if args.offline {
            Network::NotAsked
        } else {
            Network::Asked
        },
        proofs: if args.prove {
            Proofs::OnThisMachine
        } else {
            Proofs::AsPackagesSay
        },
        variables: std::env::vars_os().collect(),
    };
    let checks = judge(&look(request)?);
    match args.format {
        Format::Human => render::doctor::human(&checks),
        Format::Json => render::doctor::json(&checks),
    }?;
    Ok(match ending(&checks) {
        Ending::Unfit => ExitCode::Infrastructure,
        Ending::NotChecked if args.strict => ExitCode::NotChecked,
        Ending::NotChecked | Ending::Fit => ExitCode::Done,
    })
}

#[tokio::main]
async fn look(request: Request<'_>) -> Result<Facts, Failure> {
    unless_stopped(async {
        let engine = DockerEngine::connect().await.map(Arc::new);
        Ok(doctor::look(request, engine).await?)
    })
    .await
}

/// Which matrix and which jobs; none when none was named and none is here.
fn selection(args: &DoctorArgs) -> Result<Option<Selection>, Failure> {
    let matrix = match &args.matrix {
        Some(matrix) => matrix.clone(),
        None if Utf8Path::new(MATRIX).exists() => Utf8PathBuf::from(MATRIX),
        None if !args.only.is_empty() || !args.skip.is_empty() => {
            let error =
                anyhow::anyhow!("--only and --skip pick jobs, and there is no `{MATRIX}` here");
            return Err(Failure::bad_input(error).with_hint("name a matrix: `--matrix FILE`"));
        }
        None => return Ok(None),
    };
    Ok(Some(Selection {
        matrix,
        only: args.only.clone(),
        skip: args.skip.clone(),
        out: args.out.clone(),
    }))
}

fn place(args: &DoctorArgs) -> Result<Option<PlaceRequest>, Failure> {
    let Some(text) = &args.to else {
        return Ok(None);
    };
    let place = Place::parse(text).map_err(|error| {
        Failure::bad_input(error).with_hint("name a folder, or a repository as `hf://OWNER/NAME`")
    })?;
    Ok(Some(match place {
        Place::Folder(folder) => PlaceRequest::Folder(folder),
        Place::Hub(repository) => {
            let variables: Vec<_> = std::env::vars_os().collect();
            let endpoint = endpoint(args.endpoint.as_deref(), &variables).map_err(|error| {
                let hint = error.hint();
                Failure::bad_input(error).with_hint(hint)
            })?;
            PlaceRequest::Hub(endpoint, repository)
        }
    }))
}

fn farm<'a>(
    selected: &Selected,
    selection: &Selection,
    needs: &'a [(&'a Job, Need)],
) -> FarmRequest<'a> {
    let matrix = &selected.farm.matrix;
    // What cannot be read of the store is told by a check of its own.
    let history = history(&selection.out).unwrap_or_default();
    let cache = match matrix.build.cache {
        Some(_) => ObjectCache::On,
        None => ObjectCache::Off,
    };
    let to_build = needs.iter().filter(|(_, need)| *need != Need::UpToDate);
    let planned: Vec<_> = to_build
        .map(|(job, _)| Planned::of(job, &history, cache))
        .collect();
    let ca_bundle = selected.farm.ca_bundle();
    FarmRequest {
        name: matrix.farm.clone(),
        jobs: needs,
        facts: FarmFacts {
            matrix: selection.matrix.to_string(),
            wants: Wants::of(needs, |job| history.estimate(job).disk_bytes),
            planned,
            memory_cap: matrix.build.memory,
            jobs: matrix.build.jobs,
            disk_reserve_bytes: matrix.build.disk_reserve.bytes(),
            certificates: certificates(&matrix.build.ca_bundle, ca_bundle.as_ref().err()),
        },
        ca_bundle: ca_bundle.ok().flatten(),
    }
}

fn certificates(
    bundle: &CaBundle,
    error: Option<&wheelfarm_engine::farm_folder::FarmError>,
) -> Option<Seen<String>> {
    if let Some(error) = error {
        let hint = error
            .hint()
            .unwrap_or("see `build.ca-bundle` in the matrix");
        return Some(Err(Unseen::new(chain(error), hint)));
    }
    match bundle {
        CaBundle::Image => None,
        CaBundle::Host => Some(Ok("this host's".to_owned())),
        CaBundle::File(file) => Some(Ok(format!("`{file}`"))),
    }
}

fn history(out: &Utf8Path) -> Result<History, store::StoreError> {
    let store = store::History::open(&out.join(store::FILE_NAME))?;
    let samples = store.samples(REMEMBERED)?;
    Ok(History::new(samples).with_stages(store.stage_times(REMEMBERED)?))
}
