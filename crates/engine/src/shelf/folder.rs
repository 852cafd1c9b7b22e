//! A folder as a shelf: any static host serves it, and it works from a disk as it is.
//!
//! What the shelf keeps for itself lies in `.wheelfarm/`: the lock, the change that is being made (see
//! `journal`), and the catalog of every release. No page leads there.

mod journal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::Deserialize;
use tokio::sync::mpsc;
use wheelfarm_core::digest::{HashingWriter, Sha256Digest};
use wheelfarm_core::release::catalog::{self, Catalog, CatalogError};
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::release::links::Links;

use super::{Blob, Brought, Change, Fault, Head, PastRelease, Progress, Shelf, Snapshot};
use crate::files::{self, FileError, Lock, StagedFile};

/// What the shelf keeps for itself, at its root.
const OWN: &str = ".wheelfarm";

/// A folder that releases are published to.
#[derive(Debug, Clone)]
pub struct FolderShelf {
    root: Utf8PathBuf,
    links: Links,
    fuse: Fuse,
}

/// Where a folder will be served, for its pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Address {
    /// As its pages say already; a new one has relative links.
    #[default]
    Kept,
    /// Anywhere: links are relative.
    Anywhere,
    /// At this address, without a slash at its end.
    At(String),
}

/// A folder could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Another process changes it.
    #[error("another run of wheelfarm publishes to `{0}`")]
    Busy(Utf8PathBuf),
    /// It holds something else.
    #[error("`{folder}` is no release and not empty: it has `{found}`")]
    NotARelease {
        /// The folder.
        folder: Utf8PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// Its catalog cannot be used.
    #[error("failed to read `{path}`")]
    Catalog {
        /// The catalog.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: CatalogError,
    },
    /// What it keeps for itself cannot be used.
    #[error("failed to read `{path}`")]
    Own {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is another file at the path of a wheel.
    #[error("`{path}` has sha256 {there}, and the wheel of that path has {wanted}")]
    OtherBytes {
        /// The file.
        path: Utf8PathBuf,
        /// Its digest.
        there: Sha256Digest,
        /// The digest that it should have.
        wanted: Sha256Digest,
    },
    /// A file is not what it was said to be when it was brought.
    #[error("`{path}` has sha256 {found}, and {wanted} was to be published")]
    Altered {
        /// The file.
        path: Utf8PathBuf,
        /// Its digest.
        found: Sha256Digest,
        /// The digest that it should have.
        wanted: Sha256Digest,
    },
    /// Somebody else published since it was read.
    #[error("the release in `{0}` has changed since it was read")]
    Changed(Utf8PathBuf),
    /// A file that was to be listed is not there.
    #[error("`{0}` was not brought, so nothing can list it")]
    Missing(Utf8PathBuf),
    /// A change that was begun has lost a part of what it needs.
    #[error("the change of an earlier run cannot be finished: `{0}` is lost")]
    Lost(Utf8PathBuf),
    /// A change has begun and has not ended; whoever opens the folder next finishes it.
    #[error("failed to finish a change of `{folder}` that has begun")]
    Unfinished {
        /// The folder.
        folder: Utf8PathBuf,
        /// Why.
        #[source]
        source: Box<FolderError>,
    },
    /// A path leads out of the folder, or into what is the shelf's own.
    #[error("`{0}` is no path of a release")]
    Path(String),
    /// There is no such state any more.
    #[error("the folder has no files of its state `{0}` any more")]
    Past(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Who asked is gone.
    #[error("stopped")]
    Stopped,
    /// A test's power cut.
    #[cfg(test)]
    #[error("the power failed")]
    PowerCut,
}

impl Fault for FolderError {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Busy(_) => "wait for it",
            Self::NotARelease { .. } => "publish to a new folder, or to one of an earlier release",
            Self::Catalog {
                source: CatalogError::OtherSchema { .. },
                ..
            } => "another version of wheelfarm published there; publish to a new folder",
            Self::Catalog { .. } | Self::Own { .. } => {
                "bring the file back from a copy, or publish to a new folder"
            }
            Self::OtherBytes { .. } => {
                "the file was damaged after it was published: delete it and run this again"
            }
            Self::Altered { .. } => {
                "it changed while it was published: build the job again with `wheelfarm build --force`"
            }
            Self::Changed(_) => "run it again: nothing was changed",
            Self::Lost(_) => "bring it back from a copy, or publish to a new folder",
            Self::Unfinished { .. } => "run it again: what has begun is finished first",
            Self::Missing(_) | Self::Path(_) | Self::Past(_) | Self::File(_) | Self::Stopped => {
                return None;
            }
            #[cfg(test)]
            Self::PowerCut => return None,
        };
        Some(text.to_owned())
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Altered { .. } | Self::OtherBytes { .. })
    }

    fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Unfinished { .. })
    }
}

