//! A `package.yaml` as it was written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{GpuWish, Reach};
use crate::gate::contract::RawContract;
use crate::yaml::At;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPackage {
    #[expect(dead_code, reason = "judged before the rest is read")]
    pub(super) schema: u32,
    pub(super) name: At<String>,
    pub(super) summary: String,
    pub(super) licence: String,
    pub(super) upstream: String,
    #[serde(default)]
    pub(super) links: BTreeMap<String, At<String>>,
    pub(super) test: Option<At<String>>,
    pub(super) releases: Vec<RawRelease>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRelease {
    pub(super) version: At<String>,
    pub(super) variant: Option<At<String>>,
    pub(super) build_number: Option<At<u32>>,
    pub(super) source: RawSource,
    #[serde(default)]
    pub(super) extra_sources: Vec<RawExtraSource>,
    #[serde(default)]
    pub(super) patches: Vec<At<String>>,
    pub(super) kernels: RawKernels,
    #[serde(default)]
    pub(super) needs: RawNeeds,
    #[serde(default)]
    pub(super) serves: RawServes,
    pub(super) build: RawBuild,
    #[serde(default)]
    pub(super) resources: RawResources,
    #[serde(default = "no_gpu")]
    pub(super) gpu: GpuWish,
    #[serde(default)]
    pub(super) contract: RawContract,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawSource {
    Sdist(RawSdist),
    Git(RawGit),
    Archive(RawArchive),
    Folder(At<String>),
}

/// Only what is pinned may be an extra source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawExtraSource {
    pub(super) into: At<String>,
    pub(super) git: Option<RawGit>,
    pub(super) archive: Option<RawArchive>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawArchive {
    pub(super) url: At<String>,
    pub(super) sha256: At<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSdist {
    pub(super) sha256: At<String>,
    pub(super) index: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGit {
    pub(super) url: At<String>,
    pub(super) commit: At<String>,
    #[serde(default)]
    pub(super) submodules: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawKernels {
    Compiled(RawCompiled),
    JustInTime,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCompiled {
    pub(super) archs: Vec<At<String>>,
    #[serde(default)]
    pub(super) cuda: BTreeMap<String, At<String>>,
    pub(super) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNeeds {
    pub(super) torch: Option<At<String>>,
    pub(super) python: Option<At<String>>,
    pub(super) cuda: Option<At<String>>,
    #[serde(default)]
    pub(super) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawServes {
    pub(super) python: Option<Reach>,
    pub(super) torch: Option<Reach>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawBuild {
    pub(super) folder: Option<At<String>>,
    #[serde(default)]
    pub(super) gpu_shim: bool,
    pub(super) requirements: Vec<At<String>>,
    #[serde(default)]
    pub(super) system_packages: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, At<String>>,
    pub(super) command: Option<At<String>>,
    pub(super) output: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawResources {
    pub(super) memory: Option<At<String>>,
    pub(super) memory_per_process: Option<At<String>>,
    pub(super) processes: Option<u32>,
    pub(super) disk: Option<At<String>>,
    pub(super) time: Option<At<String>>,
    pub(super) silence: Option<At<String>>,
}

pub(super) fn no_gpu() -> GpuWish {
    GpuWish::None
}
