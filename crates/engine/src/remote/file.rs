//! A remote file as a reader that seeks.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::source::RemoteUrl;

use super::transfer::{BLOCK_BYTES, Transfer};
use super::{RemoteClient, RemoteError, RemoteProgress};

/// The longest request that reading makes by itself. A longer one would bring too much that nobody
/// reads, and a shorter one too many waits for the server.
const AHEAD_CAP_BYTES: u64 = 8 << 20;

/// A file on a web server that is read in parts.
///
/// Opening and reading block on the network, so both belong in
/// [`tokio::task::spawn_blocking`]; in an async function they panic. What read from it wraps its
/// failures in errors of its own: [`RemoteError::behind`] finds them.
#[derive(Debug)]
pub struct RemoteFile {
    transfer: Transfer,
    runtime: Handle,
    stop: CancellationToken,
    size_bytes: u64,
    position: u64,
    ahead: Ahead,
}

impl RemoteClient {
    /// Opens a remote file, which fetches the end of it: that is where a zip has its directory.
    pub fn open(
        &self,
        url: RemoteUrl,
        stop: CancellationToken,
        progress: impl Fn(RemoteProgress) + Send + Sync + 'static,
    ) -> Result<RemoteFile, RemoteError> {
        let runtime = Handle::current();
        let mut transfer = Transfer::new(self, url, Box::new(progress))?;
        let size_bytes = drive(&runtime, &stop, Box::pin(transfer.begin()))?;
        Ok(RemoteFile {
            transfer,
            runtime,
            stop,
            size_bytes,
            position: 0,
            ahead: Ahead::default(),
        })
    }
}

impl RemoteFile {
    /// How long the file is.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How much of it has come over the network.
    pub fn fetched_bytes(&self) -> u64 {
        self.transfer.fetched_bytes()
    }

    /// How often the server was asked, redirects not counted.
    pub fn requests(&self) -> u64 {
        self.transfer.requests()
    }

    /// Fetches what is missing of a span, however long, in one request for each gap.
    ///
    /// Where a server thinks before it answers, a long member of a zip comes several times as fast
    /// so as by reading it.
    pub fn prefetch(&mut self, span: Range<u64>) -> Result<(), RemoteError> {
        let span = span.start..span.end.min(self.size_bytes);
        let fetching = Box::pin(self.transfer.fetch(&span));
        drive(&self.runtime, &self.stop, fetching)
    }

    /// Where what is there from the position on ends, after fetching it if need be.
    fn held_end(&mut self) -> Result<u64, RemoteError> {
        loop {
            if let Some(end) = self.transfer.held().end_from(self.position) {
                return Ok(end);
            }
            let span = self.ahead.plan(self.position);
            self.prefetch(span)?;
        }
    }
}

impl Read for RemoteFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.size_bytes {
            return Ok(0);
        }
        let held_bytes = self.held_end().map_err(io::Error::other)? - self.position;
        let length = usize::try_from(held_bytes)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let length = self
            .transfer
            .read_held(self.position, &mut buffer[..length])
            .map_err(|error| io::Error::other(RemoteError::File(error)))?;
        self.position += u64::try_from(length).unwrap_or_default();
        Ok(length)
    }
}

impl Seek for RemoteFile {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        let place = match place {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size_bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Waits for the network on this thread, until it is told to stop.
fn drive<T>(
    runtime: &Handle,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, RemoteError>>,
) -> Result<T, RemoteError> {
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(RemoteError::Stopped),
            res = work => res,
        }
    })
}

/// How much is fetched at once: more and more while the reader goes forward, little where it jumps.
#[derive(Debug, Default)]
struct Ahead {
    /// Where the last span ends.
    end: u64,
    /// How long it is.
    length_bytes: u64,
}

impl Ahead {
    /// The span to fetch for a reader that misses the byte at `offset`.
    fn plan(&mut self, offset: u64) -> Range<u64> {
        let start = offset - offset % BLOCK_BYTES;
        let goes_on = (self.end..self.end.saturating_add(self.length_bytes)).contains(&offset);
        self.length_bytes = if goes_on {
            (self.length_bytes * 2).min(AHEAD_CAP_BYTES)
        } else {
            BLOCK_BYTES
        };
        self.end = start.saturating_add(self.length_bytes);
        start..self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_forward_gets_more_and_more() {
        let mut ahead = Ahead::default();
        let first = ahead.plan(BLOCK_BYTES * 3 + 5);
        assert_eq!(first, BLOCK_BYTES * 3..BLOCK_BYTES * 4);
        assert_eq!(ahead.plan(first.end), first.end..BLOCK_BYTES * 6);
        assert_eq!(
            ahead.plan(BLOCK_BYTES * 6 + 1),
            BLOCK_BYTES * 6..BLOCK_BYTES * 10
        );
        for _ in 0..20 {
            let span = ahead.plan(ahead.end);
            assert!(span.end - span.start <= AHEAD_CAP_BYTES);
        }
        assert_eq!(ahead.length_bytes, AHEAD_CAP_BYTES);
        assert_eq!(ahead.plan(0), 0..BLOCK_BYTES, "back to the start");
    }
}
