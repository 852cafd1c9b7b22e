//! How a test Hub is set up: storage, tokens, limits. The defaults are the real Hub's numbers.

use std::time::Duration;

use camino::Utf8PathBuf;

/// A token that may write everywhere.
pub const WRITE_TOKEN: &str = "hf_testhubwrite";
/// A token that may read everything and write nothing.
pub const READ_TOKEN: &str = "hf_testhubread";
/// A token that is valid and has no rights to anything private.
pub const STRANGER_TOKEN: &str = "hf_testhubstranger";
/// What the loopback stand-in for GitHub's OIDC endpoint wants as its bearer token.
pub const OIDC_REQUEST_TOKEN: &str = "ghs_testhuboidc";

/// Which storage LFS files go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Xet for clients that offer it in the LFS batch, as the real Hub does; others get plain LFS.
    Xet,
    /// Plain LFS only, as a self-hosted Hub without Xet: there are no Xet tokens.
    Lfs,
}

/// What the owner of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads and writes.
    Write,
    /// Reads, private repos too.
    Read,
    /// Reads public repos only.
    Stranger,
}

/// One token that the Hub knows.
#[derive(Clone)]
pub struct Token {
    /// What stands in the `Authorization` header, or as the password of basic authentication.
    pub value: String,
    /// Whose it is: `whoami` says so, and commits carry it as their author.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// The only repo it is good for, `name/space` or `datasets/name/space`; all where there is none.
    pub repo: Option<String>,
}

impl Token {
    /// A token for all repos.
    pub fn new(value: &str, user: &str, role: Role) -> Self {
        Self {
            value: value.to_owned(),
            user: user.to_owned(),
            role,
            repo: None,
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("user", &self.user)
            .field("role", &self.role)
            .field("repo", &self.repo)
            .finish_non_exhaustive()
    }
}

/// A CI job that may exchange its OIDC token for a token of one repo.
///
/// The subject is the `sub` claim of the job, and the test Hub's own OIDC endpoint mints for the first
/// publisher. See <https://huggingface.co/docs/hub/trusted-publishers>.
#[derive(Debug, Clone)]
pub struct TrustedPublisher {
    /// The claim, such as `repo:acme/wheels:ref:refs/heads/main`.
    pub subject: String,
    /// The repo it is trusted for, `namespace/name`, `datasets/namespace/name` or `spaces/namespace/name`.
    pub resource: String,
}

/// What the Hub allows. Sources of the numbers: hub.md section 4.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Commits to one repo within an hour; more are answered with 429.
    pub commits_per_hour: u32,
    /// Requests to `/api` within five minutes, all callers together.
    pub api_requests: u32,
    /// Requests to `/resolve` within five minutes, all callers together.
    pub resolve_requests: u32,
    /// Entries directly in one folder; a commit that makes it more is refused.
    pub folder_entries: usize,
    /// Rows on a page of the tree; directories count. With `expand` a page has at most 50.
    pub page_rows: usize,
    /// Files above this many bytes are LFS whatever `.gitattributes` says.
    pub regular_bytes: u64,
    /// Plain LFS uploads above this many bytes go in parts.
    pub multipart_from_bytes: u64,
    /// How many bytes a part of such an upload has.
    pub multipart_part_bytes: u64,
    /// How long the signed links to the CDN work.
    pub link_lifetime: Duration,
    /// How long tokens for the CAS work.
    pub xet_token_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commits_per_hour: 128,
            api_requests: 1000,
            resolve_requests: 5000,
            folder_entries: 10_000,
            page_rows: 1000,
            regular_bytes: 10_000_000,
            multipart_from_bytes: 5_000_000_000,
            multipart_part_bytes: 20_000_000,
            link_lifetime: Duration::from_hours(1),
            xet_token_lifetime: Duration::from_mins(15),
        }
    }
}

/// Whether what a client says of a Xet file is held against its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XetCheck {
    /// The file is put together and hashed before a commit may name it.
    Bytes,
    /// The sha256 that stands in the shard is believed. For measurements.
    Shard,
}

/// How to start a [`TestHub`](crate::TestHub).
#[derive(Debug, Clone)]
pub struct Options {
    /// Which storage LFS files go to.
    pub mode: Mode,
    /// The Hub's port on 127.0.0.1, 0 for any that is free. The other servers take any.
    pub port: u16,
    /// Where contents are kept; without it LFS files are in a temporary folder and Xet in memory.
    /// Repos, commits and tokens are in memory in any case.
    pub data: Option<Utf8PathBuf>,
    /// Who may do what.
    pub tokens: Vec<Token>,
    /// Which CI jobs may get a token.
    pub trusted_publishers: Vec<TrustedPublisher>,
    /// What the Hub allows.
    pub limits: Limits,
    /// How long a commit keeps its repo locked, so that a test can meet the lock.
    pub commit_time: Duration,
    /// Whether Xet files are hashed again.
    pub xet_check: XetCheck,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Xet,
            port: 0,
            data: None,
            tokens: vec![
                Token::new(WRITE_TOKEN, "farm", Role::Write),
                Token::new(READ_TOKEN, "reader", Role::Read),
                Token::new(STRANGER_TOKEN, "stranger", Role::Stranger),
            ],
            trusted_publishers: Vec::new(),
            limits: Limits::default(),
            commit_time: Duration::ZERO,
            xet_check: XetCheck::Bytes,
        }
    }
}

impl Options {
    /// The defaults with a storage mode.
    pub fn mode(mode: Mode) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }
}
