//! A farm with one cheap package, and what can be asked of it from outside.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const JOB: &str = "demo-1.0-cu130-torch2.11-cp311";
const WHEEL: &str = "demo-1.0-py3-none-any.whl";

/// Prints numbered lines, one every so often, and leaves a wheel with so many bytes of ballast.
const SLOW: &str = r#"
import base64, hashlib, os, sys, time, zipfile
lines, pause_s, ballast = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
for number in range(1, lines + 1):
    print(f"line {number}", flush=True)
    time.sleep(pause_s)
info = "demo-1.0.dist-info/"
files = {
    "demo/__init__.py": b"ANSWER = 42\n",
    info + "METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    info + "WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
if ballast:
    files["demo/ballast.bin"] = os.urandom(ballast)
record = info + "RECORD,,\n"
for name, content in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record += f"{name},sha256={digest},{len(content)}\n"
files[info + "RECORD"] = record.encode()
with zipfile.ZipFile(os.environ["OUT"] + "/demo-1.0-py3-none-any.whl", "w") as wheel:
    for name, content in files.items():
        wheel.writestr(name, content)
"#;

/// What differs from farm to farm.
pub(crate) struct Package {
    /// What is run before `slow.py`, if anything.
    pub(crate) before: &'static str,
    pub(crate) lines: u32,
    pub(crate) pause: Duration,
    pub(crate) ballast_bytes: u32,
    pub(crate) memory: &'static str,
    pub(crate) memory_per_process: &'static str,
}

impl Default for Package {
    fn default() -> Self {
        Self {
            before: "true",
            lines: 3,
            pause: Duration::from_millis(100),
            ballast_bytes: 0,
            memory: "1GiB",
            memory_per_process: "512MiB",
        }
    }
}

impl Package {
    /// One that says a line every half second.
    pub(crate) fn saying(lines: u32) -> Self {
        Self {
            lines,
            pause: Duration::from_millis(500),
            ..Self::default()
        }
    }
}

/// Where images come from, and which engine has them.
pub(crate) struct Place {
    /// `DOCKER_HOST`; the host's own engine when absent.
    pub(crate) engine: Option<String>,
    /// The environment of the matrix, indented by four.
    pub(crate) environment: String,
}

impl Place {
    /// The host's engine, with the images that the other tests build in.
    pub(crate) fn shared() -> Self {
        let environment = "base:\n      debootstrap:\n        suite: bookworm\n    toolkit: pypi";
        Self {
            engine: None,
            environment: environment.to_owned(),
        }
    }
}

pub(crate) struct Farm {
    folder: tempfile::TempDir,
    name: String,
    engine: Option<String>,
}

impl Farm {
    pub(crate) fn new(name: &str, package: &Package) -> Self {
        Self::at(&Place::shared(), name, package)
    }

    pub(crate) fn at(place: &Place, name: &str, package: &Package) -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
            name: format!("faults-{name}-{}", std::process::id()),
            engine: place.engine.clone(),
        };
        let Package {
            before,
            lines,
            pause,
            ballast_bytes,
            memory,
            memory_per_process,
        } = package;
        let pause_s = pause.as_secs_f32();
        farm.write("packages/demo/source/slow.py", SLOW);
        farm.write(
            "packages/demo/package.yaml",
            format!(
                r#"schema: 1
name: demo
summary: a package that takes its time
licence: MIT
upstream: https://example.org/demo
releases:
  - version: "1.0"
    source:
      folder: source
    kernels: just-in-time
    build:
      requirements: []
      command: "{before} && python slow.py {lines} {pause_s} {ballast_bytes}"
    resources:
      memory: {memory}
      memory-per-process: {memory_per_process}
      disk: 64MiB
      time: 5m
      silence: 4m
"#
            ),
        );
        farm.write(
            "matrix.yaml",
            format!(
                r#"schema: 1
farm: {}
packages:
  - name: demo
    versions: ["1.0"]
environments:
  - name: bookworm-cu130
    {}
    cuda: "13.0"
    torch: ["2.11.0"]
    python: ["3.11"]
build:
  ca-bundle: host
  disk-reserve: 1GiB
  cache: 64MiB
"#,
                farm.name, place.environment
            ),
        );
        farm
    }

    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.path().join(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Makes the package need something to be built with.
    pub(crate) fn require(&self, requirement: &str) {
        let file = "packages/demo/package.yaml";
        let text = fs_err::read_to_string(self.path(file)).unwrap();
        let needs = format!("requirements: [\"{requirement}\"]");
        self.write(file, text.replace("requirements: []", &needs));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    fn wheelfarm(&self, args: &[&str], out: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
        command
            .args(args)
            .arg("--out")
            .arg(out)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        if let Some(engine) = &self.engine {
            command.env("DOCKER_HOST", engine);
        }
        command
    }

    /// Starts a build. What it says goes to a file: a pipe that nobody reads would stop it.
    pub(crate) fn start(&self) -> Controller {
        self.start_in("out", &[])
    }

    /// The same, with what the store has by then in a file.
    pub(crate) fn start_and_watch(&self) -> Controller {
        self.start_in("out", &["--events", "events.jsonl"])
    }

    /// Waits until the store has on disk that a stage was begun.
    #[track_caller]
    pub(crate) fn until_stored(&self, stage: &str) {
        let stage = format!("\"stage\":\"{stage}\"");
        until(&stage, || {
            let events = fs_err::read_to_string(self.path("events.jsonl")).unwrap_or_default();
            let mut events = events.lines();
            let begun = |line: &str| line.contains("stage-started") && line.contains(&stage);
            events.any(begun).then_some(())
        });
    }

    pub(crate) fn start_in(&self, out: &str, more: &[&str]) -> Controller {
        let said = self.path(&format!("{out}.said"));
        let file = fs_err::File::create(&said).unwrap();
        let child = self
            .wheelfarm(&["build"], &self.path(out))
            .args(more)
            .stdout(file.file().try_clone().unwrap())
            .stderr(file.into_parts().0)
            .spawn();
        Controller {
            child: child.unwrap(),
            said,
        }
    }

    /// Builds to the end, which must be a good one, and gives what was said.
    #[track_caller]
    pub(crate) fn build(&self) -> String {
        self.start().done()
    }

    /// `wheelfarm runs N`, as data.
    pub(crate) fn run(&self, number: u32) -> Value {
        let args = ["runs", &number.to_string(), "--format", "json"];
        let output = self.wheelfarm(&args, &self.out()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn docker(&self, args: &[&str]) -> String {
        docker(self.engine.as_deref(), args)
    }

    fn ours(&self, list: &[&str]) -> Vec<String> {
        let format = "{{.Labels}}\t{{.ID}}";
        let format = if list[0] == "volume" {
            "{{.Labels}}\t{{.Name}}"
        } else {
            format
        };
        let listed = self.docker(&[list, &["--format", format]].concat());
        let ours = listed.lines().filter_map(|line| {
            let (labels, name) = line.split_once('\t')?;
            let is_ours = labels.contains(&format!("farm={}@", self.name));
            is_ours.then(|| name.to_owned())
        });
        ours.collect()
    }

    /// The containers that the farm's package compiles in, ended ones too.
    pub(crate) fn containers(&self) -> Vec<String> {
        self.ours(&["ps", "--all", "--filter", "name=wheelfarm-demo"])
    }

    /// Waits until the package's own output has a line, and gives its container.
    #[track_caller]
    pub(crate) fn container_that_said(&self, line: &str) -> String {
        until(&format!("`{line}` in a container's output"), || {
            let container = self.containers().into_iter().next()?;
            let mut logs = Command::new("docker");
            if let Some(engine) = &self.engine {
                logs.env("DOCKER_HOST", engine);
            }
            let output = logs.args(["logs", &container]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().any(|said| said == line).then_some(container)
        })
    }

    /// That the wheel is on record, with the package's whole output once, and that nothing else is left.
    #[track_caller]
    pub(crate) fn check_built(&self, lines: u32) {
        self.check_built_in("out", lines);
        self.check_nothing_is_left("out");
    }

    #[track_caller]
    pub(crate) fn check_built_in(&self, out: &str, lines: u32) {
        let record = self.path(out).join("jobs").join(JOB);
        assert!(record.join(WHEEL).is_file());
        assert!(record.join("manifest.json").is_file());
        assert!(!record.join("attempt.json").exists());
        let log = fs_err::read_to_string(record.join("build.log")).unwrap();
        let said: Vec<_> = log
            .lines()
            .filter(|line| line.starts_with("line "))
            .collect();
        let want: Vec<_> = (1..=lines).map(|number| format!("line {number}")).collect();
        assert_eq!(said, want, "{log}");
        let headings = log.lines().filter(|line| *line == "== compile").count();
        assert_eq!(headings, 1, "{log}");
    }

    #[track_caller]
    pub(crate) fn check_nothing_is_left(&self, out: &str) {
        for folder in ["staging", "failed"] {
            let left: Vec<_> = fs_err::read_dir(self.path(out).join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert_eq!(left, Vec::<PathBuf>::new());
        }
        assert_eq!(self.ours(&["ps", "--all"]), Vec::<String>::new());
        let volumes = self.ours(&["volume", "ls", "--filter", "label=dev.wheelfarm.farm"]);
        assert_eq!(volumes, Vec::<String>::new());
        let images = [
            "images",
            "--quiet",
            "--filter",
            "label=dev.wheelfarm.image-kind=job",
            "--filter",
        ];
        let label = format!("label=dev.wheelfarm.farm={}", self.label(out));
        assert_eq!(self.docker(&[&images[..], &[&label]].concat()), "");
    }

    /// What the farm's containers and images are labelled with; see `folder_label`.
    fn label(&self, out: &str) -> String {
        let out = camino::Utf8PathBuf::from_path_buf(self.path(out)).unwrap();
        let out = out.canonicalize_utf8().unwrap();
        wheelfarm_engine::out_folder::folder_label(&self.name, &out)
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        // After a test that failed in the midst, too. The compiler cache is kept between runs on purpose.
        if self.engine.is_some() {
            return;
        }
        for container in self.ours(&["ps", "--all"]) {
            self.docker(&["rm", "--force", "--volumes", &container]);
        }
        for label in ["cache", "farm"] {
            let filter = format!("label=dev.wheelfarm.{label}");
            let listed = self.docker(&[
                "volume",
                "ls",
                "--filter",
                &filter,
                "--format",
                "{{.Name}}\t{{.Labels}}",
            ]);
            for line in listed
                .lines()
                .filter(|line| line.contains(&format!("={}@", self.name)))
            {
                let volume = line.split('\t').next().unwrap_or_default();
                self.docker(&["volume", "rm", volume]);
            }
        }
    }
}

/// Writes down which containers are made for a farm's package: the engine itself remembers its last few
/// hundred events, of everybody.
pub(crate) struct Made {
    watcher: Child,
    file: PathBuf,
    farm: String,
}

impl Made {
    pub(crate) fn watch(farm: &Farm) -> Self {
        let file = farm.path("made.jsonl");
        let watcher = Command::new("docker")
            .args(["events", "--filter", "type=container"])
            .args(["--filter", "event=create", "--format", "{{json .Actor}}"])
            .stdin(Stdio::null())
            .stdout(fs_err::File::create(&file).unwrap().into_parts().0)
            .spawn();
        Self {
            watcher: watcher.unwrap(),
            file,
            farm: farm.name.clone(),
        }
    }

    /// Their ids, in the order in which they were made.
    pub(crate) fn containers(&self) -> Vec<String> {
        let events = fs_err::read_to_string(&self.file).unwrap();
        let made = events.lines().filter_map(|line| {
            let actor: Value = serde_json::from_str(line).unwrap();
            let attributes = &actor["Attributes"];
            let name = attributes["name"].as_str()?;
            let label = attributes["dev.wheelfarm.farm"].as_str()?;
            let is_ours = name.starts_with("wheelfarm-demo") && label.starts_with(&self.farm);
            is_ours.then(|| actor["ID"].as_str().unwrap().to_owned())
        });
        made.collect()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.watcher.kill().unwrap();
        self.watcher.wait().unwrap();
    }
}

/// A `wheelfarm build` that runs. One that is dropped is killed.
pub(crate) struct Controller {
    child: Child,
    said: PathBuf,
}

impl Controller {
    pub(crate) fn said(&self) -> String {
        fs_err::read_to_string(&self.said).unwrap()
    }

    #[track_caller]
    pub(crate) fn until_said(&self, text: &str) {
        until(text, || self.said().contains(text).then_some(()));
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// SIGKILL: nothing is cleaned up.
    pub(crate) fn kill(self) {
        let said = self.said.clone();
        assert!(
            self.kill_if_it_runs(),
            "it had ended already: {}",
            fs_err::read_to_string(said).unwrap()
        );
    }

    /// The same where it may have ended by now; whether it was killed.
    pub(crate) fn kill_if_it_runs(mut self) -> bool {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        status.signal() == Some(9)
    }

    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.said())
    }

    #[track_caller]
    pub(crate) fn done(self) -> String {
        let (status, said) = self.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // One that was waited for is not there any more.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Looks again and again until there is something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
pub(crate) fn docker(engine: Option<&str>, args: &[&str]) -> String {
    let mut command = Command::new("docker");
    if let Some(engine) = engine {
        command.env("DOCKER_HOST", engine);
    }
    let output = command.args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {args:?}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
