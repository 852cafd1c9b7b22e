//! Man pages: what `--help` says, with the sections that readers of man pages look for.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::examples;
use crate::exit_code::ExitCode;

/// A page of section 1.
#[derive(Debug)]
pub(crate) struct Page {
    /// The words that name the command, without `wheelfarm`.
    pub(crate) command: Vec<String>,
    /// The page, for `man -l`.
    pub(crate) text: String,
}

impl Page {
    /// `wheelfarm-patch-check.1`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.1", dashed(&self.command))
    }
}

/// The pages of a command and of all below it.
pub(crate) fn pages(command: Command) -> Vec<Page> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    gather(&command, &[], &mut pages);
    pages
}

fn gather(command: &Command, path: &[&str], pages: &mut Vec<Page>) {
    pages.push(page(command, path));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let path: Vec<_> = path.iter().copied().chain([sub.get_name()]).collect();
        gather(sub, &path, pages);
    }
}

fn page(command: &Command, path: &[&str]) -> Page {
    let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(dashed(path))
        .source(format!("wheelfarm {version}"))
        .manual("wheelfarm");
    let mut text = Vec::new();
    let sections = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text));
    sections.expect("nothing fails to be written into memory");
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)
            .expect("nothing fails to be written into memory");
    }
    let mut text = String::from_utf8_lossy(&text).into_owned();
    text.push_str(&rest(path));
    Page {
        command: path.iter().copied().map(str::to_owned).collect(),
        text,
    }
}

/// What clap does not know of a command.
fn rest(path: &[&str]) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for example in examples::of(path) {
        roff.control("TP", []);
        roff.text([roman(example.what)]);
        roff.text([bold(example.line)]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for code in ExitCode::ALL {
        roff.control("TP", []);
        roff.text([bold(code.number().to_string())]);
        roff.text([roman(code.meaning())]);
    }
    let parent = path.split_last().map(|(_, parent)| parent);
    if let Some(parent) = parent {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(dashed(parent)), roman("(1)")]);
    }
    roff.to_roff()
}

fn dashed<S: AsRef<str>>(path: &[S]) -> String {
    let words = path.iter().map(AsRef::as_ref);
    ["wheelfarm"]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join("-")
}
