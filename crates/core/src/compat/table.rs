//! The rows of `data/compat.yaml`, read once and checked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::arch::{Arch, ArchTarget};
use crate::version::{CudaVersion, PythonVersion, TorchVersion, VersionRange};
use crate::wheel::version::TorchMinor;
use crate::yaml;

/// What is known of one CUDA toolkit.
#[derive(Debug)]
pub(super) struct ToolkitRow {
    /// What its nvcc compiles for.
    pub(super) archs: Vec<Arch>,
    /// The newest gcc that it takes, by major version.
    pub(super) gcc_most: u16,
    /// The first clang that it refuses, by major version.
    pub(super) clang_below: u16,
    /// Whether PyPI has the whole of its nvcc.
    pub(super) nvcc_on_pypi: bool,
    /// Where each of these comes from.
    pub(super) sources: ToolkitSources,
}

/// Where the facts of a toolkit come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ToolkitSources {
    pub(super) archs: String,
    pub(super) host_compilers: String,
    pub(super) nvcc_on_pypi: String,
}

/// The two C++ ABIs of libstdc++.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CxxAbi {
    /// `_GLIBCXX_USE_CXX11_ABI=0`.
    Old,
    /// `_GLIBCXX_USE_CXX11_ABI=1`, what a compiler does by itself.
    New,
}

/// Which index has a torch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Index {
    /// PyPI.
    Pypi,
    /// download.pytorch.org.
    Pytorch,
}

impl Index {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pypi => "PyPI",
            Self::Pytorch => "download.pytorch.org",
        }
    }
}

/// One build of a torch: what it is compiled for.
#[derive(Debug)]
pub(super) struct BuildRow {
    pub(super) archs: Vec<ArchTarget>,
    pub(super) cxx_abi: CxxAbi,
}

/// A Python that not every release, or not every index, of a torch has.
#[derive(Debug)]
pub(super) struct LimitedPython {
    pub(super) python: PythonVersion,
    /// The one release that has it; `None`: every one.
    pub(super) torch: Option<TorchVersion>,
    /// The one index that has it; `None`: both.
    pub(super) index: Option<Index>,
    pub(super) source: String,
}

/// The gcc that `torch.utils.cpp_extension` refuses with some toolkits.
#[derive(Debug)]
pub(super) struct GccCheck {
    pub(super) cuda: VersionRange,
    /// The first major version that is refused.
    pub(super) below: u16,
}

/// C++ standards as numbers: 17, 20.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CxxStandard {
    /// What `cpp_extension` passes to compilers.
    pub(super) default: u8,
    /// The least that torch's headers take.
    pub(super) least: u8,
}

/// A version of another package that goes with a torch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Match {
    /// A PEP 440 specifier: `==0.22.*`.
    pub version: String,
    /// The one release of torch that it goes with; `None`: every one of the minor version.
    pub torch: Option<TorchVersion>,
    /// The newest version of a range; `None` where `version` is one version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// The torch that it was built with, where that is another: its builds are those of that torch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_with: Option<TorchMinor>,
    /// The Pythons of the torch that PyPI has no wheel of it for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<PythonVersion>,
}

impl Match {
    /// The one version to take: `0.26.0`; `None` for a range whose newest is not known.
    pub fn pinned(&self) -> Option<&str> {
        let exact = self.version.strip_prefix("==");
        let exact = exact.filter(|version| !version.contains('*'));
        exact.or(self.pin.as_deref())
    }
}

/// What is known of one minor version of torch.
#[derive(Debug)]
pub(super) struct TorchRow {
    pub(super) releases: Vec<TorchVersion>,
    pub(super) pypi_cuda: CudaVersion,
    pub(super) builds: BTreeMap<CudaVersion, BuildRow>,
    /// Why there may be builds that `builds` has not.
    pub(super) more_builds: Option<String>,
    pub(super) python: Vec<PythonVersion>,
    pub(super) also_python: Vec<LimitedPython>,
    /// What its `cpp_extension` takes in `TORCH_CUDA_ARCH_LIST`.
    pub(super) archs: Vec<Arch>,
    pub(super) cmake_suffixes: Vec<String>,
    pub(super) gcc_check: Vec<GccCheck>,
    pub(super) cxx_standard: CxxStandard,
    pub(super) packages: BTreeMap<String, Vec<Match>>,
    pub(super) sources: TorchSources,
}

/// Where the facts of a torch come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TorchSources {
    pub(super) builds: String,
    pub(super) pypi_cuda: String,
    pub(super) default_archs: String,
    pub(super) cxx11_abi: String,
    pub(super) python: String,
    pub(super) archs: String,
    pub(super) cmake_suffixes: String,
    pub(super) gcc_check: String,
    pub(super) cxx_standard: String,
    pub(super) packages: String,
}

