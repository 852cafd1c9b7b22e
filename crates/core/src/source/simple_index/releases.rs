//! What an index has of each version of a project.

use std::collections::BTreeMap;

use super::IndexFile;
use super::select::{other_version, sdist_version};
use crate::ident::PackageName;
use crate::version::PackageVersion;

/// One version on an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRelease {
    /// The version.
    pub version: PackageVersion,
    /// Its `.tar.gz` sdists: one, but for names of old.
    pub sdists: Vec<IndexFile>,
    /// Everything else.
    pub others: Vec<IndexFile>,
}

impl IndexRelease {
    /// The sdist to take: one that its maintainers have not withdrawn.
    pub fn sdist(&self) -> Option<&IndexFile> {
        self.sdists.iter().find(|file| file.yanked.is_none())
    }

    /// The maintainers' reason, which may be empty, when all of its files are withdrawn (PEP 592:
    /// what is yanked is each file, and a release when all of them are).
    pub fn yanked(&self) -> Option<&str> {
        let mut files = self.sdists.iter().chain(&self.others);
        let first = files.next()?.yanked.as_deref()?;
        files.all(|file| file.yanked.is_some()).then_some(first)
    }
}

/// The versions of `project` among `files`, ascending. Files of other projects, and with versions
/// that PEP 440 does not know or that have a local part, are passed over, as installers do.
pub fn releases(files: &[IndexFile], project: &PackageName) -> Vec<IndexRelease> {
    let mut found: BTreeMap<PackageVersion, IndexRelease> = BTreeMap::new();
    for file in files {
        let sdist = sdist_version(&file.file_name, project);
        let is_sdist = sdist.is_some();
        let version = sdist.or_else(|| other_version(&file.file_name, project));
        let Some(version) = version.and_then(|version| version.to_string().parse().ok()) else {
            continue;
        };
        let version: PackageVersion = version;
        let release = found
            .entry(version.clone())
            .or_insert_with(|| IndexRelease {
                version,
                sdists: Vec::new(),
                others: Vec::new(),
            });
        if is_sdist {
            release.sdists.push(file.clone());
        } else {
            release.others.push(file.clone());
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, yanked: Option<&str>) -> IndexFile {
        IndexFile {
            file_name: name.to_owned(),
            url: format!("https://x.org/{name}"),
            sha256: None,
            requires_python: None,
            yanked: yanked.map(str::to_owned),
        }
    }

    #[test]
    fn versions_ascend_and_each_has_its_files() {
        let files = [
            file("demo-0.0.10.tar.gz", None),
            file("demo-0.0.9-py3-none-any.whl", None),
            file("demo-0.0.9.tar.gz", Some("broken")),
            file("demo-0.0.9.dev3.tar.gz", None),
            file("demo-0.0.8.tar.gz", Some("")),
            file("demo-0.0.8.zip", Some("all of it")),
            file("demo-1.0+cu128-py3-none-any.whl", None),
            file("demo-extra-3.0.tar.gz", None),
            file("demo-nonsense.tar.gz", None),
        ];
        let found = releases(&files, &"demo".parse().unwrap());
        let shown: Vec<_> = found
            .iter()
            .map(|release| {
                let sdist = release.sdist().map(|file| file.file_name.as_str());
                (release.version.to_string(), sdist, release.yanked())
            })
            .collect();
        let want = [
            ("0.0.8", None, Some("")),
            ("0.0.9.dev3", Some("demo-0.0.9.dev3.tar.gz"), None),
            ("0.0.9", None, None),
            ("0.0.10", Some("demo-0.0.10.tar.gz"), None),
        ];
        let want = want.map(|(version, sdist, yanked)| (version.to_owned(), sdist, yanked));
        assert_eq!(shown, want);
    }
}
