//! Publishing to a folder, as scripts do it.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::manifest::Manifest;
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::wheel::record::{self, FileRecord};

const DEMO: &str = "demo-1.0-cu130-torch2.11-cp311";
const WHEEL: &str = "demo-1.0-py3-none-any.whl";
const METADATA: &str = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n\n# demo\n";

/// The program on the demo farm, with no engine to be found.
fn wheelfarm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo"))
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("WHEELFARM_LOG")
        .stdin(Stdio::null());
    command
}

/// A small wheel without compiled code that says `text`.
fn wheel(text: &str) -> Vec<u8> {
    let tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let files = [
        ("demo/__init__.py", format!("SAID = {text:?}\n")),
        ("demo-1.0.dist-info/METADATA", METADATA.to_owned()),
        ("demo-1.0.dist-info/WHEEL", tags.to_owned()),
    ];
    let records = files.each_ref().map(|(_, text)| FileRecord {
        sha256: Sha256Digest::of(text.as_bytes()),
        size_bytes: u64::try_from(text.len()).unwrap(),
    });
    let paths = files.iter().map(|(path, _)| *path);
    let record = record::write(paths.zip(&records), "demo-1.0.dist-info/RECORD");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |path: &str, content: &[u8]| {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(path, options).unwrap();
        zip.write_all(content).unwrap();
    };
    for (path, text) in &files {
        add(path, text.as_bytes());
    }
    add("demo-1.0.dist-info/RECORD", &record);
    zip.finish().unwrap().into_inner()
}

/// A farm's `out/` with the demo's wheel on record, and a place for a release.
struct Farm(TempDir);

impl Farm {
    fn with(wheel: &[u8]) -> Self {
        // In memory where there is such a place: everything is synced, and a disk takes its time.
        let memory = tempfile::tempdir_in("/dev/shm");
        let farm = Self(memory.or_else(|_| tempfile::tempdir()).unwrap());
        farm.record(wheel);
        farm
    }

    fn record(&self, wheel: &[u8]) {
        let plan = wheelfarm().args(["plan", "--format", "json"]).output();
        let plan: Value = serde_json::from_slice(&plan.unwrap().stdout).unwrap();
        let jobs = plan["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["id"] == DEMO).unwrap();
        let digest = Sha256Digest::of(wheel);
        let manifest = json!({
            "schema": 1, "job": DEMO, "job_digest": job["digest"], "package": "demo",
            "version": "1.0", "archs": null,
            "wheel": {
                "file_name": WHEEL, "sha256": digest, "size_bytes": wheel.len(),
                "requires_python": null, "requires_dist": [],
                "metadata_sha256": Sha256Digest::of(METADATA.as_bytes()),
                "uses_torch_cxx_abi": false, "platform_reason": "no compiled code", "modules": [],
            },
            "environment": {
                "name": "bookworm-cu130", "cuda": "13.0", "torch": "2.11.0", "python": "3.11",
                "channel": "cu130/torch2.11", "base": "wheelfarm/debian:bookworm",
                "base_image": "sha256:0", "builder_image": "sha256:0",
            },
            "source": { "identity": "folder", "tree_sha256": digest, "patched_tree_sha256": digest },
            "patches": [],
            "tools": { "wheelfarm": "0.1.0", "engine": "none", "image": {} },
            "cost": {
                "finished_at": "2026-01-01T00:00:00Z", "stages_ms": {},
                "compile_cpu_ms": null, "peak_memory_bytes": null,
            },
            "gate": "passed", "proof": "not-checked",
        });
        let manifest = Manifest::parse(&manifest.to_string()).unwrap();
        let folder = self.path("out/jobs").join(DEMO);
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join(WHEEL), wheel).unwrap();
        fs_err::write(folder.join(format!("{WHEEL}.metadata")), METADATA).unwrap();
        fs_err::write(folder.join("manifest.json"), manifest.to_text()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = wheelfarm();
        command
            .args(["publish", "--only", DEMO, "--out"])
            .arg(self.path("out"))
            .args(more);
        if !more.contains(&"--python") {
            // It needs PyPI.
            command.arg("--without-install-table");
        }
        if !more.contains(&"--to") {
            command.arg("--to").arg(self.path("release"));
        }
        command
    }

    fn publish(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// Standard output of a publication that did all that was asked.
    #[track_caller]
    fn published(&self, more: &[&str]) -> String {
        let output = self.publish(more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.replace(self.0.path().to_str().unwrap(), "/farm")
    }

    /// Standard error of a publication that gave no data.
    #[track_caller]
    fn refused(&self, more: &[&str], exit_code: i32) -> String {
        let output = self.publish(more);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{stderr}");
        assert!(output.stdout.is_empty());
        stderr.replace(self.0.path().to_str().unwrap(), "/farm")
    }

    fn release(&self) -> Catalog {
        let text = fs_err::read_to_string(self.path("release/manifest.json")).unwrap();
        Catalog::parse(&text).unwrap()
    }

    /// That the release is whole: what its catalog and its digests name is there, with those digests.
    #[track_caller]
    fn check_whole(&self) {
        let root = self.path("release");
        let Ok(sums) = fs_err::read_to_string(root.join("SHA256SUMS")) else {
            return assert!(!root.join("manifest.json").exists());
        };
        for line in sums.lines() {
            let (digest, path) = line.split_once("  ").unwrap();
            let bytes = fs_err::read(root.join(path)).unwrap();
            assert_eq!(Sha256Digest::of(&bytes).to_string(), digest, "{path}");
        }
        if root.join("manifest.json").exists() {
            for wheel in self.release().wheels.values() {
                assert!(root.join(wheel.path()).exists(), "{}", wheel.file_name);
            }
        }
    }
}

#[test]
fn a_wheel_is_published_once_and_told_with_the_line_that_installs_it() {
    let farm = Farm::with(&wheel("first"));
    insta::assert_snapshot!(farm.published(&[]));
    let before = farm.release();
    insta::assert_snapshot!(farm.published(&[]));
    assert_eq!(farm.release(), before);
    farm.check_whole();
    let told: Value = serde_json::from_str(&farm.published(&["--format", "json"])).unwrap();
    assert_eq!(told["schema"], 2);
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
    let hub = farm.refused(&["--to", "hf://me/wheels"], 2);
    assert!(hub.contains("is not built in yet"), "{hub}");
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

#[test]
fn conformance_small_install_table_goes_before_a_publication() {
    let farm = Farm::with(&wheel("hello"));
    let text = farm.published(&["--python", "python3", "--format", "json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
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
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let child = Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
        .arg(folder)
        .arg(port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let host = Host(child);
    for _ in 0..200 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    (host, format!("http://127.0.0.1:{port}"))
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

#[test]
fn conformance_small_install_table_yanks_nothing_because_its_place_is_down() {
    let farm = Farm::with(&wheel("hello"));
    let (host, address) = host(&farm.path("release"));
    drop(host);
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
