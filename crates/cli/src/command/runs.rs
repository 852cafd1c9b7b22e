//! `wheelfarm runs`.

use wheelfarm_engine::store::{FILE_NAME, History};

use crate::args::{Format, RunsArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &RunsArgs) -> Result<ExitCode, Failure> {
    let history = History::open(&args.out.join(FILE_NAME))?;
    let Some(id) = args.run else {
        let runs = history.runs(args.last)?;
        match args.format {
            Format::Human => render::runs::list_human(&runs),
            Format::Json => render::runs::list_json(&runs),
        }?;
        return Ok(ExitCode::Done);
    };
    let Some(detail) = history.run(id)? else {
        let error = anyhow::anyhow!("no run {id} in `{}`", history.path());
        return Err(Failure::bad_input(error).with_hint("`wheelfarm runs` lists them"));
    };
    match args.format {
        Format::Human => render::runs::human(&detail),
        Format::Json => render::runs::json(&detail),
    }?;
    Ok(ExitCode::Done)
}
