//! Moves patches from the tree that they were written for to another one.
//!
//! A patch that applies there stays; one that does not is merged three ways, file by file: the file
//! as it was, the file as the patch makes it, and the file as it is now. What comes out is shown to
//! a person before it is kept, for lines that merge can still mean something else.

use serde::Serialize;

use super::super::tree::{FileMode, SourceTree, TreeEntry};
use super::super::tree_path::TreePath;
use super::make::{self, MakeError};
use super::session::{self, FileChange};
use super::stack::{FitVerdict, PatchStack};
use super::{Content, Patch, header};

/// What became of one patch.
#[derive(Debug)]
pub struct Refreshed {
    /// The name of the patch that there is.
    pub patch: String,
    /// The patches before it that are in neither of the trees it was moved between.
    pub without: Vec<String>,
    /// What is proposed.
    pub proposal: Proposal,
}

/// What is proposed for a patch on the new tree.
#[derive(Debug)]
pub enum Proposal {
    /// It applies as it is.
    Keep {
        /// The patch.
        patch: Patch,
    },
    /// This takes its place. It applies exactly: that was tried.
    Replace {
        /// The new patch. In place of substitutions that miss, it is a diff, with another name.
        patch: Patch,
    },
    /// The new tree is as the patch would make it: it can go.
    Drop,
    /// The patch and the new tree want different things of the same lines.
    Conflict {
        /// Every place, in the order of files and lines.
        conflicts: Vec<Conflict>,
    },
    /// Nothing can be proposed.
    NotChecked {
        /// Why not.
        reason: String,
    },
}

/// A place where the patch and the new tree disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Conflict {
    /// The file.
    pub file: TreePath,
    /// Where in the new tree's file, from 1; none where the whole file is concerned.
    pub line: Option<usize>,
    /// What is the matter, as a lowercase fragment.
    pub message: String,
    /// The lines between markers: `ours` is the file with the patch, `original` the file that it was
    /// written for, `theirs` the new tree's.
    pub text: Option<String>,
}

impl Proposal {
    /// The proposal's stable name: `keep`, `replace`, `drop`, `conflict`, `not-checked`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Keep { .. } => "keep",
            Self::Replace { .. } => "replace",
            Self::Drop => "drop",
            Self::Conflict { .. } => "conflict",
            Self::NotChecked { .. } => "not-checked",
        }
    }
}

/// Moves `patches`, which apply to `base` in their order, to `target`.
pub fn refresh(base: SourceTree, target: SourceTree, patches: &[Patch]) -> Vec<Refreshed> {
    let mut base = PatchStack::new(base);
    let mut target = PatchStack::new(target);
    let mut without: Vec<String> = Vec::new();
    let mut refreshed = Vec::new();
    for patch in patches {
        let proposal = propose(&mut base, &mut target, patch);
        refreshed.push(Refreshed {
            patch: patch.name.clone(),
            without: without.clone(),
            proposal,
        });
        let proposal = refreshed.last().map(|last| &last.proposal);
        if let Some(Proposal::Conflict { .. } | Proposal::NotChecked { .. }) = proposal {
            without.push(patch.name.clone());
        }
    }
    refreshed
}

fn propose(base: &mut PatchStack, target: &mut PatchStack, patch: &Patch) -> Proposal {
    let before = base.tree().clone();
    match base.push(patch).verdict {
        FitVerdict::Fits { .. } => {}
        FitVerdict::NotChecked { reason } => return Proposal::NotChecked { reason },
        FitVerdict::AlreadyThere => {
            let reason = "the version that it claims has its changes already".to_owned();
            return Proposal::NotChecked { reason };
        }
        FitVerdict::Drifted { faults } => {
            let first = faults.first().map(|fault| fault.message.as_str());
            let first = first.unwrap_or("it does not apply");
            let reason = format!("it does not fit the version that it claims: {first}");
            return Proposal::NotChecked { reason };
        }
    }
    let there = target.tree().clone();
    let fit = target.push(patch).verdict;
    match fit {
        // A merge of three sides knows more than the text of one.
        FitVerdict::AlreadyThere => match merge(&before, base.tree(), &there) {
            Ok(tree) if tree == there => return Proposal::Drop,
            Ok(tree) => target.replace(tree),
            Err(conflicts) => return Proposal::Conflict { conflicts },
        },
        FitVerdict::NotChecked { reason } => return Proposal::NotChecked { reason },
        FitVerdict::Fits { .. } if fit.moved().is_none() => {
            let patch = patch.clone();
            return Proposal::Keep { patch };
        }
        FitVerdict::Fits { .. } => {}
        FitVerdict::Drifted { .. } => {
            let merged = merge(&before, base.tree(), &there);
            match merged {
                Ok(tree) if tree == there => return Proposal::Drop,
                Ok(tree) => target.replace(tree),
                Err(conflicts) => return Proposal::Conflict { conflicts },
            }
        }
    }
    match made_anew(patch, &there, target.tree()) {
        Ok(patch) => Proposal::Replace { patch },
        Err(error) => {
            target.replace(there);
            let reason = crate::diagnostic::chain(&error);
            Proposal::NotChecked { reason }
        }
    }
}

