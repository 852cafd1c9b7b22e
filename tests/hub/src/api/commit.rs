//! Preupload, which says how each file goes up, and the commit (py: `_commit_api.py`).

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Call;
use crate::access::Caller;
use crate::answer::{Answer, Refusal, ok, read_body, read_json};
use crate::attributes::{is_ignored, is_lfs};
use crate::blobs::is_sha256;
use crate::cdn;
use crate::content::Content;
use crate::hub::Hub;
use crate::limits::check_commits;
use crate::repo::{Change, ChangeError, Entry, Repo, RepoName, Saying, Tree, changed};

#[derive(Deserialize)]
struct Preupload {
    files: Vec<File>,
    #[serde(rename = "gitIgnore")]
    git_ignore: Option<String>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    size: u64,
    #[serde(default)]
    sample: String,
}

/// `shouldIgnore` must be there (py: `_fetch_upload_modes`); `oid` is what lies there now.
pub(super) async fn preupload(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    let request: Preupload = read_json(call.body).await?;
    let tree = hub.write(&call.caller, name, |repo, _| {
        let commit = repo
            .resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        Ok(Arc::clone(&commit.tree))
    })?;
    let attributes = text(&tree, ".gitattributes");
    let ignore = request
        .git_ignore
        .unwrap_or_else(|| text(&tree, ".gitignore"));
    let mut files = Vec::new();
    for file in &request.files {
        let sample = STANDARD
            .decode(&file.sample)
            .map_err(|_| Refusal::bad_request("\"sample\" is not base64"))?;
        let goes_to_lfs = is_lfs(&attributes, &file.path)
            || file.size > hub.options.limits.regular_bytes
            || sample.contains(&0);
        let oid = tree.get(&file.path).map(|entry| match entry {
            Entry::Regular { oid, .. } => oid.clone(),
            Entry::Lfs { sha256, .. } => sha256.clone(),
        });
        files.push(json!({
            "path": file.path,
            "uploadMode": if goes_to_lfs { "lfs" } else { "regular" },
            "shouldIgnore": is_ignored(&ignore, &file.path),
            "oid": oid,
        }));
    }
    Ok(ok(&json!({ "files": files })))
}

/// A small text file of a tree; empty where there is none.
fn text(tree: &Tree, path: &str) -> String {
    match tree.get(path) {
        Some(Entry::Regular { bytes, .. }) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Entry::Lfs { .. }) | None => String::new(),
    }
}

#[derive(Deserialize)]
struct Line {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
struct Header {
    summary: String,
    #[serde(default)]
    description: String,
    #[serde(rename = "parentCommit")]
    parent_commit: Option<String>,
}

#[derive(Deserialize)]
struct RegularFile {
    path: String,
    content: String,
    #[serde(default)]
    encoding: Option<String>,
}

/// Copies have no size (py: `_prepare_commit_payload`).
#[derive(Deserialize)]
struct LfsFile {
    path: String,
    oid: String,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Deletion {
    path: String,
}

/// A commit as it is asked for; the pointers in it are checked against what was uploaded.
struct Wanted {
    header: Header,
    changes: Vec<Change>,
}

/// The lock of a repo. The real Hub makes one commit at a time and refuses others with 409.
struct Locked<'a> {
    hub: &'a Hub,
    name: &'a RepoName,
}

impl<'a> Locked<'a> {
    fn take(hub: &'a Hub, caller: &Caller, name: &'a RepoName) -> Result<Self, Refusal> {
        hub.write(caller, name, |repo, _| {
            check_commits(&mut repo.recent, hub.options.limits.commits_per_hour)?;
            if repo.busy {
                return Err(super::conflict(
                    "Another commit operation is in progress for this repository. Please try again later.",
                ));
            }
            repo.busy = true;
            Ok(())
        })?;
        Ok(Self { hub, name })
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Some(repo) = self.hub.repos().get_mut(self.name) {
            repo.busy = false;
        }
    }
}

pub(super) async fn commit(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    let target = Target {
        name,
        revision,
        makes_pr: call.flag("create_pr"),
        folder_entries: hub.options.limits.folder_entries,
        url: format!("{}/{name}", hub.addresses.hub()),
    };
    hub.write(&call.caller, name, |_, _| Ok(()))?;
    let body = read_body(call.body).await?;
    let _locked = Locked::take(hub, &call.caller, name)?;
    let wanted = parse(hub, &body).await?;
    if !hub.options.commit_time.is_zero() {
        tokio::time::sleep(hub.options.commit_time).await;
    }
    hub.write(&call.caller, name, |repo, user| {
        apply(repo, &target, user, wanted)
    })
}

async fn parse(hub: &Arc<Hub>, body: &[u8]) -> Result<Wanted, Refusal> {
    let mut header = None;
    let mut changes = Vec::new();
    for line in body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line: Line = serde_json::from_slice(line).map_err(|error| bad_line(&error))?;
        match line.key.as_str() {
            "header" => header = Some(value::<Header>(line.value)?),
            "file" => changes.push(regular(value(line.value)?)?),
            "lfsFile" => changes.push(pointer(hub, value(line.value)?).await?),
            "deletedFile" => {
                let Deletion { path } = value(line.value)?;
                changes.push(Change::DeleteFile { path });
            }
            "deletedFolder" => {
                let Deletion { path } = value(line.value)?;
                changes.push(Change::DeleteFolder { path });
            }
            other => return Err(Refusal::bad_request(format!("Invalid key: {other}"))),
        }
    }
    let header = header.ok_or_else(|| Refusal::bad_request("\"header\" is required"))?;
    Ok(Wanted { header, changes })
}

