//! `wheelfarm publish`.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::manifest::Manifest;
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::release::catalog::Track;
use wheelfarm_core::release::channel::Channel;
use wheelfarm_core::release::links::Links;
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::farm_folder;
use wheelfarm_engine::out_folder::folder_label;
use wheelfarm_engine::prove::container::{ProofError, ProofSubject, Prover, Receipt};
use wheelfarm_engine::publish::draft::{Draft, PublishError};
use wheelfarm_engine::publish::now;
use wheelfarm_engine::publish::records::{ReadyWheel, RecordError, judge_again, ready};
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::shelf::folder::{Address, FolderShelf};
use wheelfarm_engine::shelf::{Fault, Shelf};

use super::install_table::{self, Tables};
use super::{Selected, listen};
use crate::args::{Format, PublishArgs, TrackArg};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::publish::{Bringing, Proofs, Tried};

pub(super) fn run(args: &PublishArgs) -> Result<ExitCode, Failure> {
    let shelf = folder_shelf(args)?;
    install_table::check(args, &shelf.links())?;
    let selected = Selected::read(&args.selection)?;
    selected.refuse_nothing()?;
    let records = records(&selected, args)?;
    let jobs: Vec<&Job> = selected.plan.jobs.iter().collect();
    let now = now();
    judge_again(&records, &jobs).map_err(record_failure)?;
    let wheels = ready(records, &now).map_err(record_failure)?;
    publish(&shelf, &selected, args, wheels, &now)
}

/// The shelf that `--to` and `--base-url` name.
fn folder_shelf(args: &PublishArgs) -> Result<FolderShelf, Failure> {
    if args.to.starts_with("hf://") {
        let error = anyhow::anyhow!("publishing to a Hub (`{}`) is not built in yet", args.to);
        return Err(Failure::bad_input(error).with_hint("publish to a folder: `--to out/release`"));
    }
    let address = match args.base_url.as_deref() {
        None => Address::Kept,
        Some("relative") => Address::Anywhere,
        Some(url) => match Links::at(url).map_err(Failure::bad_input)? {
            Links::Absolute { base } => Address::At(base),
            Links::Relative | Links::Hub { .. } => Address::Anywhere,
        },
    };
    FolderShelf::new(Utf8Path::new(&args.to), address).map_err(shelf_failure)
}

#[tokio::main]
async fn publish<S: Shelf>(
    shelf: &S,
    selected: &Selected,
    args: &PublishArgs,
    wheels: Vec<ReadyWheel>,
    now: &str,
) -> Result<ExitCode, Failure> {
    let stop = StopSignal::default();
    let work = publish_until(shelf, selected, args, wheels, now, &stop);
    tokio::select! {
        code = work => code,
        failure = listen(stop.clone()) => Err(failure),
    }
}

async fn publish_until<S: Shelf>(
    shelf: &S,
    selected: &Selected,
    args: &PublishArgs,
    wheels: Vec<ReadyWheel>,
    now: &str,
    stop: &StopSignal,
) -> Result<ExitCode, Failure> {
    let track = match args.track {
        TrackArg::Stable => Track::Stable,
        TrackArg::Nightly => Track::Nightly,
    };
    let draft = Draft::of(shelf, wheels, track, now).await;
    let mut draft = draft.map_err(publish_failure)?;
    let to = shelf.address();
    let mut proofs = Proofs::new();
    if args.prove {
        proofs = prove(selected, &mut draft, &to, stop.clone(), args.format).await?;
    }
    let proofs_hold = proofs
        .iter()
        .all(|(_, receipts)| receipts.iter().all(Receipt::holds));
    let tables = Tables::of(selected, args, stop)?;
    let mut tried = Tried {
        proofs,
        table: None,
        after: None,
    };
    let mut refusal = (!proofs_hold).then_some(ExitCode::JobFailed);
    if let (Some(tables), true) = (&tables, proofs_hold && !draft.is_there()) {
        let table = tables.before(shelf, &draft).await?;
        refusal = install_table::verdict(&table);
        tried.table = Some(table);
    }
    if args.dry_run || refusal.is_some() {
        let missing = draft.missing(shelf).await.map_err(publish_failure)?;
        match args.format {
            Format::Human => render::publish::plan(&draft, &to, &missing, &tried, refusal),
            Format::Json => render::publish::plan_json(&draft, &to, &missing, &tried),
        }?;
        return Ok(refusal.unwrap_or(ExitCode::Done));
    }
    let shown = draft.clone();
    let progress = Bringing::new(args.format);
    let published = draft.publish(shelf, &progress, stop).await;
    let published = published.map_err(publish_failure)?;
    let mut code = ExitCode::Done;
    if let (Some(tables), true) = (&tables, args.table.prove_after) {
        let changed = shown
            .wheels()
            .iter()
            .map(|ready| ready.wheel.file_name.clone());
        let changed = changed.collect();
        let after = tables.after(shelf, &published.catalog, &changed).await?;
        if let Some(verdict) = install_table::verdict(&after) {
            code = verdict;
            let yanked = install_table::yank(shelf, &after, &changed).await?;
            tried.after = Some((after, yanked));
        } else {
            tried.after = Some((after, 0));
        }
    }
    match args.format {
        Format::Human => render::publish::published(&shown, &to, &published, &tried),
        Format::Json => render::publish::json(&shown, &to, &published, &tried),
    }?;
    Ok(code)
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

fn publish_failure<F: Fault>(error: PublishError<F>) -> Failure {
    if matches!(error, PublishError::Stopped) {
        return Failure::new(ExitCode::Cancelled, error);
    }
    shelf_failure(error)
}

fn record_failure(error: RecordError) -> Failure {
    shelf_failure(error)
}

pub(super) fn shelf_failure(error: impl Fault) -> Failure {
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

/// Proves the wheels of a draft, each with the channel and the Python of its job. What the proofs came
/// to goes out with them.
async fn prove(
    selected: &Selected,
    draft: &mut Draft,
    to: &str,
    stop: StopSignal,
    format: Format,
) -> Result<Proofs, Failure> {
    let prover = Prover {
        engine: Arc::new(DockerEngine::connect().await?),
        label: folder_label(&selected.farm.matrix.farm, Utf8Path::new(to)),
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
            blobs: ready.blobs().map_err(record_failure)?,
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
