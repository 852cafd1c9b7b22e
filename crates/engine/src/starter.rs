//! Writes a new farm into a folder: all of it or nothing, and over nothing that is there.

use std::io;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use wheelfarm_core::starter::{IfThere, StarterFile};

use crate::files::{FileError, PART_PREFIX, create_folder, sync_folder, write_atomic};

/// What became of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Those that are new.
    pub new: Vec<Utf8PathBuf>,
    /// Those that were there, word for word.
    pub same: Vec<Utf8PathBuf>,
    /// Those that were there with other words, and were left alone.
    pub kept: Vec<Utf8PathBuf>,
}

/// Why a farm was not written. Nothing of it is there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Something is in the way.
    #[error("`{folder}` has other files where the farm's would be: {}", list(.taken))]
    Taken {
        /// The folder.
        folder: Utf8PathBuf,
        /// What is in the way.
        taken: Vec<Utf8PathBuf>,
    },
    /// This machine's disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// At most a handful: a whole repository may be in the way.
fn list(paths: &[Utf8PathBuf]) -> String {
    const MOST: usize = 5;
    let shown: Vec<_> = paths.iter().take(MOST).map(|path| path.as_str()).collect();
    let more = match paths.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// The repository of git's that `folder`, which need not be there, lies inside of; none where it is the top
/// of one itself.
pub fn repository_around(folder: &Utf8Path) -> Option<Utf8PathBuf> {
    let place = resolved(&camino::absolute_utf8(folder).ok()?);
    // A work tree of a repository has a file of that name.
    let is_top = |folder: &&Utf8Path| folder.join(".git").exists();
    let top = place.ancestors().find(is_top)?;
    (top != place).then(|| top.to_owned())
}

/// Where an absolute path leads, of which not all need be there. What is not there is no link, so its `..` is the
/// folder that its words name.
fn resolved(absolute: &Utf8Path) -> Utf8PathBuf {
    for above in absolute.ancestors() {
        let (Ok(mut place), Ok(rest)) = (above.canonicalize_utf8(), absolute.strip_prefix(above))
        else {
            continue;
        };
        for part in rest.components() {
            match part {
                Utf8Component::Normal(name) => place.push(name),
                Utf8Component::ParentDir => {
                    place.pop();
                }
                Utf8Component::CurDir | Utf8Component::RootDir | Utf8Component::Prefix(_) => {}
            }
        }
        return place;
    }
    absolute.to_owned()
}

/// Says what would become of `files` in `folder`, which need not be there.
pub fn look(folder: &Utf8Path, files: &[StarterFile]) -> Result<Written, WriteError> {
    let mut found = Written::default();
    let mut taken = Vec::new();
    for file in files {
        let path = Utf8PathBuf::from(&file.path);
        match there(folder, &path)? {
            There::Nothing => found.new.push(path),
            There::File(text) if text == file.text.as_bytes() => found.same.push(path),
            There::File(_) => match file.if_there {
                IfThere::Keep => found.kept.push(path),
                IfThere::Refuse => taken.push(path),
            },
            There::InTheWay(what) => taken.push(what),
        }
    }
    if taken.is_empty() {
        return Ok(found);
    }
    taken.dedup();
    let folder = folder.to_owned();
    Err(WriteError::Taken { folder, taken })
}

/// What lies at a file's place.
enum There {
    Nothing,
    File(Vec<u8>),
    /// Something that is no file, or a file where a folder would be.
    InTheWay(Utf8PathBuf),
}

fn there(folder: &Utf8Path, path: &Utf8Path) -> Result<There, FileError> {
    for above in path.ancestors().skip(1).filter(|one| *one != "") {
        // A folder behind a link is somebody's choice.
        match fs_err::metadata(folder.join(above)) {
            Ok(found) if !found.is_dir() => return Ok(There::InTheWay(above.to_owned())),
            Ok(_) | Err(_) => {}
        }
    }
    let place = folder.join(path);
    match fs_err::metadata(&place) {
        Ok(found) if found.is_file() => match fs_err::read(&place) {
            Ok(text) => Ok(There::File(text)),
            Err(error) => Err(FileError::new("read", &place, error)),
        },
        Ok(_) => Ok(There::InTheWay(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere is not followed and not replaced.
            Ok(match place.symlink_metadata() {
                Ok(_) => There::InTheWay(path.to_owned()),
                Err(_) => There::Nothing,
            })
        }
        Err(error) => Err(FileError::new("look at", &place, error)),
    }
}

/// Writes what is not there of `files` into `folder`.
///
/// They are staged inside of it and linked into their places in the order given, which fails where
/// something has come up since; what was linked by then is taken back. A run that is killed midway
/// leaves a farm without its last file, and the next run goes on with it.
pub fn write(folder: &Utf8Path, files: &[StarterFile]) -> Result<Written, WriteError> {
    let found = look(folder, files)?;
    let mut placed = Placed::default();
    match place(folder, files, &found, &mut placed) {
        Ok(()) => Ok(found),
        Err(error) => {
            placed.take_back();
            Err(error.into())
        }
    }
}

/// What was made so far.
#[derive(Debug, Default)]
struct Placed {
    files: Vec<Utf8PathBuf>,
    folders: Vec<Utf8PathBuf>,
}

impl Placed {
    /// Removes files, and folders that are empty then; what cannot be removed is told by the error
    /// that led here.
    fn take_back(self) {
        for file in self.files.iter().rev() {
            fs_err::remove_file(file).ok();
        }
        for folder in self.folders.iter().rev() {
            fs_err::remove_dir(folder).ok();
        }
    }

    /// Makes a folder and those above it.
    fn folder(&mut self, path: &Utf8Path) -> Result<(), FileError> {
        let missing = path
            .ancestors()
            .take_while(|one| *one != "" && !one.exists());
        let missing: Vec<_> = missing.map(Utf8Path::to_owned).collect();
        create_folder(path)?;
        self.folders.extend(missing.into_iter().rev());
        Ok(())
    }
}

fn place(
    folder: &Utf8Path,
    files: &[StarterFile],
    found: &Written,
    placed: &mut Placed,
) -> Result<(), FileError> {
    if found.new.is_empty() {
        return Ok(());
    }
    placed.folder(folder)?;
    let fault = |source| FileError::new("write into", folder, source);
    let staged = tempfile::Builder::new()
        .prefix(PART_PREFIX)
        .tempdir_in(folder)
        .map_err(fault)?;
    let new = |file: &&StarterFile| found.new.iter().any(|path| *path == file.path);
    let new: Vec<_> = files.iter().filter(new).collect();
    for (number, file) in new.iter().enumerate() {
        write_atomic(staged.path().join(number.to_string()), file.text.as_bytes())?;
    }
    for (number, file) in new.iter().enumerate() {
        let path = folder.join(&file.path);
        let above = path.parent().unwrap_or(folder).to_owned();
        placed.folder(&above)?;
        // link(2) replaces nothing, which rename(2) would.
        fs_err::hard_link(staged.path().join(number.to_string()), &path)
            .map_err(|source| FileError::new("write", &path, source))?;
        placed.files.push(path);
        sync_folder(&above)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, if_there: IfThere) -> StarterFile {
        StarterFile {
            path: path.to_owned(),
            text: format!("text of {path}\n"),
            if_there,
        }
    }

    fn farm() -> Vec<StarterFile> {
        vec![
            file("README.md", IfThere::Keep),
            file("packages/demo/package.yaml", IfThere::Refuse),
            file("matrix.yaml", IfThere::Refuse),
        ]
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> Utf8PathBuf {
            Utf8PathBuf::from_path_buf(self.0.path().to_owned()).unwrap()
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }

        /// Every file and folder below it.
        fn all(&self) -> Vec<String> {
            let mut found = Vec::new();
            let mut folders = vec![self.path()];
            while let Some(folder) = folders.pop() {
                for entry in folder.read_dir_utf8().unwrap() {
                    let path = entry.unwrap().into_path();
                    found.push(path.strip_prefix(self.path()).unwrap().to_string());
                    if path.is_dir() {
                        folders.push(path);
                    }
                }
            }
            found.sort();
            found
        }
    }

    #[test]
    fn a_farm_is_written_beside_what_a_repository_has() {
        let folder = Folder::new();
        folder.put("README.md", "mine\n");
        folder.put("src/main.py", "x\n");
        let written = write(&folder.path(), &farm()).unwrap();
        assert_eq!(written.kept, ["README.md"]);
        assert_eq!(written.new, ["packages/demo/package.yaml", "matrix.yaml"]);
        let all = [
            "README.md",
            "matrix.yaml",
            "packages",
            "packages/demo",
            "packages/demo/package.yaml",
            "src",
            "src/main.py",
        ];
        assert_eq!(folder.all(), all);
        let readme = fs_err::read_to_string(folder.path().join("README.md")).unwrap();
        assert_eq!(readme, "mine\n");
    }

    #[test]
    fn a_folder_is_made_and_a_second_run_changes_nothing() {
        let folder = Folder::new();
        let new = folder.path().join("a/b");
        let first = write(&new, &farm()).unwrap();
        assert_eq!(first.new.len(), 3);
        let second = write(&new, &farm()).unwrap();
        assert_eq!((second.new.len(), second.same.len()), (0, 3));
    }

    #[test]
    fn what_a_killed_run_left_is_gone_on_with() {
        let folder = Folder::new();
        folder.put(
            "packages/demo/package.yaml",
            "text of packages/demo/package.yaml\n",
        );
        let written = write(&folder.path(), &farm()).unwrap();
        assert_eq!(written.new, ["README.md", "matrix.yaml"]);
        assert_eq!(written.same, ["packages/demo/package.yaml"]);
    }

    #[track_caller]
    fn refused(folder: &Folder, want: &str) {
        let before = folder.all();
        let error = write(&folder.path(), &farm()).unwrap_err().to_string();
        let place = folder.path();
        assert_eq!(
            error,
            format!("`{place}` has other files where the farm's would be: {want}")
        );
        assert_eq!(folder.all(), before, "nothing is written");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = Folder::new();
        folder.put("matrix.yaml", "mine\n");
        folder.put("packages/demo/package.yaml", "mine\n");
        refused(&folder, "packages/demo/package.yaml, matrix.yaml");

        let folder = Folder::new();
        folder.put("packages", "a file\n");
        refused(&folder, "packages");

        let folder = Folder::new();
        fs_err::create_dir_all(folder.path().join("matrix.yaml")).unwrap();
        refused(&folder, "matrix.yaml");

        let folder = Folder::new();
        fs_err::os::unix::fs::symlink("/nonexistent/x", folder.path().join("matrix.yaml")).unwrap();
        refused(&folder, "matrix.yaml");
    }

    #[test]
    fn a_new_folder_lies_where_its_path_leads() {
        let folder = Folder::new();
        folder.put("r/.git/HEAD", "x");
        folder.put("r/in/x", "x");
        folder.put("out/x", "x");
        let root = folder.path().canonicalize_utf8().unwrap();
        fs_err::os::unix::fs::symlink(root.join("out"), root.join("r/leads-out")).unwrap();
        fs_err::os::unix::fs::symlink(root.join("r/in"), root.join("leads-in")).unwrap();
        for outside in [
            "new",
            "r",
            "r/../new",
            "r/in/../../new",
            "r/none/../../new",
            "r/leads-out/new",
            "r/leads-out/../new",
        ] {
            let around = repository_around(&root.join(outside));
            assert_eq!(around, None, "{outside}");
        }
        for inside in [
            "r/new",
            "r/in",
            "r/none/../new",
            "out/../r/./new",
            "r/leads-out/../r/new",
            "leads-in/new",
            "leads-in/../new",
        ] {
            let around = repository_around(&root.join(inside));
            assert_eq!(around, Some(root.join("r")), "{inside}");
        }
    }

    #[test]
    fn what_was_placed_is_taken_back_when_the_rest_fails() {
        let folder = Folder::new();
        let mut files = farm();
        // Comes up after the look: two files of one name.
        files.push(file("matrix.yaml", IfThere::Refuse));
        let error = write(&folder.path().join("new"), &files).unwrap_err();
        assert!(matches!(error, WriteError::File(_)), "{error}");
        assert!(folder.all().is_empty(), "{:?}", folder.all());
    }
}
