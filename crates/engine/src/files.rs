//! Files that are whole or absent, whatever happens while they are written.

use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to write `{path}`")]
pub struct FileError {
    path: Utf8PathBuf,
    #[source]
    source: io::Error,
}

impl FileError {
    /// `source` happened at `path`.
    pub fn new(path: &Utf8Path, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether a full disk, or a quota, is the cause.
    pub fn is_disk_full(&self) -> bool {
        is_disk_full(&self.source)
    }
}

/// Whether a full disk, or a quota, is behind `error`.
pub fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        })
}

/// Writes a file by way of a temporary one beside it: a reader sees the old content or the new.
pub fn write_atomic(path: &Utf8Path, content: &[u8]) -> Result<(), FileError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Utf8Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| FileError::new(path, source))
}

/// Makes a folder's entries survive a power cut.
pub fn sync_folder(path: &Utf8Path) -> Result<(), FileError> {
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FileError::new(path, source))
}
