//! `wheelfarm runs`.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::outcome::FailureRecord;
use wheelfarm_engine::diagnose::explain_failed;
use wheelfarm_engine::store::{FILE_NAME, History, JobRecord, RunDetail};
use wheelfarm_engine::{farm_folder, files};

use crate::args::{RunChoice, RunsArgs, RunsFormat};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::diagnose::JobDiagnoses;
use crate::render::run_page::{JobLogs, LOG_BYTES};

pub(super) fn run(args: &RunsArgs) -> Result<ExitCode, Failure> {
    let history = History::open(&args.out.join(FILE_NAME))?;
    let Some(choice) = args.run else {
        return list(args, &history);
    };
    let id = match choice {
        RunChoice::Number(id) => Some(id),
        RunChoice::Last => history.runs(1)?.first().map(|run| run.id),
    };
    let detail = id.map(|id| history.run(id)).transpose()?.flatten();
    let Some(detail) = detail else {
        let error = match choice {
            RunChoice::Number(id) => anyhow::anyhow!("no run {id} in `{}`", history.path()),
            RunChoice::Last => anyhow::anyhow!("no run in `{}`", history.path()),
        };
        return Err(Failure::bad_input(error).with_hint("`wheelfarm runs` lists them"));
    };
    let diagnoses = diagnoses(&args.out, &detail);
    match args.format {
        RunsFormat::Human => render::runs::human(&detail, &diagnoses),
        RunsFormat::Json => render::runs::json(&detail, &diagnoses),
        RunsFormat::Markdown => {
            let logs = logs(&args.out, &detail)?;
            render::run_page::markdown(&detail, &diagnoses, &logs)
        }
        RunsFormat::Github => render::run_page::annotations(&detail, &diagnoses),
    }?;
    Ok(ExitCode::Done)
}

fn list(args: &RunsArgs, history: &History) -> Result<ExitCode, Failure> {
    let runs = history.runs(args.last)?;
    match args.format {
        RunsFormat::Human => render::runs::list_human(&runs),
        RunsFormat::Json => render::runs::list_json(&runs),
        RunsFormat::Markdown => render::run_page::list_markdown(&runs),
        RunsFormat::Github => {
            let error = anyhow::anyhow!("annotations are of one run");
            return Err(Failure::bad_input(error)
                .with_hint("name it: `wheelfarm runs last --format github`"));
        }
    }?;
    Ok(ExitCode::Done)
}

/// What rules know of the jobs that failed, where their logs are still there.
fn diagnoses(out: &Utf8Path, detail: &RunDetail) -> JobDiagnoses {
    let failed = failed_here(out, detail).filter_map(|(job, folder)| {
        let failure = job.failure.as_ref()?;
        let found = explain_failed(&folder, &failure.kind)?;
        Some((job.job.clone(), found))
    });
    failed.collect()
}

/// The ends of the logs of jobs that failed, where they are still there.
fn logs(out: &Utf8Path, detail: &RunDetail) -> Result<JobLogs, Failure> {
    let mut logs = BTreeMap::new();
    for (job, folder) in failed_here(out, detail) {
        let limit_bytes = u64::try_from(LOG_BYTES).unwrap_or(u64::MAX);
        let log = farm_folder::end_of_log(&folder, limit_bytes);
        if let Some(log) = log.map_err(Failure::infrastructure)? {
            logs.insert(job.job.clone(), log);
        }
    }
    Ok(logs)
}

/// The jobs that failed, each with the folder that it left, if that is still of this failure.
fn failed_here<'a>(
    out: &Utf8Path,
    detail: &'a RunDetail,
) -> impl Iterator<Item = (&'a JobRecord, Utf8PathBuf)> {
    let out = out.to_owned();
    detail.jobs.iter().filter_map(move |job| {
        let folder = out.join("failed").join(job.job.as_str());
        is_log_of(&folder, job).then_some((job, folder))
    })
}

/// Whether the folder holds this failure of the job, and not one of another run.
fn is_log_of(folder: &Utf8Path, job: &JobRecord) -> bool {
    let text = files::read_text(folder.join(FailureRecord::FILE_NAME)).ok();
    let record = text.and_then(|text| FailureRecord::parse(&text));
    record
        .zip(job.failure.as_ref())
        .is_some_and(|(there, failure)| {
            Some(&there.job_digest) == job.digest.as_ref()
                && there.stage == failure.stage
                && there.detail == failure.detail
        })
}
