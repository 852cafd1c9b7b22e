use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use wheelfarm_core::manifest::Manifest;
use wheelfarm_core::release::catalog::{Catalog, CatalogWheel, Track};
use wheelfarm_core::release::resolve::{CatalogPlace, Facts};

use super::catalog::{fetch, read_file};
use super::{CatalogReadError, EnvironmentError, environment};
use crate::container::{EngineErrorKind, Operation, ScriptedEngine, ScriptedRun};
use crate::fetch::tests::server::{Reply, Server};
use crate::fetch::{FetchOptions, Fetcher};
use crate::run::StopSignal;

fn catalog() -> Catalog {
    let sample = include_str!("../../../core/src/manifest/sample.json");
    let manifest = Manifest::parse(sample).unwrap();
    let name = manifest.wheel.file_name.parse().unwrap();
    let now = "2026-11-21T03:00:00Z";
    let wheel = CatalogWheel::new(name, &manifest, now);
    Catalog::empty().with([wheel], Track::Stable, now).unwrap()
}

fn told(error: &dyn Error, hint: Option<String>) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    let causes = causes.map(|cause| format!("caused by: {cause}"));
    let hint = hint.map(|hint| format!("hint: {hint}"));
    let lines = std::iter::once(error.to_string()).chain(causes).chain(hint);
    lines.collect::<Vec<_>>().join("\n  ")
}

