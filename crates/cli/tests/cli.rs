//! The program as scripts use it: data on standard output, talk on standard error, exit codes.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::rule::Rule;
use wheelfarm_core::manifest::Manifest;
use wheelfarm_core::receipt::{
    Check, CheckResult, GpuPresence, MachineReceipt, Run, RunMode, verdict,
};

const DEMO: &str = "demo-1.0-cu130-torch2.11-cp311";
/// Without compiled code it keeps the name that upstream gives it.
const WHEEL: &str = "demo-1.0-py3-none-any.whl";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program in the folder of the demo farm, with no engine to be found.
fn wheelfarm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
    command
        .current_dir(repository().join("tests/demo"))
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("WHEELFARM_LOG")
        .stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    wheelfarm().args(args).output().unwrap()
}

/// Standard output of a command that did all that was asked and had nothing to say.
#[track_caller]
fn data(args: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that gave no data.
#[track_caller]
fn refusal(args: &[&str], exit_code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    stderr
}

/// An `out/` that has the demo's wheel on record, as its job is now.
fn with_record() -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    let plan: Value = serde_json::from_str(&data(&["plan", "--format", "json"])).unwrap();
    shape::check("plan", &plan);
    let jobs = plan["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["id"] == DEMO).unwrap();
    let wheel = b"a wheel";
    let digest = Sha256Digest::of(wheel).to_string();
    let manifest = json!({
        "schema": 1,
        "job": DEMO,
        "job_digest": job["digest"],
        "package": "demo",
        "version": "1.0",
        "archs": null,
        "wheel": {
            "file_name": WHEEL, "sha256": digest, "size_bytes": wheel.len(),
            "requires_python": null, "requires_dist": [], "metadata_sha256": digest,
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
        "gate": "not-checked",
        "proof": "not-checked",
    });
    let manifest = Manifest::parse(&manifest.to_string()).unwrap();
    let folder = out.path().join("jobs").join(DEMO);
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join(WHEEL), wheel).unwrap();
    let text = manifest.to_text();
    shape::check("manifest", &serde_json::from_str(&text).unwrap());
    fs_err::write(folder.join("manifest.json"), text).unwrap();
    out
}

#[test]
fn a_plan_in_json_is_data_alone_with_a_schema_and_sorted_keys() {
    let text = data(&["plan", "--format", "json"]);
    let plan: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(plan["schema"], 1);
    assert_eq!(plan["jobs"].as_array().unwrap().len(), 2);
    // A Value's maps are sorted, so the same text comes back only from sorted keys.
    assert_eq!(text, format!("{plan:#}\n"));
}

#[test]
fn a_plan_for_github_is_one_line_that_from_json_takes() {
    let text = data(&["plan", "--format", "github"]);
    assert_eq!(text.lines().count(), 1);
    let matrix: Value = serde_json::from_str(&text).unwrap();
    let jobs: Vec<_> = matrix["include"].as_array().unwrap().iter().collect();
    assert_eq!(jobs[0]["job"], DEMO);
    assert_eq!(jobs[1]["archs"], "8.0 9.0");
}

#[test]
fn a_plan_for_people_says_why() {
    let text = data(&["plan", "--only", "demo-1.0-*"]);
    assert_eq!(
        text,
        format!(
            "build  {DEMO}  no wheel on record\n       archs    compiled on the user's GPU\n\
             1 to build, 0 up to date, 0 left out\n"
        )
    );
}

#[test]
fn what_torch_no_row_knows_is_a_warning_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let demo = repository().join("tests/demo");
    let matrix = fs_err::read_to_string(demo.join("matrix.yaml")).unwrap();
    let packages = demo.join("packages").canonicalize().unwrap();
    let folders = format!(
        "folders:\n  packages: {}\n  patches: patches\n",
        packages.display()
    );
    let matrix = matrix.replace("archs: [", &format!("{folders}\narchs: ["));
    let matrix = matrix.replace("2.11.0", "2.99.0");
    let file = folder.path().join("matrix.yaml");
    fs_err::write(&file, matrix).unwrap();
    let output = run(&[
        "plan",
        "--format",
        "json",
        "--matrix",
        file.to_str().unwrap(),
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.starts_with("warning: "), "{stderr}");
    assert!(stderr.contains("not known to work"), "{stderr}");
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
}

#[test]
fn help_and_version_are_data() {
    for command in [
        "plan",
        "dockerfile",
        "build",
        "inspect",
        "verify",
        "publish",
        "compat",
        "explain",
        "watch",
        "init",
    ] {
        assert!(data(&[command, "--help"]).contains("Usage: wheelfarm"));
    }
    assert!(data(&["--help"]).contains("Exit codes:"));
    assert_eq!(
        data(&["--version"]),
        format!("wheelfarm {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_wrong_command_line_is_wrong_input() {
    for args in [
        &["plan", "--onyl", "demo-*"][..],
        &["paln"],
        &["plan", "--format", "xml"],
        &["build", "--jobs", "0"],
        &["dockerfile"],
        &["publish"],
        &["explain", "arch/missing-sass", "glibc/too-new"],
    ] {
        assert!(refusal(args, 2).starts_with("error: "), "{args:?}");
    }
}

#[test]
fn a_dockerfile_starts_from_the_base() {
    let text = data(&["dockerfile", DEMO]);
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    assert_eq!(line("ARG BASE="), "ARG BASE=wheelfarm/debian:bookworm");
    assert!(line("FROM ").starts_with("FROM ${BASE} AS "), "{text}");
}

#[test]
fn a_rule_is_explained_under_headings() {
    let text = data(&["explain", "arch/missing-sass"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "arch/missing-sass (error)");
    assert!(lines[1].starts_with("a container does not hold the machine code"));
    let headings = lines
        .iter()
        .filter(|line| line.starts_with(char::is_uppercase));
    let headings: Vec<_> = headings.copied().collect();
    assert_eq!(headings, ["Why", "Source", "What to do"]);
    assert!(text.contains("no kernel image is available for execution on the device"));
    assert!(
        text.contains("      contract:\n        modules:\n"),
        "{text}"
    );
}

#[test]
fn rules_are_listed_with_severity_and_title() {
    let text = data(&["explain"]);
    let lines: Vec<_> = text.lines().collect();
    let (last, rules) = lines.split_last().unwrap();
    assert_eq!(rules.len(), Rule::ALL.len());
    for (line, rule) in rules.iter().zip(Rule::ALL) {
        let mut words = line.split_whitespace();
        let found = (words.next(), words.next());
        assert_eq!(found, (Some(rule.id()), Some(rule.severity().as_str())));
        assert!(line.ends_with(&rule.text().title), "{line}");
    }
    assert!(
        last.starts_with(&format!("{} rules; ", rules.len())),
        "{last}"
    );
}

#[test]
fn rules_in_json_have_a_schema_and_sorted_keys() {
    let all = data(&["explain", "--format", "json"]);
    let one = data(&["explain", "rpath/leak", "--format", "json"]);
    for (text, count) in [(all, Rule::ALL.len()), (one, 1)] {
        let explained: Value = serde_json::from_str(&text).unwrap();
        shape::check("gate-rules", &explained);
        let rules = explained["rules"].as_array().unwrap();
        assert_eq!(rules.len(), count);
        let last = &rules[count - 1];
        for key in ["id", "severity", "title", "why", "source", "fix"] {
            assert!(
                last[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}"
            );
        }
        // A Value's maps are sorted, so the same text comes back only from sorted keys.
        assert_eq!(text, format!("{explained:#}\n"));
    }
}

#[test]
fn a_rule_that_is_not_there_is_refused_with_those_near_it() {
    assert_eq!(
        refusal(&["explain", "glibc/to-new"], 2),
        "error: there is no rule `glibc/to-new`\n\
         hint: near it: glibc/too-new; `wheelfarm explain` lists all\n"
    );
    assert_eq!(
        refusal(&["explain", "frobnicate"], 2),
        "error: there is no rule `frobnicate`\nhint: `wheelfarm explain` lists the rules\n"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let matrix = repository().join("matrix.yaml");
    for format in ["human", "json", "github"] {
        let mut child = wheelfarm()
            .args(["plan", "--format", format, "--matrix"])
            .arg(&matrix)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{format}");
    }
}

#[test]
fn a_full_standard_output_is_an_error() {
    let full = fs_err::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = wheelfarm()
        .args(["plan", "--format", "json"])
        .stdout(Stdio::from(full.into_parts().0))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.starts_with("error: failed to write to standard output"),
        "{stderr}"
    );
}

#[test]
fn a_build_without_an_engine_says_so_and_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let stderr = refusal(&["build", "--out", out.to_str().unwrap()], 3);
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(stderr.contains("\nhint: "), "{stderr}");
    assert!(!out.exists());
}

#[test]
fn what_is_up_to_date_needs_no_engine() {
    let record = with_record();
    let out = record.path().to_str().unwrap();
    let only = ["--only", DEMO, "--out", out];
    let build = [&["build", "--format", "json"][..], &only].concat();
    let output = run(&build);
    assert_eq!(output.status.code(), Some(0));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["schema"], 1);
    shape::check("build", &summary);
    assert_eq!(summary["jobs"][0]["outcome"], "up-to-date");

    let plan = [&["plan"][..], &only].concat();
    assert!(data(&plan).starts_with(&format!("ok     {DEMO}  up to date\n")));
    let github = [&["plan", "--format", "github"][..], &only].concat();
    assert_eq!(data(&github), "{\"include\":[]}\n");
    let forced = [&["plan", "--force"][..], &only].concat();
    assert!(data(&forced).contains("asked for with --force"));
    let forced = [&["build", "--force"][..], &only].concat();
    assert!(refusal(&forced, 3).contains("\nhint: "));
}

#[test]
fn a_wheel_that_is_gone_or_cut_is_built_again() {
    let record = with_record();
    let out = record.path().to_str().unwrap();
    let wheel = record.path().join("jobs").join(DEMO).join(WHEEL);
    let plan = ["plan", "--only", DEMO, "--out", out];
    fs_err::write(&wheel, b"a whee").unwrap();
    assert!(data(&plan).contains("the wheel on record is gone"));
    fs_err::remove_file(&wheel).unwrap();
    assert!(data(&plan).contains("the wheel on record is gone"));
}

#[test]
fn a_manifest_that_cannot_be_read_is_no_record() {
    let record = with_record();
    let out = record.path().to_str().unwrap();
    let manifest = record.path().join("jobs").join(DEMO).join("manifest.json");
    fs_err::write(manifest, "{\"schema\": 2}\n").unwrap();
    let output = run(&["plan", "--only", DEMO, "--out", out]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("unreadable manifest"), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("no wheel on record"));
}

#[test]
fn what_was_never_built_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("release");
    let out = folder.path().join("out");
    let stderr = refusal(
        &[
            "publish",
            "--to",
            to.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ],
        2,
    );
    assert!(
        stderr.contains(&format!("job `{DEMO}` has no wheel to publish")),
        "{stderr}"
    );
    assert!(
        stderr.contains("\nhint: run `wheelfarm build` first"),
        "{stderr}"
    );
    assert!(!to.exists() && !out.exists());
}

/// A receipt of the demo's wheel, as a machine with a GPU writes it.
fn receipt() -> MachineReceipt {
    let check = Check {
        gpu: true,
        ..Check::new("numbers on the GPU", CheckResult::Pass, "off by 1e-9")
    };
    let runs = vec![Run::new(
        RunMode::AsBuilt,
        vec![check],
        GpuPresence::Present,
    )];
    let (state, reason) = verdict(&runs);
    let value = json!({
        "schema": 1, "state": state, "reason": reason, "runs": runs,
        "wheel": { "file_name": WHEEL, "sha256": Sha256Digest::of(b"a wheel"), "size_bytes": 7 },
        "jobs": [], "package": "demo", "test_sha256": null, "python": "CPython 3.12.3",
        "torch": { "version": "2.11.0+cu130", "cuda": "13.0", "devices": [] },
        "device": {
            "name": "NVIDIA H200", "capability": "9.0", "memory_bytes": 1, "driver": "580.159.03",
        },
        "host": { "os": null, "kernel": "6.1", "glibc": "2.36", "machine": "x86_64" },
        "proved_at": "2026-11-21T00:00:00Z", "wheelfarm": "0.1.0",
    });
    MachineReceipt::parse(&value.to_string()).unwrap()
}

#[test]
fn a_receipt_of_another_machine_is_kept_on_record() {
    let record = with_record();
    let out = record.path().to_str().unwrap();
    let file = record.path().join("made-elsewhere.json");
    fs_err::write(&file, receipt().to_text()).unwrap();
    let import = ["prove", "--import", file.to_str().unwrap(), "--out", out];

    let told = data(&import);
    let file_name = file.display();
    assert_eq!(
        told,
        format!(
            "passed {WHEEL}\n  NVIDIA H200 (9.0), driver 580.159.03, torch 2.11.0+cu130, CPython 3.12.3\n  \
             pass         numbers on the GPU: off by 1e-9\nreceipt: {file_name}\non record: {DEMO}\n"
        )
    );
    let job = record.path().join("jobs").join(DEMO);
    let kept = fs_err::read_to_string(job.join("gpu-receipt.json")).unwrap();
    assert_eq!(kept, receipt().to_text());
    let manifest = fs_err::read_to_string(job.join("manifest.json")).unwrap();
    let run = Manifest::parse(&manifest).unwrap().gpu_run.unwrap();
    assert_eq!(run.line(), "NVIDIA H200, driver 580.159.03, passed");
    let plan = data(&["plan", "--only", DEMO, "--out", out]);
    assert!(
        plan.contains("up to date"),
        "a receipt makes no wheel stale: {plan}"
    );

    let told = data(&[&import[..], &["--format", "json"]].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    shape::check("prove", &told);
    assert_eq!(told["proofs"][0]["on_record"], json!([DEMO]));
    assert_eq!(told["proofs"][0]["receipt"]["state"], "passed");
}

#[test]
fn a_receipt_of_another_wheel_is_kept_nowhere() {
    let record = with_record();
    let out = record.path().to_str().unwrap();
    let file = record.path().join("of-another.json");
    let mut receipt = receipt();
    receipt.wheel.sha256 = Sha256Digest::of(b"the wheel before");
    fs_err::write(&file, receipt.to_text()).unwrap();
    let stderr = refusal(
        &["prove", "--import", file.to_str().unwrap(), "--out", out],
        2,
    );
    assert!(stderr.contains("no wheel on record in"), "{stderr}");
    assert!(
        !record
            .path()
            .join("jobs")
            .join(DEMO)
            .join("gpu-receipt.json")
            .exists()
    );
}

#[test]
fn a_receipt_that_was_changed_by_hand_is_refused() {
    let record = with_record();
    let out = record.path().to_str().unwrap();
    let file = record.path().join("made-up.json");
    let text = receipt().to_text().replace("\"pass\"", "\"not checked\"");
    fs_err::write(&file, text).unwrap();
    let stderr = refusal(
        &["prove", "--import", file.to_str().unwrap(), "--out", out],
        2,
    );
    let want = "  caused by: the receipt says `passed`, and its checks come to `not run`\nhint: ";
    assert!(stderr.contains(want), "{stderr}");
    assert!(
        !record
            .path()
            .join("jobs")
            .join(DEMO)
            .join("gpu-receipt.json")
            .exists()
    );
}

#[test]
fn a_pass_that_is_earlier_than_a_failure_is_not_imported() {
    let record = with_record();
    let out = record.path().to_str().unwrap();
    let place = |name: &str| record.path().join(name).to_str().unwrap().to_owned();
    let (failed, passed) = (place("failed.json"), place("passed.json"));
    let mut receipt = receipt();
    fs_err::write(&passed, receipt.to_text()).unwrap();
    let check = Check::new("numbers on the GPU", CheckResult::Fail, "off by 3");
    receipt.runs = vec![Run::new(
        RunMode::AsBuilt,
        vec![check],
        GpuPresence::Present,
    )];
    (receipt.state, receipt.reason) = verdict(&receipt.runs);
    receipt.proved_at = "2026-11-22T00:00:00Z".to_owned();
    fs_err::write(&failed, receipt.to_text()).unwrap();

    data(&["prove", "--import", &failed, "--out", out]);
    let stderr = refusal(&["prove", "--import", &passed, "--out", out], 2);
    assert_eq!(
        stderr,
        format!(
            "error: `{passed}` cannot take the place of the receipt of `{DEMO}`\n  \
             caused by: what is there is of 2026-11-22T00:00:00Z, and this is of 2026-11-21T00:00:00Z, \
             which is earlier\n\
             hint: leave it out: what is on record says more, or is later\n"
        )
    );
    let kept = record
        .path()
        .join("jobs")
        .join(DEMO)
        .join("gpu-receipt.json");
    assert_eq!(fs_err::read_to_string(kept).unwrap(), receipt.to_text());
}

/// A program in the place of this one, which tells what it was given and what it can read of its parent.
const TELLS: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/told"
tr '\0' '\n' < "/proc/$PPID/environ" >> "$here/environ"
"#;

#[test]
fn the_script_for_lent_machines_holds_no_secret_and_writes_no_receipt_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let read = |name| fs_err::read_to_string(path(name)).unwrap_or_default();
    fs_err::write(path("wheelfarm"), TELLS).unwrap();
    fs_err::set_permissions(path("wheelfarm"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = |wheels: &[&str]| {
        Command::new(repository().join("scripts/gpu-receipts"))
            .args(wheels)
            .current_dir(folder.path())
            .env("WHEELFARM", "./wheelfarm")
            .env("PYTHON", "a python")
            .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
            .env("HF_TOKEN", "planted")
            .output()
            .unwrap()
    };
    let output = run(&["one/x-1+a-py3-none-any.whl", "two/x-1_a-py3-none-any.whl"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let want = "two wheels would have the receipt gpu-receipts/x-1_a-py3-none-any.gpu-receipt.json";
    assert!(stderr.contains(want), "{stderr}");
    assert_eq!(read("told"), "", "nothing was run");

    let output = run(&[
        "one/x-1+a-py3-none-any.whl",
        "with a space/y-1-py3-none-any.whl",
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let told = read("told");
    assert_eq!(told.lines().count(), 2, "each once: {told}");
    let want = "prove with a space/y-1-py3-none-any.whl --package ";
    assert!(
        told.contains(want) && told.contains("--python a python"),
        "{told}"
    );
    let environ = read("environ");
    assert!(
        environ.contains("CUDA_DEVICE_ORDER=PCI_BUS_ID"),
        "{environ}"
    );
    assert!(!environ.contains("HF_TOKEN"), "{environ}");
}
