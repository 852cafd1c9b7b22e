//! A package's source as a value: every path with its mode and content.
//!
//! There are no folders of their own, as in git: a folder is there because a file is in it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use super::tree_path::{TreePath, TreePathError};
use crate::digest::{HashingWriter, Sha256Digest};

/// The sorted files and links of a source; all of them lie inside it.
///
/// Contents are shared, so a clone costs the paths only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceTree {
    entries: BTreeMap<TreePath, TreeEntry>,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEntry {
    /// A regular file.
    File {
        /// Its content.
        bytes: Arc<[u8]>,
        /// Whether it can be run.
        mode: FileMode,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, relative to its own folder.
        target: String,
    },
}

/// All that is kept of a file's permissions: git keeps no more, and the rest varies by machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// `0644`.
    Plain,
    /// `0755`.
    Executable,
}

impl FileMode {
    /// The mode for permission bits: executable when the owner may run it.
    pub fn from_bits(bits: u32) -> Self {
        if bits & 0o100 == 0 {
            Self::Plain
        } else {
            Self::Executable
        }
    }

    /// The permission bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Executable => 0o755,
        }
    }
}

/// How much a source may hold: an archive of some kilobytes can unpack to terabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeCaps {
    /// The longest file.
    pub member_bytes: u64,
    /// All files together.
    pub total_bytes: u64,
    /// How many files, links and folders.
    pub members: u64,
}

impl Default for TreeCaps {
    /// 512 MiB a file, 2 GiB together, 200 000 members: more than ten times what xformers
    /// 0.0.32.post2 holds, which brings CUTLASS and flash-attn along (8151 files).
    fn default() -> Self {
        Self {
            member_bytes: 512 << 20,
            total_bytes: 2 << 30,
            members: 200_000,
        }
    }
}

/// Why something is not a source tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A path that leaves the tree or cannot be printed.
    #[error(transparent)]
    Path(#[from] TreePathError),
    /// A path or link target in another encoding.
    #[error("path `{path}` is not UTF-8")]
    NotUtf8 {
        /// The path, with what is not UTF-8 replaced.
        path: String,
    },
    /// Two members of one name: which one counts depends on who unpacks.
    #[error("`{path}` is there twice")]
    Duplicate {
        /// The path.
        path: TreePath,
    },
    /// A path below something that is not a folder.
    #[error("`{path}` lies below `{above}`, which is not a folder")]
    BelowFile {
        /// The path.
        path: TreePath,
        /// The file or link above it.
        above: String,
    },
    /// A file where a folder is.
    #[error("`{path}` is a file or link here and a folder elsewhere in the tree")]
    IsFolder {
        /// The path.
        path: TreePath,
    },
    /// A link that may lead out of the tree.
    #[error(
        "link `{path}` points to `{}`, which can lead out of the tree",
        .target.escape_debug()
    )]
    LinkEscapes {
        /// The link.
        path: TreePath,
        /// Where it points.
        target: String,
    },
    /// A hard link to something that no earlier member is.
    #[error("hard link `{path}` points to `{target}`, which is no earlier file of the archive")]
    HardLinkTarget {
        /// The link.
        path: TreePath,
        /// Where it points.
        target: String,
    },
    /// A device, pipe, socket or the like.
    #[error("`{path}` is a {kind}, not a file, folder or link")]
    SpecialFile {
        /// Its path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// An archive whose members are not all below one folder.
    #[error("`{path}` is not inside the archive's single top folder")]
    NoTopFolder {
        /// The member.
        path: String,
    },
    /// More members than the cap.
    #[error("the source has more than {cap} members")]
    TooManyMembers {
        /// The cap.
        cap: u64,
    },
    /// A file longer than the cap.
    #[error("`{path}` is longer than {cap_bytes} bytes")]
    MemberTooLarge {
        /// The file.
        path: TreePath,
        /// The cap.
        cap_bytes: u64,
    },
    /// All files together larger than the cap.
    #[error("the source is larger than {cap_bytes} bytes unpacked")]
    TooLarge {
        /// The cap.
        cap_bytes: u64,
    },
    /// An archive or folder without a single file.
    #[error("it holds no file")]
    Empty,
    /// An archive that stops in the middle.
    #[error("the archive ends before its end mark")]
    Truncated,
    /// A reader or archive format that failed.
    #[error("failed to read the archive")]
    Unreadable {
        /// What the reader said.
        #[source]
        source: io::Error,
    },
}

