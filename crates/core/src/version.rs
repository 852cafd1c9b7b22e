//! Versions of the things a wheel is built against. None is ever a float: `3.10` is not `3.1`.

use std::fmt;
use std::str::FromStr;

use pep440_rs::{Operator, Version, VersionSpecifiers};
use serde::{Serialize, Serializer};

use crate::wheel::name::WheelName;
use crate::wheel::version::{TorchAbi, TorchMinor};

/// The text is not a version of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a {what} version")]
pub struct VersionError {
    text: String,
    what: &'static str,
    hint: &'static str,
}

impl VersionError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// Serialises through `Display`.
macro_rules! serialise_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
serialise_as_text!(CudaVersion, TorchVersion, PythonVersion, PackageVersion);

/// A CUDA toolkit by major and minor version: `13.0`. Its patch level is the image's or the pins'
/// matter, for wheels of one minor version are binary compatible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudaVersion {
    major: u8,
    minor: u8,
}

impl CudaVersion {
    /// `cu130`, as in channels and local versions.
    pub fn tag(self) -> String {
        format!("cu{}{}", self.major, self.minor)
    }

    /// The major version.
    pub fn major(self) -> u8 {
        self.major
    }

    /// Major and minor version.
    pub fn parts(self) -> (u8, u8) {
        (self.major, self.minor)
    }

    /// The CUDA of a tag as torch's indexes and local versions write it: `cu130`. The minor version
    /// is one digit there.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let digits = tag.strip_prefix("cu")?;
        let (major, minor) = digits.split_at_checked(digits.len().checked_sub(1)?)?;
        Some(Self {
            major: plain_number(major)?,
            minor: plain_number(minor)?,
        })
    }
}

impl FromStr for CudaVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self {
                major: plain_number(major)?,
                minor: plain_number(minor)?,
            })
        };
        parse().ok_or_else(|| VersionError {
            text: text.to_owned(),
            what: "CUDA",
            hint: "write major and minor, quoted: \"13.0\"",
        })
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A day of the calendar, as torch numbers its nightlies: `20261120`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// The day with that number: year, month and day, eight digits; `None` when there is none.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        let number = u32::try_from(number).ok()?;
        let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 if is_leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => return None,
        };
        ((1000..10_000).contains(&year) && (1..=days).contains(&day)).then_some(Self(number))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a torch is a release, or the build of one day; a nightly comes before its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum TorchStage {
    Nightly(Day),
    Release,
}

/// A torch: a release with its patch level, `2.11.0`, or the nightly of one day,
/// `2.16.0.dev20261120`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorchVersion {
    major: u16,
    minor: u16,
    patch: u16,
    stage: TorchStage,
}

impl TorchVersion {
    /// `2.11`: what is known of a torch goes by it.
    pub fn minor(self) -> TorchMinor {
        TorchMinor::new(self.major.into(), self.minor.into())
    }

    /// The day of a nightly; `None` for a release.
    pub fn nightly(self) -> Option<Day> {
        match self.stage {
            TorchStage::Nightly(day) => Some(day),
            TorchStage::Release => None,
        }
    }

    /// What wheels that are built against it are tied to, and what job ids, channels and local
    /// versions go by: `2.11`, `2.16.dev20261120`.
    pub fn abi(self) -> TorchAbi {
        TorchAbi::new(self.minor(), self.nightly())
    }
}

impl FromStr for TorchVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (release, stage) = match text.split_once(".dev") {
                None => (text, TorchStage::Release),
                Some((release, day)) => {
                    let day = Day::from_number(plain_number(day)?)?;
                    (release, TorchStage::Nightly(day))
                }
            };
            let mut parts = release.split('.').map(plain_number);
            let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
            // Nightlies are of the next minor version; 0 is the patch level of every one.
            let is_whole = stage == TorchStage::Release || patch == 0;
            (parts.next().is_none() && is_whole).then_some(Self {
                major,
                minor,
                patch,
                stage,
            })
        };
        parse().ok_or_else(|| VersionError {
            text: text.to_owned(),
            what: "torch",
            hint: if text.contains("dev") || text.contains("nightly") {
                "a nightly is named with its day, quoted: \"2.16.0.dev20261120\""
            } else {
                "write all three parts, quoted: \"2.11.0\""
            },
        })
    }
}

