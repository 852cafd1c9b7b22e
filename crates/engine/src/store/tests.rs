//! What the store keeps, forgets, refuses and survives.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};
use wheelfarm_core::estimate::{Grant, Objects, Sample, SampleEnd};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Failure, FailureKind, Outcome, Stage};
use wheelfarm_core::plan::JobDigest;

use super::{
    Became, EventLog, EventLogError, History, JobState, Ledger, LedgerError, Opened, RunFacts,
    RunId, RunState, Seq, Store, StoreError, open,
};
use crate::event::Event;

pub(super) fn temporary() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().join("wheelfarm.sqlite")).unwrap();
    (folder, path)
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(super) fn facts() -> RunFacts {
    RunFacts {
        pid: 7,
        host: "night".to_owned(),
        program: "wheelfarm 0.1.0".to_owned(),
        engine: "docker 28.2.2".to_owned(),
    }
}

pub(super) fn job(n: usize) -> JobId {
    format!("demo-1.{n}-cu130-torch2.11-cp311").parse().unwrap()
}

pub(super) fn digest(n: usize) -> JobDigest {
    let text = format!("{n:064x}");
    serde_json::from_value(Value::String(text)).unwrap()
}

pub(super) fn started(n: usize) -> Event {
    Event::JobStarted {
        job: job(n),
        digest: digest(n),
        package: "demo".parse().unwrap(),
        version: format!("1.{n}"),
        channel: "cu130/torch2.11".to_owned(),
        why: "no wheel on record",
    }
}

pub(super) fn finished(n: usize, outcome: Outcome) -> Event {
    Event::JobFinished {
        job: job(n),
        outcome,
        elapsed: Duration::from_millis(1500),
    }
}

pub(super) fn grant(compilers: u32) -> Grant {
    Grant {
        compilers,
        milli_cpus: 2_000,
        memory_bytes: 8 << 30,
    }
}

pub(super) fn sample(n: usize, compile_ms: u64) -> Sample {
    Sample {
        at: "2026-11-22T01:00:00Z".to_owned(),
        package: "demo".parse().unwrap(),
        version: format!("1.{n}"),
        channel: "cu130/torch2.11".to_owned(),
        targets: 2,
        grant: grant(4),
        end: if compile_ms.is_multiple_of(2) {
            SampleEnd::Done
        } else {
            SampleEnd::OutOfMemory
        },
        peak_memory_bytes: (compile_ms > 3).then_some(compile_ms << 20),
        cpu_ms: Some(compile_ms * 3),
        compile_ms,
        objects: (compile_ms > 5).then_some(Objects {
            needed: 14,
            compiled: compile_ms % 14,
        }),
        disk_bytes: None,
    }
}

pub(super) fn failure(stage: Stage, detail: &str) -> Failure {
    Failure {
        stage,
        kind: FailureKind::OutOfMemory,
        detail: detail.to_owned(),
        hint: Some("`build.memory: 16GiB`".to_owned()),
    }
}

pub(super) fn fresh(path: &Utf8Path) -> Store {
    let Opened { store, moved_aside } = Store::open(path, at(0)).unwrap();
    assert_eq!(moved_aside, None);
    store
}

fn kinds(history: &History, after: Seq) -> Vec<String> {
    let events = history.events_after(after, 1000).unwrap();
    let kinds = events.iter().map(|event| event.event["event"].as_str());
    kinds.map(|kind| kind.unwrap().to_owned()).collect()
}

