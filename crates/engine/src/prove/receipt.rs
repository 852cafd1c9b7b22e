//! Keeps receipts of machines: beside the wheel on record that they are of, and in its manifest.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::manifest::{self, Manifest};
use wheelfarm_core::receipt::{FILE_NAME, GpuRunRecord, JobSubject, MachineReceipt, ReceiptError};

use crate::farm_folder::{self, RecordError};
use crate::files::{self, FileError};
use crate::out_folder::{OutError, OutFolder};

/// A receipt cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The folder has no records.
    #[error("`{0}` is no folder that builds were recorded in")]
    NoOut(Utf8PathBuf),
    /// It cannot be used now.
    #[error(transparent)]
    Out(#[from] OutError),
    /// What is on record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file is no receipt of this program.
    #[error("`{path}` is no receipt that can be kept")]
    Receipt {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: ReceiptError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What became of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It lies beside the wheels of these jobs.
    Recorded(Vec<JobId>),
    /// Every wheel that it is of has one already that says more than `not run`.
    SaysLess(Vec<JobId>),
    /// No wheel on record has its digest.
    NoSuchWheel,
}

/// The jobs under `out` that made exactly the wheel with digest `sha256`.
pub fn jobs_of(out: &Utf8Path, sha256: Sha256Digest) -> Result<Vec<JobSubject>, KeepError> {
    let records = records_of(out, sha256)?.into_iter();
    Ok(records
        .map(|(_, manifest)| JobSubject {
            id: manifest.job,
            digest: manifest.job_digest,
        })
        .collect())
}

/// Puts `receipt` beside every wheel under `out` that it is of, then into the manifest; killed in
/// between, the manifest still says what it said before.
///
/// `text` is the receipt as it was written.
pub fn keep(out: &Utf8Path, receipt: &MachineReceipt, text: &str) -> Result<Kept, KeepError> {
    if !out.join("jobs").is_dir() {
        return Err(KeepError::NoOut(out.to_owned()));
    }
    // A build that runs would take the folder away from under the manifest.
    let out = OutFolder::open(out)?;
    let record = GpuRunRecord::of(receipt, text);
    let (mut kept, mut passed_over) = (Vec::new(), Vec::new());
    for (folder, manifest) in records_of(out.root(), receipt.wheel.sha256)? {
        let job = manifest.job.clone();
        if !record.replaces(manifest.gpu_run.as_ref()) {
            passed_over.push(job);
            continue;
        }
        files::write_atomic(folder.join(FILE_NAME), text.as_bytes())?;
        let path = folder.join(manifest::FILE_NAME);
        let unread = |error| FileError::new("read", &path, error);
        let old = fs_err::read_to_string(&path).map_err(unread)?;
        let new = manifest::with_gpu_run(&old, &record)
            .map_err(|error| unread(io::Error::other(error)))?;
        files::write_atomic(&path, new.as_bytes())?;
        kept.push(job);
    }
    Ok(match (kept.is_empty(), passed_over.is_empty()) {
        (false, _) => Kept::Recorded(kept),
        (true, false) => Kept::SaysLess(passed_over),
        (true, true) => Kept::NoSuchWheel,
    })
}

/// Reads the receipt at `path`, which another machine has written; with its text.
pub fn read(path: &Utf8Path) -> Result<(MachineReceipt, String), KeepError> {
    let text = fs_err::read_to_string(path).map_err(|error| FileError::new("read", path, error))?;
    match MachineReceipt::parse(&text) {
        Ok(receipt) => Ok((receipt, text)),
        Err(source) => Err(KeepError::Receipt {
            path: path.to_owned(),
            source,
        }),
    }
}

fn records_of(
    out: &Utf8Path,
    sha256: Sha256Digest,
) -> Result<Vec<(Utf8PathBuf, Manifest)>, KeepError> {
    let mut records = farm_folder::manifests(out)?;
    records.retain(|(_, manifest)| manifest.wheel.sha256 == sha256);
    Ok(records)
}
