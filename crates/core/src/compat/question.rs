//! What a person asks: a GPU, a torch, a CUDA, a Python, or several of them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::gpu::Gpu;
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::wheel::version::TorchMinor;

/// A torch as it is asked about: a minor version, `2.8`, or one torch of it, `2.8.0`,
/// `2.16.0.dev20261120`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TorchAsked {
    minor: TorchMinor,
    exact: Option<TorchVersion>,
}

/// The text names no torch.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a torch version")]
pub struct TorchAskedError {
    text: String,
}

impl TorchAskedError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write `2.8`, `2.8.0`, or a nightly with its day, `2.16.0.dev20261120`"
    }
}

impl TorchAsked {
    /// The minor version.
    pub fn minor(self) -> TorchMinor {
        self.minor
    }

    /// The very torch, if it was named.
    pub fn exact(self) -> Option<TorchVersion> {
        self.exact
    }

    /// The one that is judged where a whole version is wanted: without a patch level, the first.
    pub(super) fn version(self) -> TorchVersion {
        self.exact.unwrap_or_else(|| {
            let first = format!("{}.0", self.minor);
            first
                .parse()
                .expect("a minor version and a zero are a version")
        })
    }
}

impl FromStr for TorchAsked {
    type Err = TorchAskedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TorchAskedError {
            text: text.to_owned(),
        };
        let whole = match text.parse::<TorchMinor>() {
            Ok(_) => format!("{text}.0"),
            Err(_) => text.to_owned(),
        };
        let version: TorchVersion = whole.parse().map_err(|_| wrong())?;
        Ok(Self {
            minor: version.minor(),
            exact: (whole == text).then_some(version),
        })
    }
}

impl fmt::Display for TorchAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exact {
            Some(version) => version.fmt(f),
            None => self.minor.fmt(f),
        }
    }
}

impl Serialize for TorchAsked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is asked; what is `None` may be anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question {
    /// A GPU.
    pub gpu: Option<&'static Gpu>,
    /// A torch.
    pub torch: Option<TorchAsked>,
    /// A CUDA toolkit.
    pub cuda: Option<CudaVersion>,
    /// A Python.
    pub python: Option<PythonVersion>,
}

impl Question {
    /// How many things it names.
    pub fn len(&self) -> usize {
        [
            self.gpu.is_some(),
            self.torch.is_some(),
            self.cuda.is_some(),
            self.python.is_some(),
        ]
        .into_iter()
        .filter(|named| *named)
        .count()
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `torch 2.7, CUDA 12.8, Python 3.12, 12.0 (RTX 5090)`.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.torch.map(|torch| format!("torch {torch}")),
            self.cuda.map(|cuda| format!("CUDA {cuda}")),
            self.python.map(|python| format!("Python {python}")),
            self.gpu.map(ToString::to_string),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torch_is_asked_about_as_a_minor_version_or_whole() {
        for text in ["2.8", "2.10", "2.8.0", "2.16.0.dev20261120"] {
            assert_eq!(text.parse::<TorchAsked>().unwrap().to_string(), text);
        }
        let asked: TorchAsked = "2.10".parse().unwrap();
        assert_eq!(asked.minor().to_string(), "2.10");
        assert_eq!(asked.exact(), None);
        for bad in [
            "2",
            "2.x",
            "2.8.0+cu128",
            "2.16.0.dev",
            "2.70000",
            "nightly",
            "",
        ] {
            assert!(bad.parse::<TorchAsked>().is_err(), "{bad}");
        }
    }
}