/// A job that ran out of memory once, in two batches of events.
fn a_job_that_begins_again(forecast: &Value) -> [Vec<Event>; 2] {
    let stage = |stage| Event::StageStarted { job: job(1), stage };
    let ended = |stage| Event::StageFinished {
        job: job(1),
        stage,
        elapsed: Duration::from_millis(250),
    };
    let line = Event::Line {
        job: job(1),
        text: "[1/14] nvcc".to_owned(),
    };
    let attempt = |attempt| Event::AttemptStarted {
        job: job(1),
        attempt,
        grant: grant(4 / attempt),
        adopted: false,
    };
    let attempt_ended = |attempt, compile_ms| Event::AttemptEnded {
        job: job(1),
        attempt,
        sample: Some(sample(1, compile_ms)),
    };
    let retried = Event::JobRetried {
        job: job(1),
        failure: failure(Stage::Compile, "killed"),
        remedy: "with half the compilers".to_owned(),
    };
    let first = vec![
        Event::RunForecast {
            forecast: forecast.clone(),
        },
        Event::RunStarted { jobs: 1 },
        started(1),
        stage(Stage::Fetch),
        ended(Stage::Fetch),
        stage(Stage::Compile),
        attempt(1),
        line,
        attempt_ended(1, 7),
        retried,
    ];
    let second = vec![
        stage(Stage::Compile),
        attempt(2),
        attempt_ended(2, 8),
        ended(Stage::Compile),
        finished(1, Outcome::Built),
        Event::RunFinished {
            elapsed: Duration::from_secs(2),
        },
    ];
    [first, second]
}

#[test]
fn what_happened_reads_back() {
    let (_folder, path) = temporary();
    let mut store = fresh(&path);
    let run = store.begin_run(at(0), &facts()).unwrap();
    let forecast = json!({ "wall_ms": 1000 });
    let [first, second] = a_job_that_begins_again(&forecast);
    store.record(run, at(1), &first).unwrap();
    let seq = store.record(run, at(2), &second).unwrap();
    assert_eq!(seq, Seq(16), "no line, and an event that the run begins");

    let detail = store.history().run(run).unwrap().unwrap();
    assert_eq!(detail.run.state, RunState::Finished);
    assert_eq!(detail.run.forecast, Some(forecast));
    assert_eq!(detail.run.started_at, "2023-11-14T22:13:20.000Z");
    assert_eq!(detail.run.counts, BTreeMap::from([(JobState::Built, 1)]));
    assert_eq!(detail.actual.wall_ms, Some(2000));
    assert_eq!(detail.actual.cpu_ms, 45);
    assert_eq!(detail.actual.peak_memory_bytes, Some(8 << 20));
    assert_eq!(
        detail.actual.objects,
        Some(Objects {
            needed: 28,
            compiled: 15
        })
    );
    let [built] = &detail.jobs[..] else {
        panic!("one job")
    };
    assert_eq!(built.digest, Some(digest(1)));
    let stages: Vec<_> = built
        .stages
        .iter()
        .map(|it| (it.stage, it.wall_ms))
        .collect();
    let want = [
        (Stage::Fetch, Some(250)),
        (Stage::Compile, None),
        (Stage::Compile, Some(250)),
    ];
    assert_eq!(stages, want);
    assert_eq!(built.attempts[0].sample, Some(sample(1, 7)));
    assert_eq!(built.attempts[1].grant, Some(grant(2)));
    assert_eq!(built.retries[0].failure.kind, "out-of-memory");
    let history = store.history();
    assert_eq!(history.samples(8).unwrap(), [sample(1, 7), sample(1, 8)]);
    // One that ended well says nothing of one that ran out of memory: the newest of each kind count.
    assert_eq!(history.samples(1).unwrap(), [sample(1, 7), sample(1, 8)]);
    let times = history.stage_times(1).unwrap();
    let [times] = &times[..] else {
        panic!("one built job")
    };
    assert_eq!((times.version.as_str(), times.other_ms), ("1.1", 250));
    let (last_run, last) = history.last_outcome(&job(1)).unwrap().unwrap();
    assert_eq!((last_run, last.state), (run, JobState::Built));
    assert_eq!(history.last_outcome(&job(2)).unwrap(), None);
}

