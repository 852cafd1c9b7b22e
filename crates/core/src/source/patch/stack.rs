//! Patches on a tree that they may not have been written for: which of them fit, and how the others
//! miss.
//!
//! A [`PatchSession`] ends at the first patch that does not apply, for a build must not go on
//! without it. A stack goes on, so that one look tells of all patches.

use serde::{Serialize, Serializer};

use super::super::tree::{SourceTree, TreeEntry};
use super::super::tree_path::TreePath;
use super::diff::{Action, FileDiff};
use super::error::PatchError;
use super::hunks;
use super::session::{self, AppliedFile, PatchSession, Step};
use super::subst::{self, Substitution};
use super::{Content, Patch};
use crate::diagnostic::chain;
use crate::digest::Sha256Digest;

/// A tree with patches on it, one after the other; those that do not fit stay off.
#[derive(Debug, Clone)]
pub struct PatchStack {
    tree: SourceTree,
    missing: Vec<String>,
    unrun: Option<String>,
}

/// What became of one patch.
#[derive(Debug)]
pub struct PatchFit {
    /// The patch file's name.
    pub patch: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// The patches before it that the tree it was tried on lacks, because they do not fit
    /// themselves or are scripts.
    pub without: Vec<String>,
    /// How it fits.
    pub verdict: FitVerdict,
}

/// How a patch fits a tree.
#[derive(Debug)]
pub enum FitVerdict {
    /// It applies, exactly as a build would apply it.
    Fits {
        /// What it changes, and where its hunks went.
        files: Vec<AppliedFile>,
    },
    /// The tree is already as the patch would make it.
    AlreadyThere,
    /// It does not apply.
    Drifted {
        /// Every hunk and substitution that does not fit, in the patch's order; parts that are in
        /// the tree already are among them.
        faults: Vec<Drift>,
    },
    /// It could not be tried.
    NotChecked {
        /// Why not.
        reason: String,
    },
}

/// A part of a patch that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Drift {
    /// What does not fit what, as a lowercase fragment.
    pub message: String,
    /// The file that it is for.
    pub file: Option<TreePath>,
    /// Which part of the patch.
    pub part: PatchPart,
    /// The line of the file, from 1: of a hunk the first that differs where it fits best, of a
    /// substitution the first where its text stands or the one most like it.
    pub line: Option<usize>,
    /// The text that is wanted there, by lines; of a hunk only those that differ first.
    pub wanted: Vec<String>,
    /// What is there instead; fewer lines where the file ends.
    pub found: Vec<String>,
    /// A hunk line by line against the file, where it fits best.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A part of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchPart {
    /// A hunk, by its number in the file's part of the patch.
    Hunk(usize),
    /// A substitution, by its number in the patch.
    Substitution(usize),
    /// All that the patch does to the file, or the patch itself.
    Whole,
}

impl Serialize for PatchPart {
    /// `hunk 2`, `substitution 1`, `whole`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Hunk(number) => serializer.collect_str(&format_args!("hunk {number}")),
            Self::Substitution(number) => {
                serializer.collect_str(&format_args!("substitution {number}"))
            }
            Self::Whole => serializer.serialize_str("whole"),
        }
    }
}

impl FitVerdict {
    /// The verdict's stable name: `fits`, `fits-moved`, `already-there`, `drifted`, `not-checked`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fits { .. } if self.moved().is_some() => "fits-moved",
            Self::Fits { .. } => "fits",
            Self::AlreadyThere => "already-there",
            Self::Drifted { .. } => "drifted",
            Self::NotChecked { .. } => "not-checked",
        }
    }

    /// How many lines away from where the patch says its hunks fit: the least and the most, of
    /// those that do not fit at their place.
    pub fn moved(&self) -> Option<(usize, usize)> {
        let Self::Fits { files } = self else {
            return None;
        };
        let hunks = files.iter().flat_map(|file| &file.hunks);
        let moved = hunks.map(|hunk| hunk.offset.unsigned_abs());
        let moved: Vec<_> = moved.filter(|lines| *lines > 0).collect();
        Some((*moved.iter().min()?, *moved.iter().max()?))
    }
}

impl PatchStack {
    /// A stack with no patch on it.
    pub fn new(tree: SourceTree) -> Self {
        Self {
            tree,
            missing: Vec::new(),
            unrun: None,
        }
    }

