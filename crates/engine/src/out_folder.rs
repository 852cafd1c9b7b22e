//! The layout of `out/`, and the one way in which files get there.
//!
//! `jobs/<id>/` holds complete files only: they are written under `staging/<id>/`, synced, and the
//! folder is renamed into place. `failed/<id>/` holds what a failed job left for a person to read.
//! A lock keeps a second run out. What a killed run was about stays under `staging/` when it has an
//! `attempt.json`: its container may still run.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::JobId;

use crate::crash_point;
use crate::files::{self, FileError, Lock};

/// The file of a staged job whose container was begun: what the next run needs to go on with it.
pub const ATTEMPT_FILE: &str = "attempt.json";

/// An `out/` folder, locked by this run until dropped.
#[derive(Debug)]
pub struct OutFolder {
    root: Utf8PathBuf,
    _lock: Lock,
}

/// `out/` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// Another run holds it.
    #[error("another run of wheelfarm works in `{0}`")]
    Busy(Utf8PathBuf),
    /// A file or folder of it cannot be written.
    #[error("failed to prepare `{path}`")]
    Prepare {
        /// The folder.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: FileError,
    },
}

impl OutError {
    /// Whether a full disk is the cause.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Busy(_) => false,
            Self::Prepare { source, .. } => source.is_disk_full(),
        }
    }
}

impl OutFolder {
    /// Opens `root`, making it if need be, and undoes what a killed run left half done.
    pub fn open(root: &Utf8Path) -> Result<Self, OutError> {
        let prepare = |source: io::Error| OutError::Prepare {
            path: root.to_owned(),
            source: FileError::new("write", root, source),
        };
        for folder in ["jobs", "failed", "staging"] {
            fs::create_dir_all(root.join(folder)).map_err(prepare)?;
        }
        let root = root.canonicalize_utf8().map_err(prepare)?;
        let lock = files::lock(root.join(".lock")).map_err(|source| OutError::Prepare {
            path: root.clone(),
            source,
        })?;
        let Some(lock) = lock else {
            return Err(OutError::Busy(root));
        };
        let out = Self { root, _lock: lock };
        out.recover().map_err(prepare)?;
        Ok(out)
    }

    /// Holds `root` as it is, so that nothing is built there meanwhile; what a killed run left half done stays for the
    /// next build.
    ///
    /// # Errors
    /// Another run holds it, or it is not there.
    pub fn hold(root: &Utf8Path) -> Result<Self, OutError> {
        let prepare = |source: io::Error| OutError::Prepare {
            path: root.to_owned(),
            source: FileError::new("open", root, source),
        };
        let root = root.canonicalize_utf8().map_err(prepare)?;
        let lock = files::lock(root.join(".lock")).map_err(|source| OutError::Prepare {
            path: root.clone(),
            source,
        })?;
        match lock {
            Some(lock) => Ok(Self { root, _lock: lock }),
            None => Err(OutError::Busy(root)),
        }
    }

    /// The folder itself, absolute.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// A label value that tells this folder's containers from those of any other.
    pub fn label(&self, farm: &str) -> String {
        folder_label(farm, &self.root)
    }

    /// Where a job's files are on record.
    pub fn job(&self, job: &JobId) -> Utf8PathBuf {
        self.root.join("jobs").join(job.as_str())
    }

    /// Where a failed job's files lie.
    pub fn failed(&self, job: &JobId) -> Utf8PathBuf {
        self.root.join("failed").join(job.as_str())
    }

    /// A new, empty folder for a job's files while they are made.
    pub fn stage(&self, job: &JobId) -> Result<StagedJob, FileError> {
        stage_at(self.staging(job), job)
    }

    /// The same for a rehearsal, which leaves alone what a killed build of the job has there.
    pub fn stage_rehearsal(&self, job: &JobId) -> Result<StagedJob, FileError> {
        let name = format!("{job}.rehearsal");
        stage_at(self.root.join("staging").join(name), job)
    }

    /// The jobs that a killed run had in a container.
    pub fn unfinished(&self) -> Result<Vec<StagedJob>, FileError> {
        let folder = self.root.join("staging");
        let read = |source| FileError::new("read", &folder, source);
        let mut jobs = Vec::new();
        for entry in folder.read_dir_utf8().map_err(read)? {
            let entry = entry.map_err(read)?;
            if let Ok(job) = entry.file_name().parse() {
                let path = entry.path().to_owned();
                jobs.push(StagedJob { path, job });
            }
        }
        Ok(jobs)
    }

