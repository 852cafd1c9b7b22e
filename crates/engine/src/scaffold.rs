//! Begins the folder of a new package: fetches its source, has core read it, and writes what core says.
//!
//! Nothing of the source is run, and nothing that lies in the farm is changed.

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::arch::Arch;
use wheelfarm_core::diagnostic::{Diagnostics, chain};
use wheelfarm_core::ident::{GitCommit, PackageName};
use wheelfarm_core::package::{self, Package};
use wheelfarm_core::scaffold::pins::{choose, of_farm};
use wheelfarm_core::scaffold::write::{Draft, Files, files};
use wheelfarm_core::scaffold::{Pin, Requirement, Survey, survey};
use wheelfarm_core::source::simple_index::{IndexFile, IndexRelease, releases};
use wheelfarm_core::source::{GitUrl, IndexUrl, Source, SourceUrlError, Submodules};
use wheelfarm_core::version::{PackageVersion, PythonVersion};

use crate::farm_folder::FarmFolder;
use crate::fetch::{FetchError, FetchErrorKind, FetchProgress, Fetcher};
use crate::files::{FileError, PART_PREFIX, create_folder, sync_folder, write_atomic};

/// What a package is begun from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An sdist on an index: of a version, or the newest.
    Sdist {
        /// The index.
        index: IndexUrl,
        /// The version.
        version: Option<PackageVersion>,
    },
    /// A commit of a repository.
    Git {
        /// The repository.
        url: GitUrl,
        /// The commit.
        commit: GitCommit,
        /// The version that its wheel will have, where the source does not say.
        version: Option<PackageVersion>,
    },
}

/// A package's folder before it is written.
#[derive(Debug)]
pub struct NewPackage {
    /// Where it will be.
    pub folder: Utf8PathBuf,
    /// Its files.
    pub files: Files,
    /// Its `package.yaml` as it reads.
    pub package: Package,
    /// What was found in its source.
    pub survey: Survey,
    /// What could not be looked up for its build requirements, a line each.
    pub not_checked: Vec<String>,
}

/// Why a package cannot be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// Something is there.
    #[error("`{folder}` is there already")]
    Taken {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The index has no sdist of the project.
    #[error("index `{index}` has no `.tar.gz` sdist of `{project}`")]
    NoSdist {
        /// The index.
        index: IndexUrl,
        /// The project.
        project: PackageName,
    },
    /// The index has no sdist of that version.
    #[error(
        "index `{index}` has no `.tar.gz` sdist of `{project}` {version}; the newest is {newest}"
    )]
    NoVersion {
        /// The index.
        index: IndexUrl,
        /// The project.
        project: PackageName,
        /// The version that was asked for.
        version: PackageVersion,
        /// The newest that it has one of.
        newest: PackageVersion,
    },
    /// The index does not say what the file's digest is, so nothing can be pinned.
    #[error("index `{index}` gives no sha256 for `{file_name}`")]
    NoDigest {
        /// The index.
        index: IndexUrl,
        /// The sdist.
        file_name: String,
    },
    /// A commit that does not say which version it is.
    #[error("the source of `{project}` at {commit} does not say which version it is")]
    VersionUnknown {
        /// The project.
        project: PackageName,
        /// The commit.
        commit: GitCommit,
    },
    /// The matrix's index for requirements is none.
    #[error("failed to read `build.package-index`")]
    PackageIndex(#[source] SourceUrlError),
    /// The source cannot be had.
    #[error("failed to fetch the source of `{project}`")]
    Fetch {
        /// The project.
        project: PackageName,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The source says something of itself that no package can have.
    #[error("failed to write a package from what the source says: {0}")]
    Faults(Diagnostics),
    /// This machine's disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginErrorKind {
    /// Who named the package.
    Input,
    /// The network, a server or this machine.
    Infrastructure,
}

const GIT_HINT: &str = "name its repository: `--git URL --commit SHA`";

impl BeginError {
    /// Who can do something about it.
    pub fn kind(&self) -> BeginErrorKind {
        match self {
            Self::Fetch { source, .. } => match source.kind() {
                FetchErrorKind::Source => BeginErrorKind::Input,
                FetchErrorKind::Network | FetchErrorKind::DiskFull | FetchErrorKind::Machine => {
                    BeginErrorKind::Infrastructure
                }
            },
            Self::File(_) => BeginErrorKind::Infrastructure,
            Self::Taken { .. }
            | Self::NoSdist { .. }
            | Self::NoVersion { .. }
            | Self::NoDigest { .. }
            | Self::VersionUnknown { .. }
            | Self::PackageIndex(_)
            | Self::Faults(_) => BeginErrorKind::Input,
        }
    }

    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Taken { .. } => {
                Some("change what is there, or move it away: nothing is overwritten")
            }
            Self::NoSdist { .. } | Self::NoDigest { .. } => Some(GIT_HINT),
            Self::NoVersion { .. } => Some(
                "leave `--sdist` out for the newest, or name its repository: `--git URL --commit SHA`",
            ),
            Self::VersionUnknown { .. } => Some("say it: `--release VERSION`"),
            Self::Fetch { source, .. } => match source {
                FetchError::NoProject { .. } => Some(GIT_HINT),
                FetchError::Http(_) => Some(
                    "run it again where the index can be reached, or name a repository that can be: \
                     `--git URL --commit SHA`",
                ),
                _ => source.hint(),
            },
            Self::PackageIndex(_) | Self::Faults(_) | Self::File(_) => None,
        }
    }
}

