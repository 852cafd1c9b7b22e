//! The Hub's API for one repository, as its official clients use it (`huggingface_hub` 2.4's `hf_api.py`
//! and `_commit_api.py`, hf-hub 1.0's `repository/`).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::address::{Endpoint, Repository, RepositoryKind, Slashes, encoded};
use super::auth::Token;
use super::blob_id::Held;
use super::calls::{Answer, Call, Calls, Trouble};
use super::error::HubError;

/// How many files are asked for at once: as many as `huggingface_hub` sends.
const FILES_AT_ONCE: usize = 256;

/// How many paths are asked for at once.
const PATHS_AT_ONCE: usize = 500;

/// How many pages of a list are read, so that a Hub that always names a next one is no loop.
const PAGES: usize = 20_000;

/// How many bytes of a file the Hub is shown to say how it is to be stored
/// (`huggingface_hub`, `UploadInfo.sample`).
pub(super) const SAMPLE_BYTES: usize = 512;

/// One repository on a Hub.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) calls: Calls,
    pub(super) endpoint: Endpoint,
    pub(super) repository: Repository,
    pub(super) token: Option<Token>,
}

/// Where a branch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Branch {
    /// There is no such repository, or it is not for us to see.
    NoRepository,
    /// The repository has no such branch, or nothing on it.
    Missing,
    /// At this commit.
    At(String),
}

/// Who may see a repository that is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Whose token may.
    Private,
}

/// A commit in a branch's list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Commit {
    pub(super) id: String,
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) date: Option<String>,
}

/// A file that the Hub is asked about before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Offered<'a> {
    pub(super) path: &'a str,
    pub(super) size_bytes: u64,
    pub(super) sample: Bytes,
}

/// How the Hub stores a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In git; it goes with the commit.
    Regular,
    /// As LFS; it is uploaded before the commit.
    Lfs,
}

#[derive(Deserialize)]
struct Revision {
    sha: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    r#type: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<RowLfs>,
}

#[derive(Deserialize)]
struct RowLfs {
    oid: String,
    size: u64,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<PreuploadFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreuploadFile {
    path: String,
    upload_mode: String,
}

impl Api {
    /// An address of the API: `…/api/models/owner/name/<rest>`.
    pub(super) fn url(&self, rest: &str) -> String {
        format!(
            "{}/api/{}/{rest}",
            self.endpoint,
            self.repository.api_path()
        )
    }

    /// The failure of a call of this repository.
    pub(super) fn failed(&self, doing: &str, trouble: Trouble) -> HubError {
        HubError::of(doing, &self.repository, self.token.as_ref(), trouble)
    }

    /// A call with the token of this repository.
    pub(super) fn with_token(&self, call: Call) -> Call {
        Call {
            bearer: self.token.clone(),
            ..call
        }
    }

    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, HubError> {
        let call = self.with_token(call);
        let answered = self.calls.json(&call).await;
        answered.map_err(|trouble| self.failed(&call.doing, trouble))
    }

    fn post(&self, doing: &str, rest: &str, body: &serde_json::Value) -> Call {
        Call::post(doing, self.url(rest), Bytes::from(body.to_string()))
    }

    /// Where a branch is.
    pub(super) async fn branch(&self, branch: &str) -> Result<Branch, HubError> {
        let doing = "read where the shelf is";
        let rest = format!("revision/{}", encoded(branch, Slashes::Encoded));
        let call = self.with_token(Call::get(doing, self.url(&rest)));
        match self.calls.json::<Revision>(&call).await {
            Ok(Revision { sha: Some(sha) }) if is_commit(&sha) => Ok(Branch::At(sha)),
            Ok(Revision { sha: Some(_) }) => {
                let what = Trouble::Senseless("a commit that is none".to_owned());
                Err(self.failed(doing, what))
            }
            Ok(Revision { sha: None }) => Ok(Branch::Missing),
            Err(Trouble::Refused(refusal)) if refusal.status == 404 => {
                Ok(match refusal.code.as_deref() {
                    Some("RevisionNotFound") => Branch::Missing,
                    Some(_) | None => Branch::NoRepository,
                })
            }
            // Who has no token is told of a missing repository as of a private one.
            Err(Trouble::Refused(refusal))
                if refusal.status == 401 && refusal.code.as_deref() == Some("RepoNotFound") =>
            {
                Ok(Branch::NoRepository)
            }
            Err(trouble) => Err(self.failed(doing, trouble)),
        }
    }

