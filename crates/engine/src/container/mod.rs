//! Container engines, behind one trait: what the farm needs of Docker, and nothing that Kubernetes
//! Jobs could not give.

mod docker;
mod error;
mod owned;
mod scripted;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::doctor::facts::EngineSurvey;

pub use docker::DockerEngine;
pub use error::{EngineError, EngineErrorKind};
pub use owned::{OwnedContainer, RunEnd, RunHow, RunLimits, remove_owned, remove_owned_but};
pub use scripted::{Operation, SCRIPTED_IMAGE_BYTES, SCRIPTED_TIME_S, ScriptedEngine, ScriptedRun};

/// The keys of the labels that tell whose a container, volume or image is.
pub mod labels {
    /// The farm and its `out/` folder.
    pub const FARM: &str = "dev.wheelfarm.farm";
    /// The job.
    pub const JOB: &str = "dev.wheelfarm.job";
    /// The job's digest.
    pub const DIGEST: &str = "dev.wheelfarm.digest";
    /// The image whose libraries a container reads.
    pub const IMAGE: &str = "dev.wheelfarm.image";
    /// The farm whose unfinished build a volume keeps.
    pub const KEPT: &str = "dev.wheelfarm.kept";
    /// How an image was made.
    pub const RECIPE: &str = "dev.wheelfarm.recipe";
    /// What an image is for: see [`ImageKind`](super::ImageKind).
    pub const IMAGE_KIND: &str = "dev.wheelfarm.image-kind";
    /// Which volumes a container looks into.
    pub const VOLUMES: &str = "dev.wheelfarm.volumes";
    /// The farm whose compiler cache a volume is.
    pub const CACHE: &str = "dev.wheelfarm.cache";
    /// The package whose objects a compiler cache has.
    pub const PACKAGE: &str = "dev.wheelfarm.package";
}

/// What an image of the farm's is for; its names say so too: `wheelfarm/torch:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageKind {
    /// A bootstrapped Debian, which farms of one host share.
    Base,
    /// A stage that jobs share, up to torch; proofs start there.
    Torch,
    /// A stage that jobs share, up to the compilers.
    Toolkit,
    /// What wheels are proved in.
    Proof,
    /// A job's own.
    Job,
}

impl ImageKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Base,
        Self::Torch,
        Self::Toolkit,
        Self::Proof,
        Self::Job,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Torch => "torch",
            Self::Toolkit => "toolkit",
            Self::Proof => "proof",
            Self::Job => "job",
        }
    }

    /// The start of the names that images of this kind have.
    pub fn name_start(self) -> &'static str {
        match self {
            Self::Base => "wheelfarm/debian:",
            Self::Torch => "wheelfarm/torch:",
            Self::Toolkit => "wheelfarm/toolkit:",
            Self::Proof => "wheelfarm/proof:",
            Self::Job => "wheelfarm/job:",
        }
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Labels by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// These labels and one more.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of the label with that key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether every label of `wanted` is among these.
    pub fn contain(&self, wanted: &Self) -> bool {
        wanted
            .0
            .iter()
            .all(|(key, value)| self.0.get(key) == Some(value))
    }
}

/// The name of an image: `wheelfarm/debian:bookworm`, `nvidia/cuda@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageRef(String);

impl ImageRef {
    /// Takes `text` as the engine would.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The engine's own name of an image, by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(String);

impl ImageId {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image that is there.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// Its id.
    pub id: ImageId,
    /// Its labels.
    pub labels: Labels,
}

/// What an engine says of itself.
#[derive(Debug, Clone)]
pub struct EngineFacts {
    /// `docker`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Processors of its host.
    pub cpus: u32,
    /// Memory of its host.
    pub memory_bytes: u64,
    /// How it gives containers a GPU.
    pub gpu: GpuOffer,
    /// Where it keeps images and volumes, when that is a folder of this host: how much room there is
    /// for them can be seen there.
    pub data_folder: Option<Utf8PathBuf>,
}

/// How an engine gives containers a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuOffer {
    /// Not at all.
    None,
    /// NVIDIA's container runtime.
    NvidiaRuntime,
    /// The Container Device Interface, since API 1.44.
    Cdi,
}

/// Where a tar comes from; several GB need not pass through memory.
#[derive(Debug, Clone)]
pub enum TarSource {
    /// Bytes at hand.
    Memory(Bytes),
    /// A file, gzipped or not.
    File(Utf8PathBuf),
}

/// An image to build.
#[derive(Debug, Clone)]
pub struct ImageBuild {
    /// The context, with a `Dockerfile` at its top.
    pub context: TarSource,
    /// The stage to stop at; the last one when absent.
    pub target: Option<String>,
    /// The name it gets.
    pub tag: ImageRef,
    /// Its labels.
    pub labels: Labels,
}

/// Whether a container has a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Loopback only.
    Off,
    /// The engine's bridge.
    Bridge,
}

/// Whether a container may write outside its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootFileSystem {
    /// No.
    ReadOnly,
    /// Into a layer that goes with the container.
    Writable,
}

