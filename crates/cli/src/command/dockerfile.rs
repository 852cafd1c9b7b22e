//! `wheelfarm dockerfile`.

use wheelfarm_core::render::StageContext;
use wheelfarm_engine::farm_folder::FarmFolder;

use super::find_job;
use crate::args::DockerfileArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &DockerfileArgs) -> Result<ExitCode, Failure> {
    let farm = FarmFolder::read(&args.matrix)?;
    let plan = farm.plan()?;
    let job = find_job(&plan, &args.job)?;
    let ca_bundle = farm.ca_bundle()?;
    let context = StageContext::new(job, ca_bundle.as_deref()).map_err(Failure::bad_input)?;
    render::data(context.dockerfile().trim_end())?;
    Ok(ExitCode::Done)
}
