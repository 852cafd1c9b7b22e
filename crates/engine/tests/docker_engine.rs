//! What the farm relies on, seen on a real Docker engine: `cargo nextest run --profile docker`.

mod support {
    pub(crate) mod lab;
}

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