/// A file system in memory; it counts against the container's memory.
#[derive(Debug, Clone)]
pub struct Tmpfs {
    /// Where.
    pub path: String,
    /// How large at most.
    pub size_bytes: u64,
}

/// A volume. It goes with its container unless that is told to keep it. It begins as what the image has at its path, owner and
/// mode included.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where.
    pub path: String,
    /// Its labels; it is made anew unless a volume of its name is there.
    pub labels: Labels,
}

impl Volume {
    /// Whether it goes with its container; a compiler cache is the farm's, and stays.
    pub fn goes_with_container(&self) -> bool {
        self.labels.value(labels::CACHE).is_none()
    }
}

/// A GPU for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuAccess {
    /// The way to it.
    pub offer: GpuOffer,
}

/// A container to create. None has capabilities, and none may gain privileges.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// Its name; a second container of one name is refused.
    pub name: String,
    /// Its image.
    pub image: ImageId,
    /// What it runs; the image's own command when empty.
    pub command: Vec<String>,
    /// Its environment, besides the image's.
    pub env: BTreeMap<String, String>,
    /// Where it runs; the image's own folder when absent.
    pub working_dir: Option<String>,
    /// As whom; the image's own user when absent.
    pub user: Option<String>,
    /// Its network.
    pub network: Network,
    /// Memory, swap included.
    pub memory_bytes: u64,
    /// Processor time, in thousandths of a processor.
    pub milli_cpus: u64,
    /// Processes and threads.
    pub pids_limit: u32,
    /// Whether its root can be written.
    pub root: RootFileSystem,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Its GPU.
    pub gpu: Option<GpuAccess>,
    /// Its labels.
    pub labels: Labels,
}

/// The engine's own name of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code.
    pub code: i64,
    /// Whether one of its processes was killed at the memory limit. The engine sets it for children
    /// too, so it holds whatever the exit code.
    pub out_of_memory: bool,
}

/// What a container uses while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory held now, without what the kernel can drop.
    pub memory_bytes: u64,
    /// Processor time so far.
    pub cpu_time: Duration,
}

/// An image of an engine, as its list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// Its id.
    pub id: ImageId,
    /// Its names; none for a step on the way to another image, and for one whose name another took.
    pub names: Vec<ImageRef>,
    /// The image that it was built on by a step of a Dockerfile. Not known of an image that came from
    /// elsewhere or was built by BuildKit.
    pub parent: Option<ImageId>,
    /// Its labels, those of the image that it starts from included.
    pub labels: Labels,
    /// All its layers together; images share layers.
    pub size_bytes: u64,
    /// Seconds since 1970.
    pub created_at_s: u64,
}

/// How far a container has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// It was never started.
    Created,
    /// It runs, or is paused or on its way out.
    Running,
    /// It has ended like this.
    Ended(Exit),
}

/// A container of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Its labels, those of its image included.
    pub labels: Labels,
    /// Its image.
    pub image: ImageId,
    /// The volumes that it holds.
    pub volumes: Vec<String>,
    /// How far it has come.
    pub state: ContainerState,
    /// Seconds since 1970.
    pub created_at_s: u64,
    /// When it was started, in seconds since 1970.
    pub started_at_s: Option<u64>,
    /// When it ended, in seconds since 1970.
    pub finished_at_s: Option<u64>,
}

/// A volume of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSummary {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Seconds since 1970, if the engine says so.
    pub created_at_s: Option<u64>,
}

/// What in an engine carries a set of labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Containers, running or not.
    pub containers: Vec<ContainerId>,
    /// Volumes by name.
    pub volumes: Vec<String>,
}

