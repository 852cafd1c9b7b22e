//! The GPUs of this machine, and whether one reaches a container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::doctor::facts::{GpuFacts, GpuWay, Seen, Unseen};
use wheelfarm_core::doctor::proc;
use wheelfarm_core::gpu::machine::{ARGUMENTS, MachineGpu};
use wheelfarm_core::plan::{Job, Need};

use crate::container::{
    ContainerSpec, Engine, EngineError, GpuAccess, GpuOffer, ImageId, Labels, Network,
    OwnedContainer, RootFileSystem, RunHow, RunLimits, labels, sanitise_line,
};
use crate::files;
use crate::inspect::{NoMachineGpu, machine_gpus_in};
use crate::run::shared_images;
use crate::secrets;

/// How long `nvidia-smi` may take: one whose driver hangs never answers.
const LIMIT: Duration = Duration::from_secs(15);

/// How long a container may take to see its GPU.
const CONTAINER_LIMITS: RunLimits = RunLimits {
    total: Duration::from_mins(1),
    silence: Duration::from_mins(1),
    grace: Duration::from_secs(5),
};

const BUS: &str = "/sys/bus/pci/devices";

pub(super) async fn look() -> GpuFacts {
    let version = files::read_text("/proc/driver/nvidia/version").ok();
    GpuFacts {
        devices: devices(),
        gpus: gpus().await,
        loaded: version.as_deref().and_then(proc::loaded_driver),
        in_container: None,
    }
}

fn devices() -> usize {
    let Ok(entries) = fs_err::read_dir(BUS) else {
        return 0;
    };
    let is_gpu = |entry: &fs_err::DirEntry| {
        let text = |name: &str| files::read_text(entry.path().join(name)).unwrap_or_default();
        proc::is_nvidia_gpu(&text("vendor"), &text("class"))
    };
    entries.flatten().filter(is_gpu).count()
}

async fn gpus() -> Seen<Vec<MachineGpu>> {
    let unseen = |error: NoMachineGpu| Unseen::new(chain(&error), "nvidia-smi -L");
    let answer = Command::from(secrets::command("nvidia-smi"))
        .args(ARGUMENTS)
        .kill_on_drop(true)
        .output();
    match time::timeout(LIMIT, answer).await {
        Ok(Ok(output)) => machine_gpus_in(&output).map_err(unseen),
        Ok(Err(error)) => Err(unseen(NoMachineGpu::Run(error))),
        Err(_) => Err(Unseen::new(
            format!("`nvidia-smi` said nothing for {} s", LIMIT.as_secs()),
            "sudo dmesg | grep NVRM",
        )),
    }
}

/// What a container with a GPU sees, by an image of the farm's that is there; `None` when the engine has no
/// way to a GPU, or no such image.
pub(super) async fn in_container<E: Engine>(
    engine: &Arc<E>,
    way: GpuWay,
    jobs: Option<&[(&Job, Need)]>,
) -> Option<Result<String, String>> {
    let offer = match way {
        GpuWay::None => return None,
        GpuWay::NvidiaRuntime => GpuOffer::NvidiaRuntime,
        GpuWay::Cdi => GpuOffer::Cdi,
    };
    let image = some_image(&**engine, jobs?).await?;
    Some(match run(engine, image, offer).await {
        Ok(answer) => answer,
        Err(error) => Err(chain(&error)),
    })
}

/// An image of the farm's that is there: NVIDIA's tools come with the GPU, so any will do.
async fn some_image<E: Engine>(engine: &E, jobs: &[(&Job, Need)]) -> Option<ImageId> {
    for (job, _) in jobs {
        for name in shared_images(engine, job, None).await.ok()? {
            if let Ok(Some(image)) = engine.image(&name).await {
                return Some(image.id);
            }
        }
    }
    None
}

async fn run<E: Engine>(
    engine: &Arc<E>,
    image: ImageId,
    offer: GpuOffer,
) -> Result<Result<String, String>, EngineError> {
    let name = format!("wheelfarm-doctor-{}", std::process::id());
    let spec = ContainerSpec {
        labels: Labels::default().with(labels::FARM, &name),
        name,
        image,
        command: vec!["nvidia-smi".to_owned(), "-L".to_owned()],
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        network: Network::Off,
        memory_bytes: 1 << 30,
        milli_cpus: 1000,
        pids_limit: 64,
        root: RootFileSystem::ReadOnly,
        tmpfs: Vec::new(),
        volumes: Vec::new(),
        gpu: Some(GpuAccess { offer }),
    };
    let mut container = OwnedContainer::create(Arc::clone(engine), spec).await?;
    let mut lines = Vec::new();
    let never = CancellationToken::new();
    let ran = container
        .run_to_end(&CONTAINER_LIMITS, &never, &never, |line| {
            lines.push(sanitise_line(line));
        })
        .await;
    container.remove().await?;
    let end = ran?;
    let gpus = lines.iter().filter(|line| line.starts_with("GPU ")).count();
    Ok(match (end.how, end.exit_code, gpus) {
        (RunHow::Exited, 0, 1..) => Ok(format!("{gpus} with `nvidia-smi -L`")),
        (RunHow::Exited, code, _) => {
            let last = lines.last().map_or("nothing is said", String::as_str);
            Err(format!("`nvidia-smi -L` ended with {code}: {last}"))
        }
        (how, _, _) => Err(format!("`nvidia-smi -L` did not end by itself: {how:?}")),
    })
}
