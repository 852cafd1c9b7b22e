//! `wheelfarm patch`: what its commands share.

mod check;
mod new;
mod refresh;

use camino::Utf8Path;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::package::{Package, PackageRelease};
use wheelfarm_core::source::patch::Patch;
use wheelfarm_core::version::PackageVersion;
use wheelfarm_engine::farm_folder::FarmFolder;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::patch_files::{self, Overwrite, WritePatchError};

use super::{cache_folder, unless_stopped};
use crate::args::{PatchArgs, PatchCommand, PatchPlaces};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

pub(super) fn run(args: &PatchArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        PatchCommand::Check(args) => check::run(args),
        PatchCommand::Refresh(args) => refresh::run(args),
        PatchCommand::New(args) => new::run(args),
    }
}

fn fetcher(places: &PatchPlaces) -> Result<Fetcher, Failure> {
    let cache = cache_folder(places.cache.as_ref());
    Fetcher::new(cache, FetchOptions::default()).map_err(Failure::infrastructure)
}

/// The package, and the version if one stands behind `==`.
fn find_package<'a>(
    farm: &'a FarmFolder,
    text: &str,
) -> Result<(&'a Package, Option<PackageVersion>), Failure> {
    let (name, version) = match text.split_once("==") {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let name = PackageName::normalise(name).map_err(Failure::bad_input)?;
    let Some(package) = farm
        .packages()
        .values()
        .find(|package| package.name == name)
    else {
        let names: Vec<_> = farm
            .packages()
            .values()
            .map(|package| package.name.as_str())
            .collect();
        let error = anyhow::anyhow!("there is no package `{name}`");
        return Err(
            Failure::bad_input(error).with_hint(format!("the packages are {}", names.join(", ")))
        );
    };
    let version = version.map(parse_version).transpose()?;
    Ok((package, version))
}

fn parse_version(text: &str) -> Result<PackageVersion, Failure> {
    text.parse().map_err(|error| {
        let error: wheelfarm_core::version::VersionError = error;
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}

/// The one release that `PACKAGE==VERSION` names; of several builds of it the one without a variant,
/// else the first.
fn find_release<'a>(
    farm: &'a FarmFolder,
    text: &str,
) -> Result<(&'a Package, &'a PackageRelease), Failure> {
    let (package, version) = find_package(farm, text)?;
    let releases = package.releases.iter();
    let mut versions: Vec<_> = releases
        .map(|release| release.version.value.to_string())
        .collect();
    versions.dedup();
    let hint = format!("it has {}", versions.join(", "));
    let Some(version) = version else {
        let error = anyhow::anyhow!("`{text}` does not say which release");
        let hint = format!("write {}==VERSION; {hint}", package.name);
        return Err(Failure::bad_input(error).with_hint(hint));
    };
    let releases = package.releases.iter();
    let found = releases.filter(|release| release.version.value == version);
    let release = found
        .min_by_key(|release| release.variant.is_some())
        .ok_or_else(|| {
            let error = anyhow::anyhow!("package `{}` has no release {version}", package.name);
            Failure::bad_input(error).with_hint(hint)
        })?;
    Ok((package, release))
}

/// Writes patches into the folder of a release.
fn write(folder: &Utf8Path, patches: &[&Patch], force: bool) -> Result<(), Failure> {
    let overwrite = if force {
        Overwrite::Allow
    } else {
        Overwrite::Refuse
    };
    patch_files::write(folder, patches, overwrite).map_err(|error| match error {
        WritePatchError::Differs { .. } => Failure::new(ExitCode::JobFailed, error)
            .with_hint("compare the two, then write over it with --force"),
        WritePatchError::File(_) => Failure::infrastructure(error),
    })
}
