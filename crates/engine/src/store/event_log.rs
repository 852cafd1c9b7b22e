//! The file that a run's events go to, a JSON object a line: what stands in the store, in order, each
//! once, whatever ended the run before.
//!
//! The store is written first. So the file is never ahead of it, and what a crash kept from the file
//! is appended when it is opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::{History, Seq, StoreError, StoredEvent};
use crate::crash_point;
use crate::files::{self, FileError};

/// How much of the file's end is searched for a whole line. A crash tears one write of one line.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;

/// How many events are read from the store at a time.
const BATCH: u32 = 512;

/// How every line begins: the keys are sorted.
const START: &[u8] = b"{\"at\":\"";

/// A file of events.
#[derive(Debug)]
pub struct EventLog {
    path: Utf8PathBuf,
    file: File,
    last: Seq,
    /// How long the file is, up to the end of the last whole line; none for a pipe, which cannot be
    /// cut.
    end: Option<u64>,
}

/// A file of events cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// It cannot be read or written.
    #[error("failed to log events")]
    File(#[source] FileError),
    /// It holds something else: nothing of it is overwritten.
    #[error("`{0}` is not a file of wheelfarm's events")]
    Foreign(Utf8PathBuf),
    /// It holds the events of another `out/`.
    #[error("`{path}` holds events of another store: its event {seq} is not the one of this")]
    OtherStore {
        /// The file.
        path: Utf8PathBuf,
        /// Its last event.
        seq: Seq,
    },
    /// What should go there cannot be read.
    #[error(transparent)]
    Store(StoreError),
}

impl EventLogError {
    /// Whether a full disk is the cause.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::File(error) => error.is_disk_full(),
            Self::Store(error) => error.is_disk_full(),
            Self::Foreign(_) | Self::OtherStore { .. } => false,
        }
    }

    /// What to type, when that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign(_) | Self::OtherStore { .. } => {
                Some("name another file with --events".to_owned())
            }
            Self::Store(error) => error.hint(),
            Self::File(_) => None,
        }
    }
}

