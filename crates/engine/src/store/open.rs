//! Opens the store, brings its schema up to date, and moves a broken one out of the way.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Fault, History, Store, StoreError};
use crate::crash_point;
use crate::files::{self, FileError};

/// `wfrm`, in the header of the file (<https://www.sqlite.org/fileformat.html#application_id>).
pub(super) const APPLICATION_ID: i64 = 0x7766_726d;

/// The schema from nothing to now, a step for each number. A step that was released never changes;
/// one that is added is a step forward.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];

/// How long a write waits for another process: a reader that makes a checkpoint, a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the log may keep of its size after a checkpoint.
const WAL_KEPT_BYTES: i64 = 16 * 1024 * 1024;

/// An open store.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where a corrupt one was moved to; the store is a new one then.
    pub moved_aside: Option<Utf8PathBuf>,
}

impl Store {
    /// Opens the store at `path` for writing, making it if need be, and brings its schema up to
    /// date. One that is corrupt is moved aside, with its log, and a new one is begun. Only the one
    /// who holds the lock of `out/` may call this.
    ///
    /// # Errors
    /// The store is a newer program's, or cannot be written.
    pub fn open(path: &Utf8Path, now: Timestamp) -> Result<Opened, StoreError> {
        match open_writable(path) {
            Ok(store) => Ok(Opened {
                store,
                moved_aside: None,
            }),
            Err(error) if error.is_corrupt() => {
                tracing::warn!(store = %path, %error, "store is corrupt");
                let aside = move_aside(path, now).map_err(|source| StoreError::MoveAside {
                    path: path.to_owned(),
                    source,
                })?;
                Ok(Opened {
                    store: open_writable(path)?,
                    moved_aside: Some(aside),
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn open_writable(path: &Utf8Path) -> Result<Store, StoreError> {
    let failed = |source| StoreError::database("open", path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
    settle(&mut db, path)?;
    check(&db, path)?;
    // The name of a file that was just made survives a power cut like what is in it.
    files::sync_folder(files::folder_of(path)).map_err(|source| StoreError::Database {
        action: "open",
        path: path.to_owned(),
        fault: Fault::Other,
        source: Box::new(source),
    })?;
    Ok(Store {
        history: History::new(db, path),
    })
}

/// Everything about the connection and the schema.
fn settle(db: &mut Connection, path: &Utf8Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::database("open", path, source);
    db.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // Nothing that stands in a file may act: no function runs from a view or a trigger of it.
    db.pragma_update(None, "trusted_schema", false)
        .map_err(failed)?;
    db.pragma_update(None, "cell_size_check", true)
        .map_err(failed)?;
    let identity = Identity::of(db, path)?;
    if identity.version == 0 {
        // Room is given back when old runs are forgotten. It has to be said before the first table.
        db.pragma_update(None, "auto_vacuum", "incremental")
            .map_err(failed)?;
    }
    let mode: String = db
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        tracing::warn!(store = %path, mode, "store has no write-ahead log");
    }
    // A commit is on disk when it returns: events are told to others after it.
    db.pragma_update(None, "synchronous", "full")
        .map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
        .map_err(failed)?;
    migrate(db, path, MIGRATIONS)?;
    db.pragma_update(None, "foreign_keys", true)
        .map_err(failed)?;
    Ok(())
}

/// What the header says of the file.
pub(super) struct Identity {
    version: i64,
}

impl Identity {
    /// Reads it, and refuses a database that is not the farm's.
    fn of(db: &Connection, path: &Utf8Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::database("open", path, source);
        let read = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let application = read("application_id").map_err(failed)?;
        let version = read("user_version").map_err(failed)?;
        let tables: i64 = db
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        let is_new = (application, version, tables) == (0, 0, 0);
        if !is_new && (application != APPLICATION_ID || version < 1) {
            let what = "it is the database of another program".to_owned();
            return Err(StoreError::nonsense(path, what));
        }
        Ok(Self { version })
    }

    /// Refuses a schema that this program does not read as it is.
    pub(super) fn readable(db: &Connection, path: &Utf8Path) -> Result<(), StoreError> {
        let found = Self::of(db, path)?.version;
        let known = newest(MIGRATIONS);
        match found.cmp(&known) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known,
            }),
            std::cmp::Ordering::Less => Err(StoreError::Older {
                path: path.to_owned(),
                found,
                known,
            }),
        }
    }
}

fn newest(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

/// Brings the schema up to date, each step whole or not at all. It only goes forward: what an older
/// program would make of a newer store is unknown.
pub(super) fn migrate(
    db: &mut Connection,
    path: &Utf8Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let failed = |source| StoreError::database("migrate", path, source);
    let found = Identity::of(db, path)?.version;
    let known = newest(migrations);
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (version, step) in (1..)
        .zip(migrations)
        .skip_while(|(number, _)| *number <= found)
    {
        crash_point::reach("before a migration");
        let transaction = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        transaction.execute_batch(step).map_err(failed)?;
        let number: i64 = version;
        transaction
            .pragma_update(None, "user_version", number)
            .map_err(failed)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(failed)?;
        crash_point::reach("before a migration's commit");
        transaction.commit().map_err(failed)?;
        crash_point::reach("after a migration's commit");
    }
    Ok(())
}

/// Reads all of it once: what is broken is found before a run leans on it.
fn check(db: &Connection, path: &Utf8Path) -> Result<(), StoreError> {
    let answer: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| StoreError::database("check", path, source))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(StoreError::nonsense(path, answer))
}

/// Moves a store to a name that says when; its log goes first, so that a new store never meets the
/// log of the old one.
fn move_aside(path: &Utf8Path, now: Timestamp) -> Result<Utf8PathBuf, FileError> {
    let name = format!("{path}.corrupt-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    // Two within a second, as tests have them.
    let mut aside = Utf8PathBuf::from(&name);
    for n in 1..1000 {
        if !aside.exists() {
            break;
        }
        aside = format!("{name}-{n}").into();
    }
    for end in ["-shm", "-wal", ""] {
        let (from, to) = (format!("{path}{end}"), format!("{aside}{end}"));
        crash_point::reach("before a file of a corrupt store is moved");
        match fs_err::rename(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            res => res.map_err(|source| FileError::new("move", &from, source))?,
        }
    }
    crash_point::reach("after a corrupt store is moved");
    files::sync_folder(files::folder_of(path))?;
    Ok(aside)
}
