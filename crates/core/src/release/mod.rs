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
pub mod life;
pub mod links;
pub mod listing;
mod lists;
pub mod resolve;
pub mod table;
pub mod wheel_page;

use crate::digest::Sha256Digest;
use crate::release::channel::Channel;
use crate::wheel::name::WheelName;

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
            Self::OtherBytes { name, .. } => Some(next_build(name)),
            Self::WrongChannel { .. } => None,
        }
    }
}

/// How the wheel `name`, which is out with other bytes, gets a name of its own.
fn next_build(name: &str) -> String {
    let Ok(name) = name.parse::<WheelName>() else {
        return "a published name keeps its bytes; give the newer wheel a build number".to_owned();
    };
    // Upstream's own build tags may be any number and text; the farm's are numbers.
    let last = name.build().and_then(|build| build.parse::<u32>().ok());
    let next = last.unwrap_or(1).max(1).saturating_add(1);
    let (project, version) = (name.project(), name.public_version());
    format!(
        "a published name keeps its bytes: write `build-number: {next}` under release {version} in \
         packages/{project}/package.yaml and build it again; pip and uv prefer the higher number"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_with_two_contents_is_refused_and_another_is_told() {
        let name = "flash_attn-2.8.3+cu130torch2.11-cp312-cp312-manylinux_2_28_x86_64.whl";
        let error = ReleaseError::OtherBytes {
            name: name.to_owned(),
            first: Sha256Digest::of(b"one"),
            second: Sha256Digest::of(b"other"),
        };
        insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()));
    }
}
