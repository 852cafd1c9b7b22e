//! Opens a wheel as a zip archive and refuses whatever an honest wheel does not have.
//!
//! Two readers can see two different archives in one hostile zip (names twice, overlapping
//! members, local headers that say other than the central directory). Such archives are refused
//! rather than repaired: <https://blog.pypi.org/posts/2025-08-07-wheel-archive-confusion-attacks/>.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, Write};

use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, DateTime, ZipArchive};

use crate::digest::{HashingWriter, Sha256Digest};
use crate::fatbin::FatbinCaps;
use crate::wheel::elf::ELF_MAGIC;
use crate::wheel::member::{Ends, MemberBytes, Method, Packed, SharedReader};

/// Several times the directory of a wheel with as many members as are allowed.
const DIRECTORY_CAP_BYTES: u64 = 32 << 20;

/// Limits on what a wheel may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WheelCaps {
    /// How many files it may hold.
    pub members: usize,
    /// The largest file. Memory in use is at most the largest ELF file.
    pub member_bytes: u64,
    /// All files together.
    pub total_bytes: u64,
    /// The GPU code of all files together.
    pub device_code: FatbinCaps,
    /// The names that the modules load, need and provide, all together.
    pub symbol_bytes: usize,
}

impl Default for WheelCaps {
    fn default() -> Self {
        Self {
            members: 50_000,
            member_bytes: 4 << 30,
            total_bytes: 16 << 30,
            device_code: FatbinCaps::default(),
            symbol_bytes: 2 << 30,
        }
    }
}

/// Why an archive is not taken for a wheel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The zip structure is broken, or contradicts itself.
    #[error("the archive is not a sound zip file")]
    Unsound {
        /// What the zip reader says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name stands twice, also as a file and a folder at once.
    #[error("member `{member}` stands twice in the archive")]
    Repeated {
        /// The name.
        member: String,
    },
    /// A name would land outside the folder that a wheel is unpacked into, or cannot be a path.
    #[error("member `{member}` has a name that no wheel has")]
    Name {
        /// The name, escaped.
        member: String,
    },
    /// A member is a link, a device or a pipe.
    #[error("member `{member}` is neither a file nor a folder")]
    NotAFile {
        /// The name.
        member: String,
    },
    /// A member is encrypted.
    #[error("member `{member}` is encrypted")]
    Encrypted {
        /// The name.
        member: String,
    },
    /// There are more files than the caps allow.
    #[error("the archive holds {members} members; at most {cap} are allowed")]
    TooManyMembers {
        /// How many there are.
        members: usize,
        /// How many may be.
        cap: usize,
    },
    /// A file is larger than the caps allow.
    #[error("member `{member}` unpacks to {size_bytes} bytes; at most {cap_bytes} are allowed")]
    TooLarge {
        /// The name.
        member: String,
        /// What the archive says of its size.
        size_bytes: u64,
        /// What is allowed.
        cap_bytes: u64,
    },
    /// All files together are larger than the caps allow.
    #[error("the archive unpacks to {size_bytes} bytes; at most {cap_bytes} are allowed")]
    TooLargeInAll {
        /// What the archive says of all sizes together.
        size_bytes: u64,
        /// What is allowed.
        cap_bytes: u64,
    },
    /// A file that every wheel has is missing.
    #[error("there is no `{member}`")]
    Missing {
        /// The name.
        member: String,
    },
    /// There is not exactly one `.dist-info` folder.
    #[error("there are {count} `.dist-info` folders instead of one")]
    DistInfo {
        /// How many there are.
        count: usize,
    },
    /// A member's bytes cannot be read.
    #[error("failed to unpack member `{member}`")]
    Unpack {
        /// The name.
        member: String,
        /// What the zip reader says.
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    /// The member that it is about; `None` for the archive as a whole.
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Repeated { member }
            | Self::Name { member }
            | Self::NotAFile { member }
            | Self::Encrypted { member }
            | Self::TooLarge { member, .. }
            | Self::Unpack { member, .. } => Some(member),
            Self::Unsound { .. }
            | Self::TooManyMembers { .. }
            | Self::TooLargeInAll { .. }
            | Self::Missing { .. }
            | Self::DistInfo { .. } => None,
        }
    }
}

/// The two modes that a file in a wheel can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `0644`.
    Plain,
    /// `0755`.
    Executable,
}

/// One file of the archive.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    index: usize,
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) mode: Mode,
}

