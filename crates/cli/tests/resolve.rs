//! `wheelfarm resolve` as people and scripts use it.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/resolve")
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["resolve", "--from", "."])
        .args(args)
        .current_dir(folder())
        .env_remove("WHEELFARM_LOG")
        .env_remove("HF_ENDPOINT")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap();
    let folder = fs_err::canonicalize(folder()).unwrap();
    text.replace(&folder.display().to_string(), "/srv/whl")
}

/// The command, its exit code and what it said.
fn told(args: &[&str]) -> String {
    let output = run(args);
    let code = output.status.code().unwrap();
    let quoted: Vec<String> = args
        .iter()
        .map(|arg| {
            if arg.contains([' ', '>', '<']) {
                format!("\"{arg}\"")
            } else {
                (*arg).to_owned()
            }
        })
        .collect();
    let stderr = text(output.stderr);
    let stderr = stderr.lines().map(|line| format!("[stderr] {line}\n"));
    format!(
        "$ wheelfarm resolve --from . {}\n{}{}[exit code {code}]\n",
        quoted.join(" "),
        stderr.collect::<String>(),
        text(output.stdout)
    )
}

fn all(questions: &[&[&str]]) -> String {
    let told: Vec<String> = questions.iter().map(|args| told(args)).collect();
    told.join("\n")
}

#[test]
fn the_right_wheel_is_told_with_the_line_that_installs_it() {
    insta::assert_snapshot!(all(&[
        &[
            "--package",
            "flash-attn",
            "--python",
            "3.12",
            "--torch",
            "2.9.1+cu130",
            "--glibc",
            "2.35",
            "--machine",
            "x86_64",
            "--gpu",
            "RTX 5090"
        ],
        &[
            "--package",
            "flash-attn",
            "--lock",
            "uv.lock",
            "--glibc",
            "2.35"
        ],
        &[
            "--package",
            "flash-attn==2.8.4",
            "--python",
            "3.12",
            "--torch",
            "2.9.1",
            "--cuda",
            "12.8"
        ],
        &[
            "--package",
            "flash-attn",
            "--python",
            "3.12",
            "--torch",
            "2.9.1",
            "--cuda",
            "12.8",
            "--track",
            "nightly"
        ],
        &[
            "--package",
            "xformers",
            "--python",
            "3.13",
            "--torch",
            "2.12.0",
            "--cuda",
            "13.0"
        ],
        &["--package", "triton-kernels", "--torch", "2.10.0"],
    ]));
}

#[test]
fn each_format_is_one_thing_to_paste() {
    let question = [
        "--package",
        "flash-attn",
        "--python",
        "3.11",
        "--torch",
        "2.8.0",
        "--cuda",
        "12.8",
    ];
    let of = |format: &[&'static str]| told(&[&question[..], format].concat());
    insta::assert_snapshot!(
        [
            of(&[
                "--format",
                "dockerfile",
                "--base-url",
                "https://wheels.example.org/"
            ]),
            of(&["--format", "pip"]),
            of(&["--format", "pip", "--require-hashes"]),
            of(&["--format", "uv"]),
            of(&["--format", "dockerfile", "--gpu", "7.5"]),
        ]
        .join("\n")
    );
}

#[test]
fn where_none_fits_each_near_miss_has_its_reason_and_a_job_is_proposed() {
    insta::assert_snapshot!(all(&[
        &[
            "--package",
            "flash-attn",
            "--python",
            "3.13",
            "--torch",
            "2.9.1",
            "--cuda",
            "13.0"
        ],
        &[
            "--package",
            "flash-attn",
            "--python",
            "3.12",
            "--torch",
            "2.8.0",
            "--cuda",
            "12.8",
            "--glibc",
            "2.27"
        ],
        &[
            "--package",
            "sageattention",
            "--python",
            "3.12",
            "--torch",
            "2.8.0",
            "--cuda",
            "12.8",
            "--gpu",
            "RTX 5090"
        ],
        &[
            "--package",
            "causal-conv1d",
            "--python",
            "3.12",
            "--torch",
            "2.8.0",
            "--cuda",
            "12.8",
            "--gpu",
            "RTX 5090",
            "--driver",
            "560.35.03"
        ],
        &[
            "--package",
            "flash-attn>=2.8.4",
            "--python",
            "3.12",
            "--torch",
            "2.9.1",
            "--cuda",
            "12.8"
        ],
        &["--package", "flash-atn"],
    ]));
}

#[test]
fn what_is_not_told_and_matters_is_asked_for() {
    insta::assert_snapshot!(all(&[
        &[
            "--package",
            "flash-attn",
            "--python",
            "3.12",
            "--torch",
            "2.9.1"
        ],
        &["--package", "flash-attn", "--format", "dockerfile"],
    ]));
}

#[track_caller]
fn json(args: &[&str], exit_code: i32) -> Value {
    let output = run(&[args, &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(exit_code), "{args:?}");
    let text = text(output.stdout);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], 1);
    // A Value's maps are sorted, so the same text comes back only from sorted keys.
    assert_eq!(text, format!("{value:#}\n"));
    shape::check("resolve", &value);
    value
}

