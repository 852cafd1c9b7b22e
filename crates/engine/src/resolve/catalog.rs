//! Catalogs of releases: in a folder, on a web server, on a Hub.

use camino::Utf8PathBuf;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::release::catalog::CatalogError;
use wheelfarm_core::release::resolve::{CatalogPlace, Excerpt, read_package};

use super::error::CatalogReadError;
use crate::fetch::{FetchProgress, Fetcher};
use crate::files;

/// The longest catalog that is fetched: fifty times one of 10,000 wheels.
const CAP_BYTES: u64 = 1 << 30;

/// Reads what the catalog in a file says of `package`. Blocks.
pub fn read_file(path: &Utf8PathBuf, package: &PackageName) -> Result<Excerpt, CatalogReadError> {
    let text = files::read_text(path)?;
    read(&text, package, path.as_str(), None)
}

/// Fetches what a catalog says of `package`.
pub async fn fetch(
    fetcher: &Fetcher,
    place: &CatalogPlace,
    package: &PackageName,
    progress: impl Fn(FetchProgress) + Send + Sync,
) -> Result<Excerpt, CatalogReadError> {
    let url = match place {
        CatalogPlace::File { manifest, .. } => return read_file(manifest, package),
        CatalogPlace::Remote { manifest, .. } => manifest,
    };
    let fetched = fetcher.text(url, CAP_BYTES, progress).await;
    let fetched = fetched.map_err(CatalogReadError::Fetch)?;
    let content_type = Some(fetched.content_type);
    read(&fetched.text, package, &url.to_string(), content_type)
}

fn read(
    text: &str,
    package: &PackageName,
    place: &str,
    content_type: Option<String>,
) -> Result<Excerpt, CatalogReadError> {
    read_package(text, package).map_err(|source: CatalogError| CatalogReadError::Catalog {
        place: place.to_owned(),
        content_type,
        source,
    })
}
