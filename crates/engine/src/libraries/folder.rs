//! The libraries in folders of this machine.

use std::collections::BTreeSet;
use std::io;

use camino::{Utf8DirEntry, Utf8Path, Utf8PathBuf};
use wheelfarm_core::gate::libraries::Libraries;
use wheelfarm_core::read_at::SeekBytes;
use wheelfarm_core::wheel::elf::{self, ElfError, Module};

use super::error::LibrariesError;
use super::gather::Gathering;
use crate::files::FileError;

/// The libraries in `folders`: each is a folder of libraries, or a `site-packages` with torch's,
/// NVIDIA's and bundled ones in their places. Of two libraries of one name the first counts.
///
/// Without an `interpreter`, nobody can say whether Python's symbols are there, and the libraries
/// say so.
pub fn folder_libraries(
    folders: &[Utf8PathBuf],
    interpreter: Option<&Utf8Path>,
) -> Result<Libraries, LibrariesError> {
    let mut gathering = Gathering::default();
    if let Some(path) = interpreter {
        gathering.interpreter(path.as_str(), inspect(path))?;
    }
    let mut seen = BTreeSet::new();
    for folder in folders {
        let before = seen.len();
        for path in paths(folder)? {
            let fault = |source| FileError::new("read", &path, source);
            let real = path.canonicalize_utf8().map_err(fault)?;
            if real.is_file() && seen.insert(real.clone()) {
                gathering.library(real.as_str(), inspect(&real));
            }
        }
        if seen.len() == before {
            let folder = folder.clone();
            return Err(LibrariesError::NoLibraries { folder });
        }
    }
    let environment = folders.iter().map(|folder| folder.as_str());
    let environment = environment.collect::<Vec<_>>().join(", ");
    tracing::debug!(environment, libraries = gathering.len(), "symbols read");
    Ok(gathering.finish(environment))
}

fn inspect(path: &Utf8Path) -> Result<Module, ElfError> {
    let file = fs_err::File::open(path)?;
    elf::inspect(path.as_str(), &mut SeekBytes::new(file)?)
}

/// The shared libraries that belong to `folder`, in the loader's order: torch's own come first, for
/// torch is imported first. `dockerfiles/libraries.py` has the same rule.
fn paths(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, FileError> {
    let mut found = libraries_in(&folder.join("torch/lib"))?;
    found.extend(nvidia(&folder.join("nvidia"))?);
    for path in entries(folder)? {
        if path.extension() == Some("libs") {
            found.extend(libraries_in(&path)?);
        }
    }
    found.extend(libraries_in(folder)?);
    Ok(found)
}

/// What is in any `lib` below `folder`, for NVIDIA's packages lie in folders of any depth.
fn nvidia(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, FileError> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() && !path.is_symlink() {
            if path.file_name() == Some("lib") {
                found.extend(libraries_in(&path)?);
            }
            found.extend(nvidia(&path)?);
        }
    }
    Ok(found)
}

fn libraries_in(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, FileError> {
    let mut found = entries(folder)?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default();
        // A link that leads nowhere is no library.
        (path.extension() == Some("so") || name.contains(".so.")) && path.exists()
    });
    Ok(found)
}

/// What is in a folder, by name; nothing when it is not there.
fn entries(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, FileError> {
    let fault = |source| FileError::new("read", folder, source);
    let listing = match folder.read_dir_utf8() {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let paths = listing.map(|entry| entry.map(Utf8DirEntry::into_path));
    let mut found = paths.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    found.sort();
    Ok(found)
}
