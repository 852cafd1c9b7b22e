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

#[cfg(test)]
mod tests {
    use wheelfarm_core::doctor::Topic;

    use super::*;

    fn check(topic: Topic, subject: Option<&str>, state: State, seen: &str) -> Check {
        Check {
            topic,
            subject: subject.map(str::to_owned),
            state,
            seen: seen.to_owned(),
            hint: (state != State::Pass).then(|| "type this".to_owned()),
        }
    }

    fn checks() -> Vec<Check> {
        vec![
            check(
                Topic::Matrix,
                None,
                State::Pass,
                "`matrix.yaml`: 4 jobs, 4 to build",
            ),
            check(
                Topic::Leftovers,
                None,
                State::NotChecked,
                "the engine does not answer",
            ),
            check(
                Topic::Engine,
                None,
                State::Fail,
                "failed to connect to the Docker engine",
            ),
            check(
                Topic::Disk,
                Some("/var/lib/docker, out"),
                State::Warn,
                "26GiB free",
            ),
        ]
    }

    #[test]
    fn people_read_a_line_for_each_check_and_what_to_type_below_it() {
        insta::assert_snapshot!(human_text(&checks()), @r"
        farm
          pass         matrix: `matrix.yaml`: 4 jobs, 4 to build
          not checked  leftovers: the engine does not answer
                       hint: type this

        engine
          fail         engine: failed to connect to the Docker engine
                       hint: type this

        room
          warn         disk /var/lib/docker, out: 26GiB free
                       hint: type this

        1 pass, 1 warn, 1 fail, 1 not checked: the night would fail
        ");
        assert!(human_text(&checks()[..1]).ends_with("1 pass: the night can begin"));
        let unseen = human_text(&checks()[..2]);
        assert!(unseen.ends_with("1 pass, 1 not checked: nothing known stands in the way"));
    }

    #[test]
    fn programs_read_the_same() {
        let one = &checks()[3..];
        insta::assert_snapshot!(format!("{:#}", json_value(one)), @r#"
        {
          "checks": [
            {
              "check": "disk",
              "group": "room",
              "hint": "type this",
              "seen": "26GiB free",
              "state": "warn",
              "subject": "/var/lib/docker, out"
            }
          ],
          "counts": {
            "fail": 0,
            "not_checked": 0,
            "pass": 0,
            "warn": 1
          },
          "ending": "fit",
          "schema": 1
        }
        "#);
    }
}