    /// Puts a complete staged job on record, in the place of what was there.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the staged folder is used up"
    )]
    pub fn record(&self, staged: StagedJob) -> Result<Utf8PathBuf, FileError> {
        let place = self.job(&staged.job);
        // Until its folder is renamed, a killed run finds the job's container and makes the record again.
        files::sync_folder(&staged.path)?;
        let old = self.old(&staged.job);
        if place.exists() {
            remove_folder(&old).map_err(|source| FileError::new("write", &old, source))?;
            // Killed between these two renames, `recover` brings the old folder back.
            rename(&place, &old)?;
        }
        if let Err(error) = rename(&staged.path, &place) {
            bring_back(&old, &place);
            return Err(error);
        }
        files::sync_folder(place.parent().unwrap_or(&place))?;
        crash_point::reach("before the folder of a job that was moved aside is removed");
        tidy(&old);
        self.tidy_recorded(&staged.job);
        Ok(place)
    }

    /// Removes what a job that is on record has no use for. The wheel is there, whatever becomes of what is left.
    fn tidy_recorded(&self, job: &JobId) {
        crash_point::reach("before the folder of a failure is removed");
        tidy(&self.failed(job));
        // Last: where a kill leaves the note, `recover` does this again.
        crash_point::reach("before the note of a recorded job's container is removed");
        tidy(&self.job(job).join(ATTEMPT_FILE));
    }

    /// Keeps what a failed job left, for a person to read.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the staged folder is used up"
    )]
    pub fn keep_failed(&self, staged: StagedJob) -> Result<Utf8PathBuf, FileError> {
        let place = self.failed(&staged.job);
        remove_folder(&place).map_err(|source| FileError::new("write", &place, source))?;
        // A failed job is not gone on with.
        let note = staged.path.join(ATTEMPT_FILE);
        remove_folder(&note).map_err(|source| FileError::new("write", &note, source))?;
        files::sync_folder(&staged.path)?;
        rename(&staged.path, &place)?;
        files::sync_folder(place.parent().unwrap_or(&place))?;
        Ok(place)
    }

    /// Throws a staged job away.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the staged folder is used up"
    )]
    pub fn discard(&self, staged: StagedJob) -> Result<(), FileError> {
        remove_folder(&staged.path).map_err(|source| FileError::new("write", &staged.path, source))
    }

    /// Brings back a record that a killed run had moved aside, tidies one that it had just put in place, and empties
    /// `staging/` but for the jobs whose container may still run.
    fn recover(&self) -> io::Result<()> {
        for entry in self.root.join("staging").read_dir_utf8()? {
            let entry = entry?;
            let job = entry.file_name().strip_suffix(".old");
            let place = job.map(|job| self.root.join("jobs").join(job));
            match place {
                Some(place) if !place.exists() => fs::rename(entry.path(), place)?,
                None if entry.path().join(ATTEMPT_FILE).is_file() => {}
                _ => remove_folder(entry.path())?,
            }
            crash_point::reach("after a folder under `staging/` is brought back or removed");
        }
        for entry in self.root.join("jobs").read_dir_utf8()? {
            let entry = entry?;
            let job = entry.file_name().parse();
            if let (Ok(job), true) = (job, entry.path().join(ATTEMPT_FILE).exists()) {
                self.tidy_recorded(&job);
            }
        }
        Ok(())
    }

    /// Where the record of a job is moved while another takes its place.
    fn old(&self, job: &JobId) -> Utf8PathBuf {
        self.root.join("staging").join(format!("{job}.old"))
    }

    fn staging(&self, job: &JobId) -> Utf8PathBuf {
        self.root.join("staging").join(job.as_str())
    }
}

/// A label value that tells the containers of `farm` in a folder from those of any other.
pub fn folder_label(farm: &str, folder: &Utf8Path) -> String {
    let place = Sha256Digest::of(folder.as_str().as_bytes());
    format!("{farm}@{}", place.short())
}

/// A folder under `staging/`, owned by one job.
#[derive(Debug)]
pub struct StagedJob {
    path: Utf8PathBuf,
    job: JobId,
}

impl StagedJob {
    /// Which job's.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// Where its files are written.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

fn stage_at(path: Utf8PathBuf, job: &JobId) -> Result<StagedJob, FileError> {
    let prepare = |source| FileError::new("write", &path, source);
    remove_folder(&path).map_err(prepare)?;
    fs::create_dir_all(&path).map_err(prepare)?;
    let job = job.clone();
    Ok(StagedJob { path, job })
}

fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), FileError> {
    crash_point::reach("before a job's folder is renamed");
    let res = fs::rename(from, to).map_err(|source| FileError::new("write", to, source));
    crash_point::reach("after a job's folder is renamed");
    res
}

/// Puts a record back that was moved aside for one that cannot take its place: the job may begin again in
/// this run, and fail.
fn bring_back(old: &Utf8Path, place: &Utf8Path) {
    if old.exists()
        && let Err(error) = fs::rename(old, place)
    {
        tracing::warn!(%old, %error, "a record lies where the next run brings it back from");
    }
}

fn tidy(path: &Utf8Path) {
    if let Err(error) = remove_folder(path) {
        tracing::warn!(%path, %error, "left behind");
    }
}

