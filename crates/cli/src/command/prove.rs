//! `wheelfarm prove`.

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::receipt::{FILE_NAME, MachineReceipt, RunState};
use wheelfarm_engine::farm_folder::{self, PackageFolder};
use wheelfarm_engine::prove::error::MachineProofError;
use wheelfarm_engine::prove::machine::{LIMIT, MachineProver, MachineSubject, PtxRun, wheel_name};
use wheelfarm_engine::prove::receipt::{self, KeepError, Kept, Received};
use wheelfarm_engine::run::StopSignal;

use super::listen;
use crate::args::{Format, ProveArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::prove::Shown;

/// Where packages lie in a farm that says nothing else.
const PACKAGES: &str = "packages";

pub(super) fn run(args: &ProveArgs) -> Result<ExitCode, Failure> {
    if let Some(out) = &args.out
        && !out.join("jobs").is_dir()
    {
        return Err(keep_failure(KeepError::NoOut(out.clone())));
    }
    let shown = if args.import.is_empty() {
        prove_all(args)?
    } else {
        import(args)?
    };
    if args.format == Format::Json {
        render::prove::json(&shown)?;
    }
    Ok(exit_code(args, &shown))
}

/// A run that was not made is no pass; to import the receipt that says so is all that was asked.
fn exit_code(args: &ProveArgs, shown: &[Shown]) -> ExitCode {
    let has = |state| shown.iter().any(|shown| shown.receipt.state == state);
    if !args.import.is_empty() {
        ExitCode::Done
    } else if has(RunState::Failed) || shown.iter().any(is_refused) {
        ExitCode::JobFailed
    } else if has(RunState::NotRun) {
        ExitCode::NotChecked
    } else {
        ExitCode::Done
    }
}

/// The record that was asked for does not say what this run came to.
fn is_refused(shown: &Shown) -> bool {
    shown.kept.as_ref().is_some_and(Kept::is_refused)
}

fn import(args: &ProveArgs) -> Result<Vec<Shown>, Failure> {
    let out = args.out.as_ref();
    let out = out.expect("--import is refused without --out");
    let read = args.import.iter().map(|path| {
        let (receipt, text) = receipt::read(path)?;
        Ok(Received {
            path: path.clone(),
            receipt,
            text,
        })
    });
    let read: Vec<_> = read.collect::<Result<_, _>>().map_err(keep_failure)?;
    let kept = receipt::import(out, &read).map_err(keep_failure)?;
    let all = read.into_iter().zip(kept).map(|(received, kept)| {
        show(
            args,
            Shown {
                file: received.path,
                receipt: received.receipt,
                kept: Some(kept),
            },
        )
    });
    all.collect()
}

fn prove_all(args: &ProveArgs) -> Result<Vec<Shown>, Failure> {
    if args.receipt.is_some() && args.wheels.len() > 1 {
        let error = anyhow::anyhow!("--receipt names one file, and there are several wheels");
        return Err(Failure::bad_input(error)
            .with_hint("leave it out: each receipt is named after its wheel"));
    }
    let subjects = args.wheels.iter().map(|wheel| subject(args, wheel));
    let subjects: Vec<_> = subjects.collect::<Result<_, _>>()?;
    let places = places(args, &subjects)?;
    let mut all = Vec::new();
    for (file, subject) in places {
        render::prove::warning(subject);
        let mut receipt = prove(args, subject)?;
        if let Some(out) = &args.out {
            receipt.jobs = receipt::jobs_of(out, receipt.wheel.sha256).map_err(keep_failure)?;
        }
        let text = receipt.to_text();
        receipt::write(&file, &receipt, &text).map_err(keep_failure)?;
        all.push(keep(args, file, receipt, &text)?);
    }
    Ok(all)
}

/// Where the receipt of each wheel goes. What is in the way is told before anything is run, for a run can
/// take an hour.
fn places<'a>(
    args: &ProveArgs,
    subjects: &'a [MachineSubject],
) -> Result<Vec<(Utf8PathBuf, &'a MachineSubject)>, Failure> {
    let mut places: Vec<(Utf8PathBuf, &MachineSubject)> = Vec::new();
    for subject in subjects {
        let file = match &args.receipt {
            Some(given) => given.clone(),
            None => Utf8PathBuf::from(format!("{}.{FILE_NAME}", subject.name)),
        };
        if let Some((_, other)) = places.iter().find(|(place, _)| *place == file) {
            let (one, two) = (&other.wheel, &subject.wheel);
            let error =
                anyhow::anyhow!("the receipts of `{one}` and `{two}` would both be `{file}`");
            return Err(Failure::bad_input(error)
                .with_hint("prove them one at a time, each with its own --receipt"));
        }
        receipt::check_place(&file, &subject.wheel).map_err(keep_failure)?;
        places.push((file, subject));
    }
    Ok(places)
}

