//! Why something on a Hub failed.

use std::error::Error;
use std::time::Duration;

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::CatalogError;

use super::address::Repository;
use super::auth::Token;
use super::calls::{Refusal, Trouble};
use crate::fetch::http::HttpError;
use crate::files::FileError;
use crate::shelf::Fault;

/// Why something on a Hub failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No HTTP client can be made on this machine.
    #[error("failed to set up HTTPS")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
    /// The Hub wants a token, and there is none.
    #[error("failed to {doing} on `{address}`: the Hub wants a token, and there is none")]
    NoToken {
        /// What was attempted.
        doing: String,
        /// On which repository.
        address: String,
    },
    /// The Hub does not take the token.
    #[error("failed to {doing} on `{address}`: the Hub does not take the token{}", after(.said.as_deref()))]
    TokenRefused {
        /// What was attempted.
        doing: String,
        /// On which repository.
        address: String,
        /// What the Hub said.
        said: Option<String>,
    },
    /// The token is right and may not do this.
    #[error("failed to {doing} on `{address}`: the token may not do that{}", after(.said.as_deref()))]
    Forbidden {
        /// What was attempted.
        doing: String,
        /// On which repository.
        address: String,
        /// What the Hub said.
        said: Option<String>,
    },
    /// There is no such repository, or the token may not see it.
    #[error("there is no repository `{address}`")]
    NoRepository {
        /// The repository.
        address: String,
    },
    /// No token was had for who this job on GitHub is.
    #[error("failed to get a token for `{address}` from the identity of this job: {reason}")]
    NoIdentity {
        /// The repository that it was to be for.
        address: String,
        /// Why.
        reason: String,
    },
    /// The Hub refused otherwise.
    #[error("failed to {doing} on `{address}`: the Hub answered {status}{}", after(.said.as_deref()))]
    Refused {
        /// What was attempted.
        doing: String,
        /// On which repository.
        address: String,
        /// The status.
        status: u16,
        /// What the Hub said.
        said: Option<String>,
    },
    /// The Hub does not want more requests for a while, longer than is waited.
    #[error("failed to {doing} on `{address}`: the Hub wants no more requests for {} s", .wait.as_secs())]
    TooManyRequests {
        /// What was attempted.
        doing: String,
        /// On which repository.
        address: String,
        /// How long it asked to wait.
        wait: Duration,
    },
    /// The Hub did not answer, again and again.
    #[error("failed to {doing} on `{address}`")]
    Unanswered {
        /// What was attempted.
        doing: String,
        /// On which repository.
        address: String,
        /// The last failure.
        #[source]
        source: HttpError,
    },
    /// What the Hub answered is no answer.
    #[error("failed to {doing} on `{address}`: the Hub answered with {answered}")]
    Senseless {
        /// What was attempted.
        doing: String,
        /// On which repository.
        address: String,
        /// What came.
        answered: String,
    },
    /// As many commits were made within an hour as may be.
    #[error(
        "`{address}` had {commits} commits in the last hour, and {needed} more are over the {limit} that are made in one; there is room again at {room_at}"
    )]
    BudgetSpent {
        /// The repository.
        address: String,
        /// How many there were.
        commits: usize,
        /// How many were to come.
        needed: usize,
        /// How many may be.
        limit: usize,
        /// When there is room again: RFC 3339 in UTC.
        room_at: String,
    },
    /// Somebody else changed the shelf after it was read.
    #[error("`{address}` changed meanwhile: it was read at {read}, and is at {now}")]
    ChangedMeanwhile {
        /// The repository.
        address: String,
        /// The commit that was read.
        read: String,
        /// The one that is there.
        now: String,
    },
    /// A commit was asked for again and again, and is not there.
    #[error("failed to commit to `{address}`: {reason}")]
    NoCommit {
        /// The repository.
        address: String,
        /// What came of it last.
        reason: String,
    },
    /// A commit was asked for, and may be there.
    #[error("failed to see what came of a commit to `{address}`")]
    InDoubt {
        /// The repository.
        address: String,
        /// Why that is not known.
        #[source]
        source: Box<HubError>,
    },
    /// The Hub would keep a wheel in git.
    #[error("the Hub would keep `{path}` in git and not as LFS")]
    NotLfs {
        /// The wheel.
        path: String,
    },
    /// The Hub holds something else at a path that has a name for one content.
    #[error("`{address}` has other bytes at `{path}`: {there}, and now {new}")]
    OtherBytes {
        /// The repository.
        address: String,
        /// The path.
        path: String,
        /// What is there.
        there: String,
        /// What was to be there.
        new: String,
    },
    /// What the Hub holds is not what was sent.
    #[error("`{address}` has at commit {commit} for `{path}`: {found}, and it should be {wanted}")]
    Differs {
        /// The repository.
        address: String,
        /// The commit.
        commit: String,
        /// The file.
        path: String,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A file on this machine is not what was to be sent.
    #[error("`{path}` has other bytes than when it was recorded: sha256 {}, and it should be {wanted}", .found.map_or_else(|| "of another length".to_owned(), |found| found.to_string()))]
    Altered {
        /// The file.
        path: String,
        /// Its digest, where it has the right length.
        found: Option<Sha256Digest>,
        /// The digest that was recorded.
        wanted: Sha256Digest,
    },
    /// Uploading failed in the Hub's own library.
    #[error("failed to upload to `{address}`: {reason}")]
    Upload {
        /// The repository.
        address: String,
        /// What the library said.
        reason: String,
        /// How long the Hub asked to wait, where the library says it.
        wait: Option<Duration>,
    },
    /// The catalog on the shelf cannot be used.
    #[error("failed to read what is on `{address}`")]
    Catalog {
        /// The repository.
        address: String,
        /// Why.
        #[source]
        source: CatalogError,
    },
    /// A Space has no address that is known.
    #[error("the Hub `{endpoint}` shows Spaces at an address that is not known")]
    SpaceAddress {
        /// The Hub.
        endpoint: String,
    },
    /// This machine's disk.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Fault for HubError {
    fn hint(&self) -> Option<String> {
        self.advice().map(str::to_owned)
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::OtherBytes { .. } | Self::Altered { .. })
    }

    fn is_in_doubt(&self) -> bool {
        // What was looked for in vain may land later.
        matches!(self, Self::InDoubt { .. } | Self::NoCommit { .. })
    }
}

