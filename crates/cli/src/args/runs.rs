//! The arguments of what is kept of runs.

use std::str::FromStr;

use camino::Utf8PathBuf;
use clap::{Args as ClapArgs, ValueEnum};
use wheelfarm_engine::store::{RunId, Seq};

/// Which run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunChoice {
    /// The newest.
    Last,
    /// That of this number.
    Number(RunId),
}

impl FromStr for RunChoice {
    type Err = <RunId as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "last" => Ok(Self::Last),
            number => number.parse().map(Self::Number),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunsFormat {
    /// For people.
    Human,
    /// Schema 1, sorted keys.
    Json,
    /// For `$GITHUB_STEP_SUMMARY`: failures with the ends of their logs, and a table of the jobs.
    Markdown,
    /// Of one run, commands for GitHub's runner: an annotation for each job that failed or was retried.
    Github,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunsArgs {
    /// A run by its number, or `last`, with its jobs; without one, the runs are listed.
    #[arg(value_name = "RUN|last")]
    pub(crate) run: Option<RunChoice>,
    /// The folder of the builds.
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    pub(crate) out: Utf8PathBuf,
    /// How many runs are listed, the newest.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "run",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) last: u32,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t = RunsFormat::Human)]
    pub(crate) format: RunsFormat,
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
