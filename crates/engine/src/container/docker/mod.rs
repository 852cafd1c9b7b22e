//! Docker Engine through bollard: the only modules that name bollard.
//!
//! Facts the code rests on, each seen on engines 20.10 and 26.1: the client's time limit covers the
//! head of a response alone; `wait` gives a non-zero exit code as an error; the engine sets its
//! out-of-memory flag for killed children too; dropping a build's stream cancels the build.

mod image;
mod list;
mod run;
mod survey;

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ClientError;
use bollard::models::SystemInfo;
use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::{Stream, stream};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::sync::CancellationToken;
use wheelfarm_core::doctor::facts::EngineSurvey;

use super::{
    ContainerId, ContainerSpec, ContainerSummary, Engine, EngineError, EngineErrorKind,
    EngineFacts, Exit, GpuOffer, ImageBuild, ImageFacts, ImageId, ImageRef, ImageSummary, Labels,
    LineSink, Owned, TarSource, Usage, VolumeSummary,
};

/// How long the engine may take to begin an answer. Importing and committing several GB take
/// minutes on a slow disk.
const ANSWER_TIME_S: u64 = 1800;

/// The API version from which the engine knows CDI devices.
const CDI_API: (usize, usize) = (1, 44);

/// How much of a file is read at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// A Docker engine.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    client: Docker,
    place: Place,
}

/// Where an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind a socket of this host.
    ThisHost,
    /// Behind an address.
    Elsewhere,
}

impl Place {
    /// As the client takes `DOCKER_HOST`: without one, the socket of this host.
    fn of(docker_host: Option<&str>) -> Self {
        match docker_host {
            None | Some("") => Self::ThisHost,
            Some(address) if address.starts_with("unix://") => Self::ThisHost,
            Some(_) => Self::Elsewhere,
        }
    }

    /// The engine's data folder, if it is a folder of this host: an engine in a virtual machine
    /// listens here too, and keeps its data there.
    fn data_folder(self, said: Option<String>) -> Option<Utf8PathBuf> {
        match self {
            Self::Elsewhere => None,
            Self::ThisHost => said.map(Utf8PathBuf::from).filter(|folder| folder.is_dir()),
        }
    }
}

/// A tar that comes out of a container.
pub struct DockerDownload(
    StreamReader<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>, Bytes>,
);

impl std::fmt::Debug for DockerDownload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DockerDownload")
    }
}

impl AsyncRead for DockerDownload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl DockerEngine {
    /// Connects to the engine that `DOCKER_HOST` names, else to the local one, and agrees on an
    /// API version.
    pub async fn connect() -> Result<Self, EngineError> {
        let connect = || "connect to the Docker engine";
        let client = Docker::connect_with_defaults()
            .map_err(|error| EngineError::new(connect(), connect_kind(&error)).with_source(error))?
            .with_timeout(Duration::from_secs(ANSWER_TIME_S));
        let ping = tokio::time::timeout(Duration::from_secs(20), client.ping()).await;
        match ping {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let kind = connect_kind(&error);
                return Err(EngineError::new(connect(), kind).with_source(error));
            }
            Err(_) => {
                return Err(EngineError::new(connect(), EngineErrorKind::Gone)
                    .with_source("no answer in 20 seconds"));
            }
        }
        let client = client
            .negotiate_version()
            .await
            .map_err(|error| translate(connect(), error))?;
        let docker_host = std::env::var("DOCKER_HOST").ok();
        Ok(Self {
            client,
            place: Place::of(docker_host.as_deref()),
        })
    }

    /// How it gives containers a GPU.
    fn gpu_offer(&self, info: &SystemInfo) -> GpuOffer {
        let has_nvidia = info
            .runtimes
            .as_ref()
            .is_some_and(|runtimes| runtimes.contains_key("nvidia"));
        let has_cdi = self.api() >= CDI_API
            && info.cdi_spec_dirs.as_ref().is_some_and(|folders| {
                folders
                    .iter()
                    .any(|folder| has_nvidia_spec(Utf8Path::new(folder)))
            });
        if has_nvidia {
            GpuOffer::NvidiaRuntime
        } else if has_cdi {
            GpuOffer::Cdi
        } else {
            GpuOffer::None
        }
    }

    /// The API that it is spoken to with.
    fn api(&self) -> (usize, usize) {
        let version = self.client.client_version();
        (version.major_version, version.minor_version)
    }
}

impl Engine for DockerEngine {
    type Download = DockerDownload;

    async fn describe(&self) -> Result<EngineFacts, EngineError> {
        let fail = |error| translate("ask the engine about itself", error);
        let info = self.client.info().await.map_err(fail)?;
        let gpu = self.gpu_offer(&info);
        Ok(EngineFacts {
            name: "docker".to_owned(),
            version: info.server_version.unwrap_or_default(),
            cpus: info.ncpu.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            memory_bytes: info
                .mem_total
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(0),
            gpu,
            data_folder: self.place.data_folder(info.docker_root_dir),
        })
    }

    async fn survey(&self) -> Result<EngineSurvey, EngineError> {
        let fail = |error| translate("ask the engine about itself", error);
        let info = self.client.info().await.map_err(fail)?;
        Ok(self.survey_of(info))
    }

    async fn image(&self, reference: &ImageRef) -> Result<Option<ImageFacts>, EngineError> {
        image::find(&self.client, reference).await
    }

    async fn pull(
        &self,
        reference: &ImageRef,
        stop: &CancellationToken,
    ) -> Result<(), EngineError> {
        image::pull(&self.client, reference, stop).await
    }

