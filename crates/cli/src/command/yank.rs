//! `wheelfarm yank`.

use wheelfarm_core::release::life::steps;

use super::shelf::{self, Mark};
use crate::args::MarkArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;

pub(super) fn run(args: &MarkArgs) -> Result<ExitCode, Failure> {
    let globs = shelf::globs(&args.globs)?;
    let mark = Mark::of(args)?;
    shelf::revise(&args.shelf, |catalog, now| match &mark {
        Mark::Set(reason) => steps::yank(catalog, &globs, reason, now),
        Mark::Remove => steps::unyank(catalog, &globs, now),
    })
}
