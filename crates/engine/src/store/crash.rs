//! The controller is killed before and after everything that it writes, and the machine's power is
//! cut at every frame of the store's log: what was said to be done is done, and the next run goes on.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use camino::Utf8Path;
use serde_json::Value;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Failure, FailureKind, Outcome, Stage};
use wheelfarm_core::plan::JobDigest;

use super::tests::{at, digest, facts, file_seqs, finished, fresh, job, started, temporary};
use super::{FILE_NAME, History, JobState, Ledger, RunState, Seq, Store};
use crate::crash_point::DIE_AT;
use crate::event::Event;
use crate::files;
use crate::out_folder::OutFolder;

/// Where the night of a child process is.
const NIGHT: &str = "WHEELFARM_TEST_NIGHT";

/// This test, run alone in a process of its own, is the controller that is killed.
const NIGHT_TEST: &str = "store::crash::a_night";

const JOBS: usize = 3;

/// The job that fails.
const BAD: usize = 2;

fn out_folder(path: &Utf8Path) -> OutFolder {
    OutFolder::open(&path.join("out")).unwrap()
}

fn record_of(out: &Utf8Path, job: &JobId) -> Option<String> {
    fs_err::read_to_string(out.join("jobs").join(job.as_str()).join("manifest.json")).ok()
}

fn is_on_record(out: &Utf8Path, job: &JobId, digest: JobDigest) -> bool {
    record_of(out, job).is_some_and(|text| text == digest.to_string())
}

/// A night of three jobs, of which one fails: what a controller does, with files for compilations.
fn night(folder: &Utf8Path) {
    let out = out_folder(folder);
    let mut store = Store::open(&out.root().join(FILE_NAME), at(0))
        .unwrap()
        .store;
    store
        .recover(at(1), |job, digest| is_on_record(out.root(), job, digest))
        .unwrap();
    let events = folder.join("events.jsonl");
    let mut ledger = Ledger::begin(store, &facts(), at(2), Some(&events)).unwrap();
    let mut say = |events: &[Event]| ledger.record(at(3), events).unwrap();
    say(&[Event::RunStarted { jobs: JOBS }]);
    for n in 0..JOBS {
        if is_on_record(out.root(), &job(n), digest(n)) {
            say(&[Event::JobUpToDate { job: job(n) }]);
            continue;
        }
        say(&[started(n)]);
        let staged = out.stage(&job(n)).unwrap();
        for stage in [Stage::Compile, Stage::Finish] {
            say(&[Event::StageStarted { job: job(n), stage }]);
            if stage == Stage::Finish {
                let text = digest(n).to_string();
                let file = staged.path().join("manifest.json");
                files::write_atomic(file, text.as_bytes()).unwrap();
            }
            let elapsed = Duration::from_millis(10);
            say(&[Event::StageFinished {
                job: job(n),
                stage,
                elapsed,
            }]);
            // What the store was told is told to the world: one line for each stage that is done.
            let told = folder.join("told");
            let before = fs_err::read_to_string(&told).unwrap_or_default();
            fs_err::write(&told, format!("{before}{} {stage}\n", job(n))).unwrap();
        }
        let outcome = if n == BAD {
            out.keep_failed(staged).unwrap();
            Outcome::Failed(Failure {
                stage: Stage::Finish,
                kind: FailureKind::Rejected,
                detail: "not a wheel".to_owned(),
                hint: None,
            })
        } else {
            out.record(staged).unwrap();
            Outcome::Built
        };
        say(&[finished(n, outcome)]);
    }
    let elapsed = Duration::from_secs(1);
    say(&[Event::RunFinished { elapsed }]);
}

/// A folder in memory, where there is one: what a kill leaves is the same there, and syncing is free.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Runs a night in a process that dies at its `die_at`th crash point; whether it came to its end.
fn night_of_a_child(folder: &Utf8Path, die_at: u64) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NIGHT_TEST, "--nocapture"])
        .env(NIGHT, folder)
        .env(DIE_AT, die_at.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let was_cut = said.contains("cut at ");
    assert!(output.status.success() != was_cut, "{said}");
    !was_cut
}

