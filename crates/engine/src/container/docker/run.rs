//! Containers: create, run, look into, remove.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ClientError;
use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, KillContainerOptions,
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions, StatsOptionsBuilder,
    StopContainerOptionsBuilder, UploadToContainerOptionsBuilder, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio_util::io::StreamReader;

use super::{DockerDownload, label_filter, label_map, tar_stream, translate};
use crate::container::{
    ContainerId, ContainerSpec, EngineError, EngineErrorKind, Exit, GpuAccess, GpuOffer, Labels,
    Network, Owned, RootFileSystem, TarSource, Usage,
};

/// What the engine keeps of a container's output; the farm's own file has the rest.
const ENGINE_LOG_SIZE: &str = "512m";

pub(super) async fn create(
    client: &Docker,
    spec: &ContainerSpec,
) -> Result<ContainerId, EngineError> {
    let options = CreateContainerOptionsBuilder::new()
        .name(&spec.name)
        .build();
    let env = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let body = ContainerCreateBody {
        image: Some(spec.image.as_str().to_owned()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(env),
        working_dir: spec.working_dir.clone(),
        user: spec.user.clone(),
        labels: Some(label_map(&spec.labels)),
        host_config: Some(host_config(spec)),
        ..ContainerCreateBody::default()
    };
    let created = client
        .create_container(Some(options), body)
        .await
        .map_err(|error| translate(format!("create container `{}`", spec.name), error))?;
    for warning in created.warnings {
        tracing::warn!(container = %spec.name, warning, "the engine warns");
    }
    Ok(ContainerId::new(created.id))
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let memory = i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX);
    let tmpfs = spec
        .tmpfs
        .iter()
        .map(|tmpfs| {
            // Compiled build requirements are loaded from there, so it must allow execution.
            let options = format!("rw,exec,nosuid,nodev,size={},mode=1777", tmpfs.size_bytes);
            (tmpfs.path.clone(), options)
        })
        .collect();
    HostConfig {
        network_mode: Some(
            match spec.network {
                Network::Off => "none",
                Network::Bridge => "bridge",
            }
            .to_owned(),
        ),
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: i64::try_from(spec.milli_cpus.saturating_mul(1_000_000)).ok(),
        pids_limit: Some(i64::from(spec.pids_limit)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        readonly_rootfs: Some(spec.root == RootFileSystem::ReadOnly),
        tmpfs: Some(tmpfs),
        mounts: Some(mounts(spec)),
        device_requests: spec
            .gpu
            .and_then(device_request)
            .map(|request| vec![request]),
        init: Some(true),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([(
                "max-size".to_owned(),
                ENGINE_LOG_SIZE.to_owned(),
            )])),
        }),
        ..HostConfig::default()
    }
}

fn mounts(spec: &ContainerSpec) -> Vec<Mount> {
    spec.volumes
        .iter()
        .map(|volume| Mount {
            target: Some(volume.path.clone()),
            source: Some(volume.name.clone()),
            typ: Some(MountType::VOLUME),
            volume_options: Some(MountVolumeOptions {
                labels: Some(label_map(&volume.labels)),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        })
        .collect()
}

fn device_request(gpu: GpuAccess) -> Option<DeviceRequest> {
    match gpu.offer {
        GpuOffer::None => None,
        GpuOffer::NvidiaRuntime => Some(DeviceRequest {
            driver: Some("nvidia".to_owned()),
            count: Some(-1),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        }),
        GpuOffer::Cdi => Some(DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(vec!["nvidia.com/gpu=all".to_owned()]),
            ..DeviceRequest::default()
        }),
    }
}

pub(super) async fn start(client: &Docker, id: &ContainerId) -> Result<(), EngineError> {
    client
        .start_container(id.as_str(), None)
        .await
        .map_err(|error| translate("start a container", error))
}

pub(super) fn logs(
    client: &Docker,
    id: &ContainerId,
) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<> {
    let options = LogsOptionsBuilder::new()
        .follow(true)
        .stdout(true)
        .stderr(true)
        .build();
    let client = client.clone();
    let id = id.as_str().to_owned();
    // The client is moved in, so that the stream does not borrow the engine.
    futures_util::stream::once(async move { client.logs(&id, Some(options)) })
        .flatten()
        .map(|item| {
            item.map(bollard::container::LogOutput::into_bytes)
                .map_err(|error| translate("follow a container's output", error))
        })
}

pub(super) async fn wait(client: &Docker, id: &ContainerId) -> Result<Exit, EngineError> {
    let fail = |error| translate("wait for a container", error);
    let mut waiting = Box::pin(client.wait_container(id.as_str(), None::<WaitContainerOptions>));
    match waiting.next().await {
        // A non-zero exit code is a result, which the client gives as an error.
        Some(Ok(_) | Err(ClientError::DockerContainerWaitError { .. })) => {}
        Some(Err(error)) => return Err(fail(error)),
        None => {
            return Err(EngineError::new(
                "wait for a container",
                EngineErrorKind::Gone,
            ));
        }
    }
    let container = client
        .inspect_container(id.as_str(), None)
        .await
        .map_err(fail)?;
    let state = container.state.unwrap_or_default();
    Ok(Exit {
        code: state.exit_code.unwrap_or(-1),
        out_of_memory: state.oom_killed.unwrap_or(false),
    })
}

pub(super) async fn usage(client: &Docker, id: &ContainerId) -> Result<Usage, EngineError> {
    let options = StatsOptionsBuilder::new()
        .stream(false)
        .one_shot(true)
        .build();
    let mut stats = Box::pin(client.stats(id.as_str(), Some(options)));
    let stats = match stats.next().await {
        Some(stats) => stats.map_err(|error| translate("read a container's usage", error))?,
        None => {
            return Err(EngineError::new(
                "read a container's usage",
                EngineErrorKind::Gone,
            ));
        }
    };
    let memory = stats.memory_stats.unwrap_or_default();
    let figures = memory.stats.unwrap_or_default();
    // cgroup v1 and v2 name the file cache differently. The kernel drops the active part too before
    // it kills: a build that reads back what it wrote would look several times as large as it is.
    let figure = |names: [&str; 2]| names.iter().find_map(|name| figures.get(*name).copied());
    let cache = figure(["total_inactive_file", "inactive_file"]).unwrap_or(0)
        + figure(["total_active_file", "active_file"]).unwrap_or(0);
    let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage);
    Ok(Usage {
        memory_bytes: memory.usage.unwrap_or(0).saturating_sub(cache),
        cpu_time: Duration::from_nanos(cpu.and_then(|cpu| cpu.total_usage).unwrap_or(0)),
    })
}

