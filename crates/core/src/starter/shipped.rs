//! The packages of this repository, built into the program.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::ident::PackageName;
use crate::package::{self, Kernels, Package, PackageRelease};
use crate::plan::PatchKey;
use crate::version::PackageVersion;

/// Every file of `packages/` and `patches/`, by its path from the top of a farm.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped_files.rs"));

static PACKAGES: LazyLock<BTreeMap<PackageName, Package>> = LazyLock::new(|| {
    let packages = FILES.iter().filter_map(|(path, text)| {
        let name = path.strip_prefix("packages/")?;
        let name = name.strip_suffix("/package.yaml")?;
        let package = package::parse(path, text).expect("a test reads every package");
        Some((
            name.parse().expect("a folder has its package's name"),
            package,
        ))
    });
    packages.collect()
});

static PATCHES: LazyLock<BTreeMap<PatchKey, String>> = LazyLock::new(|| {
    let patches = FILES.iter().filter_map(|(path, text)| {
        let mut parts = path.strip_prefix("patches/")?.splitn(3, '/');
        let key = PatchKey {
            package: parts.next()?.parse().ok()?,
            version: parts.next()?.to_owned(),
            file: parts.next()?.to_owned(),
        };
        Some((key, (*text).to_owned()))
    });
    patches.collect()
});

/// The packages, by name.
pub fn packages() -> &'static BTreeMap<PackageName, Package> {
    &PACKAGES
}

/// The texts of their patches.
pub(super) fn patches() -> &'static BTreeMap<PatchKey, String> {
    &PATCHES
}

/// The files of a package: path from the top of a farm, and text.
pub(super) fn files(package: &PackageName) -> impl Iterator<Item = (&'static str, &'static str)> {
    let folders = ["packages", "patches"].map(|folder| format!("{folder}/{package}/"));
    let is_of_it = move |path: &str| folders.iter().any(|folder| path.starts_with(folder));
    FILES
        .iter()
        .copied()
        .filter(move |(path, _)| is_of_it(path))
}

/// The releases that are tried for a package: the one that was asked for, else finished ones, the
/// newest first, and of its kind alone: a line of Triton kernels is another thing than an older release
/// of compiled ones. Variants are for who knows why.
pub(super) fn releases<'a>(
    package: &'a Package,
    asked: Option<&PackageVersion>,
) -> Vec<&'a PackageRelease> {
    let mut releases = match asked {
        Some(version) => plain(package)
            .filter(|one| one.version.value == *version)
            .collect(),
        None => finished(package),
    };
    let is_triton = |release: &PackageRelease| release.kernels == Kernels::JustInTime;
    if let Some(newest) = releases.first().map(|newest| is_triton(newest)) {
        releases.retain(|release| is_triton(release) == newest);
    }
    releases
}

/// All finished releases of a package, the newest first.
pub(super) fn finished(package: &Package) -> Vec<&PackageRelease> {
    let mut finished: Vec<_> = plain(package)
        .filter(|one| !one.version.value.is_prerelease())
        .collect();
    finished.sort_by(|one, other| other.version.value.cmp(&one.version.value));
    finished
}

fn plain(package: &Package) -> impl Iterator<Item = &PackageRelease> {
    package.releases.iter().filter(|one| one.variant.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_that_a_package_names_is_there() {
        for package in packages().values() {
            let paths: Vec<_> = files(&package.name).map(|(path, _)| path).collect();
            let name = &package.name;
            let test = package.test.as_ref().map(|test| &test.value);
            let test = format!("packages/{name}/{}", test.unwrap());
            assert!(paths.contains(&test.as_str()), "{test}");
            for release in &package.releases {
                for patch in &release.patches {
                    let (version, patch) = (&release.version.value, &patch.value);
                    let path = format!("patches/{name}/{version}/{patch}");
                    assert!(paths.contains(&path.as_str()), "{path}");
                }
            }
        }
        assert!(packages().len() >= 14, "{}", packages().len());
    }

    #[test]
    fn a_package_without_a_version_is_its_newest_finished_release() {
        let newest = |name: &str, asked: Option<&str>| {
            let asked = asked.map(|text| text.parse().unwrap());
            let package = &packages()[&name.parse().unwrap()];
            let releases = releases(package, asked.as_ref());
            releases.first().map(|one| one.version.value.to_string())
        };
        assert_eq!(newest("sageattention", None).unwrap(), "2.2.0");
        let development = Some("2.2.1.dev20260117");
        assert_eq!(
            newest("sageattention", development),
            development.map(str::to_owned)
        );
        assert_eq!(newest("sageattention", Some("9.9")), None);
        assert_eq!(newest("flash-attn", None).unwrap(), "2.8.3.post2");
    }
}
