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

/// How often a Space that somebody else changes at the same time is tried.
const TURNS: u32 = 4;

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
                "do not make the change again: `wheelfarm status --from … --index-space …` brings the Space to what is out"
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

    fn is_in_doubt(&self) -> bool {
        match self {
            Self::Folder(error) => error.is_in_doubt(),
            Self::Hub(error) => Fault::is_in_doubt(&**error),
            // The release is out.
            Self::Space { .. } | Self::SpaceNotNamed { .. } => false,
        }
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

impl AnyShelf {
    /// Brings `space` to what is out on `shelf`, which is `catalog` or later.
    async fn show(
        &self,
        shelf: &HubShelf,
        space: &IndexSpace,
        catalog: &Catalog,
    ) -> Result<(), HubError> {
        // Before the shelf: who goes on to a later release changes the Space after this, and is then not
        // written over. A Space never goes back behind what is out.
        let there = space.read().await?;
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
        space.publish(&there, &files, &title).await?;
        Ok(())
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
        let mut turn = 1;
        loop {
            let shown = self.show(shelf, space, catalog).await;
            match shown {
                Ok(()) => return Ok(()),
                // Somebody else brought the Space to a release in between, perhaps to a later one.
                Err(HubError::ChangedMeanwhile { .. }) if turn < TURNS => turn += 1,
                Err(source) => {
                    return Err(AnyError::Space {
                        space: space.url().to_owned(),
                        source: Box::new(source),
                    });
                }
            }
        }
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
