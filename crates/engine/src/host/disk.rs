//! How much room is left on the disks that jobs write to, and who has been promised it.
//!
//! A job begins only with a lease on the room that it needs, so that ten jobs that each fit do not
//! fill the disk together. What is free less what is promised never falls below a reserve.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::quantity::ByteSize;

use crate::container::EngineFacts;
use crate::files::FileError;

/// A file system, as far as room goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Tells it from others of this host.
    pub device: u64,
    /// What an ordinary user may still write.
    pub free_bytes: u64,
}

/// The room where `folder` is or would be made.
///
/// # Errors
/// The folder cannot be looked at.
pub fn room(folder: &Utf8Path) -> Result<Room, FileError> {
    let fault = |source| FileError::new("look for room in", folder, source);
    let there = there(folder);
    let device = fs_err::metadata(there).map_err(fault)?.dev();
    let facts = rustix::fs::statvfs(there.as_std_path()).map_err(|errno| fault(errno.into()))?;
    Ok(Room {
        device,
        free_bytes: facts.f_bavail.saturating_mul(facts.f_frsize),
    })
}

/// How many files may still be made where `folder` is or would be made; `None` where the file system has no such limit.
///
/// # Errors
/// The folder cannot be looked at.
pub fn free_inodes(folder: &Utf8Path) -> Result<Option<u64>, FileError> {
    let facts = rustix::fs::statvfs(there(folder).as_std_path())
        .map_err(|errno| FileError::new("look for room in", folder, errno.into()))?;
    Ok((facts.f_files > 0).then_some(facts.f_favail))
}

/// The folder, or the nearest above it that is there.
pub(crate) fn there(folder: &Utf8Path) -> &Utf8Path {
    let mut above = folder.ancestors();
    let there = above.find(|folder| folder.exists());
    there.unwrap_or(Utf8Path::new("."))
}

/// What a folder is to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskUse {
    /// The engine keeps images and volumes there: a build writes there.
    Engine,
    /// `out/`: wheels and records.
    Out,
    /// Downloads and symbol tables.
    Cache,
}

impl fmt::Display for DiskUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Engine => "the engine's images and volumes",
            Self::Out => "wheels and records",
            Self::Cache => "downloads",
        })
    }
}

/// There is less room than a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// What for.
    pub what: DiskUse,
    /// Where.
    pub folder: Utf8PathBuf,
    /// What the job needs there.
    pub need_bytes: u64,
    /// What is free there.
    pub free_bytes: u64,
    /// What running jobs will still write there.
    pub promised_bytes: u64,
    /// What must stay free.
    pub reserve_bytes: u64,
}

impl Short {
    /// How much more would have to be free.
    pub fn missing_bytes(&self) -> u64 {
        let wanted = self.need_bytes.saturating_add(self.promised_bytes);
        wanted
            .saturating_add(self.reserve_bytes)
            .saturating_sub(self.free_bytes)
    }

    /// Whether the room would do if no job had been promised any: waiting for them helps.
    pub fn would_fit_alone(&self) -> bool {
        self.free_bytes >= self.need_bytes.saturating_add(self.reserve_bytes)
    }

    /// What to type.
    pub fn hint(&self) -> &'static str {
        "free some space: `wheelfarm gc --dry-run` shows what can go; or lower `build.disk-reserve` in the \
         matrix, or `resources.disk` in the package"
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, folder, .. } = self;
        let [need, free, promised, reserve] = [
            self.need_bytes,
            self.free_bytes,
            self.promised_bytes,
            self.reserve_bytes,
        ]
        .map(ByteSize::from_bytes);
        write!(
            f,
            "{need} needed for {what} in `{folder}`: {free} free, {promised} of that promised to running \
             jobs, {reserve} to stay free"
        )
    }
}

impl std::error::Error for Short {}

/// No lease was given.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// There is too little room.
    #[error(transparent)]
    Short(#[from] Short),
    /// How much room there is cannot be seen any more.
    #[error(transparent)]
    Unreadable(#[from] FileError),
}

/// How a room is looked at; a test gives its own.
pub type RoomReader = Box<dyn Fn(&Utf8Path) -> Result<Room, FileError> + Send + Sync>;

#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    bytes: u64,
    used_bytes: u64,
}

/// Who has been promised how much room.
pub struct DiskLedger {
    read: RoomReader,
    reserve_bytes: u64,
    folders: Vec<(DiskUse, Utf8PathBuf)>,
    leases: BTreeMap<JobId, Lease>,
    /// What is promised to nobody of this run.
    set_aside_bytes: u64,
    not_checked: Option<&'static str>,
}

impl fmt::Debug for DiskLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskLedger")
            .field("reserve_bytes", &self.reserve_bytes)
            .field("folders", &self.folders)
            .field("leases", &self.leases)
            .finish_non_exhaustive()
    }
}

