//! `wheelfarm runs` and `wheelfarm events` on a store that a night has left.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::process::Command;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use wheelfarm_core::estimate::{Grant, Objects, Sample, SampleEnd};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Failure, FailureKind, Outcome, Stage};
use wheelfarm_engine::event::Event;
use wheelfarm_engine::store::{FILE_NAME, Ledger, RunFacts, Store};

fn job(n: usize) -> JobId {
    format!("demo-1.{n}-cu130-torch2.11-cp311").parse().unwrap()
}

fn started(n: usize) -> Event {
    Event::JobStarted {
        job: job(n),
        digest: serde_json::from_value(json!(format!("{n:064x}"))).unwrap(),
        package: "demo".parse().unwrap(),
        version: format!("1.{n}"),
        channel: "cu130/torch2.11".to_owned(),
        why: "no wheel on record",
    }
}

fn stage(n: usize, stage: Stage, seconds: u64) -> [Event; 2] {
    let elapsed = Duration::from_secs(seconds);
    let job = job(n);
    [
        Event::StageStarted {
            job: job.clone(),
            stage,
        },
        Event::StageFinished {
            job,
            stage,
            elapsed,
        },
    ]
}

fn attempt(n: usize, attempt: u32, end: SampleEnd) -> [Event; 2] {
    let grant = Grant {
        compilers: 8 / attempt,
        milli_cpus: 8000,
        memory_bytes: 16 << 30,
    };
    let sample = Sample {
        at: "2026-11-22T01:00:00Z".to_owned(),
        package: "demo".parse().unwrap(),
        version: format!("1.{n}"),
        channel: "cu130/torch2.11".to_owned(),
        targets: 2,
        grant,
        end,
        peak_memory_bytes: Some(12 << 30),
        cpu_ms: Some(600_000),
        compile_ms: 187_000,
        objects: Some(Objects {
            needed: 14,
            compiled: 14 / u64::from(attempt.pow(2)),
        }),
        disk_bytes: None,
    };
    [
        Event::AttemptStarted {
            job: job(n),
            attempt,
            grant,
            adopted: attempt == 2,
        },
        Event::AttemptEnded {
            job: job(n),
            attempt,
            sample: Some(sample),
        },
    ]
}

fn ended(n: usize, outcome: Outcome) -> Event {
    Event::JobFinished {
        job: job(n),
        outcome,
        elapsed: Duration::from_secs(400),
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        stage: Stage::Compile,
        kind,
        detail: "ninja: build stopped\nsubcommand failed".to_owned(),
        hint: Some("see its log".to_owned()),
    }
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_795_309_323 + second).unwrap()
}

/// Two runs: one that was finished, and one that was killed after its first job had begun.
fn out() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    let facts = RunFacts {
        pid: 7,
        host: "night".to_owned(),
        program: "wheelfarm 0.1.0".to_owned(),
        engine: "docker 20.10.24".to_owned(),
    };
    let open = || Store::open(&out.join(FILE_NAME), at(0)).unwrap().store;
    let mut ledger = Ledger::begin(open(), &facts, at(0), None).unwrap();
    let spread = |likely: u64| json!({ "low": likely / 2, "likely": likely, "high": likely * 2 });
    let forecast = json!({
        "makespan_ms": spread(600_000), "cpu_ms": spread(900_000), "peak_memory_bytes": 1,
    });
    let mut events = vec![
        Event::RunForecast { forecast },
        Event::RunStarted { jobs: 2 },
        Event::JobUpToDate { job: job(0) },
        started(1),
        started(2),
    ];
    events.extend(stage(1, Stage::Image, 30));
    events.extend(attempt(1, 1, SampleEnd::OutOfMemory));
    events.push(Event::JobRetried {
        job: job(1),
        failure: failure(FailureKind::OutOfMemory),
        remedy: "begins again with 4 compilers side by side in 16GiB".to_owned(),
    });
    events.extend(attempt(1, 2, SampleEnd::Done));
    events.extend(stage(1, Stage::Compile, 190));
    events.push(ended(1, Outcome::Built));
    let failed = failure(FailureKind::Script { exit_code: 1 });
    events.push(ended(2, Outcome::Failed(failed)));
    let elapsed = Duration::from_mins(11);
    events.push(Event::RunFinished { elapsed });
    ledger.record(at(660), &events).unwrap();
    drop(ledger);

    let mut ledger = Ledger::begin(open(), &facts, at(4000), None).unwrap();
    let [begun, _] = stage(2, Stage::Fetch, 1);
    let events = [Event::RunStarted { jobs: 1 }, started(2), begun];
    ledger.record(at(4001), &events).unwrap();
    drop(ledger);
    open().recover(at(9000), |_, _| false).unwrap();
    (folder, out)
}

