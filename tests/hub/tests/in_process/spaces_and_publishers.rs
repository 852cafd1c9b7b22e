//! Static Spaces, and tokens of CI jobs.

use serde_json::{Value, json};
use test_hub::{Mode, OIDC_REQUEST_TOKEN, Options, TestHub, TrustedPublisher};

use crate::client::{get, send};

#[tokio::test]
async fn a_static_space_is_an_index() {
    let hub = TestHub::start(Options::mode(Mode::Lfs)).await.unwrap();
    hub.create_repo("spaces/farm/index", false).unwrap();
    let files: [(&str, &[u8]); 3] = [
        ("simple/x/index.html", b"<!DOCTYPE html>"),
        ("simple/x/index.json", b"{}"),
        ("req/x.txt", b"x\n"),
    ];
    hub.commit("spaces/farm/index", "main", "index", &files)
        .unwrap();
    let space = hub.space_url("farm", "index");
    let check = async |path: &str, want: (u16, Option<&str>)| {
        let answer = get(&format!("{space}{path}")).await;
        let content_type = answer.headers.get("content-type").map(String::as_str);
        assert_eq!(
            (answer.status, content_type.filter(|_| want.1.is_some())),
            want,
            "{path}"
        );
    };
    check("/simple/x/", (200, Some("text/html; charset=utf-8"))).await;
    check(
        "/simple/x/index.html",
        (200, Some("text/html; charset=utf-8")),
    )
    .await;
    check("/simple/x/index.json", (200, Some("application/json"))).await;
    check("/req/x.txt", (200, Some("text/plain; charset=utf-8"))).await;
    check("/simple/x", (302, None)).await;
    check("/simple/", (404, None)).await;
    hub.create_repo("spaces/farm/hidden", true).unwrap();
    let hidden = hub.space_url("farm", "hidden");
    assert_eq!(get(&format!("{hidden}/README.md")).await.status, 404);
}

async fn exchange(hub: &TestHub, token: &str, resource: &str) -> (u16, Value) {
    let request = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "subject_token": token,
        "resource": resource,
    });
    let url = format!("{}/oauth/token", hub.endpoint());
    let headers = [("content-type", "application/json")];
    let answer = send("POST", &url, &headers, request.to_string())
        .await
        .unwrap();
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_job_gets_a_token_for_its_repo_only() {
    let options = Options {
        trusted_publishers: vec![TrustedPublisher {
            subject: "repo:acme/wheels:ref:refs/heads/main".to_owned(),
            resource: "datasets/farm/wheels".to_owned(),
        }],
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start(options).await.unwrap();
    hub.create_repo("datasets/farm/wheels", true).unwrap();
    hub.create_repo("datasets/farm/other", true).unwrap();
    let mint = async |audience: &str, token: &str| {
        let url = format!("{}&audience={audience}", hub.oidc_request_url());
        let value = format!("bearer {token}").replacen('b', "B", 1);
        send("GET", &url, &[("authorization", &value)], "")
            .await
            .unwrap()
    };
    assert_eq!(mint(&hub.endpoint(), "ghs_other").await.status, 401);
    let minted = mint(&hub.endpoint(), OIDC_REQUEST_TOKEN).await.json();
    let id_token = minted["value"].as_str().unwrap();
    let elsewhere = mint("https://elsewhere.example", OIDC_REQUEST_TOKEN)
        .await
        .json();

    let resource = "datasets/farm/wheels";
    let (status, body) = exchange(&hub, elsewhere["value"].as_str().unwrap(), resource).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    assert_eq!(exchange(&hub, id_token, "datasets/farm/other").await.0, 400);
    let (status, body) = exchange(&hub, id_token, resource).await;
    assert_eq!((status, &body["expires_in"]), (200, &json!(3600)));

    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    for (repo, want) in [("wheels", 200), ("other", 404)] {
        let url = format!("{}/api/datasets/farm/{repo}", hub.endpoint());
        let answer = send("GET", &url, &[("authorization", &bearer)], "")
            .await
            .unwrap();
        assert_eq!(answer.status, want, "{repo}");
    }
}
