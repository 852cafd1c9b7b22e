//! The arguments of what becomes of a shelf after a publication.

use camino::Utf8PathBuf;
use clap::{ArgGroup, Args as ClapArgs};

use super::{Format, HubArgs, TrackArg};

/// A shelf that is changed.
#[derive(Debug, ClapArgs)]
pub(crate) struct ShelfArgs {
    /// The shelf: the folder or the repository that was published to.
    #[arg(long, value_name = "FOLDER|hf://OWNER/NAME")]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
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

/// Without --from, clears this host of what a farm has no more use for: containers and volumes of runs that are no
/// more, images that its matrix does not need, caches over their size, what failed jobs left. It touches only what
/// carries the farm's labels, and does not run beside a build. With --from, clears out a shelf.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("rule")
    .args(["keep_last", "keep_days", "keep_release"])
    .multiple(true))]
pub(crate) struct GcArgs {
    /// The shelf: the folder or the repository that was published to.
    #[arg(long, value_name = "FOLDER|hf://OWNER/NAME", requires = "rule")]
    pub(crate) from: Option<String>,
    /// Of a shelf: keep so many of the newest wheels of each package, channel, Python and track.
    #[arg(long, value_name = "N", requires = "from", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_last: Option<u32>,
    /// Of a shelf: keep what came in the last so many days.
    #[arg(long, value_name = "DAYS", requires = "from")]
    pub(crate) keep_days: Option<u32>,
    /// Of a shelf: keep what any of the last so many releases listed, the present one included.
    #[arg(long, value_name = "N", requires = "from", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_release: Option<u32>,
    /// Of a shelf: keep what this lock file points to, by digest, file name or pinned version:
    /// requirements.txt, uv.lock, pylock.toml, a Dockerfile, any text; may be given several times.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) hold: Vec<Utf8PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How what was done is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// What is cleared of a host.
#[derive(Debug, ClapArgs)]
pub(crate) struct HostArgs {
    /// Of this host: the matrix, which says what is still needed.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "matrix.yaml",
        conflicts_with = "from"
    )]
    pub(crate) matrix: Utf8PathBuf,
    /// Of this host: where the farm keeps wheels and manifests.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "out",
        conflicts_with = "from"
    )]
    pub(crate) out: Utf8PathBuf,
    /// Of this host: how long what failed jobs left, and images of proofs, are kept.
    #[arg(
        long,
        value_name = "DAYS",
        default_value = "30d",
        conflicts_with = "from"
    )]
    pub(crate) keep_runs: String,
    /// Of this host: make compiler caches of more than this smaller: `20GiB`, for each package's.
    #[arg(long, value_name = "SIZE", conflicts_with = "from")]
    pub(crate) cache_size: Option<String>,
    /// Of this host: remove the farm's shared images and those of proofs too, though the next build needs them.
    #[arg(long, conflicts_with = "from")]
    pub(crate) all_images: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    /// The shelf: the folder or the repository that was published to.
    #[arg(long, value_name = "FOLDER|hf://OWNER/NAME")]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
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
