//! The commands, one file each: arguments in, the engine crate does the work, `render` shows it.

mod build;
mod compat;
mod completions;
mod diagnose;
mod dockerfile;
mod doctor;
mod events;
mod explain;
mod gc;
mod gc_host;
mod hold;
mod init;
mod init_farm;
mod inspect;
mod install_table;
mod man;
mod patch;
mod place;
mod plan;
mod promote;
mod prove;
mod publish;
mod resolve;
mod rollback;
mod runs;
mod schema;
mod shelf;
mod status;
mod verify;
mod watch;
mod yank;

use camino::Utf8PathBuf;
use wheelfarm_core::plan::{Job, Need, Plan, Selector};
use wheelfarm_engine::farm_folder::{self, FarmFolder};
use wheelfarm_engine::run::StopSignal;

use crate::args::{Args, Command, Selection};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// Runs the command that the arguments name.
pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Plan(args) => plan::run(&args),
        Command::Dockerfile(args) => dockerfile::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Diagnose(args) => diagnose::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Yank(args) => yank::run(&args),
        Command::Promote(args) => promote::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Hold(args) => hold::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Compat(args) => compat::run(&args),
        Command::Prove(args) => prove::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Patch(args) => patch::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Resolve(args) => resolve::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Schema(args) => schema::run(&args),
    }
}

/// A farm and the jobs of it that a command is about.
struct Selected {
    farm: FarmFolder,
    plan: Plan,
}

impl Selected {
    fn read(selection: &Selection) -> Result<Self, Failure> {
        let selector = Selector::new(&selection.only, &selection.skip)?;
        let farm = FarmFolder::read(&selection.matrix)?;
        let mut plan = farm.plan()?;
        render::warnings(&plan.warnings);
        plan.select(&selector);
        if plan.jobs.is_empty() && plan.excluded.is_empty() {
            let error = anyhow::anyhow!("no job matches --only and --skip");
            return Err(Failure::bad_input(error)
                .with_hint("`wheelfarm plan` lists the ids; the globs match whole ids"));
        }
        Ok(Self { farm, plan })
    }

    /// Refuses to do nothing: a plan may show that everything is left out, other commands act.
    fn refuse_nothing(&self) -> Result<(), Failure> {
        match self.plan.excluded.first() {
            Some(first) if self.plan.jobs.is_empty() => {
                let hint = format!("`{}` is left out: {}", first.id, first.reason);
                let error = anyhow::anyhow!("every job asked for is left out");
                Err(Failure::bad_input(error).with_hint(hint))
            }
            _ => Ok(()),
        }
    }

    fn needs(&self, selection: &Selection, force: bool) -> Result<Vec<(&Job, Need)>, Failure> {
        let on_record = farm_folder::on_record(&selection.out)?;
        let mut needs = self.plan.needs(&on_record);
        if force {
            for (_, need) in &mut needs {
                if *need == Need::UpToDate {
                    *need = Need::Forced;
                }
            }
        }
        Ok(needs)
    }
}

/// Downloads and symbol tables are named by what they are of, so every farm of a user may share them.
fn cache_folder(given: Option<&Utf8PathBuf>) -> Utf8PathBuf {
    let variable = |name| std::env::var(name).ok().map(Utf8PathBuf::from);
    given.cloned().unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(|| Utf8PathBuf::from("/var/cache"))
            .join("wheelfarm")
    })
}

/// The job of that id, or the ids that come near it.
fn find_job<'a>(plan: &'a Plan, id: &str) -> Result<&'a Job, Failure> {
    if let Some(job) = plan.jobs.iter().find(|job| job.id().as_str() == id) {
        return Ok(job);
    }
    let excluded = plan.excluded.iter().find(|job| job.id.as_str() == id);
    if let Some(excluded) = excluded {
        let error = anyhow::anyhow!("job `{id}` is left out: {}", excluded.reason);
        return Err(
            Failure::bad_input(error).with_hint("`wheelfarm plan` lists what is left out, and why")
        );
    }
    let start = id.split('-').next().unwrap_or(id);
    let near: Vec<_> = plan
        .jobs
        .iter()
        .map(|job| job.id().as_str())
        .filter(|other| other.starts_with(start))
        .take(5)
        .collect();
    let failure = Failure::bad_input(anyhow::anyhow!("no job `{id}` in this matrix"));
    Err(if near.is_empty() {
        failure.with_hint("`wheelfarm plan` lists the ids")
    } else {
        failure.with_hint(format!("it has {}", near.join(", ")))
    })
}

/// Turns the first Ctrl-C or SIGTERM into a kind stop, the second into one at once. Ends only when
/// signals cannot be heard.
async fn listen(stop: StopSignal) -> Failure {
    use tokio::signal::unix::{SignalKind, signal};
    let listeners = signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match listeners {
        Ok(listeners) => listeners,
        Err(error) => return Failure::infrastructure(error),
    };
    for token in [&stop.stop, &stop.at_once] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    }
    std::future::pending().await
}

/// Waits for work that nothing is lost of when it is dropped, or for the user to stop it.
async fn unless_stopped<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let signal = StopSignal::default();
    let stop = signal.stop.clone();
    tokio::select! {
        biased;
        failure = listen(signal) => Err(failure),
        () = stop.cancelled() => {
            Err(Failure::new(ExitCode::Cancelled, anyhow::anyhow!("stopped")))
        }
        res = work => res,
    }
}
