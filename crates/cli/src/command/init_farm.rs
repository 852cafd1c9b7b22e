//! `wheelfarm init` without a word behind it: a new farm.

use std::error::Error;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::arch::{ArchError, ArchTarget};
use wheelfarm_core::compat::TorchAskedError;
use wheelfarm_core::gpu;
use wheelfarm_core::ident::FarmName;
use wheelfarm_core::starter::nightly::NightlySettings;
use wheelfarm_core::starter::{
    self, AskedBy, BaseAsked, GpuAsked, PackageAskedError, Settings, StarterError, shell_word,
};
use wheelfarm_core::version::VersionError;
use wheelfarm_engine::farm_folder::FarmError;
use wheelfarm_engine::inspect::machine_gpus;
use wheelfarm_engine::shelf::place::Place;
use wheelfarm_engine::starter::{WriteError, look, repository_around, write};

use super::init::parse;
use crate::args::{Format, InitBase, InitFarmArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::init_farm::Begun;

pub(super) fn run(args: &InitFarmArgs) -> Result<ExitCode, Failure> {
    let settings = settings(args)?;
    if settings.nightly.is_some() {
        refuse_inside_a_repository(&args.folder)?;
    }
    let starter = starter::begin(&settings).map_err(refused)?;
    let folder = &args.folder;
    let written = if args.dry_run {
        look(folder, &starter.files)
    } else {
        write(folder, &starter.files)
    };
    let begun = Begun {
        folder,
        settings: &settings,
        starter: &starter,
        written: &written.map_err(not_written)?,
        is_dry: args.dry_run,
    };
    match args.format {
        Format::Human => render::init_farm::human(&begun),
        Format::Json => render::init_farm::json(&begun),
    }?;
    Ok(ExitCode::Done)
}

fn settings(args: &InitFarmArgs) -> Result<Settings, Failure> {
    let version_hint = |error: &VersionError| Some(error.hint().to_owned());
    let torch_hint = |error: &TorchAskedError| Some(error.hint().to_owned());
    let farm_hint = |_: &_| Some("a plain word: `--farm wheels`".to_owned());
    let package_hint = |error: &PackageAskedError| match error {
        PackageAskedError::Name(_) => {
            Some("write it as pip shows it: `--package flash-attn`".to_owned())
        }
        PackageAskedError::Version(error) => Some(error.hint().to_owned()),
    };
    Ok(Settings {
        farm: match &args.farm {
            Some(name) => parse(name, farm_hint)?,
            None => FarmName::of_folder(&folder_name(&args.folder)),
        },
        gpus: gpus(args)?,
        archs: archs(args.archs.as_deref().unwrap_or_default())?,
        torch: args
            .torch
            .as_deref()
            .map(|text| parse(text, torch_hint))
            .transpose()?,
        cuda: args
            .cuda
            .as_deref()
            .map(|text| parse(text, version_hint))
            .transpose()?,
        pythons: all(&args.python, version_hint)?,
        packages: all(&args.package, package_hint)?,
        base: match args.base {
            InitBase::Manylinux => BaseAsked::Manylinux,
            InitBase::Debian => BaseAsked::Debian,
        },
        publish_to: args.publish_to.as_deref().map(place).transpose()?,
        nightly: nightly(args)?,
    })
}

/// The place that `text` names, as `wheelfarm publish` takes it.
fn place(text: &str) -> Result<String, Failure> {
    let place = Place::parse(text).map_err(|error| {
        Failure::bad_input(error)
            .with_hint("name a folder, or a repository on a Hub: `--publish-to hf://OWNER/NAME`")
    })?;
    Ok(place.to_string())
}

/// GitHub reads the workflows that lie at the top of a repository, and no others.
fn refuse_inside_a_repository(folder: &Utf8Path) -> Result<(), Failure> {
    let Some(top) = repository_around(folder) else {
        return Ok(());
    };
    let error = anyhow::anyhow!(
        "`{folder}` lies in the repository `{top}`, and GitHub runs no workflow but those at its top"
    );
    Err(Failure::bad_input(error).with_hint(format!(
        "begin the farm at the top, `wheelfarm init {}`; leave the workflow out, `--no-workflow`; or make the \
         folder a repository of its own first, `git init {}`",
        shell_word(top.as_str()),
        shell_word(folder.as_str())
    )))
}

/// The commit that this program was built from, where it is known: `OWNER/NAME@COMMIT`.
const BUILT_FROM: Option<&str> = option_env!("WHEELFARM_ACTION");

fn nightly(args: &InitFarmArgs) -> Result<Option<NightlySettings>, Failure> {
    if args.no_workflow {
        return Ok(None);
    }
    let Some(action) = args.action.as_deref().or(BUILT_FROM) else {
        let error = anyhow::anyhow!("this program does not know which commit it was built from");
        return Err(Failure::bad_input(error).with_hint(
            "name the wheelfarm that the nightly installs, `--action OWNER/wheelfarm@COMMIT`, or \
             leave the workflow out with `--no-workflow`",
        ));
    };
    let labels = args.runner_labels.split([' ', ',']);
    let labels: Vec<_> = labels.filter(|label| !label.is_empty()).collect();
    let settings = NightlySettings::new(starter::MATRIX, action).and_then(|one| one.on(&labels));
    settings.map(Some).map_err(|error| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })
}

