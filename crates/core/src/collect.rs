//! Takes the wheel out of the archive in which the engine hands over a build's output folder.
//!
//! The archive is hostile: a stranger's build filled the folder. One wheel is taken from its top,
//! by the output rule; what could land elsewhere, or is no plain file, fails the job. Nothing is
//! written but through the sink that the caller gives.

use std::io::{self, Read, Write};

use tar::{Archive, Entry, PaxExtensions};

use crate::digest::{HashingWriter, Sha256Digest};
use crate::output_rule::OutputRule;
use crate::wheel::name::{WheelName, WheelNameError};

/// Limits on what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectCaps {
    /// How many files and folders the output folder may hold.
    pub members: u64,
    /// The largest wheel.
    pub wheel_bytes: u64,
    /// The whole archive, files that the rule leaves aside included.
    pub total_bytes: u64,
}

impl Default for CollectCaps {
    fn default() -> Self {
        Self {
            members: 10_000,
            wheel_bytes: 4 << 30,
            total_bytes: 8 << 30,
        }
    }
}

/// A wheel that has been written through the sink, and is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedWheel {
    /// Its file name.
    pub name: WheelName,
    /// The digest of what was written.
    pub sha256: Sha256Digest,
    /// How much was written.
    pub size_bytes: u64,
}

/// Opens the place where the wheel with this file name is to be written.
pub type Sink<'a> = dyn FnMut(&WheelName) -> io::Result<Box<dyn Write>> + 'a;

/// Why the wheel of a finished build could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// No file has a name that the rule matches.
    #[error("output rule `{rule}` matched none of: {}", list(.found))]
    NothingMatched {
        /// The rule.
        rule: String,
        /// What is there instead.
        found: Vec<String>,
    },
    /// The rule matches more than one file; a job builds one wheel.
    #[error("output rule `{rule}` matched more than one file: {}", list(.found))]
    ManyMatched {
        /// The rule.
        rule: String,
        /// All that it matches.
        found: Vec<String>,
    },
    /// The file that the rule matches is not named like a wheel.
    #[error("output rule `{rule}` matched a file that is not named like a wheel")]
    NotAWheel {
        /// The rule.
        rule: String,
        /// What is wrong with the name.
        #[source]
        source: WheelNameError,
    },
    /// A member's path is absolute or has `..` in it.
    #[error("archive member `{member}` would land outside the staging folder")]
    EscapesStaging {
        /// The path, escaped.
        member: String,
    },
    /// A member's path is not plain text.
    #[error("archive member `{member}` has a name with odd characters")]
    OddName {
        /// The path, escaped.
        member: String,
    },
    /// A member is a link, a device or a pipe.
    #[error("archive member `{member}` is neither a file nor a folder")]
    NotAFile {
        /// The path.
        member: String,
    },
    /// A file that the rule matches lies in a folder below the output folder.
    #[error(
        "wheel `{member}` lies in a folder; wheels are taken from the top of the output folder"
    )]
    Nested {
        /// The path.
        member: String,
    },
    /// There are more files than the caps allow.
    #[error("the archive holds more than {cap} members")]
    TooManyMembers {
        /// How many may be.
        cap: u64,
    },
    /// The wheel is larger than the caps allow.
    #[error("wheel `{member}` has {size_bytes} bytes; at most {cap_bytes} are allowed")]
    TooLarge {
        /// The path.
        member: String,
        /// What the archive says of its size.
        size_bytes: u64,
        /// What is allowed.
        cap_bytes: u64,
    },
    /// The archive is larger than the caps allow.
    #[error("the archive has more than {cap_bytes} bytes")]
    TooLargeInAll {
        /// What is allowed.
        cap_bytes: u64,
    },
    /// The archive cannot be read.
    #[error("failed to read the archive of the output folder")]
    Read {
        /// What the tar reader says.
        #[source]
        source: io::Error,
    },
    /// The wheel cannot be copied out.
    #[error("failed to unpack `{member}`")]
    Unpack {
        /// Its path.
        member: String,
        /// What the archive or the sink says.
        #[source]
        source: io::Error,
    },
}

