//! Fetches pinned sources: sdists and archives by digest, git commits, folders of this machine.
//!
//! Nothing of a source is run here. pip runs an sdist's `setup.py` only to download it, so the
//! farm downloads by itself, and checks the digest before it reads a byte of the archive. All
//! futures can be dropped at any point: what is half done is not in the cache.

mod archive;
mod error;
mod file;
mod folder;
mod git;
mod git_command;
mod gitmodules;
mod held;
pub(crate) mod http;
mod index;
mod listing;
mod sdist;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use wheelfarm_core::source::{Source, SourceTree, TreeCaps, TreeError, TreePath};

pub use error::{FetchError, FetchErrorKind};
pub use held::Holding;
pub use listing::GitTip;
pub use text::FetchedText;

/// The bounds of fetching. There is no total limit: a slow line that delivers is not a fault.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// How long a connection may take to come about.
    pub connect_limit: Duration,
    /// How long a server may send nothing.
    pub stall_limit: Duration,
    /// How long git may say nothing; servers of large repositories think for minutes.
    pub git_stall_limit: Duration,
    /// How often a request is made before its failure counts.
    pub attempts: u32,
    /// How long to wait before the second attempt; each further wait is twice as long.
    pub first_wait: Duration,
    /// The longest wait between attempts, whatever the server asks for.
    pub longest_wait: Duration,
    /// The longest file that is downloaded.
    pub download_cap_bytes: u64,
    /// The bounds of the unpacked source.
    pub tree_caps: TreeCaps,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(20),
            stall_limit: Duration::from_mins(1),
            git_stall_limit: Duration::from_mins(10),
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(2),
            download_cap_bytes: 2 << 30,
            tree_caps: TreeCaps::default(),
        }
    }
}

/// How far a fetch got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchProgress {
    /// It is in the cache, and its digest is right.
    Cached,
    /// The project's page is asked for.
    Index {
        /// The page.
        url: String,
    },
    /// A file comes in.
    Downloading {
        /// The file.
        file_name: String,
        /// What has come.
        received_bytes: u64,
        /// What will come, where the server says so.
        total_bytes: Option<u64>,
    },
    /// An attempt failed for a cause that may pass.
    Retrying {
        /// What failed and why.
        reason: String,
        /// Which attempt comes next, from 2.
        attempt: u32,
        /// How long until then.
        wait: Duration,
    },
    /// The maintainers have withdrawn the file; it is taken because it is pinned.
    Yanked {
        /// The file.
        file_name: String,
        /// Their reason, which may be empty.
        reason: String,
    },
    /// Another fetch of the same repository is under way and is waited for.
    Waiting,
    /// A line that git says.
    Git {
        /// The line.
        line: String,
    },
    /// The source is read into memory.
    Reading,
}

/// Whom progress is told.
type Progress<'a> = &'a (dyn Fn(FetchProgress) + Send + Sync);

/// Fetches sources, with a cache that other processes may share.
#[derive(Debug, Clone)]
pub struct Fetcher {
    cache: PathBuf,
    options: FetchOptions,
    http: http::Http,
}

impl Fetcher {
    /// A fetcher that keeps what it fetched in `cache_dir`.
    ///
    /// Certificates are the machine's, or those of `SSL_CERT_FILE`; proxies are those of the
    /// environment.
    pub fn new(cache_dir: impl Into<PathBuf>, options: FetchOptions) -> Result<Self, FetchError> {
        Ok(Self {
            cache: cache_dir.into(),
            http: http::Http::new(&options).map_err(|source| FetchError::Setup { source })?,
            options,
        })
    }

    /// Fetches a source, from the cache if it is there.
    pub async fn fetch(
        &self,
        source: &Source,
        progress: impl Fn(FetchProgress) + Send + Sync,
    ) -> Result<SourceTree, FetchError> {
        let progress: Progress<'_> = &progress;
        match source {
            Source::Sdist {
                project,
                version,
                sha256,
                index,
            } => {
                let wanted = sdist::Wanted {
                    project,
                    version,
                    sha256: *sha256,
                    index,
                };
                // Boxed, for callers hold this future by value.
                Box::pin(self.fetch_sdist(wanted, progress)).await
            }
            Source::Git {
                url,
                commit,
                submodules,
            } => Box::pin(self.fetch_git(url, commit, *submodules, progress)).await,
            Source::Archive { url, sha256 } => {
                Box::pin(self.fetch_archive(url, *sha256, progress)).await
            }
            Source::Folder { path } => {
                let (path, caps) = (path.clone().into_std_path_buf(), self.options.tree_caps);
                progress(FetchProgress::Reading);
                run_blocking(move || folder::read(&path, &caps)).await
            }
        }
    }
}

/// Runs work that blocks on a thread for that; a panic of it goes on here.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Puts the files of another source into a folder of a tree, in which nothing may lie yet.
pub(crate) fn put_below(
    tree: &mut SourceTree,
    folder: &TreePath,
    part: &SourceTree,
) -> Result<(), TreeError> {
    for (path, entry) in part.iter() {
        tree.insert(path.below(folder), entry.clone())?;
    }
    Ok(())
}

/// Reads an sdist of this machine as a source. Blocks.
pub fn read_sdist(path: &camino::Utf8Path) -> Result<SourceTree, FetchError> {
    archive::read(path.as_std_path(), path.as_str(), &TreeCaps::default())
}

/// The part of a tree that [`read_folder`] sees of the same files in a folder: it passes over what
/// building and running leave behind, which some sdists have in them.
pub fn as_folder(tree: &SourceTree) -> SourceTree {
    folder::seen(tree)
}

/// Reads a folder of this machine as a source. Blocks.
pub fn read_folder(path: &camino::Utf8Path) -> Result<SourceTree, FetchError> {
    folder::read(path.as_std_path(), &TreeCaps::default())
}