/// The patch for the new tree, with the header of the old one.
fn made_anew(patch: &Patch, before: &SourceTree, after: &SourceTree) -> Result<Patch, MakeError> {
    match &patch.content {
        Content::Diff(_) => {
            let header = header::text_of_diff(&patch.text);
            make::with_header_text(&patch.name, header, before, after)
        }
        Content::Substitutions(_) | Content::Script(_) => {
            let stem = patch.name.strip_suffix(".subst.yaml");
            let name = format!("{}.patch", stem.unwrap_or(&patch.name));
            make::make(&name, &patch.header, before, after)
        }
    }
}

/// `theirs` with what makes `ours` of `base`.
fn merge(
    base: &SourceTree,
    ours: &SourceTree,
    theirs: &SourceTree,
) -> Result<SourceTree, Vec<Conflict>> {
    let mut merged = theirs.clone();
    let mut conflicts = Vec::new();
    for (path, change) in session::changes(base, ours) {
        let sides = Sides {
            base: base.entry(&path),
            ours: ours.entry(&path),
            theirs: theirs.entry(&path),
        };
        let res = match change {
            FileChange::Created => create(&mut merged, &path, &sides),
            FileChange::Deleted => delete(&mut merged, &path, &sides),
            FileChange::Modified => modify(&mut merged, &path, &sides),
        };
        conflicts.extend(res.err().into_iter().flatten());
    }
    if conflicts.is_empty() {
        Ok(merged)
    } else {
        Err(conflicts)
    }
}

/// What stands at one path of the three trees.
struct Sides<'a> {
    base: Option<&'a TreeEntry>,
    ours: Option<&'a TreeEntry>,
    theirs: Option<&'a TreeEntry>,
}

fn whole_file(file: &TreePath, message: String) -> Vec<Conflict> {
    vec![Conflict {
        file: file.clone(),
        line: None,
        message,
        text: None,
    }]
}

fn create(tree: &mut SourceTree, path: &TreePath, sides: &Sides<'_>) -> Result<(), Vec<Conflict>> {
    match (sides.ours, sides.theirs) {
        (Some(ours), None) => tree
            .insert(path.clone(), ours.clone())
            .map_err(|error| whole_file(path, error.to_string())),
        (ours, theirs) if ours == theirs => Ok(()),
        _ => Err(whole_file(
            path,
            format!("the patch creates `{path}`, which is there with another content"),
        )),
    }
}

fn delete(tree: &mut SourceTree, path: &TreePath, sides: &Sides<'_>) -> Result<(), Vec<Conflict>> {
    match sides.theirs {
        None => Ok(()),
        theirs if theirs == sides.base => {
            tree.remove(path);
            Ok(())
        }
        Some(_) => Err(whole_file(
            path,
            format!("the patch deletes `{path}`, which has changed"),
        )),
    }
}

fn modify(tree: &mut SourceTree, path: &TreePath, sides: &Sides<'_>) -> Result<(), Vec<Conflict>> {
    let (Some((base, base_mode)), Some((ours, our_mode))) = (file(sides.base), file(sides.ours))
    else {
        let message = format!("`{path}` is a symbolic link");
        return Err(whole_file(path, message));
    };
    let Some((theirs, their_mode)) = file(sides.theirs) else {
        let message = match sides.theirs {
            None => format!("`{path}` is no longer there"),
            Some(_) => format!("`{path}` is a symbolic link now"),
        };
        return Err(whole_file(path, message));
    };
    let mode = if base_mode == our_mode {
        their_mode
    } else {
        our_mode
    };
    let length = marker_length([base, ours, theirs]);
    let mut options = diffy::MergeOptions::new();
    options.set_conflict_marker_length(length);
    options.set_incomplete_hunk_style(diffy::IncompleteHunkStyle::Git);
    match options.merge_bytes(base, ours, theirs) {
        Ok(bytes) => {
            tree.replace_file(path, bytes, mode);
            Ok(())
        }
        Err(marked) => Err(conflicts(path, &marked, theirs, length)),
    }
}

