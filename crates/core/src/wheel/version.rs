//! The three kinds of version that decide which wheel a user gets.

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use crate::version::Day;

/// The text is not a version of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct VersionError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

/// What upstream calls its release, in PEP 440 normal form and without a local part: `2.8.3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicVersion(String);

/// What the farm adds to a version: `cu130torch2.11` in `2.8.3+cu130torch2.11`.
///
/// It is in PEP 440 normal form already, so that file name, METADATA and index spell it alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalVersion(String);

/// A minor version of torch: `2.11`. torch's C++ ABI holds within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TorchMinor {
    major: u64,
    minor: u64,
}

/// The torch that a wheel's C++ code is tied to: a minor version, `2.11`, or the nightly of one day,
/// `2.16.dev20261120`.
///
/// A nightly's ABI is promised to nobody, not even to the nightly of the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TorchAbi {
    minor: TorchMinor,
    nightly: Option<Day>,
}

impl PublicVersion {
    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version with a local part, as it stands in METADATA and in file names.
    pub fn with_local(&self, local: &LocalVersion) -> String {
        format!("{self}+{local}")
    }
}

impl FromStr for PublicVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Version::from_str(text) {
            Ok(version) if !version.is_local() => Ok(Self(version.to_string())),
            Ok(_) | Err(_) => Err(VersionError {
                text: text.to_owned(),
                what: "public version",
                rule: "a PEP 440 version without a `+` part, such as `2.8.3`",
            }),
        }
    }
}

impl LocalVersion {
    /// The local version as text, without the `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LocalVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = format!("0+{text}");
        match Version::from_str(&whole) {
            Ok(version) if version.to_string() == whole => Ok(Self(text.to_owned())),
            Ok(_) | Err(_) => Err(VersionError {
                text: text.to_owned(),
                what: "local version",
                rule: "lower-case letters and digits in parts joined by `.`, numbers without leading zeros",
            }),
        }
    }
}

impl TorchMinor {
    /// From the two numbers.
    pub(crate) fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }

    /// The two numbers.
    pub fn parts(self) -> (u64, u64) {
        (self.major, self.minor)
    }
}

impl FromStr for TorchMinor {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('.').and_then(|(major, minor)| {
            Some(Self {
                major: number(major)?,
                minor: number(minor)?,
            })
        });
        parts.ok_or_else(|| VersionError {
            text: text.to_owned(),
            what: "torch minor version",
            rule: "two numbers joined by `.`, such as `2.11`",
        })
    }
}

impl TorchAbi {
    /// That of a minor version, or of its nightly of one day.
    pub fn new(minor: TorchMinor, nightly: Option<Day>) -> Self {
        Self { minor, nightly }
    }

    /// The minor version.
    pub fn minor(self) -> TorchMinor {
        self.minor
    }

    /// The day, when it is a nightly's.
    pub fn nightly(self) -> Option<Day> {
        self.nightly
    }

    /// What a wheel must say to be installed beside no other torch: `==2.11.*`,
    /// `==2.16.0.dev20261120`. Without a local part, which such a bound need not have (PEP 440).
    pub fn specifier(self) -> String {
        match self.nightly {
            None => format!("=={}.*", self.minor),
            Some(day) => format!("=={}.0.dev{day}", self.minor),
        }
    }
}

impl FromStr for TorchAbi {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((minor, day)) = text.split_once(".dev") else {
            return Ok(Self::new(text.parse()?, None));
        };
        let wrong = || VersionError {
            text: text.to_owned(),
            what: "torch nightly",
            rule: "a minor version and a day, such as `2.16.dev20261120`",
        };
        let day = number(day).and_then(Day::from_number);
        Ok(Self::new(minor.parse()?, Some(day.ok_or_else(wrong)?)))
    }
}

impl fmt::Display for TorchAbi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.minor.fmt(f)?;
        self.nightly.map_or(Ok(()), |day| write!(f, ".dev{day}"))
    }
}

/// A number as people write it: digits only, no leading zero.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let no_leading_zero = text == "0" || !text.starts_with('0');
    (plain && no_leading_zero)
        .then(|| text.parse().ok())
        .flatten()
}

impl fmt::Display for PublicVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for LocalVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for TorchMinor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Serde goes through the same text as `FromStr` and `Display`.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = VersionError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(version: $name) -> String {
                version.to_string()
            }
        }
    };
}

serde_as_text!(PublicVersion);
serde_as_text!(LocalVersion);
serde_as_text!(TorchMinor);
serde_as_text!(TorchAbi);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_versions_are_normalised_and_have_no_local_part() {
        let version: PublicVersion = "1.0.0-beta1".parse().unwrap();
        assert_eq!(version.as_str(), "1.0.0b1");
        for bad in ["", "1.0+cu130", "main", "1.0-x"] {
            assert!(bad.parse::<PublicVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn local_versions_must_be_in_normal_form() {
        for good in ["cu130torch2.11", "cu128torch2.8", "1"] {
            assert_eq!(good.parse::<LocalVersion>().unwrap().as_str(), good);
        }
        for bad in ["", "CU130", "cu130_torch2", "cu130.01", "a b", "+x"] {
            assert!(bad.parse::<LocalVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_torch_abi_is_a_minor_version_or_one_nightly() {
        for (text, specifier) in [
            ("2.11", "==2.11.*"),
            ("2.16.dev20261120", "==2.16.0.dev20261120"),
        ] {
            let abi: TorchAbi = text.parse().unwrap();
            assert_eq!(abi.to_string(), text);
            assert_eq!(abi.specifier(), specifier);
        }
        for bad in [
            "2.16.dev",
            "2.16.dev1",
            "2.16.0.dev20261120",
            "2.16.dev20261399",
        ] {
            assert!(bad.parse::<TorchAbi>().is_err(), "{bad}");
        }
    }

    #[test]
    fn torch_minors_are_two_numbers() {
        assert_eq!("2.11".parse::<TorchMinor>().unwrap().parts(), (2, 11));
        for bad in ["", "2", "2.", "2.011", "2.8.0", "+2.8", "2.x"] {
            assert!(bad.parse::<TorchMinor>().is_err(), "{bad}");
        }
    }
}
