//! Makes a patch out of two trees, and shows that it makes the one of the other.

use std::fmt::Write;

use super::super::tree::{FileMode, SourceTree, TreeEntry};
use super::super::tree_path::TreePath;
use super::error::PatchError;
use super::header::PatchHeader;
use super::session::{self, FileChange, PatchSession, Step};
use super::{Kind, Patch, kind_of};

/// Why two trees give no patch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The name is not that of a diff.
    #[error("`{name}` is not the name of a diff")]
    Name {
        /// The name.
        name: String,
    },
    /// The trees are the same.
    #[error("the changed tree has no change")]
    NoChange,
    /// Changes that no text patch can make.
    #[error("{}", listed(.0))]
    Unsupported(Vec<Unmade>),
    /// The diff does not do what it was made for.
    #[error("the diff that was made does not apply to what it was made from")]
    Unproven(#[source] Option<Box<PatchError>>),
}

/// A change that no text patch can make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmade {
    /// Where.
    pub path: TreePath,
    /// What it is.
    pub what: &'static str,
}

impl MakeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Name { .. } => Some("name it `NNNN-what-it-does.patch`"),
            Self::NoChange => Some("change a file in it; products of a build are not looked at"),
            Self::Unsupported(_) => Some(
                "a diff changes, adds and removes text files and sets whether they can be run; do \
                 the rest in a `*.sh` patch",
            ),
            Self::Unproven(_) => None,
        }
    }
}

fn listed(unmade: &[Unmade]) -> String {
    const MOST: usize = 5;
    let shown = unmade.iter().take(MOST);
    let mut shown: Vec<_> = shown
        .map(|Unmade { path, what }| format!("`{path}` {what}"))
        .collect();
    if unmade.len() > MOST {
        shown.push(format!("and {} more", unmade.len() - MOST));
    }
    format!("no text patch can make these changes: {}", shown.join(", "))
}

/// The patch that makes `after` of `before`, byte for byte.
///
/// Files are changed, created and deleted; a file that was renamed is deleted under one name and
/// created under the other.
pub fn make(
    name: &str,
    header: &PatchHeader,
    before: &SourceTree,
    after: &SourceTree,
) -> Result<Patch, MakeError> {
    with_header_text(name, &format!("{}\n", header.for_diff()), before, after)
}

/// The same with the text of a header that is there already.
pub(super) fn with_header_text(
    name: &str,
    header: &str,
    before: &SourceTree,
    after: &SourceTree,
) -> Result<Patch, MakeError> {
    if !matches!(kind_of(name), Some(Kind::Diff)) {
        let name = name.to_owned();
        return Err(MakeError::Name { name });
    }
    let mut sections = Vec::new();
    let mut unmade = Vec::new();
    for (path, change) in session::changes(before, after) {
        let sides = (before.entry(&path), after.entry(&path));
        match section(&path, change, sides) {
            Ok(section) => sections.push((path, section)),
            Err(what) => unmade.push(Unmade { path, what }),
        }
    }
    if !unmade.is_empty() {
        return Err(MakeError::Unsupported(unmade));
    }
    if sections.is_empty() {
        return Err(MakeError::NoChange);
    }
    // What goes makes room first: a folder can take the place of a file.
    sections.sort_by_key(|(path, _)| after.entry(path).is_some());
    let mut text = header.to_owned();
    // A section of git's may have no `---` line, and would take that of a plain one after it.
    let form = sections.iter().map(|(_, section)| section.form).max();
    for (path, section) in &sections {
        if form == Some(Form::Git) {
            writeln!(text, "diff --git a/{path} b/{path}").expect(WRITES);
            text.push_str(&section.modes);
        }
        text.push_str(&section.diff);
    }
    proven(name, &text, before, after)
}

const WRITES: &str = "writing into a String does not fail";

/// The part of a diff for one file.
struct Section {
    /// The form that it needs at least.
    form: Form,
    /// What git says of the file's modes.
    modes: String,
    /// From the `---` line on; empty when the content stays.
    diff: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// `---` and `+++` lines alone, which say nothing of modes and empty files.
    Plain,
    /// With a `diff --git` line above.
    Git,
}

/// Reads the patch back and applies it.
fn proven(
    name: &str,
    text: &str,
    before: &SourceTree,
    after: &SourceTree,
) -> Result<Patch, MakeError> {
    let fault = |error| MakeError::Unproven(Some(Box::new(error)));
    let patch = Patch::parse(name, text).map_err(fault)?;
    let session = PatchSession::new(before.clone(), vec![patch.clone()]);
    match session.advance().map_err(fault)? {
        Step::Done(patched) if patched.tree() == after => Ok(patch),
        Step::Done(_) | Step::Script(_) => Err(MakeError::Unproven(None)),
    }
}

