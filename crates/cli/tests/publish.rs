//! Publishing to a folder, as scripts do it.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod farm;
mod shape;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use farm::{Farm, WHEEL, wheel};
use serde_json::{Value, json};

#[test]
fn a_wheel_is_published_once_and_told_with_the_line_that_installs_it() {
    let farm = Farm::with(&wheel("first"));
    insta::assert_snapshot!(farm.published(&[]));
    let before = farm.release();
    insta::assert_snapshot!(farm.published(&[]));
    assert_eq!(farm.release(), before);
    farm.check_whole();
    let told: Value = serde_json::from_str(&farm.published(&["--format", "json"])).unwrap();
    shape::check("publish", &told);
    assert_eq!((&told["release"], &told["written"]), (&json!(1), &json!(0)));
    assert_eq!(told["wheels"][0]["file_name"], WHEEL);
    assert_eq!(told["proofs"], json!([]));
}

#[test]
fn a_dry_run_tells_what_would_become_of_the_folder_and_changes_nothing() {
    let farm = Farm::with(&wheel("first"));
    insta::assert_snapshot!(farm.published(&["--dry-run"]));
    assert!(!farm.path("release").exists());
    farm.published(&["--track", "nightly"]);
    let before = farm.release();
    let text = farm.published(&["--dry-run"]);
    assert!(text.contains("\n  keep   files/"), "{text}");
    let told = farm.published(&["--dry-run", "--format", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    shape::check("publish", &told);
    assert_eq!(told["published"], false);
    assert_eq!(told["bring"], json!([]));
    assert!(told["write"].as_array().unwrap().len() > 5, "{told:#}");
    assert_eq!(farm.release(), before);
    assert!(
        farm.path("release/whl/nightly/cu130/torch2.11/simple/demo/index.html")
            .exists()
    );
}

#[test]
fn pages_have_the_address_that_was_given_until_another_is() {
    let farm = Farm::with(&wheel("first"));
    let page = || {
        let page = "release/whl/cu130/torch2.11/simple/demo/index.html";
        fs_err::read_to_string(farm.path(page)).unwrap()
    };
    let text = farm.published(&["--base-url", "https://wheels.example.org/"]);
    let line = text.lines().last().unwrap();
    assert!(
        line.contains("demo @ https://wheels.example.org/files/"),
        "{line}"
    );
    assert!(page().contains("href=\"https://wheels.example.org/files/"));
    let told = farm.published(&[]);
    assert!(told.contains("nothing to do"), "the address stays: {told}");
    farm.published(&["--base-url", "relative"]);
    assert!(page().contains("href=\"../../../../../files/"));
    let stderr = farm.refused(&["--base-url", "https://me:secret@example.org"], 2);
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn other_bytes_under_a_published_name_are_refused_with_what_to_type() {
    let farm = Farm::with(&wheel("first"));
    farm.published(&[]);
    let before = farm.release();
    farm.record(&wheel("second"));
    insta::assert_snapshot!(farm.refused(&[], 1));
    assert_eq!(farm.release(), before);
}

#[test]
fn a_place_that_cannot_be_one_is_refused_and_left_alone() {
    let farm = Farm::with(&wheel("first"));
    let bucket = farm.refused(&["--to", "s3://bucket"], 2);
    assert!(bucket.contains("hf://OWNER/NAME"), "{bucket}");
    let release = farm.path("release");
    fs_err::create_dir_all(&release).unwrap();
    fs_err::write(release.join("README.md"), "mine").unwrap();
    insta::assert_snapshot!(farm.refused(&[], 3));
    fs_err::write(
        release.join("manifest.json"),
        "{\"schema\": 1, \"wheels\": []}",
    )
    .unwrap();
    insta::assert_snapshot!(farm.refused(&[], 3));
    assert_eq!(fs_err::read(release.join("README.md")).unwrap(), b"mine");
}

/// Kills publications after ever longer times. Whatever stands there then is whole, and the next run
/// ends in the release.
#[test]
fn a_publication_that_is_killed_leaves_a_whole_release_and_the_next_one_finishes_it() {
    let farm = Farm::with(&wheel("first"));
    farm.published(&["--track", "nightly"]);
    let first = farm.release();
    let mut finished = 0;
    for round in 0_u64..8 {
        fs_err::remove_dir_all(farm.path("release")).unwrap();
        farm.published(&["--track", "nightly"]);
        let mut command = farm.command(&["--track", "stable"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 * round));
        drop(child.kill());
        child.wait().unwrap();
        farm.check_whole();
        finished += u64::from(farm.release().release == 2);
        farm.published(&["--track", "stable"]);
        farm.check_whole();
        let now = farm.release();
        assert_eq!((now.release, first.release), (2, 1));
        assert!(!farm.path("release/.wheelfarm/change.json").exists());
    }
    assert!(finished < 8, "the first was killed before it began");
}

#[test]
fn without_a_python_for_the_install_table_nothing_goes_out() {
    let farm = Farm::with(&wheel("hello"));
    insta::assert_snapshot!(farm.refused(&["--python", "/no/such/python3"], 4));
    assert!(!farm.path("release/manifest.json").exists());
    farm.published(&[]);
    // What is there already needs no table.
    let again = farm.published(&["--python", "/no/such/python3"]);
    assert!(again.contains("nothing to do"), "{again}");
}

#[test]
fn a_release_that_has_no_address_cannot_be_proven_afterwards() {
    let farm = Farm::with(&wheel("hello"));
    insta::assert_snapshot!(farm.refused(&["--prove-after", "--python", "python3"], 2));
}

/// The release is out: that the rows could not be run must not hide it.
#[test]
fn what_is_out_is_said_before_why_it_could_not_be_proven() {
    let farm = Farm::with(&wheel("hello"));
    let at = ["--base-url", "https://wheels.example.org"];
    farm.published(&at);
    let python = ["--prove-after", "--python", "/no/such/python3"];
    let output = farm.publish(&[&at[..], &python].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{text}{error}");
    assert!(text.contains("release 1 of "), "{text}");
    assert!(text.contains("to use them"), "{text}");
    assert!(
        error.contains("failed to run `/no/such/python3`"),
        "{error}"
    );
    let json = farm.publish(&[&at[..], &python, &["--format", "json"]].concat());
    let told: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["release"], 1);
    assert_eq!(told["install_table_after"], Value::Null);
}

#[test]
fn conformance_small_install_table_goes_before_a_publication() {
    let farm = Farm::with(&wheel("hello"));
    let text = farm.published(&["--python", "python3", "--format", "json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    shape::check("publish", &told);
    let rows = told["install_table"]["rows"].as_array().unwrap();
    assert!(rows.len() > 10, "{text}");
    assert!(rows.iter().all(|row| row["result"] == "pass"), "{text}");
    assert_eq!(told["install_table_after"], Value::Null);
    assert!(farm.path("release/manifest.json").exists());
}

/// A static host that serves a folder until it is dropped.
struct Host(std::process::Child);

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Serves `folder`, which is made if need be, at the address that is given back.
fn host(folder: &Path) -> (Host, String) {
    fs_err::create_dir_all(folder).unwrap();
    let script = "import functools, http.server, sys\n\
                  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n\
                  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n\
                  print(server.server_port, flush=True)\n\
                  server.serve_forever()\n";
    python(script, &[folder.as_os_str()])
}

/// An address where nobody listens, and nobody else can while this is held.
fn host_that_is_down() -> (Host, String) {
    let script = "import socket, time\n\
                  held = socket.socket()\n\
                  held.bind(('127.0.0.1', 0))\n\
                  print(held.getsockname()[1], flush=True)\n\
                  time.sleep(3600)\n";
    python(script, &[])
}

/// Runs a script that prints the port that it holds: one that was free a moment ago may be another test's.
fn python(script: &str, args: &[&OsStr]) -> (Host, String) {
    let mut child = Command::new("python3")
        .args(["-c", script])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let said = child.stdout.take().unwrap();
    let host = Host(child);
    BufReader::new(said).read_line(&mut port).unwrap();
    (host, format!("http://127.0.0.1:{}", port.trim()))
}

#[test]
fn conformance_small_install_table_proves_a_release_where_it_stands() {
    let farm = Farm::with(&wheel("hello"));
    let (_host, address) = host(&farm.path("release"));
    let args = [
        "--base-url",
        &address,
        "--python",
        "python3",
        "--prove-after",
        "--format",
        "json",
    ];
    let told: Value = serde_json::from_str(&farm.published(&args)).unwrap();
    let rows = told["install_table_after"]["rows"].as_array().unwrap();
    assert!(
        rows.len() > 10 && rows.iter().all(|row| row["result"] == "pass"),
        "{told:#}"
    );
    assert_eq!(told["yanked"], 0);
    assert!(
        farm.release()
            .wheels
            .values()
            .all(|wheel| wheel.yanked.is_none())
    );
}

#[test]
fn conformance_small_install_table_yanks_what_its_place_does_not_have() {
    let farm = Farm::with(&wheel("hello"));
    // The address is that of another folder.
    let (_host, address) = host(&farm.path("elsewhere"));
    let args = [
        "--base-url",
        &address,
        "--python",
        "python3",
        "--prove-after",
    ];
    let output = farm.publish(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("yanked 1 wheel"), "{text}");
    assert!(
        farm.release()
            .wheels
            .values()
            .all(|wheel| wheel.yanked.is_some())
    );
}

/// What is out may be in use: a later run, whatever it finds, takes back what it brought and nothing else.
#[test]
fn conformance_small_install_table_yanks_nothing_that_was_out_before() {
    let farm = Farm::with(&wheel("hello"));
    let (_host, address) = host(&farm.path("elsewhere"));
    let at = ["--base-url", &address];
    farm.published(&at);
    let prove = ["--python", "python3", "--prove-after"];
    let output = farm.publish(&[&at[..], &prove].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("yanked"), "{text}");
    let release = farm.release();
    assert_eq!(release.release, 1);
    assert!(release.wheels.values().all(|wheel| wheel.yanked.is_none()));
}

#[test]
fn conformance_small_install_table_yanks_nothing_because_its_place_is_down() {
    let farm = Farm::with(&wheel("hello"));
    let (_host, address) = host_that_is_down();
    let args = [
        "--base-url",
        &address,
        "--python",
        "python3",
        "--prove-after",
    ];
    let output = farm.publish(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(!text.contains("yanked"), "{text}");
    assert!(
        farm.release()
            .wheels
            .values()
            .all(|wheel| wheel.yanked.is_none())
    );
}
