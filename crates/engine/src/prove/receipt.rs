//! Keeps receipts of machines: beside the wheel on record that they are of, and in its manifest; and as
//! files of their own, which nothing else than a better receipt of the same wheel takes the place of.

use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::manifest::{self, Manifest};
use wheelfarm_core::receipt::{
    FILE_NAME, GpuRunRecord, JobSubject, MachineReceipt, ReceiptError, Stays,
};

use crate::farm_folder::{self, RecordError};
use crate::files::{self, FileError};
use crate::out_folder::{OutError, OutFolder};

/// The most of a file that is read to see whether it is a receipt; the output of a test that one can hold
/// is a few hundred kilobytes. In bytes.
const MAX_BYTES: u64 = 16 << 20;

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
    /// No wheel on record is the one that a receipt is of.
    #[error("`{path}` is of `{wheel}`, and no wheel on record in `{out}` has its digest")]
    Unknown {
        /// The receipt.
        path: Utf8PathBuf,
        /// The wheel's file name.
        wheel: String,
        /// The folder.
        out: Utf8PathBuf,
    },
    /// What is on record stays.
    #[error("`{path}` cannot take the place of the receipt of `{job}`")]
    Refused {
        /// The receipt.
        path: Utf8PathBuf,
        /// The job.
        job: JobId,
        /// Why.
        #[source]
        source: Stays,
    },
    /// There is something else where the receipt was to go.
    #[error("`{path}` is there already, and is no receipt")]
    Occupied {
        /// The file.
        path: Utf8PathBuf,
        /// Why it is none.
        #[source]
        source: ReceiptError,
    },
    /// There is a receipt of other bytes where the receipt was to go.
    #[error(
        "`{path}` is there already, and is a receipt of other bytes, of `{wheel}` with sha256 {sha256}"
    )]
    OfOtherWheel {
        /// The file.
        path: Utf8PathBuf,
        /// The name of its wheel.
        wheel: String,
        /// The digest of its wheel.
        sha256: Sha256Digest,
    },
    /// There is a receipt that stays where the receipt was to go.
    #[error("the receipt `{path}` stays, and that of this run ({run}) is not written")]
    NotReplaced {
        /// The file.
        path: Utf8PathBuf,
        /// What the run came to, in a line.
        run: String,
        /// Why.
        #[source]
        source: Stays,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl KeepError {
    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoOut(_) => {
                Some("name the folder that `wheelfarm build --out` was given, or run without --out")
            }
            Self::Receipt { .. } => {
                Some("import a file that `wheelfarm prove` has written, as it was written")
            }
            Self::Unknown { .. } => Some("a wheel that was built again has to be run again"),
            Self::Refused { source, .. } => Some(match source {
                Stays::SaysLess | Stays::Older { .. } => {
                    "leave it out: what is on record says more, or is later"
                }
                Stays::OtherDevice { .. } => {
                    "run the wheel again where it failed: `wheelfarm prove WHEEL`"
                }
            }),
            Self::Occupied { .. } | Self::OfOtherWheel { .. } | Self::NotReplaced { .. } => {
                Some("name another file: `--receipt FILE`, or move this one away")
            }
            Self::Out(_) | Self::Record(_) | Self::File(_) => None,
        }
    }
}

/// A receipt of another machine, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its file.
    pub path: Utf8PathBuf,
    /// What it says.
    pub receipt: MachineReceipt,
    /// Its text.
    pub text: String,
}

/// What became of a receipt. Both empty: no wheel on record has its digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The jobs beside whose wheels it lies.
    pub recorded: Vec<JobId>,
    /// The jobs that keep what they have, and why.
    pub stays: Vec<(JobId, Stays)>,
}

impl Kept {
    /// Whether a wheel keeps another receipt although this says something that it does not.
    pub fn is_refused(&self) -> bool {
        self.stays.iter().any(|(_, why)| why.is_refusal())
    }
}

type Records = Vec<(Utf8PathBuf, Manifest)>;

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
    let out = open(out)?;
    let mut records = farm_folder::manifests(out.root())?;
    let kept = plan(&mut records, receipt, text);
    write_records(&records, &kept, receipt, text)?;
    Ok(kept)
}

