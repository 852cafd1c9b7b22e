//! What one job is expected to need: memory by how many compilers run, processor time, wall time.

use serde::{Deserialize, Serialize};

/// How many compilers are kept busy where nothing was measured, in thousandths of all: a build has a
/// serial start and a serial end, and its last objects run alone.
const USUALLY_BUSY_MILLI: u64 = 800;

/// What an expectation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Basis {
    /// Builds of this release for as many archs.
    Release {
        /// How many.
        builds: u32,
    },
    /// Builds of another release of the package, or for another number of archs, scaled.
    Package {
        /// How many.
        builds: u32,
    },
    /// The `resources` of `package.yaml`, which tell memory and no time.
    Declared,
}

/// An amount that is not known exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spread {
    /// If all goes as well as it ever did.
    pub low: u64,
    /// What is to be expected.
    pub likely: u64,
    /// If all goes as badly as it ever did.
    pub high: u64,
}

impl Spread {
    /// An amount of which nothing but itself is known.
    pub fn exactly(amount: u64) -> Self {
        Self {
            low: amount,
            likely: amount,
            high: amount,
        }
    }
}

/// How many times more than its builds have held, or it declares, a package may have after running out
/// of memory, one doubling after the other: beyond, it is not short of memory but has lost its bounds.
pub(super) const MOST_TIMES: u64 = 4;

/// How much memory a build needs, by how many compilers run side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The greatest single compiler.
    pub(super) single_bytes: u64,
    /// Each further compiler beside it.
    pub(super) further_bytes: u64,
    /// What builds held, with how many compilers: as many or fewer need no more.
    pub(super) seen: Vec<(u32, u64)>,
    /// What builds held or were killed at, with how many compilers: as many or more need no less.
    pub(super) at_least: Vec<(u32, u64)>,
    /// What is added for what was not seen yet, in percent of the whole.
    pub(super) margin_percent: u64,
    /// Set aside whatever the compilers; a margin is in it.
    pub(super) least_bytes: u64,
    /// No more compilers than this, whatever memory there is: the package bears no more, or nothing was measured.
    pub(super) most_compilers: Option<u32>,
    /// What a build that runs out of memory may have in the end.
    pub(super) most_bytes: u64,
}

impl MemoryNeed {
    /// What a container with so many compilers is to be given, in bytes. Never falls as `compilers`
    /// grows, and never lies below what a single compiler is known to hold.
    pub fn bytes(&self, compilers: u32) -> u64 {
        let further = u64::from(compilers.max(1) - 1).saturating_mul(self.further_bytes);
        let straight = self.single_bytes.saturating_add(further);
        let seen = self.seen.iter().filter(|(with, _)| *with >= compilers);
        let held = seen.map(|(_, bytes)| *bytes).max().unwrap_or(u64::MAX);
        let least = self.at_least.iter().filter(|(with, _)| *with <= compilers);
        let least = least.map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let plain = straight.min(held).max(self.single_bytes).max(least);
        share(plain, self.margin_percent, 100).max(self.least_bytes)
    }

    /// The most compilers, `most` or fewer, that fit into so much memory; `None` when not even one
    /// does.
    pub fn compilers_in(&self, memory_bytes: u64, most: u32) -> Option<u32> {
        let most = most.min(self.most_compilers.unwrap_or(u32::MAX)).max(1);
        if self.bytes(1) > memory_bytes {
            return None;
        }
        // The need never falls, so halving the distance finds the last that fits.
        let (mut fits, mut over) = (1, most.saturating_add(1));
        while over - fits > 1 {
            let middle = fits + (over - fits) / 2;
            if self.bytes(middle) <= memory_bytes {
                fits = middle;
            } else {
                over = middle;
            }
        }
        Some(fits)
    }

    /// How many compilers, `most` or fewer, are tried in less memory than one is predicted to need:
    /// what was declared for a whole build may be more than its compilers hold.
    pub(super) fn squeezed(&self, memory_bytes: u64, most: u32) -> u32 {
        let room = memory_bytes.saturating_sub(share(self.single_bytes, self.margin_percent, 100));
        let each = share(self.further_bytes, self.margin_percent, 100).max(1);
        let further = u32::try_from(room / each).unwrap_or(u32::MAX);
        let most = most.min(self.most_compilers.unwrap_or(u32::MAX));
        further.saturating_add(1).min(most).max(1)
    }

    /// What a build that runs out of memory may have in the end, in bytes.
    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
    }
}

/// What one job is expected to need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// What it rests on.
    pub basis: Basis,
    /// Memory of the compilation.
    pub memory: MemoryNeed,
    /// Processor time of the compilation in milliseconds, when every object is compiled.
    pub cold_cpu_ms: Option<Spread>,
    /// The same, when every object comes from the cache.
    pub warm_cpu_ms: Option<Spread>,
    /// Wall time of the job's other stages, in milliseconds.
    pub other_ms: Option<u64>,
    /// Objects that are compiled: more compilers than that find no work.
    pub objects: Option<u64>,
    /// Disk that the compilation takes, in bytes.
    pub disk_bytes: Option<u64>,
    /// The limit of the compilation's wall time, in milliseconds.
    pub time_limit_ms: u64,
    /// How much of its compilers a build keeps busy, in thousandths.
    pub(super) busy_milli: Option<u64>,
}

impl Estimate {
    /// The wall time of a compilation that takes so much processor time with so many compilers, in
    /// milliseconds.
    pub fn compile_ms(&self, cpu_ms: u64, compilers: u32) -> u64 {
        let compilers = u64::from(self.useful(compilers));
        let busy = compilers * self.busy_milli.unwrap_or(USUALLY_BUSY_MILLI);
        // Never shorter than with all of them busy from start to end.
        share(cpu_ms, 1000, busy).max(cpu_ms / compilers)
    }

    /// No more compilers than there are objects.
    pub(super) fn useful(&self, compilers: u32) -> u32 {
        let objects = self.objects.unwrap_or(u64::MAX);
        let objects = u32::try_from(objects).unwrap_or(u32::MAX);
        compilers.min(objects).max(1)
    }
}

/// `amount × numerator / denominator`, rounded up, without losing bits on the way.
pub(super) fn share(amount: u64, numerator: u64, denominator: u64) -> u64 {
    let product = u128::from(amount) * u128::from(numerator);
    let quotient = product.div_ceil(u128::from(denominator.max(1)));
    u64::try_from(quotient).unwrap_or(u64::MAX)
}