    /// Creates the repository; one that is there is as well.
    pub(super) async fn create(&self, visibility: Visibility) -> Result<(), HubError> {
        let doing = "create the repository";
        let mut body = serde_json::json!({
            "name": self.repository.name(),
            "organization": self.repository.owner(),
            "type": self.repository.kind().as_str(),
            "private": visibility == Visibility::Private,
        });
        if self.repository.kind() == RepositoryKind::Space {
            body["sdk"] = "static".into();
        }
        let url = format!("{}/api/repos/create", self.endpoint);
        let call = self.with_token(Call::post(doing, url, Bytes::from(body.to_string())));
        self.done_or_there(&call).await
    }

    /// Creates a branch at a commit; one that is there is as well.
    pub(super) async fn create_branch(&self, branch: &str, commit: &str) -> Result<(), HubError> {
        let body = serde_json::json!({ "startingPoint": commit });
        let rest = format!("branch/{}", encoded(branch, Slashes::Encoded));
        let call = self.post(&format!("create branch `{branch}`"), &rest, &body);
        self.done_or_there(&self.with_token(call)).await
    }

    /// A call that creates. 409 says that it is there already: from before, or from an attempt whose
    /// answer was lost.
    async fn done_or_there(&self, call: &Call) -> Result<(), HubError> {
        match self.calls.done(call).await {
            Ok(()) => Ok(()),
            Err(trouble) if trouble.status() == Some(409) => Ok(()),
            Err(trouble) => Err(self.failed(&call.doing, trouble)),
        }
    }

    /// What the repository holds at those of `paths` that are there.
    pub(super) async fn paths_info(
        &self,
        revision: &str,
        paths: &[&str],
    ) -> Result<BTreeMap<String, Held>, HubError> {
        let mut held = BTreeMap::new();
        for paths in paths.chunks(PATHS_AT_ONCE) {
            let doing = "ask what is there";
            let rest = format!("paths-info/{}", encoded(revision, Slashes::Encoded));
            let call = self.post(doing, &rest, &serde_json::json!({ "paths": paths }));
            let rows: Vec<Row> = self.json(call).await?;
            self.take(doing, rows, &mut held)?;
        }
        Ok(held)
    }

    /// What the repository holds at one path.
    pub(super) async fn path_info(
        &self,
        revision: &str,
        path: &str,
    ) -> Result<Option<Held>, HubError> {
        Ok(self.paths_info(revision, &[path]).await?.remove(path))
    }

    /// Every file of the repository.
    pub(super) async fn tree(&self, revision: &str) -> Result<BTreeMap<String, Held>, HubError> {
        let doing = "list what is there";
        let rest = format!(
            "tree/{}?recursive=true",
            encoded(revision, Slashes::Encoded)
        );
        let mut held = BTreeMap::new();
        self.pages(doing, self.url(&rest), |rows: Vec<Row>| {
            self.take(doing, rows, &mut held)?;
            Ok(More::Wanted)
        })
        .await?;
        Ok(held)
    }

    /// The commits of a branch, the newest first, until `is_enough`; with the Hub's own time.
    pub(super) async fn commits(
        &self,
        branch: &str,
        mut is_enough: impl FnMut(&[Commit]) -> bool,
    ) -> Result<(Vec<Commit>, Option<jiff::Timestamp>), HubError> {
        let rest = format!("commits/{}", encoded(branch, Slashes::Encoded));
        let mut commits = Vec::new();
        let date = self
            .pages("list the commits", self.url(&rest), |page: Vec<Commit>| {
                commits.extend(page);
                Ok(if is_enough(&commits) {
                    More::Unwanted
                } else {
                    More::Wanted
                })
            })
            .await?;
        Ok((commits, date))
    }

