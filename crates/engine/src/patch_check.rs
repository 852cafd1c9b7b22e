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
    /// The release's version and variant, as people read them.
    pub release: String,
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
            release: patched.release.label(),
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
        Source::Archive { .. } | Source::Folder { .. } => patched.package.name.to_string(),
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use wheelfarm_core::digest::Sha256Digest;
    use wheelfarm_core::package;
    use wheelfarm_core::source::{FileMode, SourceTree, TarLayout, TreeEntry};

    use super::*;
    use crate::fetch::FetchOptions;
    use crate::fetch::tests::server::{Reply, Server};

    const JSON: &str = "application/vnd.pypi.simple.v1+json";
    const PAGE: &str = "/simple/thing/";

    fn sdist(version: &str, setup: &str) -> Vec<u8> {
        let mut tree = SourceTree::new();
        let entry = TreeEntry::File {
            bytes: setup.as_bytes().into(),
            mode: FileMode::Plain,
        };
        tree.insert("setup.py".parse().unwrap(), entry).unwrap();
        let layout = TarLayout {
            prefix: Some(format!("thing-{version}").parse().unwrap()),
            ..TarLayout::default()
        };
        let tar = tree.write_tar(&layout, Vec::new()).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    }

    /// One file of the project's page.
    fn row(version: &str, content: &[u8], more: &str) -> String {
        let sha256 = Sha256Digest::of(content);
        format!(
            r#"{{"filename": "thing-{version}.tar.gz", "url": "/files/thing-{version}.tar.gz",
                "hashes": {{"sha256": "{sha256}"}}{more}}}"#
        )
    }

    fn page(rows: &[String]) -> Reply {
        let rows = rows.join(", ");
        let meta = r#""meta": {"api-version": "1.1"}"#;
        Reply::ok(
            JSON,
            format!(r#"{{{meta}, "name": "thing", "files": [{rows}]}}"#),
        )
    }

    /// Version 1.0 with a patch for its one line.
    fn thing(server: &Server, content: &[u8]) -> Package {
        let text = format!(
            "schema: 1\nname: thing\nsummary: a\nlicence: MIT\nupstream: {0}/home\nreleases:\n  \
             - version: \"1.0\"\n    source: {{sdist: {{sha256: {1}, index: \"{0}/simple\"}}}}\n    \
             patches: [1.patch]\n    kernels: just-in-time\n    build: {{requirements: []}}\n",
            server.url(""),
            Sha256Digest::of(content)
        );
        package::parse("package.yaml", &text).unwrap()
    }

    fn patch() -> Patch {
        let text = "Why: a\nUpstream: b\nDrop-when: c\n\n--- a/setup.py\n+++ b/setup.py\n\
                    @@ -1,2 +1,2 @@\n a\n-b\n+c\n";
        Patch::parse("1.patch", text).unwrap()
    }

    /// `kind source verdict` of every target, without the server's port.
    async fn report(server: &mut Server, package: &Package, against: Option<&str>) -> String {
        let cache = tempfile::tempdir().unwrap();
        let options = FetchOptions {
            attempts: 1,
            first_wait: Duration::from_millis(1),
            ..FetchOptions::default()
        };
        let fetcher = Fetcher::new(cache.path(), options).unwrap();
        let releases = [PatchedRelease {
            package,
            release: &package.releases[0],
            patches: vec![patch()],
        }];
        let checking = check(&fetcher, &releases, against);
        let reports = match server.during(checking).await {
            Ok(reports) => reports,
            Err(error) => return format!("error: {}", chain(&error)),
        };
        let lines = reports[0].targets.iter().map(|target| {
            let outcome = match &target.outcome {
                TargetOutcome::SameAsClaimed => "the same".to_owned(),
                TargetOutcome::NotChecked { reason } => format!("not checked: {reason}"),
                TargetOutcome::Checked(fits) => {
                    let names = fits.iter().map(|fit| fit.verdict.as_str());
                    names.collect::<Vec<_>>().join(" ")
                }
            };
            let source = target.source.as_ref().map(ToString::to_string);
            let source = source.unwrap_or_else(|| "-".to_owned());
            format!("{} {source}: {outcome}", target.kind.as_str())
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        text.replace(&server.url(""), "http://SERVER")
    }

    #[tokio::test]
    async fn the_newest_sdist_is_upstream_now() {
        let (old, new) = (sdist("1.0", "a\nb\n"), sdist("1.2", "0\na\nb\n"));
        let mut server = Server::new().await;
        let rows = [
            row("1.0", &old, ""),
            row("1.2", &new, ""),
            row("1.3", b"", r#", "yanked": true"#),
            row("2.0rc1", b"", ""),
        ];
        server.on(PAGE, page(&rows));
        server.on("/files/thing-1.0.tar.gz", Reply::ok("x", old.clone()));
        server.on("/files/thing-1.2.tar.gz", Reply::ok("x", new));
        let package = thing(&server, &old);
        insta::assert_snapshot!(report(&mut server, &package, None).await, @"
        claimed sdist thing 1.0: fits
        head sdist thing 1.2: fits-moved
        ");
        insta::assert_snapshot!(report(&mut server, &package, Some("1.2")).await, @"
        against sdist thing 1.2: fits-moved
        ");
    }

    #[tokio::test]
    async fn a_version_that_is_the_newest_is_not_fetched_again() {
        let old = sdist("1.0", "a\nb\n");
        let mut server = Server::new().await;
        server.on(PAGE, page(&[row("1.0", &old, "")]));
        server.on("/files/thing-1.0.tar.gz", Reply::ok("x", old.clone()));
        let package = thing(&server, &old);
        insta::assert_snapshot!(report(&mut server, &package, None).await, @"
        claimed sdist thing 1.0: fits
        head sdist thing 1.0: the same
        ");
    }

    #[tokio::test]
    async fn upstream_that_cannot_be_had_is_not_checked() {
        let old = sdist("1.0", "a\nb\n");
        let mut out = Vec::new();

        // The newest has no digest, is not what its digest says, or is no archive.
        let bare = row("1.1", b"", "").replace("sha256", "md5");
        let wrong = row("1.1", b"x", "");
        let broken = row("1.1", b"y", "");
        for newest in [bare, wrong, broken] {
            let mut server = Server::new().await;
            server.on(PAGE, page(&[row("1.0", &old, ""), newest]));
            server.on("/files/thing-1.0.tar.gz", Reply::ok("x", old.clone()));
            server.on("/files/thing-1.1.tar.gz", Reply::ok("x", b"y".to_vec()));
            let package = thing(&server, &old);
            out.push(report(&mut server, &package, None).await);
        }

        // The index itself is away.
        let mut server = Server::new().await;
        server.on(PAGE, Reply::status(503, ""));
        let package = thing(&server, &old);
        out.push(report(&mut server, &package, None).await);

        // A name that no index and no repository knows is an error, for somebody asked for it.
        let mut server = Server::new().await;
        server.on(PAGE, page(&[row("1.0", &old, "")]));
        let package = thing(&server, &old);
        out.push(report(&mut server, &package, Some("./nothing")).await);
        insta::assert_snapshot!(out.join("\n\n"), @"
        claimed sdist thing 1.0: fits
        head -: not checked: index `http://SERVER/simple` gives no sha256 of `thing-1.1.tar.gz`

        claimed sdist thing 1.0: fits
        head sdist thing 1.1: not checked: `thing-1.1.tar.gz` came with sha256 a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa, and 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 is wanted

        claimed sdist thing 1.0: fits
        head sdist thing 1.1: not checked: failed to read the source of thing 1.1: failed to read the archive: unexpected end of file

        claimed sdist thing 1.0: not checked: `http://SERVER/simple/thing/` answered 503 Service Unavailable
        head -: not checked: `http://SERVER/simple/thing/` answered 503 Service Unavailable

        error: `./nothing` is no folder, no sdist and no name in a repository
        ");
    }
}
