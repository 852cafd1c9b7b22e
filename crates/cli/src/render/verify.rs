//! What the gate says of wheels.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use wheelfarm_core::gate::judge::Judgement;
use wheelfarm_core::gate::report;
use wheelfarm_engine::container::EngineError;

use super::{OutputError, data};

/// Says why symbols cannot be looked up: the rest can be verified.
pub(crate) fn no_engine(error: &EngineError) {
    super::talk(&format!(
        "warning: symbols are not looked up: {error}; name the libraries with --libraries"
    ));
}

/// The verdict on one wheel, and every finding.
pub(crate) fn human(wheel: &Utf8Path, judgement: &Judgement) -> Result<(), OutputError> {
    let mut lines = vec![format!("{wheel}: {}", report::verdict_line(judgement))];
    let findings = judgement.findings.iter();
    lines.extend(findings.map(|finding| format!("  {}", report::finding_line(finding))));
    data(&lines.join("\n"))
}

/// Schema 1.
pub(crate) fn json(verified: &[(Utf8PathBuf, Judgement)]) -> Result<(), OutputError> {
    let wheels: Vec<Value> = verified
        .iter()
        .map(|(wheel, judgement)| {
            json!({
                "wheel": wheel,
                "verdict": judgement.verdict,
                "findings": judgement.findings,
            })
        })
        .collect();
    let value = json!({ "schema": report::SCHEMA, "wheels": wheels });
    data(&format!("{value:#}"))
}
