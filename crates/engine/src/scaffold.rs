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
        source: Box<FetchError>,
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
            Self::Fetch { source, .. } if matches!(**source, FetchError::NoProject { .. }) => {
                Some(GIT_HINT)
            }
            Self::Fetch { source, .. } if matches!(**source, FetchError::Http(_)) => Some(
                "run it again where the index can be reached, or name a repository that can be: \
                 `--git URL --commit SHA`",
            ),
            Self::Fetch { source, .. } => source.hint(),
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
        pins: &pins.found,
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
        source: Box::new(source),
    }
}

/// The build requirements with versions, and those without.
#[derive(Default)]
struct Pins {
    found: Vec<Pin>,
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
            pins.found.push(pin);
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
            Some(pin) => pins.found.push(pin),
            None => pins.unpinned.push(requirement.clone()),
        }
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use wheelfarm_core::digest::Sha256Digest;
    use wheelfarm_core::source::{FileMode, SourceTree, TarLayout, TreeEntry};

    use super::*;
    use crate::fetch::FetchOptions;
    use crate::fetch::tests::server::{Reply, Server};

    const HTML: &str = "text/html";

    fn sdist() -> Vec<u8> {
        let mut tree = SourceTree::new();
        let setup = "from torch.utils.cpp_extension import CUDAExtension\nimport psutil\n\
                     raise SystemExit('this is run')\nCUDAExtension('thing._C', ['a.cu'])\n";
        let files = [
            (
                "PKG-INFO",
                "Metadata-Version: 2.1\nName: thing\nVersion: 1.1\nRequires-Python: >=3.9\n",
            ),
            ("setup.py", setup),
            ("a.cu", ""),
            ("thing/__init__.py", ""),
        ];
        for (path, text) in files {
            let entry = TreeEntry::File {
                bytes: text.as_bytes().into(),
                mode: FileMode::Plain,
            };
            tree.insert(path.parse().unwrap(), entry).unwrap();
        }
        let layout = TarLayout {
            prefix: Some("thing-1.1".parse().unwrap()),
            ..TarLayout::default()
        };
        let tar = tree.write_tar(&layout, Vec::new()).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    }

    struct Lab {
        folder: tempfile::TempDir,
        server: Server,
    }

    impl Lab {
        /// A farm in a folder and an index with the releases of `thing` that `page` lists.
        async fn new(page: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut server = Server::new().await;
            server.on("/simple/thing/", Reply::ok(HTML, page));
            server.on("/f/thing-1.1.tar.gz", Reply::ok("x", sdist()));
            for name in ["setuptools", "wheel", "packaging", "ninja"] {
                let page = format!(
                    "<a href='/f/{name}-1.0-py3-none-any.whl'>x</a><a href='/f/{name}-2.0-py3-none-any.whl' \
                     data-requires-python='&gt;=3.20'>x</a>"
                );
                server.on(&format!("/simple/{name}/"), Reply::ok(HTML, page));
            }
            let index = server.url("/simple");
            let matrix = format!(
                "schema: 1\nfarm: t\narchs: [\"8.0\", \"12.0+PTX\"]\npackages:\n  - name: other\n    versions: \
                 [\"1.0\"]\nenvironments:\n  - name: e\n    base:\n      debootstrap:\n        suite: bookworm\n    \
                 toolkit: pypi\n    cuda: \"13.0\"\n    torch: [\"2.11.0\"]\n    python: [\"3.11\"]\nbuild:\n  \
                 package-index: {index}\n"
            );
            let lab = Self { folder, server };
            lab.write("matrix.yaml", &matrix);
            lab
        }

        fn path(&self, path: &str) -> Utf8PathBuf {
            Utf8Path::from_path(self.folder.path()).unwrap().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.path(path);
            create_folder(path.parent().unwrap()).unwrap();
            write_atomic(&path, text.as_bytes()).unwrap();
        }

        async fn begin(&mut self, version: Option<&str>) -> Result<NewPackage, BeginError> {
            let options = FetchOptions {
                attempts: 1,
                first_wait: Duration::from_millis(1),
                ..FetchOptions::default()
            };
            let fetcher = Fetcher::new(self.path("cache"), options).unwrap();
            let farm = FarmFolder::read_matrix(&self.path("matrix.yaml")).unwrap();
            let origin = Origin::Sdist {
                index: self.server.url("/simple").parse().unwrap(),
                version: version.map(|text| text.parse().unwrap()),
            };
            let name = "thing".parse().unwrap();
            let begun = begin(&farm, &fetcher, &name, &origin, |_| {});
            self.server.during(begun).await
        }
    }

    fn page() -> String {
        let digest = Sha256Digest::of(&sdist());
        format!(
            "<a href='/f/thing-1.0.tar.gz'>x</a><a href='/f/thing-1.1.tar.gz#sha256={digest}'>x</a>\
             <a href='/f/thing-1.2.tar.gz' data-yanked>x</a><a href='/f/thing-2.0rc1.tar.gz'>x</a>\
             <a href='/f/thing-1.5-py3-none-any.whl'>x</a>"
        )
    }

    #[tokio::test]
    async fn the_newest_sdist_is_read_and_not_run() {
        let mut lab = Lab::new(&page()).await;
        // Another package of the farm, with a requirement that this one has too.
        lab.write(
            "packages/other/package.yaml",
            "schema: 1\nname: other\nsummary: s\nlicence: MIT\nupstream: u\nreleases:\n  - version: \"1.0\"\n    \
             source:\n      folder: source\n    kernels: just-in-time\n    build:\n      requirements: \
             [\"ninja==1.13.0\"]\n",
        );
        let new = lab
            .begin(None)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(new.folder, lab.path("packages/thing"));
        let release = &new.package.releases[0];
        assert_eq!(release.version.value.to_string(), "1.1");
        // psutil is on no index here.
        let want = [
            "setuptools==1.0",
            "wheel==1.0",
            "packaging==1.0",
            "ninja==1.13.0",
        ];
        assert_eq!(release.build.requirements, want);
        assert_eq!(new.not_checked.len(), 1);
        assert!(
            new.not_checked[0].starts_with("a version of psutil: index "),
            "{:?}",
            new.not_checked
        );
        assert!(
            new.files
                .package
                .contains("no wheel of it was found: pin it by hand")
        );
        assert!(new.files.package.contains("- name: \"thing/_C*.so\"\n"));
        assert!(!new.folder.exists(), "nothing is written yet");

        new.write().unwrap();
        let text = fs_err::read_to_string(new.folder.join("package.yaml")).unwrap();
        assert_eq!(text, new.files.package);
        assert!(new.folder.join("test.py").is_file());
        let above: Vec<_> = lab.path("packages").read_dir_utf8().unwrap().collect();
        assert_eq!(above.len(), 2, "nothing else is left");

        let error = new.write().unwrap_err();
        assert!(matches!(error, BeginError::Taken { .. }), "{error}");
        let error = lab.begin(None).await.unwrap_err();
        assert!(matches!(error, BeginError::Taken { .. }), "{error}");
    }

    #[track_caller]
    fn check(error: &BeginError, message: &str, hint: &str) {
        let text = chain(error);
        assert!(text.contains(message), "{text}");
        assert_eq!(error.hint(), Some(hint), "{text}");
        assert_eq!(error.kind(), BeginErrorKind::Input, "{text}");
    }

    #[tokio::test]
    async fn what_is_missing_is_asked_for() {
        let mut lab = Lab::new(&page()).await;
        let error = lab.begin(Some("1.7")).await.unwrap_err();
        let newest =
            "leave `--sdist` out for the newest, or name its repository: `--git URL --commit SHA`";
        check(
            &error,
            "has no `.tar.gz` sdist of `thing` 1.7; the newest is 1.1",
            newest,
        );
        let error = lab.begin(Some("1.0")).await.unwrap_err();
        check(&error, "gives no sha256 for `thing-1.0.tar.gz`", GIT_HINT);
        let mut lab = Lab::new("<a href='/f/thing-1.5-py3-none-any.whl'>x</a>").await;
        let error = lab.begin(None).await.unwrap_err();
        check(&error, "has no `.tar.gz` sdist of `thing`", GIT_HINT);
    }

    #[tokio::test]
    async fn a_project_that_is_not_there_and_an_index_that_is_down_are_told() {
        let mut lab = Lab::new("").await;
        let farm = FarmFolder::read_matrix(&lab.path("matrix.yaml")).unwrap();
        let options = FetchOptions {
            attempts: 1,
            ..FetchOptions::default()
        };
        let fetcher = Fetcher::new(lab.path("cache"), options).unwrap();
        let origin = Origin::Sdist {
            index: lab.server.url("/simple").parse().unwrap(),
            version: None,
        };
        let name = "nothing".parse().unwrap();
        let asked = begin(&farm, &fetcher, &name, &origin, |_| {});
        let error = lab.server.during(asked).await.unwrap_err();
        check(&error, "has no project `nothing`", GIT_HINT);
        drop(lab.server);
        let error = begin(&farm, &fetcher, &name, &origin, |_| {})
            .await
            .unwrap_err();
        assert_eq!(error.kind(), BeginErrorKind::Infrastructure);
        assert!(error.hint().unwrap().contains("--git URL"), "{error}");
    }
}
