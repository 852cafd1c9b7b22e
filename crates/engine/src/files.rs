//! Files that are complete or not there: written beside their place, synced, renamed into it.

use std::error::Error;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::crash_point;

/// What a file is called while it is written; a crash leaves such a file behind, and nothing reads
/// it.
pub(crate) const PART_PREFIX: &str = ".part-";

/// A file or folder that could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} `{}`", .path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl FileError {
    /// The error of `action` (`write`, `read`) on `path`.
    pub fn new(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// Where it happened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the disk or the user's share of it is full: nothing that runs now can go on, and
    /// the same thing works again when there is room.
    pub fn is_disk_full(&self) -> bool {
        is_disk_full(&self.source)
    }
}

/// Whether an error, or what is behind it, says that the disk or the user's share of it is full.
pub fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        })
}

/// Writes `bytes` to `path`, replacing what is there: a reader sees the old file or the new one,
/// also after a crash. The folder must exist.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    let mut staged = StagedFile::beside(path)?;
    staged
        .write_all(bytes)
        .map_err(|source| FileError::new("write", path, source))?;
    staged.persist(path)
}

/// Writes `bytes` to a file of the user's own: a link stays, and so do the rights of the file that it
/// leads to.
pub fn rewrite(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    let failed = |source| FileError::new("write", path, source);
    let real = fs_err::canonicalize(path).map_err(failed)?;
    let rights = fs_err::metadata(&real).map_err(failed)?.permissions();
    write_atomic(&real, bytes)?;
    fs_err::set_permissions(&real, rights).map_err(failed)
}

/// Copies a file to `to`, which holds the whole copy or what it held before.
pub fn copy_atomic(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), FileError> {
    let to = to.as_ref();
    let mut source = open(from.as_ref())?;
    let mut staged = StagedFile::beside(to)?;
    io::copy(&mut source, &mut staged).map_err(|source| FileError::new("write", to, source))?;
    staged.persist(to)
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &(impl AsRef<Path> + ?Sized)) -> &Path {
    match path.as_ref().parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}

/// Makes the names in a folder survive a power cut.
pub fn sync_folder(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    open(path)?
        .sync_all()
        .map_err(|source| FileError::new("sync", path, source))
}

/// Creates a folder and those above it.
pub fn create_folder(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    std::fs::create_dir_all(path).map_err(|source| FileError::new("create", path, source))
}

/// A file that keeps other processes out while it is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock at `path`, making the file if need be; `None` when another process holds it.
pub fn lock(path: impl AsRef<Path>) -> Result<Option<Lock>, FileError> {
    let path = path.as_ref();
    let fault = |source| FileError::new("lock", path, source);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(fault)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(fault(source)),
    }
}

/// The text of a file.
pub fn read_text(path: impl AsRef<Path>) -> Result<String, FileError> {
    let path = path.as_ref();
    let mut text = String::new();
    open(path)?
        .read_to_string(&mut text)
        .map_err(|source| FileError::new("read", path, source))?;
    Ok(text)
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .read(true)
        .open(path)
        .map_err(|source| FileError::new("open", path, source))
}

/// A file that is being written beside its place. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct StagedFile {
    file: NamedTempFile,
}

impl StagedFile {
    /// Begins a file that is to be at `path`, in the same folder, so that it can be renamed.
    pub(crate) fn beside(path: &Path) -> Result<Self, FileError> {
        let folder = folder_of(path);
        let file = tempfile::Builder::new()
            .prefix(PART_PREFIX)
            // The library's default is 0600, which others that share a cache cannot read.
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(|source| FileError::new("write into", folder, source))?;
        Ok(Self { file })
    }

    /// Syncs the content, puts the file at `path` and syncs the name.
    pub(crate) fn persist(self, path: &Path) -> Result<(), FileError> {
        let fault = |source| FileError::new("write", path, source);
        self.file.as_file().sync_all().map_err(fault)?;
        crash_point::reach("before a file is renamed into its place");
        self.file
            .persist(path)
            .map_err(|error| fault(error.error))?;
        crash_point::reach("after a file is renamed into its place");
        sync_folder(folder_of(path))
    }
}

impl Write for StagedFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs_err::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"new");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o444, 0o444, "others read it");
        assert_eq!(names(folder.path()), ["manifest.json"]);
    }

    #[test]
    fn what_is_not_persisted_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut staged = StagedFile::beside(&folder.path().join("x")).unwrap();
        staged.write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(staged);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn errors_name_the_path_and_tell_a_full_disk() {
        let error = write_atomic(Path::new("/nowhere/x"), b"").unwrap_err();
        assert_eq!(error.to_string(), "failed to write into `/nowhere`");
        assert!(!error.is_disk_full());
        // ENOSPC and EDQUOT of Linux.
        for code in [28, 122] {
            let source = io::Error::from_raw_os_error(code);
            assert!(FileError::new("write", Path::new("x"), source).is_disk_full());
        }
    }

    #[test]
    fn a_really_full_disk_is_told() {
        // Every write to this device fails with ENOSPC.
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let source = full.write_all(b"x").unwrap_err();
        assert!(is_disk_full(&source));
    }
}
