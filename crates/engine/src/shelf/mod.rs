//! Shelves: the places that releases are published to, and the one way in which they change.
//!
//! A change is made on the state that was read, as a whole: first the wheels are brought, which
//! nothing lists yet, and then everything that lists them changes at once. Publishing, yanking,
//! promoting, returning to an earlier release and clearing out are all that, with another catalog.

pub mod any;
pub mod change;
#[cfg(test)]
pub(crate) mod fixture;
pub mod folder;
pub mod hub;
pub mod place;
pub mod revise;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::future::Future;

use camino::Utf8PathBuf;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::release::links::Links;

/// A shelf as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it lists.
    pub catalog: Catalog,
    /// The state that it was read at: a commit, or the digest of a folder's catalog. A change that
    /// is made on another state is refused.
    pub head: Head,
}

/// The state of a shelf, by a name of the shelf's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head(pub String);

/// A file that is large, or that is brought as it is: it is read from the disk when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Where it is to stand, seen from the root of the release.
    pub path: String,
    /// Where it lies.
    pub source: Utf8PathBuf,
    /// Its digest; what is sent is hashed again and must have it.
    pub sha256: Sha256Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// What becomes of a shelf, all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// What it is about, in a line.
    pub title: String,
    /// Files that were brought and are to be there.
    pub add: Vec<Blob>,
    /// Files that are written, with their content; those that pages name before those pages.
    pub put: BTreeMap<String, Vec<u8>>,
    /// Files that are to be gone.
    pub delete: BTreeSet<String>,
}

/// A release that a shelf had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRelease {
    /// Its number.
    pub release: u64,
    /// When it was made: RFC 3339 in UTC.
    pub published_at: String,
    /// What it was about.
    pub title: String,
    /// Where its catalog is read.
    pub head: Head,
}

/// Hears how much of the blobs has been brought.
pub trait Progress: Send + Sync {
    /// `done_bytes` of `all_bytes` are there, and `sent_bytes` went over the wire for it, which is
    /// less where the shelf has pieces of them already.
    fn on_progress(&self, done_bytes: u64, all_bytes: u64, sent_bytes: u64);
}

/// What bringing blobs took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    /// The commit that links to them are pinned to, on a shelf that has commits.
    pub commit: Option<String>,
    /// Their length together, those that were there before left out.
    pub offered_bytes: u64,
    /// How much of that went over the wire.
    pub sent_bytes: u64,
    /// How many were there before.
    pub unchanged: usize,
}

/// Why a shelf failed, and what that means for who asked.
pub trait Fault: Error + Send + Sync + 'static {
    /// What to type, where that is known.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Whether what was to be published is at fault, not the host or the network.
    fn is_refusal(&self) -> bool {
        false
    }

    /// Whether what was typed is at fault.
    fn is_bad_input(&self) -> bool {
        false
    }

    /// Whether the change that was asked for may have been made all the same.
    fn is_in_doubt(&self) -> bool {
        false
    }
}

/// A place that releases are published to.
pub trait Shelf: Send + Sync {
    /// Why it failed.
    type Error: Fault;

    /// Its address as a user types it: `hf://owner/name` or a folder.
    fn address(&self) -> String;

    /// How its pages point at files.
    fn links(&self) -> Links;

    /// Where its folder `whl/` is served as true HTML pages, if it is.
    fn index_url(&self) -> Option<String> {
        match self.links() {
            Links::Absolute { base } => Some(format!("{base}/whl")),
            Links::Relative | Links::Hub { .. } => None,
        }
    }

    /// Its catalog, and the state that was read. A shelf that is not there yet is an empty one.
    fn read(&self) -> impl Future<Output = Result<Snapshot, Self::Error>> + Send;

    /// Refuses to write where a part of what users see would be left behind. Asked before anything else
    /// is done, of dry runs too.
    fn check_writing(&self, catalog: &Catalog) -> Result<(), Self::Error> {
        let _ = catalog;
        Ok(())
    }

    /// Brings blobs that nothing lists yet, in parallel; what is there with the same bytes is not
    /// brought again, and other bytes at the same path are refused.
    fn bring(
        &self,
        blobs: &[Blob],
        progress: &dyn Progress,
    ) -> impl Future<Output = Result<Brought, Self::Error>> + Send;

    /// Makes a change on the state that was read, and checks what the shelf says of it afterwards.
    /// Fails with nothing changed when the shelf has another state by now.
    fn commit(
        &self,
        head: &Head,
        change: &Change,
    ) -> impl Future<Output = Result<Head, Self::Error>> + Send;

    /// Brings what stands elsewhere and follows from the catalog to what `catalog` says: a Space that
    /// shows the indexes. Called after every change, and when there was nothing to change.
    fn settle(&self, catalog: &Catalog) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = catalog;
        async { Ok(()) }
    }

    /// The content of the file at `path` as it was at `head`; none if there is none.
    fn file(
        &self,
        head: &Head,
        path: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Self::Error>> + Send;

    /// The content of those files at `paths` that there were at `head`, by path.
    fn contents(
        &self,
        head: &Head,
        paths: &[&str],
    ) -> impl Future<Output = Result<BTreeMap<String, Vec<u8>>, Self::Error>> + Send {
        async move {
            let mut contents = BTreeMap::new();
            for path in paths {
                if let Some(content) = self.file(head, path).await? {
                    contents.insert((*path).to_owned(), content);
                }
            }
            Ok(contents)
        }
    }

    /// Every file that there is, by path, with its length.
    fn files(
        &self,
        head: &Head,
    ) -> impl Future<Output = Result<BTreeMap<String, u64>, Self::Error>> + Send;

    /// The releases that it had, the newest first, at most `limit`.
    fn past(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<PastRelease>, Self::Error>> + Send;
}
