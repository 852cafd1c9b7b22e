//! One pass over every byte of a wheel: digests, the check against RECORD, the ELF files.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use crate::digest::{HashingWriter, Sha256Digest};
use crate::wheel::archive::{ArchiveError, WheelArchive};
use crate::wheel::elf::{self, ELF_MAGIC, ElfError, ModuleFacts};
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

/// Reads every member once. ELF files are held in memory one at a time, all else is streamed.
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
        let content = archive.with_content(&member, |content| read_member(content))?;
        if let Some(bytes) = content.elf {
            let facts = elf::inspect(&member.path, &bytes).map_err(|source| SurveyError::Elf {
                module: member.path.clone(),
                source,
            })?;
            survey.modules.push(facts);
        }
        survey.files.insert(member.path, content.file);
    }
    record::check(&record, &record_path, &survey.files)?;
    Ok(survey)
}

/// A member's digest, and its bytes if it is an ELF file.
struct Content {
    file: FileRecord,
    elf: Option<Vec<u8>>,
}

/// Tells ELF files by their first bytes: names such as `ptxas` or `libx.so.1.2` end in anything.
fn read_member(content: &mut dyn Read) -> io::Result<Content> {
    let mut head = Vec::new();
    content.take(4).read_to_end(&mut head)?;
    if head == ELF_MAGIC {
        content.read_to_end(&mut head)?;
        let file = FileRecord {
            sha256: Sha256Digest::of(&head),
            size_bytes: u64::try_from(head.len()).unwrap_or(u64::MAX),
        };
        let elf = Some(head);
        return Ok(Content { file, elf });
    }
    let mut sink = HashingWriter::new(io::sink());
    io::copy(&mut head.as_slice(), &mut sink)?;
    io::copy(content, &mut sink)?;
    let (_, sha256, size_bytes) = sink.finish();
    let file = FileRecord { sha256, size_bytes };
    Ok(Content { file, elf: None })
}
