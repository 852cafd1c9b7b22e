//! `wheelfarm doctor` as people and scripts use it, on a host whose engine is not there.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// In the demo farm, or in `folder`; no server is asked.
fn run(folder: Option<&Path>, args: &[&str]) -> Output {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo");
    let out = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["doctor", "--offline", "--out"])
        .arg(out.path().join("out"))
        .args(args)
        .current_dir(folder.unwrap_or(&demo))
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env("HF_HOME", out.path())
        .env_remove("HF_TOKEN")
        .env_remove("HF_TOKEN_PATH")
        .env_remove("HF_ENDPOINT")
        // A job on GitHub can be given a token.
        .env_remove("ACTIONS_ID_TOKEN_REQUEST_URL")
        .env_remove("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        .env_remove("WHEELFARM_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn data(output: &Output, exit_code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(exit_code), ""));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name);
    check.unwrap_or_else(|| panic!("{report:#}"))
}

#[test]
fn an_engine_that_is_not_there_is_told_with_what_to_type() {
    let text = data(&run(None, &[]), 3);
    assert!(
        text.starts_with("farm\n  pass         matrix: `matrix.yaml`: 2 jobs, 2 to build\n"),
        "{text}"
    );
    let engine = "\nengine\n  fail         engine: failed to connect to the Docker engine";
    assert!(text.contains(engine), "{text}");
    assert!(
        text.contains("hint: start the engine: `sudo systemctl start docker`"),
        "{text}"
    );
    assert!(text.trim_end().ends_with("the night would fail"), "{text}");
}

#[test]
fn programs_get_sorted_json_with_every_check() {
    let text = data(&run(None, &["--format", "json"]), 3);
    let report: Value = serde_json::from_str(&text).unwrap();
    // A Value's maps are sorted, so the same text comes back only from sorted keys.
    assert_eq!(text, format!("{report:#}\n"));
    shape::check("doctor", &report);
    assert_eq!(report["ending"], "unfit");
    assert_eq!(check(&report, "engine")["state"], "fail");
    assert_eq!(check(&report, "engine")["group"], "engine");
    assert_eq!(check(&report, "matrix")["state"], "pass");
    assert_eq!(check(&report, "limits")["state"], "not-checked");
    assert_eq!(check(&report, "reach")["state"], "not-checked");
    let checks = report["checks"].as_array().unwrap();
    let counts = report["counts"].as_object().unwrap();
    let sum: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum, u64::try_from(checks.len()).unwrap());
    for check in checks {
        assert_eq!(check["hint"].is_null(), check["state"] == "pass", "{check}");
    }
}

#[test]
fn without_a_matrix_what_needs_none_is_checked_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let text = data(&run(Some(folder.path()), &["--format", "json"]), 3);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(check(&report, "matrix")["state"], "not-checked");
    assert_eq!(
        check(&report, "matrix")["seen"],
        "there is no `matrix.yaml` here"
    );
    assert_eq!(check(&report, "out")["state"], "pass");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_night_that_publishes_needs_a_token() {
    let text = data(
        &run(None, &["--to", "hf://lab/wheels", "--format", "json"]),
        3,
    );
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(check(&report, "token")["state"], "fail");
    assert_eq!(check(&report, "place")["state"], "not-checked");
}

#[test]
fn every_check_of_the_page_is_one_of_the_programs() {
    // What the page shows as a transcript has the program's own words.
    let page =
        fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md"))
            .unwrap();
    let shown = page
        .split("```console\n$ wheelfarm doctor")
        .nth(1)
        .expect("a transcript");
    let shown = shown.split("```").next().unwrap();
    let names: Vec<_> = wheelfarm_core::doctor::Topic::ALL
        .iter()
        .map(|topic| topic.as_str())
        .collect();
    let states: Vec<_> = wheelfarm_core::doctor::State::ALL
        .iter()
        .map(|state| state.as_str())
        .collect();
    let mut lines = 0;
    for line in shown
        .lines()
        .skip(1)
        .filter(|line| line.starts_with("  ") && !line.contains("  hint: "))
    {
        let state = states
            .iter()
            .find(|state| line.trim_start().starts_with(*state));
        let rest = line
            .trim_start()
            .trim_start_matches(*state.expect(line))
            .trim_start();
        let name = rest.split([' ', ':']).next().unwrap();
        assert!(names.contains(&name), "{line}");
        lines += 1;
    }
    assert!(lines > 20, "{lines}");
}
