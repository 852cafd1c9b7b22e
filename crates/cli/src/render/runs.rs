//! What is kept of runs: how they ended, what their jobs did and took.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use wheelfarm_core::estimate::Spread;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_engine::store::{
    Actual, AttemptRecord, JobRecord, JobState, RunDetail, RunRecord, RunState,
};

use super::diagnose::{self, JobDiagnoses};
use super::{OutputError, data, elapsed};

/// A line for each run, the newest first.
pub(crate) fn list_human(runs: &[RunRecord]) -> Result<(), OutputError> {
    data(&list_text(runs))
}

fn list_text(runs: &[RunRecord]) -> String {
    if runs.is_empty() {
        return "no run yet".to_owned();
    }
    let width = runs.iter().map(|run| run.id.to_string().len()).max();
    let width = width.unwrap_or(0).max(3);
    let lines = runs.iter().map(|run| {
        let id = run.id.to_string();
        let took = took(run);
        let counts = counts(run);
        let line = format!(
            "{id:>width$}  {}  {took:>7}  {counts}",
            when(&run.started_at)
        );
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `2026-11-22 01:02:03Z`, of what the store writes.
fn when(at: &str) -> String {
    match at.get(..19) {
        Some(seconds) => format!("{}Z", seconds.replace('T', " ")),
        None => at.to_owned(),
    }
}

fn took(run: &RunRecord) -> String {
    match (run.state, run.elapsed_ms) {
        (RunState::Finished, Some(took)) => elapsed(Duration::from_millis(took)),
        (RunState::Running | RunState::Finished, _) => "-".to_owned(),
        (RunState::Interrupted, _) => "killed".to_owned(),
    }
}

fn counts(run: &RunRecord) -> String {
    let counts = JobState::ALL.iter().filter_map(|state| {
        let count = run.counts.get(state)?;
        Some(format!("{count} {}", state.as_str().replace('-', " ")))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// Schema 1.
pub(crate) fn list_json(runs: &[RunRecord]) -> Result<(), OutputError> {
    let runs: Vec<_> = runs.iter().map(run_json).collect();
    data(&format!("{:#}", json!({ "schema": 1, "runs": runs })))
}

fn run_json(run: &RunRecord) -> Value {
    let counts: serde_json::Map<_, _> = run
        .counts
        .iter()
        .map(|(state, count)| (state.as_str().to_owned(), json!(count)))
        .collect();
    json!({
        "run": run.id,
        "state": run.state.as_str(),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "elapsed_ms": run.elapsed_ms,
        "pid": run.pid,
        "host": run.host,
        "program": run.program,
        "engine": run.engine,
        "jobs_to_build": run.jobs,
        "forecast": run.forecast,
        "admission_stopped": run.admission_stopped,
        "counts": counts,
    })
}

/// The run, what it took beside what it was expected to take, and its jobs.
pub(crate) fn human(detail: &RunDetail, diagnoses: &JobDiagnoses) -> Result<(), OutputError> {
    data(&human_text(detail, diagnoses))
}

fn human_text(detail: &RunDetail, diagnoses: &JobDiagnoses) -> String {
    let RunDetail { run, jobs, actual } = detail;
    let mut lines = vec![format!(
        "run {}, {}: {} on {} (pid {}), {}",
        run.id,
        when(&run.started_at),
        run.program,
        run.host,
        run.pid,
        run.engine
    )];
    let end = match run.state {
        RunState::Running => "goes on, or was killed and no run came after it".to_owned(),
        RunState::Finished => format!("took {}", took(run)),
        RunState::Interrupted => format!(
            "killed; last heard of {}",
            when(run.ended_at.as_deref().unwrap_or("never"))
        ),
    };
    lines.push(format!("{end}: {}", counts(run)));
    if let Some(reason) = &run.admission_stopped {
        lines.push(format!("no further job was begun: {reason}"));
    }
    lines.extend(actual_line(actual));
    lines.extend(
        run.forecast
            .as_ref()
            .and_then(|it| forecast_line(it, actual)),
    );
    let shown = jobs.iter().filter(|job| job.state != JobState::UpToDate);
    for job in shown {
        lines.extend(job_lines(job, diagnoses));
    }
    lines.join("\n")
}

/// What the compilations took together.
fn actual_line(actual: &Actual) -> Option<String> {
    let mut parts = Vec::new();
    if actual.cpu_ms > 0 {
        parts.push(format!("{} of processor time", time(actual.cpu_ms)));
    }
    if let Some(peak) = actual.peak_memory_bytes {
        parts.push(format!("{} at most in one", ByteSize::from_bytes(peak)));
    }
    if let Some(objects) = actual.objects {
        parts.push(format!(
            "{} of {} objects compiled",
            objects.compiled, objects.needed
        ));
    }
    (!parts.is_empty()).then(|| format!("compilations: {}", parts.join(", ")))
}

/// What is read of a forecast here; `plan --explain` shows all of one.
#[derive(Deserialize)]
struct Expected {
    makespan_ms: Spread,
    cpu_ms: Spread,
}

fn forecast_line(forecast: &Value, actual: &Actual) -> Option<String> {
    let expected = Expected::deserialize(forecast).ok()?;
    let Expected {
        makespan_ms,
        cpu_ms,
    } = expected;
    let off = |took: u64, likely: u64| match (took, likely) {
        (_, 0) | (0, _) => String::new(),
        (took, likely) if took >= likely => {
            format!(", {} % more than that", (took - likely) * 100 / likely)
        }
        (took, likely) => format!(", {} % less than that", (likely - took) * 100 / likely),
    };
    Some(format!(
        "forecast: {} ({} to {}){}; {} of processor time{}",
        time(makespan_ms.likely),
        time(makespan_ms.low),
        time(makespan_ms.high),
        actual
            .wall_ms
            .map(|wall| format!(
                ", and it took {}{}",
                time(wall),
                off(wall, makespan_ms.likely)
            ))
            .unwrap_or_default(),
        time(cpu_ms.likely),
        off(actual.cpu_ms, cpu_ms.likely)
    ))
}

fn job_lines(job: &JobRecord, diagnoses: &JobDiagnoses) -> Vec<String> {
    let took = job.elapsed_ms.filter(|took| *took > 0);
    let took = took.map(|took| format!(" in {}", time(took)));
    let state = match (&job.failure, job.state) {
        (Some(failure), _) => format!("failed at {} ({})", failure.stage, failure.kind),
        (None, state) => state.as_str().replace('-', " "),
    };
    let mut lines = vec![format!("{}  {state}{}", job.job, took.unwrap_or_default())];
    let stages: Vec<_> = job
        .stages
        .iter()
        .filter_map(|stage| match stage.wall_ms {
            Some(wall) if wall < 1000 => None,
            Some(wall) => Some(format!("{} {}", stage.stage, time(wall))),
            None => Some(format!("{} did not end", stage.stage)),
        })
        .collect();
    if !stages.is_empty() {
        lines.push(format!("  stages: {}", stages.join(", ")));
    }
    lines.extend(job.attempts.iter().map(attempt_line));
    lines.extend(job.retries.iter().map(|retry| {
        format!(
            "  {} at {}; {}",
            retry.failure.kind, retry.failure.stage, retry.remedy
        )
    }));
    if let Some(failure) = &job.failure {
        lines.extend(failure.detail.lines().map(|line| format!("  | {line}")));
        lines.extend(failure.hint.iter().map(|hint| format!("  hint: {hint}")));
        lines.extend(
            diagnoses
                .get(&job.job)
                .into_iter()
                .flat_map(diagnose::beside_job),
        );
    }
    lines
}

fn attempt_line(attempt: &AttemptRecord) -> String {
    let mut parts = Vec::new();
    if let Some(grant) = attempt.grant {
        parts.push(format!(
            "{} compilers in {}",
            grant.compilers,
            ByteSize::from_bytes(grant.memory_bytes)
        ));
    }
    if attempt.adopted == Some(true) {
        parts.push("found running".to_owned());
    }
    match &attempt.sample {
        None if attempt.ended_at.is_none() => parts.push("no end".to_owned()),
        None => parts.push("nothing measured".to_owned()),
        Some(sample) => {
            let peak = sample.peak_memory_bytes.map(ByteSize::from_bytes);
            parts.push(format!("took {}", time(sample.compile_ms)));
            parts.extend(peak.map(|peak| format!("held {peak}")));
            parts.extend(
                sample
                    .cpu_ms
                    .map(|cpu| format!("{} of processor time", time(cpu))),
            );
            parts.extend(sample.objects.map(|objects| {
                format!(
                    "{} of {} objects compiled",
                    objects.compiled, objects.needed
                )
            }));
        }
    }
    format!("  attempt {}: {}", attempt.attempt, parts.join(", "))
}

fn time(ms: u64) -> String {
    elapsed(Duration::from_millis(ms))
}

/// Schema 1.
pub(crate) fn json(detail: &RunDetail, diagnoses: &JobDiagnoses) -> Result<(), OutputError> {
    let jobs = detail.jobs.iter().map(|job| job_json(job, diagnoses));
    let jobs: Vec<_> = jobs.collect();
    let mut text = run_json(&detail.run);
    if let Some(text) = text.as_object_mut() {
        text.insert("schema".to_owned(), json!(1));
        text.insert("actual".to_owned(), json!(detail.actual));
        text.insert("jobs".to_owned(), json!(jobs));
    }
    data(&format!("{text:#}"))
}

fn job_json(job: &JobRecord, diagnoses: &JobDiagnoses) -> Value {
    json!({
        "job": job.job,
        "digest": job.digest,
        "package": job.package,
        "version": job.version,
        "channel": job.channel,
        "why": job.why,
        "state": job.state.as_str(),
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "elapsed_ms": job.elapsed_ms,
        "failure": job.failure,
        "diagnosis": diagnose::beside_job_json(diagnoses.get(&job.job)),
        "stages": job.stages,
        "attempts": job.attempts,
        "retries": job.retries,
    })
}
