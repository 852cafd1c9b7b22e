//! Reads archives of strangers into source trees, within bounds.
//!
//! Nothing here touches a disk, so a member cannot land anywhere; still every path and link is
//! checked, because the tree is written out again inside a container.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::tree::{FileMode, SourceTree, TreeCaps, TreeEntry, TreeError};
use super::tree_path::TreePath;

/// What stands at the top of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopFolder {
    /// One folder that holds everything and is not part of the tree: sdists, `docker cp`.
    Strip,
    /// The tree itself: `git archive`, `tar -C folder .`.
    Keep,
}

/// Room in a tar stream for what is not file content, for each member: headers, long names,
/// padding.
const FRAMING_BYTES: u64 = 2048;

impl SourceTree {
    /// Reads an sdist: a `.tar.gz` whose members lie in one top folder, which is stripped.
    pub fn from_sdist(reader: impl Read, caps: &TreeCaps) -> Result<Self, TreeError> {
        let (tree, _) = read_members(MultiGzDecoder::new(reader), caps, TopFolder::Strip)?;
        Ok(tree)
    }

    /// Reads an uncompressed tar, such as comes out of a container or of `git archive`.
    pub fn from_tar(reader: impl Read, top: TopFolder, caps: &TreeCaps) -> Result<Self, TreeError> {
        let (tree, end) = read_members(reader, caps, top)?;
        // Without compression there is no checksum that shows where a broken stream stopped.
        match end {
            StreamEnd::Marked => Ok(tree),
            StreamEnd::Unmarked => Err(TreeError::Truncated),
        }
    }
}

/// Whether a tar stream ended with at least one block of zeros.
enum StreamEnd {
    Marked,
    Unmarked,
}

fn read_members(
    reader: impl Read,
    caps: &TreeCaps,
    top: TopFolder,
) -> Result<(SourceTree, StreamEnd), TreeError> {
    let gauge = Rc::new(Gauge::default());
    let framing_bytes = caps.members.saturating_mul(FRAMING_BYTES);
    let mut archive = tar::Archive::new(Gauged {
        inner: reader,
        left_bytes: caps.total_bytes.saturating_add(framing_bytes),
        gauge: Rc::clone(&gauge),
    });
    let mut unpacking = Unpacking {
        tree: SourceTree::new(),
        caps,
        top,
        top_name: None,
        members: 0,
        total_bytes: 0,
    };
    let failed = |source| {
        if gauge.overrun.get() {
            let cap_bytes = caps.total_bytes;
            TreeError::TooLarge { cap_bytes }
        } else {
            TreeError::Unreadable { source }
        }
    };
    for member in archive.entries().map_err(failed)? {
        unpacking.member(&mut member.map_err(failed)?, failed)?;
    }
    // The rest holds the gzip checksum and the end mark.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(failed)?;
    if unpacking.tree.is_empty() {
        return Err(TreeError::Empty);
    }
    let end = if gauge.zero_tail_bytes.get() >= 512 {
        StreamEnd::Marked
    } else {
        StreamEnd::Unmarked
    };
    Ok((unpacking.tree, end))
}

/// A tree while its archive is read.
struct Unpacking<'a> {
    tree: SourceTree,
    caps: &'a TreeCaps,
    top: TopFolder,
    top_name: Option<String>,
    members: u64,
    total_bytes: u64,
}

