//! The install table: what pip and uv must do with a release, row by row, before it goes out.
//!
//! A row is an environment, the very line that README tells for it, and the one file that must come of
//! it, or a refusal. No row may change an installed torch. Here are the rows and what is made of an
//! installer's answer; running them is the engine's.

mod cell;
mod judge;
mod rows;

use std::fmt;

use serde::Serialize;

pub use judge::{Ended, Outcome, Sight, Taken, Verdict};
pub use rows::{Places, ROWS_CAP, Rows, rows};

use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::catalog::Track;
use crate::release::channel::Channel;
use crate::release::install::{Client, Way};
use crate::version::PythonVersion;
use crate::wheel::name::WheelName;

/// An installer at the version that it is tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Installer {
    /// The oldest pip that is supported.
    PipOldest,
    /// The newest pip that is known.
    PipNewest,
    /// uv.
    Uv,
}

impl Installer {
    /// Every installer.
    pub const ALL: [Self; 3] = [Self::PipOldest, Self::PipNewest, Self::Uv];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PipOldest => "pip-oldest",
            Self::PipNewest => "pip-newest",
            Self::Uv => "uv",
        }
    }

    /// Whose lines it is told.
    pub fn client(self) -> Client {
        match self {
            Self::PipOldest | Self::PipNewest => Client::Pip,
            Self::Uv => Client::Uv,
        }
    }
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the release is served to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Face {
    /// As a folder on a static host does: HTML as HTML, whatever is asked for.
    Static,
    /// As a host does that reads `Accept`: JSON for who prefers it (PEP 691).
    Negotiating,
    /// As a Hub does: text as `text/plain` behind a redirect, wheels from another host.
    Hub,
}

impl Face {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Negotiating => "negotiating",
            Self::Hub => "hub",
        }
    }
}

/// Why a row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The newest wheel of a project, as README tells it.
    Newest,
    /// A wheel that goes out beside a newer one.
    Earlier,
    /// The newest wheel by another way than the index.
    OtherWay,
    /// A way that is closed to this installer.
    ClosedWay,
    /// The version without its local part: what an index that mixes CUDAs gets wrong.
    PublicVersion,
    /// A torch of another minor version is installed.
    OtherTorch,
    /// The installed torch has a local part: `2.11.0+cu130`.
    LocalTorch,
    /// No torch is installed.
    NoTorch,
    /// The channel has nothing for this Python.
    OtherPython,
    /// A yanked wheel, pinned to the file.
    YankedPinned,
    /// A yanked wheel, when nobody pins it.
    YankedUnpinned,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 11] = [
        Self::Newest,
        Self::Earlier,
        Self::OtherWay,
        Self::ClosedWay,
        Self::PublicVersion,
        Self::OtherTorch,
        Self::LocalTorch,
        Self::NoTorch,
        Self::OtherPython,
        Self::YankedPinned,
        Self::YankedUnpinned,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Earlier => "earlier",
            Self::OtherWay => "other-way",
            Self::ClosedWay => "closed-way",
            Self::PublicVersion => "public-version",
            Self::OtherTorch => "other-torch",
            Self::LocalTorch => "local-torch",
            Self::NoTorch => "no-torch",
            Self::OtherPython => "other-python",
            Self::YankedPinned => "yanked-pinned",
            Self::YankedUnpinned => "yanked-unpinned",
        }
    }
}

/// What must come of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This file and no other of its project.
    File {
        /// Its name.
        name: WheelName,
        /// Its digest.
        sha256: Sha256Digest,
    },
    /// Nothing is installed.
    Refusal,
    /// Anything but this file: another file of the release or of PyPI, or a refusal.
    AnythingBut(WheelName),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, .. } => write!(f, "`{name}`"),
            Self::Refusal => f.write_str("a refusal"),
            Self::AnythingBut(name) => write!(f, "anything but `{name}`"),
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Why it is there.
    pub purpose: Purpose,
    /// The track.
    pub track: Track,
    /// The channel.
    pub channel: Channel,
    /// The user's Python.
    pub python: PythonVersion,
    /// The user's machine: `x86_64`.
    pub machine: String,
    /// The glibc that the user has at the least; none where no wheel asks for one.
    pub glibc: Option<(u32, u32)>,
    /// The torch that is installed, local part included.
    pub installed_torch: Option<String>,
    /// The torch that the user has or wants: `2.11.0`.
    pub torch: String,
    /// What the line says of torch: `torch==2.11.0`, or `torch==2.11.*` as README has it.
    pub torch_requirement: String,
    /// The installer.
    pub installer: Installer,
    /// How the wheel is found.
    pub way: Way,
    /// How the release is served.
    pub face: Face,
    /// The project.
    pub project: PackageName,
    /// The line as its words, the installer's name first.
    pub words: Vec<String>,
    /// What must come of it.
    pub expected: Expected,
}

impl Row {
    /// The environment, in a few words: `Python 3.11, torch 2.11.0`.
    pub fn environment(&self) -> String {
        match &self.installed_torch {
            Some(torch) => format!("Python {}, torch {torch}", self.python),
            None => format!("Python {}, no torch", self.python),
        }
    }
}
