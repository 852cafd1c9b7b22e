//! How a run ends: by itself, at a limit, or because the user wants it to.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{RunEnd, RunHow, RunLimits};

use crate::lab::{AMPLE, Lab, run, with_lab};

#[tokio::test]
async fn docker_the_exit_code_is_the_scripts() {
    with_lab("exit", async |lab| {
        for code in [0, 1, 77, 255] {
            let (end, _) = run(lab, lab.spec(&format!("exit {code}")), &AMPLE).await;
            assert_eq!((end.how, end.exit_code), (RunHow::Exited, code));
        }
    })
    .await;
}

#[tokio::test]
async fn docker_every_line_arrives_in_order() {
    with_lab("lines", async |lab| {
        let script = "seq 1 100000; printf 'no end'";
        let (_, lines) = run(lab, lab.spec(script), &AMPLE).await;
        assert_eq!(lines.len(), 100_001);
        let wrong = (1..=100_000)
            .zip(&lines)
            .find(|(number, line)| number.to_string() != **line);
        assert_eq!(wrong, None);
        assert_eq!(lines[100_000], "no end");
    })
    .await;
}

#[tokio::test]
async fn docker_a_child_out_of_memory_shows_whatever_the_exit_code() {
    with_lab("memory", async |lab| {
        let script = "echo before; (tail /dev/zero); sleep 2; exit 0";
        let (end, lines) = run(lab, lab.spec(script), &AMPLE).await;
        assert_eq!((end.how, end.exit_code), (RunHow::OutOfMemory, 0));
        assert_eq!(lines[0], "before");
        assert!(end.peak_memory_bytes.unwrap() > 0, "{end:?}");
        assert!(end.cpu_time.unwrap() > Duration::ZERO, "{end:?}");
    })
    .await;
}

#[tokio::test]
async fn docker_more_processes_than_allowed_are_refused() {
    with_lab("processes", async |lab| {
        let script = "i=0; while [ $i -lt 100 ]; do sleep 60 & i=$((i+1)); done 2>&1";
        let (end, lines) = run(lab, lab.spec(script), &AMPLE).await;
        assert_eq!(end.how, RunHow::Exited);
        assert_ne!(end.exit_code, 0);
        let last = lines.last().unwrap();
        assert!(last.contains("can't fork"), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn docker_silence_is_a_stall() {
    with_lab("stall", async |lab| {
        let limits = RunLimits {
            silence: Duration::from_secs(2),
            ..AMPLE
        };
        let begun = Instant::now();
        let script = "for i in 1 2 3; do echo $i; sleep 1; done; sleep 600";
        let (end, lines) = run(lab, lab.spec(script), &limits).await;
        assert_eq!((end.how, end.exit_code), (RunHow::Stalled, 137));
        assert_eq!(lines, ["1", "2", "3"]);
        assert!(begun.elapsed() < Duration::from_secs(20));
    })
    .await;
}

#[tokio::test]
async fn docker_a_build_that_talks_for_ever_is_timed_out() {
    with_lab("total", async |lab| {
        let limits = RunLimits {
            total: Duration::from_secs(3),
            ..AMPLE
        };
        let script = "while true; do echo on; sleep 0.1; done";
        let (end, lines) = run(lab, lab.spec(script), &limits).await;
        assert_eq!((end.how, end.exit_code), (RunHow::TimedOut, 137));
        assert!(lines.len() > 5, "{lines:?}");
    })
    .await;
}

/// A container that never stops printing, faster than anyone reads.
#[tokio::test]
async fn docker_a_flood_of_output_does_not_hold_up_the_limits() {
    with_lab("flood", async |lab| {
        let limits = RunLimits {
            total: Duration::from_secs(3),
            ..AMPLE
        };
        let begun = Instant::now();
        let (end, lines) = run(lab, lab.spec("while true; do echo on; done"), &limits).await;
        assert_eq!((end.how, end.exit_code), (RunHow::TimedOut, 137));
        assert!(lines.iter().all(|line| line == "on"));
        assert!(begun.elapsed() < Duration::from_secs(20));
    })
    .await;
}

/// How a run ends when it is stopped once it says `ready`.
async fn cancelled(lab: &Lab, script: &str, grace: Duration, press: Press) -> (RunEnd, Duration) {
    let mut container = lab.create(lab.spec(script)).await;
    let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
    let limits = RunLimits { grace, ..AMPLE };
    let mut begun = Instant::now();
    let mut lines = Vec::new();
    let end = container
        .run_to_end(&limits, &stop, &at_once, |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            if line == b"ready" {
                begun = Instant::now();
                stop.cancel();
                if press == Press::Twice {
                    at_once.cancel();
                }
            }
        })
        .await
        .unwrap();
    container.remove().await.unwrap();
    assert_eq!(end.how, RunHow::Cancelled, "{lines:?}");
    (end, begun.elapsed())
}

/// How often the user presses Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Press {
    Once,
    Twice,
}

const STOPS_WHEN_ASKED: &str = "trap 'exit 7' TERM; echo ready; while true; do sleep 0.1; done";
const STOPS_NEVER: &str = "trap '' TERM; echo ready; while true; do sleep 0.1; done";

#[tokio::test]
async fn docker_a_cancelled_build_may_end_by_itself() {
    with_lab("cancel", async |lab| {
        let grace = Duration::from_secs(30);
        let (end, took) = cancelled(lab, STOPS_WHEN_ASKED, grace, Press::Once).await;
        assert_eq!(end.exit_code, 7);
        assert!(took < Duration::from_secs(15), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn docker_a_cancelled_build_that_will_not_end_is_killed_after_its_grace() {
    with_lab("grace", async |lab| {
        let grace = Duration::from_secs(2);
        let (end, took) = cancelled(lab, STOPS_NEVER, grace, Press::Once).await;
        assert_eq!(end.exit_code, 137);
        assert!(took >= grace, "{took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
    })
    .await;
}

#[tokio::test]
async fn docker_a_second_cancel_skips_the_grace() {
    with_lab("at-once", async |lab| {
        let grace = Duration::from_mins(10);
        let (end, took) = cancelled(lab, STOPS_NEVER, grace, Press::Twice).await;
        assert_eq!(end.exit_code, 137);
        assert!(took < Duration::from_secs(15), "{took:?}");
    })
    .await;
}

/// The second Ctrl-C while the engine waits for the grace of the first.
#[tokio::test]
async fn docker_a_second_cancel_cuts_the_grace_short() {
    with_lab("cut-short", async |lab| {
        let mut container = lab.create(lab.spec(STOPS_NEVER)).await;
        let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
        let limits = RunLimits {
            grace: Duration::from_mins(10),
            ..AMPLE
        };
        let begun = Instant::now();
        let impatient = async {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            at_once.cancel();
        };
        let run = container.run_to_end(&limits, &stop, &at_once, |_| stop.cancel());
        let (end, ()) = tokio::join!(run, impatient);
        let end = end.unwrap();
        assert_eq!((end.how, end.exit_code), (RunHow::Cancelled, 137));
        assert!(begun.elapsed() < Duration::from_secs(20));
        container.remove().await.unwrap();
    })
    .await;
}
