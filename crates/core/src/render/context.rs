//! What the engine is sent to build an image: the Dockerfile and the files it copies, as one
//! reproducible tar.

use std::io::{self, Write};

use super::{BUILD_SCRIPT, RenderError, template};
use crate::plan::Job;
use crate::source::{PatchedTree, SourceTree, TarOwner};
use template::CaFile;

/// The context of a shared stage: no source, because no shared stage copies any.
#[derive(Debug, Clone)]
pub struct StageContext {
    dockerfile: String,
    ca_bundle: Option<Vec<u8>>,
}

/// The whole context of a job. Only [`render`] makes one, from a tree that is wholly patched.
#[derive(Debug)]
pub struct BuildContext {
    shared: StageContext,
    source: SourceTree,
}

/// Renders the context of `job`; `ca_bundle` is a PEM file that its containers shall trust.
pub fn render(
    job: &Job,
    patched: PatchedTree,
    ca_bundle: Option<&[u8]>,
) -> Result<BuildContext, RenderError> {
    Ok(BuildContext {
        shared: StageContext::new(job, ca_bundle)?,
        source: patched.into_tree(),
    })
}

impl StageContext {
    /// The context of `job`'s shared stages.
    pub fn new(job: &Job, ca_bundle: Option<&[u8]>) -> Result<Self, RenderError> {
        let ca_file = match ca_bundle {
            Some(_) => CaFile::Present,
            None => CaFile::Absent,
        };
        Ok(Self {
            dockerfile: template::dockerfile(job, ca_file)?,
            ca_bundle: ca_bundle.map(<[u8]>::to_vec),
        })
    }

    /// The Dockerfile.
    pub fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// Writes the context as a tar.
    pub fn write_tar(&self, writer: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(writer);
        self.append(&mut archive)?;
        archive.into_inner()?.flush()
    }

    fn append(&self, archive: &mut tar::Builder<impl Write>) -> io::Result<()> {
        append_file(archive, "Dockerfile", 0o644, self.dockerfile.as_bytes())?;
        if let Some(ca_bundle) = &self.ca_bundle {
            append_file(archive, "ca-bundle.crt", 0o644, ca_bundle)?;
        }
        Ok(())
    }
}

impl BuildContext {
    /// The Dockerfile.
    pub fn dockerfile(&self) -> &str {
        self.shared.dockerfile()
    }

    /// Writes the context as a tar: the same job gives the same bytes.
    pub fn write_tar(&self, writer: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(writer);
        self.shared.append(&mut archive)?;
        append_file(&mut archive, "build.sh", 0o755, BUILD_SCRIPT.as_bytes())?;
        self.source
            .append_to_tar(&mut archive, "source", TarOwner::ROOT)?;
        archive.into_inner()?.flush()
    }
}

fn append_file(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(u64::try_from(content.len()).map_err(io::Error::other)?);
    archive.append_data(&mut header, name, content)
}
