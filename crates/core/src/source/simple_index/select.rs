//! The one sdist that was asked for, or why it is not there.

use pep440_rs::Version;

use super::IndexFile;
use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::version::PackageVersion;

/// How many other versions an error lists.
const NEAREST: usize = 5;

/// Why an index has no fitting sdist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindSdistError {
    /// The index does not have the version at all.
    #[error(
        "the index has no `{project}` {version}; {}",
        near(.nearest)
    )]
    NoVersion {
        /// The project.
        project: PackageName,
        /// The version asked for.
        version: PackageVersion,
        /// Versions with an sdist that stand next to it, in order.
        nearest: Vec<String>,
    },
    /// There are files of the version, and none is a `.tar.gz` sdist.
    #[error("`{project}` {version} has no `.tar.gz` sdist on the index, only {}", listed(.files))]
    NoSdist {
        /// The project.
        project: PackageName,
        /// The version.
        version: PackageVersion,
        /// What there is instead.
        files: Vec<String>,
    },
    /// The sdist is there with another digest than the package pins.
    #[error("the index lists `{file_name}` with sha256 {listed}, and {wanted} is wanted")]
    OtherDigest {
        /// The sdist.
        file_name: String,
        /// The digest that the package pins.
        wanted: Sha256Digest,
        /// The digest on the index.
        listed: Sha256Digest,
    },
}

impl FindSdistError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoVersion { .. } => "correct the version in the package's `source`",
            Self::NoSdist { .. } => "use a `git` source at the commit of the release",
            Self::OtherDigest { .. } => {
                "a published file never changes: find out which of the two is genuine before you \
                 change the `sha256`"
            }
        }
    }
}

/// Finds the `.tar.gz` sdist of a version.
///
/// A yanked file is taken, for the package pins its digest; the caller passes the note on. Where
/// the index gives no digest, the download is checked all the same.
pub fn find_sdist(
    files: &[IndexFile],
    project: &PackageName,
    version: &PackageVersion,
    wanted: &Sha256Digest,
) -> Result<IndexFile, FindSdistError> {
    let sdists: Vec<_> = of_version(files, project, version, sdist_version).collect();
    let fits = |file: &&&IndexFile| file.sha256.is_none_or(|listed| listed == *wanted);
    if let Some(file) = sdists.iter().find(fits) {
        return Ok((*file).clone());
    }
    if let Some((file, listed)) = sdists.iter().find_map(|file| Some((file, file.sha256?))) {
        return Err(FindSdistError::OtherDigest {
            file_name: file.file_name.clone(),
            wanted: *wanted,
            listed,
        });
    }
    let (project, version) = (project.clone(), version.clone());
    let others: Vec<_> = of_version(files, &project, &version, other_version)
        .map(|file| file.file_name.clone())
        .collect();
    if others.is_empty() {
        let nearest = nearest(files, &project, &version);
        return Err(FindSdistError::NoVersion {
            project,
            version,
            nearest,
        });
    }
    Err(FindSdistError::NoSdist {
        project,
        version,
        files: others,
    })
}

/// Every `.tar.gz` sdist with its version, from old to new, yanked ones among them.
pub fn sdists(files: &[IndexFile], project: &PackageName) -> Vec<(PackageVersion, IndexFile)> {
    let mut sdists: Vec<_> = files
        .iter()
        .filter_map(|file| Some((sdist_version(&file.file_name, project)?, file)))
        .collect();
    sdists.sort_by(|one, other| one.0.cmp(&other.0));
    let public = sdists.into_iter().filter_map(|(version, file)| {
        let version = version.to_string().parse().ok()?;
        Some((version, file.clone()))
    });
    public.collect()
}

/// The newest sdist that an installer would take: not yanked, and a final release unless there is
/// none (PEP 592, PEP 440).
pub fn newest_sdist(
    files: &[IndexFile],
    project: &PackageName,
) -> Option<(PackageVersion, IndexFile)> {
    let mut sdists = sdists(files, project);
    sdists.retain(|(_, file)| file.yanked.is_none());
    let is_final = |version: &PackageVersion| {
        let version = version.to_string().parse::<Version>();
        version.is_ok_and(|version| !version.any_prerelease())
    };
    let last_final = sdists.iter().rposition(|(version, _)| is_final(version));
    let place = last_final.or(sdists.len().checked_sub(1))?;
    Some(sdists.swap_remove(place))
}

