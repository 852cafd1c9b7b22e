//! Images: find, pull, import, build, remove.

use bollard::Docker;
use bollard::errors::Error as ClientError;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, RemoveImageOptions,
};
use futures_util::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{label_map, labels_of, tar_stream, translate};
use crate::container::{
    EngineError, EngineErrorKind, ImageBuild, ImageFacts, ImageId, ImageRef, Labels, LineSink,
    Lines, TarSource,
};

pub(super) async fn find(
    client: &Docker,
    reference: &ImageRef,
) -> Result<Option<ImageFacts>, EngineError> {
    match client.inspect_image(reference.as_str()).await {
        Ok(image) => {
            let labels = image.config.and_then(|config| config.labels);
            Ok(Some(ImageFacts {
                id: ImageId::new(image.id.unwrap_or_default()),
                labels: labels_of(labels.unwrap_or_default()),
            }))
        }
        Err(ClientError::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(translate(format!("look for image `{reference}`"), error)),
    }
}

pub(super) async fn pull(
    client: &Docker,
    reference: &ImageRef,
    stop: &CancellationToken,
) -> Result<(), EngineError> {
    let operation = format!("pull image `{reference}`");
    let options = CreateImageOptionsBuilder::new()
        .from_image(reference.as_str())
        .build();
    let mut items = Box::pin(client.create_image(Some(options), None, None));
    while let Some(item) = next(&mut items, stop, &operation).await? {
        let item = item.map_err(|error| {
            let error = translate(&operation, error);
            if error.kind() == EngineErrorKind::Other {
                // A registry that is not reached or has no such image: not the engine's fault.
                return EngineError::new(&operation, EngineErrorKind::NoSuchImage)
                    .with_source(error);
            }
            error
        })?;
        if let Some(detail) = item.error_detail {
            return Err(EngineError::new(operation, EngineErrorKind::NoSuchImage)
                .with_source(detail.message.unwrap_or_default()));
        }
    }
    Ok(())
}

pub(super) async fn import(
    client: &Docker,
    root: TarSource,
    reference: &ImageRef,
    labels: &Labels,
) -> Result<ImageId, EngineError> {
    let operation = format!("import image `{reference}`");
    let changes = labels
        .iter()
        .map(|(key, value)| format!("LABEL {}={}", quoted(key), quoted(value)))
        .chain(["CMD [\"/bin/sh\"]".to_owned()])
        .collect();
    let (repository, tag) = split_tag(reference);
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .changes(changes)
        .build();
    let body = bollard::body_try_stream(tar_stream(root).await?);
    let mut items = Box::pin(client.create_image(Some(options), Some(body), None));
    while let Some(item) = items.next().await {
        let item = item.map_err(|error| translate(&operation, error))?;
        if let Some(detail) = item.error_detail {
            let message = detail.message.unwrap_or_default();
            return Err(EngineError::new(operation, EngineErrorKind::Other).with_source(message));
        }
    }
    match find(client, reference).await? {
        Some(image) => Ok(image.id),
        None => Err(EngineError::new(operation, EngineErrorKind::Other)),
    }
}

/// A word of a Dockerfile that stands for itself.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

fn split_tag(reference: &ImageRef) -> (&str, &str) {
    match reference.as_str().rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference.as_str(), "latest"),
    }
}

