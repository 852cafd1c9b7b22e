//! The five problems that people with a new GPU post most: what the program says of each, and the two
//! pages that show it. The logs are in `tests/problems`.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(folder: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(args)
        .current_dir(top().join("tests").join(folder))
        .env_remove("WHEELFARM_LOG")
        .env_remove("HF_ENDPOINT")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a person sees, without how much of a wheel was fetched.
fn said(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    let talk = stderr.lines().filter(|line| !line.starts_with("read "));
    let talk: Vec<String> = talk.map(|line| format!("{line}\n")).collect();
    talk.concat() + &String::from_utf8(output.stdout).unwrap()
}

/// The right answer, in words that it must have, whatever else the pages come to show.
#[track_caller]
fn check(line: &str, exit_code: i32, must_say: &[&str]) {
    let args = words(line);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = run("problems", &args);
    let code = output.status.code();
    let said = said(output);
    assert_eq!(code, Some(exit_code), "{line}\n{said}");
    // Lines are broken where they are long.
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in must_say {
        assert!(flat.contains(words), "{line}: no `{words}` in\n{said}");
    }
}

#[test]
fn sm_120_is_not_compatible_with_the_current_pytorch() {
    check(
        "diagnose sm-120-not-compatible/log.txt",
        0,
        &[
            "sm-120-not-compatible",
            "build of torch",
            "--environment pip",
        ],
    );
    for gpu in ["\"RTX 5090\"", "5090", "sm_120", "12.0"] {
        check(
            &format!("compat --gpu {gpu} --torch 2.6"),
            1,
            &["torch 2.6", "does not run on 12.0", "2.7 for CUDA 12.8"],
        );
    }
    check(
        "resolve --gpu 5090 --torch 2.7 --environment pip",
        0,
        &[
            "https://download.pytorch.org/whl/cu128",
            "torch==2.7.1+cu128",
            "torchvision==0.22.1+cu128",
            "torchaudio==2.7.1+cu128",
            "triton==3.3.1",
            "no nightly is needed",
        ],
    );
    check(
        "resolve --gpu 5090 --torch 2.6 --environment pip",
        1,
        &["does not run on 12.0", "--torch 2.7.1"],
    );
}

#[test]
fn flash_attn_fails_to_build_on_an_rtx_5090() {
    check(
        "diagnose flash-attn-on-an-rtx-5090/log-toolkit.txt",
        0,
        &["compute_120", "12.8"],
    );
    check(
        "compat --gpu 5090 --cuda cu124",
        0,
        &[
            "no machine code for 12.0",
            "CUDA 12.8 to 13.5 compile for it",
        ],
    );
    check(
        "diagnose flash-attn-on-an-rtx-5090/log-guess.txt",
        0,
        &["FLASH_ATTENTION_FORCE_BUILD"],
    );
    check(
        "diagnose flash-attn-on-an-rtx-5090/log-wheel.txt",
        0,
        &["another torch"],
    );
    check(
        "resolve --from ../resolve --package flash-attn --gpu 5090 --environment pip",
        0,
        &["torch==2.9.1", "flash-attn @ ", "#sha256="],
    );
}

#[test]
fn no_kernel_image_is_available() {
    check(
        "diagnose no-kernel-image/log.txt",
        0,
        &["no-kernel-image", "wheelfarm inspect WHEEL"],
    );
    check(
        "diagnose no-kernel-image/log-xformers.txt",
        0,
        &["Hopper", "9.0a"],
    );
}

#[test]
fn unknown_cuda_architecture_name() {
    check(
        "diagnose cmake-unknown-architecture/log.txt",
        0,
        &["cmake-unknown-arch-name", "9.0"],
    );
    check(
        "compat --gpu sm_90 --torch 2.8.0+cu128",
        0,
        &["torch 2.8.0", "CUDA 12.8", "runs on 9.0"],
    );
}

#[test]
fn sageattention_has_no_module_of_its_own_for_sm_120() {
    for log in ["log.txt", "log-import.txt"] {
        check(
            &format!("diagnose sageattention-sm-120/{log}"),
            0,
            &["_qattn_sm89", "12.0", "script"],
        );
    }
    check(
        "diagnose sageattention-sm-120/log-upstream.txt",
        0,
        &["_qattn_sm89"],
    );
    check(
        "resolve --from ../resolve --package sageattention --python cp312 --torch 2.8.0+cu128 --gpu 5090",
        1,
        &["no image for sm_120 in `_qattn_sm89`", "12.0"],
    );
}

#[test]
fn a_torch_and_a_cuda_that_contradict_each_other_are_refused() {
    let args = ["compat", "--torch", "2.8.0+cu128", "--cuda", "12.6"];
    let output = run("problems", &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(output).contains("the torch is for CUDA 12.8, and --cuda says 12.6"));
}

/// The words of a shell line; double quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    parts
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// Each example of a page that `is_wanted` takes, run and compared; how many there were.
fn compare(page: &str, folder: &str, is_wanted: impl Fn(&str) -> bool) -> usize {
    let text = fs_err::read_to_string(top().join("docs").join(page)).unwrap();
    let blocks = text.split("```console\n$ wheelfarm ").skip(1);
    let mut count = 0;
    for block in blocks {
        let (shown, _) = block.split_once("\n```").unwrap();
        let (line, shown) = shown.split_once('\n').unwrap();
        if !is_wanted(line) {
            continue;
        }
        let args = words(line);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(said(run(folder, &args)).trim_end(), shown, "{page}: {line}");
        count += 1;
    }
    count
}