/// What to do where nothing better is known.
const AGAIN: &str = "run it again: what was uploaded is not uploaded twice";

impl HubError {
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoToken { .. } => Some(
                "set HF_TOKEN to a token that may write to the repository, or log in: `hf auth login`",
            ),
            Self::TokenRefused { .. } => Some(
                "it may have expired; make another at https://huggingface.co/settings/tokens and set \
                 HF_TOKEN to it",
            ),
            Self::Forbidden { .. } => Some(
                "give HF_TOKEN a token with the right to write to this repository, or publish to \
                 another one",
            ),
            Self::NoRepository { .. } => Some(
                "make it with `--create`, private with `--create --private`; a private one is seen \
                 with a token that may read it alone",
            ),
            Self::NoIdentity { .. } => Some(
                "add this workflow to the Trusted Publishers in the repository's settings on the Hub, or \
                 set HF_TOKEN",
            ),
            Self::ChangedMeanwhile { .. } => {
                Some("nothing was changed; run it again, on what is there now")
            }
            Self::NoCommit { .. } => Some(
                "run it again: what was uploaded is not uploaded twice, and a commit that landed is seen",
            ),
            Self::InDoubt { source, .. } => source.advice().or(Some(AGAIN)),
            Self::Unanswered { .. } | Self::Senseless { .. } | Self::Upload { .. } => Some(AGAIN),
            Self::TooManyRequests { .. } | Self::BudgetSpent { .. } => {
                Some("run it again then; what was uploaded is not uploaded twice")
            }
            Self::NotLfs { .. } => Some(
                "add `*.whl filter=lfs diff=lfs merge=lfs -text` to `.gitattributes` on the \
                 repository's branch `wheels`",
            ),
            Self::OtherBytes { .. } => {
                Some("the path names one content by its digest; remove what is there by hand")
            }
            Self::Altered { .. } => {
                Some("build the job again: `wheelfarm build --force --only <job>`")
            }
            Self::Differs { .. } => Some("return to the release before: `wheelfarm rollback`"),
            Self::SpaceAddress { .. } => Some("say it: `--index-url URL`"),
            Self::Catalog {
                source: CatalogError::OtherSchema { .. },
                ..
            } => Some("publish to a new repository, or with another version of wheelfarm"),
            Self::Setup(_) | Self::Refused { .. } | Self::Catalog { .. } | Self::File(_) => None,
        }
    }

    /// How long the Hub asked to wait before the same upload is tried again.
    pub(super) fn asked_wait(&self) -> Option<Duration> {
        if let Self::Upload { wait, .. } = self {
            *wait
        } else {
            None
        }
    }

    /// Whether an upload that failed so may work in a while, on what is there then.
    pub(super) fn may_pass(&self) -> bool {
        if let Self::InDoubt { source, .. } = self {
            return source.may_pass();
        }
        matches!(
            self,
            Self::Unanswered { .. }
                | Self::Senseless { .. }
                | Self::Upload { .. }
                | Self::NoCommit { .. }
                | Self::ChangedMeanwhile { .. }
        )
    }

    /// The failure of a call.
    pub(super) fn of(
        doing: &str,
        repository: &Repository,
        token: Option<&Token>,
        trouble: Trouble,
    ) -> Self {
        let (doing, address) = (doing.to_owned(), repository.to_string());
        let refusal = match trouble {
            Trouble::Refused(refusal) => refusal,
            Trouble::Unanswered(source) => {
                return Self::Unanswered {
                    doing,
                    address,
                    source,
                };
            }
            Trouble::Senseless(answered) => {
                return Self::Senseless {
                    doing,
                    address,
                    answered,
                };
            }
        };
        let Refusal {
            status,
            code,
            said,
            wait,
        } = refusal;
        let is_missing = code.as_deref() == Some("RepoNotFound");
        match (status, token) {
            // Without a token a private repository, a missing one and a wrong token look the same.
            (404, _) | (401, None) if is_missing => Self::NoRepository { address },
            (401 | 403, None) => Self::NoToken { doing, address },
            (401, Some(_)) => Self::TokenRefused {
                doing,
                address,
                said,
            },
            (403, Some(_)) => Self::Forbidden {
                doing,
                address,
                said,
            },
            (429, _) if wait.is_some() => Self::TooManyRequests {
                doing,
                address,
                wait: wait.unwrap_or_default(),
            },
            _ => Self::Refused {
                doing,
                address,
                status,
                said,
            },
        }
    }

    /// No token for the identity of a job.
    pub(super) fn of_identity(repository: &Repository, trouble: &Trouble) -> Self {
        Self::NoIdentity {
            address: repository.to_string(),
            reason: trouble.to_string(),
        }
    }
}

/// What the Hub said, behind what it did.
fn after(said: Option<&str>) -> String {
    said.map(|said| format!(": {said}")).unwrap_or_default()
}