#[test]
fn programs_get_all_of_it_as_json() {
    let environment = ["--python", "3.12", "--torch", "2.9.1", "--cuda", "13.0"];
    let ask = |package: &'static str| [&["--package", package], &environment[..]].concat();
    let one = json(&ask("flash-attn"), 0);
    assert_eq!(one["outcome"], "one");
    assert_eq!(one["assumed"], serde_json::json!(["glibc", "machine"]));
    let wheel = &one["wheel"];
    let name = "flash_attn-2.8.3+cu130torch2.9-cp312-cp312-manylinux_2_28_x86_64.whl";
    assert_eq!(wheel["wheel"]["file_name"], name);
    let sha256 = wheel["wheel"]["sha256"].as_str().unwrap();
    let url = wheel["url"].as_str().unwrap();
    assert!(
        url.starts_with("file:///srv/whl/files/") && url.contains(sha256),
        "{url}"
    );
    let dockerfile = wheel["lines"]["dockerfile"].as_str().unwrap();
    assert!(dockerfile.contains("\"torch==2.9.1\"") && dockerfile.contains(sha256));
    let none = json(&ask("causal-conv1d"), 1);
    let miss = &none["near_misses"][0];
    assert_eq!(miss["rule"], "torch");
    assert_eq!(miss["reason"], "torch 2.9.1 wanted, wheel is for 2.8");
    assert_eq!(miss["more"][0]["rule"], "cuda");
    assert_eq!(
        none["job"]["id"],
        "causal-conv1d-1.6.0-cu130-torch2.9-cp312"
    );
    let several = json(
        &[
            "--package",
            "flash-attn",
            "--python",
            "3.12",
            "--torch",
            "2.9.1",
        ],
        4,
    );
    assert_eq!(several["give"], serde_json::json!(["cuda"]));
    assert_eq!(several["candidates"].as_array().unwrap().len(), 2);
}

#[test]
fn a_python_of_this_machine_fills_in_what_is_not_given() {
    let value = json(&["--package", "triton-kernels", "--here"], 0);
    let question = &value["question"];
    for known in ["python", "glibc", "machine"] {
        assert!(question[known].is_string(), "{known}: {question}");
    }
    let value = json(
        &[
            "--package",
            "flash-attn",
            "--here",
            "--python",
            "3.12",
            "--torch",
            "2.8.0+cu128",
        ],
        0,
    );
    assert_eq!(value["question"]["python"], "3.12");
    assert_eq!(value["question"]["cuda"], "12.8");
}

/// The words of a command line, double quotes taken off.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn the_examples_of_the_document_are_what_is_said() {
    let document = include_str!("../../../docs/resolve.md");
    let blocks = document
        .split("```console\n$ wheelfarm resolve --from . ")
        .skip(1);
    let mut count = 0;
    for block in blocks {
        let (line, rest) = block.split_once('\n').unwrap();
        let want = rest.split_once("```").unwrap().0;
        let words = words(line);
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = run(&args);
        let said = text(output.stderr) + &text(output.stdout);
        assert_eq!(said, want, "{line}");
        count += 1;
    }
    assert_eq!(count, 6);
}

/// What a name says of the processor holds where nothing else does.
#[test]
fn a_gpu_beside_an_arm_processor_gets_no_environment_for_another() {
    let pip = ["--package", "flash-attn", "--environment", "pip"];
    let ask = |more: &[&str]| run(&[more, &pip].concat());
    for name in ["GH200", "GB200", "GB10", "sm_121"] {
        let output = ask(&["--gpu", name]);
        let (code, said) = (output.status.code(), text(output.stderr));
        let note =
            format!("note: `{name}` is beside an Arm processor: taken as `--machine aarch64`");
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains(&note), "{said}");
        assert!(said.contains("no environment for aarch64"), "{said}");
    }
    for args in [
        &["--gpu", "H100"][..],
        &["--gpu", "GH200", "--machine", "x86_64"],
    ] {
        let output = ask(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!text(output.stderr).contains("Arm"), "{args:?}");
    }
}
