//! What a look at the host found: for people in columns, for programs as JSON.

use serde_json::{Value, json};
use wheelfarm_core::doctor::{Check, Ending, State, ending};

use super::{OutputError, data};

/// A line for each check, with what to type below it, and one on the whole.
pub(crate) fn human(checks: &[Check]) -> Result<(), OutputError> {
    data(&human_text(checks))
}

fn human_text(checks: &[Check]) -> String {
    let width = State::ALL.map(|state| state.as_str().len());
    let width = width.into_iter().max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut group = None;
    for check in checks {
        if group != Some(check.topic.group()) {
            group = Some(check.topic.group());
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(check.topic.group().as_str().to_owned());
        }
        lines.push(format!(
            "  {:width$}  {}: {}",
            check.state,
            name(check),
            check.seen
        ));
        if let Some(hint) = &check.hint {
            lines.push(format!("  {:width$}  hint: {hint}", ""));
        }
    }
    lines.push(String::new());
    lines.push(last_line(checks));
    lines.join("\n")
}

fn name(check: &Check) -> String {
    let topic = check.topic.as_str();
    match &check.subject {
        Some(subject) => format!("{topic} {subject}"),
        None => topic.to_owned(),
    }
}

fn last_line(checks: &[Check]) -> String {
    let counts = State::ALL.map(|state| (count(checks, state), state.as_str()));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let word = match ending(checks) {
        Ending::Fit => "the night can begin",
        Ending::NotChecked => "nothing known stands in the way",
        Ending::Unfit => "the night would fail",
    };
    format!("{}: {word}", counts.join(", "))
}

fn count(checks: &[Check], state: State) -> usize {
    checks.iter().filter(|check| check.state == state).count()
}

/// Schema 1.
pub(crate) fn json(checks: &[Check]) -> Result<(), OutputError> {
    data(&format!("{:#}", json_value(checks)))
}

fn json_value(checks: &[Check]) -> Value {
    let rows: Vec<_> = checks.iter().map(check_json).collect();
    json!({
        "schema": 1,
        "ending": ending(checks),
        "counts": {
            "pass": count(checks, State::Pass),
            "warn": count(checks, State::Warn),
            "fail": count(checks, State::Fail),
            "not_checked": count(checks, State::NotChecked),
        },
        "checks": rows,
    })
}

fn check_json(check: &Check) -> Value {
    json!({
        "check": check.topic.as_str(),
        "group": check.topic.group(),
        "subject": check.subject,
        "state": check.state,
        "seen": check.seen,
        "hint": check.hint,
    })
}
