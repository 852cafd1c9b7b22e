//! A job's log: every line to the file first, to the screen second, and the last ones kept for the
//! summary.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};

use camino::Utf8Path;
use fs_err as fs;
use tokio::sync::mpsc;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::Stage;

use crate::container::sanitise_line;
use crate::event::Event;

/// The name of the file in a job's folder.
pub(super) const FILE_NAME: &str = "build.log";

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
    events: mpsc::Sender<Event>,
}

impl JobLog {
    pub(super) fn create(
        folder: &Utf8Path,
        job: &JobId,
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        Ok(Self {
            job: job.clone(),
            file: BufWriter::new(fs::File::create(folder.join(FILE_NAME))?),
            written_bytes: 0,
            tail: VecDeque::new(),
            events,
        })
    }

    /// Takes a line of output. A full disk shows when the file is closed, not here: the build's
    /// own result is worth more than its log.
    pub(super) fn line(&mut self, bytes: &[u8]) {
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
        // The screen may skip lines when it is slow; the file has them all.
        let event = Event::Line {
            job: self.job.clone(),
            text,
        };
        if let Err(error) = self.events.try_send(event) {
            tracing::trace!(%error, "line not shown");
        }
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
