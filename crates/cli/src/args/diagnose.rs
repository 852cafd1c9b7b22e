use camino::Utf8PathBuf;
use clap::{Args as ClapArgs, ValueEnum};
use wheelfarm_engine::diagnose::Assistant;

use super::Format;

/// Exit codes: 0 a rule fits, 2 there is no such log, 3 the prompt could not be written or the assistant
/// gave no answer, 4 no rule fits.
#[derive(Debug, ClapArgs)]
pub(crate) struct DiagnoseArgs {
    /// A log of anything from anywhere, the folder of a failed job (`out/failed/JOB`), or `-` for
    /// standard input.
    #[arg(value_name = "LOG|FOLDER|-", required_unless_present = "list")]
    pub(crate) log: Option<Utf8PathBuf>,
    /// List the rules instead.
    #[arg(long, conflicts_with_all = ["log", "assistant", "prompt"])]
    pub(crate) list: bool,
    /// When no rule fits: hand the prompt to an assistant that is installed here, and show its answer.
    /// Without a name the first of `claude` and `gemini` on PATH. Nothing that it proposes is run.
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true,
          default_missing_value = "any")]
    pub(crate) assistant: Option<AssistantArg>,
    /// Where the prompt is written when no rule fits [default: beside the log]
    #[arg(long, value_name = "FILE")]
    pub(crate) prompt: Option<Utf8PathBuf>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AssistantArg {
    /// The first that is found.
    Any,
    /// Claude Code.
    Claude,
    /// Gemini CLI.
    Gemini,
}

impl AssistantArg {
    /// The one that is asked for, if it is one.
    pub(crate) fn wanted(self) -> Option<Assistant> {
        match self {
            Self::Any => None,
            Self::Claude => Some(Assistant::Claude),
            Self::Gemini => Some(Assistant::Gemini),
        }
    }
}