#[test]
fn a_killed_run_is_closed_and_says_what_was_in_flight() {
    let (_folder, path) = temporary();
    let mut store = fresh(&path);
    let run = store.begin_run(at(0), &facts()).unwrap();
    let stage = |n, stage| Event::StageStarted { job: job(n), stage };
    let attempt = Event::AttemptStarted {
        job: job(2),
        attempt: 1,
        grant: grant(4),
        adopted: false,
    };
    let events = [
        Event::RunStarted { jobs: 4 },
        started(1),
        started(2),
        started(3),
        started(4),
        stage(1, Stage::Record),
        stage(2, Stage::Compile),
        attempt,
        finished(3, Outcome::Cancelled),
    ];
    store.record(run, at(5), &events).unwrap();
    drop(store);

    let mut store = fresh(&path);
    let seq = store.history().last_seq().unwrap();
    let is_on_record = |id: &JobId, of: JobDigest| id == &job(1) && of == digest(1);
    let found = store.recover(at(60), is_on_record).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.job.clone(), it.stage, it.attempt, it.became))
        .collect();
    let want = [
        (job(1), Some(Stage::Record), None, Became::Built),
        (job(2), Some(Stage::Compile), Some(1), Became::Interrupted),
        (job(4), None, None, Became::Interrupted),
    ];
    assert_eq!(found, want);
    let detail = store.history().run(run).unwrap().unwrap();
    assert_eq!(detail.run.state, RunState::Interrupted);
    let heard = Some("2023-11-14T22:13:25.000Z");
    assert_eq!(detail.run.ended_at.as_deref(), heard);
    let states: Vec<_> = detail.jobs.iter().map(|job| job.state).collect();
    let want = [
        JobState::Built,
        JobState::Interrupted,
        JobState::Cancelled,
        JobState::Interrupted,
    ];
    assert_eq!(states, want);
    assert_eq!(detail.jobs[0].ended_at.as_deref(), heard);
    let want = [
        "job-finished",
        "job-interrupted",
        "job-interrupted",
        "run-interrupted",
    ];
    assert_eq!(kinds(store.history(), seq), want);
    assert_eq!(store.recover(at(61), is_on_record).unwrap(), []);
}

/// `--force` builds again what is on record.
#[test]
fn a_record_that_was_there_before_is_no_word_of_the_build_that_was_killed() {
    let (_folder, path) = temporary();
    let mut store = fresh(&path);
    let run = store.begin_run(at(0), &facts()).unwrap();
    let stage = |n, stage| Event::StageStarted { job: job(n), stage };
    let events = [
        Event::RunStarted { jobs: 3 },
        started(1),
        started(2),
        started(3),
        stage(1, Stage::Image),
        stage(2, Stage::Collect),
    ];
    store.record(run, at(5), &events).unwrap();
    let found = store.recover(at(60), |_, _| true).unwrap();
    let found: Vec<_> = found.iter().map(|it| it.became).collect();
    let want = [Became::Interrupted, Became::Built, Became::Interrupted];
    assert_eq!(found, want);
}

/// A store with a run in it, closed.
pub(super) fn with_a_run(path: &Utf8Path, jobs: usize) -> Vec<Value> {
    let mut store = fresh(path);
    let run = store.begin_run(at(0), &facts()).unwrap();
    for n in 0..jobs {
        store.record(run, at(1), &[started(n)]).unwrap();
        let event = finished(n, Outcome::Failed(failure(Stage::Compile, "it broke")));
        store.record(run, at(2), &[event]).unwrap();
    }
    let events = store.history().events_after(Seq::ZERO, u32::MAX).unwrap();
    events.into_iter().map(|event| event.event).collect()
}