fn remove_folder(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
        res => res,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("out")).unwrap();
        (folder, path)
    }

    fn job() -> JobId {
        "demo-1.0-cu130-torch2.11-cp311".parse().unwrap()
    }

    fn stage(out: &OutFolder, text: &str) -> StagedJob {
        let staged = out.stage(&job()).unwrap();
        for file in ["manifest.json", ATTEMPT_FILE] {
            files::write_atomic(staged.path().join(file), text.as_bytes()).unwrap();
        }
        staged
    }

    fn on_record(out: &OutFolder) -> String {
        fs::read_to_string(out.job(&job()).join("manifest.json")).unwrap()
    }

    #[test]
    fn a_second_run_is_kept_out() {
        let (_folder, path) = temporary();
        let first = OutFolder::open(&path).unwrap();
        assert!(matches!(OutFolder::open(&path), Err(OutError::Busy(_))));
        drop(first);
        assert!(OutFolder::open(&path).is_ok());
    }

    #[test]
    fn a_record_replaces_the_one_before() {
        let (_folder, path) = temporary();
        let out = OutFolder::open(&path).unwrap();
        out.record(stage(&out, "one")).unwrap();
        out.record(stage(&out, "two")).unwrap();
        assert_eq!(on_record(&out), "two");
        assert_eq!(path.join("staging").read_dir_utf8().unwrap().count(), 0);
    }

    #[test]
    fn a_failed_job_leaves_the_record_alone_and_success_clears_it() {
        let (_folder, path) = temporary();
        let out = OutFolder::open(&path).unwrap();
        out.record(stage(&out, "good")).unwrap();
        out.keep_failed(stage(&out, "bad")).unwrap();
        out.keep_failed(stage(&out, "bad again")).unwrap();
        assert_eq!(on_record(&out), "good");
        assert!(out.failed(&job()).exists());
        out.record(stage(&out, "better")).unwrap();
        assert!(!out.failed(&job()).exists());
    }

    #[test]
    fn a_run_killed_at_any_rename_is_recovered() {
        let mut found = Vec::new();
        for place in 1.. {
            let (_folder, path) = temporary();
            let out = OutFolder::open(&path).unwrap();
            out.record(stage(&out, "good")).unwrap();
            out.keep_failed(stage(&out, "bad")).unwrap();
            let better = stage(&out, "better");
            let done = crash_point::unwinding_at(place, || out.record(better).unwrap());
            drop(out);
            // Killed again while it recovers, at the same place or never.
            crash_point::unwinding_at(place, || OutFolder::open(&path).unwrap());
            let out = OutFolder::open(&path).unwrap();
            let unfinished = out.unfinished().unwrap().pop();
            let text = on_record(&out);
            // Either the next run goes on with the container, or the wheel is on record and nothing else is left.
            assert_eq!(unfinished.is_some(), text == "good");
            assert_eq!(out.failed(&job()).exists(), text == "good");
            assert!(!out.job(&job()).join(ATTEMPT_FILE).exists());
            found.push(text);
            if done.is_some() {
                break;
            }
        }
        // Until the new record is in its place, the old one is brought back.
        let new = found.iter().position(|text| text == "better").unwrap();
        assert!(found.split_at(new).0.iter().all(|text| text == "good"));
        assert!(found.split_at(new).1.iter().all(|text| text == "better"));
        assert!(found.len() > 6, "{found:?}");
    }

    #[test]
    fn a_record_that_cannot_take_its_place_leaves_the_one_before() {
        let (_folder, path) = temporary();
        let out = OutFolder::open(&path).unwrap();
        out.record(stage(&out, "good")).unwrap();
        // The folder that the record stands in cannot be renamed into itself.
        let staged = StagedJob {
            path: path.join("jobs"),
            job: job(),
        };
        out.record(staged).unwrap_err();
        assert_eq!(on_record(&out), "good");
        // The same run begins the job again.
        out.keep_failed(stage(&out, "bad")).unwrap();
        assert_eq!(on_record(&out), "good");
        out.record(stage(&out, "better")).unwrap();
        assert_eq!(on_record(&out), "better");
        assert_eq!(path.join("staging").read_dir_utf8().unwrap().count(), 0);
    }

    #[test]
    fn a_failure_killed_at_any_rename_leaves_the_record_alone() {
        for place in 1.. {
            let (_folder, path) = temporary();
            let out = OutFolder::open(&path).unwrap();
            out.record(stage(&out, "good")).unwrap();
            out.keep_failed(stage(&out, "bad")).unwrap();
            let done = crash_point::unwinding_at(place, || {
                out.keep_failed(stage(&out, "worse")).unwrap();
            });
            drop(out);
            let out = OutFolder::open(&path).unwrap();
            assert_eq!(on_record(&out), "good");
            let failed = fs::read_to_string(out.failed(&job()).join("manifest.json"));
            assert!(failed.is_err() || failed.is_ok_and(|text| ["bad", "worse"].contains(&&*text)));
            if done.is_some() {
                break;
            }
        }
    }
}
