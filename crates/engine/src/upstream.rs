//! What a package's patches are held against besides the version that they claim: what upstream has
//! now, a branch or tag, an sdist, a folder.

use std::fmt;

use camino::Utf8PathBuf;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::package::{ExtraSource, Package, PackageRelease};
use wheelfarm_core::source::simple_index::IndexFile;
use wheelfarm_core::source::{GitUrl, IndexUrl, Source, SourceTree, Submodules, TreePath};
use wheelfarm_core::version::PackageVersion;

use crate::fetch::{self, FetchError, Fetcher};

/// A source that was found for a package, and what it was found as.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it was found as: a branch, a tag; none where the place says it all.
    pub name: Option<String>,
    place: Place,
    extra_sources: Vec<ExtraSource>,
    if_taken: IfTaken,
}

/// What is done with an extra source where the source itself has something in its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfTaken {
    /// A build would refuse it.
    Refuse,
    /// The source is another one than the package was written for, and may bring it along itself.
    LeaveOut,
}

#[derive(Debug, Clone)]
enum Place {
    /// A source that a package could name.
    Source(Source),
    /// An sdist of this machine.
    SdistFile(Utf8PathBuf),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Source(source) => source.fmt(f)?,
            Place::SdistFile(path) => write!(f, "sdist {path}")?,
        }
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

impl Found {
    /// The source that a release names.
    pub fn of_release(release: &PackageRelease) -> Self {
        Self {
            name: None,
            place: Place::Source(release.source.clone()),
            extra_sources: release.extra_sources.clone(),
            if_taken: IfTaken::Refuse,
        }
    }

    fn of(place: Place) -> Self {
        Self {
            name: None,
            place,
            extra_sources: Vec::new(),
            if_taken: IfTaken::LeaveOut,
        }
    }

    /// The same with what a release puts into its source.
    fn with_extra_sources(mut self, release: &PackageRelease) -> Self {
        self.extra_sources.clone_from(&release.extra_sources);
        self
    }

    /// What names it to [`named`] again.
    pub fn typed(&self) -> String {
        match &self.place {
            Place::Source(Source::Sdist { version, .. }) => version.to_string(),
            Place::Source(Source::Git { commit, .. }) => commit.to_string(),
            Place::Source(Source::Archive { url, .. }) => url.to_string(),
            Place::Source(Source::Folder { path }) | Place::SdistFile(path) => path.to_string(),
        }
    }

    /// Whether it has the same content as another for certain.
    pub fn is_same(&self, other: &Self) -> bool {
        let identity = |found: &Self| match &found.place {
            Place::Source(source) => source.identity(),
            Place::SdistFile(_) => None,
        };
        let (one, other) = (identity(self), identity(other));
        one.is_some() && one == other
    }

    /// Fetches it, and what a release puts into it.
    pub async fn tree(&self, fetcher: &Fetcher) -> Result<SourceTree, FetchError> {
        let mut tree = self.own_tree(fetcher).await?;
        for extra in &self.extra_sources {
            let folder = &extra.into.value;
            if self.if_taken == IfTaken::LeaveOut && has_below(&tree, folder) {
                continue;
            }
            let part = fetched(fetcher, &extra.source).await?;
            let put = fetch::put_below(&mut tree, folder, &part);
            put.map_err(|source| FetchError::Tree {
                what: format!("{} in `{folder}`", extra.source),
                source,
            })?;
        }
        Ok(tree)
    }

    async fn own_tree(&self, fetcher: &Fetcher) -> Result<SourceTree, FetchError> {
        match &self.place {
            Place::Source(source) => fetched(fetcher, source).await,
            Place::SdistFile(path) => {
                let path = path.clone();
                fetch::run_blocking(move || fetch::read_sdist(&path)).await
            }
        }
    }
}

async fn fetched(fetcher: &Fetcher, source: &Source) -> Result<SourceTree, FetchError> {
    tracing::info!(%source, "fetching");
    let progress = |step| tracing::debug!(?step, "fetching");
    fetcher.fetch(source, progress).await
}

fn has_below(tree: &SourceTree, folder: &TreePath) -> bool {
    tree.iter()
        .any(|(path, _)| path.folders().any(|above| above == folder.as_str()))
}

/// `tree` without what lies in the folders of extra sources of which `other` has nothing: somebody
/// who works on a copy of the source need not have them.
pub fn without_absent_extras(
    tree: &SourceTree,
    other: &SourceTree,
    release: &PackageRelease,
) -> SourceTree {
    let folders = release.extra_sources.iter().map(|extra| &extra.into.value);
    let absent: Vec<_> = folders.filter(|folder| !has_below(other, folder)).collect();
    let mut rest = SourceTree::new();
    for (path, entry) in tree.iter() {
        let mut above = path.folders();
        if above.any(|above| absent.iter().any(|folder| folder.as_str() == above)) {
            continue;
        }
        rest.insert(path.clone(), entry.clone())
            .expect("what is no fault in a tree is none in a part of it");
    }
    rest
}