impl FolderShelf {
    /// The shelf in a folder, which need not be there yet: nothing is written before something is
    /// brought, but what a killed run had begun is finished.
    pub fn new(folder: &Utf8Path, address: Address) -> Result<Self, FolderError> {
        let fault = |source| FileError::new("find", folder, source);
        let root = camino::absolute_utf8(folder).map_err(fault)?;
        let mut shelf = Self {
            root,
            links: Links::Relative,
            fuse: Fuse::default(),
        };
        shelf.links = match address {
            Address::Anywhere => Links::Relative,
            Address::At(base) => Links::Absolute { base },
            Address::Kept => {
                // A change that was cut may be one of them.
                if shelf.has_begun() {
                    drop(shelf.lock()?);
                }
                shelf.links_there()
            }
        };
        Ok(shelf)
    }

    /// The folder, absolute.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// As its pages point at files now. What cannot be read is told when the shelf is.
    fn links_there(&self) -> Links {
        let text = fs::read_to_string(self.root.join(catalog::FILE_NAME));
        let catalog = text.ok().and_then(|text| Catalog::parse(&text).ok());
        let pages = catalog.and_then(|catalog| catalog.pages);
        pages.map_or(Links::Relative, |pages| pages.links)
    }

    fn own(&self) -> Utf8PathBuf {
        self.root.join(OWN)
    }

    /// Keeps other runs out, and finishes what a killed one had begun.
    fn lock(&self) -> Result<Lock, FolderError> {
        files::create_folder(self.own())?;
        let lock = files::lock(self.own().join("lock"))?;
        let lock = lock.ok_or_else(|| FolderError::Busy(self.root.clone()))?;
        self.recover()?;
        Ok(lock)
    }

    fn read_now(&self) -> Result<Snapshot, FolderError> {
        if self.has_begun() {
            drop(self.lock()?);
        }
        let path = self.root.join(catalog::FILE_NAME);
        let Some(text) = read_if_there(&path)? else {
            self.refuse_a_strange_folder()?;
            return Ok(Snapshot {
                catalog: Catalog::empty(),
                head: head_of(None),
            });
        };
        let fault = |source| FolderError::Catalog {
            path: path.clone(),
            source,
        };
        let catalog = Catalog::parse(&String::from_utf8_lossy(&text)).map_err(fault)?;
        Ok(Snapshot {
            catalog,
            head: head_of(Some(&text)),
        })
    }

    fn head_now(&self) -> Result<Head, FolderError> {
        let text = read_if_there(&self.root.join(catalog::FILE_NAME))?;
        Ok(head_of(text.as_deref()))
    }

