//! A widely copied script of regular expressions "adds RTX 5090 support" to SageAttention's
//! `setup.py`. Here it is run on each shape that this file has had: it helps on none of them, breaks
//! most, and says each time that it succeeded. That is why patches here are exact or fail.
//!
//! `tests/guide-script/README.md` says what stands for what; `docs/patches.md` has the table.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Oldest first.
const SHAPES: [&str; 9] = [
    "1.x",
    "2.0.x",
    "2.1.0",
    "2.1.1",
    "2.2.0-july",
    "2.2.0-october",
    "parallel-compile",
    "2.2.0-tag",
    "main",
];

/// Shape, lines added, whether it is still Python, and what the build does before and after: on an
/// RTX 5090, and as the guide has it built, without a GPU and with archs divided by blanks.
const WANTED: &str = "\
1.x               +0   Python      | RTX 5090: no extension | guide: no extension
2.0.x             +0   Python      | RTX 5090: 2 extensions for sm_1. | guide: 2 extensions for sm_80 sm_86 sm_90
2.1.0             +15  Python      | RTX 5090: 1 extension for sm_1. -> NameError: name 'HAS_SM120' is not defined | guide: 3 extensions for sm_80 sm_86 sm_90a -> NameError: name 'HAS_SM120' is not defined
2.1.1             +15  Python      | RTX 5090: 3 extensions for sm_120 -> 2 sources missing | guide: RuntimeError: no GPU here
2.2.0-july        +15  Python      | RTX 5090: 3 extensions for sm_120 -> 2 sources missing | guide: RuntimeError: no GPU here
2.2.0-october     +15  Python      | RTX 5090: 3 extensions for sm_120 -> 2 sources missing | guide: RuntimeError: no GPU here
parallel-compile  +16  Python      | RTX 5090: 3 extensions for sm_120 -> 2 sources missing | guide: RuntimeError: no GPU here
2.2.0-tag         +12  not Python  | RTX 5090: 3 extensions for sm_120 -> SyntaxError: '(' was never closed | guide: 2 extensions for sm_80 compute_80 -> SyntaxError: '(' was never closed
main              +12  not Python  | RTX 5090: 3 extensions for sm_120a -> SyntaxError: '(' was never closed | guide: 2 extensions for sm_80 compute_80 -> SyntaxError: '(' was never closed
";

fn reports() -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guide-script");
    let files = SHAPES.map(|shape| format!("{shape}/setup.py"));
    let output = Command::new("python3")
        .arg("guide_script.py")
        .args(files)
        .current_dir(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a build came to, in a few words.
fn short(outcome: &Value) -> String {
    if let Some(error) = outcome["error"].as_str() {
        return error.to_owned();
    }
    if let Some(missing) = outcome["missing"].as_array() {
        return format!("{} sources missing", missing.len());
    }
    let codes = outcome["codes"].as_array().unwrap().iter();
    let codes: Vec<_> = codes.map(|code| code.as_str().unwrap()).collect();
    match outcome["extensions"].as_array().unwrap().len() {
        0 => "no extension".to_owned(),
        1 => format!("1 extension for {}", codes.join(" ")),
        count => format!("{count} extensions for {}", codes.join(" ")),
    }
}

fn row(shape: &str, report: &Value) -> String {
    let machine = |name: &str| {
        let (before, after) = (
            short(&report["before"][name]),
            short(&report["after"][name]),
        );
        if before == after {
            before
        } else {
            format!("{before} -> {after}")
        }
    };
    let python = if report["is_python"] == true {
        "Python"
    } else {
        "not Python"
    };
    format!(
        "{shape:16}  {:<3}  {python:10}  | RTX 5090: {} | guide: {}\n",
        format!("+{}", report["lines_added"]),
        machine("rtx-5090"),
        machine("guide")
    )
}

#[test]
fn the_script_of_the_guide_helps_on_no_shape_of_setup_py() {
    let reports = reports();
    let report = |shape: &str| &reports[format!("{shape}/setup.py")];
    let table: String = SHAPES
        .iter()
        .map(|shape| row(shape, report(shape)))
        .collect();
    println!("{table}");
    assert_eq!(table, WANTED);
    for shape in SHAPES {
        let report = report(shape);
        assert_eq!(
            report["said"], "Successfully patched setup.py to add RTX 5090 (sm_120) support.",
            "{shape}"
        );
        // Either nothing happened, or it does not build on the GPU that it was for.
        for machine in ["rtx-5090", "guide", "h100"] {
            let (before, after) = (&report["before"][machine], &report["after"][machine]);
            let is_idle = report["lines_added"] == 0;
            assert!(!is_idle || before == after, "{shape} on {machine}");
        }
        let after = &report["after"]["rtx-5090"];
        let is_broken = after.get("error").is_some() || after.get("missing").is_some();
        assert!(report["lines_added"] == 0 || is_broken, "{shape}: {after}");
    }
    let missing = &report("2.1.1")["after"]["rtx-5090"]["missing"];
    let want = [
        "csrc/qattn/pybind_sm120.cpp",
        "csrc/qattn/qk_int_sv_f8_cuda_sm120.cu",
    ];
    assert_eq!(*missing, serde_json::json!(want));
}