fn file(entry: Option<&TreeEntry>) -> Option<(&[u8], FileMode)> {
    match entry? {
        TreeEntry::File { bytes, mode } => Some((bytes, *mode)),
        TreeEntry::Symlink { .. } => None,
    }
}

/// Longer than any line of the texts that looks like a marker.
fn marker_length(texts: [&[u8]; 3]) -> usize {
    const USUAL: usize = 7;
    let lines = texts
        .into_iter()
        .flat_map(|text| text.split(|b| *b == b'\n'));
    let run = |line: &[u8]| match line.first() {
        Some(first @ (b'<' | b'|' | b'=' | b'>')) => {
            line.iter().take_while(|byte| *byte == first).count()
        }
        _ => 0,
    };
    lines.map(run).max().unwrap_or(0).max(USUAL - 1) + 1
}

/// The places between markers of a merge that failed.
fn conflicts(file: &TreePath, marked: &[u8], theirs: &[u8], length: usize) -> Vec<Conflict> {
    let marker = |sign: u8| vec![sign; length];
    let [starts, parts, ends] = [b'<', b'=', b'>'].map(marker);
    let mut conflicts = Vec::new();
    let mut text: Option<Vec<u8>> = None;
    let mut their_lines: Option<Vec<&[u8]>> = None;
    let mut before: Vec<&[u8]> = Vec::new();
    let mut found = 0;
    for line in super::lines::split(marked) {
        if line.starts_with(&starts) {
            text = Some(Vec::new());
        }
        let Some(open) = &mut text else {
            before.push(line);
            continue;
        };
        open.extend_from_slice(line);
        if line.starts_with(&ends) {
            let lines = their_lines.take().unwrap_or_default();
            found = place(theirs, &before, &lines, found);
            conflicts.push(Conflict {
                file: file.clone(),
                line: Some(found + 1),
                message: "the patch and the new source change the same lines".to_owned(),
                text: text
                    .take()
                    .map(|text| String::from_utf8_lossy(&text).into()),
            });
            found += lines.len();
            before.clear();
        } else if line.starts_with(&parts) {
            their_lines = Some(Vec::new());
        } else if let Some(lines) = &mut their_lines {
            lines.push(line);
        }
    }
    conflicts
}

