//! Notes which commit of which repository a release build was made from: the workflow that
//! `wheelfarm init` writes installs that very commit. A debug build notes none, so that a commit does
//! not make it anew; nor does a tree with changes, which no commit stands for.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WHEELFARM_ACTION");
    let given = env::var("WHEELFARM_ACTION").ok();
    if let Some(action) = given.or_else(of_checkout) {
        println!("cargo::rustc-env=WHEELFARM_ACTION={action}");
    }
}

/// `OWNER/NAME@COMMIT`, if this is a checkout, whole and without changes.
fn of_checkout() -> Option<String> {
    if env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={log}");
    let commit = git(&["rev-parse", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    if !changes.is_empty() {
        return None;
    }
    // Cargo's own checkouts have a folder as their origin; the package says where that came from.
    let origin = git(&["remote", "get-url", "origin"]).unwrap_or_default();
    let declared = env::var("CARGO_PKG_REPOSITORY").ok()?;
    let repository = on_github(&origin).or_else(|| on_github(&declared))?;
    Some(format!("{repository}@{commit}"))
}

/// `OWNER/NAME` out of an address on GitHub.
fn on_github(url: &str) -> Option<&str> {
    let (_, path) = url.split_once("github.com")?;
    let path = path.trim_start_matches([':', '/']);
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let (owner, name) = path.split_once('/')?;
    let is_name = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !text.is_empty() && text.chars().all(is_plain)
    };
    (is_name(owner) && is_name(name)).then_some(path)
}

/// What git says, if it is there and this is a repository.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
