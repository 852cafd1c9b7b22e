//! Proofs of the wheels of a publication, before it goes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use wheelfarm_core::release::channel::Channel;
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::out_folder::folder_label;
use wheelfarm_engine::prove::container::{ProofError, ProofSubject, Prover};
use wheelfarm_engine::publish::draft::Draft;
use wheelfarm_engine::run::StopSignal;

use super::{Selected, failure};
use crate::args::Format;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::publish::Proofs;

/// Proves the wheels of a draft, each with the channel and the Python of its job. What the proofs came
/// to goes out with them.
pub(super) async fn prove(
    selected: &Selected,
    draft: &mut Draft,
    (out, to): (&Utf8Path, &str),
    stop: StopSignal,
    format: Format,
) -> Result<Proofs, Failure> {
    let farm = &selected.farm.matrix.farm;
    // As the folder's builds spell it.
    let out = out.canonicalize_utf8().unwrap_or_else(|_| out.to_owned());
    let prover = Prover {
        engine: Arc::new(DockerEngine::connect().await?),
        label: folder_label(farm, Utf8Path::new(to)),
        image_label: folder_label(farm, &out),
        ca_bundle: selected.farm.ca_bundle()?,
        stop,
    };
    let mut channels: BTreeMap<Channel, Vec<ProofSubject>> = BTreeMap::new();
    for ready in draft.wheels() {
        let mut jobs = selected.plan.jobs.iter();
        let Some(job) = jobs.find(|job| *job.id() == ready.manifest.job) else {
            continue;
        };
        let subject = ProofSubject {
            wheel: ready.wheel.clone(),
            blobs: ready.blobs().map_err(failure)?,
            test: selected.farm.package_test(job.package())?,
            job: job.clone(),
        };
        let channel = ready.wheel.channel.clone();
        channels.entry(channel).or_default().push(subject);
    }
    let mut proofs = Proofs::new();
    let mut on_line = |line: &str| {
        if format == Format::Human {
            render::publish::proof_line(line);
        }
    };
    for (channel, subjects) in channels {
        for subjects in by_python(subjects) {
            let proven = prover.prove(&channel, &subjects, &mut on_line).await;
            let proven = proven.map_err(proof_failure)?;
            let mut receipts = Vec::new();
            for (receipt, record) in proven {
                draft.add_proof(record);
                receipts.push(receipt);
            }
            proofs.push((channel.clone(), receipts));
        }
    }
    Ok(proofs)
}

/// One container has one Python: wheels for different ones are proven apart.
fn by_python(subjects: Vec<ProofSubject>) -> Vec<Vec<ProofSubject>> {
    let mut groups = BTreeMap::new();
    for subject in subjects {
        let python = subject.job.environment().python;
        groups.entry(python).or_insert_with(Vec::new).push(subject);
    }
    groups.into_values().collect()
}

fn proof_failure(error: ProofError) -> Failure {
    match error {
        ProofError::Stopped => Failure::new(ExitCode::Cancelled, error),
        ProofError::Engine { .. } | ProofError::File(_) | ProofError::NoGpu { .. } => {
            Failure::infrastructure(error)
        }
        ProofError::NoImage { .. } => Failure::infrastructure(error)
            .with_hint("build the jobs on this engine: `wheelfarm build --force`"),
        ProofError::DirectRequirement { .. } => Failure::new(ExitCode::JobFailed, error)
            .with_hint("mend its `install_requires` with a patch: a version, not an address"),
        ProofError::Pack { .. } => Failure::bad_input(error),
        ProofError::Release(_) => Failure::new(ExitCode::JobFailed, error),
    }
}
