//! `wheelfarm status`.

use wheelfarm_core::quantity::{QuantityError, TimeLimit};
use wheelfarm_core::release::catalog::Track;
use wheelfarm_core::release::life::freshness::{DeclaredJob, freshness};
use wheelfarm_engine::farm_folder::FarmFolder;
use wheelfarm_engine::publish::now;
use wheelfarm_engine::shelf::Shelf;
use wheelfarm_engine::shelf::revise::{self, ReviseError};

use super::shelf;
use crate::args::{Format, StatusArgs, TrackArg};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// How many earlier releases are listed.
const PAST: usize = 10;

pub(super) fn run(args: &StatusArgs) -> Result<ExitCode, Failure> {
    if args.freshness {
        return run_freshness(args);
    }
    let place = shelf::open(&args.from)?;
    let (snapshot, past) = shelf::wait(async {
        let snapshot = revise::read(&place).await.map_err(shelf::failure)?;
        // The latest may be among them.
        let past = place.past(PAST + 1).await;
        let past = past.map_err(|error| shelf::failure(ReviseError::Shelf(error)))?;
        Ok((snapshot, past))
    })?;
    let status = render::status::Status {
        place: &place.address(),
        catalog: &snapshot.catalog,
        past: &past,
    };
    match args.format {
        Format::Human => render::status::human(&status),
        Format::Json => render::status::json(&status),
    }?;
    Ok(ExitCode::Done)
}

fn run_freshness(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let max_age = args.max_age.as_deref().map(time_limit).transpose()?;
    let track = match args.track {
        TrackArg::Stable => Track::Stable,
        TrackArg::Nightly => Track::Nightly,
    };
    let jobs = args.matrix.as_ref().map(|matrix| {
        let plan = FarmFolder::read(matrix)?.plan()?;
        render::warnings(&plan.warnings);
        Ok::<_, Failure>(plan.jobs.iter().map(DeclaredJob::of).collect::<Vec<_>>())
    });
    let jobs = jobs.transpose()?;
    let place = shelf::open(&args.from)?;
    let snapshot = shelf::wait(async { revise::read(&place).await.map_err(shelf::failure) })?;
    let freshness = freshness(&snapshot.catalog, jobs.as_deref(), &now());
    let freshness = freshness.map_err(Failure::infrastructure)?;
    let report = render::status::Freshness {
        place: &place.address(),
        found: &freshness,
        limit: max_age.map(|max_age| (track, max_age)),
    };
    match args.format {
        Format::Human => render::status::freshness_human(&report),
        Format::Json => render::status::freshness_json(&report),
    }?;
    Ok(if report.is_stale() {
        ExitCode::JobFailed
    } else {
        ExitCode::Done
    })
}

fn time_limit(text: &str) -> Result<TimeLimit, Failure> {
    text.parse().map_err(|error: QuantityError| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}
