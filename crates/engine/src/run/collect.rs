//! Takes the wheel out of a finished container and finishes it.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use tokio_util::io::SyncIoBridge;
use wheelfarm_core::collect::{CollectCaps, CollectError, OutputRule, StagedWheel};
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::plan::Job;
use wheelfarm_core::render::{OUTPUT_FOLDER, TOOLS_FILE};
use wheelfarm_core::wheel::{self, FinishRequest, FinishedWheel, WheelError};

use super::job::{Halt, RunningJob, chain};
use crate::container::{Engine, OwnedContainer};
use crate::files::FileError;
use crate::out_folder::StagedJob;

/// What came out of a container.
#[derive(Debug)]
pub(super) struct Collected {
    /// The raw wheel, in the staging folder.
    pub(super) wheel: Utf8PathBuf,
    /// What the image says of its tools.
    pub(super) tools: BTreeMap<String, String>,
}

/// Takes the wheel that the output rule names, by tar stream: it works on a remote engine too.
pub(super) async fn collect<E: Engine>(
    running: &mut RunningJob<'_, E>,
    container: &OwnedContainer<E>,
    staged: &StagedJob,
) -> Result<Collected, Halt> {
    let engine_halt = |error| Halt::engine(Stage::Collect, &error);
    let archive = container
        .download(&format!("{OUTPUT_FOLDER}/."))
        .await
        .map_err(engine_halt)?;
    let rule: OutputRule = running
        .job
        .release()
        .build
        .output
        .parse()
        .map_err(|error| Halt::failed(Stage::Collect, FailureKind::Rejected, chain(&error)))?;
    let folder = staged.path().join("raw");
    let reader = SyncIoBridge::new(archive);
    let taken = {
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || take(reader, &rule, &folder))
            .await
            .expect("collecting does not panic")
    };
    let wheel = taken.map_err(|error| collect_halt(&error, &folder))?;
    let tools = container.download(TOOLS_FILE).await.map_err(engine_halt)?;
    let tools = tokio::task::spawn_blocking(move || read_tools(SyncIoBridge::new(tools)))
        .await
        .expect("reading a small text does not panic")
        .map_err(|error| Halt::file(Stage::Collect, &FileError::new(&folder, error)))?;
    Ok(Collected {
        wheel: staged.path().join("raw").join(wheel.name),
        tools,
    })
}

fn take(
    archive: impl Read,
    rule: &OutputRule,
    folder: &Utf8Path,
) -> Result<StagedWheel, CollectError> {
    wheelfarm_core::collect::collect(archive, rule, CollectCaps::default(), &mut |name| {
        fs::create_dir_all(folder)?;
        let file: Box<dyn Write> = Box::new(BufWriter::new(fs::File::create(folder.join(name))?));
        Ok(file)
    })
}

fn collect_halt(error: &CollectError, folder: &Utf8Path) -> Halt {
    if let Some(cause) = error.io_cause() {
        let source = io::Error::new(cause.kind(), cause.to_string());
        return Halt::file(Stage::Collect, &FileError::new(folder, source));
    }
    let kind = if error.is_nothing_matched() {
        FailureKind::NothingCollected
    } else {
        FailureKind::Rejected
    };
    Halt::failed(Stage::Collect, kind, chain(error))
}

/// `name version` lines, as `build.sh` leaves them.
fn read_tools(archive: impl Read) -> io::Result<BTreeMap<String, String>> {
    const MAX_BYTES: u64 = 1024 * 1024;
    let mut tools = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut text = String::new();
        entry?.take(MAX_BYTES).read_to_string(&mut text)?;
        for line in text.lines() {
            if let Some((name, version)) = line.split_once(' ') {
                tools.insert(name.to_owned(), version.to_owned());
            }
        }
    }
    Ok(tools)
}

/// Finishes the raw wheel into the staging folder and removes the raw one.
pub(super) async fn finish(
    job: &Job,
    staged: &StagedJob,
    raw: Utf8PathBuf,
) -> Result<FinishedWheel, Halt> {
    let request = FinishRequest {
        project: job.package().clone(),
        version: job.release().version.value.to_string(),
        local_version: job.environment().local_version(),
        torch_minor: job.environment().torch.minor(),
        source_date_epoch_s: job.source_date_epoch_s(),
    };
    let folder = staged.path().to_owned();
    tokio::task::spawn_blocking(move || finish_blocking(&request, &folder, &raw))
        .await
        .expect("finishing does not panic")
}

fn finish_blocking(
    request: &FinishRequest,
    folder: &Utf8Path,
    raw: &Utf8Path,
) -> Result<FinishedWheel, Halt> {
    let file_halt = |path: &Utf8Path, error: io::Error| {
        Halt::file(Stage::Finish, &FileError::new(path, error))
    };
    let unnamed = folder.join("wheel.part");
    let input = fs::File::open(raw).map_err(|error| file_halt(raw, error))?;
    let mut output =
        BufWriter::new(fs::File::create(&unnamed).map_err(|error| file_halt(&unnamed, error))?);
    let file_name = raw.file_name().unwrap_or_default();
    let wheel = wheel::finish(file_name, BufReader::new(input), request, &mut output)
        .map_err(|error| wheel_halt(&error, &unnamed))?;
    output.flush().map_err(|error| file_halt(&unnamed, error))?;
    output
        .get_ref()
        .sync_all()
        .map_err(|error| file_halt(&unnamed, error))?;
    let place = folder.join(wheel.name.to_string());
    fs::rename(&unnamed, &place).map_err(|error| file_halt(&place, error))?;
    let raw_folder = raw.parent().unwrap_or(raw);
    fs::remove_dir_all(raw_folder).map_err(|error| file_halt(raw_folder, error))?;
    Ok(wheel)
}

fn wheel_halt(error: &WheelError, path: &Utf8Path) -> Halt {
    if let Some(cause) = error.io_cause() {
        let source = io::Error::new(cause.kind(), cause.to_string());
        return Halt::file(Stage::Finish, &FileError::new(path, source));
    }
    let halt = Halt::failed(Stage::Finish, FailureKind::Rejected, chain(error));
    match error.hint() {
        Some(hint) => halt.with_hint(hint),
        None => halt,
    }
}