    /// The tree as the patches that fitted left it.
    pub fn tree(&self) -> &SourceTree {
        &self.tree
    }

    /// Puts the next patch on, if it fits.
    pub fn push(&mut self, patch: &Patch) -> PatchFit {
        let without = self.missing.clone();
        let verdict = self.verdict(patch);
        match &verdict {
            FitVerdict::Fits { .. } | FitVerdict::AlreadyThere => {}
            FitVerdict::Drifted { .. } | FitVerdict::NotChecked { .. } => {
                self.missing.push(patch.name.clone());
            }
        }
        PatchFit {
            patch: patch.name.clone(),
            sha256: patch.sha256(),
            without,
            verdict,
        }
    }

    /// Goes on with a tree that somebody else has made of this one.
    pub(super) fn replace(&mut self, tree: SourceTree) {
        self.tree = tree;
    }

    fn verdict(&mut self, patch: &Patch) -> FitVerdict {
        if matches!(patch.content, Content::Script(_)) {
            self.unrun.get_or_insert_with(|| patch.name.clone());
            let reason = "a script runs only in a build's container".to_owned();
            return FitVerdict::NotChecked { reason };
        }
        let session = PatchSession::new(self.tree.clone(), vec![patch.clone()]);
        let error = match session.advance() {
            Ok(Step::Done(patched)) => {
                self.tree = patched.tree().clone();
                let applied = patched.applied().iter();
                let files = applied.flat_map(|applied| applied.files.clone()).collect();
                return FitVerdict::Fits { files };
            }
            Ok(Step::Script(script)) => {
                let reason = format!("`{}` is a script", script.patch().name());
                return FitVerdict::NotChecked { reason };
            }
            Err(error) => error,
        };
        let missed = missed(patch, &self.tree);
        if missed.is_all_there() {
            return FitVerdict::AlreadyThere;
        }
        // What a script makes is not known here, and may be what this patch is for.
        if let Some(script) = &self.unrun {
            let reason = format!("`{script}` was not run before it: {}", chain(&error));
            return FitVerdict::NotChecked { reason };
        }
        let mut faults = missed.faults;
        if faults.is_empty() {
            faults.push(error);
        }
        let faults = faults.iter().map(Drift::of).collect();
        FitVerdict::Drifted { faults }
    }
}

/// How the parts of a patch fare on a tree.
#[derive(Default)]
struct Missed {
    faults: Vec<PatchError>,
    /// How many parts would change something.
    changing: usize,
    /// Whether there is a fault that is not "already there".
    is_torn: bool,
}

impl Missed {
    fn is_all_there(&self) -> bool {
        self.changing == 0 && !self.is_torn
    }

    fn there(&mut self, error: PatchError) {
        self.faults.push(error);
    }

    fn torn(&mut self, errors: impl IntoIterator<Item = PatchError>) {
        self.faults.extend(errors);
        self.is_torn = true;
    }
}

/// Tries every part of a patch that does not apply as a whole.
fn missed(patch: &Patch, tree: &SourceTree) -> Missed {
    let mut tree = tree.clone();
    let mut missed = Missed::default();
    match &patch.content {
        Content::Diff(files) => {
            for file in files {
                try_diff(&patch.name, &mut tree, file, &mut missed);
            }
        }
        Content::Substitutions(substitutions) => {
            for (place, substitution) in substitutions.iter().enumerate() {
                try_substitution(&patch.name, &mut tree, substitution, place + 1, &mut missed);
            }
        }
        Content::Script(_) => {}
    }
    missed
}

fn try_diff(patch: &str, tree: &mut SourceTree, diff: &FileDiff, missed: &mut Missed) {
    let before = tree.clone();
    match session::apply_diff(patch, tree, diff) {
        Ok(_) if *tree == before => {}
        Ok(_) => missed.changing += 1,
        // The content is there; a mode that the diff names has to be there too.
        Err(error @ PatchError::AlreadyApplied { .. }) if has_mode(&before, diff) => {
            missed.there(error);
        }
        Err(error @ PatchError::NoFile { .. }) if diff.action == Action::Delete => {
            missed.there(error);
        }
        Err(
            error @ (PatchError::HunkFailed(_)
            | PatchError::Ambiguous { .. }
            | PatchError::NoContext { .. }),
        ) => {
            let bytes = before.file(&diff.path).unwrap_or_default();
            let all = hunks::misfits(patch, &diff.path, bytes, &diff.hunks);
            if all.is_empty() {
                missed.torn([error]);
            } else {
                missed.torn(all);
            }
        }
        Err(error) => missed.torn([error]),
    }
}

