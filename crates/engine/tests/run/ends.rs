//! How jobs end, one after the other.

use std::time::Duration;

use tokio::time::Instant;
use wheelfarm_core::outcome::{FailureKind, Outcome, Stage};
use wheelfarm_engine::container::{EngineErrorKind, Operation, ScriptedRun};

use crate::farm::{Farm, ends, good_run, job_id, run_with_wheels, wheel, wheel_name};

#[tokio::test(start_paused = true)]
async fn a_good_build_is_on_record_and_not_built_again() {
    let farm = Farm::new(&["a", "b"]);
    farm.engine.script_next(good_run("a"));
    farm.engine.script_next(good_run("b"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built", "built"], "{summary:#?}");
    let wheel = "a-1.0-py3-none-any.whl";
    assert_eq!(
        farm.names(&format!("jobs/{}", job_id("a"))),
        [
            "Dockerfile".to_owned(),
            wheel.to_owned(),
            format!("{wheel}.metadata"),
            "build.log".to_owned(),
            "context.tar.gz".to_owned(),
            "inputs.json".to_owned(),
            "manifest.json".to_owned(),
            "report.json".to_owned(),
        ]
    );
    assert_eq!(summary.jobs[0].wheel.as_deref(), Some(wheel));
    farm.assert_clean();

    let again = farm.build().await;
    assert_eq!(ends(&again), ["up-to-date", "up-to-date"]);
}

#[tokio::test(start_paused = true)]
async fn a_build_number_makes_another_wheel_of_a_job_on_record() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(good_run("a"));
    assert_eq!(ends(&farm.build().await), ["built"]);
    farm.package("a", "    build-number: 2\n");
    farm.engine.script_next(good_run("a"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    let wheel = "a-1.0-2-py3-none-any.whl";
    assert_eq!(summary.jobs[0].wheel.as_deref(), Some(wheel));
    let on_record = farm.names(&format!("jobs/{}", job_id("a")));
    assert!(on_record.iter().any(|name| name == wheel));
    assert!(!on_record.contains(&"a-1.0-py3-none-any.whl".to_owned()));
    assert_eq!(ends(&farm.build().await), ["up-to-date"]);
}

/// One job that ends so, between one before and one after it.
async fn check(run: ScriptedRun, stage: Stage, kind: FailureKind) -> Farm {
    let farm = Farm::new(&["a", "b", "c"]);
    farm.engine.script_next(good_run("a"));
    farm.engine.script_next(run);
    farm.engine.script_next(good_run("c"));
    let summary = farm.build().await;
    let kind_name = kind.as_str();
    assert_eq!(
        ends(&summary),
        ["built", kind_name, "built"],
        "{summary:#?}"
    );
    let Outcome::Failed(failure) = &summary.jobs[1].outcome else {
        panic!("{summary:#?}");
    };
    assert_eq!(
        (failure.stage, &failure.kind),
        (stage, &kind),
        "{failure:?}"
    );
    assert_eq!(farm.names("jobs"), [job_id("a"), job_id("c")]);
    assert_eq!(farm.names("failed"), [job_id("b")]);
    let kept = farm.names(&format!("failed/{}", job_id("b")));
    for file in ["Dockerfile", "build.log", "context.tar.gz", "outcome.json"] {
        assert!(kept.contains(&file.to_owned()), "{kept:?}");
    }
    farm.assert_clean();
    farm
}

fn hanging() -> ScriptedRun {
    ScriptedRun {
        lines: vec![(Duration::from_secs(1), "compiling".to_owned())],
        hangs: true,
        ..ScriptedRun::default()
    }
}

/// `stats` may take a second and more on a busy host: that is no silence of the build's.
#[tokio::test(start_paused = true)]
async fn a_talking_build_does_not_stall_when_its_figures_come_late() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(ScriptedRun {
        lines: vec![(Duration::from_mins(5), "on".to_owned()); 6],
        ..good_run("a")
    });
    for _ in 0..3000 {
        farm.engine
            .fail_next(Operation::HangInUsage, EngineErrorKind::Other);
    }
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_failed_script_stops_no_other_job() {
    let lines = ["compiling", "x.cu(3): error: no", "stop"];
    let run = ScriptedRun {
        lines: lines.map(|line| (Duration::ZERO, line.to_owned())).into(),
        exit_code: 2,
        ..good_run("b")
    };
    let farm = check(run, Stage::Compile, FailureKind::Script { exit_code: 2 }).await;
    let log = farm
        .out()
        .join("failed")
        .join(job_id("b"))
        .join("build.log");
    let log = fs_err::read_to_string(log).unwrap();
    assert!(
        log.ends_with("compiling\nx.cu(3): error: no\nstop\n"),
        "{log}"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_longer_than_the_packages_limit_is_a_stall() {
    let begun = Instant::now();
    check(hanging(), Stage::Compile, FailureKind::Stalled).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_mins(20), "{took:?}");
    assert!(took < Duration::from_mins(21), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_build_longer_than_the_packages_limit_is_timed_out() {
    let run = ScriptedRun {
        lines: vec![(Duration::from_mins(10), "still on".to_owned()); 10],
        ..good_run("b")
    };
    let begun = Instant::now();
    check(run, Stage::Compile, FailureKind::TimedOut).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_mins(40), "{took:?}");
    assert!(took < Duration::from_mins(41), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_leaves_no_wheel_has_nothing_collected() {
    let other = run_with_wheels(&[("notes.txt", b"hello".to_vec())]);
    check(other, Stage::Collect, FailureKind::NothingCollected).await;
    let none = run_with_wheels(&[]);
    check(none, Stage::Collect, FailureKind::NothingCollected).await;
}

#[tokio::test(start_paused = true)]
async fn a_wheel_of_another_name_or_version_is_rejected() {
    check(good_run("z"), Stage::Finish, FailureKind::Rejected).await;
    let name = wheel_name("b", "2.0");
    let run = run_with_wheels(&[(&name, wheel("b", "2.0"))]);
    check(run, Stage::Finish, FailureKind::Rejected).await;
    // Its name fits and its content is another's.
    let name = wheel_name("b", "1.0");
    let run = run_with_wheels(&[(&name, wheel("z", "1.0"))]);
    check(run, Stage::Finish, FailureKind::Rejected).await;
    let run = run_with_wheels(&[(&name, b"no zip at all".to_vec())]);
    check(run, Stage::Finish, FailureKind::Rejected).await;
}

#[tokio::test(start_paused = true)]
async fn two_wheels_of_one_build_are_rejected() {
    let names = [wheel_name("b", "1.0"), wheel_name("b", "1.1")];
    let run = run_with_wheels(&[
        (&names[0], wheel("b", "1.0")),
        (&names[1], wheel("b", "1.1")),
    ]);
    check(run, Stage::Collect, FailureKind::Rejected).await;
}

/// A build may remove what the farm wants to take out: that is its own fault and not the engine's.
#[tokio::test(start_paused = true)]
async fn a_build_that_removes_its_output_folder_stops_no_other_job() {
    let mut run = good_run("b");
    run.files.remove("/build/out/.");
    check(run, Stage::Collect, FailureKind::NothingCollected).await;
    let mut run = good_run("b");
    run.files.remove("/build/tools.txt");
    check(run, Stage::Collect, FailureKind::Rejected).await;
}
