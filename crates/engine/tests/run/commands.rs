//! nvcc's command lines: looked at while a build runs and when it has ended; rehearsals; what is kept
//! of a build that failed.

use std::time::Duration;

use tokio::time::Instant;
use wheelfarm_core::outcome::{FailureKind, Outcome, Stage};
use wheelfarm_engine::container::{EngineErrorKind, Operation, ScriptedRun};
use wheelfarm_engine::run::{BuildMode, Objects};

use crate::farm::{Farm, archive, ends, good_run};

const RIGHT: &str = "-gencode=arch=compute_90,code=sm_90";
const CUT: &str = "-gencode=arch=compute_80,code=sm_80";

/// A farm whose one package compiles a kernel for 9.0.
fn farm() -> Farm {
    let farm = Farm::new(&["a"]);
    let path = farm.path().join("packages/a/package.yaml");
    let text = fs_err::read_to_string(path).unwrap();
    let compiled = "kernels:\n      compiled:\n        archs: [\"9.0\"]\n        source: test\n";
    let text = text.replace("kernels: just-in-time\n", compiled);
    farm.write("packages/a/package.yaml", &text);
    farm
}

/// A run that has compiled `a.cu` with `flag`.
fn compiled_with(flag: &str) -> ScriptedRun {
    let line = format!(
        "{{\"cwd\": \"/build/source\", \"argv\": [\"{flag}\", \"-c\", \"a.cu\", \"-o\", \"a.o\"]}}\n"
    );
    let mut run = good_run("a");
    run.files.insert(
        "/build/commands.jsonl".to_owned(),
        archive(&[("commands.jsonl", line.into_bytes())]),
    );
    run
}

#[tokio::test(start_paused = true)]
async fn a_build_of_hours_ends_at_its_first_wrong_command_line() {
    let farm = farm();
    farm.engine.script_next(ScriptedRun {
        hangs: true,
        ..compiled_with(CUT)
    });
    let begun = Instant::now();
    let summary = farm.build().await;
    assert!(begun.elapsed() < Duration::from_mins(1));
    let Outcome::Failed(failure) = &summary.jobs[0].outcome else {
        panic!("{summary:#?}");
    };
    assert_eq!(failure.stage, Stage::Compile);
    assert_eq!(failure.kind, FailureKind::Rejected);
    let want = "every module: `a.cu` compiled for 8.0; the contract wants 9.0";
    assert!(failure.detail.ends_with(want), "{}", failure.detail);
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_under_another_digest_goes_when_the_job_is_built_again() {
    let mut farm = farm();
    farm.objects = Objects::Keep;
    farm.engine.script_next(compiled_with(CUT));
    assert_eq!(ends(&farm.build().await), ["rejected"]);
    let first = farm.engine.left_behind();
    assert_eq!(first.len(), 1, "{first:?}");

    farm.write("sources/a/other.py", "");
    farm.engine.script_next(compiled_with(CUT));
    assert_eq!(ends(&farm.build().await), ["rejected"]);
    let second = farm.engine.left_behind();
    assert_eq!(second.len(), 1, "{second:?}");
    assert_ne!(first, second);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_may_be_filled_in_part_is_not_gone_on_from() {
    let mut farm = Farm::new(&["a"]);
    farm.objects = Objects::Keep;
    for _ in 0..2 {
        farm.engine
            .fail_next(Operation::Create, EngineErrorKind::DiskFull);
    }
    assert_eq!(ends(&farm.build().await), ["disk-full"]);
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_failed_build_says_what_was_wrong_with_its_command_lines() {
    let farm = farm();
    farm.engine.script_next(ScriptedRun {
        exit_code: 1,
        ..compiled_with(CUT)
    });
    let summary = farm.build().await;
    let Outcome::Failed(failure) = &summary.jobs[0].outcome else {
        panic!("{summary:#?}");
    };
    assert_eq!(failure.kind, FailureKind::Script { exit_code: 1 });
    assert!(
        failure.detail.contains("compiled for 8.0"),
        "{}",
        failure.detail
    );
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_makes_no_wheel() {
    let mut farm = farm();
    farm.mode = BuildMode::Rehearse;
    farm.engine.script_next(compiled_with(RIGHT));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["rehearsed"], "{summary:#?}");
    let commands = summary.jobs[0].commands.as_ref().unwrap();
    assert_eq!((commands.compilations, commands.checked), (1, 1));
    assert_eq!(farm.names("jobs"), Vec::<String>::new());
    farm.assert_clean();

    farm.engine.script_next(compiled_with(CUT));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["rejected"], "{summary:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_build_has_compiled_is_kept_until_one_ends_well() {
    let mut farm = Farm::new(&["a"]);
    farm.objects = Objects::Keep;
    farm.engine.script_next(ScriptedRun {
        exit_code: 1,
        ..good_run("a")
    });
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["script"]);
    let kept = farm.engine.left_behind();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].starts_with("wheelfarm-kept-a-1.0-"), "{kept:?}");

    farm.engine.script_next(good_run("a"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    farm.assert_clean();
}

/// A repository with `file` in it, and its commit.
fn repository(farm: &Farm, file: &str) -> (String, String) {
    let folder = farm.path().join("repository");
    farm.write(&format!("repository/{file}"), "#pragma once\n");
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
            .args(args)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "first"]);
    (format!("file://{folder}"), git(&["rev-parse", "HEAD"]))
}

async fn build_with_extra(file: &str) -> (Farm, Outcome) {
    let farm = Farm::new(&["a"]);
    let (url, commit) = repository(&farm, file);
    let extra = format!(
        "    extra-sources:\n      - into: deps\n        git: {{url: \"{url}\", commit: \"{commit}\"}}\n"
    );
    farm.package("a", &extra);
    farm.engine.script_next(good_run("a"));
    let summary = farm.build().await;
    let outcome = summary.jobs[0].outcome.clone();
    (farm, outcome)
}

#[tokio::test]
async fn extra_sources_lie_where_they_belong_and_are_part_of_what_is_built() {
    let (farm, outcome) = build_with_extra("cutlass.h").await;
    assert_eq!(outcome, Outcome::Built);
    let context = farm
        .out()
        .join("jobs/a-1.0-cu128-torch2.8-cp312/context.tar.gz");
    let context = flate2::read::GzDecoder::new(fs_err::File::open(context).unwrap());
    let mut context = tar::Archive::new(context);
    let mut entries = context.entries().unwrap();
    let has_header = entries.any(|entry| {
        let entry = entry.unwrap();
        entry.path().unwrap().ends_with("source/deps/cutlass.h")
    });
    assert!(has_header);
    let manifest = farm
        .out()
        .join("jobs/a-1.0-cu128-torch2.8-cp312/manifest.json");
    let manifest = fs_err::read_to_string(manifest).unwrap();
    assert!(manifest.contains("; deps: git "), "{manifest}");
}
