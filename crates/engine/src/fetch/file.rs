//! One file of an index by its name and digest: downloaded once, checked every time.

use std::path::{Path, PathBuf};

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::source::IndexUrl;

use super::archive::{self, Remote};
use super::{FetchError, FetchOptions, FetchProgress, Fetcher, Progress, run_blocking};
use crate::files;

impl Fetcher {
    /// Where fetched things are kept.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The bounds of fetching.
    pub(crate) fn options(&self) -> &FetchOptions {
        &self.options
    }

    /// The file `file_name` that `index` lists of `project`, as it lies in the cache under its digest.
    pub async fn index_file(
        &self,
        index: &IndexUrl,
        project: &PackageName,
        (file_name, sha256): (&str, Sha256Digest),
        progress: impl Fn(FetchProgress) + Send + Sync,
    ) -> Result<PathBuf, FetchError> {
        let progress: Progress<'_> = &progress;
        let folder = self.cache.join("file");
        let path = folder.join(sha256.to_string());
        let cached = path.clone();
        if run_blocking(move || archive::is_cached(&cached, sha256)).await? {
            progress(FetchProgress::Cached);
            return Ok(path);
        }
        run_blocking(move || files::create_folder(&folder)).await?;
        let files = self.listed_files(index, project, progress).await?;
        let file = files.iter().find(|file| file.file_name == file_name);
        let file = file.ok_or_else(|| FetchError::NoFile {
            index: index.clone(),
            file_name: file_name.to_owned(),
        })?;
        let remote = Remote {
            file_name,
            url: &file.url,
        };
        self.download(remote, sha256, &path, progress).await?;
        Ok(path)
    }
}
