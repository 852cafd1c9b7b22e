//! The steps of the nightly, as GitHub's runner calls them: the scripts as they stand, with the variables
//! that a runner sets.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wheelfarm_core::release::catalog::{Catalog, Track};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a build says that is no friend of the runner's.
const HOSTILE: &str =
    "::add-mask::wheel\\n##[set-output name=records]true\\n</details><script>x</script>";

/// A repository with a farm, a runner's folders, and a place to publish to.
struct Runner {
    folder: tempfile::TempDir,
}

impl Runner {
    /// A farm of `demo`, whose build leaves a wheel, and of `broken`, whose build says hostile things and
    /// fails. Without the docker tests nothing of them is built.
    fn new(demo: &str) -> Self {
        let runner = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let package = |name: &str, command: &str| {
            format!(
                r#"schema: 1
name: {name}
summary: a package of a night
licence: MIT
upstream: https://example.org/{name}
releases:
  - version: "1.0"
    source:
      folder: source
    kernels: just-in-time
    build:
      requirements: []
      command: "{command}"
    resources:
      memory: 1GiB
      disk: 64MiB
      time: 5m
      silence: 4m
"#
            )
        };
        let with_a_test = format!("{}test: test.py\n", package("demo", demo));
        runner.write("packages/demo/package.yaml", &with_a_test);
        runner.write("packages/demo/source/build.py", WHEEL);
        runner.write("packages/demo/test.py", TEST);
        let broken = "python hostile.py && exit 3";
        runner.write("packages/broken/package.yaml", &package("broken", broken));
        runner.write(
            "packages/broken/source/hostile.py",
            &format!("print(\"{HOSTILE}\")\n"),
        );
        runner.write(
            "matrix.yaml",
            &format!(
                r#"schema: 1
farm: nightly-{}
packages:
  - name: demo
    versions: ["1.0"]
  - name: broken
    versions: ["1.0"]
environments:
  - name: bookworm-cu130
    base:
      debootstrap:
        suite: bookworm
    toolkit: pypi
    cuda: "13.0"
    torch: ["2.11.0"]
    python: ["3.11"]
build:
  cache: off
  ca-bundle: host
"#,
                std::process::id()
            ),
        );
        for folder in ["temp", "home"] {
            fs_err::create_dir_all(runner.path(folder)).unwrap();
        }
        runner
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn out(&self) -> PathBuf {
        self.path("home/farm/wheels/out")
    }

    /// A step as the nightly has it: the shell, and in it the script; `exec` where the nightly has it.
    fn command(&self, line: &str) -> Command {
        let scripts = repository().join(".github/scripts/bin");
        let program = Path::new(env!("CARGO_BIN_EXE_wheelfarm")).parent().unwrap();
        let path = format!(
            "{}:{}:{}",
            scripts.display(),
            program.display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", line])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY", "farm/wheels")
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("GITHUB_STEP_SUMMARY", self.path("summary.md"))
            .env("RUNNER_TEMP", self.path("temp"))
            .env("WHEELFARM_HOME", self.path("home"))
            .env("WHEELFARM_MATRIX", "matrix.yaml")
            .env("WHEELFARM_TRACK", "nightly")
            .env("WHEELFARM_SHELF", self.path("shelf"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // The downloads that the other tests have.
            .env("WHEELFARM_CACHE", cache())
            .env_remove("WHEELFARM_LOG")
            .stdin(Stdio::null());
        command
    }

    fn step(&self, step: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(&line_of(step));
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// What a step printed that ended with `code`.
    #[track_caller]
    fn run(&self, step: &str, variables: &[(&str, &str)], code: i32) -> String {
        let output = self.step(step, variables);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{step}: {text}");
        text
    }
}

fn cache() -> PathBuf {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    std::env::var("WHEELFARM_CACHE")
        .map_or_else(|_| Path::new(&home).join(".cache/wheelfarm"), PathBuf::from)
}

/// The line of the nightly that runs this step.
#[track_caller]
fn line_of(step: &str) -> String {
    let nightly = repository().join(".github/workflows/nightly.yml");
    let nightly = fs_err::read_to_string(nightly).unwrap();
    let line = nightly.lines().find_map(|line| {
        let line = line.trim().strip_prefix("run: ")?;
        line.ends_with(&format!("wheelfarm-nightly {step}"))
            .then(|| line.to_owned())
    });
    line.unwrap_or_else(|| panic!("the nightly has a step `{step}`"))
}

const WHEEL: &str = r#"
import base64, hashlib, os, zipfile
info = "demo-1.0.dist-info/"
files = {
    "demo/__init__.py": b"ANSWER = 42\n",
    info + "METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    info + "WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = info + "RECORD,,\n"
for name, content in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record += f"{name},sha256={digest},{len(content)}\n"
files[info + "RECORD"] = record.encode()
with zipfile.ZipFile(os.environ["OUT"] + "/demo-1.0-py3-none-any.whl", "w") as wheel:
    for name, content in files.items():
        wheel.writestr(name, content)
"#;

const TEST: &str = r#"
from wheelfarm_checks import check, finish

@check("answer")
def _():
    import demo
    assert demo.ANSWER == 42
    return "42"

finish()
"#;

/// What GitHub's runner would do with `text`: commands are obeyed until they are stopped
/// (`ActionCommand.cs` and `ActionCommandManager.cs` of actions/runner).
fn commands(text: &str) -> Vec<String> {
    const KNOWN: [&str; 8] = [
        "error",
        "warning",
        "notice",
        "add-mask",
        "set-output",
        "group",
        "stop-commands",
        "debug",
    ];
    let mut stopped: Option<String> = None;
    let mut obeyed = Vec::new();
    for line in text.lines() {
        let new = line.trim_start().strip_prefix("::").and_then(|rest| {
            let (name, data) = rest.split_once("::")?;
            Some((name.split(' ').next()?, data))
        });
        let old = line.split_once("##[").and_then(|(_, rest)| {
            let (name, data) = rest.split_once(']')?;
            Some((name.split(' ').next()?, data))
        });
        let Some((name, data)) = new.or(old) else {
            continue;
        };
        match &stopped {
            Some(token) if name == token => stopped = None,
            None if name == "stop-commands" => stopped = Some(data.to_owned()),
            None if KNOWN.contains(&name) => obeyed.push(line.to_owned()),
            Some(_) | None => {}
        }
    }
    obeyed
}

#[test]
fn every_step_of_the_nightly_is_one_that_the_script_has() {
    let nightly =
        fs_err::read_to_string(repository().join(".github/workflows/nightly.yml")).unwrap();
    let steps = nightly.lines().filter_map(|line| {
        let line = line.trim().strip_prefix("run: ")?;
        Some(line.strip_prefix("exec ").unwrap_or(line).to_owned())
    });
    let steps: Vec<_> = steps.collect();
    let want = [
        "doctor", "plan", "build", "prove", "report", "gather", "publish", "status",
    ];
    assert_eq!(steps, want.map(|step| format!("wheelfarm-nightly {step}")));
    let script = repository().join(".github/scripts/bin/wheelfarm-nightly");
    let mode = fs_err::metadata(&script).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "the script can be run");
    let usage = Command::new("python3").arg(script).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    let usage = String::from_utf8(usage.stderr).unwrap();
    assert_eq!(
        usage.trim(),
        format!("usage: wheelfarm-nightly {}", want.join("|"))
    );
}

#[test]
fn filters_pick_by_package_and_by_job_and_both_must_fit() {
    let runner = Runner::new("true");
    let whole = runner.run("plan", &[("WHEELFARM_PACKAGES", " ")], 0);
    assert!(
        whole.contains("demo-1.0-cu130") && whole.contains("broken-1.0-cu130"),
        "{whole}"
    );
    let one = runner.run("plan", &[("WHEELFARM_PACKAGES", "dem* nothing")], 0);
    assert!(
        one.contains("demo-1.0-cu130") && !one.contains("broken-1.0"),
        "{one}"
    );
    let filters = [("WHEELFARM_PACKAGES", "*"), ("WHEELFARM_JOBS", "broken-*")];
    let other = runner.run("plan", &filters, 0);
    assert!(!other.contains("demo-1.0"), "{other}");
    let filters = [
        ("WHEELFARM_PACKAGES", "demo"),
        ("WHEELFARM_JOBS", "broken-*"),
    ];
    let none = runner.run("plan", &filters, 2);
    let error = "::error title=wheelfarm-nightly plan::no job of `matrix.yaml` fits packages `demo` and jobs `broken-*`%0Ahint: ";
    assert!(none.contains(error), "{none}");
    // A glob is no shell's and no option.
    let hostile = runner.run("plan", &[("WHEELFARM_JOBS", "$(touch owned) --force")], 2);
    assert!(!runner.path("owned").exists(), "{hostile}");
}

#[test]
fn a_folder_that_is_not_the_runners_is_told_with_what_to_do() {
    let runner = Runner::new("true");
    runner.write("file", "");
    let home = runner.path("file/below");
    let said = runner.run("plan", &[("WHEELFARM_HOME", home.to_str().unwrap())], 2);
    assert!(
        said.contains("::error title=wheelfarm-nightly plan::failed to make"),
        "{said}"
    );
    assert!(said.contains("%0Ahint: as root: install -d -o "), "{said}");
}

#[test]
fn a_night_without_a_run_says_so() {
    let runner = Runner::new("true");
    runner.run("report", &[], 0);
    assert!(
        runner
            .read("summary.md")
            .contains("The build did not begin")
    );
    let none = runner.run("gather", &[], 0);
    assert!(none.contains("0 wheels to publish"), "{none}");
    assert_eq!(runner.read("output"), "records=false\n");
}

/// The installer with a cargo of the test's own, which leaves a program.
#[test]
fn the_action_installs_the_program_once_and_puts_it_on_the_path() {
    let runner = Runner::new("true");
    let cargo = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'cargo 9.9.9'; exit; fi\necho \"$*\" >> \"$RUNNER_TEMP/cargo\"\nwhile [ \"$1\" != --root ]; do shift; done\nmkdir -p \"$2/bin\"\nprintf '#!/bin/sh\\necho wheelfarm 0\\n' > \"$2/bin/wheelfarm\"\nchmod +x \"$2/bin/wheelfarm\"\n";
    runner.write("tools/cargo", cargo);
    let path = runner.path("tools/cargo");
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let install = repository().join(".github/scripts/install-wheelfarm");
    let call = |step: &str| {
        let line = format!(
            "PATH=$PWD/tools:$PATH CARGO_HOME=$PWD/none {} {step}",
            install.display()
        );
        let output = runner
            .command(&line)
            .env("GITHUB_PATH", runner.path("paths"))
            .env("WHEELFARM_INSTALL_CACHE", "folder")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    call("key");
    call("install");
    call("install");
    let asked = runner.read("temp/cargo");
    assert_eq!(asked.lines().count(), 1, "it is made once: {asked}");
    assert!(asked.starts_with("install --locked --path "), "{asked}");
    let output = runner.read("output");
    let value = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().to_owned()
    };
    let (key, folder) = (value("key="), value("folder="));
    assert_eq!(
        folder,
        format!("{}/programs/{key}", runner.path("home").display())
    );
    assert_eq!(value("path="), format!("{folder}/bin/wheelfarm"));
    assert_eq!(value("version="), env!("CARGO_PKG_VERSION"));
    let paths = runner.read("paths");
    assert!(paths.starts_with(&format!("{folder}/bin\n")), "{paths}");
    assert!(paths.contains(".github/scripts/bin\n"), "{paths}");
}

/// A program of other sources, or with other files built in, has another key.
#[test]
fn the_key_of_the_program_is_of_all_that_is_in_it() {
    let runner = Runner::new("true");
    let script = repository().join(".github/scripts/install-wheelfarm");
    runner.write("farm/.github/scripts/x", "");
    fs_err::copy(
        script,
        runner.path("farm/.github/scripts/install-wheelfarm"),
    )
    .unwrap();
    let key = || {
        fs_err::remove_file(runner.path("output")).ok();
        let line = "farm/.github/scripts/install-wheelfarm key";
        let output = runner.command(line).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let said = runner.read("output");
        let key = said.lines().find_map(|line| line.strip_prefix("key="));
        key.unwrap().to_owned()
    };
    let files = [
        "Cargo.toml",
        "Cargo.lock",
        "crates/core/src/lib.rs",
        "dockerfiles/build.sh",
        "packages/demo/package.yaml",
        "patches/demo/1.0/x.patch",
        "schemas/matrix.schema.json",
    ];
    for file in files {
        runner.write(
            &format!("farm/{file}"),
            "[workspace.package]\nversion = \"1\"\n",
        );
    }
    let mut keys = vec![key()];
    assert_eq!(key(), keys[0], "the same farm");
    runner.write("farm/docs/x.md", "no part of the program");
    assert_eq!(key(), keys[0]);
    for file in files {
        runner.write(
            &format!("farm/{file}"),
            "[workspace.package]\nversion = \"2\"\n",
        );
        let key = key();
        assert!(!keys.contains(&key), "{file}");
        keys.push(key);
    }
}

/// Faults of every kind that the checks are there for, planted into this repository's own workflows.
#[test]
fn conformance_small_what_is_planted_in_workflows_is_found() {
    let check = |from: &str, to: &str, finding: &str| {
        let folder = tempfile::tempdir().unwrap();
        let nightly =
            fs_err::read_to_string(repository().join(".github/workflows/nightly.yml")).unwrap();
        assert!(nightly.contains(from), "{from}");
        let workflows = folder.path().join(".github/workflows");
        fs_err::create_dir_all(&workflows).unwrap();
        for file in ["actionlint.yaml", "zizmor.yml"] {
            let from = repository().join(".github").join(file);
            fs_err::copy(from, folder.path().join(".github").join(file)).unwrap();
        }
        // `./` is an action of this repository.
        let nightly = nightly.replace(
            "uses: ./",
            "uses: farm/wheelfarm@0123456789abcdef0123456789abcdef01234567 # v0.1.0",
        );
        fs_err::write(workflows.join("nightly.yml"), nightly.replacen(from, to, 1)).unwrap();
        let output = Command::new(repository().join("scripts/check-workflows"))
            .arg(folder.path())
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let code = i32::from(!finding.is_empty());
        assert_eq!(output.status.code(), Some(code), "{finding}: {said}");
        assert!(said.contains(finding), "{finding}: {said}");
    };
    check("name: nightly", "name: nightly", "");
    check(
        "permissions: {}",
        "permissions: write-all",
        "excessive-permissions",
    );
    check(
        "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
        "actions/checkout@v7",
        "unpinned-uses",
    );
    check(
        "        with:\n          persist-credentials: false\n",
        "",
        "artipacked",
    );
    check(
        "run: wheelfarm-nightly plan",
        "run: wheelfarm-nightly plan ${{ inputs.jobs }}",
        "template-injection",
    );
    check(
        "run: wheelfarm-nightly plan",
        "run: wheelfarm-nightly plan $GITHUB_REF",
        "SC2086",
    );
    check(
        "steps.records.outputs",
        "steps.record.outputs",
        "property \"record\" is not defined",
    );
    check("timeout-minutes", "timeout-minute", "timeout-minute");
    check(
        "  workflow_dispatch:",
        "  pull_request_target:\n  workflow_dispatch:",
        "dangerous-triggers",
    );
    check(
        "run: wheelfarm-nightly plan",
        "run: |\n          a\n          b\n          c",
        "more than two lines",
    );
}

/// A whole night on a real engine: one job is built, proven and published, one fails and says hostile things.
#[test]
fn docker_a_night_goes_through_all_its_steps() {
    let runner = Runner::new("python build.py");
    let planned = runner.run("plan", &[], 0);
    assert!(planned.contains("2 to build"), "{planned}");

    let built = runner.run("build", &[], 1);
    assert!(built.contains("1 built, 1 failed"), "{built}");
    assert!(
        built.contains("add-mask"),
        "its words are in the log: {built}"
    );
    assert_eq!(commands(&built), Vec::<String>::new());
    let without_the_guard = built.replace("::stop-commands::", "");
    assert_eq!(
        commands(&without_the_guard),
        Vec::<String>::new(),
        "nor without the guard"
    );

    let proven = runner.run("prove", &[], 0);
    assert!(proven.contains("1 wheels to prove"), "{proven}");
    assert!(proven.contains("pass         answer: 42"), "{proven}");
    let again = runner.run("prove", &[], 0);
    assert!(again.contains("0 wheels to prove"), "proven once: {again}");

    let reported = runner.run("report", &[], 0);
    let told = commands(&reported);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with(
            "::error title=broken-1.0-cu130-torch2.11-cp311 failed at compile (script)::"
        ),
        "{told:?}"
    );
    let page = runner.read("summary.md");
    assert!(page.starts_with("## Run 1: 1 built, 1 failed\n"), "{page}");
    assert!(
        page.contains("<summary>the end of its log</summary>"),
        "{page}"
    );
    assert!(
        page.contains("##[set-output name=records]true"),
        "as text, in a block: {page}"
    );
    let log = runner.read("temp/wheelfarm/logs/broken-1.0-cu130-torch2.11-cp311/build.log");
    assert!(log.contains("::add-mask::wheel"), "{log}");
    let run: Value = serde_json::from_str(&runner.read("temp/wheelfarm/logs/run.json")).unwrap();
    assert_eq!(run["counts"], json!({ "built": 1, "failed": 1 }));

    publish_elsewhere(&runner);
    // What is out is not handed over again.
    let gathered = runner.run("gather", &[], 0);
    assert!(gathered.contains("0 wheels to publish"), "{gathered}");
    assert!(runner.read("output").ends_with("records=false\n"));
    runner.leave();
}

/// Hands what the night built to another machine, which publishes it.
#[track_caller]
fn publish_elsewhere(runner: &Runner) {
    let gathered = runner.run("gather", &[], 0);
    assert!(gathered.contains("1 wheels to publish"), "{gathered}");
    assert_eq!(runner.read("output"), "records=true\n");
    let records = runner.path("temp/wheelfarm/records/jobs");
    let names: Vec<_> = fs_err::read_dir(&records)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["demo-1.0-cu130-torch2.11-cp311"]);

    // Another machine, that has the farm and the records and nothing else.
    let other = Runner::new("python build.py");
    let matrix = runner.read("matrix.yaml");
    other.write("matrix.yaml", &matrix);
    let copied = Command::new("cp")
        .arg("-r")
        .args([runner.path("temp/wheelfarm"), other.path("temp/wheelfarm")])
        .status();
    assert!(copied.unwrap().success());
    let shelf = runner.path("shelf");
    let variables = [
        ("WHEELFARM_SHELF", shelf.to_str().unwrap()),
        ("WHEELFARM_HOME", ""),
        ("DOCKER_HOST", "unix:///nonexistent.sock"),
    ];
    let published = other.run("publish", &variables, 0);
    assert!(
        published.contains("published the wheels of 1 jobs"),
        "{published}"
    );
    let catalog = Catalog::parse(&runner.read("shelf/manifest.json")).unwrap();
    assert_eq!(catalog.on(Track::Nightly).count(), 1);
    other.run("status", &variables, 0);
    let page = other.read("summary.md");
    assert!(
        page.contains("### The shelf") && page.contains("1 of 2 jobs published"),
        "{page}"
    );
}

/// A record that was changed on its way is refused where the token is.
#[test]
fn docker_a_changed_record_is_not_published() {
    let runner = Runner::new("python build.py");
    let only = [("WHEELFARM_PACKAGES", "demo")];
    runner.run("build", &only, 0);
    runner.run("prove", &only, 0);
    runner.run("gather", &only, 0);
    let record = runner.path("temp/wheelfarm/records/jobs/demo-1.0-cu130-torch2.11-cp311");
    let wheel = fs_err::read_dir(&record)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "whl"))
        .unwrap();
    let mut bytes = fs_err::read(&wheel).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::remove_file(&wheel).unwrap();
    fs_err::write(&wheel, bytes).unwrap();
    let refused = runner.run("publish", &[], 1);
    assert!(
        refused.contains("::error title=Nothing was published::"),
        "{refused}"
    );
    assert!(!runner.path("shelf/manifest.json").exists());
    runner.leave();
}

