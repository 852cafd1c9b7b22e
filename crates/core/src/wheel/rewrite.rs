//! Decides what a finished wheel says of itself, and writes it.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};

use crate::digest::Sha256Digest;
use crate::wheel::archive::{ArchiveError, Member, Mode, WheelArchive};
use crate::wheel::elf::ModuleFacts;
use crate::wheel::finish::{FinishRequest, WheelError};
use crate::wheel::metadata::{CoreMetadata, METADATA_CAP_BYTES};
use crate::wheel::name::WheelName;
use crate::wheel::normal_form::{self, NormalForm};
use crate::wheel::platform::PlatformTag;
use crate::wheel::record::{self, FileRecord};
use crate::wheel::survey::Survey;
use crate::wheel::wheel_file::{WHEEL_FILE_CAP_BYTES, WheelFile};

/// What the wheel says of itself, once all places are known to agree.
pub(super) struct Upstream {
    /// The name of the `.dist-info` folder.
    pub(super) dist_info: String,
    metadata: CoreMetadata,
    wheel_file: WheelFile,
}

impl Upstream {
    pub(super) fn read<R: Read + Seek>(
        archive: &mut WheelArchive<R>,
        name: &WheelName,
    ) -> Result<Self, WheelError> {
        let dist_info = archive.dist_info()?;
        let disagree = |place, inside: String| WheelError::Disagree {
            in_name: format!("{} {}", name.project(), name.full_version()),
            place,
            inside,
        };
        let in_name = (name.project().to_string(), name.full_version());
        if dist_info_name(&dist_info) != Some(in_name) {
            let stem = stem_of(&dist_info).to_owned();
            return Err(disagree("the `.dist-info` folder", stem));
        }
        let bytes = archive.read_small(&format!("{dist_info}/METADATA"), METADATA_CAP_BYTES)?;
        let metadata = CoreMetadata::parse(&bytes)?;
        if metadata.project() != name.project() || metadata.version() != name.full_version() {
            let inside = format!("{} {}", metadata.project(), metadata.version());
            return Err(disagree("METADATA", inside));
        }
        let bytes = archive.read_small(&format!("{dist_info}/WHEEL"), WHEEL_FILE_CAP_BYTES)?;
        let wheel_file = WheelFile::parse(&bytes)?;
        wheel_file.check_against(name)?;
        Ok(Self {
            dist_info,
            metadata,
            wheel_file,
        })
    }

    /// Decides all that the finished wheel says of itself.
    pub(super) fn finished(
        mut self,
        name: &WheelName,
        modules: &[ModuleFacts],
        platform: &PlatformTag,
        request: &FinishRequest,
    ) -> Result<Finished, WheelError> {
        let name = match request.build {
            Some(build) => name.with_build(build),
            None => name.clone(),
        };
        if let Some(build) = name.build() {
            self.wheel_file.set_build(build);
        }
        if !modules.iter().any(ModuleFacts::is_host_code) {
            return Ok(Finished {
                name,
                from_stem: self.stem(),
                to_stem: self.stem(),
                metadata: self.metadata,
                wheel_file: self.wheel_file,
            });
        }
        let name = name
            .with_local(&request.local_version)
            .with_platform(&platform.tag)?;
        self.metadata.set_version(&name.full_version())?;
        // torch itself uses its own.
        let is_torch = request.project.as_str() == "torch";
        if !is_torch && modules.iter().any(ModuleFacts::uses_torch_cxx_abi) {
            self.metadata.bind_torch(request.torch)?;
        }
        self.wheel_file.set_compiled(&name);
        Ok(Finished {
            from_stem: self.stem(),
            to_stem: name.folder_stem(),
            name,
            metadata: self.metadata,
            wheel_file: self.wheel_file,
        })
    }

    fn stem(&self) -> String {
        stem_of(&self.dist_info).to_owned()
    }
}

/// The project and the whole version that a `.dist-info` folder is named for, both in normal form.
pub(crate) fn dist_info_name(dist_info: &str) -> Option<(String, String)> {
    // A folder name is read like a file name: the tags do not matter here.
    let name: WheelName = format!("{}-py3-none-any.whl", stem_of(dist_info))
        .parse()
        .ok()?;
    Some((name.project().to_string(), name.full_version()))
}

