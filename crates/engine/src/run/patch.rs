//! Applies a job's patches. Texts are applied here; scripts run in a container of the job's own
//! toolkit image, without a network, and only their resulting tree comes back.

use std::io::{Read, Write};
use std::sync::Arc;

use tokio_util::io::SyncIoBridge;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::render::SharedStage;
use wheelfarm_core::source::{
    Patch, PatchError, PatchSession, PatchStep, PatchedTree, SourceTree, TarOwner, TreeCaps,
};

use super::image;
use super::job::{Halt, RunningJob, chain};
use crate::container::{
    ContainerSpec, Engine, Network, OwnedContainer, RootFileSystem, RunHow, RunLimits, Tmpfs,
    Volume,
};

/// How long a patch script may run.
const SCRIPT_TIME: std::time::Duration = std::time::Duration::from_secs(600);

/// The memory of a patch script's container.
const SCRIPT_MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;

pub(super) async fn patch<E: Engine>(
    running: &mut RunningJob<'_, E>,
    tree: SourceTree,
) -> Result<PatchedTree, Halt> {
    let patches = running
        .job
        .patches()
        .iter()
        .map(|patch| Patch::parse(&patch.name, &patch.text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| patch_halt(&error))?;
    let mut session = PatchSession::new(tree, patches);
    loop {
        match session.next().map_err(|error| patch_halt(&error))? {
            PatchStep::Done(patched) => return Ok(patched),
            PatchStep::Script { name, text, interpreter, tree } => {
                let script = Script { name, text, interpreter };
                let changed = run_script(running, &script, &tree).await?;
                session
                    .script_result(changed)
                    .map_err(|error| patch_halt(&error))?;
            }
        }
    }
}
