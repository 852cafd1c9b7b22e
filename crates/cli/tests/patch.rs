//! `wheelfarm patch` on farms whose sources are folders, sdists and git repositories of this machine.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const HEADER: &str = "Why: a\nUpstream: b\nDrop-when: c\n\n";

/// Nine lines, of which patches change some.
const SETUP: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";

const FIVE: &str = "--- a/setup.py\n+++ b/setup.py\n@@ -4,3 +4,3 @@\n four\n-five\n+FIVE\n six\n";

const TWO: &str = "why: a\nupstream: b\ndrop-when: c\nsubstitutions:\n  \
                   - {file: setup.py, find: two, replace: TWO, count: 1}\n";

/// A farm in a folder of its own, with one package.
struct Farm {
    folder: tempfile::TempDir,
}

impl Farm {
    /// `source` is the value of the release's `source` key, on one line.
    fn new(source: &str, patches: &[(&str, &str)]) -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        farm.write(
            "matrix.yaml",
            "schema: 1\nfarm: test\narchs: [\"9.0\"]\npackages:\n  - name: demo\n    \
             versions: [\"1.0\"]\nenvironments:\n  - name: bookworm\n    base:\n      \
             debootstrap:\n        suite: bookworm\n    toolkit: pypi\n    cuda: \"13.0\"\n    \
             torch: [\"2.11.0\"]\n    python: [\"3.11\"]\n",
        );
        let names: Vec<_> = patches.iter().map(|(name, _)| *name).collect();
        farm.write(
            "packages/demo/package.yaml",
            &format!(
                "schema: 1\nname: demo\nsummary: a\nlicence: MIT\nupstream: https://example.org\n\
                 releases:\n  - version: \"1.0\"\n    source: {source}\n    patches: {names:?}\n    \
                 kernels: just-in-time\n    build: {{requirements: []}}\n"
            ),
        );
        for (name, text) in patches {
            farm.write(&format!("patches/demo/1.0/{name}"), text);
        }
        farm
    }

    /// A farm whose source is a folder with one file.
    fn of_folder(setup: &str, patches: &[(&str, &str)]) -> Self {
        let farm = Self::new("{folder: source}", patches);
        farm.write("packages/demo/source/setup.py", setup);
        farm
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.path(path), text);
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .arg("patch")
            .args(args)
            .current_dir(self.folder.path())
            .env("WHEELFARM_CACHE", self.path("cache"))
            .env_remove("WHEELFARM_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Standard output, without the place of the farm, and with nothing on standard error.
    #[track_caller]
    fn said(&self, args: &[&str], exit_code: i32) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8(output.stdout).unwrap();
        let ended = (output.status.code(), &*stderr);
        assert_eq!(ended, (Some(exit_code), ""), "{args:?}\n{stdout}");
        stdout.replace(self.folder.path().to_str().unwrap(), "FARM")
    }

    #[track_caller]
    fn refused(&self, args: &[&str], exit_code: i32) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{args:?}: {stderr}");
        stderr.replace(self.folder.path().to_str().unwrap(), "FARM")
    }
}

fn write(path: &Path, text: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

/// A git repository with one file, whose commits are given.
struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Self { folder };
        repository.git(&["init", "--quiet", "--initial-branch=trunk"]);
        repository
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .args(["-c", "user.name=A", "-c", "user.email=a@x.org"])
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, setup: &str) -> String {
        write(&self.folder.path().join("setup.py"), setup);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn source(&self, commit: &str) -> String {
        let path = self.folder.path().display();
        format!("{{git: {{url: \"file://{path}\", commit: \"{commit}\"}}}}")
    }

    fn hide(&self, text: &str) -> String {
        text.replace(self.folder.path().to_str().unwrap(), "/REPO")
    }
}

fn with_header(diff: &str) -> String {
    format!("{HEADER}{diff}")
}

