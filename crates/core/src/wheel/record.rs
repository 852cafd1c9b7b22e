//! RECORD: the list of a wheel's files with their digests (CSV: `path,sha256=...,size`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::Sha256Digest;

/// A RECORD above this lists more files than any wheel has.
pub const RECORD_CAP_BYTES: u64 = 64 << 20;

/// More lines than any wheel may have files. Short ones take thirty times their length in memory.
const LINES_CAP: usize = 200_000;

/// What a file's line in RECORD says, or should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRecord {
    /// The digest of its content.
    pub sha256: Sha256Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// Why a RECORD and the files beside it do not agree.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The text is not CSV of three fields in UTF-8.
    #[error("RECORD line {line} is not `path,hash,size`")]
    NotCsv {
        /// Counted from one.
        line: usize,
    },
    /// There are more lines than files in any wheel.
    #[error("RECORD has more than {LINES_CAP} lines")]
    TooManyLines,
    /// The hash is of another kind than sha256, or is not one.
    #[error("RECORD has `{hash}` for `{path}`, which is not a sha256 hash")]
    Hash {
        /// The file.
        path: String,
        /// The field.
        hash: String,
    },
    /// A file is listed twice.
    #[error("RECORD lists `{path}` more than once")]
    Repeated {
        /// The file.
        path: String,
    },
    /// A file of the wheel is not listed.
    #[error("`{path}` is in the wheel but not in RECORD")]
    Unlisted {
        /// The file.
        path: String,
    },
    /// A listed file is not in the wheel.
    #[error("`{path}` is in RECORD but not in the wheel")]
    Absent {
        /// The file.
        path: String,
    },
    /// A file's content is not what RECORD says.
    #[error("`{path}` has not the digest or size that RECORD has for it")]
    Differs {
        /// The file.
        path: String,
    },
}

impl RecordError {
    /// The file that it is about; `None` for RECORD itself.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::NotCsv { .. } | Self::TooManyLines => None,
            Self::Hash { path, .. }
            | Self::Repeated { path }
            | Self::Unlisted { path }
            | Self::Absent { path }
            | Self::Differs { path } => Some(path),
        }
    }
}

/// Checks `record`, the content of the file at `record_path`, against the files that are there,
/// and gives the first fault.
///
/// `files` holds every file but RECORD itself.
pub fn check(
    record: &[u8],
    record_path: &str,
    files: &BTreeMap<String, FileRecord>,
) -> Result<(), RecordError> {
    match faults(record, record_path, files).into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}

/// Everything in which `record` and the files disagree, files that are there first.
pub fn faults(
    record: &[u8],
    record_path: &str,
    files: &BTreeMap<String, FileRecord>,
) -> Vec<RecordError> {
    let mut listed = match parse(record) {
        Ok(listed) => listed,
        Err(error) => return vec![error],
    };
    listed.remove(record_path);
    let mut faults = Vec::new();
    for (path, file) in files {
        let Some(row) = listed.remove(path) else {
            faults.push(RecordError::Unlisted { path: path.clone() });
            continue;
        };
        let is_same_size = row.size.is_empty() || row.size == file.size_bytes.to_string();
        match row.digest(path) {
            Ok(digest) if digest == file.sha256 && is_same_size => {}
            Ok(_) => faults.push(RecordError::Differs { path: path.clone() }),
            Err(error) => faults.push(error),
        }
    }
    let absent = listed.into_keys().map(|path| RecordError::Absent { path });
    faults.extend(absent);
    faults
}

/// The RECORD of `files`, in the order they come, with itself as the last line.
pub fn write<'a>(
    files: impl Iterator<Item = (&'a str, &'a FileRecord)>,
    record_path: &str,
) -> Vec<u8> {
    let mut text = String::new();
    for (path, file) in files {
        text.push_str(&quoted(path));
        text.push_str(",sha256=");
        text.push_str(&URL_SAFE_NO_PAD.encode(file.sha256.as_bytes()));
        text.push(',');
        text.push_str(&file.size_bytes.to_string());
        text.push('\n');
    }
    text.push_str(&quoted(record_path));
    text.push_str(",,\n");
    text.into_bytes()
}

/// One line's two last fields.
struct Row {
    hash: String,
    size: String,
}

impl Row {
    fn digest(&self, path: &str) -> Result<Sha256Digest, RecordError> {
        let wrong = || RecordError::Hash {
            path: path.to_owned(),
            hash: self.hash.clone(),
        };
        let encoded = self.hash.strip_prefix("sha256=").ok_or_else(wrong)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded.trim_end_matches('='))
            .map_err(|_| wrong())?;
        // The digest has one way in, its hexadecimal text.
        hex::encode(bytes).parse().map_err(|_| wrong())
    }
}

