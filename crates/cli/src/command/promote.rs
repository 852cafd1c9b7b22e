//! `wheelfarm promote`.

use wheelfarm_core::release::life::steps;

use super::shelf;
use crate::args::PromoteArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;

pub(super) fn run(args: &PromoteArgs) -> Result<ExitCode, Failure> {
    let globs = shelf::globs(&args.globs)?;
    shelf::revise(&args.shelf, |catalog, now| {
        steps::promote(catalog, &globs, now)
    })
}
