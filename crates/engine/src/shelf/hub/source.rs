//! What is uploaded, hashed on its way out: the last piece of a file leaves only when all of it has
//! the digest that was promised.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wheelfarm_core::digest::{HashingWriter, Sha256Digest};

use super::error::HubError;
use crate::fetch::http::exchange::Pieces;
use crate::files::FileError;

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// How far an upload is, heard while it goes on.
#[derive(Debug, Default)]
pub(super) struct Meter {
    done_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Meter {
    /// So much of the files is there.
    pub(super) fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    /// So much went over the wire.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Files are there.
    pub(super) fn add_done(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes went over the wire.
    pub(super) fn add_sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes over what a library counts.
    pub(super) fn set(&self, done_bytes: u64, sent_bytes: u64) {
        self.done_bytes.store(done_bytes, Ordering::Relaxed);
        self.sent_bytes.store(sent_bytes, Ordering::Relaxed);
    }
}

/// Where the bytes of an upload are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// In memory.
    Bytes(Bytes),
    /// In a file.
    File(Utf8PathBuf),
}

/// Something that is uploaded.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) sha256: Sha256Digest,
    pub(super) size_bytes: u64,
    pub(super) source: Source,
}

/// A part of a file and the digest that it must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) start: u64,
    pub(super) length_bytes: u64,
    pub(super) sha256: Sha256Digest,
}

/// Where the digest of a file that was altered is left, since it passes through a library as an error
/// of reading.
pub(super) type Altered = Arc<OnceLock<Option<Sha256Digest>>>;

impl Object {
    /// All of it.
    pub(super) fn whole(&self) -> Part {
        Part {
            start: 0,
            length_bytes: self.size_bytes,
            sha256: self.sha256,
        }
    }

    /// The first `length` bytes.
    pub(super) async fn sample(&self, length: usize) -> Result<Bytes, HubError> {
        match &self.source {
            Source::Bytes(bytes) => Ok(bytes.slice(..length.min(bytes.len()))),
            Source::File(path) => {
                let failed = |error| FileError::new("read", path, error);
                let file = fs_err::tokio::File::open(path).await.map_err(failed)?;
                let mut sample = Vec::new();
                let cap = u64::try_from(length).unwrap_or(u64::MAX);
                let read = file.take(cap).read_to_end(&mut sample).await;
                read.map_err(failed)?;
                Ok(Bytes::from(sample))
            }
        }
    }

    /// A part, piece by piece.
    pub(super) fn pieces(&self, part: Part, altered: &Altered) -> Pieces {
        match &self.source {
            Source::Bytes(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let span = place(part.start)..place(part.start + part.length_bytes);
                let bytes = bytes.slice(span);
                Box::pin(stream::iter([Ok(bytes)]))
            }
            Source::File(path) => {
                checked_pieces(path.clone(), part, self.size_bytes, altered.clone(), None)
            }
        }
    }

    /// The digests of its parts of `part_bytes`, and that it is what it should be as a whole.
    ///
    /// Blocking: reads it to its end.
    pub(super) fn parts(&self, part_bytes: u64) -> Result<Vec<Part>, HubError> {
        let file;
        let mut reader: Box<dyn io::Read> = match &self.source {
            Source::Bytes(bytes) => Box::new(&bytes[..]),
            Source::File(path) => {
                file = fs_err::File::open(path)
                    .map_err(|error| FileError::new("read", path, error))?;
                Box::new(file)
            }
        };
        let mut whole = HashingWriter::new(io::sink());
        let mut parts = Vec::new();
        let mut start = 0;
        loop {
            let mut part = HashingWriter::new(&mut whole);
            let mut taken = io::Read::take(&mut reader, part_bytes);
            io::copy(&mut taken, &mut part)
                .map_err(|error| FileError::new("read", self.path(), error))?;
            let (_, sha256, length_bytes) = part.finish();
            if length_bytes == 0 {
                break;
            }
            parts.push(Part {
                start,
                length_bytes,
                sha256,
            });
            start += length_bytes;
        }
        let (_, found, length_bytes) = whole.finish();
        if found == self.sha256 && length_bytes == self.size_bytes {
            return Ok(parts);
        }
        Err(self.altered(Some(found)))
    }

    /// The error of one that is not what it should be.
    pub(super) fn altered(&self, found: Option<Sha256Digest>) -> HubError {
        HubError::Altered {
            path: self.path().to_string(),
            found,
            wanted: self.sha256,
        }
    }

    fn path(&self) -> &Utf8Path {
        match &self.source {
            Source::Bytes(_) => Utf8Path::new("(generated)"),
            Source::File(path) => path,
        }
    }
}

struct Reading {
    file: fs_err::tokio::File,
    hasher: HashingWriter<io::Sink>,
    left_bytes: u64,
    _turn: Option<OwnedSemaphorePermit>,
}

