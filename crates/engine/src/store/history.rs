//! Reads the store: what earlier runs did, and what is learned from them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wheelfarm_core::estimate::{Grant, Objects, Sample, StageTimes};
use wheelfarm_core::ident::{JobId, PackageName};
use wheelfarm_core::outcome::Stage;
use wheelfarm_core::plan::JobDigest;

use super::open::Identity;
use super::{RunId, Seq, StoreError, natural};

/// An open store, for reading.
#[derive(Debug)]
pub struct History {
    db: Connection,
    path: Utf8PathBuf,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It goes on, or was killed and no run came after it.
    Running,
    /// Every job has ended.
    Finished,
    /// It was killed, or its machine was.
    Interrupted,
}

impl RunState {
    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How far a job has come: an outcome's name, or that it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It goes on.
    Running,
    /// Its wheel is on record.
    Built,
    /// Its wheel was already on record.
    UpToDate,
    /// Its command lines were looked at.
    Rehearsed,
    /// It failed.
    Failed,
    /// It was stopped.
    Cancelled,
    /// It was never begun.
    NotStarted,
    /// Its run was killed while it ran.
    Interrupted,
}

impl JobState {
    /// Every state, in the order in which counts are shown.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Built,
        Self::Rehearsed,
        Self::Failed,
        Self::Interrupted,
        Self::Cancelled,
        Self::NotStarted,
        Self::UpToDate,
    ];

    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Built => "built",
            Self::UpToDate => "up-to-date",
            Self::Rehearsed => "rehearsed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotStarted => "not-started",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Which.
    pub id: RunId,
    /// How far it has come.
    pub state: RunState,
    /// When it began.
    pub started_at: String,
    /// When it ended, or was last heard of.
    pub ended_at: Option<String>,
    /// Its process.
    pub pid: i64,
    /// Its machine.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// The engine and its version.
    pub engine: String,
    /// How many jobs it had to build.
    pub jobs: Option<u64>,
    /// What it was expected to take.
    pub forecast: Option<Value>,
    /// Why no further job was begun.
    pub admission_stopped: Option<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: Option<u64>,
    /// How many of its jobs are in which state.
    pub counts: BTreeMap<JobState, u64>,
}

/// A run with everything about its jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDetail {
    /// The run.
    pub run: RunRecord,
    /// Its jobs, by id.
    pub jobs: Vec<JobRecord>,
    /// What it took.
    pub actual: Actual,
}

/// What the compilations of a run took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Actual {
    /// From its begin to its end; none for a run without one.
    pub wall_ms: Option<u64>,
    /// Processor time of all compilations that it is known of.
    pub cpu_ms: u64,
    /// The most memory that one of them held.
    pub peak_memory_bytes: Option<u64>,
    /// The objects of those that counted them.
    pub objects: Option<Objects>,
}

impl Actual {
    fn of(run: &RunRecord, jobs: &[JobRecord]) -> Self {
        let attempts = jobs.iter().flat_map(|job| &job.attempts);
        let samples: Vec<_> = attempts.filter_map(|it| it.sample.as_ref()).collect();
        let objects = samples.iter().filter_map(|sample| sample.objects);
        Self {
            wall_ms: run.elapsed_ms,
            cpu_ms: samples.iter().filter_map(|sample| sample.cpu_ms).sum(),
            peak_memory_bytes: samples
                .iter()
                .filter_map(|sample| sample.peak_memory_bytes)
                .max(),
            objects: objects.reduce(|one, other| Objects {
                needed: one.needed.saturating_add(other.needed),
                compiled: one.compiled.saturating_add(other.compiled),
            }),
        }
    }
}

/// A job of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Which.
    pub job: JobId,
    /// What it was built from.
    pub digest: Option<JobDigest>,
    /// What was built.
    pub package: Option<PackageName>,
    /// Its version.
    pub version: Option<String>,
    /// The pair of CUDA and torch that it was built for.
    pub channel: Option<String>,
    /// Why it was built.
    pub why: Option<String>,
    /// How far it has come.
    pub state: JobState,
    /// When it began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: Option<u64>,
    /// Why it failed.
    pub failure: Option<FailureRecord>,
    /// The stages that it entered, in order.
    pub stages: Vec<StageRecord>,
    /// Its containers.
    pub attempts: Vec<AttemptRecord>,
    /// How often it began again, and why.
    pub retries: Vec<RetryRecord>,
}

