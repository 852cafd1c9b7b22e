//! What rows are served: the candidate release as a static host and as a Hub would serve it, and the window
//! on the default index. Every row has addresses of its own, so that what it asked for is known.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use camino::Utf8PathBuf;
use wheelfarm_core::ident::PackageName;

use super::http::{Answer, Listener, Request};
use super::window::{self, Window};

/// What stands for a row's own address in pages and lines until they are served; the name can never be
/// one of a host (RFC 6761).
pub(super) const PLACE: &str = "http://install-table.invalid";

/// The folder of the release as a static host serves it.
pub(super) const STATIC: &str = "+static";

/// The same as a host serves it that reads `Accept`.
pub(super) const NEGOTIATING: &str = "+json";

/// The window on the default index.
pub(super) const DEFAULT_INDEX: &str = "+default";

/// The repository's name on the Hub that is not one.
pub(super) const REPOSITORY: &str = "install/table";

/// Where the content of a file of the candidate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine.
    Disk(Utf8PathBuf),
    /// A content that is at hand.
    Memory(Vec<u8>),
    /// Where it is published already.
    Address(String),
}

/// Tells where the content of the file at a path of the release is.
pub(super) type Files = Box<dyn Fn(&str) -> Option<Source> + Send + Sync>;

/// What a row did here.
#[derive(Debug, Clone, Default)]
pub(super) struct Visit {
    /// What it asked the release for that is not there though something names it.
    pub(super) missing: Vec<String>,
    /// The files that it asked the default index for.
    pub(super) turned_away: Vec<String>,
    /// Why the default index could not be asked.
    pub(super) closed: Option<String>,
}

/// The state of the site.
pub(super) struct Site {
    pages: BTreeMap<String, Vec<u8>>,
    files: Files,
    window: Window,
    /// The versions of torch that a row knows besides those of the default index.
    torches: Vec<String>,
    /// The address of the host that wheels come from.
    storage: String,
    address: String,
    visits: Mutex<BTreeMap<usize, Visit>>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("pages", &self.pages.len())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The two hosts of the site.
#[derive(Debug)]
pub(super) struct Hosts {
    pages: Listener,
    storage: Listener,
    pub(super) site: Arc<Site>,
}

impl Hosts {
    /// Opens both; `torches` are the versions that each row pins, by the row's place.
    pub(super) async fn open(
        pages: BTreeMap<String, Vec<u8>>,
        files: Files,
        window: Window,
        torches: Vec<String>,
    ) -> io::Result<Self> {
        let (front, storage) = (Listener::open().await?, Listener::open().await?);
        let site = Site {
            pages,
            files,
            window,
            torches,
            storage: storage.address.clone(),
            address: front.address.clone(),
            visits: Mutex::default(),
        };
        Ok(Self {
            pages: front,
            storage,
            site: Arc::new(site),
        })
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(&self) -> io::Error {
        let front = Arc::clone(&self.site);
        let front = self.pages.serve(Arc::new(move |request| {
            let site = Arc::clone(&front);
            async move { site.front(request).await }
        }));
        let storage = Arc::clone(&self.site);
        let storage = self.storage.serve(Arc::new(move |request: Request| {
            let site = Arc::clone(&storage);
            async move { site.stored(&request).await }
        }));
        tokio::select! {
            error = front => error,
            error = storage => error,
        }
    }
}

impl Site {
    /// The address of everything that a row sees.
    pub(super) fn address(&self, row: usize) -> String {
        format!("{}/row/{row}", self.address)
    }

    /// What the row did here.
    pub(super) fn visit(&self, row: usize) -> Visit {
        let visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.get(&row).cloned().unwrap_or_default()
    }

    fn note(&self, row: usize, note: impl FnOnce(&mut Visit)) {
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        note(visits.entry(row).or_default());
    }

