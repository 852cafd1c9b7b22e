//! What becomes of a shelf after a publication: the commands on a folder with real wheels, and real pip
//! and uv on what they leave.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::{CatalogWheel, Track};
use wheelfarm_core::release::layout::Layout;
use wheelfarm_engine::shelf::change::between;
use wheelfarm_engine::shelf::folder::{Address, FolderShelf};
use wheelfarm_engine::shelf::{Blob, Progress, Shelf};

const CHANNEL: &str = "cu130/torch2.11";

struct Silent;

impl Progress for Silent {
    fn on_progress(&self, _done: u64, _all: u64, _sent: u64) {}
}

/// A shelf in a folder that goes with the test.
struct Lab {
    folder: tempfile::TempDir,
}

/// A wheel as a person would type it: `1.0`, `1.0#2` with a build number.
fn file_name(version: &str) -> String {
    let (version, build) = version.split_once('#').unwrap_or((version, ""));
    let build = if build.is_empty() {
        String::new()
    } else {
        format!("-{build}")
    };
    format!("demo_life-{version}+cu130torch2.11{build}-py3-none-any.whl")
}

/// The wheel's bytes, which pip and uv install, and its METADATA.
fn wheel_bytes(version: &str) -> (Vec<u8>, String) {
    let (number, build) = version.split_once('#').unwrap_or((version, ""));
    let stem = format!("demo_life-{number}+cu130torch2.11");
    let metadata =
        format!("Metadata-Version: 2.1\nName: demo-life\nVersion: {number}+cu130torch2.11\n");
    let build = if build.is_empty() {
        String::new()
    } else {
        format!("Build: {build}\n")
    };
    let wheel = format!("Wheel-Version: 1.0\n{build}Root-Is-Purelib: true\nTag: py3-none-any\n");
    let record = format!(
        "demo_life.py,,\n{stem}.dist-info/METADATA,,\n{stem}.dist-info/WHEEL,,\n{stem}.dist-info/RECORD,,\n"
    );
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (path, text) in [
        (
            "demo_life.py".to_owned(),
            format!("version = {version:?}\n"),
        ),
        (format!("{stem}.dist-info/METADATA"), metadata.clone()),
        (format!("{stem}.dist-info/WHEEL"), wheel),
        (format!("{stem}.dist-info/RECORD"), record),
    ] {
        zip.start_file(path, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    (zip.finish().unwrap().into_inner(), metadata)
}

impl Lab {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    fn shelf(&self) -> Utf8PathBuf {
        self.path().join("shelf")
    }

    /// Publishes wheels as `wheelfarm publish` does, which needs wheels of CUDA code.
    #[tokio::main]
    async fn publish(&self, versions: &[&str], track: Track, day: u32) {
        let shelf = FolderShelf::new(&self.shelf(), Address::Kept).unwrap();
        let now = format!("2026-11-{day:02}T03:00:00Z");
        let mut blobs = Vec::new();
        let mut wheels = Vec::new();
        for version in versions {
            let name = file_name(version);
            let (bytes, metadata) = wheel_bytes(version);
            let wheel = entry(&name, version, &bytes, &metadata, &now);
            let path = wheel.path();
            blobs.push(self.blob(&name, path.clone(), &bytes));
            blobs.push(self.blob(
                &format!("{name}.metadata"),
                path + ".metadata",
                metadata.as_bytes(),
            ));
            wheels.push(wheel);
        }
        shelf.bring(&blobs, &Silent).await.unwrap();
        let read = shelf.read().await.unwrap();
        let next = read.catalog.with(wheels, track, &now).unwrap();
        let links = shelf.links();
        let layout = Layout {
            catalog: &next,
            links: &links,
            index_url: None,
        };
        let mut change = between(None, &layout, format!("publish {} wheels", versions.len()));
        change.add = blobs;
        shelf.commit(&read.head, &change).await.unwrap();
    }

    fn blob(&self, name: &str, path: String, content: &[u8]) -> Blob {
        let source = self.path().join(name);
        fs_err::write(&source, content).unwrap();
        Blob {
            path,
            source,
            sha256: Sha256Digest::of(content),
            size_bytes: u64::try_from(content.len()).unwrap(),
        }
    }

    /// Runs a command on the shelf: exit code, standard output and standard error.
    fn run(&self, command: &str) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .args(command.split_whitespace())
            .args(["--from", "shelf"])
            .current_dir(self.path())
            .env_remove("WHEELFARM_LOG")
            .output()
            .unwrap();
        said(&output)
    }

    /// Runs a command that must end well, and gives its output without what differs from run to run.
    #[track_caller]
    fn done(&self, command: &str) -> String {
        let (code, stdout, stderr) = self.run(command);
        assert_eq!((code, stderr.as_str()), (0, ""), "{command}: {stdout}");
        let stdout = stdout.replace(self.shelf().as_str(), "SHELF");
        without_times(&stdout)
    }

    fn json(&self, command: &str) -> Value {
        let (code, stdout, stderr) = self.run(&format!("{command} --format json"));
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// The pages of the simple index that a static host serves.
    fn page(&self) -> String {
        let page = format!("whl/{CHANNEL}/simple/demo-life/index.html");
        fs_err::read_to_string(self.shelf().join(page)).unwrap_or_default()
    }
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// `TIME` for every RFC 3339 time of this year's clock.
fn without_times(text: &str) -> String {
    let words = text.split_inclusive([' ', ':', ',', '\n']);
    let mut told = String::new();
    let mut skip = 0;
    for word in words {
        if skip > 0 {
            skip -= 1;
            if skip == 0 {
                let end = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == 'Z');
                told += end;
            }
        } else if word.len() == 14 && word.as_bytes()[10] == b'T' && word.starts_with("20") {
            told += "TIME";
            skip = 2;
        } else {
            told += word;
        }
    }
    told
}

fn entry(name: &str, version: &str, bytes: &[u8], metadata: &str, now: &str) -> CatalogWheel {
    serde_json::from_value(json!({
        "file_name": name,
        "sha256": Sha256Digest::of(bytes),
        "size_bytes": bytes.len(),
        "metadata_sha256": Sha256Digest::of(metadata.as_bytes()),
        "requires_dist": [],
        "channel": CHANNEL,
        "tracks": [],
        "job": format!("demo-life-{}-cu130-torch2.11-cp311", version.split('#').next().unwrap()),
        "package": "demo-life",
        "built_against": { "cuda": "13.0", "torch": "2.11.0", "python": "3.11" },
        "uses_torch_cxx_abi": false,
        "module_archs": {},
        "runs_on": {},
        "gate": "passed",
        "gpu_run": "not-run",
        "published_at": now,
    }))
    .unwrap()
}

#[test]
fn a_shelf_is_yanked_promoted_rolled_back_and_cleared_out() {
    let lab = Lab::new();
    lab.publish(&["0.8", "0.9", "1.0", "1.1"], Track::Stable, 1);
    lab.publish(&["1.2"], Track::Nightly, 2);
    let mut told = Vec::new();
    for command in [
        "yank demo_life-1.1* --reason slow --dry-run",
        "yank demo_life-1.1* --reason slow",
        "yank demo_life-1.1* --reason slow",
        "promote cu130/torch2.11/*-1.2*",
        "status",
        "rollback --to latest-1",
        "hold *-0.8* --reason paper",
        "gc --keep-last 1 --dry-run",
        "hold *-0.8* --undo",
        "gc --keep-last 1",
        "yank *-1.1* --undo",
        "status",
    ] {
        told.push(format!("$ wheelfarm {command}\n{}", lab.done(command)));
    }
    insta::assert_snapshot!(told.join("\n"));
    let page = lab.page();
    assert!(page.contains("demo_life-1.1") && !page.contains("data-yanked"));
    assert!(page.contains("demo_life-1.0"), "{page}");
    assert!(!page.contains("demo_life-0."), "{page}");
}

#[test]
fn programs_read_what_was_done() {
    let lab = Lab::new();
    lab.publish(&["1.0", "1.1", "1.2"], Track::Stable, 1);
    let yanked = lab.json("yank demo_life-1.0* --reason slow");
    shape::check("change", &yanked);
    assert_eq!(
        (&yanked["before"], &yanked["release"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(yanked["end"], "done");
    let effects = json!([{ "wheel": file_name("1.0"), "effect": "yanked" }]);
    assert_eq!(yanked["effects"], effects);
    let again = lab.json("yank demo_life-1.0* --reason slow");
    assert_eq!(
        (&again["end"], &again["release"]),
        (&json!("nothing-to-do"), &json!(2))
    );

    fs_err::write(
        lab.path().join("uv.lock"),
        format!("{}\n", file_name("1.1")),
    )
    .unwrap();
    let cleared = lab.json("gc --keep-last 1 --hold uv.lock --dry-run");
    shape::check("sweep", &cleared);
    assert_eq!(cleared["end"], "dry-run");
    assert_eq!(
        cleared["kept"][file_name("1.1")],
        json!({ "why": "lock-file", "file": "uv.lock" })
    );
    assert_eq!(
        cleared["kept"][file_name("1.2")],
        json!({ "why": "newest-of-stable" })
    );
    assert_eq!(
        cleared["lock_files"],
        json!([{ "file": "uv.lock", "wheels": 1 }])
    );
    let files = cleared["files"].as_array().unwrap();
    let sizes = files
        .iter()
        .map(|file| file["size_bytes"].as_u64().unwrap());
    assert_eq!(
        (files.len(), cleared["freed_bytes"].as_u64().unwrap()),
        (2, sizes.sum())
    );

    let status = lab.json("status");
    shape::check("status", &status);
    assert_eq!(status["yanked"], json!({ file_name("1.0"): "slow" }));
    assert_eq!(
        (&status["stable"], &status["earlier"][0]["release"]),
        (&json!(3), &json!(1))
    );
}

#[test]
fn a_lock_file_that_holds_nothing_is_told_and_refusals_have_their_code() {
    let lab = Lab::new();
    lab.publish(&["1.0"], Track::Nightly, 1);
    fs_err::write(lab.path().join("other.txt"), "numpy==2.0\n").unwrap();
    let (code, _, stderr) = lab.run("gc --keep-days 100000 --hold other.txt");
    assert_eq!(code, 0);
    assert_eq!(
        stderr,
        "warning: `other.txt` points to no wheel of this shelf\n"
    );
    lab.done("yank demo* --reason slow");
    let (code, stdout, stderr) = lab.run("promote demo*");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("is yanked (slow), so it is not promoted\nhint: "),
        "{stderr}"
    );
    lab.done("gc --keep-release 1");
    lab.done("rollback --to latest-1 --unyank --dry-run");
}

/// A matrix that declares `demo-life` 1.0 and 1.1 for Python 3.11.
const MATRIX: &str = r#"schema: 1
farm: test
archs: ["9.0"]
packages:
  - name: demo-life
    versions: ["1.0", "1.1"]
environments:
  - name: cu130
    base:
      image:
        reference: pytorch/manylinux2_28-builder:cuda13.0
        interpreter: manylinux
    toolkit: image
    cuda: "13.0"
    torch-index: https://download.pytorch.org/whl/cu130
    torch: ["2.11.0"]
    python: ["3.11"]
"#;

#[test]
fn a_shelf_that_stands_still_is_seen() {
    let lab = Lab::new();
    let package = lab.path().join("packages/demo-life");
    fs_err::create_dir_all(package.join("source")).unwrap();
    fs_err::write(package.join("source/demo_life.py"), "").unwrap();
    let release = |version: &str| {
        format!(
            "  - version: \"{version}\"\n    source: {{folder: source}}\n    kernels: just-in-time\n    build: {{requirements: []}}\n"
        )
    };
    let text = format!(
        "schema: 1\nname: demo-life\nsummary: a test\nlicence: MIT\nupstream: https://example.org\nreleases:\n{}{}",
        release("1.0"),
        release("1.1")
    );
    fs_err::write(package.join("package.yaml"), text).unwrap();
    fs_err::write(lab.path().join("matrix.yaml"), MATRIX).unwrap();
    lab.publish(&["1.0"], Track::Nightly, 1);

    let (code, stdout, stderr) = lab.run("status --freshness --max-age 36h");
    assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
    assert!(
        stdout.contains("\nSTALE  cu130/torch2.11 nightly: newest "),
        "{stdout}"
    );
    assert!(
        stdout.ends_with("\nSTALE: 1 of 1 channels of track nightly are older than 36h\n"),
        "{stdout}"
    );
    let (code, stdout, _) = lab.run("status --freshness --max-age 999999h");
    assert_eq!(code, 0, "{stdout}");
    let (code, stdout, _) = lab.run("status --freshness --max-age 999999h --track stable");
    assert_eq!(code, 1);
    assert!(
        stdout.ends_with("STALE: nothing is on track stable\n"),
        "{stdout}"
    );

    let (code, stdout, stderr) = lab.run("status --freshness --matrix matrix.yaml --format json");
    assert_eq!(code, 0, "{stderr}");
    let told: Value = serde_json::from_str(&stdout).unwrap();
    shape::check("freshness", &told);
    let jobs = json!([
        { "job": "demo-life-1.0-cu130-torch2.11-cp311", "state": "published", "wheel": file_name("1.0") },
        { "job": "demo-life-1.1-cu130-torch2.11-cp311", "state": "stale", "wheel": file_name("1.0") },
    ]);
    assert_eq!(told["lines"][0]["jobs"], jobs);
    assert_eq!(
        (&told["is_stale"], &told["lines"][0]["is_too_old"]),
        (&json!(false), &json!(false))
    );
    let (_, stdout, _) = lab.run("status --freshness --matrix matrix.yaml");
    assert!(
        stdout.contains("1 wheel; 1 of 2 jobs published\n  stale    demo-life-1.1-"),
        "{stdout}"
    );
}

/// Python's own web server on a folder, as long as this lives.
struct Served {
    server: Child,
    url: String,
}

impl Served {
    fn new(folder: &Utf8Path) -> Self {
        let script = "import http.server, functools, sys\n\
                      handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n\
                      server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n\
                      print(server.server_port, flush=True)\n\
                      server.serve_forever()\n";
        let mut server = Command::new("python3")
            .args(["-c", script, folder.as_str()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let url = format!("http://127.0.0.1:{}/whl/{CHANNEL}/simple/", port.trim());
        Self { server, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// pip and uv, as `make test` has put them into `.venv`.
fn installers() -> BTreeMap<&'static str, PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin");
    let installers = ["pip", "uv"].map(|name| (name, tools.join(name)));
    for (_, path) in &installers {
        assert!(
            path.exists(),
            "{} is missing: run `make setup`",
            path.display()
        );
    }
    installers.into()
}

/// The version that `installer` takes for a requirement, and what it says.
fn install(
    installer: (&str, &Path),
    served: &Served,
    arguments: &[&str],
) -> (Option<String>, String) {
    let (name, program) = installer;
    let target = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    let line: &[&str] = match name {
        "uv" => &[
            "pip",
            "install",
            "--no-cache",
            "--no-config",
            "--default-index",
        ],
        _ => &[
            "install",
            "--isolated",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--index-url",
        ],
    };
    command
        .args(line)
        .arg(&served.url)
        .arg("--target")
        .arg(target.path());
    let output = command.args(arguments).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let module = fs_err::read_to_string(target.path().join("demo_life.py"));
    let version = module
        .ok()
        .map(|text| text.split('"').nth(1).unwrap().to_owned());
    assert_eq!(output.status.success(), version.is_some(), "{text}");
    (version, text)
}

#[test]
fn conformance_small_pip_and_uv_take_a_yanked_wheel_only_when_it_is_pinned() {
    let lab = Lab::new();
    lab.publish(&["1.0", "1.1", "1.1#2", "1.1#10", "2.0"], Track::Stable, 1);
    lab.publish(&["3.0"], Track::Nightly, 2);
    let served = Served::new(&lab.shelf());
    for (name, program) in installers() {
        let take = |arguments: &[&str]| install((name, &program), &served, arguments);
        // The tracks are apart, and the higher of build numbers wins, as a number.
        assert_eq!(take(&["demo-life"]).0.as_deref(), Some("2.0"), "{name}");
        assert_eq!(
            take(&["demo-life==1.1"]).0.as_deref(),
            Some("1.1#10"),
            "{name}"
        );

        lab.done("yank demo_life-2.0* *-1.1*-10-* --reason wrong-results");
        assert_eq!(take(&["demo-life"]).0.as_deref(), Some("1.1#2"), "{name}");
        assert_eq!(
            take(&["demo-life>=1.0"]).0.as_deref(),
            Some("1.1#2"),
            "{name}"
        );
        let (pinned, text) = take(&["demo-life==2.0+cu130torch2.11"]);
        assert_eq!(pinned.as_deref(), Some("2.0"), "{name}: {text}");
        let warning = text.to_lowercase();
        assert!(
            warning.contains("yanked") && warning.contains("wrong-results"),
            "{name}: {text}"
        );
        let (beyond, text) = take(&["demo-life>=2"]);
        assert_eq!(beyond, None, "{name}: {text}");

        // A lock file that has the digest of the first build gets that one.
        let (bytes, _) = wheel_bytes("1.1");
        let lock = lab.path().join("requirements.txt");
        let line = format!(
            "demo-life==1.1+cu130torch2.11 --hash=sha256:{}\n",
            Sha256Digest::of(&bytes)
        );
        fs_err::write(&lock, line).unwrap();
        let (locked, text) = take(&["--require-hashes", "-r", lock.as_str()]);
        assert_eq!(locked.as_deref(), Some("1.1"), "{name}: {text}");

        lab.done("promote demo_life-3.0*");
        assert_eq!(take(&["demo-life"]).0.as_deref(), Some("3.0"), "{name}");
        lab.done("rollback --to 2 --unyank");
        assert_eq!(take(&["demo-life"]).0.as_deref(), Some("2.0"), "{name}");
    }
    // What was cleared out is gone from pages and from the disk, and the rest installs.
    lab.done("gc --keep-last 1");
    for (name, program) in installers() {
        let take = |arguments: &[&str]| install((name, &program), &served, arguments).0;
        assert_eq!(take(&["demo-life"]).as_deref(), Some("2.0"), "{name}");
        assert_eq!(take(&["demo-life==1.1"]), None, "{name}");
    }
}