/// A source that was fetched.
struct Fetched {
    source: Source,
    survey: Survey,
    version: PackageVersion,
}

/// Begins `name` in `farm`: fetches and reads, and writes nothing.
pub async fn begin(
    farm: &FarmFolder,
    fetcher: &Fetcher,
    name: &PackageName,
    origin: &Origin,
    progress: impl Fn(FetchProgress) + Send + Sync,
) -> Result<NewPackage, BeginError> {
    let folder = farm.package_folder(name);
    refuse_taken(&folder)?;
    let fetched = match origin {
        Origin::Sdist { index, version } => {
            let wanted = version.as_ref();
            Box::pin(fetch_sdist(fetcher, name, index, wanted, &progress)).await?
        }
        Origin::Git {
            url,
            commit,
            version,
        } => {
            let version = version.clone();
            Box::pin(fetch_commit(
                fetcher,
                name,
                (url, commit),
                version,
                &progress,
            ))
            .await?
        }
    };
    let requirements = &fetched.survey.requirements;
    let pins = pin(farm, fetcher, requirements, &progress).await?;
    let mut archs: Vec<Arch> = farm
        .matrix
        .archs
        .iter()
        .map(|arch| arch.value.arch)
        .collect();
    archs.sort();
    archs.dedup();
    let draft = Draft {
        name,
        version: &fetched.version,
        source: &fetched.source,
        survey: &fetched.survey,
        pins: &pins.pins,
        unpinned: &pins.unpinned,
        archs: &archs,
    };
    let path = folder.join("package.yaml");
    let files = files(path.as_str(), &draft).map_err(BeginError::Faults)?;
    let package = package::parse(path.as_str(), &files.package).map_err(BeginError::Faults)?;
    Ok(NewPackage {
        folder,
        files,
        package,
        survey: fetched.survey,
        not_checked: pins.not_checked,
    })
}

impl NewPackage {
    /// Writes the folder, whole or not at all.
    pub fn write(&self) -> Result<(), BeginError> {
        refuse_taken(&self.folder)?;
        let above = self.folder.parent().unwrap_or(Utf8Path::new("."));
        create_folder(above)?;
        let fault = |source| FileError::new("create", &self.folder, source);
        let staged = tempfile::Builder::new()
            .prefix(PART_PREFIX)
            .tempdir_in(above)
            .map_err(fault)?;
        write_atomic(
            staged.path().join("package.yaml"),
            self.files.package.as_bytes(),
        )?;
        write_atomic(staged.path().join("test.py"), self.files.test.as_bytes())?;
        readable(staged.path()).map_err(fault)?;
        // A folder with something in it is not replaced: rename(2) refuses.
        fs_err::rename(staged.path(), &self.folder).map_err(fault)?;
        // Nothing is left at its old place to be removed.
        drop(staged.keep());
        sync_folder(above)?;
        Ok(())
    }
}

