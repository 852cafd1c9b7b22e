//! Fetching against a server on this machine and real git repositories in a folder.

mod git;
mod sdist;
pub(crate) mod server;

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use wheelfarm_core::source::SourceTree;

use super::{FetchError, FetchOptions, FetchProgress, Fetcher};

/// Limits that do not make a test wait.
fn options() -> FetchOptions {
    FetchOptions {
        attempts: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
        ..FetchOptions::default()
    }
}

fn fetcher(cache: &Path) -> Fetcher {
    Fetcher::new(cache, options()).unwrap()
}

fn paths(tree: &SourceTree) -> Vec<&str> {
    tree.iter().map(|(path, _)| path.as_str()).collect()
}

/// The error, its causes and its hint.
fn report(error: &FetchError) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(out, "\n  caused by: {error}").unwrap();
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        write!(out, "\n  hint: {hint}").unwrap();
    }
    write!(out, "\n  kind: {:?}", error.kind()).unwrap();
    out
}

/// Keeps what is told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<FetchProgress>>);

impl Told {
    fn listener(&self) -> impl Fn(FetchProgress) + Send + Sync {
        |step| self.0.lock().unwrap().push(step)
    }

    fn has(&self, wanted: impl Fn(&FetchProgress) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(wanted)
    }
}

/// Every file below a folder, relative to it.
fn files_below(folder: &Path) -> Vec<String> {
    let mut waiting = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(next) = waiting.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
