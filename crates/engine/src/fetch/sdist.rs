//! Sdists: found on a package index, downloaded once, checked every time.

use std::io::{BufReader, Write};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;
use wheelfarm_core::digest::{HashingWriter, Sha256Digest};
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::source::simple_index::{self, IndexFile};
use wheelfarm_core::source::{IndexUrl, SourceTree, TreeCaps};
use wheelfarm_core::version::PackageVersion;

use super::http::{Attempts, Download, HttpError};
use super::{FetchError, FetchProgress, Fetcher, Progress, run_blocking};
use crate::files::{self, FileError, StagedFile};

/// How much comes in between two reports.
const REPORT_BYTES: u64 = 256 << 10;

/// Which sdist.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) project: &'a PackageName,
    pub(super) version: &'a PackageVersion,
    pub(super) sha256: Sha256Digest,
    pub(super) index: &'a IndexUrl,
}

impl Fetcher {
    pub(super) async fn fetch_sdist(
        &self,
        wanted: Wanted<'_>,
        progress: Progress<'_>,
    ) -> Result<SourceTree, FetchError> {
        let folder = self.cache.join("sdist");
        let path = folder.join(wanted.sha256.to_string());
        let (cached, sha256) = (path.clone(), wanted.sha256);
        if run_blocking(move || is_cached(&cached, sha256)).await? {
            progress(FetchProgress::Cached);
        } else {
            run_blocking(move || files::create_folder(&folder)).await?;
            let file = self.find(wanted, progress).await?;
            self.download(&file, wanted.sha256, &path, progress).await?;
        }
        progress(FetchProgress::Reading);
        let what = format!("{} {}", wanted.project, wanted.version);
        let caps = self.options.tree_caps;
        run_blocking(move || read(&path, &what, &caps)).await
    }

    /// Looks the sdist up on the index.
    async fn find(
        &self,
        wanted: Wanted<'_>,
        progress: Progress<'_>,
    ) -> Result<IndexFile, FetchError> {
        let Wanted {
            project,
            version,
            sha256,
            index,
        } = wanted;
        let files = self.listed_files(index, project, progress).await?;
        let file = simple_index::find_sdist(&files, project, version, &sha256);
        let file = file.map_err(|source| FetchError::Find {
            index: index.clone(),
            project: project.clone(),
            source: Box::new(source),
        })?;
        if let Some(reason) = &file.yanked {
            progress(FetchProgress::Yanked {
                file_name: file.file_name.clone(),
                reason: reason.clone(),
            });
        }
        Ok(file)
    }

    /// Downloads the sdist to its place in the cache.
    async fn download(
        &self,
        file: &IndexFile,
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
                file_name: file.file_name.clone(),
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
        file: &IndexFile,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<Result<(StagedFile, Sha256Digest), HttpError>, FileError> {
        let cap_bytes = self.options.download_cap_bytes;
        let download = match self.http.download(&file.url, cap_bytes).await {
            Ok(download) => download,
            Err(error) => return Ok(Err(error)),
        };
        // The writer lives on its own thread. When this future is dropped, its channel closes
        // and it drops the file that it has begun.
        let (sender, receiver) = mpsc::channel(16);
        let place = path.to_owned();
        let writing = run_blocking(move || write(&place, receiver));
        let receiving = receive(download, &file.file_name, sender, progress);
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
fn is_cached(path: &Path, wanted: Sha256Digest) -> Result<bool, FileError> {
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

fn read(path: &Path, what: &str, caps: &TreeCaps) -> Result<SourceTree, FetchError> {
    let reader = BufReader::new(files::open(path)?);
    SourceTree::from_sdist(reader, caps).map_err(|source| FetchError::Tree {
        what: what.to_owned(),
        source,
    })
}
