//! `wheelfarm gc`: of a shelf with `--from`, else of this host.

use std::num::NonZeroU32;

use wheelfarm_core::release::life::sweep::KeepRules;
use wheelfarm_engine::shelf::folder::Address;
use wheelfarm_engine::shelf::revise::{self, Act};

use super::{gc_host, place, shelf};
use crate::args::{Format, GcArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &GcArgs) -> Result<ExitCode, Failure> {
    match &args.from {
        Some(from) => run_shelf(args, from),
        None => gc_host::run(args),
    }
}

fn run_shelf(args: &GcArgs, from: &str) -> Result<ExitCode, Failure> {
    let rules = KeepRules {
        last: args.keep_last.and_then(NonZeroU32::new),
        days: args.keep_days,
        releases: args.keep_release.and_then(NonZeroU32::new),
    };
    let act = if args.dry_run { Act::Show } else { Act::Make };
    let cleared = shelf::wait(async {
        let kept = (Address::Kept, None);
        let place = place::open(from, &args.hub, kept, args.format).await?;
        let cleared = revise::clear_out(&place, act, &rules, &args.hold).await;
        cleared.map_err(shelf::failure)
    })?;
    match args.format {
        Format::Human => render::shelf::cleared_human(&cleared),
        Format::Json => render::shelf::cleared_json(&cleared),
    }?;
    Ok(ExitCode::Done)
}
