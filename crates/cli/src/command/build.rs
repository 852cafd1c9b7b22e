//! `wheelfarm build`.

use std::sync::Arc;

use camino::Utf8Path;
use wheelfarm_core::estimate::{self, Accuracy};
use wheelfarm_core::gate::finding::Verdict;
use wheelfarm_core::outcome::{Blame, Outcome};
use wheelfarm_core::plan::{Job, Need, Plan};
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::diagnose::explain_failed;
use wheelfarm_engine::event::Reporter;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::out_folder::OutFolder;
use wheelfarm_engine::run::{
    self, BuildMode, JobSummary, Objects, Patience, RunSettings, RunSummary, StopSignal, Workplace,
};
use wheelfarm_engine::store::{FILE_NAME, History, RunState};

use super::{Selected, cache_folder, listen};
use crate::args::{BuildArgs, Format};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::diagnose::JobDiagnoses;

pub(super) fn run(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let selected = Selected::read(&args.selection)?;
    selected.refuse_nothing()?;
    let needs = needs(&selected, args)?;
    let mut reporter = render::progress::reporter(args.format);
    let is_done = needs.iter().all(|(_, need)| *need == Need::UpToDate);
    let summary = if is_done && !was_killed(&args.selection.out) {
        // No engine is asked for what is done already.
        run::up_to_date(&needs, &mut |event| reporter.report(event))
    } else {
        let settings = RunSettings {
            farm: selected.farm.matrix.farm.clone(),
            jobs: args.jobs.or(selected.farm.matrix.build.jobs),
            memory: selected.farm.matrix.build.memory,
            disk_reserve: selected.farm.matrix.build.disk_reserve,
            ca_bundle: selected.farm.ca_bundle()?,
            cache: cache_folder(args.cache.as_ref()),
            compiler_cache: selected.farm.matrix.build.cache,
            mode: if args.rehearse {
                BuildMode::Rehearse
            } else {
                BuildMode::Build
            },
            objects: if args.resume {
                Objects::Keep
            } else {
                Objects::Discard
            },
            patience: Patience::default(),
            events: args.events.clone(),
        };
        let whole = selected.farm.plan()?;
        build(args, &selected, settings, whole, &mut *reporter)?
    };
    drop(reporter);
    let accuracy = accuracy(&summary);
    let diagnoses = diagnoses(&summary);
    match args.format {
        Format::Human => render::summary::human(&summary, &diagnoses, accuracy.as_ref()),
        Format::Json => render::summary::json(&summary, &diagnoses, accuracy.as_ref()),
    }?;
    Ok(exit_code(&summary))
}

fn needs<'a>(selected: &'a Selected, args: &BuildArgs) -> Result<Vec<(&'a Job, Need)>, Failure> {
    let mut needs = selected.needs(&args.selection, args.force)?;
    if args.rehearse {
        for (_, need) in &mut needs {
            *need = Need::Rehearsed;
        }
    }
    Ok(needs)
}

/// Whether the run before this one was killed: what it left in the engine is removed, also when every
/// wheel is on record.
fn was_killed(out: &Utf8Path) -> bool {
    let last = History::open(&out.join(FILE_NAME)).and_then(|history| history.runs(1));
    let has_no_end = last.is_ok_and(|runs| runs.iter().any(|run| run.state == RunState::Running));
    // One that goes on holds the folder.
    has_no_end && OutFolder::hold(out).is_ok()
}

#[tokio::main]
async fn build(
    args: &BuildArgs,
    selected: &Selected,
    settings: RunSettings,
    plan: Plan,
    reporter: &mut dyn Reporter,
) -> Result<RunSummary, Failure> {
    let engine = Arc::new(DockerEngine::connect().await?);
    let out = OutFolder::open(&args.selection.out)?;
    // Another run may have built some of it, or left it half done, until `out/` was this run's.
    let needs = needs(selected, args)?;
    let workplace = Workplace {
        engine,
        out,
        fetcher: Fetcher::new(cache_folder(args.cache.as_ref()), FetchOptions::default())
            .map_err(Failure::infrastructure)?,
        settings,
        plan,
    };
    let stop = StopSignal::default();
    let run = run::build(workplace, &needs, stop.clone(), reporter);
    tokio::select! {
        res = run => Ok(res?),
        failure = listen(stop) => Err(failure),
    }
}

/// How far off the forecast was. A run in which a job failed, or was stopped, was not to be that
/// short.
fn accuracy(summary: &RunSummary) -> Option<Accuracy> {
    let forecast = summary.forecast.as_ref()?;
    let went_well = summary.jobs.iter().all(|job| match job.outcome {
        Outcome::Built | Outcome::UpToDate => true,
        Outcome::Rehearsed | Outcome::Failed(_) | Outcome::Cancelled | Outcome::NotStarted => false,
    });
    let took_ms = u64::try_from(summary.elapsed.as_millis()).unwrap_or(u64::MAX);
    went_well.then(|| estimate::accuracy(forecast, took_ms))
}

/// What rules know of the jobs that failed, by their logs.
fn diagnoses(summary: &RunSummary) -> JobDiagnoses {
    let failed = summary.jobs.iter().filter_map(|job| {
        let (Outcome::Failed(failure), Some(folder)) = (&job.outcome, &job.folder) else {
            return None;
        };
        let found = explain_failed(folder, failure.kind.as_str())?;
        Some((job.job.clone(), found))
    });
    failed.collect()
}

fn exit_code(summary: &RunSummary) -> ExitCode {
    let mut code = ExitCode::Done;
    for job in &summary.jobs {
        match &job.outcome {
            Outcome::Cancelled => return ExitCode::Cancelled,
            // The farm itself began no further job, for a reason of the host's.
            Outcome::NotStarted if summary.closed.is_some() => code = ExitCode::Infrastructure,
            Outcome::NotStarted if [ExitCode::Done, ExitCode::NotChecked].contains(&code) => {
                code = ExitCode::Cancelled;
            }
            Outcome::Built if is_unchecked(job) && code == ExitCode::Done => {
                code = ExitCode::NotChecked;
            }
            Outcome::Rehearsed if is_unrehearsed(job) && code == ExitCode::Done => {
                code = ExitCode::NotChecked;
            }
            Outcome::Built | Outcome::Rehearsed | Outcome::UpToDate | Outcome::NotStarted => {}
            Outcome::Failed(failure) => match failure.kind.blame() {
                Blame::Host | Blame::Network => code = ExitCode::Infrastructure,
                Blame::Job if code == ExitCode::Infrastructure => {}
                Blame::Job => code = ExitCode::JobFailed,
            },
        }
    }
    code
}

/// Whether a rehearsal could not hold every command line against the contract.
fn is_unrehearsed(job: &JobSummary) -> bool {
    let commands = job.commands.as_ref();
    commands.is_some_and(|commands| commands.not_checked.is_some())
}

/// Whether the gate could not hold every rule against the job's wheel.
fn is_unchecked(job: &JobSummary) -> bool {
    let gate = job.gate.as_ref();
    gate.is_some_and(|gate| gate.verdict == Verdict::NotChecked)
}
