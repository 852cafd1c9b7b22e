//! What can be wrong with a patch, said so that it can be mended: which hunk, at what line, what
//! was wanted there and what there is.

use std::fmt;
#[cfg(test)]
use std::fmt::Write;

use super::super::tree::TreeError;
use super::super::tree_path::TreePath;
use super::failure::{HunkFailure, HunkNote, SubstFailure};
use super::lines;
use super::{Kind, kind_of};
use crate::diagnostic::Diagnostics;

/// Why a patch cannot be read or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The name does not say what the patch is.
    #[error("`{patch}` is no kind of patch that is known")]
    UnknownKind {
        /// The patch.
        patch: String,
    },
    /// The patch does not say why it is there.
    #[error("patch `{patch}` does not say {}", quoted(.missing))]
    NoHeader {
        /// The patch.
        patch: String,
        /// The header lines that are missing or empty.
        missing: Vec<&'static str>,
    },
    /// A header line stands there twice.
    #[error("patch `{patch}` says `{key}` twice")]
    RepeatedHeader {
        /// The patch.
        patch: String,
        /// The header line.
        key: &'static str,
    },
    /// A substitution file that is not of the right form.
    #[error("patch `{patch}` cannot be read")]
    Yaml {
        /// The patch.
        patch: String,
        /// Where and what.
        #[source]
        faults: Diagnostics,
    },
    /// A diff that is not of the right form.
    #[error("patch `{patch}`, line {line}: {reason}")]
    Malformed {
        /// The patch.
        patch: String,
        /// The line of the patch.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A diff that does what no text patch here may do.
    #[error("patch `{patch}`, line {line}: {what} cannot be patched here")]
    Unsupported {
        /// The patch.
        patch: String,
        /// The line of the patch.
        line: usize,
        /// What it does.
        what: UnsupportedChange,
    },
    /// A diff whose own lines end in CRLF, headers included.
    #[error("patch `{patch}` has been converted to CRLF line ends")]
    CrlfPatch {
        /// The patch.
        patch: String,
    },
    /// The file to change is not there.
    #[error("patch `{patch}` changes `{file}`, which is not there")]
    NoFile {
        /// The patch.
        patch: String,
        /// The file.
        file: TreePath,
        /// A file of that name elsewhere in the tree.
        same_name: Option<TreePath>,
    },
    /// The file to change is a symbolic link.
    #[error("patch `{patch}` changes `{file}`, which is a symbolic link to `{target}`")]
    IsLink {
        /// The patch.
        patch: String,
        /// The link.
        file: TreePath,
        /// Where it points.
        target: String,
    },
    /// The file to create is there, with another content.
    #[error("patch `{patch}` creates `{file}`, which is already there with another content")]
    FileExists {
        /// The patch.
        patch: String,
        /// The file.
        file: TreePath,
    },
    /// The file to delete has more in it than the patch takes out.
    #[error("patch `{patch}` deletes `{file}`, which has more lines than the patch takes out")]
    FileNotEmptied {
        /// The patch.
        patch: String,
        /// The file.
        file: TreePath,
    },
    /// The file to create has no place in the tree.
    #[error("patch `{patch}` cannot create a file")]
    Create {
        /// The patch.
        patch: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// The file already is what the patch would make it.
    #[error("patch `{patch}` is already applied to `{file}`: its reverse applies")]
    AlreadyApplied {
        /// The patch.
        patch: String,
        /// The file.
        file: TreePath,
    },
    /// A hunk whose lines are not in the file.
    #[error("{0}")]
    HunkFailed(Box<HunkFailure>),
    /// A hunk whose lines are in the file more than once, and not at their line.
    #[error(
        "hunk {hunk} of patch `{patch}` is not at line {wanted_line} of `{file}`, and fits at {}",
        lines::numbered(.lines)
    )]
    Ambiguous {
        /// The patch.
        patch: String,
        /// The file.
        file: TreePath,
        /// The hunk in the file's part of the patch, from 1.
        hunk: usize,
        /// Where it should be.
        wanted_line: usize,
        /// Where it could be.
        lines: Vec<usize>,
    },
    /// A hunk without unchanged lines, which could be put anywhere.
    #[error("hunk {hunk} of patch `{patch}` for `{file}` has no unchanged line to place it by")]
    NoContext {
        /// The patch.
        patch: String,
        /// The file.
        file: TreePath,
        /// The hunk in the file's part of the patch, from 1.
        hunk: usize,
    },
    /// A substitution whose text is in the file another number of times.
    #[error("{0}")]
    CountDiffers(Box<SubstFailure>),
    /// A patch that leaves the tree as it was.
    #[error("patch `{patch}` changes nothing")]
    ChangesNothing {
        /// The patch.
        patch: String,
    },
}

