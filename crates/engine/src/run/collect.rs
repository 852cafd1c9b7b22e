//! Takes the wheel out of a finished container and finishes it.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Read, Write};

use camino::Utf8Path;
use fs_err as fs;
use tokio_util::io::SyncIoBridge;
use wheelfarm_core::collect::{CollectCaps, CollectError, StagedWheel};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::output_rule::OutputRule;
use wheelfarm_core::plan::Job;
use wheelfarm_core::render::{OUTPUT_FOLDER, TOOLS_FILE};
use wheelfarm_core::wheel::WheelCaps;
use wheelfarm_core::wheel::finish::{self, FinishRequest, FinishedWheel, WheelError};
use wheelfarm_core::wheel::name::WheelName;

use super::job::{Halt, RunningJob};
use crate::container::{Engine, EngineError, EngineErrorKind, OwnedContainer};
use crate::files::{FileError, is_disk_full};
use crate::out_folder::StagedJob;

/// Where the raw wheel lies in a staging folder.
const RAW_FOLDER: &str = "raw";

/// What came out of a container.
#[derive(Debug)]
pub(super) struct Collected {
    /// The raw wheel, in the staging folder's `raw/`.
    pub(super) wheel: WheelName,
    /// What the image says of its tools.
    pub(super) tools: BTreeMap<String, String>,
}

/// Takes the wheel that the output rule names, by tar stream: it works on a remote engine too.
pub(super) async fn collect<E: Engine>(
    running: &mut RunningJob<'_, E>,
    container: &OwnedContainer<E>,
    staged: &StagedJob,
) -> Result<Collected, Halt> {
    let archive = container
        .download(&format!("{OUTPUT_FOLDER}/."))
        .await
        .map_err(|error| download_halt(&error, FailureKind::NothingCollected))?;
    let rule = running.job.release().build.output.clone();
    let folder = staged.path().join(RAW_FOLDER);
    let reader = SyncIoBridge::new(archive);
    let taken = {
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || take(reader, &rule, &folder))
            .await
            .expect("collecting does not panic")
    };
    let wheel = taken.map_err(|error| collect_halt(&error))?;
    let tools = container
        .download(TOOLS_FILE)
        .await
        .map_err(|error| download_halt(&error, FailureKind::Rejected))?;
    let tools = tokio::task::spawn_blocking(move || read_tools(SyncIoBridge::new(tools)))
        .await
        .expect("reading a small text does not panic")
        .map_err(|error| {
            Halt::failed(Stage::Collect, FailureKind::Infrastructure, chain(&error))
        })?;
    Ok(Collected {
        wheel: wheel.name,
        tools,
    })
}

/// Removes what was taken of a wheel that did not come out whole: it may be what filled the disk.
pub(super) fn discard_raw(staged: &StagedJob) {
    let folder = staged.path().join(RAW_FOLDER);
    if folder.exists()
        && let Err(error) = fs::remove_dir_all(&folder)
    {
        tracing::warn!(%folder, %error, "part of a wheel left");
    }
}

/// A path that is not there is the build's own doing; what else fails is the engine's.
fn download_halt(error: &EngineError, absent: FailureKind) -> Halt {
    if error.kind() == EngineErrorKind::NoSuchPath {
        return Halt::failed(Stage::Collect, absent, chain(error));
    }
    Halt::engine(Stage::Collect, error)
}

fn take(
    archive: impl Read,
    rule: &OutputRule,
    folder: &Utf8Path,
) -> Result<StagedWheel, CollectError> {
    wheelfarm_core::collect::collect(archive, rule, &CollectCaps::default(), &mut |name| {
        fs::create_dir_all(folder)?;
        let file = fs::File::create(folder.join(name.to_string()))?;
        let writer: Box<dyn Write> = Box::new(BufWriter::new(file));
        Ok(writer)
    })
}

fn collect_halt(error: &CollectError) -> Halt {
    let kind = if matches!(error, CollectError::NothingMatched { .. }) {
        FailureKind::NothingCollected
    } else if is_disk_full(error) {
        FailureKind::DiskFull
    } else if matches!(error, CollectError::Read { .. }) {
        // The stream broke off: the engine's doing, not the build's.
        FailureKind::Infrastructure
    } else {
        FailureKind::Rejected
    };
    Halt::failed(Stage::Collect, kind, chain(error))
}

/// `name version` lines, as `build.sh` leaves them. The build could have written anything there.
fn read_tools(archive: impl Read) -> io::Result<BTreeMap<String, String>> {
    const MAX_BYTES: u64 = 256 * 1024;
    let mut bytes = Vec::new();
    let mut archive = tar::Archive::new(archive.take(2 * MAX_BYTES));
    if let Some(entry) = archive.entries()?.next() {
        entry?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect())
}

/// Finishes the raw wheel into the staging folder and removes the raw one.
pub(super) async fn finish(
    job: &Job,
    staged: &StagedJob,
    raw: WheelName,
) -> Result<FinishedWheel, Halt> {
    let environment = job.environment();
    let local_version = job.local_version();
    let request = FinishRequest {
        project: job.package().clone(),
        version: job
            .release()
            .version
            .value
            .to_string()
            .parse()
            .map_err(|error| unfit(&error))?,
        local_version: local_version.parse().map_err(|error| unfit(&error))?,
        build: job.release().build_number,
        torch: environment.torch.abi(),
        source_date_epoch_s: job.source_date_epoch_s(),
        caps: WheelCaps::default(),
    };
    let folder = staged.path().to_owned();
    tokio::task::spawn_blocking(move || finish_blocking(&request, &folder, &raw))
        .await
        .expect("finishing does not panic")
}

fn unfit(error: &(dyn std::error::Error + 'static)) -> Halt {
    Halt::failed(Stage::Finish, FailureKind::Rejected, chain(error))
}

fn finish_blocking(
    request: &FinishRequest,
    folder: &Utf8Path,
    raw: &WheelName,
) -> Result<FinishedWheel, Halt> {
    let raw_folder = folder.join(RAW_FOLDER);
    let unnamed = folder.join("wheel.part");
    let file_halt =
        |error: io::Error| Halt::file(Stage::Finish, &FileError::new("write", folder, error));
    let input = fs::File::open(raw_folder.join(raw.to_string())).map_err(file_halt)?;
    let output = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&unnamed)
        .map_err(file_halt)?;
    let wheel = finish::finish(raw, BufReader::new(input), request, &output)
        .map_err(|error| wheel_halt(&error))?;
    output.sync_all().map_err(file_halt)?;
    fs::rename(&unnamed, folder.join(wheel.name().to_string())).map_err(file_halt)?;
    fs::remove_dir_all(&raw_folder).map_err(file_halt)?;
    Ok(wheel)
}

fn wheel_halt(error: &WheelError) -> Halt {
    let kind = if is_disk_full(error) {
        FailureKind::DiskFull
    } else {
        FailureKind::Rejected
    };
    let halt = Halt::failed(Stage::Finish, kind, chain(error));
    match error.hint() {
        Some(hint) => halt.with_hint(hint),
        None => halt,
    }
}