#[test]
fn patches_are_held_against_the_version_they_claim_and_the_tip_of_its_repository() {
    let repository = Repository::new();
    let old = repository.commit(SETUP);
    repository.git(&["tag", "v1.0"]);
    let five = with_header(FIVE);
    let patches = [("1-five.patch", &*five), ("2-two.subst.yaml", TWO)];
    let farm = Farm::new(&repository.source(&old), &patches);

    let same = repository.hide(&farm.said(&["check"], 0));
    assert_eq!(
        same,
        format!(
            "demo 1.0\n  the version itself: git file:///REPO at {old}\n    \
             1-five.patch      fits\n    2-two.subst.yaml  fits\n  \
             upstream now: git file:///REPO at {old} (trunk)\n    the same\n\
             2 patches of 1 release: 2 fit, 0 moved, 0 already there, 0 drifted, 0 not checked\n"
        )
    );

    // Upstream goes on: what it changes is told and is no failure.
    let tip = repository.commit(&format!("zero\n{}", SETUP.replace("two", "TWO")));
    let now = repository.hide(&farm.said(&["check", "demo"], 0));
    let upstream = now.split_once("upstream now").unwrap().1;
    assert_eq!(
        upstream,
        format!(
            ": git file:///REPO at {tip} (trunk)\n    1-five.patch      fits, moved by 1 line\n    \
             2-two.subst.yaml  already there\n\
             2 patches of 1 release: 2 fit, 1 moved, 1 already there, 0 drifted, 0 not checked\n"
        )
    );

    let tip = repository.commit(&SETUP.replace("six", "6").replace("two", "2"));
    let now = repository.hide(&farm.said(&["check", "demo==1.0"], 0));
    let upstream = now.split_once("upstream now").unwrap().1;
    assert_eq!(
        upstream,
        format!(
            ": git file:///REPO at {tip} (trunk)\n    1-five.patch      drifted\n      \
             hunk 1 of patch `1-five.patch` does not fit `setup.py`: line 6 should be `six` and is `6`\n        \
             hunk 1 (line 7 of the patch) against `setup.py`:\n             \
             4         four\n             5         five\n             \
             6 wanted  six\n               found   6\n      \
             hint: make the diff anew against this version of the source\n    \
             2-two.subst.yaml  drifted (without 1-five.patch)\n      \
             substitution 1 of patch `2-two.subst.yaml` wants `two` once in `setup.py` and finds it nowhere\n    \
             hint: wheelfarm patch refresh demo==1.0 --against {tip}\n\
             2 patches of 1 release: 2 fit, 0 moved, 0 already there, 2 drifted, 0 not checked\n"
        )
    );
    // Asked for, it is one.
    farm.said(&["check", "demo", "--against", "trunk"], 1);
    farm.said(&["check", "demo", "--against", "v1.0"], 0);
    farm.said(&["check", "demo", "--against", &old], 0);
    assert_eq!(
        repository.hide(&farm.refused(&["check", "demo", "--against", "v9"], 2)),
        "error: repository `file:///REPO` has no branch or tag `v9`\n\
         hint: name a branch, a tag or a full commit: `git ls-remote <url>`\n"
    );
}

#[test]
fn a_check_in_json_has_every_hunk() {
    let five = with_header(FIVE);
    let farm = Farm::of_folder(
        &format!("0\n{}", SETUP.replace("two", "2")),
        &[("1-five.patch", &five), ("2-two.subst.yaml", TWO)],
    );
    let text = farm.said(&["check", "--format", "json"], 1);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text, format!("{report:#}\n"), "its keys are sorted");
    shape::check("patch-check", &report);
    let targets = report["releases"][0]["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 1, "a folder has no upstream");
    assert_eq!(targets[0]["target"], "claimed");
    let patches = targets[0]["patches"].as_array().unwrap();
    assert_eq!(patches[0]["verdict"], "fits-moved");
    assert_eq!(patches[0]["moved_by_lines"], serde_json::json!([1, 1]));
    assert_eq!(patches[0]["files"][0]["hunks"][0]["offset"], 1);
    assert_eq!(patches[1]["verdict"], "drifted");
    let fault = &patches[1]["faults"][0];
    assert_eq!(fault["part"], "substitution 1");
    assert_eq!(fault["file"], "setup.py");
    assert_eq!(fault["wanted"], serde_json::json!(["two"]));
    assert_eq!(report["summary"]["drifted"], 1);
}

