//! The user stops a run: nothing is left of what was under way, and what was done stays.

use std::time::Duration;

use tokio::time::Instant;
use wheelfarm_core::outcome::Stage;
use wheelfarm_engine::container::ScriptedRun;
use wheelfarm_engine::event::Event;

use crate::farm::{Farm, ends, good_run, job_id};

/// A container that says `ready` and then nothing for long.
fn hanging() -> ScriptedRun {
    ScriptedRun {
        lines: vec![(Duration::from_secs(1), "ready".to_owned())],
        hangs: true,
        ..ScriptedRun::default()
    }
}

fn says_ready(event: &Event) -> bool {
    matches!(event, Event::Line { text, .. } if text == "ready")
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_leaves_what_is_done_and_nothing_else() {
    let farm = Farm::new(&["a", "b", "c"]);
    farm.engine.script_next(good_run("a"));
    farm.engine.script_next(hanging());
    let mut there = Vec::new();
    let mut asked = None;
    let summary = farm
        .build_and_watch(&mut |event| {
            if says_ready(event) {
                there = farm.engine.left_behind();
                asked = Some(Instant::now());
                farm.stop.stop.cancel();
            }
        })
        .await;
    assert_eq!(there.len(), 2, "a container and its volume: {there:?}");
    assert_eq!(ends(&summary), ["built", "cancelled", "not-started"]);
    // The scripted engine uses the whole grace.
    assert_eq!(asked.unwrap().elapsed().as_secs(), 10);
    assert_eq!(farm.names("jobs"), [job_id("a")]);
    assert_eq!(farm.names("failed"), Vec::<String>::new());
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn the_second_cancel_skips_the_grace() {
    let mut farm = Farm::new(&["a", "b", "c"]);
    farm.jobs_at_a_time = 2;
    farm.engine.script_next(hanging());
    farm.engine.script_next(hanging());
    let mut stops = Vec::new();
    let begun = Instant::now();
    let summary = farm
        .build_and_watch(&mut |event| {
            if says_ready(event) {
                farm.stop.stop.cancel();
            }
            if let Event::Stopping { at_once } = event {
                stops.push(*at_once);
                farm.stop.at_once.cancel();
            }
        })
        .await;
    assert_eq!(ends(&summary), ["cancelled", "cancelled", "not-started"]);
    assert_eq!(stops, [false, true]);
    assert!(begun.elapsed() < Duration::from_secs(3), "{begun:?}");
    assert_eq!(farm.names("jobs"), Vec::<String>::new());
    farm.assert_clean();
}

/// Whenever the user stops, a job is on record or nothing is left of it.
#[tokio::test(start_paused = true)]
async fn a_cancel_at_any_stage_leaves_nothing_half_done() {
    for at in Stage::ALL {
        let farm = Farm::new(&["a", "b"]);
        farm.engine.script_next(good_run("a"));
        let summary = farm
            .build_and_watch(&mut |event| {
                if matches!(event, Event::StageStarted { stage, .. } if *stage == at) {
                    farm.stop.stop.cancel();
                }
            })
            .await;
        let ends = ends(&summary);
        let on_record = match ends[0] {
            "built" => vec![job_id("a")],
            other => {
                assert_eq!(other, "cancelled", "{at}");
                Vec::new()
            }
        };
        assert_eq!(ends[1], "not-started", "{at}");
        assert_eq!(farm.names("jobs"), on_record, "{at}");
        assert_eq!(farm.names("failed"), Vec::<String>::new(), "{at}");
        farm.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_before_it_begins_starts_nothing() {
    let farm = Farm::new(&["a", "b"]);
    farm.stop.stop.cancel();
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["not-started", "not-started"]);
    farm.assert_clean();
}
