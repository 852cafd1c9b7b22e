//! A run for GitHub: the page that a step adds to its run, and annotations.
//!
//! What failed jobs say comes from strangers' builds. Everything of theirs goes through
//! `wheelfarm_core::github`, which makes words or a block of code of it.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use wheelfarm_core::diagnose::Diagnosis;
use wheelfarm_core::github::{
    ANNOTATION_LENGTH, ANNOTATION_LIMIT, Level, SUMMARY_LIMIT_BYTES, annotation, code_block,
    markdown as words, tail,
};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_engine::store::{FailureRecord, JobRecord, JobState, RunDetail, RunRecord, RunState};

use super::diagnose::JobDiagnoses;
use super::runs::{actual_line, counts, forecast_of, took, when};
use super::{OutputError, data, elapsed};

/// The most of a log that the page shows.
pub(crate) const LOG_BYTES: usize = 24 * 1024;

/// A log of less than this tells nothing.
const LEAST_LOG_BYTES: usize = 1024;

/// The most of what a failure says that the page and an annotation show; what is known has to fit in behind it.
const DETAIL_BYTES: usize = ANNOTATION_LENGTH - 1024;

/// What is left free of the limit for the line that says that something is left out.
const SPARE_BYTES: usize = 1024;

/// The ends of the logs of jobs that failed.
pub(crate) type JobLogs = BTreeMap<JobId, String>;

/// The runs as a table.
pub(crate) fn list_markdown(runs: &[RunRecord]) -> Result<(), OutputError> {
    let mut lines = vec![
        "| run | began | took | jobs |".to_owned(),
        "|---:|---|---:|---|".to_owned(),
    ];
    let row = |run: &RunRecord| {
        let began = words(&when(&run.started_at));
        format!("| {} | {began} | {} | {} |", run.id, took(run), counts(run))
    };
    lines.extend(runs.iter().map(row));
    data(&lines.join("\n"))
}

/// The page of a run.
pub(crate) fn markdown(
    detail: &RunDetail,
    diagnoses: &JobDiagnoses,
    logs: &JobLogs,
) -> Result<(), OutputError> {
    data(&page(detail, diagnoses, logs, SUMMARY_LIMIT_BYTES))
}

/// At most `limit` bytes, in whole sections: failures go before the table, and both before logs.
fn page(detail: &RunDetail, diagnoses: &JobDiagnoses, logs: &JobLogs, limit: usize) -> String {
    let mut page = head(detail);
    let limit = limit.saturating_sub(SPARE_BYTES);
    let failed: Vec<_> = failed(detail).collect();
    let stories = failed
        .iter()
        .map(|(job, why)| story(job, why, diagnoses.get(&job.job)));
    let stories: Vec<_> = stories.collect();
    let table = table(detail);
    let length = |texts: &[String]| texts.iter().map(|text| text.len() + 2).sum::<usize>();
    let without_logs = page.len() + length(&stories) + length(&table);
    let for_logs = limit.saturating_sub(without_logs);
    let for_each = for_logs
        .checked_div(failed.len())
        .unwrap_or(0)
        .min(LOG_BYTES);
    let mut left_out = if for_each < LEAST_LOG_BYTES {
        logs.len()
    } else {
        0
    };
    let mut add = |text: &str| {
        if page.len() + text.len() + 2 <= limit {
            page.push_str(text);
        } else {
            left_out += 1;
        }
    };
    if !failed.is_empty() {
        add("\n\n### Failed");
    }
    for ((job, _), story) in failed.iter().zip(&stories) {
        add(&format!("\n\n{story}"));
        if let Some(log) = logs.get(&job.job).and_then(|log| log_block(log, for_each)) {
            add(&format!("\n\n{log}"));
        }
    }
    if let Some((header, rows)) = table.split_first() {
        add(&format!("\n\n### Jobs\n\n{header}"));
        for row in rows {
            add(&format!("\n{row}"));
        }
    }
    if left_out > 0 {
        let run = detail.run.id;
        let more =
            format!("{left_out} more parts did not fit: `wheelfarm runs {run}` has all of them");
        page = [page, more].join("\n\n");
    }
    page
}

