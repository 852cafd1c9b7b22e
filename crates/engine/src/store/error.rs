//! Why the store could not be read or written.

use std::error::Error;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::ErrorCode;

use crate::files::FileError;

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite could not do it.
    #[error("failed to {action} the store `{path}`")]
    Database {
        /// What was attempted: `open`, `read`, `write`.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// What a caller can tell apart.
        fault: Fault,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A later program has written it; what this one would write there could be wrong.
    #[error(
        "the store `{path}` was written by a newer wheelfarm: its schema is {found}, and this program knows up to {known}"
    )]
    Newer {
        /// The file.
        path: Utf8PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// It was written by an earlier program, and only a build brings it up to date.
    #[error(
        "the store `{path}` was written by an older wheelfarm: its schema is {found}, and this program reads {known}"
    )]
    Older {
        /// The file.
        path: Utf8PathBuf,
        /// Its schema.
        found: i64,
        /// The schema that this program reads.
        known: i64,
    },
    /// There is none.
    #[error("there is no store `{0}`")]
    Missing(Utf8PathBuf),
    /// A corrupt one could not be moved aside.
    #[error("failed to move the corrupt store `{path}` aside")]
    MoveAside {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: FileError,
    },
}

/// What went wrong in the database, as far as someone would act on the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No room on the disk: the same thing works when there is.
    DiskFull,
    /// Another process holds it for longer than the wait for it.
    Busy,
    /// What stands in the file is no database, or contradicts itself.
    Corrupt,
    /// Anything else: rights, a device that fails, a mistake of this program.
    Other,
}

impl StoreError {
    pub(super) fn database(action: &'static str, path: &Utf8Path, source: rusqlite::Error) -> Self {
        Self::Database {
            action,
            path: path.to_owned(),
            fault: fault(&source),
            source: Box::new(source),
        }
    }

    /// A value that no program of the farm writes: somebody else has, or a disk.
    pub(super) fn nonsense(path: &Utf8Path, what: String) -> Self {
        Self::Database {
            action: "read",
            path: path.to_owned(),
            fault: Fault::Corrupt,
            source: what.into(),
        }
    }

    /// Whether a full disk is the cause.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Database { fault, .. } => *fault == Fault::DiskFull,
            Self::MoveAside { source, .. } => source.is_disk_full(),
            Self::Newer { .. } | Self::Older { .. } | Self::Missing(_) => false,
        }
    }

    /// Whether what stands in the file is no store, or a broken one.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Database { fault, .. } if *fault == Fault::Corrupt)
    }

    /// What to type, when that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Newer { path, .. } => Some(format!(
                "use the newer program, or begin a new history: `mv {path} {path}.newer`"
            )),
            Self::Older { .. } => {
                Some("run `wheelfarm build` once: it brings it up to date".into())
            }
            Self::Missing(_) => {
                Some("`wheelfarm build` makes it; --out names the folder that it lies in".into())
            }
            Self::Database { path, fault, .. } => match fault {
                Fault::DiskFull => {
                    Some("free some space and run again; nothing half-written is kept".into())
                }
                Fault::Busy => Some(format!("`fuser {path}` names the process that holds it")),
                Fault::Corrupt => Some(
                    "`wheelfarm build` moves it aside and begins a new one; wheels are not touched"
                        .into(),
                ),
                Fault::Other => None,
            },
            Self::MoveAside { .. } => None,
        }
    }
}

/// SQLite's result codes: <https://www.sqlite.org/rescode.html>.
fn fault(error: &rusqlite::Error) -> Fault {
    /// The file of shared memory beside the database could not be made long enough, which is how
    /// a full disk meets a database in WAL mode first.
    const IOERR_SHMSIZE: i32 = 10 + 19 * 256;
    let Some(code) = error.sqlite_error() else {
        // A column holds another type than the schema gives it, or text that is no UTF-8.
        let is_nonsense = matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
        );
        return if is_nonsense {
            Fault::Corrupt
        } else {
            Fault::Other
        };
    };
    if code.extended_code == IOERR_SHMSIZE {
        return Fault::DiskFull;
    }
    let is = |codes: &[ErrorCode]| codes.contains(&code.code);
    if is(&[ErrorCode::DiskFull]) {
        Fault::DiskFull
    } else if is(&[ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked]) {
        Fault::Busy
    } else if is(&[ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase]) {
        Fault::Corrupt
    } else {
        Fault::Other
    }
}
