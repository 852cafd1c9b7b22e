//! Two larger packages of PyPI, built to the end for Hopper and for the RTX 50 series: contract met,
//! the test without a GPU passed. The slowest of all tests: some ten minutes on two idle processors.
//! Their figures are in docs/builds.md.
#![expect(clippy::print_stdout, reason = "figures for the log of CI")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn run(name: &str, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(args)
        .args(["--format", "json"])
        .arg("--matrix")
        .arg(format!("examples/{name}/matrix.yaml"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let summary = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{name}: {error}\n{stderr}"));
    assert!(output.status.success(), "{name}: {summary:#}\n{stderr}");
    summary
}

/// Builds the one job of an example, publishes its wheel and proves it; `kernels` are the modules with
/// GPU code.
#[track_caller]
fn check(name: &str, kernels: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let out = out.to_str().expect("a temporary folder in ASCII");
    let summary = run(name, &["build", "--out", out]);
    let job = &summary["jobs"][0];
    assert_eq!(job["outcome"], "built", "{job:#}");
    assert_eq!(job["gate"]["verdict"], "passed", "{job:#}");
    assert_eq!(
        job["commands"]["compilations"], job["commands"]["checked"],
        "{job:#}"
    );

    let manifest = Path::new(job["folder"].as_str().expect("a folder")).join("manifest.json");
    let manifest = fs_err::read_to_string(manifest).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    let modules = manifest["wheel"]["module_archs"]
        .as_object()
        .expect("modules with GPU code");
    assert_eq!(modules.len(), kernels.len(), "{modules:#?}");
    for kernel in kernels {
        let module = modules.iter().find(|(path, _)| path.contains(kernel));
        let (_, module) = module.unwrap_or_else(|| panic!("no {kernel}: {modules:#?}"));
        for image in ["sm_90", "sm_120", "compute_120"] {
            assert_eq!(
                module["images"][image], module["containers"],
                "{kernel} {image}: {module:#}"
            );
        }
        assert_eq!(
            module["images"].as_object().map(serde_json::Map::len),
            Some(3)
        );
    }

    let to = format!("{out}/release");
    let published = run(name, &["publish", "--out", out, "--to", &to, "--prove"]);
    let receipt = &published["proofs"][0]["receipts"][0];
    let checks = receipt["checks"].as_array().expect("checks");
    assert!(checks.len() > 3, "{receipt:#}");
    assert!(
        checks.iter().all(|check| check["result"] != "fail"),
        "{receipt:#}"
    );
    println!(
        "{name}: {} compilations, {:#}, wheel {} bytes",
        job["commands"]["compilations"], manifest["cost"], manifest["wheel"]["size_bytes"]
    );
}

#[test]
fn docker_real_build_of_causal_conv1d() {
    check("causal-conv1d", &["causal_conv1d_cuda"]);
}

#[test]
fn docker_real_build_of_torch_scatter() {
    check(
        "torch-scatter",
        &["_scatter_cuda", "_segment_coo_cuda", "_segment_csr_cuda"],
    );
}
