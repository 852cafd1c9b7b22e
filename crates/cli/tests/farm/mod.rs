//! A farm with a small wheel on record, and the program that publishes it.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses a part of it"
)]

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::manifest::Manifest;
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::wheel::record::{self, FileRecord};

pub(crate) const DEMO: &str = "demo-1.0-cu130-torch2.11-cp311";
pub(crate) const WHEEL: &str = "demo-1.0-py3-none-any.whl";
const METADATA: &str = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n\n# demo\n";

/// The program on the demo farm, with no engine to be found.
pub(crate) fn wheelfarm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo"))
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("WHEELFARM_LOG")
        .stdin(Stdio::null());
    command
}

/// A small wheel without compiled code that says `text`.
pub(crate) fn wheel(text: &str) -> Vec<u8> {
    let tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let files = [
        ("demo/__init__.py", format!("SAID = {text:?}\n")),
        ("demo-1.0.dist-info/METADATA", METADATA.to_owned()),
        ("demo-1.0.dist-info/WHEEL", tags.to_owned()),
    ];
    let records = files.each_ref().map(|(_, text)| FileRecord {
        sha256: Sha256Digest::of(text.as_bytes()),
        size_bytes: u64::try_from(text.len()).unwrap(),
    });
    let paths = files.iter().map(|(path, _)| *path);
    let record = record::write(paths.zip(&records), "demo-1.0.dist-info/RECORD");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |path: &str, content: &[u8]| {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(path, options).unwrap();
        zip.write_all(content).unwrap();
    };
    for (path, text) in &files {
        add(path, text.as_bytes());
    }
    add("demo-1.0.dist-info/RECORD", &record);
    zip.finish().unwrap().into_inner()
}

/// A farm's `out/` with the demo's wheel on record, and a place for a release.
pub(crate) struct Farm(TempDir);

impl Farm {
    pub(crate) fn with(wheel: &[u8]) -> Self {
        // In memory where there is such a place: everything is synced, and a disk takes its time.
        let memory = tempfile::tempdir_in("/dev/shm");
        let farm = Self(memory.or_else(|_| tempfile::tempdir()).unwrap());
        farm.record(wheel);
        farm
    }

    pub(crate) fn record(&self, wheel: &[u8]) {
        let plan = wheelfarm().args(["plan", "--format", "json"]).output();
        let plan: Value = serde_json::from_slice(&plan.unwrap().stdout).unwrap();
        let jobs = plan["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["id"] == DEMO).unwrap();
        let digest = Sha256Digest::of(wheel);
        let manifest = json!({
            "schema": 1, "job": DEMO, "job_digest": job["digest"], "package": "demo",
            "version": "1.0", "archs": null,
            "wheel": {
                "file_name": WHEEL, "sha256": digest, "size_bytes": wheel.len(),
                "requires_python": null, "requires_dist": [],
                "metadata_sha256": Sha256Digest::of(METADATA.as_bytes()),
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
            "gate": "passed", "proof": "not-checked",
        });
        let manifest = Manifest::parse(&manifest.to_string()).unwrap();
        let folder = self.path("out/jobs").join(DEMO);
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join(WHEEL), wheel).unwrap();
        fs_err::write(folder.join(format!("{WHEEL}.metadata")), METADATA).unwrap();
        fs_err::write(folder.join("manifest.json"), manifest.to_text()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = wheelfarm();
        command
            .args(["publish", "--only", DEMO, "--out"])
            .arg(self.path("out"))
            .args(more);
        if !more.contains(&"--python") {
            // It needs PyPI.
            command.arg("--without-install-table");
        }
        if !more.contains(&"--to") {
            command.arg("--to").arg(self.path("release"));
        }
        command
    }

    pub(crate) fn publish(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// Standard output of a publication that did all that was asked.
    #[track_caller]
    pub(crate) fn published(&self, more: &[&str]) -> String {
        let output = self.publish(more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.replace(self.0.path().to_str().unwrap(), "/farm")
    }

    /// Standard error of a publication that gave no data.
    #[track_caller]
    pub(crate) fn refused(&self, more: &[&str], exit_code: i32) -> String {
        let output = self.publish(more);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{stderr}");
        assert!(output.stdout.is_empty());
        stderr.replace(self.0.path().to_str().unwrap(), "/farm")
    }

    pub(crate) fn release(&self) -> Catalog {
        let text = fs_err::read_to_string(self.path("release/manifest.json")).unwrap();
        Catalog::parse(&text).unwrap()
    }

    /// That the release is whole: what its catalog and its digests name is there, with those digests.
    #[track_caller]
    pub(crate) fn check_whole(&self) {
        let root = self.path("release");
        let Ok(sums) = fs_err::read_to_string(root.join("SHA256SUMS")) else {
            return assert!(!root.join("manifest.json").exists());
        };
        for line in sums.lines() {
            let (digest, path) = line.split_once("  ").unwrap();
            let bytes = fs_err::read(root.join(path)).unwrap();
            assert_eq!(Sha256Digest::of(&bytes).to_string(), digest, "{path}");
        }
        if root.join("manifest.json").exists() {
            for wheel in self.release().wheels.values() {
                assert!(root.join(wheel.path()).exists(), "{}", wheel.file_name);
            }
        }
    }
}
