//! `wheelfarm patch check`.

use wheelfarm_core::source::patch::FitVerdict;
use wheelfarm_core::version::PackageVersion;
use wheelfarm_engine::farm_folder::FarmFolder;
use wheelfarm_engine::fetch::Fetcher;
use wheelfarm_engine::patch_check::{
    self, PatchedRelease, ReleaseReport, TargetKind, TargetOutcome,
};

use super::{fetcher, find_package, find_release, unless_stopped};
use crate::args::{Format, PatchCheckArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &PatchCheckArgs) -> Result<ExitCode, Failure> {
    let farm = FarmFolder::read_all_packages(&args.places.matrix)?;
    let releases = wanted(&farm, args.package.as_deref())?;
    let fetcher = fetcher(&args.places)?;
    let reports = check(&fetcher, &releases, args.against.as_deref())?;
    match args.format {
        Format::Human => render::patch::human(&reports),
        Format::Json => render::patch::json(&reports),
    }?;
    Ok(exit_code(&reports))
}

#[tokio::main]
async fn check(
    fetcher: &Fetcher,
    releases: &[PatchedRelease<'_>],
    against: Option<&str>,
) -> Result<Vec<ReleaseReport>, Failure> {
    let work = async { Ok(patch_check::check(fetcher, releases, against).await?) };
    unless_stopped(work).await
}

/// The releases that are asked for and have patches.
fn wanted<'a>(
    farm: &'a FarmFolder,
    package: Option<&str>,
) -> Result<Vec<PatchedRelease<'a>>, Failure> {
    let all = || {
        farm.packages()
            .values()
            .flat_map(|p| p.releases.iter().map(move |r| (p, r)))
    };
    let wanted: Vec<_> = match package {
        None => all().collect(),
        Some(text) => {
            let (package, version) = find_package(farm, text)?;
            if version.is_some() {
                find_release(farm, text)?;
            }
            let is_wanted = |found: &PackageVersion| version.as_ref().is_none_or(|v| v == found);
            let of_package = all().filter(|(p, _)| p.name == package.name);
            of_package
                .filter(|(_, release)| is_wanted(&release.version.value))
                .collect()
        }
    };
    let mut releases = Vec::new();
    for (package, release) in wanted {
        if !release.patches.is_empty() {
            releases.push(PatchedRelease {
                package,
                release,
                patches: farm.patches(package, release)?,
            });
        }
    }
    Ok(releases)
}

/// What upstream has now is told and decides nothing: the version that is built is another.
fn exit_code(reports: &[ReleaseReport]) -> ExitCode {
    let mut code = ExitCode::Done;
    for target in reports.iter().flat_map(|report| &report.targets) {
        let fits = match (&target.outcome, target.kind) {
            (_, TargetKind::Head) | (TargetOutcome::SameAsClaimed, _) => continue,
            (TargetOutcome::NotChecked { .. }, TargetKind::Claimed | TargetKind::Against) => {
                code = worse(code, ExitCode::NotChecked);
                continue;
            }
            (TargetOutcome::Checked(fits), TargetKind::Claimed | TargetKind::Against) => fits,
        };
        for fit in fits {
            code = match &fit.verdict {
                FitVerdict::Fits { .. } => code,
                FitVerdict::AlreadyThere if target.kind == TargetKind::Against => code,
                FitVerdict::AlreadyThere | FitVerdict::Drifted { .. } => {
                    worse(code, ExitCode::JobFailed)
                }
                FitVerdict::NotChecked { .. } => worse(code, ExitCode::NotChecked),
            };
        }
    }
    code
}

/// A patch that does not fit counts more than one that could not be tried.
fn worse(one: ExitCode, other: ExitCode) -> ExitCode {
    if one == ExitCode::JobFailed {
        one
    } else {
        other
    }
}
