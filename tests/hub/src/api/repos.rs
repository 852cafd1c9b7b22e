//! Repos are made, set and removed; who a token is of (py: `create_repo`, `delete_repo`, `whoami`).

use std::sync::Arc;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Call;
use crate::answer::{Answer, Refusal, json_answer, ok, read_json};
use crate::hub::Hub;
use crate::options::Role;
use crate::repo::{Kind, Repo, RepoName};

/// Python sends `visibility`, Rust sends `private`; `name` alone is in the caller's own namespace.
#[derive(Deserialize)]
struct RepoRequest {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    private: Option<bool>,
    visibility: Option<String>,
    sdk: Option<String>,
}

impl RepoRequest {
    fn name(&self, user: &str) -> Result<RepoName, Refusal> {
        let owner = self.organization.as_deref().unwrap_or(user);
        let kind = match self.kind.as_deref().unwrap_or("model") {
            "model" => Kind::Model,
            "dataset" => Kind::Dataset,
            "space" => Kind::Space,
            other => return Err(Refusal::bad_request(format!("Invalid repo type: {other}"))),
        };
        let text = format!("{}/{owner}/{}", kind.plural(), self.name);
        let name = RepoName {
            kind,
            owner: owner.to_owned(),
            name: self.name.clone(),
        };
        match text.trim_start_matches("models/").parse::<RepoName>() {
            Ok(_) => Ok(name),
            Err(error) => Err(Refusal::bad_request(format!("Invalid repo name: {error}"))),
        }
    }

    fn private(&self) -> Option<bool> {
        self.private.or_else(|| {
            self.visibility
                .as_deref()
                .map(|visibility| visibility != "public")
        })
    }
}

pub(super) async fn create(hub: &Arc<Hub>, call: Call) -> Result<Answer, Refusal> {
    let user = call.caller.known()?.user.clone();
    let request: RepoRequest = read_json(call.body).await?;
    let name = request.name(&user)?;
    call.caller.writer(&name)?;
    if name.kind == Kind::Space && request.sdk.is_none() {
        return Err(Refusal::bad_request("\"sdk\" is required"));
    }
    let url = format!("{}/{name}", hub.addresses.hub());
    let mut repos = hub.repos();
    if repos.contains_key(&name) {
        // Python reads `url` out of this answer with `exist_ok` (`hf_api.py`, `create_repo`).
        let message = format!("You already created this {} repo", name.kind.singular());
        return Ok(json_answer(
            StatusCode::CONFLICT,
            &json!({ "error": message, "url": url }),
        ));
    }
    let private = request.private().unwrap_or(false);
    let sdk = request.sdk.filter(|_| name.kind == Kind::Space);
    repos.insert(name.clone(), Repo::new(&name, &user, private, sdk));
    Ok(ok(
        &json!({ "url": url, "name": name.id(), "id": name.id() }),
    ))
}

pub(super) async fn delete(hub: &Arc<Hub>, call: Call) -> Result<Answer, Refusal> {
    let user = call.caller.known()?.user.clone();
    let request: RepoRequest = read_json(call.body).await?;
    let name = request.name(&user)?;
    hub.write(&call.caller, &name, |_, _| Ok(()))?;
    hub.repos().remove(&name);
    Ok(ok(&json!({})))
}

#[derive(Deserialize)]
struct Settings {
    private: Option<bool>,
    visibility: Option<String>,
}

pub(super) async fn settings(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
) -> Result<Answer, Refusal> {
    let settings: Settings = read_json(call.body).await?;
    hub.write(&call.caller, name, |repo, _| {
        let private = settings
            .private
            .or_else(|| settings.visibility.map(|visibility| visibility != "public"));
        repo.private = private.unwrap_or(repo.private);
        Ok(ok(&json!({ "private": repo.private })))
    })
}

pub(super) fn whoami(call: &Call) -> Result<Answer, Refusal> {
    let token = call.caller.known()?;
    let role = match token.role {
        Role::Write => "write",
        Role::Read | Role::Stranger => "read",
    };
    Ok(ok(&json!({
        "type": "user",
        "id": format!("id-{}", token.user),
        "name": token.user,
        "fullname": token.user,
        "orgs": [],
        "auth": { "type": "access_token", "accessToken": { "displayName": "test", "role": role } },
    })))
}