fn parse(record: &[u8]) -> Result<BTreeMap<String, Row>, RecordError> {
    let text = str::from_utf8(record).map_err(|_| RecordError::NotCsv { line: 1 })?;
    let mut rows = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() {
            continue;
        }
        if rows.len() >= LINES_CAP {
            return Err(RecordError::TooManyLines);
        }
        let not_csv = RecordError::NotCsv { line: index + 1 };
        let Some([path, hash, size]) = split_csv(line) else {
            return Err(not_csv);
        };
        if rows.insert(path.clone(), Row { hash, size }).is_some() {
            return Err(RecordError::Repeated { path });
        }
    }
    Ok(rows)
}

/// Three CSV fields; a field in quotes may hold commas, and quotes written twice.
fn split_csv(line: &str) -> Option<[String; 3]> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => match rest.split_once(',') {
                Some((field, tail)) => (field.to_owned(), Some(tail)),
                None => (rest.to_owned(), None),
            },
        };
        fields.push(field);
        match tail {
            Some(tail) => rest = tail,
            None => return fields.try_into().ok(),
        }
    }
}

/// The field after its opening quote, and what follows the comma behind it.
fn quoted_field(text: &str) -> Option<(String, Option<&str>)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, tail) = rest.split_once('"')?;
        field.push_str(part);
        if let Some(tail) = tail.strip_prefix('"') {
            field.push('"');
            rest = tail;
        } else if tail.is_empty() {
            return Some((field, None));
        } else {
            return Some((field, Some(tail.strip_prefix(',')?)));
        }
    }
}

/// As Python's `csv` writes it: in quotes only when it has to be.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORD: &str = "x-1.dist-info/RECORD";

    fn files(names: &[&str]) -> BTreeMap<String, FileRecord> {
        let record = |name: &str| FileRecord {
            sha256: Sha256Digest::of(name.as_bytes()),
            size_bytes: u64::try_from(name.len()).unwrap(),
        };
        names
            .iter()
            .map(|&name| (name.to_owned(), record(name)))
            .collect()
    }

    fn written(files: &BTreeMap<String, FileRecord>) -> Vec<u8> {
        write(
            files.iter().map(|(path, file)| (path.as_str(), file)),
            RECORD,
        )
    }

    #[test]
    fn lines_are_as_the_wheel_specification_has_them() {
        let text = String::from_utf8(written(&files(&["a.py", "b, \"c\".py"]))).unwrap();
        insta::assert_snapshot!(text, @r#"
a.py,sha256=8N4JOowk9qPtHHGi7tuNKcto2qKBsd0jI7Z9dc4_uAA,4
"b, ""c"".py",sha256=1sPIHysc7GIsTufVewzCOfpeyd_T6YFYroowjfvQpr8,9
x-1.dist-info/RECORD,,
"#);
    }

    #[track_caller]
    fn check_refused(record: &str, want: &str) {
        let error = check(record.as_bytes(), RECORD, &files(&["a"])).unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn disagreement_is_refused() {
        let good = String::from_utf8(written(&files(&["a"]))).unwrap();
        assert_eq!(check(good.as_bytes(), RECORD, &files(&["a"])), Ok(()));
        check_refused("", "`a` is in the wheel but not in RECORD");
        check_refused(
            &format!("{good}b,sha256=,0\n"),
            "`b` is in RECORD but not in the wheel",
        );
        check_refused(
            &good.replace(",1\n", ",2\n"),
            "`a` has not the digest or size that RECORD has for it",
        );
        check_refused(
            &good.replace("sha256=y", "sha256=z"),
            "`a` has not the digest or size that RECORD has for it",
        );
        check_refused(
            "a,md5=x,1\n",
            "RECORD has `md5=x` for `a`, which is not a sha256 hash",
        );
        check_refused("a,,\n", "RECORD has `` for `a`, which is not a sha256 hash");
        check_refused(&format!("{good}{good}"), "RECORD lists `a` more than once");
        check_refused("a,b\n", "RECORD line 1 is not `path,hash,size`");
        check_refused("\"a,b,c\n", "RECORD line 1 is not `path,hash,size`");
    }

    #[test]
    fn a_record_of_too_many_lines_is_refused() {
        let lines: Vec<String> = (0..=LINES_CAP).map(|line| format!("{line},,")).collect();
        check_refused(&lines.join("\n"), "RECORD has more than 200000 lines");
    }

    proptest! {
        #[test]
        fn what_is_written_checks_out(
            names in proptest::collection::btree_set("[a-z,\" é/]{1,12}", 0..8),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let files = files(&names);
            prop_assert_eq!(check(&written(&files), RECORD, &files), Ok(()));
        }

        #[test]
        fn no_record_panics(text in "([a-z,\"=\n]|\\PC){0,60}") {
            drop(check(text.as_bytes(), RECORD, &files(&["a"])));
        }
    }
}