impl Unpacking<'_> {
    fn member<R: Read>(
        &mut self,
        member: &mut tar::Entry<'_, R>,
        failed: impl Fn(io::Error) -> TreeError,
    ) -> Result<(), TreeError> {
        let kind = member.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        self.members += 1;
        if self.members > self.caps.members {
            let cap = self.caps.members;
            return Err(TreeError::TooManyMembers { cap });
        }
        let name = utf8(&member.path_bytes())?;
        let Some(path) = self.inner_path(&name, kind)? else {
            return Ok(());
        };
        let entry = if kind.is_dir() {
            return Ok(());
        } else if kind.is_file() || kind.is_contiguous() {
            self.file(&path, member, failed)?
        } else if kind.is_symlink() {
            let target = link_target(member)?;
            TreeEntry::Symlink { target }
        } else if kind.is_hard_link() {
            self.hard_link(&path, &link_target(member)?)?
        } else {
            let kind = special(kind);
            return Err(TreeError::SpecialFile { path: name, kind });
        };
        self.tree.insert(path, entry)
    }

    /// The member's path in the tree; `None` for the top folder itself.
    fn inner_path(&mut self, name: &str, kind: EntryType) -> Result<Option<TreePath>, TreeError> {
        let name = trimmed(name, kind);
        if self.top == TopFolder::Keep {
            return match name {
                "" | "." => Ok(None),
                name => Ok(Some(name.parse()?)),
            };
        }
        let outside = || TreeError::NoTopFolder {
            path: name.escape_debug().to_string(),
        };
        // Checked as a whole, so that `../x` is refused as what it is.
        let path: TreePath = match name {
            "" | "." if kind == EntryType::Directory => return Ok(None),
            name => name.parse()?,
        };
        let (top, inner) = match path.as_str().split_once('/') {
            Some((top, inner)) => (top, Some(inner)),
            None if kind == EntryType::Directory => (path.as_str(), None),
            None => return Err(outside()),
        };
        if self.top_name.get_or_insert_with(|| top.to_owned()) != top {
            return Err(outside());
        }
        Ok(inner.map(str::parse).transpose()?)
    }

    fn file<R: Read>(
        &mut self,
        path: &TreePath,
        member: &mut tar::Entry<'_, R>,
        failed: impl Fn(io::Error) -> TreeError,
    ) -> Result<TreeEntry, TreeError> {
        let mode = FileMode::from_bits(member.header().mode().map_err(&failed)?);
        let wanted_bytes = member.size();
        if wanted_bytes > self.caps.member_bytes {
            return Err(TreeError::MemberTooLarge {
                path: path.clone(),
                cap_bytes: self.caps.member_bytes,
            });
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(&failed)?;
        let length_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length_bytes != wanted_bytes {
            return Err(TreeError::Truncated);
        }
        self.count(length_bytes)?;
        let bytes = bytes.into();
        Ok(TreeEntry::File { bytes, mode })
    }

    /// A hard link becomes a second file of the same content.
    fn hard_link(&mut self, path: &TreePath, target: &str) -> Result<TreeEntry, TreeError> {
        let no_target = || TreeError::HardLinkTarget {
            path: path.clone(),
            target: target.to_owned(),
        };
        let inner = self
            .inner_path(target, EntryType::Regular)
            .map_err(|_| no_target())?
            .ok_or_else(no_target)?;
        let entry = self.tree.entry(&inner).cloned().ok_or_else(no_target)?;
        if let TreeEntry::File { bytes, .. } = &entry {
            self.count(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        }
        Ok(entry)
    }

    fn count(&mut self, length_bytes: u64) -> Result<(), TreeError> {
        self.total_bytes = self.total_bytes.saturating_add(length_bytes);
        if self.total_bytes > self.caps.total_bytes {
            let cap_bytes = self.caps.total_bytes;
            return Err(TreeError::TooLarge { cap_bytes });
        }
        Ok(())
    }
}

/// The name without the `./` that `tar .` puts in front and the `/` that ends a folder's.
fn trimmed(name: &str, kind: EntryType) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    if kind.is_dir() {
        name.trim_end_matches('/')
    } else {
        name
    }
}

fn link_target<R: Read>(member: &tar::Entry<'_, R>) -> Result<String, TreeError> {
    utf8(&member.link_name_bytes().unwrap_or_default())
}

fn utf8(bytes: &[u8]) -> Result<String, TreeError> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(TreeError::NotUtf8 {
            path: String::from_utf8_lossy(bytes).escape_debug().to_string(),
        }),
    }
}

fn special(kind: EntryType) -> &'static str {
    if kind.is_character_special() || kind.is_block_special() {
        "device"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_gnu_sparse() {
        "sparse file"
    } else {
        "member of an unknown kind"
    }
}

/// What a [`Gauged`] reader has seen.
#[derive(Debug, Default)]
struct Gauge {
    overrun: Cell<bool>,
    zero_tail_bytes: Cell<usize>,
}

/// Bounds and watches an unpacked stream, which also bounds the long names that the tar reader
/// gathers in memory before it hands out a member.
struct Gauged<R> {
    inner: R,
    left_bytes: u64,
    gauge: Rc<Gauge>,
}

