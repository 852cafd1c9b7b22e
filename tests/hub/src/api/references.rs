//! Branches, tags and pull requests (py: `create_branch`, `create_tag`, `list_repo_refs`).

use std::sync::Arc;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, conflict};
use crate::answer::{Answer, Counted, Refusal, ok, read_body};
use crate::hub::Hub;
use crate::repo::{Repo, RepoName, Saying};

pub(super) fn list(hub: &Hub, call: &Call, name: &RepoName) -> Result<Answer, Refusal> {
    hub.read(&call.caller, name, |repo| {
        let with = |prefix: &str| -> Vec<Value> {
            let all = repo.refs.iter();
            all.filter_map(|(reference, id)| {
                let name = reference.strip_prefix(prefix)?;
                Some(json!({ "name": name, "ref": reference, "targetCommit": id }))
            })
            .collect()
        };
        let mut refs =
            json!({ "branches": with("refs/heads/"), "tags": with("refs/tags/"), "converts": [] });
        if call.flag("include_prs") {
            refs["pullRequests"] = json!(with("refs/pr/"));
        }
        Ok(ok(&refs))
    })
}

#[derive(Default, Deserialize)]
struct Request {
    #[serde(rename = "startingPoint")]
    starting_point: Option<String>,
    tag: Option<String>,
    message: Option<String>,
}

/// A request without a body asks for the defaults.
async fn read(body: Counted) -> Result<Request, Refusal> {
    let bytes = read_body(body).await?;
    if bytes.is_empty() {
        return Ok(Request::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("Invalid JSON: {error}")))
}

/// Makes a reference to what a revision names; one that is there stays as it is.
fn create(repo: &mut Repo, reference: String, revision: &str) -> Result<Answer, Refusal> {
    let commit = repo
        .resolve(revision)
        .ok_or_else(|| Refusal::no_revision(revision))?;
    let id = commit.id.clone();
    if repo.refs.contains_key(&reference) {
        return Err(conflict("Reference already exists"));
    }
    repo.refs.insert(reference, id);
    Ok(ok(&json!({})))
}

fn delete(repo: &mut Repo, reference: &str, shown: &str) -> Result<Answer, Refusal> {
    match repo.refs.remove(reference) {
        Some(_) => Ok(ok(&json!({}))),
        None => Err(Refusal::no_revision(shown)),
    }
}

pub(super) async fn create_branch(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
    branch: &str,
) -> Result<Answer, Refusal> {
    let request = read(call.body).await?;
    hub.write(&call.caller, name, |repo, _| {
        let from = request.starting_point.as_deref().unwrap_or("main");
        create(repo, format!("refs/heads/{branch}"), from)
    })
}

pub(super) fn delete_branch(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    branch: &str,
) -> Result<Answer, Refusal> {
    hub.write(&call.caller, name, |repo, _| {
        if branch == "main" {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "Cannot delete the main branch",
            ));
        }
        delete(repo, &format!("refs/heads/{branch}"), branch)
    })
}

pub(super) async fn create_tag(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    let request = read(call.body).await?;
    let tag = request
        .tag
        .ok_or_else(|| Refusal::bad_request("\"tag\" is required"))?;
    hub.write(&call.caller, name, |repo, _| {
        create(repo, format!("refs/tags/{tag}"), revision)
    })
}

pub(super) fn delete_tag(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    tag: &str,
) -> Result<Answer, Refusal> {
    hub.write(&call.caller, name, |repo, _| {
        delete(repo, &format!("refs/tags/{tag}"), tag)
    })
}

pub(super) async fn squash(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
    branch: &str,
) -> Result<Answer, Refusal> {
    let request = read(call.body).await?;
    hub.write(&call.caller, name, |repo, user| {
        let saying = Saying {
            title: request.message.unwrap_or_else(|| "Super-squash".to_owned()),
            message: String::new(),
            author: user,
        };
        match repo.squash(&format!("refs/heads/{branch}"), saying, &name.to_string()) {
            Some(_) => Ok(ok(&json!({}))),
            None => Err(Refusal::no_revision(branch)),
        }
    })
}
