//! What a package index lists of a project.

use wheelfarm_core::ident::PackageName;
use wheelfarm_core::source::IndexUrl;
use wheelfarm_core::source::simple_index::{self, IndexFile};

use super::http::{Attempts, Page};
use super::{FetchError, FetchProgress, Fetcher, Progress};

/// JSON first: HTML is the older form and is what some mirrors only have (PEP 691).
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
                      application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// The longest project page. Projects with nightly releases list many thousands of files.
const PAGE_CAP_BYTES: u64 = 128 << 20;

impl Fetcher {
    /// The files that `index` lists of `project`, asked for anew: pages change, so none is kept.
    pub async fn project_files(
        &self,
        index: &IndexUrl,
        project: &PackageName,
        progress: impl Fn(FetchProgress) + Send + Sync,
    ) -> Result<Vec<IndexFile>, FetchError> {
        self.listed_files(index, project, &progress).await
    }

    pub(super) async fn listed_files(
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
