//! Patches: files that change a source tree, each with a reason, or that fail saying where.
//!
//! A patch that changes nothing is an error. The widely copied way to patch these packages, a
//! script of regular expressions, changes nothing on every release of SageAttention and prints
//! "Successfully patched".

mod diff;
mod error;
mod failure;
mod header;
mod hunks;
mod lines;
mod make;
mod names;
mod refresh;
mod session;
mod stack;
mod subst;

pub use error::{PatchError, UnsupportedChange};
pub use failure::{CrlfNote, HunkFailure, HunkNote, SubstFailure};
pub use header::PatchHeader;
pub use make::{MakeError, Unmade, make};
pub use refresh::{Conflict, Proposal, Refreshed, refresh};
pub use session::{
    AppliedFile, AppliedHunk, AppliedPatch, FileChange, PatchSession, PatchedTree, PendingScript,
    Step,
};
pub use stack::{Drift, FitVerdict, PatchFit, PatchPart, PatchStack};
#[cfg(test)]
pub(crate) use subst::schema;

use crate::digest::Sha256Digest;

/// A patch file, read and checked as far as it can be without a tree.
#[derive(Debug, Clone)]
pub struct Patch {
    name: String,
    text: String,
    header: PatchHeader,
    content: Content,
}

/// What a patch does, by the end of its file's name.
#[derive(Debug, Clone)]
enum Content {
    Diff(Vec<diff::FileDiff>),
    Substitutions(Vec<subst::Substitution>),
    Script(Interpreter),
}

/// What runs a patch script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpreter {
    /// `bash`, for `*.sh`.
    Bash,
    /// `python3`, for `*.py`.
    Python,
}

impl Interpreter {
    /// The program's name in a builder image.
    pub fn program(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Python => "python3",
        }
    }
}

impl Patch {
    /// Reads a patch from its file's name and text.
    pub fn parse(name: &str, text: &str) -> Result<Self, PatchError> {
        let Some(kind) = kind_of(name) else {
            let patch = name.to_owned();
            return Err(PatchError::UnknownKind { patch });
        };
        let (header, content) = match kind {
            Kind::Diff => (
                header::of_diff(name, text)?,
                Content::Diff(diff::parse(name, text)?),
            ),
            Kind::Substitutions => {
                let (header, substitutions) = subst::parse(name, text)?;
                (header, Content::Substitutions(substitutions))
            }
            Kind::Script(interpreter) => {
                (header::of_script(name, text)?, Content::Script(interpreter))
            }
        };
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            header,
            content,
        })
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why it is there, and until when.
    pub fn header(&self) -> &PatchHeader {
        &self.header
    }

    /// The digest of the file.
    pub fn sha256(&self) -> Sha256Digest {
        Sha256Digest::of(self.text.as_bytes())
    }

    /// What runs it, if it is a script.
    pub fn interpreter(&self) -> Option<Interpreter> {
        match self.content {
            Content::Script(interpreter) => Some(interpreter),
            Content::Diff(_) | Content::Substitutions(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Diff,
    Substitutions,
    Script(Interpreter),
}

fn kind_of(name: &str) -> Option<Kind> {
    const ENDS: [(&str, Kind); 5] = [
        (".patch", Kind::Diff),
        (".diff", Kind::Diff),
        (".subst.yaml", Kind::Substitutions),
        (".sh", Kind::Script(Interpreter::Bash)),
        (".py", Kind::Script(Interpreter::Python)),
    ];
    let end = ENDS.iter().find(|(end, _)| name.ends_with(end));
    end.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_kind(name: &str, text: &str, want: Option<Interpreter>) {
        let patch = Patch::parse(name, text).unwrap();
        assert_eq!(patch.interpreter(), want);
        assert_eq!(patch.header().why, "a");
        assert_eq!(patch.sha256(), Sha256Digest::of(text.as_bytes()));
    }

    #[test]
    fn the_name_says_what_a_patch_is() {
        let diff = "Why: a\nUpstream: b\nDrop-when: c\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n";
        check_kind("1.patch", diff, None);
        check_kind("1.diff", diff, None);
        let script = "#!/bin/sh\n# Why: a\n# Upstream: b\n# Drop-when: c\ntrue\n";
        check_kind("1.sh", script, Some(Interpreter::Bash));
        check_kind("1.py", script, Some(Interpreter::Python));
        let subst = "why: a\nupstream: b\ndrop-when: c\nsubstitutions:\n\
                     - {file: x, find: a, replace: b, count: 1}\n";
        check_kind("1.subst.yaml", subst, None);
        let error = Patch::parse("1.yaml", subst).unwrap_err();
        insta::assert_snapshot!(error.report(), @"
        `1.yaml` is no kind of patch that is known
        hint: name it `*.patch`, `*.diff`, `*.subst.yaml`, `*.sh` or `*.py`
        ");
    }
}
