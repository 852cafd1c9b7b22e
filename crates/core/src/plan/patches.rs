//! The patches of a release as texts from the disk, each there and read, or what is wrong with it.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Diagnostics, Location};
use crate::ident::PackageName;
use crate::package::PackageRelease;
use crate::source::patch::{Patch, PatchError};

/// Which patch file of which release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatchKey {
    /// The package.
    pub package: PackageName,
    /// The release's version as text.
    pub version: String,
    /// The file's name.
    pub file: String,
}

/// The patches of a release in their order, out of the texts that could be read in `folder`.
///
/// # Errors
/// Every patch that is not there or is not one, at its place in the package or in the patch.
pub fn of_release(
    package: &PackageName,
    release: &PackageRelease,
    folder: &Utf8Path,
    texts: &BTreeMap<PatchKey, String>,
) -> Result<Vec<Patch>, Diagnostics> {
    let mut patches = Vec::new();
    let mut faults = Vec::new();
    for patch in &release.patches {
        let key = PatchKey {
            package: package.clone(),
            version: release.version.value.to_string(),
            file: patch.value.clone(),
        };
        let path = format!("{folder}/{package}/{}/{}", key.version, key.file);
        let Some(text) = texts.get(&key) else {
            let message = format!("patch `{}` is not there", key.file);
            let fault = Diagnostic::new(patch.location.clone(), "missing-patch", message);
            faults.push(fault.with_hint(format!("write {path}")));
            continue;
        };
        match Patch::parse(&key.file, text) {
            Ok(patch) => patches.push(patch),
            Err(error) => faults.extend(refused(&error, &path, &patch.location)),
        }
    }
    Diagnostics::check(patches, faults)
}

/// What is wrong with a patch, before anything is fetched for it.
fn refused(error: &PatchError, path: &str, location: &Location) -> Vec<Diagnostic> {
    // These have places of their own, in the patch.
    if let PatchError::Yaml { faults, .. } = error {
        let in_patch = faults.iter().cloned().map(|mut fault| {
            path.clone_into(&mut fault.location.file);
            fault
        });
        return in_patch.collect();
    }
    let fault = Diagnostic::new(location.clone(), "bad-patch", error.to_string());
    vec![match error.hint() {
        Some(hint) => fault.with_hint(hint),
        None => fault.with_hint(
            "docs/patches.md shows each kind; `wheelfarm patch new` writes one out of a changed source",
        ),
    }]
}
