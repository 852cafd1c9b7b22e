//! A release on a Hub, as scripts make it: published, looked at, taken back, and the token nowhere.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod farm;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use farm::{DEMO, Farm, WHEEL, wheel, wheelfarm};
use serde_json::Value;
use test_hub::{Fault, Mode, Options, TestHub, WRITE_TOKEN, What};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::Catalog;

const REPOSITORY: &str = "hf://farm/wheels";

/// A farm, and a Hub that knows nothing of it.
struct Lab {
    farm: Farm,
    hub: TestHub,
}

impl Lab {
    fn new(mode: Mode) -> Self {
        let options = Options {
            mode,
            ..Options::default()
        };
        Self {
            farm: Farm::with(&wheel("first")),
            hub: TestHub::start_blocking(options).unwrap(),
        }
    }

    /// The command with an environment that has the token, and nothing of the user's.
    fn with_token(&self, command: &mut Command) -> Output {
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_TOKEN", WRITE_TOKEN)
            .env("HF_HOME", self.farm.path("hf-home"))
            .env("WHEELFARM_CACHE", self.farm.path("cache"))
            .env("TMPDIR", self.farm.path(""))
            .output()
            .unwrap()
    }

    fn publish(&self, more: &[&str]) -> Output {
        let place = ["--to", REPOSITORY, "--create"];
        self.with_token(&mut self.farm.command(&[&place, more].concat()))
    }

    fn shelf(&self, words: &[&str]) -> Output {
        let mut command = wheelfarm();
        self.with_token(command.args(words).args(["--from", REPOSITORY]))
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        self.hub
            .bytes("farm/wheels", "main", path)
            .unwrap()
            .to_vec()
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.bytes(path)).unwrap()
    }

    fn catalog(&self) -> Catalog {
        Catalog::parse(&self.text("manifest.json")).unwrap()
    }

    fn commits(&self, branch: &str) -> Vec<String> {
        let commits = self.hub.commits("farm/wheels", branch).unwrap();
        commits.into_iter().map(|commit| commit.title).collect()
    }
}

