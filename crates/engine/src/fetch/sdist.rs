//! Sdists: found on a package index, downloaded once, checked every time.

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::source::simple_index::{self, IndexFile};
use wheelfarm_core::source::{IndexUrl, SourceTree};
use wheelfarm_core::version::PackageVersion;

use super::archive::{self, Remote};
use super::http::{Attempts, Page};
use super::{FetchError, FetchProgress, Fetcher, Progress, run_blocking};
use crate::files;

/// JSON first: HTML is the older form and is what some mirrors only have (PEP 691).
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
                      application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// The longest project page. Projects with nightly releases list many thousands of files.
const PAGE_CAP_BYTES: u64 = 128 << 20;

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
        let files = self.project_files(index, project, progress).await?;
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

    /// The files that an index lists of a project.
    pub(super) async fn project_files(
        &self,
        index: &IndexUrl,
        project: &PackageName,
        progress: Progress<'_>,
    ) -> Result<Vec<IndexFile>, FetchError> {
        let url = index.project_page(project);
        progress(FetchProgress::Index { url: url.clone() });
        let mut attempts = Attempts::new(&self.options, progress);
        let page = loop {
            match self.http.page(&url, ACCEPT, PAGE_CAP_BYTES).await {
                Ok(page) => break page,
                Err(error) if error.is_not_found() => return Err(no_project(index, project)),
                Err(error) => attempts.wait(error).await.map_err(FetchError::Http)?,
            }
        };
        files(index, project, &page)
    }
}

/// The files that a page lists, by the page's own word on what it is.
fn files(
    index: &IndexUrl,
    project: &PackageName,
    page: &Page,
) -> Result<Vec<IndexFile>, FetchError> {
    let media_type = page.content_type.split(';').next().unwrap_or_default();
    let files = match media_type.trim().to_ascii_lowercase().as_str() {
        "application/vnd.pypi.simple.v1+json" | "application/json" => {
            simple_index::parse_json(&page.url, &page.text)
        }
        "application/vnd.pypi.simple.v1+html" | "text/html" => {
            simple_index::parse_html(&page.url, &page.text)
        }
        _ => {
            return Err(FetchError::ContentType {
                index: index.clone(),
                content_type: page.content_type.clone(),
            });
        }
    };
    files.map_err(|source| FetchError::Page {
        index: index.clone(),
        project: project.clone(),
        source,
    })
}

fn no_project(index: &IndexUrl, project: &PackageName) -> FetchError {
    FetchError::NoProject {
        index: index.clone(),
        project: project.clone(),
    }
}
