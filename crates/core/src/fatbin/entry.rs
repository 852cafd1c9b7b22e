//! One entry's header: 64 bytes that say what the payload is. The records of a concatenated entry
//! have the same form.

use crate::arch::{Arch, ArchSuffix};
use crate::fatbin::image::{Compression, Image, ImageKind};

/// The length of the fixed part of a header.
pub(super) const HEADER_BYTES: u32 = 64;

/// What stands at offset 2 of every header that was ever met.
pub(super) const LAYOUT: u16 = 0x0101;

/// Several images in one compressed payload (`nvcc --concat`); their headers stand in this one's.
pub(super) const KIND_CONCATENATED: u16 = 0x100;

const FLAG_LZ4: u64 = 0x2000;
const FLAG_ZSTD: u64 = 0x8000;
const FLAG_SPECIFIC: u64 = 0x10_0000;
const FLAG_FAMILY: u64 = 0x20_0000;

/// A text in the header: where it starts, and its length without the null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Text {
    /// Where it ends, closed by a null and padded to eight.
    pub(super) fn end(self) -> u64 {
        u64::from(self.offset) + (u64::from(self.length) + 8) / 8 * 8
    }
}

/// The fields of a header, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: u16,
    pub(super) layout: u16,
    /// The length of the whole header; in a record, where the image starts in the payload.
    pub(super) header_bytes: u32,
    /// The length of the payload with its padding; in a record, of the image.
    pub(super) payload_bytes: u64,
    compressed_bytes: u32,
    /// Where the options start, or the records; 0 for nowhere.
    pub(super) options_offset: u32,
    version: (u16, u16),
    arch_number: u32,
    /// The name of the source file, if the code has debug information.
    pub(super) identifier: Text,
    flags: u64,
    inflated_bytes: u64,
}

impl Entry {
    pub(super) fn parse(header: &[u8; 64]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | (u32::from(u16_at(at + 2)) << 16);
        let u64_at = |at: usize| u64::from(u32_at(at)) | (u64::from(u32_at(at + 4)) << 32);
        Self {
            kind: u16_at(0),
            layout: u16_at(2),
            header_bytes: u32_at(4),
            payload_bytes: u64_at(8),
            compressed_bytes: u32_at(16),
            options_offset: u32_at(20),
            version: (u16_at(26), u16_at(24)),
            arch_number: u32_at(28),
            identifier: Text {
                offset: u32_at(32),
                length: u32_at(36),
            },
            flags: u64_at(40),
            inflated_bytes: u64_at(56),
        }
    }

    pub(super) fn compression(&self) -> Compression {
        match (self.flags & FLAG_LZ4 != 0, self.flags & FLAG_ZSTD != 0) {
            (true, false) => Compression::Lz4,
            (false, true) => Compression::Zstd,
            (false, false) if self.compressed_bytes == 0 => Compression::None,
            (true, true) | (false, false) => Compression::Unknown,
        }
    }

    /// The length of what is to be inflated, without the padding after it.
    pub(super) fn packed_bytes(&self) -> u64 {
        match u64::from(self.compressed_bytes) {
            0 => self.payload_bytes,
            exact => exact,
        }
    }

    /// The length after inflation.
    pub(super) fn size_bytes(&self) -> u64 {
        match self.compression() {
            Compression::None => self.payload_bytes,
            Compression::Lz4 | Compression::Zstd | Compression::Unknown => self.inflated_bytes,
        }
    }

    fn arch(&self) -> Option<Arch> {
        let suffix = match (
            self.flags & FLAG_SPECIFIC != 0,
            self.flags & FLAG_FAMILY != 0,
        ) {
            (false, false) => ArchSuffix::Portable,
            (true, false) => ArchSuffix::Specific,
            (false, true) => ArchSuffix::Family,
            (true, true) => return None,
        };
        Arch::from_number(self.arch_number, suffix)
    }

    /// The image as the header has it, not looked into.
    pub(super) fn image(&self) -> Image {
        Image {
            kind: match self.kind {
                1 => ImageKind::Ptx,
                2 => ImageKind::Sass,
                8 => ImageKind::Lto,
                other => ImageKind::Unknown(other),
            },
            arch: self.arch(),
            version: self.version,
            compression: self.compression(),
            stored_bytes: self.payload_bytes,
            size_bytes: self.size_bytes(),
            flags: self.flags,
            content: None,
        }
    }
}
