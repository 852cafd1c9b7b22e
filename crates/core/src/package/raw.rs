//! A `package.yaml` as it was written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{GpuWish, Reach};
use crate::gate::contract::RawContract;
use crate::yaml::At;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPackage {
    /// Always 1.
    #[cfg_attr(test, schemars(extend("const" = 1)))]
    #[expect(dead_code, reason = "judged before the rest is read")]
    pub(super) schema: u32,
    /// The project's name in normal form (PEP 503), which is its folder's too.
    #[cfg_attr(test, schemars(with = "crate::ident::PackageName"))]
    pub(super) name: At<String>,
    /// One line on what it is.
    pub(super) summary: String,
    /// Its licence as an SPDX expression.
    #[cfg_attr(test, schemars(example = &"Apache-2.0", example = &"BSD-3-Clause"))]
    pub(super) licence: String,
    /// Its home page.
    pub(super) upstream: String,
    /// Other addresses that someone who mends the package wants: name and URL.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, crate::schema::HttpsUrl>"))]
    #[serde(default)]
    pub(super) links: BTreeMap<String, At<String>>,
    /// The test that a proof runs, relative to the package's folder.
    pub(super) test: Option<At<String>>,
    /// The versions that the farm knows how to build; a matrix picks from them.
    pub(super) releases: Vec<RawRelease>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRelease {
    /// The version that the built wheel must carry.
    #[cfg_attr(test, schemars(with = "crate::version::PackageVersion"))]
    pub(super) version: At<String>,
    /// Another build of the same version.
    #[cfg_attr(test, schemars(with = "Option<crate::ident::VariantName>"))]
    pub(super) variant: Option<At<String>>,
    /// The number of this build, once wheels of the same name are out: the second is 2.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(super) build_number: Option<At<u32>>,
    /// Where the source comes from; pinned.
    pub(super) source: RawSource,
    /// What is put into the source besides: what its build would download otherwise.
    #[serde(default)]
    pub(super) extra_sources: Vec<RawExtraSource>,
    /// Files of `patches/<package>/<version>/`, applied in this order.
    #[serde(default)]
    pub(super) patches: Vec<At<String>>,
    /// What GPU code the source has.
    pub(super) kernels: RawKernels,
    /// What it can be built against; a combination outside is refused by the plan.
    #[serde(default)]
    pub(super) needs: RawNeeds,
    /// For which Pythons and torches one wheel serves.
    #[serde(default)]
    pub(super) serves: RawServes,
    /// How it is built.
    pub(super) build: RawBuild,
    /// The limits of the compile container.
    #[serde(default)]
    pub(super) resources: RawResources,
    /// Whether its containers get a GPU.
    #[serde(default = "no_gpu")]
    pub(super) gpu: GpuWish,
    /// What the finished wheels must hold and may need.
    #[serde(default)]
    pub(super) contract: RawContract,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawSource {
    /// The `.tar.gz` with the release's name and version on an index.
    Sdist(RawSdist),
    /// A commit of a repository.
    Git(RawGit),
    /// A `.tar.gz` on a web server, whose one top folder is stripped.
    Archive(RawArchive),
    /// A folder relative to the package's, for trying things out: nothing pins its content.
    Folder(At<String>),
}

/// Only what is pinned may be an extra source.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawExtraSource {
    /// The folder of the source that it is put into, before patches are applied.
    #[cfg_attr(test, schemars(with = "crate::source::TreePath"))]
    pub(super) into: At<String>,
    /// A commit of a repository.
    pub(super) git: Option<RawGit>,
    /// A `.tar.gz` on a web server.
    pub(super) archive: Option<RawArchive>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawArchive {
    /// Its address.
    #[cfg_attr(test, schemars(with = "crate::source::RemoteUrl"))]
    pub(super) url: At<String>,
    /// The digest of the file.
    #[cfg_attr(test, schemars(with = "crate::digest::Sha256Digest"))]
    pub(super) sha256: At<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSdist {
    /// The digest of the file; its row at `https://pypi.org/simple/<project>/` has it.
    #[cfg_attr(test, schemars(with = "crate::digest::Sha256Digest"))]
    pub(super) sha256: At<String>,
    /// Another simple index than PyPI.
    #[cfg_attr(test, schemars(with = "Option<crate::source::IndexUrl>"))]
    pub(super) index: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGit {
    /// The repository.
    #[cfg_attr(test, schemars(with = "crate::source::GitUrl"))]
    pub(super) url: At<String>,
    /// The full commit.
    #[cfg_attr(test, schemars(with = "crate::ident::GitCommit"))]
    pub(super) commit: At<String>,
    /// Whether submodules are fetched, each at the commit that its parent records.
    #[serde(default)]
    pub(super) submodules: bool,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawKernels {
    /// Compiled ahead of time, for these archs at most.
    Compiled(RawCompiled),
    /// Compiled on the user's GPU when first used (Triton): the wheel carries none.
    JustInTime,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCompiled {
    /// The archs that the source has kernels for.
    #[cfg_attr(test, schemars(with = "Vec<crate::arch::Arch>"))]
    pub(super) archs: Vec<At<String>>,
    /// By arch, the CUDA that it needs here, where that is more than nvcc itself does.
    #[cfg_attr(
        test,
        schemars(with = "BTreeMap<crate::arch::Arch, crate::version::VersionRange>")
    )]
    #[serde(default)]
    pub(super) cuda: BTreeMap<String, At<String>>,
    /// Where that was read; shown with a refusal.
    pub(super) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNeeds {
    /// The torches.
    #[cfg_attr(test, schemars(with = "Option<crate::version::VersionRange>"))]
    pub(super) torch: Option<At<String>>,
    /// The Pythons.
    #[cfg_attr(test, schemars(with = "Option<crate::version::VersionRange>"))]
    pub(super) python: Option<At<String>>,
    /// The CUDAs.
    #[cfg_attr(test, schemars(with = "Option<crate::version::VersionRange>"))]
    pub(super) cuda: Option<At<String>>,
    /// Where that was read.
    #[serde(default)]
    pub(super) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawServes {
    /// `later` for `abi3` or no use of its C API.
    pub(super) python: Option<Reach>,
    /// `later` for the `LibTorch` stable ABI or no use of torch's C++ ABI.
    pub(super) torch: Option<Reach>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawBuild {
    /// The folder of the source that is built; without it, its top.
    #[cfg_attr(test, schemars(with = "Option<crate::source::TreePath>"))]
    pub(super) folder: Option<At<String>>,
    /// Whether a `setup.py` that asks for a GPU is shown those that are asked for.
    #[serde(default)]
    pub(super) gpu_shim: bool,
    /// Build requirements, each pinned with `==`, installed as wheels only.
    #[cfg_attr(test, schemars(extend("examples" = [["setuptools==80.9.0", "ninja==1.13.0"]])))]
    pub(super) requirements: Vec<At<String>>,
    /// Packages of the base's distribution (`apt-get` or `dnf`).
    #[serde(default)]
    pub(super) system_packages: Vec<String>,
    /// The environment of the build; the values are templates, such as `{{ archs.torch }}`.
    #[serde(default)]
    pub(super) env: BTreeMap<String, At<String>>,
    /// A shell command on one line, run in the source's folder, that leaves the wheel in `$OUT`; without it, `pip
    /// wheel`.
    pub(super) command: Option<At<String>>,
    /// Which file in `$OUT` is the wheel.
    #[cfg_attr(test, schemars(with = "Option<crate::output_rule::OutputRule>"))]
    pub(super) output: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawResources {
    /// Memory and swap of the compile container until a build of the package was measured.
    #[cfg_attr(test, schemars(with = "Option<crate::quantity::ByteSize>"))]
    pub(super) memory: Option<At<String>>,
    /// The peak of one compiler: with `memory`, how many run until a build was measured.
    #[cfg_attr(test, schemars(with = "Option<crate::quantity::ByteSize>"))]
    pub(super) memory_per_process: Option<At<String>>,
    /// Processes and threads.
    pub(super) processes: Option<u32>,
    /// What a build writes at most, images aside.
    #[cfg_attr(test, schemars(with = "Option<crate::quantity::ByteSize>"))]
    pub(super) disk: Option<At<String>>,
    /// The whole compilation.
    #[cfg_attr(test, schemars(with = "Option<crate::quantity::TimeLimit>"))]
    pub(super) time: Option<At<String>>,
    /// The longest time without a line of output.
    #[cfg_attr(test, schemars(with = "Option<crate::quantity::TimeLimit>"))]
    pub(super) silence: Option<At<String>>,
}

pub(super) fn no_gpu() -> GpuWish {
    GpuWish::None
}
