//! nvcc's command lines on a real engine: rehearsed for every package that has an sdist, and with a
//! GPU that is only shown.
//!
//! They start from the quickstart's images, so the first one on a clean machine pays for those. The
//! faults of command lines are among `tests/bad-builds`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// The summary of a run in a folder of `tests/`.
fn run(folder: &str, out: &Path, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(args)
        .args(["--format", "json", "--out"])
        .arg(out)
        .current_dir(tests().join(folder))
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let summary = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{folder}: {error}\n{stderr}"));
    assert!(output.status.success(), "{folder}: {summary:#}\n{stderr}");
    summary
}

#[test]
fn docker_every_package_with_an_sdist_compiles_for_what_its_contract_says() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let summary = run("rehearsal", out.path(), &["build", "--rehearse"]);
    let jobs = summary["jobs"].as_array().expect("a list");
    assert!(jobs.len() >= 5, "{summary:#}");
    for job in jobs {
        assert_eq!(job["outcome"], "rehearsed", "{job:#}");
        let commands = &job["commands"];
        assert!(commands["compilations"].as_u64() > Some(0), "{job:#}");
        assert_eq!(commands["compilations"], commands["checked"], "{job:#}");
        println!("{}: {} command lines", job["job"], commands["checked"]);
    }
    for folder in ["jobs", "failed", "staging"] {
        let left = std::fs::read_dir(out.path().join(folder)).expect("out/ has its folders");
        assert_eq!(left.count(), 0, "a rehearsal leaves nothing in {folder}");
    }
}

#[test]
fn docker_a_setup_py_that_asks_for_a_gpu_is_shown_those_that_are_wanted() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let summary = run("gpu-shim", out.path(), &["build"]);
    let job = &summary["jobs"][0];
    assert_eq!(job["gate"]["verdict"], "passed", "{job:#}");
    assert_eq!(job["commands"]["checked"], 1, "{job:#}");

    let to = tempfile::tempdir().expect("a temporary folder");
    let to = to.path().to_str().expect("a temporary folder in ASCII");
    let publish = ["publish", "--prove", "--without-install-table", "--to", to];
    let published = run("gpu-shim", out.path(), &publish);
    let text = published.to_string();
    assert!(text.contains("no trace of the shim"), "{published:#}");
    assert!(!text.contains("\"fail\""), "{published:#}");
}
