//! Where a package's source comes from, pinned so that it can be fetched again.

use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use url::Url;

use super::RemoteUrl;
use crate::digest::Sha256Digest;
use crate::ident::{GitCommit, PackageName};
use crate::version::PackageVersion;

/// Where a package's source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An sdist on a package index.
    Sdist {
        /// The project on the index.
        project: PackageName,
        /// Its version.
        version: PackageVersion,
        /// The digest of the `.tar.gz`.
        sha256: Sha256Digest,
        /// The index.
        index: IndexUrl,
    },
    /// A commit of a git repository.
    Git {
        /// The repository.
        url: GitUrl,
        /// The commit.
        commit: GitCommit,
        /// Whether its submodules belong to the source.
        submodules: Submodules,
    },
    /// A `.tar.gz` on a web server, whose members lie in one top folder, which is stripped.
    Archive {
        /// Where it lies.
        url: RemoteUrl,
        /// Its digest.
        sha256: Sha256Digest,
    },
    /// A folder on this machine, for trying things out: nothing pins its content.
    Folder {
        /// The folder.
        path: Utf8PathBuf,
    },
}

/// Whether a repository's submodules are fetched, each at the commit that its parent records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submodules {
    /// They stay out.
    Off,
    /// They are fetched, and theirs in turn.
    On,
}

impl Source {
    /// The text that stands for the content in a job's digest: the same text, the same content.
    ///
    /// A folder has none, for its content changes under its name; use [`Source::folder_identity`]
    /// on the tree that was read.
    pub fn identity(&self) -> Option<String> {
        match self {
            // The hash says it all: from which index the bytes came does not change the wheel.
            Self::Sdist {
                project,
                version,
                sha256,
                index: _,
            } => Some(format!("sdist {project} {version} sha256:{sha256}")),
            Self::Git {
                url: _,
                commit,
                submodules,
            } => {
                let submodules = match submodules {
                    Submodules::Off => "without submodules",
                    Submodules::On => "with submodules",
                };
                Some(format!("git {commit} {submodules}"))
            }
            Self::Archive { url: _, sha256 } => Some(format!("archive sha256:{sha256}")),
            Self::Folder { path: _ } => None,
        }
    }

    /// The text that stands for a folder in a job's digest, by the digest of what was in it.
    pub fn folder_identity(tree: Sha256Digest) -> String {
        format!("folder sha256:{tree}")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sdist {
                project, version, ..
            } => write!(f, "sdist {project} {version}"),
            Self::Git { url, commit, .. } => write!(f, "git {url} at {commit}"),
            Self::Archive { url, .. } => write!(f, "archive {url}"),
            Self::Folder { path } => write!(f, "folder {path}"),
        }
    }
}

/// The text is not an address of the kind asked for.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is not {what}: {rule}", .text.escape_debug())]
pub struct SourceUrlError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

/// A package index by the address of its simple API: `https://pypi.org/simple`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexUrl(String);

impl IndexUrl {
    /// The page that lists a project's files.
    pub fn project_page(&self, project: &PackageName) -> String {
        format!("{}/{project}/", self.0)
    }
}

impl Default for IndexUrl {
    /// PyPI.
    fn default() -> Self {
        Self("https://pypi.org/simple".to_owned())
    }
}

/// What to write where an index is wanted.
pub const INDEX_HINT: &str =
    "write `https://pypi.org/simple`, or the address of an index of your own";

impl FromStr for IndexUrl {
    type Err = SourceUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_index = |url: &Url| {
            matches!(url.scheme(), "https" | "http")
                && !has_credentials(url)
                && url.query().is_none()
                && url.fragment().is_none()
        };
        if is_plain(text) && text.parse().is_ok_and(|url| is_index(&url)) {
            return Ok(Self(text.trim_end_matches('/').to_owned()));
        }
        Err(SourceUrlError {
            text: without_credentials(text),
            what: "the address of a package index",
            rule: "`https://` or `http://`, without credentials, query or fragment",
        })
    }
}

impl fmt::Display for IndexUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A git repository by its address: `https://…`, `ssh://…`, `git@host:path`, `file:///…`.
///
/// It never starts with `-`, which git would take for an option, and never names a transport
/// helper (`ext::…`), which git would run. It holds no password: it stands in manifests and logs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitUrl(String);

impl GitUrl {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the repository is on this machine.
    pub fn is_local(&self) -> bool {
        self.0.starts_with("file://")
    }

    /// The address of a submodule as `.gitmodules` writes it: absolute, or relative to this one
    /// (`../cutlass.git`).
    pub fn submodule(&self, text: &str) -> Result<Self, SourceUrlError> {
        if !text.starts_with("./") && !text.starts_with("../") {
            return text.parse();
        }
        let mut base = self.0.trim_end_matches('/');
        let mut rest = text;
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                rest = after;
                base = base.rsplit_once('/').map_or(base, |(above, _)| above);
            } else {
                break;
            }
        }
        format!("{base}/{rest}").parse()
    }
}

