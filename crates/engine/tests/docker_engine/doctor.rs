//! What the real engine says of itself, as `doctor` judges it.

use std::sync::Arc;

use wheelfarm_core::doctor::facts::{Proofs, Unseen, Whereabouts};
use wheelfarm_core::doctor::{State, Topic, judge};
use wheelfarm_engine::container::{DockerEngine, Engine};
use wheelfarm_engine::doctor::{Network, Request, look};

#[tokio::test]
async fn docker_doctor_judges_the_engine_of_this_host() {
    let engine = Arc::new(DockerEngine::connect().await.unwrap());
    let facts = engine.describe().await.unwrap();
    let survey = engine.survey().await.unwrap();
    // Two ways to ask tell the same.
    assert_eq!(survey.version, facts.version);
    assert_eq!(
        (survey.cpus, survey.memory_bytes),
        (facts.cpus, facts.memory_bytes)
    );
    assert_eq!(survey.whereabouts, Whereabouts::ThisHost);
    assert!(survey.ahead_s.unwrap().abs() < 30, "{survey:?}");
    assert!(
        survey.limits.memory.is_some() && survey.cgroup_version.is_some(),
        "{survey:?}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = camino::Utf8Path::from_path(folder.path()).unwrap();
    let request = Request {
        farm: Err(Unseen::new("there is no matrix", "name one")),
        out: path.join("out"),
        cache: path.join("cache"),
        place: None,
        network: Network::NotAsked,
        proofs: Proofs::AsPackagesSay,
        variables: Vec::new(),
    };
    let checks = judge(&look(request, Ok(Arc::clone(&engine))).await.unwrap());
    // The tests of this farm run here, so this host is fit for containers.
    for topic in [
        Topic::Engine,
        Topic::Platform,
        Topic::Storage,
        Topic::ContainerNetwork,
    ] {
        let check = checks.iter().find(|check| check.topic == topic).unwrap();
        assert_eq!(check.state, State::Pass, "{check:?}");
    }
    let limits = checks.iter().find(|check| check.topic == Topic::Limits);
    assert_ne!(limits.unwrap().state, State::Fail, "{limits:?}");
    assert!(folder.path().read_dir().unwrap().next().is_none());
    let left = engine
        .containers(&wheelfarm_engine::container::Labels::default())
        .await
        .unwrap();
    assert!(
        !left
            .iter()
            .any(|container| container.name.starts_with("wheelfarm-doctor"))
    );
}
