//! `wheelfarm diagnose` on logs from here and elsewhere, and with an assistant that is none.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
        path
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command
            .arg("diagnose")
            .args(args)
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("HF_TOKEN", "the-planted-token-of-this-test")
            .env_remove("WHEELFARM_LOG");
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        said(&self.command(args).output().unwrap())
    }

    fn run_with_input(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        said(&child.wait_with_output().unwrap())
    }
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

const KNOWN: &str = "\
== image
Cuda compilation tools, release 12.6, V12.6.85
== compile
[1/9] /usr/local/cuda/bin/nvcc -c a.cu
\u{1b}[31mnvcc fatal   : Unsupported gpu architecture 'compute_120'\u{1b}[0m
ninja: build stopped: subcommand failed.
";

const UNKNOWN: &str = "\
Collecting torch==2.11.0
export HF_TOKEN=the-planted-token-of-this-test
frobnicating 1 of 3
error: the frobnicator is out of order
ninja: build stopped: subcommand failed.
";

#[test]
fn a_known_failure_is_explained() {
    let place = Place::new();
    place.write("a.log", KNOWN);
    let (code, stdout, stderr) = place.run(&["a.log"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    insta::assert_snapshot!(stdout);
    assert!(!place.path("a.log.diagnose-prompt.md").exists());
}

#[test]
fn a_known_failure_is_explained_to_machines_from_standard_input() {
    let place = Place::new();
    let (code, stdout, _) = place.run_with_input(&["-", "--format", "json"], KNOWN);
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 0);
    shape::check("diagnose", &said);
    assert_eq!(said["is_known"], true);
    assert_eq!(said["log"], "standard input");
    assert_eq!(said["diagnoses"][0]["rule"], "nvcc-unsupported-arch");
    assert_eq!(said["diagnoses"][0]["line"], 5);
    assert_eq!(said["diagnoses"][1]["kind"], "end");
    assert_eq!(said["facts"]["CUDA toolkit"], "12.6");
}

#[test]
fn the_folder_of_a_failed_job_tells_more() {
    let place = Place::new();
    place.write("out/failed/x/build.log", UNKNOWN);
    place.write("out/failed/x/Dockerfile", "FROM debian:12\n");
    let digest = "0".repeat(64);
    let record = serde_json::json!({
        "schema": 1, "job": "demo-1.0-cu130-torch2.11-cp311", "job_digest": digest, "stage": "compile",
        "kind": "script", "exit_code": 1, "detail": "the build ended with exit code 1", "hint": null,
    });
    place.write("out/failed/x/outcome.json", &record.to_string());
    let (code, stdout, _) = place.run(&["out/failed/x"]);
    assert_eq!(code, 4);
    let (_, json, _) = place.run(&["out/failed/x", "--format", "json"]);
    shape::check("diagnose", &serde_json::from_str(&json).unwrap());
    assert!(
        stdout.starts_with("demo-1.0-cu130-torch2.11-cp311 failed at compile (script)\n"),
        "{stdout}"
    );
    let prompt = fs_err::read_to_string(place.path("out/failed/x/diagnose-prompt.md")).unwrap();
    for part in [
        "- job: demo-1.0-cu130-torch2.11-cp311",
        "- torch, by the log: 2.11.0",
        "    FROM debian:12",
        " | error: the frobnicator is out of order",
    ] {
        assert!(prompt.contains(part), "{part}\n{prompt}");
    }
    assert!(!prompt.contains("the-planted-token"), "{prompt}");
}

#[test]
fn an_unknown_failure_is_written_up() {
    let place = Place::new();
    place.write("a.log", UNKNOWN);
    let (code, stdout, stderr) = place.run(&["a.log"]);
    assert_eq!((code, stderr.as_str()), (4, ""));
    insta::assert_snapshot!(stdout);
    assert!(place.path("a.log.diagnose-prompt.md").exists());

    let (code, stdout, _) = place.run(&["a.log", "--prompt", "b.md", "--format", "json"]);
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 4);
    shape::check("diagnose", &said);
    assert_eq!(said["is_known"], false);
    assert_eq!(said["prompt"], "b.md");
    assert_eq!(said["assistant"], Value::Null);
    assert!(place.path("b.md").exists());
}

/// What the program beside it writes down of how it was called.
fn noted(folder: &Path, name: &str) -> String {
    fs_err::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn an_assistant_is_asked_only_when_that_is_wanted() {
    let place = Place::new();
    place.write("a.log", UNKNOWN);
    place.write("known.log", KNOWN);
    let notes = place.path("notes");
    fs_err::create_dir(&notes).unwrap();
    let script = format!(
        "echo \"$@\" > {0}/args; cat > {0}/stdin; env > {0}/env; ls -A > {0}/files; pwd > {0}/pwd; \
         echo 'Replace the frobnicator:'; printf '  rm -rf /\\033[31m\\n'",
        notes.display()
    );
    place.program("claude", &script);
    assert_eq!(place.run(&["a.log"]).0, 4);
    assert_eq!(place.run(&["known.log", "--assistant"]).0, 0);
    assert!(!notes.join("args").exists(), "nobody asked for it");

    let (code, stdout, stderr) = place.run(&["a.log", "--assistant"]);
    assert_eq!(code, 4, "{stderr}");
    let end = stdout.split_once("\n\n`claude` says").unwrap().1;
    assert_eq!(
        end,
        " (a program's guess; nothing of it was run):\n  | Replace the frobnicator:\n  |   rm -rf /\n"
    );
    assert!(noted(&notes, "args").contains("-p"));
    let prompt = fs_err::read_to_string(place.path("a.log.diagnose-prompt.md")).unwrap();
    assert_eq!(noted(&notes, "stdin"), prompt);
    assert!(!noted(&notes, "env").contains("the-planted-token"));
    assert_eq!(noted(&notes, "files"), "");
    assert!(!noted(&notes, "pwd").contains(place.folder.path().to_str().unwrap()));
}

#[test]
fn an_assistant_that_is_not_there_or_fails_is_told() {
    let place = Place::new();
    place.write("a.log", UNKNOWN);
    let (code, stdout, stderr) = place.run(&["a.log", "--assistant=gemini"]);
    assert_eq!((code, stdout.as_str()), (3, ""));
    assert_eq!(
        stderr,
        "error: found no gemini on PATH\n\
         hint: no rule fits; the prompt is in `a.log.diagnose-prompt.md` for any assistant or person\n"
    );
    place.program("gemini", "echo 'please log in' >&2; exit 41");
    let (code, _, stderr) = place.run(&["a.log", "--assistant=gemini"]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains("`gemini` ended with exit status: 41: please log in"),
        "{stderr}"
    );
}

#[test]
fn the_rules_are_listed() {
    let place = Place::new();
    let (code, stdout, _) = place.run(&["--list"]);
    assert_eq!(code, 0);
    assert!(stdout.lines().count() > 50, "{stdout}");
    let (_, stdout, _) = place.run(&["--list", "--format", "json"]);
    let said: Value = serde_json::from_str(&stdout).unwrap();
    shape::check("diagnosis-rules", &said);
    for rule in said["rules"].as_array().unwrap() {
        for field in ["id", "kind", "title", "meaning", "fix"] {
            assert!(!rule[field].as_str().unwrap().is_empty(), "{rule}");
        }
    }
}

#[test]
fn a_long_log_is_read() {
    let place = Place::new();
    let line = "[12/73] /usr/local/cuda/bin/nvcc --generate-dependencies-with-compile -I/x -c a.cu -o a.o\n";
    let mut log = line.repeat(16 * 1024 * 1024 / line.len());
    log.push_str(KNOWN);
    place.write("a.log", &log);
    let (code, stdout, _) = place.run(&["a.log"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("nvcc-unsupported-arch"), "{stdout}");
}