impl SourceTree {
    /// A tree without a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file or link; what is there already, or would be below a file, is refused.
    pub fn insert(&mut self, path: TreePath, entry: TreeEntry) -> Result<(), TreeError> {
        if self.entries.contains_key(&path) {
            return Err(TreeError::Duplicate { path });
        }
        let is_entry = |folder: &&str| {
            folder
                .parse::<TreePath>()
                .is_ok_and(|folder| self.entries.contains_key(&folder))
        };
        let above = path.folders().find(is_entry).map(str::to_owned);
        if let Some(above) = above {
            return Err(TreeError::BelowFile { path, above });
        }
        if self.is_folder(&path) {
            return Err(TreeError::IsFolder { path });
        }
        if let TreeEntry::Symlink { target } = &entry
            && !stays_inside(&path, target)
        {
            let target = target.clone();
            return Err(TreeError::LinkEscapes { path, target });
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// What stands at `path`.
    pub fn entry(&self, path: &TreePath) -> Option<&TreeEntry> {
        self.entries.get(path)
    }

    /// The content of the regular file at `path`.
    pub fn file(&self, path: &TreePath) -> Option<&[u8]> {
        match self.entries.get(path)? {
            TreeEntry::File { bytes, .. } => Some(bytes),
            TreeEntry::Symlink { .. } => None,
        }
    }

    /// Every path and what stands there, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &TreeEntry)> {
        self.entries.iter()
    }

    /// How many files and links there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The digest of all paths, modes and contents.
    pub fn digest(&self) -> Sha256Digest {
        let mut hasher = HashingWriter::new(io::sink());
        self.write_canonical(&mut hasher)
            .expect("hashing into a sink has nothing that can fail");
        hasher.finish().1
    }

    /// Takes out what stands at `path`.
    pub(crate) fn remove(&mut self, path: &TreePath) {
        self.entries.remove(path);
    }

    /// Gives the file at `path` another content and mode; the path must be a file already.
    pub(crate) fn replace_file(&mut self, path: &TreePath, bytes: Vec<u8>, mode: FileMode) {
        if let Some(entry) = self.entries.get_mut(path) {
            let bytes = bytes.into();
            *entry = TreeEntry::File { bytes, mode };
        }
    }

    /// Whether anything stands below `path`.
    fn is_folder(&self, path: &TreePath) -> bool {
        // The space sorts before everything else that a name can hold. The neighbour of `path`
        // itself will not do: `a-b` and `a.c` stand between `a` and `a/b`.
        let Ok(first) = format!("{path}/ ").parse::<TreePath>() else {
            return false;
        };
        self.entries
            .range((Bound::Included(&first), Bound::Unbounded))
            .next()
            .is_some_and(|(next, _)| next.folders().any(|folder| folder == path.as_str()))
    }

    /// Lengths stand before texts, so that no two trees give the same bytes.
    fn write_canonical(&self, writer: &mut impl io::Write) -> io::Result<()> {
        writer.write_all(b"wheelfarm source tree 1\n")?;
        for (path, entry) in &self.entries {
            let (kind, content) = match entry {
                TreeEntry::File { bytes, mode } => match mode {
                    FileMode::Plain => ("file", &**bytes),
                    FileMode::Executable => ("program", &**bytes),
                },
                TreeEntry::Symlink { target } => ("link", target.as_bytes()),
            };
            let path = path.as_str();
            writeln!(writer, "{kind} {} {}", path.len(), content.len())?;
            writer.write_all(path.as_bytes())?;
            writer.write_all(content)?;
        }
        Ok(())
    }
}

/// Whether a link at `path` to `target` can only lead to a place inside the tree.
///
/// `..` is allowed at the front only: after a name that is itself a link, it goes up from wherever
/// that link leads, and counting names does not tell.
fn stays_inside(path: &TreePath, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.chars().any(char::is_control) {
        return false;
    }
    let mut names = target
        .split('/')
        .filter(|name| !matches!(*name, "" | "."))
        .skip_while(|name| *name == "..");
    let upwards = target
        .split('/')
        .filter(|name| !matches!(*name, "" | "."))
        .take_while(|name| *name == "..")
        .count();
    upwards <= path.depth() && names.all(|name| name != "..")
}

/// A tree of plain files.
#[cfg(test)]
pub(crate) fn tree_of(files: &[(&str, &str)]) -> SourceTree {
    let mut tree = SourceTree::new();
    for (path, text) in files {
        let entry = TreeEntry::File {
            bytes: text.as_bytes().into(),
            mode: FileMode::Plain,
        };
        let path = path.parse().expect("a test names paths");
        tree.insert(path, entry)
            .expect("a test names each path once");
    }
    tree
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> TreePath {
        text.parse().unwrap()
    }

    fn file(text: &str) -> TreeEntry {
        TreeEntry::File {
            bytes: text.as_bytes().into(),
            mode: FileMode::Plain,
        }
    }

    fn link(target: &str) -> TreeEntry {
        TreeEntry::Symlink {
            target: target.to_owned(),
        }
    }

    #[track_caller]
    fn check_refused(first: &str, second: &str, want: &str) {
        let mut tree = SourceTree::new();
        tree.insert(path(first), file("x")).unwrap();
        let error = tree.insert(path(second), file("y")).unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn one_path_is_one_thing() {
        check_refused("a", "a", "`a` is there twice");
        check_refused("a", "a/b", "`a/b` lies below `a`, which is not a folder");
        check_refused(
            "a/b/c",
            "a",
            "`a` is a file or link here and a folder elsewhere in the tree",
        );
        let mut tree = SourceTree::new();
        for name in ["a/b", "a-b", "a.c", "ab", "a b"] {
            tree.insert(path(name), file("x")).unwrap();
        }
        assert_eq!(tree.len(), 5);
        assert!(tree.is_folder(&path("a")));
        assert!(!tree.is_folder(&path("ab")));
    }

    #[test]
    fn links_stay_inside() {
        for target in ["b", "./b", "../b", "../../b", "sub/b", "../sub//b"] {
            assert!(stays_inside(&path("x/y/link"), target), "{target}");
        }
        for target in [
            "",
            "/etc/passwd",
            "../../../b",
            "b/../../../..",
            "sub/..",
            "a\nb",
        ] {
            assert!(!stays_inside(&path("x/y/link"), target), "{target:?}");
        }
        let error = SourceTree::new()
            .insert(path("link"), link("../secret"))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "link `link` points to `../secret`, which can lead out of the tree"
        );
    }

    #[test]
    fn every_part_of_a_tree_is_in_its_digest() {
        let digest = |name: &str, entry: TreeEntry| {
            let mut tree = SourceTree::new();
            tree.insert(path(name), entry).unwrap();
            tree.digest()
        };
        let program = TreeEntry::File {
            bytes: (*b"x").into(),
            mode: FileMode::Executable,
        };
        let digests = [
            SourceTree::new().digest(),
            digest("a", file("x")),
            digest("b", file("x")),
            digest("a", file("y")),
            digest("a", link("x")),
            digest("a", program),
        ];
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }

    proptest! {
        #[test]
        fn the_order_of_insertion_does_not_matter(
            files in proptest::collection::btree_map("[a-d]{1,3}", ".{0,8}", 0..6),
        ) {
            let mut there = SourceTree::new();
            let mut back = SourceTree::new();
            for (name, text) in &files {
                there.insert(path(name), file(text)).unwrap();
            }
            for (name, text) in files.iter().rev() {
                back.insert(path(name), file(text)).unwrap();
            }
            prop_assert_eq!(there.digest(), back.digest());
        }
    }
}
