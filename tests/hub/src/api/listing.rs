//! Lists: the tree in pages, paths, commits (py: `list_repo_tree`, `get_paths_info`, `list_repo_commits`).

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, LINK};
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use url::form_urlencoded;

use super::Call;
use super::resolve::Place;
use crate::answer::{Answer, Refusal, ok, read_body, set, set_extra};
use crate::hub::Hub;
use crate::repo::{Commit, Entry, Repo, RepoName, Tree, ancestors, has_folder, is_inside, pointer};

/// With `expand` a page is shorter (py: `list_repo_tree`, "50 when `expand=True`").
const EXPANDED_ROWS: usize = 50;
/// What the real Hub takes when `limit` is not given is not known; clients follow the links.
const COMMITS: usize = 50;

/// A row: a file, or a folder with an id that stands for all that is in it. It is not git's id of the
/// tree, which no client computes.
enum Row<'a> {
    File(&'a str, &'a Entry),
    Folder(&'a str, String),
}

impl<'a> Row<'a> {
    fn at(tree: &'a Tree, path: &'a str) -> Option<Self> {
        match tree.get(path) {
            Some(entry) => Some(Self::File(path, entry)),
            None if has_folder(tree, path) => Some(Self::Folder(path, folder_id(tree, path))),
            None => None,
        }
    }

    fn path(&self) -> &'a str {
        match self {
            Self::File(path, _) | Self::Folder(path, _) => path,
        }
    }

    fn id(&self) -> String {
        match self {
            Self::File(_, entry) => entry.oid().to_owned(),
            Self::Folder(_, id) => id.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Folder(path, id) => {
                json!({ "type": "directory", "oid": id, "size": 0, "path": path })
            }
            Self::File(path, entry) => {
                let mut row = json!({ "type": "file", "oid": entry.oid(), "size": entry.size(), "path": path });
                if let Entry::Lfs {
                    sha256,
                    size,
                    xet_hash,
                    ..
                } = entry
                {
                    let pointer_bytes = pointer(sha256, *size).len();
                    row["lfs"] =
                        json!({ "oid": sha256, "size": size, "pointerSize": pointer_bytes });
                    if let Some(hash) = xet_hash {
                        row["xetHash"] = json!(hash);
                    }
                }
                row
            }
        }
    }

    /// With the commit that it is from.
    fn expanded(&self, history: &[&Commit]) -> Value {
        let mut row = self.json();
        let id = self.id();
        let is_same = |commit: &&&Commit| {
            Row::at(&commit.tree, self.path()).is_some_and(|row| row.id() == id)
        };
        if let Some(commit) = history.iter().take_while(is_same).last() {
            let last =
                json!({ "id": commit.id, "title": commit.title, "date": commit.time.to_string() });
            row["lastCommit"] = last;
        }
        row
    }
}

fn folder_id(tree: &Tree, folder: &str) -> String {
    let mut hash = Sha1::new();
    for (path, entry) in tree.range(format!("{folder}/")..) {
        if !is_inside(path, folder) {
            break;
        }
        hash.update(format!("{path}\0{}\0", entry.oid()));
    }
    hex::encode(hash.finalize())
}

pub(super) fn tree(hub: &Hub, call: &Call, place: &Place<'_>) -> Result<Answer, Refusal> {
    let Place {
        name,
        revision,
        path,
    } = *place;
    let (recursive, expand) = (call.flag("recursive"), call.flag("expand"));
    let folder = path.trim_matches('/');
    let from: usize = call.parameter("cursor").map_or(Ok(0), |cursor| {
        cursor
            .parse()
            .map_err(|_| Refusal::bad_request("Invalid cursor"))
    })?;
    let rows_on_page = match (
        expand,
        call.parameter("limit").and_then(|limit| limit.parse().ok()),
    ) {
        (true, _) => EXPANDED_ROWS.min(hub.options.limits.page_rows),
        (false, Some(limit)) => hub.options.limits.page_rows.min(limit),
        (false, None) => hub.options.limits.page_rows,
    }
    .max(1);
    hub.read(&call.caller, name, |repo| {
        let commit = repo
            .resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        if !has_folder(&commit.tree, folder) {
            return Err(Refusal::no_entry(folder, &commit.id));
        }
        let paths = paths_in(&commit.tree, folder, recursive);
        let history = if expand {
            repo.history(&commit.id)
        } else {
            Vec::new()
        };
        let rows: Vec<Value> = paths
            .iter()
            .skip(from)
            .take(rows_on_page)
            .filter_map(|path| Row::at(&commit.tree, path))
            .map(|row| {
                if expand {
                    row.expanded(&history)
                } else {
                    row.json()
                }
            })
            .collect();
        let mut answer = ok(&Value::Array(rows));
        set_extra(&mut answer, "x-repo-commit", &commit.id);
        let next = from.saturating_add(rows_on_page);
        if next < paths.len() {
            set_next(hub, call, &mut answer, ("cursor", &next.to_string()));
        }
        Ok(answer)
    })
}

