//! What was cleared of a host, what stays, and why.

use serde_json::{Value, json};
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_engine::host::clear::{Act, Cleared, End};
use wheelfarm_engine::host::verdict::Verdict;

use super::{OutputError, data, talk};

/// A line for each thing, and one on the room.
pub(crate) fn human(cleared: &[Cleared], act: Act) -> Result<(), OutputError> {
    for done in cleared {
        if let End::Failed(why) = &done.end {
            talk(&format!(
                "warning: {} {} is still there: {why}",
                done.thing.kind, done.thing.name
            ));
        }
    }
    data(&human_text(cleared, act))
}

fn human_text(cleared: &[Cleared], act: Act) -> String {
    let rows: Vec<_> = cleared.iter().map(row).collect();
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let mut lines: Vec<_> = rows
        .iter()
        .map(|[word, kind, name, size, why]| {
            let [a, b, c, d] = widths;
            format!("{word:a$}  {kind:b$}  {name:c$}  {size:>d$}  {why}")
        })
        .collect();
    lines.push(last_line(cleared, act));
    lines.join("\n")
}

fn row(done: &Cleared) -> [String; 5] {
    let word = match (&done.end, &done.verdict) {
        (End::Failed(_), _) => "failed",
        (End::NotReached, _) => "not reached",
        (_, verdict) => verdict.as_str(),
    };
    let bytes = match done.end {
        End::Shown(bytes) | End::Freed(bytes) => bytes,
        End::Stayed | End::Failed(_) | End::NotReached => done.thing.size_bytes,
    };
    let size = bytes.map_or_else(String::new, |bytes| ByteSize::from_bytes(bytes).to_string());
    [
        word.to_owned(),
        done.thing.kind.to_string(),
        done.thing.name.clone(),
        size,
        done.verdict.why().to_owned(),
    ]
}

fn last_line(cleared: &[Cleared], act: Act) -> String {
    let went = |done: &&Cleared| matches!(done.end, End::Shown(_) | End::Freed(_));
    let count = cleared.iter().filter(went).count();
    let unknown = cleared.iter().filter(went).filter(|done| {
        matches!(done.end, End::Shown(None) | End::Freed(None)) && done.thing.state.is_none()
    });
    let unknown = match unknown.count() {
        0 => String::new(),
        count => format!(" and {count} of a size that is not known"),
    };
    let size = ByteSize::from_bytes(freed_bytes(cleared));
    match (count, act) {
        (0, _) => "nothing to clear".to_owned(),
        (_, Act::Show) => format!("{count} would go, {size}{unknown}; nothing was changed"),
        (_, Act::Do) => format!("{count} went, {size}{unknown}"),
    }
}

fn freed_bytes(cleared: &[Cleared]) -> u64 {
    cleared.iter().map(Cleared::freed_bytes).sum()
}

/// Schema 1.
pub(crate) fn json(cleared: &[Cleared], act: Act) -> Result<(), OutputError> {
    data(&format!("{:#}", json_value(cleared, act)))
}

fn json_value(cleared: &[Cleared], act: Act) -> Value {
    let things: Vec<_> = cleared.iter().map(thing_json).collect();
    json!({
        "schema": 1,
        "dry_run": act == Act::Show,
        "freed_bytes": freed_bytes(cleared),
        "things": things,
    })
}

fn thing_json(done: &Cleared) -> Value {
    let (end, freed_bytes, error) = match &done.end {
        End::Stayed => ("stayed", None, None),
        End::Shown(bytes) => ("shown", *bytes, None),
        End::Freed(bytes) => ("freed", *bytes, None),
        End::Failed(why) => ("failed", None, Some(why)),
        End::NotReached => ("not-reached", None, None),
    };
    let to_bytes = match &done.verdict {
        Verdict::Shrinks { to_bytes, .. } => Some(to_bytes),
        Verdict::Goes(_) | Verdict::Stays(_) => None,
    };
    json!({
        "kind": done.thing.kind.as_str(),
        "name": done.thing.name,
        "job": done.thing.job(),
        "size_bytes": done.thing.size_bytes,
        "verdict": done.verdict.as_str(),
        "to_bytes": to_bytes,
        "why": done.verdict.why(),
        "end": end,
        "freed_bytes": freed_bytes,
        "error": error,
    })
}
