//! What came of the install table.
#![expect(
    clippy::print_stderr,
    reason = "this module shows progress on standard error"
)]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wheelfarm_engine::install_table::{RowReport, TableReport, installers};

use super::{OutputError, data};
use crate::args::Format;

/// How many rows are told one by one.
const SHOWN: usize = 20;

/// Says on standard error how many rows have run, at every tenth of them.
pub(crate) struct Rows {
    format: Format,
    done: AtomicUsize,
}

impl Rows {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            done: AtomicUsize::new(0),
        }
    }

    /// Hears a row of `count`.
    pub(crate) fn hear(&self, row: &RowReport, count: usize) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.format != Format::Human {
            return;
        }
        if row.result() != "pass" {
            eprintln!("  {}: {}", row.result(), row.sentence());
        } else if done * 10 / count > (done - 1) * 10 / count {
            eprintln!("  {done} of {count} rows of the install table");
        }
    }
}

/// The table for people: a line when it holds, and every row that does not.
pub(crate) fn human(report: Option<&TableReport>, place: &str) -> Result<(), OutputError> {
    let Some(report) = report else {
        return data("not checked: what pip and uv make of it (--without-install-table)");
    };
    let (wrong, open) = (report.wrong().count(), report.not_checked().count());
    let right = report.rows.len() - wrong - open;
    let rest = [
        (wrong, "wrong"),
        (open, "not checked"),
        (report.left_out, "left out"),
    ];
    let rest = rest.into_iter().filter(|(count, _)| *count > 0);
    let rest: Vec<_> = rest
        .map(|(count, what)| [", ", &count.to_string(), " ", what].concat())
        .collect();
    data(&format!(
        "{place}: {right} of {} rows are right{} ({})",
        report.rows.len(),
        rest.concat(),
        installers()
    ))?;
    for row in report.wrong().chain(report.not_checked()).take(SHOWN) {
        data(&format!("  {:11}  {}", row.result(), row.sentence()))?;
        data(&format!("               {}", row.line))?;
        if !row.said.is_empty() {
            data(&format!("               it says: {}", row.said))?;
        }
    }
    let more = (wrong + open).saturating_sub(SHOWN);
    if more > 0 {
        data(&format!("  and {more} more; see --format json"))?;
    }
    Ok(())
}

/// The table for programs.
pub(crate) fn json(report: Option<&TableReport>) -> Value {
    report.map_or_else(|| json!(null), TableReport::to_json)
}
