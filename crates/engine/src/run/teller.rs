//! Tells what happens: to whoever watches, and to the store.

use std::collections::BTreeSet;

use jiff::Timestamp;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::estimate::History;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::plan::{OnRecord, WheelPresence};

use super::RunError;
use super::job::JobContext;
use crate::container::Engine;
use crate::event::{Event, Reporter};
use crate::farm_folder::on_record;
use crate::store::{FILE_NAME, Ledger, LedgerError, RunFacts, Store};

/// How many builds of a version are learned from.
const SAMPLES_EACH: u32 = 20;

/// Opens the store of `out/`, closes what a killed run left open in it, and begins a run. What is on record of
/// `unfinished` jobs was there before they were begun.
///
/// # Errors
/// The store, or the file of events, cannot be written.
pub(super) fn open_ledger<E: Engine>(
    cx: &JobContext<E>,
    reporter: &mut dyn Reporter,
    unfinished: &BTreeSet<JobId>,
) -> Result<Ledger, RunError> {
    let (out, facts) = (&cx.out, &cx.facts);
    let events = cx.settings.events.as_deref();
    let now = Timestamp::now();
    let opened = Store::open(&out.root().join(FILE_NAME), now).map_err(RunError::Store)?;
    if let Some(aside) = opened.moved_aside {
        let text = format!(
            "the farm's memory could not be read; it lies in `{aside}` now, and a new one is begun: \
             what earlier builds took is forgotten, wheels on record are not"
        );
        reporter.report(&Event::RunNote { text });
    }
    let mut store = opened.store;
    let records = std::cell::OnceCell::new();
    store
        .recover(now, |job, digest| {
            let records = records.get_or_init(|| on_record(out.root()).unwrap_or_default());
            let is_whole = |record: &OnRecord| {
                record.digest == digest && record.wheel == WheelPresence::Present
            };
            !unfinished.contains(job) && records.get(job).is_some_and(is_whole)
        })
        .map_err(RunError::Store)?;
    let run = RunFacts {
        pid: std::process::id(),
        host: host_name(),
        program: format!("wheelfarm {}", env!("CARGO_PKG_VERSION")),
        engine: format!("{} {}", facts.name, facts.version),
    };
    Ledger::begin(store, &run, now, events).map_err(RunError::Ledger)
}

fn host_name() -> String {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Whoever watches, and the store.
pub(super) struct Teller<'a> {
    reporter: &'a mut dyn Reporter,
    ledger: Ledger,
    /// What is not in the store yet.
    pending: Vec<Event>,
    has_complained: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(reporter: &'a mut dyn Reporter, ledger: Ledger) -> Self {
        Self {
            reporter,
            ledger,
            pending: Vec::new(),
            has_complained: false,
        }
    }

    /// What earlier builds took. Without it, the next ones are guessed as the first ones were.
    pub(super) fn history(&mut self) -> History {
        let stored = self.ledger.history();
        let samples = stored.samples(SAMPLES_EACH);
        let stages = stored.stage_times(SAMPLES_EACH);
        match (samples, stages) {
            (Ok(samples), Ok(stages)) => History::new(samples).with_stages(stages),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "what earlier builds took cannot be read");
                History::default()
            }
        }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.reporter.report(event);
        if !matches!(event, Event::Line { .. }) {
            self.pending.push(event.clone());
        }
    }

    /// Puts into the store what was told. A store that cannot be written costs history and no wheel, so
    /// the run goes on, but not on a full disk: why no further job should be begun.
    pub(super) fn write_down(&mut self) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let events = std::mem::take(&mut self.pending);
        let error = match self.ledger.record(Timestamp::now(), &events) {
            Ok(()) => {
                self.has_complained = false;
                return None;
            }
            Err(error) => error,
        };
        if !self.has_complained {
            self.has_complained = true;
            let text = format!("{}; the run goes on without", chain(&error));
            self.reporter.report(&Event::RunNote { text });
        }
        // A file of events on another disk says nothing of the farm's own.
        let LedgerError::Store(error) = error else {
            return None;
        };
        error.is_disk_full().then(|| chain(&error))
    }
}
