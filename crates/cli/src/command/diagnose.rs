//! `wheelfarm diagnose`.

use std::io;

use camino::Utf8Path;
use wheelfarm_core::diagnose::{Prompt, Redactor, Rules};
use wheelfarm_engine::diagnose::{
    AssistantError, LIMIT, Log, LogError, ask, find, machine, secret_values,
};
use wheelfarm_engine::files;
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::store::{FILE_NAME, History};

use super::listen;
use crate::args::{AssistantArg, DiagnoseArgs, Format};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::diagnose::{Answer, Unknown};

pub(super) fn run(args: &DiagnoseArgs) -> Result<ExitCode, Failure> {
    let Some(place) = &args.log else {
        match args.format {
            Format::Human => render::diagnose::list(Rules::built_in().all()),
            Format::Json => render::diagnose::list_json(Rules::built_in().all()),
        }?;
        return Ok(ExitCode::Done);
    };
    let mut log = read(place)?;
    if log.diagnoses.best().is_some() {
        match args.format {
            Format::Human => render::diagnose::human(&log),
            Format::Json => render::diagnose::json(&log, None),
        }?;
        return Ok(ExitCode::Done);
    }
    log.subject.machine = machine();
    log.subject.machine.extend(engine_of(place));
    let redactor = Redactor::new(secret_values());
    let prompt = Prompt::new(&log.subject, &log.diagnoses, &redactor);
    let file = args.prompt.as_ref().unwrap_or(&log.prompt);
    files::write_atomic(file, prompt.as_str().as_bytes()).map_err(|error| {
        Failure::infrastructure(error)
            .with_hint("name a file that can be written with --prompt FILE")
    })?;
    let answer = match args.assistant {
        Some(assistant) => Some(answer(assistant, &prompt, file)?),
        None => None,
    };
    let unknown = Unknown {
        prompt: file,
        answer,
    };
    match args.format {
        Format::Human => render::diagnose::unknown(&log, &unknown),
        Format::Json => render::diagnose::json(&log, Some(&unknown)),
    }?;
    Ok(ExitCode::NotChecked)
}

fn read(place: &Utf8Path) -> Result<Log, Failure> {
    let log = if place == "-" {
        Log::read_stream(io::stdin().lock())
    } else {
        Log::read(place)
    };
    log.map_err(|error| match &error {
        LogError::NotThere { .. } => Failure::bad_input(error).with_hint(
            "name a log, the folder of a failed job (`out/failed/JOB`), or `-` for standard input",
        ),
        LogError::Read { .. } => Failure::infrastructure(error),
    })
}

/// The engine of the last run, for a log of a job's folder (`out/failed/JOB`) in the farm's own `out`.
fn engine_of(place: &Utf8Path) -> Option<(String, String)> {
    let folder = if place.is_dir() {
        place
    } else {
        place.parent()?
    };
    let out = folder.parent()?.parent()?;
    let history = History::open(&out.join(FILE_NAME)).ok()?;
    let run = history.runs(1).ok()?.into_iter().next()?;
    Some(("engine".to_owned(), run.engine))
}

/// Asks the assistant; it may be stopped.
#[tokio::main(flavor = "current_thread")]
async fn answer(
    assistant: AssistantArg,
    prompt: &Prompt,
    file: &Utf8Path,
) -> Result<Answer, Failure> {
    let failed = |error: AssistantError| {
        let code = match &error {
            AssistantError::Stopped => ExitCode::Cancelled,
            AssistantError::Missing(_)
            | AssistantError::Prepare { .. }
            | AssistantError::Run { .. }
            | AssistantError::Failed { .. }
            | AssistantError::TimedOut { .. }
            | AssistantError::Empty(_) => ExitCode::Infrastructure,
        };
        Failure::new(code, error).with_hint(format!(
            "no rule fits; the prompt is in `{file}` for any assistant or person"
        ))
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = find(&path, assistant.wanted()).map_err(failed)?;
    render::talk(&format!(
        "no rule fits; asking `{}`, for at most {} minutes",
        found.program,
        LIMIT.as_secs() / 60
    ));
    let stop = StopSignal::default();
    let asked = ask(
        &found,
        prompt.as_str(),
        std::env::vars_os(),
        LIMIT,
        &stop.stop,
    );
    let text = tokio::select! {
        res = asked => res.map_err(failed)?,
        failure = listen(stop.clone()) => return Err(failure),
    };
    Ok(Answer {
        assistant: found.assistant.as_str(),
        text,
    })
}
