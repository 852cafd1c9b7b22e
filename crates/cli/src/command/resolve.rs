//! `wheelfarm resolve`.

use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::compat::Fit;
use wheelfarm_core::gpu;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::recipe::{Ask, Composed, Manager, Wish, compose};
use wheelfarm_core::release::catalog::{self, Catalog, Track};
use wheelfarm_core::release::links::Links;
use wheelfarm_core::release::resolve::{
    CatalogPlace, Excerpt, Facts, Outcome, PackageWish, PlaceError, Question, QuestionError,
    TorchGiven, read_lock, read_package, resolve,
};
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::files::{self, FileError};
use wheelfarm_engine::resolve::catalog::{fetch, read_file};
use wheelfarm_engine::resolve::environment;
use wheelfarm_engine::resolve::{CatalogReadError, EnvironmentError};
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::shelf::Shelf;
use wheelfarm_engine::shelf::folder::Address;

use super::{cache_folder, listen, place};
use crate::args::{Format, HubArgs, ManagerArg, ResolveArgs, ResolveFormat, TrackArg};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &ResolveArgs) -> Result<ExitCode, Failure> {
    let wishes: Vec<PackageWish> = args
        .package
        .iter()
        .map(|package| read(package))
        .collect::<Result<_, _>>()?;
    match args.manager {
        Some(manager) => environment_file(args, manager, &wishes),
        None => one_wheel(args, wishes),
    }
}

/// The one wheel for an environment that is there.
fn one_wheel(args: &ResolveArgs, wishes: Vec<PackageWish>) -> Result<ExitCode, Failure> {
    let [wish] = <[PackageWish; 1]>::try_from(wishes).map_err(|wishes| {
        let error = anyhow::anyhow!("{} packages, and one line is for one of them", wishes.len());
        Failure::bad_input(error).with_hint("several go into a file: `--environment pip`")
    })?;
    let package = [wish.clone()];
    let mut question = question(args, wish)?;
    let place = catalog_place(args)?;
    let place = place.as_ref().ok_or_else(no_release)?;
    let excerpts = world(args, Some(place), &package, &mut question)?;
    let excerpt = excerpts.first().ok_or_else(no_release)?;
    let links = links(args, place, &excerpt.catalog)?;
    let answer = resolve(&excerpt.catalog, &question, &links);
    let code = match &answer.outcome {
        Outcome::One(_) => ExitCode::Done,
        Outcome::Several { .. } => ExitCode::NotChecked,
        Outcome::None { .. } => ExitCode::JobFailed,
    };
    let shown = render::resolve::Shown {
        question: &question,
        answer: &answer,
        packages: &excerpt.packages,
    };
    match args.format {
        ResolveFormat::Human => shown.human(),
        ResolveFormat::Json => shown.json(),
        ResolveFormat::Dockerfile => shown.line(|lines| &lines.dockerfile),
        ResolveFormat::Pip if args.require_hashes => shown.line(|lines| &lines.pip_hashed),
        ResolveFormat::Pip => shown.line(|lines| &lines.pip),
        ResolveFormat::Uv => shown.line(|lines| &lines.uv),
    }?;
    Ok(code)
}

fn no_release() -> Failure {
    let error = anyhow::anyhow!("no release is named");
    Failure::bad_input(error).with_hint("name its folder or address with `--from`")
}

