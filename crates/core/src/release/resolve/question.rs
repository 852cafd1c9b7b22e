//! What is asked: a package, and the environment that it is to run in as far as that is known.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::compat::TorchAsked;
use crate::gpu::Capability;
use crate::gpu::driver::Driver;
use crate::ident::{PackageName, VariantName};
use crate::release::catalog::Track;
use crate::version::{CudaVersion, PythonVersion, VersionRange};

/// A part of a question cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {what}")]
pub struct QuestionError {
    text: String,
    what: &'static str,
    hint: &'static str,
}

impl QuestionError {
    fn new(text: &str, what: &'static str, hint: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            what,
            hint,
        }
    }

    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// Which package, and which of its versions: `flash-attn`, `flash-attn==2.8.3`, `flash-attn>=2.8,<3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageWish {
    /// The package.
    pub name: PackageName,
    /// The versions that will do.
    pub versions: VersionRange,
}

impl FromStr for PackageWish {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            QuestionError::new(
                text,
                "a package and its versions",
                "write `flash-attn`, `flash-attn==2.8.3` or `flash-attn>=2.8,<3`",
            )
        };
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
            .unwrap_or(text.len());
        let (name, versions) = text.split_at(end);
        Ok(Self {
            name: PackageName::normalise(name.trim()).map_err(|_| wrong())?,
            versions: match versions.trim() {
                "" => VersionRange::any(),
                versions => versions.parse().map_err(|_| wrong())?,
            },
        })
    }
}

/// A Python: `3.11`, one patch release of it, `3.11.7`, or the free-threaded build, `3.13t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PythonAsked {
    /// Its minor version and build.
    pub version: PythonVersion,
    /// Its patch level, where that is known.
    pub patch: Option<u8>,
}

impl PythonAsked {
    /// Whether it lies in a `Requires-Python`; without a patch level, whether some patch release does.
    pub(super) fn is_in(self, range: &VersionRange) -> bool {
        match self.patch {
            Some(patch) => range.contains_python_patch(self.version, patch),
            None => range.contains_some_python(self.version),
        }
    }
}

impl FromStr for PythonAsked {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            QuestionError::new(
                text,
                "a Python",
                "write `3.11`, `3.11.7`, or `3.13t` for the free-threaded build",
            )
        };
        let text = text.trim();
        let text = without(text, &["python", "py"]);
        let tag = PythonVersion::from_tag(text);
        if let Some(version) = text.parse().ok().or(tag) {
            let patch = None;
            return Ok(Self { version, patch });
        }
        // `3.13.1t`: the build is told at the end.
        let (numbers, build) = match text.strip_suffix('t') {
            Some(numbers) => (numbers, "t"),
            None => (text, ""),
        };
        let (minor, patch) = numbers.rsplit_once('.').ok_or_else(wrong)?;
        let is_plain = !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit());
        Ok(Self {
            version: format!("{minor}{build}").parse().map_err(|_| wrong())?,
            patch: Some(patch.parse().ok().filter(|_| is_plain).ok_or_else(wrong)?),
        })
    }
}

impl fmt::Display for PythonAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.to_string();
        match (self.patch, version.strip_suffix('t')) {
            (None, _) => f.write_str(&version),
            (Some(patch), None) => write!(f, "{version}.{patch}"),
            (Some(patch), Some(numbers)) => write!(f, "{numbers}.{patch}t"),
        }
    }
}

/// A torch as it is given or found: a version, and its local part where that is known: `2.11.0+cu130`;
/// `2.11+cu130` for any patch release of that build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchGiven {
    /// The version.
    pub version: TorchAsked,
    /// What stands after its `+`.
    pub local: Option<String>,
}

impl TorchGiven {
    /// The CUDA that its local part tells.
    pub fn cuda(&self) -> Option<Cuda> {
        let local = self.local.as_deref()?;
        // `cu130`, and once `cu121.with.pypi.cudnn`.
        let tag = local.split('.').next().unwrap_or(local);
        if let Some(cuda) = CudaVersion::from_tag(tag) {
            return Some(Cuda::Version(cuda));
        }
        let is_without = tag == "cpu" || tag.starts_with("rocm");
        is_without.then(|| Cuda::Without(local.to_owned()))
    }

    /// What pins it for pip and uv: `==2.11.0`, `==2.11.0+cu130`; `==2.11.*` where no more is known.
    pub fn specifier(&self) -> String {
        match (self.version.exact(), &self.local) {
            (None, _) => format!("=={}.*", self.version.minor()),
            (Some(version), None) => format!("=={version}"),
            (Some(version), Some(local)) => format!("=={version}+{local}"),
        }
    }
}

