//! Tokens for the CAS. Python reads the headers, Rust and hf-xet read the body (hub.md section 3).

use hyper::StatusCode;
use serde_json::json;

use super::Call;
use crate::answer::{Answer, Refusal, ok, set_extra};
use crate::cas::Scope;
use crate::hub::Hub;
use crate::repo::RepoName;

pub(super) fn read_token(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    hub.read(&call.caller, name, |repo| {
        repo.resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        Ok(())
    })?;
    token(hub, Scope::Read)
}

pub(super) fn write_token(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    revision: &str,
) -> Result<Answer, Refusal> {
    hub.write(&call.caller, name, |repo, _| {
        repo.resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        Ok(())
    })?;
    token(hub, Scope::Write)
}

fn token(hub: &Hub, scope: Scope) -> Result<Answer, Refusal> {
    let cas = hub
        .cas
        .as_ref()
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "Xet is not enabled"))?;
    let (token, until) = cas.issue(scope, hub.options.limits.xet_token_lifetime);
    let url = hub.addresses.cas();
    let mut answer = ok(&json!({ "accessToken": token, "exp": until, "casUrl": url }));
    set_extra(&mut answer, "x-xet-cas-url", &url);
    set_extra(&mut answer, "x-xet-access-token", &token);
    set_extra(&mut answer, "x-xet-token-expiration", &until.to_string());
    Ok(answer)
}
