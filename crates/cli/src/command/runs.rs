//! `wheelfarm runs`.

use camino::Utf8Path;
use wheelfarm_core::outcome::FailureRecord;
use wheelfarm_engine::diagnose::explain_failed;
use wheelfarm_engine::files;
use wheelfarm_engine::store::{FILE_NAME, History, JobRecord, RunDetail};

use crate::args::{Format, RunsArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::diagnose::JobDiagnoses;

pub(super) fn run(args: &RunsArgs) -> Result<ExitCode, Failure> {
    let history = History::open(&args.out.join(FILE_NAME))?;
    let Some(id) = args.run else {
        let runs = history.runs(args.last)?;
        match args.format {
            Format::Human => render::runs::list_human(&runs),
            Format::Json => render::runs::list_json(&runs),
        }?;
        return Ok(ExitCode::Done);
    };
    let Some(detail) = history.run(id)? else {
        let error = anyhow::anyhow!("no run {id} in `{}`", history.path());
        return Err(Failure::bad_input(error).with_hint("`wheelfarm runs` lists them"));
    };
    let diagnoses = diagnoses(&args.out, &detail);
    match args.format {
        Format::Human => render::runs::human(&detail, &diagnoses),
        Format::Json => render::runs::json(&detail, &diagnoses),
    }?;
    Ok(ExitCode::Done)
}

/// What rules know of the jobs that failed, where their logs are still there.
fn diagnoses(out: &Utf8Path, detail: &RunDetail) -> JobDiagnoses {
    let failed = detail.jobs.iter().filter_map(|job| {
        let failure = job.failure.as_ref()?;
        let folder = out.join("failed").join(job.job.as_str());
        if !is_log_of(&folder, job) {
            return None;
        }
        let found = explain_failed(&folder, &failure.kind)?;
        Some((job.job.clone(), found))
    });
    failed.collect()
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
