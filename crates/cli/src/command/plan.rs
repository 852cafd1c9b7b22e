//! `wheelfarm plan`.

use std::num::NonZero;
use std::thread;

use anyhow::Context;
use camino::Utf8Path;
use wheelfarm_core::estimate::{
    History, Host, HourlyPrice, ObjectCache, Planned, PriceError, forecast,
};
use wheelfarm_core::plan::{Job, Need, github_matrix};
use wheelfarm_core::quantity::{ByteSize, QuantityError};
use wheelfarm_engine::store::{self, StoreError};
use wheelfarm_engine::{farm_folder, files};

use super::Selected;
use crate::args::{ForecastArgs, PlanArgs, PlanFormat};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::forecast::{Builds, Explained};

/// How many builds of each release are asked of the store: more than count, since those that took
/// everything from the cache are among them.
const REMEMBERED: u32 = 200;

pub(super) fn run(args: &PlanArgs) -> Result<ExitCode, Failure> {
    if args.explain && args.format == PlanFormat::Github {
        let error = anyhow::anyhow!("a matrix for GitHub has no place for a forecast");
        return Err(Failure::bad_input(error)
            .with_hint("leave out `--explain`, or write `--format json` for programs"));
    }
    let selected = Selected::read(&args.selection)?;
    let needs = selected.needs(&args.selection, args.force)?;
    let why = farm_folder::why(&args.selection.out, &needs)?;
    let explained = if args.explain {
        let out = &args.selection.out;
        Some(explain(&args.forecast, out, &selected, &needs)?)
    } else {
        None
    };
    let (excluded, explained) = (&selected.plan.excluded, explained.as_ref());
    match args.format {
        PlanFormat::Human => render::plan::human(&needs, &why, excluded, explained)?,
        PlanFormat::Json => render::plan::json(&needs, &why, excluded, explained)?,
        PlanFormat::Github => {
            let matrix = github_matrix(&needs).map_err(|error| {
                let hint = error.hint();
                Failure::bad_input(error).with_hint(hint)
            })?;
            render::data(&matrix)?;
        }
    }
    Ok(ExitCode::Done)
}

/// What a build of the jobs that need one is expected to take.
fn explain(
    args: &ForecastArgs,
    out: &Utf8Path,
    selected: &Selected,
    needs: &[(&Job, Need)],
) -> Result<Explained, Failure> {
    let price = args.price_per_hour.as_ref().map(|text| {
        text.parse::<HourlyPrice>().map_err(|error: PriceError| {
            let hint = error.hint();
            Failure::bad_input(error).with_hint(hint)
        })
    });
    let price = price.transpose()?;
    let host = host(args, selected)?;
    let history = history(args, out)?;
    let to_build = needs.iter().filter(|(_, need)| *need != Need::UpToDate);
    let cache = match selected.farm.matrix.build.cache {
        Some(_) => ObjectCache::On,
        None => ObjectCache::Off,
    };
    let planned: Vec<_> = to_build
        .map(|(job, _)| Planned::of(job, &history, cache))
        .collect();
    Ok(Explained {
        forecast: forecast(&planned, host),
        host,
        price,
        history: if history.is_empty() {
            Builds::None
        } else {
            Builds::Some
        },
    })
}

/// What earlier builds took: those in the file that is given, else those that the farm remembers.
fn history(args: &ForecastArgs, out: &Utf8Path) -> Result<History, Failure> {
    if let Some(file) = &args.samples {
        let text = files::read_text(file).map_err(Failure::bad_input)?;
        return History::parse(&text).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("`{file}` is no file of builds"));
            Failure::bad_input(error).with_hint("docs/nights.md shows what it holds")
        });
    }
    let read = || {
        let store = store::History::open(&out.join(store::FILE_NAME))?;
        let samples = store.samples(REMEMBERED)?;
        Ok(History::new(samples).with_stages(store.stage_times(REMEMBERED)?))
    };
    read().or_else(|error: StoreError| {
        if matches!(error, StoreError::Missing(_)) {
            return Ok(History::default());
        }
        let hint = error.hint();
        let failure = Failure::infrastructure(error);
        Err(match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        })
    })
}

/// The host that is given, else this machine. No engine is asked: a plan needs none.
fn host(args: &ForecastArgs, selected: &Selected) -> Result<Host, Failure> {
    let build = &selected.farm.matrix.build;
    let cpus = args.cpus.unwrap_or_else(|| {
        let cpus = thread::available_parallelism().map_or(1, NonZero::get);
        u32::try_from(cpus).unwrap_or(u32::MAX)
    });
    let jobs = args.jobs.or(build.jobs);
    let Some(memory) = &args.memory else {
        return Ok(Host::new(cpus, memory_bytes()?, build.memory, jobs));
    };
    let memory: ByteSize = memory.parse().map_err(|error: QuantityError| {
        let hint = error.hint();
        Failure::bad_input(error).with_hint(hint)
    })?;
    Ok(Host::new(cpus, memory.bytes(), Some(memory), jobs))
}

/// This machine's memory.
fn memory_bytes() -> Result<u64, Failure> {
    const FILE: &str = "/proc/meminfo";
    let text = files::read_text(FILE).map_err(Failure::infrastructure)?;
    let total = text.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()?.checked_mul(1024)
    });
    let total = total.with_context(|| format!("`{FILE}` does not tell how much memory there is"));
    total.map_err(|error| {
        Failure::infrastructure(error).with_hint("say it with `--memory`: `48GiB`")
    })
}
