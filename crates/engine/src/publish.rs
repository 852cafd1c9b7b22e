//! Publishes wheels on record to a plain folder that pip and uv install from.
//!
//! Wheels go first and pages last, each file whole or absent, so a page never lists a wheel that is
//! not there; a name that is there keeps its bytes.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::contract::Contract;
use wheelfarm_core::gate::{judge, report};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::manifest::{self, Manifest};
use wheelfarm_core::plan::Job;
use wheelfarm_core::receipt;
use wheelfarm_core::release::ReleaseError;
use wheelfarm_core::release::channel::Channel;
use wheelfarm_core::release::old::{Release, ReleasedWheel};
use wheelfarm_core::release::wheel_page;
use wheelfarm_core::wheel::name::WheelName;

use crate::files::{self, FileError};
use crate::inspect::inspect_file;
use crate::run::REPORT_FILE;

/// The file at the top of a release that lists its wheels.
const LIST: &str = "manifest.json";

/// The schema of that file.
const LIST_SCHEMA: u32 = 1;

/// A publication failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A wheel on record is not what its manifest says.
    #[error("wheel `{path}` has sha256 {found}, and its manifest says {wanted}")]
    Altered {
        /// The wheel.
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
    /// The folder has another file of that name.
    #[error("`{path}` is published already with other bytes: sha256 {there}, and now {new}")]
    OtherBytes {
        /// The published file.
        path: Utf8PathBuf,
        /// Its digest.
        there: Sha256Digest,
        /// The digest of what would replace it.
        new: Sha256Digest,
    },
    /// A wheel on record does not hold to its package's contract as that is now.
    #[error("the gate refuses `{path}`\n{}", .findings.join("\n"))]
    Refused {
        /// The wheel.
        path: Utf8PathBuf,
        /// What it found, a line each.
        findings: Vec<String>,
    },
    /// The wheels do not go together.
    #[error("failed to lay out the release")]
    Release(#[source] ReleaseError),
    /// The list of what is published cannot be read.
    #[error("failed to read `{path}`")]
    List {
        /// The list.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The list was written by another version of this program.
    #[error("`{path}` has schema {found}, and this program reads {LIST_SCHEMA}")]
    OtherSchema {
        /// The list.
        path: Utf8PathBuf,
        /// What it says.
        found: u32,
    },
    /// Another process publishes to the folder.
    #[error("another run of wheelfarm publishes to `{0}`")]
    Busy(Utf8PathBuf),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be read.
    #[error("failed to read what is to be published")]
    Read(#[from] io::Error),
}

impl PublishError {
    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Altered { .. } => {
                Some("build the job again: `wheelfarm build --force --only <job>`")
            }
            Self::OtherReceipt { .. } => {
                Some("run the wheel again: `wheelfarm prove WHEEL --out FOLDER`")
            }
            Self::OtherBytes { .. } => Some(
                "a published name never changes its bytes; publish to a new folder, or give the \
                 package a new version",
            ),
            Self::Refused { .. } => {
                Some("`wheelfarm explain RULE` says why; mend the package and build it again")
            }
            Self::Busy(_) => Some("wait for it"),
            Self::OtherSchema { .. } => Some("publish to a new folder"),
            Self::Release(_) | Self::List { .. } | Self::File(_) | Self::Read(_) => None,
        }
    }

    /// Whether the wheels are at fault, not the host.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Altered { .. }
            | Self::OtherReceipt { .. }
            | Self::OtherBytes { .. }
            | Self::Refused { .. }
            | Self::Release(_) => true,
            Self::List { .. }
            | Self::OtherSchema { .. }
            | Self::Busy(_)
            | Self::File(_)
            | Self::Read(_) => false,
        }
    }
}

/// A wheel in a folder, with the channel it lies in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedWheel {
    /// Its channel.
    pub channel: Channel,
    /// Its file name.
    pub file_name: WheelName,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Its `Requires-Python`.
    pub requires_python: Option<String>,
    /// The job that built it.
    pub job: JobId,
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    schema: u32,
    wheels: Vec<PublishedWheel>,
}

