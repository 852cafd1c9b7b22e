//! Archives by their digest: downloaded once, checked every time.

use std::io::{BufReader, Write};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;
use wheelfarm_core::digest::{HashingWriter, Sha256Digest};
use wheelfarm_core::source::{RemoteUrl, SourceTree, TreeCaps};

use super::http::{Attempts, Download, HttpError};
use super::{FetchError, FetchProgress, Fetcher, Progress, run_blocking};
use crate::files::{self, FileError, StagedFile};

/// How much comes in between two reports.
const REPORT_BYTES: u64 = 256 << 10;

/// A file on a web server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote<'a> {
    pub(super) file_name: &'a str,
    pub(super) url: &'a str,
}

impl Fetcher {
    pub(super) async fn fetch_archive(
        &self,
        url: &RemoteUrl,
        sha256: Sha256Digest,
        progress: Progress<'_>,
    ) -> Result<SourceTree, FetchError> {
        let folder = self.cache.join("archive");
        let path = folder.join(sha256.to_string());
        let cached = path.clone();
        if run_blocking(move || is_cached(&cached, sha256)).await? {
            progress(FetchProgress::Cached);
        } else {
            run_blocking(move || files::create_folder(&folder)).await?;
            let file_name = url.file_name().unwrap_or_else(|| url.to_string());
            let file = Remote {
                file_name: &file_name,
                url: url.with_secrets(),
            };
            self.download(file, sha256, &path, progress).await?;
        }
        progress(FetchProgress::Reading);
        let (what, caps) = (url.to_string(), self.options.tree_caps);
        run_blocking(move || read(&path, &what, &caps)).await
    }

    /// Downloads a file to its place in the cache.
    pub(super) async fn download(
        &self,
        file: Remote<'_>,
        wanted: Sha256Digest,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<(), FetchError> {
        let mut attempts = Attempts::new(&self.options, progress);
        let (staged, found) = loop {
            match self.attempt(file, path, progress).await? {
                Ok(whole) => break whole,
                Err(error) => attempts.wait(error).await.map_err(FetchError::Http)?,
            }
        };
        if found != wanted {
            return Err(FetchError::Digest {
                file_name: file.file_name.to_owned(),
                wanted,
                found,
            });
        }
        let place = path.to_owned();
        run_blocking(move || staged.persist(&place)).await?;
        Ok(())
    }

    /// Downloads once. The outer error is this machine's, the inner one the network's.
    async fn attempt(
        &self,
        file: Remote<'_>,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<Result<(StagedFile, Sha256Digest), HttpError>, FileError> {
        let cap_bytes = self.options.download_cap_bytes;
        let download = match self.http.download(file.url, cap_bytes).await {
            Ok(download) => download,
            Err(error) => return Ok(Err(error)),
        };
        // The writer lives on its own thread. When this future is dropped, its channel closes
        // and it drops the file that it has begun.
        let (sender, receiver) = mpsc::channel(16);
        let place = path.to_owned();
        let writing = run_blocking(move || write(&place, receiver));
        let receiving = receive(download, file.file_name, sender, progress);
        let (received, written) = futures_util::future::join(receiving, writing).await;
        // A full disk also stops the receiving, so the writer's error is the cause.
        let whole = written?;
        Ok(received.map(|()| whole))
    }
}

/// Passes a body on to the writer and reports how far it got.
async fn receive(
    mut download: Download,
    file_name: &str,
    sender: mpsc::Sender<Bytes>,
    progress: Progress<'_>,
) -> Result<(), HttpError> {
    let total_bytes = download.total_bytes();
    let (mut received_bytes, mut reported_bytes) = (0_u64, 0_u64);
    let report = |received_bytes| {
        progress(FetchProgress::Downloading {
            file_name: file_name.to_owned(),
            received_bytes,
            total_bytes,
        });
    };
    report(0);
    while let Some(chunk) = download.chunk().await? {
        received_bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if sender.send(chunk).await.is_err() {
            // The writer has failed and says why.
            return Ok(());
        }
        if received_bytes - reported_bytes >= REPORT_BYTES {
            reported_bytes = received_bytes;
            report(received_bytes);
        }
    }
    report(received_bytes);
    Ok(())
}

/// Writes what comes into a file beside `path`, and hashes it.
fn write(
    path: &Path,
    mut receiver: mpsc::Receiver<Bytes>,
) -> Result<(StagedFile, Sha256Digest), FileError> {
    let mut writer = HashingWriter::new(StagedFile::beside(path)?);
    while let Some(chunk) = receiver.blocking_recv() {
        writer
            .write_all(&chunk)
            .map_err(|source| FileError::new("write", path, source))?;
    }
    let (staged, digest, _) = writer.finish();
    Ok((staged, digest))
}

/// Whether the cache holds the file with the right content. A broken one is removed.
pub(super) fn is_cached(path: &Path, wanted: Sha256Digest) -> Result<bool, FileError> {
    if !path.exists() {
        return Ok(false);
    }
    let (found, _) = Sha256Digest::of_reader(&mut files::open(path)?)
        .map_err(|source| FileError::new("read", path, source))?;
    if found == wanted {
        return Ok(true);
    }
    tracing::warn!(path = %path.display(), %found, "removing a broken file from the cache");
    fs_err::remove_file(path).map_err(|source| FileError::new("remove", path, source))?;
    Ok(false)
}

pub(super) fn read(path: &Path, what: &str, caps: &TreeCaps) -> Result<SourceTree, FetchError> {
    let reader = BufReader::new(files::open(path)?);
    SourceTree::from_sdist(reader, caps).map_err(|source| FetchError::Tree {
        what: what.to_owned(),
        source,
    })
}
