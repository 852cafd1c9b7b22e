//! What begins a farm, or something in one.

use camino::Utf8PathBuf;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::{Format, InitPackageArgs};

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct InitArgs {
    #[command(subcommand)]
    pub(crate) what: Option<InitCommand>,
    #[command(flatten)]
    pub(crate) farm: InitFarmArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InitCommand {
    /// Begin the folder of a package from its source, which is read and not run.
    Package(InitPackageArgs),
}

/// A new farm. What is left out is chosen, and said with the reason.
#[derive(Debug, ClapArgs)]
pub(crate) struct InitFarmArgs {
    /// Where the farm is written: a new folder, or one with other files (a repository). Nothing that is
    /// there is overwritten.
    #[arg(value_name = "FOLDER", default_value = ".")]
    pub(crate) folder: Utf8PathBuf,
    /// The farm's name [default: the folder's]
    #[arg(long, value_name = "NAME")]
    pub(crate) farm: Option<String>,
    /// A GPU that wheels are for, by its name or compute capability; may be given several times
    /// [default: those of this machine]
    #[arg(long, value_name = "GPU", conflicts_with = "archs")]
    pub(crate) gpu: Vec<String>,
    /// What wheels are compiled for, instead of GPUs: `9.0 12.0+PTX`
    #[arg(long, value_name = "ARCHS")]
    pub(crate) archs: Option<String>,
    /// The torch that wheels are built against: `2.11`, `2.11.0`
    #[arg(long, value_name = "VERSION")]
    pub(crate) torch: Option<String>,
    /// The CUDA toolkit that compiles them: `13.0`
    #[arg(long, value_name = "VERSION")]
    pub(crate) cuda: Option<String>,
    /// A Python that wheels are built for: `3.12`; may be given several times
    #[arg(long, value_name = "VERSION")]
    pub(crate) python: Vec<String>,
    /// A package to build, of those that wheelfarm brings along, or one version of it; may be given
    /// several times
    #[arg(long, value_name = "NAME[==VERSION]")]
    pub(crate) package: Vec<String>,
    /// What images start from.
    #[arg(long, value_enum, default_value_t = InitBase::Manylinux)]
    pub(crate) base: InitBase,
    /// Where wheels will be published, for the README and the next steps.
    #[arg(long, value_name = "FOLDER|hf://OWNER/NAME")]
    pub(crate) publish_to: Option<String>,
    /// The labels of the nightly's runner, `self-hosted` among them.
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "self-hosted linux x64 gpu"
    )]
    pub(crate) runner_labels: String,
    /// The wheelfarm that the nightly installs [default: the commit that this program was built from]
    #[arg(long, value_name = "OWNER/NAME@COMMIT")]
    pub(crate) action: Option<String>,
    /// Write no workflow for GitHub Actions.
    #[arg(long, conflicts_with_all = ["runner_labels", "action"])]
    pub(crate) no_workflow: bool,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How what was done is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitBase {
    /// PyTorch's builder images from Docker Hub: glibc 2.28, every Python, CUDA 12.6 to 13.2.
    Manylinux,
    /// Debian from its mirror, made on this host: no registry; root, and CUDA 13.0 alone.
    Debian,
}