/// Where in `theirs`, from line `from` on, a conflict is: where its lines are; if it has none, after
/// the last of the lines `before` it that is there.
fn place(theirs: &[u8], before: &[&[u8]], lines: &[&[u8]], from: usize) -> usize {
    let image = super::lines::split(theirs);
    let rest = image.get(from..).unwrap_or_default();
    let content = super::lines::content;
    let is_at = |at: &usize| {
        let mut found = rest[*at..].iter();
        let mut same = |line: &&[u8]| found.next().is_some_and(|f| content(f) == content(line));
        lines.iter().all(&mut same)
    };
    let last = || {
        let line = before.last()?;
        rest.iter().position(|found| found == line)
    };
    let at = if lines.is_empty() {
        last().map_or(0, |at| at + 1)
    } else {
        (0..rest.len()).find(is_at).unwrap_or(0)
    };
    from + at
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::source::tree_of as tree;

    const HEADER: &str = "Why: a\nUpstream: b\nDrop-when: c\n\n";

    fn diff(text: &str) -> Patch {
        Patch::parse("1.patch", &format!("{HEADER}{text}")).unwrap()
    }

    /// Each proposal, with the new text or the conflict.
    fn report(base: &[(&str, &str)], target: &[(&str, &str)], patches: &[Patch]) -> String {
        let refreshed = refresh(tree(base), tree(target), patches);
        let lines = refreshed.iter().map(|refreshed| {
            let mut out = format!("{} {}", refreshed.patch, refreshed.proposal.as_str());
            if !refreshed.without.is_empty() {
                write!(out, " without {}", refreshed.without.join(", ")).unwrap();
            }
            match &refreshed.proposal {
                Proposal::Keep { .. } | Proposal::Drop => {}
                Proposal::Replace { patch } => {
                    write!(out, ": {}\n{}", patch.name, patch.text).unwrap();
                }
                Proposal::Conflict { conflicts } => {
                    for conflict in conflicts {
                        let Conflict {
                            file,
                            line,
                            message,
                            text,
                        } = conflict;
                        let text = text.as_deref().unwrap_or_default();
                        write!(out, "\n{file}:{line:?}: {message}\n{text}").unwrap();
                    }
                }
                Proposal::NotChecked { reason } => write!(out, ": {reason}").unwrap(),
            }
            out.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    const BASE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";
    const CHANGE: &str = "--- a/x\n+++ b/x\n@@ -2,7 +2,7 @@\n two\n three\n four\n-five\n+FIVE\n six\n seven\n eight\n";

    #[test]
    fn a_patch_that_fits_stays_and_one_that_moved_is_made_anew() {
        let moved = format!("zero\n{BASE}");
        let there = BASE.replace("five", "FIVE");
        let on = |target: &str| report(&[("x", BASE)], &[("x", target)], &[diff(CHANGE)]);
        insta::assert_snapshot!([on(BASE), on(&moved), on(&there)].join("\n"), @"
        1.patch keep
        1.patch replace: 1.patch
        Why: a
        Upstream: b
        Drop-when: c

        --- a/x
        +++ b/x
        @@ -3,7 +3,7 @@
         two
         three
         four
        -five
        +FIVE
         six
         seven
         eight
        1.patch drop
        ");
    }

    #[test]
    fn a_patch_whose_context_changed_is_merged() {
        let target = BASE.replace("three", "3").replace("seven", "7");
        insta::assert_snapshot!(
            report(&[("x", BASE)], &[("x", &target)], &[diff(CHANGE)]),
            @"
            1.patch replace: 1.patch
            Why: a
            Upstream: b
            Drop-when: c

            --- a/x
            +++ b/x
            @@ -2,7 +2,7 @@
             two
             3
             four
            -five
            +FIVE
             six
             7
             eight
            "
        );
    }

    #[test]
    fn substitutions_that_miss_become_a_diff() {
        let subst = "why: a\nupstream: b\ndrop-when: c\nsubstitutions:\n\
                     - {file: x, find: \"three\\nfour\\nfive\", replace: \"three\\nfour\\nFIVE\", count: 1}\n";
        let subst = Patch::parse("1-x.subst.yaml", subst).unwrap();
        let target = BASE.replace("three", "3");
        insta::assert_snapshot!(
            report(&[("x", BASE)], &[("x", &target)], &[subst]),
            @"
            1-x.subst.yaml replace: 1-x.patch
            Why: a
            Upstream: b
            Drop-when: c

            --- a/x
            +++ b/x
            @@ -2,7 +2,7 @@
             two
             3
             four
            -five
            +FIVE
             six
             seven
             eight
            "
        );
    }

    #[test]
    fn what_both_change_is_a_conflict_with_its_place() {
        let target = format!("zero\n{}", BASE.replace("five", "5"));
        let gone = BASE.replace("five\n", "");
        let more = "--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n";
        let later = Patch::parse("2.patch", &format!("{HEADER}{more}")).unwrap();
        let on = |target: &str| {
            let patches = [diff(CHANGE), later.clone()];
            report(
                &[("x", BASE), ("y", "a\n")],
                &[("x", target), ("y", "a\n")],
                &patches,
            )
        };
        insta::assert_snapshot!([on(&target), on(&gone)].join("\n"), @"
        1.patch conflict
        x:Some(6): the patch and the new source change the same lines
        <<<<<<< ours
        FIVE
        ||||||| original
        five
        =======
        5
        >>>>>>> theirs
        2.patch keep without 1.patch
        1.patch conflict
        x:Some(5): the patch and the new source change the same lines
        <<<<<<< ours
        FIVE
        ||||||| original
        five
        =======
        >>>>>>> theirs
        2.patch keep without 1.patch
        ");
    }

    #[test]
    fn files_that_came_went_or_changed_are_conflicts() {
        let create = "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+1\n";
        let delete = "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n";
        let change = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n";
        let base = [("x", "1\n")];
        let on = |target: &[(&str, &str)], text: &str| report(&base, target, &[diff(text)]);
        insta::assert_snapshot!(
            [
                on(&[("x", "1\n"), ("new", "2\n")], create),
                on(&[("x", "1\n"), ("new", "1\n")], create),
                on(&[("x", "2\n")], delete),
                on(&[("y", "1\n")], delete),
                on(&[("y", "1\n")], change),
                on(&[("x/y", "1\n")], change),
            ]
            .join("\n"),
            @"
            1.patch conflict
            new:None: the patch creates `new`, which is there with another content
            1.patch drop
            1.patch conflict
            x:None: the patch deletes `x`, which has changed
            1.patch drop
            1.patch conflict
            x:None: `x` is no longer there
            1.patch conflict
            x:None: `x` is no longer there
            "
        );
    }

    #[test]
    fn nothing_is_proposed_for_what_cannot_be_tried() {
        let script =
            Patch::parse("0.sh", "# Why: a\n# Upstream: b\n# Drop-when: c\ntrue\n").unwrap();
        let wrong = diff("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-nine\n+ten\n");
        let there = diff("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-0\n+1\n");
        let x = [("x", "1\n")];
        insta::assert_snapshot!(
            [
                report(&x, &x, &[script, wrong.clone()]),
                report(&x, &x, &[wrong]),
                report(&x, &x, &[there]),
            ]
            .join("\n"),
            @"
            0.sh not-checked: a script runs only in a build's container
            1.patch not-checked without 0.sh: `0.sh` was not run before it: hunk 1 of patch `1.patch` does not fit `x`: line 1 should be `nine` and is `1`
            1.patch not-checked: it does not fit the version that it claims: hunk 1 of patch `1.patch` does not fit `x`: line 1 should be `nine` and is `1`
            1.patch not-checked: the version that it claims has its changes already
            "
        );
    }

    #[test]
    fn markers_in_the_file_are_not_taken_for_ours() {
        let base = "<<<<<<< a\nx\n>>>>>>> b\n";
        let patch = diff("--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n <<<<<<< a\n-x\n+y\n >>>>>>> b\n");
        let target = base.replace("\nx\n", "\nz\n");
        insta::assert_snapshot!(
            report(&[("x", base)], &[("x", &target)], &[patch]),
            @"
            1.patch conflict
            x:Some(2): the patch and the new source change the same lines
            <<<<<<<< ours
            y
            |||||||| original
            x
            ========
            z
            >>>>>>>> theirs
            "
        );
    }

    fn lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("a\n"),
            Just("b\n"),
            Just("c\n"),
            Just("\n"),
            Just("d\r\n")
        ];
        let text = proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat());
        (text, prop_oneof![Just(""), Just("end")]).prop_map(|(text, end)| text + end)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        /// Against any file there is a proposal that holds: a patch that applies, or a conflict whose
        /// line is in the file.
        #[test]
        fn every_proposal_holds(base in lines(), ours in lines(), theirs in lines()) {
            prop_assume!(base != ours);
            let [base, ours, theirs] = [base, ours, theirs].map(|text| tree(&[("x", &text)]));
            let header = make::make(
                "1.patch",
                &super::super::PatchHeader::new("a", "b", "c").unwrap(),
                &base,
                &ours,
            );
            let patch = header.unwrap();
            let refreshed = refresh(base.clone(), theirs.clone(), &[patch]);
            match &refreshed[0].proposal {
                Proposal::Keep { patch } | Proposal::Replace { patch } => {
                    let fit = PatchStack::new(theirs).push(patch).verdict;
                    prop_assert_eq!(fit.as_str(), "fits");
                }
                Proposal::Drop => {}
                Proposal::Conflict { conflicts } => {
                    let x = "x".parse().unwrap();
                    let count = super::super::lines::split(theirs.file(&x).unwrap()).len();
                    prop_assert!(!conflicts.is_empty());
                    for conflict in conflicts {
                        prop_assert!((1..=count + 1).contains(&conflict.line.unwrap()));
                    }
                }
                Proposal::NotChecked { reason } => prop_assert!(false, "{}", reason),
            }
        }

        #[test]
        fn a_source_that_did_not_change_keeps_the_patch(base in lines(), ours in lines()) {
            prop_assume!(base != ours);
            let [base, ours] = [base, ours].map(|text| tree(&[("x", &text)]));
            let header = super::super::PatchHeader::new("a", "b", "c").unwrap();
            let patch = make::make("1.patch", &header, &base, &ours).unwrap();
            let kept = refresh(base.clone(), base, std::slice::from_ref(&patch));
            prop_assert_eq!(kept[0].proposal.as_str(), "keep");
        }
    }
}