    /// A release brings a README and more: it must not fall into a folder of something else.
    fn refuse_a_strange_folder(&self) -> Result<(), FolderError> {
        let fault = |source| FileError::new("read", &self.root, source);
        let entries = match self.root.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fault(error).into()),
        };
        for entry in entries {
            let entry = entry.map_err(fault)?;
            // What a run that was killed before its first release has brought.
            let name = entry.file_name();
            if !name.starts_with('.') && name != "files" {
                return Err(FolderError::NotARelease {
                    folder: self.root.clone(),
                    found: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Copies a blob to its place. Whether it was there before.
    fn put_blob(&self, blob: &Blob) -> Result<bool, FolderError> {
        let path = self.place(&blob.path)?;
        if path.exists() {
            let there = digest_of(&path)?;
            if there != blob.sha256 {
                return Err(FolderError::OtherBytes {
                    path,
                    there,
                    wanted: blob.sha256,
                });
            }
            return Ok(true);
        }
        self.fuse.burn()?;
        let incoming = self.own().join(journal::STAGED);
        files::create_folder(&incoming)?;
        let fault = |source| FileError::new("write", &path, source);
        let mut source = files::open(blob.source.as_std_path())?;
        let staged = StagedFile::beside(incoming.join("blob").as_std_path())?;
        let mut staged = HashingWriter::new(staged);
        io::copy(&mut source, &mut staged).map_err(fault)?;
        let (staged, found, _) = staged.finish();
        if found != blob.sha256 {
            return Err(FolderError::Altered {
                path: blob.source.clone(),
                found,
                wanted: blob.sha256,
            });
        }
        self.fuse.burn()?;
        make_folders(&path)?;
        staged.persist(path.as_std_path())?;
        Ok(false)
    }

    fn bring_now(
        &self,
        blobs: &[Blob],
        told: &mpsc::Sender<(u64, u64)>,
    ) -> Result<Brought, FolderError> {
        let _lock = self.lock()?;
        let mut brought = Brought::default();
        let mut done = 0;
        for blob in blobs {
            if self.put_blob(blob)? {
                brought.unchanged += 1;
            } else {
                brought.offered_bytes += blob.size_bytes;
                brought.sent_bytes += blob.size_bytes;
            }
            done += blob.size_bytes;
            let told = told.blocking_send((done, brought.sent_bytes));
            told.map_err(|_| FolderError::Stopped)?;
        }
        Ok(brought)
    }

    fn commit_now(&self, head: &Head, change: &Change) -> Result<Head, FolderError> {
        let _lock = self.lock()?;
        if self.head_now()? != *head {
            return Err(FolderError::Changed(self.root.clone()));
        }
        for blob in &change.add {
            let path = self.place(&blob.path)?;
            let there = fs::metadata(&path).ok().map(|facts| facts.len());
            if there != Some(blob.size_bytes) {
                return Err(FolderError::Missing(path));
            }
        }
        let unfinished = |source| FolderError::Unfinished {
            folder: self.root.clone(),
            source: Box::new(source),
        };
        if let Err(error) = self.begin(change) {
            // The journal may be there all the same, and then the change happens.
            return Err(if self.has_begun() {
                unfinished(error)
            } else {
                error
            });
        }
        self.recover().map_err(unfinished)?;
        self.head_now().map_err(unfinished)
    }

    /// The place of a file of the release.
    fn place(&self, path: &str) -> Result<Utf8PathBuf, FolderError> {
        let is_inside = !path.is_empty()
            && !path.starts_with(OWN)
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if is_inside {
            Ok(self.root.join(path))
        } else {
            Err(FolderError::Path(path.to_owned()))
        }
    }

    fn file_at(&self, head: &Head, path: &str) -> Result<Option<Vec<u8>>, FolderError> {
        let place = self.place(path)?;
        // What lies by content is what it was; a page of an earlier state is made again.
        if *head == self.head_now()? || path.starts_with("files/") {
            return read_if_there(&place);
        }
        let Some(kept) = self.kept_at(head)? else {
            return Err(FolderError::Past(head.0.clone()));
        };
        let Some(pages) = &kept.catalog.pages else {
            return Err(FolderError::Past(head.0.clone()));
        };
        let layout = Layout {
            catalog: &kept.catalog,
            links: &pages.links,
            index_url: pages.index_url.as_deref(),
        };
        Ok(layout.files().remove(path))
    }

    fn files_at(&self, head: &Head) -> Result<BTreeMap<String, u64>, FolderError> {
        if *head != self.head_now()? {
            return Err(FolderError::Past(head.0.clone()));
        }
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let fault = |source| FileError::new("read", &folder, source);
            let entries = match folder.read_dir_utf8() {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(fault(error).into()),
            };
            for entry in entries {
                let entry = entry.map_err(fault)?;
                let facts = entry.metadata().map_err(fault)?;
                let path = entry.into_path();
                let inside = path.strip_prefix(&self.root).unwrap_or(&path);
                match facts.is_dir() {
                    true if inside.as_str() == OWN => {}
                    true => folders.push(path),
                    false => drop(found.insert(inside.to_string(), facts.len())),
                }
            }
        }
        Ok(found)
    }

    /// What is kept of the release at `head`. They are large, and read one after the other, from the newest.
    fn kept_at(&self, head: &Head) -> Result<Option<Kept>, FolderError> {
        for number in self.kept_numbers()? {
            let kept = self.kept_release(number)?;
            if kept.head == head.0 {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    fn kept_numbers(&self) -> Result<Vec<u64>, FolderError> {
        let folder = self.own().join(journal::RELEASES);
        let fault = |source| FileError::new("read", &folder, source);
        let entries = match folder.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fault(error).into()),
        };
        let mut numbers: Vec<u64> = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fault)?;
            let number = entry.file_name().strip_suffix(".json");
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        Ok(numbers)
    }

    fn kept_release(&self, number: u64) -> Result<Kept, FolderError> {
        let path = self.kept_path(number);
        let text = read_if_there(&path)?.unwrap_or_default();
        serde_json::from_slice(&text).map_err(|source| FolderError::Own { path, source })
    }

    fn kept_path(&self, number: u64) -> Utf8PathBuf {
        let folder = self.own().join(journal::RELEASES);
        folder.join(format!("{number}.json"))
    }

    /// Work that waits for the disk, away from the runtime's own threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, FolderError> + Send + 'static,
    ) -> Result<T, FolderError> {
        let shelf = self.clone();
        let res = tokio::task::spawn_blocking(move || work(&shelf)).await;
        res.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(FolderError::Stopped),
        })
    }
}

