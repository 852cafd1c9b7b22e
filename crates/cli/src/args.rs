//! The command line.

mod diagnose;
mod doctor;
pub(crate) mod examples;
mod help;
mod hub;
mod init;
mod install_table;
mod life;
mod runs;

use camino::Utf8PathBuf;
use clap::builder::PossibleValuesParser;
use clap::{
    ArgGroup, Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use wheelfarm_core::watch::NewsKind;

pub(crate) use diagnose::{AssistantArg, DiagnoseArgs};
pub(crate) use doctor::DoctorArgs;
pub(crate) use help::{CompletionsArgs, ManArgs, SchemaArgs, ShellArg};
pub(crate) use hub::HubArgs;
pub(crate) use init::{InitArgs, InitBase, InitCommand, InitFarmArgs};
pub(crate) use install_table::TableArgs;
pub(crate) use life::{GcArgs, MarkArgs, PromoteArgs, RollbackArgs, ShelfArgs, StatusArgs};
pub(crate) use runs::{EventsArgs, RunChoice, RunsArgs, RunsFormat};

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
    /// Show past runs: how they ended; for one, its jobs, what they took and why they failed.
    Runs(RunsArgs),
    /// Say why a log ends in a failure and what to do, or write it up for someone who has to find out.
    Diagnose(DiagnoseArgs),
    /// Print what runs said, a JSON object a line; also while one goes on.
    Events(EventsArgs),
    /// Show what stands in wheels or modules: GPU code, libraries, ABI, and which GPUs run them.
    Inspect(InspectArgs),
    /// Hold wheels against what they should be, and refuse those that are not.
    Verify(VerifyArgs),
    /// Publish the wheels on record to a place that pip and uv install from, all of them or none.
    Publish(PublishArgs),
    /// Mark published wheels: pip and uv no longer take them unless their exact version is asked for.
    Yank(MarkArgs),
    /// List wheels of the nightly track on the stable one as well.
    Promote(PromoteArgs),
    /// List again what an earlier release listed.
    Rollback(RollbackArgs),
    /// Clear out published wheels that nobody needs any more.
    Gc(GcArgs),
    /// Protect published wheels from being cleared out.
    Hold(MarkArgs),
    /// Say what is published: the releases there were, how fresh it is, which jobs have no wheel.
    Status(StatusArgs),
    /// Run a wheel's test with a Python of this machine, on its GPU, and write a receipt.
    Prove(ProveArgs),
    /// Say what works with what: a GPU, a torch, a CUDA, a Python, or several of them together.
    Compat(CompatArgs),
    /// Say what a rule of the gate is about, where it comes from and what to do; or list the rules.
    Explain(ExplainArgs),
    /// Check, refresh and write patches.
    Patch(PatchArgs),
    /// Compare the matrix with what is out there, and propose what it lacks as a diff.
    Watch(WatchArgs),
    /// Check this host before a night: engine, GPU, room, network, token; each line with what to type.
    Doctor(DoctorArgs),
    /// Find the one wheel of a release that is right for an environment, and the line that installs it.
    Resolve(ResolveArgs),
    /// Begin a farm: its matrix, packages and nightly workflow; or a package in one.
    Init(InitArgs),
    /// Print what a shell needs to complete this program's commands and flags.
    Completions(CompletionsArgs),
    /// Print the man page of a command, or write all of them.
    Man(ManArgs),
    /// Print the JSON Schema of a file that people or programs read, or list them.
    Schema(SchemaArgs),
}

/// The command line with the examples of every command's `--help`.
pub(crate) fn command() -> clap::Command {
    examples::attach(Args::command())
}

/// Reads the arguments of the process; what is wrong with them, and `--help`, is the error.
pub(crate) fn parse() -> Result<Args, clap::Error> {
    let matches = command().try_get_matches()?;
    Args::from_arg_matches(&matches)
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
    /// Say what a build of these jobs is expected to take: time, processor time, memory, and how sure
    /// that is.
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) forecast: ForecastArgs,
    /// How the plan is printed; `github` is a `strategy.matrix` for `fromJSON`.
    #[arg(long, value_enum, default_value_t = PlanFormat::Human)]
    pub(crate) format: PlanFormat,
}

