//! The official Python client (`huggingface_hub`, in the version that `scripts/setup` pins) against the test
//! Hub, with Xet and without. Each test runs a script of `official/`, which checks what the client sees, and
//! then looks into the Hub.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use test_hub::{
    Door, Fault, Limits, Mode, OIDC_REQUEST_TOKEN, Options, READ_TOKEN, Request, STRANGER_TOKEN,
    TestHub, TrustedPublisher, WRITE_TOKEN, What,
};

/// Whether the client may use Xet; the variable is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Xet {
    On,
    Off,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a script of `official/` with a home and a folder of its own.
#[track_caller]
fn run(hub: &TestHub, script: &str, xet: Xet) {
    let python = root().join(".venv/bin/python");
    assert!(
        python.exists(),
        "there is no .venv/bin/python: run `scripts/setup test`"
    );
    let home = TempDir::new().unwrap();
    let work = TempDir::new().unwrap();
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("official")
                .join(script),
        )
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("HF_HOME", home.path().join("hf"))
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_TOKEN", WRITE_TOKEN)
        .env("HF_HUB_DISABLE_UPDATE_CHECK", "1")
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env("TEST_HUB_WRITE", WRITE_TOKEN)
        .env("TEST_HUB_READ", READ_TOKEN)
        .env("TEST_HUB_STRANGER", STRANGER_TOKEN)
        .env("TEST_HUB_OIDC_URL", hub.oidc_request_url())
        .env("TEST_HUB_OIDC_TOKEN", OIDC_REQUEST_TOKEN)
        .env("TEST_HUB_WORK", work.path());
    if xet == Xet::Off {
        command.env("HF_HUB_DISABLE_XET", "1");
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{script} with {xet:?}: {}\n{}{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        table(&hub.requests()),
    );
}

fn table(requests: &[Request]) -> String {
    let line = |request: &Request| {
        let Request {
            number,
            door,
            method,
            path,
            status,
            ..
        } = request;
        format!("{number} {door:?} {method} {path} {status:?}\n")
    };
    requests.iter().map(line).collect()
}

/// The same as `contents` of `official/support.py`.
fn contents(name: &str, size: usize) -> Vec<u8> {
    (0..)
        .flat_map(|block: u64| Sha256::digest(format!("{name} {block}")))
        .take(size)
        .collect()
}

fn start(mode: Mode) -> TestHub {
    TestHub::start_blocking(Options::mode(mode)).unwrap()
}

#[track_caller]
fn check_doors(hub: &TestHub, xet: Xet) {
    let requests = hub.requests();
    let came_to = |door| requests.iter().any(|request| request.door == door);
    assert_eq!(came_to(Door::Cas), xet == Xet::On, "{}", table(&requests));
    let with_token: Vec<&Request> = requests
        .iter()
        .filter(|request| request.door == Door::Cdn && request.authorized)
        .collect();
    assert!(with_token.is_empty(), "the CDN saw a token: {with_token:?}");
}

#[track_caller]
fn check_commits(mode: Mode, xet: Xet) {
    let hub = start(mode);
    run(&hub, "commits.py", xet);
    check_doors(&hub, xet);
    let path = "copied.whl";
    assert!(hub.tree("farm/wheels", "main").unwrap()[path].is_lfs());
    assert_eq!(
        hub.bytes("farm/wheels", "main", path).unwrap(),
        contents("wheel", 3_000_000)
    );
    let oldest = hub.commits("farm/wheels", "main").unwrap().pop().unwrap();
    assert_eq!(oldest.parent, None);
    // A commit is never sent inline where it is LFS.
    let biggest = hub
        .requests()
        .into_iter()
        .filter(|request| request.path.contains("/commit/"))
        .map(|request| request.body_bytes)
        .max();
    assert!(biggest.is_some_and(|bytes| bytes < 10_000), "{biggest:?}");
}

#[test]
fn conformance_small_hub_commits_with_xet() {
    check_commits(Mode::Xet, Xet::On);
}

#[test]
fn conformance_small_hub_commits_without_xet() {
    check_commits(Mode::Xet, Xet::Off);
}

#[test]
fn conformance_small_hub_commits_where_the_hub_has_no_xet() {
    check_commits(Mode::Lfs, Xet::Off);
}

