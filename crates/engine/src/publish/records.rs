//! Wheels on record as they go out: hashed again, judged again, with what stands beside them.

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::contract::Contract;
use wheelfarm_core::gate::{judge, report};
use wheelfarm_core::manifest::{self, Manifest};
use wheelfarm_core::plan::Job;
use wheelfarm_core::receipt;
use wheelfarm_core::release::catalog::CatalogWheel;
use wheelfarm_core::release::wheel_page;
use wheelfarm_core::wheel::name::WheelName;

use crate::files::{self, FileError};
use crate::inspect::inspect_file;
use crate::run::REPORT_FILE;
use crate::shelf::{Blob, Fault};

/// What is appended to a wheel's name for its METADATA (PEP 658).
const METADATA: &str = ".metadata";

/// A record cannot go out.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A wheel on record is not what its manifest says.
    #[error("`{path}` has sha256 {found}, and its manifest says {wanted}")]
    Altered {
        /// The file.
        path: Utf8PathBuf,
        /// Its digest.
        found: Sha256Digest,
        /// The digest on record.
        wanted: Sha256Digest,
    },
    /// The receipt on record is not the one that the manifest names.
    #[error("receipt `{path}` has sha256 {found}, and the manifest says {wanted}")]
    OtherReceipt {
        /// The receipt.
        path: Utf8PathBuf,
        /// Its digest.
        found: Sha256Digest,
        /// The digest on record.
        wanted: Sha256Digest,
    },
    /// A wheel on record does not hold to its package's contract as that is now.
    #[error("the gate refuses `{path}`\n{}", .findings.join("\n"))]
    Refused {
        /// The wheel.
        path: Utf8PathBuf,
        /// What it found, a line each.
        findings: Vec<String>,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be read.
    #[error("failed to read what is to be published")]
    Read(#[from] io::Error),
}

impl Fault for RecordError {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Altered { .. } => "build the job again: `wheelfarm build --force --only <job>`",
            Self::OtherReceipt { .. } => {
                "run the wheel again: `wheelfarm prove WHEEL --out FOLDER`"
            }
            Self::Refused { .. } => {
                "`wheelfarm explain RULE` says why; mend the package and build it again"
            }
            Self::File(_) | Self::Read(_) => return None,
        };
        Some(text.to_owned())
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Altered { .. } | Self::OtherReceipt { .. } | Self::Refused { .. } => true,
            Self::File(_) | Self::Read(_) => false,
        }
    }
}

/// A wheel on record that was looked at again and may go out.
#[derive(Debug, Clone)]
pub struct ReadyWheel {
    /// The record's folder.
    pub record: Utf8PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// What the catalog will say of it; on no track yet.
    pub wheel: CatalogWheel,
    /// What stands beside it, by what is appended to its name.
    pub beside: BTreeMap<String, Vec<u8>>,
}

impl ReadyWheel {
    /// The wheel and its METADATA, as they are brought.
    pub fn blobs(&self) -> Result<[Blob; 2], RecordError> {
        let path = self.wheel.path();
        let wheel = self.place();
        let metadata = Utf8PathBuf::from(format!("{wheel}{METADATA}"));
        let fault = |source| FileError::new("read", &metadata, source);
        let length = fs::metadata(&metadata).map_err(fault)?.len();
        Ok([
            Blob {
                path: path.clone(),
                source: wheel,
                sha256: self.wheel.sha256,
                size_bytes: self.wheel.size_bytes,
            },
            Blob {
                path: format!("{path}{METADATA}"),
                source: metadata,
                sha256: self.wheel.metadata_sha256,
                size_bytes: length,
            },
        ])
    }

    /// Where the wheel lies on this machine.
    pub fn place(&self) -> Utf8PathBuf {
        self.record.join(&self.manifest.wheel.file_name)
    }
}

/// Looks at the wheels of `records` again, each a job's folder with its manifest: they have the digests
/// on record, and their receipts are those that the manifests name. They go out at `now` (RFC 3339).
///
/// Blocking: hashes every wheel.
pub fn ready(
    records: Vec<(Utf8PathBuf, Manifest)>,
    now: &str,
) -> Result<Vec<ReadyWheel>, RecordError> {
    let wheels = records.into_iter();
    wheels
        .map(|(record, manifest)| ready_wheel(record, manifest, now))
        .collect()
}

