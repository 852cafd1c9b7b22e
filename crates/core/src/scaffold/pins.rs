//! Build requirements, each with the one version that a build gets.

use std::str::FromStr;

use crate::ident::PackageName;
use crate::source::simple_index::{IndexFile, releases};
use crate::version::{PackageVersion, PythonVersion, VersionRange};
use crate::wheel::name::WheelName;

/// A build requirement: `setuptools>=61`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The project.
    pub name: PackageName,
    /// The versions that would do.
    pub range: VersionRange,
}

/// The text is no requirement that can be pinned: it has an address, or no name.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a requirement with a name and versions")]
pub struct RequirementError {
    text: String,
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let bare = text.split(';').next()?.trim();
            let end = bare.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
            let (name, rest) = bare.split_at(end.unwrap_or(bare.len()));
            let rest = rest.trim_start();
            let range = match rest.strip_prefix('[') {
                Some(extras) => extras.split_once(']')?.1,
                None => rest,
            };
            Some(Self {
                name: PackageName::normalise(name).ok()?,
                range: range.trim().trim_matches(['(', ')']).parse().ok()?,
            })
        };
        parse().ok_or_else(|| RequirementError {
            text: text.to_owned(),
        })
    }
}

/// A requirement with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The project.
    pub name: PackageName,
    /// The version.
    pub version: PackageVersion,
    /// Why this one.
    pub by: PinnedBy,
}

/// Why a requirement got its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinnedBy {
    /// Other packages of the farm are built with it.
    Farm,
    /// It is the newest on the index that every Python of the matrix can install.
    Index,
}

/// Picks the version of a requirement that other packages are built with, the highest of those that
/// would do: what works is not changed without need.
pub fn of_farm(requirement: &Requirement, others: &[String]) -> Option<Pin> {
    let versions = others.iter().filter_map(|other| {
        let (name, version) = other.split(';').next()?.split_once("==")?;
        let is_same = PackageName::normalise(name.trim()).ok()? == requirement.name;
        let version: PackageVersion = version.trim().parse().ok()?;
        (is_same && requirement.range.contains_package(&version)).then_some(version)
    });
    Some(Pin {
        name: requirement.name.clone(),
        version: versions.max()?,
        by: PinnedBy::Farm,
    })
}

/// Picks the newest version on an index with a wheel for linux `x86_64` and all of `pythons`: build
/// requirements are installed as wheels only.
pub fn choose(
    requirement: &Requirement,
    files: &[IndexFile],
    pythons: &[PythonVersion],
) -> Option<Pin> {
    let found = releases(files, &requirement.name);
    let fits = |file: &&IndexFile| {
        let range = file.requires_python.as_deref();
        let range: Option<VersionRange> = range.and_then(|range| range.parse().ok());
        let serves = |python: &PythonVersion| {
            let range = range.as_ref();
            range.is_none_or(|range| range.contains_some_python(*python))
        };
        file.yanked.is_none() && is_for_linux(&file.file_name) && pythons.iter().all(serves)
    };
    let newest = found.into_iter().rev().find(|release| {
        !release.version.is_prerelease()
            && requirement.range.contains_package(&release.version)
            && release.others.iter().any(|file| fits(&file))
    });
    Some(Pin {
        name: requirement.name.clone(),
        version: newest?.version,
        by: PinnedBy::Index,
    })
}

/// Whether a file is a wheel that installs on linux `x86_64`, whatever Python it is for.
fn is_for_linux(file_name: &str) -> bool {
    let name: Result<WheelName, _> = file_name.parse();
    name.is_ok_and(|name| {
        let mut tags = name.platform_tags().iter();
        tags.any(|tag| {
            tag == "any"
                || (tag.contains("linux_") && tag.ends_with("_x86_64"))
                || tag.starts_with("manylinux") && tag.ends_with("_x86_64")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    #[test]
    fn requirements_are_read() {
        let shown = |text: &str| {
            let parsed: Requirement = text.parse().ok()?;
            Some(format!("{} {}", parsed.name, parsed.range))
        };
        assert_eq!(
            shown("setuptools>=61,<75").as_deref(),
            Some("setuptools >=61, <75")
        );
        assert_eq!(shown("Flit_Core").as_deref(), Some("flit-core "));
        assert_eq!(
            shown("x[a,b] (>=1); python_version<'3'").as_deref(),
            Some("x >=1")
        );
        assert_eq!(shown("x @ https://x.org/x.zip"), None);
        assert_eq!(shown(""), None);
    }

    #[test]
    fn what_the_farm_uses_is_kept_if_it_would_do() {
        let others = ["setuptools==80.9.0", "setuptools==79.0", "wheel==0.45.1"].map(str::to_owned);
        let pin =
            |text: &str| of_farm(&requirement(text), &others).map(|pin| pin.version.to_string());
        assert_eq!(pin("setuptools>=61").as_deref(), Some("80.9.0"));
        assert_eq!(pin("setuptools<80").as_deref(), Some("79.0"));
        assert_eq!(pin("setuptools>81"), None);
        assert_eq!(pin("ninja"), None);
    }

    #[test]
    fn else_the_newest_wheel_that_every_python_can_install() {
        let file = |name: &str, requires_python: Option<&str>, yanked: bool| IndexFile {
            file_name: name.to_owned(),
            url: String::new(),
            sha256: None,
            requires_python: requires_python.map(str::to_owned),
            yanked: yanked.then(String::new),
        };
        let files = [
            file("ninja-1.10-py3-none-any.whl", Some(">=3.8"), false),
            file(
                "ninja-1.11-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                Some(">=3.8"),
                false,
            ),
            file(
                "ninja-1.12-py3-none-macosx_10_9_universal2.whl",
                None,
                false,
            ),
            file("ninja-1.13.tar.gz", None, false),
            file("ninja-1.14-py3-none-any.whl", Some(">=3.12"), false),
            file("ninja-1.15-py3-none-any.whl", None, true),
            file("ninja-2.0rc1-py3-none-any.whl", None, false),
        ];
        let pin = |text: &str, python: &str| {
            let pythons = [python.parse().unwrap(), "3.13".parse().unwrap()];
            choose(&requirement(text), &files, &pythons).map(|pin| pin.version.to_string())
        };
        assert_eq!(pin("ninja", "3.11").as_deref(), Some("1.11"));
        assert_eq!(pin("ninja", "3.12").as_deref(), Some("1.14"));
        assert_eq!(pin("ninja<1.11", "3.11").as_deref(), Some("1.10"));
        assert_eq!(pin("ninja>3", "3.11"), None);
    }
}
