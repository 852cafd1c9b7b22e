//! What stands in the compilers' place, with compilers that only say what they were given.
//!
//! On a real engine it is tried by `docker_compiler_cache.rs` and `docker_compile_commands.rs`.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use fs_err as fs;
use serde_json::Value;
use wheelfarm_engine::files::write_atomic;

const RECORDER: &str = include_str!("../../../dockerfiles/nvcc_recorder.py");

/// A compiler that writes what it is given, and its path, and leaves an object.
const COMPILER: &str = r#"#!/bin/sh
printf '%s\n' "$0" "$@" "PATH=$PATH" "APPEND=$NVCC_APPEND_FLAGS" >> "$LAB/said"
while [ $# -gt 0 ]; do
    if [ "$1" = -o ]; then echo object > "$2"; fi
    shift
done
exit "${COMPILER_EXIT:-0}"
"#;

/// A container's folders below one folder.
struct Lab {
    root: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let lab = Self { root };
        for folder in [
            "cuda/bin",
            "host",
            "farm/compilers",
            "source/csrc",
            "venv/lib/python3.11/site-packages",
        ] {
            fs::create_dir_all(lab.path(folder)).unwrap();
        }
        symlink(
            lab.path("venv/lib/python3.11/site-packages"),
            lab.path("site"),
        )
        .unwrap();
        let text = RECORDER
            .replace(
                "#!/opt/venv/bin/python -IS",
                "#!/usr/bin/env -S python3 -IS",
            )
            .replace(
                "\"/opt/site\"",
                &format!("\"{}\"", lab.path("site").display()),
            )
            .replace(
                "\"/build/source/\"",
                &format!("\"{}\"", lab.path("source/").display()),
            );
        lab.program("farm/nvcc_recorder.py", &text);
        lab.program("cuda/bin/nvcc.real", COMPILER);
        lab.program("host/g++", COMPILER);
        symlink(lab.path("farm/nvcc_recorder.py"), lab.path("cuda/bin/nvcc")).unwrap();
        symlink("../nvcc_recorder.py", lab.path("farm/compilers/g++")).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        write_atomic(self.path(name), text.as_bytes()).unwrap();
        fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, program: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
        let inherited = std::env::var("PATH").unwrap_or_default();
        let text = |path: PathBuf| path.display().to_string();
        let path = [
            text(self.path("farm/compilers")),
            text(self.path("host")),
            inherited,
        ]
        .join(":");
        Command::new(self.path(program))
            .args(args)
            .current_dir(self.path("source"))
            .env("PATH", path)
            .env("LAB", self.root.path())
            .env("WHEELFARM_COMMANDS", self.path("commands"))
            .env("WHEELFARM_OBJECTS", self.path("objects"))
            .env_remove("WHEELFARM_CACHE_TOOL")
            .env_remove("WHEELFARM_REHEARSAL")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the stand-in starts")
    }

    fn said(&self) -> String {
        let said = fs::read_to_string(self.path("said")).unwrap_or_default();
        said.replace(&format!("{}/", self.root.path().display()), "@")
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect()
    }
}

fn compile(lab: &Lab, env: &[(&str, &str)]) -> Output {
    let site = lab.path("venv/lib/python3.11/site-packages/torch/include");
    let site64 = lab.path("venv/lib64/python3.11/site-packages/numpy");
    let args = [
        &format!("-I{}", site.display()),
        "-isystem",
        &site64.display().to_string(),
        "-c",
        "csrc/a.cu",
        "-o",
        "a.o",
        "--generate-dependencies-with-compile",
        "--dependency-output",
        "a.o.d",
    ]
    .map(str::to_owned);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    lab.run("cuda/bin/nvcc", &args, env)
}

#[test]
fn an_object_does_not_learn_of_pythons_version_or_where_the_build_stood() {
    let lab = Lab::new();
    let env = [("NVCC_APPEND_FLAGS", "--threads=1")];
    assert!(compile(&lab, &env).status.success());
    let said = lab.said();
    let given: Vec<_> = said.lines().collect();
    assert_eq!(
        given[..12],
        [
            "@cuda/bin/nvcc.real",
            "-I@site/torch/include",
            "-isystem",
            "@site/numpy",
            "-c",
            "@source/csrc/a.cu",
            "-o",
            "a.o",
            "--generate-dependencies-with-compile",
            "--dependency-output",
            "a.o.d",
            "--threads=1",
        ]
    );
    assert!(
        said.ends_with("\nAPPEND=\n"),
        "the flags are given once: {said}"
    );
    assert!(
        !said.contains("compilers"),
        "nvcc starts the host compiler itself: {said}"
    );
    let object = &lab.lines("objects")[0];
    assert_eq!(
        (&object["language"], &object["way"]),
        (&"cuda".into(), &"compiler".into())
    );
    // What is on record is what the build said, for it is held against the contract.
    let argv = lab.lines("commands")[0]["argv"].to_string();
    assert!(
        argv.contains("\"csrc/a.cu\"") && argv.contains("python3.11"),
        "{argv}"
    );
}

