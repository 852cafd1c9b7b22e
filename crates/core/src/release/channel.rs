//! Channels: the places that users install from, one per pair of CUDA and torch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ident::VariantName;
use crate::wheel::version::{LocalVersion, TorchAbi};

/// One CUDA toolkit and one torch: `cu130/torch2.11`, or the torch of one night:
/// `cu130/torch2.16.dev20261120`; and the variant of its wheels, if they are of one:
/// `cu130/torch2.11-avx512`.
///
/// pip and uv take the greatest local version whatever the machine has, so wheels for different
/// pairs, and variants that not every machine runs, must not be seen together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel {
    cuda: String,
    torch: TorchAbi,
    variant: Option<VariantName>,
}

/// The text is not a channel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a channel, which is a CUDA and a torch such as `cu130/torch2.11`")]
pub struct ChannelError {
    text: String,
}

impl Channel {
    /// The channel of a CUDA tag, such as `cu130` or `cpu`, and a torch.
    pub fn new(cuda: &str, torch: TorchAbi) -> Result<Self, ChannelError> {
        let digits = cuda.strip_prefix("cu").unwrap_or_default();
        // Major and minor, of one to three digits each: what a CUDA version can be.
        let is_cuda = matches!(digits.len(), 2..=6) && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_cuda && cuda != "cpu" {
            return Err(ChannelError {
                text: format!("{cuda}/torch{torch}"),
            });
        }
        Ok(Self {
            cuda: cuda.to_owned(),
            torch,
            variant: None,
        })
    }

    /// The channel of the same CUDA and torch for wheels of a variant.
    #[must_use]
    pub fn of_variant(self, variant: Option<VariantName>) -> Self {
        Self { variant, ..self }
    }

    /// The CUDA tag as torch's own indexes write it: `cu130`.
    pub fn cuda(&self) -> &str {
        &self.cuda
    }

    /// The torch that its wheels are for.
    pub fn torch(&self) -> TorchAbi {
        self.torch
    }

    /// The variant of its wheels, if they are of one.
    pub fn variant(&self) -> Option<&VariantName> {
        self.variant.as_ref()
    }

    /// The local version of its compiled wheels: `cu130torch2.11`, `cu130torch2.11.avx512`.
    pub fn local_version(&self) -> LocalVersion {
        let variant = match &self.variant {
            None => String::new(),
            Some(variant) => format!(".{variant}"),
        };
        format!("{}torch{}{variant}", self.cuda, self.torch)
            .parse()
            .expect("a checked CUDA tag, numbers, a day and a word are a local version")
    }

    /// Whether a wheel with that local version may stand here: one without, one of the channel,
    /// or one that leaves torch open because it is not tied to it (`cu130`). Wheels of a variant
    /// say so.
    pub fn admits(&self, local: Option<&LocalVersion>) -> bool {
        if self.variant.is_some() {
            return local.is_some_and(|local| *local == self.local_version());
        }
        local.is_none_or(|local| local.as_str() == self.cuda || *local == self.local_version())
    }
}

impl FromStr for Channel {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ChannelError {
            text: text.to_owned(),
        };
        let (cuda, torch) = text.split_once("/torch").ok_or_else(wrong)?;
        let (torch, variant) = match torch.split_once('-') {
            None => (torch, None),
            Some((torch, variant)) => (torch, Some(variant.parse().map_err(|_| wrong())?)),
        };
        let channel = Self::new(cuda, torch.parse().map_err(|_| wrong())?)?;
        Ok(channel.of_variant(variant))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/torch{}", self.cuda, self.torch)?;
        match &self.variant {
            None => Ok(()),
            Some(variant) => write!(f, "-{variant}"),
        }
    }
}

impl TryFrom<String> for Channel {
    type Error = ChannelError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> String {
        channel.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::CudaVersion;

    #[test]
    fn channels_round_trip() {
        for text in [
            "cu130/torch2.11",
            "cu118/torch2.0",
            "cpu/torch2.8",
            "cu130/torch2.16.dev20261120",
            "cu130/torch2.11-avx512",
        ] {
            assert_eq!(text.parse::<Channel>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "cu130",
            "cu130/2.11",
            "../torch2.8",
            "cu/torch2.8",
            "cu13a/torch2.8",
            "cu130/torch2",
            "cu130/torch2.16.dev1",
            "cu130/torch2.11-",
            "cu130/torch2.11-AVX",
        ] {
            assert!(bad.parse::<Channel>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_channel_admits_its_own_wheels() {
        let channel: Channel = "cu130/torch2.11".parse().unwrap();
        let admits = |local: &str| channel.admits(Some(&local.parse().unwrap()));
        assert_eq!(channel.local_version().as_str(), "cu130torch2.11");
        assert!(channel.admits(None) && admits("cu130") && admits("cu130torch2.11"));
        assert!(!admits("cu130torch2.1") && !admits("cu128torch2.11") && !admits("cu13"));
    }

    #[test]
    fn every_cuda_version_that_can_be_written_names_a_channel() {
        for text in ["1.0", "13.0", "12.10", "255.255"] {
            let cuda: CudaVersion = text.parse().unwrap();
            let channel = Channel::new(&cuda.tag(), "2.11".parse().unwrap()).unwrap();
            assert_eq!(channel.to_string().parse::<Channel>().unwrap(), channel);
        }
    }

    #[test]
    fn wheels_of_a_variant_are_seen_only_by_who_asks_for_it() {
        let channel: Channel = "cu130/torch2.11-avx512".parse().unwrap();
        let admits = |local: &str| channel.admits(Some(&local.parse().unwrap()));
        assert!(admits("cu130torch2.11.avx512"));
        assert!(!admits("cu130torch2.11") && !admits("cu130") && !channel.admits(None));
        let plain: Channel = "cu130/torch2.11".parse().unwrap();
        assert!(!plain.admits(Some(&channel.local_version())));
    }

    #[test]
    fn a_nightly_has_a_channel_of_its_own() {
        let channel: Channel = "cu130/torch2.16.dev20261120".parse().unwrap();
        let admits = |local: &str| channel.admits(Some(&local.parse().unwrap()));
        assert_eq!(
            channel.local_version().as_str(),
            "cu130torch2.16.dev20261120"
        );
        assert!(admits("cu130torch2.16.dev20261120"));
        assert!(!admits("cu130torch2.16") && !admits("cu130torch2.16.dev20261121"));
        let release: Channel = "cu130/torch2.16".parse().unwrap();
        assert!(!release.admits(Some(&channel.local_version())));
    }
}