/// Holds the wheels of `records` against the contracts of their `jobs` again: a contract may have
/// changed since, and the manifest's word is for the old one. Symbols are not looked up again:
/// they were when the wheel was built, and no contract changes what torch has.
///
/// Blocking: reads every wheel to its end.
pub fn judge_again(records: &[(Utf8PathBuf, Manifest)], jobs: &[&Job]) -> Result<(), RecordError> {
    for (place, manifest) in records {
        let Some(job) = jobs.iter().find(|job| *job.id() == manifest.job) else {
            continue;
        };
        let path = place.join(&manifest.wheel.file_name);
        let report = inspect_file(&path, judge::DEPTH)?;
        let judgement = judge::judge(&report, &Contract::of_job(job), None);
        let errors = judgement.errors();
        if !errors.is_empty() {
            let findings = errors.into_iter().map(report::finding_line).collect();
            return Err(RecordError::Refused { path, findings });
        }
    }
    Ok(())
}

/// Between runs only the manifest vouched for a wheel.
fn ready_wheel(
    record: Utf8PathBuf,
    manifest: Manifest,
    now: &str,
) -> Result<ReadyWheel, RecordError> {
    let path = record.join(&manifest.wheel.file_name);
    check_digest(&path, manifest.wheel.sha256)?;
    let metadata = Utf8PathBuf::from(format!("{path}{METADATA}"));
    check_digest(&metadata, manifest.wheel.metadata_sha256)?;
    let name: WheelName = manifest.wheel.file_name.parse().map_err(io::Error::other)?;
    let mut wheel = CatalogWheel::new(name, &manifest, now);
    let beside = beside(&record, &manifest)?;
    let text = beside.get(&format!(".{}", manifest::FILE_NAME));
    wheel.manifest_sha256 = text.map(|text| Sha256Digest::of(text));
    Ok(ReadyWheel {
        record,
        manifest,
        wheel,
        beside,
    })
}

/// A wheel's manifest, its report, its receipt and its page.
fn beside(
    record: &Utf8Path,
    manifest: &Manifest,
) -> Result<BTreeMap<String, Vec<u8>>, RecordError> {
    let mut beside = BTreeMap::new();
    for kept in [manifest::FILE_NAME, REPORT_FILE] {
        match fs::read(record.join(kept)) {
            Ok(text) => drop(beside.insert(format!(".{kept}"), text)),
            // Wheels from before there was a gate have no report.
            Err(error) if kept == REPORT_FILE && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(text) = check_receipt(record, manifest)? {
        beside.insert(receipt_suffix(), text);
    }
    let page = wheel_page::wheel_page(manifest);
    beside.insert(wheel_page::SUFFIX.to_owned(), page.into_bytes());
    Ok(beside)
}

/// What is appended to a wheel's name for the receipt of its run on a GPU.
pub(super) fn receipt_suffix() -> String {
    format!(".{}", receipt::FILE_NAME)
}

/// The receipt that a manifest names, if it names one. Its word is all that the published page says of it.
fn check_receipt(record: &Utf8Path, manifest: &Manifest) -> Result<Option<Vec<u8>>, RecordError> {
    let run = manifest.gpu_run.as_ref();
    let Some(named) = run.and_then(|run| run.receipt.as_ref()) else {
        return Ok(None);
    };
    // The name is this program's, not the manifest's: nothing else is published by it.
    let path = record.join(receipt::FILE_NAME);
    let text = fs::read(&path)?;
    let (found, wanted) = (Sha256Digest::of(&text), named.sha256);
    if found == wanted {
        return Ok(Some(text));
    }
    Err(RecordError::OtherReceipt {
        path,
        found,
        wanted,
    })
}

fn check_digest(path: &Utf8Path, wanted: Sha256Digest) -> Result<(), RecordError> {
    let mut file = files::open(path.as_std_path())?;
    let fault = |source| FileError::new("read", path, source);
    let (found, _) = Sha256Digest::of_reader(&mut file).map_err(fault)?;
    if found == wanted {
        return Ok(());
    }
    Err(RecordError::Altered {
        path: path.to_owned(),
        found,
        wanted,
    })
}
