//! How a hunk or a substitution missed: what was wanted, what is there, and what is known of why.

use std::fmt::{self, Write};

use super::super::tree_path::TreePath;
use super::lines;

/// A hunk that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HunkFailure {
    /// The patch.
    pub patch: String,
    /// The file.
    pub file: TreePath,
    /// The hunk in the file's part of the patch, from 1.
    pub hunk: usize,
    /// The line of the patch where the hunk begins.
    pub patch_line: usize,
    /// The first line of the file that differs.
    pub line: usize,
    /// What the patch wants there: the first differing lines.
    pub expected: Vec<String>,
    /// What the file has there instead; fewer lines where it ends.
    pub found: Vec<String>,
    /// What is known of the cause.
    pub note: Option<HunkNote>,
    /// The whole hunk against the file where it fits best: `(line, wanted, found)`.
    pub(super) comparison: Vec<(usize, String, Option<String>)>,
}

/// What is known of the cause of a failed hunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HunkNote {
    /// Only the line ends differ, and the file's are CRLF.
    FileHasCrlf,
    /// Only the line ends differ, and the patch's are CRLF.
    PatchHasCrlf,
    /// Only the newline at the end of the file differs.
    NewlineAtEnd,
    /// Only white space differs.
    WhiteSpace,
    /// What the hunk would make is in the file at this line.
    AlreadyThere {
        /// The line.
        line: usize,
    },
    /// The lines are there, but the hunk is for the start of the file.
    NotAtStart,
    /// The lines are there, but the hunk is for the end of the file.
    NotAtEnd,
}

impl fmt::Display for HunkNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileHasCrlf => f.write_str("the file has CRLF line ends, the patch LF"),
            Self::PatchHasCrlf => f.write_str("the patch has CRLF line ends, the file LF"),
            Self::NewlineAtEnd => f.write_str("only the newline at the end of the file differs"),
            Self::WhiteSpace => f.write_str("only white space differs"),
            Self::AlreadyThere { line } => {
                write!(f, "what the hunk makes is already there, at line {line}")
            }
            Self::NotAtStart => f.write_str(
                "the lines are there, but the hunk is for the start of the file and there is more \
                 before them",
            ),
            Self::NotAtEnd => f.write_str(
                "the lines are there, but the hunk is for the end of the file and there is more \
                 after them",
            ),
        }
    }
}

impl fmt::Display for HunkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            patch,
            file,
            hunk,
            line,
            ..
        } = self;
        write!(f, "hunk {hunk} of patch `{patch}` does not fit `{file}`")?;
        let Some(wanted) = self.expected.first() else {
            return write!(f, " at line {line}");
        };
        write!(f, ": line {line} should be {}", named(wanted))?;
        match self.found.first() {
            Some(found) => write!(f, " and is {}", named(found)),
            None => f.write_str(" and the file ends before it"),
        }
    }
}

impl HunkFailure {
    /// The hunk line by line against the file, where it fits best.
    pub(super) fn comparison_text(&self) -> String {
        let mut out = format!(
            "hunk {} (line {} of the patch) against `{}`:\n",
            self.hunk, self.patch_line, self.file
        );
        for (line, wanted, found) in &self.comparison {
            let res = match found {
                Some(found) if found == wanted => writeln!(out, "{line:>6}         {wanted}"),
                Some(found) => {
                    writeln!(out, "{line:>6} wanted  {wanted}\n{:>6} found   {found}", "")
                }
                None => writeln!(out, "{line:>6} wanted  {wanted}\n{:>6} found   (end)", ""),
            };
            res.expect("writing into a String does not fail");
        }
        if let Some(note) = self.note {
            writeln!(out, "note: {note}").expect("writing into a String does not fail");
        }
        out
    }
}

/// A substitution that did not find its text as often as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubstFailure {
    /// The patch.
    pub patch: String,
    /// The file.
    pub file: TreePath,
    /// The substitution in the patch, from 1.
    pub substitution: usize,
    /// The text that was looked for.
    pub find: String,
    /// How often it should be there.
    pub wanted: usize,
    /// On which lines it is.
    pub lines: Vec<usize>,
    /// Where it is nowhere: the line most like it, and what stands there. Of a text of several lines
    /// the first that differs, where most of them are.
    pub nearest: Option<(usize, String)>,
    /// What should be there, of a text of several lines.
    pub wanted_there: Option<String>,
    /// Set when the text is there as soon as line ends are not looked at.
    pub crlf: Option<CrlfNote>,
    /// Where it is nowhere, and what it would make is there as often as it would make it: on which
    /// lines.
    pub made: Vec<usize>,
}

/// The text is there but for its line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlfNote {
    /// How often.
    pub count: usize,
}

impl fmt::Display for SubstFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            patch,
            file,
            substitution,
            find,
            wanted,
            lines,
            nearest,
            wanted_there,
            crlf,
            made,
        } = self;
        let find = lines::shown(find.as_bytes().split(|b| *b == b'\n').next().unwrap_or(b""));
        write!(
            f,
            "substitution {substitution} of patch `{patch}` wants `{find}` "
        )?;
        write!(f, "{} in `{file}` and finds it ", times(*wanted))?;
        match lines.as_slice() {
            [] => f.write_str("nowhere")?,
            lines => write!(f, "{}, at {}", times(lines.len()), lines::numbered(lines))?,
        }
        if !made.is_empty() {
            let lines = lines::numbered(made);
            return write!(f, "; what it would make is there already, at {lines}");
        }
        if let Some(CrlfNote { count }) = crlf {
            return write!(f, "; with CRLF line ends it is there {}", times(*count));
        }
        match (nearest, wanted_there) {
            (Some((line, text)), Some(wanted)) => {
                let (wanted, found) = (named(wanted), named(text));
                write!(
                    f,
                    "; nearest, line {line} should be {wanted} and is {found}"
                )
            }
            (Some((line, text)), None) => write!(f, "; line {line} is like it: `{text}`"),
            (None, _) => Ok(()),
        }
    }
}

/// The line in a sentence.
fn named(line: &str) -> String {
    if line.is_empty() {
        "empty".to_owned()
    } else {
        format!("`{line}`")
    }
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}
