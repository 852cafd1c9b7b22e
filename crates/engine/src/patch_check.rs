//! Holds the patches of releases against the version that they claim and against what upstream has
//! now.

use std::collections::BTreeMap;

use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::package::{Package, PackageRelease};
use wheelfarm_core::source::Source;
use wheelfarm_core::source::patch::{Patch, PatchFit, PatchStack};
use wheelfarm_core::version::PackageVersion;

use crate::fetch::{self, FetchError, FetchErrorKind, Fetcher};
use crate::upstream::{self, Found};

/// A release and its patches.
#[derive(Debug)]
pub struct PatchedRelease<'a> {
    /// The package.
    pub package: &'a Package,
    /// The release.
    pub release: &'a PackageRelease,
    /// Its patches, in their order.
    pub patches: Vec<Patch>,
}

/// How the patches of one release fare.
#[derive(Debug)]
pub struct ReleaseReport {
    /// The package.
    pub package: PackageName,
    /// The release's version.
    pub version: PackageVersion,
    /// How many patches it has.
    pub patches: usize,
    /// What they were held against, and how they fit it.
    pub targets: Vec<TargetReport>,
}

/// How the patches of a release fare on one source.
#[derive(Debug)]
pub struct TargetReport {
    /// What the source is to the release.
    pub kind: TargetKind,
    /// Which source it is, where it was found.
    pub source: Option<Found>,
    /// How the patches fit.
    pub outcome: TargetOutcome,
}

/// What a source is to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// The version that its patches are for.
    Claimed,
    /// What upstream has now.
    Head,
    /// What somebody asked for.
    Against,
}

impl TargetKind {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Head => "head",
            Self::Against => "against",
        }
    }
}

/// How the patches of a release fit a source.
#[derive(Debug)]
pub enum TargetOutcome {
    /// One by one.
    Checked(Vec<PatchFit>),
    /// The source is the one that they claim, and what is said of that holds here.
    SameAsClaimed,
    /// The source could not be had.
    NotChecked {
        /// Why not.
        reason: String,
    },
}

/// Holds the patches of each of `releases` against the version that they claim and against what
/// upstream has now; or, when `against` names something ([`upstream::named`]), against that alone.
///
/// A source that cannot be had is in the report. So is, of upstream's, everything that goes wrong.
///
/// # Errors
/// A fault of this machine, and a thing named by `against` that is not there.
pub async fn check(
    fetcher: &Fetcher,
    releases: &[PatchedRelease<'_>],
    against: Option<&str>,
) -> Result<Vec<ReleaseReport>, FetchError> {
    let mut heads = BTreeMap::new();
    let mut reports = Vec::new();
    for patched in releases {
        let targets = if let Some(text) = against {
            vec![held_against(fetcher, patched, text).await?]
        } else {
            let mut targets = vec![claimed(fetcher, patched).await?];
            targets.extend(head(fetcher, patched, &mut heads).await?);
            targets
        };
        reports.push(ReleaseReport {
            package: patched.package.name.clone(),
            version: patched.release.version.value.clone(),
            patches: patched.patches.len(),
            targets,
        });
    }
    Ok(reports)
}

async fn claimed(
    fetcher: &Fetcher,
    patched: &PatchedRelease<'_>,
) -> Result<TargetReport, FetchError> {
    let found = Found::of_release(patched.release);
    let outcome = fits(fetcher, patched, &found).await;
    Ok(TargetReport {
        kind: TargetKind::Claimed,
        source: Some(found),
        outcome: unless_ours(outcome)?,
    })
}

async fn held_against(
    fetcher: &Fetcher,
    patched: &PatchedRelease<'_>,
    text: &str,
) -> Result<TargetReport, FetchError> {
    let found = upstream::named(fetcher, patched.package, patched.release, text).await;
    let (source, outcome) = match found {
        Ok(found) => {
            let outcome = fits(fetcher, patched, &found).await;
            (Some(found), outcome)
        }
        Err(error) if error.kind() == FetchErrorKind::Source => return Err(error),
        Err(error) => (None, Err(error)),
    };
    Ok(TargetReport {
        kind: TargetKind::Against,
        source,
        outcome: unless_ours(outcome)?,
    })
}

/// Where a package's head is, or why that is not known; by repository or project, for releases share
/// them.
type Heads = BTreeMap<String, Result<Option<Found>, String>>;

async fn head(
    fetcher: &Fetcher,
    patched: &PatchedRelease<'_>,
    heads: &mut Heads,
) -> Result<Option<TargetReport>, FetchError> {
    let key = match &patched.release.source {
        Source::Git { url, .. } => format!("git {url}"),
        Source::Sdist { index, .. } => format!("{} {index}", patched.package.name),
        Source::Folder { .. } => format!("{} folder", patched.package.name),
    };
    if !heads.contains_key(&key) {
        let found = upstream::head(fetcher, patched.package, patched.release).await;
        heads.insert(key.clone(), found.map_err(|error| chain(&error)));
    }
    let (source, outcome) = match heads.get(&key) {
        None | Some(Ok(None)) => return Ok(None),
        Some(Err(reason)) => {
            let reason = reason.clone();
            (None, TargetOutcome::NotChecked { reason })
        }
        Some(Ok(Some(found))) => {
            let outcome = if found.is_same(&Found::of_release(patched.release)) {
                TargetOutcome::SameAsClaimed
            } else {
                not_checked(fits(fetcher, patched, found).await)
            };
            (Some(found.clone()), outcome)
        }
    };
    Ok(Some(TargetReport {
        kind: TargetKind::Head,
        source,
        outcome,
    }))
}

async fn fits(
    fetcher: &Fetcher,
    patched: &PatchedRelease<'_>,
    found: &Found,
) -> Result<TargetOutcome, FetchError> {
    let tree = found.tree(fetcher).await?;
    let patches = patched.patches.clone();
    let check = move || {
        let mut stack = PatchStack::new(tree);
        patches.iter().map(|patch| stack.push(patch)).collect()
    };
    Ok(TargetOutcome::Checked(fetch::run_blocking(check).await))
}

/// A source that cannot be had is an outcome; what this machine lacks is not.
fn unless_ours(outcome: Result<TargetOutcome, FetchError>) -> Result<TargetOutcome, FetchError> {
    match outcome {
        Err(error) => match error.kind() {
            FetchErrorKind::Source | FetchErrorKind::Network => Ok(not_checked(Err(error))),
            FetchErrorKind::DiskFull | FetchErrorKind::Machine => Err(error),
        },
        outcome => outcome,
    }
}

fn not_checked(outcome: Result<TargetOutcome, FetchError>) -> TargetOutcome {
    outcome.unwrap_or_else(|error| TargetOutcome::NotChecked {
        reason: chain(&error),
    })
}
