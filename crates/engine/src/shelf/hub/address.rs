//! Where a shelf on a Hub is: the Hub, and the repository there.

use std::fmt;
use std::str::FromStr;

/// The Hub that everybody means.
const PUBLIC_HUB: &str = "https://huggingface.co";

/// The longest owner or name that the Hub takes (`huggingface_hub`, `validate_repo_id`).
const NAME_CHARS: usize = 96;

/// A Hub's address: `https://huggingface.co`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Default for Endpoint {
    fn default() -> Self {
        Self(PUBLIC_HUB.to_owned())
    }
}

impl Endpoint {
    /// Whether it is huggingface.co.
    pub fn is_public_hub(&self) -> bool {
        self.0 == PUBLIC_HUB
    }

    /// The address without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `url` is an address of this Hub, so that it may be asked with its token.
    pub(super) fn is_of(&self, url: &str) -> bool {
        url.strip_prefix(&self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Endpoint {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.trim_end_matches('/');
        let host = address
            .strip_prefix("https://")
            .or_else(|| address.strip_prefix("http://"));
        let is_plain = |host: &str| {
            let odd = |c: char| c.is_whitespace() || c.is_control() || "@?#".contains(c);
            !host.is_empty() && !host.starts_with('/') && !host.contains(odd)
        };
        match host {
            Some(host) if is_plain(host) => Ok(Self(address.to_owned())),
            // Not with its text, which may hold a password.
            Some(_) | None => Err(AddressError::Endpoint),
        }
    }
}

/// What a repository is for the Hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryKind {
    /// A model: what addresses without a kind mean.
    Model,
    /// A dataset.
    Dataset,
    /// A Space: what is shown at an address of its own.
    Space,
}

impl RepositoryKind {
    /// As the API's bodies have it: `model`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
        }
    }

    /// What stands before owner and name in addresses that people see: nothing, or `datasets/`.
    fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
        }
    }
}

/// A repository on a Hub: `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    kind: RepositoryKind,
    owner: String,
    name: String,
}

impl Repository {
    /// The repository that `text` (`owner/name`) names among those of its kind.
    pub fn new(kind: RepositoryKind, text: &str) -> Result<Self, AddressError> {
        let error = || AddressError::Repository(text.to_owned());
        let (owner, name) = text.split_once('/').ok_or_else(error)?;
        if is_name(owner) && is_name(name) {
            return Ok(Self {
                kind,
                owner: owner.to_owned(),
                name: name.to_owned(),
            });
        }
        Err(error())
    }

    /// The repository after `hf://`: `owner/name`, `datasets/owner/name`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim_end_matches('/');
        if let Some(rest) = text.strip_prefix("datasets/") {
            return Self::new(RepositoryKind::Dataset, rest);
        }
        let rest = text.strip_prefix("models/").unwrap_or(text);
        Self::new(RepositoryKind::Model, rest)
    }

    /// What it is for the Hub.
    pub fn kind(&self) -> RepositoryKind {
        self.kind
    }

    /// Whose it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Its name among those of its owner.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As addresses have it: `owner/name`, `datasets/owner/name`.
    pub fn path(&self) -> String {
        format!("{}{}/{}", self.kind.prefix(), self.owner, self.name)
    }

    /// As the API's addresses have it: `models/owner/name`.
    pub(super) fn api_path(&self) -> String {
        format!("{}s/{}/{}", self.kind.as_str(), self.owner, self.name)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}", self.path())
    }
}

/// An address is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// The Hub's.
    #[error("the Hub's address is none that starts with https:// and goes on with a host alone")]
    Endpoint,
    /// A repository's.
    #[error("`{0}` is no repository on a Hub")]
    Repository(String),
    /// A place to publish to.
    #[error("`{0}` is neither a folder nor a repository on a Hub")]
    Place(String),
}

impl AddressError {
    /// What to type.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Endpoint => "write it so: `--endpoint https://huggingface.co`",
            Self::Repository(_) | Self::Place(_) => {
                "write owner and name: `hf://OWNER/REPO`, `hf://datasets/OWNER/REPO`"
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_end = |c: char| c == '-' || c == '.';
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty()
        && text.len() <= NAME_CHARS
        && text.chars().all(is_fine)
        && !text.starts_with(is_end)
        && !text.ends_with(is_end)
        && !text.contains("--")
        && !text.contains("..")
}

/// `text` as a part of an address; `/` stays where `keep_slashes`.
pub(super) fn encoded(text: &str, slashes: Slashes) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || (byte == b'/' && slashes == Slashes::Kept) {
            encoded.push(char::from(byte));
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            encoded.extend(['%', DIGITS[high], DIGITS[low]]);
        }
    }
    encoded
}

/// What becomes of slashes in a part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slashes {
    /// They go on separating.
    Kept,
    /// They belong to a name.
    Encoded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let repository = Repository::parse(text);
        let found = repository.map_or_else(|error| error.to_string(), |found| found.api_path());
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn repositories_are_of_an_owner_and_of_a_kind() {
        check("me/wheels", "models/me/wheels");
        check("models/me/wheels/", "models/me/wheels");
        check("datasets/me/wheels.cu130", "datasets/me/wheels.cu130");
        for odd in [
            "wheels",
            "spaces/me/wheels",
            "me/whe els",
            "me/..",
            "me/a--b",
            "-me/wheels",
            "me/wheels/x",
            "me/",
        ] {
            let shown = odd.trim_end_matches('/');
            check(odd, &format!("`{shown}` is no repository on a Hub"));
        }
        let space = Repository::new(RepositoryKind::Space, "me/index").unwrap();
        assert_eq!(space.path(), "spaces/me/index");
    }

    #[test]
    fn a_hub_is_a_host_and_keeps_passwords_out_of_errors() {
        let endpoint: Endpoint = "http://127.0.0.1:8080/".parse().unwrap();
        assert_eq!(endpoint.as_str(), "http://127.0.0.1:8080");
        assert!(endpoint.is_of("http://127.0.0.1:8080/api"));
        assert!(!endpoint.is_of("http://127.0.0.1:80801/api"));
        assert!(!endpoint.is_of("https://cdn.example.org/x"));
        for odd in [
            "huggingface.co",
            "https://",
            "https://me:secret@hub.org",
            "ftp://x",
        ] {
            let error = odd.parse::<Endpoint>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{odd}");
        }
    }

    #[test]
    fn what_addresses_give_a_meaning_is_written_out() {
        let path = "files/0f/a-1+cu130torch2.11-py3.whl";
        assert_eq!(
            encoded(path, Slashes::Kept),
            "files/0f/a-1%2Bcu130torch2.11-py3.whl"
        );
        assert_eq!(encoded("refs/pr/1", Slashes::Encoded), "refs%2Fpr%2F1");
    }
}
