//! A repo at a revision (py: `repo_info`, which `snapshot_download` needs `sha` and `siblings` of).

use serde_json::{Map, Value, json};

use super::Call;
use crate::answer::{Answer, Refusal, ok};
use crate::hub::Hub;
use crate::repo::{Commit, Entry, Kind, Repo, RepoName};

pub(super) fn info(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    let with_blobs = call.flag("blobs");
    hub.read(&call.caller, name, |repo| {
        let commit = repo
            .resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        Ok(ok(&describe(name, repo, commit, with_blobs)))
    })
}

fn describe(name: &RepoName, repo: &Repo, commit: &Commit, with_blobs: bool) -> Value {
    let siblings: Vec<Value> = commit
        .tree
        .iter()
        .map(|(path, entry)| sibling(path, entry, with_blobs))
        .collect();
    let used: u64 = commit.tree.values().map(Entry::size).sum();
    let mut fields = json!({
        "_id": format!("id-{}", name.id()),
        "id": name.id(),
        "author": name.owner,
        "sha": commit.id,
        "lastModified": commit.time.to_string(),
        "createdAt": repo.created.to_string(),
        "private": repo.private,
        "gated": false,
        "disabled": false,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "usedStorage": used,
        "siblings": siblings,
    });
    let extra = match name.kind {
        Kind::Model => [("modelId", json!(name.id()))],
        Kind::Dataset => [("cardData", json!({}))],
        Kind::Space => [("sdk", json!(repo.sdk))],
    };
    if let Value::Object(fields) = &mut fields {
        fields.extend(extra.map(|(key, value)| (key.to_owned(), value)));
    }
    fields
}

fn sibling(path: &str, entry: &Entry, with_blobs: bool) -> Value {
    let mut fields = Map::new();
    fields.insert("rfilename".to_owned(), json!(path));
    if with_blobs {
        fields.insert("size".to_owned(), json!(entry.size()));
        fields.insert("blobId".to_owned(), json!(entry.oid()));
        if let Entry::Lfs { sha256, size, .. } = entry {
            let pointer_bytes = crate::repo::pointer(sha256, *size).len();
            let lfs = json!({ "sha256": sha256, "size": size, "pointerSize": pointer_bytes });
            fields.insert("lfs".to_owned(), lfs);
        }
    }
    Value::Object(fields)
}
