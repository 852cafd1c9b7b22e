//! Reads a farm from the disk: the matrix, the packages and patches it names, the folders that they
//! take source from, and what is on record in `out/`.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::diagnostic::{Diagnostic, Diagnostics, Location};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::contract::{self, Contract};
use wheelfarm_core::ident::{JobId, PackageName};
use wheelfarm_core::manifest::{self, Manifest};
use wheelfarm_core::matrix::{CaBundle, Matrix};
use wheelfarm_core::outcome::FailureRecord;
use wheelfarm_core::package::{self, Package, PackageRelease};
use wheelfarm_core::plan::changes::Why;
use wheelfarm_core::plan::inputs::{self, InputsRecord};
use wheelfarm_core::plan::{self, Job, Need, OnRecord, PatchKey, Plan, PlanInput, WheelPresence};
use wheelfarm_core::source::Source;
use wheelfarm_core::source::patch::Patch;
use wheelfarm_core::version::PackageVersion;
use wheelfarm_core::watch::propose::{TextFile, Texts};

use crate::fetch;
use crate::run::LOG_FILE;

/// A farm as it lies on the disk.
#[derive(Debug)]
pub struct FarmFolder {
    /// The checked matrix.
    pub matrix: Matrix,
    root: Utf8PathBuf,
    packages: BTreeMap<PackageName, Package>,
    patches: BTreeMap<PatchKey, String>,
    folders: BTreeMap<Utf8PathBuf, Sha256Digest>,
}

