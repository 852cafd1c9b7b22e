//! `wheelfarm watch` against an index on this machine and a repository in a folder.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

/// A farm in a folder, and the address of an index that lives as long as the test.
struct Farm {
    folder: tempfile::TempDir,
    index: String,
}

const WHEELS: [&str; 9] = [
    "torch-2.11.0+cu130-cp311-cp311-manylinux_2_28_x86_64.whl",
    "torch-2.11.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",
    "torch-2.12.0+cu130-cp311-cp311-manylinux_2_28_x86_64.whl",
    "torch-2.12.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",
    "torch-2.12.1+cu130-cp311-cp311-manylinux_2_28_x86_64.whl",
    "torch-2.12.1+cu130-cp312-cp312-manylinux_2_28_aarch64.whl",
    "torch-2.13.0rc1+cu130-cp311-cp311-manylinux_2_28_x86_64.whl",
    "torch-2.13.0+cu126-cp311-cp311-manylinux_2_28_x86_64.whl",
    "torch-2.14.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",
];

impl Farm {
    fn new() -> Self {
        let wheels = WHEELS
            .map(|name| format!("<a href=\"/files/{}\">{name}</a>", name.replace('+', "%2B")));
        let digest = "69b3aa435f2424ac6a1bfb6ff702da6eb73b33ca0db38fb26989c74159258e47";
        let demo = format!(
            "<a href='/demo-1.0.tar.gz#sha256={digest}'>x</a><a href='/demo-1.1.tar.gz#sha256={digest}' \
             data-requires-python='&gt;=3.10'>x</a>"
        );
        let pages = [("/whl/torch/", wheels.concat()), ("/simple/demo/", demo)];
        let index = serve(pages.map(|(path, page)| (path.to_owned(), page)).into());
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
            index,
        };
        let index = &farm.index;
        farm.write(
            "matrix.yaml",
            &format!(
                r#"schema: 1
farm: test

archs: ["9.0"]  # Hopper alone

packages:
  - name: demo
    versions: ["1.0"]
  - name: other
    versions: ["2.0"]

environments:
  - name: cu130
    base:
      image:
        reference: pytorch/manylinux2_28-builder:cuda13.0
        interpreter: manylinux
    toolkit: image
    cuda: "13.0"
    torch-index: {index}/whl
    torch:
      - "2.11.0"  # what most have
    python: ["3.11"]
"#
            ),
        );
        farm.write_package(
            "demo",
            "1.0",
            &format!("sdist:\n        sha256: {digest}\n        index: {index}/simple"),
        );
        farm
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    fn write_package(&self, name: &str, version: &str, source: &str) {
        let text = format!(
            "schema: 1\nname: {name}\nsummary: s\nlicence: MIT\nupstream: https://example.org\nreleases:\n  \
             - version: \"{version}\"\n    source:\n      {source}\n    kernels:\n      compiled:\n        \
             archs: [\"9.0\"]\n        source: its setup.py\n    build:\n      requirements: []\n"
        );
        self.write(&format!("packages/{name}/package.yaml"), &text);
    }

