//! A job: one package release in one environment, with everything that can change its wheel.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::inputs::{Inputs, InputsRecord};
use crate::arch::ArchList;
use crate::digest::Sha256Digest;
use crate::ident::{JobId, PackageName};
use crate::matrix::{Base, Toolkit, TorchIndex};
use crate::package::PackageRelease;
use crate::release::channel::Channel;
use crate::render;
use crate::version::{CudaVersion, PythonVersion, TorchVersion};

/// What a wheel is built against, every axis fixed.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its name in the matrix.
    pub name: String,
    /// What the image starts from.
    pub base: Base,
    /// Where nvcc comes from.
    pub toolkit: Toolkit,
    /// The toolkit's version.
    pub cuda: CudaVersion,
    /// The torch.
    pub torch: TorchVersion,
    /// The index it is installed from.
    pub torch_index: TorchIndex,
    /// The Python.
    pub python: PythonVersion,
    /// The index that build requirements come from.
    pub package_index: String,
}

impl Environment {
    /// The channel that its wheels go to, unless they are of a variant.
    pub fn channel(&self) -> Channel {
        Channel::new(&self.cuda.tag(), self.torch.abi()).expect("a toolkit's tag names a channel")
    }
}

/// A patch as the job carries it: its file name and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPatch {
    /// The file's name.
    pub name: String,
    /// The file's text.
    pub text: String,
    /// The digest of the text.
    pub sha256: Sha256Digest,
}

/// The digest of everything that can change a wheel's bytes.
///
/// Two jobs with one digest make the same wheel; a wheel on record under another digest is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct JobDigest(pub(super) Sha256Digest);

impl JobDigest {
    /// The first twelve digits, for labels.
    pub fn short(self) -> String {
        self.0.short()
    }
}

impl fmt::Display for JobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One package release in one environment.
#[derive(Debug, Clone)]
pub struct Job {
    id: JobId,
    package: PackageName,
    release: Arc<PackageRelease>,
    environment: Arc<Environment>,
    archs: Option<ArchList>,
    patches: Arc<[JobPatch]>,
    source_identity: Arc<str>,
    source_date_epoch_s: u64,
    digest: JobDigest,
}

/// The parts of a job, before its digest is known.
#[derive(Debug)]
pub(super) struct JobParts {
    pub(super) id: JobId,
    pub(super) package: PackageName,
    pub(super) release: Arc<PackageRelease>,
    pub(super) environment: Arc<Environment>,
    pub(super) archs: Option<ArchList>,
    pub(super) patches: Arc<[JobPatch]>,
    pub(super) source_identity: Arc<str>,
    pub(super) source_date_epoch_s: u64,
}

impl Job {
    /// Puts a job together and takes its digest.
    ///
    /// # Errors
    /// A template in the package's `env` that does not hold.
    pub(super) fn new(parts: JobParts) -> Result<Self, render::RenderError> {
        let mut job = Self {
            id: parts.id,
            package: parts.package,
            release: parts.release,
            environment: parts.environment,
            archs: parts.archs,
            patches: parts.patches,
            source_identity: parts.source_identity,
            source_date_epoch_s: parts.source_date_epoch_s,
            // Taken below, over the rest.
            digest: JobDigest(Sha256Digest::of(b"")),
        };
        job.digest = Inputs::of(&job)?.digest();
        Ok(job)
    }

    /// The readable id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The package.
    pub fn package(&self) -> &PackageName {
        &self.package
    }

    /// The release that is built.
    pub fn release(&self) -> &PackageRelease {
        &self.release
    }

    /// What it is built against.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// `cu130torch2.11`, and the variant behind it: `cu130torch2.11.avx512`.
    pub fn local_version(&self) -> String {
        self.channel().local_version().to_string()
    }

    /// The channel that its wheel goes to.
    pub fn channel(&self) -> Channel {
        let variant = self.release.variant.clone();
        self.environment.channel().of_variant(variant)
    }

    /// The archs; `None` for a package that compiles on the user's GPU.
    pub fn archs(&self) -> Option<&ArchList> {
        self.archs.as_ref()
    }

    /// The patches, in the order in which they are applied.
    pub fn patches(&self) -> &[JobPatch] {
        &self.patches
    }

    /// The source as it is pinned: the same text, the same content.
    pub fn source_identity(&self) -> &str {
        &self.source_identity
    }

    /// The time stamp of every file in the wheel: seconds since 1970.
    pub fn source_date_epoch_s(&self) -> u64 {
        self.source_date_epoch_s
    }

    /// Everything that can change the wheel, as it goes on record.
    pub fn inputs(&self) -> InputsRecord {
        let inputs = Inputs::of(self).expect("its digest was taken over them");
        inputs.record(self.digest)
    }

    /// The digest of everything that can change the wheel.
    pub fn digest(&self) -> JobDigest {
        self.digest
    }
}
