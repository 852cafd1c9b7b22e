//! How a token stands with a Hub, as `doctor` finds it out.

use std::sync::Arc;

use test_hub::{Mode, READ_TOKEN, STRANGER_TOKEN, TestHub, WRITE_TOKEN};
use wheelfarm_core::doctor::facts::{Facts, Proofs, Unseen};
use wheelfarm_core::doctor::{State, Topic, judge};
use wheelfarm_engine::container::ScriptedEngine;
use wheelfarm_engine::doctor::{Network, PlaceRequest, Request, look};
use wheelfarm_engine::shelf::hub::Repository;

use crate::bench::{REPOSITORY, start};

async fn facts(hub: &TestHub, token: Option<&str>, network: Network) -> Facts {
    let folder = tempfile::tempdir().unwrap();
    let path = camino::Utf8Path::from_path(folder.path()).unwrap();
    let repository = Repository::parse(REPOSITORY).unwrap();
    let variables = token.map(|token| ("HF_TOKEN".into(), token.into()));
    let request = Request {
        farm: Err(Unseen::new("there is no matrix", "name one")),
        out: path.join("out"),
        cache: path.join("cache"),
        place: Some(PlaceRequest::Hub(
            hub.endpoint().parse().unwrap(),
            repository,
        )),
        network,
        proofs: Proofs::AsPackagesSay,
        variables: variables.into_iter().collect(),
    };
    let engine = Arc::new(ScriptedEngine::default());
    let facts = look(request, Ok(engine)).await.unwrap();
    assert!(!path.join("out").exists() && !path.join("cache").exists());
    facts
}

/// State and words of the checks on a place.
fn said(facts: &Facts) -> Vec<(State, String)> {
    let checks = judge(facts).into_iter();
    let checks = checks.filter(|check| check.topic.group() == Topic::Place.group());
    checks.map(|check| (check.state, check.seen)).collect()
}

#[tokio::test]
async fn a_token_is_looked_at_before_a_night() {
    let hub = start(Mode::Lfs).await;
    hub.create_repo(REPOSITORY, false).unwrap();
    // Of the Hub's users `farm` owns the repository.
    for (token, rights) in [
        (Some(WRITE_TOKEN), Some(State::Pass)),
        (Some(READ_TOKEN), Some(State::Fail)),
        (Some(STRANGER_TOKEN), Some(State::Fail)),
        (Some("hf_wrong"), Some(State::Fail)),
        (None, None),
    ] {
        let facts = facts(&hub, token, Network::Asked).await;
        let said = said(&facts);
        let found = said.get(2).map(|(state, _)| *state);
        assert_eq!(found, rights, "{token:?}: {said:?}");
        assert_eq!(said[1].0 == State::Pass, token.is_some(), "{said:?}");
        // Whoever holds the facts does not hold the token.
        let shown = format!("{facts:?}");
        if let Some(token) = token {
            assert!(!shown.contains(token), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told() {
    let hub = start(Mode::Lfs).await;
    let said = said(&facts(&hub, Some(WRITE_TOKEN), Network::Asked).await);
    assert_eq!(said[0].0, State::Warn, "{said:?}");
    assert!(said[0].1.contains("is not there"), "{said:?}");
}

#[tokio::test]
async fn nobody_is_asked_offline() {
    let hub = start(Mode::Lfs).await;
    let facts = facts(&hub, Some(WRITE_TOKEN), Network::NotAsked).await;
    assert_eq!(hub.requests().len(), 0);
    let states: Vec<_> = said(&facts).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [State::NotChecked, State::Pass, State::NotChecked]);
}
