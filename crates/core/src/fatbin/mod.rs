//! Fatbins: the containers of GPU code that nvcc puts into a module, read without NVIDIA's tools.
//!
//! The layout is undocumented; it was established on files made with nvcc 11.8 to 13.5 and checked
//! image for image against `cuobjdump` (`make conformance`).
//!
//! The input is hostile: every offset is checked, what is inflated is capped, and what is unknown
//! is reported as unknown and never left out.

use serde::Serialize;

use crate::arch::Arch;

/// One container: what the runtime registers, and chooses one image from. nvcc makes one for each
/// translation unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its images in order; those of a concatenated entry stand in its place.
    pub images: Vec<Image>,
}

/// One image: code for one arch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What kind of code it is.
    pub kind: ImageKind,
    /// Its arch; `None` when the header's number is no arch's.
    pub arch: Option<Arch>,
    /// PTX ISA (8.7) or cubin code version (1.7): major and minor.
    pub version: (u16, u16),
    /// How the payload is packed.
    pub compression: Compression,
    /// The length of the payload as it lies in the file, padding included; for an image out of a
    /// concatenated entry, its length after inflation.
    pub stored_bytes: u64,
    /// The length after inflation, as the header gives it.
    pub size_bytes: u64,
    /// The header's flags as they are, for what is not known of them.
    pub flags: u64,
    /// What stands inside, if it was looked at.
    pub content: Option<Content>,
}

/// What kind of code an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageKind {
    /// Machine code: a cubin.
    Sass,
    /// Text that the driver compiles.
    Ptx,
    /// NVVM bitcode for link-time optimisation.
    Lto,
    /// A kind that this program does not know; the header's number.
    Unknown(u16),
}

/// How a payload is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// As it is.
    None,
    /// One raw LZ4 block.
    Lz4,
    /// One zstd frame.
    Zstd,
    /// Both flags at once, or a compressed size without either.
    Unknown,
}

/// What stands in an image's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It was read.
    Read {
        /// The arch that the payload itself names: a cubin's `e_flags`, PTX's `.target`.
        arch: Option<Arch>,
        /// The kernels, sorted by name.
        kernels: Vec<Kernel>,
    },
    /// It could not be read; why.
    Unreadable(String),
}

/// One entry point of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// Its mangled name.
    pub name: String,
    /// The length of its machine code; `None` in PTX.
    pub code_bytes: Option<u64>,
}

/// How far images are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The headers, and whole payloads only where that decides whether a container is a
    /// device-link stub.
    Headers,
    /// Every payload.
    Kernels,
}

// TEMPORARY until the reader is merged.
#[derive(Debug, Default)]
pub struct FatbinCaps;
pub struct Section { pub containers: Vec<Container>, pub faults: Vec<Fault> }
pub struct Fault { pub offset: u64, pub what: String }
pub fn read_section(_s: &mut dyn crate::read_at::ReadAt, _r: std::ops::Range<u64>, _d: Depth, _c: &FatbinCaps) -> std::io::Result<Section> { todo!() }
impl Container { pub fn is_stub(&self) -> bool { false } }