fn wheelfarm(out: &Utf8Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(arguments)
        .args(["--out", out.as_str()])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn runs_are_listed_and_one_is_told_in_full() {
    let (_folder, out) = out();
    let (code, listed, said) = wheelfarm(&out, &["runs"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let (_, told, _) = wheelfarm(&out, &["runs", "1"]);
    let (_, killed, _) = wheelfarm(&out, &["runs", "2"]);
    insta::assert_snapshot!(format!("{listed}\n{told}\n{killed}"));

    let (_, json, _) = wheelfarm(&out, &["runs", "1", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], 1);
    shape::check("run", &json);
    assert_eq!(
        json["actual"]["objects"],
        json!({ "needed": 28, "compiled": 17 })
    );
    assert_eq!(json["jobs"][1]["attempts"][1]["sample"]["cpu_ms"], 600_000);
    let (_, json, _) = wheelfarm(&out, &["runs", "--last", "1", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 1);
    assert_eq!(json["runs"][0]["state"], "interrupted");
    shape::check("runs", &json);
}

#[test]
fn a_failure_whose_log_is_there_is_explained() {
    let (_folder, out) = out();
    let failed = out.join("failed").join(job(2).as_str());
    fs_err::create_dir_all(&failed).unwrap();
    let log = "== compile\n/usr/bin/ld: cannot find -lcuda: No such file or directory\n";
    fs_err::write(failed.join("build.log"), log).unwrap();
    let record = |digest: u64| {
        json!({
            "schema": 1, "job": job(2), "job_digest": format!("{digest:064x}"), "stage": "compile",
            "kind": "script", "exit_code": 1, "detail": "ninja: build stopped\nsubcommand failed",
            "hint": null,
        })
        .to_string()
    };
    fs_err::write(failed.join("outcome.json"), record(2)).unwrap();
    let (_, told, _) = wheelfarm(&out, &["runs", "1"]);
    let line = "  diagnosis: the linker finds no libcuda: there is no driver in a build container, and none is \
                needed (link-libcuda, line 2)\n  fix: Let the linker look there: ";
    assert!(told.contains(line), "{told}");
    let (_, json, _) = wheelfarm(&out, &["runs", "1", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["jobs"][2]["diagnosis"]["rule"], "link-libcuda");
    assert_eq!(json["jobs"][1]["diagnosis"], Value::Null);

    fs_err::write(failed.join("outcome.json"), record(3)).unwrap();
    let (_, told, _) = wheelfarm(&out, &["runs", "1"]);
    assert!(
        !told.contains("diagnosis"),
        "the log is of other inputs: {told}"
    );
}

#[test]
fn a_run_is_told_to_github() {
    let (_folder, out) = out();
    let (code, told, said) = wheelfarm(&out, &["runs", "1", "--format", "github"]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "::error title=demo-1.2-cu130-torch2.11-cp311 failed at compile (script)::ninja: build stopped%0Asubcommand failed%0Ahint: see its log",
            "::warning title=demo-1.1-cu130-torch2.11-cp311 was built at attempt 2::out-of-memory at compile; begins again with 4 compilers side by side in 16GiB",
        ]
    );
    let (_, page, _) = wheelfarm(&out, &["runs", "1", "--format", "markdown"]);
    insta::assert_snapshot!(page);
    // The last one was killed.
    let (_, last, _) = wheelfarm(&out, &["runs", "last", "--format", "markdown"]);
    assert!(last.starts_with("## Run 2: 1 interrupted\n"), "{last}");
    let (_, list, _) = wheelfarm(&out, &["runs", "--format", "markdown"]);
    assert_eq!(list.lines().count(), 4, "{list}");
    let (code, _, said) = wheelfarm(&out, &["runs", "--format", "github"]);
    assert_eq!(code, 2);
    assert!(
        said.contains("hint: name it: `wheelfarm runs last --format github`"),
        "{said}"
    );
}

#[test]
fn events_are_printed_from_any_number_on() {
    let (_folder, out) = out();
    let (code, all, said) = wheelfarm(&out, &["events"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let seqs: Vec<_> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .inspect(|event| shape::check("event", event))
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.len() > 20);
    assert_eq!(
        seqs,
        (1..=seqs.last().copied().unwrap()).collect::<Vec<_>>()
    );
    let last = all.lines().last().unwrap();
    assert!(last.contains("\"event\":\"run-interrupted\""), "{last}");
    let before_last = (seqs.len() - 1).to_string();
    let (_, one, _) = wheelfarm(&out, &["events", "--after", &before_last]);
    assert_eq!(one.trim_end(), last);
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    let (_folder, out) = out();
    let (code, printed, said) = wheelfarm(&out, &["runs", "9"]);
    assert_eq!((code, printed.as_str()), (2, ""));
    assert!(said.starts_with("error: no run 9 in `"), "{said}");
    assert!(
        said.ends_with("hint: `wheelfarm runs` lists them\n"),
        "{said}"
    );
    let (code, printed, said) = wheelfarm(&out, &["events", "--after", "999"]);
    assert_eq!((code, printed.as_str()), (2, ""));
    assert!(said.contains("its last one is 24"), "{said}");

    let (code, _, said) = wheelfarm(&out.join("nowhere"), &["runs"]);
    assert_eq!(code, 2);
    assert!(said.contains("there is no store"), "{said}");
    assert!(!out.join("nowhere").exists(), "a question makes nothing");
    fs_err::write(out.join(FILE_NAME), b"hello").unwrap();
    let (code, _, said) = wheelfarm(&out, &["runs"]);
    assert_eq!(code, 3);
    assert!(
        said.contains("hint: `wheelfarm build` moves it aside"),
        "{said}"
    );
}

#[test]
fn followed_events_come_as_they_are_written() {
    use std::io::{BufRead, BufReader};
    let (_folder, out) = out();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wheelfarm"))
        .args(["events", "--follow", "--after", "24", "--out", out.as_str()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let facts = RunFacts {
        pid: 8,
        host: "night".to_owned(),
        program: "wheelfarm 0.1.0".to_owned(),
        engine: "docker 20.10.24".to_owned(),
    };
    let store = Store::open(&out.join(FILE_NAME), at(0)).unwrap().store;
    let mut ledger = Ledger::begin(store, &facts, at(0), None).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    ledger.record(at(1), &[started(3)]).unwrap();
    let second = lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.contains("\"event\":\"run-begun\""), "{first}");
    assert!(second.contains("\"event\":\"job-started\""), "{second}");
}
