//! The answers that clients decide by, one by one.

use std::time::Duration;

use serde_json::{Value, json};
use test_hub::{Limits, Mode, Options, READ_TOKEN, STRANGER_TOKEN, TestHub, WRITE_TOKEN};

use crate::client::{bearer, commit, commit_lfs, digest, file, get, header, send, until};

const REPO: &str = "farm/wheels";

fn start_with(limits: Limits) -> TestHub {
    let options = Options {
        limits,
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start_blocking(options).unwrap();
    hub.create_repo(REPO, false).unwrap();
    hub
}

fn start() -> TestHub {
    start_with(Limits::default())
}

async fn status_of(hub: &TestHub, lines: &[Value]) -> (u16, Value) {
    let answer = commit(hub, REPO, lines).await.unwrap();
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_commit_is_refused_for_each_of_its_reasons() {
    let limits = Limits {
        folder_entries: 3,
        ..Limits::default()
    };
    let hub = start_with(limits);
    let old = hub.commits(REPO, "main").unwrap()[0].id.clone();
    assert_eq!(
        status_of(&hub, &[header("one"), file("a.txt", "a")])
            .await
            .0,
        200
    );
    let stale = json!({ "key": "header", "value": { "summary": "two", "parentCommit": old } });
    let (status, body) = status_of(&hub, &[stale, file("b.txt", "b")]).await;
    let want = json!({ "error": "A commit has happened since. Please refresh and try again." });
    assert_eq!((status, body), (412, want));
    let pointer = json!({
        "key": "lfsFile",
        "value": { "path": "x.whl", "algo": "sha256", "oid": digest(b"none"), "size": 4 },
    });
    assert_eq!(status_of(&hub, &[header("three"), pointer]).await.0, 400);
    for key in ["deletedFile", "deletedFolder"] {
        let deletion = json!({ "key": key, "value": { "path": "none" } });
        let answer = commit(&hub, REPO, &[header("four"), deletion])
            .await
            .unwrap();
        assert_eq!(
            (answer.status, answer.header("x-error-code")),
            (404, "EntryNotFound")
        );
    }
    let many = [header("five"), file("b.txt", "b"), file("c.txt", "c")];
    assert_eq!(status_of(&hub, &many).await.0, 400);
    assert_eq!(status_of(&hub, &[file("b.txt", "b")]).await.0, 400);
    let up = [header("six"), file("../b.txt", "b")];
    assert_eq!(status_of(&hub, &up).await.0, 400);
    assert_eq!(hub.commits(REPO, "main").unwrap().len(), 2);
}

#[tokio::test]
async fn one_commit_at_a_time() {
    let options = Options {
        commit_time: Duration::from_secs(1),
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start(options).await.unwrap();
    hub.create_repo(REPO, false).unwrap();
    let (one, two) = (
        [header("one"), file("a", "a")],
        [header("two"), file("b", "b")],
    );
    let second = async {
        until(|| hub.requests().iter().any(|request| request.body_bytes > 0)).await;
        commit(&hub, REPO, &two).await
    };
    let (one, two) = tokio::join!(commit(&hub, REPO, &one), second);
    assert_eq!((one.unwrap().status, two.unwrap().status), (200, 409));
    // The lock is gone with the commit that had it.
    assert_eq!(
        status_of(&hub, &[header("three"), file("c", "c")]).await.0,
        200
    );
}

#[tokio::test]
async fn commits_and_requests_are_limited() {
    let limits = Limits {
        commits_per_hour: 1,
        api_requests: 4,
        ..Limits::default()
    };
    let hub = start_with(limits);
    assert_eq!(
        status_of(&hub, &[header("one"), file("a", "a")]).await.0,
        200
    );
    let second = commit(&hub, REPO, &[header("two"), file("b", "b")])
        .await
        .unwrap();
    assert_eq!(second.status, 429);
    let text = second.json()["error"].as_str().unwrap().to_owned();
    assert!(
        text.contains("rate limit for repository commits (1 per hour)"),
        "{text}"
    );
    // Nothing says when; the headers are those of the API's own limit, which is not reached.
    assert_eq!(second.header("ratelimit").split(';').nth(1), Some("r=2"));
    let url = format!("{}/api/models/{REPO}", hub.endpoint());
    assert_eq!([get(&url).await.status, get(&url).await.status], [200, 200]);
    let over = get(&url).await;
    assert_eq!(over.status, 429);
    assert!(
        over.header("ratelimit").starts_with("\"api\";r=0;t="),
        "{over:?}"
    );
    assert_eq!(
        over.header("ratelimit-policy"),
        "\"fixed window\";\"api\";q=4;w=300"
    );
}

#[tokio::test]
async fn text_is_served_by_the_hub_and_lfs_by_the_cdn() {
    let hub = start();
    let page: (&str, &[u8]) = ("whl/a+b.html", b"<!DOCTYPE html>");
    let id = hub.commit(REPO, "main", "page", &[page]).unwrap();
    for spelling in ["a+b.html", "a%2Bb.html"] {
        let redirect = get(&format!(
            "{}/{REPO}/resolve/main/whl/{spelling}",
            hub.endpoint()
        ))
        .await;
        assert_eq!(
            (redirect.status, redirect.header("x-repo-commit")),
            (307, id.as_str())
        );
        let location = redirect.header("location");
        let cached = format!("/api/resolve-cache/models/{REPO}/{id}/whl/a%2Bb.html?");
        assert!(location.starts_with(&cached), "{location}");
        let answer = get(&format!("{}{location}", hub.endpoint())).await;
        // This is why pip takes no page from a repo.
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; sandbox"
        );
        assert_eq!(answer.body, page.1);
        assert!(redirect.header("content-length") != answer.header("content-length"));
    }

    let wheel: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(
        commit_lfs(&hub, REPO, "x.whl", &wheel)
            .await
            .unwrap()
            .status,
        200
    );
    let url = format!("{}/{REPO}/resolve/main/x.whl", hub.endpoint());
    let redirect = get(&url).await;
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.header("x-linked-size"), "100000");
    assert_eq!(
        redirect.header("x-linked-etag"),
        format!("\"{}\"", digest(&wheel))
    );
    assert_eq!(redirect.header("cache-control"), "no-store");
    let link = redirect.header("location").to_owned();
    assert!(link.starts_with(&hub.cdn()), "{link}");
    let part = send("GET", &link, &[("range", "bytes=10-19")], "")
        .await
        .unwrap();
    assert_eq!(
        (part.status, part.header("content-range")),
        (206, "bytes 10-19/100000")
    );
    assert_eq!(part.body, wheel[10..20]);
    let beyond = send("GET", &link, &[("range", "bytes=100000-")], "")
        .await
        .unwrap();
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, "bytes */100000")
    );
    let etag = redirect.header("etag");
    for url in [&url, &link] {
        let same = send("GET", url, &[("if-none-match", etag)], "")
            .await
            .unwrap();
        assert_eq!((same.status, same.body.len()), (304, 0));
    }
    let head = send("HEAD", &link, &[], "").await.unwrap();
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        ("100000", 0)
    );
}

