//! The end of a run: what was built, what was not, and why.

use std::time::Duration;

use serde_json::json;
use wheelfarm_core::estimate::Accuracy;
use wheelfarm_core::gate::report;
use wheelfarm_core::manifest::{CommandsRecord, ObjectCounts};
use wheelfarm_core::outcome::{Failure, Outcome};
use wheelfarm_engine::run::{GateSummary, JobSummary, RunSummary};

use super::diagnose::{self, JobDiagnoses};
use super::{OutputError, data, elapsed, forecast};

/// A line for each job, the story of each failure, and a last line with the counts; how far off the
/// forecast was, if there was one.
pub(crate) fn human(
    summary: &RunSummary,
    diagnoses: &JobDiagnoses,
    accuracy: Option<&Accuracy>,
) -> Result<(), OutputError> {
    data(&human_text(summary, diagnoses, accuracy))
}

fn human_text(
    summary: &RunSummary,
    diagnoses: &JobDiagnoses,
    accuracy: Option<&Accuracy>,
) -> String {
    let width = summary
        .jobs
        .iter()
        .map(|job| job.job.as_str().len())
        .max()
        .unwrap_or(0);
    let mut lines: Vec<_> = summary
        .jobs
        .iter()
        .map(|job| job_line(job, width))
        .collect();
    for job in &summary.jobs {
        if let Outcome::Failed(failure) = &job.outcome {
            lines.push(String::new());
            lines.extend(failure_lines(job, failure, diagnoses));
        }
    }
    let count = |name: &str| {
        let jobs = summary.jobs.iter();
        jobs.filter(|job| job.outcome.as_str() == name).count()
    };
    let outcomes = [
        "built",
        "rehearsed",
        "up-to-date",
        "failed",
        "cancelled",
        "not-started",
    ];
    let counts: Vec<_> = outcomes
        .into_iter()
        .filter(|name| count(name) > 0)
        .map(|name| format!("{} {}", count(name), name.replace('-', " ")))
        .collect();
    lines.push(format!(
        "{} in {}",
        counts.join(", "),
        elapsed(summary.elapsed)
    ));
    if let Some(reason) = &summary.closed {
        lines.push(format!("no further job was begun: {reason}"));
    }
    lines.extend(summary.objects().map(objects_line));
    lines.extend(accuracy.map(forecast::accuracy_line));
    lines.join("\n")
}

fn job_line(job: &JobSummary, width: usize) -> String {
    let outcome = match &job.outcome {
        Outcome::Failed(failure) => format!("failed at {}", failure.stage),
        other @ (Outcome::Built
        | Outcome::Rehearsed
        | Outcome::UpToDate
        | Outcome::Cancelled
        | Outcome::NotStarted) => other.as_str().replace('-', " "),
    };
    let stages: Vec<_> = job
        .stages
        .iter()
        .filter(|(_, time)| *time >= Duration::from_secs(1))
        .map(|(stage, time)| format!("{stage} {}", elapsed(*time)))
        .collect();
    let time = match (job.elapsed, stages.join(", ")) {
        (Duration::ZERO, _) => String::new(),
        (time, stages) if stages.is_empty() => format!(" in {}", elapsed(time)),
        (time, stages) => format!(" in {} ({stages})", elapsed(time)),
    };
    let place = match (&job.folder, &job.wheel) {
        (Some(folder), Some(wheel)) => format!("\n  {folder}/{wheel}"),
        _ => String::new(),
    };
    let gate = job.gate.as_ref().map_or_else(String::new, gate_lines);
    let commands = job
        .commands
        .as_ref()
        .map_or_else(String::new, commands_line);
    let tries = match job.attempts {
        0 | 1 => String::new(),
        attempts => format!(", attempt {attempts}"),
    };
    let objects = job
        .cache
        .as_ref()
        .map_or_else(String::new, |figures| format!("\n  {figures}"));
    format!(
        "{:width$}  {outcome}{time}{tries}{place}{commands}{objects}{gate}",
        job.job
    )
}