pub(super) async fn stop(
    client: &Docker,
    id: &ContainerId,
    grace: Duration,
) -> Result<(), EngineError> {
    let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::new().t(seconds).build();
    client
        .stop_container(id.as_str(), Some(options))
        .await
        .or_else(not_running_is_fine)
        .map_err(|error| translate("stop a container", error))
}

pub(super) async fn kill(client: &Docker, id: &ContainerId) -> Result<(), EngineError> {
    client
        .kill_container(id.as_str(), None::<KillContainerOptions>)
        .await
        .or_else(not_running_is_fine)
        .map_err(|error| translate("kill a container", error))
}

fn not_running_is_fine(error: ClientError) -> Result<(), ClientError> {
    fine_with(&[304, 404, 409], error)
}

pub(super) async fn remove(client: &Docker, id: &ContainerId) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    client
        .remove_container(id.as_str(), Some(options))
        .await
        .or_else(absent_is_fine)
        .map_err(|error| translate("remove a container", error))
}

pub(super) async fn remove_volume(client: &Docker, name: &str) -> Result<(), EngineError> {
    client
        .remove_volume(name, None::<RemoveVolumeOptions>)
        .await
        .or_else(absent_is_fine)
        .map_err(|error| translate(format!("remove volume `{name}`"), error))
}

fn absent_is_fine(error: ClientError) -> Result<(), ClientError> {
    fine_with(&[404], error)
}

/// What was to be reached is so already when the engine answers with one of `codes`.
fn fine_with(codes: &[u16], error: ClientError) -> Result<(), ClientError> {
    if let ClientError::DockerResponseServerError { status_code, .. } = &error
        && codes.contains(status_code)
    {
        return Ok(());
    }
    Err(error)
}

pub(super) async fn upload(
    client: &Docker,
    id: &ContainerId,
    folder: &str,
    archive: TarSource,
) -> Result<(), EngineError> {
    let options = UploadToContainerOptionsBuilder::new().path(folder).build();
    let body = bollard::body_try_stream(tar_stream(archive).await?);
    client
        .upload_to_container(id.as_str(), Some(options), body)
        .await
        .map_err(|error| translate(format!("put files into `{folder}` of a container"), error))
}

pub(super) async fn download(
    client: &Docker,
    id: &ContainerId,
    path: &str,
) -> Result<DockerDownload, EngineError> {
    let options = DownloadFromContainerOptionsBuilder::new()
        .path(path)
        .build();
    let operation = format!("take `{path}` out of a container");
    let client = client.clone();
    let id = id.as_str().to_owned();
    let mut chunks = Box::pin(
        futures_util::stream::once(
            async move { client.download_from_container(&id, Some(options)) },
        )
        .flatten(),
    );
    // The first chunk shows whether the path is there at all.
    let first = match chunks.next().await {
        Some(Ok(first)) => first,
        Some(Err(error)) if is_no_such_path(&error) => {
            return Err(EngineError::new(operation, EngineErrorKind::NoSuchPath).with_source(error));
        }
        Some(Err(error)) => return Err(translate(operation, error)),
        None => Bytes::new(),
    };
    let rest = chunks.map_err(io::Error::other);
    let all = futures_util::stream::once(async move { Ok(first) }).chain(rest);
    Ok(DockerDownload(StreamReader::new(Box::pin(all))))
}

/// The engine answers 404 for a container too.
fn is_no_such_path(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::DockerResponseServerError { status_code: 404, message }
            if !message.contains("No such container")
    )
}

pub(super) async fn owned(client: &Docker, labels: &Labels) -> Result<Owned, EngineError> {
    let fail = |error| translate("list what the farm owns", error);
    let filter = label_filter(labels);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter)
        .build();
    let containers = client.list_containers(Some(options)).await.map_err(fail)?;
    let options = ListVolumesOptionsBuilder::new().filters(&filter).build();
    let volumes = client.list_volumes(Some(options)).await.map_err(fail)?;
    Ok(Owned {
        containers: containers
            .into_iter()
            .filter_map(|container| container.id)
            .map(ContainerId::new)
            .collect(),
        volumes: volumes
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect(),
    })
}
