//! Why a log ends in a failure.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::{Value, json};
use wheelfarm_core::diagnose::{Diagnosis, Kind, Place, Rule};
use wheelfarm_core::ident::JobId;
use wheelfarm_engine::diagnose::Log;

use super::explain::laid_out;
use super::{OutputError, data, of_strangers};

/// Wide enough for most lines of the texts.
const WIDTH: usize = 96;

/// At most so many of the things that follow from the cause are named.
const OTHERS: usize = 5;

/// What rules know of the jobs of a run that failed.
pub(crate) type JobDiagnoses = BTreeMap<JobId, Diagnosis>;

/// A log that no rule fits.
#[derive(Debug)]
pub(crate) struct Unknown<'a> {
    /// Where the prompt is.
    pub(crate) prompt: &'a Utf8Path,
    /// What an assistant says to it.
    pub(crate) answer: Option<Answer>,
}

/// What an assistant says.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its name.
    pub(crate) assistant: &'static str,
    /// Its words, safe for a terminal.
    pub(crate) text: String,
}

/// The rule that explains the failure, then what else fits.
pub(crate) fn human(log: &Log) -> Result<(), OutputError> {
    data(&of_strangers(human_text(log)))
}

fn human_text(log: &Log) -> String {
    let found = &log.diagnoses.found;
    let mut lines = subject_lines(log);
    if let Some(best) = log.diagnoses.best() {
        lines.extend(diagnosis_lines(best));
    }
    let others: Vec<_> = found
        .iter()
        .skip(1)
        .filter(|it| it.kind != Kind::End)
        .collect();
    if !others.is_empty() {
        lines.push(String::new());
        lines.push("Also in the log".to_owned());
        let shown = others.iter().take(OTHERS);
        lines.extend(shown.map(|it| format!("  line {}: {} ({})", it.line, it.title, it.rule)));
        if let Some(more) = others.len().checked_sub(OTHERS + 1) {
            lines.push(format!("  and {} more; `--format json` has all", more + 1));
        }
    }
    lines.join("\n")
}

/// What failed, as far as it is known.
fn subject_lines(log: &Log) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(record) = &log.subject.record {
        lines.push(format!(
            "{} failed at {} ({})",
            record.job, record.stage, record.kind
        ));
    }
    let facts = log.diagnoses.facts.iter();
    let facts: Vec<_> = facts
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if !facts.is_empty() {
        lines.push(format!("the log tells of {}", facts.join(", ")));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn diagnosis_lines(it: &Diagnosis) -> Vec<String> {
    let mut lines = vec![format!("{} ({})", it.title, it.rule)];
    let times = match it.count {
        0 | 1 => String::new(),
        count => format!(", and {} more such lines", count - 1),
    };
    lines.push(format!("  line {}{times}: {}", it.line, it.excerpt));
    for (heading, text) in [("Why", &it.meaning), ("What to do", &it.fix)] {
        lines.push(String::new());
        lines.push(heading.to_owned());
        for line in laid_out(text, WIDTH - 2) {
            lines.push(format!("  {line}").trim_end().to_owned());
        }
    }
    lines.push(String::new());
    lines.push("Source".to_owned());
    lines.extend(it.sources.iter().map(|source| format!("  - {source}")));
    lines
}

/// That no rule fits, where the prompt is, and what an assistant says.
pub(crate) fn unknown(log: &Log, unknown: &Unknown<'_>) -> Result<(), OutputError> {
    data(&of_strangers(unknown_text(log, unknown)))
}

fn unknown_text(log: &Log, unknown: &Unknown<'_>) -> String {
    let mut lines = subject_lines(log);
    lines.push("no rule knows this failure".to_owned());
    for end in &log.diagnoses.found {
        lines.push(format!("  line {}: {}", end.line, end.excerpt));
    }
    let first = log.diagnoses.extract.errors().first();
    if let Some(passage) = first {
        let error = passage.lines.iter();
        let mut error = error.filter(|(_, line)| wheelfarm_core::diagnose::is_error_like(line));
        if let Some((number, line)) = error.next() {
            lines.push(format!(
                "the first line that names an error is {number}: {}",
                line.trim()
            ));
        }
    }
    lines.push(format!(
        "prompt: {} has all that is known, for a person or an assistant",
        unknown.prompt
    ));
    match &unknown.answer {
        None => lines.push("hint: `--assistant` hands it to `claude` or `gemini`".to_owned()),
        Some(answer) => {
            lines.push(String::new());
            lines.push(format!(
                "`{}` says (a program's guess; nothing of it was run):",
                answer.assistant
            ));
            lines.extend(answer.text.lines().map(|line| format!("  | {line}")));
        }
    }
    lines.join("\n")
}

/// Schema 1.
pub(crate) fn json(log: &Log, unknown: Option<&Unknown<'_>>) -> Result<(), OutputError> {
    let record = log.subject.record.as_ref();
    let answer = unknown.and_then(|unknown| unknown.answer.as_ref());
    let value = json!({
        "schema": 1,
        "log": log.subject.log,
        "job": record.map(|record| json!({
            "job": record.job,
            "stage": record.stage,
            "kind": record.kind,
            "detail": record.detail,
            "hint": record.hint,
        })),
        "is_known": unknown.is_none(),
        "diagnoses": log.diagnoses.found,
        "facts": log.diagnoses.facts,
        "prompt": unknown.map(|unknown| unknown.prompt),
        "assistant": answer.map(|answer| json!({
            "name": answer.assistant,
            "answer": answer.text,
        })),
    });
    data(&format!("{value:#}"))
}

/// A table of the rules.
pub(crate) fn list(rules: &[Rule]) -> Result<(), OutputError> {
    data(&list_text(rules))
}

fn list_text(rules: &[Rule]) -> String {
    let width = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let mut lines: Vec<_> = rules
        .iter()
        .map(|rule| {
            let kind = rule.kind.as_str();
            let shown = rule.shown();
            let title = shown.as_ref().map_or(&rule.title, |shown| &shown.title);
            format!("{:width$}  {kind:6}  {title}", rule.id)
        })
        .collect();
    lines.push(format!(
        "{} rules, each as it speaks of its first example; docs/diagnose.md says more",
        rules.len()
    ));
    lines.join("\n")
}

/// Schema 1: all that is known of each rule.
pub(crate) fn list_json(rules: &[Rule]) -> Result<(), OutputError> {
    let places = |rule: &Rule| {
        rule.places
            .iter()
            .copied()
            .map(Place::as_str)
            .collect::<Vec<_>>()
    };
    let rules: Vec<_> = rules
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "kind": rule.kind.as_str(),
                "places": places(rule),
                "outranks": rule.outranks,
                "title": rule.title,
                "meaning": rule.meaning.trim_end(),
                "fix": rule.fix.trim_end(),
                "sources": rule.sources,
                "examples": rule.examples.iter().map(|example| json!({
                    "origin": example.origin.as_str(),
                    "from": example.from,
                    "log": example.log,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let rules = json!({ "schema": 1, "rules": rules });
    data(&format!("{rules:#}"))
}

/// The two lines beside a failed job: what happened, and the short answer.
pub(crate) fn beside_job(it: &Diagnosis) -> Vec<String> {
    vec![
        format!("  diagnosis: {} ({}, line {})", it.title, it.rule, it.line),
        format!("  fix: {}", it.short_fix()),
    ]
}

/// The diagnosis beside a failed job, for machines; null when there is none.
pub(crate) fn beside_job_json(it: Option<&Diagnosis>) -> Value {
    json!(it)
}
