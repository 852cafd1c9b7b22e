//! The place that wheels go to, and the right to bring them there.

use super::farm;
use crate::doctor::facts::{Facts, PlaceFacts};
use crate::doctor::hub::{Answered, HubFacts, Rights, TokenFound};
use crate::doctor::{Check, Topic};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    match &facts.place {
        // A night that publishes nothing lacks nothing.
        None => Vec::new(),
        Some(PlaceFacts::Folder { folder, hold }) => {
            vec![farm::hold(Topic::Place, folder.as_str(), hold)]
        }
        Some(PlaceFacts::Hub(hub)) => {
            let mut checks = vec![repository(hub), token(hub)];
            if hub.token != TokenFound::Nowhere {
                checks.push(rights(hub));
            }
            checks
        }
    }
}

fn repository(hub: &HubFacts) -> Check {
    let name = &hub.repository;
    match &hub.repository_there {
        Answered::With(true) => Topic::Place.pass(format!("`{name}` is there")),
        Answered::With(false) => Topic::Place.warn(
            format!("`{name}` is not there, or not for this token to see"),
            format!("wheelfarm publish --to {name} --create"),
        ),
        Answered::Refused(why) | Answered::Not(why) => Topic::Place.not_checked(
            format!("whether `{name}` is there is not known: {why}"),
            format!("curl -I {}", hub.endpoint),
        ),
        Answered::NotAsked(why) => {
            Topic::Place.not_checked(format!("`{name}`: {why}"), "leave --offline out")
        }
    }
}

fn token(hub: &HubFacts) -> Check {
    match &hub.token {
        TokenFound::Nowhere => Topic::Token.fail(
            "none was found",
            "`hf auth login`, or `export HF_TOKEN=…` with a token that may write (Settings, Access Tokens)",
        ),
        TokenFound::In(place) => Topic::Token.pass(format!("found in {place}")),
        TokenFound::GithubIdentity => {
            Topic::Token.pass("the job's identity on GitHub is exchanged for one when it publishes")
        }
        TokenFound::Unreadable(why) => Topic::Token.fail(why, "mend the file's rights, or `export HF_TOKEN=…`"),
    }
}

fn rights(hub: &HubFacts) -> Check {
    const NEW_TOKEN: &str =
        "make a token with write access to it (Settings, Access Tokens), then `hf auth login`";
    if hub.token == TokenFound::GithubIdentity {
        return Topic::Rights.not_checked(
            "a token is made when it is needed, for this repository alone",
            "name this repository and workflow as a Trusted Publisher: https://huggingface.co/docs/hub/trusted-publishers",
        );
    }
    match &hub.identity {
        Answered::With(identity) => match identity.may_write(&hub.kind, &hub.owner, &hub.name) {
            Rights::Yes(whom) => {
                Topic::Rights.pass(format!("may write to `{}` as {whom}", hub.repository))
            }
            Rights::No(why) => Topic::Rights.fail(
                format!("{why}, and `{}` is to be written", hub.repository),
                NEW_TOKEN,
            ),
            Rights::Unknown(why) => Topic::Rights.not_checked(
                format!(
                    "{why}; whether it may write to `{}` is not said",
                    hub.repository
                ),
                format!("wheelfarm publish --to {} --dry-run", hub.repository),
            ),
        },
        Answered::Refused(why) => {
            Topic::Rights.fail(format!("the Hub does not take the token: {why}"), NEW_TOKEN)
        }
        Answered::Not(why) => Topic::Rights.not_checked(
            format!("the Hub did not say: {why}"),
            format!("curl -I {}", hub.endpoint),
        ),
        Answered::NotAsked(why) => Topic::Rights.not_checked(*why, "leave --offline out"),
    }
}