/// Keeps every receipt of `received`, or none: one that no wheel on record has the digest of, or that is
/// refused by what is there (those before it in `received` included), is an error before the first write.
pub fn import(out: &Utf8Path, received: &[Received]) -> Result<Vec<Kept>, KeepError> {
    let out = open(out)?;
    let mut records = farm_folder::manifests(out.root())?;
    let mut all = Vec::new();
    for Received {
        path,
        receipt,
        text,
    } in received
    {
        let kept = plan(&mut records, receipt, text);
        if kept == Kept::default() {
            return Err(KeepError::Unknown {
                path: path.clone(),
                wheel: receipt.wheel.file_name.clone(),
                out: out.root().to_owned(),
            });
        }
        if let Some((job, why)) = kept.stays.iter().find(|(_, why)| why.is_refusal()) {
            return Err(KeepError::Refused {
                path: path.clone(),
                job: job.clone(),
                source: why.clone(),
            });
        }
        all.push(kept);
    }
    for (kept, received) in all.iter().zip(received) {
        write_records(&records, kept, &received.receipt, &received.text)?;
    }
    Ok(all)
}

/// A build that runs would take the folder away from under the manifest.
fn open(out: &Utf8Path) -> Result<OutFolder, KeepError> {
    if !out.join("jobs").is_dir() {
        return Err(KeepError::NoOut(out.to_owned()));
    }
    Ok(OutFolder::open(out)?)
}

/// What becomes of `receipt`; `records` say it afterwards, and nothing is written.
fn plan(records: &mut Records, receipt: &MachineReceipt, text: &str) -> Kept {
    let record = GpuRunRecord::of(receipt, text);
    let mut kept = Kept::default();
    let same = |manifest: &Manifest| manifest.wheel.sha256 == receipt.wheel.sha256;
    for (folder, manifest) in records.iter_mut().filter(|(_, manifest)| same(manifest)) {
        let job = manifest.job.clone();
        if let Some(old) = &mut manifest.gpu_run
            && old.proved_at.is_none()
            && old.receipt.is_some()
        {
            // The record is from before its time was kept; the receipt beside it has always had one.
            let beside = read(&folder.join(FILE_NAME));
            old.proved_at = beside.ok().map(|(receipt, _)| receipt.proved_at);
        }
        match record.replaces(manifest.gpu_run.as_ref()) {
            Ok(()) => {
                manifest.gpu_run = Some(record.clone());
                kept.recorded.push(job);
            }
            Err(why) => kept.stays.push((job, why)),
        }
    }
    kept
}

fn write_records(
    records: &Records,
    kept: &Kept,
    receipt: &MachineReceipt,
    text: &str,
) -> Result<(), KeepError> {
    let record = GpuRunRecord::of(receipt, text);
    let is_kept = |manifest: &Manifest| kept.recorded.contains(&manifest.job);
    for (folder, _) in records.iter().filter(|(_, manifest)| is_kept(manifest)) {
        files::write_atomic(folder.join(FILE_NAME), text.as_bytes())?;
        let path = folder.join(manifest::FILE_NAME);
        let unread = |error| FileError::new("read", &path, error);
        let old = fs_err::read_to_string(&path).map_err(unread)?;
        let new = manifest::with_gpu_run(&old, &record)
            .map_err(|error| unread(io::Error::other(error)))?;
        files::write_atomic(&path, new.as_bytes())?;
    }
    Ok(())
}

/// Whether the receipt of `wheel` could go to `path`, as far as that can be told before it is there: no
/// file is, or a receipt of the same bytes.
///
/// Blocking: hashes the wheel if there is a receipt.
pub fn check_place(path: &Utf8Path, wheel: &Utf8Path) -> Result<(), KeepError> {
    let Some(there) = occupant(path)? else {
        return Ok(());
    };
    let unread = |error| FileError::new("read", wheel, error);
    let mut file = files::open(wheel.as_std_path())?;
    let (sha256, _) = Sha256Digest::of_reader(&mut file).map_err(unread)?;
    same_wheel(path, &there, sha256)
}