fn of_version<'a>(
    files: &'a [IndexFile],
    project: &'a PackageName,
    version: &'a PackageVersion,
    version_of: fn(&str, &PackageName) -> Option<Version>,
) -> impl Iterator<Item = &'a IndexFile> {
    let wanted = version.to_string();
    files.iter().filter(move |file| {
        version_of(&file.file_name, project).is_some_and(|found| found.to_string() == wanted)
    })
}

/// The version in the name of a `.tar.gz` sdist.
///
/// Old names keep `-` and `.` in the project (`flash-attn-2.0.tar.gz`), so every split is tried.
pub(super) fn sdist_version(file_name: &str, project: &PackageName) -> Option<Version> {
    leading_version(file_name.strip_suffix(".tar.gz")?, project)
}

/// The version in the name of a file that is no `.tar.gz` sdist.
pub(super) fn other_version(file_name: &str, project: &PackageName) -> Option<Version> {
    if let Some(stem) = file_name.strip_suffix(".whl") {
        let (name, rest) = stem.split_once('-')?;
        let version = rest.split('-').next()?;
        return leading_version(&format!("{name}-{version}"), project);
    }
    let stems = [".zip", ".tar.bz2", ".tar.xz", ".tgz", ".egg"];
    stems
        .iter()
        .filter_map(|end| file_name.strip_suffix(end))
        .find_map(|stem| leading_version(stem, project))
}

fn leading_version(stem: &str, project: &PackageName) -> Option<Version> {
    stem.match_indices('-').find_map(|(at, _)| {
        let is_project = PackageName::normalise(&stem[..at]).is_ok_and(|name| name == *project);
        is_project.then(|| stem[at + 1..].parse().ok())?
    })
}

/// The versions with an sdist around the one asked for.
fn nearest(files: &[IndexFile], project: &PackageName, version: &PackageVersion) -> Vec<String> {
    let mut versions: Vec<Version> = files
        .iter()
        .filter_map(|file| sdist_version(&file.file_name, project))
        .collect();
    versions.sort();
    versions.dedup();
    let Ok(wanted) = version.to_string().parse::<Version>() else {
        return Vec::new();
    };
    let place = versions.partition_point(|found| *found < wanted);
    let start = place
        .saturating_sub(NEAREST / 2 + 1)
        .min(versions.len().saturating_sub(NEAREST));
    let around = versions.iter().skip(start).take(NEAREST);
    around.map(ToString::to_string).collect()
}

fn near(versions: &[String]) -> String {
    match versions {
        [] => "it has no sdist of any version".to_owned(),
        versions => format!("near it are {}", versions.join(", ")),
    }
}

