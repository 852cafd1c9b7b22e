//! Wheel file names (binary distribution format: `{name}-{version}(-{build})?-{python}-{abi}-{platform}.whl`).

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use crate::ident::PackageName;
use crate::version::PythonVersion;
use crate::wheel::build_number::BuildNumber;
use crate::wheel::version::{LocalVersion, PublicVersion};

/// A wheel's file name, taken apart; it prints as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WheelName {
    distribution: String,
    project: PackageName,
    version: String,
    public_version: PublicVersion,
    local_version: Option<LocalVersion>,
    build: Option<String>,
    python: Vec<String>,
    abi: Vec<String>,
    platform: Vec<String>,
}

/// Why a file name is not a wheel's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WheelNameError {
    /// There is no `.whl` at the end.
    #[error("`{name}` does not end in `.whl`")]
    NotAWheel {
        /// The file name.
        name: String,
    },
    /// The count of `-` separated parts is neither five nor six.
    #[error(
        "`{name}` has {parts} parts between its dashes; a wheel has five, or six with a build number"
    )]
    PartCount {
        /// The file name.
        name: String,
        /// How many parts it has.
        parts: usize,
    },
    /// One part breaks the rules for its place.
    #[error("`{part}` in `{name}` is not a {what}")]
    Part {
        /// The file name.
        name: String,
        /// The part of it.
        part: String,
        /// What should stand there.
        what: &'static str,
    },
}

impl WheelName {
    /// The distribution's name as the file name spells it: `flash_attn`.
    pub fn distribution(&self) -> &str {
        &self.distribution
    }

    /// The project, in normal form: `flash-attn`.
    pub fn project(&self) -> &PackageName {
        &self.project
    }

    /// The version as the file name spells it, local part included.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The version without its local part, in normal form.
    pub fn public_version(&self) -> &PublicVersion {
        &self.public_version
    }

    /// What stands after the `+` of the version.
    pub fn local_version(&self) -> Option<&LocalVersion> {
        self.local_version.as_ref()
    }

    /// The whole version in normal form, as METADATA and requirements write it.
    pub fn full_version(&self) -> String {
        match &self.local_version {
            Some(local) => self.public_version.with_local(local),
            None => self.public_version.to_string(),
        }
    }

    /// The build number, if there is one: `2` or `1cu128`.
    pub fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }

    /// Where the build number stands among others, as pip and uv see it: none below all, then by the
    /// digits as a number, then by the text behind them.
    pub fn build_order(&self) -> impl Ord + '_ {
        self.build.as_deref().map(|build| {
            let end = build.find(|c: char| !c.is_ascii_digit());
            let (digits, rest) = build.split_at(end.unwrap_or(build.len()));
            let digits = digits.trim_start_matches('0');
            // Of two numbers without leading zeros the longer one is the larger, however long.
            (digits.len(), digits, rest)
        })
    }

    /// The Python tags: `["cp312"]`.
    pub fn python_tags(&self) -> &[String] {
        &self.python
    }

    /// The ABI tags: `["abi3"]`.
    pub fn abi_tags(&self) -> &[String] {
        &self.abi
    }

    /// The platform tags: `["manylinux_2_28_x86_64"]`.
    pub fn platform_tags(&self) -> &[String] {
        &self.platform
    }

    /// Whether that Python takes it, as far as its Python and ABI tags say: what `packaging.tags` lists
    /// (<https://packaging.python.org/specifications/platform-compatibility-tags/>).
    pub fn fits(&self, python: PythonVersion) -> bool {
        let wanted = python.tag();
        self.python.iter().any(|python| {
            let mut abis = self.abi.iter();
            abis.any(|abi| installs(&wanted, python, abi))
        })
    }

    /// Every single tag that the name stands for, as the WHEEL file lists them.
    pub fn expanded_tags(&self) -> Vec<String> {
        let mut tags = Vec::new();
        for python in &self.python {
            for abi in &self.abi {
                for platform in &self.platform {
                    tags.push(format!("{python}-{abi}-{platform}"));
                }
            }
        }
        tags
    }

    /// `{distribution}-{version}`: what the `.dist-info` and `.data` folders start with.
    pub fn folder_stem(&self) -> String {
        format!("{}-{}", self.distribution, self.version)
    }

    /// The same wheel with another local version, its name and version in normal form.
    #[must_use]
    pub fn with_local(&self, local: &LocalVersion) -> Self {
        Self {
            distribution: self.project.for_file_name(),
            version: self.public_version.with_local(local),
            local_version: Some(local.clone()),
            ..self.clone()
        }
    }

    /// The same wheel as the build of that number.
    #[must_use]
    pub fn with_build(&self, build: BuildNumber) -> Self {
        Self {
            build: Some(build.to_string()),
            ..self.clone()
        }
    }

    /// The same wheel for one other platform.
    pub fn with_platform(&self, tag: &str) -> Result<Self, WheelNameError> {
        let mut name = self.clone();
        name.platform = vec![tag.to_owned()];
        // Reading it back applies the one set of rules.
        name.to_string().parse()
    }
}