#[test]
fn what_is_no_store_is_moved_aside_and_a_new_one_begun() {
    #[track_caller]
    fn check(spoil: impl FnOnce(&Utf8Path)) {
        let (_folder, path) = temporary();
        with_a_run(&path, 40);
        spoil(&path);
        let before = fs_err::read(&path).unwrap();
        let Opened { store, moved_aside } = Store::open(&path, at(3)).unwrap();
        let aside = moved_aside.expect("it is moved aside");
        assert_eq!(aside, format!("{path}.corrupt-20231114T221323Z"));
        assert_eq!(fs_err::read(&aside).unwrap(), before, "nothing is lost");
        assert_eq!(store.history().runs(10).unwrap(), []);
        drop(store);
        assert_eq!(Store::open(&path, at(4)).unwrap().moved_aside, None);
    }
    check(|path| fs_err::write(path, b"hello").unwrap());
    check(|path| fs_err::write(path, vec![0; 8192]).unwrap());
    check(|path| {
        let bytes = fs_err::read(path).unwrap();
        fs_err::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    check(|path| {
        let mut bytes = fs_err::read(path).unwrap();
        for byte in bytes.iter_mut().skip(4096 * 3).take(4096 * 4) {
            *byte = 0xa5;
        }
        fs_err::write(path, &bytes).unwrap();
    });
    check(|path| {
        fs_err::remove_file(path).unwrap();
        let other = Connection::open(path).unwrap();
        other.execute_batch("CREATE TABLE notes (text)").unwrap();
    });
}

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_alone() {
    let (_folder, path) = temporary();
    with_a_run(&path, 1);
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 9).unwrap();
    drop(db);
    let error = Store::open(&path, at(3)).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 9, .. }),
        "{error}"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("use the newer program"), "{hint}");
    assert!(matches!(
        History::open(&path),
        Err(StoreError::Newer { found: 9, .. })
    ));
    assert!(path.exists());
}

#[test]
fn a_migration_is_whole_or_not_there() {
    let (_folder, path) = temporary();
    with_a_run(&path, 1);
    let mut db = Connection::open(&path).unwrap();
    let first = open::MIGRATIONS[0];
    let good = "ALTER TABLE runs ADD COLUMN note TEXT";
    let bad = "ALTER TABLE jobs ADD COLUMN note TEXT; ALTER TABLE nowhere ADD COLUMN note TEXT";
    let error = open::migrate(&mut db, &path, &[first, good, bad]).unwrap_err();
    assert!(!error.is_corrupt(), "{error}");
    let version: i64 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 2, "the good step stays");
    assert!(db.prepare("SELECT note FROM runs").is_ok());
    assert!(db.prepare("SELECT note FROM jobs").is_err());
}

#[test]
fn a_reader_sees_what_is_written_beside_it() {
    let (_folder, path) = temporary();
    assert!(matches!(History::open(&path), Err(StoreError::Missing(_))));
    let mut store = fresh(&path);
    let reader = History::open(&path).unwrap();
    assert_eq!(reader.last_seq().unwrap(), Seq::ZERO);
    let run = store.begin_run(at(0), &facts()).unwrap();
    store.record(run, at(1), &[started(1)]).unwrap();
    assert_eq!(kinds(&reader, Seq::ZERO), ["run-begun", "job-started"]);
    assert_eq!(reader.runs(1).unwrap()[0].state, RunState::Running);
    drop((store, reader));
    let reader = History::open(&path).unwrap();
    assert_eq!(kinds(&reader, Seq(1)), ["job-started"]);
}

#[test]
fn old_runs_are_forgotten_and_what_was_learned_stays() {
    let (_folder, path) = temporary();
    let mut store = fresh(&path);
    for n in 0..3 {
        let run = store.begin_run(at(n * 100), &facts()).unwrap();
        let ended = |attempt| Event::AttemptEnded {
            job: job(1),
            attempt,
            // Of one kind: the newest of each kind stay.
            sample: Some(sample(1, 8)),
        };
        let mut events: Vec<_> = (1..=40).map(ended).collect();
        events.push(Event::RunFinished {
            elapsed: Duration::from_secs(5),
        });
        store.record(run, at(n * 100 + 5), &events).unwrap();
    }
    let last = store.history().last_seq().unwrap();
    assert_eq!(store.history().runs_before(at(200)).unwrap(), 2);
    assert_eq!(store.forget_runs_before(at(200)).unwrap(), 2);
    let history = store.history();
    assert_eq!(history.runs(10).unwrap().len(), 1);
    assert_eq!(history.run(RunId(1)).unwrap(), None);
    let rows: i64 = history
        .db()
        .query_row("SELECT count(*) FROM attempts", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 40);
    assert_eq!(history.samples(1000).unwrap().len(), 64);
    assert_eq!(history.last_seq().unwrap(), last);

    assert_eq!(store.forget_runs_before(at(1000)).unwrap(), 1);
    let run = store.begin_run(at(2000), &facts()).unwrap();
    assert_eq!(run, RunId(4), "numbers are not given twice");
    assert_eq!(store.history().last_seq().unwrap(), Seq(last.0 + 1));
}