impl fmt::Display for TorchVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        match self.stage {
            TorchStage::Nightly(day) => write!(f, ".dev{day}"),
            TorchStage::Release => Ok(()),
        }
    }
}

/// Which build of `CPython`: the usual one, or the one without the global lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Threading {
    /// `3.13`.
    Gil,
    /// `3.13t`, PEP 703.
    Free,
}

/// A `CPython` by minor version: `3.11`, or `3.13t` for the free-threaded build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PythonVersion {
    minor: u8,
    threading: Threading,
}

impl PythonVersion {
    /// The Python of a tag in a wheel's name: `cp311`, `cp313t`. `None` for what is no `CPython` 3.
    pub fn from_tag(tag: &str) -> Option<Self> {
        format!("3.{}", tag.strip_prefix("cp3")?).parse().ok()
    }

    /// Which build it is.
    pub fn threading(self) -> Threading {
        self.threading
    }

    /// `cp311`, as in job ids; `cp313t` for the free-threaded build.
    pub fn tag(self) -> String {
        format!("cp3{}{}", self.minor, self.threading_text())
    }

    /// The folder of this Python in `PyPA`'s manylinux images: `cp313-cp313t`.
    pub fn manylinux_folder(self) -> String {
        format!(
            "cp3{}-cp3{}{}",
            self.minor,
            self.minor,
            self.threading_text()
        )
    }

    fn threading_text(self) -> &'static str {
        match self.threading {
            Threading::Gil => "",
            Threading::Free => "t",
        }
    }
}

impl FromStr for PythonVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (text, threading) = match text.strip_suffix('t') {
                Some(text) => (text, Threading::Free),
                None => (text, Threading::Gil),
            };
            let minor = plain_number(text.strip_prefix("3.")?)?;
            Some(Self { minor, threading })
        };
        parse().ok_or_else(|| VersionError {
            text: text.to_owned(),
            what: "Python",
            hint: "write major and minor, quoted: \"3.11\"",
        })
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}{}", self.minor, self.threading_text())
    }
}

/// A package's public version by PEP 440, in normal form and without a local part: `2.8.3.post2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageVersion(Version);

impl FromStr for PackageVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Version>()
            .ok()
            .filter(|version| !version.is_local() && version.to_string() == text)
            .map(Self)
            .ok_or_else(|| VersionError {
                text: text.to_owned(),
                what: "package",
                hint: "write a PEP 440 public version in normal form, without a local part: \
                       \"2.8.3.post2\"",
            })
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PackageVersion {
    /// Whether it is an alpha, a beta, a release candidate or a development version, which nobody is
    /// given who does not ask for one (PEP 440, "Handling of pre-releases").
    pub fn is_prerelease(&self) -> bool {
        self.0.any_prerelease()
    }

    /// The numbers of its release: `[2, 8, 3]` of `2.8.3.post2`.
    pub fn numbers(&self) -> &[u64] {
        self.0.release()
    }
}

impl From<TorchVersion> for PackageVersion {
    fn from(torch: TorchVersion) -> Self {
        let text = torch.to_string();
        Self(text.parse().expect("a torch version is one of PEP 440"))
    }
}

/// A range of versions by PEP 440: `>=2.10`, `>=2.4,<2.14`; empty allows every version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(VersionSpecifiers);

impl VersionRange {
    /// The range that holds every version.
    pub fn any() -> Self {
        Self(VersionSpecifiers::empty())
    }

    /// Whether `torch` lies in the range. A nightly counts as the release that it comes before: a
    /// package needs what is in torch's source, and that is there before the release is.
    pub fn contains_torch(&self, torch: TorchVersion) -> bool {
        self.contains(&[torch.major.into(), torch.minor.into(), torch.patch.into()])
    }

    /// Whether `python` lies in the range.
    pub fn contains_python(&self, python: PythonVersion) -> bool {
        self.contains(&[3, python.minor.into()])
    }

