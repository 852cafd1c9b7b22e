//! The flags of the install table.

use camino::Utf8PathBuf;
use clap::Args as ClapArgs;

/// Whether and with what pip and uv are tried.
#[derive(Debug, ClapArgs)]
pub(crate) struct TableArgs {
    /// Do not ask real pip and uv first what they would install: no python3, or no PyPI to reach.
    #[arg(long)]
    pub(crate) without_install_table: bool,
    /// Afterwards, ask pip and uv the same at the place that it went to; what comes out wrong is
    /// yanked.
    #[arg(long, conflicts_with_all = ["dry_run", "without_install_table"])]
    pub(crate) prove_after: bool,
    /// The Python that runs pip for that; others are found by their names (`python3.12`).
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    pub(crate) python: Utf8PathBuf,
}
