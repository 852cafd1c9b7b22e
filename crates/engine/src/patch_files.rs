//! Writes patches into the folder of a release.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::source::patch::Patch;

use crate::files::{self, FileError};

/// Whether a patch may take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// One that is there with another content is left.
    Refuse,
    /// Whatever is there goes.
    Allow,
}

/// Patches could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WritePatchError {
    /// A file of that name is there and says something else.
    #[error("`{path}` is there with another content")]
    Differs {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes `patches` into `folder`, which is made if need be. When one must not be written, none is.
pub fn write(
    folder: &Utf8Path,
    patches: &[&Patch],
    overwrite: Overwrite,
) -> Result<(), WritePatchError> {
    if overwrite == Overwrite::Refuse {
        for patch in patches {
            let path = folder.join(patch.name());
            match fs_err::read(&path) {
                Ok(there) if there != patch.text().as_bytes() => {
                    return Err(WritePatchError::Differs { path });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FileError::new("read", &path, error).into()),
            }
        }
    }
    files::create_folder(folder.as_std_path())?;
    for patch in patches {
        files::write_atomic(folder.join(patch.name()), patch.text().as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(name: &str, to: &str) -> Patch {
        let text = format!(
            "Why: a\nUpstream: b\nDrop-when: c\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+{to}\n"
        );
        Patch::parse(name, &text).unwrap()
    }

    #[test]
    fn a_patch_that_says_something_else_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap().join("demo/1.0");
        let (one, two, other) = (
            patch("1.patch", "b"),
            patch("2.patch", "b"),
            patch("2.patch", "c"),
        );
        write(&folder, &[&two], Overwrite::Refuse).unwrap();
        write(&folder, &[&two], Overwrite::Refuse).unwrap();
        let error = write(&folder, &[&one, &other], Overwrite::Refuse).unwrap_err();
        assert!(matches!(error, WritePatchError::Differs { .. }), "{error}");
        assert!(!folder.join("1.patch").exists(), "none is written");
        write(&folder, &[&one, &other], Overwrite::Allow).unwrap();
        let text = fs_err::read_to_string(folder.join("2.patch")).unwrap();
        assert_eq!(text, other.text());
    }
}
