//! `wheelfarm patch refresh`.

use wheelfarm_core::package::{Package, PackageRelease};
use wheelfarm_core::source::SourceTree;
use wheelfarm_core::source::patch::{self, Patch, Proposal, Refreshed};
use wheelfarm_core::version::PackageVersion;
use wheelfarm_engine::farm_folder::FarmFolder;
use wheelfarm_engine::fetch::Fetcher;
use wheelfarm_engine::upstream::{self, Found};

use super::{fetcher, find_release, parse_version, unless_stopped, write};
use crate::args::{Format, PatchRefreshArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::patch::Refreshing;

pub(super) fn run(args: &PatchRefreshArgs) -> Result<ExitCode, Failure> {
    let farm = FarmFolder::read_all_packages(&args.places.matrix)?;
    let (package, release) = find_release(&farm, &args.package)?;
    let patches = farm.patches(package, release)?;
    if patches.is_empty() {
        let error = anyhow::anyhow!("{} has no patches", args.package);
        return Err(Failure::bad_input(error).with_hint(
            "`wheelfarm patch new` makes one; `wheelfarm patch check` lists those that there are",
        ));
    }
    let to = args.to.as_deref().map(parse_version).transpose()?;
    let wanted = Wanted {
        package,
        release,
        to: to.as_ref(),
        against: args.against.as_deref(),
    };
    let (base, target, found) = fetch(&fetcher(&args.places)?, &wanted)?;
    let refreshed = patch::refresh(base, target, &patches);
    let code = exit_code(&refreshed);
    let folder = to.as_ref().map(|to| farm.patch_folder(&package.name, to));
    let written = match (&folder, args.write) {
        (Some(folder), true) if code == ExitCode::Done => {
            let patches: Vec<_> = refreshed.iter().filter_map(patch_of).collect();
            write(folder, &patches, args.force)?;
            Some(folder.as_path())
        }
        _ => None,
    };
    let refreshing = Refreshing {
        package: &package.name,
        from: &release.version.value,
        source: &found,
        refreshed: &refreshed,
        written,
    };
    match args.format {
        Format::Human => render::patch::refreshed_human(&refreshing),
        Format::Json => render::patch::refreshed_json(&refreshing),
    }?;
    if args.write && written.is_none() {
        render::talk("nothing is written: not every patch has a proposal");
    }
    Ok(code)
}

/// What is moved where.
struct Wanted<'a> {
    package: &'a Package,
    release: &'a PackageRelease,
    to: Option<&'a PackageVersion>,
    against: Option<&'a str>,
}

#[tokio::main]
async fn fetch(
    fetcher: &Fetcher,
    wanted: &Wanted<'_>,
) -> Result<(SourceTree, SourceTree, Found), Failure> {
    let Wanted {
        package, release, ..
    } = wanted;
    unless_stopped(async {
        let found = match (wanted.against, wanted.to) {
            (Some(text), _) => upstream::named(fetcher, package, release, text).await?,
            (None, Some(version)) => upstream::version(fetcher, package, release, version).await?,
            (None, None) => Found::of_release(release),
        };
        let base = Found::of_release(release).tree(fetcher).await?;
        let target = found.tree(fetcher).await?;
        Ok((base, target, found))
    })
    .await
}

fn patch_of(refreshed: &Refreshed) -> Option<&Patch> {
    match &refreshed.proposal {
        Proposal::Keep { patch } | Proposal::Replace { patch } => Some(patch),
        Proposal::Drop | Proposal::Conflict { .. } | Proposal::NotChecked { .. } => None,
    }
}

fn exit_code(refreshed: &[Refreshed]) -> ExitCode {
    let has = |wanted: fn(&Proposal) -> bool| {
        let mut proposals = refreshed.iter().map(|refreshed| &refreshed.proposal);
        proposals.any(wanted)
    };
    if has(|proposal| matches!(proposal, Proposal::Conflict { .. })) {
        ExitCode::JobFailed
    } else if has(|proposal| matches!(proposal, Proposal::NotChecked { .. })) {
        ExitCode::NotChecked
    } else {
        ExitCode::Done
    }
}