#[test]
fn what_cannot_be_tried_is_not_checked() {
    let script = "# Why: a\n# Upstream: b\n# Drop-when: c\ntouch x\n";
    let farm = Farm::of_folder(SETUP, &[("1-x.sh", script), ("2-two.subst.yaml", TWO)]);
    assert_eq!(
        farm.said(&["check"], 4),
        "demo 1.0\n  the version itself: folder packages/demo/source\n    \
         1-x.sh            not checked: a script runs only in a build's container\n    \
         2-two.subst.yaml  fits (without 1-x.sh)\n\
         2 patches of 1 release: 1 fit, 0 moved, 0 already there, 0 drifted, 1 not checked\n"
    );
    let commit = "0".repeat(40);
    let gone =
        format!("{{git: {{url: \"file:///nonexistent/repository\", commit: \"{commit}\"}}}}");
    let farm = Farm::new(&gone, &[("2-two.subst.yaml", TWO)]);
    let said = farm.said(&["check"], 4);
    assert_eq!(said.matches("not checked: `git").count(), 2, "{said}");
    assert!(said.ends_with(" 0 drifted, 2 not checked\n"), "{said}");
}

#[test]
fn patches_are_held_against_a_folder_and_an_sdist() {
    let five = with_header(FIVE);
    let farm = Farm::of_folder(SETUP, &[("1-five.patch", &five)]);
    farm.write("changed/setup.py", &SETUP.replace("five", "FIVE"));
    assert_eq!(
        farm.said(&["check", "demo", "--against", "changed"], 0),
        "demo 1.0\n  against: folder changed\n    1-five.patch  already there\n\
         1 patch of 1 release: 0 fit, 0 moved, 1 already there, 0 drifted, 0 not checked\n"
    );
    farm.write("demo-2.0/setup.py", &format!("a\nb\n{SETUP}"));
    let packed = Command::new("tar")
        .args(["-czf", "demo-2.0.tar.gz", "demo-2.0"])
        .current_dir(farm.folder.path())
        .status();
    assert!(packed.unwrap().success());
    assert_eq!(
        farm.said(&["check", "demo", "--against", "demo-2.0.tar.gz"], 0),
        "demo 1.0\n  against: sdist demo-2.0.tar.gz\n    1-five.patch  fits, moved by 2 lines\n\
         1 patch of 1 release: 0 fit, 1 moved, 0 already there, 0 drifted, 0 not checked\n"
    );
    assert_eq!(
        farm.refused(&["check", "demo", "--against", "./demo-3.0.tar.gz"], 2),
        "error: `./demo-3.0.tar.gz` is no folder, no sdist and no name in a repository\n\
         hint: name a folder or an sdist that is there, or a branch, a tag or a commit of the repository\n"
    );
    // A patch that the version it claims has already is one that does not fit it.
    farm.write(
        "packages/demo/source/setup.py",
        &SETUP.replace("five", "FIVE"),
    );
    farm.said(&["check"], 1);
}

#[test]
fn a_refresh_merges_what_has_drifted_and_writes_it() {
    let repository = Repository::new();
    let old = repository.commit(SETUP);
    repository.commit(&format!("zero\n{}", SETUP.replace("eight", "8")));
    repository.git(&["tag", "v1.1"]);
    let diff = "--- a/setup.py\n+++ b/setup.py\n@@ -2,7 +2,7 @@\n two\n three\n four\n-five\n+FIVE\n \
                six\n seven\n eight\n";
    let (five, two) = (with_header(diff), TWO);
    let patches = [("1-five.patch", &*five), ("2-two.subst.yaml", two)];
    let farm = Farm::new(&repository.source(&old), &patches);

    let new = with_header(
        "--- a/setup.py\n+++ b/setup.py\n@@ -3,7 +3,7 @@\n two\n three\n four\n-five\n+FIVE\n six\n \
         seven\n 8\n",
    );
    let args = ["refresh", "demo==1.0", "--to", "1.1"];
    let proposed = farm.said(&args, 0);
    let (first, rest) = proposed.split_once('\n').unwrap();
    assert!(first.ends_with(" (v1.1)"), "{first}");
    assert_eq!(
        rest,
        format!("replace   1-five.patch\n{new}keep      2-two.subst.yaml: it fits\n")
    );
    assert!(
        !farm.path("patches/demo/1.1").exists(),
        "a proposal writes nothing"
    );

    let args = [&args[..], &["--write"]].concat();
    let written = farm.said(&args, 0);
    assert!(
        written.ends_with(
            "written to patches/demo/1.1; the release in package.yaml lists:\n    patches:\n      \
             - 1-five.patch\n      - 2-two.subst.yaml\n"
        ),
        "{written}"
    );
    assert_eq!(farm.read("patches/demo/1.1/1-five.patch"), new);
    assert_eq!(farm.read("patches/demo/1.1/2-two.subst.yaml"), two);
    farm.said(&args, 0);
    farm.write("patches/demo/1.1/1-five.patch", "mine");
    assert_eq!(
        farm.refused(&args, 1),
        "error: `patches/demo/1.1/1-five.patch` is there with another content\n\
         hint: compare the two, then write over it with --force\n"
    );
    assert_eq!(farm.read("patches/demo/1.1/1-five.patch"), "mine");
    farm.said(&[&args[..], &["--force"]].concat(), 0);
    assert_eq!(farm.read("patches/demo/1.1/1-five.patch"), new);

    let args = ["refresh", "demo==1.0", "--to", "1.1", "--format", "json"];
    let report: Value = serde_json::from_str(&farm.said(&args, 0)).unwrap();
    shape::check("patch-refresh", &report);
    assert_eq!(report["patches"][0]["proposal"], "replace");
    assert_eq!(report["patches"][0]["text"], new);
}

