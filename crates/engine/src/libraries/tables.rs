//! What `dockerfiles/libraries.py` writes: of every library the parts with its tables, and nothing
//! of the code. The parts are read as the files they are of, by the reader of every module.

use std::io::{self, BufRead, Read};

use serde::Deserialize;
use wheelfarm_core::gate::libraries::Libraries;
use wheelfarm_core::read_at::ReadAt;
use wheelfarm_core::wheel::elf;

use super::gather::{Gathering, InterpreterError};

/// A line is a path and some parts; Linux has no longer paths than 4 KiB.
const LINE_CAP_BYTES: u64 = 64 << 10;

/// More libraries than any image has.
const LIBRARIES_CAP: usize = 1 << 14;

/// More than the tables of any one library: libtorch's take some 60 MB.
const TABLES_CAP_BYTES: u64 = 512 << 20;

/// The tables of an image's libraries cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TablesError {
    /// They end early, or the file that they came in cannot be read.
    #[error("failed to read record {record}")]
    Read {
        /// The number of the record, from one.
        record: usize,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// A record says something that cannot be.
    #[error("record {record} is malformed")]
    Malformed {
        /// The number of the record, from one.
        record: usize,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A record's parts are not in order, lie outside their file, or are larger than real tables.
    #[error("the parts of `{path}` cannot be")]
    Parts {
        /// The library.
        path: String,
    },
    /// The records are out of order, more than any image's, or fewer than written.
    #[error("record {record} is {what}")]
    Unexpected {
        /// The number of the record, from one.
        record: usize,
        /// What it is.
        what: &'static str,
    },
    /// The interpreter cannot be read.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Record {
    Interpreter(About),
    Library(About),
    End(usize),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    path: String,
    size_bytes: u64,
    /// Start and end of each, in order.
    parts: Vec<(u64, u64)>,
}

/// Reads every record of `source` as the libraries of `environment`.
pub(super) fn read(
    source: &mut impl BufRead,
    environment: String,
) -> Result<Libraries, TablesError> {
    let mut gathering = Gathering::default();
    for record in 1..=LIBRARIES_CAP {
        let unexpected = |what| TablesError::Unexpected { record, what };
        let fault = |source| TablesError::Read { record, source };
        let malformed = |source| TablesError::Malformed { record, source };
        let mut line = Vec::new();
        let mut bounded = source.by_ref().take(LINE_CAP_BYTES);
        bounded.read_until(b'\n', &mut line).map_err(fault)?;
        match serde_json::from_slice(&line).map_err(malformed)? {
            Record::Interpreter(about) if record == 1 => {
                let mut file = FileParts::read(&about, source, fault)?;
                let module = elf::inspect(&about.path, &mut file);
                gathering.interpreter(&about.path, module)?;
            }
            Record::Library(about) if record > 1 => {
                let mut file = FileParts::read(&about, source, fault)?;
                let module = elf::inspect(&about.path, &mut file);
                gathering.library(&about.path, module);
            }
            Record::End(count) if record > 1 && count == record - 1 => {
                return Ok(gathering.finish(environment));
            }
            Record::Interpreter(_) => return Err(unexpected("a second interpreter")),
            Record::Library(_) => return Err(unexpected("not the interpreter")),
            Record::End(_) => return Err(unexpected("not the end that it says it is")),
        }
    }
    Err(TablesError::Unexpected {
        record: LIBRARIES_CAP,
        what: "one more than any image has",
    })
}

/// A file of which only some parts are at hand.
#[derive(Debug)]
struct FileParts {
    size_bytes: u64,
    /// Where each starts, in order.
    parts: Vec<(u64, Vec<u8>)>,
}

impl FileParts {
    fn read(
        about: &About,
        source: &mut impl Read,
        fault: impl Fn(io::Error) -> TablesError,
    ) -> Result<Self, TablesError> {
        let wrong = || TablesError::Parts {
            path: about.path.clone(),
        };
        let mut file = Self {
            size_bytes: about.size_bytes,
            parts: Vec::with_capacity(about.parts.len()),
        };
        let (mut reached, mut total_bytes) = (0, 0);
        for &(start, end) in &about.parts {
            if start < reached || end <= start || end > about.size_bytes {
                return Err(wrong());
            }
            reached = end;
            total_bytes += end - start;
            if total_bytes > TABLES_CAP_BYTES {
                return Err(wrong());
            }
            let length = usize::try_from(end - start).map_err(|_| wrong())?;
            let mut bytes = Vec::new();
            let taken = source.by_ref().take(end - start).read_to_end(&mut bytes);
            if taken.map_err(&fault)? != length {
                return Err(fault(io::ErrorKind::UnexpectedEof.into()));
            }
            file.parts.push((start, bytes));
        }
        Ok(file)
    }
}

impl ReadAt for FileParts {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let place = self.parts.partition_point(|(start, _)| *start <= offset);
        let found = place.checked_sub(1).and_then(|place| {
            let (start, bytes) = &self.parts[place];
            let from = usize::try_from(offset - start).ok()?;
            bytes.get(from..from.checked_add(buffer.len())?)
        });
        let found = found.ok_or_else(|| {
            let text = format!("{} bytes at {offset} were not taken along", buffer.len());
            io::Error::new(io::ErrorKind::UnexpectedEof, text)
        })?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::super::fixture;
    use super::*;

    fn read_all(mut bytes: &[u8]) -> Result<Libraries, TablesError> {
        read(&mut bytes, "image".to_owned())
    }

    fn told(error: &dyn Error) -> String {
        let texts = std::iter::successors(Some(error), |&error| error.source());
        let texts: Vec<_> = texts.map(ToString::to_string).collect();
        texts.join(": ")
    }

    #[track_caller]
    fn check_refused(tables: impl AsRef<[u8]>, want: &str) {
        let error = read_all(tables.as_ref()).unwrap_err();
        let told = told(&error);
        assert!(told.contains(want), "{told}");
    }

    fn library(parts: &str, content: &str) -> Vec<u8> {
        let mut tables = fixture::record("interpreter", &fixture::program());
        let line =
            format!("{{\"library\":{{\"path\":\"x.so\",\"size_bytes\":9,\"parts\":{parts}}}}}");
        tables.extend(format!("{line}\n{content}{{\"end\":2}}\n").bytes());
        tables
    }

    #[test]
    fn libraries_are_read_from_their_parts() {
        let libraries = read_all(&fixture::tables()).unwrap();
        assert_eq!(libraries.environment, "image");
        let interpreter = libraries.interpreter.as_ref().unwrap();
        assert_eq!(interpreter.path, fixture::program());
        assert!(interpreter.needed.contains(&"libc.so.6".to_owned()));
        assert_eq!(libraries.libraries.len(), 1);
        let libc = &libraries.libraries["libc.so.6"];
        assert_eq!(libc.path, fixture::libc());
        assert!(
            libc.symbols["malloc"]
                .iter()
                .any(|version| version.starts_with("GLIBC_2."))
        );
    }

    #[test]
    fn what_is_no_library_is_left_out() {
        for (parts, content) in [
            ("[[0,9]]", "INPUT(x y"),
            ("[[0,4]]", "\u{7f}ELF"),
            ("[]", ""),
        ] {
            let libraries = read_all(&library(parts, content)).unwrap();
            assert!(libraries.libraries.is_empty(), "{parts}");
        }
    }

    #[test]
    fn tables_that_end_early_are_refused() {
        let whole = fixture::tables();
        let ends = [
            0,
            1,
            100,
            5000,
            whole.len() / 2,
            whole.len() - 11,
            whole.len() - 4,
        ];
        for end in ends {
            let res = read_all(&whole[..end]);
            assert!(res.is_err(), "{end}");
        }
    }

    #[test]
    fn records_that_cannot_be_are_refused() {
        let interpreter = fixture::record("interpreter", &fixture::program());
        check_refused("{\"end\":0}\n", "record 1 is not the end");
        check_refused(
            fixture::record("library", &fixture::libc()),
            "not the interpreter",
        );
        check_refused(interpreter.repeat(2), "record 2 is a second interpreter");
        check_refused(
            [&interpreter[..], b"{\"end\":2}\n"].concat(),
            "record 2 is not the end",
        );
        check_refused(
            [&interpreter[..], b"Traceback\n"].concat(),
            "record 2 is malformed",
        );
        check_refused(library("[[0,10]]", "0123456789"), "the parts of `x.so`");
        check_refused(library("[[4,4]]", ""), "the parts of `x.so`");
        check_refused(
            library("[[2,4],[1,9]]", "0123456789"),
            "the parts of `x.so`",
        );
        check_refused(library("[[0,-1]]", ""), "record 2 is malformed");
        check_refused("x".repeat(1 << 20), "record 1 is malformed");
    }

    #[test]
    fn an_interpreter_without_its_tables_is_an_error() {
        let line =
            "{\"interpreter\":{\"path\":\"/python\",\"size_bytes\":9,\"parts\":[[0,4]]}}\n#!/x";
        check_refused(line, "the interpreter `/python`");
        let whole = fixture::record("interpreter", &fixture::program());
        let text = String::from_utf8_lossy(&whole);
        let first = text.lines().next().unwrap();
        let size = first
            .split("\"size_bytes\":")
            .nth(1)
            .unwrap()
            .trim_end_matches('}');
        let only_header = first.replace(&format!("[[0,{size}]]"), "[[0,64]]");
        assert_ne!(only_header, first);
        let body = &whole[first.len() + 1..][..64];
        let record = [only_header.as_bytes(), b"\n", body].concat();
        check_refused(record, "were not taken along");
    }
}
