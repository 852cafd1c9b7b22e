//! `wheelfarm build`.

use std::sync::Arc;

use camino::Utf8PathBuf;
use wheelfarm_core::outcome::{Blame, Outcome};
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::event::Reporter;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::out_folder::OutFolder;
use wheelfarm_engine::run::{self, RunSettings, RunSummary, StopSignal, Workplace};

use super::{Selected, listen};
use crate::args::{BuildArgs, Format};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let selected = Selected::read(&args.selection)?;
    selected.refuse_nothing()?;
    let needs = selected.needs(&args.selection, args.force)?;
    let mut reporter = render::progress::reporter(args.format);
    let summary = if needs.iter().all(|(_, need)| *need == Need::UpToDate) {
        // No engine is asked for what is done already.
        run::up_to_date(&needs, &mut *reporter)
    } else {
        let settings = RunSettings {
            farm: selected.farm.matrix.farm.clone(),
            jobs: usize::try_from(args.jobs.unwrap_or(selected.farm.matrix.build.jobs))
                .unwrap_or(usize::MAX),
            memory: selected.farm.matrix.build.memory,
            ca_bundle: selected.farm.ca_bundle()?,
        };
        build(args, &needs, settings, &mut *reporter)?
    };
    drop(reporter);
    match args.format {
        Format::Human => render::summary::human(&summary),
        Format::Json => render::summary::json(&summary),
    }?;
    Ok(exit_code(&summary))
}

#[tokio::main]
async fn build(
    args: &BuildArgs,
    needs: &[(&Job, Need)],
    settings: RunSettings,
    reporter: &mut dyn Reporter,
) -> Result<RunSummary, Failure> {
    let workplace = Workplace {
        engine: Arc::new(DockerEngine::connect().await?),
        out: OutFolder::open(&args.selection.out)?,
        fetcher: Fetcher::new(cache_folder(args), FetchOptions::default())
            .map_err(Failure::infrastructure)?,
        settings,
    };
    let stop = StopSignal::default();
    let run = run::build(workplace, needs, stop.clone(), reporter);
    tokio::select! {
        res = run => Ok(res?),
        failure = listen(stop) => Err(failure),
    }
}

/// Downloads are named by their digest, so every farm of a user may share them.
fn cache_folder(args: &BuildArgs) -> Utf8PathBuf {
    let variable = |name| std::env::var(name).ok().map(Utf8PathBuf::from);
    args.cache.clone().unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(|| Utf8PathBuf::from("/var/cache"))
            .join("wheelfarm")
    })
}

fn exit_code(summary: &RunSummary) -> ExitCode {
    let mut code = ExitCode::Done;
    for job in &summary.jobs {
        match &job.outcome {
            Outcome::Cancelled => return ExitCode::Cancelled,
            Outcome::NotStarted if code == ExitCode::Done => code = ExitCode::Cancelled,
            Outcome::Built | Outcome::UpToDate | Outcome::NotStarted => {}
            Outcome::Failed(failure) => match failure.kind.blame() {
                Blame::Host | Blame::Network => code = ExitCode::Infrastructure,
                Blame::Job if code == ExitCode::Infrastructure => {}
                Blame::Job => code = ExitCode::JobFailed,
            },
        }
    }
    code
}
