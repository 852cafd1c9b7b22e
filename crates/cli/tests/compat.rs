//! `wheelfarm compat` as people and scripts use it.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .arg("compat")
        .args(args)
        .env_remove("WHEELFARM_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Standard output of an answer; it is data whatever it says, so standard error is empty.
#[track_caller]
fn data(args: &[&str], exit_code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let ended = (output.status.code(), &*stderr);
    assert_eq!(ended, (Some(exit_code), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Schema 1, with sorted keys.
#[track_caller]
fn json_data(args: &[&str], exit_code: i32) -> Value {
    let text = data(&[args, &["--format", "json"]].concat(), exit_code);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], 1);
    // A Value's maps are sorted, so the same text comes back only from sorted keys.
    assert_eq!(text, format!("{value:#}\n"));
    shape::check("compat", &value);
    value
}

#[test]
fn an_rtx_5090() {
    insta::assert_snapshot!(data(&["--gpu", "RTX 5090"], 0));
    // Its compute capability is the same question.
    let by_name = data(&["--gpu", "RTX 5090"], 0);
    assert_eq!(data(&["--gpu", "12.0"], 0), by_name);
}

#[test]
fn an_h100() {
    insta::assert_snapshot!(data(&["--gpu", "H100"], 0));
}

#[test]
fn an_rtx_4090() {
    insta::assert_snapshot!(data(&["--gpu", "RTX 4090"], 0));
}

#[test]
fn a_gtx_1080_ti() {
    insta::assert_snapshot!(data(&["--gpu", "GTX 1080 Ti"], 0));
}

#[test]
fn a_jetson_has_drivers_of_its_own() {
    let text = data(&["--gpu", "Jetson Thor"], 0);
    assert!(text.contains("its driver comes with its JetPack"), "{text}");
    assert!(!text.contains("least driver"), "{text}");
}

#[test]
fn one_torch() {
    insta::assert_snapshot!(data(&["--torch", "2.12"], 0));
}

#[test]
fn one_toolkit() {
    insta::assert_snapshot!(data(&["--cuda", "13.0"], 0));
}

#[test]
fn one_python() {
    insta::assert_snapshot!(data(&["--python", "3.13t"], 0));
}

#[test]
fn the_whole_table() {
    insta::assert_snapshot!(data(&[], 0));
}

#[test]
fn several_together_fit_or_not_with_reason_source_and_what_to_change() {
    let questions: [(&[&str], i32); 9] = [
        (&["--torch", "2.7", "--gpu", "RTX 5090"], 0),
        (
            &["--torch", "2.7", "--gpu", "RTX 5090", "--cuda", "12.6"],
            1,
        ),
        (
            &["--torch", "2.7", "--gpu", "RTX 5090", "--cuda", "12.8"],
            0,
        ),
        (&["--cuda", "13.0", "--gpu", "7.0"], 1),
        (&["--cuda", "12.6", "--gpu", "RTX 5090"], 0),
        (&["--torch", "2.8", "--python", "3.14"], 1),
        (&["--torch", "2.99"], 4),
        (&["--torch", "2.16.0.dev20261120", "--cuda", "13.0"], 4),
        (
            &[
                "--torch",
                "2.14.0.dev20260601",
                "--cuda",
                "13.0",
                "--gpu",
                "H200",
            ],
            0,
        ),
    ];
    let told = questions.map(|(args, exit_code)| {
        format!(
            "$ wheelfarm compat {}\n{}",
            args.join(" "),
            data(args, exit_code)
        )
    });
    insta::assert_snapshot!(told.join("\n"));
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

#[test]
fn the_page_shows_what_the_program_says() {
    let page = fs_err::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compat.md"),
    );
    let page = page.unwrap();
    let blocks: Vec<_> = page
        .split("```console\n$ wheelfarm compat ")
        .skip(1)
        .collect();
    assert!(blocks.len() > 5);
    for block in blocks {
        let (shown, _) = block.split_once("```").unwrap();
        let (line, shown) = shown.split_once('\n').unwrap();
        let args = words(line);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let said = String::from_utf8(run(&args).stdout).unwrap();
        assert_eq!(said, shown, "{line}");
    }
}

#[test]
fn json_has_the_answer_its_reasons_and_the_facts() {
    let answer = json_data(
        &["--torch", "2.7.1", "--gpu", "RTX 5090", "--cuda", "12.6"],
        1,
    );
    assert_eq!(answer["answer"], "no");
    assert_eq!(answer["question"]["gpu"], "12.0");
    assert_eq!(answer["question"]["torch"], "2.7.1");
    assert_eq!(answer["question"]["python"], Value::Null);
    let reasons = answer["reasons"].as_array().unwrap();
    let last = reasons.last().unwrap();
    assert_eq!(last["rule"], "torch-runs-on-gpu");
    assert_eq!(last["fit"], "no");
    for key in ["text", "source", "change"] {
        assert!(
            last[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}"
        );
    }
    // What is asked about limits what is shown of the GPU.
    assert_eq!(answer["gpu"]["toolkits"].as_array().unwrap().len(), 1);
    assert_eq!(answer["gpu"]["builds"][0]["on_gpu"]["verdict"], "fails");
    assert_eq!(answer["torch"][0]["builds"].as_array().unwrap().len(), 3);
    assert_eq!(answer["cuda"][0]["host_compilers"]["gcc_most"], 13);
    let code = answer["gpu"]["code"].as_array().unwrap();
    let sm_86 = code
        .iter()
        .find(|one| one["arch"] == "8.6" && one["kind"] == "machine-code")
        .unwrap();
    assert_eq!(sm_86["run"], "fails");
    let sentence = sm_86["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("does not load: sm_86 is not binary compatible"),
        "{sentence}"
    );
}

#[test]
fn json_of_nothing_in_particular_is_the_whole_table() {
    let table = json_data(&[], 0);
    assert_eq!(table["torch"].as_array().unwrap().len(), 12);
    assert_eq!(table["cuda"].as_array().unwrap().len(), 12);
    assert_eq!(table["gpu"], Value::Null);
    for row in table["torch"].as_array().unwrap() {
        assert!(
            row["sources"]["builds"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
}
