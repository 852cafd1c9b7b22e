//! `wheelfarm patch new`.

use wheelfarm_core::package::{Package, PackageRelease};
use wheelfarm_core::source::SourceTree;
use wheelfarm_core::source::patch::{self, FitVerdict, MakeError, Patch, PatchHeader, PatchStack};
use wheelfarm_engine::farm_folder::FarmFolder;
use wheelfarm_engine::fetch::{self, Fetcher};
use wheelfarm_engine::upstream::{self, Found};

use super::{fetcher, find_release, unless_stopped, write};
use crate::args::PatchNewArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &PatchNewArgs) -> Result<ExitCode, Failure> {
    let header = header(args)?;
    if args.name.contains('/') || args.name.starts_with('.') {
        let error = anyhow::anyhow!("`{}` is not a plain file name", args.name);
        return Err(Failure::bad_input(error).with_hint("name it `NNNN-what-it-does.patch`"));
    }
    let farm = FarmFolder::read_all_packages(&args.places.matrix)?;
    let (package, release) = find_release(&farm, &args.package)?;
    let before = before(&farm, package, release, &args.name)?;
    let changed = fetch::read_folder(&args.from)?;
    let source = source(&fetcher(&args.places)?, release)?;
    let patched = patched(source, &before)?;
    // The changed folder is read without what building leaves behind; some sdists hold such files.
    let patched = fetch::as_folder(&patched);
    let patched = upstream::without_absent_extras(&patched, &changed, release);
    let patch = patch::make(&args.name, &header, &patched, &changed).map_err(make_failure)?;
    if !args.write {
        render::data(patch.text().trim_end_matches('\n'))?;
        return Ok(ExitCode::Done);
    }
    let folder = farm.patch_folder(&package.name, &release.version.value);
    write(&folder, &[&patch], args.force)?;
    let path = folder.join(patch.name());
    let is_listed = release
        .patches
        .iter()
        .any(|listed| listed.value == args.name);
    let package_folder = farm.package_folder(&package.name);
    render::patch::written(&path, (!is_listed).then_some(&package_folder))?;
    Ok(ExitCode::Done)
}

/// The header, or the flags that are missing for it.
fn header(args: &PatchNewArgs) -> Result<PatchHeader, Failure> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let header = PatchHeader::new(
        &text(&args.why),
        &text(&args.upstream),
        &text(&args.drop_when),
    );
    header.map_err(|missing| {
        let flags = missing
            .iter()
            .map(|key| format!("--{}", key.to_lowercase()));
        let flags: Vec<_> = flags.collect();
        let error = anyhow::anyhow!("a patch says why it is there: {} missing", listed(&flags));
        Failure::bad_input(error).with_hint(
            "--why says what is wrong without it, --upstream who knows of it (`none known`), \
             --drop-when what makes it needless",
        )
    })
}

fn listed(flags: &[String]) -> String {
    let verb = if flags.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", flags.join(", "))
}

/// The patches that the new one comes after.
fn before(
    farm: &FarmFolder,
    package: &Package,
    release: &PackageRelease,
    name: &str,
) -> Result<Vec<Patch>, Failure> {
    // One that is listed and not yet written must not keep it from being written.
    let mut release = release.clone();
    if let Some(place) = release
        .patches
        .iter()
        .position(|listed| listed.value == name)
    {
        release.patches.truncate(place);
    }
    Ok(farm.patches(package, &release)?)
}

#[tokio::main]
async fn source(fetcher: &Fetcher, release: &PackageRelease) -> Result<SourceTree, Failure> {
    let found = Found::of_release(release);
    unless_stopped(async { Ok(found.tree(fetcher).await?) }).await
}

/// The source with the patches that come before.
fn patched(source: SourceTree, patches: &[Patch]) -> Result<SourceTree, Failure> {
    let mut stack = PatchStack::new(source);
    for patch in patches {
        let reason = match stack.push(patch).verdict {
            FitVerdict::Fits { .. } => continue,
            FitVerdict::AlreadyThere => "the source has its changes already".to_owned(),
            FitVerdict::Drifted { faults } => {
                let first = faults.into_iter().next();
                first.map_or_else(String::new, |fault| fault.message)
            }
            FitVerdict::NotChecked { reason } => reason,
        };
        let name = patch.name();
        let error = anyhow::anyhow!(reason).context(format!("failed to apply `{name}` before it"));
        let failure = Failure::new(ExitCode::JobFailed, error);
        return Err(failure.with_hint("`wheelfarm patch check` says more"));
    }
    Ok(stack.tree().clone())
}

fn make_failure(error: MakeError) -> Failure {
    let hint = error.hint();
    let failure = Failure::bad_input(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
