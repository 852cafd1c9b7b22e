//! A package folder's `package.yaml`: one upstream project, its releases, and for each release how
//! it is fetched, patched, compiled and tested.

use std::collections::BTreeMap;

use pep440_rs::Version;
use serde::Deserialize;

use crate::arch::Arch;
use crate::diagnostic::{Diagnostics, Located};
use crate::digest::Sha256Digest;
use crate::gate::contract::{self, ContractTerms, RawContract};
use crate::ident::{GitCommit, IdentError, PackageName};
use crate::output_rule::{OutputRule, OutputRuleError};
use crate::quantity::{ByteSize, QuantityError, TimeLimit};
use crate::source::{GitUrl, IndexUrl, Source, SourceUrlError, Submodules};
use crate::version::{PackageVersion, VersionError, VersionRange};
use crate::yaml::{self, At, Reading};

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
    /// Where the source comes from.
    pub source: Source,
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

/// What GPU code a package has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kernels {
    /// Compiled ahead of time, for these archs at most.
    Compiled {
        /// The archs that the source has kernels for.
        archs: Vec<Arch>,
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
    /// The whole build.
    pub time: TimeLimit,
    /// The longest time without a line of output.
    pub silence: TimeLimit,
}

/// Whether a package's containers get a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuWish {
    /// Never.
    None,
    /// When the engine offers one.
    Auto,
    /// Always: without one, nothing is built.
    Required,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPackage {
    #[expect(dead_code, reason = "judged before the rest is read")]
    schema: u32,
    name: At<String>,
    summary: String,
    licence: String,
    upstream: String,
    test: Option<At<String>>,
    releases: Vec<RawRelease>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRelease {
    version: At<String>,
    source: RawSource,
    #[serde(default)]
    patches: Vec<At<String>>,
    kernels: RawKernels,
    #[serde(default)]
    needs: RawNeeds,
    #[serde(default)]
    serves: RawServes,
    build: RawBuild,
    #[serde(default)]
    resources: RawResources,
    #[serde(default = "no_gpu")]
    gpu: GpuWish,
    #[serde(default)]
    contract: RawContract,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawSource {
    Sdist(RawSdist),
    Git(RawGit),
    Folder(At<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSdist {
    sha256: At<String>,
    index: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawGit {
    url: At<String>,
    commit: At<String>,
    #[serde(default)]
    submodules: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKernels {
    Compiled(RawCompiled),
    JustInTime,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCompiled {
    archs: Vec<At<String>>,
    source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawNeeds {
    torch: Option<At<String>>,
    python: Option<At<String>>,
    cuda: Option<At<String>>,
    #[serde(default)]
    source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawServes {
    python: Option<Reach>,
    torch: Option<Reach>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawBuild {
    requirements: Vec<At<String>>,
    #[serde(default)]
    system_packages: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, At<String>>,
    command: Option<String>,
    output: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawResources {
    memory: Option<At<String>>,
    memory_per_process: Option<At<String>>,
    processes: Option<u32>,
    time: Option<At<String>>,
    silence: Option<At<String>>,
}

fn no_gpu() -> GpuWish {
    GpuWish::None
}

/// Reads a `package.yaml`, which the user knows as `file`.
pub fn parse(file: &str, text: &str) -> Result<Package, Diagnostics> {
    let raw: RawPackage = yaml::parse_schema_1(file, text)?;
    let mut reader = Reader {
        reading: Reading::new(file),
    };
    let package = reader.package(raw);
    let faults = reader.reading.faults;
    match package {
        Some(package) => Diagnostics::check(package, faults),
        None => Err(Diagnostics::check((), faults)
            .expect_err("a reading that gave no package has said why")),
    }
}

/// Turns the raw file into the checked one, gathering every fault instead of the first.
struct Reader<'a> {
    reading: Reading<'a>,
}

impl Reader<'_> {
    fn package(&mut self, raw: RawPackage) -> Option<Package> {
        let name = self
            .reading
            .read(&raw.name, "package-name", |_: &IdentError| None);
        let mut releases: Vec<PackageRelease> = Vec::new();
        for release in raw.releases {
            let Some(release) = self.release(name.as_ref().map(|name| &name.value), release) else {
                continue;
            };
            let version = &release.version;
            if releases
                .iter()
                .any(|other| other.version.value == version.value)
            {
                let message = format!("release `{}` stands here twice", version.value);
                let location = version.location.clone();
                self.reading.fault(
                    location,
                    "duplicate-release",
                    message,
                    "merge the two entries",
                );
            }
            releases.push(release);
        }
        Some(Package {
            name: name?.value,
            summary: raw.summary,
            licence: raw.licence,
            upstream: raw.upstream,
            test: raw.test.map(|test| self.located(test)),
            releases,
        })
    }

    fn release(&mut self, name: Option<&PackageName>, raw: RawRelease) -> Option<PackageRelease> {
        let version = self
            .reading
            .read(&raw.version, "package-version", version_hint);
        let source = self.source(name, version.as_ref().map(|v| &v.value), raw.source);
        let patches = raw
            .patches
            .iter()
            .filter_map(|patch| self.patch_name(patch))
            .collect();
        let kernels = self.kernels(raw.kernels);
        let needs = self.needs(raw.needs);
        let build = self.build(raw.build);
        let resources = self.resources(&raw.resources);
        let faults = &mut self.reading.faults;
        let contract = contract::read_terms(self.reading.file, raw.contract, faults);
        Some(PackageRelease {
            version: version?,
            source: source?,
            patches,
            kernels,
            needs,
            serves: Serves {
                python: raw.serves.python.unwrap_or(Reach::One),
                torch: raw.serves.torch.unwrap_or(Reach::One),
            },
            build,
            resources,
            gpu: raw.gpu,
            contract,
        })
    }

    fn source(
        &mut self,
        name: Option<&PackageName>,
        version: Option<&PackageVersion>,
        raw: RawSource,
    ) -> Option<Source> {
        match raw {
            RawSource::Sdist(raw) => {
                let sha256 =
                    self.reading
                        .read::<Sha256Digest, _>(&raw.sha256, "sdist-sha256", |_| {
                            Some(
                                "copy it from the file's row at https://pypi.org/simple/<project>/"
                                    .into(),
                            )
                        });
                let index = match &raw.index {
                    None => Some(IndexUrl::default()),
                    Some(index) => self
                        .reading
                        .read(index, "source-url", |_: &SourceUrlError| None)
                        .map(|index| index.value),
                };
                Some(Source::Sdist {
                    project: name?.clone(),
                    version: version?.clone(),
                    sha256: sha256?.value,
                    index: index?,
                })
            }
            RawSource::Git(raw) => {
                let commit =
                    self.reading
                        .read::<GitCommit, _>(&raw.commit, "floating-git-ref", |_| {
                            Some(
                                "pin the full commit: `git ls-remote <url> <branch or tag>`".into(),
                            )
                        });
                let url =
                    self.reading
                        .read::<GitUrl, _>(&raw.url, "source-url", |_: &SourceUrlError| {
                            Some("write `https://<host>/<owner>/<project>`".into())
                        });
                Some(Source::Git {
                    url: url?.value,
                    commit: commit?.value,
                    submodules: if raw.submodules {
                        Submodules::On
                    } else {
                        Submodules::Off
                    },
                })
            }
            RawSource::Folder(path) => Some(Source::Folder {
                path: path.value.into(),
            }),
        }
    }

    fn patch_name(&mut self, patch: &At<String>) -> Option<Located<String>> {
        let location = yaml::place(self.reading.file, patch);
        if patch.value.contains('/') || patch.value.starts_with('.') {
            let message = format!("patch `{}` is not a plain file name", patch.value);
            let hint = "name a file in patches/<package>/<version>/";
            self.reading.fault(location, "patch-name", message, hint);
            return None;
        }
        Some(Located {
            value: patch.value.clone(),
            location,
        })
    }

    fn kernels(&mut self, raw: RawKernels) -> Kernels {
        match raw {
            RawKernels::JustInTime => Kernels::JustInTime,
            RawKernels::Compiled(raw) => Kernels::Compiled {
                archs: raw
                    .archs
                    .iter()
                    .filter_map(|arch| {
                        self.reading
                            .read::<Arch, _>(arch, "unknown-arch", |error| Some(error.hint()))
                    })
                    .map(|arch| arch.value)
                    .collect(),
                source: raw.source,
            },
        }
    }

    fn needs(&mut self, raw: RawNeeds) -> Needs {
        let mut range = |text: Option<At<String>>| {
            text.and_then(|text| self.reading.read(&text, "version-range", version_hint))
                .map_or_else(VersionRange::any, |range| range.value)
        };
        Needs {
            torch: range(raw.torch),
            python: range(raw.python),
            cuda: range(raw.cuda),
            source: raw.source,
        }
    }

    fn build(&mut self, raw: RawBuild) -> BuildSettings {
        for requirement in &raw.requirements {
            let Some(name) = unpinned(&requirement.value) else {
                continue;
            };
            let message = format!("build requirement `{}` is not pinned", requirement.value);
            let name = if name.is_empty() { "name" } else { name };
            let hint = format!("pin one version: `{name}==1.2.3`");
            let location = yaml::place(self.reading.file, requirement);
            self.reading
                .fault(location, "unpinned-requirement", message, &hint);
        }
        let output = raw.output.and_then(|output| {
            self.reading
                .read::<OutputRule, _>(&output, "output-rule", |_: &OutputRuleError| {
                    Some("the file lies in `$OUT` itself, so write its name alone".into())
                })
        });
        let env = raw.env.into_iter();
        BuildSettings {
            requirements: raw.requirements.into_iter().map(|at| at.value).collect(),
            system_packages: raw.system_packages,
            env: env.map(|(name, at)| (name, self.located(at))).collect(),
            command: raw.command,
            output: output.map(|output| output.value).unwrap_or_default(),
        }
    }

    fn located<T>(&self, at: At<T>) -> Located<T> {
        Located {
            location: yaml::place(self.reading.file, &at),
            value: at.value,
        }
    }

    fn resources(&mut self, raw: &RawResources) -> Resources {
        let hint = |error: &QuantityError| Some(error.hint().to_owned());
        let mut size = |at: &Option<At<String>>, default: ByteSize| {
            at.as_ref()
                .and_then(|at| self.reading.read(at, "amount", hint))
                .map_or(default, |size| size.value)
        };
        let memory = size(&raw.memory, ByteSize::gib(12));
        let memory_per_process = size(&raw.memory_per_process, ByteSize::gib(4));
        let mut limit = |at: &Option<At<String>>, default: TimeLimit| {
            at.as_ref()
                .and_then(|at| self.reading.read(at, "amount", hint))
                .map_or(default, |limit| limit.value)
        };
        Resources {
            memory,
            memory_per_process,
            processes: raw.processes.unwrap_or(2048),
            time: limit(&raw.time, TimeLimit::minutes(360)),
            silence: limit(&raw.silence, TimeLimit::minutes(60)),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that `read` takes")]
fn version_hint(error: &VersionError) -> Option<String> {
    Some(error.hint().to_owned())
}

/// The name in a requirement that is not pinned to one version; `None` when it is.
fn unpinned(requirement: &str) -> Option<&str> {
    let bare = requirement.split(';').next().unwrap_or_default().trim();
    let name_end = bare
        .find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
        .unwrap_or(bare.len());
    let (name, tail) = bare.split_at(name_end);
    let tail = tail.trim_start();
    let specifier = match tail.strip_prefix('[').and_then(|tail| tail.split_once(']')) {
        Some((_, specifier)) => specifier.trim_start(),
        None => tail,
    };
    let version = specifier.strip_prefix("==").map(str::trim);
    let is_pinned = version.is_some_and(|version| version.parse::<Version>().is_ok());
    (!is_pinned || name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requirement: &str, want: Option<&str>) {
        assert_eq!(unpinned(requirement), want, "{requirement}");
    }

    #[test]
    fn a_requirement_is_pinned_to_one_version_or_not_at_all() {
        check("setuptools==80.9.0", None);
        check("torch[opt] == 2.11.0+cu130", None);
        check("ninja==1.13.0; python_version < \"3.14\"", None);
        check("setuptools", Some("setuptools"));
        check("setuptools>=80", Some("setuptools"));
        check("setuptools==80.*", Some("setuptools"));
        check("setuptools==80.9.0,!=80.9.1", Some("setuptools"));
        check("setuptools===80.9.0", Some("setuptools"));
        check("demo @ https://example.org/demo==1.0", Some("demo"));
        check("==1.0", Some(""));
    }
}