/// A stage of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageRecord {
    /// Which.
    pub stage: Stage,
    /// When it began.
    pub started_at: String,
    /// How long it took, in milliseconds; none when it did not end well.
    pub wall_ms: Option<u64>,
}

/// A compile container of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// The first is 1.
    pub attempt: u32,
    /// What it was given.
    pub grant: Option<Grant>,
    /// Whether an earlier run had started it.
    pub adopted: Option<bool>,
    /// When it began, or was adopted.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// What it took.
    pub sample: Option<Sample>,
}

/// Why a job failed. The kind is `FailureKind`'s name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureRecord {
    /// The step it failed in.
    pub stage: Stage,
    /// What kind of failure it was.
    pub kind: String,
    /// What happened.
    pub detail: String,
    /// What to type or change.
    pub hint: Option<String>,
}

/// Why a job began again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetryRecord {
    /// When.
    pub at: String,
    /// Why the attempt failed.
    pub failure: FailureRecord,
    /// What was done about it.
    pub remedy: String,
}

/// An event, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its number.
    pub seq: Seq,
    /// The run that it belongs to.
    pub run: RunId,
    /// When it was written.
    pub at: String,
    /// What happened: an object.
    pub event: Value,
}

impl StoredEvent {
    /// A line of the stream of events, without its end: schema 1, sorted keys.
    pub fn line(&self) -> String {
        let mut line = json!({
            "schema": 1, "seq": self.seq, "run": self.run, "at": self.at,
        });
        if let (Some(line), Some(event)) = (line.as_object_mut(), self.event.as_object()) {
            line.extend(event.clone());
        }
        line.to_string()
    }
}

const RUN: &str =
    "SELECT id, state, started_at, ended_at, pid, host, program, engine, jobs, forecast,
     admission_stopped, elapsed_ms FROM runs";

impl History {
    pub(super) fn new(db: Connection, path: &Utf8Path) -> Self {
        Self {
            db,
            path: path.to_owned(),
        }
    }

    /// Opens the store at `path` for reading, also while a run writes it.
    ///
    /// # Errors
    /// There is none, it is corrupt, or its schema is another than this program's.
    pub fn open(path: &Utf8Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let failed = |source| StoreError::database("open", path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(std::time::Duration::from_secs(10))
            .map_err(failed)?;
        db.pragma_update(None, "trusted_schema", false)
            .map_err(failed)?;
        Identity::readable(&db, path)?;
        Ok(Self::new(db, path))
    }

    /// The file.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    pub(super) fn db_mut(&mut self) -> &mut Connection {
        &mut self.db
    }

    /// The number of the newest event, also when it was forgotten.
    ///
    /// # Errors
    /// The store cannot be read. That is so of every function here.
    pub fn last_seq(&self) -> Result<Seq, StoreError> {
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'";
        self.read(|db| db.query_row(sql, [], |row| Ok(Seq(row.get(0)?))))
    }

    /// The events after `seq`, in order, at most `limit`.
    pub fn events_after(&self, seq: Seq, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.list(
            "SELECT seq, run, at, json FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            params![seq.0, limit],
            |row| {
                Ok(StoredEvent {
                    seq: Seq(row.get(0)?),
                    run: RunId(row.get(1)?),
                    at: row.get(2)?,
                    event: json_value(row, 3)?,
                })
            },
        )
    }