/// An archive whose names, kinds and sizes have been checked.
#[derive(Debug)]
pub(crate) struct WheelArchive<R> {
    zip: ZipArchive<SharedReader<R>>,
    reader: SharedReader<R>,
    members: Vec<Member>,
}

/// Whether every member's own header is compared with the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalHeaders {
    /// All of them, when the archive is opened.
    Checked,
    /// Only those of members that are read: for a remote wheel, where each costs a request.
    AsRead,
}

impl<R: Read + Seek> WheelArchive<R> {
    /// Opens the archive; nothing is unpacked yet.
    pub(crate) fn open(
        reader: R,
        caps: &WheelCaps,
        headers: LocalHeaders,
    ) -> Result<Self, ArchiveError> {
        let reader = SharedReader::new(reader).map_err(|error| unsound(error.into()))?;
        // Its directory is held in memory, whatever the number of members that it has.
        reader.allow(DIRECTORY_CAP_BYTES);
        let mut zip = ZipArchive::new(reader.clone()).map_err(unsound)?;
        reader.allow(u64::MAX);
        if zip.len() > caps.members {
            return Err(ArchiveError::TooManyMembers {
                members: zip.len(),
                cap: caps.members,
            });
        }
        if headers == LocalHeaders::Checked {
            zip.validate_header_consistency().map_err(unsound)?;
        }
        let members = list_members(&zip)?;
        check_sizes(&members, caps)?;
        check_paths(&members)?;
        Ok(Self {
            zip,
            reader,
            members,
        })
    }

    /// All files, sorted by path.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The name of the one `.dist-info` folder.
    pub(crate) fn dist_info(&self) -> Result<String, ArchiveError> {
        let folders: BTreeSet<&str> = self
            .members
            .iter()
            .filter_map(|member| member.path.split_once('/'))
            .map(|(folder, _)| folder)
            .filter(|folder| folder.ends_with(".dist-info"))
            .collect();
        match folders.len() {
            1 => Ok(folders.into_iter().collect()),
            count => Err(ArchiveError::DistInfo { count }),
        }
    }

    /// The time that the archive has for the file at `path`; the format's first moment where it has
    /// none.
    pub(super) fn time_of(&self, path: &str) -> Result<DateTime, ArchiveError> {
        let found = self.members.iter().find(|member| member.path == path);
        let member = found.ok_or_else(|| ArchiveError::Missing {
            member: path.to_owned(),
        })?;
        let entry = self.zip.by_index_data(member.index).map_err(unsound)?;
        Ok(entry.last_modified().unwrap_or_default())
    }