/// Takes lines of output, without their ends.
pub type LineSink<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// A container engine.
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// A tar that comes out of a container.
    type Download: AsyncRead + Send + Unpin + 'static;

    /// What the engine says of itself; also the way to ask whether it is there.
    fn describe(&self) -> impl Future<Output = Result<EngineFacts, EngineError>> + Send;

    /// What the engine says of itself and of its host, for who judges whether both are fit.
    fn survey(&self) -> impl Future<Output = Result<EngineSurvey, EngineError>> + Send;

    /// The image of that name, if it is there.
    fn image(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<Option<ImageFacts>, EngineError>> + Send;

    /// Brings an image from its registry. Stops when `stop` is cancelled.
    fn pull(
        &self,
        reference: &ImageRef,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Makes an image of one layer from a tar of its file system.
    fn import_image(
        &self,
        root: TarSource,
        reference: &ImageRef,
        labels: &Labels,
    ) -> impl Future<Output = Result<ImageId, EngineError>> + Send;

    /// Builds an image. Stops, and leaves no container, when `stop` is cancelled.
    fn build_image(
        &self,
        build: ImageBuild,
        stop: &CancellationToken,
        on_line: LineSink<'_>,
    ) -> impl Future<Output = Result<ImageId, EngineError>> + Send;

    /// Removes a name of an image; what nothing else uses goes with it. Absent is fine.
    fn remove_image(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Creates a container.
    fn create(
        &self,
        spec: &ContainerSpec,
    ) -> impl Future<Output = Result<ContainerId, EngineError>> + Send;

    /// Starts it.
    fn start(&self, id: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Its output from the beginning, as it comes, until it ends.
    fn logs(&self, id: &ContainerId) -> impl Stream<Item = Result<Bytes, EngineError>> + Send;

    /// Waits until it has ended.
    fn wait(&self, id: &ContainerId) -> impl Future<Output = Result<Exit, EngineError>> + Send;

    /// The container of that name, if it is there.
    fn find(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<ContainerSummary>, EngineError>> + Send;

    /// What it uses now.
    fn usage(&self, id: &ContainerId) -> impl Future<Output = Result<Usage, EngineError>> + Send;

    /// Asks it to stop, and kills it after `grace`.
    fn stop(
        &self,
        id: &ContainerId,
        grace: Duration,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Kills it. One that has ended is fine.
    fn kill(&self, id: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes it, running or not. Absent is fine.
    fn remove(&self, id: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a volume. Absent is fine.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Unpacks a tar into a folder of a container, which need not run.
    fn upload(
        &self,
        id: &ContainerId,
        folder: &str,
        archive: TarSource,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// A path of a container, which need not run, as a tar.
    fn download(
        &self,
        id: &ContainerId,
        path: &str,
    ) -> impl Future<Output = Result<Self::Download, EngineError>> + Send;

    /// Every image, those included that are only a step on the way to another.
    fn images(&self) -> impl Future<Output = Result<Vec<ImageSummary>, EngineError>> + Send;

    /// The containers that carry all of `labels`, running or not.
    fn containers(
        &self,
        labels: &Labels,
    ) -> impl Future<Output = Result<Vec<ContainerSummary>, EngineError>> + Send;

    /// The volumes that carry all of `labels`.
    fn volumes(
        &self,
        labels: &Labels,
    ) -> impl Future<Output = Result<Vec<VolumeSummary>, EngineError>> + Send;

    /// What carries all of `labels`.
    fn owned(&self, labels: &Labels) -> impl Future<Output = Result<Owned, EngineError>> + Send;
}

/// The longest line that is kept of any output.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// A line of untrusted output, made safe for a terminal and a log: no control characters but tabs,
/// valid UTF-8, bounded in length.
pub fn sanitise_line(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    // A progress bar redraws its line: what stands after the last return is what a person would see.
    let text = String::from_utf8_lossy(cut);
    let text = text.trim_end_matches(['\r', '\n']);
    let shown = text.rsplit('\r').next().unwrap_or(text);
    let mut line = String::with_capacity(shown.len());
    let mut characters = shown.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            // A terminal's escape sequence ends at its first letter.
            '\u{1b}' => {
                for c in characters.by_ref() {
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
            }
            '\t' => line.push(c),
            c if c.is_control() => {}
            c => line.push(c),
        }
    }
    if bytes.len() > MAX_LINE_BYTES {
        line.push('…');
    }
    line
}

/// Cuts a stream of chunks into lines of bounded length.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes a chunk and gives its complete lines to `on_line`.
    pub(crate) fn push(&mut self, chunk: &[u8], on_line: &mut (impl FnMut(&[u8]) + ?Sized)) {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.rest.extend_from_slice(piece);
            let is_whole = self.rest.ends_with(b"\n");
            if is_whole || self.rest.len() > MAX_LINE_BYTES {
                let end = self.rest.len() - usize::from(is_whole);
                on_line(&self.rest[..end]);
                self.rest.clear();
            }
        }
    }

    /// Gives the last line, if it had no end.
    pub(crate) fn finish(self, on_line: &mut (impl FnMut(&[u8]) + ?Sized)) {
        if !self.rest.is_empty() {
            on_line(&self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_safe_to_show() {
        assert_eq!(sanitise_line(b"plain\ttext\r"), "plain\ttext");
        assert_eq!(sanitise_line(b"\x1b[31mred\x1b[0m \x07bell"), "red bell");
        assert_eq!(sanitise_line(b"10%\r50%\r100%"), "100%");
        assert_eq!(sanitise_line(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        let long = vec![b'x'; MAX_LINE_BYTES * 2];
        assert_eq!(sanitise_line(&long).chars().count(), MAX_LINE_BYTES + 1);
    }

    #[test]
    fn chunks_become_lines_wherever_they_are_cut() {
        let text = b"one\ntwo\n\nthree";
        for cut in 0..text.len() {
            let mut found = Vec::new();
            let mut on_line = |line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned());
            let mut lines = Lines::default();
            lines.push(&text[..cut], &mut on_line);
            lines.push(&text[cut..], &mut on_line);
            lines.finish(&mut on_line);
            assert_eq!(found, ["one", "two", "", "three"], "{cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut count = 0;
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.push(&[b'x'; 1024], &mut |_: &[u8]| count += 1);
        }
        assert!(count >= 5, "{count}");
    }
}