impl EventLog {
    /// Opens the file at `path` and appends the events of `history` that it lacks. A new file, or one
    /// that is no regular file, begins behind `from`.
    ///
    /// # Errors
    /// The file cannot be written, or holds something else.
    pub fn open(path: &Utf8Path, history: &History, from: Seq) -> Result<Self, EventLogError> {
        let failed = |source| EventLogError::File(FileError::new("open", path, source));
        let is_special = match fs_err::metadata(path) {
            Ok(metadata) => !metadata.is_file(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        let mut file = OpenOptions::new()
            .create(!is_special)
            .read(!is_special)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let (last, end) = if is_special {
            (from, None)
        } else {
            crash_point::reach("after the file of events is made");
            let tail = Tail::read(&mut file, path)?;
            (tail.check(path, history)?.unwrap_or(from), Some(tail.end))
        };
        let mut log = Self {
            path: path.to_owned(),
            file,
            last,
            end,
        };
        log.cut()?;
        log.catch_up(history)?;
        Ok(log)
    }

    /// The last event that stands in it.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Appends what the store has and the file has not.
    ///
    /// # Errors
    /// The file cannot be written. What was torn is cut off, and the next call goes on there.
    pub fn catch_up(&mut self, history: &History) -> Result<(), EventLogError> {
        loop {
            let events = history
                .events_after(self.last, BATCH)
                .map_err(EventLogError::Store)?;
            if events.is_empty() {
                return Ok(());
            }
            for event in &events {
                self.append(event)?;
            }
        }
    }

    /// Makes what stands in it survive a power cut. Called once, for the first line: a file that is
    /// there says from where on it has to be caught up.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn sync(&self) -> Result<(), EventLogError> {
        if self.end.is_none() {
            return Ok(());
        }
        let failed = |source| FileError::new("sync", &self.path, source);
        self.file
            .sync_all()
            .map_err(|source| EventLogError::File(failed(source)))?;
        files::sync_folder(files::folder_of(&self.path)).map_err(EventLogError::File)
    }

    fn append(&mut self, event: &StoredEvent) -> Result<(), EventLogError> {
        let line = format!("{}\n", event.line());
        crash_point::reach("before a line of events");
        if cfg!(test) {
            // A write of a line may be cut in two; the tests cut it here.
            let (head, tail) = line.as_bytes().split_at(line.len() / 2);
            self.write(head)?;
            crash_point::reach("within a line of events");
            self.write(tail)?;
        } else {
            self.write(line.as_bytes())?;
        }
        crash_point::reach("after a line of events");
        self.last = event.seq;
        if let Some(end) = &mut self.end {
            *end += u64::try_from(line.len()).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EventLogError> {
        self.file.write_all(bytes).map_err(|source| {
            if self.cut().is_err() {
                tracing::debug!(path = %self.path, "torn line of events not cut");
            }
            EventLogError::File(FileError::new("write", &self.path, source))
        })
    }

    /// Ends the file behind its last whole line.
    fn cut(&mut self) -> Result<(), EventLogError> {
        let Some(end) = self.end else {
            return Ok(());
        };
        let res = self.file.set_len(end);
        let res = res.and_then(|()| self.file.seek(SeekFrom::Start(end)).map(drop));
        res.map_err(|source| EventLogError::File(FileError::new("cut", &self.path, source)))
    }
}

/// What an event's line must have.
#[derive(Deserialize)]
struct Head {
    schema: u32,
    seq: i64,
    run: i64,
}

/// The end of a file of events.
struct Tail {
    /// The last whole line, and its event's number.
    last: Option<(Seq, String)>,
    /// Behind it.
    end: u64,
}

impl Tail {
    fn read(file: &mut File, path: &Utf8Path) -> Result<Self, EventLogError> {
        let failed = |source| EventLogError::File(FileError::new("read", path, source));
        let length = file.metadata().map_err(failed)?.len();
        let start = length.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        // Backwards over what a crash tore: half a line, or a block that the disk never got.
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
            let before = rest.get(..end).unwrap_or_default();
            let begin = before.iter().rposition(|byte| *byte == b'\n');
            let begin = begin.map_or(0, |newline| newline + 1);
            let line = before.get(begin..).unwrap_or_default();
            if let Some(last) = whole_line(line) {
                let behind = u64::try_from(end + 1).unwrap_or(u64::MAX);
                return Ok(Self {
                    last: Some(last),
                    end: start + behind,
                });
            }
            rest = rest.get(..begin).unwrap_or_default();
        }
        if start == 0 && is_torn_first_line(&bytes) {
            return Ok(Self { last: None, end: 0 });
        }
        Err(EventLogError::Foreign(path.to_owned()))
    }

    /// The last event, if it is the store's.
    fn check(&self, path: &Utf8Path, history: &History) -> Result<Option<Seq>, EventLogError> {
        let Some((seq, line)) = &self.last else {
            return Ok(None);
        };
        let kept = history
            .events_after(Seq(seq.0 - 1), 1)
            .map_err(EventLogError::Store)?;
        match kept.first() {
            // Old events are forgotten, and a store that was lost has none.
            Some(kept) if kept.seq == *seq && kept.line() != *line => {
                Err(EventLogError::OtherStore {
                    path: path.to_owned(),
                    seq: *seq,
                })
            }
            _ => Ok(Some(*seq)),
        }
    }
}

fn whole_line(line: &[u8]) -> Option<(Seq, String)> {
    let text = std::str::from_utf8(line).ok()?;
    let head: Head = serde_json::from_str(text).ok()?;
    (head.schema == 1 && head.seq > 0 && head.run > 0).then(|| (Seq(head.seq), text.to_owned()))
}

/// Whether this can be what a crash left of the first line: nothing, a part of it, or a block of
/// zeros, which is how some file systems show what they never wrote.
fn is_torn_first_line(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let written = bytes.get(..bytes.len() - zeros).unwrap_or_default();
    let common = written.len().min(START.len());
    written.get(..common) == START.get(..common) && !written.contains(&b'\n')
}