/// Writes `receipt`, whose text is `text`, to `path`, unless what is there stays.
pub fn write(path: &Utf8Path, receipt: &MachineReceipt, text: &str) -> Result<(), KeepError> {
    if let Some(there) = occupant(path)? {
        same_wheel(path, &there, receipt.wheel.sha256)?;
        let new = GpuRunRecord::of(receipt, text);
        let old = GpuRunRecord::of(&there, &there.to_text());
        if let Err(source) = new.replaces(Some(&old)) {
            return Err(KeepError::NotReplaced {
                path: path.to_owned(),
                run: new.line(),
                source,
            });
        }
    }
    files::write_atomic(path, text.as_bytes())?;
    Ok(())
}

/// The receipt at `path`, if there is anything.
fn occupant(path: &Utf8Path) -> Result<Option<MachineReceipt>, KeepError> {
    match read(path) {
        Ok((receipt, _)) => Ok(Some(receipt)),
        Err(KeepError::Receipt { path, source }) => Err(KeepError::Occupied { path, source }),
        Err(_) if !path.exists() => Ok(None),
        Err(error) => Err(error),
    }
}

fn same_wheel(
    path: &Utf8Path,
    there: &MachineReceipt,
    sha256: Sha256Digest,
) -> Result<(), KeepError> {
    if there.wheel.sha256 == sha256 {
        return Ok(());
    }
    Err(KeepError::OfOtherWheel {
        path: path.to_owned(),
        wheel: there.wheel.file_name.clone(),
        sha256: there.wheel.sha256,
    })
}

/// Reads the receipt at `path`, which another machine has written; with its text.
pub fn read(path: &Utf8Path) -> Result<(MachineReceipt, String), KeepError> {
    let fault = |error| FileError::new("read", path, error);
    let file = fs_err::File::open(path).map_err(fault)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    // What is not UTF-8 is no receipt either, and the parser says where it stops being one.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match MachineReceipt::parse(&text) {
        Ok(receipt) => Ok((receipt, text)),
        Err(source) => Err(KeepError::Receipt {
            path: path.to_owned(),
            source,
        }),
    }
}