    /// Whether some patch release of `python` lies in the range: `>=3.9.2` is for 3.9 too.
    pub fn contains_some_python(&self, python: PythonVersion) -> bool {
        // CPython has not gone past 3.7.17 and 3.12.13: the 41 that are tried are more than enough.
        (0..=40).any(|patch| self.contains(&[3, python.minor.into(), patch]))
    }

    /// Whether that patch release of `python` lies in the range.
    pub fn contains_python_patch(&self, python: PythonVersion, patch: u8) -> bool {
        self.contains(&[3, python.minor.into(), patch.into()])
    }

    /// Whether the version of a wheel lies in the range, by its local part where the range has one
    /// (PEP 440, "Version matching").
    pub fn contains_wheel(&self, name: &WheelName) -> bool {
        let version = name.full_version().parse::<Version>();
        version.is_ok_and(|version| self.0.contains(&version))
    }

    /// Whether it names one version: only then may a withdrawn file be taken (PEP 592).
    pub fn is_pin(&self) -> bool {
        self.pinned().is_some()
    }

    /// The one version that it names, without its local part.
    pub fn pinned(&self) -> Option<PackageVersion> {
        let is_one = |operator| matches!(operator, Operator::Equal | Operator::ExactEqual);
        let mut pins = self.0.iter().filter(|one| is_one(*one.operator()));
        let version = pins.next()?.version().clone();
        Some(PackageVersion(version.without_local()))
    }

    /// Whether it names a pre-release, so that it admits them (PEP 440, "Handling of pre-releases").
    pub fn names_prerelease(&self) -> bool {
        self.0.iter().any(|one| one.version().any_prerelease())
    }

    /// Whether `version` lies in the range.
    pub fn contains_package(&self, version: &PackageVersion) -> bool {
        self.0.contains(&version.0)
    }

    /// Whether `cuda` lies in the range.
    pub fn contains_cuda(&self, cuda: CudaVersion) -> bool {
        self.contains(&[cuda.major.into(), cuda.minor.into()])
    }

    fn contains(&self, release: &[u64]) -> bool {
        self.0.contains(&Version::new(release))
    }
}

impl FromStr for VersionRange {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| VersionError {
            text: text.to_owned(),
            what: "range of a",
            hint: "write PEP 440 specifiers: \">=2.10\", \">=2.4,<2.14\"",
        })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Decimal digits without sign or leading zero.
