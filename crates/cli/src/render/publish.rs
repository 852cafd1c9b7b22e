//! What was published, what was proven of it, and the lines to use it.
#![expect(
    clippy::print_stderr,
    reason = "this module shows progress on standard error"
)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8Path;
use serde_json::{Value, json};
use wheelfarm_core::receipt::{Check, CheckResult};
use wheelfarm_core::release::catalog::CatalogWheel;
use wheelfarm_core::release::channel::Channel;
use wheelfarm_core::release::install::{direct_requirement, torch_requirement};
use wheelfarm_core::release::links::Links;
use wheelfarm_core::release::variants::NoVariant;
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_engine::install_table::TableReport;
use wheelfarm_engine::prove::container::Receipt;
use wheelfarm_engine::publish::draft::{Draft, Published};
use wheelfarm_engine::shelf::Progress;
use wheelfarm_engine::shelf::hub::HubNotice;

use super::inspect::size;
use super::{OutputError, data, install_table};
use crate::args::Format;
use crate::exit_code::ExitCode;

/// What proofs came to, by channel.
pub(crate) type Proofs = Vec<(Channel, Vec<Receipt>)>;

/// What a release was tried by.
pub(crate) struct Tried {
    /// By its wheels' own tests, in containers.
    pub(crate) proofs: Proofs,
    /// By pip and uv before it went out.
    pub(crate) table: Option<TableReport>,
    /// By the same where it stands, and how many wheels were yanked for it.
    pub(crate) after: Option<(TableReport, usize)>,
}

impl Tried {
    /// By proofs, and by nothing else yet.
    pub(crate) fn by(proofs: Proofs) -> Self {
        Self {
            proofs,
            table: None,
            after: None,
        }
    }
}

/// Why the Hub is waited for.
pub(crate) fn notice(notice: &HubNotice) {
    if let HubNotice::Waiting {
        doing,
        reason,
        attempt,
        wait,
    } = notice
    {
        let seconds = wait.as_secs_f32().ceil();
        eprintln!("  {doing}: {reason}; attempt {attempt} in {seconds} s");
    }
}

/// Wheels that are no wheel variant, with the reason.
pub(crate) fn no_variants(without: &[(WheelName, NoVariant)]) {
    for (name, reason) in without {
        eprintln!("  no variant of {name}: {reason}");
    }
}

/// A line of a proof's output.
pub(crate) fn proof_line(line: &str) {
    eprintln!("  | {line}");
}

/// Says on standard error how much has been brought, at every tenth of it.
pub(crate) struct Bringing {
    format: Format,
    tenths: AtomicU64,
}

impl Bringing {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            tenths: AtomicU64::new(0),
        }
    }
}

impl Progress for Bringing {
    fn on_progress(&self, done_bytes: u64, all_bytes: u64, sent_bytes: u64) {
        let tenths = done_bytes.saturating_mul(10) / all_bytes.max(1);
        if self.tenths.fetch_max(tenths, Ordering::Relaxed) < tenths && self.format == Format::Human
        {
            let [done, all, sent] = [done_bytes, all_bytes, sent_bytes].map(size);
            eprintln!("  brought {done} of {all}, {sent} of them now");
        }
    }
}

/// What was published, what proofs found, and the lines that install the wheels.
pub(crate) fn published(
    draft: &Draft,
    to: &str,
    published: &Published,
    tried: &Tried,
) -> Result<(), OutputError> {
    for ready in draft.wheels() {
        data(&format!(
            "published {}/{}",
            ready.wheel.channel, ready.wheel.file_name
        ))?;
    }
    let brought = &published.brought;
    if published.written == 0 {
        data(&format!(
            "release {} of {to} has all of it: nothing to do",
            published.release
        ))?;
    } else {
        data(&format!(
            "release {} of {to}, on the {} track: {} brought, {} files written, {} deleted",
            published.release,
            draft.track(),
            size(brought.offered_bytes),
            published.written,
            published.deleted
        ))?;
    }
    tried_texts(tried)?;
    data(
        "\nto use them (torch stands there so that pip does not change yours; write its version):",
    )?;
    let links = typed_links(draft, to);
    for ready in draft.wheels() {
        let name = &ready.wheel.file_name;
        let wheel = published.catalog.wheels.get(name).unwrap_or(&ready.wheel);
        let torch = torch_requirement(&ready.wheel.channel);
        let requirement = direct_requirement(wheel, &links);
        data(&format!("  pip install \"{torch}\" \"{requirement}\""))?;
    }
    Ok(())
}

/// Where pages are relative, a line that is typed here names the folder on this disk.
fn typed_links(draft: &Draft, to: &str) -> Links {
    match draft.links() {
        Links::Relative => Links::on_disk(Utf8Path::new(to)).unwrap_or(Links::Relative),
        links @ (Links::Absolute { .. } | Links::Hub { .. }) => links.clone(),
    }
}