#[tokio::test]
async fn the_cdn_wants_a_signature_and_no_token() {
    let hub = start();
    assert_eq!(
        commit_lfs(&hub, REPO, "x.whl", b"wheel")
            .await
            .unwrap()
            .status,
        200
    );
    let redirect = get(&format!("{}/{REPO}/resolve/main/x.whl", hub.endpoint())).await;
    let link = redirect.header("location").to_owned();
    let (name, value) = bearer();
    let both = send("GET", &link, &[(name, &value)], "").await.unwrap();
    assert_eq!(both.status, 400);
    let forged = link.replace("Signature=", "Signature=0");
    assert_eq!(get(&forged).await.status, 403);
    let bare = link.split('?').next().unwrap();
    assert_eq!(get(bare).await.status, 403);

    let wrong = json!({
        "operation": "upload", "transfers": ["basic"], "objects": [{ "oid": digest(b"a"), "size": 1 }],
    });
    let url = format!("{}/{REPO}.git/info/lfs/objects/batch", hub.endpoint());
    let batch = send("POST", &url, &[(name, &value)], wrong.to_string())
        .await
        .unwrap();
    let row = &batch.json()["objects"][0];
    let href = row["actions"]["upload"]["href"].as_str().unwrap();
    assert_eq!(send("PUT", href, &[], "b").await.unwrap().status, 400);
    assert_eq!(send("PUT", href, &[], "a").await.unwrap().status, 200);
    // What is stored is not asked for again.
    let batch = send("POST", &url, &[(name, &value)], wrong.to_string())
        .await
        .unwrap();
    assert_eq!(batch.json()["objects"][0].get("actions"), None);
}

