//! What is in the engine: images, containers, volumes.

use bollard::Docker;
use bollard::errors::Error as ClientError;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListVolumesOptionsBuilder,
};

use super::{label_filter, labels_of, translate};
use crate::container::{
    ContainerId, ContainerState, ContainerSummary, EngineError, Exit, ImageId, ImageRef,
    ImageSummary, Labels, VolumeSummary,
};

/// What the engine calls an image that has no name.
const NO_NAME: &str = "<none>";

pub(super) async fn images(client: &Docker) -> Result<Vec<ImageSummary>, EngineError> {
    let options = ListImagesOptionsBuilder::new().all(true).build();
    let images = client
        .list_images(Some(options))
        .await
        .map_err(|error| translate("list images", error))?;
    let images = images.into_iter().map(|image| ImageSummary {
        id: ImageId::new(image.id),
        names: image
            .repo_tags
            .into_iter()
            .filter(|name| !name.starts_with(NO_NAME))
            .map(ImageRef::new)
            .collect(),
        parent: (!image.parent_id.is_empty()).then(|| ImageId::new(image.parent_id)),
        labels: labels_of(image.labels),
        size_bytes: u64::try_from(image.size).unwrap_or(0),
        created_at_s: u64::try_from(image.created).unwrap_or(0),
    });
    Ok(images.collect())
}

pub(super) async fn containers(
    client: &Docker,
    labels: &Labels,
) -> Result<Vec<ContainerSummary>, EngineError> {
    let fail = |error| translate("list containers", error);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&label_filter(labels))
        .build();
    let listed = client.list_containers(Some(options)).await.map_err(fail)?;
    let mut containers = Vec::new();
    for id in listed.into_iter().filter_map(|container| container.id) {
        // The list has no times, and says how one ended in words only.
        match client.inspect_container(&id, None).await {
            Ok(container) => containers.push(summary(id, container)),
            Err(ClientError::DockerResponseServerError {
                status_code: 404, ..
            }) => {}
            Err(error) => return Err(fail(error)),
        }
    }
    Ok(containers)
}

pub(super) async fn find(
    client: &Docker,
    name: &str,
) -> Result<Option<ContainerSummary>, EngineError> {
    match client.inspect_container(name, None).await {
        Ok(container) => {
            let id = container.id.clone().unwrap_or_else(|| name.to_owned());
            Ok(Some(summary(id, container)))
        }
        Err(ClientError::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(translate(format!("find container `{name}`"), error)),
    }
}

fn summary(id: String, container: ContainerInspectResponse) -> ContainerSummary {
    let state = container.state.unwrap_or_default();
    let exit = Exit {
        code: state.exit_code.unwrap_or(-1),
        out_of_memory: state.oom_killed.unwrap_or(false),
    };
    let config = container.config.unwrap_or_default();
    let name = container.name.unwrap_or_default();
    ContainerSummary {
        id: ContainerId::new(id),
        name: name.trim_start_matches('/').to_owned(),
        labels: labels_of(config.labels.unwrap_or_default()),
        image: ImageId::new(container.image.unwrap_or_default()),
        volumes: container
            .mounts
            .unwrap_or_default()
            .into_iter()
            .filter_map(|mount| mount.name)
            .collect(),
        state: match state.status {
            Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
            Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {
                ContainerState::Ended(exit)
            }
            _ => ContainerState::Running,
        },
        created_at_s: time(container.created.as_deref()).unwrap_or(0),
        started_at_s: time(state.started_at.as_deref()),
        finished_at_s: time(state.finished_at.as_deref()),
    }
}

pub(super) async fn volumes(
    client: &Docker,
    labels: &Labels,
) -> Result<Vec<VolumeSummary>, EngineError> {
    let options = ListVolumesOptionsBuilder::new()
        .filters(&label_filter(labels))
        .build();
    let listed = client
        .list_volumes(Some(options))
        .await
        .map_err(|error| translate("list volumes", error))?;
    let volumes = listed.volumes.unwrap_or_default().into_iter();
    Ok(volumes
        .map(|volume| VolumeSummary {
            created_at_s: time(volume.created_at.as_deref()),
            name: volume.name,
            labels: labels_of(volume.labels),
        })
        .collect())
}

/// The engine writes the year 1 for what has not happened.
fn time(text: Option<&str>) -> Option<u64> {
    let time: jiff::Timestamp = text?.parse().ok()?;
    u64::try_from(time.as_second()).ok().filter(|&s| s > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_never_was_is_none() {
        assert_eq!(time(Some("0001-01-01T00:00:00Z")), None);
        assert_eq!(time(Some("not a time")), None);
        assert_eq!(time(None), None);
        assert_eq!(time(Some("1970-01-01T00:01:40.5Z")), Some(100));
        assert_eq!(time(Some("1970-01-01T01:01:40+01:00")), Some(100));
    }
}