impl FromStr for WheelName {
    type Err = WheelNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let parts = split_name(name)?;
        let wrong = |part: &str, what| WheelNameError::Part {
            name: name.to_owned(),
            part: part.to_owned(),
            what,
        };
        let tags = |part| tag_set(part).ok_or_else(|| wrong(part, "set of tags"));
        let (distribution, version) = (parts.distribution, parts.version);
        let (public_version, local_version) =
            split_version(version).ok_or_else(|| wrong(version, "PEP 440 version"))?;
        let [python, abi, platform] = parts.tags;
        Ok(Self {
            project: project(distribution).ok_or_else(|| wrong(distribution, "project name"))?,
            distribution: distribution.to_owned(),
            version: version.to_owned(),
            public_version,
            local_version,
            build: match parts.build {
                Some(build) if !is_build(build) => return Err(wrong(build, "build number")),
                other => other.map(str::to_owned),
            },
            python: tags(python)?,
            abi: tags(abi)?,
            platform: tags(platform)?,
        })
    }
}

/// Whether the Python whose ABI is `wanted` takes a wheel of these tags.
fn installs(wanted: &str, python: &str, abi: &str) -> bool {
    // The free-threaded build has an ABI of its own, and no stable one: `cp313-cp313t`.
    let own = wanted.trim_end_matches('t');
    let is_no_newer = |prefix: &str| {
        let minor = |tag: &str, prefix| tag.strip_prefix(prefix)?.parse::<u32>().ok();
        let least = minor(python, prefix).zip(minor(own, "cp3"));
        least.is_some_and(|(least, minor)| least <= minor)
    };
    match abi {
        "abi3" => wanted == own && is_no_newer("cp3"),
        "none" => python == own || python == "py3" || is_no_newer("py3"),
        abi => python == own && abi == wanted,
    }
}

/// The parts between the dashes, not yet looked at.
struct Parts<'a> {
    distribution: &'a str,
    version: &'a str,
    build: Option<&'a str>,
    tags: [&'a str; 3],
}

fn split_name(name: &str) -> Result<Parts<'_>, WheelNameError> {
    let Some(stem) = name.strip_suffix(".whl") else {
        let name = name.to_owned();
        return Err(WheelNameError::NotAWheel { name });
    };
    let parts: Vec<&str> = stem.split('-').collect();
    let (distribution, version, build, tags) = match *parts.as_slice() {
        [distribution, version, python, abi, platform] => {
            (distribution, version, None, [python, abi, platform])
        }
        [distribution, version, build, python, abi, platform] => {
            (distribution, version, Some(build), [python, abi, platform])
        }
        _ => {
            return Err(WheelNameError::PartCount {
                name: name.to_owned(),
                parts: parts.len(),
            });
        }
    };
    Ok(Parts {
        distribution,
        version,
        build,
        tags,
    })
}

/// Tools escape `-` to `_`; older ones leave dots and capitals as they are.
fn project(text: &str) -> Option<PackageName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !text.chars().all(allowed) {
        return None;
    }
    PackageName::normalise(text).ok()
}

/// The version's two halves in normal form; `_` stands for the `-` that a file name cannot hold.
fn split_version(text: &str) -> Option<(PublicVersion, Option<LocalVersion>)> {
    let version = Version::from_str(&text.replace('_', "-")).ok()?;
    let full = version.to_string();
    match full.split_once('+') {
        Some((public, local)) => Some((public.parse().ok()?, Some(local.parse().ok()?))),
        None => Some((full.parse().ok()?, None)),
    }
}

fn is_build(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(allowed)
}

/// The tags of a compressed set such as `py2.py3`; none twice, none empty.
fn tag_set(text: &str) -> Option<Vec<String>> {
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split('.') {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if tag.is_empty() || !tag.chars().all(allowed) || tags.iter().any(|known| known == tag) {
            return None;
        }
        tags.push(tag.to_owned());
    }
    Some(tags)
}

impl fmt::Display for WheelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-", self.distribution, self.version)?;
        if let Some(build) = &self.build {
            write!(f, "{build}-")?;
        }
        let [python, abi, platform] =
            [&self.python, &self.abi, &self.platform].map(|tags| tags.join("."));
        write!(f, "{python}-{abi}-{platform}.whl")
    }
}