    /// A small file as a whole.
    pub(crate) fn read_small(
        &mut self,
        path: &str,
        cap_bytes: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        let found = self.members.iter().find(|member| member.path == path);
        let member = found.cloned().ok_or_else(|| ArchiveError::Missing {
            member: path.to_owned(),
        })?;
        if member.size_bytes > cap_bytes {
            return Err(member.too_large(cap_bytes));
        }
        self.with_content(&member, |content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }

    /// Unpacks one file into `read`. The zip reader stops at the size that was checked, and
    /// compares the checksum at the end.
    pub(crate) fn with_content<T>(
        &mut self,
        member: &Member,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, ArchiveError> {
        let unpack = |source| ArchiveError::Unpack {
            member: member.path.clone(),
            source,
        };
        let mut content: ZipFile<'_, SharedReader<R>> = self
            .zip
            .by_index(member.index)
            .map_err(|error| unpack(error.into()))?;
        read(&mut content).map_err(unpack)
    }

    /// Passes over one file once: its digest, its checked checksum, and a way to its bytes.
    pub(crate) fn pass(&mut self, member: &Member) -> Result<Passed<R>, ArchiveError> {
        let unpack = |source: io::Error| ArchiveError::Unpack {
            member: member.path.clone(),
            source,
        };
        let mut content = self
            .zip
            .by_index(member.index)
            .map_err(|error| unpack(error.into()))?;
        let compression = content.compression();
        let method = if compression == CompressionMethod::Stored {
            Method::Stored
        } else if compression == CompressionMethod::Deflated {
            Method::Deflated
        } else {
            let text = format!("it is packed as {compression}, and only deflate is known");
            return Err(unpack(io::Error::other(text)));
        };
        let packed = Packed {
            start: content.data_start().unwrap_or(0),
            length_bytes: content.compressed_size(),
            method,
        };
        let mut ends = Ends::default();
        let mut hasher = HashingWriter::new(io::sink());
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = content.read(&mut buffer).map_err(unpack)?;
            if count == 0 {
                break;
            }
            ends.pass(&buffer[..count]);
            hasher.write_all(&buffer[..count]).map_err(unpack)?;
        }
        let (_, sha256, size_bytes) = hasher.finish();
        Ok(Passed {
            sha256,
            size_bytes,
            is_elf: ends.head().starts_with(&ELF_MAGIC),
            bytes: MemberBytes::new(self.reader.clone(), packed, ends),
        })
    }
}

/// A file of the archive that has passed once.
#[derive(Debug)]
pub(crate) struct Passed<R: Read + Seek> {
    pub(crate) sha256: Sha256Digest,
    pub(crate) size_bytes: u64,
    pub(crate) is_elf: bool,
    pub(crate) bytes: MemberBytes<R>,
}

impl Member {
    fn too_large(&self, cap_bytes: u64) -> ArchiveError {
        ArchiveError::TooLarge {
            member: self.path.clone(),
            size_bytes: self.size_bytes,
            cap_bytes,
        }
    }
}

fn unsound(error: ZipError) -> ArchiveError {
    ArchiveError::Unsound {
        source: Box::new(error),
    }
}

/// Every file; folders are checked and left out, since files name their folders.
fn list_members<R: Read + Seek>(zip: &ZipArchive<R>) -> Result<Vec<Member>, ArchiveError> {
    let mut members = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_data(index).map_err(unsound)?;
        let Some(path) = checked_path(entry.name_raw()) else {
            return Err(ArchiveError::Name {
                member: entry.name_raw().escape_ascii().to_string(),
            });
        };
        if entry.encrypted() {
            return Err(ArchiveError::Encrypted { member: path });
        }
        let mode = entry.unix_mode().unwrap_or(0);
        if !matches!(mode & FILE_KIND, 0 | REGULAR | FOLDER) || entry.is_symlink() {
            return Err(ArchiveError::NotAFile { member: path });
        }
        if entry.is_dir() {
            continue;
        }
        members.push(Member {
            index,
            path,
            size_bytes: entry.size(),
            mode: if mode & EXECUTE_BITS == 0 {
                Mode::Plain
            } else {
                Mode::Executable
            },
        });
    }
    members.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(members)
}

/// The bits of a Unix mode that tell what kind of file it is.
const FILE_KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const EXECUTE_BITS: u32 = 0o111;

/// Linux takes no longer path.
const PATH_CAP_BYTES: usize = 4096;

/// No wheel has deeper folders. Each of them is looked up.
const DEPTH_CAP: usize = 64;

/// A relative path with `/` between plain parts; a folder's name loses its last `/`.
fn checked_path(raw: &[u8]) -> Option<String> {
    let text = str::from_utf8(raw).ok()?;
    let path = text.strip_suffix('/').unwrap_or(text);
    let is_odd = |c: char| c.is_control() || c == '\\';
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let has_drive = path.as_bytes().get(1) == Some(&b':');
    let is_fine = path.len() <= PATH_CAP_BYTES
        && !path.contains(is_odd)
        && !has_drive
        && path.matches('/').count() < DEPTH_CAP
        && path.split('/').all(is_plain);
    is_fine.then(|| path.to_owned())
}

fn check_sizes(members: &[Member], caps: &WheelCaps) -> Result<(), ArchiveError> {
    let mut total_bytes: u64 = 0;
    for member in members {
        if member.size_bytes > caps.member_bytes {
            return Err(member.too_large(caps.member_bytes));
        }
        total_bytes = total_bytes.saturating_add(member.size_bytes);
    }
    if total_bytes > caps.total_bytes {
        return Err(ArchiveError::TooLargeInAll {
            size_bytes: total_bytes,
            cap_bytes: caps.total_bytes,
        });
    }
    Ok(())
}

