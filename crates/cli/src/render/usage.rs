//! What is said of a command line that cannot be read, and the help that was asked for.

use std::io::{self, IsTerminal, Write};

use clap::error::ErrorKind;

use crate::args;
use crate::exit_code::ExitCode;

/// Prints it, and says how the program ends.
pub(crate) fn end(error: &clap::Error) -> ExitCode {
    let is_refusal = !matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if !is_refusal {
        // Nothing is lost when nobody reads it any more.
        let _unread = error.print();
        return if error.exit_code() == 0 {
            ExitCode::Done
        } else {
            ExitCode::BadInput
        };
    }
    let text = error.render();
    let is_plain = std::env::var_os("NO_COLOR").is_some() || !io::stderr().is_terminal();
    let text = if is_plain {
        text.to_string()
    } else {
        text.ansi().to_string()
    };
    let text = without_footer(&text);
    let said = format!("{text}\n\nhint: {}\n", hint_for_this_command());
    let _unread = io::stderr().write_all(said.as_bytes());
    ExitCode::BadInput
}

/// Without the paragraph that clap ends its errors with (it may have colours inside): here a hint says
/// it, as for every other error.
fn without_footer(text: &str) -> &str {
    let text = text.trim_end();
    match text.rsplit_once("\n\n") {
        Some((before, last)) if last.starts_with("For more information") => before,
        _ => text,
    }
}

/// What to type where an error has no better advice.
pub(crate) fn hint_for_this_command() -> String {
    let words: Vec<_> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    hint(&words)
}

/// The help of the command that was meant.
fn hint(words: &[String]) -> String {
    let mut command = args::command();
    let mut named = Vec::new();
    for word in words {
        let below = command.find_subcommand(word).cloned();
        match below {
            Some(below) => {
                named.push(word.as_str());
                command = below;
            }
            None if word.starts_with('-') => {}
            None => break,
        }
    }
    if named.is_empty() {
        "`wheelfarm help` lists the commands".to_owned()
    } else {
        let named = named.join(" ");
        format!("`wheelfarm help {named}` says what it takes, with examples")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &str) {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        assert!(hint(&words).starts_with(want), "{}", hint(&words));
    }

    #[test]
    fn a_hint_names_the_command_that_was_meant() {
        check("frobnicate", "`wheelfarm help` lists");
        check("-v --frobnicate", "`wheelfarm help` lists");
        check("-v plan --frobnicate", "`wheelfarm help plan` says");
        check(
            "patch check --against plan",
            "`wheelfarm help patch check` says",
        );
        check("patch frobnicate", "`wheelfarm help patch` says");
    }

    #[test]
    fn the_footer_gives_way_to_the_hint() {
        let text = "error: no\n\nFor more information, try '\u{1b}[1m--help\u{1b}[0m'.\n";
        assert_eq!(without_footer(text), "error: no");
        assert_eq!(without_footer("error: no"), "error: no");
    }
}