impl Shelf for FolderShelf {
    type Error = FolderError;

    fn address(&self) -> String {
        self.root.to_string()
    }

    fn links(&self) -> Links {
        self.links.clone()
    }

    async fn read(&self) -> Result<Snapshot, FolderError> {
        self.blocking(Self::read_now).await
    }

    async fn bring(&self, blobs: &[Blob], progress: &dyn Progress) -> Result<Brought, FolderError> {
        let (told, mut hear) = mpsc::channel(16);
        let all = blobs.iter().map(|blob| blob.size_bytes).sum();
        let blobs = blobs.to_vec();
        let work = self.blocking(move |shelf| shelf.bring_now(&blobs, &told));
        let listen = async {
            while let Some((done, sent)) = hear.recv().await {
                progress.on_progress(done, all, sent);
            }
        };
        let (brought, ()) = tokio::join!(work, listen);
        brought
    }

    async fn commit(&self, head: &Head, change: &Change) -> Result<Head, FolderError> {
        let (head, change) = (head.clone(), change.clone());
        self.blocking(move |shelf| shelf.commit_now(&head, &change))
            .await
    }

    async fn file(&self, head: &Head, path: &str) -> Result<Option<Vec<u8>>, FolderError> {
        let (head, path) = (head.clone(), path.to_owned());
        self.blocking(move |shelf| shelf.file_at(&head, &path))
            .await
    }

    async fn files(&self, head: &Head) -> Result<BTreeMap<String, u64>, FolderError> {
        let head = head.clone();
        self.blocking(move |shelf| shelf.files_at(&head)).await
    }

    async fn past(&self, limit: usize) -> Result<Vec<PastRelease>, FolderError> {
        self.blocking(move |shelf| {
            let numbers = shelf.kept_numbers()?.into_iter().take(limit);
            let kept = numbers.map(|number| shelf.kept_release(number));
            kept.map(|kept| kept.map(PastRelease::from)).collect()
        })
        .await
    }
}

/// What is kept of a release.
#[derive(Debug, Deserialize)]
struct Kept {
    title: String,
    head: String,
    catalog: Catalog,
}

impl From<Kept> for PastRelease {
    fn from(kept: Kept) -> Self {
        Self {
            release: kept.catalog.release,
            published_at: kept.catalog.published_at,
            title: kept.title,
            head: Head(kept.head),
        }
    }
}

/// The state of a folder is that of its catalog.
fn head_of(catalog: Option<&[u8]>) -> Head {
    Head(match catalog {
        Some(text) => Sha256Digest::of(text).to_string(),
        None => "none".to_owned(),
    })
}

/// Makes the folders above `path`, so that their names survive a power cut too.
fn make_folders(path: &Utf8Path) -> Result<(), FolderError> {
    let above = path.ancestors().skip(1);
    let missing: Vec<_> = above.take_while(|folder| !folder.exists()).collect();
    if let Some(folder) = path.parent() {
        files::create_folder(folder)?;
    }
    for folder in missing {
        if let Some(parent) = folder.parent() {
            files::sync_folder(parent)?;
        }
    }
    Ok(())
}

fn read_if_there(path: &Utf8Path) -> Result<Option<Vec<u8>>, FolderError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path, error).into()),
    }
}

fn digest_of(path: &Utf8Path) -> Result<Sha256Digest, FolderError> {
    let mut file = files::open(path.as_std_path())?;
    let fault = |source| FileError::new("read", path, source);
    let (digest, _) = Sha256Digest::of_reader(&mut file).map_err(fault)?;
    Ok(digest)
}

/// Where tests let the power fail: before every step that changes the disk.
#[derive(Debug, Clone, Default)]
struct Fuse {
    #[cfg(test)]
    steps: Option<std::sync::Arc<std::sync::atomic::AtomicUsize>>,
}

impl Fuse {
    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "it burns in tests alone"
    )]
    fn burn(&self) -> Result<(), FolderError> {
        Ok(())
    }

    #[cfg(test)]
    fn burn(&self) -> Result<(), FolderError> {
        use std::sync::atomic::Ordering;
        let Some(steps) = &self.steps else {
            return Ok(());
        };
        let left = steps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        left.map(drop).map_err(|_| FolderError::PowerCut)
    }
}
