//! Payloads, inflated: memory follows what really comes out, never what a header claims.

use std::io::{self, Read};

use zstd::bulk::Decompressor;

use crate::fatbin::image::Compression;
use crate::read_at::ReadAt;

/// Where a payload lies and what it should become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload {
    pub(super) start: u64,
    /// Without the padding after it.
    pub(super) packed_bytes: u64,
    pub(super) compression: Compression,
    pub(super) size_bytes: u64,
}

/// Why a payload cannot be inflated.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayloadError {
    /// It is larger than the caps allow.
    #[error("the payload has {size_bytes} bytes; at most {cap_bytes} are read")]
    TooLarge { size_bytes: u64, cap_bytes: u64 },
    /// The flags do not say which one it is.
    #[error("the payload is packed in an unknown way")]
    Compression,
    /// The bytes are not what the flags say.
    #[error("the payload is not {size_bytes} bytes of {what} data")]
    Unsound { what: &'static str, size_bytes: u64 },
    /// The length is not the one of the header.
    #[error("the payload has {found_bytes} bytes; its header says {size_bytes}")]
    OtherSize { found_bytes: u64, size_bytes: u64 },
}

/// Inflates one payload after the other.
///
/// A zstd decoder of its own for each one would take longer than the small payloads themselves, of
/// which cuBLAS has thousands.
pub(super) struct Inflater {
    zstd: Option<Decompressor<'static>>,
}

/// Room for this much is made on a header's word alone.
const SMALL_BYTES: u64 = 1 << 20;

impl Inflater {
    pub(super) fn new() -> Self {
        Self { zstd: None }
    }

    /// Reads and inflates `payload`, which lies within `source`. The outer error is the source's.
    pub(super) fn inflate(
        &mut self,
        source: &mut dyn ReadAt,
        payload: &Payload,
        cap_bytes: u64,
    ) -> io::Result<Result<Vec<u8>, PayloadError>> {
        let Payload { size_bytes, .. } = *payload;
        if size_bytes.max(payload.packed_bytes) > cap_bytes {
            return Ok(Err(PayloadError::TooLarge {
                size_bytes,
                cap_bytes,
            }));
        }
        let mut packed = Packed {
            source,
            at: payload.start,
            left: payload.packed_bytes,
            failure: None,
        };
        let (what, inflated) = match payload.compression {
            Compression::Unknown => return Ok(Err(PayloadError::Compression)),
            Compression::None => ("raw", packed.read_whole()),
            Compression::Lz4 => ("LZ4", inflate_lz4(&mut packed, size_bytes)),
            Compression::Zstd if size_bytes <= SMALL_BYTES => {
                ("zstd", self.inflate_small_zstd(&mut packed, size_bytes))
            }
            Compression::Zstd => ("zstd", inflate_zstd(&mut packed, size_bytes)),
        };
        if let Some(failure) = packed.failure {
            return Err(failure);
        }
        Ok(match inflated {
            Err(_) => Err(PayloadError::Unsound { what, size_bytes }),
            Ok(bytes) if length(&bytes) != size_bytes => Err(PayloadError::OtherSize {
                found_bytes: length(&bytes),
                size_bytes,
            }),
            Ok(bytes) => Ok(bytes),
        })
    }

    fn inflate_small_zstd(
        &mut self,
        packed: &mut Packed<'_>,
        size_bytes: u64,
    ) -> io::Result<Vec<u8>> {
        let packed = packed.read_whole()?;
        let decompressor = match self.zstd.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new()?,
        };
        self.zstd
            .insert(decompressor)
            .decompress(&packed, index(size_bytes)?)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// One frame. One byte more than `size_bytes` is read, to see that there is none.
fn inflate_zstd(packed: &mut Packed<'_>, size_bytes: u64) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    zstd::stream::read::Decoder::new(packed)?
        .single_frame()
        .take(size_bytes.saturating_add(1))
        .read_to_end(&mut inflated)?;
    Ok(inflated)
}

/// One raw block, which does not tell its length: room is made for what the header says, and only
/// as much as a block of this length can fill.
fn inflate_lz4(packed: &mut Packed<'_>, size_bytes: u64) -> io::Result<Vec<u8>> {
    let packed = packed.read_whole()?;
    // A byte of a block stands for at most 255.
    if size_bytes / 255 > length(&packed) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut inflated = vec![0; index(size_bytes)?];
    let filled = lz4_flex::block::decompress_into(&packed, &mut inflated)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    inflated.truncate(filled);
    Ok(inflated)
}

fn index(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// How far memory runs ahead of what was really read.
const PIECE_BYTES: u64 = 1 << 20;

/// The packed bytes as a stream, in pieces.
struct Packed<'a> {
    source: &'a mut dyn ReadAt,
    at: u64,
    left: u64,
    /// Why the source gave none, told from data that a decoder refuses.
    failure: Option<io::Error>,
}

impl Packed<'_> {
    fn read_whole(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        while self.left > 0 {
            let start = whole.len();
            whole.resize(start + index(self.left.min(PIECE_BYTES))?, 0);
            self.read_exact(&mut whole[start..])?;
        }
        Ok(whole)
    }
}

impl Read for Packed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        if let Err(error) = self.source.read_exact_at(self.at, &mut buffer[..wanted]) {
            let kind = error.kind();
            self.failure = Some(error);
            return Err(kind.into());
        }
        let read = u64::try_from(wanted).unwrap_or(u64::MAX);
        self.at += read;
        self.left -= read;
        Ok(wanted)
    }
}
