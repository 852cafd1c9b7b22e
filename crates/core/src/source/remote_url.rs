//! The address of one file on a web server, which may hold a secret.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::simple_index::percent_decoded;

/// A file on a web server: `https://…` or `http://…`.
///
/// It may hold a password before the host or a signature in its query, so `Display` and `Debug`
/// leave both out.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUrl(Url);

/// The text is not the address of a file on a web server. It is not shown, for it may hold a
/// secret.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("the address is none of a file on a web server")]
pub struct RemoteUrlError;

impl RemoteUrlError {
    /// What to write instead.
    pub fn hint(self) -> &'static str {
        "write `https://` or `http://`, the host and the path of the file"
    }
}

impl RemoteUrl {
    /// Whether `text` is meant for an address and not for a path of this machine.
    pub fn is_meant(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric())
        })
    }

    /// The whole address, secrets included: for requests, not for messages.
    pub fn with_secrets(&self) -> &str {
        self.0.as_str()
    }

    /// The name of the file: the last part of the path, `%2B` read as `+`.
    pub fn file_name(&self) -> Option<String> {
        let last = self.0.path_segments()?.next_back()?;
        percent_decoded(last).filter(|name| !name.is_empty())
    }
}

impl FromStr for RemoteUrl {
    type Err = RemoteUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url: Url = text.parse().map_err(|_| RemoteUrlError)?;
        // Indexes put a digest there; no server ever sees it.
        url.set_fragment(None);
        let is_web = matches!(url.scheme(), "https" | "http") && url.has_host();
        is_web.then_some(Self(url)).ok_or(RemoteUrlError)
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme();
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{scheme}://{host}")?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())?;
        match self.0.query() {
            Some(_) => f.write_str("?…"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<(&str, Option<&str>)>) {
        let found = text.parse::<RemoteUrl>().ok();
        let found = found.map(|url| (url.to_string(), url.file_name()));
        let want = want.map(|(shown, name)| (shown.to_owned(), name.map(str::to_owned)));
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn addresses_of_files_are_taken_and_shown_without_secrets() {
        check(
            "https://x.org/a/t-2.8.0%2Bcu128-py3-none-any.whl#sha256=00",
            Some((
                "https://x.org/a/t-2.8.0%2Bcu128-py3-none-any.whl",
                Some("t-2.8.0+cu128-py3-none-any.whl"),
            )),
        );
        check(
            "http://me:secret@x.org:8080/a.whl?sig=secret",
            Some(("http://x.org:8080/a.whl?…", Some("a.whl"))),
        );
        check("https://x.org", Some(("https://x.org/", None)));
        check("http://[::1]:80/a", Some(("http://[::1]/a", Some("a"))));
        check("file:///a.whl", None);
        check("ftp://x.org/a.whl", None);
        check("https://", None);
        check("a.whl", None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let url: RemoteUrl = "https://me:secret@x.org/a?secret".parse().unwrap();
        assert_eq!(format!("{url:?}"), "RemoteUrl(https://x.org/a?…)");
        assert!(url.with_secrets().contains("secret"));
    }

    #[test]
    fn paths_are_not_meant_for_addresses() {
        for (text, want) in [
            ("https://x.org/a.whl", true),
            ("s3://bucket/a.whl", true),
            ("out/a.whl", false),
            ("./a://b", false),
            ("://", false),
        ] {
            assert_eq!(RemoteUrl::is_meant(text), want, "{text}");
        }
    }
}