/// What a publication did.
#[derive(Debug)]
pub struct FolderReceipt {
    /// The folder, absolute.
    pub folder: Utf8PathBuf,
    /// The wheels of this publication.
    pub wheels: Vec<PublishedWheel>,
    /// How many of them were there already.
    pub unchanged: usize,
}

/// Publishes the wheels of `records`, each a job's folder with its manifest, to `folder`. Wheels
/// that were published before stay listed.
///
/// Blocking: hashes and copies every wheel.
pub fn publish_to_folder(
    records: &[(Utf8PathBuf, Manifest)],
    folder: &Utf8Path,
) -> Result<FolderReceipt, PublishError> {
    files::create_folder(folder)?;
    let folder = folder.canonicalize_utf8()?;
    let Some(_lock) = files::lock(folder.join(".lock"))? else {
        return Err(PublishError::Busy(folder));
    };
    let mut wheels = Vec::new();
    let mut released = Vec::new();
    let mut receipts = Vec::new();
    for (place, manifest) in records {
        let (published, wheel) = check_record(place, manifest)?;
        receipts.push(check_receipt(place, manifest)?);
        wheels.push(published);
        released.push(wheel);
    }
    let mut listed = read_list(&folder)?;
    listed.retain(|old| {
        wheels
            .iter()
            .all(|new| new.file_name != old.file_name || new.channel != old.channel)
    });
    for old in &listed {
        released.push(read_published(&folder, old)?);
    }
    let release = Release::new(&released).map_err(PublishError::Release)?;
    let mut unchanged = 0;
    for ((published, (place, manifest)), receipt) in wheels.iter().zip(records).zip(&receipts) {
        let is_there = put_wheel(&folder, place, published)?;
        put_beside(&folder, (place, manifest), published, receipt.as_deref())?;
        unchanged += usize::from(is_there);
    }
    // Pages after the files they name, and the pages that name other pages last of all.
    let mut generated: Vec<_> = release.files().iter().collect();
    generated.sort_by_key(|(path, _)| (path.contains("/simple/"), std::cmp::Reverse(path.len())));
    for (path, content) in generated {
        write(&folder.join(path), content)?;
    }
    listed.extend(wheels.iter().cloned());
    listed.sort();
    write(&folder.join(LIST), list_text(listed).as_bytes())?;
    Ok(FolderReceipt {
        folder,
        wheels,
        unchanged,
    })
}

/// Holds the wheels of `records` against the contracts of their `jobs` again: a contract may have
/// changed since, and the manifest's word is for the old one. Symbols are not looked up again:
/// they were when the wheel was built, and no contract changes what torch has.
///
/// Blocking: reads every wheel to its end.
pub fn judge_again(records: &[(Utf8PathBuf, Manifest)], jobs: &[&Job]) -> Result<(), PublishError> {
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
            return Err(PublishError::Refused { path, findings });
        }
    }
    Ok(())
}

/// Hashes a wheel on record again: between runs only the manifest vouched for it.
fn check_record(
    place: &Utf8Path,
    manifest: &Manifest,
) -> Result<(PublishedWheel, ReleasedWheel), PublishError> {
    let path = place.join(&manifest.wheel.file_name);
    let (found, size_bytes) = digest(&path)?;
    let wanted = manifest.wheel.sha256;
    if found != wanted {
        return Err(PublishError::Altered {
            path,
            found,
            wanted,
        });
    }
    let metadata_path = place.join(format!("{}.metadata", manifest.wheel.file_name));
    let metadata = fs::read(&metadata_path)?;
    let found = Sha256Digest::of(&metadata);
    let wanted = manifest.wheel.metadata_sha256;
    if found != wanted {
        return Err(PublishError::Altered {
            path: metadata_path,
            found,
            wanted,
        });
    }
    let file_name: WheelName = manifest.wheel.file_name.parse().map_err(io::Error::other)?;
    let published = PublishedWheel {
        channel: manifest.environment.channel.clone(),
        file_name,
        sha256: manifest.wheel.sha256,
        size_bytes,
        requires_python: manifest.wheel.requires_python.clone(),
        job: manifest.job.clone(),
    };
    let wheel = released(&published, metadata);
    Ok((published, wheel))
}

