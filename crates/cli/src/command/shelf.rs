//! What the commands on a shelf share: which one it is, how it is changed, and how that fails.

use camino::Utf8Path;
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::release::life::pick::{Reason, WheelGlobs};
use wheelfarm_core::release::life::{LifeError, Revision};
use wheelfarm_engine::shelf::Fault;
use wheelfarm_engine::shelf::folder::{Address, FolderShelf};
use wheelfarm_engine::shelf::revise::{self, Act, ReviseError};

use super::publish::shelf_failure;
use super::unless_stopped;
use crate::args::{Format, MarkArgs, ShelfArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// The shelf at `place`, as a user types it.
pub(super) fn open(place: &str) -> Result<FolderShelf, Failure> {
    if place.starts_with("hf://") {
        let error =
            anyhow::anyhow!("`{place}` is a repository on the Hub, which is not built in yet");
        return Err(Failure::bad_input(error).with_hint("name a folder"));
    }
    FolderShelf::new(Utf8Path::new(place), Address::Kept).map_err(shelf_failure)
}

/// Changes a shelf by `step`, and says what was done.
pub(super) fn revise(
    args: &ShelfArgs,
    step: impl FnOnce(&Catalog, &str) -> Result<Revision, LifeError>,
) -> Result<ExitCode, Failure> {
    let shelf = open(&args.from)?;
    let work = async {
        revise::revise(&shelf, act(args), step)
            .await
            .map_err(failure)
    };
    let revised = wait(work)?;
    match args.format {
        Format::Human => render::shelf::human(&revised),
        Format::Json => render::shelf::json(&revised),
    }?;
    Ok(ExitCode::Done)
}

/// What `yank` and `hold` want: a mark with this reason, or none.
pub(super) enum Mark {
    /// With this reason.
    Set(Reason),
    /// None.
    Remove,
}

impl Mark {
    pub(super) fn of(args: &MarkArgs) -> Result<Self, Failure> {
        let Some(reason) = &args.reason else {
            return Ok(Self::Remove);
        };
        let reason = reason.parse().map_err(Failure::bad_input)?;
        Ok(Self::Set(reason))
    }
}

pub(super) fn globs(globs: &[String]) -> Result<WheelGlobs, Failure> {
    WheelGlobs::new(globs).map_err(|error| {
        Failure::bad_input(error)
            .with_hint("`*` stands for any text, `?` for one letter, `[ab]` for one of these")
    })
}

pub(super) fn act(args: &ShelfArgs) -> Act {
    if args.dry_run { Act::Show } else { Act::Make }
}

/// Runs `work` until it ends or the user stops it: a change that was begun is made or not made at all.
#[tokio::main]
pub(super) async fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    unless_stopped(work).await
}

pub(super) fn failure<E: Fault>(error: ReviseError<E>) -> Failure {
    if !error.is_bad_input() {
        return shelf_failure(error);
    }
    let hint = error.hint();
    let failure = Failure::bad_input(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
