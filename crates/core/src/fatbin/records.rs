//! Concatenated entries (`nvcc --concat`, new with CUDA 13): one compressed payload for several
//! images. Their headers, the records, stand uncompressed in the entry's own header.

use std::io;
use std::ops::Range;

use crate::fatbin::entry::{Entry, HEADER_BYTES, LAYOUT, Text};
use crate::fatbin::image::Image;
use crate::read_at::ReadAt;

/// One image, and where it lies in the inflated payload.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) image: Image,
    pub(super) place: Range<u64>,
}

/// Why there are no records.
#[derive(Debug)]
pub(super) enum RecordsError {
    /// The source gave no bytes.
    Source(io::Error),
    /// What is wrong with the entry.
    Malformed(String),
}

impl From<io::Error> for RecordsError {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

fn malformed(what: &str) -> RecordsError {
    RecordsError::Malformed(what.to_owned())
}

/// Reads the records of `entry`, whose header starts at `offset` and lies within `source`.
///
/// Two numbers stand before the records (how many, and the length of all) and before the text of
/// options (where it starts, and its length).
pub(super) fn read_records(
    source: &mut dyn ReadAt,
    entry: &Entry,
    offset: u64,
    cap: u32,
) -> Result<Vec<Record>, RecordsError> {
    let mut header = Header {
        source,
        at: offset + u64::from(entry.options_offset.max(HEADER_BYTES)),
        end: offset + u64::from(entry.header_bytes),
    };
    let [c0, c1, c2, c3, _, _, _, _] = header.read()?;
    let count = u32::from_le_bytes([c0, c1, c2, c3]);
    if count > cap {
        return Err(RecordsError::Malformed(format!(
            "the entry has {count} records; at most {cap} are read"
        )));
    }
    let mut records = Vec::new();
    for _ in 0..count {
        let start = header.at;
        let record = Entry::parse(&header.read()?);
        let options = header.options(&record, start)?;
        let identifier = (record.identifier.length > 0).then_some(record.identifier);
        for text in [identifier, options].into_iter().flatten() {
            // Never back, whatever the offsets say.
            header.at = header.at.max(start + text.end());
        }
        let place_start = u64::from(record.header_bytes);
        let place_end = place_start
            .checked_add(record.payload_bytes)
            .filter(|&end| end <= entry.size_bytes() && record.layout == LAYOUT)
            .ok_or_else(|| malformed("a record of the entry is malformed"))?;
        records.push(Record {
            image: record.image(),
            place: place_start..place_end,
        });
    }
    if header.at > header.end {
        return Err(too_short());
    }
    Ok(records)
}

fn too_short() -> RecordsError {
    malformed("the entry's header is too short for its records")
}

/// The rest of an entry's header.
struct Header<'a> {
    source: &'a mut dyn ReadAt,
    at: u64,
    end: u64,
}

impl Header<'_> {
    fn read<const N: usize>(&mut self) -> Result<[u8; N], RecordsError> {
        let mut bytes = [0; N];
        let end = u64::try_from(N)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .filter(|&end| end <= self.end)
            .ok_or_else(too_short)?;
        self.source.read_exact_at(self.at, &mut bytes)?;
        self.at = end;
        Ok(bytes)
    }

    /// Where the options of the record at `start` are, if it has any.
    fn options(&mut self, record: &Entry, start: u64) -> Result<Option<Text>, RecordsError> {
        if record.options_offset < HEADER_BYTES {
            return Ok(None);
        }
        self.at = start + u64::from(record.options_offset);
        let [o0, o1, o2, o3, l0, l1, l2, l3] = self.read()?;
        let text = Text {
            offset: u32::from_le_bytes([o0, o1, o2, o3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
        };
        Ok(Some(text))
    }
}
