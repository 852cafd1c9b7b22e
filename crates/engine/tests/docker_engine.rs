//! What the farm relies on, seen on a real Docker engine: `cargo nextest run --profile docker`.

mod support {
    pub(crate) mod lab;
}

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::lab::{AMPLE, Lab, with_lab};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, DockerEngine, Engine, EngineError, EngineErrorKind, ImageBuild, ImageRef,
    Labels, OwnedContainer, RootFileSystem, RunEnd, RunHow, RunLimits, TarSource,
};

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

/// The files of a tar that is taken out of a container, by path.
async fn files(
    container: &OwnedContainer<DockerEngine>,
    path: &str,
) -> Result<BTreeMap<String, Vec<u8>>, EngineError> {
    let download = container.download(path);
    let mut reader = tokio::time::timeout(Duration::from_secs(30), download)
        .await
        .expect("a download answers")?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&*bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn docker_files_come_out_of_an_ended_build() {
    with_lab("download", async |lab| {
        let script = "echo one > /build/out/a.whl; dd if=/dev/zero of=/build/out/b bs=1M count=20; \
                      echo gcc 12 > /build/tools.txt";
        let mut container = lab.create(lab.spec(script)).await;
        let never = CancellationToken::new();
        let end = container
            .run_to_end(&AMPLE, &never, &never, |_| ())
            .await
            .unwrap();
        assert_eq!(end.exit_code, 0);
        let out = files(&container, "/build/out/.").await.unwrap();
        assert_eq!(out["./a.whl"], b"one\n");
        assert_eq!(out["./b"].len(), 20 << 20);
        assert_eq!(out.len(), 2);
        let tools = files(&container, "/build/tools.txt").await.unwrap();
        assert_eq!(tools["tools.txt"], b"gcc 12\n");
        for absent in ["/build/nothing", "/nowhere/at/all"] {
            let error = files(&container, absent).await.unwrap_err();
            assert_eq!(error.kind(), EngineErrorKind::Other, "{error:?}");
            assert!(error.to_string().contains(absent), "{error}");
        }
        container.remove().await.unwrap();
    })
    .await;
}

/// A tar with one file in it, owned by the user that builds.
fn tar_of(path: &str, content: &str) -> TarSource {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o640);
    header.set_uid(10001);
    header.set_gid(10001);
    header.set_size(u64::try_from(content.len()).unwrap());
    archive
        .append_data(&mut header, path, content.as_bytes())
        .unwrap();
    TarSource::Memory(Bytes::from(archive.into_inner().unwrap()))
}

#[tokio::test]
async fn docker_files_are_put_in_before_the_start() {
    with_lab("upload", async |lab| {
        let printed = async |spec: ContainerSpec, folder: &str, name: &str| {
            let mut container = lab.create(spec).await;
            container
                .upload(folder, tar_of(name, "hello\n"))
                .await
                .unwrap();
            let mut lines = Vec::new();
            let never = CancellationToken::new();
            container
                .run_to_end(&AMPLE, &never, &never, |line| lines.push(line.to_vec()))
                .await
                .unwrap();
            container.remove().await.unwrap();
            lines.join(&b'\n')
        };
        // Into a volume, and as patch scripts have it: into a root that can be written.
        let spec = lab.spec("cat /build/greeting && rm /build/greeting");
        assert_eq!(printed(spec, "/build", "greeting").await, b"hello");
        let spec = ContainerSpec {
            root: RootFileSystem::Writable,
            volumes: Vec::new(),
            ..lab.spec("cd /build/patch/source && cat greeting && echo more >> greeting")
        };
        assert_eq!(
            printed(spec, "/", "build/patch/source/greeting").await,
            b"hello"
        );
    })
    .await;
}

/// A build of a Dockerfile on top of the test's image.
fn image_build(lab: &Lab, steps: &str) -> ImageBuild {
    let dockerfile = format!("FROM {} AS first\n{steps}", lab.image_name);
    ImageBuild {
        context: tar_of("Dockerfile", &dockerfile),
        target: None,
        tag: ImageRef::new(format!("{}-built", lab.image_name)),
        labels: lab
            .labels()
            .with("dev.wheelfarm.text", "two words, \"quoted\""),
    }
}

