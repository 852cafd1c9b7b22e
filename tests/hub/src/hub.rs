//! What all servers share: repos, tokens, storages, limits, and the log.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::access::{Caller, Tokens};
use crate::answer::Refusal;
use crate::blobs::Blobs;
use crate::cas::Cas;
use crate::cdn;
use crate::content::Content;
use crate::limits::Quota;
use crate::log::Log;
use crate::options::{Mode, Options};
use crate::repo::{Change, ChangeError, Entry, Kind, Repo, RepoName, Saying, Tree, changed};

/// Where the servers listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) hub: SocketAddr,
    pub(crate) cdn: SocketAddr,
    pub(crate) cas: SocketAddr,
    pub(crate) spaces: SocketAddr,
}

impl Addresses {
    pub(crate) fn hub(&self) -> String {
        format!("http://{}", self.hub)
    }

    pub(crate) fn cdn(&self) -> String {
        format!("http://{}", self.cdn)
    }

    pub(crate) fn cas(&self) -> String {
        format!("http://{}", self.cas)
    }

    pub(crate) fn spaces(&self) -> String {
        format!("http://{}", self.spaces)
    }
}

/// The state of a Hub.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) options: Options,
    pub(crate) addresses: Addresses,
    /// Makes the signatures of this Hub its own.
    pub(crate) secret: String,
    pub(crate) log: Log,
    repos: Mutex<BTreeMap<RepoName, Repo>>,
    pub(crate) tokens: Mutex<Tokens>,
    pub(crate) api_quota: Mutex<Quota>,
    pub(crate) resolve_quota: Mutex<Quota>,
    pub(crate) blobs: Blobs,
    pub(crate) cas: Option<Cas>,
    pub(crate) tracker: TaskTracker,
    uploads: AtomicU64,
    /// Removed when the Hub stops.
    _folder: Option<TempDir>,
}

impl Hub {
    pub(crate) async fn open(options: Options, addresses: Addresses) -> io::Result<Self> {
        let tracker = TaskTracker::new();
        let temporary = match options.data {
            Some(_) => None,
            None => Some(TempDir::with_prefix("test-hub-")?),
        };
        let blobs = match (&options.data, &temporary) {
            (Some(folder), _) => folder.join("lfs"),
            (None, Some(folder)) => folder
                .path()
                .to_path_buf()
                .try_into()
                .map_err(io::Error::other)?,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        let cas = match options.mode {
            Mode::Xet => {
                let folder = options.data.as_ref().map(|folder| folder.join("xet"));
                Some(Cas::start(folder.as_deref(), options.xet_check, &tracker).await?)
            }
            Mode::Lfs => None,
        };
        Ok(Self {
            secret: format!("{addresses:?} {}", jiff::Timestamp::now()),
            log: Log::default(),
            repos: Mutex::default(),
            tokens: Mutex::new(Tokens::new(options.tokens.clone())),
            api_quota: Mutex::new(Quota::new("api", options.limits.api_requests)),
            resolve_quota: Mutex::new(Quota::new("resolvers", options.limits.resolve_requests)),
            blobs: Blobs::open(blobs)?,
            cas,
            tracker,
            uploads: AtomicU64::new(0),
            _folder: temporary,
            options,
            addresses,
        })
    }

    /// A name for a partial upload that no other one has.
    pub(crate) fn next_upload(&self) -> u64 {
        self.uploads.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn repos(&self) -> MutexGuard<'_, BTreeMap<RepoName, Repo>> {
        self.repos
            .lock()
            .expect("no code panics while it holds the repos")
    }

    /// Looks at a repo that the caller may see.
    pub(crate) fn read<T>(
        &self,
        caller: &Caller,
        name: &RepoName,
        look: impl FnOnce(&Repo) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match self.repos().get(name) {
            Some(repo) if !repo.private || caller.can_read(name) => look(repo),
            _ => Err(caller.no_repo()),
        }
    }

    /// Changes a repo that the caller may write to; the change gets the caller's name.
    pub(crate) fn write<T>(
        &self,
        caller: &Caller,
        name: &RepoName,
        change: impl FnOnce(&mut Repo, String) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match self.repos().get_mut(name) {
            Some(repo) if !repo.private || caller.can_read(name) => {
                let user = caller.writer(name)?;
                change(repo, user)
            }
            _ => Err(caller.no_repo()),
        }
    }

    /// Where the bytes of an entry are.
    pub(crate) async fn content(&self, entry: &Entry) -> Result<Content, Refusal> {
        match entry {
            Entry::Regular { bytes, .. } => Ok(Content::Bytes(bytes.clone())),
            Entry::Lfs { sha256, .. } => {
                cdn::find(self, sha256).await?.ok_or_else(Refusal::no_route)
            }
        }
    }

    /// The files of a public static Space.
    pub(crate) fn static_tree(&self, name: &RepoName) -> Option<Arc<Tree>> {
        let repos = self.repos();
        let repo = repos.get(name)?;
        let is_static = repo.sdk.as_deref() == Some("static") && !repo.private;
        let commit = repo.resolve("main").filter(|_| is_static)?;
        Some(Arc::clone(&commit.tree))
    }

    /// A commit from inside, without a request, a token or a limit.
    pub(crate) fn commit_from_inside(
        &self,
        name: &RepoName,
        branch: &str,
        saying: Saying,
        changes: Vec<Change>,
    ) -> Result<Option<String>, ChangeError> {
        let mut repos = self.repos();
        let Some(repo) = repos.get_mut(name) else {
            return Ok(None);
        };
        let Some((parent, tree)) = repo
            .resolve(branch)
            .map(|commit| (commit.id.clone(), Arc::clone(&commit.tree)))
        else {
            return Ok(None);
        };
        let tree = changed(&tree, changes, usize::MAX)?;
        let id = repo.record(Some(parent), saying, tree, &name.to_string());
        repo.refs.insert(format!("refs/heads/{branch}"), id.clone());
        Ok(Some(id))
    }

    /// Someone else's commit on `main` of the repo that a path names.
    pub(crate) fn other_commit(&self, path: &str) {
        let words: Vec<&str> = path
            .trim_start_matches('/')
            .trim_start_matches("api/")
            .trim_start_matches("models/")
            .split('/')
            .collect();
        let (kind, rest) = match words.split_first() {
            Some((first, rest)) if Kind::from_plural(first).is_some() => {
                (Kind::from_plural(first), rest)
            }
            _ => (Some(Kind::Model), words.as_slice()),
        };
        if let (Some(kind), [owner, name, ..]) = (kind, rest) {
            let name = RepoName {
                kind,
                owner: (*owner).to_owned(),
                name: name.trim_end_matches(".git").to_owned(),
            };
            let saying = Saying {
                title: "Someone else's commit".to_owned(),
                message: String::new(),
                author: "other".to_owned(),
            };
            let number = self.next_upload();
            let change = Change::Add {
                path: format!("other/{number}.txt"),
                entry: Entry::regular(Bytes::from_static(b"someone else's\n")),
            };
            // A path of no repo moves no head.
            self.commit_from_inside(&name, "main", saying, vec![change])
                .ok();
        }
    }
}
