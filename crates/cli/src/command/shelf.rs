//! What the commands on a shelf share: which one it is, how it is changed, and how that fails.

use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::release::life::pick::{Reason, WheelGlobs};
use wheelfarm_core::release::life::{LifeError, Revision};
use wheelfarm_engine::shelf::any::AnyShelf;
use wheelfarm_engine::shelf::folder::Address;
use wheelfarm_engine::shelf::revise::{self, Act};

use super::{place, unless_stopped};
use crate::args::{Format, MarkArgs, ShelfArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// The shelf that the arguments name.
pub(super) async fn open(args: &ShelfArgs) -> Result<AnyShelf, Failure> {
    let kept = (Address::Kept, None);
    place::open(&args.from, &args.hub, kept, args.format).await
}

/// Changes a shelf by `step`, and says what was done.
pub(super) fn revise(
    args: &ShelfArgs,
    step: impl FnOnce(&Catalog, &str) -> Result<Revision, LifeError>,
) -> Result<ExitCode, Failure> {
    let revised = wait(async {
        let shelf = open(args).await?;
        let revised = revise::revise(&shelf, act(args), step).await;
        revised.map_err(failure)
    })?;
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
        let reason = reason.parse::<Reason>().map_err(|error| {
            Failure::bad_input(error)
                .with_hint("say in a line what users should know: `--reason 'crashes on import'`")
        })?;
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

pub(super) use super::place::failure;
