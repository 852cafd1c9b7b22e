//! Jobs that run out of memory: they get less to do at a time, then more memory, then up.

use wheelfarm_core::estimate::Grant;
use wheelfarm_core::outcome::{FailureKind, Outcome, Stage};
use wheelfarm_engine::container::ScriptedRun;
use wheelfarm_engine::event::Event;

use crate::farm::{Farm, ends, good_run};

const GIB: u64 = 1 << 30;

fn out_of_memory(exit_code: i64) -> ScriptedRun {
    ScriptedRun {
        out_of_memory: true,
        exit_code,
        ..good_run("a")
    }
}

/// Compilers and GiB of every attempt, on the scripted host of 4 processors and 16 GiB, of which it keeps one.
async fn attempts(farm: &Farm) -> (Vec<(u32, u64)>, Vec<&'static str>) {
    let mut grants: Vec<Grant> = Vec::new();
    let summary = farm
        .build_and_watch(&mut |event| {
            if let Event::AttemptStarted { grant, .. } = event {
                grants.push(*grant);
            }
        })
        .await;
    let given = grants
        .iter()
        .map(|grant| (grant.compilers, grant.memory_bytes / GIB));
    (given.collect(), ends(&summary))
}

fn hungry() -> Farm {
    let farm = Farm::new(&["a"]);
    farm.replace(
        "packages/a/package.yaml",
        "memory: 2GiB",
        "memory: 12GiB\n      memory-per-process: 3GiB",
    );
    farm
}

#[tokio::test(start_paused = true)]
async fn half_the_compilers_until_one_then_twice_the_memory_until_all() {
    let farm = hungry();
    for exit_code in [0, 1, 137, 1] {
        farm.engine.script_next(out_of_memory(exit_code));
    }
    let (given, ends) = attempts(&farm).await;
    assert_eq!(given, [(4, 12), (2, 12), (1, 12), (1, 15)]);
    assert_eq!(ends, ["out-of-memory"]);
    farm.assert_clean();
}

/// Half of what never ran at once is no less memory.
#[tokio::test(start_paused = true)]
async fn a_package_that_bears_one_compiler_is_given_one() {
    let farm = hungry();
    let needs = "requirements: [\"setuptools==80.9.0\"]";
    let path = "packages/a/package.yaml";
    let own = format!("{needs}\n      env:\n        MAX_JOBS: \"1\"");
    farm.replace(path, needs, &own);
    for _ in 0..2 {
        farm.engine.script_next(out_of_memory(1));
    }
    let (given, ends) = attempts(&farm).await;
    assert_eq!(given, [(1, 12), (1, 15)]);
    assert_eq!(ends, ["out-of-memory"]);
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn fewer_compilers_may_be_enough() {
    let farm = hungry();
    farm.engine.script_next(out_of_memory(1));
    farm.engine.script_next(good_run("a"));
    let (given, ends) = attempts(&farm).await;
    assert_eq!(given, [(4, 12), (2, 12)]);
    assert_eq!(ends, ["built"]);
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn other_jobs_do_not_suffer() {
    let farm = Farm::new(&["a", "b"]);
    for _ in 0..4 {
        farm.engine.script_next_of("a", out_of_memory(0));
    }
    farm.engine.script_next_of("b", good_run("b"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["out-of-memory", "built"], "{summary:#?}");
    let Outcome::Failed(failure) = &summary.jobs[0].outcome else {
        panic!("{summary:#?}");
    };
    let want = (Stage::Compile, &FailureKind::OutOfMemory);
    assert_eq!((failure.stage, &failure.kind), want);
    assert!(
        failure.detail.contains("4 times what its builds have held"),
        "{failure:?}"
    );
    let hint = failure.hint.as_ref().unwrap();
    assert!(hint.contains("resources.memory"), "{failure:?}");
    farm.assert_clean();
}
