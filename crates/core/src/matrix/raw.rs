//! A matrix as it was written.

use serde::Deserialize;

use super::{Interpreter, Toolkit};
use crate::yaml::At;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMatrix {
    #[expect(dead_code, reason = "judged before the rest is read")]
    pub(super) schema: u32,
    pub(super) farm: At<String>,
    pub(super) folders: Option<RawFolders>,
    #[serde(default)]
    pub(super) archs: Vec<At<String>>,
    pub(super) packages: At<Vec<RawMatrixPackage>>,
    pub(super) environments: At<Vec<RawEnvironment>>,
    #[serde(default)]
    pub(super) exclude: Vec<At<RawExclusion>>,
    #[serde(default)]
    pub(super) build: RawBuildPolicy,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFolders {
    pub(super) packages: String,
    pub(super) patches: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMatrixPackage {
    pub(super) name: At<String>,
    pub(super) versions: At<Vec<At<String>>>,
    #[serde(default)]
    pub(super) variants: Vec<At<String>>,
    #[serde(default)]
    pub(super) environments: Vec<At<String>>,
    #[serde(default)]
    pub(super) archs: Vec<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawEnvironment {
    pub(super) name: At<String>,
    pub(super) base: RawBase,
    pub(super) toolkit: Toolkit,
    pub(super) cuda: At<String>,
    #[serde(default)]
    pub(super) torch_index: Option<At<String>>,
    pub(super) torch: At<Vec<At<String>>>,
    pub(super) python: At<Vec<At<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawBase {
    Debootstrap(RawDebootstrap),
    Image(RawImage),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDebootstrap {
    pub(super) suite: String,
    pub(super) mirror: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawImage {
    pub(super) reference: String,
    pub(super) interpreter: Interpreter,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawExclusion {
    #[serde(default)]
    pub(super) packages: Vec<At<String>>,
    #[serde(default)]
    pub(super) versions: Vec<At<String>>,
    #[serde(default)]
    pub(super) environments: Vec<At<String>>,
    #[serde(default)]
    pub(super) cuda: Vec<At<String>>,
    #[serde(default)]
    pub(super) torch: Vec<At<String>>,
    #[serde(default)]
    pub(super) python: Vec<At<String>>,
    pub(super) reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawBuildPolicy {
    pub(super) ca_bundle: Option<String>,
    pub(super) jobs: Option<At<u32>>,
    pub(super) memory: Option<At<String>>,
    pub(super) disk_reserve: Option<At<String>>,
    pub(super) cache: Option<At<String>>,
    pub(super) package_index: Option<At<String>>,
    pub(super) source_date_epoch: Option<At<u64>>,
}