/// What a forecast reckons with.
#[derive(Debug, ClapArgs)]
pub(crate) struct ForecastArgs {
    /// What an hour of the host costs, in any currency: `3.50`.
    #[arg(long, value_name = "AMOUNT", requires = "explain")]
    pub(crate) price_per_hour: Option<String>,
    /// The host's processors, instead of this machine's.
    #[arg(long, value_name = "N", requires = "explain", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) cpus: Option<u32>,
    /// The memory that jobs may use, instead of what this machine can spare: `48GiB`.
    #[arg(long, value_name = "AMOUNT", requires = "explain")]
    pub(crate) memory: Option<String>,
    /// The most jobs at a time, instead of the matrix's `build.jobs`.
    #[arg(long, value_name = "N", requires = "explain", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: Option<u32>,
    /// Learn from the builds in this file (see docs/nights.md), instead of those of this farm.
    #[arg(long, value_name = "FILE", requires = "explain")]
    pub(crate) samples: Option<Utf8PathBuf>,
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
pub(crate) enum TrackArg {
    /// For everybody.
    Stable,
    /// For those who ask for it.
    Nightly,
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
    /// this flag has kept. For builds that ninja drives: it knows which objects are whole.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Jobs at a time, instead of the matrix's `build.jobs`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: Option<u32>,
    /// Append every event to this file, a JSON object a line, numbered from run to run; what it missed
    /// before comes first.
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<Utf8PathBuf>,
    /// How progress and summary are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Where downloads are kept between runs.
    #[arg(long, value_name = "FOLDER", env = "WHEELFARM_CACHE")]
    pub(crate) cache: Option<Utf8PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each flag, as clap has it"
)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Where to publish: a folder, or a repository on a Hub as `hf://OWNER/NAME`.
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: String,
    /// The track: what is on `nightly` has pages of its own, until it is promoted.
    #[arg(long, value_enum, default_value_t = TrackArg::Stable)]
    pub(crate) track: TrackArg,
    /// The address that the folder is served at, for the links of its pages; `relative` for links
    /// that work anywhere. Without it they stay as they are; those of a new folder are relative.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// Make the repository if it is not there.
    #[arg(long)]
    pub(crate) create: bool,
    /// Let nobody see the repository that is made but its owner.
    #[arg(long, requires = "create", conflicts_with = "index_space")]
    pub(crate) private: bool,
    /// Bring every wheel a second time as a wheel variant, for uv's preview of them (a draft: PEP 825).
    #[arg(long)]
    pub(crate) variants: bool,
    /// Whose wheels are the plain ones of their torch beside the variants, where several channels have
    /// it; otherwise those of the newest CUDA. May be given several times.
    #[arg(long, value_name = "CHANNEL", requires = "variants")]
    pub(crate) variants_plain: Vec<String>,
    /// Say what would be brought, written and deleted, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Before anything is published, install every wheel with pip in a clean container, and run its
    /// test; a wheel that fails stops it all.
    #[arg(long)]
    pub(crate) prove: bool,
    #[command(flatten)]
    pub(crate) table: TableArgs,
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
pub(crate) struct CompatArgs {
    /// A GPU, by name (`RTX 5090`) or compute capability (`12.0`).
    #[arg(long, value_name = "GPU")]
    pub(crate) gpu: Option<String>,
    /// A torch: `2.8`, `2.8.0`, `2.8.0+cu128`, or a nightly with its day, `2.16.0.dev20261120`.
    #[arg(long, value_name = "VERSION")]
    pub(crate) torch: Option<String>,
    /// A CUDA toolkit: `12.8` or `cu128`.
    #[arg(long, value_name = "VERSION")]
    pub(crate) cuda: Option<String>,
    /// A Python: `3.12`, or `3.13t` for the free-threaded build.
    #[arg(long, value_name = "VERSION")]
    pub(crate) python: Option<String>,
    /// How the answer is printed. Exit code 0 if all of it fits together, 1 if it cannot work, 4 if
    /// that is not known.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Exit codes: 0 there is one, 1 none fits, 2 the question is wrong, 3 the catalog, the engine or the
/// network failed, 4 it may be one of several, or the catalog does not tell.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("environment").args(["image", "lock", "here"]))]
pub(crate) struct ResolveArgs {
    /// The package, with versions if not every one will do: `flash-attn`, `flash-attn==2.8.3`. With
    /// --environment, may be given several times, or not at all.
    #[arg(
        long,
        value_name = "NAME[==VERSION]",
        required_unless_present = "manager",
        requires = "from"
    )]
    pub(crate) package: Vec<String>,
    /// The release: its folder, its manifest.json, the address of either, or a repository on a Hub.
    #[arg(
        long,
        value_name = "FOLDER|FILE|URL|hf://OWNER/REPO",
        required_unless_present = "manager",
        requires = "package"
    )]
    pub(crate) from: Option<String>,
    /// Print a whole environment, for this tool to make: torch, torchvision, torchaudio and triton at
    /// versions that fit one another, the GPU and the driver, with the release's wheels of --package.
    #[arg(long = "environment", value_name = "TOOL", value_enum)]
    pub(crate) manager: Option<ManagerArg>,
    /// The Python: `3.11`, `3.11.7`, or `3.13t` for the free-threaded build.
    #[arg(long, value_name = "VERSION")]
    pub(crate) python: Option<String>,
    /// The torch: `2.11`, `2.11.0`, `2.11.0+cu130`, or a nightly with its day.
    #[arg(long, value_name = "VERSION")]
    pub(crate) torch: Option<String>,
    /// The CUDA that torch is built with: `13.0`, or `cpu`.
    #[arg(long, value_name = "VERSION")]
    pub(crate) cuda: Option<String>,
    /// The GPU, by name (`RTX 5090`), compute capability (`12.0`), or `here` for those of this machine.
    #[arg(long, value_name = "GPU")]
    pub(crate) gpu: Option<String>,
    /// The GPU's driver: `570.26`.
    #[arg(long, value_name = "VERSION")]
    pub(crate) driver: Option<String>,
    /// The glibc: `2.35`; or `musl`.
    #[arg(long, value_name = "VERSION")]
    pub(crate) glibc: Option<String>,
    /// The machine: `x86_64` or `aarch64`.
    #[arg(long, value_name = "MACHINE")]
    pub(crate) machine: Option<String>,
    /// Take what is not given from this image, by running its Python without a network.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Take torch, CUDA and Python from a uv.lock, a pylock.toml, a poetry.lock or pinned requirements.
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: Option<Utf8PathBuf>,
    /// Take what is not given from this machine and a Python of it; nothing is installed.
    #[arg(
        long,
        value_name = "PYTHON",
        num_args = 0..=1,
        default_missing_value = "python3"
    )]
    pub(crate) here: Option<Utf8PathBuf>,
    /// The track: what is for everybody, or what came of the last nights.
    #[arg(long, value_enum, default_value_t = TrackArg::Stable)]
    pub(crate) track: TrackArg,
    /// The variant of the wheel; without it, wheels of none.
    #[arg(long, value_name = "NAME")]
    pub(crate) variant: Option<String>,
    /// Where a release in a folder is served, for the lines that are printed.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// The Hub that `hf://` is on.
    #[arg(
        long,
        value_name = "URL",
        env = "HF_ENDPOINT",
        default_value = "https://huggingface.co"
    )]
    pub(crate) endpoint: String,
    /// With --format pip: the digest as an option, for files in which every line has one.
    #[arg(long)]
    pub(crate) require_hashes: bool,
    /// How the answer is printed. With a format that is a line to paste, standard output stays empty
    /// unless there is one wheel.
    #[arg(long, value_enum, default_value_t = ResolveFormat::Human)]
    pub(crate) format: ResolveFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManagerArg {
    /// A requirements.txt.
    Pip,
    /// A pyproject.toml.
    Uv,
    /// A pixi.toml.
    Pixi,
    /// A Dockerfile.
    Dockerfile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResolveFormat {
    /// For people: which wheel, why, and the line.
    Human,
    /// A `RUN` of a Dockerfile.
    Dockerfile,
    /// A line of a requirements file.
    Pip,
    /// The parts of a pyproject.toml that uv reads.
    Uv,
    /// Schema 1, sorted keys.
    Json,
}

#[derive(Debug, ClapArgs)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each flag, as clap has it"
)]
pub(crate) struct WatchArgs {
    /// The matrix.
    #[arg(long, value_name = "FILE", default_value = "matrix.yaml")]
    pub(crate) matrix: Utf8PathBuf,
    /// Write what is proposed for the matrix into it, and remember what was told. A package.yaml is
    /// never written: its proposal has to be completed by a person.
    #[arg(long)]
    pub(crate) write: bool,
    /// Remember what was told, so that the next run leaves it out.
    #[arg(long)]
    pub(crate) remember: bool,
    /// Where it is remembered.
    #[arg(long, value_name = "FILE", default_value = "out/watch.json")]
    pub(crate) state: Utf8PathBuf,
    /// Leave out what this file remembers, and remember nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["state", "remember"])]
    pub(crate) since: Option<Utf8PathBuf>,
    /// Tell what has been told before as well.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only news of this kind; may be given several times.
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    pub(crate) kind: Vec<String>,
    /// End with exit code 1 when there is news.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// How the news is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

fn kinds() -> PossibleValuesParser {
    NewsKind::ALL.map(NewsKind::as_str).into()
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InitPackageArgs {
    /// The package's name in PEP 503 normal form, which is the project's on the index and the folder's.
    pub(crate) name: String,
    /// Begin from the sdist of this version; without it and without --git, from the newest.
    #[arg(long, value_name = "VERSION", conflicts_with = "git")]
    pub(crate) sdist: Option<String>,
    /// The index that the sdist is on.
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://pypi.org/simple",
        conflicts_with = "git"
    )]
    pub(crate) index: String,
    /// Begin from a repository.
    #[arg(long, value_name = "URL", requires = "commit")]
    pub(crate) git: Option<String>,
    /// The commit of the repository, all 40 or 64 digits.
    #[arg(long, value_name = "SHA", requires = "git")]
    pub(crate) commit: Option<String>,
    /// The version of that commit, where its source does not say.
    #[arg(long, value_name = "VERSION", requires = "git")]
    pub(crate) release: Option<String>,
    /// The matrix of the farm: it says where packages lie and which archs and Pythons are wanted.
    #[arg(long, value_name = "FILE", default_value = "matrix.yaml")]
    pub(crate) matrix: Utf8PathBuf,
    /// Where downloads are kept between runs.
    #[arg(long, value_name = "FOLDER", env = "WHEELFARM_CACHE")]
    pub(crate) cache: Option<Utf8PathBuf>,
    /// How what was done is printed.
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

#[derive(Debug, ClapArgs)]
pub(crate) struct PatchArgs {
    #[command(subcommand)]
    pub(crate) command: PatchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PatchCommand {
    /// Say of each patch whether it fits the version that it claims, and what upstream has now.
    Check(PatchCheckArgs),
    /// Propose patches for another version: those that fit, and three-way merges of those that do not.
    Refresh(PatchRefreshArgs),
    /// Turn a changed source tree into a patch with a header.
    New(PatchNewArgs),
}

/// Where packages, patches and downloads lie.
#[derive(Debug, ClapArgs)]
pub(crate) struct PatchPlaces {
    /// The matrix, for the folders of packages and patches beside it.
    #[arg(long, value_name = "FILE", default_value = "matrix.yaml")]
    pub(crate) matrix: Utf8PathBuf,
    /// Where downloads are kept between runs.
    #[arg(long, value_name = "FOLDER", env = "WHEELFARM_CACHE")]
    pub(crate) cache: Option<Utf8PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PatchCheckArgs {
    /// Only this package, or this release of it; all packages that have a folder otherwise.
    #[arg(value_name = "PACKAGE[==VERSION]")]
    pub(crate) package: Option<String>,
    /// Hold the patches against this instead: a folder, an sdist here or by its version on the index,
    /// or a commit, tag or branch of the package's repository. Exit code 1 if one has drifted.
    #[arg(long, value_name = "REF|SDIST|FOLDER", requires = "package")]
    pub(crate) against: Option<String>,
    #[command(flatten)]
    pub(crate) places: PatchPlaces,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("target").args(["to", "against"]).required(true).multiple(true))]
pub(crate) struct PatchRefreshArgs {
    /// The release whose patches are moved.
    #[arg(value_name = "PACKAGE==VERSION")]
    pub(crate) package: String,
    /// The version to move them to: another release of the package, a version on the index, or a tag.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<String>,
    /// The source to move them to, where the version alone does not tell: as for `patch check`.
    #[arg(long, value_name = "REF|SDIST|FOLDER")]
    pub(crate) against: Option<String>,
    /// Write the patches into the folder of the version of --to, if there is one for all of them.
    #[arg(long, requires = "to")]
    pub(crate) write: bool,
    /// Write over patches that are there with another content.
    #[arg(long, requires = "write")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) places: PatchPlaces,
    /// How the proposals are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PatchNewArgs {
    /// The release that the patch is for.
    #[arg(value_name = "PACKAGE==VERSION")]
    pub(crate) package: String,
    /// The patch's file name: `0002-what-it-does.patch`. One that the release lists already is made
    /// anew, on the patches before it; any other comes after all of them.
    pub(crate) name: String,
    /// The folder with the changed source.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) from: Utf8PathBuf,
    /// Why the patch is there.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// What upstream knows of it: an issue, a pull request, or `none known`.
    #[arg(long, value_name = "TEXT")]
    pub(crate) upstream: Option<String>,
    /// When it can go.
    #[arg(long, value_name = "TEXT")]
    pub(crate) drop_when: Option<String>,
    /// Write the patch into the release's folder instead of printing it.
    #[arg(long)]
    pub(crate) write: bool,
    /// Write over a patch that is there with another content.
    #[arg(long, requires = "write")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) places: PatchPlaces,
}