/// The last part of a folder's path, whichever way it was written.
fn folder_name(folder: &Utf8Path) -> String {
    let absolute = folder.canonicalize_utf8();
    let absolute = absolute.unwrap_or_else(|_| Utf8PathBuf::from(folder));
    absolute.file_name().unwrap_or_default().to_owned()
}

/// Those that were named; else, unless archs were, those of this machine, if it has any.
fn gpus(args: &InitFarmArgs) -> Result<Vec<GpuAsked>, Failure> {
    if args.gpu.is_empty() && args.archs.is_none() {
        let here = machine_gpus().unwrap_or_default();
        let known = here.into_iter().filter_map(|machine| {
            Some(GpuAsked {
                gpu: gpu::of(machine.capability)?,
                text: machine.name,
                by: AskedBy::Machine,
            })
        });
        return Ok(known.collect());
    }
    let named = args.gpu.iter().map(|text| match gpu::find(text) {
        Ok(gpu) => Ok(GpuAsked {
            text: text.clone(),
            gpu,
            by: AskedBy::Person,
        }),
        Err(error) => {
            let hint = error.hint();
            Err(Failure::bad_input(error).with_hint(hint))
        }
    });
    named.collect()
}

fn archs(text: &str) -> Result<Vec<ArchTarget>, Failure> {
    let words = text.split([' ', ',', ';']).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_owned).collect();
    all(&words, |error: &ArchError| Some(error.hint()))
}

fn all<T, E>(texts: &[String], hint: impl Fn(&E) -> Option<String>) -> Result<Vec<T>, Failure>
where
    T: FromStr<Err = E>,
    E: Error + Send + Sync + 'static,
{
    texts.iter().map(|text| parse(text, &hint)).collect()
}

fn refused(error: StarterError) -> Failure {
    if let StarterError::Faults(faults) = error {
        return Failure::from(FarmError::Faults(faults)).with_hint(
            "nothing was written; the places are those of the matrix that comes nearest: ask for \
             another GPU, torch, CUDA or package",
        );
    }
    let hint = error.hint();
    Failure::bad_input(error).with_hint_if(hint)
}

fn not_written(error: WriteError) -> Failure {
    if !matches!(error, WriteError::Taken { .. }) {
        return Failure::infrastructure(error);
    }
    Failure::bad_input(error).with_hint(
        "nothing was written: name another folder, `wheelfarm init FOLDER`, or move these away; \
         in a farm, `wheelfarm init package NAME` begins a package",
    )
}