fn listed(files: &[String]) -> String {
    let shown: Vec<_> = files
        .iter()
        .take(3)
        .map(|file| format!("`{file}`"))
        .collect();
    match files.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn file(name: &str, sha256: Option<Sha256Digest>) -> IndexFile {
        IndexFile {
            file_name: name.to_owned(),
            url: format!("https://x.org/{name}"),
            sha256,
            requires_python: None,
            yanked: None,
        }
    }

    fn find(names: &[&str], version: &str) -> Result<IndexFile, FindSdistError> {
        let files: Vec<_> = names.iter().map(|name| file(name, None)).collect();
        let project = "flash-attn".parse().unwrap();
        let wanted = Sha256Digest::of(b"sdist");
        find_sdist(&files, &project, &version.parse().unwrap(), &wanted)
    }

    #[track_caller]
    fn check_found(name: &str, version: &str) {
        let others = ["flash-attn-extra-2.0.tar.gz", "other-2.0.tar.gz", name];
        assert_eq!(find(&others, version).unwrap().file_name, name);
    }

    #[test]
    fn names_of_every_age_are_understood() {
        check_found("flash_attn-2.0.tar.gz", "2.0");
        check_found("flash-attn-2.0.tar.gz", "2.0");
        check_found("Flash.Attn-2.0.0-1.tar.gz", "2.0.0.post1");
        check_found("flash_attn-2.7.4.post1.tar.gz", "2.7.4.post1");
    }

    #[track_caller]
    fn check_newest(names: &[&str], want: Option<&str>) {
        let files: Vec<_> = names
            .iter()
            .map(|name| {
                let (name, yanked) = match name.strip_prefix("yanked ") {
                    Some(name) => (name, Some(String::new())),
                    None => (*name, None),
                };
                let file = file(name, None);
                IndexFile { yanked, ..file }
            })
            .collect();
        let newest = newest_sdist(&files, &"flash-attn".parse().unwrap());
        let newest = newest.map(|(version, _)| version.to_string());
        assert_eq!(newest.as_deref(), want, "{names:?}");
    }

    #[test]
    fn the_newest_sdist_is_the_one_that_an_installer_takes() {
        let old = "flash_attn-2.9.tar.gz";
        let new = "flash_attn-2.10.tar.gz";
        check_newest(&[new, old, "flash_attn-3.0-py3-none-any.whl"], Some("2.10"));
        check_newest(&[old, "yanked flash_attn-2.10.tar.gz"], Some("2.9"));
        check_newest(&[new, "flash_attn-3.0rc1.tar.gz"], Some("2.10"));
        check_newest(
            &["flash_attn-3.0rc1.tar.gz", "flash_attn-3.0.dev1.tar.gz"],
            Some("3.0rc1"),
        );
        check_newest(&["flash_attn-2.10.post1.tar.gz", new], Some("2.10.post1"));
        check_newest(&["yanked flash_attn-2.10.tar.gz", "other-1.0.tar.gz"], None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let many = [
            "flash_attn-1.0.tar.gz",
            "flash_attn-2.0.tar.gz",
            "flash_attn-2.0-py3-none-any.whl",
            "flash_attn-2.10.tar.gz",
            "flash_attn-2.9.tar.gz",
            "flash_attn-2.8.tar.gz",
            "flash_attn-3.0.tar.gz",
            "flash_attn-4.0.tar.gz",
        ];
        let wheels = [
            "flash_attn-2.0-cp311-cp311-linux_x86_64.whl",
            "flash_attn-2.0.zip",
        ];
        let refused = |names: &[&str], version: &str| {
            let error = find(names, version).unwrap_err();
            format!("{error}\n  hint: {}", error.hint())
        };
        insta::assert_snapshot!(
            [
                refused(&many, "2.9.1"),
                refused(&[], "2.9.1"),
                refused(&wheels, "2.0"),
            ]
            .join("\n"),
            @"
            the index has no `flash-attn` 2.9.1; near it are 2.0, 2.8, 2.9, 2.10, 3.0
              hint: correct the version in the package's `source`
            the index has no `flash-attn` 2.9.1; it has no sdist of any version
              hint: correct the version in the package's `source`
            `flash-attn` 2.0 has no `.tar.gz` sdist on the index, only `flash_attn-2.0-cp311-cp311-linux_x86_64.whl`, `flash_attn-2.0.zip`
              hint: use a `git` source at the commit of the release
            "
        );
    }

    #[test]
    fn the_digest_of_the_index_must_be_the_wanted_one() {
        let project = "flash-attn".parse().unwrap();
        let version = "2.0".parse().unwrap();
        let wanted = Sha256Digest::of(b"sdist");
        let other = file("flash_attn-2.0.tar.gz", Some(Sha256Digest::of(b"other")));
        let error = find_sdist(from_ref(&other), &project, &version, &wanted).unwrap_err();
        insta::assert_snapshot!(error, @"the index lists `flash_attn-2.0.tar.gz` with sha256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, and 714772a9f82b2aeb4fa5f7092d00fe4ac4c9cdeb6800840b6ed39ea64c4d785a is wanted");
        let right = file("flash-attn-2.0.tar.gz", Some(wanted));
        let files = [other, right.clone()];
        assert_eq!(find_sdist(&files, &project, &version, &wanted), Ok(right));
    }

    #[test]
    fn a_yanked_file_is_taken_with_its_note() {
        let mut yanked = file("flash_attn-2.0.tar.gz", None);
        yanked.yanked = Some("broken on CUDA 12".to_owned());
        let found = find_sdist(
            &[yanked],
            &"flash-attn".parse().unwrap(),
            &"2.0".parse().unwrap(),
            &Sha256Digest::of(b"sdist"),
        );
        assert_eq!(found.unwrap().yanked.as_deref(), Some("broken on CUDA 12"));
    }
}