/// What holds after a kill, whenever it was.
#[track_caller]
fn check_after_kill(folder: &Utf8Path) {
    let out = folder.join("out");
    let path = out.join(FILE_NAME);
    if !path.exists() {
        return;
    }
    {
        // Like the next controller: `out/` first, which undoes what is half done there.
        let _out = out_folder(folder);
        let store = Store::open(&path, at(9)).unwrap();
        assert_eq!(store.moved_aside, None, "the store is sound");
        let history = store.store.history();
        let mut stages_done = 0;
        for run in history.runs(100).unwrap() {
            for built in history.run(run.id).unwrap().unwrap().jobs {
                let done = built.stages.iter().filter(|stage| stage.wall_ms.is_some());
                stages_done += done.count();
                assert!(
                    built
                        .stages
                        .iter()
                        .rev()
                        .skip(1)
                        .all(|stage| stage.wall_ms.is_some()),
                    "only the last stage can be in flight"
                );
                if built.state == JobState::Built {
                    let digest = built.digest.unwrap();
                    assert!(is_on_record(&out, &built.job, digest), "{}", built.job);
                }
            }
        }
        let told = fs_err::read_to_string(folder.join("told")).unwrap_or_default();
        assert!(
            stages_done >= told.lines().count(),
            "a stage that was done is lost: {told}"
        );
        let events = history.events_after(Seq::ZERO, u32::MAX).unwrap();
        let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
        let want: Vec<_> = (1..).map(Seq).take(seqs.len()).collect();
        assert_eq!(seqs, want, "no event is lost, none is there twice");
    }
    for n in 0..JOBS {
        if let Some(text) = record_of(&out, &job(n)) {
            assert_eq!(text, digest(n).to_string(), "a record is whole");
        }
    }
}

/// What holds after the night that comes next.
#[track_caller]
fn check_next_night(folder: &Utf8Path) {
    night(folder);
    let out = folder.join("out");
    let history = History::open(&out.join(FILE_NAME)).unwrap();
    let [last, before @ ..] = &history.runs(100).unwrap()[..] else {
        panic!("a run")
    };
    assert_eq!(last.state, RunState::Finished);
    for run in before {
        assert_ne!(run.state, RunState::Running, "the run before is closed");
    }
    for n in 0..JOBS {
        assert_eq!(is_on_record(&out, &job(n), digest(n)), n != BAD);
        let (_, ended) = history.last_outcome(&job(n)).unwrap().unwrap();
        let want = if n == BAD {
            JobState::Failed
        } else {
            JobState::Built
        };
        assert_eq!(ended.state, want);
    }
    assert_eq!(fs_err::read_dir(out.join("staging")).unwrap().count(), 0);
    // Each event once, in order, from the first to the last.
    let seqs = file_seqs(&folder.join("events.jsonl"));
    let first = seqs[0];
    let want: Vec<_> = (first..=history.last_seq().unwrap().0).collect();
    assert_eq!(
        seqs, want,
        "the file of events has neither a gap nor a double"
    );
    let text = fs_err::read_to_string(folder.join("events.jsonl")).unwrap();
    let kept = history.events_after(Seq(first - 1), u32::MAX).unwrap();
    let kept: Vec<_> = kept.iter().map(super::StoredEvent::line).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), kept);
}

/// The controller; without an order to die it comes to its end, and the night after is short.
#[test]
fn a_night() {
    if let Ok(folder) = std::env::var(NIGHT) {
        night(Utf8Path::new(&folder));
        return;
    }
    let folder = scratch();
    let path = Utf8Path::from_path(folder.path()).unwrap();
    night(path);
    check_after_kill(path);
    check_next_night(path);
}

#[test]
fn a_controller_killed_at_any_write_loses_at_most_the_stage_in_flight() {
    let mut cuts = 0;
    for place in 1.. {
        let folder = scratch();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        if night_of_a_child(path, place) {
            break;
        }
        cuts = place;
        check_after_kill(path);
        check_next_night(path);
    }
    eprintln!("{cuts} places");
    assert!(cuts > 120, "the places are there: {cuts}");
}

#[test]
fn a_controller_killed_again_while_it_recovers_recovers_the_next_time() {
    // Early, in the midst of the second job, and after a record that the store was not told of.
    for first in [9, 70, 95] {
        for second in (1..40).step_by(3) {
            let folder = scratch();
            let path = Utf8Path::from_path(folder.path()).unwrap();
            assert!(!night_of_a_child(path, first));
            assert!(!night_of_a_child(path, second));
            check_after_kill(path);
            check_next_night(path);
        }
    }
}