#[test]
fn what_makes_no_object_goes_through_as_it_is() {
    let lab = Lab::new();
    for args in [
        &["--version"][..],
        &["-E", "-c", "csrc/a.cu", "-o", "a.i"],
        &["-shared", "a.o", "-o", "a.so"],
        &["-c", "/elsewhere/probe.cu", "-o", "probe.o"],
        &["-c", "csrc/a.cu", "csrc/b.cu", "-o", "both.o"],
    ] {
        fs::remove_file(lab.path("said")).ok();
        assert!(lab.run("cuda/bin/nvcc", args, &[]).status.success());
        let said = lab.said();
        let given: Vec<_> = said.lines().skip(1).take(args.len()).collect();
        assert_eq!(given, args);
    }
    assert!(lab.lines("objects").is_empty());
}

#[test]
fn objects_go_through_the_cache_of_both_kinds_of_compilers() {
    let lab = Lab::new();
    lab.program("cache", COMPILER);
    let cache = lab.path("cache").display().to_string();
    let env = [("WHEELFARM_CACHE_TOOL", cache.as_str())];
    assert!(compile(&lab, &env).status.success());
    assert!(
        lab.said().starts_with("@cache\n@cuda/bin/nvcc.real\n"),
        "{}",
        lab.said()
    );
    fs::remove_file(lab.path("said")).unwrap();
    let host = ["-c", "csrc/m.cpp", "-o", "m.o"];
    assert!(lab.run("farm/compilers/g++", &host, &env).status.success());
    assert!(
        lab.said()
            .starts_with("@cache\n@host/g++\n-c\ncsrc/m.cpp\n"),
        "{}",
        lab.said()
    );
    let ways: Vec<_> = lab
        .lines("objects")
        .iter()
        .map(|line| line["way"].clone())
        .collect();
    assert_eq!(ways, ["cache", "cache"]);
}

#[test]
fn a_cache_that_breaks_costs_no_object() {
    let lab = Lab::new();
    lab.program(
        "cache",
        "#!/bin/sh\necho \"$@\" >> \"$LAB/asked\"\necho 'sccache: error: No space' >&2\nexit 2\n",
    );
    let cache = lab.path("cache").display().to_string();
    let env = [("WHEELFARM_CACHE_TOOL", cache.as_str())];
    for _ in 0..5 {
        let output = compile(&lab, &env);
        assert!(output.status.success());
    }
    let objects = lab.lines("objects");
    assert!(
        objects.iter().all(|line| line["way"] == "compiler"),
        "{objects:?}"
    );
    assert_eq!(objects[0]["fault"], "sccache: error: No space");
    let asked = fs::read_to_string(lab.path("asked")).unwrap();
    assert_eq!(
        asked.lines().count(),
        3,
        "a cache that failed three times is left alone"
    );

    // One that is not there, and one that says that all is well and leaves nothing.
    lab.program("liar", "#!/bin/sh\nexit 0\n");
    for tool in ["absent", "liar"] {
        fs::remove_file(lab.path("objects")).ok();
        fs::remove_file(lab.path("source/a.o")).ok();
        let tool = lab.path(tool).display().to_string();
        assert!(
            compile(&lab, &[("WHEELFARM_CACHE_TOOL", &tool)])
                .status
                .success()
        );
        assert!(lab.path("source/a.o").exists(), "{tool}");
        assert!(lab.lines("objects")[0]["fault"].is_string(), "{tool}");
    }
}

#[test]
fn a_compilers_own_failure_is_the_builds() {
    let lab = Lab::new();
    lab.program(
        "cache",
        "#!/bin/sh\necho 'a.cu(3): error: expected a \";\"' >&2\nexit 2\n",
    );
    let cache = lab.path("cache").display().to_string();
    let output = compile(&lab, &[("WHEELFARM_CACHE_TOOL", &cache)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected a"));
    assert!(
        !lab.path("said").exists(),
        "it is not compiled twice to hear the same"
    );
    assert!(lab.lines("objects").is_empty());
    // A compiler that was killed for memory would be killed again.
    lab.program(
        "cache",
        "#!/bin/sh\necho 'sccache: Compiler killed by signal 9' >&2\nexit 254\n",
    );
    assert_eq!(
        compile(&lab, &[("WHEELFARM_CACHE_TOOL", &cache)])
            .status
            .code(),
        Some(254)
    );
    assert!(!lab.path("said").exists());
    // Without a cache, too.
    assert_eq!(
        compile(&lab, &[("COMPILER_EXIT", "7")]).status.code(),
        Some(7)
    );
}

#[test]
fn a_rehearsal_compiles_nothing() {
    let lab = Lab::new();
    let env = [
        ("WHEELFARM_REHEARSAL", "1"),
        ("WHEELFARM_CACHE_TOOL", "/nowhere"),
    ];
    assert!(compile(&lab, &env).status.success());
    assert_eq!(fs::read(lab.path("source/a.o")).unwrap(), b"");
    assert!(!lab.path("said").exists());
}
