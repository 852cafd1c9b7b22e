//! What a job needs and how long it takes, learned from what earlier builds took; what a host gives
//! to which job.

mod admission;
#[cfg(test)]
mod fixture;
mod forecast;
mod history;
mod need;
mod price;
mod samples;

pub use admission::{
    Admission, Admitted, Held, Host, Leaves, NoMoreMemory, TwinKey, Waiting, host_reserve_bytes,
};
pub use forecast::{Accuracy, Forecast, JobForecast, ObjectCache, Planned, accuracy, forecast};
pub use history::{History, LEAST_BYTES, StageTimes, Subject};
pub use need::{Basis, Estimate, MemoryNeed, Spread};
pub use price::{Cost, HourlyPrice, PriceError};
pub use samples::SamplesError;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ident::PackageName;
use crate::quantity::ByteSize;

/// What a compile container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Grant {
    /// Compilers side by side: `MAX_JOBS`.
    pub compilers: u32,
    /// Processor time, in thousandths of a processor.
    pub milli_cpus: u64,
    /// Memory, swap included.
    pub memory_bytes: u64,
}

/// As people read it: `4 compilers side by side in 16GiB`.
impl fmt::Display for Grant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = ByteSize::from_bytes(self.memory_bytes);
        match self.compilers {
            1 => write!(out, "one compiler at a time in {memory}"),
            several => write!(out, "{several} compilers side by side in {memory}"),
        }
    }
}

/// What one compilation took: a container of its own, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sample {
    /// When it ended, RFC 3339.
    pub at: String,
    /// What was built.
    pub package: PackageName,
    /// Its version, with the variant behind a dash when it has one.
    pub version: String,
    /// `cu130/torch2.11`.
    pub channel: String,
    /// How many targets its archs come to; none for a package without CUDA sources.
    pub targets: u32,
    /// What it was given.
    pub grant: Grant,
    /// How it ended.
    pub end: SampleEnd,
    /// The most memory that it held, without what the kernel can drop.
    pub peak_memory_bytes: Option<u64>,
    /// Processor time of all its processes.
    pub cpu_ms: Option<u64>,
    /// Wall time of the compilation.
    pub compile_ms: u64,
    /// Objects that it needed, and how many of them a compiler made.
    pub objects: Option<Objects>,
    /// What it left on disk.
    pub disk_bytes: Option<u64>,
}

/// How a compilation ended that something can be learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SampleEnd {
    /// Well.
    Done,
    /// A process of it was killed at the memory limit: it needs more than it was given.
    OutOfMemory,
}

/// How many objects a compilation needed, and how many of them were compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Objects {
    /// All that were asked for.
    pub needed: u64,
    /// Those that a compiler made; the others came from the cache.
    pub compiled: u64,
}
