//! Sdists: found on a package index, downloaded once, checked every time.

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::source::simple_index::{self, IndexFile};
use wheelfarm_core::source::{IndexUrl, SourceTree};
use wheelfarm_core::version::PackageVersion;

use super::archive::{self, Remote};
use super::{FetchError, FetchProgress, Fetcher, Progress, run_blocking};
use crate::files;

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
        if run_blocking(move || archive::is_cached(&cached, sha256)).await? {
            progress(FetchProgress::Cached);
        } else {
            run_blocking(move || files::create_folder(&folder)).await?;
            let file = self.find(wanted, progress).await?;
            let remote = Remote {
                file_name: &file.file_name,
                url: &file.url,
            };
            self.download(remote, wanted.sha256, &path, progress)
                .await?;
        }
        progress(FetchProgress::Reading);
        let what = format!("{} {}", wanted.project, wanted.version);
        let caps = self.options.tree_caps;
        run_blocking(move || archive::read(&path, &what, &caps)).await
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
}
