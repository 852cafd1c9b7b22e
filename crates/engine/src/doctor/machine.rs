//! The machine that this runs on: its memory, limits, disks and programs.

use std::ffi::OsString;
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::doctor::facts::{
    DiskFacts, DiskRoom, DiskUse, MachineFacts, Presence, Seen, Unseen,
};
use wheelfarm_core::doctor::proc;

use crate::files;
use crate::host::disk::{free_inodes, room};

/// Programs of this host that jobs may need.
const PROGRAMS: [&str; 3] = ["git", "debootstrap", "python3"];

pub(super) fn look() -> MachineFacts {
    let text = |path: &str| files::read_text(path).ok();
    let memory = text("/proc/meminfo");
    let amount = |key: &str| memory.as_deref().and_then(|text| proc::meminfo(text, key));
    let cpus = thread::available_parallelism().ok().map(NonZero::get);
    MachineFacts {
        memory_bytes: amount("MemTotal"),
        available_bytes: amount("MemAvailable"),
        swap_bytes: amount("SwapTotal"),
        overcommit: text("/proc/sys/vm/overcommit_memory")
            .and_then(|text| text.trim().parse().ok()),
        cpus: cpus.and_then(|cpus| u32::try_from(cpus).ok()),
        open_files: text("/proc/self/limits").and_then(|text| proc::open_files(&text)),
        is_root: text("/proc/self/status").and_then(|text| proc::is_root(&text)),
    }
}

pub(super) fn disks(
    engine: Option<Utf8PathBuf>,
    out: &Utf8Path,
    cache: &Utf8Path,
) -> Vec<DiskFacts> {
    let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir());
    let temporary = temporary.unwrap_or_else(|_| "/tmp".into());
    let folders = [
        (DiskUse::Engine, engine),
        (DiskUse::Out, Some(out.to_owned())),
        (DiskUse::Cache, Some(cache.to_owned())),
        (DiskUse::Temporary, Some(temporary)),
    ];
    let seen = folders.into_iter().filter_map(|(what, folder)| {
        let folder = folder?;
        let room = disk_room(&folder);
        Some(DiskFacts { what, folder, room })
    });
    seen.collect()
}

fn disk_room(folder: &Utf8Path) -> Seen<DiskRoom> {
    let unseen = |error: files::FileError| Unseen::new(chain(&error), format!("df -h {folder}"));
    let found = room(folder).map_err(unseen)?;
    Ok(DiskRoom {
        device: found.device,
        free_bytes: found.free_bytes,
        free_inodes: free_inodes(folder).map_err(unseen)?,
    })
}

/// Which programs are here: by `PATH`, without running any.
pub(super) fn commands(variables: &[(OsString, OsString)]) -> Vec<(&'static str, Presence)> {
    let path = variables.iter().find(|(name, _)| name == "PATH");
    let path = path.map(|(_, value)| value.clone()).unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let is_here = |program: &str| {
        let mut places = folders.iter().map(|folder| folder.join(program));
        places.any(|place| {
            let facts = fs_err::metadata(&place);
            facts.is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
        })
    };
    let presence = |program| {
        if is_here(program) {
            Presence::Here
        } else {
            Presence::Absent
        }
    };
    PROGRAMS
        .map(|program| (program, presence(program)))
        .to_vec()
}
