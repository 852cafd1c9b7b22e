//! A larger package of PyPI, built to the end for one arch: contract met, the test without a GPU passed. The slowest
//! of all tests, so it is the only one of its kind; docs/builds.md has what others took.
#![expect(clippy::print_stdout, reason = "figures for the log of CI")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn run(args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(args)
        .args(["--format", "json"])
        .args(["--matrix", "tests/real-build/matrix.yaml"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let summary = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}\n{stderr}"));
    assert!(output.status.success(), "{args:?}: {summary:#}\n{stderr}");
    summary
}

/// The job of `package` was built as its contract wants it: every container of the modules `kernels` holds
/// `images`, and no other module has GPU code.
#[track_caller]
fn check(summary: &Value, package: &str, kernels: &[&str], images: &[&str]) {
    let jobs = summary["jobs"].as_array().expect("jobs");
    let is_wanted = |job: &&Value| {
        let id = job["job"].as_str();
        id.is_some_and(|id| id.starts_with(package))
    };
    let job = jobs.iter().find(is_wanted).expect("the job of the package");
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
        for image in images {
            assert_eq!(
                module["images"][*image], module["containers"],
                "{kernel} {image}: {module:#}"
            );
        }
        assert_eq!(
            module["images"].as_object().map(serde_json::Map::len),
            Some(images.len())
        );
    }
    println!(
        "{package}: {} compilations, {:#}, wheel {} bytes",
        job["commands"]["compilations"], manifest["cost"], manifest["wheel"]["size_bytes"]
    );
}

#[test]
fn docker_a_real_build_of_causal_conv1d() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let out = out.to_str().expect("a temporary folder in ASCII");
    let summary = run(&["build", "--out", out]);
    check(
        &summary,
        "causal-conv1d",
        &["causal_conv1d_cuda"],
        &["sm_90"],
    );

    let to = format!("{out}/release");
    let published = run(&["publish", "--out", out, "--to", &to, "--prove"]);
    let proofs = published["proofs"].as_array().expect("proofs").iter();
    let receipts = proofs.flat_map(|proof| proof["receipts"].as_array().expect("receipts"));
    let mut proven = 0;
    for receipt in receipts {
        let checks = receipt["checks"].as_array().expect("checks");
        assert!(checks.len() > 3, "{receipt:#}");
        assert!(
            checks.iter().all(|check| check["result"] != "fail"),
            "{receipt:#}"
        );
        proven += 1;
    }
    assert_eq!(proven, 1, "{published:#}");
}