/// `demo-1.0` of `demo-1.0.dist-info`.
fn stem_of(dist_info: &str) -> &str {
    dist_info.strip_suffix(".dist-info").unwrap_or(dist_info)
}

/// What the finished wheel says of itself.
pub(super) struct Finished {
    pub(super) name: WheelName,
    /// What `.dist-info` and `.data` started with.
    from_stem: String,
    /// What they start with from now on.
    to_stem: String,
    pub(super) metadata: CoreMetadata,
    wheel_file: WheelFile,
}

impl Finished {
    /// Where a file of the upstream wheel goes.
    fn path_of(&self, path: &str) -> String {
        let renamed = ["dist-info", "data"].iter().find_map(|kind| {
            let folder = format!("{}.{kind}/", self.from_stem);
            let rest = path.strip_prefix(&folder)?;
            Some(format!("{}.{kind}/{rest}", self.to_stem))
        });
        renamed.unwrap_or_else(|| path.to_owned())
    }

    fn dist_info(&self) -> String {
        format!("{}.dist-info", self.to_stem)
    }
}

/// Which side failed while members were copied.
pub(super) enum WriteError {
    Archive(ArchiveError),
    Output(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ArchiveError> for WriteError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// Where a file of the finished wheel comes from.
enum Source {
    /// Unchanged from the upstream wheel.
    Member(Member),
    /// Written by the farm.
    Bytes(Vec<u8>),
}

pub(super) fn write<R, W>(
    archive: &mut WheelArchive<R>,
    survey: &Survey,
    finished: &Finished,
    request: &FinishRequest,
    output: W,
) -> Result<(Sha256Digest, u64), WriteError>
where
    R: Read + Seek,
    W: Read + Write + Seek,
{
    let dist_info = finished.dist_info();
    let mut sources = sources(archive, finished)?;
    let record = record_of(&sources, survey, &dist_info);
    sources.insert(format!("{dist_info}/RECORD"), Source::Bytes(record));
    let mut sorted: Vec<(&String, &Source)> = sources.iter().collect();
    sorted.sort_by_key(|(path, _)| normal_form::place(path, &dist_info));
    let mut form = NormalForm::new(output, request.source_date_epoch_s);
    for (path, source) in sorted {
        match source {
            Source::Bytes(bytes) => {
                form.add(path, Mode::Plain, length(bytes), &mut bytes.as_slice())?;
            }
            Source::Member(member) => archive.with_content(member, |content| {
                form.add(path, member.mode, member.size_bytes, content)
            })?,
        }
    }
    let mut output = form.finish()?;
    output.rewind()?;
    Ok(Sha256Digest::of_reader(&mut output)?)
}

/// Every file of the finished wheel but RECORD, by its new path.
fn sources<R: Read + Seek>(
    archive: &WheelArchive<R>,
    finished: &Finished,
) -> Result<BTreeMap<String, Source>, ArchiveError> {
    let dist_info = finished.dist_info();
    let (record, metadata, wheel_file) = (
        format!("{dist_info}/RECORD"),
        format!("{dist_info}/METADATA"),
        format!("{dist_info}/WHEEL"),
    );
    let mut sources = BTreeMap::new();
    for member in archive.members() {
        let path = finished.path_of(&member.path);
        let source = if path == record {
            continue;
        } else if path == metadata {
            Source::Bytes(finished.metadata.to_bytes())
        } else if path == wheel_file {
            Source::Bytes(finished.wheel_file.to_bytes())
        } else {
            Source::Member(member.clone())
        };
        if sources.insert(path.clone(), source).is_some() {
            return Err(ArchiveError::Repeated { member: path });
        }
    }
    Ok(sources)
}

fn record_of(sources: &BTreeMap<String, Source>, survey: &Survey, dist_info: &str) -> Vec<u8> {
    let mut files: Vec<(&str, FileRecord)> = sources
        .iter()
        .filter_map(|(path, source)| {
            let file = match source {
                Source::Bytes(bytes) => FileRecord {
                    sha256: Sha256Digest::of(bytes),
                    size_bytes: length(bytes),
                },
                Source::Member(member) => *survey.files.get(&member.path)?,
            };
            Some((path.as_str(), file))
        })
        .collect();
    files.sort_by_key(|(path, _)| normal_form::place(path, dist_info));
    let files = files.iter().map(|(path, file)| (*path, file));
    record::write(files, &format!("{dist_info}/RECORD"))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
