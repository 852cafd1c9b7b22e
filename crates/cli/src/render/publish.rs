//! What was published, what was proven of it, and the lines to use it.
#![expect(
    clippy::print_stderr,
    reason = "this module shows a proof's progress on standard error"
)]

use serde_json::json;
use wheelfarm_core::receipt::{Check, CheckResult};
use wheelfarm_core::release::channel::Channel;
use wheelfarm_core::release::old::install::{InstallTarget, install_lines};
use wheelfarm_engine::prove::container::Receipt;
use wheelfarm_engine::publish::FolderReceipt;

use super::{OutputError, data};

/// A line of a proof's output.
pub(crate) fn proof_line(line: &str) {
    eprintln!("  | {line}");
}

/// The wheels of a publication.
pub(crate) fn folder(receipt: &FolderReceipt) -> Result<(), OutputError> {
    for wheel in &receipt.wheels {
        data(&format!("published {}/{}", wheel.channel, wheel.file_name))?;
    }
    data(&format!(
        "{} wheels in {}, {} of them there before",
        receipt.wheels.len(),
        receipt.folder,
        receipt.unchanged
    ))
}

/// What proofs found, and the lines that install the wheels.
pub(crate) fn install(
    receipt: &FolderReceipt,
    proofs: &[(Channel, Vec<Receipt>)],
) -> Result<(), OutputError> {
    for (channel, receipts) in proofs {
        for proof in receipts {
            data(&proof_text(channel, proof))?;
        }
    }
    if proofs.is_empty() {
        data("not proven: no wheel was installed or run; see --prove")?;
    }
    data("\nto use them, with torch installed:")?;
    let base_url = format!("file://{}", receipt.folder);
    for wheel in &receipt.wheels {
        let target = InstallTarget {
            base_url: &base_url,
            channel: &wheel.channel,
            name: &wheel.file_name,
            sha256: wheel.sha256,
        };
        let requirement = install_lines(&target).requirement;
        data(&format!("  pip install \"{requirement}\""))?;
    }
    Ok(())
}

fn proof_text(channel: &Channel, proof: &Receipt) -> String {
    let verdict = if proof.holds() { "proven" } else { "FAILED" };
    let mut lines = vec![format!("{verdict} {channel}/{}", proof.wheel)];
    lines.extend(proof.checks.iter().map(check_text));
    lines.join("\n")
}

pub(super) fn check_text(check: &Check) -> String {
    let result = match check.result {
        CheckResult::Pass => "pass",
        CheckResult::Fail => "FAIL",
        CheckResult::NotChecked => "not checked",
    };
    format!("  {result:11}  {}: {}", check.name, check.detail)
}

/// Schema 1.
pub(crate) fn json(
    receipt: &FolderReceipt,
    proofs: &[(Channel, Vec<Receipt>)],
) -> Result<(), OutputError> {
    let proofs: Vec<_> = proofs
        .iter()
        .map(|(channel, receipts)| json!({ "channel": channel, "receipts": receipts }))
        .collect();
    let text = json!({
        "schema": 1,
        "folder": receipt.folder,
        "wheels": receipt.wheels,
        "unchanged": receipt.unchanged,
        "proofs": proofs,
    });
    data(&format!("{text:#}"))
}
