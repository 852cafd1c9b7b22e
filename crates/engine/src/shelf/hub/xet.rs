//! Uploads through Xet, by the Hub's own library.
//!
//! hf-hub uploads and commits in one call. It is kept on a short lead: what it would inline in the
//! commit was ruled out before it is called (`upload.rs`), it retries nothing itself, every byte that it
//! reads is hashed on the way, and what the Hub has afterwards is looked at. It leaves tasks behind
//! when it fails (1.0.0, `xet.rs`: the progress poller is aborted on success alone), so it gets a
//! runtime of its own that ends with the call.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::stream::{StreamExt, TryStreamExt};
use hf_hub::progress::{ProgressEvent, ProgressHandler, UploadEvent};
use hf_hub::repository::{
    AddSource, CommitOperation, RepoTypeAny, SourceByteStream, StreamFactory, StreamSource,
};
use hf_hub::{HFClient, HFError};
use tokio::sync::{Semaphore, oneshot};

use super::address::RepositoryKind;
use super::api::{Api, is_commit};
use super::calls::{Refusal, Trouble, one_line};
use super::error::HubError;
use super::lfs::Told;
use super::source::{Altered, Meter, Object, Source, checked_pieces};
use crate::fetch::FetchOptions;
use crate::fetch::http::Http;

/// How many files are read at a time. Xet gathers up to 64 MB of each before it sends.
const FILES_AT_ONCE: usize = 8;

/// How long the Hub may be silent within hf-hub's own calls, the commit among them.
const PATIENCE: Duration = Duration::from_mins(3);

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// A file that goes into the commit.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where it is to stand.
    pub(super) path: String,
    /// What it is.
    pub(super) object: Object,
}

/// A commit of files that come through Xet.
#[derive(Debug)]
pub(super) struct XetCommit<'a> {
    pub(super) branch: &'a str,
    pub(super) parent: &'a str,
    pub(super) title: String,
    pub(super) entries: Vec<Entry>,
}

/// How an upload through Xet failed.
#[derive(Debug)]
pub(super) enum XetError {
    /// Files did not get into Xet's storage, whatever it said, and there is no commit. hf-xet takes any
    /// answer of 200 to its question for a place as "is there already" (xet-client 1.8.0,
    /// `remote_client.rs`, `request_xorb_upload_grant`), keeps that in its cache, and so would never
    /// send what is missing.
    NotThere(HubError),
    /// Otherwise, which says nothing of whether the commit is there.
    InDoubt(HubError),
}

struct Factory {
    path: Utf8PathBuf,
    object: Object,
    altered: Altered,
    turns: Arc<Semaphore>,
    opened: AtomicUsize,
}

impl StreamFactory for Factory {
    /// Opens the file once more. The first time hf-hub only takes the digest that it puts into the
    /// commit; those are the turns of the upload from the second on.
    fn open(&self) -> SourceByteStream {
        let turns = (self.opened.fetch_add(1, Ordering::Relaxed) > 0).then(|| self.turns.clone());
        let (part, size_bytes) = (self.object.whole(), self.object.size_bytes);
        let pieces = checked_pieces(
            self.path.clone(),
            part,
            size_bytes,
            self.altered.clone(),
            turns,
        );
        pieces.map_err(HFError::Io).boxed()
    }
}

struct Count(Arc<Meter>);

impl ProgressHandler for Count {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Upload(UploadEvent::Progress {
            bytes_completed,
            transfer_bytes_completed,
            ..
        }) = event
        {
            self.0.set(*bytes_completed, *transfer_bytes_completed);
        }
    }
}

impl Api {
    /// Uploads files through Xet and commits them; gives the commit, where the Hub says it.
    pub(super) async fn xet_commit(
        &self,
        commit: XetCommit<'_>,
        meter: &Arc<Meter>,
        told: &Told<'_>,
    ) -> Result<Option<String>, XetError> {
        let altered: Vec<(Object, Altered)> = commit
            .entries
            .iter()
            .map(|entry| (entry.object.clone(), Altered::default()))
            .collect();
        let turns = Arc::new(Semaphore::new(FILES_AT_ONCE));
        let operations = commit
            .entries
            .iter()
            .zip(&altered)
            .map(|(entry, (_, altered))| {
                let source = match &entry.object.source {
                    Source::Bytes(bytes) => AddSource::bytes(bytes.clone()),
                    Source::File(path) => {
                        let factory = Factory {
                            path: path.clone(),
                            object: entry.object.clone(),
                            altered: altered.clone(),
                            turns: turns.clone(),
                            opened: AtomicUsize::new(0),
                        };
                        let size_bytes = entry.object.size_bytes;
                        AddSource::stream(StreamSource::new(Arc::new(factory), size_bytes))
                    }
                };
                CommitOperation::Add {
                    path_in_repo: entry.path.clone(),
                    source,
                }
            });
        let work = Work {
            api: self.clone(),
            operations: operations.collect(),
            branch: commit.branch.to_owned(),
            parent: commit.parent.to_owned(),
            title: commit.title,
            meter: Arc::clone(meter),
        };
        let mut done = work.started().map_err(XetError::InDoubt)?;
        let res = loop {
            tokio::select! {
                biased;
                done = &mut done => {
                    told.tell(meter);
                    break done;
                }
                () = tokio::time::sleep(TICK) => told.tell(meter),
            }
        };
        let altered = altered
            .iter()
            .find_map(|(object, altered)| Some((object, altered.get()?)));
        match res {
            // The digest hf-hub took is of other bytes then, and is not asked for what it says.
            _ if altered.is_some() => {
                let (object, found) = altered.expect("just looked at");
                Err(XetError::InDoubt(object.altered(*found)))
            }
            Ok(Ok(commit)) => Ok(commit.filter(|commit| is_commit(commit))),
            Ok(Err(error)) => Err(self.of_library(&error)),
            Err(_) => Err(XetError::InDoubt(HubError::Upload {
                address: self.repository.to_string(),
                reason: "the upload ended without a word".to_owned(),
                wait: None,
            })),
        }
    }

