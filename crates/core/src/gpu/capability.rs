//! Compute capabilities, as GPUs have them; what code is compiled for is an `Arch`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::arch::Arch;

/// A GPU's compute capability: `12.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    major: u8,
    minor: u8,
}

/// The text is not a compute capability.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a compute capability")]
pub struct CapabilityError {
    text: String,
}

impl CapabilityError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write major and minor, without a suffix: `12.0`"
    }
}

impl Capability {
    /// What the code of `arch` is compiled for, its suffix left aside.
    pub fn of_arch(arch: Arch) -> Self {
        let (major, minor) = arch.capability();
        Self { major, minor }
    }

    /// The major number, within which machine code is compatible.
    pub fn major(self) -> u8 {
        self.major
    }

    /// The minor number.
    pub fn minor(self) -> u8 {
        self.minor
    }

    /// NVIDIA's number: 12.0 is 120.
    pub fn number(self) -> u32 {
        u32::from(self.major) * 10 + u32::from(self.minor)
    }

    /// From NVIDIA's number: 120 is 12.0.
    pub(crate) fn from_number(number: &str) -> Option<Self> {
        let split = number.len().checked_sub(1)?;
        let (major, minor) = number.split_at_checked(split)?;
        parse(major, minor)
    }
}

/// NVIDIA writes `sm_120` for 12.0: the minor number is always one digit.
fn parse(major: &str, minor: &str) -> Option<Capability> {
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if !is_number(major) || !is_number(minor) || minor.len() != 1 || major.starts_with('0') {
        return None;
    }
    Some(Capability {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('.')
            .and_then(|(major, minor)| parse(major, minor))
            .ok_or_else(|| CapabilityError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_major_and_minor_are_taken() {
        for good in ["7.0", "12.0", "12.1"] {
            assert_eq!(good.parse::<Capability>().unwrap().to_string(), good);
        }
        for bad in [
            "", ".", "12", "12.", ".0", "12.00", "012.0", "12.0a", "sm_120", "1 2.0", "300.0",
        ] {
            assert!(bad.parse::<Capability>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_sort_as_numbers() {
        let read = |text: &str| text.parse::<Capability>().unwrap();
        assert!(read("9.0") < read("10.0"));
        assert_eq!(Capability::from_number("120"), Some(read("12.0")));
        assert_eq!(Capability::from_number("5"), None);
        assert_eq!(Capability::from_number(""), None);
        assert_eq!(Capability::from_number("1é"), None);
    }
}
