//! What is known of one wheel: a versioned JSON file beside it.
//!
//! Readers of schema 1 must accept keys they do not know; a writer that takes a key away or changes
//! its meaning raises the schema.

mod cache;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::commands::CommandReport;
use crate::digest::Sha256Digest;
use crate::gate::finding::Finding;
use crate::ident::{JobId, PackageName};
use crate::plan::JobDigest;
use crate::receipt::GpuRunRecord;
use crate::release::channel::Channel;
use crate::wheel::elf::ModuleFacts;

pub use cache::{CacheFigures, CacheState, ObjectCounts, Objects, StepCounts};

/// The schema that this program writes, and the only one that it reads.
pub const SCHEMA: u32 = 1;

/// The file's name beside the wheel.
pub const FILE_NAME: &str = "manifest.json";

/// Everything on record of a wheel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Manifest {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// The job that made the wheel.
    pub job: JobId,
    /// The digest of everything that could change its bytes.
    pub job_digest: JobDigest,
    /// The package.
    pub package: PackageName,
    /// The upstream version.
    pub version: String,
    /// The archs that were asked for; absent for a package that compiles on the user's GPU.
    pub archs: Option<String>,
    /// The wheel itself.
    pub wheel: WheelRecord,
    /// What it was built against.
    pub environment: EnvironmentRecord,
    /// Where the source came from.
    pub source: SourceRecord,
    /// What was changed in it.
    pub patches: Vec<PatchRecord>,
    /// What built it.
    pub tools: ToolsRecord,
    /// What building it took.
    pub cost: CostRecord,
    /// What was found of nvcc's command lines; absent in a record from before they were kept.
    #[serde(default)]
    pub commands: Option<CommandsRecord>,
    /// What has been checked of the wheel's content against its contract.
    pub gate: CheckState,
    /// What the gate found that did not keep the wheel back; absent before there was a gate.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What the wheel does on every GPU that is known; absent before there was a gate.
    #[serde(default)]
    pub runs_on: Vec<RunsOn>,
    /// What has been run of the wheel.
    pub proof: CheckState,
    /// What a run of the wheel on a GPU came to; absent in a record from before this was kept.
    #[serde(default)]
    pub gpu_run: Option<GpuRunRecord>,
}

/// nvcc's command lines, held against the contract: none had other targets than it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommandsRecord {
    /// How many CUDA sources were compiled, each time counted.
    pub compilations: usize,
    /// How many of them were held against something.
    pub checked: usize,
    /// Why not all were.
    pub not_checked: Option<String>,
}

impl From<CommandReport> for CommandsRecord {
    fn from(report: CommandReport) -> Self {
        Self {
            compilations: report.compilations,
            checked: report.checked,
            not_checked: report.not_checked,
        }
    }
}

/// Whether a check has been made. What was not checked never reads as passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// It was made and held.
    Passed,
    /// It was not made.
    NotChecked,
}

/// A wheel as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WheelRecord {
    /// Its name.
    pub file_name: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Its `Requires-Python`.
    pub requires_python: Option<String>,
    /// Its `Requires-Dist`, in order.
    pub requires_dist: Vec<String>,
    /// The digest of its METADATA.
    pub metadata_sha256: Sha256Digest,
    /// Whether it works with one torch minor version alone.
    pub uses_torch_cxx_abi: bool,
    /// Why its platform tag is what it is.
    pub platform_reason: String,
    /// Its compiled modules.
    pub modules: Vec<ModuleFacts>,
    /// By module, in how many of its containers each image stands (`sm_90a`, `compute_90`); absent
    /// before there was a gate.
    #[serde(default)]
    pub module_archs: BTreeMap<String, ModuleArchs>,
}

/// The GPU code of one module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModuleArchs {
    /// How many containers it has, without the stubs of device linking.
    pub containers: usize,
    /// How many of them hold the image.
    pub images: BTreeMap<String, usize>,
}

/// What a wheel does on one kind of GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunsOn {
    /// Its compute capability: `12.0`.
    pub capability: String,
    /// A GPU that has it: `RTX 5090`.
    pub example: String,
    /// `native`, `jit`, `partly`, `fails`, `unknown` or `no-device-code`.
    pub verdict: String,
    /// The least driver, where it is known and something runs.
    pub least_driver: Option<String>,
}

/// What a wheel was built against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnvironmentRecord {
    /// Its name in the matrix.
    pub name: String,
    /// CUDA's version.
    pub cuda: String,
    /// torch's version.
    pub torch: String,
    /// Python's version.
    pub python: String,
    /// Where the wheel belongs.
    pub channel: Channel,
    /// The image that everything started from, as it was named.
    pub base: String,
    /// The engine's id of that image.
    pub base_image: String,
    /// The engine's id of the image that the wheel was compiled in.
    pub builder_image: String,
}

/// Where a source came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceRecord {
    /// The source as it is pinned.
    pub identity: String,
    /// The digest of the tree before patching.
    pub tree_sha256: Sha256Digest,
    /// The digest of the tree that was compiled.
    pub patched_tree_sha256: Sha256Digest,
}