impl DiskLedger {
    /// A ledger over the disks that a run's jobs write to.
    pub fn of_run(
        engine: &EngineFacts,
        out: &Utf8Path,
        cache: &Utf8Path,
        reserve: ByteSize,
    ) -> Self {
        let mut folders = vec![
            (DiskUse::Out, out.to_owned()),
            (DiskUse::Cache, cache.to_owned()),
        ];
        let engine = engine.data_folder.clone();
        folders.extend(engine.map(|folder| (DiskUse::Engine, folder)));
        Self::new(Box::new(room), folders, reserve)
    }

    /// A ledger that looks at these folders with `read`.
    pub fn new(read: RoomReader, folders: Vec<(DiskUse, Utf8PathBuf)>, reserve: ByteSize) -> Self {
        let mut folders = folders;
        folders.sort();
        let sees_engine = folders.iter().any(|(what, _)| *what == DiskUse::Engine);
        Self {
            read,
            reserve_bytes: reserve.bytes(),
            folders,
            leases: BTreeMap::new(),
            set_aside_bytes: 0,
            not_checked: (!sees_engine).then_some(
                "room for builds: not checked, the engine keeps its data where this host cannot see it",
            ),
        }
    }

    /// What cannot be watched here; said the first time only.
    pub fn not_checked(&mut self) -> Option<&'static str> {
        self.not_checked.take()
    }

    /// Promises a job what it needs of the engine's disk. A lease that it has is replaced.
    ///
    /// # Errors
    /// [`LeaseError::Short`] when what is free less what is promised would fall below the reserve there, or
    /// is below it on another disk that jobs write to.
    pub fn try_lease(&mut self, job: &JobId, bytes: u64) -> Result<(), LeaseError> {
        self.leases.remove(job);
        let mut seen = Vec::new();
        for (what, folder) in &self.folders {
            let room = (self.read)(folder)?;
            // The engine's comes first; what lies on the same disk has its answer.
            if seen.contains(&room.device) {
                continue;
            }
            seen.push(room.device);
            let (need_bytes, promised_bytes) = match what {
                DiskUse::Engine => (bytes, self.promised_bytes()),
                DiskUse::Out | DiskUse::Cache => (0, 0),
            };
            let short = Short {
                what: *what,
                folder: folder.clone(),
                need_bytes,
                free_bytes: room.free_bytes,
                promised_bytes,
                reserve_bytes: self.reserve_bytes,
            };
            if short.missing_bytes() > 0 {
                return Err(short.into());
            }
        }
        let lease = Lease {
            bytes,
            used_bytes: 0,
        };
        self.leases.insert(job.clone(), lease);
        Ok(())
    }

    /// Keeps room on the engine's disk for what runs there besides the jobs that are given leases.
    pub fn set_aside(&mut self, bytes: u64) {
        self.set_aside_bytes = self.set_aside_bytes.saturating_add(bytes);
    }

    /// Keeps it no longer, and says how much that was: what of it is written by now is not free anyway, and
    /// nobody knows how much that is.
    pub fn give_set_aside(&mut self) -> u64 {
        std::mem::take(&mut self.set_aside_bytes)
    }

    /// Says how much of its lease a job has written: that is no longer free, so it is no longer owed.
    pub fn note_used(&mut self, job: &JobId, bytes: u64) {
        if let Some(lease) = self.leases.get_mut(job) {
            lease.used_bytes = bytes;
        }
    }

    /// Takes a job's lease back, when it has ended and its volume is gone.
    pub fn release(&mut self, job: &JobId) {
        self.leases.remove(job);
    }

    /// What jobs with a lease, and what runs besides them, will still write.
    pub fn promised_bytes(&self) -> u64 {
        let owed = |lease: &Lease| lease.bytes.saturating_sub(lease.used_bytes);
        let owed = self.leases.values().map(owed);
        owed.fold(self.set_aside_bytes, u64::saturating_add)
    }
}