    async fn import_image(
        &self,
        root: TarSource,
        reference: &ImageRef,
        labels: &Labels,
    ) -> Result<ImageId, EngineError> {
        image::import(&self.client, root, reference, labels).await
    }

    async fn build_image(
        &self,
        build: ImageBuild,
        stop: &CancellationToken,
        on_line: LineSink<'_>,
    ) -> Result<ImageId, EngineError> {
        image::build(&self.client, build, stop, on_line).await
    }

    async fn remove_image(&self, reference: &ImageRef) -> Result<(), EngineError> {
        image::remove(&self.client, reference).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        run::create(&self.client, spec).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        run::start(&self.client, id).await
    }

    fn logs(&self, id: &ContainerId) -> impl Stream<Item = Result<Bytes, EngineError>> + Send {
        run::logs(&self.client, id)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, EngineError> {
        run::wait(&self.client, id).await
    }

    async fn find(&self, name: &str) -> Result<Option<ContainerSummary>, EngineError> {
        list::find(&self.client, name).await
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage, EngineError> {
        run::usage(&self.client, id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        run::stop(&self.client, id, grace).await
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), EngineError> {
        run::kill(&self.client, id).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        run::remove(&self.client, id).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        run::remove_volume(&self.client, name).await
    }

    async fn upload(
        &self,
        id: &ContainerId,
        folder: &str,
        archive: TarSource,
    ) -> Result<(), EngineError> {
        run::upload(&self.client, id, folder, archive).await
    }

    async fn download(&self, id: &ContainerId, path: &str) -> Result<DockerDownload, EngineError> {
        run::download(&self.client, id, path).await
    }

    async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        list::images(&self.client).await
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>, EngineError> {
        list::containers(&self.client, labels).await
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeSummary>, EngineError> {
        list::volumes(&self.client, labels).await
    }

    async fn owned(&self, labels: &Labels) -> Result<Owned, EngineError> {
        run::owned(&self.client, labels).await
    }
}

/// Whether a CDI folder of this host describes NVIDIA devices.
fn has_nvidia_spec(folder: &Utf8Path) -> bool {
    folder.read_dir_utf8().is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().contains("nvidia"))
    })
}

/// The bytes of a request that carries a tar.
async fn tar_stream(
    archive: TarSource,
) -> Result<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>, EngineError> {
    match archive {
        TarSource::Memory(bytes) => Ok(Box::pin(stream::once(async move { Ok(bytes) }))),
        TarSource::File(path) => {
            let file = fs_err::tokio::File::open(&path).await.map_err(|error| {
                EngineError::new(format!("read `{path}`"), EngineErrorKind::Other)
                    .with_source(error)
            })?;
            Ok(Box::pin(ReaderStream::with_capacity(file, CHUNK_BYTES)))
        }
    }
}

fn label_map(labels: &Labels) -> HashMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn labels_of(map: impl IntoIterator<Item = (String, String)>) -> Labels {
    map.into_iter()
        .fold(Labels::default(), |all, (key, value)| {
            all.with(&key, &value)
        })
}

/// A filter for what carries all of `labels`.
fn label_filter(labels: &Labels) -> HashMap<String, Vec<String>> {
    let wanted = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    HashMap::from([("label".to_owned(), wanted)])
}

fn connect_kind(error: &ClientError) -> EngineErrorKind {
    if causes(error).any(|text| text.contains("ermission denied")) {
        EngineErrorKind::PermissionDenied
    } else {
        EngineErrorKind::Gone
    }
}

/// Gives a client's error the kind that callers act on. The engine has no codes for most of them,
/// so this one place reads its texts.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the client may get more kinds of errors: all are the way to the engine"
)]
fn translate(operation: impl Into<String>, error: ClientError) -> EngineError {
    let says = |sign: &str| causes(&error).any(|text| text.contains(sign));
    let kind = if says("no space left on device") || says("disk quota exceeded") {
        EngineErrorKind::DiskFull
    } else if says("could not select device driver")
        || says("CDI device injection failed")
        || says("Unknown runtime specified nvidia")
        || says("nvidia-container-cli")
    {
        EngineErrorKind::GpuUnavailable
    } else {
        match &error {
            ClientError::DockerResponseServerError {
                status_code: 404,
                message,
            } if message.contains("mage") => EngineErrorKind::NoSuchImage,
            ClientError::DockerResponseServerError {
                status_code: 409, ..
            } => EngineErrorKind::NameTaken,
            ClientError::DockerResponseServerError { .. }
            | ClientError::DockerStreamError { .. }
            | ClientError::JsonDataError { .. } => EngineErrorKind::Other,
            // What is left is the way to the engine: a socket that is gone, a connection cut.
            _ => EngineErrorKind::Gone,
        }
    };
    EngineError::new(operation, kind).with_source(error)
}

fn causes(error: &ClientError) -> impl Iterator<Item = String> {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source()).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_behind_a_socket_of_this_host_has_its_data_here() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().to_str().map(str::to_owned);
        for host in [None, Some(""), Some("unix:///run/docker.sock")] {
            let place = Place::of(host);
            assert_eq!(
                place
                    .data_folder(there.clone())
                    .map(Utf8PathBuf::into_string),
                there,
                "{host:?}"
            );
            assert_eq!(place.data_folder(Some("/no/such/folder".to_owned())), None);
            assert_eq!(place.data_folder(None), None);
        }
        for host in ["tcp://192.0.2.1:2375", "ssh://builder", "http://builder"] {
            assert_eq!(Place::of(Some(host)).data_folder(there.clone()), None);
        }
    }
}
