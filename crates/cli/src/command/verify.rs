//! `wheelfarm verify`.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::gate::contract::Contract;
use wheelfarm_core::gate::finding::Verdict;
use wheelfarm_core::gate::judge::{self, Judgement};
use wheelfarm_core::gate::libraries::Libraries;
use wheelfarm_core::plan::Job;
use wheelfarm_engine::container::DockerEngine;
use wheelfarm_engine::farm_folder::{self, FarmFolder};
use wheelfarm_engine::inspect::inspect_file;
use wheelfarm_engine::libraries::{
    LibrariesError, LibrariesErrorKind, folder_libraries, job_libraries,
};
use wheelfarm_engine::out_folder::folder_label;
use wheelfarm_engine::run::{StopSignal, farm_labels};

use super::{cache_folder, find_job, listen};
use crate::args::{Format, VerifyArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let (contract, libraries) = if let Some(id) = &args.job {
        let farm = FarmFolder::read(&args.matrix)?;
        let plan = farm.plan()?;
        let job = find_job(&plan, id)?;
        (Contract::of_job(job), libraries(args, Some((&farm, job)))?)
    } else {
        let path = args.contract.as_ref();
        let path = path.expect("clap asks for --job or --contract");
        (farm_folder::read_contract(path)?, libraries(args, None)?)
    };
    let mut verified = Vec::new();
    for wheel in &args.wheels {
        let judgement = verify(wheel, &contract, libraries.as_ref())?;
        if args.format == Format::Human {
            render::verify::human(wheel, &judgement)?;
        }
        verified.push((wheel.clone(), judgement));
    }
    if args.format == Format::Json {
        render::verify::json(&verified)?;
    }
    Ok(exit_code(&verified))
}

/// The libraries that symbols are looked up in: those of the folders that were named, or those of
/// the job's environment, if this machine's engine has it.
fn libraries(
    args: &VerifyArgs,
    job: Option<(&FarmFolder, &Job)>,
) -> Result<Option<Libraries>, Failure> {
    if !args.libraries.is_empty() {
        let interpreter = args.interpreter.as_deref();
        let libraries = folder_libraries(&args.libraries, interpreter);
        return libraries.map(Some).map_err(libraries_failure);
    }
    let Some((farm, job)) = job else {
        return Ok(None);
    };
    match environment(args, farm, job) {
        Ok(libraries) => Ok(libraries),
        Err(LibrariesError::NoEngine(error)) => {
            render::verify::no_engine(&error);
            Ok(None)
        }
        Err(error) => Err(libraries_failure(error)),
    }
}

#[tokio::main]
async fn environment(
    args: &VerifyArgs,
    farm: &FarmFolder,
    job: &Job,
) -> Result<Option<Libraries>, LibrariesError> {
    let engine = DockerEngine::connect()
        .await
        .map_err(LibrariesError::NoEngine)?;
    let engine = Arc::new(engine);
    let cache = cache_folder(args.cache.as_ref());
    let ca_bundle = farm.ca_bundle().ok().flatten();
    let label = folder_label(&farm.matrix.farm, Utf8Path::new("verify"));
    let labels = farm_labels(&label);
    let stop = StopSignal::default();
    let reading = job_libraries(&engine, job, ca_bundle.as_deref(), &cache, &labels, &stop);
    tokio::pin!(reading);
    tokio::select! {
        res = &mut reading => return res,
        _ = listen(stop.clone()) => {}
        () = stop.stop.cancelled() => {}
    }
    reading.await
}

fn libraries_failure(error: LibrariesError) -> Failure {
    let hint = error.hint();
    let failure = match error.kind() {
        LibrariesErrorKind::Input => Failure::bad_input(error),
        LibrariesErrorKind::Host => Failure::infrastructure(error),
        LibrariesErrorKind::Stopped => Failure::new(ExitCode::Cancelled, error),
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn verify(
    wheel: &Utf8Path,
    contract: &Contract,
    libraries: Option<&Libraries>,
) -> Result<Judgement, Failure> {
    let report = inspect_file(wheel, judge::DEPTH).map_err(|error| {
        Failure::bad_input(error).with_hint("`ls out/jobs/*/*.whl` lists the wheels on record")
    })?;
    Ok(judge::judge(&report, contract, libraries))
}

fn exit_code(verified: &[(Utf8PathBuf, Judgement)]) -> ExitCode {
    let has = |wanted| verified.iter().any(|(_, judged)| judged.verdict == wanted);
    if has(Verdict::Failed) {
        ExitCode::JobFailed
    } else if has(Verdict::NotChecked) {
        ExitCode::NotChecked
    } else {
        ExitCode::Done
    }
}
