//! The arguments of what helps people use the program: completions, man pages, schemas.

use camino::Utf8PathBuf;
use clap::{Args as ClapArgs, ValueEnum};

use super::Format;

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: ShellArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShellArg {
    /// Bash 4.2 and later, with bash-completion.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
    /// PowerShell 5 and later.
    #[value(name = "powershell")]
    PowerShell,
    /// Elvish.
    Elvish,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ManArgs {
    /// The command that the page is of (`patch check`); without one, wheelfarm itself.
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands into this folder, instead of printing one.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    pub(crate) out: Option<Utf8PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SchemaArgs {
    /// The schema's name, as the list has it; without one, they are listed.
    pub(crate) name: Option<String>,
    /// How the list is printed; a schema itself is JSON either way.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
