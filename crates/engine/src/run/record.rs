//! Writes what is kept of a job: wheel, metadata, manifest, inputs, Dockerfile and
//! context, and how it failed.

use std::collections::BTreeMap;
use std::io::{self, BufWriter};

use camino::Utf8PathBuf;
use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::finding::Verdict;
use wheelfarm_core::gate::report;
use wheelfarm_core::manifest::{
    self, CheckState, CommandsRecord, CostRecord, EnvironmentRecord, Manifest, PatchRecord,
    SourceRecord, ToolsRecord, WheelRecord,
};
use wheelfarm_core::outcome::{Failure, FailureRecord};
use wheelfarm_core::plan::{Job, inputs};
use wheelfarm_core::receipt::GpuRunRecord;
use wheelfarm_core::render::BuildContext;
use wheelfarm_core::source::patch::PatchedTree;

use super::gate::JudgedWheel;
use super::image::BuilderImage;
use crate::files::{self, FileError};
use crate::out_folder::StagedJob;

/// Everything that the stages found out and the manifest says.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) cost: CostRecord,
    pub(super) wheel: JudgedWheel,
    pub(super) source: SourceRecord,
    pub(super) patches: Vec<PatchRecord>,
    pub(super) image: BuilderImage,
    pub(super) tools: BTreeMap<String, String>,
    pub(super) engine: String,
    pub(super) commands: CommandsRecord,
}

/// Writes the Dockerfile and the context, so that the wheel can be built again by hand.
pub(super) async fn write_context(
    context: BuildContext,
    staged: &StagedJob,
) -> Result<Utf8PathBuf, FileError> {
    let folder = staged.path().to_owned();
    let write = move || {
        files::write_atomic(folder.join("Dockerfile"), context.dockerfile().as_bytes())?;
        let path = folder.join("context.tar.gz");
        let pack = || -> io::Result<()> {
            let file = BufWriter::new(fs::File::create(&path)?);
            let mut packed = GzEncoder::new(file, Compression::fast());
            context.write_tar(&mut packed)?;
            let file = packed.finish()?.into_inner();
            file.map_err(io::IntoInnerError::into_error)?.sync_all()
        };
        pack().map_err(|source| FileError::new("write", &path, source))?;
        Ok(path)
    };
    tokio::task::spawn_blocking(write)
        .await
        .expect("writing a context does not panic")
}

/// The source as the manifest has it.
pub(super) fn source_record(
    job: &Job,
    tree_sha256: Sha256Digest,
    patched: &PatchedTree,
) -> SourceRecord {
    SourceRecord {
        identity: job.source_identity().to_owned(),
        tree_sha256,
        patched_tree_sha256: patched.tree().digest(),
    }
}

/// The patches as the manifest has them.
pub(super) fn patch_records(patched: &PatchedTree) -> Vec<PatchRecord> {
    patched
        .applied()
        .iter()
        .map(|patch| PatchRecord {
            name: patch.name.clone(),
            sha256: patch.sha256,
            why: patch.header.why.clone(),
            upstream: patch.header.upstream.clone(),
            drop_when: patch.header.drop_when.clone(),
            files: patch
                .files
                .iter()
                .map(|file| file.path.to_string())
                .collect(),
        })
        .collect()
}

/// Writes the manifest, last of all.
pub(super) fn write(job: &Job, staged: &StagedJob, facts: Facts) -> Result<(), FileError> {
    let wheel = facts.wheel.wheel();
    let wheel_name = wheel.name().to_string();
    let metadata = staged.path().join(format!("{wheel_name}.metadata"));
    files::write_atomic(&metadata, wheel.metadata())?;
    let inputs = staged.path().join(inputs::FILE_NAME);
    files::write_atomic(&inputs, job.inputs().to_text().as_bytes())?;
    let manifest = manifest(job, facts);
    let path = staged.path().join(manifest::FILE_NAME);
    files::write_atomic(&path, manifest.to_text().as_bytes())
}

/// Writes how a job failed, so that the next plan can say it.
pub(super) fn write_failure(
    job: &Job,
    staged: &StagedJob,
    failure: &Failure,
) -> Result<(), FileError> {
    let path = staged.path().join(FailureRecord::FILE_NAME);
    let record = FailureRecord::new(job, failure);
    files::write_atomic(&path, record.to_text().as_bytes())
}

fn manifest(job: &Job, facts: Facts) -> Manifest {
    let environment = job.environment();
    let wheel = facts.wheel.wheel();
    let judgement = facts.wheel.judgement();
    Manifest {
        schema: manifest::SCHEMA,
        job: job.id().clone(),
        job_digest: job.digest(),
        package: job.package().clone(),
        version: job.release().version.value.to_string(),
        archs: job.archs().map(ToString::to_string),
        wheel: WheelRecord {
            file_name: wheel.name().to_string(),
            sha256: wheel.sha256(),
            size_bytes: wheel.size_bytes(),
            requires_python: wheel.requires_python().map(str::to_owned),
            requires_dist: wheel.requires_dist().to_vec(),
            metadata_sha256: wheel.metadata_sha256(),
            uses_torch_cxx_abi: wheel.uses_torch_cxx_abi(),
            platform_reason: wheel.platform_reason().to_owned(),
            modules: wheel.modules().to_vec(),
            module_archs: report::module_archs(facts.wheel.report()),
        },
        environment: EnvironmentRecord {
            name: environment.name.clone(),
            cuda: environment.cuda.to_string(),
            torch: environment.torch.to_string(),
            python: environment.python.to_string(),
            channel: job.channel(),
            base: facts.image.base.to_string(),
            base_image: facts.image.base_id.to_string(),
            builder_image: facts.image.id.to_string(),
        },
        source: facts.source,
        patches: facts.patches,
        tools: ToolsRecord {
            wheelfarm: env!("CARGO_PKG_VERSION").to_owned(),
            engine: facts.engine,
            image: facts.tools,
        },
        cost: facts.cost,
        commands: Some(facts.commands),
        gate: match judgement.verdict {
            Verdict::Passed => CheckState::Passed,
            Verdict::NotChecked | Verdict::Failed => CheckState::NotChecked,
        },
        findings: judgement.findings.clone(),
        runs_on: report::runs_on_records(facts.wheel.report()),
        proof: CheckState::NotChecked,
        gpu_run: Some(GpuRunRecord::not_run()),
    }
}
