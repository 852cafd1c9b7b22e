//! Why a job is built, beyond its need: what changed since the wheel on record, how the last run failed.

use serde_json::{Value, json};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::outcome::FailureRecord;
use wheelfarm_core::plan::Job;
use wheelfarm_core::plan::changes::{Change, SinceRecord, Why};

/// How many changes of one job people are shown.
const SHOWN: usize = 8;

/// How many characters of a value they are shown.
const WIDTH: usize = 60;

/// The lines below a job's own.
pub(super) fn lines(job: &Job, why: &Why) -> Vec<String> {
    let mut lines = Vec::new();
    match &why.changes {
        SinceRecord::Nothing => {}
        SinceRecord::NotOnRecord => {
            lines.push("changed  what its inputs were is not on record".to_owned());
        }
        SinceRecord::Changes(changes) => {
            let shown = changes.iter().take(SHOWN);
            lines.extend(shown.map(|change| format!("changed  {}", line(change))));
            if changes.len() > SHOWN {
                let more = changes.len() - SHOWN;
                lines.push(format!("changed  and {more} more: --format json has all"));
            }
        }
    }
    lines.extend(
        why.last_failure
            .as_ref()
            .map(|failure| failed(job, failure)),
    );
    lines
}

fn failed(job: &Job, failure: &FailureRecord) -> String {
    let with = if failure.job_digest == job.digest() {
        "with the same inputs"
    } else {
        "with other inputs"
    };
    let exit_code = failure.exit_code.map(|code| format!(" {code}"));
    let exit_code = exit_code.unwrap_or_default();
    let (stage, kind) = (failure.stage, &failure.kind);
    format!("failed   last time, {with}, in {stage}: {kind}{exit_code}")
}

fn line(change: &Change) -> String {
    let field = &change.field;
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let (before, after) = cut_pair(before, after);
            format!("{field}: {before} -> {after}")
        }
        (Some(gone), None) => format!("{field}: - {}", cut(gone, 0)),
        (None, Some(new)) => format!("{field}: + {}", cut(new, 0)),
        (None, None) => field.clone(),
    }
}

/// Two values of one field, cut so that where they differ can be seen.
fn cut_pair(before: &str, after: &str) -> (String, String) {
    let same = before.chars().zip(after.chars());
    let same = same.take_while(|(one, other)| one == other).count();
    let longest = before.chars().count().max(after.chars().count());
    let skipped = if longest <= WIDTH {
        0
    } else {
        same.saturating_sub(WIDTH / 3)
    };
    (cut(before, skipped), cut(after, skipped))
}

/// `value` from its character `skipped` on, no longer than [`WIDTH`]; of a digest the start.
fn cut(value: &str, skipped: usize) -> String {
    if let Ok(digest) = value.parse::<Sha256Digest>() {
        return digest.short();
    }
    let mut text: String = value.chars().skip(skipped).take(WIDTH).collect();
    if skipped > 0 {
        text.insert_str(0, "...");
    }
    if value.chars().count() > skipped + WIDTH {
        text.push_str("...");
    }
    text
}

/// What changed, in full; null when something did and what it was is not on record.
pub(super) fn json(changes: &SinceRecord) -> Value {
    match changes {
        SinceRecord::Nothing => json!([]),
        SinceRecord::NotOnRecord => Value::Null,
        SinceRecord::Changes(changes) => changes
            .iter()
            .map(|change| {
                json!({
                    "field": change.field,
                    "before": change.before,
                    "after": change.after,
                })
            })
            .collect(),
    }
}

/// How the last run failed.
pub(super) fn failure_json(job: &Job, failure: &FailureRecord) -> Value {
    json!({
        "stage": failure.stage,
        "kind": failure.kind,
        "exit_code": failure.exit_code,
        "detail": failure.detail,
        "hint": failure.hint,
        "same_inputs": failure.job_digest == job.digest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: Option<&str>, after: Option<&str>, want: &str) {
        let change = Change {
            field: "field".to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(line(&change), want);
    }

    #[test]
    fn short_values_are_shown_whole() {
        check(Some("2.11.0"), Some("2.11.1"), "field: 2.11.0 -> 2.11.1");
        check(None, Some("12.0+PTX"), "field: + 12.0+PTX");
        check(Some("8.0"), None, "field: - 8.0");
    }

    #[test]
    fn of_digests_the_start_is_shown() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        check(
            Some(&one),
            Some(&two),
            "field: 111111111111 -> 222222222222",
        );
    }

    #[test]
    fn long_values_are_cut_where_they_differ() {
        let start = "python -m pip wheel --no-build-isolation --no-deps --verbose ".repeat(2);
        check(
            Some(&format!("{start}one")),
            Some(&format!("{start}two")),
            "field: ...--no-deps --verbose one -> ...--no-deps --verbose two",
        );
        let long = "x".repeat(100);
        let want = format!("field: + {}...", "x".repeat(60));
        check(None, Some(&long), &want);
    }
}