/// The pieces of a part of the file at `path`, which is to be `size_bytes` long. They begin when it is
/// their turn.
pub(super) fn checked_pieces(
    path: Utf8PathBuf,
    part: Part,
    size_bytes: u64,
    altered: Altered,
    turns: Option<Arc<Semaphore>>,
) -> Pieces {
    enum State {
        Closed(Utf8PathBuf, Option<Arc<Semaphore>>),
        Open(Box<Reading>),
    }
    let first = State::Closed(path, turns);
    Box::pin(stream::try_unfold(first, move |state| {
        let altered = altered.clone();
        async move {
            let mut reading = match state {
                State::Open(reading) => reading,
                State::Closed(path, turns) => {
                    Box::new(begin(&path, part, size_bytes, &altered, turns).await?)
                }
            };
            if reading.left_bytes == 0 {
                return Ok(None);
            }
            let left = usize::try_from(reading.left_bytes).unwrap_or(usize::MAX);
            let mut piece = BytesMut::with_capacity(PIECE_BYTES.min(left));
            let cap = reading
                .left_bytes
                .min(u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX));
            while piece.len() < PIECE_BYTES.min(left) {
                let mut rest =
                    (&mut reading.file).take(cap - u64::try_from(piece.len()).unwrap_or(cap));
                if rest.read_buf(&mut piece).await? == 0 {
                    altered.get_or_init(|| None);
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
            reading.hasher.write_all(&piece)?;
            reading.left_bytes -= u64::try_from(piece.len()).unwrap_or(reading.left_bytes);
            if reading.left_bytes == 0 {
                let hasher = std::mem::replace(&mut reading.hasher, HashingWriter::new(io::sink()));
                let (_, found, _) = hasher.finish();
                if found != part.sha256 {
                    let found = (part.length_bytes == size_bytes).then_some(found);
                    altered.get_or_init(|| found);
                    return Err(io::Error::other("the file has other bytes than it had"));
                }
            }
            Ok(Some((piece.freeze(), State::Open(reading))))
        }
    }))
}

async fn begin(
    path: &Utf8Path,
    part: Part,
    size_bytes: u64,
    altered: &Altered,
    turns: Option<Arc<Semaphore>>,
) -> io::Result<Reading> {
    let turn = match turns {
        Some(turns) => Some(turns.acquire_owned().await.map_err(io::Error::other)?),
        None => None,
    };
    let mut file = fs_err::tokio::File::open(path).await?;
    if file.metadata().await?.len() != size_bytes {
        altered.get_or_init(|| None);
        return Err(io::Error::other("the file has another length than it had"));
    }
    file.seek(io::SeekFrom::Start(part.start)).await?;
    Ok(Reading {
        file,
        hasher: HashingWriter::new(io::sink()),
        left_bytes: part.length_bytes,
        _turn: turn,
    })
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    fn object(folder: &tempfile::TempDir, content: &[u8]) -> Object {
        let path = Utf8Path::from_path(folder.path()).unwrap().join("a.whl");
        fs_err::write(&path, content).unwrap();
        Object {
            sha256: Sha256Digest::of(content),
            size_bytes: u64::try_from(content.len()).unwrap(),
            source: Source::File(path),
        }
    }

    async fn read(object: &Object, part: Part) -> (Result<Vec<u8>, io::Error>, Altered) {
        let altered = Altered::default();
        let pieces = object.pieces(part, &altered);
        let read = pieces.try_collect::<Vec<_>>().await;
        (read.map(|pieces| pieces.concat()), altered)
    }

    #[tokio::test]
    async fn a_file_leaves_as_it_was_recorded_or_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..=255).cycle().take(3 * PIECE_BYTES / 2).collect();
        let object = object(&folder, &content);
        assert_eq!(read(&object, object.whole()).await.0.unwrap(), content);
        let mut other = content.clone();
        other[7] ^= 1;
        let Source::File(path) = &object.source else {
            unreachable!()
        };
        fs_err::write(path, &other).unwrap();
        let altered = Altered::default();
        let mut pieces = object.pieces(object.whole(), &altered);
        let first = pieces.try_next().await.unwrap().unwrap();
        assert_eq!(first.len(), PIECE_BYTES);
        assert!(pieces.try_next().await.is_err());
        assert_eq!(altered.get(), Some(&Some(Sha256Digest::of(&other))));
        fs_err::write(path, &content[1..]).unwrap();
        let (res, altered) = read(&object, object.whole()).await;
        assert!(res.is_err() && altered.get() == Some(&None));
        assert!(matches!(object.parts(1000), Err(HubError::Altered { .. })));
    }

    #[tokio::test]
    async fn parts_make_up_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let object = object(&folder, b"0123456789");
        let parts = object.parts(4).unwrap();
        let mut whole = Vec::new();
        for part in &parts {
            whole.extend(read(&object, *part).await.0.unwrap());
        }
        assert_eq!((parts.len(), whole), (3, b"0123456789".to_vec()));
        assert_eq!(object.sample(4).await.unwrap(), "0123");
    }
}
