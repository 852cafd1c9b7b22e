//! What is known of GPUs, families, CUDA releases and drivers: `data/gpus.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::capability::Capability;
use super::driver::{Driver, PtxVersion};
use crate::version::CudaVersion;
use crate::yaml;

/// NVIDIA's division for binary compatibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Every GPU that is not a Tegra, in servers too.
    Desktop,
    /// Part of a Tegra chip (Jetson, Drive); its driver comes with the system.
    Tegra,
}

/// Whether a GPU stands in tables of all GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// It does.
    Current,
    /// It is found by its name alone: no toolkit of today compiles for it.
    Legacy,
}

/// One compute capability and the GPUs that have it.
#[derive(Debug)]
pub struct Gpu {
    /// Its compute capability.
    pub capability: Capability,
    /// Which rule of binary compatibility holds for it.
    pub platform: Platform,
    /// The first CUDA toolkit that compiles for it.
    pub first_cuda: CudaVersion,
    /// The name that stands for it in tables: `RTX 5090`.
    pub example: String,
    /// The names of products, without `NVIDIA` and `GeForce`.
    pub names: Vec<String>,
    /// Whether tables of all GPUs have it.
    pub listing: Listing,
    /// Where capability and names come from.
    pub source: String,
}

impl Gpu {
    /// Whether the processor beside it is an Arm one, whichever of its products it is.
    pub fn is_beside_arm(&self) -> bool {
        self.platform == Platform::Tegra || self.names.iter().all(|name| is_named_beside_arm(name))
    }

    /// Whether the processor beside the product that `text` names is an Arm one.
    pub fn is_beside_arm_as(&self, text: &str) -> bool {
        self.is_beside_arm() || is_named_beside_arm(text)
    }
}

fn is_named_beside_arm(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    TABLE.arm.iter().any(|name| text.contains(name.as_str()))
}

/// A compute capability and its example: `12.0 (RTX 5090)`.
impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.capability, self.example)
    }
}

/// The GPUs that tables show, by compute capability.
pub fn known() -> impl Iterator<Item = &'static Gpu> {
    all().filter(|gpu| gpu.listing == Listing::Current)
}

/// Every known GPU, legacy ones too, by compute capability.
pub fn all() -> impl Iterator<Item = &'static Gpu> {
    TABLE.gpus.values()
}

/// The GPUs of a compute capability, if it is known.
pub fn of(capability: Capability) -> Option<&'static Gpu> {
    TABLE.gpus.get(&capability)
}

/// Today's number of a compute capability that CUDA gave another one: 10.1 is 11.0.
pub(super) fn renamed(old: Capability) -> Option<Capability> {
    TABLE.renamed.get(&old).copied()
}

/// The GPUs that run code of the family target of `target`; `None` when it is no known one.
pub(super) fn family(target: Capability) -> Option<&'static BTreeSet<Capability>> {
    TABLE.families.get(&target)
}

/// The driver that was released with a CUDA.
pub(super) fn paired_driver(cuda: CudaVersion) -> Option<&'static Driver> {
    TABLE.releases.get(&cuda)?.driver.as_ref()
}

/// The PTX that a CUDA writes.
pub(super) fn ptx_of_cuda(cuda: CudaVersion) -> Option<PtxVersion> {
    TABLE.releases.get(&cuda).map(|release| release.ptx)
}

/// The first CUDA that writes such PTX.
pub(super) fn cuda_of_ptx(ptx: PtxVersion) -> Option<CudaVersion> {
    let mut releases = TABLE.releases.iter();
    releases
        .find(|(_, release)| release.ptx == ptx)
        .map(|(&cuda, _)| cuda)
}