/// What a folder's files take up on the disk. Links are not followed; what cannot be read counts
/// nothing.
pub fn folder_bytes(folder: &Utf8Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| {
        let Ok(facts) = entry.metadata() else {
            return 0;
        };
        let own = facts.blocks() * 512;
        match Utf8PathBuf::from_path_buf(entry.path()) {
            Ok(path) if facts.is_dir() => own + folder_bytes(&path),
            Ok(_) | Err(_) => own,
        }
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn job(name: &str) -> JobId {
        name.parse().unwrap()
    }

    /// A ledger over an engine's disk with so much free, and an `out/` that lies on it or not.
    fn ledger(free: &Arc<AtomicU64>, out_device: u64, out_free: u64) -> DiskLedger {
        let free = Arc::clone(free);
        let read = move |folder: &Utf8Path| {
            Ok(if folder == "/engine" {
                Room {
                    device: 1,
                    free_bytes: free.load(Ordering::Relaxed),
                }
            } else {
                Room {
                    device: out_device,
                    free_bytes: out_free,
                }
            })
        };
        let folders = vec![
            (DiskUse::Out, "/out".into()),
            (DiskUse::Engine, "/engine".into()),
        ];
        DiskLedger::new(Box::new(read), folders, ByteSize::gib(5))
    }

    #[track_caller]
    fn short(res: Result<(), LeaseError>) -> Short {
        match res.unwrap_err() {
            LeaseError::Short(short) => short,
            LeaseError::Unreadable(error) => panic!("{error}"),
        }
    }

    #[test]
    fn jobs_get_room_until_the_reserve_would_be_touched() {
        let free = Arc::new(AtomicU64::new(26 * GIB));
        let mut ledger = ledger(&free, 1, 0);
        ledger.try_lease(&job("a-1"), 10 * GIB).unwrap();
        ledger.try_lease(&job("b-1"), 10 * GIB).unwrap();
        let short = short(ledger.try_lease(&job("c-1"), 10 * GIB));
        assert_eq!(short.missing_bytes(), 9 * GIB);
        assert!(short.would_fit_alone());
        assert_eq!(
            short.to_string(),
            "10GiB needed for the engine's images and volumes in `/engine`: 26GiB free, 20GiB of that \
             promised to running jobs, 5GiB to stay free"
        );
        ledger.release(&job("a-1"));
        ledger.try_lease(&job("c-1"), 10 * GIB).unwrap();
    }

    #[test]
    fn what_a_job_has_written_is_not_owed_to_it_any_more() {
        let free = Arc::new(AtomicU64::new(26 * GIB));
        let mut ledger = ledger(&free, 1, 0);
        ledger.try_lease(&job("a-1"), 10 * GIB).unwrap();
        free.store(17 * GIB, Ordering::Relaxed);
        short(ledger.try_lease(&job("b-1"), 10 * GIB));
        ledger.note_used(&job("a-1"), 9 * GIB);
        ledger.try_lease(&job("b-1"), 10 * GIB).unwrap();
        assert_eq!(ledger.promised_bytes(), 11 * GIB);
        // A job that wrote more than it was promised is owed nothing, and takes from nobody else's.
        ledger.note_used(&job("a-1"), 30 * GIB);
        assert_eq!(ledger.promised_bytes(), 10 * GIB);
    }

    #[test]
    fn what_is_set_aside_is_promised_to_no_job() {
        let free = Arc::new(AtomicU64::new(26 * GIB));
        let mut ledger = ledger(&free, 1, 0);
        ledger.set_aside(8 * GIB);
        ledger.set_aside(4 * GIB);
        let short = short(ledger.try_lease(&job("a-1"), 10 * GIB));
        assert_eq!(short.missing_bytes(), GIB);
        ledger.try_lease(&job("a-1"), 9 * GIB).unwrap();
        assert_eq!(
            (ledger.give_set_aside(), ledger.give_set_aside()),
            (12 * GIB, 0)
        );
        ledger.try_lease(&job("a-1"), 10 * GIB).unwrap();
    }

    #[test]
    fn another_disk_needs_its_reserve_only() {
        let free = Arc::new(AtomicU64::new(100 * GIB));
        ledger(&free, 2, 6 * GIB)
            .try_lease(&job("a-1"), 50 * GIB)
            .unwrap();
        let short = short(ledger(&free, 2, 4 * GIB).try_lease(&job("a-1"), GIB));
        assert_eq!((short.what, short.missing_bytes()), (DiskUse::Out, GIB));
        assert!(!short.would_fit_alone());
    }

    #[test]
    fn an_engine_elsewhere_is_not_checked_and_that_is_said_once() {
        let read = |_: &Utf8Path| {
            Ok(Room {
                device: 1,
                free_bytes: 6 * GIB,
            })
        };
        let folders = vec![(DiskUse::Out, "/out".into())];
        let mut ledger = DiskLedger::new(Box::new(read), folders, ByteSize::gib(5));
        assert!(ledger.not_checked().unwrap().contains("not checked"));
        assert_eq!(ledger.not_checked(), None);
        ledger.try_lease(&job("a-1"), 500 * GIB).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_where_it_would_be() {
        let folder = tempfile::tempdir().unwrap();
        let there = Utf8Path::from_path(folder.path()).unwrap();
        let (here, below) = (room(there).unwrap(), room(&there.join("a/b/c")).unwrap());
        assert_eq!(here.device, below.device);
        assert!(here.free_bytes > 0);
    }

    #[test]
    fn a_folder_counts_what_it_takes_up() {
        let folder = tempfile::tempdir().unwrap();
        let there = Utf8Path::from_path(folder.path()).unwrap();
        fs_err::create_dir(there.join("below")).unwrap();
        fs_err::write(there.join("below/file"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("/", there.join("link")).unwrap();
        let bytes = folder_bytes(there);
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
        assert_eq!(folder_bytes(&there.join("absent")), 0);
    }
}
