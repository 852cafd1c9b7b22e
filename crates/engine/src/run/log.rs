//! A job's log: every line to the file first, to the screen second, and the last ones kept for the
//! summary.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use camino::Utf8Path;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::Stage;

use crate::container::sanitise_line;
use crate::event::Event;

/// The name of the file in a job's folder.
pub(crate) const FILE_NAME: &str = "build.log";

/// A build that prints more than this is cut in the file: logs are untrusted, disks are finite.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// How many lines the summary may choose from.
const TAIL_LINES: usize = 200;

/// How many lines the summary shows.
const SUMMARY_LINES: usize = 8;

#[derive(Debug)]
pub(super) struct JobLog {
    job: JobId,
    file: BufWriter<fs::File>,
    written_bytes: u64,
    tail: VecDeque<String>,
    /// Lines that come again and were shown before.
    seen_lines: u64,
    /// When the last line came.
    last_line: watch::Sender<Instant>,
    events: mpsc::Sender<Event>,
}

/// A place in a log that can be gone back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPlace {
    bytes: u64,
}

impl JobLog {
    pub(super) fn create(
        folder: &Utf8Path,
        job: &JobId,
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        // Read too: what is in it is counted when the log is gone back in.
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(folder.join(FILE_NAME))?;
        Ok(Self {
            job: job.clone(),
            file: BufWriter::new(file),
            written_bytes: 0,
            tail: VecDeque::new(),
            seen_lines: 0,
            last_line: watch::Sender::new(Instant::now()),
            events,
        })
    }

    /// Opens the log of a killed run, back at `place`: the container's output comes again from its
    /// beginning, and what of it was shown is not shown again.
    pub(super) fn reopen(
        folder: &Utf8Path,
        job: &JobId,
        events: mpsc::Sender<Event>,
        place: LogPlace,
    ) -> io::Result<Self> {
        let path = folder.join(FILE_NAME);
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        let mut log = Self {
            job: job.clone(),
            file: BufWriter::new(file),
            written_bytes: 0,
            tail: VecDeque::new(),
            seen_lines: 0,
            last_line: watch::Sender::new(Instant::now()),
            events,
        };
        log.go_back(place)?;
        Ok(log)
    }

    /// Where the log is now, on disk.
    pub(super) fn place(&mut self) -> io::Result<LogPlace> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        let bytes = self.file.get_mut().stream_position()?;
        Ok(LogPlace { bytes })
    }

    /// Goes back to `place`: what follows is written again, and not shown again.
    pub(super) fn go_back(&mut self, place: LogPlace) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(place.bytes))?;
        self.seen_lines = count_lines(file)?;
        file.set_len(place.bytes)?;
        file.seek(SeekFrom::Start(place.bytes))?;
        self.written_bytes = place.bytes;
        self.tail.clear();
        Ok(())
    }

    /// Takes a line of output. A full disk shows when the file is closed, not here: the build's
    /// own result is worth more than its log.
    pub(super) fn line(&mut self, bytes: &[u8]) {
        self.last_line.send_replace(Instant::now());
        let text = sanitise_line(bytes);
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX) + 1;
        if self.written_bytes + length <= MAX_BYTES {
            if let Err(error) = writeln!(self.file, "{text}") {
                tracing::warn!(job = %self.job, %error, "log line lost");
            }
        } else if self.written_bytes <= MAX_BYTES {
            tracing::warn!(job = %self.job, "log cut at its size limit");
        }
        self.written_bytes = self.written_bytes.saturating_add(length);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text.clone());
        if self.seen_lines > 0 {
            self.seen_lines -= 1;
            return;
        }
        // The screen may skip lines when it is slow; the file has them all.
        let event = Event::Line {
            job: self.job.clone(),
            text,
        };
        if let Err(error) = self.events.try_send(event) {
            tracing::trace!(%error, "line not shown");
        }
    }

    /// Says that something goes on, although there is no line of it.
    pub(super) fn is_alive(&self) {
        self.last_line.send_replace(Instant::now());
    }

    /// Tells, from outside, when the last line came.
    pub(super) fn last_line(&self) -> watch::Receiver<Instant> {
        self.last_line.subscribe()
    }

    /// Begins a stage: the summary of a failure shows lines of the stage that failed alone.
    pub(super) fn begin(&mut self, stage: Stage) {
        self.line(format!("== {stage}").as_bytes());
        self.tail.clear();
    }

    pub(super) fn close(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }

    /// The lines that a person would look for first.
    pub(super) fn telling_lines(&self) -> Vec<String> {
        telling_lines(&self.tail)
    }
}

/// The complete lines from here to the end of a file.
fn count_lines(file: &mut impl Read) -> io::Result<u64> {
    let mut count = 0;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(count);
        }
        let ends = chunk[..length].iter().filter(|byte| **byte == b'\n');
        count += u64::try_from(ends.count()).unwrap_or(u64::MAX);
    }
}

/// The last lines that name an error, with the ones that follow each; else the last lines.
fn telling_lines(tail: &VecDeque<String>) -> Vec<String> {
    const SIGNS: [&str; 8] = [
        "error:",
        "error   :",
        "Error:",
        "fatal",
        "Killed",
        "not found",
        "undefined symbol",
        "No space left",
    ];
    let lines: Vec<_> = tail.iter().filter(|line| !line.trim().is_empty()).collect();
    // The first error is the interesting one; later ones follow from it.
    let first = lines
        .iter()
        .position(|line| SIGNS.iter().any(|sign| line.contains(sign)));
    let start = match first {
        Some(first) => first,
        None => lines.len().saturating_sub(SUMMARY_LINES),
    };
    lines
        .into_iter()
        .skip(start)
        .take(SUMMARY_LINES)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(log: &[&str], want: &[&str]) {
        let tail = log.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(telling_lines(&tail), want);
    }

    #[test]
    fn the_first_error_is_shown_with_what_follows() {
        check(
            &["[1/9] nvcc", "", "x.cu(3): error: no", "note", "FAILED"],
            &["x.cu(3): error: no", "note", "FAILED"],
        );
    }

    #[test]
    fn without_an_error_the_end_is_shown() {
        let log: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        let log: Vec<_> = log.iter().map(String::as_str).collect();
        check(&log, &log[12..]);
    }
}
