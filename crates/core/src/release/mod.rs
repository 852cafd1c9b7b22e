//! A release: the wheels that go out together, and the files that let pip and uv find them.
//!
//! Everything that is generated is a pure function of the [`catalog`] and of how pages point at
//! files: [`layout`] says which files there are. Wheels lie by content under `files/`, so that a
//! path never changes its bytes and two channels share a pure wheel; pages list them by channel and
//! track.

pub mod card;
pub mod catalog;
pub mod channel;
pub mod index;
pub mod install;
pub mod layout;
pub mod links;
pub mod listing;
mod lists;
pub mod old;
pub mod table;
pub mod wheel_page;

use crate::digest::Sha256Digest;
use crate::release::channel::Channel;

/// Why wheels cannot go out together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Two wheels have one name and different bytes.
    #[error("wheel `{name}` comes twice with different bytes: sha256 {first} and {second}")]
    OtherBytes {
        /// The file name.
        name: String,
        /// A digest.
        first: Sha256Digest,
        /// Another.
        second: Sha256Digest,
    },
    /// One wheel is described in two ways.
    #[error("wheel `{name}` comes twice with different metadata")]
    OtherMetadata {
        /// The file name.
        name: String,
    },
    /// The wheel says that it is for another CUDA or torch.
    #[error("wheel `{name}` does not belong into channel `{channel}`")]
    WrongChannel {
        /// The file name.
        name: String,
        /// The channel that it was put into.
        channel: Channel,
    },
}

impl ReleaseError {
    /// What the maintainer can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OtherBytes { .. } => Some(
                "a published name keeps its bytes; give the newer wheel a build number".to_owned(),
            ),
            Self::OtherMetadata { .. } | Self::WrongChannel { .. } => None,
        }
    }
}