    async fn front(&self, request: Request) -> Answer {
        let Some((row, path)) = split_row(&request.path) else {
            return Answer::status(404, "no row");
        };
        if let Some(path) = path
            .strip_prefix(STATIC)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            return self.on_static_host(row, path, None).await;
        }
        if let Some(path) = path
            .strip_prefix(NEGOTIATING)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            return self.on_static_host(row, path, Some(&request.accept)).await;
        }
        if let Some(path) = path
            .strip_prefix(DEFAULT_INDEX)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            return self.default_index(row, path).await;
        }
        if let Some(path) = path.strip_prefix("api/resolve-cache/") {
            // Text of whatever kind is told to be plain, and a browser may not run it.
            return match self.content(row, path).await {
                Some(answer) => {
                    answer.with("Content-Security-Policy", "default-src 'none'; sandbox")
                }
                None => self.absent(row, path),
            };
        }
        let below = path.strip_prefix(REPOSITORY);
        let below = below.and_then(|rest| rest.strip_prefix("/resolve/"));
        match below.and_then(|rest| rest.split_once('/')) {
            Some((_, path)) => self.on_hub(row, path, &request.raw_path),
            None => Answer::status(404, "no such place"),
        }
    }

    async fn on_static_host(&self, row: usize, path: &str, accept: Option<&str>) -> Answer {
        let wants_json = accept.is_some_and(|accept| {
            // Both clients put what they like best first.
            accept.starts_with("application/vnd.pypi.simple.v1+json")
        });
        if path.is_empty() || path.ends_with('/') {
            let (file, content_type) = if wants_json {
                ("index.json", "application/vnd.pypi.simple.v1+json")
            } else {
                ("index.html", "text/html; charset=utf-8")
            };
            return match self.page(row, &format!("{path}{file}")) {
                Some(page) => Answer::bytes(content_type, page),
                None => self.absent(row, path),
            };
        }
        if let Some(page) = self.page(row, path) {
            return Answer::bytes(content_type(path), page);
        }
        match self.content(row, path).await {
            Some(answer) => answer,
            None => self.absent(row, path),
        }
    }

    /// Where a Hub sends who asks for a file: text to its own cache, wheels to another host.
    fn on_hub(&self, row: usize, path: &str, raw_path: &str) -> Answer {
        if !self.pages.contains_key(path) && (self.files)(path).is_none() {
            return self.absent(row, path).with("X-Error-Code", "EntryNotFound");
        }
        let raw = raw_path.split_once("/resolve/").map_or("", |(_, raw)| raw);
        let raw = raw.split_once('/').map_or("", |(_, raw)| raw);
        // What .gitattributes says is large, by the case that it is written in.
        let answer = if path.strip_suffix(".whl").is_some() {
            let place = format!("{}/row/{row}/{raw}", self.storage);
            Answer::redirect(302, format!("{place}?X-Amz-Signature=none"))
        } else {
            Answer::redirect(307, format!("/row/{row}/api/resolve-cache/{raw}?etag=none"))
        };
        answer.with("X-Repo-Commit", "0000000000000000000000000000000000000000")
    }

    async fn stored(&self, request: &Request) -> Answer {
        let Some((row, path)) = split_row(&request.path) else {
            return Answer::status(404, "no row");
        };
        match self.content(row, path).await {
            Some(answer) => answer,
            None => self.absent(row, path),
        }
    }

    async fn default_index(&self, row: usize, path: &str) -> Answer {
        if let Some(name) = path.strip_prefix("file/") {
            self.note(row, |visit| visit.turned_away.push(name.to_owned()));
            return Answer::status(
                403,
                "files of the release's own projects are not handed out",
            );
        }
        if let Some(name) = path.strip_prefix("stub/") {
            let content = match name.strip_suffix(".metadata") {
                Some(name) => window::stub_metadata(name).map(String::into_bytes),
                None => window::stub_wheel(name),
            };
            return match content {
                Some(content) => Answer::bytes("application/octet-stream", content),
                None => Answer::status(404, "no such file"),
            };
        }
        let project = path
            .strip_prefix("simple/")
            .map(|rest| rest.trim_end_matches('/'));
        let Some(Ok(project)) = project.map(PackageName::normalise) else {
            return Answer::status(404, "no such place");
        };
        let base = format!("{}/{DEFAULT_INDEX}", self.address(row));
        let torch = self.torches.get(row).map(std::slice::from_ref);
        let page = self.window.page(&project, &base, torch.unwrap_or_default());
        match page.await {
            Ok(Some(page)) => Answer::bytes("text/html; charset=utf-8", page),
            Ok(None) => Answer::status(404, "no such project"),
            Err(why) => {
                self.note(row, |visit| visit.closed = Some(why));
                Answer::status(502, "the default index cannot be asked")
            }
        }
    }

    /// A generated file with the row's own address in it.
    fn page(&self, row: usize, path: &str) -> Option<Bytes> {
        let page = self.pages.get(path)?;
        let Ok(text) = std::str::from_utf8(page) else {
            return Some(Bytes::copy_from_slice(page));
        };
        Some(text.replace(PLACE, &self.address(row)).into())
    }

    async fn content(&self, row: usize, path: &str) -> Option<Answer> {
        if let Some(page) = self.page(row, path) {
            return Some(Answer::bytes("text/plain; charset=utf-8", page));
        }
        Some(match (self.files)(path)? {
            Source::Disk(path) => Answer::file(path).await,
            Source::Memory(bytes) => Answer::bytes("application/octet-stream", bytes),
            Source::Address(address) => Answer::redirect(302, address),
        })
    }

    /// The answer to what is not there. Installers ask an index for every project that they know of, so
    /// only files that a page or a line names count as missing.
    fn absent(&self, row: usize, path: &str) -> Answer {
        if path.starts_with("files/") || path.starts_with("req/") {
            self.note(row, |visit| visit.missing.push(path.to_owned()));
        }
        Answer::status(404, "Entry not found")
    }
}

/// `/row/17/a/b` is `a/b` of row 17.
fn split_row(path: &str) -> Option<(usize, &str)> {
    let (row, path) = path.strip_prefix("/row/")?.split_once('/')?;
    Some((row.parse().ok()?, path))
}

fn content_type(path: &str) -> &'static str {
    let end = path.rsplit_once('.').map_or("", |(_, end)| end);
    match end {
        "html" => "text/html; charset=utf-8",
        "json" => "application/json",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