/// How the run ended, and what it took.
fn head(detail: &RunDetail) -> String {
    let RunDetail { run, actual, .. } = detail;
    let title = match counts(run) {
        counts if counts.is_empty() => "no job".to_owned(),
        counts => counts,
    };
    let end = match run.state {
        RunState::Running => "it did not end: killed, or it goes on".to_owned(),
        RunState::Finished => format!("it took {}", took(run)),
        RunState::Interrupted => format!(
            "it was killed; last heard of {}",
            when(run.ended_at.as_deref().unwrap_or("never"))
        ),
    };
    let mut lines = vec![
        format!("## Run {}: {title}", run.id),
        String::new(),
        words(&format!(
            "Begun {}; {end}. {} on {}, {}.",
            when(&run.started_at),
            run.program,
            run.host,
            run.engine
        )),
    ];
    if let Some(reason) = &run.admission_stopped {
        let reason = words(tail(reason, DETAIL_BYTES));
        lines.push(format!("\n**No further job was begun:** {reason}"));
    }
    let cached = actual.objects.map(|objects| {
        let cached = objects.needed.saturating_sub(objects.compiled);
        let percent = (cached * 100).checked_div(objects.needed).unwrap_or(0);
        format!("cache: {cached} of {} objects, {percent} %", objects.needed)
    });
    let facts = [actual_line(actual), cached, forecast_of(run, actual)];
    let facts = facts.into_iter().flatten();
    lines.extend(facts.map(|fact| format!("\n{}", words(&fact))));
    lines.join("\n")
}

fn failed(detail: &RunDetail) -> impl Iterator<Item = (&JobRecord, &FailureRecord)> {
    let jobs = detail.jobs.iter();
    jobs.filter_map(|job| Some((job, job.failure.as_ref()?)))
}

/// What a failed job says: where, what, and what to do.
fn story(job: &JobRecord, failure: &FailureRecord, diagnosis: Option<&Diagnosis>) -> String {
    let mut parts = vec![format!(
        "#### {} at {} ({})",
        words(job.job.as_str()),
        failure.stage,
        words(&failure.kind)
    )];
    parts.push(code_block(cut(&failure.detail)));
    if let Some(known) = diagnosis {
        let title = words(&known.title);
        parts.push(format!(
            "**diagnosis:** {title} ({}, line {})",
            known.rule, known.line
        ));
        parts.push(format!("**fix:** {}", words(&known.short_fix())));
    }
    parts.extend(
        failure
            .hint
            .as_ref()
            .map(|hint| format!("**hint:** {}", words(hint))),
    );
    parts.join("\n\n")
}

/// The beginning of a long detail.
fn cut(detail: &str) -> &str {
    cut_at(detail, DETAIL_BYTES)
}