/// How much of what was needed came from the compiler cache.
fn objects_line(counts: ObjectCounts) -> String {
    let ObjectCounts { needed, compiled } = counts;
    let cached = needed.saturating_sub(compiled);
    let percent = (cached * 100).checked_div(needed).unwrap_or(0);
    format!("objects: {needed} needed, {compiled} compiled, {cached} from the cache ({percent} %)")
}

/// How many of nvcc's command lines were held against the contract.
fn commands_line(commands: &CommandsRecord) -> String {
    let CommandsRecord {
        compilations,
        checked,
        not_checked,
    } = commands;
    let why = match not_checked {
        Some(reason) => format!("; not checked: {reason}"),
        None => String::new(),
    };
    format!("\n  nvcc: {checked} of {compilations} command lines as the contract wants them{why}")
}

/// What the gate says, and where the wheel runs.
fn gate_lines(gate: &GateSummary) -> String {
    let runs_on = report::runs_on_line(&gate.runs_on);
    let mut lines = vec![format!("\n  gate: {}; runs: {runs_on}", gate.line)];
    let findings = gate.findings.iter();
    lines.extend(findings.map(|finding| format!("    {}", report::finding_line(finding))));
    lines.join("\n")
}

fn failure_lines(job: &JobSummary, failure: &Failure, diagnoses: &JobDiagnoses) -> Vec<String> {
    let mut lines = vec![format!(
        "{} failed at {} ({}): {}",
        job.job,
        failure.stage,
        failure.kind.as_str(),
        failure.detail
    )];
    lines.extend(job.last_lines.iter().map(|line| format!("  | {line}")));
    if let Some(hint) = &failure.hint {
        lines.push(format!("  hint: {hint}"));
    }
    lines.extend(
        diagnoses
            .get(&job.job)
            .into_iter()
            .flat_map(diagnose::beside_job),
    );
    if let Some(folder) = &job.folder {
        lines.push(format!("  log: {folder}/build.log"));
    }
    lines
}

/// Schema 1.
pub(crate) fn json(
    summary: &RunSummary,
    diagnoses: &JobDiagnoses,
    accuracy: Option<&Accuracy>,
) -> Result<(), OutputError> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let jobs: Vec<_> = summary
        .jobs
        .iter()
        .map(|job| {
            let failure = match &job.outcome {
                Outcome::Failed(failure) => Some(json!({
                    "stage": failure.stage,
                    "kind": failure.kind.as_str(),
                    "detail": failure.detail,
                    "hint": failure.hint,
                    "last_lines": job.last_lines,
                    "diagnosis": diagnose::beside_job_json(diagnoses.get(&job.job)),
                })),
                Outcome::Built
                | Outcome::Rehearsed
                | Outcome::UpToDate
                | Outcome::Cancelled
                | Outcome::NotStarted => None,
            };
            json!({
                "job": job.job,
                "outcome": job.outcome.as_str(),
                "attempts": job.attempts,
                "elapsed_ms": ms(job.elapsed),
                "stages_ms": job.stages.iter()
                    .map(|(stage, time)| (stage.to_string(), json!(ms(*time))))
                    .collect::<serde_json::Map<_, _>>(),
                "folder": job.folder,
                "wheel": job.wheel,
                "commands": job.commands,
                "cache": job.cache,
                "gate": job.gate.as_ref().map(|gate| json!({
                    "verdict": gate.verdict,
                    "findings": gate.findings,
                    "runs_on": gate.runs_on,
                })),
                "failure": failure,
            })
        })
        .collect();
    let summary = json!({
        "schema": 1,
        "jobs": jobs,
        "elapsed_ms": ms(summary.elapsed),
        "closed": summary.closed,
        "forecast": accuracy,
        "objects": summary.objects(),
    });
    data(&format!("{summary:#}"))
}
