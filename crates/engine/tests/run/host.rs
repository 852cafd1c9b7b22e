//! Faults of the engine and the host: the rest of the run would fail alike.

use wheelfarm_core::outcome::{FailureKind, Outcome, Stage};
use wheelfarm_engine::container::{EngineErrorKind, Operation};
use wheelfarm_engine::event::Event;
use wheelfarm_engine::run::RunError;

use crate::farm::{Farm, ends, good_run, job_id};

/// The first job of three meets `fault`.
async fn check(fault: (Operation, EngineErrorKind), stage: Stage, kind: FailureKind) {
    let farm = Farm::new(&["a", "b", "c"]);
    farm.engine.script_next(good_run("a"));
    farm.engine.fail_next(fault.0, fault.1);
    let mut started = 0;
    let summary = farm
        .build_and_watch(&mut |event| {
            started += usize::from(matches!(event, Event::JobStarted { .. }));
        })
        .await;
    assert_eq!(started, 1, "{fault:?}");
    let want = [kind.as_str(), "not-started", "not-started"];
    assert_eq!(ends(&summary), want, "{fault:?} {summary:#?}");
    let Outcome::Failed(failure) = &summary.jobs[0].outcome else {
        panic!("{summary:#?}");
    };
    assert_eq!((failure.stage, &failure.kind), (stage, &kind), "{fault:?}");
    assert_eq!(farm.names("jobs"), Vec::<String>::new());
    assert_eq!(farm.names("failed"), [job_id("a")]);
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_ends_the_run() {
    for (operation, stage) in [
        (Operation::BuildImage, Stage::Image),
        (Operation::Create, Stage::Compile),
        (Operation::Start, Stage::Compile),
        (Operation::Wait, Stage::Compile),
        // The first that is taken out are nvcc's command lines.
        (Operation::Download, Stage::Compile),
    ] {
        let fault = (operation, EngineErrorKind::Gone);
        check(fault, stage, FailureKind::Infrastructure).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_ends_the_run() {
    for (operation, stage) in [
        (Operation::BuildImage, Stage::Image),
        (Operation::Create, Stage::Compile),
        (Operation::Start, Stage::Compile),
    ] {
        let fault = (operation, EngineErrorKind::DiskFull);
        check(fault, stage, FailureKind::DiskFull).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_step_of_a_dockerfile_is_the_jobs_own_fault() {
    let farm = Farm::new(&["a", "b"]);
    let fault = EngineErrorKind::BuildFailed;
    farm.engine.fail_next(Operation::BuildImage, fault);
    farm.engine.script_next(good_run("b"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["script", "built"], "{summary:#?}");
    farm.assert_clean();
}

/// One environment's base image need not be another's.
#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_to_be_had_stops_no_other_job() {
    for operation in [Operation::Pull, Operation::BuildImage] {
        let farm = Farm::new(&["a", "b"]);
        farm.engine
            .fail_next(operation, EngineErrorKind::NoSuchImage);
        farm.engine.script_next(good_run("b"));
        let summary = farm.build().await;
        assert_eq!(ends(&summary), ["unreachable", "built"], "{summary:#?}");
        farm.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn no_run_begins_without_an_engine() {
    let farm = Farm::new(&["a"]);
    let gone = EngineErrorKind::Gone;
    farm.engine.fail_next(Operation::Describe, gone);
    let error = farm.try_build(&mut |_| ()).await.unwrap_err();
    assert!(matches!(error, RunError::Engine(_)), "{error:?}");
    assert_eq!(farm.names("staging"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn no_run_begins_without_the_gpu_that_a_package_needs() {
    let farm = Farm::new(&["a", "b"]);
    farm.package("b", "    gpu: required\n");
    let error = farm.try_build(&mut |_| ()).await.unwrap_err();
    let RunError::NoGpu { job } = error else {
        panic!("{error:?}");
    };
    assert_eq!(job.as_str(), job_id("b"));
}

/// The farm's own disk: the folder that the record goes to vanishes under the run.
#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_written_is_no_built_job() {
    let farm = Farm::new(&["a", "b"]);
    farm.engine.script_next(good_run("a"));
    let jobs = farm.out().join("jobs");
    let summary = farm
        .build_and_watch(&mut |event| {
            if matches!(event, Event::JobStarted { .. }) {
                fs_err::remove_dir_all(&jobs).unwrap();
            }
        })
        .await;
    assert_eq!(ends(&summary), ["infrastructure", "not-started"]);
    assert_eq!(summary.jobs[0].wheel, None);
    assert_eq!(farm.engine.left_behind(), Vec::<String>::new());
}
