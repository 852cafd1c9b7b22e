//! Why a remote file could not be read.

use std::error::Error;
use std::io;

use wheelfarm_core::source::RemoteUrl;

use crate::fetch::http::HttpError;
use crate::files::FileError;

/// Why a remote file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No HTTP client can be made on this machine.
    #[error("failed to set up HTTPS")]
    Setup {
        /// What stands in the way.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A request failed, and may have failed more than once.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server sends all or nothing.
    #[error("`{url}` sends the whole file when asked for a part")]
    NoRanges {
        /// The file.
        url: RemoteUrl,
    },
    /// Two parts would not be of the same content.
    #[error("`{url}` changed while it was read")]
    Changed {
        /// The file.
        url: RemoteUrl,
    },
    /// More is needed than may be fetched.
    #[error("reading `{url}` takes more than {cap_bytes} bytes of it")]
    TooMuch {
        /// The file.
        url: RemoteUrl,
        /// The cap.
        cap_bytes: u64,
    },
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
    /// This machine's disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who can do something about a failed read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// Who gave the address: there is nothing there that can be read in parts.
    Address,
    /// A server or the way to it; trying later may help.
    Network,
    /// This machine: its disk is full.
    DiskFull,
    /// This machine: HTTPS cannot be set up, or a file cannot be read or written.
    Machine,
    /// The user, who stopped it.
    Stopped,
}

impl RemoteError {
    /// The failure of a [`super::RemoteFile`] behind the error of what read from it.
    pub fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| {
            // An I/O error's source is the source of what it holds.
            let held = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            let held = held.and_then(|held| held.downcast_ref());
            error.downcast_ref().or(held)
        })
    }

    /// Who can do something about it.
    pub fn kind(&self) -> RemoteErrorKind {
        match self {
            Self::Http(error) if matches!(error.code(), Some(401 | 403 | 404 | 410)) => {
                RemoteErrorKind::Address
            }
            Self::NoRanges { .. } | Self::TooMuch { .. } => RemoteErrorKind::Address,
            Self::Http(_) | Self::Changed { .. } => RemoteErrorKind::Network,
            Self::File(error) if error.is_disk_full() => RemoteErrorKind::DiskFull,
            Self::File(_) | Self::Setup { .. } => RemoteErrorKind::Machine,
            Self::Stopped => RemoteErrorKind::Stopped,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Http(HttpError::Senseless { .. }) | Self::TooMuch { .. } => {
                Some("download it first")
            }
            Self::Http(error) => match error.code() {
                Some(404 | 410) => {
                    Some("correct the address; some servers also hide what needs a token that way")
                }
                Some(401 | 403) => Some(
                    "the file needs a token or the address has expired: take a new address, or \
                     download the file first",
                ),
                Some(_) | None => None,
            },
            Self::NoRanges { .. } => {
                Some("the server does not take range requests; download it first")
            }
            Self::Changed { .. } => Some("read it again"),
            Self::File(error) if error.is_disk_full() => {
                Some("make room, or set TMPDIR to a folder on another disk")
            }
            Self::File(_) | Self::Setup { .. } | Self::Stopped => None,
        }
    }
}
