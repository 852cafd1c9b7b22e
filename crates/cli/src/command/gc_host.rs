//! `wheelfarm gc` without a shelf: clears this host of what the farm has no more use for.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::quantity::{ByteSize, Days, QuantityError};
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::farm_folder::{self, FarmFolder};
use wheelfarm_engine::host::clear::{Act, Cleared, End, clear};
use wheelfarm_engine::host::things::{Inventory, Sizes};
use wheelfarm_engine::host::verdict::{Rules, SharedImages, Wanted, When};
use wheelfarm_engine::out_folder::OutFolder;
use wheelfarm_engine::run::StopSignal;

use super::listen;
use crate::args::{Format, GcArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &GcArgs) -> Result<ExitCode, Failure> {
    refuse_hub(args)?;
    let rules = rules(args)?;
    let farm = FarmFolder::read(&args.host.matrix)?;
    let plan = farm.plan()?;
    render::warnings(&plan.warnings);
    if !args.host.out.is_dir() {
        let error = anyhow::anyhow!("`{}` is no folder that a farm builds into", args.host.out);
        return Err(Failure::bad_input(error)
            .with_hint("name it with --out; what a farm has in the engine is labelled after it"));
    }
    let on_record = farm_folder::on_record(&args.host.out)?;
    let cleared = clear_host(args, &farm, &plan.needs(&on_record), &rules)?;
    match args.format {
        Format::Human => render::gc::human(&cleared, act(args)),
        Format::Json => render::gc::json(&cleared, act(args)),
    }?;
    let ended = |wanted: fn(&End) -> bool| cleared.iter().any(|done| wanted(&done.end));
    Ok(if ended(|end| matches!(end, End::NotReached)) {
        ExitCode::Cancelled
    } else if ended(|end| matches!(end, End::Failed(_))) {
        ExitCode::Infrastructure
    } else {
        ExitCode::Done
    })
}

#[tokio::main]
async fn clear_host(
    args: &GcArgs,
    farm: &FarmFolder,
    needs: &[(&Job, Need)],
    rules: &Rules,
) -> Result<Vec<Cleared>, Failure> {
    let stop = StopSignal::default();
    let work = async {
        // Held until all is done: no build of this farm begins meanwhile.
        let out = OutFolder::hold(&args.host.out)?;
        let engine = Arc::new(DockerEngine::connect().await?);
        let ca_bundle = farm.ca_bundle()?;
        let wanted = Wanted::of(&*engine, needs, ca_bundle.as_deref()).await?;
        let name = &farm.matrix.farm;
        let inventory = Inventory::take(&engine, &out, name, Sizes::Measured).await?;
        Ok(clear(&engine, inventory, &wanted, rules, act(args), &stop.stop).await)
    };
    tokio::select! {
        res = work => res,
        failure = listen(stop.clone()) => Err(failure),
    }
}

fn act(args: &GcArgs) -> Act {
    if args.dry_run { Act::Show } else { Act::Do }
}

fn rules(args: &GcArgs) -> Result<Rules, Failure> {
    let keep: Days = args.host.keep_runs.parse().map_err(amount)?;
    let cache = args.host.cache_size.as_deref();
    let cache: Option<ByteSize> = cache.map(str::parse).transpose().map_err(amount)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(Rules {
        now_s: now.map_or(0, |since| since.as_secs()),
        keep: keep.duration(),
        cache_bytes: cache.map(ByteSize::bytes),
        shared: if args.host.all_images {
            SharedImages::All
        } else {
            SharedImages::Unneeded
        },
        when: When::Idle,
    })
}

fn amount(error: QuantityError) -> Failure {
    let hint = error.hint();
    Failure::bad_input(error).with_hint(hint)
}

/// What is said of a Hub would be passed over in silence.
fn refuse_hub(args: &GcArgs) -> Result<(), Failure> {
    let given = [
        ("--endpoint", args.hub.endpoint.is_some()),
        ("--index-space", args.hub.index_space.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((flag, _)) => {
            let error = anyhow::anyhow!("`{flag}` is about a shelf, and no shelf is named");
            Err(Failure::bad_input(error).with_hint("name it with --from, or leave the flag out"))
        }
    }
}
