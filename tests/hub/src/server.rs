//! The Hub as a test holds it: starts it, looks into it, stops it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::answer::Refusal;
use crate::fault::Fault;
use crate::front::serve;
use crate::hub::{Addresses, Hub};
use crate::log::{Door, Request};
use crate::options::Options;
use crate::repo::{Change, Commit, Entry, Kind, Repo, RepoName, RepoNameError, Saying, Tree};

/// Why a Hub did not start.
#[derive(Debug, thiserror::Error)]
#[error("could not start the test Hub")]
pub struct StartError(#[source] io::Error);

/// Why a look into a Hub, or a change from inside, found nothing to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestHubError {
    /// The text is no repo.
    #[error(transparent)]
    Name(#[from] RepoNameError),
    /// The Hub has no such repo, or the repo no such revision.
    #[error("no repo `{repo}` with a revision `{revision}`")]
    NoRevision {
        /// The repo.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// Nothing lies at the path, or its content is gone.
    #[error("no file `{path}` in `{repo}` at `{revision}`")]
    NoFile {
        /// The repo.
        repo: String,
        /// The revision.
        revision: String,
        /// The path.
        path: String,
    },
    /// The files do not make a tree.
    #[error("the files make no tree: {0}")]
    Changes(String),
}

/// A running Hub. It has threads of its own, so that a test may block or pause its clock, and stops when
/// it is dropped. Repos are named as in URLs: `farm/wheels`, `datasets/farm/wheels`, `spaces/farm/index`.
#[derive(Debug)]
pub struct TestHub {
    hub: Arc<Hub>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestHub {
    /// Starts a Hub and waits until it listens.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        tokio::task::spawn_blocking(move || Self::start_blocking(options))
            .await
            .map_err(|error| StartError(io::Error::other(error)))?
    }

    /// Starts a Hub from a test that is not async.
    pub fn start_blocking(options: Options) -> Result<Self, StartError> {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("test-hub".to_owned())
            .spawn(move || run(options, &ready, stopped))
            .map_err(StartError)?;
        let (hub, runtime) = started
            .recv()
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(StartError)?;
        Ok(Self {
            hub,
            runtime,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What `HF_ENDPOINT` must be.
    pub fn endpoint(&self) -> String {
        self.hub.addresses.hub()
    }

    /// Where contents are uploaded to and downloaded from; another host:port than the Hub's.
    pub fn cdn(&self) -> String {
        self.hub.addresses.cdn()
    }

    /// Where Xet's storage is; nothing answers there in [`Mode::Lfs`](crate::Mode::Lfs).
    pub fn cas(&self) -> String {
        self.hub.addresses.cas()
    }

    /// Where a static Space is served, without a slash at the end.
    pub fn space_url(&self, owner: &str, name: &str) -> String {
        format!("{}/{owner}/{name}", self.hub.addresses.spaces())
    }

    /// What `ACTIONS_ID_TOKEN_REQUEST_URL` must be for a job of the first trusted publisher; its token is
    /// [`OIDC_REQUEST_TOKEN`](crate::OIDC_REQUEST_TOKEN).
    pub fn oidc_request_url(&self) -> String {
        format!("{}/_oidc/token?api-version=2.0", self.endpoint())
    }

    /// All requests so far, in the order of their numbers.
    pub fn requests(&self) -> Vec<Request> {
        self.hub.log.requests()
    }

    /// How many requests have arrived: the number of the last one.
    pub fn request_count(&self) -> u64 {
        self.hub.log.count()
    }

    /// Plants a fault. Several may be planted.
    pub fn plant(&self, fault: Fault) {
        self.hub.log.plant(fault);
    }

    /// Forgets all faults, met or not.
    pub fn clear_faults(&self) {
        self.hub.log.clear_faults();
    }

    /// Makes a repo without a request, with the first commit that the real Hub makes. Spaces are static.
    /// One that is there is replaced.
    pub fn create_repo(&self, repo: &str, private: bool) -> Result<(), TestHubError> {
        let name: RepoName = repo.parse()?;
        let sdk = (name.kind == Kind::Space).then(|| "static".to_owned());
        let repo = Repo::new(&name, &name.owner, private, sdk);
        self.hub.repos().insert(name, repo);
        Ok(())
    }

    /// Commits regular files without a request, as someone else would, and gives the commit's id.
    pub fn commit(
        &self,
        repo: &str,
        branch: &str,
        title: &str,
        files: &[(&str, &[u8])],
    ) -> Result<String, TestHubError> {
        let name: RepoName = repo.parse()?;
        let saying = Saying {
            title: title.to_owned(),
            message: String::new(),
            author: "other".to_owned(),
        };
        let changes = files
            .iter()
            .map(|(path, bytes)| Change::Add {
                path: (*path).to_owned(),
                entry: Entry::regular(Bytes::copy_from_slice(bytes)),
            })
            .collect();
        self.hub
            .commit_from_inside(&name, branch, saying, changes)
            .map_err(|error| TestHubError::Changes(error.to_string()))?
            .ok_or_else(|| no_revision(repo, branch))
    }

    /// Whether there is such a repo.
    pub fn has_repo(&self, repo: &str) -> Result<bool, TestHubError> {
        let name: RepoName = repo.parse()?;
        Ok(self.hub.repos().contains_key(&name))
    }

    /// The commits of a revision, newest first.
    pub fn commits(&self, repo: &str, revision: &str) -> Result<Vec<Commit>, TestHubError> {
        self.look(repo, revision, |repo, commit| {
            repo.history(&commit.id).into_iter().cloned().collect()
        })
    }

    /// The files at a revision.
    pub fn tree(&self, repo: &str, revision: &str) -> Result<Arc<Tree>, TestHubError> {
        self.look(repo, revision, |_, commit| Arc::clone(&commit.tree))
    }

    /// Branches, tags and pull requests by their full names, `refs/heads/main`, with their commits.
    pub fn references(&self, repo: &str) -> Result<Vec<(String, String)>, TestHubError> {
        self.look(repo, "main", |repo, _| {
            let references = repo.refs.iter();
            references
                .map(|(name, id)| (name.clone(), id.clone()))
                .collect()
        })
    }

    /// The bytes of a file, wherever they are stored. Blocks for a moment.
    pub fn bytes(&self, repo: &str, revision: &str, path: &str) -> Result<Bytes, TestHubError> {
        let tree = self.tree(repo, revision)?;
        let no_file = || TestHubError::NoFile {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            path: path.to_owned(),
        };
        let entry = tree.get(path).cloned().ok_or_else(no_file)?;
        let hub = Arc::clone(&self.hub);
        let (done, read) = mpsc::channel();
        self.runtime.spawn(async move {
            let bytes = async { hub.content(&entry).await?.read(&hub).await };
            // The receiver is gone when the test is: nothing to tell.
            done.send(bytes.await).ok();
        });
        let bytes: Result<Bytes, Refusal> = read.recv().map_err(|_| no_file())?;
        bytes.map_err(|_| no_file())
    }

    fn look<T>(
        &self,
        repo: &str,
        revision: &str,
        look: impl FnOnce(&Repo, &Commit) -> T,
    ) -> Result<T, TestHubError> {
        let name: RepoName = repo.parse()?;
        let repos = self.hub.repos();
        repos
            .get(&name)
            .and_then(|found| Some(look(found, found.resolve(revision)?)))
            .ok_or_else(|| no_revision(repo, revision))
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the thread is over already.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            debug_assert!(false, "the thread of the test Hub panicked");
        }
    }
}

fn no_revision(repo: &str, revision: &str) -> TestHubError {
    TestHubError::NoRevision {
        repo: repo.to_owned(),
        revision: revision.to_owned(),
    }
}

type Started = io::Result<(Arc<Hub>, Handle)>;

/// The Hub's thread: a runtime that lives until the Hub is dropped.
fn run(options: Options, ready: &mpsc::Sender<Started>, stopped: oneshot::Receiver<()>) {
    // The threads wait more than they work; two keep one slow content from holding up the rest.
    let runtime = match Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            ready.send(Err(error)).ok();
            return;
        }
    };
    runtime.block_on(async {
        let mut servers = JoinSet::new();
        match start(options, &mut servers).await {
            Ok(hub) => {
                ready.send(Ok((hub, Handle::current()))).ok();
                // An error means that the test was dropped: time to stop as well.
                stopped.await.ok();
            }
            Err(error) => {
                ready.send(Err(error)).ok();
            }
        }
        servers.shutdown().await;
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn start(options: Options, servers: &mut JoinSet<()>) -> io::Result<Arc<Hub>> {
    let bind = |port| TcpListener::bind(("127.0.0.1", port));
    let (hub, cdn, cas, spaces) = (
        bind(options.port).await?,
        bind(0).await?,
        bind(0).await?,
        bind(0).await?,
    );
    let addresses = Addresses {
        hub: hub.local_addr()?,
        cdn: cdn.local_addr()?,
        cas: cas.local_addr()?,
        spaces: spaces.local_addr()?,
    };
    let shared = Arc::new(Hub::open(options, addresses).await?);
    let doors = [
        (hub, Door::Hub),
        (cdn, Door::Cdn),
        (cas, Door::Cas),
        (spaces, Door::Spaces),
    ];
    for (listener, door) in doors {
        servers.spawn(serve(listener, door, Arc::clone(&shared)));
    }
    Ok(shared)
}
