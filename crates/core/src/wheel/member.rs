//! One member of a wheel as bytes that can be read at places, without unpacking it to disk or
//! holding it in memory.
//!
//! A deflated member can only be read forwards. A first pass hashes it and keeps its head and its
//! tail, where an ELF file has its headers; a second one gives the tables and the fatbins, which
//! are asked for in rising order. Going back begins anew.

use std::cell::RefCell;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::rc::Rc;

use flate2::read::DeflateDecoder;

use crate::read_at::ReadAt;

/// A reader that several can use, each at its own place.
#[derive(Debug)]
pub(super) struct SharedReader<R> {
    shared: Rc<RefCell<Shared<R>>>,
    position: u64,
}

#[derive(Debug)]
struct Shared<R> {
    reader: R,
    position: u64,
    /// How much may still be read.
    left_bytes: u64,
}

impl<R> Clone for SharedReader<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            position: self.position,
        }
    }
}

impl<R: Read + Seek> SharedReader<R> {
    /// Takes `reader` from its first byte, wherever it stands.
    pub(super) fn new(mut reader: R) -> io::Result<Self> {
        reader.rewind()?;
        let shared = Shared {
            reader,
            position: 0,
            left_bytes: u64::MAX,
        };
        Ok(Self {
            shared: Rc::new(RefCell::new(shared)),
            position: 0,
        })
    }

    /// Lets all its users together read no more than that from now on.
    pub(super) fn allow(&self, bytes: u64) {
        self.shared.borrow_mut().left_bytes = bytes;
    }
}

impl<R: Read + Seek> Read for SharedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut shared = self.shared.borrow_mut();
        if u64::try_from(buffer.len()).unwrap_or(u64::MAX) > shared.left_bytes {
            let text = "there is more to read than any wheel has";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if shared.position != self.position {
            shared.reader.seek(SeekFrom::Start(self.position))?;
            shared.position = self.position;
        }
        let count = shared.reader.read(buffer)?;
        let passed = u64::try_from(count).unwrap_or(u64::MAX);
        shared.position += passed;
        shared.left_bytes -= passed;
        self.position += passed;
        Ok(count)
    }
}

impl<R: Read + Seek> Seek for SharedReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(step) => self
                .position
                .checked_add_signed(step)
                .ok_or(io::ErrorKind::InvalidInput)?,
            SeekFrom::End(_) => {
                let mut shared = self.shared.borrow_mut();
                shared.position = shared.reader.seek(to)?;
                shared.position
            }
        };
        Ok(self.position)
    }
}

/// Enough for the ELF header and the program headers.
const HEAD_BYTES: usize = 4 << 10;

/// Enough for the section headers and their names.
const TAIL_BYTES: usize = 1 << 20;

/// More often, no honest file has to be begun anew.
const RESTARTS_CAP: u32 = 16;

/// Gathers the head and the tail of what passes.
#[derive(Debug, Default)]
pub(super) struct Ends {
    head: Vec<u8>,
    tail: Vec<u8>,
    size_bytes: u64,
}

impl Ends {
    /// Takes the next bytes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
        self.size_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    /// The first bytes so far.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    fn find(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let part = |bytes: &'_ [u8], start: u64| -> Option<Range> {
            let from = usize::try_from(offset.checked_sub(start)?).ok()?;
            let to = from.checked_add(length)?;
            (to <= bytes.len()).then_some((from, to))
        };
        if let Some((from, to)) = part(&self.head, 0) {
            return self.head.get(from..to);
        }
        let kept = u64::try_from(self.tail.len()).unwrap_or(u64::MAX);
        let (from, to) = part(&self.tail, self.size_bytes.checked_sub(kept)?)?;
        self.tail.get(from..to)
    }
}

type Range = (usize, usize);

/// How a member is packed, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    pub(super) start: u64,
    pub(super) length_bytes: u64,
    pub(super) method: Method,
}

/// The two ways in which members of wheels are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// A member whose bytes have passed once.
#[derive(Debug)]
pub(crate) struct MemberBytes<R: Read + Seek> {
    reader: SharedReader<R>,
    packed: Packed,
    ends: Ends,
    stream: Option<Stream<R>>,
    restarts: u32,
}

