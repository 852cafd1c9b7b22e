//! Closes what a run left open that was killed, or whose machine was.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Outcome, Stage};
use wheelfarm_core::plan::JobDigest;

use super::history::{named, named_or_null};
use super::write::{Entry, append, last_heard};
use super::{JobState, RunId, Store, StoreError, stamp};
use crate::event::Event;

/// A job whose run ended without a word of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// The job.
    pub job: JobId,
    /// What it was built from; none when its beginning is not known.
    pub digest: Option<JobDigest>,
    /// The stage that was in flight; none between two of them.
    pub stage: Option<Stage>,
    /// The attempt whose container may still run.
    pub attempt: Option<u32>,
    /// What it is taken for.
    pub became: Became,
}

/// What an unfinished job is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// Its record is there: only the word of it was lost.
    Built,
    /// It has to be built again, or its container adopted.
    Interrupted,
}

impl Store {
    /// Closes the runs that have no end, as of when they were last heard of, and says which of their
    /// jobs had none. `is_on_record` says whether the record of a job on disk is of that digest: a
    /// record is put there before the store hears of it, and a job that had not come so far has an older
    /// one when it was built again by `--force`. Nothing else may run in this `out/`.
    ///
    /// # Errors
    /// The store cannot be written; no run is closed then.
    pub fn recover(
        &mut self,
        now: Timestamp,
        is_on_record: impl Fn(&JobId, JobDigest) -> bool,
    ) -> Result<Vec<Unfinished>, StoreError> {
        let now = stamp(now);
        self.write(|db| {
            let mut unfinished = Vec::new();
            for (run, started_at) in open_runs(db)? {
                let heard = last_heard(db, run)?.unwrap_or(started_at);
                let closing = Closing {
                    db,
                    run,
                    now: &now,
                    heard: &heard,
                };
                unfinished.extend(closing.close(&is_on_record)?);
            }
            Ok(unfinished)
        })
    }
}

fn open_runs(db: &Connection) -> rusqlite::Result<Vec<(RunId, String)>> {
    let sql = "SELECT id, started_at FROM runs WHERE state = 'running' ORDER BY id";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((RunId(row.get(0)?), row.get(1)?)))?;
    rows.collect()
}

/// A run that is being closed.
struct Closing<'a> {
    db: &'a Connection,
    run: RunId,
    now: &'a str,
    heard: &'a str,
}

/// A job without an end.
struct OpenJob {
    job: JobId,
    digest: Option<JobDigest>,
    started_at: Option<String>,
}

impl Closing<'_> {
    fn close(
        &self,
        is_on_record: &impl Fn(&JobId, JobDigest) -> bool,
    ) -> rusqlite::Result<Vec<Unfinished>> {
        let mut unfinished = Vec::new();
        for open in self.open_jobs()? {
            let is_built = self.had_a_wheel(&open.job)?
                && open
                    .digest
                    .is_some_and(|digest| is_on_record(&open.job, digest));
            let found = Unfinished {
                run: self.run,
                stage: self.stage(&open.job)?,
                attempt: self.attempt(&open.job)?,
                digest: open.digest,
                became: if is_built {
                    Became::Built
                } else {
                    Became::Interrupted
                },
                job: open.job.clone(),
            };
            match found.became {
                Became::Built => self.built(&open)?,
                Became::Interrupted => self.interrupted(&found)?,
            }
            self.db.execute(
                "UPDATE jobs SET ended_at = ?3 WHERE run = ?1 AND job = ?2",
                params![self.run.0, open.job.as_str(), self.heard],
            )?;
            unfinished.push(found);
        }
        append(
            self.db,
            self.run,
            self.now,
            &json!({ "event": "run-interrupted", "last_heard": self.heard }),
        )?;
        self.db.execute(
            "UPDATE runs SET state = 'interrupted', ended_at = ?2 WHERE id = ?1",
            params![self.run.0, self.heard],
        )?;
        Ok(unfinished)
    }

    fn open_jobs(&self) -> rusqlite::Result<Vec<OpenJob>> {
        let mut statement = self.db.prepare(
            "SELECT job, digest, started_at FROM jobs WHERE run = ?1 AND state = 'running' ORDER BY job",
        )?;
        let rows = statement.query_map(params![self.run.0], |row| {
            Ok(OpenJob {
                job: named(row, 0)?,
                digest: named_or_null(row, 1)?,
                started_at: row.get(2)?,
            })
        })?;
        rows.collect()
    }

    fn stage(&self, job: &JobId) -> rusqlite::Result<Option<Stage>> {
        let mut statement = self.db.prepare(
            "SELECT stage FROM stages WHERE run = ?1 AND job = ?2 AND ended_at IS NULL
             AND n = (SELECT max(n) FROM stages WHERE run = ?1 AND job = ?2)",
        )?;
        let mut rows = statement.query(params![self.run.0, job.as_str()])?;
        rows.next()?.map(|row| named(row, 0)).transpose()
    }

    /// Whether the job's last attempt had come as far as a wheel.
    fn had_a_wheel(&self, job: &JobId) -> rusqlite::Result<bool> {
        let mut statement = self.db.prepare(
            "SELECT stage FROM stages WHERE run = ?1 AND job = ?2 ORDER BY n DESC LIMIT 1",
        )?;
        let mut rows = statement.query(params![self.run.0, job.as_str()])?;
        let last: Option<Stage> = rows.next()?.map(|row| named(row, 0)).transpose()?;
        Ok(last >= Some(Stage::Collect))
    }

    fn attempt(&self, job: &JobId) -> rusqlite::Result<Option<u32>> {
        let mut statement = self.db.prepare(
            "SELECT attempt FROM attempts WHERE run = ?1 AND job = ?2 AND ended_at IS NULL
             AND attempt = (SELECT max(attempt) FROM attempts WHERE run = ?1 AND job = ?2)",
        )?;
        let mut rows = statement.query(params![self.run.0, job.as_str()])?;
        rows.next()?.map(|row| row.get(0)).transpose()
    }

    /// The event that the job's run had no time to write.
    fn built(&self, open: &OpenJob) -> rusqlite::Result<()> {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let started = open.started_at.as_deref().and_then(time);
        let elapsed = started.zip(time(self.heard)).map(|(from, to)| to - from);
        let elapsed = elapsed.and_then(|span| span.try_into().ok());
        let event = Event::JobFinished {
            job: open.job.clone(),
            outcome: Outcome::Built,
            elapsed: elapsed.unwrap_or_default(),
        };
        let entry = Entry {
            db: self.db,
            run: self.run,
            at: self.now,
        };
        entry.take(&event)
    }

    fn interrupted(&self, found: &Unfinished) -> rusqlite::Result<()> {
        let event = json!({
            "event": "job-interrupted", "job": found.job, "stage": found.stage,
            "attempt": found.attempt,
        });
        append(self.db, self.run, self.now, &event)?;
        self.db.execute(
            "UPDATE jobs SET state = ?3 WHERE run = ?1 AND job = ?2",
            params![
                self.run.0,
                found.job.as_str(),
                JobState::Interrupted.as_str()
            ],
        )?;
        Ok(())
    }
}
