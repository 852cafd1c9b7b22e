//! Applies a job's patches. Texts are applied here; scripts run in a container of the job's own
//! toolkit image, without a network, and only the tree that they leave comes back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::io::SyncIoBridge;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::render::SharedStage;
use wheelfarm_core::source::patch::{
    Patch, PatchError, PatchSession, PatchedTree, PendingScript, Step,
};
use wheelfarm_core::source::{
    FileMode, SourceTree, TarLayout, TopFolder, TreeCaps, TreeEntry, TreePath,
};

use super::image;
use super::job::{GRACE, Halt, RunningJob};
use crate::container::{
    ContainerSpec, Engine, EngineErrorKind, Network, OwnedContainer, RootFileSystem, RunEnd,
    RunHow, RunLimits,
};

/// How long a patch script may run.
const SCRIPT_TIME: Duration = Duration::from_mins(10);

/// The memory of a patch script's container.
const SCRIPT_MEMORY_BYTES: u64 = 2 << 30;

/// Where a script finds the tree.
const SCRIPT_FOLDER: &str = "/build/patch";

pub(super) async fn patch<E: Engine>(
    running: &mut RunningJob<'_, E>,
    tree: SourceTree,
) -> Result<PatchedTree, Halt> {
    let mut patches = Vec::new();
    for patch in running.job.patches() {
        patches.push(Patch::parse(&patch.name, &patch.text).map_err(|error| patch_halt(&error))?);
    }
    let mut session = PatchSession::new(tree, patches);
    loop {
        match session.advance().map_err(|error| patch_halt(&error))? {
            Step::Done(patched) => return Ok(patched),
            Step::Script(script) => {
                let result = run_script(running, &script).await?;
                session = script.finish(result).map_err(|error| patch_halt(&error))?;
            }
        }
    }
}

fn patch_halt(error: &PatchError) -> Halt {
    let mut text = chain(error);
    if let Some(detail) = error.detail() {
        text.push('\n');
        text.push_str(&detail);
    }
    let halt = Halt::failed(Stage::Patch, FailureKind::Rejected, text);
    match error.hint() {
        Some(hint) => halt.with_hint(hint),
        None => halt,
    }
}

async fn run_script<E: Engine>(
    running: &mut RunningJob<'_, E>,
    script: &PendingScript,
) -> Result<SourceTree, Halt> {
    let image = image::shared_stage(running, SharedStage::Toolkit).await?;
    let name = format!("wheelfarm-patch-{}", running.cx.key(running.job));
    let spec = ContainerSpec {
        image,
        command: [
            "sh",
            "-c",
            "cd \"$1\"/source && exec \"$2\" ../script",
            "sh",
            SCRIPT_FOLDER,
            script.interpreter().program(),
        ]
        .map(str::to_owned)
        .into(),
        env: [("HOME".to_owned(), "/tmp".to_owned())].into(),
        working_dir: None,
        user: Some("10001:10001".to_owned()),
        network: Network::Off,
        memory_bytes: SCRIPT_MEMORY_BYTES,
        milli_cpus: 1000,
        pids_limit: 256,
        // Files are put in before it starts, which the engine refuses on a read-only root.
        root: RootFileSystem::Writable,
        tmpfs: Vec::new(),
        volumes: Vec::new(),
        gpu: None,
        labels: running.labels(),
        name,
    };
    let engine = Arc::clone(&running.cx.engine);
    let mut container = OwnedContainer::create(engine, spec)
        .await
        .map_err(|error| Halt::engine(Stage::Patch, &error))?;
    let res = run_in(running, &container, script).await;
    if let Err(error) = container.remove().await {
        tracing::warn!(job = %running.job.id(), %error, "container left for the next run to remove");
    }
    res
}

async fn run_in<E: Engine>(
    running: &mut RunningJob<'_, E>,
    container: &OwnedContainer<E>,
    script: &PendingScript,
) -> Result<SourceTree, Halt> {
    let fail = |error| Halt::engine(Stage::Patch, &error);
    let archive = crate::container::TarSource::Memory(script_archive(script));
    container.upload("/", archive).await.map_err(fail)?;
    let limits = RunLimits {
        total: SCRIPT_TIME,
        silence: SCRIPT_TIME,
        grace: GRACE,
    };
    let log = &mut running.log;
    let stop = &running.cx.stop;
    let end = container
        .run_to_end(&limits, &stop.stop, &stop.at_once, |line| log.line(line))
        .await
        .map_err(fail)?;
    let name = script.patch().name();
    script_verdict(&end, name)?;
    let changed = container
        .download(&format!("{SCRIPT_FOLDER}/source"))
        .await
        .map_err(|error| {
            if error.kind() == EngineErrorKind::NoSuchPath {
                let detail = format!("patch script `{name}` left no source tree");
                return Halt::failed(Stage::Patch, FailureKind::Rejected, detail);
            }
            fail(error)
        })?;
    let reader = SyncIoBridge::new(changed);
    let read = move || SourceTree::from_tar(reader, TopFolder::Strip, &TreeCaps::default());
    tokio::task::spawn_blocking(read)
        .await
        .expect("reading a tar does not panic")
        .map_err(|error| {
            let detail = format!(
                "the tree that `{name}` left cannot be used: {}",
                chain(&error)
            );
            Halt::failed(Stage::Patch, FailureKind::Rejected, detail)
        })
}

fn script_verdict(end: &RunEnd, name: &str) -> Result<(), Halt> {
    let (kind, how) = match end.how {
        RunHow::Exited => match end.exit_code {
            0 => return Ok(()),
            exit_code => (
                FailureKind::Script { exit_code },
                format!("ended with exit code {exit_code}"),
            ),
        },
        RunHow::OutOfMemory => (
            FailureKind::OutOfMemory,
            format!("ran out of its {} MiB of memory", SCRIPT_MEMORY_BYTES >> 20),
        ),
        // Its one limit is on the whole and on silence alike.
        RunHow::TimedOut | RunHow::Stalled => (
            FailureKind::TimedOut,
            format!("ran longer than {} minutes", SCRIPT_TIME.as_secs() / 60),
        ),
        RunHow::Cancelled => return Err(Halt::Cancelled),
    };
    let detail = format!("patch script `{name}` {how}");
    Err(Halt::failed(Stage::Patch, kind, detail))
}

/// The tree and the script, owned by the user that runs it.
fn script_archive(script: &PendingScript) -> Bytes {
    let path = |text: &str| -> TreePath { text.parse().expect("fixed names are paths") };
    let mut archive = SourceTree::new();
    let mut insert = |path, entry| {
        archive
            .insert(path, entry)
            .expect("the script and the folder of the source do not collide");
    };
    let source = path("build/patch/source");
    for (path, entry) in script.tree().iter() {
        insert(path.below(&source), entry.clone());
    }
    let text = TreeEntry::File {
        bytes: script.patch().text().as_bytes().into(),
        mode: FileMode::Executable,
    };
    insert(path("build/patch/script"), text);
    let layout = TarLayout {
        uid: 10001,
        gid: 10001,
        ..TarLayout::default()
    };
    let bytes = archive
        .write_tar(&layout, Vec::new())
        .expect("writing into memory does not fail");
    Bytes::from(bytes)
}
