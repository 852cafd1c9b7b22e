//! The only place that prints: data to standard output, talk to standard error.
#![expect(
    clippy::print_stderr,
    reason = "this module is where the program prints"
)]

mod changes;
pub(crate) mod compat;
pub(crate) mod diagnose;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod forecast;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod init_farm;
pub(crate) mod inspect;
pub(crate) mod install_table;
pub(crate) mod man;
pub(crate) mod patch;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod prove;
pub(crate) mod publish;
pub(crate) mod recipe;
pub(crate) mod resolve;
pub(crate) mod run_page;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod shelf;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod usage;
pub(crate) mod verify;
pub(crate) mod watch;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use wheelfarm_core::diagnostic::Diagnostic;
use wheelfarm_core::github::inert;
use wheelfarm_engine::farm_folder::FarmError;

use crate::failure::Failure;

/// Sends the log to standard error: warnings, and more with `-v`.
pub(crate) fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "wheelfarm=info,wheelfarm_engine=debug,warn",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("WHEELFARM_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .init();
}

/// Data could not be given away: what a program reads there would be cut off.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to standard output")]
pub(crate) struct OutputError(#[source] io::Error);

/// Prints a line of data. A reader that has seen enough (`| head`) is no error.
pub(crate) fn data(text: &str) -> Result<(), OutputError> {
    stream(text).map(|_| ())
}

/// Whether anybody reads the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As far as one can know.
    There,
    /// It has closed the pipe.
    Gone,
}

/// Prints a line of data that more may follow, and says whether there is a reader for it.
pub(crate) fn stream(text: &str) -> Result<Reader, OutputError> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(OutputError(error)),
    }
}

/// `text` that has words of a build in it, as it may be printed here: GitHub's runner takes lines of what
/// is printed for commands, so there they are made text.
pub(crate) fn of_strangers(text: String) -> String {
    let is_read_by_the_runner = std::env::var_os("GITHUB_ACTIONS").is_some_and(|it| it == "true");
    if is_read_by_the_runner {
        inert(&text)
    } else {
        text
    }
}

/// Says a line beside the data.
pub(crate) fn talk(text: &str) {
    eprintln!("{text}");
}

/// Prints what the compatibility table does not know.
pub(crate) fn warnings(warnings: &[Diagnostic]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// Prints why a command failed: the error, its causes, and what to type.
pub(crate) fn failure(failure: &Failure) {
    if let Some(FarmError::Faults(faults)) = failure.error().downcast_ref() {
        for fault in faults.iter() {
            eprintln!("error: {fault}");
            if fault.hint.is_none() {
                eprintln!("  hint: docs/matrix.md and docs/packages.md have every key and rule");
            }
        }
        if let Some(hint) = failure.hint() {
            eprintln!("hint: {hint}");
        }
        return;
    }
    let mut causes = failure.error().chain();
    if let Some(error) = causes.next() {
        eprintln!("{}", of_strangers(format!("error: {error}")));
    }
    for cause in causes {
        eprintln!("{}", of_strangers(format!("  caused by: {cause}")));
    }
    match failure.hint() {
        Some(hint) => eprintln!("hint: {hint}"),
        None => eprintln!("hint: {}", usage::hint_for_this_command()),
    }
}

/// A time as people read it: `0.8s`, `42s`, `3m07s`, `2h05m`.
pub(crate) fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let text = |ms| elapsed(Duration::from_millis(ms));
        assert_eq!(text(840), "0.8s");
        assert_eq!(text(42_999), "42s");
        assert_eq!(text(187_000), "3m07s");
        assert_eq!(text(7_500_000), "2h05m");
    }
}
