//! The arguments of what becomes of a shelf after a publication.

use camino::Utf8PathBuf;
use clap::{ArgGroup, Args as ClapArgs};

use super::{Format, TrackArg};

/// A shelf that is changed.
#[derive(Debug, ClapArgs)]
pub(crate) struct ShelfArgs {
    /// The shelf: the folder or the repository that was published to.
    #[arg(long, value_name = "FOLDER|hf://OWNER/NAME")]
    pub(crate) from: String,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How what was done is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// A mark on wheels, with its reason.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("mark").args(["reason", "undo"]).required(true))]
pub(crate) struct MarkArgs {
    /// Which wheels: globs over file names (`demo-1.2*`), or over channels and file names
    /// (`cu130/torch2.11/*`).
    #[arg(required = true, value_name = "GLOB")]
    pub(crate) globs: Vec<String>,
    /// Why, in a line that users will read.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Take the mark away again.
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) shelf: ShelfArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PromoteArgs {
    /// Which wheels of the nightly track: globs, as for `yank`.
    #[arg(required = true, value_name = "GLOB")]
    pub(crate) globs: Vec<String>,
    #[command(flatten)]
    pub(crate) shelf: ShelfArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RollbackArgs {
    /// The release that comes back: its number, as `wheelfarm status` lists it, or `latest-1`.
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to: String,
    /// Take yanks back that came since; without it they stay.
    #[arg(long)]
    pub(crate) unyank: bool,
    /// Go without wheels that were cleared out since; without it they keep the release from coming back.
    #[arg(long)]
    pub(crate) without_cleared: bool,
    #[command(flatten)]
    pub(crate) shelf: ShelfArgs,
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("rule")
    .args(["keep_last", "keep_days", "keep_release"])
    .required(true)
    .multiple(true))]
pub(crate) struct GcArgs {
    /// Keep so many of the newest wheels of each package, channel, Python and track.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_last: Option<u32>,
    /// Keep what came in the last so many days.
    #[arg(long, value_name = "DAYS")]
    pub(crate) keep_days: Option<u32>,
    /// Keep what any of the last so many releases listed, the present one included.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_release: Option<u32>,
    /// Keep what this lock file points to, by digest, file name or pinned version: requirements.txt,
    /// uv.lock, pylock.toml, a Dockerfile, any text; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) hold: Vec<Utf8PathBuf>,
    #[command(flatten)]
    pub(crate) shelf: ShelfArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    /// The shelf: the folder or the repository that was published to.
    #[arg(long, value_name = "FOLDER|hf://OWNER/NAME")]
    pub(crate) from: String,
    /// How old the newest wheel of each channel and track is.
    #[arg(long)]
    pub(crate) freshness: bool,
    /// Which jobs of this matrix are published, too.
    #[arg(long, value_name = "FILE", requires = "freshness")]
    pub(crate) matrix: Option<Utf8PathBuf>,
    /// End with exit code 1 when the newest wheel of a channel of the nightly track is older: `36h`.
    #[arg(long, value_name = "TIME", requires = "freshness")]
    pub(crate) max_age: Option<String>,
    /// The track that --max-age is about.
    #[arg(long, value_enum, requires = "max_age", default_value_t = TrackArg::Nightly)]
    pub(crate) track: TrackArg,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