/// No path twice, and none that is a file here and a folder there.
fn check_paths(members: &[Member]) -> Result<(), ArchiveError> {
    let mut paths = BTreeSet::new();
    for member in members {
        let is_new = paths.insert(member.path.as_str());
        let has_file_for_a_folder = member
            .path
            .match_indices('/')
            .any(|(end, _)| paths.contains(&member.path[..end]));
        if !is_new || has_file_for_a_folder {
            return Err(ArchiveError::Repeated {
                member: member.path.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn open(bytes: Vec<u8>) -> Result<WheelArchive<Cursor<Vec<u8>>>, ArchiveError> {
        WheelArchive::open(
            Cursor::new(bytes),
            &WheelCaps::default(),
            LocalHeaders::Checked,
        )
    }

    #[test]
    fn members_are_listed_in_order_without_folders() {
        let mut archive = open(archive(&["b/c.py", "a.py", "b/"])).unwrap();
        let paths: Vec<&str> = archive.members().iter().map(|m| m.path.as_str()).collect();
        assert_eq!(paths, ["a.py", "b/c.py"]);
        assert_eq!(archive.read_small("b/c.py", 10).unwrap(), b"b/c.py");
        let res = archive.read_small("b/c.py", 5);
        assert!(matches!(res, Err(ArchiveError::TooLarge { .. })), "{res:?}");
        let res = archive.read_small("c.py", 5);
        assert!(matches!(res, Err(ArchiveError::Missing { .. })), "{res:?}");
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in [
            "../a", "a/../b", "/a", "a//b", "./a", "a\\b", "c:/a", "a\nb", "..", "a/..", "a\0b",
        ] {
            let res = open(archive(&[name]));
            assert!(
                matches!(res, Err(ArchiveError::Name { .. })),
                "{name:?}: {res:?}"
            );
        }
    }

    #[test]
    fn a_file_is_not_also_a_folder() {
        for names in [["a", "a/b"], ["a/b", "a/b/c"]] {
            let res = open(archive(&names));
            assert!(matches!(res, Err(ArchiveError::Repeated { .. })), "{res:?}");
        }
    }

    #[test]
    fn folders_deeper_than_in_any_wheel_are_refused() {
        let deep = |folders: usize| archive(&[&format!("{}a.py", "a/".repeat(folders))]);
        assert!(open(deep(63)).is_ok());
        let res = open(deep(64));
        assert!(matches!(res, Err(ArchiveError::Name { .. })), "{res:?}");
    }

    #[test]
    fn links_are_refused() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("a.so", "/etc/passwd", SimpleFileOptions::default())
            .unwrap();
        let res = open(zip.finish().unwrap().into_inner());
        assert!(matches!(res, Err(ArchiveError::NotAFile { .. })), "{res:?}");
    }

    #[test]
    fn a_name_in_two_spellings_is_refused() {
        // Written under two names of one length, then made equal in the bytes.
        let bytes = archive(&["a.py", "b.py"]);
        let mut twice = bytes.clone();
        for at in 0..bytes.len() - 4 {
            if &bytes[at..at + 4] == b"b.py" {
                twice[at] = b'a';
            }
        }
        let res = open(twice);
        assert!(matches!(res, Err(ArchiveError::Unsound { .. })), "{res:?}");
    }

    #[test]
    fn local_headers_must_agree_with_the_directory() {
        let mut bytes = archive(&["a.py"]);
        bytes[30] = b'b';
        let res = open(bytes);
        assert!(matches!(res, Err(ArchiveError::Unsound { .. })), "{res:?}");
    }

    #[test]
    fn encrypted_members_are_refused() {
        let mut bytes = archive(&["a.py"]);
        // General purpose flags: offset 6 of the local header, 8 of the central one.
        bytes[6] |= 1;
        let central = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bytes[central + 8] |= 1;
        let res = open(bytes);
        assert!(
            matches!(res, Err(ArchiveError::Encrypted { .. })),
            "{res:?}"
        );
    }

    #[track_caller]
    fn check_caps(caps: WheelCaps, want: &str) {
        let bytes = archive(&["a.py", "bb.py"]);
        let error =
            WheelArchive::open(Cursor::new(bytes), &caps, LocalHeaders::Checked).unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn sizes_above_the_caps_are_refused() {
        let caps = WheelCaps::default();
        check_caps(
            WheelCaps { members: 1, ..caps },
            "the archive holds 2 members; at most 1 are allowed",
        );
        check_caps(
            WheelCaps {
                member_bytes: 4,
                ..caps
            },
            "member `bb.py` unpacks to 5 bytes; at most 4 are allowed",
        );
        check_caps(
            WheelCaps {
                total_bytes: 8,
                ..caps
            },
            "the archive unpacks to 9 bytes; at most 8 are allowed",
        );
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let bytes = archive(&["a.py", "b/c.py"]);
        for at in 0..bytes.len() {
            for value in [0, 0xff, bytes[at].wrapping_add(1)] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(mut archive) = open(damaged) {
                    drop(archive.read_small("a.py", 100));
                }
            }
        }
        for length in 0..bytes.len() {
            assert!(open(bytes[..length].to_vec()).is_err());
        }
    }
}