impl TryFrom<String> for WheelName {
    type Error = WheelNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WheelName> for String {
    fn from(name: WheelName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(name: &str, project: &str, version: &str, tags: usize) {
        let parsed: WheelName = name.parse().unwrap();
        assert_eq!(parsed.to_string(), name);
        assert_eq!(parsed.project().as_str(), project);
        assert_eq!(parsed.full_version(), version);
        assert_eq!(parsed.expanded_tags().len(), tags);
    }

    #[test]
    fn names_are_taken_apart() {
        check("six-1.17.0-py2.py3-none-any.whl", "six", "1.17.0", 2);
        check(
            "Flash_Attn-2.8.3+cu128torch2.8-cp312-cp312-linux_x86_64.whl",
            "flash-attn",
            "2.8.3+cu128torch2.8",
            1,
        );
        check(
            "a.b-1!1.0_1-2cu128-cp39-abi3-any.whl",
            "a-b",
            "1!1.0.post1",
            1,
        );
        check("x-1.0.0beta1-py3-none-any.whl", "x", "1.0.0b1", 1);
    }

    #[track_caller]
    fn check_refused(name: &str, want: &str) {
        let error = name.parse::<WheelName>().unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn bad_names_are_refused_with_the_part_at_fault() {
        check_refused("six-1.0.tar.gz", "`six-1.0.tar.gz` does not end in `.whl`");
        check_refused(
            "six-1.0.whl",
            "`six-1.0.whl` has 2 parts between its dashes; a wheel has five, or six with a build number",
        );
        check_refused(
            "six-main-py3-none-any.whl",
            "`main` in `six-main-py3-none-any.whl` is not a PEP 440 version",
        );
        check_refused(
            "six-1.0-py3-none-any-cu128.whl",
            "`py3` in `six-1.0-py3-none-any-cu128.whl` is not a build number",
        );
        check_refused(
            "../six-1.0-py3-none-any.whl",
            "`../six` in `../six-1.0-py3-none-any.whl` is not a project name",
        );
        check_refused(
            "six-1.0-py3.py3-none-any.whl",
            "`py3.py3` in `six-1.0-py3.py3-none-any.whl` is not a set of tags",
        );
    }

    #[test]
    fn tags_are_those_that_the_python_takes() {
        for (wanted, python, abi, is_taken) in [
            ("cp311", "cp311", "cp311", true),
            ("cp311", "cp38", "abi3", true),
            ("cp311", "cp312", "abi3", false),
            ("cp311", "cp310", "none", false),
            ("cp311", "py310", "none", true),
            ("cp311", "py312", "none", false),
            ("cp311", "py2", "none", false),
            ("cp313t", "cp313", "cp313t", true),
            ("cp313t", "cp313", "cp313", false),
            ("cp313t", "cp39", "abi3", false),
            ("cp313", "cp313", "cp313t", false),
        ] {
            let res = installs(wanted, python, abi);
            assert_eq!(res, is_taken, "{python}-{abi} on {wanted}");
        }
    }

    #[test]
    fn local_version_and_platform_can_be_set() {
        let name: WheelName = "Flash_Attn-2.8.3-cp312-cp312-linux_x86_64.whl"
            .parse()
            .unwrap();
        let local = "cu130torch2.11".parse().unwrap();
        let finished = name
            .with_local(&local)
            .with_platform("manylinux_2_28_x86_64")
            .unwrap();
        assert_eq!(
            finished.to_string(),
            "flash_attn-2.8.3+cu130torch2.11-cp312-cp312-manylinux_2_28_x86_64.whl"
        );
        assert_eq!(finished.with_local(&local), finished);
        assert!(name.with_platform("a-b").is_err());
    }

    #[test]
    fn build_numbers_are_ordered_as_numbers() {
        let name = |build: &str| -> WheelName {
            format!("x-1.0{build}-py3-none-any.whl").parse().unwrap()
        };
        let ordered = [
            "",
            "-0",
            "-1",
            "-1cu128",
            "-2",
            "-10",
            "-20261121003000000000000",
        ];
        for pair in ordered.windows(2) {
            let (low, high) = (name(pair[0]), name(pair[1]));
            assert!(low.build_order() < high.build_order(), "{pair:?}");
        }
        let (one, same) = (name("-01"), name("-1"));
        assert!(one.build_order() == same.build_order());
        let second = name("").with_build(BuildNumber::new(2).unwrap());
        assert_eq!(second.to_string(), "x-1.0-2-py3-none-any.whl");
        assert_eq!(second.to_string().parse::<WheelName>().unwrap(), second);
        assert_eq!(BuildNumber::new(0), None);
    }

    proptest! {
        #[test]
        fn names_round_trip(
            distribution in "[A-Za-z][A-Za-z0-9]{0,6}(_[a-z0-9]{1,4}){0,2}",
            version in "[0-9]{1,3}\\.[0-9]{1,3}(\\.post[0-9])?(\\+[a-z][a-z0-9]{0,5}(\\.[1-9])?)?",
            build in proptest::option::of("[0-9][a-z0-9]{0,3}"),
            python in "cp3[0-9]{1,2}(\\.py3)?",
            platform in "manylinux_2_[1-9]{2}_x86_64(\\.any)?",
        ) {
            let build = build.map(|build| format!("{build}-")).unwrap_or_default();
            let text = format!("{distribution}-{version}-{build}{python}-abi3-{platform}.whl");
            let name: WheelName = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
        }

        #[test]
        fn no_name_panics(text in "\\PC{0,60}(\\.whl)?") {
            drop(text.parse::<WheelName>());
        }
    }
}
