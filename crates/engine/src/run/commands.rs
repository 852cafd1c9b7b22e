//! Holds nvcc's command lines against the contract while the package compiles, and when it has.

use std::io::{self, Read};
use std::time::Duration;

use tokio::time;
use tokio_util::io::SyncIoBridge;
use wheelfarm_core::commands::{self, CommandFault, CommandReport, Extent, RecordError};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::gate::contract::Contract;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::plan::Job;
use wheelfarm_core::render::{COMMANDS_FILE, SOURCE_FOLDER};

use super::job::Halt;
use crate::container::{Engine, EngineError, EngineErrorKind, OwnedContainer};
use crate::files;
use crate::out_folder::StagedJob;

/// What is kept of a build's command lines beside its wheel.
const RECORD_FILE: &str = "commands.jsonl";

/// How often a running build's command lines are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The longest file of command lines; flash-attn's 73 have 0.4 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Why the command lines cannot be read.
#[derive(Debug, thiserror::Error)]
enum CommandsError {
    #[error("failed to take nvcc's command lines out of the container")]
    Engine(#[from] EngineError),
    #[error("failed to read nvcc's command lines")]
    Read(#[from] io::Error),
    #[error("nvcc's command lines have more than {MAX_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Looks at the commands of a running build until something is wrong with them. Never returns while
/// nothing is; what cannot be read now is read when the build has ended.
pub(super) async fn first_faults<E: Engine>(
    job: &Job,
    container: &OwnedContainer<E>,
) -> Vec<CommandFault> {
    let contract = Contract::of_job(job);
    loop {
        time::sleep(LOOK_EVERY).await;
        match read(container).await {
            Ok(text) => match judge(&text, &contract, Extent::SoFar) {
                Ok(report) if !report.faults.is_empty() => return report.faults,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "commands not read yet"),
            },
            Err(error) => tracing::debug!(%error, "commands not read yet"),
        }
    }
}

/// Judges all commands of an ended build, and keeps them beside the wheel.
pub(super) async fn check<E: Engine>(
    job: &Job,
    container: &OwnedContainer<E>,
    staged: &StagedJob,
) -> Result<CommandReport, Halt> {
    let text = read(container)
        .await
        .map_err(|error| commands_halt(&error))?;
    if !text.is_empty() {
        files::write_atomic(staged.path().join(RECORD_FILE), text.as_bytes())
            .map_err(|error| Halt::file(Stage::Compile, &error))?;
    }
    let report = judge(&text, &Contract::of_job(job), Extent::Whole)
        .map_err(|error| commands_halt(&CommandsError::Record(error)))?;
    if report.faults.is_empty() {
        return Ok(report);
    }
    Err(faults_halt(&report.faults))
}

/// What is wrong with the commands of a build that failed: often why it failed.
pub(super) async fn faults_of_failed<E: Engine>(
    job: &Job,
    container: &OwnedContainer<E>,
) -> Vec<CommandFault> {
    let text = read(container).await.unwrap_or_default();
    let report = judge(&text, &Contract::of_job(job), Extent::SoFar);
    report.map(|report| report.faults).unwrap_or_default()
}

/// A build that compiles for something else than it should.
pub(super) fn faults_halt(faults: &[CommandFault]) -> Halt {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let detail = format!(
        "nvcc is not told what the contract wants\n{}",
        lines.join("\n")
    );
    let hint = "mend how the package's `env` or patches hand the archs over, or its contract; \
                docs/packages.md, \"How archs get in\"";
    Halt::failed(Stage::Compile, FailureKind::Rejected, detail).with_hint(hint)
}

fn judge(text: &str, contract: &Contract, extent: Extent) -> Result<CommandReport, RecordError> {
    let commands = commands::parse(text)?;
    Ok(commands::judge(&commands, contract, SOURCE_FOLDER, extent))
}

/// A build that never called nvcc has left no file.
async fn read<E: Engine>(container: &OwnedContainer<E>) -> Result<String, CommandsError> {
    let archive = match container.download(COMMANDS_FILE).await {
        Ok(archive) => archive,
        Err(error) if error.kind() == EngineErrorKind::NoSuchPath => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    let bytes = tokio::task::spawn_blocking(move || first_file(SyncIoBridge::new(archive)))
        .await
        .expect("reading a text does not panic")?;
    if bytes.len() > usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) {
        return Err(CommandsError::TooLong);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn first_file(archive: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut archive = tar::Archive::new(archive);
    if let Some(entry) = archive.entries()?.next() {
        entry?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn commands_halt(error: &CommandsError) -> Halt {
    match error {
        CommandsError::Engine(error) => Halt::engine(Stage::Compile, error),
        CommandsError::Read(_) => {
            Halt::failed(Stage::Compile, FailureKind::Infrastructure, chain(error))
        }
        CommandsError::TooLong | CommandsError::Record(_) => {
            Halt::failed(Stage::Compile, FailureKind::Rejected, chain(error))
        }
    }
}
