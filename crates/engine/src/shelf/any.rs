//! A shelf of either kind, for what does not care which.

use std::collections::BTreeMap;

use wheelfarm_core::release::links::Links;

use super::folder::{FolderError, FolderShelf};
use super::hub::{HubError, HubShelf};
use super::{Blob, Brought, Change, Fault, Head, PastRelease, Progress, Shelf, Snapshot};

/// A folder or a repository on a Hub.
#[derive(Debug)]
pub enum AnyShelf {
    /// A folder of this machine.
    Folder(FolderShelf),
    /// A repository on a Hub.
    Hub(Box<HubShelf>),
}

/// Why a shelf of either kind failed.
#[derive(Debug, thiserror::Error)]
pub enum AnyShelfError {
    /// A folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A repository on a Hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Fault for AnyShelfError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(error) => error.hint(),
            Self::Hub(error) => error.hint(),
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Folder(error) => error.is_refusal(),
            Self::Hub(error) => error.is_refusal(),
        }
    }
}

impl Shelf for AnyShelf {
    type Error = AnyShelfError;

    fn address(&self) -> String {
        match self {
            Self::Folder(shelf) => shelf.address(),
            Self::Hub(shelf) => shelf.address(),
        }
    }

    fn links(&self) -> Links {
        match self {
            Self::Folder(shelf) => shelf.links(),
            Self::Hub(shelf) => shelf.links(),
        }
    }

    fn index_url(&self) -> Option<String> {
        match self {
            Self::Folder(shelf) => shelf.index_url(),
            Self::Hub(shelf) => shelf.index_url(),
        }
    }

    async fn read(&self) -> Result<Snapshot, AnyShelfError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.read().await?,
            Self::Hub(shelf) => shelf.read().await?,
        })
    }

    async fn bring(
        &self,
        blobs: &[Blob],
        progress: &dyn Progress,
    ) -> Result<Brought, AnyShelfError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.bring(blobs, progress).await?,
            Self::Hub(shelf) => shelf.bring(blobs, progress).await?,
        })
    }

    async fn commit(&self, head: &Head, change: &Change) -> Result<Head, AnyShelfError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.commit(head, change).await?,
            Self::Hub(shelf) => shelf.commit(head, change).await?,
        })
    }

    async fn file(&self, head: &Head, path: &str) -> Result<Option<Vec<u8>>, AnyShelfError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.file(head, path).await?,
            Self::Hub(shelf) => shelf.file(head, path).await?,
        })
    }

    async fn files(&self, head: &Head) -> Result<BTreeMap<String, u64>, AnyShelfError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.files(head).await?,
            Self::Hub(shelf) => shelf.files(head).await?,
        })
    }

    async fn past(&self, limit: usize) -> Result<Vec<PastRelease>, AnyShelfError> {
        Ok(match self {
            Self::Folder(shelf) => shelf.past(limit).await?,
            Self::Hub(shelf) => shelf.past(limit).await?,
        })
    }
}
