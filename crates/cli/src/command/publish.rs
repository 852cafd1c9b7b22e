//! `wheelfarm publish`.

mod prove;

use camino::Utf8PathBuf;
use wheelfarm_core::manifest::Manifest;
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::release::catalog::{Catalog, Track, VariantTree};
use wheelfarm_core::release::channel::Channel;
use wheelfarm_core::release::links::Links;
use wheelfarm_engine::farm_folder;
use wheelfarm_engine::install_table::TableReport;
use wheelfarm_engine::prove::container::Receipt;
use wheelfarm_engine::publish::draft::{Draft, PublishError};
use wheelfarm_engine::publish::now;
use wheelfarm_engine::publish::records::{ReadyWheel, judge_again, ready};
use wheelfarm_engine::publish::variants::make_variants;
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::shelf::Fault;
use wheelfarm_engine::shelf::Shelf;
use wheelfarm_engine::shelf::folder::Address;
use wheelfarm_engine::shelf::hub::Visibility;

use super::install_table::{self, Tables};
use super::place::{self, failure};
use super::{Selected, cache_folder, listen};
use crate::args::{Format, PublishArgs, TrackArg};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::publish::{Bringing, Proofs, Tried};

pub(super) fn run(args: &PublishArgs) -> Result<ExitCode, Failure> {
    place::keep_xet_below(&cache_folder(args.table.cache.as_ref()), &args.to)?;
    let address = address(args)?;
    let variants = variants(args)?;
    let selected = Selected::read(&args.selection)?;
    selected.refuse_nothing()?;
    let records = records(&selected, args)?;
    let jobs: Vec<&Job> = selected.plan.jobs.iter().collect();
    let now = now();
    judge_again(&records, &jobs).map_err(failure)?;
    let mut wheels = ready(records, &now).map_err(failure)?;
    // Kept until the end: the files of the variants go with it.
    let made = match &variants {
        Some(_) => Some(make_variants(&mut wheels).map_err(failure)?),
        None => None,
    };
    if let (Some(made), Format::Human) = (&made, args.format) {
        render::publish::no_variants(&made.without);
    }
    publish(&selected, args, address, (wheels, variants), &now)
}

/// How the pages of a folder are to point at files.
fn address(args: &PublishArgs) -> Result<Address, Failure> {
    Ok(match args.base_url.as_deref() {
        None => Address::Kept,
        Some("relative") => Address::Anywhere,
        Some(url) => match Links::at(url).map_err(Failure::bad_input)? {
            Links::Absolute { base } => Address::At(base),
            Links::Relative | Links::Hub { .. } => Address::Anywhere,
        },
    })
}

/// What is wanted of the tree of wheel variants.
fn variants(args: &PublishArgs) -> Result<Option<VariantTree>, Failure> {
    if !args.variants {
        return Ok(None);
    }
    let channels = args.variants_plain.iter();
    let channels = channels.map(|text| text.parse::<Channel>());
    let plain = channels.collect::<Result<_, _>>().map_err(|error| {
        Failure::bad_input(error).with_hint("a channel is a CUDA and a torch: `cu130/torch2.11`")
    })?;
    Ok(Some(VariantTree { plain }))
}

#[tokio::main]
async fn publish(
    selected: &Selected,
    args: &PublishArgs,
    address: Address,
    wheels: (Vec<ReadyWheel>, Option<VariantTree>),
    now: &str,
) -> Result<ExitCode, Failure> {
    let stop = StopSignal::default();
    let create = args.create.then_some(if args.private {
        Visibility::Private
    } else {
        Visibility::Public
    });
    let work = async {
        let shelf = place::open(&args.to, &args.hub, (address, create), args.format).await?;
        install_table::check(args, &shelf.links())?;
        publish_until(&shelf, selected, args, wheels, now, &stop).await
    };
    tokio::select! {
        code = work => code,
        failure = listen(stop.clone()) => Err(failure),
    }
}

async fn publish_until<S: Shelf>(
    shelf: &S,
    selected: &Selected,
    args: &PublishArgs,
    (wheels, variants): (Vec<ReadyWheel>, Option<VariantTree>),
    now: &str,
    stop: &StopSignal,
) -> Result<ExitCode, Failure> {
    let track = match args.track {
        TrackArg::Stable => Track::Stable,
        TrackArg::Nightly => Track::Nightly,
    };
    let draft = Draft::of(shelf, wheels, track, variants, now).await;
    let mut draft = draft.map_err(publish_failure)?;
    let to = shelf.address();
    let mut proofs = Proofs::new();
    if args.prove {
        let places = (args.selection.out.as_path(), to.as_str());
        proofs = prove::prove(selected, &mut draft, places, stop.clone(), args.format).await?;
    }
    let mut receipts = proofs.iter().flat_map(|(_, receipts)| receipts);
    let all_hold = receipts.all(Receipt::holds);
    let mut refusal = (!all_hold).then_some(ExitCode::JobFailed);
    let tables = Tables::of(selected, args, stop)?;
    let mut tried = Tried::by(proofs);
    if let (Some(tables), true) = (&tables, refusal.is_none() && !draft.is_there()) {
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
    let mut ended = Ok(ExitCode::Done);
    if let (Some(tables), true) = (&tables, args.table.prove_after) {
        let after = prove_after(shelf, tables, &shown, &published.catalog).await;
        (tried.after, ended) = after;
    }
    // The release is out, whatever came of the rows: what is known of it is said before an error is.
    match args.format {
        Format::Human => render::publish::published(&shown, &to, &published, &tried),
        Format::Json => render::publish::json(&shown, &to, &published, &tried),
    }?;
    ended
}

/// Runs the table where the release stands, and yanks what came out wrong of the wheels that this
/// publication changed: what came of the rows as far as they were run, with how many wheels were yanked, and
/// how the command ends.
async fn prove_after<S: Shelf>(
    shelf: &S,
    tables: &Tables,
    shown: &Draft,
    published: &Catalog,
) -> (Option<(TableReport, usize)>, Result<ExitCode, Failure>) {
    let wheels = shown.wheels().iter();
    let asked_for = wheels.map(|ready| ready.wheel.file_name.clone()).collect();
    let report = match tables.after(shelf, published, &asked_for).await {
        Ok(report) => report,
        Err(failure) => return (None, Err(failure)),
    };
    let Some(verdict) = install_table::verdict(&report) else {
        return (Some((report, 0)), Ok(ExitCode::Done));
    };
    // What was out before may be in use, and is not this publication's to take back.
    let changed = shown.candidate().changed;
    match install_table::yank(shelf, published, &report, &changed).await {
        Ok(yanked) => (Some((report, yanked)), Ok(verdict)),
        Err(failure) => (Some((report, 0)), Err(failure)),
    }
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
    failure(error)
}
