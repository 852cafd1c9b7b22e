//! Each fault does what it says, to the request that it names.

use std::time::Duration;

use serde_json::json;
use test_hub::{Door, Fault, Mode, Options, TestHub, What};

use crate::client::{commit, commit_lfs, file, get, header, send, until};

const REPO: &str = "farm/wheels";

fn start() -> TestHub {
    let hub = TestHub::start_blocking(Options::mode(Mode::Lfs)).unwrap();
    hub.create_repo(REPO, false).unwrap();
    hub
}

fn titles(hub: &TestHub) -> Vec<String> {
    let commits = hub.commits(REPO, "main").unwrap();
    commits.into_iter().map(|commit| commit.title).collect()
}

/// The status of a commit that meets the fault, and whether the commit landed.
async fn committed(hub: &TestHub, what: What) -> (Option<u16>, bool) {
    let before = titles(hub).len();
    hub.plant(Fault::at_request(hub.request_count() + 1, what));
    let answer = commit(hub, REPO, &[header("new"), file("a.txt", "a")]).await;
    (
        answer.map(|answer| answer.status),
        titles(hub).len() > before,
    )
}

#[tokio::test]
async fn cuts_and_statuses_come_before_or_after_the_work() {
    let hub = start();
    assert_eq!(committed(&hub, What::CutBefore).await, (None, false));
    assert_eq!(committed(&hub, What::CutAfter).await, (None, true));
    assert_eq!(
        committed(&hub, What::status(503, "down")).await,
        (Some(503), false)
    );
    assert_eq!(
        committed(&hub, What::StatusAfter(500)).await,
        (Some(500), true)
    );
    assert_eq!(
        committed(&hub, What::CdnErrorPage(200)).await,
        (Some(200), false)
    );
    assert_eq!(
        committed(&hub, What::SlowBy(Duration::from_millis(1))).await,
        (Some(200), true)
    );
    let stall = What::Stall {
        after_bytes: 20,
        silence: Duration::from_millis(1),
    };
    assert_eq!(committed(&hub, stall).await, (None, true));
    let statuses: Vec<Option<u16>> = hub
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(
        statuses,
        [
            None,
            None,
            Some(503),
            Some(500),
            Some(200),
            Some(200),
            Some(200)
        ]
    );
}

#[tokio::test]
async fn an_answer_is_cut_at_any_byte() {
    let hub = start();
    hub.commit(REPO, "main", "a", &[("a.txt", b"0123456789")])
        .unwrap();
    let url = format!("{}/{REPO}/raw/main/a.txt", hub.endpoint());
    let mut cut = 0;
    for bytes in 0.. {
        hub.plant(Fault::at_request(
            hub.request_count() + 1,
            What::CutAt(bytes),
        ));
        match send("GET", &url, &[], "").await {
            None => cut += 1,
            Some(answer) => {
                assert_eq!(&answer.body[..], b"0123456789");
                break;
            }
        }
    }
    // The head alone has more bytes than the body.
    assert!(cut > 100, "{cut}");
}

#[tokio::test]
async fn one_bit_of_a_content_is_wrong() {
    let hub = start();
    let wheel = vec![7_u8; 100_000];
    assert_eq!(
        commit_lfs(&hub, REPO, "x.whl", &wheel)
            .await
            .unwrap()
            .status,
        200
    );
    let link = get(&format!("{}/{REPO}/resolve/main/x.whl", hub.endpoint())).await;
    hub.plant(Fault::on("GET", "/contents/*", What::WrongBytes));
    let read = get(link.header("location")).await;
    let wrong = read
        .body
        .iter()
        .zip(&wheel)
        .filter(|(got, want)| got != want)
        .count();
    assert_eq!((read.status, read.body.len(), wrong), (200, wheel.len(), 1));
    assert_eq!(get(link.header("location")).await.body, wheel);
}

#[tokio::test]
async fn numbers_count_over_all_doors() {
    let hub = start();
    let wheel = vec![7_u8; 10];
    assert_eq!(
        commit_lfs(&hub, REPO, "x.whl", &wheel)
            .await
            .unwrap()
            .status,
        200
    );
    let doors: Vec<(u64, Door)> = hub
        .requests()
        .iter()
        .map(|request| (request.number, request.door))
        .collect();
    assert_eq!(doors, [(1, Door::Hub), (2, Door::Cdn), (3, Door::Hub)]);
    assert_eq!(hub.requests()[1].body_bytes, 10);
}

/// The loop of the crate's own documentation, over the three requests of an upload.
#[tokio::test]
async fn every_request_of_an_upload_is_cut() {
    let mut landed = Vec::new();
    for what in [What::CutBefore, What::CutAfter] {
        for number in 1.. {
            let hub = start();
            hub.plant(Fault::at_request(number, what.clone()));
            let answer = commit_lfs(&hub, REPO, "x.whl", b"wheel").await;
            if hub.request_count() < number {
                assert_eq!(answer.unwrap().status, 200);
                break;
            }
            assert!(answer.is_none(), "request {number} was not cut");
            landed.push(hub.tree(REPO, "main").unwrap().contains_key("x.whl"));
            // Whatever was cut, the same again brings it to the end.
            assert_eq!(
                commit_lfs(&hub, REPO, "x.whl", b"wheel")
                    .await
                    .unwrap()
                    .status,
                200
            );
            assert_eq!(hub.bytes(REPO, "main", "x.whl").unwrap(), b"wheel"[..]);
        }
    }
    assert_eq!(landed, [false, false, false, false, false, true]);
}

#[tokio::test]
async fn someone_else_can_be_first() {
    let hub = start();
    let parent = hub.commits(REPO, "main").unwrap()[0].id.clone();
    hub.plant(Fault::on(
        "POST",
        "/api/models/*/commit/main",
        What::OtherCommit,
    ));
    let head = json!({ "key": "header", "value": { "summary": "mine", "parentCommit": parent } });
    let answer = commit(&hub, REPO, &[head, file("a.txt", "a")])
        .await
        .unwrap();
    assert_eq!(answer.status, 412);
    assert_eq!(titles(&hub), ["Someone else's commit", "initial commit"]);
}

#[tokio::test]
async fn a_slow_answer_is_late_and_the_work_is_done() {
    let hub = start();
    let hour = Duration::from_hours(1);
    hub.plant(Fault::on("POST", "*/commit/main", What::SlowBy(hour)));
    let lines = [header("slow"), file("a.txt", "a")];
    tokio::select! {
        answer = commit(&hub, REPO, &lines) => panic!("{answer:?} came at once"),
        () = until(|| titles(&hub).len() == 2) => {}
    }
}

#[tokio::test]
async fn what_a_client_began_goes_on_without_it() {
    let options = Options {
        commit_time: Duration::from_secs(1),
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start(options).await.unwrap();
    hub.create_repo(REPO, false).unwrap();
    let lines = [header("left alone"), file("a.txt", "a")];
    tokio::select! {
        answer = commit(&hub, REPO, &lines) => panic!("{answer:?} came at once"),
        () = until(|| hub.requests().iter().any(|request| request.body_bytes > 0)) => {}
    }
    // The client is gone now.
    assert_eq!(titles(&hub), ["initial commit"]);
    until(|| titles(&hub).len() == 2).await;
}