impl<R: Read> Read for Gauged<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        let read_bytes = u64::try_from(read).unwrap_or(u64::MAX);
        let Some(left_bytes) = self.left_bytes.checked_sub(read_bytes) else {
            self.gauge.overrun.set(true);
            return Err(io::Error::other("the stream is longer than its cap"));
        };
        self.left_bytes = left_bytes;
        let zeros = buf[..read].iter().rev().take_while(|b| **b == 0).count();
        let tail_bytes = &self.gauge.zero_tail_bytes;
        let before = if zeros == read { tail_bytes.get() } else { 0 };
        tail_bytes.set(before.saturating_add(zeros));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// One member: path, kind, content or link target.
    type Member<'a> = (&'a str, EntryType, &'a str);

    const CAPS: TreeCaps = TreeCaps {
        member_bytes: 100,
        total_bytes: 150,
        members: 5,
    };

    /// A tar with exactly these names, which the tar crate's own writer would refuse in part.
    fn tar_of(members: &[Member<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, text) in members {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let is_link = kind.is_symlink() || kind.is_hard_link();
            let content = if is_link { "" } else { text };
            if is_link {
                header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_size(content.len().try_into().unwrap());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(members: &[Member<'_>]) -> Result<SourceTree, TreeError> {
        SourceTree::from_sdist(&gzip(&tar_of(members))[..], &CAPS)
    }

    #[track_caller]
    fn check_refused(members: &[Member<'_>], want: &str) {
        assert_eq!(unpack(members).unwrap_err().to_string(), want);
    }

    #[test]
    fn the_top_folder_is_stripped() {
        let tree = unpack(&[
            ("p-1.0/", EntryType::Directory, ""),
            ("p-1.0/setup.py", EntryType::Regular, "x = 1\n"),
            ("p-1.0/src/a.cu", EntryType::Regular, "//\n"),
            ("p-1.0/src/b.cu", EntryType::Link, "p-1.0/src/a.cu"),
            ("p-1.0/src/c.cu", EntryType::Symlink, "../setup.py"),
        ])
        .unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["setup.py", "src/a.cu", "src/b.cu", "src/c.cu"]);
        assert_eq!(tree.file(&"src/b.cu".parse().unwrap()), Some(&b"//\n"[..]));
    }

    #[test]
    fn members_that_lead_out_or_clash_are_refused() {
        let file = EntryType::Regular;
        check_refused(
            &[("../x", file, "")],
            "`../x` is not a path inside a source tree: relative, `/` between the names, no `..`, \
             no control characters",
        );
        check_refused(
            &[("/etc/passwd", file, "")],
            "`/etc/passwd` is not a path inside a source tree: relative, `/` between the names, no \
             `..`, no control characters",
        );
        check_refused(
            &[("p/a", file, ""), ("p/a", file, "")],
            "`a` is there twice",
        );
        check_refused(
            &[("p/a", EntryType::Symlink, "/tmp"), ("p/a/b", file, "")],
            "link `a` points to `/tmp`, which can lead out of the tree",
        );
        check_refused(
            &[("p/a", EntryType::Symlink, "b"), ("p/a/b", file, "")],
            "`a/b` lies below `a`, which is not a folder",
        );
        check_refused(
            &[("p/a", EntryType::Link, "/etc/passwd")],
            "hard link `a` points to `/etc/passwd`, which is no earlier file of the archive",
        );
        check_refused(
            &[("p/a", EntryType::Fifo, "")],
            "`p/a` is a named pipe, not a file, folder or link",
        );
    }

    #[test]
    fn archives_without_one_top_folder_are_refused() {
        let file = EntryType::Regular;
        let want = "`setup.py` is not inside the archive's single top folder";
        check_refused(&[("setup.py", file, "")], want);
        let want = "`q/b` is not inside the archive's single top folder";
        check_refused(&[("p/a", file, ""), ("q/b", file, "")], want);
        check_refused(&[("p/", EntryType::Directory, "")], "it holds no file");
    }

    #[test]
    fn caps_hold() {
        let file = EntryType::Regular;
        let long = "x".repeat(101);
        check_refused(&[("p/a", file, &long)], "`a` is longer than 100 bytes");
        let half = "x".repeat(80);
        check_refused(
            &[("p/a", file, &half), ("p/b", file, &half)],
            "the source is larger than 150 bytes unpacked",
        );
        check_refused(
            &[("p/a", file, &half), ("p/b", EntryType::Link, "p/a")],
            "the source is larger than 150 bytes unpacked",
        );
        let many = ["p/1", "p/2", "p/3", "p/4", "p/5", "p/6"].map(|path| (path, file, ""));
        check_refused(&many, "the source has more than 5 members");
    }

    #[test]
    fn a_bomb_behind_the_last_member_or_in_a_name_is_not_unpacked() {
        let mut bytes = tar_of(&[("p/a", EntryType::Regular, "x")]);
        bytes.extend(vec![0; 1 << 20]);
        let error = SourceTree::from_sdist(&gzip(&bytes)[..], &CAPS).unwrap_err();
        assert!(matches!(error, TreeError::TooLarge { .. }), "{error:?}");
        let name = "n".repeat(1 << 20);
        let error = unpack(&[("././@LongLink", EntryType::GNULongName, &name)]).unwrap_err();
        assert!(matches!(error, TreeError::TooLarge { .. }), "{error:?}");
    }

    #[test]
    fn broken_archives_are_refused_at_every_length() {
        let bytes = tar_of(&[
            ("a", EntryType::Regular, "one\n"),
            ("b", EntryType::Regular, "two\n"),
        ]);
        // The end mark is two blocks, of which one is enough.
        for length in 0..bytes.len() - 512 {
            let res = SourceTree::from_tar(&bytes[..length], TopFolder::Keep, &CAPS);
            assert!(res.is_err(), "{length}");
        }
        assert!(SourceTree::from_tar(&bytes[..], TopFolder::Keep, &CAPS).is_ok());
        let sdist = gzip(&tar_of(&[("p/a", EntryType::Regular, "one\n")]));
        for length in 0..sdist.len() {
            assert!(SourceTree::from_sdist(&sdist[..length], &CAPS).is_err());
        }
    }

    #[test]
    fn a_tar_of_a_folder_itself_is_kept_whole() {
        let bytes = tar_of(&[
            ("./", EntryType::Directory, ""),
            ("./a", EntryType::Regular, "1"),
            ("./b/c", EntryType::Regular, "2"),
        ]);
        let tree = SourceTree::from_tar(&bytes[..], TopFolder::Keep, &CAPS).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a", "b/c"]);
    }
}
