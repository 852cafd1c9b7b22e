//! A folder for each fault that only a build shows, named after it: what the summary says of it,
//! and that nothing is left behind.
//!
//! They start from the quickstart's images, so the first one on a clean machine pays for those.
//! After a wanted change of words: `WHEELFARM_UPDATE_GOLDEN=1`, as in `bad_input.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const JOB: &str = "demo-1.0-cu130-torch2.11-cp311";

fn folders() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bad-builds");
    let entries = fs::read_dir(&top).expect("the folder of faults is there");
    let mut folders: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    folders.sort();
    folders
}

/// Exit code, stage, kind, detail and hint of the folder's one job.
fn said(folder: &Path, out: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["build", "--format", "json", "--out"])
        .arg(out)
        .current_dir(folder)
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().expect("it ends by itself");
    let summary: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}\n{stderr}", folder.display()));
    let job = &summary["jobs"][0];
    let failure = &job["failure"];
    let text = |key: &str| failure[key].as_str().unwrap_or("").to_owned();
    format!(
        "exit code {code}\n{} at {} ({})\n{}\nhint: {}\n",
        job["outcome"].as_str().unwrap_or(""),
        text("stage"),
        text("kind"),
        text("detail"),
        text("hint"),
    )
}

/// What a failed job may leave, and what it must not.
#[track_caller]
fn check_folders(fault: &str, out: &Path) {
    assert!(
        out.join("failed").join(JOB).join("build.log").is_file(),
        "{fault}"
    );
    for folder in ["jobs", "staging"] {
        let left = fs::read_dir(out.join(folder)).expect("out/ has its folders");
        assert_eq!(left.count(), 0, "{fault}: {folder}");
    }
}

#[test]
fn docker_every_failed_build_says_why_and_leaves_nothing() {
    let mut wrong = Vec::new();
    let folders = folders();
    assert!(folders.len() > 10, "{} faults", folders.len());
    for folder in folders {
        let fault = folder.display().to_string();
        let out = tempfile::tempdir().expect("a temporary folder");
        let said = said(&folder, out.path());
        check_folders(&fault, out.path());
        let golden = folder.join("expected.txt");
        if std::env::var_os("WHEELFARM_UPDATE_GOLDEN").is_some() {
            fs_err::write(&golden, &said).expect("the golden text can be written");
        }
        let wanted = fs_err::read_to_string(&golden).unwrap_or_else(|error| panic!("{error}"));
        if said != wanted {
            wrong.push(format!("{fault}\n{said}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "other words than expected.txt:\n{}",
        wrong.join("\n")
    );

    let left = Command::new("docker")
        .args(["ps", "--all", "--quiet", "--filter", "name=wheelfarm-"])
        .args([
            "--filter",
            "label=dev.wheelfarm.job=demo-1.0-cu130-torch2.11-cp311",
        ])
        .output()
        .expect("the docker command starts");
    assert!(
        left.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&left.stdout)
    );
}
