//! What a fatbin holds: containers, and in each of them images.

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
    /// Whether all of it was understood; what was not stands in the faults of the section.
    pub complete: bool,
}

impl Container {
    /// Whether it is known to hold no kernel at all and no PTX: what a device link adds to a module
    /// whose objects left it nothing to link, and what a translation unit without kernels leaves.
    ///
    /// No GPU needs it, so it says nothing about the GPUs that a module runs on. A container that
    /// was not looked into is none.
    pub fn is_stub(&self) -> bool {
        self.complete && !self.images.is_empty() && self.images.iter().all(Image::is_bare)
    }
}

/// One image: code for one arch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What kind of code it is.
    pub kind: ImageKind,
    /// Its arch; `None` when the header's number is no arch's, or the flags give it two suffixes.
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

impl Image {
    /// Whether it is a cubin that was read and has no kernel.
    pub(super) fn is_bare(&self) -> bool {
        let kernels = match &self.content {
            Some(Content::Read { kernels, .. }) => Some(kernels),
            Some(Content::Unreadable(_)) | None => None,
        };
        self.kind == ImageKind::Sass && kernels.is_some_and(Vec::is_empty)
    }
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
        /// The arch that the payload itself names: a cubin's `e_flags`, PTX's `.target`. Cubins of
        /// code version 1.8 name the suffix only in a note; in one without it the suffix is the
        /// header's.
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
