//! `wheelfarm rollback`.

use wheelfarm_core::release::life::steps::{ClearedOut, Earlier, EarlierError, Yanks};
use wheelfarm_engine::shelf::revise;

use super::shelf;
use crate::args::{Format, RollbackArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &RollbackArgs) -> Result<ExitCode, Failure> {
    let earlier: Earlier = args.to.parse().map_err(|error: EarlierError| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })?;
    let yanks = if args.unyank {
        Yanks::AsThen
    } else {
        Yanks::Keep
    };
    let cleared_out = if args.without_cleared {
        ClearedOut::LeaveOut
    } else {
        ClearedOut::Refuse
    };
    let place = shelf::open(&args.shelf.from)?;
    let act = shelf::act(&args.shelf);
    let revised = shelf::wait(async {
        let revised = revise::roll_back(&place, act, earlier, yanks, cleared_out).await;
        revised.map_err(shelf::failure)
    })?;
    match args.shelf.format {
        Format::Human => render::shelf::human(&revised),
        Format::Json => render::shelf::json(&revised),
    }?;
    Ok(ExitCode::Done)
}
