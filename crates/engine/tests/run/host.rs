//! Faults of the engine and the host: what passes is waited for, what lasts ends the run.

use std::time::Duration;

use wheelfarm_core::outcome::{FailureKind, Outcome, Stage};
use wheelfarm_engine::container::{EngineErrorKind, Operation, ScriptedRun};
use wheelfarm_engine::event::Event;
use wheelfarm_engine::run::{JobSummary, RunError};

use crate::farm::{Farm, ends, good_run, job_id};

/// Every job of four meets `fault`, whenever it is tried: after three that are not to blame, no other is
/// begun.
async fn check(fault: (Operation, EngineErrorKind), (stage, kind): (Stage, FailureKind)) {
    let farm = Farm::new(&["a", "b", "c", "d"]);
    for _ in 0..100 {
        farm.engine.fail_next(fault.0, fault.1);
    }
    let mut closed = 0;
    let mut retried = 0;
    let summary = farm
        .build_and_watch(&mut |event| {
            closed += usize::from(matches!(event, Event::AdmissionStopped { .. }));
            retried += usize::from(matches!(event, Event::JobRetried { .. }));
        })
        .await;
    let name = kind.as_str();
    let want = [name, name, name, "not-started"];
    assert_eq!(ends(&summary), want, "{fault:?} {summary:#?}");
    let Outcome::Failed(failure) = &summary.jobs[0].outcome else {
        panic!("{summary:#?}");
    };
    assert_eq!((failure.stage, &failure.kind), (stage, &kind), "{fault:?}");
    assert_eq!((retried, closed), (6, 1), "{fault:?}");
    assert_eq!(summary.jobs[0].attempts, 3);
    assert!(summary.closed.as_ref().unwrap().contains("3 jobs in a row"));
    assert_eq!(farm.names("jobs"), Vec::<String>::new());
    farm.assert_clean();
}

/// How often an attempt asks for it before it fails: figures that cannot be had cost no job.
fn calls(operation: Operation) -> usize {
    if operation == Operation::Download {
        3
    } else {
        1
    }
}

const ENGINE_CALLS: [(Operation, Stage); 5] = [
    (Operation::BuildImage, Stage::Image),
    (Operation::Create, Stage::Compile),
    (Operation::Start, Stage::Compile),
    (Operation::Wait, Stage::Compile),
    // After figures, nvcc's command lines are taken out.
    (Operation::Download, Stage::Compile),
];

#[tokio::test(start_paused = true)]
async fn an_engine_that_fails_three_jobs_in_a_row_ends_the_run() {
    for (operation, stage) in ENGINE_CALLS {
        let fault = (operation, EngineErrorKind::Other);
        check(fault, (stage, FailureKind::Infrastructure)).await;
    }
}

