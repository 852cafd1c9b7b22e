//! Where logs lie: a file, the folder of a failed job, a stream.

use std::collections::BTreeMap;
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::diagnose::{Diagnoses, Diagnosis, Reader, Subject};
use wheelfarm_core::outcome::{FailureKind, FailureRecord};

use crate::files;
use crate::secrets;

/// The log in a job's folder.
const LOG_NAME: &str = "build.log";
/// What the job's image was built by.
const DOCKERFILE_NAME: &str = "Dockerfile";
/// What a prompt is called when the user names no file.
const PROMPT_NAME: &str = "diagnose-prompt.md";

/// A log that was read, with what is known of it.
#[derive(Debug)]
pub struct Log {
    /// What it says.
    pub diagnoses: Diagnoses,
    /// What it is of.
    pub subject: Subject,
    /// Where a prompt about it is written, when the user names no place.
    pub prompt: Utf8PathBuf,
}

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no such file, or the folder has no log.
    #[error("failed to read `{path}`")]
    NotThere {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Reading it failed.
    #[error("failed to read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Log {
    /// Reads the log at `place`: a file, or the folder of a job, whose other files say what failed.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn read(place: &Utf8Path) -> Result<Self, LogError> {
        let is_job = place.is_dir();
        let path = if is_job {
            place.join(LOG_NAME)
        } else {
            place.to_owned()
        };
        let file = fs_err::File::open(&path).map_err(|source| LogError::NotThere {
            path: path.clone(),
            source,
        })?;
        let diagnoses = Reader::read(file).map_err(|source| LogError::Read {
            path: path.clone(),
            source,
        })?;
        // The log of a job is read as the job's when it is named itself, too.
        let folder = path.parent().unwrap_or(Utf8Path::new(""));
        let is_job = is_job || path.file_name() == Some(LOG_NAME);
        let beside = |name| {
            let text = is_job.then(|| files::read_text(folder.join(name)).ok());
            text.flatten()
        };
        let record = beside(FailureRecord::FILE_NAME);
        let prompt = match path.file_name() {
            Some(name) if !is_job => folder.join(format!("{name}.{PROMPT_NAME}")),
            _ => folder.join(PROMPT_NAME),
        };
        Ok(Self {
            diagnoses,
            subject: Subject {
                log: path.to_string(),
                record: record.and_then(|text| FailureRecord::parse(&text)),
                machine: BTreeMap::new(),
                dockerfile: beside(DOCKERFILE_NAME),
            },
            prompt,
        })
    }

    /// Reads a log that comes in on a stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn read_stream(stream: impl Read) -> Result<Self, LogError> {
        let diagnoses = Reader::read(stream).map_err(|source| LogError::Read {
            path: "-".into(),
            source,
        })?;
        Ok(Self {
            diagnoses,
            subject: Subject {
                log: "standard input".to_owned(),
                ..Subject::default()
            },
            prompt: PROMPT_NAME.into(),
        })
    }
}

/// What a rule knows of a job that failed, by the log in its folder. Nothing when the farm's own words say
/// it already, or no rule fits.
pub fn explain_failed(folder: &Utf8Path, kind: &str) -> Option<Diagnosis> {
    // The farm found these out by itself, and says what to do.
    let is_told = [
        FailureKind::DiskFull,
        FailureKind::Infrastructure,
        FailureKind::Unreachable,
    ];
    if is_told.iter().any(|told| told.as_str() == kind) {
        return None;
    }
    let file = fs_err::File::open(folder.join(LOG_NAME)).ok()?;
    let diagnoses = Reader::read(file).ok()?;
    let says_it = |found: &Diagnosis| found.same_as.as_deref() == Some(kind);
    if diagnoses.found.iter().any(says_it) {
        return None;
    }
    diagnoses.best().cloned()
}

/// What is known of this machine without asking anybody: the program, the system, the driver.
pub fn machine() -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    let program = format!("wheelfarm {}", env!("CARGO_PKG_VERSION"));
    known.insert("program".to_owned(), program);
    let first_line = |path: &str| {
        let text = fs_err::read_to_string(path).ok()?;
        Some(text.lines().next()?.trim().to_owned())
    };
    let mut read = |name: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            known.insert(name.to_owned(), text);
        }
    };
    let system = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    let name = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    read("system", name.map(|name| name.trim_matches('"').to_owned()));
    read("kernel", first_line("/proc/sys/kernel/osrelease"));
    read("driver", first_line("/proc/driver/nvidia/version"));
    known
}

/// The values of this process's secrets, to be masked wherever they stand.
pub fn secret_values() -> Vec<String> {
    let values = secrets::VARIABLES
        .iter()
        .filter_map(|name| std::env::var(name).ok());
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        for (name, text) in files {
            fs_err::write(path.join(name), text).unwrap();
        }
        (folder, path)
    }

    const KILLED: &str = "== compile\nnvcc error   : 'cicc' died due to signal 9 (Kill signal)\n";

    #[test]
    fn the_folder_of_a_job_and_its_log_are_read_alike() {
        let record = "{\"schema\": 1, \"job\": \"demo-1.0-cu130-torch2.11-cp311\", \"job_digest\": \"0000000000000000000000000000000000000000000000000000000000000000\", \"stage\": \"compile\", \"kind\": \"script\", \"exit_code\": 1, \"detail\": \"no\", \"hint\": null}";
        let (_keep, path) = folder(&[
            ("build.log", KILLED),
            ("Dockerfile", "FROM x\n"),
            ("outcome.json", record),
        ]);
        for place in [path.clone(), path.join("build.log")] {
            let log = Log::read(&place).unwrap();
            assert_eq!(log.diagnoses.best().unwrap().rule, "killed");
            assert_eq!(log.subject.dockerfile.as_deref(), Some("FROM x\n"));
            assert_eq!(log.prompt, path.join("diagnose-prompt.md"));
        }
    }

    #[test]
    fn a_log_from_elsewhere_has_its_prompt_beside_it() {
        let (_keep, path) = folder(&[("x.txt", "nothing\n"), ("Dockerfile", "FROM x\n")]);
        let log = Log::read(&path.join("x.txt")).unwrap();
        assert_eq!(log.subject.dockerfile, None);
        assert_eq!(log.prompt, path.join("x.txt.diagnose-prompt.md"));
        assert!(log.diagnoses.best().is_none());
    }

    #[test]
    fn what_is_not_there_is_told() {
        let (_keep, path) = folder(&[]);
        assert!(matches!(Log::read(&path), Err(LogError::NotThere { .. })));
    }

    #[test]
    fn what_the_farm_says_already_is_not_said_again() {
        let (_keep, path) = folder(&[("build.log", KILLED)]);
        assert_eq!(explain_failed(&path, "script").unwrap().rule, "killed");
        assert_eq!(explain_failed(&path, "out-of-memory"), None);
        // Whatever else stands there, and before it.
        let other = "== compile\na.cu:1:10: fatal error: x.h: No such file or directory\n";
        let more = KILLED.replace("== compile\n", other);
        fs_err::write(path.join("build.log"), more).unwrap();
        assert_eq!(
            explain_failed(&path, "script").unwrap().rule,
            "header-missing"
        );
        assert_eq!(explain_failed(&path, "out-of-memory"), None);
        assert_eq!(explain_failed(&path, "disk-full"), None);
        assert_eq!(explain_failed(&path.join("none"), "script"), None);
    }
}