#[test]
fn conformance_small_hub_downloads_with_xet() {
    let hub = start(Mode::Xet);
    run(&hub, "downloads.py", Xet::On);
    check_doors(&hub, Xet::On);
}

#[test]
fn conformance_small_hub_downloads_without_xet() {
    let hub = start(Mode::Lfs);
    run(&hub, "downloads.py", Xet::Off);
    check_doors(&hub, Xet::Off);
}

#[test]
fn conformance_small_hub_command_line_with_xet() {
    let hub = start(Mode::Xet);
    run(&hub, "command_line.py", Xet::On);
    check_doors(&hub, Xet::On);
}

#[test]
fn conformance_small_hub_command_line_without_xet() {
    let hub = start(Mode::Lfs);
    run(&hub, "command_line.py", Xet::Off);
    check_doors(&hub, Xet::Off);
}

#[test]
fn conformance_small_hub_access_with_xet() {
    run(&start(Mode::Xet), "access.py", Xet::On);
}

#[test]
fn conformance_small_hub_access_without_xet() {
    run(&start(Mode::Lfs), "access.py", Xet::Off);
}

#[test]
fn conformance_small_hub_pages() {
    run(&start(Mode::Lfs), "pages.py", Xet::Off);
}

#[test]
fn conformance_small_hub_uploads_in_parts() {
    let limits = Limits {
        multipart_from_bytes: 1_000_000,
        multipart_part_bytes: 400_000,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start_blocking(options).unwrap();
    run(&hub, "downloads.py", Xet::Off);
    let parts = hub
        .requests()
        .into_iter()
        .filter(|request| request.method == "PUT" && request.path.matches('/').count() == 3)
        .count();
    assert_eq!(parts, 8, "{}", table(&hub.requests()));
}

#[test]
fn conformance_small_hub_resumes_with_a_range() {
    let hub = start(Mode::Lfs);
    hub.plant(Fault::on("GET", "/contents/*", What::CutAt(12_000_000)));
    run(&hub, "resumed.py", Xet::Off);
    let statuses: Vec<Option<u16>> = hub
        .requests()
        .into_iter()
        .filter(|request| request.method == "GET" && request.door == Door::Cdn)
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [Some(200), Some(206)]);
}

#[test]
fn conformance_small_hub_refuses_as_the_client_knows_it() {
    let hub = start(Mode::Lfs);
    let route = "/api/models/farm/wheels/commit/main";
    let busy =
        "Another commit operation is in progress for this repository. Please try again later.";
    let many = "You have exceeded the rate limit for repository commits (128 per hour).";
    hub.plant(Fault::on("POST", route, What::status(409, busy)));
    hub.plant(Fault::on("POST", route, What::status(429, many)).after(1));
    hub.plant(Fault::on("POST", route, What::StatusAfter(500)).after(2));
    hub.plant(Fault::on(
        "GET",
        "/api/models/farm/wheels/tree/main",
        What::rate_limited(1),
    ));
    run(&hub, "refused.py", Xet::Off);
    let titles: Vec<String> = hub
        .commits("farm/wheels", "main")
        .unwrap()
        .into_iter()
        .map(|commit| commit.title)
        .collect();
    assert_eq!(
        titles,
        ["Upload landed with huggingface_hub", "initial commit"]
    );
    let trees: Vec<Option<u16>> = hub
        .requests()
        .into_iter()
        .filter(|request| request.path.ends_with("/tree/main"))
        .map(|request| request.status)
        .collect();
    assert_eq!(trees, [Some(429), Some(200)]);
}

#[test]
fn conformance_small_hub_trusts_a_publisher() {
    let publisher = TrustedPublisher {
        subject: "repo:farm/wheels:ref:refs/heads/main".to_owned(),
        resource: "farm/wheels".to_owned(),
    };
    let options = Options {
        trusted_publishers: vec![publisher],
        ..Options::mode(Mode::Xet)
    };
    let hub = TestHub::start_blocking(options).unwrap();
    hub.create_repo("farm/wheels", true).unwrap();
    hub.create_repo("farm/other", false).unwrap();
    run(&hub, "trusted_publisher.py", Xet::On);
    let newest = &hub.commits("farm/wheels", "main").unwrap()[0];
    assert_eq!(newest.author, "repo:farm/wheels:ref:refs/heads/main");
}
