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

#[cfg(test)]
mod tests {
    use wheelfarm_core::gate::libraries::Library;

    use super::super::fixture;
    use super::*;

    /// A `site-packages` with the C library of this machine at each of `places`.
    fn site(places: &[&str]) -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        let path = path.canonicalize_utf8().unwrap();
        for place in places {
            let place = path.join(place);
            fs_err::create_dir_all(place.parent().unwrap()).unwrap();
            fs_err::copy(fixture::libc(), place).unwrap();
        }
        (folder, path)
    }

    #[track_caller]
    fn check(places: &[&str], want: Option<&str>) {
        let (_folder, path) = site(places);
        let res = folder_libraries(std::slice::from_ref(&path), None);
        let found = res.ok().map(|libraries| {
            assert!(libraries.libraries.keys().eq(["libc.so.6"]));
            libraries.libraries["libc.so.6"].path.clone()
        });
        assert_eq!(found, want.map(|place| path.join(place).into_string()));
    }

    #[test]
    fn libraries_are_found_in_their_places_and_nowhere_else() {
        check(&["libx.so"], Some("libx.so"));
        check(
            &["libx.so", "torch/lib/libx.so.6"],
            Some("torch/lib/libx.so.6"),
        );
        check(
            &["libx.so", "nvidia/cu13/lib/libx.so"],
            Some("nvidia/cu13/lib/libx.so"),
        );
        check(&["a.libs/liba.so", "b/libb.so"], Some("a.libs/liba.so"));
        check(&["nvidia/cu13/lib/stubs/libcuda.so"], None);
        check(&["torch/_C.so", "torch/lib/libx.a"], None);
        check(&[], None);
    }

    #[test]
    fn of_two_folders_the_first_counts() {
        let (_one, first) = site(&["libc.so.6"]);
        let (_two, second) = site(&["libc.so.6"]);
        let libraries = folder_libraries(&[first.clone(), second.clone()], None).unwrap();
        assert_eq!(
            libraries.libraries["libc.so.6"].path,
            first.join("libc.so.6")
        );
        assert_eq!(libraries.environment, format!("{first}, {second}"));
    }

    #[test]
    fn a_folder_without_libraries_is_an_error_that_names_it() {
        let error = folder_libraries(&["/nowhere".into()], None).unwrap_err();
        assert!(error.to_string().contains("`/nowhere`"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn this_machine_serves_its_own_programs() {
        let folder = fixture::libc().parent().unwrap().to_owned();
        let program = fixture::program();
        let libraries = folder_libraries(&[folder], Some(&program)).unwrap();
        let module = inspect(&program).unwrap();
        assert_eq!(
            libraries.interpreter,
            Some(Library::of_module(program.as_str(), &module))
        );
        let mut needed = module.symbols.needed;
        assert!(!needed.is_empty());
        let closure = libraries.closure([]);
        assert!(closure.unknown.is_empty(), "{:?}", closure.unknown);
        assert!(closure.resolve(&needed, &[]).is_empty());
        let strong = needed
            .iter_mut()
            .find(|symbol| symbol.name == "malloc")
            .expect("a shell allocates");
        strong.name.push_str("_of_tomorrow");
        let missing = closure.resolve(&needed, &[]);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].name, "malloc_of_tomorrow");
    }

    #[test]
    fn a_program_that_is_none_is_refused_as_the_interpreter() {
        let (_folder, path) = site(&["libc.so.6"]);
        let text = path.join("python");
        crate::files::write_atomic(&text, b"#!/bin/sh\nexec python3\n").unwrap();
        let error = folder_libraries(&[path], Some(&text)).unwrap_err();
        assert!(matches!(error, LibrariesError::Interpreter(_)), "{error:?}");
    }
}