fn section(
    path: &TreePath,
    change: FileChange,
    (before, after): (Option<&TreeEntry>, Option<&TreeEntry>),
) -> Result<Section, &'static str> {
    let (old, old_mode) = side(before)?;
    let (new, new_mode) = side(after)?;
    let [old_bits, new_bits] = [old_mode, new_mode].map(FileMode::bits);
    let runs = new_mode == FileMode::Executable;
    let (needs_git, modes) = match change {
        FileChange::Created => {
            let modes = format!("new file mode 100{new_bits:o}\n");
            (new.is_empty() || runs, modes)
        }
        FileChange::Deleted => {
            let modes = format!("deleted file mode 100{old_bits:o}\n");
            (old.is_empty(), modes)
        }
        FileChange::Modified if old_mode != new_mode => {
            let modes = format!("old mode 100{old_bits:o}\nnew mode 100{new_bits:o}\n");
            (true, modes)
        }
        FileChange::Modified => (false, String::new()),
    };
    let form = if needs_git { Form::Git } else { Form::Plain };
    let mut diff = String::new();
    if old != new {
        let name = |prefix: &str, entry: Option<&TreeEntry>| match entry {
            Some(_) => format!("{prefix}/{path}"),
            None => "/dev/null".to_owned(),
        };
        let (old_name, new_name) = (name("a", before), name("b", after));
        diff = format!("--- {old_name}\n+++ {new_name}\n{}", hunks(old, new)?);
    }
    Ok(Section { form, modes, diff })
}

/// The content and mode of a file; of one that is not there, nothing.
fn side(entry: Option<&TreeEntry>) -> Result<(&[u8], FileMode), &'static str> {
    match entry {
        None => Ok((b"", FileMode::Plain)),
        Some(TreeEntry::Symlink { .. }) => Err("is a symbolic link"),
        Some(TreeEntry::File { bytes, mode }) => {
            if bytes.contains(&0) {
                return Err("is a binary file");
            }
            Ok((bytes, *mode))
        }
    }
}

