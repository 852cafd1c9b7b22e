//! What the farm relies on, seen on a real Docker engine: `cargo nextest run --profile docker`.

mod support {
    pub(crate) mod lab;
}

use std::time::{Duration, Instant};

use support::lab::{AMPLE, Lab, with_lab};
use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{ContainerSpec, RunEnd, RunHow, RunLimits};

/// Runs a container to its end and removes it.
async fn run(lab: &Lab, spec: ContainerSpec, limits: &RunLimits) -> (RunEnd, Vec<String>) {
    let mut container = lab.create(spec).await;
    let mut lines = Vec::new();
    let never = CancellationToken::new();
    let end = container
        .run_to_end(limits, &never, &never, |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
        })
        .await
        .unwrap();
    container.remove().await.unwrap();
    (end, lines)
}

/// What a script prints that is to end well.
async fn output(lab: &Lab, script: &str) -> Vec<String> {
    let (end, lines) = run(lab, lab.spec(script), &AMPLE).await;
    assert_eq!((end.how, end.exit_code), (RunHow::Exited, 0), "{lines:#?}");
    lines
}

#[tokio::test]
async fn docker_a_build_has_no_rights_and_no_network() {
    with_lab("rights", async |lab| {
        let script = "grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs):' /proc/self/status; \
                      ls /sys/class/net; id -u; id -g";
        let lines = output(lab, script).await;
        assert_eq!(
            lines,
            [
                "CapPrm:\t0000000000000000",
                "CapEff:\t0000000000000000",
                "CapBnd:\t0000000000000000",
                "NoNewPrivs:\t1",
                "lo",
                "10001",
                "10001",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn docker_a_build_writes_to_its_volume_and_tmp_alone() {
    with_lab("places", async |lab| {
        let script = "stat -c '%u %g %a' /build /build/out; \
                      touch /file 2>&1; touch /bin/file 2>&1; touch /build/out/file; \
                      printf '#!/bin/sh\\necho runs\\n' > /tmp/tool; \
                      busybox chmod +x /tmp/tool; /tmp/tool; \
                      grep ' /tmp ' /proc/mounts";
        let lines = output(lab, script).await;
        assert_eq!(lines[..2], ["10001 10001 750", "10001 10001 750"]);
        assert_eq!(lines[2], "touch: /file: Read-only file system");
        assert_eq!(lines[3], "touch: /bin/file: Read-only file system");
        assert_eq!(lines[4], "runs");
        let mount = &lines[5];
        assert!(mount.contains("nosuid,nodev"), "{mount}");
        assert!(mount.contains("size=16384k"), "{mount}");
        assert!(!mount.contains("noexec"), "{mount}");
    })
    .await;
}

/// With a Hub token in the farm's own environment.
#[tokio::test]
async fn docker_a_build_sees_no_variable_but_its_own() {
    // Tests set no variables of their own process, so this one runs again as a child that has one.
    if std::env::var_os("HF_TOKEN").is_none() {
        let this = std::env::current_exe().unwrap();
        let mut again = std::process::Command::new(this);
        again.args(["--exact", "docker_a_build_sees_no_variable_but_its_own"]);
        let output = again.env("HF_TOKEN", "hf_secret").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    with_lab("variables", async |lab| {
        let names = output(lab, "env | sort").await;
        let names: Vec<_> = names
            .iter()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();
        let own = ["HOME", "HOSTNAME", "PATH", "PROCESS_MEMORY_MIB"];
        // The shell sets two more by itself.
        let own_or_shell = |name: &&str| own.contains(name) || ["PWD", "SHLVL"].contains(name);
        assert!(names.iter().all(own_or_shell), "{names:?}");
        assert!(own.iter().all(|name| names.contains(name)), "{names:?}");
    })
    .await;
}

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
        let lines = output(lab, "seq 1 100000; printf 'no end'").await;
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
