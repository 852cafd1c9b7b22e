//! What events make of the tables. An event and its effect are written together or not at all.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};
use serde_json::{Value, json};
use wheelfarm_core::estimate::{Grant, Sample, SampleEnd};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Failure, Outcome, Stage};

use super::{RunFacts, RunId, Seq, Store, StoreError, integer, stamp};
use crate::crash_point;
use crate::event::Event;

type Done = rusqlite::Result<()>;

/// How many samples of a package's version are kept when the run that they come from is forgotten.
pub(super) const SAMPLES_KEPT: u32 = 64;

impl Store {
    /// Begins a run, with an event that says who runs.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn begin_run(&mut self, at: Timestamp, facts: &RunFacts) -> Result<RunId, StoreError> {
        let at = stamp(at);
        self.write(|db| {
            db.execute(
                "INSERT INTO runs (state, started_at, pid, host, program, engine)
                 VALUES ('running', ?1, ?2, ?3, ?4, ?5)",
                params![at, facts.pid, facts.host, facts.program, facts.engine],
            )?;
            let run = RunId(db.last_insert_rowid());
            let begun = json!({
                "event": "run-begun", "pid": facts.pid, "host": facts.host,
                "program": facts.program, "engine": facts.engine,
            });
            append(db, run, &at, &begun)?;
            Ok(run)
        })
    }

    /// Writes events, in their order, and what they come to, in one transaction. Lines of output are
    /// not kept: they stand in the job's log. Returns the number of the newest event.
    ///
    /// # Errors
    /// The store cannot be written; nothing of `events` is in it then.
    pub fn record(
        &mut self,
        run: RunId,
        at: Timestamp,
        events: &[Event],
    ) -> Result<Seq, StoreError> {
        let at = stamp(at);
        self.write(|db| {
            for event in events {
                let entry = Entry { db, run, at: &at };
                entry.take(event)?;
            }
            Ok(())
        })?;
        self.history.last_seq()
    }

    /// Lets the numbers of events begin after `seq`: whoever has read events up to there never sees
    /// a number twice, also when the store was lost in between.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn continue_after(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.write(|db| {
            let updated = db.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'events'",
                params![seq.0],
            )?;
            if updated == 0 {
                db.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)",
                    params![seq.0],
                )?;
            }
            Ok(())
        })
    }

    /// Forgets the runs that ended before `time`, with their jobs and events; gives how many. What
    /// was learned of packages stays: the newest samples of each version.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget_runs_before(&mut self, time: Timestamp) -> Result<usize, StoreError> {
        let time = stamp(time);
        let forgotten = self.write(|db| {
            let forgotten = db.execute(
                "DELETE FROM runs WHERE state <> 'running' AND ended_at < ?1",
                params![time],
            )?;
            db.execute(
                "DELETE FROM samples
                 WHERE id NOT IN (SELECT sample FROM attempts WHERE sample IS NOT NULL)
                   AND id NOT IN (SELECT id FROM (
                       SELECT id, row_number() OVER (
                           PARTITION BY package, version, targets, end,
                     objects_compiled IS NULL OR objects_compiled >= objects_needed,
                     objects_compiled = 0 ORDER BY id DESC) AS place
                       FROM samples) WHERE place <= ?1)",
                params![SAMPLES_KEPT],
            )?;
            Ok(forgotten)
        })?;
        let shrink = |db: &Connection| -> Done {
            let mut statement = db.prepare("PRAGMA incremental_vacuum")?;
            let mut rows = statement.query([])?;
            // Each step gives one page back.
            while rows.next()?.is_some() {}
            Ok(())
        };
        shrink(self.history.db()).map_err(|error| self.failed(error))?;
        Ok(forgotten)
    }

    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        crash_point::reach("before a transaction");
        let res = (|| {
            let transaction = self
                .history
                .db_mut()
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            crash_point::reach("before a commit");
            transaction.commit()?;
            crash_point::reach("after a commit");
            Ok(done)
        })();
        res.map_err(|error| self.failed(error))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::database("write", self.history.path(), source)
    }
}

/// Puts an event behind the others.
pub(super) fn append(db: &Connection, run: RunId, at: &str, event: &Value) -> Done {
    db.execute(
        "INSERT INTO events (run, at, json) VALUES (?1, ?2, ?3)",
        params![run.0, at, event.to_string()],
    )?;
    Ok(())
}

/// Where events go: a transaction, a run, a time.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) db: &'a Connection,
    pub(super) run: RunId,
    pub(super) at: &'a str,
}