/// Lets the database grow no further, as on a full disk, until the `None`.
fn limit_pages(history: &History, pages: Option<i64>) {
    let db = history.db();
    let now: i64 = db
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    let limit = pages.map_or(1 << 30, |more| now + more);
    let set: i64 = db
        .pragma_update_and_check(None, "max_page_count", limit, |row| row.get(0))
        .unwrap();
    assert_eq!(set, limit);
}

#[test]
fn what_a_full_disk_kept_out_is_written_when_there_is_room() {
    let (folder, path) = temporary();
    let file = Utf8PathBuf::from_path_buf(folder.path().join("events.jsonl")).unwrap();
    let mut ledger = Ledger::begin(fresh(&path), &facts(), at(0), Some(&file)).unwrap();
    ledger
        .record(at(1), &[Event::RunStarted { jobs: 9 }])
        .unwrap();
    limit_pages(ledger.history(), Some(0));
    let long = "x".repeat(20_000);
    let note = |n: usize| Event::Note {
        job: job(n),
        text: long.clone(),
    };
    for n in 2..5 {
        let error = ledger.record(at(2), &[note(n)]).unwrap_err();
        assert!(error.is_disk_full(), "{error:?}");
        assert!(matches!(error, LedgerError::Store(_)));
    }
    limit_pages(ledger.history(), None);
    ledger.record(at(3), &[started(5)]).unwrap();
    let want = [
        "run-begun",
        "run-started",
        "note",
        "note",
        "note",
        "job-started",
    ];
    assert_eq!(kinds(ledger.history(), Seq::ZERO), want);
    assert_eq!(file_seqs(&file), [1, 2, 3, 4, 5, 6]);
}

/// The numbers in a file of events, each of whose lines must be whole.
#[track_caller]
pub(super) fn file_seqs(file: &Utf8Path) -> Vec<i64> {
    let text = fs_err::read_to_string(file).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["seq"].as_i64().unwrap()).collect()
}

#[test]
fn a_file_of_events_goes_on_where_it_was_cut() {
    let (folder, path) = temporary();
    let file = Utf8PathBuf::from_path_buf(folder.path().join("events.jsonl")).unwrap();
    with_a_run(&path, 2);
    let mut ledger = Ledger::begin(fresh(&path), &facts(), at(5), Some(&file)).unwrap();
    ledger.record(at(6), &[started(1), started(2)]).unwrap();
    drop(ledger);
    assert_eq!(
        file_seqs(&file),
        [6, 7, 8],
        "a new file begins with its run"
    );
    let whole = fs_err::read(&file).unwrap();
    let first = serde_json::from_slice::<Value>(whole.split(|byte| *byte == b'\n').next().unwrap());
    let want = json!({
        "schema": 1, "seq": 6, "run": 2, "at": "2023-11-14T22:13:25.000Z", "event": "run-begun",
        "pid": 7, "host": "night", "program": "wheelfarm 0.1.0", "engine": "docker 28.2.2",
    });
    assert_eq!(first.unwrap(), want);

    let store = fresh(&path);
    for cut in 0..=whole.len() {
        fs_err::write(&file, &whole[..cut]).unwrap();
        let log = EventLog::open(&file, store.history(), Seq(5)).unwrap();
        assert_eq!(log.last(), Seq(8));
        assert_eq!(fs_err::read(&file).unwrap(), whole, "cut at {cut}");
        // As a file system shows a block that it never wrote.
        let mut zeros = whole[..cut].to_vec();
        zeros.resize(whole.len(), 0);
        fs_err::write(&file, &zeros).unwrap();
        EventLog::open(&file, store.history(), Seq(5)).unwrap();
        assert_eq!(fs_err::read(&file).unwrap(), whole, "zeros from {cut}");
    }
}

