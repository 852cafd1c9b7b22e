//! Sdists from a package index.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::source::{FileMode, Source, SourceTree, TarLayout, TreeEntry};

use super::server::{Reply, Server};
use super::{FetchError, FetchOptions, FetchProgress, Fetcher, Told};
use super::{fetcher, files_below, options, paths, report};

const PAGE: &str = "/simple/torch-thing/";
const FILE: &str = "/files/torch_thing-1.0.tar.gz";
const HTML: &str = "text/html; charset=UTF-8";
const JSON: &str = "application/vnd.pypi.simple.v1+json";

fn sdist() -> Vec<u8> {
    let mut tree = SourceTree::new();
    for path in ["setup.py", "csrc/a.cu"] {
        let entry = TreeEntry::File {
            bytes: path.repeat(2000).into_bytes().into(),
            mode: FileMode::Plain,
        };
        tree.insert(path.parse().unwrap(), entry).unwrap();
    }
    let layout = TarLayout {
        prefix: Some("torch_thing-1.0".parse().unwrap()),
        ..TarLayout::default()
    };
    let tar = tree.write_tar(&layout, Vec::new()).unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&tar).unwrap();
    encoder.finish().unwrap()
}

fn html(attributes: &str) -> Reply {
    let page = format!("<a href='../../files/torch_thing-1.0.tar.gz'{attributes}>x</a>");
    Reply::ok(HTML, page)
}

fn source(server: &Server, content: &[u8]) -> Source {
    Source::Sdist {
        project: "torch-thing".parse().unwrap(),
        version: "1.0".parse().unwrap(),
        sha256: Sha256Digest::of(content),
        index: server.url("/simple").parse().unwrap(),
    }
}

/// Fetches against `page` and then `files`; gives what came and what was asked for, and checks
/// that the cache holds the file or nothing.
async fn fetch(
    page: Reply,
    files: &[Reply],
    options: FetchOptions,
) -> (Result<SourceTree, FetchError>, Vec<String>, Told) {
    let cache = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    server.on(PAGE, page);
    for file in files {
        server.on(FILE, file.clone());
    }
    let source = source(&server, &sdist());
    let told = Told::default();
    let fetcher = Fetcher::new(cache.path(), options).unwrap();
    let res = server.during(fetcher.fetch(&source, told.listener())).await;
    let cached = match &res {
        Ok(_) => vec![format!("sdist/{}", Sha256Digest::of(&sdist()))],
        Err(_) => Vec::new(),
    };
    assert_eq!(files_below(cache.path()), cached, "only whole files stay");
    (res, server.asked().await, told)
}

#[track_caller]
fn check_fetched(res: &Result<SourceTree, FetchError>) {
    match res {
        Ok(tree) => assert_eq!(paths(tree), ["csrc/a.cu", "setup.py"]),
        Err(error) => panic!("{}", report(error)),
    }
}

/// The report without the server's port, which differs from run to run.
fn refused(res: Result<SourceTree, FetchError>) -> String {
    let text = report(&res.unwrap_err());
    let mut parts = text.split("127.0.0.1:");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        out.push_str("127.0.0.1:<port>");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

#[tokio::test]
async fn an_html_index_leads_to_the_file() {
    let (res, asked, told) = fetch(html(""), &[Reply::ok("x", sdist())], options()).await;
    check_fetched(&res);
    assert_eq!(asked, [PAGE, FILE]);
    let total = u64::try_from(sdist().len()).unwrap();
    assert!(told.has(|step| *step
        == FetchProgress::Downloading {
            file_name: "torch_thing-1.0.tar.gz".to_owned(),
            received_bytes: total,
            total_bytes: Some(total),
        }));
}

#[tokio::test]
async fn a_json_index_leads_to_the_file_and_a_withdrawn_one_is_noted() {
    let page = format!(
        r#"{{"meta": {{"api-version": "1.1"}}, "name": "torch-thing", "files": [
            {{"filename": "torch_thing-1.0.tar.gz", "url": "{FILE}",
              "hashes": {{"sha256": "{}"}}, "yanked": "wrong archs"}}]}}"#,
        Sha256Digest::of(&sdist())
    );
    let (res, _, told) = fetch(Reply::ok(JSON, page), &[Reply::ok("x", sdist())], options()).await;
    check_fetched(&res);
    assert!(told.has(
        |step| matches!(step, FetchProgress::Yanked { reason, .. } if reason == "wrong archs")
    ));
}