fn is_remote(line: &str) -> bool {
    line.contains("https://files.pythonhosted.org/")
}

#[test]
fn the_pages_show_what_the_program_says() {
    let troubles = compare("troubleshooting.md", "problems", |line| !is_remote(line));
    assert!(troubles > 12, "{troubles}");
    let environments = compare("environments.md", "resolve", |line| !is_remote(line));
    assert!(environments > 7, "{environments}");
}

/// Wheels on PyPI, of which the parts that are needed are read.
#[test]
fn conformance_small_the_wheels_of_the_page_are_what_it_says() {
    assert_eq!(compare("troubleshooting.md", "problems", is_remote), 2);
}

#[test]
fn an_environment_is_a_file_and_nothing_else_or_there_is_none() {
    let args = |more: &[&'static str]| {
        let all = [
            &["resolve", "--gpu", "RTX 5090", "--environment", "uv"],
            more,
        ]
        .concat();
        run("resolve", &all)
    };
    let output = args(&[]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let output = args(&["--torch", "2.6"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let output = args(&["--cuda", "13.4"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(4), 0));
    let output = args(&["--format", "pip"]);
    assert_eq!(output.status.code(), Some(2));
    let output = args(&["--package", "flash-attn"]);
    assert_eq!(output.status.code(), Some(2), "without --from");
}

#[test]
fn programs_get_the_environment_as_json() {
    let json = |args: &[&str], exit_code: i32| -> Value {
        let line = [
            &["resolve", "--format", "json", "--environment", "pip"],
            args,
        ]
        .concat();
        let output = run("resolve", &line);
        assert_eq!(output.status.code(), Some(exit_code), "{args:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], 1);
        // A Value's maps are sorted, so the same text comes back only from sorted keys.
        assert_eq!(text, format!("{value:#}\n"));
        shape::check("recipe", &value);
        value
    };
    let release = ["--from", ".", "--package", "flash-attn", "--gpu", "5090"];
    let one = json(&release, 0);
    assert_eq!(one["outcome"], "one");
    let recipe = &one["recipe"];
    assert_eq!(recipe["torch"]["version"], "2.9.1");
    assert_eq!(recipe["torch"]["cuda"], "12.8");
    assert_eq!(recipe["torch"]["index"], "pypi");
    assert_eq!(recipe["companions"][0]["package"], "torchvision");
    assert_eq!(recipe["companions"][0]["version"], "0.24.1");
    assert_eq!(recipe["nightly"], Value::Null);
    let text = recipe["text"].as_str().unwrap();
    assert!(text.contains(recipe["wheels"][0]["sha256"].as_str().unwrap()));
    let none = json(&["--gpu", "5090", "--torch", "2.6"], 1);
    assert_eq!(none["outcome"], "none");
    assert_eq!(none["refusal"]["fit"], "no");
    assert!(
        none["refusal"]["nearest"]
            .as_str()
            .unwrap()
            .contains("2.7.1")
    );
}

/// A program of `.venv`, where `make setup` has put it.
fn tool(name: &str) -> PathBuf {
    let path = top().join(".venv/bin").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make setup`",
        path.display()
    );
    path
}

/// The Python that `.venv` has: `3.11`.
fn python() -> String {
    let script = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new(tool("python")).args(["-c", script]).output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

/// The environment for an RTX 5090 with that torch, which is PyPI's.
fn environment(manager: &str, torch: &str) -> String {
    let python = python();
    let args = [
        "resolve",
        "--gpu",
        "5090",
        "--environment",
        manager,
        "--torch",
        torch,
    ];
    let output = run("resolve", &[&args[..], &["--python", &python]].concat());
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn conformance_small_uv_locks_the_environment_at_its_pins() {
    for (torch, pins) in [
        ("2.9", ["2.9.1", "0.24.1", "2.9.1", "3.5.1"]),
        ("2.14", ["2.14.1", "0.29.1", "2.11.0", "3.8.0"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(
            folder.path().join("pyproject.toml"),
            environment("uv", torch),
        )
        .unwrap();
        let output = Command::new(tool("uv"))
            .args([
                "lock",
                "--no-cache",
                "--no-config",
                "--no-python-downloads",
                "--python",
            ])
            .arg(tool("python"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "torch {torch}: {stderr}");
        let lock = fs_err::read_to_string(folder.path().join("uv.lock")).unwrap();
        for (package, version) in ["torch", "torchvision", "torchaudio", "triton"]
            .iter()
            .zip(pins)
        {
            let entry = format!("name = \"{package}\"\nversion = \"{version}\"\n");
            assert!(lock.contains(&entry), "torch {torch}: no {entry}");
        }
    }
}

#[test]
fn conformance_small_pip_finds_every_pin_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requirements.txt");
    fs_err::write(&file, environment("pip", "2.11")).unwrap();
    // Without dependencies: pip would read the metadata of three gigabytes of CUDA.
    let output = Command::new(tool("pip"))
        .args([
            "install",
            "--dry-run",
            "--no-deps",
            "--ignore-installed",
            "--isolated",
        ])
        .args([
            "--only-binary=:all:",
            "--use-feature=fast-deps",
            "--no-cache-dir",
            "-r",
        ])
        .arg(&file)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let would = stdout
        .lines()
        .find(|line| line.starts_with("Would install"));
    let would = would.unwrap_or_else(|| panic!("{stdout}"));
    for pin in [
        "torch-2.11.0",
        "torchvision-0.26.0",
        "torchaudio-2.11.0",
        "triton-3.6.0",
    ] {
        assert!(would.contains(pin), "{would}");
    }
}