/// A restart of the engine ends all that run at the time, and is one fault.
#[tokio::test(start_paused = true)]
async fn an_engine_that_takes_three_running_jobs_with_it_ends_no_run() {
    let mut farm = Farm::new(&["a", "b", "c", "d"]);
    farm.jobs_at_a_time = 3;
    for package in ["a", "b", "c"] {
        let lines = vec![(Duration::from_secs(5), "one".to_owned()); 2];
        let run = ScriptedRun {
            lines,
            ..good_run(package)
        };
        farm.engine.script_next_of(package, run);
        farm.engine.script_next_of(package, good_run(package));
        farm.engine
            .fail_next(Operation::Logs, EngineErrorKind::Gone);
    }
    farm.engine.script_next_of("d", good_run("d"));
    // Its streams break at five seconds, and it is asked again at ten.
    let reboot = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        farm.engine.end_all(137);
    };
    let (summary, ()) = tokio::join!(farm.build(), reboot);
    assert_eq!(ends(&summary), ["built"; 4], "{summary:#?}");
    let attempts: Vec<_> = summary.jobs.iter().map(|job| job.attempts).collect();
    assert_eq!((attempts, &summary.closed), (vec![2, 2, 2, 1], &None));
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_for_three_jobs_at_once_ends_no_run() {
    let packages = ["a", "b", "c", "d"];
    let mut farm = Farm::new(&packages);
    farm.jobs_at_a_time = 3;
    for package in packages {
        // A container that is not started has its script as well.
        farm.engine.script_next_of(package, good_run(package));
        farm.engine.script_next_of(package, good_run(package));
    }
    for _ in 0..3 {
        farm.engine
            .fail_next(Operation::Start, EngineErrorKind::DiskFull);
    }
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"; 4], "{summary:#?}");
    assert_eq!(summary.closed, None);
    farm.assert_clean();
}

/// One job that fails again and again says nothing of the host.
#[tokio::test(start_paused = true)]
async fn one_job_that_the_engine_refuses_ends_no_run() {
    let farm = Farm::new(&["a", "b"]);
    for _ in 0..3 {
        farm.engine
            .fail_next(Operation::Create, EngineErrorKind::Other);
    }
    farm.engine.script_next_of("b", good_run("b"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["infrastructure", "built"], "{summary:#?}");
    assert_eq!(summary.closed, None);
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_back_in_a_while_costs_no_job() {
    for (operation, _) in ENGINE_CALLS {
        let farm = Farm::new(&["a", "b", "c"]);
        for package in ["a", "a", "b", "c"] {
            farm.engine.script_next(good_run(package));
        }
        if operation == Operation::BuildImage || operation == Operation::Create {
            // The container of the first attempt was never made.
            let farm = Farm::new(&["a"]);
            farm.engine.script_next(good_run("a"));
            farm.engine.fail_next(operation, EngineErrorKind::Gone);
            assert_eq!(ends(&farm.build().await), ["built"], "{operation:?}");
            farm.assert_clean();
            continue;
        }
        for _ in 0..calls(operation) {
            farm.engine.fail_next(operation, EngineErrorKind::Other);
        }
        let summary = farm.build().await;
        assert_eq!(ends(&summary), ["built"; 3], "{operation:?} {summary:#?}");
        assert_eq!(summary.jobs[0].attempts, 2, "{operation:?}");
        farm.assert_clean();
    }
}

/// The engine is restarted and its containers run on.
#[tokio::test(start_paused = true)]
async fn a_container_that_outlives_its_engine_is_followed_to_its_end() {
    let farm = Farm::new(&["a"]);
    let lines = ["one", "two", "three"];
    farm.engine.script_next(ScriptedRun {
        lines: lines
            .map(|line| (Duration::from_secs(5), line.to_owned()))
            .to_vec(),
        ..good_run("a")
    });
    farm.engine
        .fail_next(Operation::Logs, EngineErrorKind::Gone);
    // It takes a while.
    for _ in 0..3 {
        farm.engine
            .fail_next(Operation::Find, EngineErrorKind::Gone);
    }
    let mut shown = Vec::new();
    let mut began = 0;
    let summary = farm
        .build_and_watch(&mut |event| {
            if let Event::Line { text, .. } = event
                && lines.contains(&text.as_str())
            {
                shown.push(text.clone());
            }
            began += usize::from(matches!(event, Event::AttemptStarted { .. }));
        })
        .await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    assert_eq!((began, summary.jobs[0].attempts), (1, 1));
    assert_eq!(shown, lines, "each line is shown once");
    let log = farm.read(&format!("out/jobs/{}/build.log", job_id("a")));
    for line in lines {
        assert_eq!(log.lines().filter(|one| *one == line).count(), 1, "{log}");
    }
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stays_away_ends_the_run() {
    let farm = Farm::new(&["a", "b"]);
    farm.engine.script_next(good_run("a"));
    // The first answer is to the run's beginning.
    farm.engine
        .fail_next(Operation::Create, EngineErrorKind::Gone);
    let mut closed = None;
    let engine = farm.engine.clone();
    let summary = farm
        .build_and_watch(&mut |event| {
            if let Event::JobRetried { .. } = event {
                for _ in 0..1000 {
                    engine.fail_next(Operation::Describe, EngineErrorKind::Gone);
                }
            } else if let Event::AdmissionStopped { reason } = event {
                closed = Some(reason.clone());
            }
        })
        .await;
    assert_eq!(
        ends(&summary),
        ["infrastructure", "not-started"],
        "{summary:#?}"
    );
    assert!(summary.closed.is_some());
    assert!(closed.unwrap().contains("has not answered for 600 s"));
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_twice_is_not_tried_again() {
    for (operation, stage) in &ENGINE_CALLS[..3] {
        let farm = Farm::new(&["a", "b"]);
        for _ in 0..2 {
            farm.engine.fail_next(*operation, EngineErrorKind::DiskFull);
        }
        farm.engine.script_next_of("b", good_run("b"));
        farm.engine.script_next_of("b", good_run("b"));
        let mut retried = 0;
        let summary = farm
            .build_and_watch(&mut |event| {
                retried += usize::from(matches!(event, Event::JobRetried { .. }));
            })
            .await;
        let full = summary
            .jobs
            .iter()
            .find(|job| job.attempts == 2 || end_is_full(job));
        let failed = full.expect("a job met the full disk");
        if let Outcome::Failed(failure) = &failed.outcome {
            assert_eq!(
                (failure.stage, &failure.kind),
                (*stage, &FailureKind::DiskFull)
            );
        }
        assert!((1..=2).contains(&retried), "{summary:#?}");
        farm.assert_clean();
    }
}

fn end_is_full(job: &JobSummary) -> bool {
    matches!(&job.outcome, Outcome::Failed(failure) if failure.kind == FailureKind::DiskFull)
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
async fn an_image_that_is_not_to_be_had_holds_no_other_job_up() {
    for operation in [Operation::Pull, Operation::BuildImage] {
        let farm = Farm::new(&["a", "b"]);
        farm.engine
            .fail_next(operation, EngineErrorKind::NoSuchImage);
        farm.engine.script_next(good_run("b"));
        farm.engine.script_next(good_run("a"));
        let mut order = Vec::new();
        let summary = farm
            .build_and_watch(&mut |event| {
                if let Event::JobFinished { job, .. } = event {
                    order.push(job.to_string());
                }
            })
            .await;
        assert_eq!(ends(&summary), ["built", "built"], "{summary:#?}");
        assert_eq!(order, [job_id("b"), job_id("a")]);
        assert_eq!(summary.jobs[0].attempts, 2);
        farm.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_stays_away_fails_its_job_alone() {
    let farm = Farm::new(&["a"]);
    for _ in 0..3 {
        farm.engine
            .fail_next(Operation::Pull, EngineErrorKind::NoSuchImage);
    }
    let mut closed = false;
    let summary = farm
        .build_and_watch(&mut |event| closed |= matches!(event, Event::AdmissionStopped { .. }))
        .await;
    assert_eq!(ends(&summary), ["unreachable"], "{summary:#?}");
    assert_eq!((summary.jobs[0].attempts, closed), (3, false));
    farm.assert_clean();
}

/// A mirror that stops answering in the middle of a download.
#[tokio::test(start_paused = true)]
async fn an_image_that_is_made_in_silence_is_given_up_and_tried_again() {
    let farm = Farm::new(&["a"]);
    farm.engine
        .fail_next(Operation::HangInBuild, EngineErrorKind::Other);
    farm.engine.script_next(good_run("a"));
    let begun = tokio::time::Instant::now();
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    assert_eq!(summary.jobs[0].attempts, 2);
    let took = begun.elapsed();
    assert!(
        (Duration::from_hours(1)..Duration::from_mins(70)).contains(&took),
        "{took:?}"
    );

    let farm = Farm::new(&["a"]);
    for _ in 0..3 {
        farm.engine
            .fail_next(Operation::HangInBuild, EngineErrorKind::Other);
    }
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["stalled"], "{summary:#?}");
    farm.assert_clean();
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
    let farm = Farm::new(&["a"]);
    for _ in 0..3 {
        farm.engine.script_next(good_run("a"));
    }
    let jobs = farm.out().join("jobs");
    let summary = farm
        .build_and_watch(&mut |event| {
            if matches!(event, Event::JobStarted { .. }) && jobs.exists() {
                fs_err::remove_dir_all(&jobs).unwrap();
            }
        })
        .await;
    assert_eq!(ends(&summary), ["infrastructure"]);
    assert_eq!(summary.jobs[0].wheel, None);
    assert_eq!(farm.engine.left_behind(), Vec::<String>::new());
}
