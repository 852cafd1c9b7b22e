//! Why a source could not be fetched.

use std::path::PathBuf;
use std::time::Duration;

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::{GitCommit, PackageName};
use wheelfarm_core::source::simple_index::{FindSdistError, IndexPageError};
use wheelfarm_core::source::{GitUrl, IndexUrl, SourceUrlError, TreeError, TreePath};

use super::http::HttpError;
use crate::files::FileError;

/// Why a source could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No HTTP client can be made on this machine.
    #[error("failed to set up HTTPS")]
    Setup {
        /// What stands in the way.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The index does not know the project.
    #[error("index `{index}` has no project `{project}`")]
    NoProject {
        /// The index.
        index: IndexUrl,
        /// The project.
        project: PackageName,
    },
    /// The index answers with something that is no project page.
    #[error("index `{index}` answers with `{content_type}`, which is no project page")]
    ContentType {
        /// The index.
        index: IndexUrl,
        /// What it calls the answer.
        content_type: String,
    },
    /// The project's page cannot be read.
    #[error("failed to read the page of `{project}` on index `{index}`")]
    Page {
        /// The index.
        index: IndexUrl,
        /// The project.
        project: PackageName,
        /// What is wrong with it.
        #[source]
        source: IndexPageError,
    },
    /// The sdist is not on the page.
    #[error("failed to find the sdist of `{project}` on index `{index}`")]
    Find {
        /// The index.
        index: IndexUrl,
        /// The project.
        project: PackageName,
        /// What is there instead.
        #[source]
        source: Box<FindSdistError>,
    },
    /// A file is not on its project's page.
    #[error("index `{index}` has no `{file_name}`")]
    NoFile {
        /// The index.
        index: IndexUrl,
        /// The file.
        file_name: String,
    },
    /// What was downloaded is not what the package pins.
    #[error("`{file_name}` came with sha256 {found}, and {wanted} is wanted")]
    Digest {
        /// The file.
        file_name: String,
        /// The digest that the package pins.
        wanted: Sha256Digest,
        /// The digest of what came.
        found: Sha256Digest,
    },
    /// A request failed.
    #[error(transparent)]
    Http(HttpError),
    /// The machine has no git.
    #[error("failed to run `git`: it is not installed")]
    NoGit,
    /// git could not be run at all.
    #[error("failed to run `git`")]
    RunGit {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// git failed.
    #[error("`git {command}` for `{url}` failed with {status}")]
    Git {
        /// The git command: `fetch`.
        command: &'static str,
        /// The repository.
        url: GitUrl,
        /// How it ended.
        status: String,
        /// The end of what it said.
        #[source]
        said: GitSaid,
    },
    /// git said nothing for too long.
    #[error("git said nothing of `{url}` for {} s", .limit.as_secs())]
    GitStalled {
        /// The repository.
        url: GitUrl,
        /// How long was waited.
        limit: Duration,
    },
    /// The repository does not have the commit.
    #[error("repository `{url}` has no commit {commit}")]
    NoCommit {
        /// The repository.
        url: GitUrl,
        /// The commit.
        commit: GitCommit,
    },
    /// The repository has no branch or tag of that name.
    #[error("repository `{url}` has no branch or tag `{}`", .reference.escape_debug())]
    NoReference {
        /// The repository.
        url: GitUrl,
        /// The name.
        reference: String,
    },
    /// The project has no sdist that an installer would take.
    #[error("index `{index}` has no sdist of `{project}`")]
    NoSdists {
        /// The index.
        index: IndexUrl,
        /// The project.
        project: PackageName,
    },
    /// The index gives no digest of an sdist, so that it cannot be told from another.
    #[error("index `{index}` gives no sha256 of `{file_name}`")]
    NoDigest {
        /// The index.
        index: IndexUrl,
        /// The sdist.
        file_name: String,
    },
    /// A submodule without an address.
    #[error("submodule `{path}` of `{url}` has no address in `.gitmodules`")]
    NoSubmoduleUrl {
        /// The repository.
        url: GitUrl,
        /// Where the submodule belongs.
        path: String,
    },
    /// A submodule with an address that is not used here.
    #[error("submodule `{path}` of `{url}` cannot be fetched")]
    SubmoduleUrl {
        /// The repository.
        url: GitUrl,
        /// Where the submodule belongs.
        path: String,
        /// What is wrong with its address.
        #[source]
        source: SourceUrlError,
    },
    /// More submodules than any package has.
    #[error("`{url}` has more than {cap} submodules, counting those of its submodules")]
    TooManySubmodules {
        /// The outermost repository.
        url: GitUrl,
        /// How many are fetched.
        cap: usize,
    },
    /// What came is no source tree.
    #[error("failed to read the source of {what}")]
    Tree {
        /// The source.
        what: String,
        /// What is wrong with it.
        #[source]
        source: TreeError,
    },
    /// The folder is not there or is no folder.
    #[error("source folder `{}` is not a folder", .path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// What should be a folder, an sdist or a name in a repository is none.
    #[error("`{}` is no folder, no sdist and no name in a repository", .path.display())]
    NothingThere {
        /// What was given.
        path: PathBuf,
    },
    /// A file changed or vanished while its folder was read.
    #[error("`{path}` changed while its folder was read")]
    Changed {
        /// The file.
        path: TreePath,
    },
    /// This machine's disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What git said before it failed.
#[derive(Debug, thiserror::Error)]
#[error("git said: {0}")]
pub struct GitSaid(pub(super) String);

/// Who can do something about a failed fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchErrorKind {
    /// The package names a source that is not there, or is not what it pins.
    Source,
    /// A server or the way to it; trying later may help.
    Network,
    /// This machine: its disk is full.
    DiskFull,
    /// This machine: a tool is missing, or a file cannot be read or written.
    Machine,
}

impl FetchError {
    /// Who can do something about it.
    pub fn kind(&self) -> FetchErrorKind {
        match self {
            Self::NoProject { .. }
            | Self::Find { .. }
            | Self::NoFile { .. }
            | Self::Digest { .. }
            | Self::NoCommit { .. }
            | Self::NoReference { .. }
            | Self::NoSdists { .. }
            | Self::NoDigest { .. }
            | Self::NoSubmoduleUrl { .. }
            | Self::SubmoduleUrl { .. }
            | Self::TooManySubmodules { .. }
            | Self::Tree { .. }
            | Self::NoFolder { .. }
            | Self::NothingThere { .. }
            | Self::Changed { .. } => FetchErrorKind::Source,
            Self::ContentType { .. }
            | Self::Page { .. }
            | Self::Http(_)
            | Self::Git { .. }
            | Self::GitStalled { .. } => FetchErrorKind::Network,
            Self::File(error) if error.is_disk_full() => FetchErrorKind::DiskFull,
            Self::File(_) | Self::Setup { .. } | Self::NoGit | Self::RunGit { .. } => {
                FetchErrorKind::Machine
            }
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoGit => Some("apt-get install git"),
            Self::Find { source, .. } => Some(source.hint()),
            Self::NoProject { .. } => Some("correct the package's name or its `index`"),
            Self::Digest { .. } => Some(
                "a published file never changes: find out which of the two is genuine before you \
                 change the `sha256`",
            ),
            Self::NothingThere { .. } => Some(
                "name a folder or an sdist that is there, or a branch, a tag or a commit of the repository",
            ),
            Self::NoFolder { .. } => {
                Some("write the path of a folder that is there, from where you are or in full")
            }
            Self::NoCommit { .. } => Some(
                "look the commit up with `git ls-remote <url>`; a rewritten branch no longer has it",
            ),
            Self::NoReference { .. } => {
                Some("name a branch, a tag or a full commit: `git ls-remote <url>`")
            }
            Self::File(error) if error.is_disk_full() => {
                Some("make room, or put the cache on another disk")
            }
            Self::Setup { .. }
            | Self::ContentType { .. }
            | Self::Page { .. }
            | Self::Http(_)
            | Self::RunGit { .. }
            | Self::Git { .. }
            | Self::GitStalled { .. }
            | Self::NoFile { .. }
            | Self::NoSdists { .. }
            | Self::NoDigest { .. }
            | Self::NoSubmoduleUrl { .. }
            | Self::SubmoduleUrl { .. }
            | Self::TooManySubmodules { .. }
            | Self::Tree { .. }
            | Self::Changed { .. }
            | Self::File(_) => None,
        }
    }
}
