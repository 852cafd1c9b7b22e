//! The file a maintainer writes: packages, environments, exclusions with reasons, and policies.
//!
//! Two types for one file: `raw` is what was written, [`Matrix`] is what the rest of the program
//! uses, every value checked and with its place.

mod raw;
mod read;

use camino::Utf8PathBuf;

use crate::arch::ArchTarget;
use crate::diagnostic::{Diagnostics, Located, Location};
use crate::ident::{PackageName, VariantName};
use crate::quantity::ByteSize;
use crate::version::{CudaVersion, PackageVersion, PythonVersion, TorchVersion};

/// The schema of what is written.
#[cfg(test)]
pub(crate) fn schema(name: &str, title: &str) -> String {
    crate::schema::made::<raw::RawMatrix>(name, title)
}

/// A checked matrix.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The file as the user named it.
    pub file: String,
    /// The farm's name: the label on everything it creates in an engine.
    pub farm: String,
    /// Where `package.yaml` folders and patches lie, relative to the file's folder.
    pub folders: Folders,
    /// The archs that every package is built for unless its entry says otherwise.
    pub archs: Vec<Located<ArchTarget>>,
    /// What is built, in the file's order.
    pub packages: Vec<MatrixPackage>,
    /// Against what, in the file's order.
    pub environments: Vec<EnvironmentAxes>,
    /// What is left out, and why.
    pub exclusions: Vec<Exclusion>,
    /// How the farm builds on any host.
    pub build: BuildPolicy,
}

/// Where the matrix's packages and patches lie.
#[derive(Debug, Clone)]
pub struct Folders {
    /// `<packages>/<name>/package.yaml`.
    pub packages: Utf8PathBuf,
    /// `<patches>/<name>/<version>/<patch>`.
    pub patches: Utf8PathBuf,
}

/// One package's entry.
#[derive(Debug, Clone)]
pub struct MatrixPackage {
    /// Its name.
    pub name: Located<PackageName>,
    /// The versions to build.
    pub versions: Vec<Located<PackageVersion>>,
    /// The variants to build of each version; empty means the plain build, which has no name.
    pub variants: Vec<Located<VariantName>>,
    /// The environments to build in; empty means all.
    pub environments: Vec<Located<String>>,
    /// Its own archs, when it has any.
    pub archs: Vec<Located<ArchTarget>>,
}

/// An environment with its axes: every torch with every Python.
#[derive(Debug, Clone)]
pub struct EnvironmentAxes {
    /// Its name in the file.
    pub name: Located<String>,
    /// What the image starts from.
    pub base: Base,
    /// Where nvcc comes from.
    pub toolkit: Toolkit,
    /// The toolkit's version.
    pub cuda: Located<CudaVersion>,
    /// The index that torch is installed from.
    pub torch_index: TorchIndex,
    /// The torches.
    pub torch: Vec<Located<TorchVersion>>,
    /// The Pythons.
    pub python: Vec<Located<PythonVersion>>,
}

/// What an environment's image starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A Debian suite that the farm bootstraps itself, so that no registry is needed.
    Debootstrap {
        /// `bookworm`.
        suite: String,
        /// Where its packages are fetched.
        mirror: String,
    },
    /// An image of a registry.
    Image {
        /// `nvidia/cuda:12.8.1-devel-ubuntu22.04`, better with `@sha256:…`.
        reference: String,
        /// Where its Python comes from.
        interpreter: Interpreter,
    },
}

/// Where an image's Python comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Interpreter {
    /// The distribution's own, by `apt-get`.
    Apt,
    /// `/opt/python/cpXY-cpXY`, as in `PyPA`'s and PyTorch's manylinux images.
    Manylinux,
}

impl Interpreter {
    /// As the file spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Manylinux => "manylinux",
        }
    }
}

/// Where nvcc comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Toolkit {
    /// The base image has it.
    Image,
    /// NVIDIA's wheels on PyPI; whole since CUDA 13.0.
    Pypi,
}

impl Toolkit {
    /// As the file spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Pypi => "pypi",
        }
    }
}

/// The index that torch is installed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TorchIndex {
    /// PyPI, which has one CUDA build of each torch.
    Pypi,
    /// Another index: `https://download.pytorch.org/whl/cu128`.
    Url(String),
}

/// A combination that is left out, and why. An axis that is not named matches everything.
#[derive(Debug, Clone)]
pub struct Exclusion {
    /// Where it stands.
    pub location: Location,
    /// Package names.
    pub packages: Vec<PackageName>,
    /// Package versions.
    pub versions: Vec<PackageVersion>,
    /// Environment names.
    pub environments: Vec<String>,
    /// CUDA versions.
    pub cuda: Vec<CudaVersion>,
    /// Torch versions.
    pub torch: Vec<TorchVersion>,
    /// Python versions.
    pub python: Vec<PythonVersion>,
    /// Why: shown in the plan beside each job it takes out.
    pub reason: String,
}

/// How the farm builds, whatever the package.
#[derive(Debug, Clone)]
pub struct BuildPolicy {
    /// Whose certificates containers trust.
    pub ca_bundle: CaBundle,
    /// The most jobs at a time; `None`: memory and cores decide.
    pub jobs: Option<u32>,
    /// The most memory that all jobs together may be given; the host's own when absent.
    pub memory: Option<ByteSize>,
    /// What must stay free of every disk that jobs write to.
    pub disk_reserve: ByteSize,
    /// The most that the compiler cache of each package may hold; no cache when absent.
    pub cache: Option<ByteSize>,
    /// The index that build requirements come from, as wheels only.
    pub package_index: String,
    /// The time stamp of every file in a wheel: seconds since 1970.
    pub source_date_epoch_s: u64,
}

/// Whose certificates containers trust when they fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaBundle {
    /// The image's own.
    Image,
    /// The host's bundle: a company's proxy signs with its own authority.
    Host,
    /// A PEM file, relative to the matrix's folder.
    File(Utf8PathBuf),
}

impl MatrixPackage {
    /// The archs that it is built for if it has compiled kernels: its own, else the matrix's.
    pub fn asked_archs<'a>(&'a self, matrix: &'a Matrix) -> &'a [Located<ArchTarget>] {
        if self.archs.is_empty() {
            &matrix.archs
        } else {
            &self.archs
        }
    }

    /// Whether it is built in `environment`.
    pub fn is_built_in(&self, environment: &EnvironmentAxes) -> bool {
        let mut named = self.environments.iter();
        self.environments.is_empty() || named.any(|name| name.value == environment.name.value)
    }
}

impl Matrix {
    /// Reads a matrix, which the user knows as `file`.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        read::matrix(file, text)
    }
}
