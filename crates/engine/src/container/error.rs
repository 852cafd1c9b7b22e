//! What can go wrong with an engine, by what one would do about it.

use std::error::Error;
use std::fmt;

/// The kinds that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineErrorKind {
    /// It does not answer, or went away.
    Gone,
    /// It is there, and this user may not talk to it.
    PermissionDenied,
    /// An image is not there.
    NoSuchImage,
    /// A path is not there in a container: what runs in it decides that, not the engine.
    NoSuchPath,
    /// A container of that name is there already.
    NameTaken,
    /// No GPU could be attached.
    GpuUnavailable,
    /// The engine's disk is full.
    DiskFull,
    /// A step of a Dockerfile failed.
    BuildFailed,
    /// The caller's stop token was cancelled.
    Cancelled,
    /// Anything else.
    Other,
}

/// An operation on the engine failed.
#[derive(Debug)]
pub struct EngineError {
    operation: String,
    kind: EngineErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl EngineError {
    /// `operation` completes the sentence "failed to …".
    pub fn new(operation: impl Into<String>, kind: EngineErrorKind) -> Self {
        Self {
            operation: operation.into(),
            kind,
            source: None,
        }
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> EngineErrorKind {
        self.kind
    }

    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            EngineErrorKind::Gone => Some(
                "start the engine: `sudo systemctl start docker`, or name another with DOCKER_HOST",
            ),
            EngineErrorKind::PermissionDenied => Some(
                "run as root, or join the group: `sudo usermod -aG docker $USER`, then log in again",
            ),
            EngineErrorKind::NoSuchImage => Some(
                "check the base image's name in the matrix, and that the registry is reachable",
            ),
            EngineErrorKind::GpuUnavailable => {
                Some("install NVIDIA's container toolkit, or set `gpu: none` in the package")
            }
            EngineErrorKind::DiskFull => {
                Some("free space where the engine keeps its images: `docker system df`")
            }
            EngineErrorKind::BuildFailed
            | EngineErrorKind::NoSuchPath
            | EngineErrorKind::NameTaken
            | EngineErrorKind::Cancelled
            | EngineErrorKind::Other => None,
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.operation)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| -> &(dyn Error + 'static) { source })
    }
}