    /// Reads a list page by page, to its end or until no more is wanted.
    async fn pages<T: DeserializeOwned>(
        &self,
        doing: &str,
        first: String,
        mut take: impl FnMut(T) -> Result<More, HubError>,
    ) -> Result<Option<jiff::Timestamp>, HubError> {
        let mut url = first;
        for _ in 0..PAGES {
            let call = self.with_token(Call::get(doing, url));
            let answered = self.calls.json_page::<T>(&call).await;
            let (page, answer) = answered.map_err(|trouble| self.failed(doing, trouble))?;
            let Answer { date, next, .. } = answer;
            let more = take(page)?;
            let Some(next) = next.filter(|_| more == More::Wanted) else {
                return Ok(date);
            };
            // The token goes to no address but the Hub's own.
            if !self.endpoint.is_of(&next) {
                let what = "a next page that is not the Hub's".to_owned();
                return Err(self.failed(doing, Trouble::Senseless(what)));
            }
            url = next;
        }
        let what = Trouble::Senseless("a list without an end".to_owned());
        Err(self.failed(doing, what))
    }

    fn take(
        &self,
        doing: &str,
        rows: Vec<Row>,
        held: &mut BTreeMap<String, Held>,
    ) -> Result<(), HubError> {
        for row in rows.into_iter().filter(|row| row.r#type == "file") {
            let lfs = row.lfs.as_ref().map(|lfs| (lfs.oid.as_str(), lfs.size));
            let of = Held::of_entry(&row.oid, row.size, lfs).map_err(|error| {
                self.failed(
                    doing,
                    Trouble::Senseless(format!("a file without a digest: {error}")),
                )
            })?;
            held.insert(row.path, of);
        }
        Ok(())
    }

    /// How the Hub would store files on a branch.
    pub(super) async fn modes(
        &self,
        branch: &str,
        offered: &[Offered<'_>],
    ) -> Result<BTreeMap<String, Mode>, HubError> {
        use base64::Engine as _;

        let doing = "ask how files are to be stored";
        let mut modes = BTreeMap::new();
        for files in offered.chunks(FILES_AT_ONCE) {
            let file = |file: &Offered<'_>| {
                serde_json::json!({
                    "path": file.path,
                    "size": file.size_bytes,
                    "sample": base64::engine::general_purpose::STANDARD.encode(&file.sample),
                })
            };
            let body = serde_json::json!({ "files": files.iter().map(file).collect::<Vec<_>>() });
            let rest = format!("preupload/{}", encoded(branch, Slashes::Encoded));
            let answer: Preupload = self.json(self.post(doing, &rest, &body)).await?;
            for file in answer.files {
                let mode = match file.upload_mode.as_str() {
                    "lfs" => Mode::Lfs,
                    _ => Mode::Regular,
                };
                modes.insert(file.path, mode);
            }
            // An empty file has nothing that could be stored elsewhere, whatever is said of it.
            for file in files {
                let mode = modes.get_mut(file.path).ok_or_else(|| {
                    let what = format!("no word on `{}`", file.path);
                    self.failed(doing, Trouble::Senseless(what))
                })?;
                if file.size_bytes == 0 {
                    *mode = Mode::Regular;
                }
            }
        }
        Ok(modes)
    }

    /// The content of the file that the repository holds at `path`: what comes is hashed, and must be
    /// that, for a CDN's page of excuses has the status of success too.
    pub(super) async fn content(
        &self,
        revision: &str,
        path: &str,
        held: &Held,
    ) -> Result<Vec<u8>, HubError> {
        let doing = format!("read `{path}`");
        let url = format!(
            "{}/{}/resolve/{}/{}",
            self.endpoint,
            self.repository.path(),
            encoded(revision, Slashes::Encoded),
            encoded(path, Slashes::Kept),
        );
        let call = Call {
            cap_bytes: held.size_bytes(),
            ..self.with_token(Call::get(&doing, url))
        };
        let mut attempt = 1;
        loop {
            let trouble = match self.calls.once(&call).await {
                Ok(answer) if held.has(&answer.bytes) => return Ok(answer.bytes),
                Ok(_) => Trouble::Senseless(format!("other bytes than {held}")),
                // What is longer than the file is not the file, this time.
                Err(Trouble::Unanswered(crate::fetch::http::HttpError::TooLong { .. })) => {
                    Trouble::Senseless(format!("more bytes than {held}"))
                }
                Err(trouble) => trouble,
            };
            let waited = self.calls.wait(&doing, attempt, trouble).await;
            attempt = waited.map_err(|trouble| self.failed(&doing, trouble))?;
        }
    }
}

/// Whether another page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Wanted,
    Unwanted,
}

/// Whether a text is a commit's id.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_has_forty_digits() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("main") && !is_commit(&"g".repeat(40)));
    }
}
