//! `wheelfarm verify`.

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::gate::contract::Contract;
use wheelfarm_core::gate::finding::Verdict;
use wheelfarm_core::gate::judge::{self, Judgement};
use wheelfarm_core::gate::libraries::Libraries;
use wheelfarm_engine::farm_folder::{self, FarmFolder};
use wheelfarm_engine::inspect::inspect_file;

use super::find_job;
use crate::args::{Format, VerifyArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let contract = contract(args)?;
    let libraries: Option<Libraries> = None;
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

fn contract(args: &VerifyArgs) -> Result<Contract, Failure> {
    if let Some(id) = &args.job {
        let farm = FarmFolder::read(&args.matrix)?;
        let plan = farm.plan()?;
        return find_job(&plan, id).map(Contract::of_job);
    }
    let path = args
        .contract
        .as_ref()
        .expect("clap asks for --job or --contract");
    Ok(farm_folder::read_contract(path)?)
}

fn verify(
    wheel: &Utf8Path,
    contract: &Contract,
    libraries: Option<&Libraries>,
) -> Result<Judgement, Failure> {
    let report = inspect_file(wheel, judge::DEPTH).map_err(Failure::bad_input)?;
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
