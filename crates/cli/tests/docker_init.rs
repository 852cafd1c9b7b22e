//! A farm that `wheelfarm init` wrote, built and published on a real engine: what a newcomer types, in
//! the order in which it is told to be typed.
//!
//! On a host that has the quickstart's images it takes seconds: the package is Triton alone.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const JOB: &str = "sageattention-1.0.6-cu130-torch2.11-cp311";

fn wheelfarm(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a farm without its folder leaves behind for good: its compiler caches and the images of its jobs.
struct Leavings {
    farm: String,
}

impl Drop for Leavings {
    fn drop(&mut self) {
        let caches = ["volume", "ls", "--format", "{{.Name}} {{.Labels}}"];
        let caches = docker(&caches);
        for line in caches.lines().filter(|line| line.contains(&self.farm)) {
            let volume = line.split(' ').next().unwrap_or_default();
            docker(&["volume", "rm", volume]);
        }
        let images = "label=dev.wheelfarm.image-kind=job";
        let images = docker(&["images", "--quiet", "--filter", images]);
        let format = "{{index .Config.Labels \"dev.wheelfarm.farm\"}}";
        for image in images.lines() {
            let farm = docker(&["image", "inspect", "--format", format, image]);
            if farm.starts_with(&format!("{}@", self.farm)) {
                docker(&["image", "rm", "--force", image]);
            }
        }
    }
}

#[test]
fn docker_init_builds_what_it_wrote() {
    let home = tempfile::tempdir().unwrap();
    let farm = home.path().join("farm");
    let name = format!("init-{}", std::process::id());
    let _leavings = Leavings { farm: name.clone() };
    let args = [
        "init",
        "farm",
        "--farm",
        &name,
        "--base",
        "debian",
        "--torch",
        "2.11",
        "--gpu",
        "RTX 5090",
        "--package",
        "sageattention==1.0.6",
        "--package",
        "torch-spline-conv",
        "--action",
        "wheelfarm/wheelfarm@0123456789abcdef0123456789abcdef01234567",
        "--format",
        "json",
    ];
    let begun = json(&wheelfarm(home.path(), &args));
    let jobs = begun["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2, "{begun}");

    let plan = json(&wheelfarm(&farm, &["plan", "--format", "json"]));
    let ids = plan["jobs"].as_array().unwrap().iter();
    let ids: Vec<_> = ids.map(|job| job["id"].clone()).collect();
    assert_eq!(&ids, jobs, "it plans what init said it would");

    let only = ["build", "--only", "sageattention-*", "--format", "json"];
    let built = json(&wheelfarm(&farm, &only));
    assert_eq!(built["jobs"][0]["job"], JOB, "{built}");
    assert_eq!(built["jobs"][0]["outcome"], "built", "{built}");

    let publish = ["publish", "--to", "release", "--only", "sageattention-*"];
    let published = wheelfarm(&farm, &publish);
    let stderr = String::from_utf8_lossy(&published.stderr);
    assert_eq!(published.status.code(), Some(0), "{stderr}");
    let told = String::from_utf8_lossy(&published.stdout);
    assert!(
        told.contains("published cu130/torch2.11/sageattention-1.0.6-py3-none-any.whl"),
        "{told}"
    );
    let page = farm.join("release/whl/cu130/torch2.11.html");
    assert!(
        fs_err::read_to_string(page)
            .unwrap()
            .contains("sageattention-1.0.6")
    );

    let containers = docker(&["ps", "--all", "--format", "{{.Labels}}"]);
    assert!(!containers.contains(&name), "{containers}");
}
