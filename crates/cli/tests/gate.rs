//! `inspect` and `verify` as scripts use them, on a small wheel with real GPU code.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// It holds `sm_90`, `sm_120` and `compute_120`, and needs one library; see its folder's README.
const WHEEL: &str = "demo_gpu-1.0-py3-none-manylinux_2_17_x86_64.whl";
const MODULE: &str = "demo_gpu/_C.so";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo-wheel")
}

/// The program in the folder of the wheel, with no engine to be found.
fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(args)
        .current_dir(folder())
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("WHEELFARM_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Standard output of a command that had nothing else to say.
#[track_caller]
fn data(args: &[&str], exit_code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let ended = (output.status.code(), &*stderr);
    assert_eq!(ended, (Some(exit_code), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same, as JSON of schema 1 with sorted keys.
#[track_caller]
fn json_data(args: &[&str], exit_code: i32) -> Value {
    let text = data(&[args, &["--format", "json"]].concat(), exit_code);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], 1);
    // A Value's maps are sorted, so the same text comes back only from sorted keys.
    assert_eq!(text, format!("{value:#}\n"));
    shape::check(args[0], &value);
    value
}

/// A contract that asks for `archs`, and the folder that it lies in.
fn contract(archs: &[&str]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contract.yaml");
    let text = format!(
        "schema: 1\nproject: demo-gpu\nversion: \"1.0\"\narchs: {archs:?}\ncuda: \"13.0\"\n\
         torch: \"2.11.0\"\npython: \"3.11\"\ncontract:\n  modules:\n    - name: {MODULE}\n  \
         libraries: [cuda-runtime]\n  glibc: \"2.28\"\n  size: 1MiB\n  python-abi: none\n"
    );
    fs_err::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_wheel_is_shown_as_a_picture() {
    let text = data(&["inspect", WHEEL], 0);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with(WHEEL), "{text}");
    assert_eq!(lines[1], "demo-gpu 1.0, Python >=3.9");
    let has = |words: &[&str]| {
        lines
            .iter()
            .any(|line| line.split_whitespace().eq(words.iter().copied()))
    };
    assert!(
        has(&["module", "containers", "sm_90", "sm_120", "compute_120"]),
        "{text}"
    );
    assert!(has(&[MODULE, "1", "all", "all", "all"]), "{text}");
    assert!(has(&["9.0", "H100", "native"]), "{text}");
    assert!(
        has(&["8.6", "RTX", "3090", "fails:", "1", "of", "1", "containers"]),
        "{text}"
    );
    assert!(
        text.trim_end().ends_with("\n\nnothing is wrong with it"),
        "{text}"
    );
    let deep = data(&["inspect", WHEEL, "--deep"], 0);
    let rows: Vec<Vec<_>> = deep
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(
        rows.contains(&vec!["kernels", "sm_90", "sm_120", "compute_120"]),
        "{deep}"
    );
}

#[test]
fn an_inspection_in_json_has_every_image_and_every_gpu() {
    let value = json_data(&["inspect", WHEEL], 0);
    let file = &value["files"][0];
    assert_eq!(
        (&file["kind"], &file["name"], &file["version"]),
        (&json!("wheel"), &json!("demo-gpu"), &json!("1.0"))
    );
    assert_eq!(file["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(file["findings"], json!([]));
    let module = &file["modules"][0];
    assert_eq!(module["path"], MODULE);
    assert_eq!(module["needed"], json!(["libcudart.so.13"]));
    assert_eq!(
        module["containers"],
        json!({ "total": 1, "stubs": 0, "relocatable": 0 })
    );
    assert_eq!(module["kernels"], Value::Null);
    let images = module["images"].as_array().unwrap().iter();
    let mut images: Vec<_> = images
        .map(|image| {
            (
                image["kind"].as_str().unwrap(),
                image["arch"].as_str().unwrap(),
            )
        })
        .collect();
    images.sort_unstable();
    assert_eq!(images, [("ptx", "12.0"), ("sass", "12.0"), ("sass", "9.0")]);
    let verdict = |gpu: &str| {
        let gpus = file["runs_on"].as_array().unwrap();
        let found = gpus.iter().find(|found| found["gpu"] == gpu);
        found.unwrap()["verdict"].clone()
    };
    assert_eq!(verdict("9.0"), "native");
    assert_eq!(verdict("8.6"), "fails");
    let deep = json_data(&["inspect", WHEEL, "--deep"], 0);
    assert_eq!(
        deep["files"][0]["modules"][0]["kernels"],
        json!({ "sm_90": 1, "sm_120": 1, "compute_120": 1 })
    );
}

#[test]
fn one_gpu_is_answered_in_a_sentence_and_by_the_exit_code() {
    let natively = data(&["inspect", WHEEL, "--gpu", "RTX 5090"], 0);
    let expected = format!("{WHEEL} runs natively on 12.0 (RTX 5090), with driver ");
    assert!(natively.starts_with(&expected), "{natively}");
    assert_eq!(natively.lines().count(), 1);
    let fails = data(&["inspect", WHEEL, "--gpu", "8.6"], 1);
    assert!(
        fails.contains("fails on 8.6 (RTX 3090): no image for 8.6"),
        "{fails}"
    );
    let value = json_data(&["inspect", WHEEL, "--gpu", "sm_90"], 0);
    let answer = &value["files"][0]["answers"][0];
    assert_eq!(
        (&answer["gpu"], &answer["verdict"]),
        (&json!("9.0"), &json!("native"))
    );
}

#[test]
fn a_module_without_gpu_code_runs_with_any_gpu() {
    let library = "libraries/libcudart.so.13";
    let text = data(&["inspect", library, "--gpu", "V100"], 0);
    assert!(text.contains("has no device code"), "{text}");
    let value = json_data(&["inspect", library, WHEEL], 0);
    assert_eq!(value["files"].as_array().unwrap().len(), 2);
    assert_eq!(value["files"][0]["kind"], "module");
    assert_eq!(value["files"][0]["modules"][0]["soname"], "libcudart.so.13");
}

#[test]
fn what_is_no_wheel_has_a_finding_and_exit_code_1() {
    let text = data(&["inspect", "README.md"], 1);
    assert!(text.contains("error archive/unsound: README.md "), "{text}");
    let cut = tempfile::tempdir().unwrap();
    let path = cut.path().join(WHEEL);
    let whole = fs_err::read(folder().join(WHEEL)).unwrap();
    fs_err::write(&path, &whole[..whole.len() - 30]).unwrap();
    let value = json_data(&["inspect", path.to_str().unwrap()], 1);
    assert_eq!(value["files"][0]["findings"][0]["rule"], "archive/unsound");
}

#[test]
fn a_wheel_that_keeps_its_contract_passes() {
    let (_folder, contract) = contract(&["9.0", "12.0+PTX"]);
    let args = [
        "verify",
        WHEEL,
        "--contract",
        &contract,
        "--libraries",
        "libraries",
    ];
    assert_eq!(data(&args, 0), format!("{WHEEL}: passed\n"));
    let value = json_data(&args, 0);
    assert_eq!(
        value["wheels"],
        json!([{ "wheel": WHEEL, "verdict": "passed", "findings": [] }])
    );
}

#[test]
fn a_wheel_that_breaks_its_contract_is_refused_with_rule_and_place() {
    let (_folder, contract) = contract(&["8.0", "9.0+PTX", "12.0"]);
    let args = [
        "verify",
        WHEEL,
        "--contract",
        &contract,
        "--libraries",
        "libraries",
    ];
    let text = data(&args, 1);
    assert!(
        text.starts_with(&format!("{WHEEL}: failed, 2 errors, 1 warning\n")),
        "{text}"
    );
    let value = json_data(&args, 1);
    let wheel = &value["wheels"][0];
    assert_eq!(wheel["verdict"], "failed");
    let findings = wheel["findings"].as_array().unwrap().iter();
    let findings: Vec<_> = findings
        .map(|found| {
            assert_eq!(found["place"], MODULE);
            (
                found["severity"].as_str().unwrap(),
                found["rule"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        findings,
        [
            ("error", "arch/missing-sass"),
            ("error", "arch/missing-ptx"),
            ("warning", "arch/unasked"),
        ]
    );
}

#[test]
fn a_rule_that_cannot_be_held_against_a_wheel_has_its_own_exit_code() {
    let (_folder, contract) = contract(&["9.0", "12.0+PTX"]);
    let args = ["verify", WHEEL, "--contract", &contract];
    let text = data(&args, 4);
    assert!(
        text.starts_with(&format!("{WHEEL}: not checked in full, 1 unchecked rule\n")),
        "{text}"
    );
    let value = json_data(&args, 4);
    assert_eq!(value["wheels"][0]["verdict"], "not-checked");
    assert_eq!(
        value["wheels"][0]["findings"][0]["rule"],
        "abi/undefined-symbol"
    );
    assert_eq!(value["wheels"][0]["findings"][0]["severity"], "not-checked");
    // Of several wheels the worst counts.
    let both = ["verify", WHEEL, "README.md", "--contract", &contract];
    assert!(data(&both, 1).contains("\nREADME.md: failed, "));
}
