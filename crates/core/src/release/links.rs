//! How the pages of a release point at its files.

use std::fmt;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::release::catalog::CatalogWheel;

/// What stands for the address of a release that knows none: a variable that shells, and pip and uv in
/// files of requirements, replace by its value.
pub const ADDRESS_VARIABLE: &str = "WHEELS_URL";

/// How pages and lines point at files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Links {
    /// From page to file: for a folder that is opened from a disk or served anywhere.
    Relative,
    /// Through the address that the root of the release is served at.
    Absolute {
        /// That address, without a slash at its end: `https://wheels.example.org`.
        base: String,
    },
    /// Through a repository on a Hub, each file at the commit that brought it.
    Hub {
        /// The Hub: `https://huggingface.co`.
        endpoint: String,
        /// The repository as addresses have it: `owner/name`, `datasets/owner/name`.
        repository: String,
    },
}

/// The text is no address that a release can be served at.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is no address of a release: {why}")]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl Links {
    /// Links through `address`, the root of the release on a web server or a disk.
    ///
    /// What it may not have: a name or a password, which would stand in every page and lock file, and
    /// a query or a fragment, behind which no path can follow.
    pub fn at(address: &str) -> Result<Self, AddressError> {
        let refuse = |why| AddressError {
            // A password must not get into a message either.
            text: match address.rsplit_once('@') {
                Some((_, host)) => format!("…@{host}"),
                None => address.to_owned(),
            },
            why,
        };
        let url: Url = address
            .parse()
            .map_err(|_| refuse("it is no URL such as `https://wheels.example.org`"))?;
        if !matches!(url.scheme(), "http" | "https" | "file") {
            return Err(refuse(
                "it begins with neither `https://`, `http://` nor `file://`",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(
                "it has a name or a password, which every page would show",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a `?` or a `#`"));
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self::Absolute { base })
    }

    /// Links into a folder on this machine's disk, for lines that are typed here; none for a path that
    /// is not absolute.
    pub fn on_disk(folder: &Utf8Path) -> Option<Self> {
        let url = Url::from_file_path(folder).ok()?;
        Self::at(url.as_str()).ok()
    }

    /// The address of `wheel` for a page that lies `depth` folders below the root of the release.
    ///
    /// On a Hub it is pinned to the wheel's commit, and to `main` while it has none. A `+` is written
    /// out (`%2B`), since object stores may read a raw one as a space.
    pub fn wheel(&self, wheel: &CatalogWheel, depth: usize) -> String {
        let commit = wheel.commit.as_deref().unwrap_or("main");
        self.file(&wheel.path(), commit, depth)
    }

    /// The address of `wheel` for a line that somebody types, or a file that is read from anywhere:
    /// never relative. Where the release knows no address it begins with `${WHEELS_URL}`.
    pub fn wheel_address(&self, wheel: &CatalogWheel) -> String {
        let commit = wheel.commit.as_deref().unwrap_or("main");
        self.address(&wheel.path(), commit)
    }

    /// The same of the file at `path`; `commit` counts on a Hub alone.
    pub fn address(&self, path: &str, commit: &str) -> String {
        match self {
            Self::Relative => format!("${{{ADDRESS_VARIABLE}}}/{}", self.file(path, commit, 0)),
            Self::Absolute { .. } | Self::Hub { .. } => self.file(path, commit, 0),
        }
    }

    /// The address of the file at `path`, seen from the root of the release; `commit` counts on a Hub
    /// alone.
    pub fn file(&self, path: &str, commit: &str, depth: usize) -> String {
        let path = path.replace('+', "%2B");
        match self {
            Self::Relative => "../".repeat(depth) + &path,
            Self::Absolute { base } => format!("{base}/{path}"),
            Self::Hub {
                endpoint,
                repository,
            } => format!("{endpoint}/{repository}/resolve/{commit}/{path}"),
        }
    }
}

/// For people: `relative`, or where they lead.
impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative => f.write_str("relative"),
            Self::Absolute { base } => f.write_str(base),
            Self::Hub {
                endpoint,
                repository,
            } => write!(f, "{endpoint}/{repository}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::catalog::tests::sample;

    #[test]
    fn a_wheel_is_found_from_a_page_a_host_and_a_hub() {
        let mut wheel = sample();
        let path = wheel.path().replace('+', "%2B");
        assert!(path.starts_with("files/") && path.contains("%2B"), "{path}");
        assert_eq!(Links::Relative.wheel(&wheel, 2), format!("../../{path}"));
        assert_eq!(
            Links::Relative.wheel_address(&wheel),
            format!("${{WHEELS_URL}}/{path}")
        );
        let host = Links::Absolute {
            base: "https://wheels.example.org".to_owned(),
        };
        assert_eq!(
            host.wheel(&wheel, 5),
            format!("https://wheels.example.org/{path}")
        );
        let hub = Links::Hub {
            endpoint: "https://huggingface.co".to_owned(),
            repository: "datasets/me/wheels".to_owned(),
        };
        let at = |commit: &str| {
            format!("https://huggingface.co/datasets/me/wheels/resolve/{commit}/{path}")
        };
        assert_eq!(hub.wheel(&wheel, 5), at("main"));
        wheel.commit = Some("0123456789abcdef".to_owned());
        assert_eq!(hub.wheel(&wheel, 5), at("0123456789abcdef"));
    }

    #[track_caller]
    fn check_address(text: &str, want: &str) {
        let said = match Links::at(text) {
            Ok(links) => links.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, want);
    }

    #[test]
    fn an_address_is_one_that_a_path_can_follow_and_shows_no_password() {
        check_address("https://wheels.example.org/", "https://wheels.example.org");
        check_address("http://127.0.0.1:8000/a/b//", "http://127.0.0.1:8000/a/b");
        check_address("file:///srv/wheels", "file:///srv/wheels");
        check_address(
            "wheels.example.org",
            "`wheels.example.org` is no address of a release: it is no URL such as `https://wheels.example.org`",
        );
        check_address(
            "ftp://example.org",
            "`ftp://example.org` is no address of a release: it begins with neither `https://`, `http://` nor `file://`",
        );
        check_address(
            "https://me:secret@example.org",
            "`…@example.org` is no address of a release: it has a name or a password, which every page would show",
        );
        check_address(
            "https://example.org/?a",
            "`https://example.org/?a` is no address of a release: it has a `?` or a `#`",
        );
        let links = Links::on_disk("/srv/my wheels".into()).unwrap();
        assert_eq!(links.to_string(), "file:///srv/my%20wheels");
        assert_eq!(Links::on_disk("wheels".into()), None);
    }
}