    /// A repository with a tag for the version in use and one for a later version.
    fn with_repository(&self) {
        let folder = self.path("repo");
        fs_err::create_dir_all(&folder).unwrap();
        let git = |args: &[&str]| {
            let output = Command::new("git")
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
                .args(args)
                .current_dir(&folder)
                .output()
                .unwrap();
            assert!(output.status.success(), "{args:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
        git(&["tag", "v2.0"]);
        let pinned = git(&["rev-parse", "HEAD"]);
        git(&["commit", "--quiet", "--allow-empty", "--message=y"]);
        git(&["tag", "--annotate", "--message=y", "v2.1"]);
        let source = format!(
            "git:\n        url: file://{}\n        commit: \"{pinned}\"",
            folder.display()
        );
        self.write_package("other", "2.0", &source);
    }

    /// A repository that is not there.
    fn without_repository(&self) {
        let pinned = "1a".repeat(20);
        let source =
            format!("git:\n        url: file:///nonexistent/repo\n        commit: {pinned}");
        self.write_package("other", "2.0", &source);
    }

    fn watch(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .arg("watch")
            .args(args)
            .current_dir(self.folder.path())
            .env_remove("WHEELFARM_LOG")
            .output()
            .unwrap()
    }

    /// What it gave, with the exit code that is wanted and nothing on standard error.
    #[track_caller]
    fn told(&self, args: &[&str], exit_code: i32) -> String {
        let output = self.watch(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*stderr),
            (Some(exit_code), ""),
            "{args:?}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.replace(&self.index, "http://index");
        text.replace(&self.folder.path().display().to_string(), "/farm")
    }
}

/// A server that knows these pages. Its thread ends with the process.
fn serve(pages: BTreeMap<String, String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            // The rest of the request is read, or closing would reset the connection.
            for line in lines {
                if line.unwrap().is_empty() {
                    break;
                }
            }
            let page = pages.get(first.split(' ').nth(1).unwrap());
            let (status, page) = match page {
                Some(page) => ("200 OK", page.as_str()),
                None => ("404 Not Found", "no"),
            };
            let length = page.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{page}"
            )
            .unwrap();
        }
    });
    address
}

#[test]
fn news_is_told_with_what_follows_from_it() {
    let farm = Farm::new();
    farm.with_repository();
    let before = farm.read("matrix.yaml");
    let text = farm.told(&[], 0);
    let (news, diffs) = text.split_once("\n\nmatrix.yaml, ").unwrap();
    let news: Vec<_> = news
        .lines()
        .filter(|line| !line.starts_with("       news id"))
        .map(|line| match line.split_once(", tag v2.1, ") {
            Some((start, _)) => format!("{start}, tag v2.1, COMMIT"),
            None => line.to_owned(),
        })
        .collect();
    assert_eq!(
        news.join("\n"),
        "\
torch-minor  cu130 torch: 2.12.1
       has      2.11.0
       matrix   proposed, +2 jobs
       see      http://index/whl/torch/
torch-minor  cu130 torch: 2.14.0
       has      2.11.0
       note     it has no wheel for Python 3.11
       see      http://index/whl/torch/
python  cu130 python: 3.12
       has      3.11
       note     there are wheels for it of torch 2.11.0
       matrix   proposed, +4 jobs
       see      http://index/whl/torch/
package-release  demo: 1.1
       has      1.0
       note     its requires-python is `>=3.10`; 1.0 needs any
       matrix   left out: needs release 1.1 in packages/demo/package.yaml first
       package  proposed, to be reviewed
       see      http://index/simple/demo/
git-tag  other: 2.1, tag v2.1, COMMIT
       has      2.0
       matrix   left out: needs release 2.1 in packages/other/package.yaml first
       package  proposed, to be reviewed
       see      file:///farm/repo"
    );
    assert!(
        diffs.starts_with(
            "\
proposed, --write writes it:
--- a/matrix.yaml
+++ b/matrix.yaml
@@ -20,4 +20,5 @@
     torch-index: http://index/whl
     torch:
       - \"2.11.0\"  # what most have
-    python: [\"3.11\"]
+      - \"2.12.1\"
+    python: [\"3.11\", \"3.12\"]

packages/demo/package.yaml, to be reviewed and completed by hand:
--- a/packages/demo/package.yaml
"
        ),
        "{diffs}"
    );
    assert!(diffs.ends_with("\n\n5 pieces of news\n"), "{diffs}");
    assert_eq!(
        farm.read("matrix.yaml"),
        before,
        "nothing is written unasked"
    );
    assert!(!farm.path("out").exists());
    assert!(farm.told(&["--exit-code"], 1).contains("5 pieces of news"));
}

#[test]
fn diffs_are_what_git_applies() {
    let farm = Farm::new();
    farm.with_repository();
    let output = farm.watch(&[]);
    let patch = farm.path("news.txt");
    fs_err::write(&patch, &output.stdout).unwrap();
    let applied = Command::new("git")
        .args(["apply", "news.txt"])
        .current_dir(farm.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success(), "{said}");
    // The releases that had to be there first now are.
    let text = farm.told(&["--write"], 0);
    assert!(text.contains("package-unused  demo: 1.1\n"), "{text}");
    assert!(text.contains("package-unused  other: 2.1\n"), "{text}");
    assert!(
        farm.read("matrix.yaml")
            .contains("versions: [\"1.0\", \"1.1\"]\n")
    );
    assert!(
        farm.read("matrix.yaml")
            .contains("versions: [\"2.0\", \"2.1\"]\n")
    );
}

#[test]
fn what_is_written_plans_and_is_not_told_again() {
    let farm = Farm::new();
    farm.with_repository();
    let text = farm.told(&["--write", "--kind", "torch-minor", "--kind", "python"], 0);
    assert!(text.contains("matrix.yaml, written:\n"), "{text}");
    let matrix = farm.read("matrix.yaml");
    for kept in [
        "archs: [\"9.0\"]  # Hopper alone\n",
        "      - \"2.11.0\"  # what most have\n",
    ] {
        assert!(matrix.contains(kept), "{matrix}");
    }
    let plan = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["plan", "--format", "json"])
        .current_dir(farm.folder.path())
        .output()
        .unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["jobs"].as_array().unwrap().len(), 8);

    let text = farm.told(&["--kind", "torch-minor"], 0);
    assert_eq!(
        text,
        "nothing new, 1 told before (--all tells them again)\n"
    );
    let text = farm.told(&["--kind", "torch-minor", "--all"], 0);
    assert!(
        text.starts_with("torch-minor  cu130 torch: 2.14.0\n"),
        "{text}"
    );
    // Other kinds were not told, so they are news still.
    assert!(
        farm.told(&["--remember"], 0)
            .ends_with("\n2 pieces of news, 1 told before (--all tells them again)\n")
    );
    assert_eq!(
        farm.told(&["--exit-code"], 0),
        "nothing new, 3 told before (--all tells them again)\n"
    );
    fs_err::rename(farm.path("out/watch.json"), farm.path("seen.json")).unwrap();
    assert_eq!(
        farm.told(&["--since", "seen.json"], 0),
        "nothing new, 3 told before (--all tells them again)\n"
    );
    assert!(
        farm.told(&["--write", "--since", "seen.json"], 0)
            .starts_with("nothing new")
    );
    assert!(
        !farm.path("out/watch.json").exists(),
        "--since remembers nothing"
    );
}

