//! `wheelfarm init`: a farm in an empty folder, in a repository, and where one is already.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const ACTION: &str = "wheelfarm/wheelfarm@0123456789abcdef0123456789abcdef01234567";

/// The program in `folder`, on a machine without a GPU.
fn wheelfarm(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(args)
        .current_dir(folder)
        .env("PATH", "/nonexistent")
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("WHEELFARM_LOG")
        .env_remove("WHEELFARM_CACHE")
        .output()
        .unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "", "nothing is to be said beside the data");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every file below `folder`, but what git keeps.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        for entry in fs_err::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(folder).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.retain(|path| !path.starts_with(".git/"));
    found.sort();
    found
}

#[test]
fn a_new_folder_is_a_farm_that_plans() {
    let home = tempfile::tempdir().unwrap();
    let args = ["init", "wheels", "--gpu", "RTX 5090", "--action", ACTION];
    let told = done(&wheelfarm(home.path(), &args));
    insta::assert_snapshot!(told);

    let farm = home.path().join("wheels");
    let plan = done(&wheelfarm(&farm, &["plan", "--format", "json"]));
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(
        plan["jobs"][0]["id"],
        "torch-spline-conv-1.2.2-cu130-torch2.11-cp312"
    );
    let workflow = fs_err::read_to_string(farm.join(".github/workflows/nightly.yml")).unwrap();
    assert!(workflow.contains(&format!("uses: {ACTION}")), "{workflow}");
    // An editor finds the schema beside the matrix, and has nothing against it.
    let matrix = fs_err::read_to_string(farm.join("matrix.yaml")).unwrap();
    let named = matrix.lines().next().unwrap();
    let named = named
        .strip_prefix("# yaml-language-server: $schema=")
        .unwrap();
    let schema = fs_err::read_to_string(farm.join(named)).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema, shape::schema("matrix"));
    let matrix: Value = serde_saphyr::from_str(&matrix).unwrap();
    assert_eq!(shape::faults(&schema, &matrix), None);

    // A package is begun in it as in any farm, and asks for a source.
    let again = wheelfarm(&farm, &["init", "package", "torch-spline-conv"]);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(stderr.contains("is there already"), "{stderr}");
}

#[test]
fn what_is_chosen_is_told_to_programs_too() {
    let home = tempfile::tempdir().unwrap();
    let args = [
        "init",
        "--farm",
        "attention",
        "--package",
        "sageattention",
        "--package",
        "flash-attn==2.8.3",
        "--torch",
        "2.9",
        "--no-workflow",
        "--dry-run",
        "--format",
        "json",
    ];
    let told = done(&wheelfarm(home.path(), &args));
    shape::check("init", &serde_json::from_str(&told).unwrap());
    insta::assert_snapshot!(told);
    assert!(files(home.path()).is_empty(), "a dry run writes nothing");
}

#[test]
fn a_repository_keeps_what_it_has() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("my wheels");
    fs_err::create_dir_all(repository.join(".git")).unwrap();
    fs_err::write(repository.join("README.md"), "# mine\n").unwrap();
    let args = ["init", "my wheels", "--gpu", "H100", "--no-workflow"];
    let told = done(&wheelfarm(home.path(), &args));
    assert!(
        told.contains("kept   my wheels/README.md  it was there; nothing is overwritten"),
        "{told}"
    );
    assert!(told.contains("  cd 'my wheels'\n"), "{told}");
    let readme = fs_err::read_to_string(repository.join("README.md")).unwrap();
    assert_eq!(readme, "# mine\n");
    let matrix = fs_err::read_to_string(repository.join("matrix.yaml")).unwrap();
    assert!(matrix.contains("farm: \"my-wheels\""), "{matrix}");

    // Again: nothing changes. With other wishes: what is there stays, and that is said.
    let before = files(&repository);
    let told = done(&wheelfarm(home.path(), &args));
    assert!(told.contains("were there already, word for word"), "{told}");
    let other = ["init", "my wheels", "--gpu", "A100", "--no-workflow"];
    let refused = wheelfarm(home.path(), &other);
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    insta::assert_snapshot!(stderr);
    assert_eq!(files(&repository), before);
    assert_eq!(
        fs_err::read_to_string(repository.join("matrix.yaml")).unwrap(),
        matrix
    );
}

#[test]
fn a_workflow_that_github_would_not_run_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("r");
    fs_err::create_dir_all(repository.join(".git")).unwrap();
    let args = ["init", "farm", "--gpu", "RTX 5090", "--action", ACTION];
    let refused = wheelfarm(&repository, &args);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("`farm` lies in the repository `"),
        "{stderr}"
    );
    assert!(stderr.contains("`--no-workflow`"), "{stderr}");
    assert_eq!(files(&repository), Vec::<String>::new());

    let without = [&args[..4], &["--no-workflow"]].concat();
    done(&wheelfarm(&repository, &without));
    assert!(repository.join("farm/matrix.yaml").exists());
    // At its top, and where the folder is a repository of its own.
    fs_err::create_dir_all(repository.join("own/.git")).unwrap();
    let top = ["init", "--gpu", "RTX 5090", "--action", ACTION, "--dry-run"];
    done(&wheelfarm(&repository, &top));
    done(&wheelfarm(&repository, &[&top[..], &["own"]].concat()));
}

#[test]
fn where_wheels_go_is_a_place_that_can_be_published_to() {
    let home = tempfile::tempdir().unwrap();
    let run = |folder: &str, place: &str| {
        let args = ["init", folder, "--gpu", "RTX 5090", "--no-workflow"];
        wheelfarm(home.path(), &[&args[..], &["--publish-to", place]].concat())
    };
    for place in ["", "hf://OWNER", "https://x.org/y"] {
        let refused = run("w", place);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{place}: {stderr}");
        assert!(
            stderr.contains("`--publish-to hf://OWNER/NAME`"),
            "{stderr}"
        );
    }
    assert!(files(home.path()).is_empty());
    for (folder, place, word) in [
        ("a", "hf://lab/wheels", "hf://lab/wheels"),
        ("b", "my wheels", "'my wheels'"),
    ] {
        let told = done(&run(folder, place));
        let line = format!("wheelfarm publish --to {word} --prove\n");
        assert!(told.contains(&line), "{told}");
        let readme = home.path().join(folder).join("README.md");
        let readme = fs_err::read_to_string(readme).unwrap();
        assert!(readme.contains(&line), "{readme}");
    }
}

#[test]
fn without_a_commit_there_is_no_workflow_to_pin() {
    let home = tempfile::tempdir().unwrap();
    let output = wheelfarm(home.path(), &["init", "--gpu", "H100"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("--action OWNER/wheelfarm@COMMIT"),
        "{stderr}"
    );
    assert!(files(home.path()).is_empty());
}

/// GitHub's schema, actionlint and zizmor, as `scripts/setup test` pins them.
#[test]
fn conformance_small_the_written_workflow_passes_its_linters() {
    let home = tempfile::tempdir().unwrap();
    let labels = "self-hosted linux x64 gpu rtx5090";
    let args = ["init", "--gpu", "RTX 5090", "--action", ACTION];
    let args = [&args[..], &["--runner-labels", labels]].concat();
    done(&wheelfarm(home.path(), &args));
    let git = Command::new("git")
        .args(["init", "--quiet"])
        .current_dir(home.path())
        .status();
    assert!(git.unwrap().success());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check-workflows");
    let output = Command::new(script).arg(home.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{stderr}");
}
