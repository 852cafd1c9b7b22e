//! Xet: the official simulator of the content-addressed storage (xet-client, feature `simulation`), and
//! the proxy before it, which numbers requests, plays faults and checks the tokens that the simulator
//! ignores.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use camino::Utf8Path;
use http_body_util::BodyExt;
use hyper::header::AUTHORIZATION;
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use xet_client::cas_client::{
    DeletionControlableClient, DirectAccessClient, LocalClient, LocalServer, MemoryClient,
};
use xet_client::cas_types::FileRange;
use xet_core_structures::merklehash::MerkleHash;
use xet_runtime::core::XetContext;

use crate::answer::{Answer, Asked, Body, Refusal};
use crate::hub::Hub;
use crate::options::XetCheck;

/// What a token for the CAS is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Read,
    Write,
}

/// A file of Xet.
#[derive(Debug, Clone)]
pub(crate) struct XetFile {
    hash: MerkleHash,
    pub(crate) size: u64,
}

impl XetFile {
    /// As in `X-Xet-Hash`.
    pub(crate) fn hash(&self) -> String {
        self.hash.hex()
    }
}

#[derive(Debug, Default)]
struct Known {
    by_sha256: BTreeMap<String, XetFile>,
    seen: BTreeSet<String>,
}

/// The storage and the way to it.
pub(crate) struct Cas {
    address: SocketAddr,
    contents: Arc<dyn DirectAccessClient>,
    files: Arc<dyn DeletionControlableClient>,
    http: HttpClient<HttpConnector, Body>,
    known: Mutex<Known>,
    tokens: std::sync::Mutex<BTreeMap<String, (Scope, Instant)>>,
    check: XetCheck,
}

impl std::fmt::Debug for Cas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cas")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Both sides of one storage: its contents, and the entries that say which files there are.
type Storage = (
    Arc<dyn DirectAccessClient>,
    Arc<dyn DeletionControlableClient>,
);

async fn storage(context: XetContext, folder: Option<&Utf8Path>) -> io::Result<Storage> {
    let Some(folder) = folder else {
        let client = MemoryClient::new(context);
        return Ok((client.clone(), client));
    };
    fs_err::create_dir_all(folder)?;
    let client = LocalClient::new(context, folder)
        .await
        .map_err(io::Error::other)?;
    Ok((client.clone(), client))
}

impl Cas {
    /// Starts the simulator on a port of its own, which only the proxy uses.
    pub(crate) async fn start(
        folder: Option<&Utf8Path>,
        check: XetCheck,
        tracker: &TaskTracker,
    ) -> Result<Self, io::Error> {
        let context = XetContext::default().map_err(io::Error::other)?;
        let (contents, files) = storage(context, folder).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let server = LocalServer::from_client(
            Arc::clone(&contents),
            Some(Arc::clone(&files)),
            address.ip().to_string(),
            address.port(),
        );
        tracker.spawn(async move {
            // Ends with the runtime; the sender that would stop it earlier is kept here.
            let (_keep, stop) = tokio::sync::oneshot::channel();
            server.serve_until_stopped(listener, stop).await.ok();
        });
        Ok(Self {
            address,
            contents,
            files,
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            known: Mutex::default(),
            tokens: std::sync::Mutex::default(),
            check,
        })
    }

    /// A new token, and when it ends in seconds since 1970.
    pub(crate) fn issue(&self, scope: Scope, lifetime: Duration) -> (String, u64) {
        let mut tokens = self
            .tokens
            .lock()
            .expect("no code panics while it holds the tokens");
        let word = match scope {
            Scope::Read => "read",
            Scope::Write => "write",
        };
        let token = format!("xet-{word}-{}", tokens.len());
        tokens.insert(token.clone(), (scope, Instant::now() + lifetime));
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        (token, (since_1970 + lifetime).as_secs())
    }

    fn scope(&self, token: &str) -> Option<Scope> {
        let tokens = self
            .tokens
            .lock()
            .expect("no code panics while it holds the tokens");
        tokens
            .get(token)
            .filter(|(_, until)| Instant::now() < *until)
            .map(|(scope, _)| *scope)
    }

