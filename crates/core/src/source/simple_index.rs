//! A project's page on a package index: HTML by PEP 503 or JSON by PEP 691, and the sdist on it.

mod html;
mod json;
mod releases;
mod select;

pub(super) use html::percent_decoded;
pub use releases::{IndexRelease, releases};
pub use select::{FindSdistError, find_sdist, newest_sdist, sdists};

use url::Url;

use crate::digest::Sha256Digest;

/// One file of a project, as the index lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Its name: `torch_spline_conv-1.2.2.tar.gz`.
    pub file_name: String,
    /// Where it is, as an absolute address without a fragment.
    pub url: String,
    /// Its digest, where the index gives one.
    pub sha256: Option<Sha256Digest>,
    /// The Pythons that it is for, where the index says so: `>=3.8`.
    pub requires_python: Option<String>,
    /// Set when its maintainers have withdrawn it: their reason, which may be empty.
    pub yanked: Option<String>,
}

/// Why a page is not a list of files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexPageError {
    /// The address of the page itself.
    #[error("`{url}` is not an address")]
    PageUrl {
        /// The address.
        url: String,
    },
    /// Not JSON, or not of the form that PEP 691 gives.
    #[error("the page is not JSON by PEP 691: {reason}")]
    NotJson {
        /// What the reader said, with the place.
        reason: String,
    },
    /// A later major version of the API, which may mean something else by the same words (PEP 629).
    #[error("the index speaks version {version} of the simple API; 1 is known")]
    ApiVersion {
        /// The version.
        version: String,
    },
}

/// Reads a PEP 503 page that was found at `page_url`, after redirects.
///
/// Anchors that lead nowhere are passed over, as installers do.
pub fn parse_html(page_url: &str, text: &str) -> Result<Vec<IndexFile>, IndexPageError> {
    html::parse(page(page_url)?, text)
}

/// Reads a PEP 691 page that was found at `page_url`, after redirects.
pub fn parse_json(page_url: &str, text: &str) -> Result<Vec<IndexFile>, IndexPageError> {
    json::parse(&page(page_url)?, text)
}

fn page(page_url: &str) -> Result<Url, IndexPageError> {
    page_url.parse().map_err(|_| IndexPageError::PageUrl {
        url: page_url.to_owned(),
    })
}

/// The absolute address of `href` if a file can be fetched from there.
fn file_url(base: &Url, href: &str) -> Option<Url> {
    let url = base.join(href.trim()).ok()?;
    matches!(url.scheme(), "https" | "http").then_some(url)
}

fn check_api_version(version: &str) -> Result<(), IndexPageError> {
    match version.split('.').next() {
        Some("1") => Ok(()),
        _ => Err(IndexPageError::ApiVersion {
            version: version.to_owned(),
        }),
    }
}