impl FromStr for TorchGiven {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            QuestionError::new(
                text,
                "a torch version",
                "write `2.8`, `2.8.0`, `2.8.0+cu128`, or a nightly with its day, \
                 `2.16.0.dev20261120`",
            )
        };
        let text = without(text.trim(), &["torch==", "torch ", "torch-", "v"]);
        let (version, local) = match text.split_once('+') {
            Some((version, local)) => (version, Some(local)),
            None => (text, None),
        };
        let is_local = |local: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
            !local.is_empty() && local.chars().all(is_plain)
        };
        let given = Self {
            version: version.parse().map_err(|_| wrong())?,
            local: local.map(str::to_owned),
        };
        local
            .is_none_or(is_local)
            .then_some(given)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for TorchGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)?;
        match &self.local {
            Some(local) => write!(f, "+{local}"),
            None => Ok(()),
        }
    }
}

/// The CUDA that torch is built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuda {
    /// A version: `13.0`.
    Version(CudaVersion),
    /// None, by the name that torch's builds have: `cpu`, `rocm6.4`.
    Without(String),
}

/// A CUDA as people write it: `13.0`, `cu130`, `cuda13.0`, `CUDA 13.0`, and with a patch level,
/// `13.0.2`, which is left out: wheels of one minor version are binary compatible.
fn cuda_version(text: &str) -> Option<CudaVersion> {
    let lower = text.trim().to_ascii_lowercase();
    if let Some(version) = CudaVersion::from_tag(&lower) {
        return Some(version);
    }
    let numbers = without(&lower, &["cuda-", "cuda ", "cuda", "cu"]);
    if let Ok(version) = numbers.parse() {
        return Some(version);
    }
    let (minor, patch) = numbers.rsplit_once('.')?;
    let is_patch = !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit());
    is_patch.then(|| minor.parse().ok()).flatten()
}

/// The text without the first of `prefixes` that it begins with.
fn without<'a>(text: &'a str, prefixes: &[&str]) -> &'a str {
    let mut shorter = prefixes
        .iter()
        .filter_map(|prefix| text.strip_prefix(prefix));
    shorter.next().unwrap_or(text)
}

impl FromStr for Cuda {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "cpu" {
            return Ok(Self::Without(text.to_owned()));
        }
        cuda_version(text).map(Self::Version).ok_or_else(|| {
            QuestionError::new(
                text,
                "a CUDA version",
                "write the CUDA that torch is built with, `13.0`, or `cpu`",
            )
        })
    }
}

impl fmt::Display for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Without(build) => f.write_str(build),
        }
    }
}

/// The C library of a Linux machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Libc {
    /// The GNU one, by version.
    Glibc(u32, u32),
    /// musl, as in Alpine; manylinux wheels do not run there.
    Musl,
}

impl FromStr for Libc {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "musl" {
            return Ok(Self::Musl);
        }
        let number = |part: &str| {
            let is_plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            is_plain.then(|| part.parse().ok()).flatten()
        };
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self::Glibc(number(major)?, number(minor)?))
        };
        parse().ok_or_else(|| {
            QuestionError::new(
                text,
                "a glibc version",
                "write it as `ldd --version` shows it: `2.35`",
            )
        })
    }
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glibc(major, minor) => write!(f, "{major}.{minor}"),
            Self::Musl => f.write_str("musl"),
        }
    }
}

/// What is asked. What is absent is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The package and its versions.
    pub package: PackageWish,
    /// The Python.
    pub python: Option<PythonAsked>,
    /// The torch that is there, or is to be.
    pub torch: Option<TorchGiven>,
    /// The CUDA that torch is built with.
    pub cuda: Option<Cuda>,
    /// The GPUs, all of which the wheel must run on; empty when none is known.
    pub gpus: BTreeSet<Capability>,
    /// The driver.
    pub driver: Option<Driver>,
    /// The C library.
    pub libc: Option<Libc>,
    /// The machine as platform tags name it: `x86_64`, `aarch64`.
    pub machine: Option<String>,
    /// The track.
    pub track: Track,
    /// The variant of the wheel; without one, wheels of none.
    pub variant: Option<VariantName>,
}

impl Question {
    /// A question about a package alone.
    pub fn about(package: PackageWish) -> Self {
        Self {
            package,
            python: None,
            torch: None,
            cuda: None,
            gpus: BTreeSet::new(),
            driver: None,
            libc: None,
            machine: None,
            track: Track::Stable,
            variant: None,
        }
    }
}

/// What a question can leave open, or a catalog not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// The Python.
    Python,
    /// The torch.
    Torch,
    /// Its CUDA.
    Cuda,
    /// The C library.
    Glibc,
    /// The machine.
    Machine,
}

