//! What a run writes what happens to: the store first, then the file of events.

use camino::Utf8Path;
use jiff::Timestamp;

use super::{EventLog, EventLogError, History, RunFacts, RunId, Seq, Store, StoreError};
use crate::event::Event;

/// How many events wait for a store that cannot be written; a night has a tenth of that. Past it,
/// nothing more of the run is kept, and the next run closes it as interrupted.
const WAITING: usize = 200_000;

/// The book that a run keeps. The dispatcher alone writes it.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    run: RunId,
    log: Option<EventLog>,
    waiting: Vec<(Timestamp, Event)>,
    is_given_up: bool,
}

/// What happened could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The store cannot be written. The events wait, and go in with the next that can.
    #[error(transparent)]
    Store(StoreError),
    /// The file of events cannot be written. The store has them, and the file is caught up on when
    /// it can be.
    #[error(transparent)]
    Log(EventLogError),
}

impl LedgerError {
    /// Whether a full disk is the cause.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Store(error) => error.is_disk_full(),
            Self::Log(error) => error.is_disk_full(),
        }
    }

    /// What to type, when that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Log(error) => error.hint(),
        }
    }
}

impl Ledger {
    /// Begins a run in `store`, and the file of its events, if one is wanted: a file that is there
    /// gets first what it lacks of earlier runs, a new one begins with this run.
    ///
    /// # Errors
    /// One of the two cannot be written, or the file holds something else.
    pub fn begin(
        mut store: Store,
        facts: &RunFacts,
        at: Timestamp,
        events: Option<&Utf8Path>,
    ) -> Result<Self, LedgerError> {
        let before = store.history().last_seq().map_err(LedgerError::Store)?;
        // The file is looked at before the run is begun: a wrong name ends nothing but the command.
        let log = events
            .map(|path| EventLog::open(path, store.history(), before))
            .transpose()
            .map_err(LedgerError::Log)?;
        if let Some(ahead) = log
            .as_ref()
            .map(EventLog::last)
            .filter(|last| *last > before)
        {
            store.continue_after(ahead).map_err(LedgerError::Store)?;
        }
        let run = store.begin_run(at, facts).map_err(LedgerError::Store)?;
        let mut ledger = Self {
            store,
            run,
            log,
            waiting: Vec::new(),
            is_given_up: false,
        };
        ledger.catch_up()?;
        if let Some(log) = &ledger.log {
            log.sync().map_err(LedgerError::Log)?;
        }
        Ok(ledger)
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// What the store holds.
    pub fn history(&self) -> &History {
        self.store.history()
    }

    /// Writes what happened, in one transaction: give it all that has come in. It waits for the disk.
    ///
    /// # Errors
    /// Something could not be written. Nothing is lost by that: it is written, in order, by the next
    /// call that succeeds, so a run may go on.
    pub fn record(&mut self, at: Timestamp, events: &[Event]) -> Result<(), LedgerError> {
        let kept = events
            .iter()
            .filter(|event| !matches!(event, Event::Line { .. }));
        if self.waiting.is_empty() && kept.clone().next().is_none() {
            return Ok(());
        }
        if !self.is_given_up {
            self.waiting.extend(kept.map(|event| (at, event.clone())));
        }
        self.write_waiting()?;
        self.catch_up()
    }

    fn write_waiting(&mut self) -> Result<(), LedgerError> {
        while let Some(&(at, _)) = self.waiting.first() {
            let together = self.waiting.iter().take_while(|(when, _)| *when == at);
            let batch: Vec<_> = together.map(|(_, event)| event.clone()).collect();
            if let Err(error) = self.store.record(self.run, at, &batch) {
                if self.waiting.len() > WAITING {
                    self.waiting = Vec::new();
                    self.is_given_up = true;
                }
                return Err(LedgerError::Store(error));
            }
            self.waiting.drain(..batch.len());
        }
        Ok(())
    }

    fn catch_up(&mut self) -> Result<(), LedgerError> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let history = self.store.history();
        log.catch_up(history).map_err(LedgerError::Log)
    }

    /// The newest event.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn last_seq(&self) -> Result<Seq, StoreError> {
        self.store.history().last_seq()
    }
}