/// Writes the one wheel of `archive` that `rule` matches through `sink`.
///
/// The archive is read once and streamed. On an error the caller throws away what the sink has
/// got: the reason may stand behind the wheel in the archive.
pub fn collect(
    archive: impl Read,
    rule: &OutputRule,
    caps: &CollectCaps,
    sink: &mut Sink<'_>,
) -> Result<StagedWheel, CollectError> {
    let mut capped = CappedReader {
        inner: archive,
        left_bytes: caps.total_bytes,
    };
    let mut collector = Collector {
        rule,
        caps,
        sink,
        staged: None,
        matched: Vec::new(),
        others: Vec::new(),
    };
    let outcome = collector.read(&mut capped);
    // The tar reader may wrap or replace the error that the cap caused, so the cap is asked.
    if outcome.is_err() && capped.left_bytes == 0 {
        return Err(CollectError::TooLargeInAll {
            cap_bytes: caps.total_bytes,
        });
    }
    outcome?;
    collector.finish()
}

/// What has been seen of an archive so far.
struct Collector<'a, 'sink> {
    rule: &'a OutputRule,
    caps: &'a CollectCaps,
    sink: &'a mut Sink<'sink>,
    staged: Option<StagedWheel>,
    matched: Vec<String>,
    /// For the error when nothing matches.
    others: Vec<String>,
}

/// An error need not name more files than a person reads.
const OTHERS_CAP: usize = 20;

