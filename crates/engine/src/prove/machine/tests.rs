//! A Python of these tests is a shell script that answers as its folder says, so that faults are to be
//! had; `crates/cli/tests/docker_machine_proof.rs` holds the real one against the same program.

use tempfile::TempDir;

use super::*;

/// A real wheel with machine code for 9.0 and 12.0, and PTX for 12.0.
const WHEEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/demo-wheel/demo_gpu-1.0-py3-none-manylinux_2_17_x86_64.whl"
);

const PYTHON: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$1" in
    */machine_facts.py)
        echo "$2" > "$here/asked"
        if [ -n "${PYTHONPATH:-}" ] && [ -r "$here/after" ]; then cat "$here/after"; else cat "$here/facts"; fi ;;
    -m) echo "$*" > "$here/pip"; shift; [ ! -r "$here/refuses" ] || { echo "ERROR: no such thing" >&2; exit 1; } ;;
    -c) [ ! -r "$here/control" ] || { echo "no kernel image is available" >&2; exit 1; } ;;
    *) exec sh "$1" ;;
esac
"#;

/// What a test prints that passes on a GPU and tells its environment.
const PASSES: &str = r#"
echo "a library prints"
echo "{\"schema\":1,\"checks\":[{\"name\":\"gpu\",\"result\":\"pass\",\"detail\":\"jit ${CUDA_FORCE_PTX_JIT:-0} cache ${CUDA_CACHE_DISABLE:-0} token ${HF_TOKEN:-none} home ${HOME##*/}\",\"gpu\":true}]}"
"#;

struct Machine {
    folder: TempDir,
    ptx: PtxRun,
    limit: Duration,
}

impl Machine {
    /// One whose torch sees a GPU of `capability`; none when that is empty.
    fn new(capability: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self {
            folder,
            ptx: PtxRun::Unwanted,
            limit: Duration::from_mins(1),
        };
        machine.program("python", PYTHON);
        machine.tell("facts", &Self::facts(capability));
        machine
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().join(name)).unwrap()
    }

    fn tell(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap();
    }

    fn facts(capability: &str) -> String {
        let devices = match capability {
            "" => serde_json::json!([]),
            capability => serde_json::json!([
                { "name": "A GPU", "capability": capability, "memory_bytes": 1 << 30 }
            ]),
        };
        serde_json::json!({
            "schema": 1, "python": "CPython 3.12.3", "pip": "24.0", "fits": true, "unmet": [],
            "host": { "os": "Debian", "kernel": "6.1", "glibc": "2.36", "machine": "x86_64" },
            "torch": { "version": "2.11.0+cu130", "cuda": "13.0", "devices": devices },
            "torch_file": "/venv/torch/__init__.py", "torch_error": null,
        })
        .to_string()
    }

    fn change(&self, key: &str, value: serde_json::Value) -> String {
        let text = fs_err::read_to_string(self.path("facts")).unwrap();
        let mut facts: serde_json::Value = serde_json::from_str(&text).unwrap();
        facts[key] = value;
        facts.to_string()
    }

    /// A program that stands before those of this machine.
    fn program(&self, name: &str, text: &str) {
        self.tell(name, text);
        let chmod = std::process::Command::new("chmod")
            .arg("+x")
            .arg(self.path(name))
            .status();
        assert!(chmod.unwrap().success());
    }

    async fn proves(&self, test: Option<&str>) -> Result<MachineReceipt, MachineProofError> {
        self.proves_until(test, StopSignal::default()).await
    }

    async fn proves_until(
        &self,
        test: Option<&str>,
        stop: StopSignal,
    ) -> Result<MachineReceipt, MachineProofError> {
        let mut path = OsString::from(self.folder.path());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let kept = [("PATH".into(), path)];
        let planted =
            ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY"].map(|name| (name.into(), "planted".into()));
        let prover = MachineProver {
            python: self.path("python"),
            inherited: kept.into_iter().chain(planted).collect(),
            ptx: self.ptx,
            limit: self.limit,
            stop,
        };
        let wheel = Utf8PathBuf::from(WHEEL);
        let subject = MachineSubject {
            name: wheel_name(&wheel).unwrap(),
            wheel,
            package: "demo-gpu".parse().unwrap(),
            test: test.map(str::to_owned),
        };
        prover.prove(&subject, &mut |_| ()).await
    }

    async fn receipt(&self, test: &str) -> MachineReceipt {
        self.proves(Some(test)).await.unwrap()
    }

    async fn refuses(&self) -> String {
        let error = self.proves(Some(PASSES)).await.unwrap_err();
        format!(
            "{error}; bad input: {}; {}",
            error.is_bad_input(),
            error.hint().unwrap()
        )
        .replace(self.folder.path().to_str().unwrap(), "…")
    }
}