/// Files and folders, in the order of their paths; folders count on a page as files do.
fn paths_in<'a>(tree: &'a Tree, folder: &str, recursive: bool) -> Vec<&'a str> {
    let start = if folder.is_empty() {
        0
    } else {
        folder.len() + 1
    };
    let mut paths = BTreeSet::new();
    for path in tree.keys().filter(|path| is_inside(path, folder)) {
        let inside = ancestors(path).filter(|place| place.len() > start || start == 0);
        for place in inside.chain([path.as_str()]) {
            if place.len() > folder.len() && (recursive || !place[start..].contains('/')) {
                paths.insert(place);
            }
        }
    }
    paths.into_iter().collect()
}

/// The link to the next page is absolute, for hf-hub reads it with `Url::parse` (`pagination.rs`).
fn set_next(hub: &Hub, call: &Call, answer: &mut Answer, (key, value): (&str, &str)) {
    let uri = &call.head.uri;
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .filter(|(other, _)| other != key),
        )
        .append_pair(key, value)
        .finish();
    let link = format!(
        "<{}{}?{query}>; rel=\"next\"",
        hub.addresses.hub(),
        uri.path()
    );
    set(answer, LINK, &link);
}

#[derive(Deserialize)]
struct Paths {
    paths: Vec<String>,
    #[serde(default)]
    expand: bool,
}

/// Rust sends JSON, Python a form. A path that is not there is left out.
pub(super) async fn paths_info(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    let is_json = call
        .head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    let body = read_body(call.body).await?;
    let Paths { paths, expand } = if is_json {
        serde_json::from_slice(&body)
            .map_err(|error| Refusal::bad_request(format!("Invalid JSON: {error}")))?
    } else {
        let pairs = || form_urlencoded::parse(&body);
        let paths = pairs().filter(|(key, _)| key == "paths" || key == "paths[]");
        Paths {
            paths: paths.map(|(_, path)| path.into_owned()).collect(),
            expand: pairs()
                .any(|(key, value)| key == "expand" && value.eq_ignore_ascii_case("true")),
        }
    };
    hub.read(&call.caller, name, |repo| {
        let commit = repo
            .resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        let history = if expand {
            repo.history(&commit.id)
        } else {
            Vec::new()
        };
        let rows: Vec<Value> = paths
            .iter()
            .filter_map(|path| Row::at(&commit.tree, path.trim_matches('/')))
            .map(|row| {
                if expand {
                    row.expanded(&history)
                } else {
                    row.json()
                }
            })
            .collect();
        Ok(ok(&Value::Array(rows)))
    })
}

pub(super) fn commits(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    let number = |key| {
        call.parameter(key)
            .and_then(|text| text.parse::<usize>().ok())
    };
    let page = number("p").unwrap_or(0);
    let limit = number("limit").unwrap_or(COMMITS).clamp(1, 1000);
    hub.read(&call.caller, name, |repo: &Repo| {
        let commit = repo
            .resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        let history = repo.history(&commit.id);
        let from = page.saturating_mul(limit);
        let rows: Vec<Value> = history
            .iter()
            .skip(from)
            .take(limit)
            .map(|commit| row(commit))
            .collect();
        let mut answer = ok(&Value::Array(rows));
        set_extra(&mut answer, "x-total-count", &history.len().to_string());
        if from.saturating_add(limit) < history.len() {
            set_next(
                hub,
                call,
                &mut answer,
                ("p", &page.saturating_add(1).to_string()),
            );
        }
        Ok(answer)
    })
}

fn row(commit: &Commit) -> Value {
    json!({
        "id": commit.id,
        "title": commit.title,
        "message": commit.message,
        "date": commit.time.to_string(),
        "authors": [{ "user": commit.author, "avatar": "" }],
        "parents": commit.parent.iter().collect::<Vec<_>>(),
        "formatted": { "title": commit.title, "message": commit.message },
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[track_caller]
    fn check(folder: &str, recursive: bool, want: &[&str]) {
        let entry = || Entry::regular(Bytes::from_static(b"x"));
        let tree: Tree = ["a", "b/c", "b/d/e", "bb/f"]
            .into_iter()
            .map(|path| (path.to_owned(), entry()))
            .collect();
        assert_eq!(paths_in(&tree, folder, recursive), want);
    }

    #[test]
    fn folders_are_listed_with_their_files() {
        check("", false, &["a", "b", "bb"]);
        check("", true, &["a", "b", "b/c", "b/d", "b/d/e", "bb", "bb/f"]);
        check("b", false, &["b/c", "b/d"]);
        check("b", true, &["b/c", "b/d", "b/d/e"]);
        check("b/d", false, &["b/d/e"]);
    }
}
