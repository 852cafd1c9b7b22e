//! A farm of many jobs that are all on record: what is asked of the machine, and what a plan says when
//! something changes.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::plan::Job;
use wheelfarm_engine::farm_folder::FarmFolder;

/// Packages of twenty jobs each: five torches with four Pythons.
const PACKAGES: usize = 25;

struct Farm {
    folder: tempfile::TempDir,
}

impl Farm {
    fn new() -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut packages = String::new();
        for number in 0..PACKAGES {
            writeln!(packages, "  - name: p{number}\n    versions: [\"1.0\"]").unwrap();
        }
        farm.write(
            "matrix.yaml",
            &format!(
                "schema: 1\nfarm: test\narchs: [\"9.0\"]\npackages:\n{packages}environments:\n  \
                 - name: builder\n    base:\n      image:\n        \
                 reference: pytorch/manylinux2_28-builder:cuda12.8\n        \
                 interpreter: manylinux\n    toolkit: image\n    cuda: \"12.8\"\n    \
                 torch-index: https://download.pytorch.org/whl/cu128\n    \
                 torch: [\"2.7.1\", \"2.8.0\", \"2.9.1\", \"2.10.0\", \"2.11.0\"]\n    \
                 python: [\"3.10\", \"3.11\", \"3.12\", \"3.13\"]\nexclude: []\n"
            ),
        );
        for number in 0..PACKAGES {
            farm.write(
                &format!("sources/p{number}/setup.py"),
                "import setuptools\n",
            );
            farm.package(number, "setuptools==80.9.0");
        }
        farm
    }

    fn package(&self, number: usize, requirement: &str) {
        self.write(
            &format!("packages/p{number}/package.yaml"),
            &format!(
                "schema: 1\nname: p{number}\nsummary: a test\nlicence: MIT\n\
                 upstream: https://example.org/p{number}\nreleases:\n  - version: \"1.0\"\n    \
                 source:\n      folder: ../../sources/p{number}\n    kernels: just-in-time\n    \
                 build:\n      requirements: [\"{requirement}\"]\n    \
                 resources:\n      memory: 2GiB\n      time: 40m\n      silence: 20m\n"
            ),
        );
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn job_folder(&self, job: &Job) -> Utf8PathBuf {
        self.path().join("out/jobs").join(job.id().as_str())
    }

    /// Puts a wheel of every job on record, as it is now.
    fn record(&self) -> usize {
        let plan = FarmFolder::read(&self.path().join("matrix.yaml"))
            .unwrap()
            .plan()
            .unwrap();
        for job in &plan.jobs {
            let folder = self.job_folder(job);
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join("a.whl"), b"a wheel").unwrap();
            fs_err::write(folder.join("inputs.json"), job.inputs().to_text()).unwrap();
            fs_err::write(folder.join("manifest.json"), manifest(job).to_string()).unwrap();
        }
        plan.jobs.len()
    }

    /// The program in the farm's folder, with no engine to be found.
    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .current_dir(self.path())
            .env("DOCKER_HOST", "unix:///nonexistent.sock")
            .env_remove("WHEELFARM_LOG")
            .stdin(Stdio::null())
            .args(args)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn data(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn plan_json(&self) -> Vec<Value> {
        let text = self.data(&["plan", "--format", "json"]);
        let plan: Value = serde_json::from_str(&text).unwrap();
        plan["jobs"].as_array().unwrap().clone()
    }
}

fn manifest(job: &Job) -> Value {
    let digest = Sha256Digest::of(b"a wheel").to_string();
    let environment = job.environment();
    json!({
        "schema": 1,
        "job": job.id(),
        "job_digest": job.digest(),
        "package": job.package(),
        "version": "1.0",
        "archs": null,
        "wheel": {
            "file_name": "a.whl", "sha256": digest, "size_bytes": 7,
            "requires_python": null, "requires_dist": [], "metadata_sha256": digest,
            "uses_torch_cxx_abi": false, "platform_reason": "no compiled code", "modules": [],
        },
        "environment": {
            "name": environment.name, "cuda": environment.cuda.to_string(),
            "torch": environment.torch.to_string(), "python": environment.python.to_string(),
            "channel": job.channel(), "base": "builder",
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
    })
}

fn count(jobs: &[Value], need: &str) -> usize {
    jobs.iter().filter(|job| job["need"] == need).count()
}

/// There is no engine: `build` would end with 3 if it asked for one.
#[test]
fn five_hundred_jobs_on_record_cost_a_lookup_and_ask_no_engine() {
    let farm = Farm::new();
    assert_eq!(farm.record(), 500);
    let text = farm.data(&["build"]);
    assert!(text.contains("500 up to date"), "{text}");
    let jobs = farm.plan_json();
    assert_eq!(count(&jobs, "up-to-date"), 500);
    assert!(jobs.iter().all(|job| job["changes"] == json!([])));
    assert!(jobs.iter().all(|job| job["last_failure"] == json!(null)));
}

#[test]
fn a_plan_says_what_changed_of_the_jobs_that_it_builds() {
    let farm = Farm::new();
    farm.record();
    farm.package(7, "setuptools==81.0.0");
    let jobs = farm.plan_json();
    assert_eq!(count(&jobs, "inputs-changed"), 20);
    assert_eq!(count(&jobs, "up-to-date"), 480);
    let first = jobs.iter().find(|job| job["need"] == "inputs-changed");
    assert_eq!(
        first.unwrap()["changes"],
        json!([
            { "field": "requirements", "before": "setuptools==80.9.0", "after": null },
            { "field": "requirements", "before": null, "after": "setuptools==81.0.0" },
        ])
    );

    let id = "p7-1.0-cu128-torch2.8-cp312";
    let failed = json!({
        "schema": 1, "job": id, "job_digest": Sha256Digest::of(b"").to_string(),
        "stage": "compile", "kind": "out-of-memory", "exit_code": null,
        "detail": "killed at 2 GiB", "hint": null,
    });
    farm.write(
        &format!("out/failed/{id}/outcome.json"),
        &failed.to_string(),
    );
    assert_eq!(
        farm.data(&["plan", "--only", id]),
        format!(
            "build  {id}  its inputs changed since the wheel on record\n       \
             archs    compiled on the user's GPU\n       \
             changed  requirements: - setuptools==80.9.0\n       \
             changed  requirements: + setuptools==81.0.0\n       \
             failed   last time, with other inputs, in compile: out-of-memory\n\
             1 to build, 0 up to date, 0 left out\n"
        )
    );
    fs_err::remove_file(farm.path().join("out/jobs").join(id).join("inputs.json")).unwrap();
    let text = farm.data(&["plan", "--only", id]);
    assert!(
        text.contains("changed  what its inputs were is not on record\n"),
        "{text}"
    );
}