#[tokio::test]
async fn docker_an_image_is_built_as_far_as_its_target() {
    with_lab("build", async |lab| {
        let steps = "RUN echo from the first stage && echo one > /one\n\
                     FROM first\nRUN echo from the second && false\n";
        let build = ImageBuild {
            target: Some("first".to_owned()),
            ..image_build(lab, steps)
        };
        let (tag, labels) = (build.tag.clone(), build.labels.clone());
        let mut lines = Vec::new();
        let id = lab
            .engine
            .build_image(build, &CancellationToken::new(), &mut |line: &[u8]| {
                lines.push(String::from_utf8_lossy(line).into_owned());
            })
            .await
            .unwrap();
        assert!(
            lines.contains(&"from the first stage".to_owned()),
            "{lines:#?}"
        );
        let facts = lab.engine.image(&tag).await.unwrap().unwrap();
        assert_eq!(facts.id, id);
        assert!(facts.labels.contain(&labels), "{:?}", facts.labels);
        let spec = ContainerSpec {
            image: id,
            ..lab.spec("cat /one")
        };
        let (_, lines) = run(lab, spec, &AMPLE).await;
        assert_eq!(lines, ["one"]);
        lab.engine.remove_image(&tag).await.unwrap();
        assert!(lab.engine.image(&tag).await.unwrap().is_none());
        lab.engine.remove_image(&tag).await.expect("absent is fine");
    })
    .await;
}

#[tokio::test]
async fn docker_a_step_that_fails_is_shown_with_its_line() {
    with_lab("step", async |lab| {
        let build = image_build(lab, "RUN echo why it fails >&2 && exit 7\n");
        let tag = build.tag.clone();
        let mut lines = Vec::new();
        let error = lab
            .engine
            .build_image(build, &CancellationToken::new(), &mut |line: &[u8]| {
                lines.push(String::from_utf8_lossy(line).into_owned());
            })
            .await
            .unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::BuildFailed, "{error:?}");
        // The engine paints what comes by stderr.
        let says_why = |line: &String| line.ends_with("why it fails");
        assert!(lines.iter().any(says_why), "{lines:#?}");
        let last = lines.last().unwrap();
        assert!(
            last.contains("exit 7") && last.contains("code: 7"),
            "{last}"
        );
        assert!(lab.engine.image(&tag).await.unwrap().is_none());
        assert_eq!(lab.left_behind().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn docker_a_cancelled_image_build_leaves_no_container() {
    with_lab("build-cancel", async |lab| {
        let build = image_build(lab, "RUN echo ready && sleep 600\n");
        let tag = build.tag.clone();
        let (ready, stop) = (CancellationToken::new(), CancellationToken::new());
        let begun = Instant::now();
        let mut on_line = |line: &[u8]| {
            if line == b"ready" {
                ready.cancel();
            }
        };
        let cancel = async {
            ready.cancelled().await;
            assert_eq!(lab.left_behind().await.len(), 1, "the step's container");
            stop.cancel();
        };
        let (res, ()) = tokio::join!(lab.engine.build_image(build, &stop, &mut on_line), cancel);
        let error = res.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Cancelled, "{error:?}");
        assert!(lab.engine.image(&tag).await.unwrap().is_none());
        // The engine hears of the closed connection and cleans up by itself, in its own time.
        while !lab.left_behind().await.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn docker_an_imported_image_has_its_labels() {
    with_lab("labels", async |lab| {
        let labels = Labels::default()
            .with("dev.wheelfarm.recipe", "0123abcd")
            .with("dev.wheelfarm.text", "two words, \"quoted\" and $HOME \\");
        let name = ImageRef::new(format!("{}-labelled", lab.image_name));
        let id = lab
            .engine
            .import_image(tar_of("file", "content"), &name, &labels)
            .await
            .unwrap();
        let facts = lab.engine.image(&name).await.unwrap().unwrap();
        lab.engine.remove_image(&name).await.unwrap();
        assert_eq!(facts.id, id);
        assert_eq!(facts.labels, labels);
    })
    .await;
}

#[tokio::test]
async fn docker_an_image_that_is_nowhere_is_named_so() {
    with_lab("nowhere", async |lab| {
        let stop = CancellationToken::new();
        let absent = ImageRef::new("wheelfarm-test.invalid/no/such:image");
        assert!(lab.engine.image(&absent).await.unwrap().is_none());
        let error = lab.engine.pull(&absent, &stop).await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::NoSuchImage, "{error:?}");
        let build = ImageBuild {
            context: tar_of("Dockerfile", &format!("FROM {absent}\n")),
            ..image_build(lab, "")
        };
        let res = lab
            .engine
            .build_image(build, &stop, &mut |_: &[u8]| ())
            .await;
        let error = res.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::NoSuchImage, "{error:?}");
    })
    .await;
}
