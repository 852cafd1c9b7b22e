//! Why a catalog could not be read, or an environment not be looked into.

use camino::Utf8PathBuf;
use wheelfarm_core::release::catalog::CatalogError;
use wheelfarm_core::release::resolve::FactsError;

use crate::container::{EngineError, EngineErrorKind};
use crate::fetch::FetchError;
use crate::files::FileError;

/// A catalog could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogReadError {
    /// It is not on this machine, or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It could not be fetched.
    #[error("failed to fetch the catalog")]
    Fetch(#[source] FetchError),
    /// What is there is no catalog.
    #[error("`{place}` is no catalog that can be used")]
    Catalog {
        /// Where it is.
        place: String,
        /// What the server calls it; nothing for a file.
        content_type: Option<String>,
        /// Why.
        #[source]
        source: CatalogError,
    },
}

impl CatalogReadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(_) => Some(
                "name the folder of a release, its `manifest.json`, an address of one, or \
                 `hf://OWNER/REPO`"
                    .to_owned(),
            ),
            Self::Fetch(FetchError::Http(error)) => match error.code() {
                Some(401 | 403 | 404 | 410) => Some(
                    "see that the address is right and that everybody may read it: `manifest.json` \
                     lies at the root of a release"
                        .to_owned(),
                ),
                Some(_) | None => None,
            },
            Self::Fetch(error) => error.hint().map(str::to_owned),
            Self::Catalog {
                content_type: Some(content_type),
                source: CatalogError::Malformed(_),
                ..
            } if !content_type.contains("json") && !content_type.starts_with("text/plain") => {
                Some(format!(
                    "the server calls it `{content_type}`: name the `manifest.json` itself"
                ))
            }
            Self::Catalog {
                source: CatalogError::OtherSchema { .. },
                ..
            } => Some(
                "a manifest of one wheel has a name like it: the catalog is the one at the root of a \
                 release"
                    .to_owned(),
            ),
            Self::Catalog { .. } => None,
        }
    }
}

/// An environment could not be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The Python could not be started.
    #[error("failed to run `{python}`")]
    Run {
        /// The Python.
        python: Utf8PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ran, and told nothing.
    #[error("`{place}` did not tell what it is: {said}")]
    Silent {
        /// The Python or the image.
        place: String,
        /// The last that it said, or how it ended.
        said: String,
    },
    /// What it told is not understood.
    #[error("`{place}` told something else than it was asked")]
    Facts {
        /// The Python or the image.
        place: String,
        /// What is wrong with it.
        #[source]
        source: FactsError,
    },
    /// The image has no Python where one is looked for.
    #[error("image `{image}` has no Python{}", if *.is_musl { ", and musl instead of glibc" } else { "" })]
    NoPython {
        /// The image.
        image: String,
        /// Whether its C library is musl.
        is_musl: bool,
    },
    /// The engine failed.
    #[error("failed to look into image `{image}`")]
    Engine {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
}

impl EnvironmentError {
    /// Whether it is what was named that is wrong, and not the machine.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Run { .. } | Self::Silent { .. } | Self::Facts { .. } | Self::NoPython { .. } => {
                true
            }
            Self::Engine { source, .. } => source.kind() == EngineErrorKind::NoSuchImage,
            Self::Stopped => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Run { .. } => Some("name a Python that is there: `--here PYTHON`".to_owned()),
            Self::Silent { .. } | Self::Facts { .. } => Some(
                "say what it is instead: `--python 3.11 --torch 2.11.0 --cuda 13.0 --glibc 2.35`"
                    .to_owned(),
            ),
            Self::NoPython { is_musl: true, .. } => {
                Some("no manylinux wheel runs on musl: start from an image with glibc".to_owned())
            }
            Self::NoPython { .. } => Some(
                "say which Python it is to get, and its glibc: `--python 3.11 --glibc 2.35`"
                    .to_owned(),
            ),
            Self::Engine { source, .. } if source.kind() == EngineErrorKind::NoSuchImage => {
                Some("name an image that is there, or that a registry has".to_owned())
            }
            Self::Engine { source, .. } => source.hint().map(str::to_owned),
            Self::Stopped => None,
        }
    }
}
