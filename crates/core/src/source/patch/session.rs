//! Applies patches in order and keeps account of what each did.
//!
//! Scripts do not run here: the session stops, hands the tree out, and goes on with the tree that
//! comes back. Each step takes the one before by value, so no step can be left out.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::super::tree::{FileMode, SourceTree, TreeEntry};
use super::super::tree_path::TreePath;
use super::diff::{Action, FileDiff};
use super::error::PatchError;
use super::header::PatchHeader;
use super::subst::Substitution;
use super::{Content, Interpreter, Patch, hunks, subst};
use crate::digest::Sha256Digest;

/// A source tree with all of its patches applied, and what each of them did. Only a
/// [`PatchSession`] that has come to its end makes one.
#[derive(Debug, Clone)]
pub struct PatchedTree {
    tree: SourceTree,
    applied: Vec<AppliedPatch>,
}

impl PatchedTree {
    /// The tree.
    pub fn tree(&self) -> &SourceTree {
        &self.tree
    }

    /// What was done to it, in order.
    pub fn applied(&self) -> &[AppliedPatch] {
        &self.applied
    }
}

/// What one patch did, as the manifest tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppliedPatch {
    /// The patch file's name.
    pub name: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Why it is there, and until when.
    #[serde(flatten)]
    pub header: PatchHeader,
    /// The files that it changed, by path.
    pub files: Vec<AppliedFile>,
}

/// What a patch did to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct AppliedFile {
    /// The file.
    pub path: TreePath,
    /// What happened to it.
    pub change: FileChange,
    /// Where the hunks of a diff went; empty for the other kinds of patches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hunks: Vec<AppliedHunk>,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// It was not there before.
    Created,
    /// It has another content or mode.
    Modified,
    /// It is gone.
    Deleted,
}

/// Where a hunk went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct AppliedHunk {
    /// The hunk in the file's part of the patch, from 1.
    pub hunk: usize,
    /// The line of the file, as it was before the patch, where the hunk begins.
    pub line: usize,
    /// How far that is from the line that the patch names; 0 is an exact fit.
    pub offset: isize,
}

/// Patches on their way into a tree.
///
/// ```
/// # use wheelfarm_core::source::{SourceTree, patch::{PatchError, PatchSession, PatchedTree, Step}};
/// # fn run(tree: &SourceTree) -> SourceTree { tree.clone() }
/// # fn apply(tree: SourceTree) -> Result<PatchedTree, PatchError> {
/// let mut session = PatchSession::new(tree, Vec::new());
/// loop {
///     match session.advance()? {
///         Step::Done(patched) => return Ok(patched),
///         Step::Script(script) => {
///             let result = run(script.tree());
///             session = script.finish(result)?;
///         }
///     }
/// }
/// # }
/// # assert!(apply(SourceTree::new()).is_ok());
/// ```
#[derive(Debug)]
pub struct PatchSession {
    tree: SourceTree,
    waiting: VecDeque<Patch>,
    applied: Vec<AppliedPatch>,
}

/// How far a session got.
#[derive(Debug)]
pub enum Step {
    /// A script comes next, which has to be run elsewhere.
    Script(PendingScript),
    /// All patches are applied.
    Done(PatchedTree),
}

/// A script that waits for being run.
#[derive(Debug)]
pub struct PendingScript {
    patch: Patch,
    interpreter: Interpreter,
    session: PatchSession,
}

impl PendingScript {
    /// The script.
    pub fn patch(&self) -> &Patch {
        &self.patch
    }

    /// What runs it.
    pub fn interpreter(&self) -> Interpreter {
        self.interpreter
    }

    /// The tree that it is to be run in: its working directory.
    pub fn tree(&self) -> &SourceTree {
        &self.session.tree
    }

    /// Goes on with the tree that the script left behind.
    pub fn finish(self, result: SourceTree) -> Result<PatchSession, PatchError> {
        let mut session = self.session;
        session.take(&self.patch, result, &BTreeMap::new())?;
        Ok(session)
    }
}

impl PatchSession {
    /// `patches` are applied in their order.
    pub fn new(tree: SourceTree, patches: Vec<Patch>) -> Self {
        Self {
            tree,
            waiting: patches.into(),
            applied: Vec::new(),
        }
    }

