//! `wheelfarm publish`.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::manifest::Manifest;
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::release::channel::Channel;
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::farm_folder;
use wheelfarm_engine::out_folder::folder_label;
use wheelfarm_engine::prove::container::{ProofError, ProofSubject, Prover, Receipt};
use wheelfarm_engine::publish::{FolderReceipt, PublishError, judge_again, publish_to_folder};
use wheelfarm_engine::run::StopSignal;

use super::{Selected, listen};
use crate::args::{Format, PublishArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &PublishArgs) -> Result<ExitCode, Failure> {
    let selected = Selected::read(&args.selection)?;
    selected.refuse_nothing()?;
    let records = records(&selected, args)?;
    let jobs: Vec<&Job> = selected.plan.jobs.iter().collect();
    judge_again(&records, &jobs).map_err(publish_failure)?;
    let receipt = publish_to_folder(&records, &args.to).map_err(publish_failure)?;
    if args.format == Format::Human {
        render::publish::folder(&receipt)?;
    }
    let proofs = if args.prove {
        prove(&selected, &records, &receipt, args)?
    } else {
        Vec::new()
    };
    match args.format {
        Format::Human => render::publish::install(&receipt, &proofs),
        Format::Json => render::publish::json(&receipt, &proofs),
    }?;
    let all_hold = proofs
        .iter()
        .all(|(_, receipts)| receipts.iter().all(Receipt::holds));
    Ok(if all_hold {
        ExitCode::Done
    } else {
        ExitCode::JobFailed
    })
}

/// The records of the selected jobs; all of them must be what the matrix asks for.
fn records(
    selected: &Selected,
    args: &PublishArgs,
) -> Result<Vec<(Utf8PathBuf, Manifest)>, Failure> {
    let needs = selected.needs(&args.selection, false)?;
    if let Some((job, need)) = needs.iter().find(|(_, need)| *need != Need::UpToDate) {
        let error = anyhow::anyhow!(
            "job `{}` has no wheel to publish: {}",
            job.id(),
            need.reason()
        );
        return Err(Failure::bad_input(error)
            .with_hint("run `wheelfarm build` first, or leave the job out with --skip"));
    }
    let mut records = farm_folder::manifests(&args.selection.out)?;
    records.retain(|(_, manifest)| needs.iter().any(|(job, _)| *job.id() == manifest.job));
    Ok(records)
}

fn publish_failure(error: PublishError) -> Failure {
    let hint = error.hint();
    let failure = if error.is_refusal() {
        Failure::new(ExitCode::JobFailed, error)
    } else {
        Failure::infrastructure(error)
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

#[tokio::main]
async fn prove(
    selected: &Selected,
    records: &[(Utf8PathBuf, Manifest)],
    receipt: &FolderReceipt,
    args: &PublishArgs,
) -> Result<Vec<(Channel, Vec<Receipt>)>, Failure> {
    let stop = StopSignal::default();
    let proofs = prove_channels(selected, records, receipt, stop.clone(), args.format);
    tokio::select! {
        proofs = proofs => proofs,
        failure = listen(stop) => Err(failure),
    }
}

async fn prove_channels(
    selected: &Selected,
    records: &[(Utf8PathBuf, Manifest)],
    receipt: &FolderReceipt,
    stop: StopSignal,
    format: Format,
) -> Result<Vec<(Channel, Vec<Receipt>)>, Failure> {
    let prover = Prover {
        engine: Arc::new(DockerEngine::connect().await?),
        label: folder_label(&selected.farm.matrix.farm, &receipt.folder),
        ca_bundle: selected.farm.ca_bundle()?,
        stop,
    };
    let mut channels: BTreeMap<Channel, Vec<ProofSubject>> = BTreeMap::new();
    for wheel in &receipt.wheels {
        let manifest = records
            .iter()
            .find(|(_, manifest)| manifest.job == wheel.job);
        let job = selected.plan.jobs.iter().find(|job| *job.id() == wheel.job);
        let (Some((_, manifest)), Some(job)) = (manifest, job) else {
            continue;
        };
        let subject = ProofSubject {
            wheel: wheel.clone(),
            requires_dist: manifest.wheel.requires_dist.clone(),
            test: selected.farm.package_test(job.package())?,
            job: job.clone(),
        };
        channels
            .entry(wheel.channel.clone())
            .or_default()
            .push(subject);
    }
    let mut proofs = Vec::new();
    for (channel, subjects) in channels {
        for subjects in by_python(subjects) {
            let receipts =
                prove_channel(&prover, &receipt.folder, &channel, &subjects, format).await?;
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

async fn prove_channel(
    prover: &Prover<DockerEngine>,
    folder: &Utf8Path,
    channel: &Channel,
    subjects: &[ProofSubject],
    format: Format,
) -> Result<Vec<Receipt>, Failure> {
    let mut on_line = |line: &str| {
        if format == Format::Human {
            render::publish::proof_line(line);
        }
    };
    prover
        .prove(folder, channel, subjects, &mut on_line)
        .await
        .map_err(proof_failure)
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
    }
}
