//! `wheelfarm plan`.

use wheelfarm_core::plan::github_matrix;
use wheelfarm_engine::farm_folder;

use super::Selected;
use crate::args::{PlanArgs, PlanFormat};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let selected = Selected::read(&args.selection)?;
    let needs = selected.needs(&args.selection, args.force)?;
    let why = farm_folder::why(&args.selection.out, &needs)?;
    match args.format {
        PlanFormat::Human => render::plan::human(&needs, &why, &selected.plan.excluded)?,
        PlanFormat::Json => render::plan::json(&needs, &why, &selected.plan.excluded)?,
        PlanFormat::Github => {
            let matrix = github_matrix(&needs).map_err(|error| {
                let hint = error.hint();
                Failure::bad_input(error).with_hint(hint)
            })?;
            render::data(&matrix)?;
        }
    }
    Ok(ExitCode::Done)
}