#[test]
fn what_cannot_be_reached_is_not_checked() {
    let farm = Farm::new();
    farm.without_repository();
    let text = farm.told(&["--kind", "torch-patch"], 4);
    assert!(
        text.starts_with("not checked  tags of other, file:///nonexistent/repo\n       why      `git ls-remote` for "),
        "{text}"
    );
    assert!(text.ends_with("\nnothing new, 1 not checked\n"), "{text}");
    assert!(farm.told(&["--exit-code"], 1).contains("1 not checked"));
}

#[test]
fn news_in_json_has_a_schema_and_sorted_keys() {
    let farm = Farm::new();
    farm.with_repository();
    let text = farm.told(&["--format", "json"], 0);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text, format!("{told:#}\n"));
    shape::check("watch", &told);
    assert_eq!(told["not_checked"].as_array().unwrap().len(), 0);
    let news = &told["news"][0];
    assert_eq!(news["kind"], "torch-minor");
    assert_eq!(news["there"], "2.12.1");
    assert_eq!(news["matrix"]["jobs"], 2);
    assert_eq!(news["fingerprint"].as_str().unwrap().len(), 12);
    let paths: Vec<_> = told["diffs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|diff| {
            (
                diff["path"].as_str().unwrap(),
                diff["written"].as_bool().unwrap(),
            )
        })
        .collect();
    let want = [
        ("matrix.yaml", false),
        ("packages/demo/package.yaml", false),
        ("packages/other/package.yaml", false),
    ];
    assert_eq!(paths, want);
}