    /// Applies patches up to the next script or the end.
    pub fn advance(mut self) -> Result<Step, PatchError> {
        while let Some(patch) = self.waiting.pop_front() {
            let mut tree = self.tree.clone();
            let mut hunks = BTreeMap::new();
            match &patch.content {
                Content::Diff(files) => {
                    for file in files {
                        let applied = apply_diff(&patch.name, &mut tree, file)?;
                        hunks
                            .entry(file.path.clone())
                            .or_insert_with(Vec::new)
                            .extend(applied);
                    }
                }
                Content::Substitutions(substitutions) => {
                    for (place, substitution) in substitutions.iter().enumerate() {
                        apply_substitution(&patch.name, &mut tree, substitution, place + 1)?;
                    }
                }
                Content::Script(interpreter) => {
                    return Ok(Step::Script(PendingScript {
                        interpreter: *interpreter,
                        patch,
                        session: self,
                    }));
                }
            }
            self.take(&patch, tree, &hunks)?;
        }
        Ok(Step::Done(PatchedTree {
            tree: self.tree,
            applied: self.applied,
        }))
    }

    /// Takes over what a patch made of the tree.
    fn take(
        &mut self,
        patch: &Patch,
        tree: SourceTree,
        hunks: &BTreeMap<TreePath, Vec<AppliedHunk>>,
    ) -> Result<(), PatchError> {
        let files: Vec<_> = changes(&self.tree, &tree)
            .into_iter()
            .map(|(path, change)| AppliedFile {
                hunks: hunks.get(&path).cloned().unwrap_or_default(),
                path,
                change,
            })
            .collect();
        if files.is_empty() {
            let patch = patch.name.clone();
            return Err(PatchError::ChangesNothing { patch });
        }
        self.tree = tree;
        self.applied.push(AppliedPatch {
            name: patch.name.clone(),
            sha256: patch.sha256(),
            header: patch.header.clone(),
            files,
        });
        Ok(())
    }
}

/// Which paths differ, and how.
pub(super) fn changes(before: &SourceTree, after: &SourceTree) -> BTreeMap<TreePath, FileChange> {
    let mut changes = BTreeMap::new();
    for (path, entry) in before.iter() {
        match after.entry(path) {
            None => drop(changes.insert(path.clone(), FileChange::Deleted)),
            Some(other) if other != entry => {
                changes.insert(path.clone(), FileChange::Modified);
            }
            Some(_) => {}
        }
    }
    for (path, _) in after.iter() {
        if before.entry(path).is_none() {
            changes.insert(path.clone(), FileChange::Created);
        }
    }
    changes
}

/// Does to the tree what a diff says of one file. On an error the tree is as it was.
pub(super) fn apply_diff(
    patch: &str,
    tree: &mut SourceTree,
    diff: &FileDiff,
) -> Result<Vec<AppliedHunk>, PatchError> {
    let path = &diff.path;
    Ok(match diff.action {
        Action::Create => create(patch, tree, diff)?,
        Action::Modify => {
            let (bytes, mode) = file(patch, tree, path)?;
            let (bytes, applied) = hunks::apply(patch, path, bytes, &diff.hunks)?;
            tree.replace_file(path, bytes, diff.mode.unwrap_or(mode));
            applied
        }
        Action::Delete => {
            let (bytes, _) = file(patch, tree, path)?;
            let (rest, applied) = hunks::apply(patch, path, bytes, &diff.hunks)?;
            if !rest.is_empty() {
                return Err(PatchError::FileNotEmptied {
                    patch: patch.to_owned(),
                    file: path.clone(),
                });
            }
            tree.remove(path);
            applied
        }
    })
}