fn hunks(old: &[u8], new: &[u8]) -> Result<String, &'static str> {
    let mut bytes = Vec::new();
    let patch = diffy::DiffOptions::new().create_patch_bytes(old, new);
    // git keeps the blank before an empty line, too.
    diffy::PatchFormatter::new()
        .suppress_blank_empty(false)
        .write_patch_into(&patch, &mut bytes)
        .expect("writing into memory does not fail");
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 where it changes")?;
    // The two names are its own; those of the file stand above already.
    Ok(text.split_inclusive('\n').skip(2).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> PatchHeader {
        PatchHeader::new("a", "b", "c").unwrap()
    }

    fn tree(files: &[(&str, &[u8], FileMode)]) -> SourceTree {
        let mut tree = SourceTree::new();
        for (path, bytes, mode) in files {
            let entry = TreeEntry::File {
                bytes: (*bytes).into(),
                mode: *mode,
            };
            tree.insert(path.parse().unwrap(), entry).unwrap();
        }
        tree
    }

    #[test]
    fn a_patch_has_its_header_and_says_only_what_it_must() {
        use FileMode::{Executable, Plain};
        let before = tree(&[
            ("empty", b"", Plain),
            ("gone", b"1\n", Plain),
            ("run", b"1\n", Plain),
            ("x", b"1\n\n2", Plain),
        ]);
        let after = tree(&[
            ("new", b"1\n", Plain),
            ("new.sh", b"1\n", Executable),
            ("run", b"1\n", Executable),
            ("void", b"", Plain),
            ("x", b"0\n1\n\n2\n", Plain),
        ]);
        let header = PatchHeader::new("it is\n needed", " none  known ", "never").unwrap();
        let patch = make("0001-x.patch", &header, &before, &after).unwrap();
        assert_eq!(patch.header(), &header);
        insta::assert_snapshot!(patch.text(), @r"
        Why: it is needed
        Upstream: none known
        Drop-when: never

        diff --git a/empty b/empty
        deleted file mode 100644
        diff --git a/gone b/gone
        deleted file mode 100644
        --- a/gone
        +++ /dev/null
        @@ -1 +0,0 @@
        -1
        diff --git a/new b/new
        new file mode 100644
        --- /dev/null
        +++ b/new
        @@ -0,0 +1 @@
        +1
        diff --git a/new.sh b/new.sh
        new file mode 100755
        --- /dev/null
        +++ b/new.sh
        @@ -0,0 +1 @@
        +1
        diff --git a/run b/run
        old mode 100644
        new mode 100755
        diff --git a/void b/void
        new file mode 100644
        diff --git a/x b/x
        --- a/x
        +++ b/x
        @@ -1,3 +1,4 @@
        +0
         1
         
        -2
        \ No newline at end of file
        +2
        ");
    }

    #[test]
    fn a_header_without_a_value_is_refused() {
        assert_eq!(
            PatchHeader::new("", "x", " \n").unwrap_err(),
            ["Why", "Drop-when"]
        );
    }

    #[test]
    fn what_no_text_patch_can_do_is_refused() {
        let before = tree(&[("a", b"1\n", FileMode::Plain)]);
        let refused = |name: &str, after: &SourceTree| {
            let error = make(name, &header(), &before, after).unwrap_err();
            let hint = error.hint().unwrap_or_default();
            format!("{error}\nhint: {hint}\n")
        };
        let mut after = tree(&[
            ("a", b"\0", FileMode::Plain),
            ("latin", b"\xe9\n", FileMode::Plain),
        ]);
        let target = "a".to_owned();
        after
            .insert("link".parse().unwrap(), TreeEntry::Symlink { target })
            .unwrap();
        insta::assert_snapshot!(
            [
                refused("1.patch", &after),
                refused("1.patch", &before),
                refused("1.sh", &after),
            ]
            .concat(),
            @"
            no text patch can make these changes: `a` is a binary file, `latin` is not UTF-8 where it changes, `link` is a symbolic link
            hint: a diff changes, adds and removes text files and sets whether they can be run; do the rest in a `*.sh` patch
            the changed tree has no change
            hint: change a file in it; products of a build are not looked at
            `1.sh` is not the name of a diff
            hint: name it `NNNN-what-it-does.patch`
            "
        );
    }

    #[test]
    fn what_is_not_utf8_may_stand_elsewhere_in_the_file() {
        let text = b"\xe9\n1\n2\n3\n4\n5\n";
        let before = tree(&[("a", text, FileMode::Plain)]);
        let after = tree(&[("a", b"\xe9\n1\n2\n3\n4\n5\n6\n", FileMode::Plain)]);
        make("1.patch", &header(), &before, &after).unwrap();
    }

    fn side() -> impl Strategy<Value = std::collections::BTreeMap<String, (String, bool)>> {
        let line = prop_oneof![
            Just("a"),
            Just(""),
            Just("--- a/x"),
            Just("+++ b/x"),
            Just("@@ -1 +1 @@"),
            Just("diff --git a/x b/x"),
            Just("\\ No newline at end of file"),
            Just("-- "),
            Just("ä\r"),
            Just("\u{b}\u{2028}c")
        ];
        let text = (proptest::collection::vec(line, 0..14), any::<bool>());
        let text =
            text.prop_map(|(lines, newline)| lines.join("\n") + if newline { "\n" } else { "" });
        let name = "[ab]|a/x|d/[ab]|b/x|c d|\"q\"|-x|a\\\\b|ü ";
        proptest::collection::btree_map(name, (text, any::<bool>()), 0..5)
    }

    fn tree_of(files: &std::collections::BTreeMap<String, (String, bool)>) -> Option<SourceTree> {
        let mut tree = SourceTree::new();
        for (path, (text, runs)) in files {
            let mode = if *runs {
                FileMode::Executable
            } else {
                FileMode::Plain
            };
            let bytes = text.as_bytes().into();
            tree.insert(path.parse().unwrap(), TreeEntry::File { bytes, mode })
                .ok()?;
        }
        Some(tree)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        /// Between any two trees of text files there is a patch, the same each time, and it makes
        /// the one of the other.
        #[test]
        fn a_patch_makes_the_changed_tree(before in side(), after in side()) {
            let (Some(before), Some(after)) = (tree_of(&before), tree_of(&after)) else {
                return Err(TestCaseError::reject("a file is where a folder is"));
            };
            prop_assume!(before != after);
            let patch = make("1.patch", &header(), &before, &after);
            let patch = patch.map_err(|error| TestCaseError::fail(crate::diagnostic::chain(&error)))?;
            let session = PatchSession::new(before.clone(), vec![patch.clone()]);
            let Ok(Step::Done(patched)) = session.advance() else {
                return Err(TestCaseError::fail("it does not apply"));
            };
            prop_assert_eq!(patched.tree(), &after);
            let mut hunks = patched.applied()[0].files.iter().flat_map(|file| &file.hunks);
            prop_assert!(hunks.all(|hunk| hunk.offset == 0));
            let again = make("1.patch", &header(), &before, &after).unwrap();
            prop_assert_eq!(again.text(), patch.text());
        }
    }
}
