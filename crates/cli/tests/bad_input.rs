//! A folder for each fault that a matrix or a package can have, named after it: what the program
//! says of it, word for word, and its exit code.
//!
//! `command.txt` holds the arguments, `expected.txt` the exit code and standard error. After a wanted
//! change of words: `WHEELFARM_UPDATE_GOLDEN=1 cargo test --package wheelfarm --test bad_input`, then
//! read the difference.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folders() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bad-input");
    let entries = fs::read_dir(&top).expect("the folder of faults is there");
    let mut folders: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    folders.sort();
    folders
}

fn read(path: &Path) -> String {
    let file = fs_err::read_to_string(path);
    file.unwrap_or_else(|error| panic!("{error}"))
}

/// Exit code and standard error of the folder's command; standard output must stay empty.
fn said(folder: &Path) -> String {
    let command = read(&folder.join("command.txt"));
    let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(command.split_whitespace())
        .current_dir(folder)
        .env_remove("WHEELFARM_LOG")
        .env_remove("WHEELFARM_CACHE")
        .output()
        .expect("the program starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.is_empty(), "{}: {stdout}", folder.display());
    let code = output.status.code().expect("it ends by itself");
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("exit code {code}\n{stderr}")
}

#[test]
fn every_fault_is_told_with_its_place_and_what_to_do() {
    let mut wrong = Vec::new();
    let folders = folders();
    assert!(folders.len() > 30, "{} faults", folders.len());
    for folder in folders {
        let before = files(&folder);
        let said = said(&folder);
        assert_eq!(before, files(&folder), "a refused command leaves no file");
        let golden = folder.join("expected.txt");
        if std::env::var_os("WHEELFARM_UPDATE_GOLDEN").is_some() {
            fs_err::write(&golden, &said).expect("the golden text can be written");
        }
        if said != read(&golden) {
            wrong.push(format!("{}\n{said}", folder.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "other words than expected.txt:\n{}",
        wrong.join("\n")
    );
}

/// What is printed where a command is not complete is help, not an error.
#[test]
fn every_error_says_what_to_type() {
    for folder in folders() {
        let golden = read(&folder.join("expected.txt"));
        let errors = golden.split("\nerror: ").skip(1);
        for error in errors {
            let hint = error
                .lines()
                .find_map(|line| line.trim_start().strip_prefix("hint: "));
            assert!(
                hint.is_some_and(|hint| !hint.is_empty()),
                "{}: no hint after `error: {error}`",
                folder.display()
            );
        }
        assert!(
            golden.contains("\nerror: ") || golden.contains("\nUsage: "),
            "{}: neither an error nor help",
            folder.display()
        );
    }
}

#[test]
fn more_jobs_than_github_takes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let farm = folder.path();
    let pythons = ["3.10", "3.11", "3.12", "3.13"];
    let torches = ["2.9.1", "2.10.0", "2.11.0"];
    let packages: Vec<_> = (0..22).map(|number| format!("demo-{number}")).collect();
    let entries = packages.iter().map(|package| {
        write_package(farm, package);
        format!("  - name: {package}\n    versions: [\"1.0\"]\n")
    });
    let entries: String = entries.collect();
    let matrix = format!(
        "schema: 1\nfarm: test\npackages:\n{entries}environments:\n  - name: manylinux\n    \
         base:\n      image:\n        reference: pytorch/manylinux2_28-builder:cuda13.0\n        \
         interpreter: manylinux\n    toolkit: image\n    cuda: \"13.0\"\n    \
         torch-index: https://download.pytorch.org/whl/cu130\n    \
         torch: {torches:?}\n    python: {pythons:?}\n"
    );
    fs_err::write(farm.join("matrix.yaml"), matrix).unwrap();

    let ended = github_plan(farm, &[]);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let first = "error: 264 jobs do not fit into a GitHub Actions matrix, which takes at most 256
\
                 hint: split it over several matrices with `--only`";
    assert!(stderr.starts_with(first), "{stderr}");
    assert_eq!(
        (ended.status.code(), ended.stdout.as_slice()),
        (Some(2), &b""[..])
    );

    let ended = github_plan(farm, &["--skip", "demo-21-*"]);
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

fn github_plan(farm: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["plan", "--format", "github"])
        .args(more)
        .current_dir(farm)
        .output()
        .expect("the program starts")
}

fn write_package(farm: &Path, name: &str) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo/packages/demo");
    let text = fs_err::read_to_string(demo.join("package.yaml")).unwrap();
    let folder = farm.join("packages").join(name);
    fs::create_dir_all(folder.join("source")).unwrap();
    let text = text.replace("name: demo\n", &format!("name: {name}\n"));
    fs_err::write(folder.join("package.yaml"), text).unwrap();
    fs::copy(
        demo.join("source/demo.py"),
        folder.join("source").join("demo.py"),
    )
    .unwrap();
}

/// Every file and folder below `folder`.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path);
    }
    found
}