fn cut_at(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The end of a log, folded.
fn log_block(log: &str, limit: usize) -> Option<String> {
    if limit < LEAST_LOG_BYTES {
        return None;
    }
    // A block has a fence, and marks around it.
    let log = tail(log, limit - 256);
    (!log.trim().is_empty()).then(|| {
        let block = code_block(log);
        format!("<details><summary>the end of its log</summary>\n\n{block}\n\n</details>")
    })
}

/// The jobs that had something to do: the header, then a row for each.
fn table(detail: &RunDetail) -> Vec<String> {
    let jobs = detail.jobs.iter();
    let rows: Vec<_> = jobs
        .filter(|job| job.state != JobState::UpToDate)
        .map(row)
        .collect();
    if rows.is_empty() {
        return rows;
    }
    let header = "| job | outcome | took | compile | memory | from the cache |\n|---|---|---:|---:|---:|---:|";
    let mut lines = vec![header.to_owned()];
    lines.extend(rows);
    lines
}

fn row(job: &JobRecord) -> String {
    let outcome = match (&job.failure, job.state) {
        (Some(failure), _) => format!("**failed** at {}", failure.stage),
        (None, JobState::Built) if !job.retries.is_empty() => {
            format!("built, attempt {}", job.retries.len() + 1)
        }
        (None, state) => state.as_str().replace('-', " "),
    };
    let sample = job.attempts.iter().rev().find_map(|it| it.sample.as_ref());
    let time = |ms: Option<u64>| ms.map(|ms| elapsed(Duration::from_millis(ms)));
    let cells = [
        Some(words(job.job.as_str())),
        Some(outcome),
        time(job.elapsed_ms),
        time(sample.map(|sample| sample.compile_ms)),
        sample
            .and_then(|sample| sample.peak_memory_bytes)
            .map(|bytes| ByteSize::from_bytes(bytes).to_string()),
        sample.and_then(|sample| sample.objects).map(|objects| {
            let cached = objects.needed.saturating_sub(objects.compiled);
            format!("{cached} of {}", objects.needed)
        }),
    ];
    let cells = cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
    format!("| {} |", cells.join(" | "))
}

/// Annotations: an error for each job that failed, a warning for each that was retried and built.
pub(crate) fn annotations(detail: &RunDetail, diagnoses: &JobDiagnoses) -> Result<(), OutputError> {
    let lines = annotation_lines(detail, diagnoses);
    if lines.is_empty() {
        return Ok(());
    }
    data(&lines.join("\n"))
}

fn annotation_lines(detail: &RunDetail, diagnoses: &JobDiagnoses) -> Vec<String> {
    let run = &detail.run;
    let mut errors = Vec::new();
    if run.state != RunState::Finished {
        let title = format!("run {} was killed", run.id);
        let text = "the next `wheelfarm build` in the same folder goes on where it was".to_owned();
        errors.push((title, text));
    }
    if let Some(reason) = &run.admission_stopped {
        errors.push(("no further job was begun".to_owned(), reason.clone()));
    }
    errors.extend(failed(detail).map(|(job, failure)| {
        let title = format!("{} failed at {} ({})", job.job, failure.stage, failure.kind);
        let known = diagnoses.get(&job.job);
        let known = known.map(|known| {
            [
                format!("diagnosis: {}", known.title),
                format!("fix: {}", known.short_fix()),
            ]
        });
        let more = known.into_iter().flatten();
        let hint = failure.hint.iter().map(|hint| format!("hint: {hint}"));
        let lines = iter::once(cut(&failure.detail).to_owned())
            .chain(more)
            .chain(hint);
        let text = lines.collect::<Vec<_>>().join("\n");
        (title, cut_at(&text, ANNOTATION_LENGTH).to_owned())
    }));
    let retried = detail
        .jobs
        .iter()
        .filter(|job| job.state == JobState::Built);
    let warnings = retried.filter_map(|job| {
        let last = job.retries.last()?;
        let title = format!("{} was built at attempt {}", job.job, job.retries.len() + 1);
        let text = format!(
            "{} at {}; {}",
            last.failure.kind, last.failure.stage, last.remedy
        );
        Some((title, text))
    });
    let mut lines = few(Level::Error, errors, run);
    lines.extend(few(Level::Warning, warnings.collect(), run));
    lines
}

/// As many as GitHub shows of one level, the last of which says how many more there are.
fn few(level: Level, mut told: Vec<(String, String)>, run: &RunRecord) -> Vec<String> {
    if told.len() > ANNOTATION_LIMIT {
        let rest = told.split_off(ANNOTATION_LIMIT - 1).len();
        let text = format!("`wheelfarm runs {}` has all of them", run.id);
        told.push((format!("{rest} more"), text));
    }
    let told = told.iter();
    told.map(|(title, text)| annotation(level, title, text))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wheelfarm_core::diagnose::Kind;
    use wheelfarm_engine::store::{Actual, RetryRecord};

    use super::*;

    fn failure(detail: &str) -> FailureRecord {
        FailureRecord {
            stage: serde_json::from_value(json!("compile")).unwrap(),
            kind: "script".to_owned(),
            detail: detail.to_owned(),
            hint: Some("see <its> log".to_owned()),
        }
    }

    fn job(n: usize, state: JobState, failure: Option<FailureRecord>) -> JobRecord {
        JobRecord {
            job: format!("demo-1.{n}-cu130-torch2.11-cp311").parse().unwrap(),
            digest: None,
            package: None,
            version: None,
            channel: None,
            why: None,
            state,
            started_at: None,
            ended_at: None,
            elapsed_ms: Some(61_000),
            failure,
            stages: Vec::new(),
            attempts: Vec::new(),
            retries: Vec::new(),
        }
    }

    fn run(jobs: Vec<JobRecord>) -> RunDetail {
        let mut counts = BTreeMap::new();
        for job in &jobs {
            *counts.entry(job.state).or_default() += 1;
        }
        let run = RunRecord {
            id: "7".parse().unwrap(),
            state: RunState::Finished,
            started_at: "2026-11-22T01:02:03.000Z".to_owned(),
            ended_at: None,
            pid: 1,
            host: "night".to_owned(),
            program: "wheelfarm 0.1.0".to_owned(),
            engine: "docker 20.10.24".to_owned(),
            jobs: None,
            forecast: None,
            admission_stopped: None,
            elapsed_ms: Some(660_000),
            counts,
        };
        let actual = Actual {
            wall_ms: Some(660_000),
            cpu_ms: 0,
            peak_memory_bytes: None,
            objects: None,
        };
        RunDetail { run, jobs, actual }
    }

    /// A log that tries everything: commands, HTML, the end of its block, a link.
    const HOSTILE: &str = "::add-mask::secret\n##[set-output name=a]b\n```\n</details>\n# owned\n<script>x</script>\n[a](https://x.org) @farm\n";

    #[test]
    fn a_page_tells_failures_first_and_its_logs_are_only_text() {
        let built = JobRecord {
            retries: vec![RetryRecord {
                at: String::new(),
                failure: failure("killed"),
                remedy: "begins again".to_owned(),
            }],
            ..job(1, JobState::Built, None)
        };
        let bad = job(2, JobState::Failed, Some(failure(HOSTILE)));
        let detail = run(vec![job(0, JobState::UpToDate, None), built, bad]);
        let logs = BTreeMap::from([(detail.jobs[2].job.clone(), HOSTILE.to_owned())]);
        let known = Diagnosis {
            rule: "out-of-memory".to_owned(),
            kind: Kind::Cause,
            line: 7,
            count: 1,
            excerpt: String::new(),
            title: "<cicc> was killed".to_owned(),
            meaning: String::new(),
            fix: "Give it\nmore memory.\n\nAnd read on.".to_owned(),
            places: Vec::new(),
            sources: Vec::new(),
            same_as: None,
        };
        let known = BTreeMap::from([(detail.jobs[2].job.clone(), known)]);
        insta::assert_snapshot!(page(&detail, &known, &logs, SUMMARY_LIMIT_BYTES));
        insta::assert_snapshot!(annotation_lines(&detail, &known).join("\n"));
    }

    #[test]
    fn a_page_stays_within_its_limit_and_says_what_is_left_out() {
        let log = "0123456789abcdef\n".repeat(2000);
        let jobs = (0..300).map(|n| job(n, JobState::Failed, Some(failure(&log))));
        let detail = run(jobs.collect());
        let logs = detail.jobs.iter().map(|job| (job.job.clone(), log.clone()));
        let logs: BTreeMap<_, _> = logs.collect();
        for limit in [4 * 1024, 64 * 1024, SUMMARY_LIMIT_BYTES] {
            let page = page(&detail, &BTreeMap::new(), &logs, limit);
            assert!(page.len() <= limit, "{} of {limit}", page.len());
            assert!(
                page.ends_with("`wheelfarm runs 7` has all of them"),
                "{limit}"
            );
        }
        // With ten, every log has its place.
        let detail = run(detail.jobs.into_iter().take(10).collect());
        let page = page(&detail, &BTreeMap::new(), &logs, SUMMARY_LIMIT_BYTES);
        assert_eq!(page.matches("<details>").count(), 10);
        assert!(!page.contains("did not fit"));
    }

    #[test]
    fn annotations_are_no_more_than_github_shows() {
        let jobs = (0..12).map(|n| job(n, JobState::Failed, Some(failure("a"))));
        let lines = annotation_lines(&run(jobs.collect()), &BTreeMap::new());
        assert_eq!(lines.len(), ANNOTATION_LIMIT);
        let last = lines.last().unwrap();
        assert_eq!(
            last,
            "::error title=3 more::`wheelfarm runs 7` has all of them"
        );
    }

    #[test]
    fn a_killed_run_says_so() {
        let mut detail = run(vec![job(1, JobState::Interrupted, None)]);
        detail.run.state = RunState::Interrupted;
        let lines = annotation_lines(&detail, &BTreeMap::new());
        assert!(
            lines[0].starts_with("::error title=run 7 was killed::"),
            "{lines:?}"
        );
        assert!(page(&detail, &BTreeMap::new(), &BTreeMap::new(), 4096).contains("it was killed"));
    }
}