/// A deflated member while it is read forwards.
#[derive(Debug)]
struct Stream<R: Read + Seek> {
    inflated: BufReader<DeflateDecoder<Take<SharedReader<R>>>>,
    position: u64,
}

impl<R: Read + Seek> MemberBytes<R> {
    pub(super) fn new(reader: SharedReader<R>, packed: Packed, ends: Ends) -> Self {
        Self {
            reader,
            packed,
            ends,
            stream: None,
            restarts: 0,
        }
    }

    fn restart(&mut self) -> io::Result<Stream<R>> {
        self.restarts += 1;
        if self.restarts > RESTARTS_CAP {
            let text = "its headers point back and forth more often than a library's";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut reader = self.reader.clone();
        reader.seek(SeekFrom::Start(self.packed.start))?;
        let inflated = DeflateDecoder::new(reader.take(self.packed.length_bytes));
        Ok(Stream {
            inflated: BufReader::with_capacity(64 << 10, inflated),
            position: 0,
        })
    }

    fn read_inflated(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let open = self.stream.take();
        let mut stream = match open.filter(|stream| stream.position <= offset) {
            Some(stream) => stream,
            None => self.restart()?,
        };
        let skip = offset - stream.position;
        let skipped = io::copy(&mut (&mut stream.inflated).take(skip), &mut io::sink())?;
        if skipped < skip {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.inflated.read_exact(buffer)?;
        stream.position = offset + u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        self.stream = Some(stream);
        Ok(())
    }
}

impl<R: Read + Seek> ReadAt for MemberBytes<R> {
    fn size_bytes(&self) -> u64 {
        self.ends.size_bytes
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(found) = self.ends.find(offset, buffer.len()) {
            buffer.copy_from_slice(found);
            return Ok(());
        }
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if offset.saturating_add(length) > self.ends.size_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self.packed.method {
            Method::Deflated => self.read_inflated(offset, buffer),
            Method::Stored => {
                let at = self.packed.start.saturating_add(offset);
                self.reader.seek(SeekFrom::Start(at))?;
                self.reader.read_exact(buffer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn content() -> Vec<u8> {
        (0..3_000_000_u32)
            .flat_map(|number| (number / 7).to_le_bytes())
            .collect()
    }

    fn member(content: &[u8], method: Method) -> MemberBytes<Cursor<Vec<u8>>> {
        let mut file = b"before".to_vec();
        match method {
            Method::Stored => file.extend_from_slice(content),
            Method::Deflated => {
                let mut encoder = DeflateEncoder::new(&mut file, Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap();
            }
        }
        let packed = Packed {
            start: 6,
            length_bytes: u64::try_from(file.len()).unwrap() - 6,
            method,
        };
        let mut ends = Ends::default();
        for part in content.chunks(70_001) {
            ends.pass(part);
        }
        MemberBytes::new(SharedReader::new(Cursor::new(file)).unwrap(), packed, ends)
    }

    #[test]
    fn any_place_can_be_read_in_any_order() {
        let content = content();
        for method in [Method::Stored, Method::Deflated] {
            let mut member = member(&content, method);
            for at in [
                0, 100, 11_999_000, 5_000_000, 5_000_100, 7_000_000, 10, 6_000_000,
            ] {
                let mut buffer = [0; 700];
                member
                    .read_exact_at(u64::try_from(at).unwrap(), &mut buffer)
                    .unwrap();
                assert_eq!(buffer, content[at..at + 700], "{method:?} {at}");
            }
            assert!(member.read_exact_at(11_999_990, &mut [0; 20]).is_err());
            assert!(member.read_exact_at(u64::MAX, &mut [0; 20]).is_err());
        }
    }

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let mut reader = SharedReader::new(Cursor::new(vec![7; 100])).unwrap();
        reader.allow(10);
        reader.read_exact(&mut [0; 6]).unwrap();
        reader.clone().read_exact(&mut [0; 4]).unwrap();
        let error = reader.read_exact(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        reader.allow(u64::MAX);
        reader.read_exact(&mut [0; 94]).unwrap();
    }

    #[test]
    fn going_back_again_and_again_is_refused() {
        let content = content();
        let mut member = member(&content, Method::Deflated);
        let res: io::Result<()> = (0..40).try_for_each(|round| {
            let at = 9_000_000 - round * 1000;
            member.read_exact_at(at, &mut [0; 10])
        });
        assert_eq!(res.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
