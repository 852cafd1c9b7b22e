//! What goes on, while it goes on: a picture on a terminal, plain lines elsewhere, JSON lines on
//! request.
#![expect(
    clippy::print_stderr,
    reason = "this module shows progress on standard error"
)]

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::Outcome;
use wheelfarm_engine::event::{Event, Reporter};

use super::{elapsed, of_strangers};
use crate::args::Format;

/// How often a running clock is redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// The reporter for `format` and for what standard error is.
pub(crate) fn reporter(format: Format) -> Box<dyn Reporter> {
    match format {
        Format::Json => Box::new(JsonLines),
        Format::Human if std::io::stderr().is_terminal() => Box::new(Live::default()),
        Format::Human => Box::new(Lines {
            started: Instant::now(),
        }),
    }
}

/// One line for each event, for logs and pipes.
struct Lines {
    started: Instant,
}

impl Reporter for Lines {
    fn report(&mut self, event: &Event) {
        if let Some(text) = line(event) {
            let clock = self.started.elapsed().as_secs();
            let text = format!("[{:02}:{:02}] {text}", clock / 60, clock % 60);
            eprintln!("{}", of_strangers(text));
        }
    }
}

/// An event as a line; a build's own output is in its log file.
fn line(event: &Event) -> Option<String> {
    match event {
        Event::RunStarted { jobs: 1 } => Some("1 job to build".to_owned()),
        Event::RunStarted { jobs } => Some(format!("{jobs} jobs to build")),
        Event::JobUpToDate { job } => Some(format!("{job}: up to date")),
        Event::JobStarted { job, why, .. } => Some(format!("{job}: {why}")),
        Event::StageStarted { job, stage } => Some(format!("{job}: {stage}")),
        Event::Note { job, text } => Some(format!("{job}: {text}")),
        Event::JobFinished {
            job,
            outcome,
            elapsed: time,
        } => Some(format!("{job}: {} in {}", ending(outcome), elapsed(*time))),
        Event::Stopping { at_once: false } => {
            Some("stopping; Ctrl-C again to stop at once".to_owned())
        }
        Event::Stopping { at_once: true } => Some("stopping at once".to_owned()),
        Event::AttemptStarted {
            job,
            attempt,
            grant,
            adopted,
        } => {
            let found = if *adopted { ", found running" } else { "" };
            Some(format!("{job}: attempt {attempt}{found}: {grant}"))
        }
        Event::JobRetried {
            job,
            failure,
            remedy,
        } => Some(format!(
            "{job}: {} at {}; {remedy}",
            failure.kind.as_str(),
            failure.stage
        )),
        Event::AdmissionStopped { reason } => Some(format!("no further job is begun: {reason}")),
        Event::RunNote { text } => Some(text.clone()),
        Event::StageFinished { .. }
        | Event::Line { .. }
        | Event::AttemptEnded { .. }
        | Event::RunForecast { .. }
        | Event::RunFinished { .. } => None,
    }
}

fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(failure) => {
            format!("failed at {} ({})", failure.stage, failure.kind.as_str())
        }
        Outcome::Built => "built".to_owned(),
        Outcome::Rehearsed => "rehearsed".to_owned(),
        Outcome::UpToDate => "up to date".to_owned(),
        Outcome::Cancelled => "stopped".to_owned(),
        Outcome::NotStarted => "not started".to_owned(),
    }
}

/// Each running job with its stage, its clock and its last line of output.
#[derive(Default)]
struct Live {
    screen: MultiProgress,
    bars: BTreeMap<JobId, ProgressBar>,
}

impl Live {
    fn say(&self, text: &str) {
        // Drawing is best effort: a terminal that went away must not end a build.
        if self.screen.println(text).is_err() {
            eprintln!("{text}");
        }
    }
}

impl Reporter for Live {
    fn report(&mut self, event: &Event) {
        match event {
            Event::JobStarted { job, why, .. } => {
                let style = ProgressStyle::with_template(
                    "{spinner} {prefix:.bold} {elapsed:>4} {wide_msg:.dim}",
                )
                .expect("the template is fixed");
                let bar = self
                    .screen
                    .add(ProgressBar::new_spinner().with_style(style));
                bar.set_prefix(job.to_string());
                bar.set_message(*why);
                bar.enable_steady_tick(REDRAW_EVERY);
                self.bars.insert(job.clone(), bar);
            }
            Event::StageStarted { job, stage } => {
                if let Some(bar) = self.bars.get(job) {
                    bar.set_prefix(format!("{job} {stage}"));
                    bar.set_message("");
                }
            }
            Event::Line { job, text } => {
                if let Some(bar) = self.bars.get(job) {
                    bar.set_message(text.clone());
                }
            }
            Event::JobFinished { job, .. } => {
                if let Some(bar) = self.bars.remove(job) {
                    bar.finish_and_clear();
                }
                self.say(&line(event).unwrap_or_default());
            }
            Event::StageFinished { .. }
            | Event::AttemptEnded { .. }
            | Event::RunForecast { .. }
            | Event::RunFinished { .. } => {}
            Event::AttemptStarted { .. }
            | Event::JobRetried { .. }
            | Event::AdmissionStopped { .. }
            | Event::RunNote { .. }
            | Event::RunStarted { .. }
            | Event::JobUpToDate { .. }
            | Event::Note { .. }
            | Event::Stopping { .. } => self.say(&line(event).unwrap_or_default()),
        }
    }
}

/// One JSON object a line.
struct JsonLines;

impl Reporter for JsonLines {
    fn report(&mut self, event: &Event) {
        eprintln!("{}", event.to_json());
    }
}
