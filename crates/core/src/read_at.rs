//! Bytes that are read at places: a file, a buffer, a member of a zip that is inflated on the way.
//!
//! What reads a module asks in rising order wherever it can: going back is free in a file and
//! begins anew in a compressed stream.

use std::io::{self, Read, Seek, SeekFrom};

/// Something of known length that can be read at any offset.
pub trait ReadAt {
    /// Its length in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset`; an end before that is [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn size_bytes(&self) -> u64 {
        u64::try_from(self.len()).unwrap_or(u64::MAX)
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// A seekable reader, with a small window so that headers that lie close cost one read.
#[derive(Debug)]
pub struct SeekBytes<R> {
    reader: R,
    size_bytes: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// Larger than two image headers with their options. Four times as much makes the walk through
/// libtorch 1.5 times as long.
const WINDOW_BYTES: usize = 1024;

impl<R: Read + Seek> SeekBytes<R> {
    /// Takes `reader` from its first byte to its last, wherever it stands.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let size_bytes = reader.seek(SeekFrom::End(0))?;
        Ok(Self {
            reader,
            size_bytes,
            window: Vec::new(),
            window_start: 0,
        })
    }

    /// The part of the window that starts at `offset`.
    fn in_window(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.window_start)?).ok()?;
        self.window.get(start..start.checked_add(length)?)
    }
}

impl<R: Read + Seek> ReadAt for SeekBytes<R> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(found) = self.in_window(offset, buffer.len()) {
            buffer.copy_from_slice(found);
            return Ok(());
        }
        self.reader.seek(SeekFrom::Start(offset))?;
        if buffer.len() >= WINDOW_BYTES {
            return self.reader.read_exact(buffer);
        }
        let window_bytes = u64::try_from(WINDOW_BYTES).unwrap_or(u64::MAX);
        self.window.clear();
        self.window_start = offset;
        (&mut self.reader)
            .take(window_bytes)
            .read_to_end(&mut self.window)?;
        let found = self
            .in_window(offset, buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], offset: u64, length: usize, want: Option<&[u8]>) {
        let mut from_slice = vec![0; length];
        let mut slice = bytes;
        let res = slice.read_exact_at(offset, &mut from_slice);
        assert_eq!(res.ok().map(|()| from_slice.as_slice()), want, "slice");
        let mut from_file = vec![0; length];
        let mut file = SeekBytes::new(Cursor::new(bytes)).unwrap();
        for _ in 0..2 {
            let res = file.read_exact_at(offset, &mut from_file);
            assert_eq!(res.ok().map(|()| from_file.as_slice()), want, "file");
        }
    }

    #[test]
    fn bytes_come_from_their_place_or_not_at_all() {
        check(b"abcdef", 2, 3, Some(b"cde"));
        check(b"abcdef", 6, 0, Some(b""));
        check(b"abcdef", 4, 3, None);
        check(b"abcdef", u64::MAX, 1, None);
        let long: Vec<u8> = (0..20_000u32).map(|n| n.to_le_bytes()[0]).collect();
        check(&long, 5000, 9000, Some(&long[5000..14_000]));
        check(&long, 19_990, 10, Some(&long[19_990..]));
        check(&long, 19_990, 11, None);
    }
}