/// A store with its log, as they lie on disk while a run has them open.
struct Disk {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Disk {
    fn of(path: &Utf8Path) -> Self {
        Self {
            database: fs_err::read(path).unwrap(),
            log: fs_err::read(format!("{path}-wal")).unwrap_or_default(),
        }
    }

    /// What a machine finds that starts again with this much of the log, and how many events of
    /// `want` are left.
    #[track_caller]
    fn opens_to_a_prefix(database: &[u8], log: &[u8], want: &[Value]) -> usize {
        let folder = scratch();
        let path = Utf8Path::from_path(folder.path()).unwrap().join(FILE_NAME);
        fs_err::write(&path, database).unwrap();
        fs_err::write(format!("{path}-wal"), log).unwrap();
        let store = fresh(&path);
        let events = store.history().events_after(Seq::ZERO, u32::MAX).unwrap();
        let left = events.len();
        let events: Vec<_> = events.into_iter().map(|event| event.event).collect();
        assert_eq!(
            events,
            want[..left],
            "a part of the history from its beginning"
        );
        check_tables(store.history());
        left
    }
}

/// The tables say what the events say, also when there are fewer of them.
#[track_caller]
fn check_tables(history: &History) {
    let mut states = BTreeMap::new();
    for event in history.events_after(Seq::ZERO, u32::MAX).unwrap() {
        let kind = event.event["event"].as_str().unwrap();
        let job = event.event["job"].as_str().map(str::to_owned);
        match (kind, job) {
            ("job-started", Some(job)) => states.insert(job, "running"),
            ("job-finished", Some(job)) => states.insert(job, "failed"),
            _ => None,
        };
    }
    let mut found = BTreeMap::new();
    for run in history.runs(10).unwrap() {
        for job in history.run(run.id).unwrap().unwrap().jobs {
            found.insert(job.job.to_string(), job.state.as_str());
        }
    }
    assert_eq!(found, states);
}

/// The header of the log and of a frame in it: <https://www.sqlite.org/fileformat.html#walformat>.
const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

#[test]
fn power_cut_at_any_frame_of_the_log_leaves_a_part_of_the_history() {
    let (_folder, path) = temporary();
    let mut store = fresh(&path);
    let run = store.begin_run(at(0), &facts()).unwrap();
    let mut told = Vec::new();
    for n in 0..12 {
        store.record(run, at(1), &[started(n)]).unwrap();
        told.push((Disk::of(&path).log.len(), 2 + 2 * n));
        let outcome = Outcome::Failed(Failure {
            stage: Stage::Compile,
            kind: FailureKind::Stalled,
            detail: "silence ".repeat(n * 40),
            hint: None,
        });
        store.record(run, at(2), &[finished(n, outcome)]).unwrap();
        told.push((Disk::of(&path).log.len(), 3 + 2 * n));
    }
    let want = store.history().events_after(Seq::ZERO, u32::MAX).unwrap();
    let want: Vec<_> = want.into_iter().map(|event| event.event).collect();
    let disk = Disk::of(&path);
    let frames = (disk.log.len() - LOG_HEADER) / FRAME;
    assert!(frames > 60, "no checkpoint came in between: {frames}");
    let mut most = 0;
    for frame in 0..=frames {
        let end = LOG_HEADER + frame * FRAME;
        // At the frame, within its header, within its page, and a byte before its end.
        for end in [end, end + 24, end + 2001] {
            let log = &disk.log[..end.min(disk.log.len())];
            let left = Disk::opens_to_a_prefix(&disk.database, log, &want);
            assert!(left >= most, "more of the log, no less of the history");
            most = left;
            // A commit is on disk when `record` returns: what was synced by then is all there.
            let synced = told.iter().rev().find(|(length, _)| *length <= log.len());
            assert!(synced.is_none_or(|(_, events)| left >= *events));
        }
    }
    assert_eq!(most, want.len());
    assert_eq!(Disk::opens_to_a_prefix(&disk.database, b"", &want), 0);
}

#[test]
fn a_log_that_is_torn_or_stale_behind_a_commit_is_cut_there() {
    let (_folder, path) = temporary();
    let mut store = fresh(&path);
    let run = store.begin_run(at(0), &facts()).unwrap();
    store.record(run, at(1), &[started(1)]).unwrap();
    let kept = Disk::of(&path).log.len();
    store.record(run, at(1), &[started(2)]).unwrap();
    let want = store.history().events_after(Seq::ZERO, u32::MAX).unwrap();
    let want: Vec<_> = want.into_iter().map(|event| event.event).collect();
    let disk = Disk::of(&path);
    // Sectors that the disk never got, in each of the places of the last transaction.
    for begin in (kept..disk.log.len()).step_by(512) {
        let mut log = disk.log.clone();
        for byte in log.iter_mut().skip(begin).take(512) {
            *byte = 0;
        }
        let left = Disk::opens_to_a_prefix(&disk.database, &log, &want);
        // A sector may have been zeros before.
        assert!(left >= 2, "the commit before stays");
        assert!(left == 2 || log == disk.log, "half a transaction is none");
    }
}

#[test]
fn power_cut_while_the_log_goes_into_the_database_loses_nothing() {
    let (_folder, path) = temporary();
    let mut store = fresh(&path);
    let run = store.begin_run(at(0), &facts()).unwrap();
    for n in 0..30 {
        store.record(run, at(1), &[started(n)]).unwrap();
    }
    let want = store.history().events_after(Seq::ZERO, u32::MAX).unwrap();
    let want: Vec<_> = want.into_iter().map(|event| event.event).collect();
    let before = Disk::of(&path);
    store
        .history()
        .db()
        .query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))
        .unwrap();
    let after = Disk::of(&path);
    let pages = after.database.len() / 4096;
    assert!(after.database.len() > before.database.len());
    for page in 0..=pages {
        // Its first pages are in the database, or its last ones: a disk writes in any order.
        let cut = page * 4096;
        let mut first = after.database[..cut].to_vec();
        first.extend(before.database.iter().skip(cut));
        let mut last = before.database.clone();
        last.resize(after.database.len(), 0);
        last[cut..].copy_from_slice(&after.database[cut..]);
        for database in [first, last] {
            let left = Disk::opens_to_a_prefix(&database, &before.log, &want);
            assert_eq!(left, want.len());
        }
    }
}

