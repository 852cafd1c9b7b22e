//! The arguments of `doctor`.

use camino::Utf8PathBuf;
use clap::Args as ClapArgs;

use super::Format;

/// Nothing is built, pulled or written. A line for each check: pass, warn, fail or not checked, what was seen, and what to
/// type. Exit codes: 0 nothing failed, 2 the matrix is wrong, 3 something failed, 4 with --strict, when nothing failed and
/// something could not be checked.
#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// The matrix that the night builds; without this flag, matrix.yaml if it is here.
    #[arg(long, value_name = "FILE")]
    pub(crate) matrix: Option<Utf8PathBuf>,
    /// Only what jobs need whose id matches this glob; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) only: Vec<String>,
    /// Not what jobs need whose id matches this glob; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) skip: Vec<String>,
    /// Where wheels and manifests are kept.
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    pub(crate) out: Utf8PathBuf,
    /// Where downloads are kept between runs.
    #[arg(long, value_name = "FOLDER", env = "WHEELFARM_CACHE")]
    pub(crate) cache: Option<Utf8PathBuf>,
    /// Where the night publishes to: a folder, or a repository on a Hub as `hf://OWNER/NAME`.
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: Option<String>,
    /// The Hub, instead of `HF_ENDPOINT` or <https://huggingface.co>.
    #[arg(long, value_name = "URL", requires = "to")]
    pub(crate) endpoint: Option<String>,
    /// The night also runs wheels with this machine's GPU (`wheelfarm prove`): one that does not run what is planned is a
    /// fault then.
    #[arg(long)]
    pub(crate) prove: bool,
    /// Ask no server.
    #[arg(long)]
    pub(crate) offline: bool,
    /// End with exit code 4 when something could not be checked, though nothing failed.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How the checks are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