impl Collector<'_, '_> {
    fn read(&mut self, archive: &mut impl Read) -> Result<(), CollectError> {
        let mut archive = Archive::new(archive);
        // Raw, because the reader would keep a long name of any length in memory.
        let entries = archive.entries().map_err(unreadable)?.raw(true);
        let mut long_path = None;
        for (count, entry) in (1..).zip(entries) {
            if count > self.caps.members {
                return Err(CollectError::TooManyMembers {
                    cap: self.caps.members,
                });
            }
            let mut entry = entry.map_err(unreadable)?;
            match Extension::read(&mut entry, self.caps)? {
                Extension::None => {
                    let path = long_path.take();
                    let path = path.unwrap_or_else(|| entry.path_bytes().into_owned());
                    self.take(checked_path(&path)?, &mut entry)?;
                }
                Extension::LongPath(path) => long_path = Some(path),
                Extension::Other => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, path: String, entry: &mut Entry<'_, impl Read>) -> Result<(), CollectError> {
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            return Ok(());
        }
        if !kind.is_file() && !kind.is_contiguous() {
            return Err(CollectError::NotAFile { member: path });
        }
        let file_name = path.rsplit('/').next().unwrap_or(&path);
        if !self.rule.is_match(file_name) {
            if self.others.len() < OTHERS_CAP {
                self.others.push(path);
            }
            return Ok(());
        }
        if file_name.len() < path.len() {
            return Err(CollectError::Nested { member: path });
        }
        if entry.size() > self.caps.wheel_bytes {
            return Err(CollectError::TooLarge {
                size_bytes: entry.size(),
                cap_bytes: self.caps.wheel_bytes,
                member: path,
            });
        }
        // A second match is an error already, but the error is to name them all.
        if self.matched.is_empty() {
            self.staged = Some(self.stage(&path, entry)?);
        }
        self.matched.push(path);
        Ok(())
    }

    fn stage(&mut self, path: &str, content: &mut impl Read) -> Result<StagedWheel, CollectError> {
        let name: WheelName = path.parse().map_err(|source| CollectError::NotAWheel {
            rule: self.rule.to_string(),
            source,
        })?;
        let unpack = |source| CollectError::Unpack {
            member: path.to_owned(),
            source,
        };
        let file = (self.sink)(&name).map_err(unpack)?;
        let mut file = HashingWriter::new(file);
        io::copy(content, &mut file).map_err(unpack)?;
        file.flush().map_err(unpack)?;
        let (_, sha256, size_bytes) = file.finish();
        Ok(StagedWheel {
            name,
            sha256,
            size_bytes,
        })
    }

    fn finish(self) -> Result<StagedWheel, CollectError> {
        let rule = self.rule.to_string();
        match self.staged {
            Some(_) if self.matched.len() > 1 => Err(CollectError::ManyMatched {
                rule,
                found: self.matched,
            }),
            Some(staged) => Ok(staged),
            None => Err(CollectError::NothingMatched {
                rule,
                found: self.others,
            }),
        }
    }
}

fn unreadable(source: io::Error) -> CollectError {
    CollectError::Read { source }
}

/// What an entry says of the one that follows it.
enum Extension {
    /// The entry is a member itself.
    None,
    /// The next member's path, too long for its header.
    LongPath(Vec<u8>),
    /// Something that does not matter here, such as a time below one second.
    Other,
}

/// Linux paths end at 4 KiB; extended attributes share the space.
const EXTENSION_CAP_BYTES: u64 = 1 << 20;

impl Extension {
    fn read(entry: &mut Entry<'_, impl Read>, caps: &CollectCaps) -> Result<Self, CollectError> {
        let kind = entry.header().entry_type();
        let is_name = kind.is_gnu_longname();
        if !is_name && !kind.is_pax_local_extensions() {
            return Ok(Self::None);
        }
        let too_large = CollectError::TooLargeInAll {
            cap_bytes: caps.total_bytes,
        };
        if entry.size() > EXTENSION_CAP_BYTES {
            return Err(too_large);
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(unreadable)?;
        if is_name {
            let length = bytes.iter().position(|&byte| byte == 0);
            bytes.truncate(length.unwrap_or(bytes.len()));
            return Ok(Self::LongPath(bytes));
        }
        let mut found = Self::Other;
        for record in PaxExtensions::new(&bytes) {
            let record = record.map_err(unreadable)?;
            match record.key_bytes() {
                b"path" => found = Self::LongPath(record.value_bytes().to_vec()),
                // Written for files of 8 GiB and more only; the header's size is then a lie.
                b"size" => return Err(too_large),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The path relative to the output folder: plain parts joined by `/`, or nothing for the folder
/// itself. A leading `./` is how engines write it.
fn checked_path(raw: &[u8]) -> Result<String, CollectError> {
    let member = || raw.escape_ascii().to_string();
    let Ok(text) = str::from_utf8(raw) else {
        return Err(CollectError::OddName { member: member() });
    };
    if text.contains(|c: char| c.is_control() || c == '\\') {
        return Err(CollectError::OddName { member: member() });
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if text.starts_with('/') || parts.contains(&"..") {
        return Err(CollectError::EscapesStaging { member: member() });
    }
    Ok(parts.join("/"))
}

/// Fails instead of reading more than it may.
struct CappedReader<R> {
    inner: R,
    left_bytes: u64,
}

impl<R: Read> Read for CappedReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left_bytes == 0 && !buf.is_empty() {
            return Err(io::Error::other("the archive is larger than allowed"));
        }
        let limit = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let window = buf.len().min(limit);
        let length = self.inner.read(&mut buf[..window])?;
        self.left_bytes -= u64::try_from(length)
            .unwrap_or(u64::MAX)
            .min(self.left_bytes);
        Ok(length)
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "an empty folder".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tar::{Builder, EntryType, Header};

    use super::*;

    const WHEEL: &str = "./demo-1.0-py3-none-any.whl";

    /// A header with the path as it is: the builder itself would refuse or mend it.
    fn header(path: &str, kind: EntryType, size_bytes: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size_bytes);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    fn archive(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, content) in members {
            let size_bytes = u64::try_from(content.len()).unwrap();
            builder
                .append(&header(path, *kind, size_bytes), *content)
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn files(paths: &[&str]) -> Vec<u8> {
        let members: Vec<_> = paths
            .iter()
            .map(|&path| (path, EntryType::Regular, path.as_bytes()))
            .collect();
        archive(&members)
    }

    /// A sink that keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Rc<RefCell<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(buf)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run(archive: &[u8], caps: CollectCaps) -> Result<(StagedWheel, Vec<u8>), CollectError> {
        let kept = Kept::default();
        let mut sink = |_: &WheelName| -> io::Result<Box<dyn Write>> { Ok(Box::new(kept.clone())) };
        let staged = collect(archive, &OutputRule::default(), &caps, &mut sink)?;
        let content = kept.0.borrow().clone();
        Ok((staged, content))
    }

    #[track_caller]
    fn check_refused(archive: &[u8], want: &str) {
        let error = run(archive, CollectCaps::default()).unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn the_wheel_is_written_and_named() {
        let archive = archive(&[
            ("./", EntryType::Directory, b""),
            ("./build.log", EntryType::Regular, b"log"),
            ("./logs/", EntryType::Directory, b""),
            ("./logs/a.txt", EntryType::Regular, b"log"),
            (WHEEL, EntryType::Regular, b"zip"),
        ]);
        let (staged, content) = run(&archive, CollectCaps::default()).unwrap();
        assert_eq!(staged.name.to_string(), "demo-1.0-py3-none-any.whl");
        assert_eq!(staged.sha256, Sha256Digest::of(b"zip"));
        assert_eq!((staged.size_bytes, content.as_slice()), (3, &b"zip"[..]));
    }

    #[test]
    fn what_is_there_is_named_when_nothing_matches() {
        check_refused(
            &files(&["./demo-1.0.tar.gz", "./a/log"]),
            "output rule `*.whl` matched none of: `demo-1.0.tar.gz`, `a/log`",
        );
        check_refused(
            &files(&[]),
            "output rule `*.whl` matched none of: an empty folder",
        );
    }

    #[test]
    fn long_names_are_read_in_both_spellings() {
        let name = format!("demo-1.0+{}-py3-none-any.whl", "a".repeat(120));
        let mut gnu = Builder::new(Vec::new());
        let mut small = header("x", EntryType::Regular, 3);
        gnu.append_data(&mut small, &name, &b"zip"[..]).unwrap();
        let mut pax = Builder::new(Vec::new());
        pax.append_pax_extensions([("mtime", &b"1.5"[..]), ("path", name.as_bytes())])
            .unwrap();
        pax.append(&header("x", EntryType::Regular, 3), &b"zip"[..])
            .unwrap();
        for builder in [gnu, pax] {
            let archive = builder.into_inner().unwrap();
            let (staged, content) = run(&archive, CollectCaps::default()).unwrap();
            assert_eq!(staged.name.to_string(), name);
            assert_eq!(content, b"zip");
        }
    }

    #[test]
    fn extensions_that_lie_about_size_are_refused() {
        let mut pax = Builder::new(Vec::new());
        pax.append_pax_extensions([("size", &b"5"[..])]).unwrap();
        pax.append(&header(WHEEL, EntryType::Regular, 3), &b"zip"[..])
            .unwrap();
        check_refused(
            &pax.into_inner().unwrap(),
            "the archive has more than 8589934592 bytes",
        );
        let name = vec![b'a'; 2 << 20];
        check_refused(
            &archive(&[("x", EntryType::GNULongName, &name)]),
            "the archive has more than 8589934592 bytes",
        );
    }

    #[test]
    fn more_than_one_wheel_is_refused() {
        check_refused(
            &files(&[WHEEL, "dep-2-py3-none-any.whl", WHEEL]),
            "output rule `*.whl` matched more than one file: `demo-1.0-py3-none-any.whl`, `dep-2-py3-none-any.whl`, `demo-1.0-py3-none-any.whl`",
        );
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["/tmp/x", "../x", "./a/../../x", "a/.."] {
            let want = format!("archive member `{path}` would land outside the staging folder");
            check_refused(&files(&[WHEEL, path]), &want);
        }
        check_refused(
            &files(&["a\nb"]),
            "archive member `a\\nb` has a name with odd characters",
        );
        check_refused(
            &files(&["a\\b"]),
            "archive member `a\\\\b` has a name with odd characters",
        );
        check_refused(
            &files(&["./sub/demo-1.0-py3-none-any.whl"]),
            "wheel `sub/demo-1.0-py3-none-any.whl` lies in a folder; wheels are taken from the top of the output folder",
        );
    }

    #[test]
    fn links_and_devices_are_refused() {
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Char,
            EntryType::Block,
            EntryType::Fifo,
        ] {
            check_refused(
                &archive(&[(WHEEL, kind, b"")]),
                "archive member `demo-1.0-py3-none-any.whl` is neither a file nor a folder",
            );
        }
    }

    #[test]
    fn names_that_are_not_wheels_are_refused() {
        check_refused(
            &files(&["demo.whl"]),
            "output rule `*.whl` matched a file that is not named like a wheel",
        );
    }

    #[track_caller]
    fn check_caps(caps: CollectCaps, want: &str) {
        let error = run(&files(&["a", WHEEL]), caps).unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn sizes_above_the_caps_are_refused() {
        let caps = CollectCaps::default();
        check_caps(
            CollectCaps { members: 1, ..caps },
            "the archive holds more than 1 members",
        );
        check_caps(
            CollectCaps {
                wheel_bytes: 10,
                ..caps
            },
            "wheel `demo-1.0-py3-none-any.whl` has 27 bytes; at most 10 are allowed",
        );
        check_caps(
            CollectCaps {
                total_bytes: 1024,
                ..caps
            },
            "the archive has more than 1024 bytes",
        );
    }

    #[test]
    fn a_torn_archive_is_an_error() {
        let archive = files(&[WHEEL]);
        let res = run(&archive[..520], CollectCaps::default());
        assert!(
            matches!(
                res,
                Err(CollectError::Unpack { .. } | CollectError::Read { .. })
            ),
            "{res:?}"
        );
    }

    #[test]
    fn a_failing_sink_names_the_wheel() {
        let mut sink =
            |_: &WheelName| -> io::Result<Box<dyn Write>> { Err(io::Error::other("full")) };
        let caps = CollectCaps::default();
        let archive = files(&[WHEEL]);
        let error =
            collect(archive.as_slice(), &OutputRule::default(), &caps, &mut sink).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to unpack `demo-1.0-py3-none-any.whl`"
        );
    }
}