/// The runner cancels a step by a signal to the shell alone, and kills what is left 10 s later
/// (`ProcessInvoker.cs` of actions/runner).
#[test]
fn docker_a_cancelled_build_stops_kindly_and_is_reported() {
    let runner = Runner::new("echo begun; sleep 600");
    let only = [("WHEELFARM_PACKAGES", "demo")];
    let mut child = runner
        .command(&line_of("build"))
        .envs(only)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = {
        use std::io::{BufRead, BufReader};
        BufReader::new(child.stdout.take().unwrap()).lines()
    };
    lines
        .find(|line| line.as_ref().unwrap().ends_with(": compile"))
        .unwrap()
        .unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    std::thread::sleep(Duration::from_secs(2));
    let begun = Instant::now();
    let told = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(
        begun.elapsed() < Duration::from_millis(7500),
        "{:?}",
        begun.elapsed()
    );
    runner.run("report", &only, 0);
    let page = runner.read("summary.md");
    assert!(page.starts_with("## Run 1: 1 cancelled\n"), "{page}");
    runner.leave();
}

impl Runner {
    /// Takes away what a farm keeps in the engine for its next run, and says so if a container was left.
    #[track_caller]
    fn leave(&self) {
        let out = self.out();
        let farm = self.folder.path().to_str().unwrap();
        let gc = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .args(["gc", "--format", "json", "--out"])
            .arg(out)
            .current_dir(farm)
            .output()
            .unwrap();
        assert!(
            gc.status.success(),
            "{}",
            String::from_utf8_lossy(&gc.stderr)
        );
        let gc: Value = serde_json::from_slice(&gc.stdout).unwrap();
        let things = gc["things"].as_array().unwrap();
        let left: Vec<_> = things
            .iter()
            .filter(|thing| ["container", "volume"].contains(&thing["kind"].as_str().unwrap()))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