/// What a diff can say and is not done here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsupportedChange {
    /// A file gets another name.
    Rename,
    /// A file is made from another.
    Copy,
    /// A file that is no text.
    Binary,
    /// A symbolic link.
    Symlink,
    /// The commit of a submodule.
    Submodule,
}

impl fmt::Display for UnsupportedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rename => "a rename",
            Self::Copy => "a copy",
            Self::Binary => "a binary file",
            Self::Symlink => "a symbolic link",
            Self::Submodule => "a submodule",
        })
    }
}

impl PatchError {
    /// More than fits one line: a failed hunk against the file.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::HunkFailed(failure) => Some(failure.comparison_text()),
            Self::UnknownKind { .. }
            | Self::NoHeader { .. }
            | Self::RepeatedHeader { .. }
            | Self::Yaml { .. }
            | Self::Malformed { .. }
            | Self::Unsupported { .. }
            | Self::CrlfPatch { .. }
            | Self::NoFile { .. }
            | Self::IsLink { .. }
            | Self::FileExists { .. }
            | Self::FileNotEmptied { .. }
            | Self::Create { .. }
            | Self::AlreadyApplied { .. }
            | Self::Ambiguous { .. }
            | Self::NoContext { .. }
            | Self::CountDiffers(_)
            | Self::ChangesNothing { .. } => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownKind { .. } => {
                "name it `*.patch`, `*.diff`, `*.subst.yaml`, `*.sh` or `*.py`"
            }
            Self::NoHeader { patch, .. } => return Some(header_hint(patch)),
            Self::Unsupported { what, .. } => match what {
                UnsupportedChange::Rename | UnsupportedChange::Copy => {
                    "make the diff anew with `--no-renames`"
                }
                UnsupportedChange::Binary
                | UnsupportedChange::Symlink
                | UnsupportedChange::Submodule => "do it in a `*.sh` patch",
            },
            Self::CrlfPatch { .. } => {
                "convert it back with `dos2unix`, and put `patches/** -text` into `.gitattributes`"
            }
            Self::NoFile {
                file, same_name, ..
            } => match same_name {
                Some(other) => {
                    return Some(format!(
                        "there is `{other}`; paths start at the source's top"
                    ));
                }
                None if file.as_str().strip_suffix(".orig").is_some() => {
                    "name the file itself, as `git diff` does"
                }
                None => "a file that the patch creates has `--- /dev/null` above its `+++` line",
            },
            Self::IsLink { .. } => "change the file that the link points to",
            Self::AlreadyApplied { .. } => {
                "upstream has the change now, or the patch is listed twice: take it out"
            }
            Self::Ambiguous { .. } => "make the diff anew with more context: `git diff -U10`",
            Self::NoContext { .. } => "make the diff with context: `git diff -U3`",
            Self::ChangesNothing { .. } => {
                "a patch that changes nothing is not needed, or has missed: mend it or take it out"
            }
            Self::HunkFailed(failure) => match failure.note {
                Some(HunkNote::FileHasCrlf) => {
                    "make the diff from the released files, without converting line ends: \
                     `git -c core.autocrlf=false diff`"
                }
                Some(HunkNote::PatchHasCrlf) => "make the diff from the released files",
                Some(HunkNote::NewlineAtEnd) => {
                    "keep the `\\ No newline at end of file` lines of the diff"
                }
                Some(
                    HunkNote::WhiteSpace
                    | HunkNote::AlreadyThere { .. }
                    | HunkNote::NotAtStart
                    | HunkNote::NotAtEnd,
                )
                | None => "make the diff anew against this version of the source",
            },
            Self::RepeatedHeader { .. }
            | Self::Yaml { .. }
            | Self::Malformed { .. }
            | Self::FileExists { .. }
            | Self::FileNotEmptied { .. }
            | Self::Create { .. }
            | Self::CountDiffers(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// The message, its causes, its detail and its hint, as the tests show them.
    #[cfg(test)]
    pub(super) fn report(&self) -> String {
        let mut out = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(out, "\n  caused by: {error}").unwrap();
            cause = error.source();
        }
        if let Some(detail) = self.detail() {
            write!(out, "\n{}", detail.trim_end()).unwrap();
        }
        if let Some(hint) = self.hint() {
            write!(out, "\nhint: {hint}").unwrap();
        }
        out
    }
}

fn header_hint(patch: &str) -> String {
    match kind_of(patch) {
        Some(Kind::Substitutions) => "say it in the keys `why`, `upstream` and `drop-when`",
        Some(Kind::Script(_)) => {
            "put `# Why: …`, `# Upstream: …` and `# Drop-when: …` at the top of the script"
        }
        Some(Kind::Diff) | None => {
            "put `Why: …`, `Upstream: …` and `Drop-when: …` before the first `---` line"
        }
    }
    .to_owned()
}

fn quoted(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
