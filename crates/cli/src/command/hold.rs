//! `wheelfarm hold`.

use wheelfarm_core::release::life::steps;

use super::shelf::{self, Mark};
use crate::args::MarkArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;

pub(super) fn run(args: &MarkArgs) -> Result<ExitCode, Failure> {
    let globs = shelf::globs(&args.globs)?;
    let mark = Mark::of(args)?;
    shelf::revise(&args.shelf, |catalog, now| match &mark {
        Mark::Set(reason) => steps::hold(catalog, &globs, reason, now),
        Mark::Remove => steps::unhold(catalog, &globs, now),
    })
}