/// Keeps a receipt, if a folder for that is named, and shows it.
fn keep(
    args: &ProveArgs,
    file: Utf8PathBuf,
    receipt: MachineReceipt,
    text: &str,
) -> Result<Shown, Failure> {
    let kept = match &args.out {
        Some(out) => Some(receipt::keep(out, &receipt, text).map_err(keep_failure)?),
        None => None,
    };
    show(
        args,
        Shown {
            file,
            receipt,
            kept,
        },
    )
}

fn show(args: &ProveArgs, shown: Shown) -> Result<Shown, Failure> {
    if args.format == Format::Human {
        render::prove::human(&shown)?;
    }
    Ok(shown)
}

/// The wheel at `path` with its package's test.
fn subject(args: &ProveArgs, path: &Utf8Path) -> Result<MachineSubject, Failure> {
    let name = wheel_name(path).map_err(proof_failure)?;
    let package = match &args.package {
        Some(given) => package(given)?,
        None => farm_folder::read_package(&Utf8Path::new(PACKAGES).join(name.project().as_str()))?,
    };
    if package.name != *name.project() {
        let error = anyhow::anyhow!("`{name}` is no wheel of package `{}`", package.name);
        let hint = "leave --package out to take the package that has the wheel's name";
        return Err(Failure::bad_input(error).with_hint(hint));
    }
    Ok(MachineSubject {
        wheel: path.to_owned(),
        name,
        package: package.name,
        test: package.test,
    })
}

/// A package by its folder, or by its name.
fn package(given: &Utf8Path) -> Result<PackageFolder, Failure> {
    let is_name =
        given.as_str().parse::<PackageName>().is_ok() && !given.join("package.yaml").is_file();
    let folder = if is_name {
        Utf8Path::new(PACKAGES).join(given)
    } else {
        given.to_owned()
    };
    Ok(farm_folder::read_package(&folder)?)
}

#[tokio::main]
async fn prove(args: &ProveArgs, subject: &MachineSubject) -> Result<MachineReceipt, Failure> {
    let stop = StopSignal::default();
    let prover = MachineProver {
        python: args.python.clone(),
        inherited: std::env::vars_os().collect(),
        ptx: if args.ptx_jit {
            PtxRun::Wanted
        } else {
            PtxRun::Unwanted
        },
        limit: LIMIT,
        stop: stop.clone(),
    };
    let mut on_line = |line: &str| {
        if args.format == Format::Human {
            render::publish::proof_line(line);
        }
    };
    tokio::select! {
        receipt = prover.prove(subject, &mut on_line) => receipt.map_err(proof_failure),
        failure = listen(stop) => Err(failure),
    }
}

fn proof_failure(error: MachineProofError) -> Failure {
    let hint = error.hint();
    let failure = if matches!(error, MachineProofError::Stopped) {
        Failure::new(ExitCode::Cancelled, error)
    } else if error.is_bad_input() {
        Failure::bad_input(error)
    } else {
        Failure::infrastructure(error)
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn keep_failure(error: KeepError) -> Failure {
    let hint = error.hint();
    let failure = match error {
        KeepError::Out(error) => return error.into(),
        KeepError::Record(error) => return error.into(),
        KeepError::NoOut(_)
        | KeepError::Receipt { .. }
        | KeepError::Unknown { .. }
        | KeepError::Refused { .. }
        | KeepError::Occupied { .. }
        | KeepError::OfOtherWheel { .. }
        | KeepError::NotReplaced { .. } => Failure::bad_input(error),
        KeepError::File(_) => Failure::infrastructure(error),
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
