//! Trusted publishers: a CI job's OIDC token for a token of one repo, for an hour (py: `_oidc.py`;
//! RFC 8693), and a stand-in for GitHub's endpoint that mints the first one.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;

use super::{Call, parameter};
use crate::access::EXCHANGED_LIFETIME;
use crate::answer::{Answer, Asked, Refusal, json_answer, ok, read_body};
use crate::hub::Hub;
use crate::options::{OIDC_REQUEST_TOKEN, Role, Token};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// As `ACTIONS_ID_TOKEN_REQUEST_URL` does. The token is not a JWT, but names subject and audience too.
pub(super) fn mint(hub: &Hub, request: &Asked) -> Result<Answer, Refusal> {
    let allowed = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value == format!("Bearer {OIDC_REQUEST_TOKEN}"));
    let publisher = hub.options.trusted_publishers.first();
    match (allowed, publisher, parameter(request.uri(), "audience")) {
        (true, Some(publisher), Some(audience)) => Ok(ok(
            &json!({ "count": 1, "value": id_token(&publisher.subject, &audience) }),
        )),
        _ => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "no token for this job",
        )),
    }
}

fn id_token(subject: &str, audience: &str) -> String {
    format!("oidc {subject} for {audience}")
}

#[derive(Debug, Default, Deserialize)]
struct Exchange {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    subject_token_type: String,
    #[serde(default)]
    subject_token: String,
    #[serde(default)]
    resource: String,
}

/// Python sends JSON; RFC 8693 has a form. The audience of the token must be the Hub.
pub(super) async fn exchange(hub: &Arc<Hub>, call: Call) -> Result<Answer, Refusal> {
    let is_json = call
        .head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    let body = read_body(call.body).await?;
    let exchange: Exchange = if is_json {
        serde_json::from_slice(&body)
            .map_err(|error| Refusal::bad_request(format!("Invalid JSON: {error}")))?
    } else {
        let field = |name: &str| {
            form_urlencoded::parse(&body)
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        Exchange {
            grant_type: field("grant_type"),
            subject_token_type: field("subject_token_type"),
            subject_token: field("subject_token"),
            resource: field("resource"),
        }
    };
    if exchange.grant_type != GRANT || exchange.subject_token_type != ID_TOKEN {
        return Ok(refused(
            "unsupported_grant_type",
            "this grant is not supported",
        ));
    }
    let audience = hub.addresses.hub();
    let publisher = hub.options.trusted_publishers.iter().find(|publisher| {
        publisher.resource == exchange.resource
            && id_token(&publisher.subject, &audience) == exchange.subject_token
    });
    let Some(publisher) = publisher else {
        let text =
            "no trusted publisher of this resource fits the token's issuer, subject and audience";
        return Ok(refused("invalid_grant", text));
    };
    let value = format!("hf_jwt_{}", hub.next_upload());
    hub.tokens
        .lock()
        .expect("no code panics while it holds the tokens")
        .add(Token {
            value: value.clone(),
            user: publisher.subject.clone(),
            role: Role::Write,
            repo: Some(publisher.resource.clone()),
        });
    Ok(ok(&json!({
        "access_token": value,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "bearer",
        "expires_in": EXCHANGED_LIFETIME.as_secs(),
    })))
}

fn refused(error: &str, text: &str) -> Answer {
    json_answer(
        StatusCode::BAD_REQUEST,
        &json!({ "error": error, "error_description": text }),
    )
}
