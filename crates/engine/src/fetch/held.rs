//! Whether a source is in the cache, so that no server has to be asked for it.

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::source::{Source, Submodules};

use super::archive;
use super::{FetchError, Fetcher, run_blocking};

/// Whether a source can be had without a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// All of it is here, and its digest is right.
    Whole,
    /// It is not, or not known to be.
    Lacking,
}

impl Fetcher {
    /// Whether `source` is in the cache. Of a repository with submodules that is not known: which they are stands in
    /// its files.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub async fn holding(&self, source: &Source) -> Result<Holding, FetchError> {
        let file = match source {
            Source::Sdist { sha256, .. } => ("sdist", *sha256),
            Source::Archive { sha256, .. } => ("archive", *sha256),
            Source::Git {
                url,
                commit,
                submodules,
            } => {
                let name = Sha256Digest::of(url.as_str().as_bytes()).to_string();
                let folder = self.cache.join("git").join(name);
                let is_here =
                    *submodules == Submodules::Off && self.has_commit(&folder, url, commit).await?;
                return Ok(holding(is_here));
            }
            Source::Folder { path } => return Ok(holding(path.is_dir())),
        };
        let (kind, sha256) = file;
        let path = self.cache.join(kind).join(sha256.to_string());
        let is_here = run_blocking(move || archive::is_cached(&path, sha256)).await?;
        Ok(holding(is_here))
    }
}

fn holding(is_here: bool) -> Holding {
    if is_here {
        Holding::Whole
    } else {
        Holding::Lacking
    }
}
