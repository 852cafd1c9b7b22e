//! A package with a patch of each kind, built by a real engine; and a source that is not the one
//! that was pinned.
//!
//! They start from the quickstart's images, so the first one on a clean machine pays for those.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use camino::Utf8Path;
use serde_json::Value;
use wheelfarm_core::manifest::Manifest;
use wheelfarm_engine::container::{DockerEngine, Engine, Labels, labels};
use wheelfarm_engine::out_folder::folder_label;

const JOB: &str = "demo-1.0-cu130-torch2.11-cp311";
/// Without compiled code it keeps the name that upstream gives it.
const WHEEL: &str = "demo-1.0-py3-none-any.whl";
const SOURCE: &str = "    source:\n      folder: source\n";
const HEADER: [&str; 3] = [
    "Why: a test of the farm",
    "Upstream: not reported",
    "Drop-when: never",
];

/// A farm with the demo package alone, in a folder of its own.
struct Farm {
    folder: tempfile::TempDir,
    name: String,
}

impl Farm {
    fn new(name: &str, edit_package: impl FnOnce(&str) -> String) -> Self {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo");
        let name = format!("{name}-{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let farm = Self { folder, name };
        let matrix = fs_err::read_to_string(demo.join("matrix.yaml")).unwrap();
        let matrix = matrix
            .replace("farm: demo\n", &format!("farm: {}\n", farm.name))
            .replace("  - name: demo-kernels\n    versions: [\"1.0\"]\n", "");
        farm.write("matrix.yaml", &matrix);
        let package = demo.join("packages/demo");
        let text = fs_err::read_to_string(package.join("package.yaml")).unwrap();
        assert!(text.contains(SOURCE), "{text}");
        farm.write("packages/demo/package.yaml", &edit_package(&text));
        for file in ["setup.py", "demo.py"] {
            let text = fs_err::read_to_string(package.join("source").join(file)).unwrap();
            farm.write(&format!("packages/demo/source/{file}"), &text);
        }
        farm
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .args(args)
            .current_dir(self.folder.path())
            .env("WHEELFARM_CACHE", self.folder.path().join("cache"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The one job of the summary, and the exit code.
    fn build(&self) -> (Value, i32) {
        let output = self.run(&["build", "--format", "json"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let summary: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {stderr}"));
        (summary["jobs"][0].clone(), output.status.code().unwrap())
    }

    /// Nothing in the engine carries this farm's label.
    #[track_caller]
    fn check_engine(&self) {
        let out = self.folder.path().join("out").canonicalize().unwrap();
        let label = folder_label(&self.name, Utf8Path::from_path(&out).unwrap());
        let label = Labels::default().with(labels::FARM, &label);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let owned = runtime
            .block_on(async { DockerEngine::connect().await?.owned(&label).await })
            .unwrap();
        assert!(owned.containers.is_empty(), "{owned:?}");
        assert!(owned.volumes.is_empty(), "{owned:?}");
    }

    fn count(&self, folder: &str) -> usize {
        let folder = self.folder.path().join("out").join(folder);
        fs_err::read_dir(folder).unwrap().count()
    }
}

fn patched(package: &str) -> String {
    let patches = "    patches:\n      - 0001-answer.patch\n      - 0002-question.subst.yaml\n      \
                   - 0003-more.py\n      - 0004-last.sh\n";
    package.replace(SOURCE, &format!("{SOURCE}{patches}"))
}

fn farm_with_patches() -> Farm {
    let farm = Farm::new("patched", patched);
    let header = HEADER.join("\n");
    let comments = format!("# {}", HEADER.join("\n# "));
    let patch = |file: &str, text: &str| farm.write(&format!("patches/demo/1.0/{file}"), text);
    patch(
        "0001-answer.patch",
        &format!(
            "{header}\n\n--- a/demo.py\n+++ b/demo.py\n@@ -1 +1,2 @@\n-ANSWER = 42\n+ANSWER = 43\n+QUESTION = None\n"
        ),
    );
    patch(
        "0002-question.subst.yaml",
        "why: a test of the farm\nupstream: not reported\ndrop-when: never\nsubstitutions:\n  \
         - file: demo.py\n    find: QUESTION = None\n    replace: QUESTION = 6\n    count: 1\n",
    );
    patch(
        "0003-more.py",
        &format!(
            "{comments}\nimport pathlib\n\nfile = pathlib.Path(\"demo.py\")\n\
             file.write_text(file.read_text() + \"FROM_PYTHON = True\\n\")\n"
        ),
    );
    patch(
        "0004-last.sh",
        &format!("{comments}\nset -eu\necho 'FROM_SHELL = True' >> demo.py\n"),
    );
    farm
}

/// The text of a file in the wheel.
fn in_wheel(wheel: &Path, file: &str) -> String {
    let code = "import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode(), end='')";
    let output = Command::new("python3")
        .args(["-c", code])
        .arg(wheel)
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn docker_patches_of_every_kind_reach_the_wheel_and_its_manifest() {
    let farm = farm_with_patches();
    let (job, exit_code) = farm.build();
    assert_eq!(
        (exit_code, &job["outcome"]),
        (0, &"built".into()),
        "{job:#}"
    );
    assert_eq!(job["wheel"], WHEEL);
    let folder = farm.folder.path().join("out/jobs").join(JOB);
    assert_eq!(
        in_wheel(&folder.join(WHEEL), "demo.py"),
        "ANSWER = 43\nQUESTION = 6\nFROM_PYTHON = True\nFROM_SHELL = True\n"
    );
    let manifest = fs_err::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest = Manifest::parse(&manifest).unwrap();
    let names: Vec<_> = manifest
        .patches
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "0001-answer.patch",
            "0002-question.subst.yaml",
            "0003-more.py",
            "0004-last.sh"
        ]
    );
    for patch in &manifest.patches {
        assert_eq!(patch.why, "a test of the farm", "{}", patch.name);
        assert_eq!(patch.files, ["demo.py"], "{}", patch.name);
    }
    assert_ne!(
        manifest.source.tree_sha256,
        manifest.source.patched_tree_sha256
    );
    assert_eq!((farm.count("staging"), farm.count("failed")), (0, 0));
    farm.check_engine();

    let again = farm.run(&["build"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 up to date"));

    // Another text of a patch is another job; what is on record stays until it is built.
    farm.write(
        "patches/demo/1.0/0004-last.sh",
        &format!("# {}\nexit 3\n", HEADER.join("\n# ")),
    );
    let (job, exit_code) = farm.build();
    assert_eq!(
        (exit_code, &job["outcome"]),
        (1, &"failed".into()),
        "{job:#}"
    );
    assert_eq!(job["failure"]["stage"], "patch", "{job:#}");
    assert_eq!(job["failure"]["kind"], "script", "{job:#}");
    assert!(folder.join(WHEEL).is_file());
    assert_eq!((farm.count("staging"), farm.count("failed")), (0, 1));
    farm.check_engine();
}

/// Answers as a package index that has one file of one project, until `requests` are answered.
fn serve_index(listener: &TcpListener, file_name: &str, file: &[u8], requests: usize) {
    for stream in listener.incoming().take(requests) {
        let mut stream = stream.unwrap();
        let path = requested_path(&stream);
        let (kind, body) = if path.ends_with(file_name) {
            ("application/octet-stream", file.to_vec())
        } else {
            let page = format!("<!DOCTYPE html><a href=\"../../{file_name}\">{file_name}</a>");
            ("text/html", page.into_bytes())
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    }
}

fn requested_path(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    for line in reader.by_ref().lines() {
        if line.unwrap().is_empty() {
            break;
        }
    }
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn docker_an_sdist_with_another_digest_is_refused_before_anything_runs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pinned = "0".repeat(64);
    let farm = Farm::new("other-sdist", |package| {
        let sdist = format!(
            "    source:\n      sdist:\n        sha256: \"{pinned}\"\n        index: http://{address}/simple\n"
        );
        package.replace(SOURCE, &sdist)
    });
    // The server is not waited for: it ends with the test, however many requests came.
    std::thread::spawn(move || serve_index(&listener, "demo-1.0.tar.gz", b"another source", 100));
    let (job, exit_code) = farm.build();
    assert_eq!(
        (exit_code, &job["outcome"]),
        (1, &"failed".into()),
        "{job:#}"
    );
    let failure = &job["failure"];
    assert_eq!(failure["stage"], "fetch", "{job:#}");
    assert_eq!(failure["kind"], "rejected", "{job:#}");
    let detail = failure["detail"].as_str().unwrap();
    assert!(detail.contains("demo-1.0.tar.gz"), "{detail}");
    assert!(detail.contains("sha256"), "{detail}");
    let log = farm
        .folder
        .path()
        .join("out/failed")
        .join(JOB)
        .join("build.log");
    assert!(log.is_file());
    assert_eq!((farm.count("staging"), farm.count("jobs")), (0, 0));
    farm.check_engine();
}