#[tokio::test]
async fn links_to_the_cdn_do_not_last() {
    let limits = Limits {
        link_lifetime: Duration::ZERO,
        ..Limits::default()
    };
    let hub = start_with(limits);
    hub.commit(REPO, "main", "attributes", &[(".gitattributes", b"")])
        .unwrap();
    let batch = json!({
        "operation": "upload", "transfers": ["basic"], "objects": [{ "oid": digest(b"a"), "size": 1 }],
    });
    let url = format!("{}/{REPO}.git/info/lfs/objects/batch", hub.endpoint());
    let (name, value) = bearer();
    let answer = send("POST", &url, &[(name, &value)], batch.to_string())
        .await
        .unwrap();
    let row = &answer.json()["objects"][0];
    let href = row["actions"]["upload"]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(send("PUT", &href, &[], "a").await.unwrap().status, 403);
}

#[tokio::test]
async fn a_private_repo_is_there_for_those_who_may_see_it() {
    let hub = start();
    hub.create_repo("farm/hidden", true).unwrap();
    let url = format!("{}/farm/hidden/resolve/main/.gitattributes", hub.endpoint());
    let check = async |header: Option<String>, want: (u16, Option<&str>)| {
        let headers: Vec<(&str, &str)> = header
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        let answer = send("GET", &url, &headers, "").await.unwrap();
        let code = answer.headers.get("x-error-code").map(String::as_str);
        assert_eq!((answer.status, code), want, "{header:?}");
    };
    check(None, (401, Some("RepoNotFound"))).await;
    check(Some("Bearer hf_wrong".to_owned()), (401, None)).await;
    check(
        Some(format!("Bearer {STRANGER_TOKEN}")),
        (404, Some("RepoNotFound")),
    )
    .await;
    check(Some(format!("Bearer {READ_TOKEN}")), (307, None)).await;
    // pip and uv: the token as the password, with any name.
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("user:{WRITE_TOKEN}"),
    );
    check(Some(format!("Basic {basic}")), (307, None)).await;
}

#[tokio::test]
async fn a_tree_comes_in_pages_with_absolute_links() {
    let limits = Limits {
        page_rows: 2,
        ..Limits::default()
    };
    let hub = start_with(limits);
    let files: [(&str, &[u8]); 3] = [("a/1", b"1"), ("a/2", b"2"), ("b", b"b")];
    hub.commit(REPO, "main", "files", &files).unwrap();
    let mut url = format!(
        "{}/api/models/{REPO}/tree/main?recursive=true",
        hub.endpoint()
    );
    let mut pages = Vec::new();
    loop {
        let page = get(&url).await;
        let rows = page.json();
        let paths = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["path"].as_str().unwrap().to_owned());
        pages.push(paths.collect::<Vec<_>>());
        let Some(link) = page.headers.get("link") else {
            break;
        };
        let next = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""));
        url = next.unwrap().to_owned();
        assert!(url.starts_with(&hub.endpoint()), "{url}");
    }
    let want = [vec![".gitattributes", "a"], vec!["a/1", "a/2"], vec!["b"]];
    assert_eq!(pages, want);
}