async fn fetched(server: &mut Server, path: &str) -> Result<usize, CatalogReadError> {
    let cache = tempfile::tempdir().unwrap();
    let options = FetchOptions {
        attempts: 2,
        first_wait: Duration::from_millis(1),
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(cache.path(), options).unwrap();
    let place = CatalogPlace::parse(&server.url(path), "https://hub.example.org").unwrap();
    let place = place.unwrap();
    let package = "torch-spline-conv".parse().unwrap();
    let work = fetch(&fetcher, &place, &package, |_| ());
    let excerpt = server.during(work).await?;
    Ok(excerpt.catalog.wheels.len())
}

#[tokio::test]
async fn a_catalog_is_fetched_after_redirects_and_a_second_attempt() {
    let mut server = Server::new().await;
    let path = "/me/wheels/resolve/main/manifest.json";
    let there = server.url("/api/resolve-cache/manifest.json");
    let redirect = format!("Location: {there}\r\n");
    server.on(path, Reply::status(503, ""));
    server.on(path, Reply::status(307, &redirect));
    let text = catalog().to_text();
    server.on(
        "/api/resolve-cache/manifest.json",
        Reply::ok("text/plain; charset=utf-8", text),
    );
    assert_eq!(fetched(&mut server, path).await.unwrap(), 1);
    let asked = server.asked().await;
    assert_eq!(asked, [path, path, "/api/resolve-cache/manifest.json"]);
}

#[tokio::test]
async fn what_is_no_catalog_is_told_with_what_the_server_calls_it() {
    let mut server = Server::new().await;
    server.on(
        "/a/manifest.json",
        Reply::ok("text/html", "<!doctype html><p>busy"),
    );
    server.on("/b/manifest.json", Reply::status(404, ""));
    let one_wheel = include_str!("../../../core/src/manifest/sample.json");
    server.on("/c/manifest.json", Reply::ok("application/json", one_wheel));
    server.on(
        "/d/manifest.json",
        Reply::Half(catalog().to_text().into_bytes()),
    );
    let base = server.url("");
    let mut all = Vec::new();
    for path in ["/a", "/b/", "/c/manifest.json", "/d"] {
        let error = fetched(&mut server, path).await.unwrap_err();
        all.push(told(&error, error.hint()).replace(&base, "URL"));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let error = read_file(&"/nowhere/manifest.json".into(), &"x".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "failed to open `/nowhere/manifest.json`");
    assert!(error.hint().unwrap().contains("hf://OWNER/REPO"));
}

/// The environment of a test, with a folder before all others on the path of programs and of Python.
fn inherited(folder: &Path) -> Vec<(OsString, OsString)> {
    let path = std::env::var("PATH").unwrap_or_default();
    let first = folder.display();
    [
        ("PATH", format!("{first}:{path}")),
        ("PYTHONPATH", first.to_string()),
        ("HF_TOKEN", "planted".to_owned()),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}

fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn torch(folder: &Path, version: &str, words: &str) {
    let info = folder.join(format!("torch-{version}.dist-info"));
    fs_err::create_dir_all(&info).unwrap();
    let metadata = format!("Metadata-Version: 2.1\nName: torch\nVersion: {version}\n");
    fs_err::write(info.join("METADATA"), metadata).unwrap();
    fs_err::create_dir_all(folder.join("torch")).unwrap();
    fs_err::write(folder.join("torch/version.py"), words).unwrap();
    fs_err::write(
        folder.join("torch/__init__.py"),
        "raise SystemExit('imported')",
    )
    .unwrap();
}

async fn here(folder: &Path) -> Result<Facts, EnvironmentError> {
    let python = Utf8Path::new("python3");
    environment::here(python, &inherited(folder), &StopSignal::default()).await
}

#[tokio::test]
async fn a_python_of_this_machine_tells_its_torch_without_importing_it() {
    let folder = tempfile::tempdir().unwrap();
    let words = "from typing import Optional\n\n__version__ = '2.8.0'\ndebug = False\n\
                 cuda: Optional[str] = '12.8'\ngit_version = 'abc'\nhip: Optional[str] = None\n";
    torch(folder.path(), "2.8.0", words);
    // A module of that name beside the user is not the one of the standard library.
    fs_err::write(folder.path().join("nvidia-smi"), "").unwrap();
    program(
        folder.path(),
        "nvidia-smi",
        "test -z \"$HF_TOKEN\" || exit 9\necho 'NVIDIA H200, 9.0, 580.159.03, 143771 MiB'",
    );
    let facts = here(folder.path()).await.unwrap();
    assert!(facts.python.is_some() && facts.libc.is_some() && facts.machine.is_some());
    assert_eq!(facts.torch.unwrap().to_string(), "2.8.0");
    assert_eq!(facts.cuda.unwrap().to_string(), "12.8");
    let gpus: Vec<String> = facts.gpus.iter().map(ToString::to_string).collect();
    assert_eq!(gpus, ["9.0"]);
    assert_eq!(facts.driver.unwrap().to_string(), "580.159.03");
    assert_eq!(facts.notes, [""; 0]);
}

#[tokio::test]
async fn builds_of_torch_without_cuda_are_told() {
    for (words, want) in [
        ("cuda = None\nhip = None\n", "cpu"),
        (
            "cuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482'\n",
            "rocm6.4.43482",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        torch(folder.path(), "2.9.1+x", words);
        program(folder.path(), "nvidia-smi", "echo no driver here; exit 9");
        let facts = here(folder.path()).await.unwrap();
        assert_eq!(facts.cuda.unwrap().to_string(), want);
        let note = "its GPU is not known: `nvidia-smi` failed: no driver here";
        assert_eq!(facts.notes, [note]);
    }
}

#[tokio::test]
async fn a_python_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "silent", "exit 0");
    program(folder.path(), "broken", "echo cannot start >&2; exit 3");
    program(folder.path(), "strange", "echo 'wheelfarm-facts: {}'");
    let mut all = Vec::new();
    for name in ["silent", "broken", "strange", "missing"] {
        let stop = StopSignal::default();
        let python = Utf8Path::from_path(folder.path()).unwrap().join(name);
        let res = environment::here(&python, &inherited(folder.path()), &stop).await;
        let error = res.unwrap_err();
        assert!(error.is_bad_input());
        let text = told(&error, error.hint());
        all.push(text.replace(&folder.path().display().to_string(), ""));
    }
    insta::assert_snapshot!(all.join("\n"));
}

const FACTS: &str = r#"{"schema": 1, "implementation": "CPython", "python": [3, 12, 3], "free_threaded": false, "torch": "2.9.1+cu130", "torch_cuda": "13.0", "glibc": "2.39", "musl": false, "machine": "x86_64"}"#;

fn script(engine: &ScriptedEngine, exit_code: i64, lines: &[&str]) {
    let lines = lines
        .iter()
        .map(|line| (Duration::ZERO, (*line).to_owned()));
    engine.script_next(ScriptedRun {
        lines: lines.collect(),
        exit_code,
        files: BTreeMap::new(),
        ..ScriptedRun::default()
    });
}

async fn image(engine: &ScriptedEngine) -> Result<Facts, EnvironmentError> {
    let engine = Arc::new(engine.clone());
    let res = environment::image(&engine, "some/image:1", &StopSignal::default()).await;
    assert_eq!(engine.left_behind(), [""; 0]);
    res
}

#[tokio::test(start_paused = true)]
async fn the_python_of_an_image_tells_what_it_is() {
    let engine = ScriptedEngine::default();
    let banner = "=== A banner of the image's own ===";
    script(&engine, 0, &[banner, &format!("wheelfarm-facts: {FACTS}")]);
    let facts = image(&engine).await.unwrap();
    assert_eq!(facts.torch.unwrap().to_string(), "2.9.1+cu130");
    assert_eq!(facts.libc.unwrap().to_string(), "2.39");
    // It was not there and was pulled.
    assert_eq!(engine.images(), ["some/image:1"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_tells_nothing_is_told_and_nothing_is_left_behind() {
    let mut all = Vec::new();
    let engine = ScriptedEngine::default();
    let mut add = |res: Result<Facts, EnvironmentError>| {
        let error = res.unwrap_err();
        let kind = if error.is_bad_input() {
            "bad input"
        } else {
            "infrastructure"
        };
        all.push(format!("{}\n  {kind}", told(&error, error.hint())));
    };
    script(
        &engine,
        0,
        &["wheelfarm-no-python /lib/ld-musl-x86_64.so.1"],
    );
    add(image(&engine).await);
    script(&engine, 0, &["wheelfarm-no-python /lib/ld-musl-*"]);
    add(image(&engine).await);
    script(&engine, 127, &["sh: not found"]);
    add(image(&engine).await);
    engine.fail_next(Operation::Start, EngineErrorKind::Other);
    add(image(&engine).await);
    let engine = ScriptedEngine::default();
    engine.fail_next(Operation::Pull, EngineErrorKind::NoSuchImage);
    add(image(&engine).await);
    engine.fail_next(Operation::Pull, EngineErrorKind::Cancelled);
    let res = image(&engine).await;
    assert!(matches!(res, Err(EnvironmentError::Stopped)), "{res:?}");
    insta::assert_snapshot!(all.join("\n"));
}
