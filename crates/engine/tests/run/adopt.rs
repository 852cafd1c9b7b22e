//! Runs that are killed: the next one goes on with what still runs, and with what has ended since.

use std::time::Duration;

use tokio::time;
use wheelfarm_core::outcome::{Outcome, Stage};
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_engine::container::{EngineErrorKind, Operation, ScriptedRun};
use wheelfarm_engine::event::Event;
use wheelfarm_engine::run::RunError;
use wheelfarm_engine::store::{FILE_NAME, History, JobState};

use crate::farm::{Built, Farm, ends, good_run, job_id};

const LINES: [&str; 4] = ["one", "two", "three", "four"];

/// A container of `package` that says four lines in 20 seconds.
fn slow(package: &str) -> ScriptedRun {
    ScriptedRun {
        lines: LINES
            .map(|line| (Duration::from_secs(5), line.to_owned()))
            .to_vec(),
        ..good_run(package)
    }
}

/// What a run said and how it ended; `None` when it was killed after `limit`, as by SIGKILL: nothing of
/// it is cleaned up.
async fn run(farm: &Farm, limit: Duration) -> (Seen, Option<Vec<&'static str>>) {
    let mut seen = Seen::default();
    let summary = {
        let mut watch = |event: &Event| seen.take(event);
        time::timeout(limit, farm.build_and_watch(&mut watch)).await
    };
    // The tasks of a run that was dropped are gone when they have had their turn.
    time::sleep(Duration::from_millis(1)).await;
    (seen, summary.ok().map(|summary| ends(&summary)))
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<String>,
    stages: Vec<Stage>,
    adopted: Vec<bool>,
}

impl Seen {
    fn take(&mut self, event: &Event) {
        if let Event::Line { text, .. } = event
            && LINES.contains(&text.as_str())
        {
            self.lines.push(text.clone());
        } else if let Event::StageStarted { stage, .. } = event {
            self.stages.push(*stage);
        } else if let Event::AttemptStarted { adopted, .. } = event {
            self.adopted.push(*adopted);
        }
    }
}

