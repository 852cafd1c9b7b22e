//! What comes of a remote file, over as many requests as that takes.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use wheelfarm_core::source::RemoteUrl;

use super::spans::Spans;
use super::{RemoteClient, RemoteError, RemoteOptions, RemoteProgress};
use crate::fetch::FetchProgress;
use crate::fetch::http::range::{ByteRange, RangeAnswer, Validators};
use crate::fetch::http::{Attempts, Download, Http, HttpError};
use crate::files::FileError;

/// Requests begin and end at multiples of this, and the first is for so much at the end: enough for
/// the whole directory of a small wheel.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;

/// How much comes in between two reports.
const REPORT_BYTES: u64 = 256 << 10;

/// After so much has come, a connection that breaks is a new mishap and not the next attempt.
const FRESH_BYTES: u64 = 1 << 20;

pub(super) type Listener = Box<dyn Fn(RemoteProgress) + Send + Sync>;

/// The state of one remote file: what it is, and what of it is here.
pub(super) struct Transfer {
    http: Http,
    options: Arc<RemoteOptions>,
    url: RemoteUrl,
    listener: Arc<Listener>,
    /// Has every byte at its place, and holes where none has come.
    store: File,
    held: Spans,
    known: Option<Known>,
    fetched_bytes: u64,
    requests: u64,
}

