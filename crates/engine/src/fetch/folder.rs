//! Folders of this machine as sources.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wheelfarm_core::source::{FileMode, SourceTree, TreeCaps, TreeEntry, TreeError, TreePath};

use super::FetchError;
use crate::files::{self, FileError};

/// Reads the files below `folder`, without what building and running leave there.
pub(super) fn read(folder: &Path, caps: &TreeCaps) -> Result<SourceTree, FetchError> {
    let path = folder.to_owned();
    if !folder.is_dir() {
        return Err(FetchError::NoFolder { path });
    }
    let mut walk = Walk {
        root: path,
        caps,
        tree: SourceTree::new(),
        total_bytes: 0,
        members: 0,
        waiting: vec![None],
    };
    while let Some(folder) = walk.waiting.pop() {
        walk.folder(folder.as_ref())?;
    }
    if walk.tree.is_empty() {
        return Err(walk.refused(TreeError::Empty));
    }
    Ok(walk.tree)
}

struct Walk<'a> {
    root: PathBuf,
    caps: &'a TreeCaps,
    tree: SourceTree,
    total_bytes: u64,
    members: u64,
    /// Folders that are still to be read; none is the root.
    waiting: Vec<Option<TreePath>>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: Option<&TreePath>) -> Result<(), FetchError> {
        let place = match folder {
            Some(folder) => self.root.join(folder.as_str()),
            None => self.root.clone(),
        };
        let fault = |source| FileError::new("read", &place, source);
        for entry in place.read_dir().map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let path = entry.path().display().to_string();
                return Err(self.refused(TreeError::NotUtf8 { path }));
            };
            if is_ignored(name, folder.is_none()) {
                continue;
            }
            let path = match folder {
                Some(folder) => format!("{folder}/{name}"),
                None => name.to_owned(),
            };
            let path: TreePath = path.parse().map_err(|error| {
                let error: wheelfarm_core::source::TreePathError = error;
                self.refused(error.into())
            })?;
            self.member(path, &entry.path())?;
        }
        Ok(())
    }

    fn member(&mut self, path: TreePath, place: &Path) -> Result<(), FetchError> {
        self.members += 1;
        if self.members > self.caps.members {
            let cap = self.caps.members;
            return Err(self.refused(TreeError::TooManyMembers { cap }));
        }
        let fault = |source| FileError::new("read", place, source);
        let metadata = place.symlink_metadata().map_err(fault)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.waiting.push(Some(path));
            return Ok(());
        }
        let entry = if kind.is_symlink() {
            let target = place.read_link().map_err(fault)?;
            let target = target.into_os_string().into_string().map_err(|target| {
                let path = target.display().to_string();
                self.refused(TreeError::NotUtf8 { path })
            })?;
            TreeEntry::Symlink { target }
        } else if kind.is_file() {
            self.file(&path, place, &metadata)?
        } else {
            let kind = if kind.is_fifo() {
                "named pipe"
            } else if kind.is_socket() {
                "socket"
            } else {
                "device"
            };
            let path = path.to_string();
            return Err(self.refused(TreeError::SpecialFile { path, kind }));
        };
        self.tree
            .insert(path, entry)
            .map_err(|error| self.refused(error))
    }

    fn file(
        &mut self,
        path: &TreePath,
        place: &Path,
        metadata: &Metadata,
    ) -> Result<TreeEntry, FetchError> {
        let length_bytes = metadata.len();
        if length_bytes > self.caps.member_bytes {
            return Err(self.refused(TreeError::MemberTooLarge {
                path: path.clone(),
                cap_bytes: self.caps.member_bytes,
            }));
        }
        self.total_bytes = self.total_bytes.saturating_add(length_bytes);
        if self.total_bytes > self.caps.total_bytes {
            let cap_bytes = self.caps.total_bytes;
            return Err(self.refused(TreeError::TooLarge { cap_bytes }));
        }
        let mut bytes = Vec::new();
        // One byte more than there should be shows a file that grows.
        let mut reader = files::open(place)?.take(length_bytes.saturating_add(1));
        reader
            .read_to_end(&mut bytes)
            .map_err(|source| FileError::new("read", place, source))?;
        if u64::try_from(bytes.len()) != Ok(length_bytes) {
            return Err(FetchError::Changed { path: path.clone() });
        }
        Ok(TreeEntry::File {
            bytes: bytes.into(),
            mode: FileMode::from_bits(metadata.permissions().mode()),
        })
    }

    fn refused(&self, source: TreeError) -> FetchError {
        FetchError::Tree {
            what: format!("folder `{}`", self.root.display()),
            source,
        }
    }
}

/// The files of a tree that [`read`] would see if they lay in a folder.
pub(super) fn seen(tree: &SourceTree) -> SourceTree {
    let mut seen = SourceTree::new();
    for (path, entry) in tree.iter() {
        let mut names = path.as_str().split('/').enumerate();
        if names.any(|(depth, name)| is_ignored(name, depth == 0)) {
            continue;
        }
        seen.insert(path.clone(), entry.clone())
            .expect("what is no fault in a tree is none in a part of it");
    }
    seen
}

/// Whether a name is that of a product of building or running, or of the repository itself.
///
/// `build` and `dist` are such at the top only; deeper they are packages like any other.
fn is_ignored(name: &str, at_top: bool) -> bool {
    matches!(name, ".git" | "__pycache__")
        || name.strip_suffix(".egg-info").is_some()
        || (at_top && matches!(name, "build" | "dist"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::files::write_atomic;

    fn write(folder: &Path, path: &str, text: &str) {
        let place = folder.join(path);
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        write_atomic(&place, text.as_bytes()).unwrap();
    }

    fn paths(tree: &SourceTree) -> Vec<&str> {
        tree.iter().map(|(path, _)| path.as_str()).collect()
    }

    fn refused(folder: &Path) -> String {
        let error = read(folder, &TreeCaps::default()).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[test]
    fn products_of_building_stay_out() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "setup.py",
            "pkg/build/__init__.py",
            "pkg/__pycache__/x.pyc",
            "pkg.egg-info/PKG-INFO",
            "build/lib/x.so",
            "dist/x.whl",
            ".git/config",
            "sub/.git",
            "sub/x.cu",
            ".gitignore",
        ] {
            write(folder.path(), path, path);
        }
        symlink("../setup.py", folder.path().join("pkg/link")).unwrap();
        let tree = read(folder.path(), &TreeCaps::default()).unwrap();
        assert_eq!(
            paths(&tree),
            [
                ".gitignore",
                "pkg/build/__init__.py",
                "pkg/link",
                "setup.py",
                "sub/x.cu"
            ]
        );
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(refused(folder.path()), "it holds no file");
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert!(refused(folder.path()).starts_with("link `link` points to `/etc/passwd`"));
        fs_err::remove_file(folder.path().join("link")).unwrap();
        let _listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        assert_eq!(
            refused(folder.path()),
            "`socket` is a socket, not a file, folder or link"
        );
        let error = read(&folder.path().join("none"), &TreeCaps::default()).unwrap_err();
        assert!(matches!(error, FetchError::NoFolder { .. }), "{error:?}");
    }

    #[test]
    fn caps_hold() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "12345");
        write(folder.path(), "b", "12345");
        let caps = |member_bytes, total_bytes, members| TreeCaps {
            member_bytes,
            total_bytes,
            members,
        };
        assert!(read(folder.path(), &caps(5, 10, 2)).is_ok());
        for caps in [caps(4, 10, 2), caps(5, 9, 2), caps(5, 10, 1)] {
            assert!(read(folder.path(), &caps).is_err(), "{caps:?}");
        }
    }
}
