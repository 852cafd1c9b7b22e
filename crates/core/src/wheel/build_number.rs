//! Build numbers: what tells two wheels of one version, channel and Python apart.

use std::fmt;
use std::num::NonZeroU32;

/// Which build of a version a wheel is, when there was one before: 1 or more.
///
/// pip and uv prefer the higher one, and any number to none (binary distribution format, "build
/// number": <https://packaging.python.org/specifications/binary-distribution-format/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildNumber(NonZeroU32);

impl BuildNumber {
    /// The build of that number; none for 0, which would say that there is something before the first.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for BuildNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
