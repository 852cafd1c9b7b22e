//! `wheelfarm init`.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use wheelfarm_core::ident::PackageName;
use wheelfarm_core::scaffold::trial;
use wheelfarm_core::source::{INDEX_HINT, SourceUrlError};
use wheelfarm_core::version::VersionError;
use wheelfarm_engine::farm_folder::FarmFolder;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::scaffold::{BeginError, BeginErrorKind, NewPackage, Origin, begin};

use super::{cache_folder, init_farm, listen};
use crate::args::{Format, InitArgs, InitCommand, InitPackageArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::init::Begun;

pub(super) fn run(args: &InitArgs) -> Result<ExitCode, Failure> {
    match &args.what {
        Some(InitCommand::Package(args)) => package(args),
        None => init_farm::run(&args.farm),
    }
}

fn package(args: &InitPackageArgs) -> Result<ExitCode, Failure> {
    let name = name(&args.name)?;
    let origin = origin(args)?;
    let farm = FarmFolder::read_matrix(&args.matrix)?;
    let new = fetch(args, &farm, &name, &origin)?;
    let plan = trial(&farm.matrix, &new.package);
    new.write().map_err(failure)?;
    let begun = Begun {
        new: &new,
        plan: &plan,
        matrix: &args.matrix,
    };
    match args.format {
        Format::Human => render::init::human(&begun),
        Format::Json => render::init::json(&begun),
    }?;
    Ok(ExitCode::Done)
}

fn name(text: &str) -> Result<PackageName, Failure> {
    text.parse().map_err(|error| {
        let failure = Failure::bad_input(anyhow::Error::new::<wheelfarm_core::ident::IdentError>(
            error,
        ));
        match PackageName::normalise(text) {
            Ok(name) => failure.with_hint(format!("write `{name}`")),
            Err(_) => failure,
        }
    })
}

fn origin(args: &InitPackageArgs) -> Result<Origin, Failure> {
    let version_hint = |error: &VersionError| Some(error.hint());
    let url_hint = |_: &SourceUrlError| Some("write `https://<host>/<owner>/<project>`");
    let (Some(url), Some(commit)) = (&args.git, &args.commit) else {
        return Ok(Origin::Sdist {
            index: parse(&args.index, |_: &SourceUrlError| Some(INDEX_HINT))?,
            version: args
                .sdist
                .as_deref()
                .map(|text| parse(text, version_hint))
                .transpose()?,
        });
    };
    let commit_hint = |_: &_| Some("`git ls-remote URL BRANCH-OR-TAG` gives the full commit");
    Ok(Origin::Git {
        url: parse(url, url_hint)?,
        commit: parse(commit, commit_hint)?,
        version: args
            .release
            .as_deref()
            .map(|text| parse(text, version_hint))
            .transpose()?,
    })
}

/// What a flag says, or the fault with what to type instead.
pub(super) fn parse<T, E, H>(text: &str, hint: impl Fn(&E) -> Option<H>) -> Result<T, Failure>
where
    T: FromStr<Err = E>,
    E: Error + Send + Sync + 'static,
    H: Display,
{
    text.parse().map_err(|error| {
        let hint = hint(&error);
        Failure::bad_input(error).with_hint_if(hint)
    })
}

#[tokio::main]
async fn fetch(
    args: &InitPackageArgs,
    farm: &FarmFolder,
    name: &PackageName,
    origin: &Origin,
) -> Result<NewPackage, Failure> {
    let options = FetchOptions {
        // Somebody waits.
        attempts: 3,
        ..FetchOptions::default()
    };
    let cache = cache_folder(args.cache.as_ref());
    let fetcher = Fetcher::new(cache, options).map_err(Failure::infrastructure)?;
    let stop = StopSignal::default();
    let token = stop.stop.clone();
    tokio::select! {
        biased;
        () = token.cancelled() => Err(Failure::new(ExitCode::Cancelled, anyhow::anyhow!("stopped"))),
        new = begin(farm, &fetcher, name, origin, |_| {}) => new.map_err(failure),
        error = listen(stop) => Err(error),
    }
}

fn failure(error: BeginError) -> Failure {
    let hint = error.hint();
    let failure = match error.kind() {
        BeginErrorKind::Input => Failure::bad_input(error),
        BeginErrorKind::Infrastructure => Failure::infrastructure(error),
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