    /// The file with this content, if it is here. The real Hub takes its sha256 from the shard
    /// (hub.md section 3); here it is compared with the bytes, unless [`XetCheck::Shard`] says not to.
    pub(crate) async fn find(&self, sha256: &str) -> io::Result<Option<XetFile>> {
        let mut known = self.known.lock().await;
        if !known.by_sha256.contains_key(sha256) {
            self.learn(&mut known).await.map_err(io::Error::other)?;
        }
        Ok(known.by_sha256.get(sha256).cloned())
    }

    async fn learn(&self, known: &mut Known) -> Result<(), xet_client::ClientError> {
        for (hash, _shard) in self.files.list_file_shard_entries().await? {
            if !known.seen.insert(hash.hex()) {
                continue;
            }
            let info = self.contents.get_file_reconstruction_info(&hash).await?;
            let said = info
                .and_then(|(info, _)| info.metadata_ext)
                .map(|facts| facts.sha256.hex());
            let sha256 = match (self.check, said) {
                (XetCheck::Shard, Some(said)) => said,
                (_, said) => {
                    // A shard may name pieces that never came: the simulator does not look.
                    let Ok(bytes) = self.contents.get_file_data(&hash, None).await else {
                        known.seen.remove(&hash.hex());
                        continue;
                    };
                    let digest = hex::encode(Sha256::digest(&bytes));
                    if said.is_some_and(|said| said != digest) {
                        continue;
                    }
                    digest
                }
            };
            let size = self.contents.get_file_size(&hash).await?;
            known.by_sha256.insert(sha256, XetFile { hash, size });
        }
        Ok(())
    }

    /// Bytes of a file.
    pub(crate) async fn read(&self, sha256: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let file = self.find(sha256).await?.ok_or(io::ErrorKind::NotFound)?;
        if from == to {
            return Ok(Bytes::new());
        }
        self.contents
            .get_file_data(&file.hash, Some(FileRange::new(from, to)))
            .await
            .map_err(io::Error::other)
    }
}

/// Hands a request on to the simulator. The `Host` header stays, for the simulator makes its links of it.
pub(crate) async fn answer(hub: &Arc<Hub>, request: Asked) -> Answer {
    let Some(cas) = &hub.cas else {
        return Refusal::no_route().into();
    };
    match forward(cas, request).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    }
}

async fn forward(cas: &Cas, mut request: Asked) -> Result<Answer, Refusal> {
    check_token(cas, &request)?;
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://{}{path}", cas.address)
        .parse()
        .map_err(|error| Refusal::bad_request(format!("bad path: {error}")))?;
    *request.uri_mut() = uri;
    let request = request.map(BodyExt::boxed_unsync);
    let answer = cas.http.request(request).await.map_err(|error| {
        Refusal::new(StatusCode::BAD_GATEWAY, format!("the simulator: {error}"))
    })?;
    Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
}

/// The links that the simulator gives out work without a token, as signed ones do.
fn check_token(cas: &Cas, request: &Asked) -> Result<(), Refusal> {
    let path = request.uri().path();
    let is_signed = [
        "/v1/fetch_term",
        "/v1/get_xorb/",
        "/simulation/xorb-uploads/",
    ]
    .iter()
    .any(|link| path.starts_with(link));
    if is_signed || path == "/v1/telemetry" || path == "/health" {
        return Ok(());
    }
    if path.starts_with("/simulation/") {
        return Err(Refusal::no_route());
    }
    let writes = ["/v1/xorb", "/v1/shards", "/v2/shards"]
        .iter()
        .any(|route| path.starts_with(route))
        && request.method() != hyper::Method::HEAD;
    let scope = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .and_then(|token| cas.scope(token));
    match scope {
        Some(Scope::Write) => Ok(()),
        Some(Scope::Read) if !writes => Ok(()),
        Some(Scope::Read) => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "the token is for reading",
        )),
        None => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "no token for this storage, or an old one",
        )),
    }
}
