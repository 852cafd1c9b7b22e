//! What a build may do: its user, capabilities, network, places and variables.

use crate::lab::{AMPLE, Lab, run, with_lab};
use wheelfarm_engine::container::RunHow;

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
        again.args([
            "--exact",
            "rights::docker_a_build_sees_no_variable_but_its_own",
        ]);
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
