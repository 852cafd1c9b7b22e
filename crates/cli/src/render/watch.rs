//! News for people and for programs.

use serde_json::{Value, json};
use wheelfarm_core::watch::propose::{ChangedFile, Fate, Fates, Proposal};
use wheelfarm_core::watch::{News, NotChecked};

use super::{OutputError, data};

/// What there is to tell.
pub(crate) struct Report<'a> {
    /// How much is left out because it was told before.
    pub(crate) told_before: usize,
    /// What is told.
    pub(crate) news: &'a [News],
    /// What could not be asked.
    pub(crate) not_checked: &'a [NotChecked],
    /// Whether the matrix is written.
    pub(crate) is_written: bool,
    /// What follows from the news.
    pub(crate) proposal: &'a Proposal,
}

/// The news, what could not be asked, the proposed changes, and a last line with the counts.
pub(crate) fn human(report: &Report<'_>) -> Result<(), OutputError> {
    data(&human_text(report))
}

fn human_text(report: &Report<'_>) -> String {
    let mut lines = Vec::new();
    for (news, fates) in report.news.iter().zip(&report.proposal.fates) {
        lines.extend(news_lines(news, fates));
    }
    for item in report.not_checked {
        lines.push(format!("not checked  {}", item.subject));
        lines.push(format!("       why      {}", item.reason));
    }
    if let Some(matrix) = &report.proposal.matrix {
        let what = if report.is_written {
            "written:"
        } else {
            "proposed, --write writes it:"
        };
        lines.extend(diff_lines(what, matrix));
    }
    for package in &report.proposal.packages {
        lines.extend(diff_lines("to be reviewed and completed by hand:", package));
    }
    if report.proposal.matrix.is_some() || !report.proposal.packages.is_empty() {
        lines.push(String::new());
    }
    lines.push(summary(report));
    lines.join("\n")
}

fn news_lines(news: &News, fates: &Fates) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {}: {}",
        news.kind.as_str(),
        news.subject,
        news.there
    )];
    let mut line = |key: &str, text: &str| lines.push(format!("       {key:8} {text}"));
    line("has", &news.here);
    for note in &news.notes {
        line("note", note);
    }
    match &fates.matrix {
        Fate::None => {}
        Fate::Proposed { jobs: 0 } => line("matrix", "proposed"),
        Fate::Proposed { jobs } => line("matrix", &format!("proposed, {jobs:+} jobs")),
        Fate::LeftOut(reason) => line("matrix", &format!("left out: {reason}")),
    }
    match &fates.package {
        Fate::None => {}
        Fate::Proposed { .. } => line("package", "proposed, to be reviewed"),
        Fate::LeftOut(reason) => line("package", &format!("left out: {reason}")),
    }
    line("see", &news.link);
    line("news id", &news.fingerprint());
    lines
}

fn diff_lines(what: &str, file: &ChangedFile) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{}, {what}", file.path)];
    lines.extend(
        file.diff()
            .trim_end_matches('\n')
            .split('\n')
            .map(str::to_owned),
    );
    lines
}

fn summary(report: &Report<'_>) -> String {
    let mut parts = vec![match report.news.len() {
        0 => "nothing new".to_owned(),
        1 => "1 piece of news".to_owned(),
        count => format!("{count} pieces of news"),
    }];
    if report.told_before > 0 {
        let count = report.told_before;
        parts.push(format!("{count} told before (--all tells them again)"));
    }
    if !report.not_checked.is_empty() {
        parts.push(format!("{} not checked", report.not_checked.len()));
    }
    parts.join(", ")
}

/// Schema 1.
pub(crate) fn json(report: &Report<'_>) -> Result<(), OutputError> {
    data(&format!("{:#}", json_value(report)))
}

fn json_value(report: &Report<'_>) -> Value {
    let pairs = report.news.iter().zip(&report.proposal.fates);
    let news: Vec<_> = pairs
        .map(|(news, fates)| {
            json!({
                "kind": news.kind.as_str(),
                "subject": news.subject,
                "there": news.there,
                "here": news.here,
                "notes": news.notes,
                "link": news.link,
                "fingerprint": news.fingerprint(),
                "matrix": fate_json(&fates.matrix),
                "package": fate_json(&fates.package),
            })
        })
        .collect();
    let not_checked: Vec<_> = report
        .not_checked
        .iter()
        .map(|item| json!({ "subject": item.subject, "reason": item.reason }))
        .collect();
    let diff = |file: &ChangedFile, is_written: bool| json!({ "path": file.path, "diff": file.diff(), "written": is_written });
    let matrix = report.proposal.matrix.iter();
    let packages = report.proposal.packages.iter();
    let diffs: Vec<_> = matrix
        .map(|file| diff(file, report.is_written))
        .chain(packages.map(|file| diff(file, false)))
        .collect();
    json!({
        "schema": 1,
        "news": news,
        "not_checked": not_checked,
        "told_before": report.told_before,
        "diffs": diffs,
    })
}

fn fate_json(fate: &Fate) -> Value {
    match fate {
        Fate::None => Value::Null,
        Fate::Proposed { jobs } => json!({ "proposed": true, "jobs": jobs }),
        Fate::LeftOut(reason) => json!({ "proposed": false, "reason": reason }),
    }
}
