//! `wheelfarm completions`.

use clap_complete::Shell;

use crate::args::{self, CompletionsArgs, ShellArg};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
        ShellArg::PowerShell => Shell::PowerShell,
        ShellArg::Elvish => Shell::Elvish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "wheelfarm", &mut script);
    let script = String::from_utf8_lossy(&script);
    render::data(script.trim_end())?;
    Ok(ExitCode::Done)
}