    /// What compilations took, the oldest first: the newest `per_version` of each package's version.
    pub fn samples(&self, per_version: u32) -> Result<Vec<Sample>, StoreError> {
        let sql = format!(
            "SELECT {SAMPLE} FROM (SELECT *, row_number() OVER (
                 PARTITION BY package, version, targets, end,
                     objects_compiled IS NULL OR objects_compiled >= objects_needed,
                     objects_compiled = 0 ORDER BY id DESC) AS place FROM samples) AS s
             WHERE place <= ?1 ORDER BY id"
        );
        self.list(&sql, params![per_version], |row| sample(row, 0))
    }

    /// What the stages of built jobs took besides their compilation: of the newest `per_version` jobs
    /// of each package's version.
    pub fn stage_times(&self, per_version: u32) -> Result<Vec<StageTimes>, StoreError> {
        self.list(
            "SELECT package, version, (
                 SELECT coalesce(sum(wall_ms), 0) FROM stages
                 WHERE stages.run = built.run AND stages.job = built.job AND stage <> 'compile')
             FROM (SELECT run, job, package, version, row_number() OVER (
                 PARTITION BY package, version ORDER BY run DESC, ended_at DESC) AS place
                 FROM jobs WHERE state = 'built' AND package IS NOT NULL) AS built
             WHERE place <= ?1 ORDER BY package, version, run",
            params![per_version],
            |row| {
                Ok(StageTimes {
                    package: named(row, 0)?,
                    version: row.get(1)?,
                    other_ms: natural(row.get(2)?),
                })
            },
        )
    }

    /// The newest runs, the newest first.
    pub fn runs(&self, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        let sql = format!("{RUN} ORDER BY id DESC LIMIT ?1");
        let mut runs = self.list(&sql, params![limit], run_record)?;
        for run in &mut runs {
            run.counts = self.counts(run.id)?;
        }
        Ok(runs)
    }

    /// A run with its jobs; `None` when there is none of that number.
    pub fn run(&self, id: RunId) -> Result<Option<RunDetail>, StoreError> {
        let mut runs = self.list(&format!("{RUN} WHERE id = ?1"), params![id.0], run_record)?;
        let Some(mut run) = runs.pop() else {
            return Ok(None);
        };
        run.counts = self.counts(id)?;
        let jobs = self.jobs(id)?;
        Ok(Some(RunDetail {
            actual: Actual::of(&run, &jobs),
            run,
            jobs,
        }))
    }

    /// How a job last ended that had something to do, and in which run.
    pub fn last_outcome(&self, job: &JobId) -> Result<Option<(RunId, JobRecord)>, StoreError> {
        let sql = format!(
            "SELECT {JOB}, run FROM jobs WHERE job = ?1
             AND state NOT IN ('running', 'up-to-date', 'not-started') ORDER BY run DESC LIMIT 1"
        );
        let mut found = self.list(&sql, params![job.as_str()], |row| {
            Ok((RunId(row.get(14)?), job_record(row)?))
        })?;
        Ok(found.pop())
    }

    /// How many runs ended before `time`: what `forget_runs_before` would forget.
    pub fn runs_before(&self, time: jiff::Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM runs WHERE state <> 'running' AND ended_at < ?1";
        let time = super::stamp(time);
        self.read(|db| db.query_row(sql, params![time], |row| row.get(0).map(natural)))
    }

    fn counts(&self, run: RunId) -> Result<BTreeMap<JobState, u64>, StoreError> {
        let counts = self.list(
            "SELECT state, count(*) FROM jobs WHERE run = ?1 GROUP BY state",
            params![run.0],
            |row| Ok((named(row, 0)?, natural(row.get(1)?))),
        )?;
        Ok(counts.into_iter().collect())
    }

    fn jobs(&self, run: RunId) -> Result<Vec<JobRecord>, StoreError> {
        let sql = format!("SELECT {JOB} FROM jobs WHERE run = ?1 ORDER BY job");
        let mut jobs = self.list(&sql, params![run.0], job_record)?;
        let mut stages = self.by_job(
            "SELECT job, stage, started_at, wall_ms FROM stages WHERE run = ?1 ORDER BY job, n",
            run,
            |row| {
                Ok(StageRecord {
                    stage: named(row, 1)?,
                    started_at: row.get(2)?,
                    wall_ms: amount(row, 3)?,
                })
            },
        )?;
        let mut attempts = self.by_job(
            &format!(
                "SELECT a.job, a.attempt, a.compilers, a.milli_cpus, a.memory_bytes, a.adopted,
                     a.started_at, a.ended_at, {SAMPLE}
                 FROM attempts AS a LEFT JOIN samples AS s ON s.id = a.sample
                 WHERE a.run = ?1 ORDER BY a.job, a.attempt"
            ),
            run,
            attempt_record,
        )?;
        let mut retries = self.by_job(
            "SELECT job, at, stage, kind, detail, hint, remedy FROM retries WHERE run = ?1
             ORDER BY job, n",
            run,
            |row| {
                Ok(RetryRecord {
                    at: row.get(1)?,
                    failure: failure_record(row, 2)?,
                    remedy: row.get(6)?,
                })
            },
        )?;
        for job in &mut jobs {
            job.stages = stages.remove(&job.job).unwrap_or_default();
            job.attempts = attempts.remove(&job.job).unwrap_or_default();
            job.retries = retries.remove(&job.job).unwrap_or_default();
        }
        Ok(jobs)
    }

    /// Rows whose first column is a job's id.
    fn by_job<T>(
        &self,
        sql: &str,
        run: RunId,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<BTreeMap<JobId, Vec<T>>, StoreError> {
        let rows = self.list(sql, params![run.0], |row| Ok((named(row, 0)?, read(row)?)))?;
        let mut by_job: BTreeMap<JobId, Vec<T>> = BTreeMap::new();
        for (job, row) in rows {
            by_job.entry(job).or_default().push(row);
        }
        Ok(by_job)
    }

    fn list<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare(sql)?;
            statement.query_map(values, read)?.collect()
        })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.db).map_err(|source| StoreError::database("read", &self.path, source))
    }
}