fn records_of(out: &Utf8Path, sha256: Sha256Digest) -> Result<Records, KeepError> {
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
    use crate::publish::records::{ReadyWheel, RecordError, ready};
    use crate::shelf::Fault;

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
        assert_eq!((kept.recorded, kept.stays), (vec![job.clone()], vec![]));
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
        assert!(!kept.is_refused());
        assert_eq!(kept.stays, [(job.clone(), Stays::SaysLess)]);
        assert_eq!(
            manifest_of(&record).0,
            manifest_text,
            "the run on a GPU stays"
        );

        let other = receipt(b"another wheel", GpuPresence::Present);
        assert_eq!(
            keep(&out, &other, &other.to_text()).unwrap(),
            Kept::default()
        );
        assert_eq!(jobs_of(&out, passed.wheel.sha256).unwrap()[0].id, job);
        assert_eq!(jobs_of(&out, other.wheel.sha256).unwrap(), []);
    }

    fn failed(at: &str) -> MachineReceipt {
        let mut receipt = receipt(b"a wheel", GpuPresence::Present);
        let check = Check::new("numbers", CheckResult::Fail, "off by 3");
        receipt.runs = vec![Run::new(
            RunMode::AsBuilt,
            vec![check],
            GpuPresence::Present,
        )];
        (receipt.state, receipt.reason) = verdict(&receipt.runs);
        at.clone_into(&mut receipt.proved_at);
        receipt
    }

    fn received(name: &str, receipt: MachineReceipt) -> Received {
        Received {
            path: name.into(),
            text: receipt.to_text(),
            receipt,
        }
    }

    #[test]
    fn an_earlier_pass_does_not_hide_a_failure() {
        let (_folder, out) = temporary();
        let record = with_record(&out);
        let failed = failed("2026-11-21T00:00:00.5Z");
        let text = failed.to_text();
        assert!(!keep(&out, &failed, &text).unwrap().recorded.is_empty());
        let passed = receipt(b"a wheel", GpuPresence::Present);
        let refused = || {
            let kept = keep(&out, &passed, &passed.to_text()).unwrap();
            assert!(kept.is_refused() && kept.recorded.is_empty(), "{kept:?}");
            assert!(matches!(kept.stays[0].1, Stays::Older { .. }), "{kept:?}");
        };
        refused();
        // A record from before its time was kept: the receipt beside it tells.
        let path = record.join(manifest::FILE_NAME);
        let kept = manifest_of(&record).0;
        let undated = kept.replace("\"proved_at\": \"2026-11-21T00:00:00.5Z\",", "");
        assert_ne!(undated, kept);
        fs_err::write(&path, undated).unwrap();
        refused();
        let manifest = manifest_of(&record).1;
        assert_eq!(manifest.gpu_run.unwrap().state, RunState::Failed);
        let beside = fs_err::read_to_string(record.join(FILE_NAME)).unwrap();
        assert_eq!(beside, text);
    }

    #[test]
    fn receipts_are_imported_all_or_none() {
        let (_folder, out) = temporary();
        let record = with_record(&out);
        let before = manifest_of(&record).0;
        let passed = || received("a.json", receipt(b"a wheel", GpuPresence::Present));
        let not_run = received("c.json", receipt(b"a wheel", GpuPresence::Absent));
        let unknown = received("b.json", receipt(b"another wheel", GpuPresence::Present));
        let earlier = received("b.json", failed("2026-11-20T00:00:00Z"));
        let mut elsewhere = receipt(b"a wheel", GpuPresence::Present);
        elsewhere.device.as_mut().unwrap().name = "NVIDIA L4".to_owned();
        elsewhere.proved_at = "2026-11-22T00:00:00Z".to_owned();
        let elsewhere = received("b.json", elsewhere);
        let fails = received("a.json", failed("2026-11-21T00:00:00Z"));
        let told = [[passed(), unknown], [passed(), earlier], [fails, elsewhere]].map(|received| {
            let error = import(&out, &received).unwrap_err();
            assert_eq!(manifest_of(&record).0, before);
            assert!(!record.join(FILE_NAME).exists());
            let told = wheelfarm_core::diagnostic::chain(&error);
            told.replace(out.as_str(), "out")
        });
        insta::assert_snapshot!(told.join("\n"), @r"
        `b.json` is of `x`, and no wheel on record in `out` has its digest
        `b.json` cannot take the place of the receipt of `torch-spline-conv-1.2.2-cu130-torch2.11-cp311`: what is there is of 2026-11-21T00:00:00Z, and this is of 2026-11-20T00:00:00Z, which is earlier
        `b.json` cannot take the place of the receipt of `torch-spline-conv-1.2.2-cu130-torch2.11-cp311`: what is there failed on `NVIDIA H200`, and this ran on `NVIDIA L4`
        ");
        let kept = import(&out, &[passed(), not_run]).unwrap();
        assert_eq!(kept[0].recorded.len(), 1);
        assert_eq!(kept[1].stays[0].1, Stays::SaysLess);
        let manifest = manifest_of(&record).1;
        assert_eq!(manifest.gpu_run.unwrap().state, RunState::Passed);
    }

    #[test]
    fn a_file_is_replaced_by_a_better_receipt_of_its_wheel_alone() {
        let (_folder, out) = temporary();
        fs_err::create_dir_all(&out).unwrap();
        let (path, wheel) = (out.join("receipt.json"), out.join("x.whl"));
        fs_err::write(&wheel, b"a wheel").unwrap();
        check_place(&path, &wheel).unwrap();
        let failed = failed("2026-11-21T00:00:30Z");
        write(&path, &failed, &failed.to_text()).unwrap();
        check_place(&path, &wheel).unwrap();

        let mut told = Vec::new();
        let mut refused = |error: KeepError| {
            assert!(error.hint().unwrap().contains("--receipt"));
            let text = wheelfarm_core::diagnostic::chain(&error);
            told.push(text.replace(out.as_str(), "out"));
        };
        let passed = receipt(b"a wheel", GpuPresence::Present);
        refused(write(&path, &passed, &passed.to_text()).unwrap_err());
        let other = receipt(b"another wheel", GpuPresence::Present);
        refused(write(&path, &other, &other.to_text()).unwrap_err());
        refused(write(&wheel, &passed, &passed.to_text()).unwrap_err());
        refused(check_place(&wheel, &wheel).unwrap_err());
        assert_eq!(fs_err::read_to_string(&path).unwrap(), failed.to_text());
        fs_err::write(&wheel, b"a wheel, built again").unwrap();
        refused(check_place(&path, &wheel).unwrap_err());
        insta::assert_snapshot!(told.join("\n"), @r"
        the receipt `out/receipt.json` stays, and that of this run (NVIDIA H200, driver 580.159.03, passed) is not written: what is there is of 2026-11-21T00:00:30Z, and this is of 2026-11-21T00:00:00Z, which is earlier
        `out/receipt.json` is there already, and is a receipt of other bytes, of `x` with sha256 69f51477f05c46bfa5ff0027a1fcde274695311a38adfb85611ffeb93c8b146b
        `out/x.whl` is there already, and is no receipt: failed to read the receipt: expected value at line 1 column 1
        `out/x.whl` is there already, and is no receipt: failed to read the receipt: expected value at line 1 column 1
        `out/receipt.json` is there already, and is a receipt of other bytes, of `x` with sha256 69f51477f05c46bfa5ff0027a1fcde274695311a38adfb85611ffeb93c8b146b
        ");

        let later = MachineReceipt {
            proved_at: "2026-11-21T00:00:31Z".to_owned(),
            ..passed
        };
        write(&path, &later, &later.to_text()).unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), later.to_text());
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

    fn ready_of(record: &Utf8Path) -> Result<ReadyWheel, RecordError> {
        let records = vec![(record.to_owned(), manifest_of(record).1)];
        Ok(ready(records, "2026-11-21T03:00:00Z")?.remove(0))
    }

    #[test]
    fn a_receipt_goes_out_with_its_wheel_or_is_refused() {
        let (_folder, out) = temporary();
        let record = with_record(&out);
        let beside = |suffix: &str| {
            let ready = ready_of(&record).unwrap();
            let text = ready.beside.get(&format!(".{suffix}")).cloned();
            text.map(|text| String::from_utf8(text).unwrap())
        };
        assert_eq!(beside(FILE_NAME), None, "there is none yet");
        assert!(beside("html").unwrap().contains("Run on a GPU: not run"));
        let before = ready_of(&record).unwrap().wheel;

        let passed = receipt(b"a wheel", GpuPresence::Present);
        let text = passed.to_text();
        keep(&out, &passed, &text).unwrap();
        assert_eq!(beside(FILE_NAME), Some(text.clone()));
        assert_eq!(beside("manifest.json").unwrap(), manifest_of(&record).0);
        let page = beside("html").unwrap();
        let line = "Run on a GPU: NVIDIA H200, driver 580.159.03, passed.";
        assert!(page.contains(line), "{page}");
        let now = ready_of(&record).unwrap().wheel;
        assert_ne!(now.manifest_sha256, before.manifest_sha256);

        fs_err::write(record.join(FILE_NAME), text.replace("1e-9", "1e-12")).unwrap();
        let error = ready_of(&record).unwrap_err();
        assert!(matches!(error, RecordError::OtherReceipt { .. }), "{error}");
        assert!(error.is_refusal());

        // Built again to the same bytes: the manifest names no receipt any more.
        let (_, mut manifest) = manifest_of(&record);
        manifest.gpu_run = Some(GpuRunRecord::not_run());
        fs_err::write(record.join(manifest::FILE_NAME), manifest.to_text()).unwrap();
        assert_eq!(beside(FILE_NAME), None, "it is of no record");
    }
}