/// A patch that was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PatchRecord {
    /// Its file.
    pub name: String,
    /// The digest of its text.
    pub sha256: Sha256Digest,
    /// Why it is there.
    pub why: String,
    /// Where upstream stands.
    pub upstream: String,
    /// When it can go.
    pub drop_when: String,
    /// The files it changed.
    pub files: Vec<String>,
}

/// What built a wheel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ToolsRecord {
    /// This program's version.
    pub wheelfarm: String,
    /// The engine and its version.
    pub engine: String,
    /// What the image says of itself: compilers and Python packages, by name.
    pub image: BTreeMap<String, String>,
}

/// What building a wheel took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CostRecord {
    /// When it was finished, RFC 3339 in UTC. In no digest.
    pub finished_at: String,
    /// Wall time of each stage in milliseconds.
    pub stages_ms: BTreeMap<String, u64>,
    /// Processor time of the compile container in milliseconds, when the engine could tell.
    pub compile_cpu_ms: Option<u64>,
    /// The most memory that the compile container held, when the engine could tell.
    pub peak_memory_bytes: Option<u64>,
    /// What the compiler cache did, when the build left word of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheFigures>,
}

/// A manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The text is not a manifest.
    #[error("failed to read the manifest")]
    Malformed(#[source] serde_json::Error),
    /// It was written by another version of this program.
    #[error("the manifest has schema {found}, and this program reads {SCHEMA}")]
    OtherSchema {
        /// What it says.
        found: u64,
    },
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(ManifestError::Malformed)?;
        let found = value.get("schema").and_then(serde_json::Value::as_u64);
        match found {
            Some(schema) if schema == u64::from(SCHEMA) => {
                serde_json::from_value(value).map_err(ManifestError::Malformed)
            }
            found => Err(ManifestError::OtherSchema {
                found: found.unwrap_or(0),
            }),
        }
    }

    /// Writes a manifest: sorted keys, a newline at the end.
    pub fn to_text(&self) -> String {
        // Through a Value, whose maps are sorted, so that the order of the fields above is free.
        let value = serde_json::to_value(self).expect("plain texts and numbers serialise");
        let mut text = serde_json::to_string_pretty(&value).expect("a Value serialises");
        text.push('\n');
        text
    }
}

/// The manifest `text` with another record of a run on a GPU; keys that this program does not know stay.
pub fn with_gpu_run(text: &str, record: &GpuRunRecord) -> Result<String, ManifestError> {
    Manifest::parse(text)?;
    let mut value: serde_json::Value =
        serde_json::from_str(text).map_err(ManifestError::Malformed)?;
    value["gpu_run"] = serde_json::to_value(record).expect("plain texts serialise");
    Ok(format!("{value:#}\n"))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;

    /// What a build of torch-spline-conv wrote, shortened.
    pub(crate) const SAMPLE: &str = include_str!("sample.json");

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let manifest = Manifest::parse(SAMPLE).unwrap();
        assert_eq!(manifest.gate, CheckState::Passed);
        assert_eq!(manifest.runs_on.len(), 3);
        assert_eq!(manifest.gpu_run, Some(GpuRunRecord::not_run()));
        assert_eq!(manifest.to_text(), SAMPLE);
    }

    #[test]
    fn manifests_from_before_the_gate_can_still_be_read() {
        let mut old: Value = serde_json::from_str(SAMPLE).unwrap();
        let all = old.as_object_mut().unwrap();
        all.remove("findings");
        all.remove("commands");
        all.remove("runs_on");
        all.remove("gpu_run");
        all["gate"] = "not-checked".into();
        all["wheel"].as_object_mut().unwrap().remove("module_archs");
        let manifest = Manifest::parse(&old.to_string()).unwrap();
        assert_eq!(manifest.gate, CheckState::NotChecked);
        assert_eq!(manifest.runs_on, []);
        assert_eq!(manifest.commands, None);
        assert_eq!(manifest.gpu_run, None);
        assert!(manifest.wheel.module_archs.is_empty());
    }

    #[test]
    fn a_run_on_a_gpu_changes_its_own_key_alone() {
        let newer = SAMPLE.replacen('{', "{\n  \"a_later_key\": 1,", 1);
        let mut record = GpuRunRecord::not_run();
        assert_eq!(with_gpu_run(&newer, &record).unwrap(), newer);
        record.device = Some("NVIDIA H200".to_owned());
        let text = with_gpu_run(&newer, &record).unwrap();
        assert_eq!(Manifest::parse(&text).unwrap().gpu_run, Some(record));
        assert_eq!(text.lines().count(), newer.lines().count());
        assert_eq!(text.replace("\"NVIDIA H200\"", "null"), newer);
    }

    #[test]
    fn another_schema_is_refused_by_its_number() {
        let newer = SAMPLE.replace("\"schema\": 1", "\"schema\": 2");
        let error = Manifest::parse(&newer).unwrap_err();
        assert!(error.to_string().contains("schema 2"), "{error}");
    }
}
