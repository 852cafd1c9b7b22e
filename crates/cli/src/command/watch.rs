//! `wheelfarm watch`.

use camino::Utf8Path;
use wheelfarm_core::watch::propose::{self, Proposal};
use wheelfarm_core::watch::told::Told;
use wheelfarm_core::watch::{self, Answers, Comparison, NewsKind};
use wheelfarm_engine::farm_folder::FarmFolder;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::files;
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::watch::{ToldFileError, look, read_told, write_told};

use super::{cache_folder, listen};
use crate::args::{Format, WatchArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::watch::Report;

pub(super) fn run(args: &WatchArgs) -> Result<ExitCode, Failure> {
    let farm = FarmFolder::read(&args.matrix)?;
    // News is for a matrix that works: what is wrong with it already is said first.
    let plan = farm.plan()?;
    render::warnings(&plan.warnings);
    let state = args.since.as_ref().unwrap_or(&args.state);
    let mut told = told_before(state)?;
    let answers = ask(&farm)?;
    let Comparison {
        mut news,
        not_checked,
    } = watch::compare(&farm.matrix, farm.packages(), &answers);
    if !args.kind.is_empty() {
        let is_wanted = |kind: NewsKind| args.kind.iter().any(|wanted| wanted == kind.as_str());
        news.retain(|news| is_wanted(news.kind));
    }
    let count = news.len();
    if !args.all {
        news.retain(|news| !told.has(news));
    }
    let proposal = propose::propose(&farm.plan_input(), &farm.texts()?, &news);
    let report = Report {
        told_before: count - news.len(),
        news: &news,
        not_checked: &not_checked,
        is_written: args.write,
        proposal: &proposal,
    };
    if args.write {
        write(&proposal)?;
    }
    match args.format {
        Format::Human => render::watch::human(&report),
        Format::Json => render::watch::json(&report),
    }?;
    if args.since.is_none() && (args.write || args.remember) {
        for news in &news {
            told.add(news);
        }
        write_told(&args.state, &told).map_err(Failure::infrastructure)?;
    }
    Ok(if args.exit_code && !news.is_empty() {
        ExitCode::JobFailed
    } else if !not_checked.is_empty() {
        ExitCode::NotChecked
    } else {
        ExitCode::Done
    })
}

#[tokio::main]
async fn ask(farm: &FarmFolder) -> Result<Answers, Failure> {
    let questions = watch::questions(&farm.matrix, farm.packages());
    let options = FetchOptions {
        // Some indexes may be out of reach for good, and the others wait for them.
        attempts: 3,
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(cache_folder(None), options).map_err(Failure::infrastructure)?;
    let stop = StopSignal::default();
    let token = stop.stop.clone();
    tokio::select! {
        biased;
        () = token.cancelled() => Err(stopped()),
        answers = look(&fetcher, questions, |_| {}) => Ok(answers),
        failure = listen(stop) => Err(failure),
    }
}

fn stopped() -> Failure {
    Failure::new(ExitCode::Cancelled, anyhow::anyhow!("stopped"))
}

/// What has been told; nothing when the file is not there yet.
fn told_before(path: &Utf8Path) -> Result<Told, Failure> {
    read_told(path).map_err(|error| match error {
        ToldFileError::Content { .. } => Failure::bad_input(error).with_hint(
            "name the file that `wheelfarm watch --remember` wrote, or remove it to be told all",
        ),
        ToldFileError::File(_) => Failure::infrastructure(error),
    })
}

fn write(proposal: &Proposal) -> Result<(), Failure> {
    let Some(matrix) = &proposal.matrix else {
        return Ok(());
    };
    files::rewrite(Utf8Path::new(&matrix.path), matrix.after.as_bytes())
        .map_err(Failure::infrastructure)
}
