//! `wheelfarm man`.

use camino::Utf8Path;
use wheelfarm_engine::files;

use crate::args::{self, ManArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::man::Page;

pub(super) fn run(args: &ManArgs) -> Result<ExitCode, Failure> {
    let pages = render::man::pages(args::command());
    match &args.out {
        Some(folder) => write(folder, &pages)?,
        None => print(&args.command, &pages)?,
    }
    Ok(ExitCode::Done)
}

fn write(folder: &Utf8Path, pages: &[Page]) -> Result<(), Failure> {
    files::create_folder(folder).map_err(Failure::infrastructure)?;
    for page in pages {
        let path = folder.join(page.file_name());
        files::write_atomic(&path, page.text.as_bytes()).map_err(Failure::infrastructure)?;
        render::data(&format!("wrote {path}"))?;
    }
    Ok(())
}

fn print(command: &[String], pages: &[Page]) -> Result<(), Failure> {
    let Some(page) = pages.iter().find(|page| page.command == command) else {
        let error = anyhow::anyhow!("there is no command `wheelfarm {}`", command.join(" "));
        return Err(Failure::bad_input(error).with_hint("`wheelfarm help` lists the commands"));
    };
    Ok(render::data(page.text.trim_end())?)
}
