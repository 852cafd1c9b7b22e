//! What became of a shelf: which wheels changed, and how far it went.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_core::release::life::sweep::Keep;
use wheelfarm_engine::shelf::revise::{Cleared, End, Revised};

use super::{OutputError, data, talk};

/// A line for each wheel, and one on what was done.
pub(crate) fn human(revised: &Revised) -> Result<(), OutputError> {
    data(&human_text(revised))
}

fn human_text(revised: &Revised) -> String {
    let effects = revised.revision.effects.iter();
    let mut lines: Vec<_> = effects
        .map(|(wheel, effect)| format!("{effect}  {wheel}"))
        .collect();
    lines.push(last_line(revised));
    lines.join("\n")
}

fn last_line(revised: &Revised) -> String {
    let Revised { place, before, .. } = revised;
    let release = revised.revision.catalog.release;
    let title = &revised.revision.title;
    match &revised.end {
        End::Nothing => format!("nothing to do: release {before} of {place} has it so"),
        End::Shown => format!(
            "would be release {release} of {place}: {title} ({} files written, {} deleted); \
             nothing was changed",
            revised.written, revised.deleted
        ),
        End::Made(_) => format!(
            "release {release} of {place}: {title} ({} files written, {} deleted)",
            revised.written, revised.deleted
        ),
    }
}

/// Schema 1.
pub(crate) fn json(revised: &Revised) -> Result<(), OutputError> {
    data(&format!("{:#}", json_value(revised)))
}

fn json_value(revised: &Revised) -> Value {
    let effects = revised.revision.effects.iter();
    let effects: Vec<_> = effects
        .map(|(wheel, effect)| json!({ "wheel": wheel, "effect": effect.as_str() }))
        .collect();
    json!({
        "schema": 1,
        "shelf": revised.place,
        "before": revised.before,
        "release": revised.revision.catalog.release,
        "title": revised.revision.title,
        "end": revised.end.as_str(),
        "effects": effects,
        "written": revised.written,
        "deleted": revised.deleted,
    })
}

/// What was cleared out, what was kept and why, and how much that was.
pub(crate) fn cleared_human(cleared: &Cleared) -> Result<(), OutputError> {
    for (file, count) in &cleared.held_by {
        if *count == 0 {
            talk(&format!(
                "warning: `{file}` points to no wheel of this shelf"
            ));
        }
    }
    data(&cleared_text(cleared))
}

fn cleared_text(cleared: &Cleared) -> String {
    let revised = &cleared.revised;
    let effects = revised.revision.effects.iter();
    let mut lines: Vec<_> = effects
        .map(|(wheel, effect)| format!("{effect}  {wheel}"))
        .collect();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for keep in cleared.sweep.kept.values() {
        *reasons.entry(keep.to_string()).or_default() += 1;
    }
    lines.extend(
        reasons
            .iter()
            .map(|(reason, count)| format!("kept {count}: {reason}")),
    );
    let size = ByteSize::from_bytes(cleared.sweep.freed_bytes());
    lines.push(format!("{} files go, {size}", cleared.sweep.files.len()));
    lines.push(last_line(revised));
    lines.join("\n")
}

/// Schema 1.
pub(crate) fn cleared_json(cleared: &Cleared) -> Result<(), OutputError> {
    let kept: BTreeMap<String, Value> = cleared
        .sweep
        .kept
        .iter()
        .map(|(wheel, keep)| (wheel.to_string(), keep_json(keep)))
        .collect();
    let files = cleared.sweep.files.iter();
    let files: Vec<_> = files
        .map(|file| json!({ "path": file.path, "size_bytes": file.size_bytes }))
        .collect();
    let lock_files: Vec<_> = cleared
        .held_by
        .iter()
        .map(|(file, wheels)| json!({ "file": file, "wheels": wheels }))
        .collect();
    let mut value = json_value(&cleared.revised);
    value["files"] = files.into();
    value["freed_bytes"] = cleared.sweep.freed_bytes().into();
    value["kept"] = json!(kept);
    value["lock_files"] = lock_files.into();
    data(&format!("{value:#}"))
}

fn keep_json(keep: &Keep) -> Value {
    match keep {
        Keep::NewestOfStable => json!({ "why": "newest-of-stable" }),
        Keep::Held(reason) => json!({ "why": "held", "reason": reason }),
        Keep::LockFile(file) => json!({ "why": "lock-file", "file": file }),
        Keep::Last(track) => json!({ "why": "last", "track": track.as_str() }),
        Keep::Days => json!({ "why": "days" }),
        Keep::Release(number) => json!({ "why": "release", "release": number }),
    }
}