fn has_mode(tree: &SourceTree, diff: &FileDiff) -> bool {
    match (diff.mode, tree.entry(&diff.path)) {
        (Some(wanted), Some(TreeEntry::File { mode, .. })) => *mode == wanted,
        (None, _) | (_, None | Some(TreeEntry::Symlink { .. })) => true,
    }
}

fn try_substitution(
    patch: &str,
    tree: &mut SourceTree,
    substitution: &Substitution,
    number: usize,
    missed: &mut Missed,
) {
    match session::apply_substitution(patch, tree, substitution, number) {
        Ok(()) => missed.changing += 1,
        Err(error @ PatchError::AlreadyApplied { .. }) => missed.there(error),
        Err(PatchError::CountDiffers(failure)) if !failure.made.is_empty() => {
            missed.there(PatchError::CountDiffers(failure));
        }
        Err(error) => missed.torn([error]),
    }
}

impl Drift {
    fn of(error: &PatchError) -> Self {
        let mut drift = Self {
            message: chain(error),
            file: None,
            part: PatchPart::Whole,
            line: None,
            wanted: Vec::new(),
            found: Vec::new(),
            detail: error.detail(),
            hint: error.hint(),
        };
        match error {
            PatchError::HunkFailed(failure) => {
                drift.file = Some(failure.file.clone());
                drift.part = PatchPart::Hunk(failure.hunk);
                drift.line = Some(failure.line);
                drift.wanted.clone_from(&failure.expected);
                drift.found.clone_from(&failure.found);
            }
            PatchError::Ambiguous {
                file, hunk, lines, ..
            } => {
                drift.file = Some(file.clone());
                drift.part = PatchPart::Hunk(*hunk);
                drift.line = lines.first().copied();
            }
            PatchError::NoContext { file, hunk, .. } => {
                drift.file = Some(file.clone());
                drift.part = PatchPart::Hunk(*hunk);
            }
            PatchError::CountDiffers(failure) => {
                drift.file = Some(failure.file.clone());
                drift.part = PatchPart::Substitution(failure.substitution);
                let nearest = failure.nearest.as_ref();
                let there = failure.lines.first().or(failure.made.first()).copied();
                drift.line = there.or(nearest.map(|(line, _)| *line));
                drift.wanted = subst::shown(&failure.find);
                drift.found = nearest.map(|(_, text)| text.clone()).into_iter().collect();
            }
            PatchError::NoFile { file, .. }
            | PatchError::IsLink { file, .. }
            | PatchError::FileExists { file, .. }
            | PatchError::FileNotEmptied { file, .. }
            | PatchError::AlreadyApplied { file, .. } => drift.file = Some(file.clone()),
            PatchError::UnknownKind { .. }
            | PatchError::NoHeader { .. }
            | PatchError::RepeatedHeader { .. }
            | PatchError::Yaml { .. }
            | PatchError::Malformed { .. }
            | PatchError::Unsupported { .. }
            | PatchError::CrlfPatch { .. }
            | PatchError::Create { .. }
            | PatchError::ChangesNothing { .. } => {}
        }
        drift
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::source::tree_of as tree;

    const HEADER: &str = "Why: a\nUpstream: b\nDrop-when: c\n\n";
    const TEN: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";

    fn patch(name: &str, text: &str) -> Patch {
        let header = match name.rsplit('.').next() {
            Some("yaml") => "why: a\nupstream: b\ndrop-when: c\nsubstitutions:\n",
            Some("sh") => "# Why: a\n# Upstream: b\n# Drop-when: c\n",
            _ => HEADER,
        };
        Patch::parse(name, &format!("{header}{text}")).unwrap()
    }

    fn line_change(file: &str, from: &str, to: &str) -> String {
        format!("--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{from}\n+{to}\n")
    }

    /// Each verdict with what there is to say of it.
    fn report(files: &[(&str, &str)], patches: &[Patch]) -> String {
        let mut stack = PatchStack::new(tree(files));
        let mut out = String::new();
        for patch in patches {
            let fit = stack.push(patch);
            write!(out, "{} {}", fit.patch, fit.verdict.as_str()).unwrap();
            if let Some(moved) = fit.verdict.moved() {
                write!(out, " by {moved:?}").unwrap();
            }
            if !fit.without.is_empty() {
                write!(out, " without {}", fit.without.join(", ")).unwrap();
            }
            match fit.verdict {
                FitVerdict::Fits { .. } | FitVerdict::AlreadyThere => {}
                FitVerdict::NotChecked { reason } => write!(out, ": {reason}").unwrap(),
                FitVerdict::Drifted { faults } => {
                    for fault in faults {
                        write!(out, "\n  {}", serde_json::to_value(&fault).unwrap()).unwrap();
                    }
                }
            }
            out += "\n";
        }
        out
    }

    #[test]
    fn a_patch_fits_where_it_says_or_nearby() {
        let change = "--- a/x\n+++ b/x\n@@ -4,3 +4,3 @@\n 4\n-5\n+V\n 6\n";
        let lower = format!("0\n0\n{TEN}");
        insta::assert_snapshot!(
            [
                report(&[("x", TEN)], &[patch("1.patch", change)]),
                report(&[("x", &lower)], &[patch("1.patch", change)]),
            ]
            .concat(),
            @"
            1.patch fits
            1.patch fits-moved by (2, 2)
            "
        );
    }

    #[test]
    fn every_hunk_that_misses_is_told() {
        let hunks = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n 1\n-2\n+II\n 3\n\
                     @@ -4,3 +4,3 @@\n 4\n-5\n+V\n 6\n@@ -7,3 +7,3 @@\n 7\n-8\n+VIII\n 9\n\
                     --- a/gone\n+++ b/gone\n@@ -1 +1 @@\n-1\n+2\n";
        let drifted = TEN.replace('2', "zwei").replace('8', "acht");
        insta::assert_snapshot!(report(&[("x", &drifted)], &[patch("1.patch", hunks)]), @r#"
        1.patch drifted
          {"detail":"hunk 1 (line 7 of the patch) against `x`:\n     1         1\n     2 wanted  2\n       found   zwei\n     3         3\n","file":"x","found":["zwei"],"hint":"make the diff anew against this version of the source","line":2,"message":"hunk 1 of patch `1.patch` does not fit `x`: line 2 should be `2` and is `zwei`","part":"hunk 1","wanted":["2"]}
          {"detail":"hunk 3 (line 17 of the patch) against `x`:\n     7         7\n     8 wanted  8\n       found   acht\n     9         9\n","file":"x","found":["acht"],"hint":"make the diff anew against this version of the source","line":8,"message":"hunk 3 of patch `1.patch` does not fit `x`: line 8 should be `8` and is `acht`","part":"hunk 3","wanted":["8"]}
          {"detail":null,"file":"gone","found":[],"hint":"a file that the patch creates has `--- /dev/null` above its `+++` line","line":null,"message":"patch `1.patch` changes `gone`, which is not there","part":"whole","wanted":[]}
        "#);
    }

    #[test]
    fn what_upstream_has_taken_is_there_already() {
        let both = line_change("x", "a", "b") + &line_change("y", "a", "b");
        let delete = "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n";
        let mode = "diff --git a/x b/x\nold mode 100755\nnew mode 100644\n";
        let subst = "- {file: x, find: \"a\\n\", replace: \"a\\nb\\n\", count: 1}\n\
                     - {file: x, find: c, replace: d, count: 1}\n";
        let on =
            |files: &[(&str, &str)], name: &str, text: &str| report(files, &[patch(name, text)]);
        insta::assert_snapshot!(
            [
                on(&[("x", "b\n"), ("y", "b\n")], "1.patch", &both),
                on(&[("x", "b\n"), ("y", "a\n")], "1.patch", &both),
                on(&[("z", "")], "1.patch", delete),
                on(&[("x", "")], "1.patch", mode),
                on(&[("x", "a\nb\nd\n")], "1.subst.yaml", subst),
                on(&[("x", "a\nc\n")], "1.subst.yaml", subst),
                on(&[("x", "a\nb\nc\n")], "1.subst.yaml", subst),
            ]
            .concat(),
            @r#"
            1.patch already-there
            1.patch drifted
              {"detail":null,"file":"x","found":[],"hint":"upstream has the change now, or the patch is listed twice: take it out","line":null,"message":"patch `1.patch` is already applied to `x`: its reverse applies","part":"whole","wanted":[]}
            1.patch already-there
            1.patch already-there
            1.subst.yaml already-there
            1.subst.yaml fits
            1.subst.yaml drifted
              {"detail":null,"file":"x","found":[],"hint":"upstream has the change now, or the patch is listed twice: take it out","line":null,"message":"patch `1.subst.yaml` is already applied to `x`: its reverse applies","part":"whole","wanted":[]}
            "#
        );
    }

    #[test]
    fn later_patches_are_tried_without_those_that_miss() {
        let first = patch("1.patch", &line_change("x", "a", "b"));
        let second = patch("2.patch", &line_change("y", "a", "b"));
        let third = patch("3.patch", &line_change("x", "b", "c"));
        insta::assert_snapshot!(
            [
                report(&[("x", "a\n"), ("y", "a\n")], &[first.clone(), second.clone(), third.clone()]),
                report(&[("x", "0\n"), ("y", "a\n")], &[first.clone(), second.clone(), third.clone()]),
                // What is there already counts as applied.
                report(&[("x", "b\n"), ("y", "a\n")], &[first, second, third]),
            ]
            .join("\n"),
            @r#"
            1.patch fits
            2.patch fits
            3.patch fits

            1.patch drifted
              {"detail":"hunk 1 (line 7 of the patch) against `x`:\n     1 wanted  a\n       found   0\n","file":"x","found":["0"],"hint":"make the diff anew against this version of the source","line":1,"message":"hunk 1 of patch `1.patch` does not fit `x`: line 1 should be `a` and is `0`","part":"hunk 1","wanted":["a"]}
            2.patch fits without 1.patch
            3.patch drifted without 1.patch
              {"detail":"hunk 1 (line 7 of the patch) against `x`:\n     1 wanted  b\n       found   0\n","file":"x","found":["0"],"hint":"make the diff anew against this version of the source","line":1,"message":"hunk 1 of patch `3.patch` does not fit `x`: line 1 should be `b` and is `0`","part":"hunk 1","wanted":["b"]}

            1.patch already-there
            2.patch fits
            3.patch fits
            "#
        );
    }

    #[test]
    fn scripts_are_not_run_and_what_needs_them_is_not_judged() {
        let script = patch("1.sh", "touch made\n");
        let needs = patch("2.patch", &line_change("made", "a", "b"));
        let other = patch("3.patch", &line_change("x", "a", "b"));
        insta::assert_snapshot!(report(&[("x", "a\n")], &[script, needs, other]), @"
        1.sh not-checked: a script runs only in a build's container
        2.patch not-checked without 1.sh: `1.sh` was not run before it: patch `2.patch` changes `made`, which is not there
        3.patch fits without 1.sh, 2.patch
        ");
    }

    #[test]
    fn a_substitution_that_misses_names_the_nearest_line() {
        let subst = "- {file: x, find: \"archs = ['8.0']\\n\", replace: b, count: 1}\n\
                     - {file: x, find: import, replace: b, count: 3}\n";
        let text = "import os\nimport re\narchs = ['9.0']\n";
        insta::assert_snapshot!(report(&[("x", text)], &[patch("1.subst.yaml", subst)]), @r#"
        1.subst.yaml drifted
          {"detail":null,"file":"x","found":["archs = ['9.0']"],"hint":null,"line":3,"message":"substitution 1 of patch `1.subst.yaml` wants `archs = ['8.0']` once in `x` and finds it nowhere; line 3 is like it: `archs = ['9.0']`","part":"substitution 1","wanted":["archs = ['8.0']"]}
          {"detail":null,"file":"x","found":[],"hint":null,"line":1,"message":"substitution 2 of patch `1.subst.yaml` wants `import` 3 times in `x` and finds it twice, at lines 1, 2","part":"substitution 2","wanted":["import"]}
        "#);
    }
}
