//! The gate as a stage of a job: the finished wheel is read, and judged against its contract.

use camino::Utf8Path;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::gate::contract::Contract;
use wheelfarm_core::gate::finding::Verdict;
use wheelfarm_core::gate::inspect::WheelReport;
use wheelfarm_core::gate::judge::{self, Judgement};
use wheelfarm_core::gate::libraries::Libraries;
use wheelfarm_core::gate::report;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::render::SharedStage;
use wheelfarm_core::wheel::finish::FinishedWheel;

use super::image;
use super::job::{Halt, RunningJob};
use crate::container::Engine;
use crate::files::{self, FileError};
use crate::inspect::inspect_file;
use crate::libraries::environment_libraries;
use crate::out_folder::StagedJob;

/// What the gate writes beside a wheel on record.
pub(crate) const REPORT_FILE: &str = "report.json";

/// A wheel that may go on record, with what was found out about it. Made by [`judge`] alone.
#[derive(Debug)]
pub(super) struct JudgedWheel {
    wheel: FinishedWheel,
    report: WheelReport,
    judgement: Judgement,
}

impl JudgedWheel {
    /// The wheel.
    pub(super) fn wheel(&self) -> &FinishedWheel {
        &self.wheel
    }

    /// What it holds.
    pub(super) fn report(&self) -> &WheelReport {
        &self.report
    }

    /// What the gate says of it.
    pub(super) fn judgement(&self) -> &Judgement {
        &self.judgement
    }
}

/// Reads the finished wheel in the staging folder as a stranger would.
pub(super) async fn inspect(
    staged: &StagedJob,
    wheel: &FinishedWheel,
) -> Result<WheelReport, Halt> {
    let path = staged.path().join(wheel.name().to_string());
    let res = tokio::task::spawn_blocking(move || inspect_file(&path, judge::DEPTH)).await;
    res.expect("inspecting does not panic")
        .map_err(|error| Halt::file(Stage::Inspect, &error))
}

/// Holds the wheel against the job's contract and the libraries of its environment.
pub(super) async fn judge<E: Engine>(
    running: &mut RunningJob<'_, E>,
    staged: &StagedJob,
    wheel: FinishedWheel,
    report: WheelReport,
) -> Result<JudgedWheel, Halt> {
    let needs_libraries = report
        .modules
        .iter()
        .any(|module| module.facts.is_host_code());
    let libraries = if needs_libraries {
        Some(libraries(running).await?)
    } else {
        None
    };
    let contract = Contract::of_job(running.job);
    let judgement = judge::judge(&report, &contract, libraries.as_ref());
    write_report(staged.path(), &report, &judgement)
        .map_err(|error| Halt::file(Stage::Judge, &error))?;
    running
        .note(format!("gate: {}", report::verdict_line(&judgement)))
        .await;
    match judgement.verdict {
        Verdict::Failed => Err(refusal(&judgement)),
        Verdict::Passed | Verdict::NotChecked => Ok(JudgedWheel {
            wheel,
            report,
            judgement,
        }),
    }
}

async fn libraries<E: Engine>(running: &mut RunningJob<'_, E>) -> Result<Libraries, Halt> {
    let image = image::shared_stage(running, SharedStage::Torch).await?;
    let cx = running.cx;
    environment_libraries(
        &cx.engine,
        &image,
        &cx.settings.cache,
        &cx.labels(),
        &cx.stop,
    )
    .await
    .map_err(|error| {
        if cx.stop.stop.is_cancelled() {
            return Halt::Cancelled;
        }
        let halt = Halt::failed(Stage::Judge, FailureKind::Infrastructure, chain(&error));
        match error.hint() {
            Some(hint) => halt.with_hint(hint),
            None => halt,
        }
    })
}

fn write_report(
    folder: &Utf8Path,
    report: &WheelReport,
    judgement: &Judgement,
) -> Result<(), FileError> {
    let text = format!("{:#}\n", report::judged(report, judgement));
    files::write_atomic(folder.join(REPORT_FILE), text.as_bytes())
}

fn refusal(judgement: &Judgement) -> Halt {
    let errors = judgement.errors();
    let lines: Vec<String> = errors
        .iter()
        .map(|found| report::finding_line(found))
        .collect();
    let detail = format!("the gate refuses the wheel\n{}", lines.join("\n"));
    let halt = Halt::failed(Stage::Judge, FailureKind::Rejected, detail);
    match errors.first() {
        Some(first) => halt.with_hint(format!("`wheelfarm explain {}`", first.rule)),
        None => halt,
    }
}