/// Which content the held bytes are of.
#[derive(Debug, Clone)]
struct Known {
    size_bytes: u64,
    validators: Validators,
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("url", &self.url)
            .field("known", &self.known)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Transfer {
    pub(super) fn new(
        client: &RemoteClient,
        url: RemoteUrl,
        listener: Listener,
    ) -> Result<Self, RemoteError> {
        let folder = &client.options.temp_folder;
        let store = tempfile::tempfile_in(folder)
            .map_err(|source| FileError::new("write into", folder, source))?;
        Ok(Self {
            http: client.http.clone(),
            options: Arc::clone(&client.options),
            url,
            listener: Arc::new(listener),
            store,
            held: Spans::default(),
            known: None,
            fetched_bytes: 0,
            requests: 0,
        })
    }

    pub(super) fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn held(&self) -> &Spans {
        &self.held
    }

    /// Reads bytes that are held.
    pub(super) fn read_held(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        self.store
            .read_at(buffer, offset)
            .map_err(|source| FileError::new("read from", &self.options.temp_folder, source))
    }

    /// Learns how long the file is, and fetches its end.
    ///
    /// Some servers refuse to count from the end. They are asked for the beginning then, which
    /// tells the length too; HEAD would not do, for a signed address is often signed for GET only.
    pub(super) async fn begin(&mut self) -> Result<u64, RemoteError> {
        let (options, listener) = (Arc::clone(&self.options), Arc::clone(&self.listener));
        let retrying = |step| tell_retrying(&listener, step);
        let mut attempts = Attempts::new(&options.fetch, &retrying);
        let mut range = ByteRange::Last(BLOCK_BYTES);
        let size_bytes = loop {
            match self.first(&range).await {
                Err(RemoteError::Http(error)) if !is_refused_suffix(&range, &error) => {
                    attempts.wait(error).await?;
                }
                Ok(()) | Err(RemoteError::Http(_)) if self.known.is_none() => {
                    let beginning = ByteRange::Between(0..BLOCK_BYTES);
                    if range == beginning {
                        return Err(self.senseless(&range, "416".to_owned()));
                    }
                    range = beginning;
                }
                res => res?,
            }
            // What is missing of a body that broke off is fetched below.
            if let Some(known) = &self.known {
                break known.size_bytes;
            }
        };
        let tail = size_bytes.saturating_sub(BLOCK_BYTES)..size_bytes;
        self.fetch(&tail).await?;
        Ok(size_bytes)
    }

    /// Fetches what is missing of a span.
    pub(super) async fn fetch(&mut self, span: &Range<u64>) -> Result<(), RemoteError> {
        let (options, listener) = (Arc::clone(&self.options), Arc::clone(&self.listener));
        let retrying = |step| tell_retrying(&listener, step);
        let mut attempts = Attempts::new(&options.fetch, &retrying);
        let mut before_bytes = self.fetched_bytes;
        while let Some(gap) = self.held.first_gap(span) {
            match self.part(gap).await {
                Ok(()) => {}
                Err(RemoteError::Http(error)) => {
                    if self.fetched_bytes - before_bytes >= FRESH_BYTES {
                        attempts = Attempts::new(&options.fetch, &retrying);
                    }
                    before_bytes = self.fetched_bytes;
                    attempts.wait(error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks for the first time; the file is known afterwards unless the server did not say enough.
    async fn first(&mut self, range: &ByteRange) -> Result<(), RemoteError> {
        match self.ask(range).await? {
            RangeAnswer::Part {
                span,
                size_bytes,
                validators,
                download,
            } => {
                let Some(size_bytes) = size_bytes else {
                    let answered = "a part of a file whose length it does not tell".to_owned();
                    return Err(self.senseless(range, answered));
                };
                self.known = Some(Known {
                    size_bytes,
                    validators,
                });
                self.take(span, download).await
            }
            RangeAnswer::Whole {
                size_bytes: Some(size_bytes),
                validators,
                download,
            } => {
                self.known = Some(Known {
                    size_bytes,
                    validators,
                });
                // It may take ranges that count from the beginning, so a long body is left.
                if size_bytes > BLOCK_BYTES {
                    return Ok(());
                }
                self.take(0..size_bytes, download.capped(size_bytes)).await
            }
            RangeAnswer::Whole {
                size_bytes: None,
                validators,
                download,
            } => self.take_of_unknown_length(validators, download).await,
            RangeAnswer::Unsatisfied { size_bytes } => {
                self.known = size_bytes.map(|size_bytes| Known {
                    size_bytes,
                    validators: Validators::default(),
                });
                Ok(())
            }
        }
    }

    /// Asks for a gap once, and takes what comes of it.
    async fn part(&mut self, gap: Range<u64>) -> Result<(), RemoteError> {
        let cap_bytes = self.options.fetch.download_cap_bytes;
        if self.fetched_bytes.saturating_add(gap.end - gap.start) > cap_bytes {
            let url = self.url.clone();
            return Err(RemoteError::TooMuch { url, cap_bytes });
        }
        let range = ByteRange::Between(gap.clone());
        match self.ask(&range).await? {
            RangeAnswer::Part {
                span,
                size_bytes,
                validators,
                download,
            } => {
                self.check_same(size_bytes, &validators)?;
                // A server may send less, but not so little that the requests have no end.
                let is_enough = span.end == gap.end || span.end - span.start >= BLOCK_BYTES;
                if span.start != gap.start || span.end > gap.end || !is_enough {
                    let (first, last) = (span.start, span.end - 1);
                    return Err(self.senseless(&range, format!("the part {first}-{last}")));
                }
                self.take(span, download).await
            }
            RangeAnswer::Whole {
                size_bytes,
                validators,
                download,
            } => {
                self.check_same(size_bytes, &validators)?;
                match size_bytes {
                    Some(size_bytes) if size_bytes <= self.options.whole_cap_bytes => {
                        self.take(0..size_bytes, download.capped(size_bytes)).await
                    }
                    Some(_) | None => Err(self.no_ranges()),
                }
            }
            RangeAnswer::Unsatisfied { size_bytes } => {
                self.check_same(size_bytes, &Validators::default())?;
                Err(self.senseless(&range, "416".to_owned()))
            }
        }
    }

    async fn ask(&mut self, range: &ByteRange) -> Result<RangeAnswer, HttpError> {
        self.requests += 1;
        let known = self.known.as_ref().map(|known| &known.validators);
        self.http.range(self.url.with_secrets(), range, known).await
    }

    fn check_same(
        &mut self,
        size_bytes: Option<u64>,
        validators: &Validators,
    ) -> Result<(), RemoteError> {
        let is_same = self.known.as_mut().is_none_or(|known| {
            // The answer that told the length may have told nothing else.
            if known.validators == Validators::default() {
                known.validators.clone_from(validators);
            }
            size_bytes.is_none_or(|size_bytes| size_bytes == known.size_bytes)
                && !known.validators.differ(validators)
        });
        if is_same {
            return Ok(());
        }
        let url = self.url.clone();
        Err(RemoteError::Changed { url })
    }

    /// Takes a body that is to fill `span`. What has come is held, however it ends.
    async fn take(&mut self, span: Range<u64>, mut download: Download) -> Result<(), RemoteError> {
        let mut at = span.start;
        let mut told_bytes = self.fetched_bytes;
        self.tell();
        while let Some(chunk) = download.chunk().await? {
            self.store.write_all_at(&chunk, at).map_err(|source| {
                FileError::new("write into", &self.options.temp_folder, source)
            })?;
            let length_bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.held.insert(at..at + length_bytes);
            at += length_bytes;
            self.fetched_bytes += length_bytes;
            if self.fetched_bytes - told_bytes >= REPORT_BYTES {
                told_bytes = self.fetched_bytes;
                self.tell();
            }
        }
        self.tell();
        if at < span.end {
            return Err(download.ended_early().into());
        }
        Ok(())
    }

    /// Takes a body that only its end tells the length of, and with it the file's.
    async fn take_of_unknown_length(
        &mut self,
        validators: Validators,
        download: Download,
    ) -> Result<(), RemoteError> {
        let before_bytes = self.fetched_bytes;
        let download = download.capped(self.options.whole_cap_bytes);
        match self.take(0..0, download).await {
            Ok(()) => {
                self.known = Some(Known {
                    size_bytes: self.fetched_bytes - before_bytes,
                    validators,
                });
                Ok(())
            }
            Err(RemoteError::Http(HttpError::TooLong { .. })) => Err(self.no_ranges()),
            Err(error) => {
                // The next attempt may bring another content.
                self.held = Spans::default();
                Err(error)
            }
        }
    }

    fn tell(&self) {
        (self.listener)(RemoteProgress::Received {
            fetched_bytes: self.fetched_bytes,
            requests: self.requests,
            size_bytes: self.known.as_ref().map(|known| known.size_bytes),
        });
    }

    fn no_ranges(&self) -> RemoteError {
        RemoteError::NoRanges {
            url: self.url.clone(),
        }
    }

    fn senseless(&self, range: &ByteRange, answered: String) -> RemoteError {
        RemoteError::Http(HttpError::Senseless {
            url: self.url.to_string(),
            asked: format!("a request for `{range}`"),
            answered,
        })
    }
}

/// Whether the server may take a range that counts from the beginning instead: PyPI's has answered
/// 501 to one that counts from the end.
fn is_refused_suffix(range: &ByteRange, error: &HttpError) -> bool {
    matches!(range, ByteRange::Last(_)) && matches!(error.code(), Some(400 | 405 | 501))
}

fn tell_retrying(listener: &Listener, step: FetchProgress) {
    if let FetchProgress::Retrying {
        reason,
        attempt,
        wait,
    } = step
    {
        listener(RemoteProgress::Retrying {
            reason,
            attempt,
            wait,
        });
    }
}