fn create(
    patch: &str,
    tree: &mut SourceTree,
    diff: &FileDiff,
) -> Result<Vec<AppliedHunk>, PatchError> {
    let path = &diff.path;
    let (bytes, applied) = hunks::apply(patch, path, b"", &diff.hunks)?;
    if tree.entry(path).is_some() {
        let (patch, file) = (patch.to_owned(), path.clone());
        let is_same = tree.file(path) == Some(&bytes[..]);
        return Err(if is_same {
            PatchError::AlreadyApplied { patch, file }
        } else {
            PatchError::FileExists { patch, file }
        });
    }
    let entry = TreeEntry::File {
        bytes: bytes.into(),
        mode: diff.mode.unwrap_or(FileMode::Plain),
    };
    tree.insert(path.clone(), entry)
        .map_err(|source| PatchError::Create {
            patch: patch.to_owned(),
            source,
        })?;
    Ok(applied)
}

/// Does the substitution that is number `number` in the patch. On an error the tree is as it was.
pub(super) fn apply_substitution(
    patch: &str,
    tree: &mut SourceTree,
    substitution: &Substitution,
    number: usize,
) -> Result<(), PatchError> {
    let path = &substitution.file;
    let (bytes, mode) = file(patch, tree, path)?;
    let bytes = subst::apply(patch, number, substitution, bytes)?;
    tree.replace_file(path, bytes, mode);
    Ok(())
}