impl Entry<'_> {
    /// Writes an event and what it comes to.
    pub(super) fn take(self, event: &Event) -> Done {
        if matches!(event, Event::Line { .. }) {
            return Ok(());
        }
        append(self.db, self.run, self.at, &event.to_json())?;
        match event {
            Event::RunStarted { jobs } => {
                let jobs = i64::try_from(*jobs).unwrap_or(i64::MAX);
                self.run_has("jobs = ?2", jobs)
            }
            Event::RunForecast { forecast } => self.run_has("forecast = ?2", forecast.to_string()),
            Event::AdmissionStopped { reason } => self.run_has(
                "admission_stopped = coalesce(admission_stopped, ?2)",
                reason,
            ),
            Event::RunFinished { elapsed } => self.run_finished(*elapsed),
            Event::JobUpToDate { job } => self.job_up_to_date(job),
            Event::JobStarted {
                job,
                digest,
                package,
                version,
                channel,
                why,
            } => self.job_started(params![
                self.run.0,
                job.as_str(),
                digest.to_string(),
                package.as_str(),
                version,
                channel,
                why,
                self.at
            ]),
            Event::StageStarted { job, stage } => self.stage_started(job, *stage),
            Event::StageFinished {
                job,
                stage,
                elapsed,
            } => self.stage_finished(job, *stage, *elapsed),
            Event::AttemptStarted {
                job,
                attempt,
                grant,
                adopted,
            } => self.attempt_started(job, *attempt, (*grant, *adopted)),
            Event::AttemptEnded {
                job,
                attempt,
                sample,
            } => self.attempt_ended(job, *attempt, sample.as_ref()),
            Event::JobRetried {
                job,
                failure,
                remedy,
            } => self.job_retried(job, failure, remedy),
            Event::JobFinished {
                job,
                outcome,
                elapsed,
            } => self.job_finished(job, outcome, *elapsed),
            Event::Line { .. }
            | Event::Note { .. }
            | Event::RunNote { .. }
            | Event::Stopping { .. } => Ok(()),
        }
    }

    fn run_has(self, what: &str, value: impl ToSql) -> Done {
        let sql = format!("UPDATE runs SET {what} WHERE id = ?1");
        self.db.execute(&sql, params![self.run.0, value])?;
        Ok(())
    }

    /// Events come from many places; one whose job never said that it began makes its row.
    fn job_is_there(self, job: &JobId) -> Done {
        self.db.execute(
            "INSERT INTO jobs (run, job, state) VALUES (?1, ?2, 'running')
             ON CONFLICT (run, job) DO NOTHING",
            params![self.run.0, job.as_str()],
        )?;
        Ok(())
    }

    fn run_finished(self, elapsed: Duration) -> Done {
        self.db.execute(
            "UPDATE runs SET state = 'finished', ended_at = ?2, elapsed_ms = ?3 WHERE id = ?1",
            params![self.run.0, self.at, ms(elapsed)],
        )?;
        Ok(())
    }

    fn job_up_to_date(self, job: &JobId) -> Done {
        self.db.execute(
            "INSERT INTO jobs (run, job, state, ended_at) VALUES (?1, ?2, 'up-to-date', ?3)
             ON CONFLICT (run, job) DO UPDATE SET state = 'up-to-date', ended_at = ?3",
            params![self.run.0, job.as_str(), self.at],
        )?;
        Ok(())
    }

    fn job_started(self, values: &[&dyn ToSql]) -> Done {
        self.db.execute(
            "INSERT INTO jobs (run, job, digest, package, version, channel, why, state, started_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'running', ?8)
             ON CONFLICT (run, job) DO UPDATE SET
                 digest = excluded.digest, package = excluded.package,
                 version = excluded.version, channel = excluded.channel, why = excluded.why,
                 state = 'running', started_at = excluded.started_at, ended_at = NULL,
                 elapsed_ms = NULL, failure_stage = NULL, failure_kind = NULL,
                 failure_detail = NULL, failure_hint = NULL",
            values,
        )?;
        Ok(())
    }

    fn stage_started(self, job: &JobId, stage: Stage) -> Done {
        self.job_is_there(job)?;
        self.db.execute(
            "INSERT INTO stages (run, job, n, stage, started_at)
             SELECT ?1, ?2, 1 + coalesce(max(n), 0), ?3, ?4 FROM stages WHERE run = ?1 AND job = ?2",
            params![self.run.0, job.as_str(), stage.as_str(), self.at],
        )?;
        Ok(())
    }

    fn stage_finished(self, job: &JobId, stage: Stage, elapsed: Duration) -> Done {
        self.db.execute(
            "UPDATE stages SET ended_at = ?4, wall_ms = ?5 WHERE run = ?1 AND job = ?2
             AND n = (SELECT max(n) FROM stages WHERE run = ?1 AND job = ?2 AND stage = ?3)
             AND ended_at IS NULL",
            params![
                self.run.0,
                job.as_str(),
                stage.as_str(),
                self.at,
                ms(elapsed)
            ],
        )?;
        Ok(())
    }

    fn attempt_started(self, job: &JobId, attempt: u32, (grant, adopted): (Grant, bool)) -> Done {
        self.job_is_there(job)?;
        self.db.execute(
            "INSERT INTO attempts (run, job, attempt, compilers, milli_cpus, memory_bytes, adopted,
                 started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (run, job, attempt) DO UPDATE SET
                 compilers = excluded.compilers, milli_cpus = excluded.milli_cpus,
                 memory_bytes = excluded.memory_bytes, adopted = excluded.adopted,
                 started_at = excluded.started_at, ended_at = NULL, sample = NULL",
            params![
                self.run.0,
                job.as_str(),
                attempt,
                grant.compilers,
                integer(grant.milli_cpus),
                integer(grant.memory_bytes),
                adopted,
                self.at
            ],
        )?;
        Ok(())
    }

    fn attempt_ended(self, job: &JobId, attempt: u32, sample: Option<&Sample>) -> Done {
        self.job_is_there(job)?;
        let sample = sample.map(|sample| self.sample(sample)).transpose()?;
        self.db.execute(
            "INSERT INTO attempts (run, job, attempt, ended_at, sample) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (run, job, attempt) DO UPDATE SET
                 ended_at = excluded.ended_at, sample = excluded.sample",
            params![self.run.0, job.as_str(), attempt, self.at, sample],
        )?;
        Ok(())
    }

    fn sample(self, sample: &Sample) -> rusqlite::Result<i64> {
        let end = match sample.end {
            SampleEnd::Done => "done",
            SampleEnd::OutOfMemory => "out-of-memory",
        };
        self.db.execute(
            "INSERT INTO samples (at, package, version, channel, targets, compilers, milli_cpus,
                 memory_bytes, end, peak_memory_bytes, cpu_ms, compile_ms, objects_needed,
                 objects_compiled, disk_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                sample.at,
                sample.package.as_str(),
                sample.version,
                sample.channel,
                sample.targets,
                sample.grant.compilers,
                integer(sample.grant.milli_cpus),
                integer(sample.grant.memory_bytes),
                end,
                sample.peak_memory_bytes.map(integer),
                sample.cpu_ms.map(integer),
                integer(sample.compile_ms),
                sample.objects.map(|objects| integer(objects.needed)),
                sample.objects.map(|objects| integer(objects.compiled)),
                sample.disk_bytes.map(integer),
            ],
        )?;
        Ok(self.db.last_insert_rowid())
    }

    fn job_retried(self, job: &JobId, failure: &Failure, remedy: &str) -> Done {
        self.job_is_there(job)?;
        self.db.execute(
            "INSERT INTO retries (run, job, n, at, stage, kind, detail, hint, remedy)
             SELECT ?1, ?2, 1 + coalesce(max(n), 0), ?3, ?4, ?5, ?6, ?7, ?8 FROM retries
             WHERE run = ?1 AND job = ?2",
            params![
                self.run.0,
                job.as_str(),
                self.at,
                failure.stage.as_str(),
                failure.kind.as_str(),
                failure.detail,
                failure.hint,
                remedy
            ],
        )?;
        Ok(())
    }

    fn job_finished(self, job: &JobId, outcome: &Outcome, elapsed: Duration) -> Done {
        self.job_is_there(job)?;
        let failure = match outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Built
            | Outcome::UpToDate
            | Outcome::Rehearsed
            | Outcome::Cancelled
            | Outcome::NotStarted => None,
        };
        self.db.execute(
            "UPDATE jobs SET state = ?3, ended_at = ?4, elapsed_ms = ?5, failure_stage = ?6,
                 failure_kind = ?7, failure_detail = ?8, failure_hint = ?9
             WHERE run = ?1 AND job = ?2",
            params![
                self.run.0,
                job.as_str(),
                outcome.as_str(),
                self.at,
                ms(elapsed),
                failure.map(|failure| failure.stage.as_str()),
                failure.map(|failure| failure.kind.as_str()),
                failure.map(|failure| &failure.detail),
                failure.and_then(|failure| failure.hint.as_ref()),
            ],
        )?;
        Ok(())
    }
}

/// The time at which a run was last heard of.
pub(super) fn last_heard(db: &Connection, run: RunId) -> rusqlite::Result<Option<String>> {
    db.query_row(
        "SELECT at FROM events WHERE run = ?1 ORDER BY seq DESC LIMIT 1",
        params![run.0],
        |row| row.get(0),
    )
    .optional()
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
