//! One pass over every byte of a wheel: digests, the check against RECORD, the ELF files.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use crate::wheel::archive::{ArchiveError, WheelArchive};
use crate::wheel::elf::{self, ElfError, ModuleFacts};
use crate::wheel::record::{self, FileRecord, RECORD_CAP_BYTES, RecordError};

/// Why a wheel's content could not be taken stock of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// A member cannot be read.
    #[error("failed to read the wheel")]
    Archive(#[from] ArchiveError),
    /// RECORD and the files disagree.
    #[error("the wheel's RECORD does not hold")]
    Record(#[from] RecordError),
    /// An ELF file cannot be judged.
    #[error("failed to inspect `{module}`")]
    Elf {
        /// Its path in the wheel.
        module: String,
        /// What is wrong with it.
        #[source]
        source: ElfError,
    },
    /// A signature over the old RECORD; no tool checks it, and it would be wrong afterwards.
    #[error("the wheel is signed by `{member}`, and finishing it would break the signature")]
    Signed {
        /// The signature's path in the wheel.
        member: String,
    },
}

/// What a wheel holds.
#[derive(Debug)]
pub(super) struct Survey {
    /// Every file but RECORD.
    pub(super) files: BTreeMap<String, FileRecord>,
    /// Every ELF file, by path.
    pub(super) modules: Vec<ModuleFacts>,
}

/// Reads every member. Nothing is held in memory but the tables of one ELF file at a time.
pub(super) fn survey<R: Read + Seek>(
    archive: &mut WheelArchive<R>,
    dist_info: &str,
) -> Result<Survey, SurveyError> {
    let record_path = format!("{dist_info}/RECORD");
    let record = archive.read_small(&record_path, RECORD_CAP_BYTES)?;
    let mut survey = Survey {
        files: BTreeMap::new(),
        modules: Vec::new(),
    };
    for member in archive.members().to_vec() {
        if member.path == record_path {
            continue;
        }
        if [".jws", ".p7s"]
            .iter()
            .any(|end| member.path.strip_suffix(end) == Some(&record_path))
        {
            return Err(SurveyError::Signed {
                member: member.path,
            });
        }
        let mut passed = archive.pass(&member)?;
        if passed.is_elf {
            let module = elf::inspect(&member.path, &mut passed.bytes).map_err(|source| {
                let module = member.path.clone();
                SurveyError::Elf { module, source }
            })?;
            survey.modules.push(module.facts);
        }
        let file = FileRecord {
            sha256: passed.sha256,
            size_bytes: passed.size_bytes,
        };
        survey.files.insert(member.path, file);
    }
    record::check(&record, &record_path, &survey.files)?;
    Ok(survey)
}