const LONG: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn a_container_that_still_runs_is_gone_on_with() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(slow("a"));
    let (first, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    assert_eq!(first.lines, ["one", "two"]);
    assert_eq!(
        farm.engine.left_behind().len(),
        2,
        "a container and its volume"
    );

    let (second, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(second.adopted, [true]);
    assert!(
        !second.stages.contains(&Stage::Image),
        "{:?}",
        second.stages
    );
    // What was still in a buffer when the run was killed is shown again; the file has all lines once.
    assert_eq!(second.lines.last().unwrap(), "four");
    let log = farm.read(&format!("out/jobs/{}/build.log", job_id("a")));
    let said: Vec<_> = log.lines().filter(|line| LINES.contains(line)).collect();
    assert_eq!(said, LINES, "{log}");
    assert_eq!(log.lines().filter(|line| *line == "== compile").count(), 1);
    assert!(log.contains("== image"), "{log}");
    assert!(
        !farm
            .names(&format!("jobs/{}", job_id("a")))
            .contains(&"attempt.json".to_owned())
    );
    farm.assert_clean();
    assert_eq!(ends(&farm.build().await), ["up-to-date"]);
}

#[tokio::test(start_paused = true)]
async fn a_killed_run_can_be_killed_again() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(slow("a"));
    for seconds in [7, 7, 7] {
        let (_, ended) = run(&farm, Duration::from_secs(seconds)).await;
        assert_eq!(ended, None);
    }
    let (last, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(last.adopted, [true]);
    farm.assert_clean();
}

/// Other inputs are another wheel: what runs is of no use.
#[tokio::test(start_paused = true)]
async fn a_container_of_other_inputs_is_not() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    farm.write("sources/a/setup.py", "import setuptools  # changed\n");
    farm.engine.script_next(good_run("a"));
    let (second, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(second.adopted, [false]);
    farm.assert_clean();
}

/// A reboot ends containers with 137, 143 or 255: that says nothing of the build.
#[tokio::test(start_paused = true)]
async fn a_container_that_was_killed_meanwhile_is_built_again() {
    for exit_code in [137, 143, 255, 1] {
        let farm = Farm::new(&["a"]);
        farm.engine.script_next(slow("a"));
        let (_, ended) = run(&farm, Duration::from_secs(12)).await;
        assert_eq!(ended, None);
        farm.engine.end_all(exit_code);
        farm.engine.script_next(good_run("a"));
        let (second, ended) = run(&farm, LONG).await;
        assert_eq!(ended.unwrap(), ["built"], "{exit_code}");
        assert_eq!(second.adopted, [false], "{exit_code}");
        farm.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ended_well_meanwhile_gives_its_wheel() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    farm.engine.end_all(0);
    let (second, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(second.adopted, [true]);
    farm.assert_clean();
}

/// What has ended cannot be stopped any more: a limit that it ran past while nobody watched costs it nothing.
#[tokio::test(start_paused = true)]
async fn a_container_that_ended_well_past_its_limit_gives_its_wheel() {
    let farm = Farm::new(&["a"]);
    let more_than_the_limit = Duration::from_mins(45);
    farm.engine.script_next(slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    farm.engine.end_all_after(more_than_the_limit, 0);
    let (second, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(second.adopted, [true]);
    farm.assert_clean();

    // The same while the engine is away from a run that lives on.
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(slow("a"));
    farm.engine
        .fail_next(Operation::Logs, EngineErrorKind::Gone);
    let meanwhile = async {
        time::sleep(Duration::from_secs(7)).await;
        farm.engine.end_all_after(more_than_the_limit, 0);
    };
    let ((only, ended), ()) = tokio::join!(run(&farm, LONG), meanwhile);
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(only.adopted, [false]);
    farm.assert_clean();
}

/// A farm whose `a`, with so much memory, runs on after its run was killed; the next run is about `b` alone.
async fn with_a_left(memory: &str) -> Farm {
    let mut farm = Farm::new(&["a", "b"]);
    let memory = format!("memory: {memory}\n      memory-per-process: 3GiB");
    for package in ["a", "b"] {
        let path = format!("packages/{package}/package.yaml");
        farm.replace(&path, "memory: 2GiB", &memory);
    }
    farm.engine.script_next_of("a", slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    farm.only = &["b"];
    farm
}

/// The scripted host gives 15 GiB and 4 processors to jobs.
#[tokio::test(start_paused = true)]
async fn what_runs_for_jobs_that_are_not_selected_keeps_its_memory() {
    let mut farm = with_a_left("12GiB").await;
    farm.engine.script_next_of("b", good_run("b"));
    let mut given = Vec::new();
    let mut notes = Vec::new();
    let summary = farm
        .build_and_watch(&mut |event| {
            if let Event::AttemptStarted { grant, .. } = event {
                given.push((grant.compilers, grant.memory_bytes >> 30));
            } else if let Event::RunNote { text } = event {
                notes.push(text.clone());
            }
        })
        .await;
    assert_eq!(ends(&summary), ["built"]);
    assert_eq!(given, [(1, 3)]);
    let told = "run on: 1, which hold 12GiB";
    assert!(notes.iter().any(|note| note.contains(told)), "{notes:?}");
    farm.only = &[];
    let (last, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built", "up-to-date"]);
    assert_eq!(last.adopted, [true]);
    farm.assert_clean();
}

/// It is not the package that is too large for the host.
#[tokio::test(start_paused = true)]
async fn what_runs_out_of_memory_beside_others_is_not_to_blame() {
    let farm = with_a_left("12GiB").await;
    for _ in 0..8 {
        farm.engine.script_next_of(
            "b",
            ScriptedRun {
                out_of_memory: true,
                exit_code: 1,
                ..good_run("b")
            },
        );
    }
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["infrastructure"]);
    let Outcome::Failed(failure) = &summary.jobs[0].outcome else {
        panic!("{summary:?}");
    };
    let told = "no more than these 3GiB here: containers that a killed run left hold the rest";
    assert!(failure.detail.ends_with(told), "{}", failure.detail);
    assert!(
        failure
            .hint
            .as_ref()
            .unwrap()
            .contains("without a selection")
    );
}

/// A lower `build.memory` than that of the run that was killed.
#[tokio::test(start_paused = true)]
async fn what_others_hold_is_the_hosts_and_not_this_runs_share() {
    let mut farm = with_a_left("8GiB").await;
    farm.memory = Some(ByteSize::gib(4));
    farm.engine.script_next_of("b", good_run("b"));
    assert_eq!(ends(&farm.build().await), ["built"]);
}

#[tokio::test(start_paused = true)]
async fn no_run_begins_when_others_hold_all_memory() {
    let mut farm = with_a_left("15GiB").await;
    let error = farm.try_build(&mut |_| ()).await.unwrap_err();
    assert!(matches!(error, RunError::NoMemory { .. }), "{error:?}");
    let told = "of 15GiB, 15GiB are held by containers of a killed run: `wheelfarm-a-1.0";
    assert!(error.to_string().contains(told), "{error}");
    farm.engine.script_next_of("b", good_run("b"));
    farm.only = &[];
    let (_, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"; 2]);
    farm.assert_clean();
}

/// What needs none is done all the same.
#[tokio::test(start_paused = true)]
async fn a_run_without_work_needs_no_memory() {
    let mut farm = Farm::new(&["a", "b"]);
    farm.replace(
        "packages/a/package.yaml",
        "memory: 2GiB",
        "memory: 15GiB\n      memory-per-process: 15GiB",
    );
    farm.only = &["b"];
    farm.engine.script_next_of("b", good_run("b"));
    assert_eq!(ends(&farm.build().await), ["built"]);
    farm.only = &["a"];
    farm.engine.script_next_of("a", slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    farm.only = &["b"];
    assert_eq!(ends(&farm.build().await), ["up-to-date"]);
    farm.only = &["a"];
    let (last, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(last.adopted, [true]);
    farm.assert_clean();
}

/// What the store has of the one job of each run, the latest first.
fn states(farm: &Farm) -> Vec<JobState> {
    let history = History::open(&farm.out().join(FILE_NAME)).unwrap();
    let runs = history.runs(10).unwrap().into_iter();
    let states = runs.map(|run| history.run(run.id).unwrap().unwrap().jobs[0].state);
    states.collect()
}

/// The record of before is none of the build that was killed.
#[tokio::test(start_paused = true)]
async fn a_forced_build_that_is_killed_is_not_told_as_built_and_leaves_nothing() {
    for is_at_image in [false, true] {
        let mut farm = Farm::new(&["a"]);
        farm.engine.script_next(good_run("a"));
        assert_eq!(ends(&farm.build().await), ["built"]);
        farm.built = Built::All;
        farm.engine.script_next(slow("a"));
        if is_at_image {
            let fault = EngineErrorKind::Other;
            farm.engine.fail_next(Operation::HangInBuild, fault);
        }
        let (_, ended) = run(&farm, Duration::from_secs(12)).await;
        assert_eq!(ended, None);
        farm.built = Built::Undone;
        let (_, ended) = run(&farm, LONG).await;
        assert_eq!(ended.unwrap(), ["up-to-date"]);
        farm.assert_clean();
        let want = [JobState::UpToDate, JobState::Interrupted, JobState::Built];
        assert_eq!(states(&farm), want, "{is_at_image}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forced_build_that_is_killed_is_gone_on_with_by_the_next() {
    let mut farm = Farm::new(&["a"]);
    farm.engine.script_next(good_run("a"));
    assert_eq!(ends(&farm.build().await), ["built"]);
    farm.built = Built::All;
    farm.engine.script_next(slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    let (last, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(last.adopted, [true]);
    farm.assert_clean();
}

/// Killed at every second of a night of three jobs, two at a time; then left alone.
#[tokio::test(start_paused = true)]
async fn a_night_killed_at_any_second_ends_with_every_wheel() {
    for second in 0..45 {
        let mut farm = Farm::new(&["a", "b", "c"]);
        farm.jobs_at_a_time = 2;
        for package in ["a", "b", "c"] {
            farm.engine.script_next_of(package, slow(package));
        }
        let (_, ended) = run(&farm, Duration::from_millis(second * 1000 + 500)).await;
        let (_, again) = run(&farm, LONG).await;
        assert!(
            again
                .unwrap()
                .iter()
                .all(|end| ["built", "up-to-date"].contains(end)),
            "{second} {ended:?}"
        );
        farm.assert_clean();
    }
}

/// A note that cannot be read is no reason to fail.
#[tokio::test(start_paused = true)]
async fn a_torn_note_is_not_gone_on_from() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    farm.write(
        &format!("out/staging/{}/attempt.json", job_id("a")),
        "{\"schema\"",
    );
    farm.engine.script_next(good_run("a"));
    let (second, ended) = run(&farm, LONG).await;
    assert_eq!(ended.unwrap(), ["built"]);
    assert_eq!(second.adopted, [false]);
    farm.assert_clean();
}

/// The engine fails while the next run looks around.
#[tokio::test(start_paused = true)]
async fn what_runs_is_not_removed_when_the_engine_cannot_be_asked() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(slow("a"));
    let (_, ended) = run(&farm, Duration::from_secs(12)).await;
    assert_eq!(ended, None);
    farm.engine
        .fail_next(Operation::Find, EngineErrorKind::Gone);
    farm.try_build(&mut |_| ()).await.unwrap_err();
    assert_eq!(farm.engine.left_behind().len(), 2);
    let (last, ended) = run(&farm, LONG).await;
    assert_eq!(
        (last.adopted.as_slice(), ended.unwrap()),
        ([true].as_slice(), vec!["built"])
    );
    farm.assert_clean();
}
