//! The command line.

use camino::Utf8PathBuf;
use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// A build farm for CUDA Python wheels: from one matrix to wheels that install and run.
///
/// Data goes to standard output, talk to standard error. Exit codes: 0 all done, 1 a job failed or a
/// wheel was refused, 2 the input is wrong, 3 the engine, the network or a disk failed, 4 a check
/// could not be made, 130 stopped.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Args {
    /// Say more on standard error; twice for the engine's traffic.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the jobs of a matrix: what is built and why, what is up to date, what is left out.
    Plan(PlanArgs),
    /// Print the Dockerfile of one job.
    Dockerfile(DockerfileArgs),
    /// Build the wheels of a matrix.
    Build(BuildArgs),
    /// Show what stands in wheels or modules: GPU code, libraries, ABI, and which GPUs run them.
    Inspect(InspectArgs),
    /// Hold wheels against what they should be, and refuse those that are not.
    Verify(VerifyArgs),
    /// Publish the wheels on record to a folder that pip and uv install from.
    Publish(PublishArgs),
    /// Run a wheel's test with a Python of this machine, on its GPU, and write a receipt.
    Prove(ProveArgs),
    /// Say what a rule of the gate is about, where it comes from and what to do; or list the rules.
    Explain(ExplainArgs),
}

/// Which matrix, and which of its jobs.
#[derive(Debug, ClapArgs)]
pub(crate) struct Selection {
    /// The matrix.
    #[arg(long, value_name = "FILE", default_value = "matrix.yaml")]
    pub(crate) matrix: Utf8PathBuf,
    /// Only jobs whose id matches this glob; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) only: Vec<String>,
    /// No jobs whose id matches this glob; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) skip: Vec<String>,
    /// Where wheels and manifests are kept.
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    pub(crate) out: Utf8PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Plan as if nothing were on record.
    #[arg(long)]
    pub(crate) force: bool,
    /// How the plan is printed; `github` is a `strategy.matrix` for `fromJSON`.
    #[arg(long, value_enum, default_value_t = PlanFormat::Human)]
    pub(crate) format: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people.
    Human,
    /// Schema 1, sorted keys.
    Json,
    /// `{"include": […]}`, at most 256 jobs.
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// Schema 1, sorted keys; progress, if any, is one JSON object a line on standard error.
    Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DockerfileArgs {
    /// The job's id, as `wheelfarm plan` shows it.
    pub(crate) job: String,
    /// The matrix.
    #[arg(long, value_name = "FILE", default_value = "matrix.yaml")]
    pub(crate) matrix: Utf8PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Build even what is up to date.
    #[arg(long)]
    pub(crate) force: bool,
    /// Run the builds with compilers that only write their command lines down, and hold those
    /// against the contract: seconds instead of hours, and no wheel.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) rehearse: bool,
    /// Keep what a stopped or failed build has compiled, and go on from what an earlier run with
    /// this flag has kept. Only for builds that ninja or make drives.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Jobs at a time, instead of the matrix's `build.jobs`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: Option<u32>,
    /// How progress and summary are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Where downloads are kept between runs.
    #[arg(long, value_name = "FOLDER", env = "WHEELFARM_CACHE")]
    pub(crate) cache: Option<Utf8PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The folder to publish to.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: Utf8PathBuf,
    /// Install every published wheel with pip in a clean container, and run its test.
    #[arg(long)]
    pub(crate) prove: bool,
    /// How the summary is printed; as JSON, without a proof's progress.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// Wheels, shared libraries, or addresses of wheels; of a remote wheel only the parts that are
    /// needed are fetched.
    #[arg(required = true, value_name = "FILE|URL")]
    pub(crate) files: Vec<String>,
    /// Answer for one GPU, in a sentence: by name (`RTX 5090`), compute capability (`12.0`), or
    /// `here` for the GPUs of this machine. Exit code 1 if something does not run there.
    #[arg(long, value_name = "GPU")]
    pub(crate) gpu: Option<String>,
    /// Look into every image: kernels by arch, and whether the archs have the same ones.
    #[arg(long)]
    pub(crate) deep: bool,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("against").args(["job", "contract"]).required(true))]
pub(crate) struct VerifyArgs {
    /// The wheels.
    #[arg(required = true, value_name = "WHEEL")]
    pub(crate) wheels: Vec<Utf8PathBuf>,
    /// Hold them against the contract of this job of the matrix.
    #[arg(long, value_name = "ID")]
    pub(crate) job: Option<String>,
    /// Hold them against the contract in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) contract: Option<Utf8PathBuf>,
    /// The matrix that the job is of.
    #[arg(long, value_name = "FILE", default_value = "matrix.yaml")]
    pub(crate) matrix: Utf8PathBuf,
    /// Look up symbols in the libraries of these folders (`…/torch/lib`), instead of those that a
    /// build has kept; may be given several times.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) libraries: Vec<Utf8PathBuf>,
    /// The Python that symbols of its C API are looked up in, with --libraries.
    #[arg(long, value_name = "FILE", requires = "libraries")]
    pub(crate) interpreter: Option<Utf8PathBuf>,
    /// Where the symbol tables of environments are kept.
    #[arg(long, value_name = "FOLDER", env = "WHEELFARM_CACHE")]
    pub(crate) cache: Option<Utf8PathBuf>,
    /// How the findings are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("subject").args(["wheels", "import"]).required(true))]
pub(crate) struct ProveArgs {
    /// The wheels. Their code and their package's test run as you, without a container: use a machine
    /// that was lent for it.
    #[arg(value_name = "WHEEL")]
    pub(crate) wheels: Vec<Utf8PathBuf>,
    /// The package that has the test, by its folder or its name under `packages/`; without it, the
    /// wheel's name tells.
    #[arg(long, value_name = "FOLDER|NAME", conflicts_with = "import")]
    pub(crate) package: Option<Utf8PathBuf>,
    /// The Python, which has pip, torch and what the wheels require. Nothing is installed into it.
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    pub(crate) python: Utf8PathBuf,
    /// Run the test a second time from the wheel's PTX alone, which the driver compiles.
    #[arg(long, conflicts_with = "import")]
    pub(crate) ptx_jit: bool,
    /// Where the receipt is written, for one wheel [default: <WHEEL>.gpu-receipt.json in this folder]
    #[arg(long, value_name = "FILE", conflicts_with = "import")]
    pub(crate) receipt: Option<Utf8PathBuf>,
    /// Keep the receipt beside the wheel on record here, and in its manifest.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<Utf8PathBuf>,
    /// Run nothing: keep receipts that another machine has written.
    #[arg(long, value_name = "RECEIPT", num_args = 1.., requires = "out")]
    pub(crate) import: Vec<Utf8PathBuf>,
    /// How the result is printed; as JSON, without what the test prints.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// The rule's id, as findings name it (`arch/missing-sass`); without it, all rules are listed.
    pub(crate) rule: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