/// An environment that is to be made.
fn environment_file(
    args: &ResolveArgs,
    manager: ManagerArg,
    wishes: &[PackageWish],
) -> Result<ExitCode, Failure> {
    let is_json = match args.format {
        ResolveFormat::Human => false,
        ResolveFormat::Json => true,
        ResolveFormat::Dockerfile | ResolveFormat::Pip | ResolveFormat::Uv => {
            let error = anyhow::anyhow!("`--environment` has its own format");
            return Err(Failure::bad_input(error)
                .with_hint("leave `--format` out, or write `--format json`"));
        }
    };
    let manager = match manager {
        ManagerArg::Pip => Manager::Pip,
        ManagerArg::Uv => Manager::Uv,
        ManagerArg::Pixi => Manager::Pixi,
        ManagerArg::Dockerfile => Manager::Dockerfile,
    };
    let mut question = question(args, read("torch")?)?;
    let asked = (question.torch.clone(), question.cuda.clone());
    let place = catalog_place(args)?;
    let excerpts = world(args, place.as_ref(), wishes, &mut question)?;
    if args.here.is_some() {
        // The environment is to be made: the torch that a Python of this machine has is no wish.
        (question.torch, question.cuda) = asked;
    }
    question.libc = question.libc.or(manager.libc());
    let links = match (&place, excerpts.first()) {
        (Some(place), Some(excerpt)) => links(args, place, &excerpt.catalog)?,
        _ => Links::Relative,
    };
    let wishes: Vec<Wish<'_>> = wishes
        .iter()
        .zip(&excerpts)
        .map(|(package, excerpt)| Wish {
            package,
            catalog: &excerpt.catalog,
        })
        .collect();
    let composed = compose(&Ask {
        question: &question,
        wishes: &wishes,
        links: &links,
        manager,
    });
    let shown = render::recipe::Shown {
        question: &question,
        manager,
        composed: &composed,
    };
    if is_json { shown.json() } else { shown.human() }?;
    Ok(match &composed {
        Composed::Recipe(_) => ExitCode::Done,
        Composed::Refused(refusal) => match refusal.fit {
            Fit::No | Fit::Yes => ExitCode::JobFailed,
            Fit::Unknown => ExitCode::NotChecked,
        },
    })
}

/// Fills in what the question leaves open, and reads what the release says of each package.
fn world(
    args: &ResolveArgs,
    place: Option<&CatalogPlace>,
    packages: &[PackageWish],
    question: &mut Question,
) -> Result<Vec<Excerpt>, Failure> {
    let facts = match &args.lock {
        Some(lock) => lock_facts(lock, question.machine.as_deref())?,
        None => Facts::default(),
    };
    let asks_world =
        args.here.is_some() || args.image.is_some() || args.gpu.as_deref() == Some("here");
    let (found, excerpts) = match place {
        // A file needs no runtime.
        Some(CatalogPlace::File { manifest, .. }) if !asks_world => {
            let excerpts = packages
                .iter()
                .map(|package| read_file(manifest, &package.name).map_err(catalog_failure));
            (Found::default(), excerpts.collect::<Result<_, _>>()?)
        }
        None if !asks_world => (Found::default(), Vec::new()),
        Some(CatalogPlace::File { .. } | CatalogPlace::Remote { .. }) | None => {
            look(args, place, packages)?
        }
    };
    if let Some(here) = &found.gpus {
        here.fill(question);
    }
    for facts in [Some(&facts), found.environment.as_ref()]
        .into_iter()
        .flatten()
    {
        facts.fill(question);
        render::resolve::notes(&facts.notes);
    }
    beside_arm(args, question);
    Ok(excerpts)
}

/// A product that is beside an Arm processor tells the machine, where nothing else does.
fn beside_arm(args: &ResolveArgs, question: &mut Question) {
    let Some(name) = args.gpu.as_deref() else {
        return;
    };
    let is_beside = |gpu: &gpu::Gpu| gpu.is_beside_arm_as(name);
    if question.machine.is_none() && gpu::find(name).is_ok_and(is_beside) {
        question.machine = Some("aarch64".to_owned());
        let note = format!("`{name}` is beside an Arm processor: taken as `--machine aarch64`");
        render::resolve::notes(&[note]);
    }
}

