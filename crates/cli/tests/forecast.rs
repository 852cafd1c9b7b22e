//! `plan --explain` as people and scripts use it, on real packages with the figures of docs/builds.md.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const HOST: [&str; 4] = ["--cpus", "8", "--memory", "32GiB"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Standard output of `plan --explain` in the folder of the farm, on a host that is given.
#[track_caller]
fn explained(args: &[&str]) -> String {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["plan", "--explain", "--out", out.path().to_str().unwrap()])
        .args(HOST)
        .args(args)
        .current_dir(repository().join("tests/forecast"))
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("WHEELFARM_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    let args = [&["--format", "json"], args].concat();
    let text = explained(&args);
    let plan: Value = serde_json::from_str(&text).unwrap();
    // A Value's maps are sorted, so the same text comes back only from sorted keys.
    assert_eq!(text, format!("{plan:#}\n"));
    shape::check("plan", &plan);
    plan
}

#[test]
fn a_plan_says_what_it_will_take_and_how_sure_that_is() {
    let samples = ["--samples", "samples.json", "--price-per-hour", "3.50"];
    insta::assert_snapshot!(explained(&samples));
}

#[test]
fn the_document_shows_what_is_printed() {
    let samples = ["--samples", "samples.json", "--price-per-hour", "3.50"];
    let text = explained(&samples);
    let docs = fs_err::read_to_string(repository().join("docs/nights.md")).unwrap();
    assert!(docs.contains(&text), "docs/nights.md does not show\n{text}");
    let samples = repository().join("tests/forecast/samples.json");
    let samples: Value = serde_json::from_str(&fs_err::read_to_string(samples).unwrap()).unwrap();
    let shown = docs.split("```json samples\n").nth(1).unwrap();
    let shown: Value = serde_json::from_str(shown.split("```").next().unwrap()).unwrap();
    assert_eq!(shown["samples"][0], samples["samples"][0]);
    assert_eq!(shown["stages"][0], samples["stages"][0]);
}

#[test]
fn without_a_build_to_learn_from_it_says_so() {
    insta::assert_snapshot!(explained(&["--only", "*cp311"]));
}

#[test]
fn one_host_forecasts_alike_in_json() {
    let plan = json(&["--samples", "samples.json", "--price-per-hour", "3.50"]);
    let forecast = &plan["forecast"];
    assert_eq!(forecast["host"]["cpus"], 8);
    assert_eq!(forecast["host"]["memory_bytes"], 32_u64 << 30);
    assert_eq!(forecast["unknown"].as_array().unwrap().len(), 1);
    assert_eq!(forecast["cost"]["price_per_hour"], "3.50");
    let jobs = forecast["jobs"].as_array().unwrap();
    let conv = |python: &str| {
        let id = format!("causal-conv1d-1.7.0-cu130-torch2.11-{python}");
        jobs.iter().find(|job| job["job"] == id.as_str()).unwrap()
    };
    assert_eq!(conv("cp311")["cpu_ms"], 672_000);
    assert_eq!(conv("cp311")["basis"]["kind"], "release");
    assert_eq!(conv("cp312")["after"], conv("cp311")["job"]);
    let work = |field: &str| conv("cp312")[field].as_u64().unwrap();
    assert!(work("cpu_ms") < 672_000 * 15 / 100);
    assert_eq!(json(&[])["forecast"]["has_history"], false);
}