impl FromStr for GitUrl {
    type Err = SourceUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_plain(text) && (is_git_url(text) || is_scp_like(text)) {
            return Ok(Self(text.to_owned()));
        }
        Err(SourceUrlError {
            text: without_credentials(text),
            what: "the address of a git repository",
            rule: "`https://`, `http://`, `ssh://`, `git://`, `file:///` or `user@host:path`, \
                   without a password",
        })
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether the text can stand in a command line and in one line of a log.
fn is_plain(text: &str) -> bool {
    !text.starts_with('-') && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_git_url(text: &str) -> bool {
    let Ok(url) = text.parse::<Url>() else {
        return false;
    };
    let has_host = url.host_str().is_some_and(|host| !host.starts_with('-'));
    match url.scheme() {
        "https" | "http" | "git" => has_host && !has_credentials(&url),
        // The user of an ssh address is an account, not a secret.
        "ssh" => has_host && url.password().is_none() && !url.username().starts_with('-'),
        "file" => text.starts_with("file:///"),
        _ => false,
    }
}

fn is_scp_like(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    let Some((user, rest)) = text.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    is_name(user) && is_name(host) && !path.is_empty() && !path.starts_with([':', '-'])
}

/// The text for an error, without what may be a secret: all between `://` and the last `@` before
/// the path.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "d1a57a546c3d395b1ffcbeecc66d81db76f3b4b5";

    #[test]
    fn identities_hold_what_decides_on_the_content_and_no_more() {
        let sdist = |index: &str| Source::Sdist {
            project: "torch-spline-conv".parse().unwrap(),
            version: "1.2.2".parse().unwrap(),
            sha256: Sha256Digest::of(b""),
            index: index.parse().unwrap(),
        };
        assert_eq!(
            sdist("https://pypi.org/simple").identity(),
            sdist("https://mirror.example/simple/").identity()
        );
        let git = |submodules| Source::Git {
            url: "https://github.com/thu-ml/SageAttention".parse().unwrap(),
            commit: COMMIT.parse().unwrap(),
            submodules,
        };
        let folder = Source::Folder {
            path: "/src".into(),
        };
        assert_eq!(folder.identity(), None);
        insta::assert_snapshot!(
            [
                sdist("https://pypi.org/simple").identity().unwrap(),
                git(Submodules::Off).identity().unwrap(),
                git(Submodules::On).identity().unwrap(),
                Source::folder_identity(Sha256Digest::of(b"")),
                git(Submodules::On).to_string(),
            ]
            .join("\n"),
            @"
            sdist torch-spline-conv 1.2.2 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
            git d1a57a546c3d395b1ffcbeecc66d81db76f3b4b5 without submodules
            git d1a57a546c3d395b1ffcbeecc66d81db76f3b4b5 with submodules
            folder sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
            git https://github.com/thu-ml/SageAttention at d1a57a546c3d395b1ffcbeecc66d81db76f3b4b5
            "
        );
    }

    #[test]
    fn index_addresses_make_project_pages() {
        let project: PackageName = "flash-attn".parse().unwrap();
        assert_eq!(
            IndexUrl::default().project_page(&project),
            "https://pypi.org/simple/flash-attn/"
        );
        let index: IndexUrl = "http://127.0.0.1:8080/root/".parse().unwrap();
        assert_eq!(
            index.project_page(&project),
            "http://127.0.0.1:8080/root/flash-attn/"
        );
        for bad in [
            "",
            "pypi.org",
            "file:///x",
            "https://u:p@x.org/",
            "https://x/?a",
        ] {
            assert!(bad.parse::<IndexUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn git_addresses_cannot_be_options_helpers_or_secrets() {
        for good in [
            "https://github.com/thu-ml/SageAttention",
            "https://github.com/thu-ml/SageAttention.git",
            "ssh://git@github.com/a/b",
            "git@github.com:a/b.git",
            "file:///tmp/repo",
        ] {
            assert!(good.parse::<GitUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "--upload-pack=x",
            "-u",
            "ext::sh -c x",
            "ext::sh",
            "/tmp/repo",
            "../repo",
            "https://token@github.com/a/b",
            "https://u:p@github.com/a/b",
            "ssh://-oProxyCommand=x/y",
            "git@-host:x",
            "file://host/x",
            "https://x/a b",
            "git@host:",
        ] {
            assert!(bad.parse::<GitUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_address_does_not_show_its_password() {
        let error = "https://u:hf_secret@github.com/a"
            .parse::<GitUrl>()
            .unwrap_err();
        assert!(!error.to_string().contains("hf_secret"), "{error}");
        assert!(error.to_string().contains("***@github.com/a"), "{error}");
    }

    #[track_caller]
    fn check_submodule(url: &str, submodule: &str, want: &str) {
        let url: GitUrl = url.parse().unwrap();
        assert_eq!(url.submodule(submodule).unwrap().as_str(), want);
    }

    #[test]
    fn submodule_addresses_are_relative_to_their_parent() {
        let base = "https://github.com/a/b.git";
        check_submodule(base, "https://x.org/c", "https://x.org/c");
        check_submodule(base, "../c.git", "https://github.com/a/c.git");
        check_submodule(base, "../../n/c.git", "https://github.com/n/c.git");
        check_submodule(base, "./c", "https://github.com/a/b.git/c");
        check_submodule("git@host:a/b", "../c", "git@host:a/c");
        check_submodule("file:///t/b/", "../c", "file:///t/c");
    }
}