/// The file that a patch changes.
fn file<'a>(
    patch: &str,
    tree: &'a SourceTree,
    path: &TreePath,
) -> Result<(&'a [u8], FileMode), PatchError> {
    match tree.entry(path) {
        Some(TreeEntry::File { bytes, mode }) => Ok((bytes, *mode)),
        Some(TreeEntry::Symlink { target }) => Err(PatchError::IsLink {
            patch: patch.to_owned(),
            file: path.clone(),
            target: target.clone(),
        }),
        None => {
            let has_name = |other: &&TreePath| other.file_name() == path.file_name();
            Err(PatchError::NoFile {
                patch: patch.to_owned(),
                file: path.clone(),
                same_name: tree.iter().map(|(other, _)| other).find(has_name).cloned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::tree_of as tree;

    const HEADER: &str = "Why: a\nUpstream: b\nDrop-when: c\n";
    const SCRIPT: &str = "# Why: a\n# Upstream: b\n# Drop-when: c\ntouch x\n";

    fn diff(text: &str) -> Patch {
        Patch::parse("1.patch", &format!("{HEADER}{text}")).unwrap()
    }

    fn done(session: PatchSession) -> PatchedTree {
        match session.advance().unwrap() {
            Step::Done(patched) => patched,
            Step::Script(script) => panic!("{script:?}"),
        }
    }

    fn refused(tree: SourceTree, patch: Patch) -> String {
        let session = PatchSession::new(tree, vec![patch]);
        session.advance().unwrap_err().report()
    }

    #[test]
    fn files_come_go_and_change() {
        let patch = diff(
            "diff --git a/new b/new\nnew file mode 100755\n--- /dev/null\n+++ b/new\n\
             @@ -0,0 +1 @@\n+1\n\
             diff --git a/old b/old\ndeleted file mode 100644\n--- a/old\n+++ /dev/null\n\
             @@ -1 +0,0 @@\n-1\n\
             --- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\
             diff --git a/run b/run\nold mode 100644\nnew mode 100755\n",
        );
        let before = tree(&[("old", "1\n"), ("run", ""), ("x", "0\na\nb\n")]);
        let patched = done(PatchSession::new(before, vec![patch]));
        let json = serde_json::to_string_pretty(patched.applied()).unwrap();
        insta::assert_snapshot!(json, @r#"
        [
          {
            "name": "1.patch",
            "sha256": "adcaf427c05f6017208914ef96eef5cdf8b0557ae544f85c42a647724c9d0193",
            "why": "a",
            "upstream": "b",
            "drop-when": "c",
            "files": [
              {
                "path": "new",
                "change": "created",
                "hunks": [
                  {
                    "hunk": 1,
                    "line": 1,
                    "offset": 0
                  }
                ]
              },
              {
                "path": "old",
                "change": "deleted",
                "hunks": [
                  {
                    "hunk": 1,
                    "line": 1,
                    "offset": 0
                  }
                ]
              },
              {
                "path": "run",
                "change": "modified"
              },
              {
                "path": "x",
                "change": "modified",
                "hunks": [
                  {
                    "hunk": 1,
                    "line": 2,
                    "offset": 1
                  }
                ]
              }
            ]
          }
        ]
        "#);
        let paths: Vec<_> = patched
            .tree()
            .iter()
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(paths, ["new", "run", "x"]);
        assert_eq!(
            patched.tree().file(&"x".parse().unwrap()),
            Some(&b"0\na\nc\n"[..])
        );
    }

    #[test]
    fn a_script_is_a_stop_on_the_way() {
        let script = Patch::parse("2.sh", SCRIPT).unwrap();
        let subst = "why: a\nupstream: b\ndrop-when: c\nsubstitutions:\n\
                     - {file: y, find: made, replace: done, count: 1}\n";
        let subst = Patch::parse("3.subst.yaml", subst).unwrap();
        let first = diff("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n");
        let session = PatchSession::new(tree(&[("x", "a\n")]), vec![first, script, subst]);
        let Step::Script(script) = session.advance().unwrap() else {
            panic!("the script comes second");
        };
        assert_eq!(script.interpreter().program(), "bash");
        assert_eq!(script.tree(), &tree(&[("x", "b\n")]));
        let left_behind = tree(&[("x", "b\n"), ("y", "made\n")]);
        let patched = done(script.finish(left_behind).unwrap());
        assert_eq!(patched.tree(), &tree(&[("x", "b\n"), ("y", "done\n")]));
        let names: Vec<_> = patched.applied().iter().map(|patch| &patch.name).collect();
        assert_eq!(names, ["1.patch", "2.sh", "3.subst.yaml"]);
    }

    #[test]
    fn patches_that_change_nothing_are_refused() {
        let before = tree(&[("x", "a\n")]);
        let script = Patch::parse("2.sh", SCRIPT).unwrap();
        let session = PatchSession::new(before.clone(), vec![script]);
        let Step::Script(script) = session.advance().unwrap() else {
            panic!("it is a script");
        };
        let idle_script = script.finish(before.clone()).unwrap_err().report();
        let same = diff("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+a\n");
        let mode = diff("diff --git a/x b/x\nold mode 100755\nnew mode 100644\n");
        insta::assert_snapshot!(
            [idle_script, refused(before.clone(), same), refused(before, mode)].join("\n"),
            @"
            patch `2.sh` changes nothing
            hint: a patch that changes nothing is not needed, or has missed: mend it or take it out
            patch `1.patch` changes nothing
            hint: a patch that changes nothing is not needed, or has missed: mend it or take it out
            patch `1.patch` changes nothing
            hint: a patch that changes nothing is not needed, or has missed: mend it or take it out
            "
        );
    }

    #[test]
    fn what_stands_in_the_way_of_a_file_is_said() {
        let change = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        let create = "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n";
        let delete = "--- a/x\n+++ /dev/null\n@@ -1,2 +1 @@\n-a\n b\n";
        let below = create.replace("b/x", "b/x/y");
        let mut link = tree(&[("y", "a\n")]);
        let target = "y".to_owned();
        link.insert("x".parse().unwrap(), TreeEntry::Symlink { target })
            .unwrap();
        let on = |files: &[(&str, &str)], text: &str| refused(tree(files), diff(text));
        insta::assert_snapshot!(
            [
                on(&[("y", "a\n")], change),
                on(&[("sub/x", "a\n")], change),
                on(&[("y", "a\n")], &change.replace("/x", "/x.orig")),
                refused(link, diff(change)),
                on(&[("x", "b\n")], create),
                on(&[("x", "a\n")], create),
                on(&[("x", "a\n")], &below),
                on(&[("x", "a\nb\n")], delete),
                on(&[("x", "b\n")], change),
            ]
            .join("\n"),
            @"
            patch `1.patch` changes `x`, which is not there
            hint: a file that the patch creates has `--- /dev/null` above its `+++` line
            patch `1.patch` changes `x`, which is not there
            hint: there is `sub/x`; paths start at the source's top
            patch `1.patch` changes `x.orig`, which is not there
            hint: name the file itself, as `git diff` does
            patch `1.patch` changes `x`, which is a symbolic link to `y`
            hint: change the file that the link points to
            patch `1.patch` creates `x`, which is already there with another content
            patch `1.patch` is already applied to `x`: its reverse applies
            hint: upstream has the change now, or the patch is listed twice: take it out
            patch `1.patch` cannot create a file
              caused by: `x/y` lies below `x`, which is not a folder
            patch `1.patch` deletes `x`, which has more lines than the patch takes out
            patch `1.patch` is already applied to `x`: its reverse applies
            hint: upstream has the change now, or the patch is listed twice: take it out
            "
        );
    }

    /// Texts of few different lines, so that hunks are alike, with and without a newline at the
    /// end.
    fn text() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("a"),
            Just("b"),
            Just(""),
            Just("  c"),
            Just("-- x"),
            Just("d\r")
        ];
        (proptest::collection::vec(line, 0..30), any::<bool>()).prop_map(|(lines, newline)| {
            let mut text = lines.join("\n");
            if newline && !text.is_empty() {
                text.push('\n');
            }
            text
        })
    }

    /// A text and an edited form of it.
    fn edited() -> impl Strategy<Value = (String, String)> {
        let edit = (any::<proptest::sample::Index>(), 0..3_usize, "[a-e]{0,2}");
        (text(), proptest::collection::vec(edit, 0..4)).prop_map(|(text, edits)| {
            let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
            for (place, kind, new) in edits {
                let place = place.index(lines.len() + 1);
                match kind {
                    0 => lines.insert(place.min(lines.len().saturating_sub(1)), format!("{new}\n")),
                    1 if place < lines.len() => drop(lines.remove(place)),
                    _ if place < lines.len() => lines[place] = format!("{new}\n"),
                    _ => lines.push(new),
                }
            }
            (text, lines.concat())
        })
    }

    /// The diff between two trees, as `git diff` and diffy write it.
    fn diff_of(before: &SourceTree, after: &SourceTree) -> String {
        let mut out = String::new();
        let paths: std::collections::BTreeSet<_> = before
            .iter()
            .chain(after.iter())
            .map(|(path, _)| path)
            .collect();
        for path in paths {
            let (old, new) = (before.file(path), after.file(path));
            if old == new {
                continue;
            }
            let text = |bytes: Option<&[u8]>| {
                str::from_utf8(bytes.unwrap_or_default())
                    .unwrap()
                    .to_owned()
            };
            let (old_text, new_text) = (text(old), text(new));
            out.extend(["diff --git a/", path.as_str(), " b/", path.as_str(), "\n"]);
            match (old, new) {
                (None, _) => out += "new file mode 100644\n",
                (_, None) => out += "deleted file mode 100644\n",
                _ => {}
            }
            if old_text == new_text {
                continue;
            }
            let name = |side: &str, bytes: Option<&[u8]>| match bytes {
                Some(_) => format!("{side}/{path}"),
                None => "/dev/null".to_owned(),
            };
            out += &diffy::DiffOptions::new()
                .set_original_filename(name("a", old))
                .set_modified_filename(name("b", new))
                .create_patch(&old_text, &new_text)
                .to_string();
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_diff_gives_the_edited_tree_and_its_reverse_the_first(
            files in proptest::collection::btree_map("[a-c]", (edited(), 0..6_usize), 1..4),
        ) {
            let mut sides = [SourceTree::new(), SourceTree::new()];
            for (path, ((old, new), fate)) in files {
                let file = |text: String| TreeEntry::File {
                    bytes: text.into_bytes().into(),
                    mode: FileMode::Plain,
                };
                let path: TreePath = path.parse().unwrap();
                if fate != 0 {
                    sides[0].insert(path.clone(), file(old)).unwrap();
                }
                if fate != 1 {
                    sides[1].insert(path, file(new)).unwrap();
                }
            }
            let [before, after] = sides;
            prop_assume!(before != after);
            for (from, to) in [(&before, &after), (&after, &before)] {
                let text = diff_of(from, to);
                let patched = done(PatchSession::new(from.clone(), vec![diff(&text)]));
                prop_assert_eq!(patched.tree(), to, "{}", text);
                let offsets = patched.applied()[0].files.iter().flat_map(|file| &file.hunks);
                prop_assert!(offsets.into_iter().all(|hunk| hunk.offset == 0));
            }
        }
    }
}
