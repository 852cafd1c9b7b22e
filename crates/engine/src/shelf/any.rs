//! A shelf of any kind, as a user names it.

use std::collections::BTreeMap;

use camino::Utf8Path;
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::release::links::Links;

use super::folder::{Address, FolderError, FolderShelf};
use super::hub::{HubError, HubOptions, HubShelf, IndexSpace};
use super::{Blob, Brought, Change, Fault, Head, PastRelease, Progress, Shelf, Snapshot};

/// Where the pages of a release lie that are true indexes where they are served as HTML.
const INDEXES: &str = "whl/";

/// A folder, or a repository on a Hub with or without a Space for its indexes.
#[derive(Debug)]
pub enum AnyShelf {
    /// A folder.
    Folder(FolderShelf),
    /// A repository.
    Hub(Box<HubShelf>),
    /// A repository whose indexes are shown by a Space.
    Indexed(Box<HubShelf>, Box<IndexSpace>),
}

/// A shelf failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnyError {
    /// A folder did.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A Hub did.
    #[error(transparent)]
    Hub(Box<HubError>),
    /// The release is out, and the Space does not show it.
    #[error("failed to bring the indexes to `{space}`; the release itself is out")]
    Space {
        /// The Space.
        space: String,
        /// Why.
        #[source]
        source: Box<HubError>,
    },
    /// The indexes of the release are shown by a Space that was not named.
    #[error("the indexes of `{address}` are shown at {url}, and would no longer say what it has")]
    SpaceNotNamed {
        /// The repository.
        address: String,
        /// Where its indexes are shown.
        url: String,
    },
}

impl From<HubError> for AnyError {
    fn from(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl Fault for AnyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Hub(error) => Fault::hint(&**error),
            Self::Space { .. } => Some(
                "do not run it again: `wheelfarm status --from … --index-space …` brings the Space to what is out"
                    .to_owned(),
            ),
            Self::SpaceNotNamed { .. } => Some(
                "name the Space, so that it changes too: `--index-space OWNER/SPACE`".to_owned(),
            ),
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Folder(error) => error.is_refusal(),
            Self::Hub(error) | Self::Space { source: error, .. } => Fault::is_refusal(&**error),
            Self::SpaceNotNamed { .. } => false,
        }
    }

    fn is_bad_input(&self) -> bool {
        matches!(self, Self::SpaceNotNamed { .. })
    }
}

impl AnyShelf {
    /// The shelf in a folder, whose pages point at files by `address`.
    pub fn folder(folder: &Utf8Path, address: Address) -> Result<Self, AnyError> {
        Ok(Self::Folder(FolderShelf::new(folder, address)?))
    }

    /// The shelf in a repository, with its indexes in the Space of `index`, if it is given; `index_url` is
    /// where that Space is shown, for Hubs whose Spaces have addresses of another kind.
    pub async fn hub(
        options: HubOptions,
        index: Option<HubOptions>,
        index_url: Option<&str>,
    ) -> Result<Self, AnyError> {
        let shelf = Box::new(HubShelf::open(options).await?);
        let Some(index) = index else {
            return Ok(Self::Hub(shelf));
        };
        let space = IndexSpace::open(index, index_url).await?;
        Ok(Self::Indexed(shelf, Box::new(space)))
    }
}

impl Shelf for AnyShelf {
    type Error = AnyError;

    fn address(&self) -> String {
        match self {
            Self::Folder(shelf) => shelf.address(),
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.address(),
        }
    }

    fn links(&self) -> Links {
        match self {
            Self::Folder(shelf) => shelf.links(),
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.links(),
        }
    }

    fn index_url(&self) -> Option<String> {
        match self {
            Self::Folder(shelf) => shelf.index_url(),
            Self::Hub(_) => None,
            Self::Indexed(_, space) => Some(format!("{}/whl", space.url())),
        }
    }

    async fn read(&self) -> Result<Snapshot, AnyError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.read().await?,
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.read().await?,
        })
    }

    fn check_writing(&self, catalog: &Catalog) -> Result<(), AnyError> {
        let shown = catalog
            .pages
            .as_ref()
            .and_then(|pages| pages.index_url.clone());
        match (self, shown) {
            (Self::Hub(_) | Self::Indexed(..), Some(url))
                if self.index_url().as_ref() != Some(&url) =>
            {
                let address = self.address();
                Err(AnyError::SpaceNotNamed { address, url })
            }
            _ => Ok(()),
        }
    }

    async fn bring(&self, blobs: &[Blob], progress: &dyn Progress) -> Result<Brought, AnyError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.bring(blobs, progress).await?,
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.bring(blobs, progress).await?,
        })
    }

    async fn commit(&self, head: &Head, change: &Change) -> Result<Head, AnyError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.commit(head, change).await?,
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.commit(head, change).await?,
        })
    }

    async fn settle(&self, catalog: &Catalog) -> Result<(), AnyError> {
        let Self::Indexed(shelf, space) = self else {
            return Ok(());
        };
        // Somebody else may have published since: a Space never goes back behind what is out.
        let now = shelf.read().await?.catalog;
        let catalog = if now.release > catalog.release {
            &now
        } else {
            catalog
        };
        let (links, index_url) = (self.links(), self.index_url());
        let layout = Layout {
            catalog,
            links: &links,
            index_url: index_url.as_deref(),
        };
        let files: BTreeMap<_, _> = layout
            .files()
            .into_iter()
            .filter(|(path, _)| path.starts_with(INDEXES))
            .collect();
        let title = format!("release {} of {}", catalog.release, self.address());
        let shown = space.publish(&files, &title).await;
        shown.map_err(|source| AnyError::Space {
            space: space.url().to_owned(),
            source: Box::new(source),
        })?;
        Ok(())
    }

    async fn file(&self, head: &Head, path: &str) -> Result<Option<Vec<u8>>, AnyError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.file(head, path).await?,
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.file(head, path).await?,
        })
    }

    async fn contents(
        &self,
        head: &Head,
        paths: &[&str],
    ) -> Result<BTreeMap<String, Vec<u8>>, AnyError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.contents(head, paths).await?,
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.contents(head, paths).await?,
        })
    }

    async fn files(&self, head: &Head) -> Result<BTreeMap<String, u64>, AnyError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.files(head).await?,
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.files(head).await?,
        })
    }

    async fn past(&self, limit: usize) -> Result<Vec<PastRelease>, AnyError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.past(limit).await?,
            Self::Hub(shelf) | Self::Indexed(shelf, _) => shelf.past(limit).await?,
        })
    }
}