#[tokio::test]
async fn requests_say_who_asks_and_for_what() {
    let cache = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    server.on(PAGE, html(""));
    let source = source(&server, b"");
    let fetcher = fetcher(cache.path());
    let _refused = server.during(fetcher.fetch(&source, |_| {})).await;
    let request = server.requests().await[0].to_lowercase();
    let agent = concat!("user-agent: wheelfarm/", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(request.contains(agent), "{request}");
    assert!(
        request.contains("accept: application/vnd.pypi.simple.v1+json"),
        "{request}"
    );
}

#[tokio::test]
async fn a_second_fetch_asks_nobody_and_a_broken_cache_is_mended() {
    let cache = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    server.on(PAGE, html(""));
    server.on(FILE, Reply::ok("x", sdist()));
    let source = source(&server, &sdist());
    let fetcher = fetcher(cache.path());
    check_fetched(&server.during(fetcher.fetch(&source, |_| {})).await);
    let told = Told::default();
    check_fetched(&fetcher.fetch(&source, told.listener()).await);
    assert!(told.has(|step| *step == FetchProgress::Cached));
    assert_eq!(server.asked().await.len(), 2);
    let place = cache.path().join(&files_below(cache.path())[0]);
    crate::files::write_atomic(&place, b"half").unwrap();
    check_fetched(&server.during(fetcher.fetch(&source, |_| {})).await);
    assert_eq!(server.asked().await.len(), 4);
    assert_eq!(fs_err::read(&place).unwrap(), sdist());
}

#[tokio::test]
async fn redirects_are_followed() {
    let moved = Reply::status(302, "Location: /elsewhere/torch_thing-1.0.tar.gz\r\n");
    let cache = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    server.on(
        PAGE,
        Reply::status(301, "Location: /simple2/torch-thing/\r\n"),
    );
    // The address in it is relative to where the page was in the end.
    server.on("/simple2/torch-thing/", html(""));
    server.on(FILE, moved);
    server.on("/elsewhere/torch_thing-1.0.tar.gz", Reply::ok("x", sdist()));
    let source = source(&server, &sdist());
    let fetcher = fetcher(cache.path());
    check_fetched(&server.during(fetcher.fetch(&source, |_| {})).await);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let busy = Reply::status(503, "Retry-After: 0\r\n");
    let files = [busy, Reply::Half(sdist()), Reply::ok("x", sdist())];
    let (res, asked, told) = fetch(html(""), &files, options()).await;
    check_fetched(&res);
    assert_eq!(asked, [PAGE, FILE, FILE, FILE]);
    for attempt in [2, 3] {
        assert!(told.has(
            |step| matches!(step, FetchProgress::Retrying { attempt: told, .. } if *told == attempt)
        ));
    }
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    let (res, asked, _) = fetch(html(""), &[Reply::Half(sdist())], options()).await;
    assert_eq!(asked.len(), 4);
    insta::assert_snapshot!(refused(res), @"
    the answer of `http://127.0.0.1:<port>/files/torch_thing-1.0.tar.gz` broke off
      caused by: error decoding response body
      caused by: request or response body error
      caused by: error reading a body from connection
      caused by: end of file before message length reached
      kind: Network
    ");
    let (res, asked, _) = fetch(Reply::status(429, ""), &[], options()).await;
    assert_eq!(asked.len(), 3);
    insta::assert_snapshot!(refused(res), @"
    `http://127.0.0.1:<port>/simple/torch-thing/` answered 429 Too Many Requests
      kind: Network
    ");
}

#[tokio::test]
async fn what_does_not_pass_is_tried_once() {
    let (res, asked, _) = fetch(html(""), &[Reply::status(404, "")], options()).await;
    assert_eq!(asked, [PAGE, FILE]);
    insta::assert_snapshot!(refused(res), @"
    `http://127.0.0.1:<port>/files/torch_thing-1.0.tar.gz` answered 404 Not Found
      kind: Network
    ");
    let (res, asked, _) = fetch(Reply::status(404, ""), &[], options()).await;
    assert_eq!(asked, [PAGE]);
    insta::assert_snapshot!(refused(res), @"
    index `http://127.0.0.1:<port>/simple` has no project `torch-thing`
      hint: correct the package's name or its `index`
      kind: Source
    ");
    let (res, asked, _) = fetch(html(""), &[Reply::ok("x", "other")], options()).await;
    assert_eq!(asked, [PAGE, FILE]);
    insta::assert_snapshot!(refused(res), @"
    `torch_thing-1.0.tar.gz` came with sha256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, and 1ac79615835b058b27b41c1ef1b7603498d2ede431ff5815ee2c8135a9c0093c is wanted
      hint: a published file never changes: find out which of the two is genuine before you change the `sha256`
      kind: Source
    ");
}

#[tokio::test]
async fn silence_is_a_stall() {
    let options = FetchOptions {
        stall_limit: Duration::from_millis(200),
        attempts: 2,
        ..options()
    };
    let (res, asked, _) = fetch(html(""), &[Reply::Silent(sdist())], options).await;
    assert_eq!(asked.len(), 3);
    insta::assert_snapshot!(refused(res), @"
    `http://127.0.0.1:<port>/files/torch_thing-1.0.tar.gz` sent nothing for 0.2 s
      kind: Network
    ");
}

#[tokio::test]
async fn pages_that_do_not_help_are_told() {
    let other = format!("#sha256={}", Sha256Digest::of(b"other"));
    let page = format!("<a href='{FILE}{other}'>x</a>");
    let (res, _, _) = fetch(Reply::ok(HTML, page), &[], options()).await;
    insta::assert_snapshot!(refused(res), @"
    failed to find the sdist of `torch-thing` on index `http://127.0.0.1:<port>/simple`
      caused by: the index lists `torch_thing-1.0.tar.gz` with sha256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, and 1ac79615835b058b27b41c1ef1b7603498d2ede431ff5815ee2c8135a9c0093c is wanted
      hint: a published file never changes: find out which of the two is genuine before you change the `sha256`
      kind: Source
    ");
    let (res, _, _) = fetch(Reply::ok("application/pdf", ""), &[], options()).await;
    insta::assert_snapshot!(refused(res), @"
    index `http://127.0.0.1:<port>/simple` answers with `application/pdf`, which is no project page
      kind: Network
    ");
    let (res, _, _) = fetch(Reply::ok(JSON, "<html>"), &[], options()).await;
    insta::assert_snapshot!(refused(res), @"
    failed to read the page of `torch-thing` on index `http://127.0.0.1:<port>/simple`
      caused by: the page is not JSON by PEP 691: expected value at line 1 column 1
      kind: Network
    ");
}

#[tokio::test]
async fn downloads_are_capped() {
    let options = FetchOptions {
        download_cap_bytes: 1000,
        ..options()
    };
    let (res, asked, _) = fetch(html(""), &[Reply::ok("x", sdist())], options).await;
    assert_eq!(asked, [PAGE, FILE]);
    insta::assert_snapshot!(refused(res), @"
    the answer of `http://127.0.0.1:<port>/files/torch_thing-1.0.tar.gz` is longer than 1000 bytes
      kind: Network
    ");
}

#[tokio::test]
async fn a_dropped_fetch_leaves_nothing_in_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    server.on(PAGE, html(""));
    server.on(FILE, Reply::Silent(sdist()));
    let source = source(&server, &sdist());
    let fetcher = fetcher(cache.path());
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let fetch = fetcher.fetch(&source, |step| {
        if matches!(step, FetchProgress::Downloading { .. }) {
            sender.send(()).unwrap();
        }
    });
    server
        .during(async {
            tokio::select! {
                res = fetch => panic!("{res:?}"),
                _ = begun.recv() => {}
            }
        })
        .await;
    // The writer's thread sees the closed channel a moment later.
    while !files_below(cache.path()).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn fetches_can_move_between_threads() {
    fn check(_: impl Send) {}
    let cache = tempfile::tempdir().unwrap();
    let fetcher = fetcher(cache.path());
    let source = Source::Folder { path: "/".into() };
    check(fetcher.fetch(&source, |_| {}));
}

#[tokio::test]
async fn an_unreachable_index_is_told() {
    let server = Server::new().await;
    let source = source(&server, &sdist());
    let url = server.url("");
    drop(server);
    let cache = tempfile::tempdir().unwrap();
    let error = fetcher(cache.path())
        .fetch(&source, |_| {})
        .await
        .unwrap_err();
    let want = format!("failed to reach `{url}{PAGE}`");
    assert_eq!(error.to_string(), want, "{}", report(&error));
}
