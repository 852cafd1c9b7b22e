//! `wheelfarm init package` from a repository in a folder.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Farm {
    folder: tempfile::TempDir,
}

impl Farm {
    fn new() -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo/matrix.yaml");
        let matrix = fs_err::read_to_string(demo).unwrap();
        // Nothing is asked of an index: what is wanted is pinned by another package.
        let pins =
            "[\"setuptools==80.9.0\", \"wheel==0.45.1\", \"packaging==25.0\", \"ninja==1.13.0\"]";
        farm.write("matrix.yaml", &matrix);
        farm.write(
            "packages/demo/package.yaml",
            &format!(
                "schema: 1\nname: demo\nsummary: s\nlicence: MIT\nupstream: u\nreleases:\n  - version: \"1.0\"\n    \
                 source:\n      folder: source\n    kernels: just-in-time\n    build:\n      requirements: {pins}\n"
            ),
        );
        farm.write(
            "repo/setup.py",
            "from setuptools import setup\nfrom torch.utils.cpp_extension import CUDAExtension\nimport os\n\
             raise SystemExit(1)\n\
             FORCE = os.getenv('FORCE_CUDA')\n\
             setup(name='fast-things', version='0.4.2', license='MIT', description='Fast things',\n    \
             url='https://example.org', python_requires='>=3.9',\n    \
             ext_modules=[CUDAExtension('fast_things._C', ['csrc/a.cu'])])\n",
        );
        farm.write("repo/csrc/a.cu", "// kernels\n");
        farm.write("repo/fast_things/__init__.py", "");
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

    /// Commits the repository.
    fn commit(&self) -> String {
        let git = |args: &[&str]| {
            let output = Command::new("git")
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
                .args(args)
                .current_dir(self.path("repo"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{args:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message=x"]);
        git(&["rev-parse", "HEAD"])
    }

    fn init(&self, commit: &str, args: &[&str]) -> Output {
        let url = format!("file://{}", self.path("repo").display());
        self.run(
            &[
                &[
                    "init",
                    "package",
                    "fast-things",
                    "--git",
                    &url,
                    "--commit",
                    commit,
                ],
                args,
            ]
            .concat(),
        )
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
            .args(args)
            .current_dir(self.folder.path())
            .env("WHEELFARM_CACHE", self.path("cache"))
            .env_remove("WHEELFARM_LOG")
            .output()
            .unwrap()
    }
}

#[test]
fn a_package_is_begun_and_plans() {
    let farm = Farm::new();
    let commit = farm.commit();
    let output = farm.init(&commit, &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "\
wrote  packages/fast-things/package.yaml
wrote  packages/fast-things/test.py
found  fast-things 0.4.2: 1 .cu file
       setup.py:5: reads FORCE_CUDA: set to 1 below, or a build without a GPU gives a CPU-only wheel without a word

Read packages/fast-things/package.yaml, which says what is guessed, and name the package in matrix.yaml:
  - name: fast-things
    versions: [\"0.4.2\"]
Then:
  wheelfarm plan --only 'fast-things-*'
  wheelfarm dockerfile fast-things-0.4.2-cu130-torch2.11-cp311
  wheelfarm build --only 'fast-things-0.4.2-cu130-torch2.11-cp311'
"
    );
    let matrix = fs_err::read_to_string(farm.path("matrix.yaml")).unwrap();
    let (before, rest) = matrix.split_once("packages:\n").unwrap();
    let (_, after) = rest.split_once("environments:\n").unwrap();
    let entry = "packages:\n  - name: fast-things\n    versions: [\"0.4.2\"]\nenvironments:\n";
    farm.write("matrix.yaml", &format!("{before}{entry}{after}"));
    for args in [
        &["plan", "--only", "fast-things-*"][..],
        &["dockerfile", "fast-things-0.4.2-cu130-torch2.11-cp311"],
    ] {
        let output = farm.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    }
    let test = fs_err::read_to_string(farm.path("packages/fast-things/test.py")).unwrap();
    assert!(
        test.contains("    import fast_things  # noqa: F401\n"),
        "{test}"
    );
}

#[test]
fn nothing_is_overwritten() {
    let farm = Farm::new();
    let commit = farm.commit();
    farm.write("packages/fast-things/notes.txt", "mine");
    let output = farm.init(&commit, &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr,
        "error: `packages/fast-things` is there already\n\
         hint: change what is there, or move it away: nothing is overwritten\n"
    );
    assert!(!farm.path("packages/fast-things/package.yaml").exists());
}

#[test]
fn a_commit_without_a_version_needs_one() {
    let farm = Farm::new();
    farm.write(
        "repo/setup.py",
        "setup(name='fast-things', version=get_version())\n",
    );
    let commit = farm.commit();
    let output = farm.init(&commit, &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.ends_with("does not say which version it is\nhint: say it: `--release VERSION`\n"),
        "{stderr}"
    );

    let output = farm.init(&commit, &["--release", "2.0", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let begun: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text, format!("{begun:#}\n"));
    shape::check("init-package", &begun);
    assert_eq!(
        (&begun["schema"], begun["version"].as_str()),
        (&Value::from(1), Some("2.0"))
    );
    assert_eq!(begun["plan_faults"].as_array().unwrap().len(), 0);
    assert_eq!(begun["next"].as_array().unwrap().len(), 3);
}