impl Asked {
    /// The flag that tells it.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Python => "--python",
            Self::Torch => "--torch",
            Self::Cuda => "--cuda",
            Self::Glibc => "--glibc",
            Self::Machine => "--machine",
        }
    }
}

impl Serialize for Asked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.flag().trim_start_matches('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn round_trips<T: FromStr<Err = QuestionError> + fmt::Display>(good: &[&str], bad: &[&str]) {
        for text in good {
            let read = text.parse::<T>().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.to_string(), *text);
        }
        for text in bad {
            let error = text.parse::<T>().err();
            let error = error.unwrap_or_else(|| panic!("{text} is taken"));
            assert!(error.hint().starts_with("write "), "{text}");
        }
    }

    #[test]
    fn parts_of_a_question_are_read_and_shown() {
        round_trips::<PythonAsked>(
            &["3.9", "3.11", "3.11.7", "3.13t", "3.13.1t"],
            &[
                "", "3", "2.7", "3.11.", "3.11.x", "3.11.7.1", "pp311", "3.11.300",
            ],
        );
        round_trips::<TorchGiven>(
            &[
                "2.8",
                "2.8.0",
                "2.8.0+cu128",
                "2.16.0.dev20261120+cu130",
                "2.8.0+cpu",
            ],
            &["", "2.8.0+", "2.8.0+cu 128", "2.8.0a0+git1", "nightly"],
        );
        round_trips::<Cuda>(&["12.8", "13.0", "cpu"], &["", "12", "cuda", "cu1x0"]);
        round_trips::<Libc>(
            &["2.17", "2.35", "musl"],
            &["", "2", "2.x", "glibc2.35", "2.3.5"],
        );
    }

    #[test]
    fn what_people_write_is_read_as_what_they_mean() {
        for text in [
            "cu130",
            "CU130",
            "cu13.0",
            "cuda13.0",
            "CUDA 13.0",
            "cuda-13.0",
            "13.0.2",
        ] {
            let cuda = text.parse::<Cuda>();
            assert_eq!(cuda.unwrap().to_string(), "13.0", "{text}");
        }
        for text in [
            "2.8.0+cu128",
            "torch==2.8.0+cu128",
            "v2.8.0+cu128",
            "torch-2.8.0+cu128",
        ] {
            let torch: TorchGiven = text.parse().unwrap();
            assert_eq!(torch.to_string(), "2.8.0+cu128", "{text}");
        }
        let minor: TorchGiven = "2.9+cu130".parse().unwrap();
        assert_eq!(minor.specifier(), "==2.9.*");
        assert_eq!(minor.cuda().unwrap().to_string(), "13.0");
        for text in ["3.12", "python3.12", "py3.12", "cp312"] {
            let python: PythonAsked = text.parse().unwrap();
            assert_eq!(python.to_string(), "3.12", "{text}");
        }
        assert_eq!(
            "cp313t".parse::<PythonAsked>().unwrap().to_string(),
            "3.13t"
        );
    }

    #[test]
    fn a_package_is_asked_for_with_or_without_versions() {
        for (text, name, versions) in [
            ("flash-attn", "flash-attn", ""),
            ("Flash_Attn==2.8.3", "flash-attn", "==2.8.3"),
            ("flash-attn >=2.8, <3", "flash-attn", ">=2.8, <3"),
        ] {
            let wish: PackageWish = text.parse().unwrap();
            assert_eq!(wish.name.as_str(), name);
            assert_eq!(wish.versions.to_string(), versions);
        }
        for bad in [
            "",
            "==2.8",
            "flash-attn 2.8",
            "flash attn",
            "a @ https://x.org/a.whl",
            "a[b]",
        ] {
            assert!(bad.parse::<PackageWish>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_local_part_of_a_torch_tells_its_cuda_and_pins_it() {
        let torch = |text: &str| text.parse::<TorchGiven>().unwrap();
        let cuda = |text: &str| torch(text).cuda().map(|cuda| cuda.to_string());
        assert_eq!(cuda("2.8.0+cu128").as_deref(), Some("12.8"));
        assert_eq!(cuda("2.8.0+cu121.with.pypi.cudnn").as_deref(), Some("12.1"));
        assert_eq!(cuda("2.8.0+cpu").as_deref(), Some("cpu"));
        assert_eq!(cuda("2.8.0+rocm6.4").as_deref(), Some("rocm6.4"));
        assert_eq!((cuda("2.8.0"), cuda("2.8.0+mine")), (None, None));
        for (text, specifier) in [
            ("2.8", "==2.8.*"),
            ("2.8.0", "==2.8.0"),
            ("2.8.0+cu128", "==2.8.0+cu128"),
        ] {
            assert_eq!(torch(text).specifier(), specifier);
        }
    }
}