fn released(published: &PublishedWheel, metadata: Vec<u8>) -> ReleasedWheel {
    ReleasedWheel {
        name: published.file_name.clone(),
        sha256: published.sha256,
        size_bytes: published.size_bytes,
        requires_python: published.requires_python.clone(),
        metadata,
        channel: published.channel.clone(),
    }
}

/// Puts a wheel into the folder. Whether it was there already.
fn put_wheel(
    folder: &Utf8Path,
    record: &Utf8Path,
    published: &PublishedWheel,
) -> Result<bool, PublishError> {
    let path = published_path(folder, published);
    if path.exists() {
        let (there, _) = digest(&path)?;
        if there != published.sha256 {
            return Err(PublishError::OtherBytes {
                path,
                there,
                new: published.sha256,
            });
        }
        return Ok(true);
    }
    let source = record.join(published.file_name.to_string());
    files::create_folder(path.parent().unwrap_or(folder))?;
    files::copy_atomic(&source, &path)?;
    Ok(false)
}

/// Puts a wheel's manifest, its report, its receipt and its page beside it.
fn put_beside(
    folder: &Utf8Path,
    (record, manifest): (&Utf8Path, &Manifest),
    published: &PublishedWheel,
    receipt: Option<&[u8]>,
) -> Result<(), PublishError> {
    let path = published_path(folder, published);
    let beside = |suffix: &str| Utf8PathBuf::from(format!("{path}{suffix}"));
    for kept in [manifest::FILE_NAME, REPORT_FILE] {
        match fs::read(record.join(kept)) {
            Ok(text) => write(&beside(&format!(".{kept}")), &text)?,
            // Wheels from before there was a gate have no report.
            Err(error) if kept == REPORT_FILE && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let place = beside(&format!(".{}", receipt::FILE_NAME));
    match receipt {
        Some(text) => write(&place, text)?,
        // The wheel was built again to the same bytes, and what ran is no longer on record.
        None => remove_if_there(&place)?,
    }
    let page = wheel_page::wheel_page(manifest);
    write(&beside(wheel_page::SUFFIX), page.as_bytes())
}

fn published_path(folder: &Utf8Path, published: &PublishedWheel) -> Utf8PathBuf {
    let channel = folder.join(published.channel.to_string());
    channel.join(published.file_name.to_string())
}

/// The receipt that a manifest names, if it names one. Its word is all that the published page says of it.
fn check_receipt(record: &Utf8Path, manifest: &Manifest) -> Result<Option<Vec<u8>>, PublishError> {
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
    Err(PublishError::OtherReceipt {
        path,
        found,
        wanted,
    })
}

fn remove_if_there(path: &Utf8Path) -> Result<(), PublishError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error).into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read_list(folder: &Utf8Path) -> Result<Vec<PublishedWheel>, PublishError> {
    let path = folder.join(LIST);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let list: List = serde_json::from_str(&text).map_err(|source| PublishError::List {
        path: path.clone(),
        source,
    })?;
    if list.schema != LIST_SCHEMA {
        return Err(PublishError::OtherSchema {
            path,
            found: list.schema,
        });
    }
    Ok(list.wheels)
}

fn read_published(folder: &Utf8Path, old: &PublishedWheel) -> Result<ReleasedWheel, PublishError> {
    let path = folder
        .join(old.channel.to_string())
        .join(format!("{}.metadata", old.file_name));
    Ok(released(old, fs::read(path)?))
}

fn list_text(wheels: Vec<PublishedWheel>) -> String {
    let list = List {
        schema: LIST_SCHEMA,
        wheels,
    };
    let value = serde_json::to_value(list).expect("plain texts and numbers serialise");
    format!("{value:#}\n")
}

fn write(path: &Utf8Path, content: &[u8]) -> Result<(), PublishError> {
    if let Some(folder) = path.parent() {
        files::create_folder(folder)?;
    }
    files::write_atomic(path, content)?;
    Ok(())
}

fn digest(path: &Utf8Path) -> Result<(Sha256Digest, u64), PublishError> {
    let mut file = fs::File::open(path)?;
    Ok(Sha256Digest::of_reader(&mut file)?)
}