/// A receipt in lines, without what differs from run to run.
fn told(receipt: &MachineReceipt) -> String {
    let text = receipt.to_text();
    let again = MachineReceipt::parse(&text).expect("it holds against its own checks");
    assert_eq!(again, *receipt);
    let mut lines = vec![format!("{} {:?}", receipt.state.as_str(), receipt.reason)];
    for run in &receipt.runs {
        let (mode, state) = (run.mode, run.state.as_str());
        lines.push(format!("{mode:?}: {state} {:?}", run.reason));
        lines.extend(run.checks.iter().map(|check| {
            format!(
                "  {:?} {}: {} (gpu {})",
                check.result, check.name, check.detail, check.gpu
            )
        }));
    }
    lines.join("\n")
}

#[tokio::test]
async fn a_test_that_passes_on_a_gpu_is_a_pass_and_gets_no_secret() {
    let machine = Machine::new("12.0");
    let receipt = machine.receipt(PASSES).await;
    insta::assert_snapshot!(told(&receipt), @r"
    passed None
    AsBuilt: passed None
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    ");
    let device = receipt.device.unwrap();
    assert_eq!(
        (device.name.as_str(), device.capability.as_str()),
        ("A GPU", "12.0")
    );
    assert_eq!(
        receipt.wheel.size_bytes,
        fs_err::metadata(WHEEL).unwrap().len()
    );
    let pip = fs_err::read_to_string(machine.path("pip")).unwrap();
    for wanted in [
        "--no-deps",
        "--no-index",
        "--target",
        WHEEL.rsplit('/').next().unwrap(),
    ] {
        assert!(pip.contains(wanted), "{pip}");
    }
    let asked = fs_err::read_to_string(machine.path("asked")).unwrap();
    assert!(asked.contains("py3-none-manylinux_2_17_x86_64"), "{asked}");
    let left = fs_err::read_dir(std::env::temp_dir()).unwrap();
    let site = pip
        .split("--target ")
        .nth(1)
        .unwrap()
        .split('/')
        .find(|part| part.starts_with("wheelfarm-proof-"));
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        names.into_iter().all(|name| Some(&*name) != site),
        "its folder is left behind"
    );
}

