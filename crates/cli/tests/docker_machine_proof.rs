//! `wheelfarm prove` with a real Python, pip and torch: those of the farm's own torch image, which a
//! script runs in a container, so that this machine needs none. It has no GPU there, wherever it runs.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const DEMO: &str = "demo-1.0-cu130-torch2.11-cp311";
const WHEEL: &str = "demo-1.0-py3-none-any.whl";

/// Python in the image, on the files of the proof and of this test.
const PYTHON: &str = r#"#!/bin/sh
root=$(dirname "$HOME")
exec docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$root:$root" \
    --volume "@FOLDER@:@FOLDER@:ro" --workdir "$HOME" --env HOME --env LC_ALL --env PYTHONDONTWRITEBYTECODE \
    --env PYTHONNOUSERSITE --env PIP_CONFIG_FILE --env PYTHONPATH --entrypoint /opt/venv/bin/python @IMAGE@ "$@"
"#;

const TEST: &str = r#"
import sys

from wheelfarm_checks import check, finish, need_gpu


@check("import")
def _():
    import demo

    assert "/site/" in demo.__file__, demo.__file__
    return "from the folder that pip was given"


@check("closed input")
def _():
    assert sys.stdin.read() == ""


@check("numbers on the GPU")
def _():
    need_gpu()
    raise AssertionError("there is none")


finish()
"#;

struct Farm {
    folder: tempfile::TempDir,
}

impl Farm {
    /// The demo's wheel on record, which needs the image of torch and makes it, and a package with a
    /// test.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let farm = Self { folder };
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo");
        let built = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .current_dir(&demo)
            .args(["build", "--only", DEMO, "--out"])
            .arg(farm.path("out"))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{stderr}");

        let package = farm.path("packages/demo");
        fs_err::create_dir_all(&package).unwrap();
        let text = fs_err::read_to_string(demo.join("packages/demo/package.yaml")).unwrap();
        let text = text.replace("\nreleases:", "\ntest: test.py\nreleases:");
        fs_err::write(package.join("package.yaml"), text).unwrap();
        fs_err::write(package.join("test.py"), TEST).unwrap();

        let python = farm.path("python");
        let place = farm.folder.path().to_str().unwrap();
        let text = PYTHON
            .replace("@FOLDER@", place)
            .replace("@IMAGE@", &torch_image());
        fs_err::write(&python, text).unwrap();
        fs_err::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
        farm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn prove(&self, wheel: &Path, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .current_dir(self.folder.path())
            .arg("prove")
            .arg(wheel)
            .args(["--python", "./python", "--format", "json"])
            .args(more)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn refuses(&self, wheel: &Path, want: &str) {
        let output = self.prove(wheel, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(want), "{stderr}");
    }
}

/// The image of torch that was made or used last.
fn torch_image() -> String {
    let output = Command::new("docker")
        .args(["images", "--filter", "reference=wheelfarm/torch"])
        .args(["--format", "{{.Repository}}:{{.Tag}}"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .next()
        .expect("the build has made one")
        .to_owned()
}

/// A wheel with nothing but metadata.
fn hollow_wheel(requires: &str) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let metadata =
        format!("Metadata-Version: 2.1\nName: demo\nVersion: 2.0\nRequires-Dist: {requires}\n");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    for (name, text) in [("METADATA", &*metadata), ("WHEEL", wheel), ("RECORD", "")] {
        let path = format!("demo-2.0.dist-info/{name}");
        archive
            .start_file(path, SimpleFileOptions::default())
            .unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn docker_a_wheel_is_run_with_a_real_torch_and_said_not_to_have_run_on_a_gpu() {
    let farm = Farm::new();
    let record = farm.path("out/jobs").join(DEMO);
    let wheel = record.join(WHEEL);
    // The script sees this folder, not the one that the wheel is on record in.
    let given = farm.path(WHEEL);
    fs_err::copy(&wheel, &given).unwrap();
    let output = farm.prove(&given, &["--ptx-jit", "--out", "out"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.starts_with("warning: the code of"), "{stderr}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    shape::check("prove", &told);
    let receipt = &told["proofs"][0]["receipt"];
    assert_eq!(receipt["state"], "not-run", "{receipt:#}");
    assert_eq!(
        receipt["reason"],
        "numbers on the GPU: torch sees no GPU here"
    );
    assert!(
        receipt["torch"]["version"]
            .as_str()
            .unwrap()
            .starts_with("2.")
    );
    assert_eq!(receipt["torch"]["devices"], Value::Array(Vec::new()));
    assert_eq!(receipt["jobs"][0]["id"], DEMO);
    assert_eq!(receipt["runs"][1]["reason"], "torch sees no GPU here");
    let checks = receipt["runs"][0]["checks"].as_array().unwrap().iter();
    let results: Vec<_> = checks
        .map(|check| {
            (
                check["name"].as_str().unwrap(),
                check["result"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        results,
        [
            ("pip install", "pass"),
            ("torch is left alone", "pass"),
            ("import", "pass"),
            ("closed input", "pass"),
            ("numbers on the GPU", "not checked"),
        ],
        "{receipt:#}"
    );
    let written = fs_err::read(farm.path(&format!("{WHEEL}.gpu-receipt.json"))).unwrap();
    assert_eq!(
        written,
        fs_err::read(record.join("gpu-receipt.json")).unwrap()
    );
    let manifest = fs_err::read(record.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["gpu_run"]["state"], "not-run");
    assert_eq!(
        manifest["gpu_run"]["receipt"]["file_name"],
        "gpu-receipt.json"
    );

    let other_python = farm.path("demo-1.0-cp38-cp38-linux_x86_64.whl");
    fs_err::copy(&wheel, &other_python).unwrap();
    farm.refuses(&other_python, "is not for `./python`, which is CPython 3.");
    let needy = farm.path("demo-2.0-py3-none-any.whl");
    fs_err::write(&needy, hollow_wheel("torch==1.0.*")).unwrap();
    farm.refuses(
        &needy,
        "requires what `./python` does not have: torch==1.0.* (there is 2.",
    );
    fs_err::write(&needy, hollow_wheel("no-such-project; extra == 'test'")).unwrap();
    let output = farm.prove(&needy, &[]);
    // A requirement of an extra is none; what is wrong with it is that it holds nothing to import.
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
}
