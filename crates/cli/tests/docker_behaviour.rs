//! How a build behaves when it is stopped, when the disk is full, and when another one runs: what
//! it says, how it ends, and that nothing is left in the engine or half-written in `out/`.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a container that is asked to stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A farm with one package whose build sleeps, and its own `out/`.
struct Sleeper {
    folder: tempfile::TempDir,
    farm: String,
}

impl Sleeper {
    fn new(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let like =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bad-builds/build-that-hangs");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(like.join("."))
            .arg(folder.path())
            .status();
        assert!(copied.unwrap().success());
        let farm = format!("sleeper-{}", std::process::id());
        let sleeper = Self { folder, farm };
        sleeper.edit(
            "matrix.yaml",
            "farm: bad-builds",
            &format!("farm: {}", sleeper.farm),
        );
        let package = "packages/demo/package.yaml";
        sleeper.edit(package, "silence: 4s", "silence: 4m");
        sleeper.edit(package, "echo begun; sleep 600", command);
        sleeper
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        fs_err::write(path, text.replace(from, to)).unwrap();
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn build(&self, out: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
        command
            .args(["build", "--out"])
            .arg(out)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A build that has come to its compile stage.
    fn compiling(&self) -> Child {
        let mut child = self.build(&self.out()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        lines
            .find(|line| line.as_ref().unwrap().ends_with(": compile"))
            .unwrap()
            .unwrap();
        // What it says later is read to the end, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        std::thread::sleep(Duration::from_secs(3));
        child
    }

    #[track_caller]
    fn check_nothing_is_left(&self) {
        for folder in ["jobs", "staging", "failed"] {
            let left = fs_err::read_dir(self.out().join(folder)).unwrap().count();
            assert_eq!(left, 0, "{folder}");
        }
        for list in [&["ps", "--all"][..], &["volume", "ls"]] {
            let output = Command::new("docker")
                .args(list)
                .args(["--format", "{{.Labels}}"])
                .output()
                .unwrap();
            let labels = String::from_utf8_lossy(&output.stdout);
            assert!(!labels.contains(&self.farm), "{list:?}: {labels}");
        }
    }
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn docker_ctrl_c_stops_kindly_and_leaves_nothing() {
    let sleeper = Sleeper::new("echo begun; sleep 600");
    let mut child = sleeper.compiling();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    sleeper.check_nothing_is_left();
}

#[test]
fn docker_ctrl_c_twice_does_not_wait_for_the_container() {
    let sleeper = Sleeper::new("trap '' TERM; echo begun; while true; do sleep 1; done");
    let mut child = sleeper.compiling();
    let begun = Instant::now();
    interrupt(&child);
    std::thread::sleep(Duration::from_secs(1));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    sleeper.check_nothing_is_left();
}

#[test]
fn docker_a_second_build_in_one_folder_is_kept_out() {
    let sleeper = Sleeper::new("echo begun; sleep 600");
    let mut child = sleeper.compiling();
    let second = sleeper.build(&sleeper.out()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another run of wheelfarm works in"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    sleeper.check_nothing_is_left();
}

#[test]
fn docker_a_full_disk_is_the_hosts_fault_and_leaves_nothing_half_written() {
    let sleeper = Sleeper::new("true");
    let out = sleeper.out();
    fs_err::create_dir(&out).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&out)
        .status();
    assert!(
        mounted.unwrap().success(),
        "this test mounts a small disk: run it as root"
    );
    let output = sleeper.build(&out).output().unwrap();
    let left: Vec<_> = ["jobs", "staging"]
        .into_iter()
        .flat_map(|folder| fs_err::read_dir(out.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    let unmounted = Command::new("umount").arg(&out).status();
    assert!(unmounted.unwrap().success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("(disk-full)") && said.contains("hint: free some space"),
        "{said}"
    );
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn docker_a_disk_that_fills_up_on_the_way_is_the_hosts_fault_too() {
    // There is room for the job to begin, and none for its wheel.
    let sleeper = Sleeper::new("head -c 4000000 /dev/zero > $OUT/demo-1.0-py3-none-any.whl");
    let matrix = fs_err::read_to_string(sleeper.folder.path().join("matrix.yaml")).unwrap();
    let key = if matrix.contains("\nbuild:\n") {
        ""
    } else {
        "\nbuild:\n"
    };
    let matrix = format!("{matrix}{key}").replace("\nbuild:\n", "\nbuild:\n  disk-reserve: 1MiB\n");
    fs_err::write(sleeper.folder.path().join("matrix.yaml"), matrix).unwrap();
    let out = sleeper.out();
    fs_err::create_dir(&out).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(&out)
        .status();
    assert!(
        mounted.unwrap().success(),
        "this test mounts a small disk: run it as root"
    );
    let output = sleeper.build(&out).output().unwrap();
    let left: Vec<_> = ["jobs", "staging"]
        .into_iter()
        .flat_map(|folder| fs_err::read_dir(out.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    let unmounted = Command::new("umount").arg(&out).status();
    assert!(unmounted.unwrap().success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("collect"), "{said}");
    assert!(said.contains("(disk-full)"), "{said}");
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn docker_without_an_engine_nothing_is_begun() {
    let sleeper = Sleeper::new("true");
    let output = sleeper
        .build(&sleeper.out())
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("failed to connect to the Docker engine"),
        "{said}"
    );
    assert!(said.contains("hint: start the engine"), "{said}");
    assert!(!sleeper.out().exists());
}
