//! The main job, once, on the real thing: two packages of PyPI built in Docker, one of them with
//! nvcc for two archs; published, installed by pip in a clean container, tested.
//!
//! On a machine that has never built, the images take minutes and 3 GB of downloads; after that the
//! compile is what takes its time.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod mutants;
mod shape;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const SPLINE_CONV: &str = "torch-spline-conv-1.2.2-cu130-torch2.11-cp311";
/// Names a wheel of the job [`SPLINE_CONV`], for who works on the gate: nothing is built then, and
/// only the mutants of that wheel are verified.
const FINISHED_WHEEL: &str = "WHEELFARM_TEST_WHEEL";
const SAGE: &str = "sageattention-1.0.6-cu130-torch2.11-cp311";

/// The program at the repository's top, on the quickstart's matrix.
fn program(command: &str) -> Command {
    let repository: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut program = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
    program
        .current_dir(repository)
        .arg(command)
        .args(["--matrix", "examples/quickstart/matrix.yaml"])
        .args(["--format", "json"]);
    program
}

fn wheelfarm(command: &str, out: &str, more: &[&str]) -> Command {
    let mut program = program(command);
    program.args(["--out", out]).args(more);
    program
}

/// Verifies a wheel as the one of torch-spline-conv.
fn verify(wheel: &Path) -> Command {
    let mut program = program("verify");
    program.args(["--job", SPLINE_CONV]).arg(wheel);
    program
}

#[track_caller]
fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn outcomes(summary: &Value) -> Vec<(&str, &str)> {
    let jobs = summary["jobs"].as_array().unwrap().iter();
    jobs.map(|job| {
        (
            job["job"].as_str().unwrap(),
            job["outcome"].as_str().unwrap(),
        )
    })
    .collect()
}

/// What NVIDIA's own reader lists of every module in a wheel, by module.
fn device_code(wheel: &Path, folder: &Path) -> String {
    let script = r#"
set -eu
python3 -m venv "$2/venv"
"$2/venv/bin/pip" install --quiet --only-binary=:all: nvidia-cuda-cuobjdump==13.2.51
reader=$(find "$2/venv" -name cuobjdump -type f)
mkdir "$2/wheel"
"$2/venv/bin/python" -m zipfile -e "$1" "$2/wheel"
for module in $(find "$2/wheel" -name '*.so' | sort); do
    echo "module $(basename "$module")"
    "$reader" -lelf -lptx "$module" 2>/dev/null || true
done
"#;
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .args([wheel, folder])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn check_device_code(listing: &str) {
    for module in ["_basis_cuda.so", "_weighting_cuda.so"] {
        let images = listing
            .split("module ")
            .find(|part| part.starts_with(module))
            .unwrap_or_else(|| panic!("no {module} in:\n{listing}"));
        for wanted in ["sm_90.cubin", "sm_120.cubin", "sm_120.ptx"] {
            assert!(images.contains(wanted), "no {wanted} in {images}");
        }
        assert!(!images.contains("sm_90.ptx"), "{images}");
    }
}

#[test]
fn docker_the_quickstart_builds_proves_and_is_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(wheel) = env::var_os(FINISHED_WHEEL) {
        return mutants::check(verify, Path::new(&wheel), folder.path());
    }
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();

    let summary = json(&wheelfarm("build", out, &[]).output().unwrap());
    assert_eq!(
        outcomes(&summary),
        [(SAGE, "built"), (SPLINE_CONV, "built")]
    );

    // Nothing changed, so nothing is asked of an engine: there is none at this address.
    let again = wheelfarm("build", out, &[])
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .output()
        .unwrap();
    assert_eq!(
        outcomes(&json(&again)),
        [(SAGE, "up-to-date"), (SPLINE_CONV, "up-to-date")]
    );

    let release = format!("{out}/release");
    let publish = wheelfarm("publish", out, &["--to", &release, "--prove"]).output();
    let published = json(&publish.unwrap());
    shape::check("publish", &published);
    let proofs = published["proofs"][0]["receipts"].as_array().unwrap();
    assert_eq!(proofs.len(), 2);
    for proof in proofs {
        let checks = proof["checks"].as_array().unwrap();
        assert!(checks.iter().any(|check| check["result"] == "pass"));
        assert!(
            checks.iter().all(|check| check["result"] != "fail"),
            "{proof:#}"
        );
    }

    let wheels = published["wheels"].as_array().unwrap().iter();
    let names: Vec<_> = wheels
        .map(|wheel| wheel["file_name"].as_str().unwrap())
        .collect();
    assert_eq!(names[0], "sageattention-1.0.6-py3-none-any.whl");
    let compiled = names[1];
    let start = "torch_spline_conv-1.2.2+cu130torch2.11-cp311-cp311-manylinux_2_";
    assert!(compiled.starts_with(start), "{compiled}");
    let path = published["wheels"][1]["path"].as_str().unwrap();
    let wheel = Path::new(&release).join(path);
    let proof = format!("{}.proof-cp311.json", wheel.display());
    assert!(Path::new(&proof).exists(), "{proof}");
    check_device_code(&device_code(&wheel, folder.path()));
    mutants::check(verify, &wheel, folder.path());
}