/// What would be done, of a dry run or of a publication that a proof has stopped.
pub(crate) fn plan(
    draft: &Draft,
    to: &str,
    missing: &BTreeSet<String>,
    tried: &Tried,
    refusal: Option<ExitCode>,
) -> Result<(), OutputError> {
    tried_texts(tried)?;
    if refusal.is_some() {
        return data("nothing was published: see above");
    }
    if draft.is_there() {
        return data(&format!("{to} has all of it: nothing to do"));
    }
    data(&format!(
        "release {} of {to}, on the {} track, would",
        draft.release(),
        draft.track()
    ))?;
    for blob in draft.blobs() {
        let is_missing = missing.contains(&blob.path);
        let what = if is_missing { "bring" } else { "keep" };
        data(&format!(
            "  {what:6} {}  ({})",
            blob.path,
            size(blob.size_bytes)
        ))?;
    }
    let change = draft.change();
    for path in change.put.keys() {
        data(&format!("  write  {path}"))?;
    }
    for path in &change.delete {
        data(&format!("  delete {path}"))?;
    }
    data("nothing was changed: it is a dry run")
}

fn tried_texts(tried: &Tried) -> Result<(), OutputError> {
    prove_texts(&tried.proofs)?;
    install_table::human(tried.table.as_ref(), "install table")?;
    if let Some((after, yanked)) = &tried.after {
        install_table::human(Some(after), "install table at its place")?;
        if *yanked > 0 {
            let wheels = if *yanked == 1 { "wheel" } else { "wheels" };
            data(&format!(
                "yanked {yanked} {wheels}; `wheelfarm yank --undo` takes the marks away"
            ))?;
        }
    }
    Ok(())
}

fn prove_texts(proofs: &Proofs) -> Result<(), OutputError> {
    for (channel, receipts) in proofs {
        for proof in receipts {
            data(&proof_text(channel, proof))?;
        }
    }
    if proofs.is_empty() {
        data("not proven: no wheel was installed or run; see --prove")?;
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

fn wheels_json(draft: &Draft) -> Vec<Value> {
    let told = |wheel: &CatalogWheel| {
        json!({
            "channel": wheel.channel,
            "file_name": wheel.file_name,
            "job": wheel.job,
            "path": wheel.path(),
            "requires_python": wheel.requires_python,
            "sha256": wheel.sha256,
            "size_bytes": wheel.size_bytes,
        })
    };
    let wheels = draft.wheels().iter().map(|ready| &ready.wheel);
    wheels.map(told).collect()
}

fn proofs_json(proofs: &Proofs) -> Vec<Value> {
    let proofs = proofs.iter();
    proofs
        .map(|(channel, receipts)| json!({ "channel": channel, "receipts": receipts }))
        .collect()
}

/// Schema 2: a place is no longer a folder alone, and its wheels lie by content.
pub(crate) fn json(
    draft: &Draft,
    to: &str,
    published: &Published,
    tried: &Tried,
) -> Result<(), OutputError> {
    let brought = &published.brought;
    let text = json!({
        "schema": 2,
        "to": to,
        "track": draft.track(),
        "release": published.release,
        "head": published.head.0,
        "published": true,
        "wheels": wheels_json(draft),
        "unchanged": brought.unchanged,
        "offered_bytes": brought.offered_bytes,
        "sent_bytes": brought.sent_bytes,
        "written": published.written,
        "deleted": published.deleted,
        "install_table": install_table::json(tried.table.as_ref()),
        "install_table_after": install_table::json(tried.after.as_ref().map(|(after, _)| after)),
        "yanked": tried.after.as_ref().map_or(0, |(_, yanked)| *yanked),
        "proofs": proofs_json(&tried.proofs),
    });
    data(&format!("{text:#}"))
}

/// The same of what would be done.
pub(crate) fn plan_json(
    draft: &Draft,
    to: &str,
    missing: &BTreeSet<String>,
    tried: &Tried,
) -> Result<(), OutputError> {
    let change = draft.change();
    let is_there = draft.is_there();
    let written: Vec<_> = change.put.keys().filter(|_| !is_there).collect();
    let text = json!({
        "schema": 2,
        "to": to,
        "track": draft.track(),
        "release": draft.release(),
        "published": false,
        "wheels": wheels_json(draft),
        "bring": missing,
        "write": written,
        "delete": change.delete,
        "install_table": install_table::json(tried.table.as_ref()),
        "install_table_after": install_table::json(tried.after.as_ref().map(|(after, _)| after)),
        "yanked": tried.after.as_ref().map_or(0, |(_, yanked)| *yanked),
        "proofs": proofs_json(&tried.proofs),
    });
    data(&format!("{text:#}"))
}