/// What upstream has now: the tip of the default branch where the package comes from a git
/// repository, else the newest sdist on the index.
///
/// `None` where neither is known: for a folder and an archive at an address.
pub async fn head(
    fetcher: &Fetcher,
    package: &Package,
    release: &PackageRelease,
) -> Result<Option<Found>, FetchError> {
    if let Some(repository) = repository(package, release) {
        let found = repository.at(fetcher, "HEAD").await?;
        return Ok(Some(found.with_extra_sources(release)));
    }
    let Source::Sdist { project, index, .. } = &release.source else {
        return Ok(None);
    };
    let (version, file) = fetcher.newest_sdist(index, project).await?;
    let found = sdist(project, index, version, file)?;
    Ok(Some(found.with_extra_sources(release)))
}

/// What somebody calls `text`: a folder, an sdist of this machine, a version on the index for a
/// release that comes from there, else a commit, tag or branch of the package's repository.
pub async fn named(
    fetcher: &Fetcher,
    package: &Package,
    release: &PackageRelease,
    text: &str,
) -> Result<Found, FetchError> {
    let found = named_alone(fetcher, package, release, text).await?;
    Ok(found.with_extra_sources(release))
}

async fn named_alone(
    fetcher: &Fetcher,
    package: &Package,
    release: &PackageRelease,
    text: &str,
) -> Result<Found, FetchError> {
    let path = Utf8PathBuf::from(text);
    if path.is_dir() {
        return Ok(Found::of(Place::Source(Source::Folder { path })));
    }
    if path.is_file() {
        return Ok(Found::of(Place::SdistFile(path)));
    }
    let is_path = text.starts_with(['/', '.', '~']) || text.ends_with(".tar.gz");
    if is_path {
        let path = path.into_std_path_buf();
        return Err(FetchError::NothingThere { path });
    }
    if let (Source::Sdist { project, index, .. }, Ok(version)) = (&release.source, text.parse())
        && let Some(found) = on_index(fetcher, project, index, &version).await?
    {
        return Ok(found);
    }
    let repository = repository(package, release).or_else(|| Repository::of_home_page(package));
    match repository {
        Some(repository) => repository.at(fetcher, text).await,
        None => Err(FetchError::NothingThere {
            path: path.into_std_path_buf(),
        }),
    }
}

/// Another version of what a release is of: one that the package has a release of, else a version on
/// the index, or the tag of that name with or without a `v`.
pub async fn version(
    fetcher: &Fetcher,
    package: &Package,
    release: &PackageRelease,
    version: &PackageVersion,
) -> Result<Found, FetchError> {
    let mut releases = package.releases.iter();
    if let Some(known) = releases.find(|known| known.version.value == *version) {
        return Ok(Found::of_release(known));
    }
    if let Some(repository) = repository(package, release)
        && !matches!(release.source, Source::Sdist { .. })
    {
        let with_v = repository.at(fetcher, &format!("v{version}")).await;
        let found = match with_v {
            Err(FetchError::NoReference { .. }) => {
                repository.at(fetcher, &version.to_string()).await
            }
            other => other,
        }?;
        return Ok(found.with_extra_sources(release));
    }
    named(fetcher, package, release, &version.to_string()).await
}

async fn on_index(
    fetcher: &Fetcher,
    project: &PackageName,
    index: &IndexUrl,
    version: &PackageVersion,
) -> Result<Option<Found>, FetchError> {
    let sdists = fetcher.sdists(index, project).await?;
    let mut sdists = sdists.into_iter();
    let found = sdists.find(|(listed, _)| listed == version);
    let found = found.map(|(version, file)| sdist(project, index, version, file));
    found.transpose()
}

fn sdist(
    project: &PackageName,
    index: &IndexUrl,
    version: PackageVersion,
    file: IndexFile,
) -> Result<Found, FetchError> {
    let Some(sha256) = file.sha256 else {
        return Err(FetchError::NoDigest {
            index: index.clone(),
            file_name: file.file_name,
        });
    };
    let source = Source::Sdist {
        project: project.clone(),
        version,
        sha256,
        index: index.clone(),
    };
    Ok(Found::of(Place::Source(source)))
}

/// A repository that a package comes from.
struct Repository {
    url: GitUrl,
    submodules: Submodules,
}

/// The repository of the release itself, else that of the package's last release that has one.
fn repository(package: &Package, release: &PackageRelease) -> Option<Repository> {
    let mut sources = std::iter::once(release)
        .chain(package.releases.iter().rev())
        .map(|release| &release.source);
    sources.find_map(|source| match source {
        Source::Git {
            url, submodules, ..
        } => Some(Repository {
            url: url.clone(),
            submodules: *submodules,
        }),
        Source::Sdist { .. } | Source::Archive { .. } | Source::Folder { .. } => None,
    })
}

impl Repository {
    /// The home page, which for most packages is a repository.
    fn of_home_page(package: &Package) -> Option<Self> {
        Some(Self {
            url: package.upstream.parse().ok()?,
            submodules: Submodules::Off,
        })
    }

    async fn at(&self, fetcher: &Fetcher, name: &str) -> Result<Found, FetchError> {
        let (name, commit) = if let Ok(commit) = name.parse() {
            (None, commit)
        } else {
            let tip = fetcher.git_tip(&self.url, name).await?;
            let above = ["refs/heads/", "refs/tags/"];
            let short = above
                .iter()
                .find_map(|above| tip.reference.strip_prefix(above));
            let name = short.unwrap_or(&tip.reference).to_owned();
            (Some(name), tip.commit)
        };
        let source = Source::Git {
            url: self.url.clone(),
            commit,
            submodules: self.submodules,
        };
        Ok(Found {
            name,
            ..Found::of(Place::Source(source))
        })
    }
}
