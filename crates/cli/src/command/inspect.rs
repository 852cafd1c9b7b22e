//! `wheelfarm inspect`.

use camino::Utf8Path;
use wheelfarm_core::fatbin::Depth;
use wheelfarm_core::gate::inspect::WheelReport;
use wheelfarm_core::gate::report;
use wheelfarm_core::gpu::verdict::Verdict;
use wheelfarm_core::gpu::{self, Capability};
use wheelfarm_core::source::{RemoteUrl, RemoteUrlError};
use wheelfarm_engine::inspect::{inspect_file, inspect_url, machine_gpus};
use wheelfarm_engine::remote::{RemoteClient, RemoteError, RemoteErrorKind, RemoteOptions};
use wheelfarm_engine::run::StopSignal;

use super::listen;
use crate::args::{Format, InspectArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

pub(super) fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let gpus = match &args.gpu {
        None => Vec::new(),
        Some(text) => wanted_gpus(text)?,
    };
    let depth = if args.deep {
        Depth::Kernels
    } else {
        Depth::Headers
    };
    let mut reports = Vec::new();
    for file in &args.files {
        let report = inspect(file, depth)?;
        if args.format == Format::Human {
            if gpus.is_empty() && !reports.is_empty() {
                render::data("")?;
            }
            render::inspect::human(&report, &gpus, args.deep)?;
        }
        reports.push(report);
    }
    if args.format == Format::Json {
        render::inspect::json(&reports, &gpus, args.deep)?;
    }
    Ok(exit_code(&reports, &gpus))
}

/// Reads a file of this machine, or of a server.
fn inspect(file: &str, depth: Depth) -> Result<WheelReport, Failure> {
    if RemoteUrl::is_meant(file) {
        return inspect_remote(file, depth);
    }
    inspect_file(Utf8Path::new(file), depth).map_err(|error| {
        Failure::bad_input(error).with_hint("name a wheel or a shared library that is there")
    })
}

#[tokio::main]
async fn inspect_remote(url: &str, depth: Depth) -> Result<WheelReport, Failure> {
    let url: RemoteUrl = url
        .parse()
        .map_err(|error: RemoteUrlError| Failure::bad_input(error).with_hint(error.hint()))?;
    let client = RemoteClient::new(RemoteOptions::default()).map_err(remote_failure)?;
    let stop = StopSignal::default();
    let token = stop.stop.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let progress = render::inspect::remote_progress();
        inspect_url(&client, &url, depth, token, progress)
    });
    let read = tokio::select! {
        res = reading => res.expect("inspecting does not panic").map_err(remote_failure)?,
        failure = listen(stop) => return Err(failure),
    };
    render::inspect::fetched(&read);
    Ok(read.report)
}

fn remote_failure(error: RemoteError) -> Failure {
    let hint = error.hint();
    let failure = match error.kind() {
        RemoteErrorKind::Address => Failure::bad_input(error),
        RemoteErrorKind::Network | RemoteErrorKind::DiskFull | RemoteErrorKind::Machine => {
            Failure::infrastructure(error)
        }
        RemoteErrorKind::Stopped => Failure::new(ExitCode::Cancelled, error),
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// The compute capabilities that a question is about.
fn wanted_gpus(text: &str) -> Result<Vec<Capability>, Failure> {
    if text != "here" {
        let gpu = gpu::find(text).map_err(|error| {
            let hint = error.hint();
            Failure::bad_input(error).with_hint(hint)
        })?;
        return Ok(vec![gpu.capability]);
    }
    let gpus = machine_gpus().map_err(|error| {
        let hint = error.hint();
        Failure::infrastructure(error).with_hint(hint)
    })?;
    let mut capabilities: Vec<Capability> = gpus.into_iter().map(|gpu| gpu.capability).collect();
    capabilities.sort();
    capabilities.dedup();
    Ok(capabilities)
}

/// A file that cannot be read to its end is refused; a GPU that is asked about must run it all.
fn exit_code(reports: &[WheelReport], gpus: &[Capability]) -> ExitCode {
    let is_broken = reports.iter().any(|report| !report.is_read_to_the_end());
    let verdicts: Vec<Verdict> = reports
        .iter()
        .flat_map(|report| gpus.iter().map(|&gpu| report::runs_on(report, gpu).verdict))
        .collect();
    let has = |wanted: Verdict| verdicts.contains(&wanted);
    if is_broken || has(Verdict::Fails) || has(Verdict::Partly) {
        ExitCode::JobFailed
    } else if has(Verdict::Unknown) {
        ExitCode::NotChecked
    } else {
        ExitCode::Done
    }
}