    /// What hf-hub's error means. Its texts have addresses in them, and an answer's whole body.
    fn of_library(&self, library: &HFError) -> XetError {
        let doing = "upload";
        let context = if let HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Http { context }
        | HFError::Conflict { context }
        | HFError::RateLimited { context, .. } = library
        {
            Some(context)
        } else if let HFError::RepoNotFound { context, .. } = library {
            context.as_ref()
        } else {
            None
        };
        let said = |text: &str| {
            let text = match &self.token {
                Some(token) => token.hidden_in(text),
                None => text.to_owned(),
            };
            one_line(&text)
        };
        let status = context.map(|context| context.status.as_u16());
        // Of the two headers that say it, hf-hub reads `Retry-After` alone.
        let wait = if let HFError::RateLimited { retry_after, .. } = library {
            *retry_after
        } else {
            None
        };
        let error = match (context, status) {
            (Some(context), Some(status @ (400 | 401 | 403 | 404 | 413 | 422))) => {
                let refusal = Refusal {
                    status,
                    code: context.error_code.clone(),
                    said: context.server_message.as_deref().map(said),
                    wait: None,
                };
                self.failed(doing, Trouble::Refused(refusal))
            }
            _ if wait.is_some_and(|wait| wait > self.calls.limits().longest_wait) => {
                HubError::TooManyRequests {
                    doing: doing.to_owned(),
                    address: self.repository.to_string(),
                    wait: wait.unwrap_or_default(),
                }
            }
            _ => HubError::Upload {
                address: self.repository.to_string(),
                reason: said(&library.to_string()),
                wait,
            },
        };
        if matches!(library, HFError::Xet { .. }) || status == Some(400) {
            return XetError::NotThere(error);
        }
        XetError::InDoubt(error)
    }
}

struct Work {
    api: Api,
    operations: Vec<CommitOperation>,
    branch: String,
    parent: String,
    title: String,
    meter: Arc<Meter>,
}

impl Work {
    /// Begins on a thread of its own, with a runtime of its own. When nobody waits for the end any
    /// more, the work ends.
    fn started(self) -> Result<oneshot::Receiver<Result<Option<String>, HFError>>, HubError> {
        let address = self.api.repository.to_string();
        let failed = |error: std::io::Error| HubError::Upload {
            address,
            reason: format!("failed to start a thread: {error}"),
            wait: None,
        };
        let (mut sender, receiver) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("hub-upload")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return Err(failed(error)),
        };
        let thread = std::thread::Builder::new().name("hub-upload".to_owned());
        let started = thread.spawn(move || {
            let done = runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = sender.closed() => None,
                    done = self.done() => Some(done),
                }
            });
            runtime.shutdown_background();
            if let Some(done) = done {
                // Nobody waits: there is nobody to tell.
                drop(sender.send(done));
            }
        });
        match started {
            Ok(_) => Ok(receiver),
            Err(error) => Err(failed(error)),
        }
    }

    async fn done(self) -> Result<Option<String>, HFError> {
        let limits = FetchOptions {
            stall_limit: PATIENCE,
            ..self.api.calls.limits().clone()
        };
        let http = Http::new(&limits).map_err(|error| HFError::Other(error.to_string()))?;
        let mut client = HFClient::builder()
            .endpoint(self.api.endpoint.as_str())
            .client(http.into_client())
            .cache_enabled(false)
            .retry_max_attempts(0);
        if let Some(token) = &self.api.token {
            client = client.token(token.secret());
        }
        let client = client.build()?;
        let kind = match self.api.repository.kind() {
            RepositoryKind::Model => RepoTypeAny::Model,
            RepositoryKind::Dataset => RepoTypeAny::Dataset,
            RepositoryKind::Space => RepoTypeAny::Space,
        };
        let repository = client.repository(
            kind,
            self.api.repository.owner(),
            self.api.repository.name(),
        );
        let commit = repository
            .create_commit()
            .operations(self.operations)
            .commit_message(self.title)
            .revision(self.branch)
            .parent_commit(self.parent)
            .progress(Count(self.meter));
        let committed = Box::pin(commit.send()).await?;
        Ok(committed.commit_oid)
    }
}

/// The variable to start this program with, so that hf-xet keeps its cache below `cache` and not in the
/// user's home; none where the user has said where. hf-hub 1.0.0 has no other way to say it.
pub fn xet_cache(
    variables: &[(OsString, OsString)],
    cache: &Utf8Path,
) -> Option<(&'static str, Utf8PathBuf)> {
    const CACHE: &str = "HF_XET_CACHE";
    let is_said = |name: &str| variables.iter().any(|(other, _)| other == name);
    (!is_said(CACHE) && !is_said("HF_HOME")).then(|| (CACHE, cache.join("xet")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_of_xet_is_the_farms_unless_the_user_says_otherwise() {
        let cache = Utf8Path::new("/c/wheelfarm");
        let said = |name: &str| vec![(OsString::from(name), OsString::from("/x"))];
        let farms = Some(("HF_XET_CACHE", Utf8PathBuf::from("/c/wheelfarm/xet")));
        assert_eq!(xet_cache(&said("HOME"), cache), farms);
        assert_eq!(xet_cache(&said("HF_HOME"), cache), None);
        assert_eq!(xet_cache(&said("HF_XET_CACHE"), cache), None);
    }
}