/// Folders for a while are their owner's alone; a package is everybody's.
fn readable(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

fn refuse_taken(folder: &Utf8Path) -> Result<(), BeginError> {
    if folder.symlink_metadata().is_ok() {
        let folder = folder.to_owned();
        return Err(BeginError::Taken { folder });
    }
    Ok(())
}

type Progress<'a> = &'a (dyn Fn(FetchProgress) + Send + Sync);

async fn fetch_sdist(
    fetcher: &Fetcher,
    name: &PackageName,
    index: &IndexUrl,
    wanted: Option<&PackageVersion>,
    progress: Progress<'_>,
) -> Result<Fetched, BeginError> {
    let files = fetcher.project_files(index, name, progress).await;
    let files = files.map_err(|source| fetch_failed(name, source))?;
    let found = releases(&files, name);
    let newest = newest(&found).ok_or_else(|| BeginError::NoSdist {
        index: index.clone(),
        project: name.clone(),
    })?;
    let (release, file) = match wanted {
        None => newest,
        Some(version) => {
            let release = found.iter().find(|release| release.version == *version);
            let sdist = release.and_then(|release| Some((release, release.sdists.first()?)));
            sdist.ok_or_else(|| BeginError::NoVersion {
                index: index.clone(),
                project: name.clone(),
                version: version.clone(),
                newest: newest.0.version.clone(),
            })?
        }
    };
    let sha256 = file.sha256.ok_or_else(|| BeginError::NoDigest {
        index: index.clone(),
        file_name: file.file_name.clone(),
    })?;
    let source = Source::Sdist {
        project: name.clone(),
        version: release.version.clone(),
        sha256,
        index: index.clone(),
    };
    let survey = read(fetcher, name, &source, progress).await?;
    Ok(Fetched {
        version: release.version.clone(),
        source,
        survey,
    })
}

/// The newest release with an sdist that is not withdrawn; a pre-release when there is nothing else.
fn newest(found: &[IndexRelease]) -> Option<(&IndexRelease, &IndexFile)> {
    let with_sdist = || {
        let newest_first = found.iter().rev();
        newest_first.filter_map(|release| Some((release, release.sdist()?)))
    };
    let released = with_sdist().find(|(release, _)| !release.version.is_prerelease());
    released.or_else(|| with_sdist().next())
}

async fn fetch_commit(
    fetcher: &Fetcher,
    name: &PackageName,
    (url, commit): (&GitUrl, &GitCommit),
    version: Option<PackageVersion>,
    progress: Progress<'_>,
) -> Result<Fetched, BeginError> {
    let source = |submodules| Source::Git {
        url: url.clone(),
        commit: commit.clone(),
        submodules,
    };
    // Its own files tell all that is looked for; the submodules come when it is built.
    let survey = read(fetcher, name, &source(Submodules::Off), progress).await?;
    let version = version.or_else(|| survey.project.version.clone());
    let version = version.ok_or_else(|| BeginError::VersionUnknown {
        project: name.clone(),
        commit: commit.clone(),
    })?;
    let submodules = if survey.has_submodules {
        Submodules::On
    } else {
        Submodules::Off
    };
    Ok(Fetched {
        source: source(submodules),
        survey,
        version,
    })
}

async fn read(
    fetcher: &Fetcher,
    name: &PackageName,
    source: &Source,
    progress: Progress<'_>,
) -> Result<Survey, BeginError> {
    let fetched = fetcher.fetch(source, progress).await;
    let tree = fetched.map_err(|source| fetch_failed(name, source))?;
    let name = name.clone();
    match tokio::task::spawn_blocking(move || survey(&name, &tree)).await {
        Ok(survey) => Ok(survey),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn fetch_failed(name: &PackageName, source: FetchError) -> BeginError {
    BeginError::Fetch {
        project: name.clone(),
        source,
    }
}

/// The build requirements with versions, and those without.
#[derive(Default)]
struct Pins {
    pins: Vec<Pin>,
    unpinned: Vec<Requirement>,
    not_checked: Vec<String>,
}

async fn pin(
    farm: &FarmFolder,
    fetcher: &Fetcher,
    requirements: &[Requirement],
    progress: Progress<'_>,
) -> Result<Pins, BeginError> {
    let index: IndexUrl = farm
        .matrix
        .build
        .package_index
        .parse()
        .map_err(BeginError::PackageIndex)?;
    let others = farm.build_requirements();
    let pythons: Vec<PythonVersion> = farm
        .matrix
        .environments
        .iter()
        .flat_map(|environment| environment.python.iter().map(|python| python.value))
        .collect();
    let mut pins = Pins::default();
    for requirement in requirements {
        if let Some(pin) = of_farm(requirement, &others) {
            pins.pins.push(pin);
            continue;
        }
        let files = fetcher
            .project_files(&index, &requirement.name, progress)
            .await;
        let found = match files {
            Ok(files) => choose(requirement, &files, &pythons),
            Err(error) => {
                let line = format!("a version of {}: {}", requirement.name, chain(&error));
                pins.not_checked.push(line);
                None
            }
        };
        match found {
            Some(pin) => pins.pins.push(pin),
            None => pins.unpinned.push(requirement.clone()),
        }
    }
    Ok(pins)
}