#[test]
fn a_conflict_is_shown_with_its_place_and_nothing_is_written() {
    let five = with_header(FIVE);
    let farm = Farm::of_folder(SETUP, &[("1-five.patch", &five)]);
    farm.write(
        "changed/setup.py",
        &format!("zero\n{}", SETUP.replace("five", "5")),
    );
    let args = [
        "refresh",
        "demo==1.0",
        "--against",
        "changed",
        "--to",
        "1.1",
        "--write",
    ];
    let output = farm.run(&args);
    assert_eq!(
        (
            output.status.code(),
            &*String::from_utf8(output.stdout).unwrap()
        ),
        (
            Some(1),
            "patches of demo 1.0 for folder changed\nconflict  1-five.patch\n  \
             setup.py:6: the patch and the new source change the same lines\n    \
             <<<<<<< ours\n    FIVE\n    ||||||| original\n    five\n    =======\n    5\n    \
             >>>>>>> theirs\n"
        )
    );
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "nothing is written: not every patch has a proposal\n"
    );
    assert!(!farm.path("patches/demo/1.1").exists());
}

#[test]
fn a_changed_tree_becomes_a_patch_that_fits() {
    let five = with_header(FIVE);
    let farm = Farm::of_folder(SETUP, &[("1-five.patch", &five)]);
    let changed = SETUP.replace("five", "FIVE").replace("eight", "8");
    farm.write("changed/setup.py", &changed);
    farm.write("changed/new.py", "1\n");
    farm.write("changed/build/lib/x.so", "a product of building");
    let name = "2-eight.patch";
    let args = [
        "new",
        "demo==1.0",
        name,
        "--from",
        "changed",
        "--why",
        "it is needed",
        "--upstream",
        "none known",
        "--drop-when",
        "never",
    ];
    let text = farm.said(&args, 0);
    assert_eq!(
        text,
        "Why: it is needed\nUpstream: none known\nDrop-when: never\n\n\
         --- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+1\n\
         --- a/setup.py\n+++ b/setup.py\n@@ -5,5 +5,5 @@\n FIVE\n six\n seven\n-eight\n+8\n nine\n"
    );
    let written = farm.said(&[&args[..], &["--write"]].concat(), 0);
    assert_eq!(
        written,
        "written to patches/demo/1.0/2-eight.patch\n\
         to use it, add `2-eight.patch` to the release's `patches` in packages/demo/package.yaml\n"
    );
    assert_eq!(farm.read("patches/demo/1.0/2-eight.patch"), text);

    // Listed, it fits after the first; and the tree with both is the changed one.
    let package = farm.read("packages/demo/package.yaml");
    let listed = package.replace(
        "[\"1-five.patch\"]",
        "[\"1-five.patch\", \"2-eight.patch\"]",
    );
    farm.write("packages/demo/package.yaml", &listed);
    let checked = farm.said(&["check"], 0);
    assert_eq!(checked.matches("  fits\n").count(), 2, "{checked}");
    // The patch of that name is made anew on the first alone.
    assert_eq!(farm.said(&args, 0), text);
    farm.write("changed/new.py", "2\n");
    let args = [&args[..], &["--write"]].concat();
    farm.refused(&args, 1);
    let again = farm.said(&[&args[..], &["--force"]].concat(), 0);
    assert_eq!(again, "written to patches/demo/1.0/2-eight.patch\n");
    assert_eq!(
        farm.read("patches/demo/1.0/2-eight.patch"),
        text.replace("+1\n", "+2\n")
    );
}

