//! The folder that a root file system is bootstrapped in. It lies on the host and outside of `out/`, so nobody
//! else removes what a killed run left of one.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use camino::Utf8Path;
use fs_err as fs;
use tempfile::TempDir;
use tokio::process::Command;

use crate::secrets;

const PREFIX: &str = "wheelfarm-debootstrap-";

/// Older than this, nobody works in one any more: making an image is given up after three hours.
const UNUSED_AFTER: Duration = Duration::from_hours(4);

/// A new folder below `above`. Those that killed runs left there go first; one that cannot be removed is told.
pub(super) async fn new(above: &Utf8Path) -> io::Result<TempDir> {
    for folder in left_in(above)? {
        remove(&folder).await;
    }
    tempfile::Builder::new().prefix(PREFIX).tempdir_in(above)
}

/// Anybody may write to a folder for temporary files, so only what is this user's own is touched; `tempfile` gives
/// nobody else any right to it.
fn left_in(above: &Utf8Path) -> io::Result<Vec<camino::Utf8PathBuf>> {
    let own = fs::metadata("/proc/self")?.uid();
    let now = SystemTime::now();
    let mut left = Vec::new();
    for entry in above.read_dir_utf8()?.flatten() {
        let Ok(facts) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let age = facts.modified().ok();
        let age = age.and_then(|made| now.duration_since(made).ok());
        let is_own = facts.is_dir() && facts.uid() == own && facts.mode().trailing_zeros() >= 6;
        if entry.file_name().starts_with(PREFIX) && is_own && age > Some(UNUSED_AFTER) {
            left.push(entry.into_path());
        }
    }
    Ok(left)
}

async fn remove(folder: &Utf8Path) {
    // debootstrap mounts these, and was killed before it could unmount them.
    let root = folder.join("root");
    let mounts = ["proc", "sys"].map(|name| root.join(name));
    let unmounted = quiet("umount").arg("--lazy").args(mounts).status().await;
    tracing::debug!(?unmounted, "what may be mounted in a left root file system");
    // Never into what is still mounted there.
    let removed = quiet("rm")
        .args(["-rf", "--one-file-system", "--"])
        .arg(folder)
        .status()
        .await;
    if !removed
        .as_ref()
        .is_ok_and(std::process::ExitStatus::success)
    {
        tracing::warn!(%folder, ?removed, "a root file system that a killed run left stays");
    }
}

fn quiet(program: &str) -> Command {
    let mut command = Command::from(secrets::command(program));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_killed_run_was_bootstrapping_goes() {
        let above = tempfile::tempdir().unwrap();
        let above = Utf8Path::from_path(above.path()).unwrap();
        let make = |prefix: &str, hours: u64, mode: u32| {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(above);
            let folder = folder.unwrap().keep();
            fs_err::create_dir_all(folder.join("root/proc")).unwrap();
            fs_err::write(folder.join("root/file"), "of a root").unwrap();
            let rights = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs_err::set_permissions(&folder, rights).unwrap();
            let then = SystemTime::now() - Duration::from_hours(hours);
            let opened = fs_err::File::open(&folder).unwrap();
            opened.file().set_modified(then).unwrap();
            folder
        };
        let left = make(PREFIX, 5, 0o700);
        let stay = [
            make(PREFIX, 1, 0o700),
            make(PREFIX, 5, 0o777),
            make("somebody-", 5, 0o700),
        ];
        let made = new(above).await.unwrap();
        assert!(!left.exists());
        assert!(stay.iter().all(|folder| folder.join("root/file").exists()));
        let name = made.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(PREFIX) && made.path().is_dir());
    }
}
