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
    /// Every wheel that it is of has one of a run on a GPU already, and this is of none.
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

#[cfg(test)]
mod tests {
    use wheelfarm_core::receipt::{
        Check, CheckResult, Device, GpuPresence, HostFacts, Run, RunMode, RunState, TorchFacts,
        WheelSubject, verdict,
    };

    use super::*;
    use crate::publish::{PublishError, publish_to_folder};

    const SAMPLE: &str = include_str!("../../../core/src/manifest/sample.json");

    /// An `out/` that has the sample's wheel on record; its folder.
    fn with_record(out: &Utf8Path) -> Utf8PathBuf {
        let mut manifest = Manifest::parse(SAMPLE).unwrap();
        manifest.wheel.sha256 = Sha256Digest::of(b"a wheel");
        manifest.wheel.metadata_sha256 = Sha256Digest::of(b"Name: x\n");
        let folder = out.join("jobs").join(manifest.job.as_str());
        fs_err::create_dir_all(&folder).unwrap();
        let wheel = folder.join(&manifest.wheel.file_name);
        fs_err::write(format!("{wheel}.metadata"), b"Name: x\n").unwrap();
        fs_err::write(wheel, b"a wheel").unwrap();
        let text = manifest
            .to_text()
            .replacen('{', "{\n  \"a_later_key\": 1,", 1);
        fs_err::write(folder.join(manifest::FILE_NAME), text).unwrap();
        folder
    }

    fn receipt(wheel: &[u8], gpu: GpuPresence) -> MachineReceipt {
        let check = Check {
            gpu: true,
            ..match gpu {
                GpuPresence::Present => Check::new("numbers", CheckResult::Pass, "off by 1e-9"),
                GpuPresence::Absent => Check::new("numbers", CheckResult::NotChecked, "no GPU"),
            }
        };
        let runs = vec![Run::new(RunMode::AsBuilt, vec![check], gpu)];
        let (state, reason) = verdict(&runs);
        MachineReceipt {
            schema: wheelfarm_core::receipt::SCHEMA,
            state,
            reason,
            wheel: WheelSubject {
                file_name: "x".to_owned(),
                sha256: Sha256Digest::of(wheel),
                size_bytes: 7,
            },
            jobs: Vec::new(),
            package: "torch-spline-conv".parse().unwrap(),
            test_sha256: None,
            python: "CPython 3.12.3".to_owned(),
            torch: TorchFacts {
                version: "2.11.0+cu130".to_owned(),
                cuda: Some("13.0".to_owned()),
                devices: Vec::new(),
            },
            device: (gpu == GpuPresence::Present).then(|| Device {
                name: "NVIDIA H200".to_owned(),
                capability: "9.0".to_owned(),
                memory_bytes: 1,
                driver: Some("580.159.03".to_owned()),
            }),
            runs,
            host: HostFacts {
                os: None,
                kernel: "6.1".to_owned(),
                glibc: None,
                machine: "x86_64".to_owned(),
            },
            proved_at: "2026-11-21T00:00:00Z".to_owned(),
            wheelfarm: "0.1.0".to_owned(),
        }
    }

    fn temporary() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("out")).unwrap();
        (folder, path)
    }

    fn manifest_of(folder: &Utf8Path) -> (String, Manifest) {
        let text = fs_err::read_to_string(folder.join(manifest::FILE_NAME)).unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        (text, manifest)
    }

    #[test]
    fn a_receipt_is_kept_with_the_wheel_that_it_is_of() {
        let (_folder, out) = temporary();
        let record = with_record(&out);
        let job = manifest_of(&record).1.job;
        let passed = receipt(b"a wheel", GpuPresence::Present);
        // As another machine wrote it: with a key that this program does not know.
        let text = passed
            .to_text()
            .replacen('{', "{\n  \"a_later_key\": 1,", 1);
        let kept = keep(&out, &passed, &text).unwrap();
        assert_eq!(kept, Kept::Recorded(vec![job.clone()]));
        let file = fs_err::read_to_string(record.join(FILE_NAME)).unwrap();
        assert_eq!(file, text);
        let (manifest_text, manifest) = manifest_of(&record);
        let run = manifest.gpu_run.unwrap();
        assert_eq!(run.state, RunState::Passed);
        assert_eq!(
            run.receipt.unwrap().sha256,
            Sha256Digest::of(text.as_bytes())
        );
        assert!(manifest_text.contains("a_later_key"), "{manifest_text}");

        let not_run = receipt(b"a wheel", GpuPresence::Absent);
        let kept = keep(&out, &not_run, &not_run.to_text()).unwrap();
        assert_eq!(kept, Kept::SaysLess(vec![job.clone()]));
        assert_eq!(
            manifest_of(&record).0,
            manifest_text,
            "the run on a GPU stays"
        );

        let other = receipt(b"another wheel", GpuPresence::Present);
        assert_eq!(
            keep(&out, &other, &other.to_text()).unwrap(),
            Kept::NoSuchWheel
        );
        assert_eq!(jobs_of(&out, passed.wheel.sha256).unwrap()[0].id, job);
        assert_eq!(jobs_of(&out, other.wheel.sha256).unwrap(), []);
    }

    #[test]
    fn a_folder_without_records_is_not_made_into_one() {
        let (_folder, out) = temporary();
        let passed = receipt(b"a wheel", GpuPresence::Present);
        let res = keep(&out, &passed, &passed.to_text());
        assert!(matches!(res, Err(KeepError::NoOut(_))), "{res:?}");
        assert!(!out.exists());
    }

    #[test]
    fn a_build_that_runs_keeps_receipts_out() {
        let (_folder, out) = temporary();
        with_record(&out);
        let _build = OutFolder::open(&out).unwrap();
        let passed = receipt(b"a wheel", GpuPresence::Present);
        let res = keep(&out, &passed, &passed.to_text());
        assert!(
            matches!(res, Err(KeepError::Out(OutError::Busy(_)))),
            "{res:?}"
        );
    }

    #[test]
    fn a_receipt_is_published_with_its_wheel_or_refused() {
        let (_folder, out) = temporary();
        let record = with_record(&out);
        let to = out.parent().unwrap().join("release");
        let publish = || publish_to_folder(&[(record.clone(), manifest_of(&record).1)], &to);
        let published = |suffix: &str| {
            let manifest = manifest_of(&record).1;
            let name = format!("{}.{suffix}", manifest.wheel.file_name);
            fs_err::read_to_string(to.join("cu130/torch2.11").join(name))
        };
        publish().unwrap();
        assert!(published(FILE_NAME).is_err(), "there is none yet");
        assert!(published("html").unwrap().contains("Run on a GPU: not run"));

        let passed = receipt(b"a wheel", GpuPresence::Present);
        let text = passed.to_text();
        keep(&out, &passed, &text).unwrap();
        publish().unwrap();
        assert_eq!(published(FILE_NAME).unwrap(), text);
        assert_eq!(published("manifest.json").unwrap(), manifest_of(&record).0);
        let page = published("html").unwrap();
        let line = "Run on a GPU: NVIDIA H200, driver 580.159.03, passed.";
        assert!(page.contains(line), "{page}");

        fs_err::write(record.join(FILE_NAME), text.replace("1e-9", "1e-12")).unwrap();
        let error = publish().unwrap_err();
        assert!(
            matches!(error, PublishError::OtherReceipt { .. }),
            "{error}"
        );
        assert!(error.is_refusal());
    }
}
