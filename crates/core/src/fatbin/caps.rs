//! How much of a fatbin is read at most.

/// Limits on what a section may make the reader hold and do. The largest libraries that NVIDIA
/// ships stay below a tenth of each.
///
/// Sections that are read one after another share them: what one leaves is the next one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FatbinCaps {
    /// Containers in one section.
    pub containers: usize,
    /// Images in one section.
    pub images: usize,
    /// Images in one concatenated entry.
    pub records: u32,
    /// Faults that are kept; the walk stops at the last of them.
    pub faults: usize,
    /// The largest payload, after inflation.
    pub payload_bytes: u64,
    /// All payloads of one section together, after inflation.
    pub total_bytes: u64,
    /// Kernels in one section.
    pub kernels: usize,
    /// The longest name of a kernel.
    pub name_bytes: usize,
    /// The names of all kernels of one section together.
    pub total_name_bytes: usize,
}

impl Default for FatbinCaps {
    fn default() -> Self {
        Self {
            containers: 100_000,
            images: 1_000_000,
            records: 4096,
            faults: 1000,
            payload_bytes: 1 << 30,
            total_bytes: 32 << 30,
            kernels: 4_000_000,
            name_bytes: 1 << 16,
            total_name_bytes: 1 << 30,
        }
    }
}
