//! A folder for each fault that a matrix or a package can have, named after it: what the program
//! says of it, word for word, and its exit code.
//!
//! `command.txt` holds the arguments, `expected.txt` the exit code and standard error. After a wanted
//! change of words: `WHEELFARM_UPDATE_GOLDEN=1 cargo test --package wheelfarm --test bad_input`, then
//! read the difference.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        let said = said(&folder);
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
