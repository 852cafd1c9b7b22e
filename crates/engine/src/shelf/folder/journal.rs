//! The change that is being made to a folder.
//!
//! Everything that is to be written is written beside its place first and then named in a journal;
//! from the moment that the journal is there the change happens, by this run or, if it is killed, by
//! the next one that opens the folder. Each step may be made again.
//!
//! The order keeps every state on the way whole: files before the pages that name them, projects'
//! pages before those that name projects, the catalog last; and what goes, goes after all of that,
//! pages before files.

use std::collections::BTreeSet;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog;

use super::{FolderError, FolderShelf, digest_of, head_of, make_folders, read_if_there};
use crate::files::{self, FileError};
use crate::shelf::Change;

/// What is written but not at its place yet.
pub(super) const STAGED: &str = "staged";

/// The catalogs of all releases.
pub(super) const RELEASES: &str = "releases";

/// The journal.
const JOURNAL: &str = "change.json";

const SCHEMA: u32 = 1;

/// A change that has begun.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    delete: Vec<String>,
    put: Vec<Put>,
    schema: u32,
    title: String,
}

/// A file that is written: the one of that number among the staged.
#[derive(Debug, Serialize, Deserialize)]
struct Put {
    path: String,
    sha256: Sha256Digest,
}

impl FolderShelf {
    fn journal(&self) -> Utf8PathBuf {
        self.own().join(JOURNAL)
    }

    fn staged(&self, number: usize) -> Utf8PathBuf {
        self.own().join(STAGED).join(number.to_string())
    }

    /// Whether a change has begun that has not ended.
    pub(super) fn has_begun(&self) -> bool {
        self.journal().exists()
    }

    /// Writes everything that a change brings beside its place, and then the journal.
    pub(super) fn begin(&self, change: &Change) -> Result<(), FolderError> {
        let staged = self.own().join(STAGED);
        files::create_folder(&staged)?;
        let mut put: Vec<_> = change.put.iter().collect();
        put.sort_by_key(|(path, _)| (rank(path), path.as_str()));
        let mut puts = Vec::new();
        for (number, (path, content)) in put.into_iter().enumerate() {
            self.place(path)?;
            self.fuse.burn()?;
            write_synced(&self.staged(number), content)?;
            puts.push(Put {
                path: path.clone(),
                sha256: Sha256Digest::of(content),
            });
        }
        files::sync_folder(&staged)?;
        let mut delete: Vec<_> = change.delete.iter().cloned().collect();
        delete.sort_by_key(|path| is_file(path));
        for path in &delete {
            self.place(path)?;
        }
        let journal = Journal {
            delete,
            put: puts,
            schema: SCHEMA,
            title: change.title.clone(),
        };
        let text = serde_json::to_value(&journal).expect("plain texts serialise");
        self.fuse.burn()?;
        files::write_atomic(self.journal(), format!("{text:#}\n").as_bytes())?;
        Ok(())
    }

    /// Finishes the change that has begun, if one has, and clears away what never came to be one. The
    /// lock must be held.
    pub(super) fn recover(&self) -> Result<(), FolderError> {
        let path = self.journal();
        if let Some(text) = read_if_there(&path)? {
            let fault = |source| FolderError::Own {
                path: path.clone(),
                source,
            };
            let journal: Journal = serde_json::from_slice(&text).map_err(fault)?;
            self.apply(&journal)?;
            self.keep(&journal)?;
            self.fuse.burn()?;
            remove_if_there(&path)?;
            files::sync_folder(self.own())?;
        }
        self.clear();
        Ok(())
    }

    /// Removes what no journal names. When that fails the next run does it: what was asked for is done.
    fn clear(&self) {
        let staged = self.own().join(STAGED);
        let res = self.fuse.burn().map(|()| fs::remove_dir_all(staged));
        match res {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "staged files left in the folder");
            }
            Ok(Ok(()) | Err(_)) | Err(_) => {}
        }
    }

    fn apply(&self, journal: &Journal) -> Result<(), FolderError> {
        let mut folders = BTreeSet::new();
        for (number, put) in journal.put.iter().enumerate() {
            let path = self.place(&put.path)?;
            let staged = self.staged(number);
            self.fuse.burn()?;
            make_folders(&path)?;
            match fs::rename(&staged, &path) {
                Ok(()) => {}
                // An earlier run has put it there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let there = path.exists() && digest_of(&path)? == put.sha256;
                    if !there {
                        return Err(FolderError::Lost(path));
                    }
                }
                Err(error) => return Err(FileError::new("write", &path, error).into()),
            }
            folders.extend(path.parent().map(Utf8Path::to_owned));
        }
        for path in &journal.delete {
            let path = self.place(path)?;
            self.fuse.burn()?;
            remove_if_there(&path)?;
            folders.insert(self.prune(&path));
        }
        for folder in folders.iter().filter(|folder| folder.exists()) {
            files::sync_folder(folder)?;
        }
        Ok(())
    }

    /// Removes the folders above a file that is gone, as far as they are empty; gives the one that
    /// stays.
    fn prune(&self, path: &Utf8Path) -> Utf8PathBuf {
        let above = path.ancestors().skip(1);
        for folder in above.take_while(|folder| *folder != self.root) {
            // A folder with something in it cannot be removed by this.
            let is_gone = match fs::remove_dir(folder) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            if !is_gone {
                return folder.to_owned();
            }
        }
        self.root.clone()
    }

    /// Keeps the catalog of the release that the change made.
    fn keep(&self, journal: &Journal) -> Result<(), FolderError> {
        if !journal.put.iter().any(|put| put.path == catalog::FILE_NAME) {
            return Ok(());
        }
        let path = self.root.join(catalog::FILE_NAME);
        let text = read_if_there(&path)?.ok_or_else(|| FolderError::Lost(path.clone()))?;
        let head = head_of(Some(&text));
        let text = String::from_utf8_lossy(&text);
        let fault = |source| FolderError::Catalog {
            path: path.clone(),
            source,
        };
        let number = catalog::Catalog::parse(&text).map_err(fault)?.release;
        let title = serde_json::Value::from(journal.title.as_str());
        let kept = format!(
            "{{\n\"catalog\": {},\n\"head\": \"{}\",\n\"schema\": {SCHEMA},\n\"title\": {title}\n}}\n",
            text.trim_end(),
            head.0
        );
        self.fuse.burn()?;
        let path = self.kept_path(number);
        make_folders(&path)?;
        files::write_atomic(path, kept.as_bytes())?;
        Ok(())
    }
}

/// In which order files are put: what is named before what names it.
fn rank(path: &str) -> u8 {
    match path {
        path if is_file(path) => 0,
        catalog::FILE_NAME => 3,
        path if !path.contains('/') || path == "whl/index.html" => 2,
        path if path.ends_with("/simple/index.html") || path.ends_with("/simple/index.json") => 2,
        _ => 1,
    }
}

fn is_file(path: &str) -> bool {
    path.starts_with("files/")
}

fn write_synced(path: &Utf8Path, content: &[u8]) -> Result<(), FolderError> {
    let write = || {
        let mut file = fs::File::create(path)?;
        io::Write::write_all(&mut file, content)?;
        file.sync_all()
    };
    write().map_err(|source| FileError::new("write", path, source).into())
}

fn remove_if_there(path: &Utf8Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error).into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