pub(super) async fn build(
    client: &Docker,
    build: ImageBuild,
    stop: &CancellationToken,
    on_line: LineSink<'_>,
) -> Result<ImageId, EngineError> {
    let operation = format!("build image `{}`", build.tag);
    let mut options = BuildImageOptionsBuilder::new()
        .dockerfile("Dockerfile")
        .t(build.tag.as_str())
        .labels(&label_map(&build.labels))
        .rm(true)
        .forcerm(true);
    if let Some(target) = &build.target {
        options = options.target(target);
    }
    let body = bollard::body_try_stream(tar_stream(build.context).await?);
    let mut items = Box::pin(client.build_image(options.build(), None, Some(body)));
    let mut lines = Lines::default();
    let mut id = None;
    // Every item is looked at: the failure of a step comes as the last item of a good answer.
    while let Some(item) = next(&mut items, stop, &operation).await? {
        let item = match item {
            Ok(item) => item,
            Err(ClientError::DockerStreamError { error }) => {
                lines.finish(on_line);
                on_line(error.as_bytes());
                return Err(step_error(&operation, error));
            }
            Err(error) => return Err(translate(&operation, error)),
        };
        if let Some(text) = item.stream {
            lines.push(text.as_bytes(), on_line);
        }
        if let Some(aux) = item.aux {
            id = aux.id;
        }
    }
    lines.finish(on_line);
    match id {
        Some(id) => Ok(ImageId::new(id)),
        None => Err(EngineError::new(operation, EngineErrorKind::Other)
            .with_source("the engine named no image")),
    }
}

fn step_error(operation: &str, message: String) -> EngineError {
    let says = |sign: &&str| message.contains(*sign);
    let kind = if says(&"returned a non-zero code") {
        // What a command is and prints may look like anything below.
        EngineErrorKind::BuildFailed
    } else if says(&"no space left on device") {
        EngineErrorKind::DiskFull
    } else if REGISTRY_SIGNS.iter().any(says) {
        EngineErrorKind::NoSuchImage
    } else if says(&"failed to create endpoint") {
        // The engine's own network is broken: no step of any Dockerfile can start.
        EngineErrorKind::Other
    } else {
        EngineErrorKind::BuildFailed
    };
    EngineError::new(operation, kind).with_source(message)
}

/// How the engine says that it did not get an image of a `FROM` line. Requests to a registry go
/// below `/v2/`, and fail in as many ways as networks do.
const REGISTRY_SIGNS: [&str; 4] = [
    "pull access denied",
    "manifest unknown",
    "/v2/",
    "no such host",
];

pub(super) async fn remove(client: &Docker, reference: &ImageRef) -> Result<(), EngineError> {
    let options = Some(RemoveImageOptions::default());
    match client.remove_image(reference.as_str(), options, None).await {
        Ok(_)
        | Err(ClientError::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(()),
        Err(error) => Err(translate(format!("remove image `{reference}`"), error)),
    }
}

/// The next item, unless the caller stops first; dropping the stream then cancels the work.
async fn next<T>(
    items: &mut (impl Stream<Item = T> + Unpin),
    stop: &CancellationToken,
    operation: &str,
) -> Result<Option<T>, EngineError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            Err(EngineError::new(operation, EngineErrorKind::Cancelled))
        }
        item = items.next() => Ok(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, want: EngineErrorKind) {
        let error = step_error("build", message.to_owned());
        assert_eq!(error.kind(), want, "{message}");
    }

    #[test]
    fn a_step_that_fails_is_told_from_an_engine_that_cannot_start_it() {
        let failed = "The command '/bin/sh -c exit 7' returned a non-zero code: 7";
        check(failed, EngineErrorKind::BuildFailed);
        check(
            "COPY failed: file not found in build context",
            EngineErrorKind::BuildFailed,
        );
        check(
            "failed to create endpoint a_b on network bridge: adding interface veth0 to bridge \
             docker0 failed: could not find bridge docker0",
            EngineErrorKind::Other,
        );
        check(
            "The command '/bin/sh -c curl https://r/v2/' returned a non-zero code: 6",
            EngineErrorKind::BuildFailed,
        );
        check(
            "Get \"https://r/v2/\": dial tcp 192.0.2.1:443: connect: network is unreachable",
            EngineErrorKind::NoSuchImage,
        );
        check(
            "manifest for debian:none not found: manifest unknown: manifest unknown",
            EngineErrorKind::NoSuchImage,
        );
        check(
            "write /x: no space left on device",
            EngineErrorKind::DiskFull,
        );
    }
}
