//! Who may do what, and what the others are told.

use test_hub::{
    Mode, OIDC_REQUEST_TOKEN, Options, READ_TOKEN, STRANGER_TOKEN, TestHub, TrustedPublisher,
};
use wheelfarm_engine::shelf::hub::{Credentials, HubError, HubOptions, HubShelf, Visibility};
use wheelfarm_engine::shelf::{Fault as _, Shelf};

use crate::bench::{REPOSITORY, Wheels, credentials, options, publish, start};

async fn shelf_of(hub: &TestHub, credentials: Credentials, create: bool) -> HubShelf {
    let options = HubOptions {
        credentials,
        create: create.then_some(Visibility::Private),
        ..options(hub, 2)
    };
    HubShelf::open(options).await.unwrap()
}

#[track_caller]
fn check(error: &HubError, want: &str) {
    assert_eq!(error.to_string(), want);
    assert!(error.hint().is_some() && !error.is_refusal(), "{error:?}");
}

#[tokio::test]
async fn what_everybody_may_read_needs_no_token_and_writing_does() {
    let hub = start(Mode::Lfs).await;
    let wheels = Wheels::new(&[1], 5000);
    hub.create_repo(REPOSITORY, false).unwrap();
    let shelf = shelf_of(&hub, Credentials::none(), false).await;
    assert!(shelf.read().await.unwrap().catalog.wheels.is_empty());
    let error = publish(&shelf, &wheels).await.unwrap_err();
    check(
        &error,
        "failed to write on `hf://farm/wheels`: the Hub wants a token, and there is none",
    );
    let reader = shelf_of(&hub, credentials(READ_TOKEN), false).await;
    let error = publish(&reader, &wheels).await.unwrap_err();
    assert!(matches!(error, HubError::Forbidden { .. }), "{error}");
    let wrong = shelf_of(&hub, credentials("hf_wrong"), false).await;
    let error = publish(&wrong, &wheels).await.unwrap_err();
    assert!(matches!(error, HubError::TokenRefused { .. }), "{error}");
    assert!(
        !hub.tree(REPOSITORY, "main")
            .unwrap()
            .contains_key("manifest.json")
    );
}

#[tokio::test]
async fn a_private_repository_is_there_for_those_who_may_see_it() {
    let hub = start(Mode::Lfs).await;
    let wheels = Wheels::new(&[1], 5000);
    let missing = shelf_of(&hub, credentials(test_hub::WRITE_TOKEN), false).await;
    let error = missing.read().await.unwrap_err();
    check(&error, "there is no repository `hf://farm/wheels`");
    let shelf = shelf_of(&hub, credentials(test_hub::WRITE_TOKEN), true).await;
    publish(&shelf, &wheels).await.unwrap().unwrap();
    let reader = shelf_of(&hub, credentials(READ_TOKEN), false).await;
    let snapshot = reader.read().await.unwrap();
    assert_eq!(snapshot.catalog.wheels.len(), 1);
    let blob = &wheels.blobs[0];
    assert!(
        reader
            .file(&snapshot.head, &blob.path)
            .await
            .unwrap()
            .is_some()
    );
    for credentials in [credentials(STRANGER_TOKEN), Credentials::none()] {
        let stranger = shelf_of(&hub, credentials, false).await;
        let error = stranger.read().await.unwrap_err();
        assert!(matches!(error, HubError::NoRepository { .. }), "{error}");
    }
}

fn job(hub: &TestHub, bearer: &str) -> Credentials {
    Credentials::of(&[
        (
            "ACTIONS_ID_TOKEN_REQUEST_URL".into(),
            hub.oidc_request_url().into(),
        ),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN".into(), bearer.into()),
    ])
}

#[tokio::test]
async fn a_job_on_github_publishes_by_what_it_is() {
    let publisher = |resource: &str| TrustedPublisher {
        subject: "repo:farm/wheels:ref:refs/heads/main".to_owned(),
        resource: resource.to_owned(),
    };
    let hub = Options {
        trusted_publishers: vec![publisher(REPOSITORY)],
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start(hub).await.unwrap();
    hub.create_repo(REPOSITORY, false).unwrap();
    let shelf = shelf_of(&hub, job(&hub, OIDC_REQUEST_TOKEN), false).await;
    publish(&shelf, &Wheels::new(&[1], 5000))
        .await
        .unwrap()
        .unwrap();
    assert!(
        hub.tree(REPOSITORY, "main")
            .unwrap()
            .contains_key("manifest.json")
    );
    // What it is not trusted for, and a job that is none.
    let options_of = |credentials, repository: &str| HubOptions {
        credentials,
        repository: wheelfarm_engine::shelf::hub::Repository::parse(repository).unwrap(),
        ..options(&hub, 2)
    };
    for options in [
        options_of(job(&hub, OIDC_REQUEST_TOKEN), "farm/other"),
        options_of(job(&hub, "ghs_wrong"), REPOSITORY),
    ] {
        let error = HubShelf::open(options).await.unwrap_err();
        assert!(matches!(error, HubError::NoIdentity { .. }), "{error}");
        assert!(!format!("{error:?}").contains("ghs_"), "{error:?}");
    }
}

#[tokio::test]
async fn a_token_is_read_from_the_file_that_others_left() {
    let hub = start(Mode::Lfs).await;
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    fs_err::write(&token, format!("{}\n", test_hub::WRITE_TOKEN)).unwrap();
    let of_home = Credentials::of(&[("HF_HOME".into(), home.path().into())]);
    let of_path = Credentials::of(&[("HF_TOKEN_PATH".into(), token.clone().into())]);
    for (number, credentials) in [of_home, of_path].into_iter().enumerate() {
        let shelf = shelf_of(&hub, credentials, true).await;
        let wheels = Wheels::new(&[u64::try_from(number).unwrap()], 5000);
        publish(&shelf, &wheels).await.unwrap().unwrap();
    }
    assert!(!format!("{:?}", options(&hub, 1)).contains("hf_"));
}