/// What the base of an environment brings to a build.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Base {
    /// Its name for people: `Debian 12`.
    pub name: String,
    /// What stands in the reference of an image, or in the name of a suite.
    pub(super) names: Vec<String>,
    /// The distribution's own Python; `None` where an image has many.
    pub python: Option<String>,
    /// The major version of its gcc.
    pub gcc: u16,
    /// Where this comes from.
    pub source: String,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) toolkits: BTreeMap<CudaVersion, ToolkitRow>,
    pub(super) torch: BTreeMap<TorchMinor, TorchRow>,
    pub(super) bases: Vec<Base>,
}

/// The built-in table.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let raw: RawTable = yaml::parse("compat.yaml", TEXT).expect("a test reads the built-in table");
    assert_eq!(raw.schema, 2, "the built-in table has the reader's schema");
    Table {
        toolkits: pairs(raw.cuda, toolkit),
        torch: pairs(raw.torch, torch),
        bases: raw.bases,
    }
});

const TEXT: &str = include_str!("../../data/compat.yaml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTable {
    schema: u32,
    cuda: BTreeMap<String, RawToolkit>,
    torch: BTreeMap<String, RawTorch>,
    bases: Vec<Base>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawToolkit {
    archs: Vec<Arch>,
    gcc_most: u16,
    clang_below: u16,
    nvcc_on_pypi: bool,
    sources: ToolkitSources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTorch {
    releases: Vec<String>,
    pypi_cuda: String,
    builds: BTreeMap<String, RawBuild>,
    more_builds: Option<String>,
    python: Vec<String>,
    #[serde(default)]
    also_python: Vec<RawLimitedPython>,
    archs: Vec<Arch>,
    cmake_suffixes: Vec<String>,
    gcc_check: Vec<RawGccCheck>,
    cxx_standard: CxxStandard,
    packages: BTreeMap<String, Vec<RawMatch>>,
    sources: TorchSources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawBuild {
    archs: Vec<ArchTarget>,
    cxx11_abi: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawLimitedPython {
    python: String,
    torch: Option<String>,
    index: Option<Index>,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawGccCheck {
    cuda: String,
    below: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawMatch {
    version: String,
    torch: Option<String>,
    pin: Option<String>,
    built_with: Option<String>,
    #[serde(default)]
    without: Vec<String>,
}

fn toolkit(raw: RawToolkit) -> ToolkitRow {
    ToolkitRow {
        archs: raw.archs,
        gcc_most: raw.gcc_most,
        clang_below: raw.clang_below,
        nvcc_on_pypi: raw.nvcc_on_pypi,
        sources: raw.sources,
    }
}

fn torch(raw: RawTorch) -> TorchRow {
    TorchRow {
        releases: values(&raw.releases),
        pypi_cuda: value(&raw.pypi_cuda),
        builds: pairs(raw.builds, |raw| BuildRow {
            archs: raw.archs,
            cxx_abi: if raw.cxx11_abi {
                CxxAbi::New
            } else {
                CxxAbi::Old
            },
        }),
        more_builds: raw.more_builds,
        python: values(&raw.python),
        also_python: raw
            .also_python
            .into_iter()
            .map(|raw| LimitedPython {
                python: value(&raw.python),
                torch: raw.torch.as_deref().map(value),
                index: raw.index,
                source: raw.source,
            })
            .collect(),
        archs: raw.archs,
        cmake_suffixes: raw.cmake_suffixes,
        gcc_check: raw
            .gcc_check
            .into_iter()
            .map(|raw| GccCheck {
                cuda: value(&raw.cuda),
                below: raw.below,
            })
            .collect(),
        cxx_standard: raw.cxx_standard,
        packages: pairs(raw.packages, |matches| {
            let matches = matches.into_iter();
            matches
                .map(|raw| Match {
                    version: raw.version,
                    torch: raw.torch.as_deref().map(value),
                    pin: raw.pin,
                    built_with: raw.built_with.as_deref().map(value),
                    without: values(&raw.without),
                })
                .collect()
        }),
        sources: raw.sources,
    }
}

fn pairs<R, K, V>(raw: BTreeMap<String, R>, read: impl Fn(R) -> V) -> BTreeMap<K, V>
where
    K: FromStr<Err: fmt::Debug> + Ord,
{
    let pair = |(key, raw): (String, R)| (value(&key), read(raw));
    raw.into_iter().map(pair).collect()
}

fn values<T: FromStr<Err: fmt::Debug>>(texts: &[String]) -> Vec<T> {
    texts.iter().map(|text| value(text)).collect()
}

fn value<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a test reads the built-in table")
}
