//! What the engine is sent to build an image: the Dockerfile and the files it copies, as one
//! reproducible tar.

use std::io::{self, Write};

use super::{
    BUILD_SCRIPT, GPU_SHIM, NVCC_RECORDER, RenderError, SharedStage, WATCHED_BUILD, template,
};
use crate::plan::Job;
use crate::source::patch::PatchedTree;
use crate::source::{FileMode, SourceTree, TarLayout, TreeEntry, TreePath};
use template::CaFile;

/// The folder of the context that the source lies in.
const CONTEXT_SOURCE: &str = "source";

/// The context of a shared stage: no source, because no shared stage copies any.
#[derive(Debug, Clone)]
pub struct StageContext {
    dockerfile: String,
    files: SourceTree,
}

/// The whole context of a job. Only [`render`] makes one, from a tree that is wholly patched.
#[derive(Debug, Clone)]
pub struct BuildContext(StageContext);

/// Renders the context of `job`; `ca_bundle` is a PEM file that its containers shall trust.
pub fn render(
    job: &Job,
    patched: &PatchedTree,
    ca_bundle: Option<&[u8]>,
) -> Result<BuildContext, RenderError> {
    let mut context = StageContext::new(job, ca_bundle)?;
    context.add("build.sh", FileMode::Executable, BUILD_SCRIPT.as_bytes());
    context.add(
        "nvcc_recorder.py",
        FileMode::Executable,
        NVCC_RECORDER.as_bytes(),
    );
    context.add(
        "watched_build.py",
        FileMode::Executable,
        WATCHED_BUILD.as_bytes(),
    );
    if job.release().build.gpu_shim {
        context.add("gpu_shim.py", FileMode::Executable, GPU_SHIM.as_bytes());
    }
    let folder = path(CONTEXT_SOURCE);
    for (path, entry) in patched.tree().iter() {
        context.insert(path.below(&folder), entry.clone());
    }
    Ok(BuildContext(context))
}

impl StageContext {
    /// The context of `job`'s shared stages.
    pub fn new(job: &Job, ca_bundle: Option<&[u8]>) -> Result<Self, RenderError> {
        let ca_file = match ca_bundle {
            Some(_) => CaFile::Present,
            None => CaFile::Absent,
        };
        let dockerfile = template::dockerfile(job, ca_file)?;
        let mut context = Self {
            files: SourceTree::new(),
            dockerfile: dockerfile.clone(),
        };
        context.add("Dockerfile", FileMode::Plain, dockerfile.as_bytes());
        if let Some(ca_bundle) = ca_bundle {
            context.add("ca-bundle.crt", FileMode::Plain, ca_bundle);
        }
        Ok(context)
    }

    /// The Dockerfile.
    pub fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// The instructions that make `stage`: jobs whose instructions are equal share its image.
    pub fn recipe(&self, stage: SharedStage) -> &str {
        let start = self.dockerfile.find("\nARG BASE=").unwrap_or(0);
        let next_stage = format!("\nFROM {} AS ", stage.target());
        let end = self.dockerfile.find(&next_stage);
        &self.dockerfile[start..end.unwrap_or(self.dockerfile.len())]
    }

    /// Writes the context as a tar: the same job gives the same bytes.
    pub fn write_tar<W: Write>(&self, writer: W) -> io::Result<W> {
        self.files.write_tar(&TarLayout::default(), writer)
    }

    fn add(&mut self, name: &str, mode: FileMode, content: &[u8]) {
        let bytes = content.into();
        self.insert(path(name), TreeEntry::File { bytes, mode });
    }

    fn insert(&mut self, path: TreePath, entry: TreeEntry) {
        self.files
            .insert(path, entry)
            .expect("the context's own names and the folder of the source do not collide");
    }
}

impl BuildContext {
    /// The Dockerfile.
    pub fn dockerfile(&self) -> &str {
        self.0.dockerfile()
    }

    /// Writes the context as a tar: the same job gives the same bytes.
    pub fn write_tar<W: Write>(&self, writer: W) -> io::Result<W> {
        self.0.write_tar(writer)
    }
}

fn path(name: &str) -> TreePath {
    name.parse().expect("the context's own names are paths")
}
