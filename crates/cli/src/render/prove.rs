//! What running a wheel on this machine came to.

use camino::Utf8PathBuf;
use serde_json::json;
use wheelfarm_core::receipt::{MachineReceipt, Run, RunState};
use wheelfarm_engine::prove::machine::MachineSubject;
use wheelfarm_engine::prove::receipt::Kept;

use super::publish::check_text;
use super::{OutputError, data, talk};

/// A receipt, where it lies, and what became of it.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Its file.
    pub(crate) file: Utf8PathBuf,
    /// What it says.
    pub(crate) receipt: MachineReceipt,
    /// Whether it is on record; `None` when that was not asked for.
    pub(crate) kept: Option<Kept>,
}

/// Says what is about to happen.
pub(crate) fn warning(subject: &MachineSubject) {
    talk(&format!(
        "warning: the code of `{}` and the test of package `{}` run on this machine now, as you, \
         without a container",
        subject.name, subject.package
    ));
}

/// The receipt in lines.
pub(crate) fn human(shown: &Shown) -> Result<(), OutputError> {
    data(&text(&shown.receipt))?;
    data(&format!("receipt: {}", shown.file))?;
    if let Some(kept) = &shown.kept {
        for job in &kept.recorded {
            data(&format!("on record: {job}"))?;
        }
        for (job, why) in &kept.stays {
            let kind = if why.is_refusal() { "warning" } else { "note" };
            talk(&format!("{kind}: the receipt of `{job}` stays: {why}"));
        }
        if *kept == Kept::default() {
            talk("note: no wheel on record has this digest, so the receipt is kept nowhere else");
        }
    }
    Ok(())
}

fn text(receipt: &MachineReceipt) -> String {
    let verdict = match receipt.state {
        RunState::Passed => "passed",
        RunState::Failed => "FAILED",
        RunState::NotRun => "not run",
    };
    let gpu = receipt.device.as_ref().map_or_else(
        || "no GPU".to_owned(),
        |device| {
            let driver = device.driver.as_deref().unwrap_or("not told");
            format!("{} ({}), driver {driver}", device.name, device.capability)
        },
    );
    let mut lines = vec![
        format!("{verdict} {}", receipt.wheel.file_name),
        format!(
            "  {gpu}, torch {}, {}",
            receipt.torch.version, receipt.python
        ),
    ];
    for run in &receipt.runs {
        if run.mode.is_from_ptx() {
            lines.push(ptx_text(run));
        }
        lines.extend(run.checks.iter().map(check_text));
    }
    lines.join("\n")
}

fn ptx_text(run: &Run) -> String {
    let state = run.state.as_str();
    match &run.reason {
        Some(reason) => format!("  from PTX alone: {state}: {reason}"),
        None => format!("  from PTX alone: {state}"),
    }
}

/// Schema 1.
pub(crate) fn json(all: &[Shown]) -> Result<(), OutputError> {
    let proofs = all.iter().map(|shown| {
        let kept = shown.kept.clone().unwrap_or_default();
        let stays = kept.stays.iter();
        let stays: Vec<_> = stays
            .map(|(job, why)| json!({ "job": job, "reason": why.to_string() }))
            .collect();
        json!({
            "file": shown.file, "on_record": kept.recorded, "receipt": shown.receipt, "stays": stays,
        })
    });
    let proofs: Vec<_> = proofs.collect();
    data(&format!("{:#}", json!({ "schema": 1, "proofs": proofs })))
}
