//! The arguments of what is kept of runs.

use camino::Utf8PathBuf;
use clap::Args as ClapArgs;
use wheelfarm_engine::store::{RunId, Seq};

use super::Format;

#[derive(Debug, ClapArgs)]
pub(crate) struct RunsArgs {
    /// A run by its number, with its jobs; without one, the runs are listed.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// The folder of the builds.
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    pub(crate) out: Utf8PathBuf,
    /// How many runs are listed, the newest.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "run",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) last: u32,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EventsArgs {
    /// Begin behind the event of this number; 0 is before the first.
    #[arg(long, value_name = "SEQ", default_value = "0")]
    pub(crate) after: Seq,
    /// Wait for more, until stopped.
    #[arg(long)]
    pub(crate) follow: bool,
    /// The folder of the builds.
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    pub(crate) out: Utf8PathBuf,
}