fn question(args: &ResolveArgs, package: PackageWish) -> Result<Question, Failure> {
    let mut question = Question::about(package);
    let torch: Option<TorchGiven> = optional(args.torch.as_ref())?;
    question.cuda = match optional(args.cuda.as_ref())? {
        Some(cuda) => Some(cuda),
        None => torch.as_ref().and_then(TorchGiven::cuda),
    };
    question.torch = torch;
    question.python = optional(args.python.as_ref())?;
    question.libc = optional(args.glibc.as_ref())?;
    question.track = match args.track {
        TrackArg::Stable => Track::Stable,
        TrackArg::Nightly => Track::Nightly,
    };
    question.driver = hinted(
        args.driver.as_ref(),
        "write it as `nvidia-smi` shows it: `570.26`",
    )?;
    question.variant = hinted(args.variant.as_ref(), "write the variant's name: `avx512`")?;
    question.machine = match args.machine.as_deref() {
        Some("amd64") => Some("x86_64".to_owned()),
        Some("arm64") => Some("aarch64".to_owned()),
        machine => machine.map(str::to_owned),
    };
    if let Some(name) = args.gpu.as_deref().filter(|name| *name != "here") {
        let gpu = gpu::find(name).map_err(|error| {
            let hint = error.hint();
            Failure::bad_input(error).with_hint(hint)
        })?;
        question.gpus.insert(gpu.capability);
    }
    Ok(question)
}

fn read<T: FromStr<Err = QuestionError>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: QuestionError| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}

fn optional<T: FromStr<Err = QuestionError>>(text: Option<&String>) -> Result<Option<T>, Failure> {
    text.map(|text| read(text)).transpose()
}

fn hinted<T>(text: Option<&String>, hint: impl Display + Copy) -> Result<Option<T>, Failure>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let read = |text: &String| text.parse();
    let res = text.map(read).transpose();
    res.map_err(|error| Failure::bad_input(error).with_hint(hint))
}

/// The catalog that is named: what is no address is a path of this machine.
fn catalog_place(args: &ResolveArgs) -> Result<Option<CatalogPlace>, Failure> {
    let Some(from) = &args.from else {
        return Ok(None);
    };
    let failure = |error: PlaceError| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    };
    let place = if let Some(res) = CatalogPlace::parse(from, &args.endpoint) {
        res
    } else {
        let path = Utf8Path::new(from);
        let manifest = if path.is_dir() {
            path.join(catalog::FILE_NAME)
        } else {
            path.to_owned()
        };
        let whole = camino::absolute_utf8(&manifest);
        let whole = whole
            .map_err(|error| Failure::infrastructure(FileError::new("find", &manifest, error)))?;
        CatalogPlace::local(&manifest, whole.parent().unwrap_or(&whole))
    };
    place.map(Some).map_err(failure)
}

/// How lines address wheels: as it is told here, as the release itself does, or by where it was read.
fn links(args: &ResolveArgs, place: &CatalogPlace, catalog: &Catalog) -> Result<Links, Failure> {
    if let Some(base) = &args.base_url {
        return Links::at(base).map_err(|error| {
            Failure::bad_input(error).with_hint("write `https://`, the host and the path")
        });
    }
    let own = catalog.pages.as_ref().map(|pages| &pages.links);
    Ok(match own {
        Some(links @ (Links::Absolute { .. } | Links::Hub { .. })) => links.clone(),
        Some(Links::Relative) | None => place.links().clone(),
    })
}