fn plain_number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (digits && canonical).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_print_as_they_were_written() {
        for text in ["3.10", "3.9", "3.13t"] {
            assert_eq!(text.parse::<PythonVersion>().unwrap().to_string(), text);
        }
        for text in ["12.8", "13.0"] {
            assert_eq!(text.parse::<CudaVersion>().unwrap().to_string(), text);
        }
        for text in ["2.11.0", "2.16.0.dev20261120", "2.16.0.dev20280229"] {
            assert_eq!(text.parse::<TorchVersion>().unwrap().to_string(), text);
        }
        assert_eq!("13.0".parse::<CudaVersion>().unwrap().tag(), "cu130");
        assert_eq!("3.13t".parse::<PythonVersion>().unwrap().tag(), "cp313t");
        assert_eq!(
            "3.13t".parse::<PythonVersion>().unwrap().manylinux_folder(),
            "cp313-cp313t"
        );
    }

    #[test]
    fn python_3_10_is_later_than_3_9() {
        let python = |text: &str| text.parse::<PythonVersion>().unwrap();
        assert!(python("3.10") > python("3.9"));
    }

    #[test]
    fn a_nightly_is_of_one_day_and_comes_before_its_release() {
        let torch = |text: &str| text.parse::<TorchVersion>().unwrap();
        let nightly = torch("2.16.0.dev20261120");
        assert_eq!(nightly.minor().to_string(), "2.16");
        assert_eq!(nightly.abi().to_string(), "2.16.dev20261120");
        assert_eq!(torch("2.16.0").abi().to_string(), "2.16");
        assert!(torch("2.15.1") < nightly && nightly < torch("2.16.0.dev20261121"));
        assert!(torch("2.16.0.dev20261121") < torch("2.16.0"));
        for bad in [
            "2.16.0.dev",
            "2.16.0.dev0",
            "2.16.0.dev2026112",
            "2.16.0.dev20261131",
            "2.16.0.dev20261301",
            "2.16.0.dev20270229",
            "2.16.0.dev+20261120",
            "2.16.0.dev20261120+cu130",
            "2.16.dev20261120",
            "2.16.1.dev20261120",
            "2.16.0dev20261120",
            "nightly",
        ] {
            let error = bad.parse::<TorchVersion>().unwrap_err();
            assert!(error.hint().contains("2.16.0.dev20261120"), "{bad}");
        }
    }

    #[test]
    fn a_nightly_counts_as_its_release_for_what_a_package_needs() {
        let nightly = "2.16.0.dev20261120".parse().unwrap();
        let range = |text: &str| text.parse::<VersionRange>().unwrap();
        assert!(range(">=2.16").contains_torch(nightly));
        assert!(!range("<2.16").contains_torch(nightly));
    }

    #[test]
    fn half_versions_and_local_versions_are_refused() {
        for bad in ["13", "13.0.1", "13.x", "", "1 3.0", "+13.0", "013.0"] {
            assert!(bad.parse::<CudaVersion>().is_err(), "{bad}");
        }
        for bad in ["2.11", "2.11.0.1", "2.11.0+cu130", "2.11.0rc1"] {
            assert!(bad.parse::<TorchVersion>().is_err(), "{bad}");
        }
        for bad in ["3", "3.11.2", "2.7", "cp311"] {
            assert!(bad.parse::<PythonVersion>().is_err(), "{bad}");
        }
        for bad in ["2.8.3+cu130", "v2.8", "2.8.3-post2", "main"] {
            assert!(bad.parse::<PackageVersion>().is_err(), "{bad}");
        }
        assert!("2.8.3.post2".parse::<PackageVersion>().is_ok());
    }

    #[test]
    fn pythons_are_read_from_tags() {
        let python = |tag: &str| PythonVersion::from_tag(tag).map(|python| python.to_string());
        assert_eq!(python("cp310").as_deref(), Some("3.10"));
        assert_eq!(python("cp313t").as_deref(), Some("3.13t"));
        for tag in ["cp27", "py3", "pp310", "cp3", "abi3", "cp3_10"] {
            assert_eq!(python(tag), None, "{tag}");
        }
    }

    #[test]
    fn prereleases_are_told_from_releases() {
        let is_prerelease = |text: &str| text.parse::<PackageVersion>().unwrap().is_prerelease();
        for text in ["2.0a1", "2.0rc1", "2.0.dev20261120", "2.0.post1.dev3"] {
            assert!(is_prerelease(text), "{text}");
        }
        assert!(!is_prerelease("2.0.post1"));
    }

    #[test]
    fn a_python_is_in_a_range_when_one_of_its_patch_releases_is() {
        let check = |range: &str, python: &str, want: bool| {
            let range: VersionRange = range.parse().unwrap();
            let found = range.contains_some_python(python.parse().unwrap());
            assert_eq!(found, want, "{range} {python}");
        };
        check(">=3.9.2", "3.9", true);
        check(">=3.9,!=3.9.0,!=3.9.1", "3.9", true);
        check("<3.12.4", "3.12", true);
        check(">=3.10", "3.9", false);
        check("==3.11.*", "3.11", true);
        check("<3.13", "3.13t", false);
    }

    #[test]
    fn ranges_hold_what_pep_440_says() {
        let range: VersionRange = ">=2.10".parse().unwrap();
        assert!(!range.contains_torch("2.9.1".parse().unwrap()));
        assert!(range.contains_torch("2.10.0".parse().unwrap()));
        let range: VersionRange = ">=3.10,<3.13".parse().unwrap();
        assert!(range.contains_python("3.12".parse().unwrap()));
        assert!(!range.contains_python("3.13".parse().unwrap()));
    }
}
