//! `wheelfarm gc`.

use std::num::NonZeroU32;

use wheelfarm_core::release::life::sweep::KeepRules;
use wheelfarm_engine::shelf::revise;

use super::shelf;
use crate::args::{Format, GcArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &GcArgs) -> Result<ExitCode, Failure> {
    let rules = KeepRules {
        last: args.keep_last.and_then(NonZeroU32::new),
        days: args.keep_days,
        releases: args.keep_release.and_then(NonZeroU32::new),
    };
    let place = shelf::open(&args.shelf.from)?;
    let act = shelf::act(&args.shelf);
    let cleared = shelf::wait(async {
        let cleared = revise::clear_out(&place, act, &rules, &args.hold).await;
        cleared.map_err(shelf::failure)
    })?;
    match args.shelf.format {
        Format::Human => render::shelf::cleared_human(&cleared),
        Format::Json => render::shelf::cleared_json(&cleared),
    }?;
    Ok(ExitCode::Done)
}