const JOB: &str = "job, digest, package, version, channel, why, state, started_at, ended_at, \
     elapsed_ms, failure_stage, failure_kind, failure_detail, failure_hint";

const SAMPLE: &str = "s.at, s.package, s.version, s.channel, s.targets, s.compilers, s.milli_cpus, \
     s.memory_bytes, s.end, s.peak_memory_bytes, s.cpu_ms, s.compile_ms, s.objects_needed, \
     s.objects_compiled, s.disk_bytes";

fn run_record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    let forecast: Option<String> = row.get(9)?;
    Ok(RunRecord {
        id: RunId(row.get(0)?),
        state: named(row, 1)?,
        started_at: row.get(2)?,
        ended_at: row.get(3)?,
        pid: row.get(4)?,
        host: row.get(5)?,
        program: row.get(6)?,
        engine: row.get(7)?,
        jobs: amount(row, 8)?,
        forecast: forecast.map(|_| json_value(row, 9)).transpose()?,
        admission_stopped: row.get(10)?,
        elapsed_ms: amount(row, 11)?,
        counts: BTreeMap::new(),
    })
}

fn job_record(row: &Row<'_>) -> rusqlite::Result<JobRecord> {
    let failed: Option<String> = row.get(10)?;
    Ok(JobRecord {
        job: named(row, 0)?,
        digest: named_or_null(row, 1)?,
        package: named_or_null(row, 2)?,
        version: row.get(3)?,
        channel: row.get(4)?,
        why: row.get(5)?,
        state: named(row, 6)?,
        started_at: row.get(7)?,
        ended_at: row.get(8)?,
        elapsed_ms: amount(row, 9)?,
        failure: failed.map(|_| failure_record(row, 10)).transpose()?,
        stages: Vec::new(),
        attempts: Vec::new(),
        retries: Vec::new(),
    })
}

fn failure_record(row: &Row<'_>, first: usize) -> rusqlite::Result<FailureRecord> {
    Ok(FailureRecord {
        stage: named(row, first)?,
        kind: row.get(first + 1)?,
        detail: row.get(first + 2)?,
        hint: row.get(first + 3)?,
    })
}

fn attempt_record(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let compilers: Option<u32> = row.get(2)?;
    let grant = |compilers| {
        Ok::<_, rusqlite::Error>(Grant {
            compilers,
            milli_cpus: natural(row.get(3)?),
            memory_bytes: natural(row.get(4)?),
        })
    };
    let sampled: Option<String> = row.get(8)?;
    Ok(AttemptRecord {
        attempt: row.get(1)?,
        grant: compilers.map(grant).transpose()?,
        adopted: row.get(5)?,
        started_at: row.get(6)?,
        ended_at: row.get(7)?,
        sample: sampled.map(|_| sample(row, 8)).transpose()?,
    })
}

fn sample(row: &Row<'_>, first: usize) -> rusqlite::Result<Sample> {
    let needed = amount(row, first + 12)?;
    let compiled = amount(row, first + 13)?;
    Ok(Sample {
        at: row.get(first)?,
        package: named(row, first + 1)?,
        version: row.get(first + 2)?,
        channel: row.get(first + 3)?,
        targets: row.get(first + 4)?,
        grant: Grant {
            compilers: row.get(first + 5)?,
            milli_cpus: natural(row.get(first + 6)?),
            memory_bytes: natural(row.get(first + 7)?),
        },
        end: named(row, first + 8)?,
        peak_memory_bytes: amount(row, first + 9)?,
        cpu_ms: amount(row, first + 10)?,
        compile_ms: natural(row.get(first + 11)?),
        objects: needed
            .zip(compiled)
            .map(|(needed, compiled)| Objects { needed, compiled }),
        disk_bytes: amount(row, first + 14)?,
    })
}

fn amount(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let number: Option<i64> = row.get(column)?;
    Ok(number.map(natural))
}

/// A column that holds one of our names, checked again: the file may have been changed by others.
pub(super) fn named<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(Value::String(text)).map_err(|error| unreadable(column, error))
}

/// The same, where there may be none.
pub(super) fn named_or_null<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|_| named(row, column)).transpose()
}

fn json_value(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