/// A farm cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FarmError {
    /// The files say something that cannot be.
    #[error("{0}")]
    Faults(Diagnostics),
    /// The matrix cannot be read.
    #[error("failed to read the matrix")]
    Matrix(#[source] io::Error),
    /// The contract cannot be read.
    #[error("failed to read the contract")]
    Contract(#[source] io::Error),
    /// The package cannot be read.
    #[error("failed to read the package")]
    Package(#[source] io::Error),
    /// A file that the matrix leads to cannot be read.
    #[error("failed to read the farm")]
    Io(#[source] io::Error),
    /// The certificates that containers shall trust cannot be read.
    #[error("failed to read the certificates that containers shall trust")]
    CaBundle(#[source] io::Error),
    /// A source folder cannot be read.
    #[error("failed to read a source folder")]
    Folder(#[source] fetch::FetchError),
}

impl FarmError {
    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Matrix(_) => {
                Some("change to the farm's folder, or name its matrix with `--matrix FILE`")
            }
            Self::CaBundle(_) => {
                Some("`build.ca-bundle` is `image`, `host`, or a PEM file beside the matrix")
            }
            Self::Contract(_) => Some("name a file as docs/gate.md shows it"),
            Self::Package(_) => Some(
                "name the folder that has its package.yaml with `--package FOLDER`, or change to the \
                 farm's folder",
            ),
            Self::Faults(_) | Self::Io(_) | Self::Folder(_) => None,
        }
    }
}

/// Reads the contract file at `path`.
pub fn read_contract(path: &Utf8Path) -> Result<Contract, FarmError> {
    let text = fs_err::read_to_string(path).map_err(FarmError::Contract)?;
    Ok(contract::parse_file(path.as_str(), &text)?)
}

/// Reads the package in `folder`, as a farm that names it would.
pub fn read_package(folder: &Utf8Path) -> Result<PackageFolder, FarmError> {
    let path = folder.join("package.yaml");
    let text = fs_err::read_to_string(&path).map_err(FarmError::Package)?;
    let package = package::parse(path.as_str(), &text)?;
    Diagnostics::check((), misplaced(&package, &package.name, &path))?;
    let test = match &package.test {
        Some(test) => {
            let text = fs_err::read_to_string(folder.join(&test.value));
            Some(text.map_err(FarmError::Io)?)
        }
        None => None,
    };
    Ok(PackageFolder {
        name: package.name,
        test,
    })
}

/// A package without a farm around it.
#[derive(Debug, Clone)]
pub struct PackageFolder {
    /// Its name.
    pub name: PackageName,
    /// The text of its test.
    pub test: Option<String>,
}

/// What is on record cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read what is on record")]
pub struct RecordError(#[from] io::Error);

impl From<Diagnostics> for FarmError {
    fn from(faults: Diagnostics) -> Self {
        Self::Faults(faults)
    }
}

impl FarmFolder {
    /// Reads the farm of the matrix at `path`: the packages that it builds.
    pub fn read(path: &Utf8Path) -> Result<Self, FarmError> {
        let mut farm = Self::read_matrix(path)?;
        let names = farm.matrix.packages.iter().map(|entry| &entry.name.value);
        let names: Vec<_> = names.cloned().collect();
        farm.read_packages(&names)?;
        farm.read_patches()?;
        farm.read_folders()?;
        Ok(farm)
    }

    /// Reads the farm of the matrix at `path` with every package that has a folder, whether the
    /// matrix builds it or not.
    pub fn read_all_packages(path: &Utf8Path) -> Result<Self, FarmError> {
        let mut farm = Self::read_matrix(path)?;
        let names = farm.package_folders().map_err(FarmError::Io)?;
        farm.read_packages(&names)?;
        farm.read_patches()?;
        farm.read_folders()?;
        Ok(farm)
    }

    /// The names that a package may have among the folders with a `package.yaml`, sorted.
    fn package_folders(&self) -> io::Result<Vec<PackageName>> {
        let folder = self.root.join(&self.matrix.folders.packages);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut names: Vec<PackageName> = Vec::new();
        for entry in folder.read_dir_utf8()? {
            let entry = entry?;
            if entry.path().join("package.yaml").is_file() {
                names.extend(entry.file_name().parse());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The patches of a release, in their order.
    pub fn patches(
        &self,
        package: &Package,
        release: &PackageRelease,
    ) -> Result<Vec<Patch>, FarmError> {
        let folder = &self.matrix.folders.patches;
        let patches = plan::patches::of_release(&package.name, release, folder, &self.patches)?;
        Ok(patches)
    }

    /// The folder of the patches of one version of `package`.
    pub fn patch_folder(&self, package: &PackageName, version: &PackageVersion) -> Utf8PathBuf {
        self.root
            .join(&self.matrix.folders.patches)
            .join(package.as_str())
            .join(version.to_string())
    }

    /// Reads the matrix at `path` and nothing that it leads to, for who adds to a farm.
    pub fn read_matrix(path: &Utf8Path) -> Result<Self, FarmError> {
        let text = fs_err::read_to_string(path).map_err(FarmError::Matrix)?;
        let matrix = Matrix::parse(path.as_str(), &text)?;
        let root = path.parent().unwrap_or(Utf8Path::new("")).to_owned();
        Ok(Self {
            root,
            packages: BTreeMap::new(),
            patches: BTreeMap::new(),
            folders: BTreeMap::new(),
            matrix,
        })
    }

    /// The build requirements of every package that lies in the farm, in the matrix or not. What cannot
    /// be read has none.
    pub fn build_requirements(&self) -> Vec<String> {
        let folder = self.root.join(&self.matrix.folders.packages);
        let names = self.package_folders().unwrap_or_default();
        let parsed = names.iter().filter_map(|name| {
            let path = folder.join(name.as_str()).join("package.yaml");
            let text = fs_err::read_to_string(&path).ok()?;
            package::parse(path.as_str(), &text).ok()
        });
        let releases = parsed.flat_map(|package| package.releases);
        releases
            .flat_map(|release| release.build.requirements)
            .collect()
    }

    /// Expands the matrix.
    pub fn plan(&self) -> Result<Plan, FarmError> {
        Ok(plan::expand(&self.plan_input())?)
    }

    /// What a plan of this farm is made from.
    pub fn plan_input(&self) -> PlanInput<'_> {
        PlanInput {
            matrix: &self.matrix,
            packages: &self.packages,
            patches: &self.patches,
            folders: &self.folders,
        }
    }

    /// The texts that people wrote, of the matrix and of each package that it names.
    pub fn texts(&self) -> Result<Texts, FarmError> {
        let file = |path: Utf8PathBuf| {
            let text = fs_err::read_to_string(&path)?;
            let path = path.into_string();
            Ok(TextFile { path, text })
        };
        let packages = self.packages.keys().map(|name| {
            let path = self.package_folder(name).join("package.yaml");
            Ok((name.clone(), file(path)?))
        });
        Ok(Texts {
            matrix: file(self.matrix.file.clone().into()).map_err(FarmError::Matrix)?,
            packages: packages.collect::<io::Result<_>>().map_err(FarmError::Io)?,
        })
    }

    /// The packages that the matrix names, as far as they are there.
    pub fn packages(&self) -> &BTreeMap<PackageName, Package> {
        &self.packages
    }

    /// The folder of `package`.
    pub fn package_folder(&self, package: &PackageName) -> Utf8PathBuf {
        self.root
            .join(&self.matrix.folders.packages)
            .join(package.as_str())
    }

    /// The text of the test that proves `package`, with its file's path.
    pub fn package_test(&self, package: &PackageName) -> Result<Option<String>, FarmError> {
        let Some(test) = self.packages.get(package).and_then(|p| p.test.as_ref()) else {
            return Ok(None);
        };
        let path = self.package_folder(package).join(&test.value);
        fs_err::read_to_string(path)
            .map(Some)
            .map_err(FarmError::Io)
    }

    /// The PEM file that containers shall trust, when the matrix names one.
    pub fn ca_bundle(&self) -> Result<Option<Vec<u8>>, FarmError> {
        let path = match &self.matrix.build.ca_bundle {
            CaBundle::Image => return Ok(None),
            CaBundle::Host => host_ca_bundle(),
            CaBundle::File(path) => self.root.join(path),
        };
        fs_err::read(path).map(Some).map_err(FarmError::CaBundle)
    }

    fn read_packages(&mut self, names: &[PackageName]) -> Result<(), FarmError> {
        let mut faults = Vec::new();
        for name in names {
            let folder = self.package_folder(name);
            let path = folder.join("package.yaml");
            let Some(text) = read_if_there(&path).map_err(FarmError::Io)? else {
                continue;
            };
            match package::parse(path.as_str(), &text) {
                Ok(package) => {
                    faults.extend(misplaced(&package, name, &path));
                    self.packages.insert(name.clone(), package);
                }
                Err(found) => faults.extend(found.iter().cloned()),
            }
        }
        Ok(Diagnostics::check((), faults)?)
    }

    fn read_patches(&mut self) -> Result<(), FarmError> {
        for package in self.packages.values() {
            for release in &package.releases {
                let version = &release.version.value;
                let folder = self.patch_folder(&package.name, version);
                for patch in &release.patches {
                    let path = folder.join(&patch.value);
                    let Some(text) = read_if_there(&path).map_err(FarmError::Io)? else {
                        continue;
                    };
                    let key = PatchKey {
                        package: package.name.clone(),
                        version: version.to_string(),
                        file: patch.value.clone(),
                    };
                    self.patches.insert(key, text);
                }
            }
        }
        Ok(())
    }

    fn read_folders(&mut self) -> Result<(), FarmError> {
        let mut folders = BTreeMap::new();
        for package in self.packages.values_mut() {
            let base = self
                .root
                .join(&self.matrix.folders.packages)
                .join(package.name.as_str());
            for release in &mut package.releases {
                if let Source::Folder { path } = &mut release.source {
                    *path = base.join(&*path);
                    if path.is_dir() {
                        let tree = fetch::read_folder(path).map_err(FarmError::Folder)?;
                        folders.insert(path.clone(), tree.digest());
                    }
                }
            }
        }
        self.folders = folders;
        Ok(())
    }
}

/// What is on record under `out/jobs/`. A manifest that cannot be read is no record: its job is
/// built again.
pub fn on_record(out: &Utf8Path) -> Result<BTreeMap<JobId, OnRecord>, RecordError> {
    let mut records = BTreeMap::new();
    for (folder, manifest) in manifests(out)? {
        let wheel = folder.join(&manifest.wheel.file_name);
        let size_bytes = fs_err::metadata(&wheel).map(|metadata| metadata.len()).ok();
        let wheel = if size_bytes == Some(manifest.wheel.size_bytes) {
            WheelPresence::Present
        } else {
            WheelPresence::Missing
        };
        let digest = manifest.job_digest;
        records.insert(manifest.job, OnRecord { digest, wheel });
    }
    Ok(records)
}

/// Why each of `needs` is built, as far as `out/` tells. Nothing is read for a job that is up to date.
pub fn why(out: &Utf8Path, needs: &[(&Job, Need)]) -> Result<BTreeMap<JobId, Why>, RecordError> {
    let mut found = BTreeMap::new();
    for &(job, need) in needs.iter().filter(|(_, need)| *need != Need::UpToDate) {
        let id = job.id();
        let inputs = match need {
            Need::InputsChanged => inputs_on_record(out, id)?,
            Need::New | Need::WheelMissing | Need::Forced | Need::Rehearsed | Need::UpToDate => {
                None
            }
        };
        let why = Why::new(job, need, inputs.as_ref(), last_failure(out, id)?);
        found.insert(id.clone(), why);
    }
    Ok(found)
}

/// What the wheel on record of `job` was made from; nothing when that was not kept or cannot be read.
fn inputs_on_record(out: &Utf8Path, job: &JobId) -> io::Result<Option<InputsRecord>> {
    let path = out.join("jobs").join(job.as_str()).join(inputs::FILE_NAME);
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    match InputsRecord::parse(&text) {
        Ok(record) => Ok((record.job == *job).then_some(record)),
        Err(error) => {
            tracing::warn!(path = %path, error = %error, "unreadable inputs");
            Ok(None)
        }
    }
}

/// How `job` failed when it was last run; nothing when it did not or that was not kept.
fn last_failure(out: &Utf8Path, job: &JobId) -> io::Result<Option<FailureRecord>> {
    let folder = out.join("failed").join(job.as_str());
    let text = read_if_there(&folder.join(FailureRecord::FILE_NAME))?;
    let record = text.and_then(|text| FailureRecord::parse(&text));
    Ok(record.filter(|record| record.job == *job))
}

/// The end of the log that a failed job left in `folder`, whole lines in at most `limit_bytes`. Nothing when
/// there is none.
///
/// # Errors
/// The log is there and cannot be read.
pub fn end_of_log(folder: &Utf8Path, limit_bytes: u64) -> io::Result<Option<String>> {
    let path = folder.join(LOG_FILE);
    let mut file = match fs_err::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit_bytes)))?;
    let mut bytes = Vec::new();
    file.take(limit_bytes).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let is_whole = length <= limit_bytes;
    let whole = match text.split_once('\n') {
        Some((_, rest)) if !is_whole => rest,
        None | Some(_) => &text,
    };
    Ok(Some(whole.to_owned()))
}

/// The manifests under `out/jobs/`, each with its folder, sorted by folder.
pub fn manifests(out: &Utf8Path) -> Result<Vec<(Utf8PathBuf, Manifest)>, RecordError> {
    let jobs = out.join("jobs");
    if !jobs.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in jobs.read_dir_utf8()? {
        let folder = entry?.into_path();
        let Some(text) = read_if_there(&folder.join(manifest::FILE_NAME))? else {
            continue;
        };
        match Manifest::parse(&text) {
            Ok(manifest) if folder.file_name() == Some(manifest.job.as_str()) => {
                found.push((folder, manifest));
            }
            Ok(manifest) => {
                tracing::warn!(folder = %folder, job = %manifest.job, "manifest of another job");
            }
            Err(error) => {
                tracing::warn!(folder = %folder, error = %error, "unreadable manifest");
            }
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// What is wrong with where a package and its test lie.
fn misplaced(package: &Package, name: &PackageName, path: &Utf8Path) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    if package.name != *name {
        let message = format!("`{}` lies in the folder of `{name}`", package.name);
        let location = Location {
            file: path.to_string(),
            line: 1,
            column: 1,
        };
        let fault = Diagnostic::new(location, "package-folder", message);
        faults.push(fault.with_hint("the folder has the package's name"));
    }
    let folder = path.parent().unwrap_or(Utf8Path::new(""));
    if let Some(test) = &package.test
        && !folder.join(&test.value).is_file()
    {
        let message = format!("test `{}` is not there", test.value);
        let fault = Diagnostic::new(test.location.clone(), "missing-test", message);
        faults.push(fault.with_hint(format!("write {folder}/{}", test.value)));
    }
    faults
}

fn read_if_there(path: &Utf8Path) -> io::Result<Option<String>> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The bundle of certificates that the host trusts: the one that the environment names, as OpenSSL
/// and Python read it, else the distribution's.
fn host_ca_bundle() -> Utf8PathBuf {
    let named = std::env::var("SSL_CERT_FILE").ok().map(Utf8PathBuf::from);
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    named
        .into_iter()
        .chain(usual.map(Utf8PathBuf::from))
        .find(|path| path.is_file())
        .unwrap_or_else(|| Utf8PathBuf::from(usual[0]))
}
