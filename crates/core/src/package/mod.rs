//! A package folder's `package.yaml`: one upstream project, its releases, and for each release how
//! it is fetched, patched, compiled and tested.

mod raw;
mod read;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::arch::Arch;
use crate::diagnostic::{Diagnostics, Located};
use crate::gate::contract::ContractTerms;
use crate::ident::{PackageName, VariantName};
use crate::output_rule::OutputRule;
use crate::quantity::{ByteSize, TimeLimit};
use crate::source::{Source, TreePath};
use crate::version::{PackageVersion, VersionRange};
use crate::wheel::build_number::BuildNumber;

/// The schema of what is written.
#[cfg(test)]
pub(crate) fn schema(name: &str, title: &str) -> String {
    crate::schema::made::<raw::RawPackage>(name, title)
}

/// One upstream project.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name, which is also its folder's.
    pub name: PackageName,
    /// One line on what it is.
    pub summary: String,
    /// Its licence as an SPDX expression.
    pub licence: String,
    /// Its home page.
    pub upstream: String,
    /// Other addresses that someone who mends the package wants: name and URL.
    pub links: BTreeMap<String, Located<String>>,
    /// The test that a proof runs, relative to the package folder.
    pub test: Option<Located<String>>,
    /// The releases that the farm knows how to build.
    pub releases: Vec<PackageRelease>,
}

/// One version of a package, and everything that its build depends on besides the environment.
#[derive(Debug, Clone)]
pub struct PackageRelease {
    /// The version that the wheel must carry, and where it was written.
    pub version: Located<PackageVersion>,
    /// Which build of the version it is, when there is more than one: `avx512`.
    pub variant: Option<VariantName>,
    /// The build number that its wheels get, when wheels of an earlier build are out there.
    pub build_number: Option<BuildNumber>,
    /// Where the source comes from.
    pub source: Source,
    /// What is put into the source's tree besides: what a build would download otherwise.
    pub extra_sources: Vec<ExtraSource>,
    /// Patch files under `patches/<package>/<version>/`, applied in this order.
    pub patches: Vec<Located<String>>,
    /// What GPU code the source holds.
    pub kernels: Kernels,
    /// What it can be built against.
    pub needs: Needs,
    /// For which Pythons and torches one wheel serves.
    pub serves: Serves,
    /// How it is built.
    pub build: BuildSettings,
    /// What it may use of the host while it builds.
    pub resources: Resources,
    /// Whether its containers get a GPU.
    pub gpu: GpuWish,
    /// What its wheels must hold and may need.
    pub contract: ContractTerms,
}

/// A source that is put into a folder of the package's own, before patches are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraSource {
    /// The folder; nothing of the package's own source may lie in it.
    pub into: Located<TreePath>,
    /// Where it comes from: always pinned.
    pub source: Source,
}

/// What GPU code a package has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kernels {
    /// Compiled ahead of time, for these archs at most.
    Compiled {
        /// The archs that the source has kernels for.
        archs: Vec<Arch>,
        /// The toolkits that an arch needs, where nvcc's own word on it is not enough.
        cuda: BTreeMap<Arch, VersionRange>,
        /// Where that was read.
        source: String,
    },
    /// Compiled on the user's GPU when first used (Triton): the wheel carries none.
    JustInTime,
}

/// The ranges that a release can be built against, and where they were read.
#[derive(Debug, Clone)]
pub struct Needs {
    /// Of torch.
    pub torch: VersionRange,
    /// Of Python.
    pub python: VersionRange,
    /// Of CUDA.
    pub cuda: VersionRange,
    /// Where the ranges were read.
    pub source: String,
}

/// How far one wheel reaches along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Only the version it was built with: the usual extension module.
    One,
    /// The version it was built with and every later one: the stable ABI, or no compiled code.
    Later,
}

/// How far one wheel reaches along each axis that a stable ABI can take out of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serves {
    /// Along Python (`abi3`, or no use of its C API).
    pub python: Reach,
    /// Along torch (the `LibTorch` stable ABI).
    pub torch: Reach,
}

/// How a release is built.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// The folder of the source that is built; `None`: its top.
    pub folder: Option<TreePath>,
    /// Whether a `setup.py` that asks for a GPU is shown those that are asked for.
    pub gpu_shim: bool,
    /// Build requirements, each pinned exactly; installed as wheels only.
    pub requirements: Vec<String>,
    /// Packages of the base image's distribution.
    pub system_packages: Vec<String>,
    /// Environment of the build; the values are templates over the job (see `docs/packages.md`).
    pub env: BTreeMap<String, Located<String>>,
    /// Shell command that leaves the wheel in `$OUT`; the default builds with `pip wheel`.
    pub command: Option<String>,
    /// Which file in `$OUT` is the wheel.
    pub output: OutputRule,
}

/// The limits of a build's container.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
    /// Memory and swap together.
    pub memory: ByteSize,
    /// The peak of one compiler process: bounds how many run side by side.
    pub memory_per_process: ByteSize,
    /// Processes and threads.
    pub processes: u32,
    /// What a build writes at most, images aside; what earlier builds wrote counts more, once that is
    /// known.
    pub disk: ByteSize,
    /// The whole build.
    pub time: TimeLimit,
    /// The longest time without a line of output.
    pub silence: TimeLimit,
}

/// Whether a package's containers get a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum GpuWish {
    /// Never.
    None,
    /// When the engine offers one.
    Auto,
    /// Always: without one, nothing is built.
    Required,
}

impl PackageRelease {
    /// Everything that is fetched, as it is pinned; `own` is the identity of the package's own
    /// source.
    pub fn source_identity(&self, own: &str) -> String {
        let mut identity = own.to_owned();
        for extra in &self.extra_sources {
            let pinned = extra.source.identity();
            let pinned = pinned.expect("an extra source is never a folder");
            identity = format!("{identity}; {}: {pinned}", extra.into.value);
        }
        identity
    }

    /// Version and variant, as people read them: `2.11.0`, `2.11.0 (avx512)`.
    pub fn label(&self) -> String {
        match &self.variant {
            None => self.version.value.to_string(),
            Some(variant) => format!("{} ({variant})", self.version.value),
        }
    }
}

/// Reads a `package.yaml`, which the user knows as `file`.
pub fn parse(file: &str, text: &str) -> Result<Package, Diagnostics> {
    read::package(file, text)
}