/// The least driver for machine code of any toolkit of a major version.
pub(super) fn minor_compatibility(cuda_major: u8) -> Option<&'static Driver> {
    TABLE.minor_compatibility.get(&cuda_major)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTable {
    schema: u32,
    gpus: BTreeMap<String, RawGpu>,
    renamed: BTreeMap<String, RawRenamed>,
    arm: RawArm,
    families: RawFamilies,
    cuda: RawCuda,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArm {
    names: Vec<String>,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawGpu {
    platform: Platform,
    first_cuda: String,
    example: String,
    #[serde(default)]
    legacy: bool,
    listed: Vec<String>,
    also: Vec<String>,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRenamed {
    to: String,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawFamilies {
    members: BTreeMap<String, Vec<String>>,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCuda {
    ptx_source: String,
    driver_source: String,
    releases: BTreeMap<String, RawRelease>,
    minor_compatibility: RawMinorCompatibility,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRelease {
    ptx: String,
    driver: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawMinorCompatibility {
    drivers: BTreeMap<String, String>,
    source: String,
}

#[derive(Debug)]
struct Release {
    ptx: PtxVersion,
    driver: Option<Driver>,
}

/// Where the facts on drivers come from: those released with a CUDA, and minor compatibility.
pub(super) fn driver_sources() -> [&'static str; 2] {
    [&TABLE.driver_source, &TABLE.minor_source]
}

#[derive(Debug)]
struct Table {
    gpus: BTreeMap<Capability, Gpu>,
    /// In capitals.
    arm: Vec<String>,
    renamed: BTreeMap<Capability, Capability>,
    families: BTreeMap<Capability, BTreeSet<Capability>>,
    releases: BTreeMap<CudaVersion, Release>,
    minor_compatibility: BTreeMap<u8, Driver>,
    driver_source: String,
    minor_source: String,
}

const TEXT: &str = include_str!("../../data/gpus.yaml");

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let raw: RawTable = yaml::parse("gpus.yaml", TEXT).expect("a test reads the built-in table");
    assert_eq!(raw.schema, 1, "the built-in table has the reader's schema");
    let sources = [
        &raw.arm.source,
        &raw.families.source,
        &raw.cuda.ptx_source,
        &raw.cuda.driver_source,
        &raw.cuda.minor_compatibility.source,
    ];
    let renamed_sources = raw.renamed.values().map(|renamed| &renamed.source);
    let gpu_sources = raw.gpus.values().map(|gpu| &gpu.source);
    for source in sources
        .into_iter()
        .chain(renamed_sources)
        .chain(gpu_sources)
    {
        assert!(!source.is_empty(), "every row of the built-in table cites");
    }
    Table {
        gpus: raw.gpus.into_iter().map(gpu).collect(),
        arm: raw
            .arm
            .names
            .iter()
            .map(|name| name.to_ascii_uppercase())
            .collect(),
        renamed: pairs(raw.renamed, |renamed| value(&renamed.to)),
        families: pairs(raw.families.members, |members| {
            members.iter().map(|member| value(member)).collect()
        }),
        releases: pairs(raw.cuda.releases, |release| Release {
            ptx: value(&release.ptx),
            driver: release.driver.as_deref().map(value),
        }),
        minor_compatibility: pairs(raw.cuda.minor_compatibility.drivers, |driver| {
            value(&driver)
        }),
        driver_source: raw.cuda.driver_source,
        minor_source: raw.cuda.minor_compatibility.source,
    }
});

fn gpu((capability, raw): (String, RawGpu)) -> (Capability, Gpu) {
    let capability = value(&capability);
    let gpu = Gpu {
        capability,
        platform: raw.platform,
        first_cuda: value(&raw.first_cuda),
        example: raw.example,
        listing: if raw.legacy {
            Listing::Legacy
        } else {
            Listing::Current
        },
        names: raw.listed.into_iter().chain(raw.also).collect(),
        source: raw.source,
    };
    (capability, gpu)
}

fn pairs<R, K, V>(raw: BTreeMap<String, R>, read: impl Fn(R) -> V) -> BTreeMap<K, V>
where
    K: FromStr<Err: fmt::Debug> + Ord,
{
    let pair = |(key, raw): (String, R)| (value(&key), read(raw));
    raw.into_iter().map(pair).collect()
}

fn value<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a test reads the built-in table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::{Verdict, toolkit_compiles};

    #[test]
    fn the_table_is_whole_and_agrees_with_itself() {
        for gpu in all() {
            assert!(gpu.names.iter().all(|name| !name.is_empty()), "{gpu}");
            assert!(TABLE.releases.contains_key(&gpu.first_cuda), "{gpu}");
        }
        for (target, members) in &TABLE.families {
            assert!(members.contains(target), "{target}");
            for member in members {
                assert!(of(*member).is_some(), "{target}: {member}");
                assert_eq!(member.major(), target.major(), "{target}: {member}");
                assert!(member >= target, "{target}: {member}");
            }
        }
        for (old, new) in &TABLE.renamed {
            assert!(of(*old).is_none() && of(*new).is_some(), "{old}");
        }
    }

    /// The other table was read from what the compilers themselves list.
    #[test]
    fn the_first_cuda_of_a_gpu_compiles_for_it() {
        for gpu in known() {
            let number = gpu.capability.to_string();
            let arch = number.parse().unwrap();
            let verdict = toolkit_compiles(gpu.first_cuda, arch);
            assert!(
                !matches!(verdict, Verdict::Fails { .. }),
                "{gpu}: {verdict:?}"
            );
        }
    }

    #[test]
    fn an_arm_processor_is_told_by_the_product() {
        let beside_arm = all().filter(|gpu| gpu.is_beside_arm());
        let beside_arm: Vec<_> = beside_arm.map(|gpu| gpu.capability.to_string()).collect();
        assert_eq!(beside_arm, ["5.3", "6.2", "7.2", "8.7", "11.0", "12.1"]);
        for (text, want) in [("GH200", true), ("nvidia gb200", true), ("H200", false)] {
            let gpu = crate::gpu::find(text).unwrap();
            assert!(!gpu.is_beside_arm(), "{text}: others of its number are not");
            assert_eq!(gpu.is_beside_arm_as(text), want, "{text}");
        }
    }

    #[test]
    fn later_cuda_means_later_ptx_and_later_driver() {
        let releases: Vec<_> = TABLE.releases.iter().collect();
        for pair in releases.windows(2) {
            let [(cuda, earlier), (_, later)] = pair else {
                unreachable!("windows of two");
            };
            assert!(earlier.ptx <= later.ptx, "{cuda}");
            if let (Some(earlier), Some(later)) = (&earlier.driver, &later.driver) {
                assert!(earlier < later, "{cuda}");
            }
        }
    }

    #[test]
    fn every_capability_has_one_example() {
        let rows: Vec<_> = known().map(ToString::to_string).collect();
        insta::assert_snapshot!(rows.join("\n"), @r"
        7.0 (V100)
        7.2 (Jetson Xavier)
        7.5 (T4)
        8.0 (A100)
        8.6 (RTX 3090)
        8.7 (Jetson Orin)
        8.9 (RTX 4090)
        9.0 (H100)
        10.0 (B200)
        10.3 (B300)
        10.7 (Rubin)
        11.0 (Jetson Thor)
        12.0 (RTX 5090)
        12.1 (DGX Spark)
        ");
    }
}