#[tokio::test]
async fn without_a_gpu_nothing_passes() {
    let machine = Machine {
        ptx: PtxRun::Wanted,
        ..Machine::new("")
    };
    let not_checked = PASSES.replace("\\\"pass\\\"", "\\\"not checked\\\"");
    let honest = machine.receipt(&not_checked).await;
    let boasting = machine.receipt(PASSES).await;
    let without_test = machine.proves(None).await.unwrap();
    insta::assert_snapshot!([&honest, &boasting, &without_test].map(told).join("\n\n"), @r#"
    not run Some("gpu: jit 0 cache 0 token none home home")
    AsBuilt: not run Some("gpu: jit 0 cache 0 token none home home")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      NotChecked gpu: jit 0 cache 0 token none home home (gpu true)
    ForcedPtx: not run Some("torch sees no GPU here")

    not run Some("the test says that it ran on a GPU, and torch sees none")
    AsBuilt: not run Some("the test says that it ran on a GPU, and torch sees none")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    ForcedPtx: not run Some("torch sees no GPU here")

    not run Some("the package's own test: the package has no test")
    AsBuilt: not run Some("the package's own test: the package has no test")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      NotChecked the package's own test: the package has no test (gpu true)
    ForcedPtx: not run Some("torch sees no GPU here")
    "#);
}

#[tokio::test]
async fn tests_that_go_wrong_are_failures_with_their_reason() {
    let machine = Machine {
        limit: Duration::from_secs(2),
        ..Machine::new("12.0")
    };
    let mut lines = Vec::new();
    for (what, test) in [
        ("garbage", "echo '{\"schema\":1'; echo garbage".to_owned()),
        ("silence", "true".to_owned()),
        ("a report on standard error", format!("exec >&2\n{PASSES}")),
        (
            "exit code 1 after a pass",
            format!("{PASSES}\necho why >&2\nexit 1"),
        ),
        (
            "a check that fails",
            format!("{}\nexit 1", PASSES.replace("pass", "fail")),
        ),
        ("killed", "kill -9 $$".to_owned()),
        ("hangs", format!("{PASSES}\nsleep 600")),
        ("reads", "cat; exit 3".to_owned()),
    ] {
        lines.push(format!("{what}: {}", told(&machine.receipt(&test).await)));
    }
    insta::assert_snapshot!(lines.join("\n\n"), @r#"
    garbage: failed Some("the package's own test: it ended without a report")
    AsBuilt: failed Some("the package's own test: it ended without a report")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Fail the package's own test: it ended without a report (gpu false)

    silence: failed Some("the package's own test: it ended without a report")
    AsBuilt: failed Some("the package's own test: it ended without a report")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Fail the package's own test: it ended without a report (gpu false)

    a report on standard error: failed Some("the package's own test: it ended without a report")
    AsBuilt: failed Some("the package's own test: it ended without a report")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Fail the package's own test: it ended without a report (gpu false)

    exit code 1 after a pass: failed Some("test exit: exit code 1: why")
    AsBuilt: failed Some("test exit: exit code 1: why")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
      Fail test exit: exit code 1: why (gpu false)

    a check that fails: failed Some("gpu: jit 0 cache 0 token none home home")
    AsBuilt: failed Some("gpu: jit 0 cache 0 token none home home")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Fail gpu: jit 0 cache 0 token none home home (gpu true)

    killed: failed Some("test exit: signal: 9 (SIGKILL)")
    AsBuilt: failed Some("test exit: signal: 9 (SIGKILL)")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Fail test exit: signal: 9 (SIGKILL) (gpu false)
      Fail the package's own test: it ended without a report (gpu false)

    hangs: failed Some("test exit: it ran past its time limit of 2s: a library prints")
    AsBuilt: failed Some("test exit: it ran past its time limit of 2s: a library prints")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
      Fail test exit: it ran past its time limit of 2s: a library prints (gpu false)

    reads: failed Some("test exit: exit code 3")
    AsBuilt: failed Some("test exit: exit code 3")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Fail test exit: exit code 3 (gpu false)
      Fail the package's own test: it ended without a report (gpu false)
    "#);
}

#[tokio::test]
async fn what_installing_does_is_checked() {
    let machine = Machine::new("12.0");
    machine.tell(
        "after",
        &machine.change("torch_file", "/tmp/site/torch/__init__.py".into()),
    );
    let other_torch = machine.receipt(PASSES).await;
    machine.tell("refuses", "");
    let refused = machine.receipt(PASSES).await;
    insta::assert_snapshot!([&other_torch, &refused].map(told).join("\n\n"), @r#"
    failed Some("torch is left alone: it was torch 2.11.0+cu130 and is torch 2.11.0+cu130, in /tmp/site/torch/__init__.py")
    AsBuilt: failed Some("torch is left alone: it was torch 2.11.0+cu130 and is torch 2.11.0+cu130, in /tmp/site/torch/__init__.py")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Fail torch is left alone: it was torch 2.11.0+cu130 and is torch 2.11.0+cu130, in /tmp/site/torch/__init__.py (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)

    failed Some("pip install: exit code 1: ERROR: no such thing")
    AsBuilt: failed Some("pip install: exit code 1: ERROR: no such thing")
      Fail pip install: exit code 1: ERROR: no such thing (gpu false)
    "#);
}

#[tokio::test]
async fn a_wheel_that_breaks_python_is_a_failure() {
    let machine = Machine::new("12.0");
    let mut lines = Vec::new();
    for after in [
        machine
            .change("torch", serde_json::Value::Null)
            .replace(
                "\"torch_error\":null",
                "\"torch_error\":\"OSError: libc10.so\"",
            )
            .replace("\"/venv/torch/__init__.py\"", "null"),
        "Segmentation fault".to_owned(),
        String::new(),
    ] {
        machine.tell("after", &after);
        lines.push(told(&machine.receipt(PASSES).await));
    }
    insta::assert_snapshot!(lines.join("\n\n"), @r#"
    failed Some("torch is left alone: it was torch 2.11.0+cu130 and is OSError: libc10.so, in nowhere")
    AsBuilt: failed Some("torch is left alone: it was torch 2.11.0+cu130 and is OSError: libc10.so, in nowhere")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Fail torch is left alone: it was torch 2.11.0+cu130 and is OSError: libc10.so, in nowhere (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)

    failed Some("torch is left alone: it was torch 2.11.0+cu130, and Python does not tell with the wheel on its path: Segmentation fault")
    AsBuilt: failed Some("torch is left alone: it was torch 2.11.0+cu130, and Python does not tell with the wheel on its path: Segmentation fault")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Fail torch is left alone: it was torch 2.11.0+cu130, and Python does not tell with the wheel on its path: Segmentation fault (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)

    failed Some("torch is left alone: it was torch 2.11.0+cu130, and Python does not tell with the wheel on its path: nothing is said")
    AsBuilt: failed Some("torch is left alone: it was torch 2.11.0+cu130, and Python does not tell with the wheel on its path: nothing is said")
      Pass pip install: demo-gpu 1.0 (gpu false)
      Fail torch is left alone: it was torch 2.11.0+cu130, and Python does not tell with the wheel on its path: nothing is said (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    "#);
}

#[tokio::test]
async fn the_driver_is_told_if_it_answers() {
    let machine = Machine::new("12.0");
    let driver = async || {
        let receipt = machine.receipt(PASSES).await;
        let device = receipt.device.unwrap();
        (device.driver, device.memory_bytes)
    };
    machine.program(
        "nvidia-smi",
        "#!/bin/sh\necho why >&2\necho 'A GPU, 12.0, 580.159.03, 2048 MiB'\n",
    );
    assert_eq!(driver().await, (Some("580.159.03".to_owned()), 2 << 30));
    for other in ["echo nonsense", "exit 9", "kill -9 $$"] {
        machine.program("nvidia-smi", &format!("#!/bin/sh\n{other}\n"));
        assert_eq!(driver().await, (None, 1 << 30), "{other}");
    }
}

#[tokio::test]
async fn a_driver_that_hangs_can_be_stopped() {
    let machine = Machine::new("12.0");
    machine.program(
        "nvidia-smi",
        "#!/bin/sh\necho asked > \"$(dirname \"$0\")/smi\"\nexec sleep 600\n",
    );
    let stop = StopSignal::default();
    let asked = async {
        while !machine.path("smi").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.stop.cancel();
    };
    let (res, ()) = tokio::join!(machine.proves_until(Some(PASSES), stop.clone()), asked);
    assert!(matches!(res, Err(MachineProofError::Stopped)), "{res:?}");
}

#[tokio::test]
async fn ptx_alone_is_a_second_run_where_it_can_say_something() {
    let wanted = |capability| Machine {
        ptx: PtxRun::Wanted,
        ..Machine::new(capability)
    };
    let machine = wanted("12.0");
    let passed = machine.receipt(PASSES).await;
    let fails_then = PASSES.replace(
        "\\\"pass\\\"",
        "\\\"$([ \"${CUDA_FORCE_PTX_JIT:-0}\" = 1 ] && echo fail || echo pass)\\\"",
    );
    let failed = machine.receipt(&fails_then).await;
    machine.tell("control", "");
    let no_control = machine.receipt(PASSES).await;
    let too_new = wanted("9.0").receipt(PASSES).await;
    // A GPU to come: the wheel's PTX is all that it can use, and torch is not asked to do without.
    let machine = wanted("13.0");
    machine.tell("control", "");
    let ptx_only = machine.receipt(PASSES).await;
    let all = [&passed, &failed, &no_control, &too_new, &ptx_only];
    insta::assert_snapshot!(all.map(told).join("\n\n"), @r#"
    passed None
    AsBuilt: passed None
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    ForcedPtx: passed None
      Pass gpu: jit 1 cache 1 token none home home (gpu true)

    failed Some("from PTX alone: gpu: jit 1 cache 1 token none home home")
    AsBuilt: passed None
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    ForcedPtx: failed Some("gpu: jit 1 cache 1 token none home home")
      Fail gpu: jit 1 cache 1 token none home home (gpu true)

    passed None
    AsBuilt: passed None
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    ForcedPtx: not run Some("torch's own kernels do not run with CUDA_FORCE_PTX_JIT=1 on this GPU, so the wheel's cannot be tried: exit code 1: no kernel image is available")

    passed None
    AsBuilt: passed None
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    ForcedPtx: not run Some("`demo_gpu/_C.so` has no PTX for 9.0 in 1 of 1 containers")

    passed None
    AsBuilt: passed None
      Pass pip install: demo-gpu 1.0 (gpu false)
      Pass torch is left alone: torch 2.11.0+cu130 (gpu false)
      Pass gpu: jit 0 cache 0 token none home home (gpu true)
    PtxOnly: passed None
      Pass gpu: jit 0 cache 1 token none home home (gpu true)
    "#);
}

#[tokio::test]
async fn a_python_that_cannot_prove_it_is_told_so() {
    let mut lines = Vec::new();
    for (key, value) in [
        ("pip", serde_json::Value::Null),
        ("fits", false.into()),
        (
            "unmet",
            serde_json::json!(["torch==2.8.* (there is 2.11.0)"]),
        ),
        ("torch", serde_json::Value::Null),
    ] {
        let machine = Machine::new("12.0");
        machine.tell("facts", &machine.change(key, value));
        lines.push(machine.refuses().await);
    }
    let machine = Machine::new("12.0");
    machine.tell("facts", "Segmentation fault");
    lines.push(machine.refuses().await);
    fs_err::remove_file(machine.path("python")).unwrap();
    lines.push(machine.refuses().await);
    insta::assert_snapshot!(lines.join("\n"), @r"
    `…/python` has no pip; bad input: false; `PYTHON -m ensurepip`, or another Python with --python
    `demo_gpu-1.0-py3-none-manylinux_2_17_x86_64.whl` is not for `…/python`, which is CPython 3.12.3; bad input: true; name the Python that the wheel was built for with --python
    `demo_gpu-1.0-py3-none-manylinux_2_17_x86_64.whl` requires what `…/python` does not have: torch==2.8.* (there is 2.11.0); bad input: true; install it into that Python, or name another one with --python
    `…/python` has no torch that can be imported: ; bad input: true; name a Python that has torch with --python
    `…/python` does not tell what it is: Segmentation fault; bad input: true; name one with --python: `--python .venv/bin/python`
    there is no Python `…/python`; bad input: true; name one with --python: `--python .venv/bin/python`
    ");
}
