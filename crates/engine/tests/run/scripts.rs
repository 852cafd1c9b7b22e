//! Patch scripts run in a container of their own, before the one that compiles.

use std::time::Duration;

use wheelfarm_core::outcome::{FailureKind, Outcome, Stage};
use wheelfarm_engine::container::{Network, ScriptedRun};
use wheelfarm_engine::event::Event;

use crate::farm::{Farm, archive, ends, good_run, job_id};

/// A farm whose package `a` has a script among its patches, and a `b` that has none.
fn farm() -> Farm {
    let farm = Farm::new(&["a", "b"]);
    farm.package("a", "    patches: [0001-flags.sh]\n");
    farm.write(
        "patches/a/1.0/0001-flags.sh",
        "#!/bin/bash\n# Why: a test\n# Upstream: not told\n# Drop-when: never\nsed -i s/a/b/ setup.py\n",
    );
    farm
}

/// A container that leaves this tree.
fn leaves(files: &[(&str, Vec<u8>)]) -> ScriptedRun {
    ScriptedRun {
        files: [("/build/patch/source".to_owned(), archive(files))].into(),
        ..ScriptedRun::default()
    }
}

fn changed() -> ScriptedRun {
    leaves(&[("source/setup.py", b"import setuptools, sys\n".to_vec())])
}

async fn check(script: ScriptedRun, kind: FailureKind) {
    let farm = farm();
    farm.engine.script_next(script);
    farm.engine.script_next(good_run("b"));
    let summary = farm.build().await;
    assert_eq!(
        ends(&summary),
        [kind.as_str(), "built"],
        "{:#?}",
        summary.jobs[0]
    );
    let Outcome::Failed(failure) = &summary.jobs[0].outcome else {
        panic!("{summary:#?}");
    };
    assert_eq!((failure.stage, &failure.kind), (Stage::Patch, &kind));
    assert!(failure.detail.contains("0001-flags.sh"), "{failure:?}");
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn what_a_script_leaves_is_what_is_built() {
    let farm = farm();
    farm.engine.script_next(ScriptedRun {
        lines: ["sed runs", "sed ran"]
            .map(|line| (Duration::from_secs(1), line.to_owned()))
            .into(),
        ..changed()
    });
    farm.engine.script_next(good_run("a"));
    farm.engine.script_next(good_run("b"));
    let mut specs = Vec::new();
    let summary = farm
        .build_and_watch(&mut |event| {
            if matches!(event, Event::Line { text, .. } if text == "sed runs") {
                specs = farm.engine.specs();
            }
        })
        .await;
    assert_eq!(ends(&summary), ["built", "built"], "{summary:#?}");
    let [spec] = &specs[..] else {
        panic!("{specs:#?}");
    };
    assert_eq!(spec.network, Network::Off);
    assert_eq!(spec.user.as_deref(), Some("10001:10001"));
    assert_eq!(spec.env.keys().collect::<Vec<_>>(), ["HOME"]);
    let manifest = farm
        .out()
        .join("jobs")
        .join(job_id("a"))
        .join("manifest.json");
    let manifest = fs_err::read_to_string(manifest).unwrap();
    assert!(manifest.contains("0001-flags.sh"), "{manifest}");
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_script_that_fails_says_how() {
    let failed = |exit_code| ScriptedRun {
        exit_code,
        ..changed()
    };
    check(failed(3), FailureKind::Script { exit_code: 3 }).await;
    for exit_code in [0, 1] {
        let killed = ScriptedRun {
            out_of_memory: true,
            ..failed(exit_code)
        };
        check(killed, FailureKind::OutOfMemory).await;
    }
    let hanging = ScriptedRun {
        hangs: true,
        ..changed()
    };
    check(hanging, FailureKind::TimedOut).await;
}

#[tokio::test(start_paused = true)]
async fn a_script_that_leaves_no_tree_is_rejected() {
    check(ScriptedRun::default(), FailureKind::Rejected).await;
    check(leaves(&[]), FailureKind::Rejected).await;
    check(
        leaves(&[("source/setup.py", b"import setuptools\n".to_vec())]),
        FailureKind::Rejected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_script_leaves_nothing() {
    let farm = farm();
    farm.engine.script_next(ScriptedRun {
        lines: vec![(Duration::from_secs(1), "ready".to_owned())],
        hangs: true,
        ..changed()
    });
    let summary = farm
        .build_and_watch(&mut |event| {
            if matches!(event, Event::Line { text, .. } if text == "ready") {
                farm.stop.stop.cancel();
            }
        })
        .await;
    assert_eq!(ends(&summary), ["cancelled", "not-started"]);
    farm.assert_clean();
}