fn lock_facts(lock: &Utf8PathBuf, machine: Option<&str>) -> Result<Facts, Failure> {
    let text = files::read_text(lock)
        .map_err(|error| Failure::bad_input(error).with_hint("name a lock file that is there"))?;
    read_lock(lock.as_str(), &text, machine).map_err(|error| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}

/// What was found out of the world.
#[derive(Debug, Default)]
struct Found {
    /// The GPUs of this machine, where they were asked for by themselves.
    gpus: Option<Facts>,
    /// An environment.
    environment: Option<Facts>,
}

#[tokio::main]
async fn look(
    args: &ResolveArgs,
    place: Option<&CatalogPlace>,
    packages: &[PackageWish],
) -> Result<(Found, Vec<Excerpt>), Failure> {
    let stop = StopSignal::default();
    let work = async {
        let found = find(args, &stop).await?;
        let mut excerpts = Vec::new();
        let (Some(place), Some(from)) = (place, &args.from) else {
            return Ok((found, excerpts));
        };
        let fetcher = Fetcher::new(cache_folder(None), FetchOptions::default())?;
        for package in packages.iter().map(|package| &package.name) {
            if from.starts_with("hf://") {
                excerpts.push(on_hub(args, from, package).await?);
                continue;
            }
            let fetched = fetch(&fetcher, place, package, render::resolve::progress);
            excerpts.push(fetched.await.map_err(catalog_failure)?);
        }
        Ok((found, excerpts))
    };
    tokio::select! {
        res = work => res,
        failure = listen(stop.clone()) => Err(failure),
        // A request that goes on after the user's wish to stop is of no use to anybody.
        () = stop.at_once.cancelled() => Err(stopped()),
    }
}

/// What a repository's catalog says of `package`, asked with the user's token if there is one: the
/// repository may be private.
async fn on_hub(args: &ResolveArgs, from: &str, package: &PackageName) -> Result<Excerpt, Failure> {
    let hub = HubArgs {
        endpoint: Some(args.endpoint.clone()),
        index_space: None,
        index_url: None,
    };
    let how = (Address::Kept, None);
    let shelf = place::open(from, &hub, how, Format::Json).await?;
    let snapshot = shelf.read().await.map_err(place::failure)?;
    let text = shelf.file(&snapshot.head, catalog::FILE_NAME).await;
    let text = text.map_err(place::failure)?.ok_or_else(|| {
        let error = anyhow::anyhow!("nothing was published to `{from}`");
        Failure::bad_input(error).with_hint("`--from` takes what `publish --to` took")
    })?;
    let excerpt = read_package(&String::from_utf8_lossy(&text), package);
    excerpt.map_err(Failure::bad_input)
}

async fn find(args: &ResolveArgs, stop: &StopSignal) -> Result<Found, Failure> {
    let inherited: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let mut found = Found::default();
    if args.gpu.as_deref() == Some("here") {
        let gpus = environment::gpus(&inherited, stop).await;
        let gpus = gpus.map_err(environment_failure)?.map_err(|why| {
            Failure::infrastructure(anyhow::anyhow!(
                "the GPUs of this machine are not known: {why}"
            ))
            .with_hint(
                "say the GPU by its name or compute capability: `--gpu \"RTX 5090\"`, `--gpu 9.0`",
            )
        })?;
        found.gpus = Some(Facts {
            driver: gpus.first().map(|gpu| gpu.driver.clone()),
            gpus: gpus.into_iter().map(|gpu| gpu.capability).collect(),
            ..Facts::default()
        });
    }
    if let Some(python) = &args.here {
        let facts = environment::here(python, &inherited, stop).await;
        found.environment = Some(facts.map_err(environment_failure)?);
    }
    if let Some(image) = &args.image {
        let engine = Arc::new(DockerEngine::connect().await?);
        let facts = environment::image(&engine, image, stop).await;
        found.environment = Some(facts.map_err(environment_failure)?);
    }
    Ok(found)
}

fn stopped() -> Failure {
    Failure::new(ExitCode::Cancelled, anyhow::anyhow!("stopped"))
}

fn environment_failure(error: EnvironmentError) -> Failure {
    if matches!(error, EnvironmentError::Stopped) {
        return stopped();
    }
    let hint = error.hint();
    let failure = if error.is_bad_input() {
        Failure::bad_input(error)
    } else {
        Failure::infrastructure(error)
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn catalog_failure(error: CatalogReadError) -> Failure {
    let hint = error.hint();
    let failure = Failure::infrastructure(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
