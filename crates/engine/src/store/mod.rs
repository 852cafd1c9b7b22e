//! The farm's memory: one SQLite file that holds runs, jobs, stages, attempts, samples and events.
//!
//! `write` takes events and nothing else: the tables are what the events come to. `recover` closes
//! what a killed run left open. `history` reads, also beside a run that writes. `ledger` is what a
//! run writes to: the store, and the file of events behind it (`event_log`).
//!
//! It must never be what a wheel depends on: a store that is lost costs history, not builds.

mod error;
mod event_log;
mod history;
mod ledger;
mod open;
mod recover;
mod write;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

pub use error::{Fault, StoreError};
pub use event_log::{EventLog, EventLogError};
pub use history::{
    Actual, AttemptRecord, FailureRecord, History, JobRecord, JobState, RetryRecord, RunDetail,
    RunRecord, RunState, StageRecord, StoredEvent,
};
pub use ledger::{Ledger, LedgerError};
pub use open::Opened;
pub use recover::{Became, Unfinished};

/// The store's name in `out/`.
pub const FILE_NAME: &str = "wheelfarm.sqlite";

/// The store, open for writing. The one who holds the lock of `out/` has it.
#[derive(Debug)]
pub struct Store {
    history: History,
}

impl Store {
    /// What is in it.
    pub fn history(&self) -> &History {
        &self.history
    }
}

/// A run's number: 1 is the first that a store has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RunId(i64);

/// An event's number. It grows from run to run, and none is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Seq(i64);

impl Seq {
    /// Before the first.
    pub const ZERO: Self = Self(0);
}

/// The text is not a number that a run or an event can have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {what}")]
pub struct NumberError {
    text: String,
    what: &'static str,
}

fn number(text: &str, least: i64, what: &'static str) -> Result<i64, NumberError> {
    let number = text.parse().ok().filter(|number| *number >= least);
    number.ok_or_else(|| NumberError {
        text: text.to_owned(),
        what,
    })
}

impl FromStr for RunId {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        number(text, 1, "a run's number").map(Self)
    }
}

impl FromStr for Seq {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        number(text, 0, "an event's number").map(Self)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who runs, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// The process.
    pub pid: u32,
    /// The machine's name.
    pub host: String,
    /// The program and its version: `wheelfarm 0.1.0`.
    pub program: String,
    /// The container engine and its version: `docker 28.2.2`.
    pub engine: String,
}

/// A time as the store writes it: text order is time order.
fn stamp(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// SQLite's integers are signed; what is larger than the largest is the largest.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What `integer` wrote.
fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
