//! Writes a finished wheel again under another version, with more files in its `.dist-info` folder.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use crate::digest::Sha256Digest;
use crate::wheel::archive::{LocalHeaders, WheelArchive, WheelCaps};
use crate::wheel::finish::WheelError;
use crate::wheel::name::WheelName;
use crate::wheel::rewrite::{self, Upstream};
use crate::wheel::survey;

/// What is to change.
#[derive(Debug)]
pub(crate) struct Renaming<'a> {
    /// Name, version and tags from now on; the tags must be those that it has.
    pub(crate) name: &'a WheelName,
    /// What the file is called, for messages.
    pub(crate) file_name: String,
    /// Files of `.dist-info` that it has not yet, by name.
    pub(crate) added: BTreeMap<String, Vec<u8>>,
    /// Limits on what it may unpack to.
    pub(crate) caps: &'a WheelCaps,
}

/// The wheel that was written.
#[derive(Debug)]
pub(crate) struct Renamed {
    pub(crate) sha256: Sha256Digest,
    pub(crate) size_bytes: u64,
    /// Its METADATA.
    pub(crate) metadata: Vec<u8>,
}

/// Checks the wheel `name` and writes it to `output`, which must be empty, in the normal form and
/// with the time that its RECORD has: the same wheel gives the same bytes.
pub(crate) fn rename<R, W>(
    name: &WheelName,
    wheel: R,
    renaming: Renaming<'_>,
    output: W,
) -> Result<Renamed, WheelError>
where
    R: Read + Seek,
    W: Read + Write + Seek,
{
    let mut archive = WheelArchive::open(wheel, renaming.caps, LocalHeaders::Checked)?;
    let upstream = Upstream::read(&mut archive, name)?;
    let survey = survey::survey(&mut archive, &upstream.dist_info)?;
    let time = archive.time_of(&format!("{}/RECORD", upstream.dist_info))?;
    let renamed = upstream.renamed(renaming.name, renaming.added)?;
    let (sha256, size_bytes) = rewrite::write(&mut archive, &survey, &renamed, time, output)
        .map_err(|error| error.of(renaming.file_name))?;
    Ok(Renamed {
        sha256,
        size_bytes,
        metadata: renamed.metadata.to_bytes(),
    })
}