#[test]
fn a_file_that_holds_something_else_is_left_alone() {
    let (folder, path) = temporary();
    with_a_run(&path, 2);
    let store = fresh(&path);
    let file = Utf8PathBuf::from_path_buf(folder.path().join("notes")).unwrap();
    for text in ["my notes\n", "{\"seq\":1}\n", "{\"at\":\"now\"}\nmore", "x"] {
        fs_err::write(&file, text).unwrap();
        let error = EventLog::open(&file, store.history(), Seq::ZERO).unwrap_err();
        assert!(matches!(error, EventLogError::Foreign(_)), "{error}");
        assert_eq!(fs_err::read_to_string(&file).unwrap(), text);
    }
    let other = Utf8PathBuf::from_path_buf(folder.path().join("other.sqlite")).unwrap();
    let mut ledger = Ledger::begin(fresh(&other), &facts(), at(9), None).unwrap();
    ledger.record(at(9), &[started(3)]).unwrap();
    drop(ledger);
    fs_err::remove_file(&file).unwrap();
    EventLog::open(&file, store.history(), Seq::ZERO).unwrap();
    let error = EventLog::open(&file, fresh(&other).history(), Seq::ZERO).unwrap();
    assert_eq!(
        error.last(),
        Seq(5),
        "the other store is behind: nothing to compare"
    );
    fs_err::remove_file(&file).unwrap();
    EventLog::open(&file, fresh(&other).history(), Seq::ZERO).unwrap();
    let error = EventLog::open(&file, store.history(), Seq::ZERO).unwrap_err();
    let said = "holds events of another store: its event 2 is not the one of this";
    assert!(error.to_string().ends_with(said), "{error}");
}

#[test]
fn numbers_go_on_after_a_lost_store() {
    let (folder, path) = temporary();
    let file = Utf8PathBuf::from_path_buf(folder.path().join("events.jsonl")).unwrap();
    let mut ledger = Ledger::begin(fresh(&path), &facts(), at(0), Some(&file)).unwrap();
    ledger.record(at(1), &[started(1), started(2)]).unwrap();
    drop(ledger);
    fs_err::write(&path, b"no database any more").unwrap();
    let Opened { store, moved_aside } = Store::open(&path, at(2)).unwrap();
    assert!(moved_aside.is_some());
    let mut ledger = Ledger::begin(store, &facts(), at(3), Some(&file)).unwrap();
    ledger.record(at(4), &[started(3)]).unwrap();
    assert_eq!(file_seqs(&file), [1, 2, 3, 4, 5]);
    assert_eq!(ledger.last_seq().unwrap(), Seq(5));
}

#[test]
fn numbers_are_read_as_they_are_written() {
    assert_eq!("17".parse(), Ok(RunId(17)));
    assert_eq!("0".parse(), Ok(Seq::ZERO));
    for text in ["0", "-1", "", "one", "1.0"] {
        assert!(text.parse::<RunId>().is_err(), "{text}");
    }
}

#[test]
fn times_sort_as_they_are() {
    let times =
        [0, 1, 999, 1_000, 1_001, 60_000].map(|ms| Timestamp::from_millisecond(ms).unwrap());
    let texts = times.map(super::stamp);
    assert!(texts.is_sorted(), "{texts:?}");
    assert_eq!(texts[2], "1970-01-01T00:00:00.999Z");
}