fn value<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| bad_line(&error))
}

fn bad_line(error: &serde_json::Error) -> Refusal {
    Refusal::bad_request(format!("Invalid line in commit: {error}"))
}

/// Any file may stand in the commit, an LFS one too: the real Hub took a wheel that hf-hub had put there
/// (hub.md section 1.4, a), which a publisher has to notice itself.
fn regular(file: RegularFile) -> Result<Change, Refusal> {
    let bytes = match file.encoding.as_deref() {
        Some("base64") => STANDARD
            .decode(&file.content)
            .map_err(|_| Refusal::bad_request("\"content\" is not base64"))?,
        Some("utf-8") | None => file.content.into_bytes(),
        Some(other) => return Err(Refusal::bad_request(format!("Invalid encoding: {other}"))),
    };
    Ok(Change::Add {
        path: file.path,
        entry: Entry::regular(Bytes::from(bytes)),
    })
}

async fn pointer(hub: &Arc<Hub>, file: LfsFile) -> Result<Change, Refusal> {
    let LfsFile { path, oid, size } = file;
    let missing = || {
        Refusal::bad_request(format!(
            "LFS pointer pointed to a file that does not exist: {path} ({oid})"
        ))
    };
    if !is_sha256(&oid) {
        return Err(missing());
    }
    let content = cdn::find(hub, &oid).await?.ok_or_else(missing)?;
    let stored = content.size();
    if size.is_some_and(|size| size != stored) {
        let message = format!("LFS pointer size mismatch: {path}, {stored} bytes are stored");
        return Err(Refusal::bad_request(message));
    }
    let xet_hash = match (&content, &hub.cas) {
        (Content::Xet { .. }, Some(cas)) => cas.find(&oid).await?.map(|file| file.hash()),
        _ => None,
    };
    Ok(Change::Add {
        entry: Entry::lfs(&oid, stored, xet_hash),
        path,
    })
}

/// Where a commit goes.
struct Target<'a> {
    name: &'a RepoName,
    revision: &'a str,
    makes_pr: bool,
    /// Entries that a folder may have.
    folder_entries: usize,
    /// The page of the repo.
    url: String,
}

fn apply(
    repo: &mut Repo,
    target: &Target<'_>,
    user: String,
    wanted: Wanted,
) -> Result<Answer, Refusal> {
    let Target {
        name,
        revision,
        url,
        ..
    } = target;
    let commit = repo
        .resolve(revision)
        .ok_or_else(|| Refusal::no_revision(revision))?;
    let (parent, tree) = (commit.id.clone(), Arc::clone(&commit.tree));
    let reference = if target.makes_pr {
        let number = repo
            .refs
            .keys()
            .filter(|name| name.starts_with("refs/pr/"))
            .count()
            + 1;
        format!("refs/pr/{number}")
    } else {
        [format!("refs/heads/{revision}"), (*revision).to_owned()]
            .into_iter()
            .find(|name| repo.refs.contains_key(name))
            .ok_or_else(|| Refusal::no_revision(revision))?
    };
    if wanted
        .header
        .parent_commit
        .is_some_and(|known| known != parent)
    {
        return Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "A commit has happened since. Please refresh and try again.",
        ));
    }
    let tree = changed(&tree, wanted.changes, target.folder_entries)
        .map_err(|error| refuse_change(&error, &parent))?;
    let saying = Saying {
        title: wanted.header.summary,
        message: wanted.header.description,
        author: user,
    };
    let id = repo.record(Some(parent), saying, tree, &name.to_string());
    repo.refs.insert(reference.clone(), id.clone());
    repo.recent.push_back(Instant::now());
    let mut answer = json!({
        "success": true,
        "commitOid": id,
        "commitUrl": format!("{url}/commit/{id}"),
        "hookOutput": "",
    });
    if let Some(number) = reference.strip_prefix("refs/pr/") {
        answer["pullRequestUrl"] = json!(format!("{url}/discussions/{number}"));
    }
    Ok(ok(&answer))
}

fn refuse_change(error: &ChangeError, head: &str) -> Refusal {
    let message = error.to_string();
    match error {
        ChangeError::Missing(path) => Refusal::no_entry(path, head),
        ChangeError::FileAndFolder(_)
        | ChangeError::BadPath(_)
        | ChangeError::FullFolder { .. } => Refusal::bad_request(message),
    }
}