#[track_caller]
fn done(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn release_and_its_life(mode: Mode) {
    let lab = Lab::new(mode);
    let told = done(&lab.publish(&[]));
    assert!(told.contains("release 1 of hf://farm/wheels"), "{told}");

    let catalog = lab.catalog();
    let listed = catalog.wheels.values().next().unwrap();
    let commit = listed.commit.clone().unwrap();
    assert_eq!(lab.bytes(&listed.path()), wheel("first"));
    let pinned = lab.hub.bytes("farm/wheels", &commit, &listed.path());
    assert_eq!(
        pinned.unwrap(),
        wheel("first"),
        "links are pinned to {commit}"
    );
    let page = lab.text("whl/cu130/torch2.11/simple/demo/index.html");
    let link = format!("{}/farm/wheels/resolve/{commit}/", lab.hub.endpoint());
    assert!(page.contains(&link), "{page}");
    for line in lab.text("SHA256SUMS").lines() {
        let (digest, path) = line.split_once("  ").unwrap();
        assert_eq!(Sha256Digest::of(&lab.bytes(path)).to_string(), digest);
    }
    let commits = lab.commits("main");
    assert_eq!(commits.first().unwrap(), "publish demo 1.0 (stable)");

    let again = done(&lab.publish(&[]));
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(lab.commits("main"), commits, "no commit for nothing");

    done(&lab.shelf(&["yank", "demo*", "--reason", "wrong sums"]));
    let page = lab.text("whl/cu130/torch2.11/simple/demo/index.html");
    assert!(page.contains("data-yanked=\"wrong sums\""), "{page}");
    done(&lab.shelf(&["rollback", "--to", "1", "--unyank"]));
    assert_eq!(lab.catalog().release, 3);
    assert_eq!(lab.catalog().wheels, catalog.wheels);
    assert_eq!(lab.commits("main").len(), commits.len() + 2);
    let status = done(&lab.shelf(&["status"]));
    assert!(status.contains("release 3 of hf://farm/wheels"), "{status}");
}

#[test]
fn a_release_by_xet_is_published_once_yanked_and_rolled_back() {
    release_and_its_life(Mode::Xet);
}

#[test]
fn a_release_by_lfs_is_published_once_yanked_and_rolled_back() {
    release_and_its_life(Mode::Lfs);
}

#[test]
fn other_bytes_under_a_published_name_never_reach_the_hub() {
    let lab = Lab::new(Mode::Xet);
    done(&lab.publish(&[]));
    let requests = lab.hub.request_count();
    lab.farm.record(&wheel("second"));
    let output = lab.publish(&[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("build-number: 2"), "{stderr}");
    let more = lab.hub.requests();
    let more = more.iter().skip(usize::try_from(requests).unwrap());
    let written: Vec<_> = more
        .filter(|request| request.path.contains("/commit/") || request.method == "PUT")
        .collect();
    assert!(written.is_empty(), "{written:?}");
}

/// The release is out: running it again is what brings the Space to it, and proves what was to be proven.
#[test]
fn a_publication_that_its_space_does_not_show_can_be_run_again() {
    let lab = Lab::new(Mode::Lfs);
    let url = lab.hub.space_url("farm", "index");
    let space = ["--index-space", "farm/index", "--index-url", &url];
    let refused = What::status(403, "not yours");
    let commit = "/api/spaces/*/commit/main";
    lab.hub.plant(Fault::on("POST", commit, refused));
    let output = lab.publish(&space);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("hint: run it again"), "{stderr}");
    assert_eq!(lab.catalog().release, 1);
    let again = done(&lab.publish(&space));
    assert!(again.contains("nothing to do"), "{again}");
    let page = "whl/cu130/torch2.11/simple/demo/index.html";
    assert!(lab.hub.bytes("spaces/farm/index", "main", page).is_ok());
}

#[test]
fn what_is_missing_is_said_with_what_to_type() {
    let lab = Lab::new(Mode::Xet);
    let refused = |command: &mut Command, code: i32| {
        let output = lab.with_token(command);
        assert_eq!(output.status.code(), Some(code));
        let text = String::from_utf8(output.stderr).unwrap();
        text.replace(&lab.hub.endpoint(), "https://hub.example")
    };
    let to = |place: &str, more: &[&str]| lab.farm.command(&[&["--to", place], more].concat());
    let missing = refused(&mut to(REPOSITORY, &[]), 3);
    let wrong = refused(&mut to("hf://wheels", &[]), 2);
    let base = ["--base-url", "https://wheels.example"];
    let address = refused(&mut to(REPOSITORY, &base), 2);
    let space = refused(&mut to("release", &["--index-space", "farm/index"]), 2);
    let unknown = refused(
        &mut to(REPOSITORY, &["--create", "--index-space", "farm/index"]),
        3,
    );
    let create = refused(&mut to("release", &["--create"]), 2);
    let endpoint = refused(
        &mut to("release", &["--endpoint", "https://hub.example"]),
        2,
    );
    let all = [missing, wrong, address, space, unknown, create, endpoint];
    insta::assert_snapshot!(all.join("\n"));
}

/// Every file below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The issue's own test: a planted token, everything that is said and written, and no trace of it.
#[test]
fn the_token_is_in_no_word_and_no_file_of_a_publication() {
    let lab = Lab::new(Mode::Xet);
    let mut said = Vec::new();
    // Every level of every crate's log, the HTTP libraries' among them.
    let mut publish = lab.farm.command(&["--to", REPOSITORY, "--create", "-vv"]);
    for (endpoint, token) in [
        (lab.hub.endpoint(), WRITE_TOKEN),
        (lab.hub.endpoint(), "hf_nobodyknowsthisone"),
    ] {
        let output = publish
            .env("WHEELFARM_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("HF_ENDPOINT", endpoint)
            .env("HF_TOKEN", token)
            .env("HF_HOME", lab.farm.path("hf-home"))
            .env("WHEELFARM_CACHE", lab.farm.path("cache"))
            .env("TMPDIR", lab.farm.path(""))
            .output()
            .unwrap();
        said.extend([output.stdout, output.stderr]);
    }
    let mut found = Vec::new();
    files(&lab.farm.path(""), &mut found);
    assert!(found.len() > 3, "{found:?}");
    said.extend(found.iter().map(|path| fs_err::read(path).unwrap()));
    for path in lab.hub.tree("farm/wheels", "main").unwrap().keys() {
        said.push(lab.bytes(path));
    }
    let traced: usize = said.iter().map(Vec::len).sum();
    assert!(traced > 20_000, "the log was written: {traced} bytes");
    for text in said {
        let text = String::from_utf8_lossy(&text);
        for token in [WRITE_TOKEN, "hf_nobodyknowsthisone"] {
            let place = text.find(token).map(|at| &text[at.saturating_sub(200)..at]);
            assert_eq!(place, None, "a token was written");
        }
    }
}

/// The Hub's own client and real pip and uv, on what was published.
#[test]
fn conformance_small_a_release_on_a_hub_is_what_the_official_client_downloads() {
    let lab = Lab::new(Mode::Xet);
    let space = lab.hub.space_url("farm", "index");
    // What the installers are run by, and what they are given.
    let (python, given) = (lab.farm.path("python"), lab.farm.path("given"));
    let script = format!(
        "#!/bin/sh\nenv >> {}\nexec python3 \"$@\"\n",
        given.display()
    );
    fs_err::write(&python, script).unwrap();
    fs_err::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
    let python = python.to_str().unwrap();
    let more = [
        "--prove-after",
        "--index-space",
        "farm/index",
        "--index-url",
        &space,
        "--python",
        python,
        "--format",
        "json",
    ];
    let told: Value = serde_json::from_str(&done(&lab.publish(&more))).unwrap();
    for table in ["install_table", "install_table_after"] {
        let rows = told[table]["rows"].as_array().unwrap();
        assert!(rows.len() > 5, "{table}: {}", rows.len());
        assert!(rows.iter().all(|row| row["result"] == "pass"), "{told:#}");
    }
    let given = fs_err::read_to_string(given).unwrap();
    assert!(
        given.contains("PATH=") && !given.contains(WRITE_TOKEN),
        "{given}"
    );
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let folder = lab.farm.path("downloaded");
    let code = "import sys, huggingface_hub as hub; \
                hub.snapshot_download('farm/wheels', local_dir=sys.argv[1])";
    let mut client = Command::new(python);
    client
        .args(["-c", code])
        .arg(&folder)
        .env("HF_HUB_DISABLE_UPDATE_CHECK", "1");
    let output = lab.with_token(&mut client);
    done(&output);
    let tree = lab.hub.tree("farm/wheels", "main").unwrap();
    assert!(tree.len() > 15, "{}", tree.len());
    for path in tree.keys() {
        assert_eq!(
            fs_err::read(folder.join(path)).unwrap(),
            lab.bytes(path),
            "{path}"
        );
    }
    let record = lab.farm.path("out/jobs").join(DEMO).join(WHEEL);
    let listed = lab.catalog();
    let listed = listed.wheels.values().next().unwrap().path();
    assert_eq!(
        fs_err::read(folder.join(listed)).unwrap(),
        fs_err::read(record).unwrap()
    );
}