#[test]
fn what_a_text_patch_cannot_do_is_refused() {
    let farm = Farm::of_folder(SETUP, &[]);
    let header = ["--why", "a", "--upstream", "b", "--drop-when", "c"];
    let new = |from: &str| {
        let args = [
            &["new", "demo==1.0", "1-x.patch", "--from", from],
            &header[..],
        ]
        .concat();
        farm.refused(&args, 2)
    };
    farm.write("same/setup.py", SETUP);
    assert_eq!(
        new("same"),
        "error: the changed tree has no change\n\
         hint: change a file in it; products of a build are not looked at\n"
    );
    farm.write("binary/setup.py", SETUP);
    farm.write("binary/x.bin", "\0");
    std::os::unix::fs::symlink("setup.py", farm.path("binary/link")).unwrap();
    assert_eq!(
        new("binary"),
        "error: no text patch can make these changes: `link` is a symbolic link, `x.bin` is a \
         binary file\nhint: a diff changes, adds and removes text files and sets whether they can \
         be run; do the rest in a `*.sh` patch\n"
    );
}

#[test]
fn what_a_release_puts_into_its_source_is_patched_too() {
    let library = Repository::new();
    let commit = library.commit(SETUP);
    let diff = with_header(&FIVE.replace("/setup.py", "/lib/setup.py"));
    let farm = Farm::of_folder("top\n", &[("1-five.patch", &diff)]);
    let package = farm.read("packages/demo/package.yaml");
    let git = library.source(&commit).replace("{git:", "{into: lib, git:");
    let package = package.replace(
        "    kernels:",
        &format!("    extra-sources: [{git}]\n    kernels:"),
    );
    farm.write("packages/demo/package.yaml", &package);
    let said = farm.said(&["check"], 0);
    assert!(said.contains("1-five.patch  fits\n"), "{said}");

    // A source that brings it along itself keeps its own.
    farm.write("other/setup.py", "top\n");
    farm.write("other/lib/setup.py", &SETUP.replace("six", "6"));
    farm.said(&["check", "demo", "--against", "other"], 1);

    // Who changes the source alone need not have it.
    farm.write("changed/setup.py", "TOP\n");
    let args = [
        "new",
        "demo==1.0",
        "2.patch",
        "--from",
        "changed",
        "--why",
        "a",
        "--upstream",
        "b",
        "--drop-when",
        "c",
    ];
    let change = "--- a/setup.py\n+++ b/setup.py\n@@ -1 +1 @@\n-top\n+TOP\n";
    assert_eq!(farm.said(&args, 0), with_header(change));
    let patched = SETUP.replace("five", "FIVE");
    farm.write("changed/lib/setup.py", &patched.replace("one", "ONE"));
    let text = farm.said(&args, 0);
    assert!(text.contains("--- a/lib/setup.py\n"), "{text}");
    assert!(!text.contains("FIVE\n-"), "{text}");
}

#[test]
fn every_variant_of_a_release_is_checked() {
    let farm = Farm::of_folder(SETUP, &[("2-two.subst.yaml", TWO)]);
    let package = farm.read("packages/demo/package.yaml");
    let (head, release) = package.split_once("  - version").unwrap();
    let variant = format!("  - version{release}    variant: avx512\n");
    farm.write(
        "packages/demo/package.yaml",
        &format!("{head}  - version{release}{variant}"),
    );
    let said = farm.said(&["check", "demo==1.0"], 0);
    assert!(said.contains("demo 1.0 (avx512)\n"), "{said}");
    assert!(
        said.ends_with(
            "2 patches of 2 releases: 2 fit, 0 moved, 0 already there, 0 drifted, 0 not checked\n"
        ),
        "{said}"
    );
}