#[test]
fn a_night_of_500_jobs_is_kept_in_seconds() {
    const NIGHT_JOBS: usize = 500;
    const STAGES: usize = 13;
    let (_folder, path) = temporary();
    let begun = std::time::Instant::now();
    let mut ledger = Ledger::begin(fresh(&path), &facts(), at(0), None).unwrap();
    let mut records = 0;
    for jobs in (0..NIGHT_JOBS).collect::<Vec<_>>().chunks(16) {
        let each =
            |event: &dyn Fn(usize) -> Event| jobs.iter().map(|n| event(*n)).collect::<Vec<_>>();
        let mut batches = vec![each(&started)];
        for n in 0..STAGES {
            let stage = Stage::ALL[n % 10];
            let elapsed = Duration::from_millis(5);
            batches.push(each(&|n| Event::StageStarted { job: job(n), stage }));
            batches.push(each(&|n| Event::StageFinished {
                job: job(n),
                stage,
                elapsed,
            }));
        }
        batches.push(each(&|n| finished(n, Outcome::Built)));
        for batch in batches {
            ledger.record(at(1), &batch).unwrap();
            records += 1;
        }
    }
    let elapsed = begun.elapsed();
    let events = ledger.last_seq().unwrap().0;
    assert_eq!(
        events,
        i64::try_from(1 + NIGHT_JOBS * (2 + 2 * STAGES)).unwrap()
    );
    let run = ledger.run();
    let size = |path: String| fs_err::metadata(path).map_or(0, |it| it.len());
    let size_bytes = size(path.to_string()) + size(format!("{path}-wal"));
    eprintln!("{events} events, {records} commits, {elapsed:?}, {size_bytes} bytes");
    assert!(size_bytes < 20 << 20, "{size_bytes}");
    let begun = std::time::Instant::now();
    drop(ledger);
    let mut store = fresh(&path);
    let recovered = store.recover(at(2), |_, _| false).unwrap();
    assert_eq!(recovered, [], "every job had its end");
    assert_eq!(
        store.history().run(run).unwrap().unwrap().jobs.len(),
        NIGHT_JOBS
    );
    eprintln!(
        "opened, checked, recovered and read in {:?}",
        begun.elapsed()
    );
}
