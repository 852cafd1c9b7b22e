//! How somebody stands with a Hub: whether there is a token, whose it is and what it may do. Nothing is changed.

use std::error::Error;

use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::doctor::hub::{Answered, HubFacts, Identity, TokenFound};

use super::address::{Endpoint, Repository};
use super::api::{Api, Branch};
use super::auth::{Credentials, Token};
use super::calls::{Call, Calls, Listener, Trouble};
use super::error::HubError;
use super::shelf::MAIN;
use crate::fetch::FetchOptions;

/// Asks a Hub, once and within `limits`; `not_asked` says why it is not to be asked at all.
pub(crate) async fn standing(
    credentials: &Credentials,
    (endpoint, repository): (&Endpoint, &Repository),
    limits: &FetchOptions,
    not_asked: Option<&'static str>,
) -> HubFacts {
    let (token, found) = match credentials.at_hand().await {
        Ok(Some((token, place))) => (Some(token), TokenFound::In(place)),
        Ok(None) if credentials.has_identity() => (None, TokenFound::GithubIdentity),
        Ok(None) => (None, TokenFound::Nowhere),
        Err(error) => (None, TokenFound::Unreadable(chain(&error))),
    };
    let mut facts = HubFacts {
        endpoint: endpoint.to_string(),
        repository: repository.to_string(),
        kind: repository.kind().as_str().to_owned(),
        owner: repository.owner().to_owned(),
        name: repository.name().to_owned(),
        token: found,
        repository_there: Answered::NotAsked(not_asked.unwrap_or("nobody was asked")),
        identity: Answered::NotAsked(not_asked.unwrap_or("there is no token")),
    };
    if not_asked.is_some() {
        return facts;
    }
    let calls = match Calls::new(limits, Listener::none()) {
        Ok(calls) => calls,
        Err(error) => {
            facts.repository_there = Answered::Not(chain(&*error));
            return facts;
        }
    };
    let api = Api {
        calls,
        endpoint: endpoint.clone(),
        repository: repository.clone(),
        token: token.clone(),
    };
    let identity = async {
        match &token {
            Some(token) => Some(whose(&api, token).await),
            None => None,
        }
    };
    let (there, identity) = tokio::join!(is_there(&api), identity);
    facts.repository_there = there;
    if let Some(identity) = identity {
        facts.identity = identity;
    }
    facts
}

async fn is_there(api: &Api) -> Answered<bool> {
    match api.branch(MAIN).await {
        Ok(Branch::At(_) | Branch::Missing) => Answered::With(true),
        Ok(Branch::NoRepository) => Answered::With(false),
        Err(error) => Answered::Not(brief(&error)),
    }
}

/// The error and what is at the bottom of it.
fn brief(error: &HubError) -> String {
    let mut last = error.source();
    while let Some(deeper) = last.and_then(Error::source) {
        last = Some(deeper);
    }
    match last {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

async fn whose(api: &Api, token: &Token) -> Answered<Identity> {
    let url = format!("{}/api/whoami-v2", api.endpoint);
    let call = api.with_token(Call::get("ask whose the token is", url));
    match api.calls.once(&call).await {
        Ok(answer) => match Identity::parse(&String::from_utf8_lossy(&answer.bytes)) {
            Ok(identity) => Answered::With(identity),
            // Not with its cause, which may quote the answer.
            Err(error) => Answered::Not(error.to_string()),
        },
        Err(trouble) if matches!(trouble.status(), Some(401 | 403)) => {
            Answered::Refused(token.hidden_in(&trouble.to_string()))
        }
        Err(trouble @ (Trouble::Unanswered(_) | Trouble::Refused(_) | Trouble::Senseless(_))) => {
            Answered::Not(token.hidden_in(&trouble.to_string()))
        }
    }
}
