//! Writes source trees as tar archives: the same tree gives the same bytes, on any machine.

use std::collections::BTreeSet;
use std::io::{self, Write};

use tar::{EntryType, Header};

use super::tree::{SourceTree, TreeEntry};
use super::tree_path::TreePath;

/// What a tar says of its members besides what the tree says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TarLayout {
    /// The folder that everything is put into; none puts the tree at the top.
    pub prefix: Option<TreePath>,
    /// When every member was last changed, in seconds since 1970.
    pub mtime_s: u64,
    /// The user that owns every member.
    pub uid: u64,
    /// The group that owns every member.
    pub gid: u64,
}

impl SourceTree {
    /// Writes the tree as an uncompressed tar and gives the writer back.
    ///
    /// Folders have members of their own, so that they belong to the owner of the files: a build
    /// that does not run as root writes beside its sources.
    pub fn write_tar<W: Write>(&self, layout: &TarLayout, writer: W) -> io::Result<W> {
        let mut builder = tar::Builder::new(writer);
        let mut folders = BTreeSet::new();
        if let Some(prefix) = &layout.prefix {
            write_folders(&mut builder, layout, prefix, &mut folders)?;
            write_folder(&mut builder, layout, prefix.as_str(), &mut folders)?;
        }
        for (path, entry) in self.iter() {
            let path = match &layout.prefix {
                Some(prefix) => path.below(prefix),
                None => path.clone(),
            };
            write_folders(&mut builder, layout, &path, &mut folders)?;
            write_entry(&mut builder, layout, &path, entry)?;
        }
        builder.into_inner()
    }
}

fn write_folders<W: Write>(
    builder: &mut tar::Builder<W>,
    layout: &TarLayout,
    path: &TreePath,
    written: &mut BTreeSet<String>,
) -> io::Result<()> {
    for folder in path.folders() {
        write_folder(builder, layout, folder, written)?;
    }
    Ok(())
}

fn write_folder<W: Write>(
    builder: &mut tar::Builder<W>,
    layout: &TarLayout,
    folder: &str,
    written: &mut BTreeSet<String>,
) -> io::Result<()> {
    if !written.insert(folder.to_owned()) {
        return Ok(());
    }
    let mut header = header(layout, EntryType::Directory, 0o755, 0);
    builder.append_data(&mut header, format!("{folder}/"), io::empty())
}

fn write_entry<W: Write>(
    builder: &mut tar::Builder<W>,
    layout: &TarLayout,
    path: &TreePath,
    entry: &TreeEntry,
) -> io::Result<()> {
    match entry {
        TreeEntry::File { bytes, mode } => {
            let mut header = header(layout, EntryType::Regular, mode.bits(), bytes.len());
            builder.append_data(&mut header, path.as_str(), &**bytes)
        }
        TreeEntry::Symlink { target } => {
            let mut header = header(layout, EntryType::Symlink, 0o777, 0);
            builder.append_link(&mut header, path.as_str(), target)
        }
    }
}

fn header(layout: &TarLayout, kind: EntryType, mode: u32, length: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(layout.mtime_s);
    header.set_uid(layout.uid);
    header.set_gid(layout.gid);
    header.set_size(u64::try_from(length).unwrap_or(u64::MAX));
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tree::{FileMode, TreeCaps};
    use super::super::unpack::TopFolder;
    use super::*;
    use crate::digest::Sha256Digest;

    fn tree_of(files: impl IntoIterator<Item = (String, Vec<u8>, FileMode)>) -> SourceTree {
        let mut tree = SourceTree::new();
        for (path, bytes, mode) in files {
            let bytes = bytes.into();
            let entry = TreeEntry::File { bytes, mode };
            tree.insert(path.parse().unwrap(), entry).unwrap();
        }
        tree
    }

    fn sample() -> SourceTree {
        let long = format!("{}/{}.cu", "d".repeat(90), "f".repeat(90));
        let mut tree = tree_of([
            ("setup.py".to_owned(), b"x = 1\n".to_vec(), FileMode::Plain),
            (
                "run.sh".to_owned(),
                b"true\n".to_vec(),
                FileMode::Executable,
            ),
            ("csrc/a/b.cu".to_owned(), Vec::new(), FileMode::Plain),
            (long, b"//".to_vec(), FileMode::Plain),
        ]);
        let target = format!("csrc/{}", "t".repeat(150));
        let link = TreeEntry::Symlink { target };
        tree.insert("link".parse().unwrap(), link).unwrap();
        tree
    }

    #[test]
    fn what_is_written_is_read_back() {
        let layout = TarLayout {
            prefix: Some("src/pkg".parse().unwrap()),
            mtime_s: 1_600_000_000,
            uid: 1000,
            gid: 1000,
        };
        let bytes = sample().write_tar(&layout, Vec::new()).unwrap();
        let mut names = Vec::new();
        for member in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let member = member.unwrap();
            assert_eq!(member.header().uid().unwrap(), 1000);
            assert_eq!(member.header().mtime().unwrap(), 1_600_000_000);
            names.push(member.path().unwrap().display().to_string());
        }
        assert_eq!(
            names[..4],
            ["src/", "src/pkg/", "src/pkg/csrc/", "src/pkg/csrc/a/"]
        );
        let caps = TreeCaps::default();
        let back = SourceTree::from_tar(&bytes[..], TopFolder::Keep, &caps).unwrap();
        assert_eq!(back.len(), sample().len());
        let plain = sample()
            .write_tar(&TarLayout::default(), Vec::new())
            .unwrap();
        let back = SourceTree::from_tar(&plain[..], TopFolder::Keep, &caps).unwrap();
        assert_eq!(back, sample());
    }

    #[test]
    fn the_bytes_do_not_change_between_versions() {
        let bytes = sample()
            .write_tar(&TarLayout::default(), Vec::new())
            .unwrap();
        insta::assert_snapshot!(
            format!("{} {}", Sha256Digest::of(&bytes), sample().digest()),
            @"1c57152e4ef0c3673d5fa5c473504beb9e5108a8a1c4f81d7708884ea2d79e9e 9c3bd7c4a3cb4273bd9c47b778bf167d878a0c23399888a2adbd10735ef920e5"
        );
    }

    proptest! {
        #[test]
        fn trees_survive_the_trip(
            files in proptest::collection::btree_map(
                "[a-c]{1,2}(/[a-c]é{0,2}){0,2}\\.cu",
                (proptest::collection::vec(any::<u8>(), 0..700), any::<bool>()),
                1..8,
            ),
        ) {
            let tree = tree_of(files.into_iter().map(|(path, (bytes, executable))| {
                let bits = if executable { 0o755 } else { 0o644 };
                (path, bytes, FileMode::from_bits(bits))
            }));
            let bytes = tree.write_tar(&TarLayout::default(), Vec::new()).unwrap();
            let caps = TreeCaps::default();
            let back = SourceTree::from_tar(&bytes[..], TopFolder::Keep, &caps).unwrap();
            prop_assert_eq!(back.digest(), tree.digest());
            prop_assert_eq!(back, tree);
        }
    }
}
