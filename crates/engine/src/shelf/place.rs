//! Where to publish to, as a user types it.

use std::ffi::OsString;
use std::fmt;

use camino::Utf8PathBuf;

use super::hub::{AddressError, Endpoint, Repository};

/// A place that releases are published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(Utf8PathBuf),
    /// A repository on a Hub.
    Hub(Repository),
}

impl Place {
    /// The place that `text` names: `hf://owner/name`, `hf://datasets/owner/name`, or a folder.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(repository) = text.strip_prefix("hf://") {
            return Repository::parse(repository).map(Self::Hub);
        }
        // An address of another kind is no folder that somebody wants made.
        if text.is_empty() || text.contains("://") {
            return Err(AddressError::Place(text.to_owned()));
        }
        Ok(Self::Folder(Utf8PathBuf::from(text)))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.fmt(f),
            Self::Hub(repository) => repository.fmt(f),
        }
    }
}

/// The Hub that is meant: the one that is `given`, `HF_ENDPOINT`, or huggingface.co.
pub fn endpoint(
    given: Option<&str>,
    variables: &[(OsString, OsString)],
) -> Result<Endpoint, AddressError> {
    let named = variables.iter().find(|(name, _)| name == "HF_ENDPOINT");
    let named = named.and_then(|(_, value)| value.to_str());
    match given.or(named).filter(|text| !text.is_empty()) {
        Some(text) => text.parse(),
        None => Ok(Endpoint::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let place = Place::parse(text);
        let found = place.map_or_else(|error| error.to_string(), |place| format!("{place:?}"));
        assert!(found.contains(want), "{text}: {found}");
    }

    #[test]
    fn a_place_is_a_folder_or_on_a_hub() {
        check("hf://me/wheels", "Hub(");
        check("hf://datasets/me/wheels", "Dataset");
        check("dist/release", "Folder(");
        check("/srv/wheels", "Folder(");
        check("hf://wheels", "is no repository");
        check("hf://spaces/me/index", "is no repository");
        check("https://huggingface.co/me/wheels", "is neither");
        check("s3://bucket", "is neither");
        check("", "is neither");
        assert_eq!(
            Place::parse("hf://models/me/wheels").unwrap().to_string(),
            "hf://me/wheels"
        );
    }

    #[test]
    fn a_flag_comes_before_the_environment() {
        let variables = [(
            OsString::from("HF_ENDPOINT"),
            OsString::from("http://127.0.0.1:1/"),
        )];
        let found = |given, variables: &[_]| endpoint(given, variables).unwrap().to_string();
        assert_eq!(found(None, &variables), "http://127.0.0.1:1");
        assert_eq!(
            found(Some("https://hub.org"), &variables),
            "https://hub.org"
        );
        assert_eq!(found(None, &[]), "https://huggingface.co");
        assert!(endpoint(Some("hub.org"), &[]).is_err());
    }
}
