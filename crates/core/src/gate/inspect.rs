//! Reads a wheel, or one module, as NVIDIA's loader, glibc, torch and pip will.
//!
//! What is wrong with the file is a finding, not an error: a truncated wheel has a report too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek};

use super::finding::Finding;
use super::rule::Rule;
use crate::diagnostic::chain;
use crate::digest::Sha256Digest;
use crate::fatbin::{self, Container, Depth, FatbinCaps};
use crate::read_at::ReadAt;
use crate::wheel::archive::{ArchiveError, LocalHeaders, Member, WheelArchive};
use crate::wheel::elf::{self, ElfError, FatbinSection, ModuleFacts, Symbols};
use crate::wheel::metadata::{CoreMetadata, METADATA_CAP_BYTES};
use crate::wheel::name::WheelName;
use crate::wheel::record::{self, FileRecord, RECORD_CAP_BYTES, RecordError};
use crate::wheel::wheel_file::{WHEEL_FILE_CAP_BYTES, WheelFile};
use crate::wheel::{WheelCaps, dist_info_name};

/// How a wheel is read.
#[derive(Debug, Clone, Copy)]
pub struct InspectOptions {
    /// How far GPU code is looked into.
    pub depth: Depth,
    /// Which members are read.
    pub reading: Reading,
    /// Limits on what the wheel may unpack to.
    pub caps: WheelCaps,
}

/// Which members of a wheel are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Every byte, so that RECORD can be checked.
    Whole,
    /// The metadata, and what has a library's name: for a wheel that is not on this machine.
    ModulesByName,
}

/// What a wheel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelReport {
    /// The file's name.
    pub file_name: String,
    /// What kind of file it is.
    pub kind: FileKind,
    /// The file's digest; `None` unless the whole of it was read.
    pub sha256: Option<Sha256Digest>,
    /// The file's length.
    pub size_bytes: u64,
    /// The name's parts; `None` when it is no wheel's name.
    pub name: Option<WheelName>,
    /// What METADATA says, if it can be read.
    pub metadata: Option<MetadataFacts>,
    /// The tags in WHEEL.
    pub tags: Vec<String>,
    /// Its ELF files, by path.
    pub modules: Vec<ModuleReport>,
    /// Files of GPU code that lie in it as data: `.cubin`, `.fatbin`, `.ptx`.
    pub gpu_files: Vec<String>,
    /// What is wrong with it, whatever was asked for.
    pub findings: Vec<Finding>,
}

/// What kind of file was inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A wheel, or what is taken for one.
    Wheel,
    /// A module by itself.
    Module,
}

/// What METADATA says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataFacts {
    /// The project.
    pub project: String,
    /// The whole version.
    pub version: String,
    /// Its `Requires-Python`.
    pub requires_python: Option<String>,
    /// Its `Requires-Dist`, in order.
    pub requires_dist: Vec<String>,
}

/// What one ELF file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleReport {
    /// What it is and needs.
    pub facts: ModuleFacts,
    /// Its length.
    pub size_bytes: u64,
    /// Its dynamic symbols.
    pub symbols: Symbols,
    /// The containers that the CUDA runtime registers.
    pub containers: Vec<Container>,
    /// Containers of relocatable code, which the driver would have to link first.
    pub relocatable: Vec<Container>,
    /// Whether there is code for AMD's GPUs, which is not read.
    pub has_hip: bool,
}

impl ModuleReport {
    /// The containers that hold kernels: all but the stubs of device linking.
    pub fn kernel_containers(&self) -> impl Iterator<Item = &Container> {
        self.containers
            .iter()
            .filter(|container| !container.is_stub())
    }

    /// About as much memory as its names take.
    fn name_bytes(&self) -> usize {
        let facts = &self.facts;
        let versions = facts.symbol_versions.values().flatten();
        let texts = facts.needed.iter().chain(&facts.search_paths);
        let texts = texts.chain(versions).map(String::len);
        texts.sum::<usize>() + self.symbols.held_bytes()
    }

    /// Whether there is code for NVIDIA's GPUs.
    pub fn has_device_code(&self) -> bool {
        self.kernel_containers().next().is_some() || !self.relocatable.is_empty()
    }
}

/// Reads one module, which the user knows as `path`; what is wrong with it goes to `findings`.
///
/// # Errors
///
/// Only when `source` cannot be read.
pub fn inspect_module(
    path: &str,
    source: &mut dyn ReadAt,
    depth: Depth,
    findings: &mut Vec<Finding>,
) -> io::Result<Option<ModuleReport>> {
    let mut reading = ModuleReading {
        depth,
        left: FatbinCaps::default(),
        findings,
    };
    reading.module(path, source)
}

/// How modules are read, and how much of their GPU code still may be.
struct ModuleReading<'a> {
    depth: Depth,
    left: FatbinCaps,
    findings: &'a mut Vec<Finding>,
}

impl ModuleReading<'_> {
    fn module(&mut self, path: &str, source: &mut dyn ReadAt) -> io::Result<Option<ModuleReport>> {
        let module = match elf::inspect(path, source) {
            Ok(module) => module,
            Err(ElfError::Read(error)) if is_outside(&error) => return Err(error),
            Err(error) => {
                self.findings.push(unreadable(path, &error));
                return Ok(None);
            }
        };
        let mut report = ModuleReport {
            facts: module.facts,
            size_bytes: source.size_bytes(),
            symbols: module.symbols,
            containers: Vec::new(),
            relocatable: Vec::new(),
            has_hip: false,
        };
        for place in module.fatbins {
            let into = match place.section {
                FatbinSection::Executable => &mut report.containers,
                FatbinSection::Relocatable => &mut report.relocatable,
                FatbinSection::Hip => {
                    report.has_hip = true;
                    continue;
                }
            };
            if self.left.faults == 0 {
                // What is wrong has been said often enough.
                break;
            }
            let section = match fatbin::read_section(source, place.range, self.depth, &self.left) {
                Ok(section) => section,
                Err(error) if is_outside(&error) => return Err(error),
                Err(error) => {
                    self.findings.push(unreadable(path, &error));
                    continue;
                }
            };
            self.left = section.left;
            into.extend(section.containers);
            for fault in section.faults {
                let seen = format!(
                    "{} at byte {} of the file: {}",
                    place.section.as_str(),
                    fault.offset,
                    fault.what
                );
                self.findings
                    .push(Finding::new(Rule::ModuleUnreadable, path, seen));
            }
        }
        Ok(Some(report))
    }
}

/// Whether reading failed for a reason that lies outside of the file.
fn is_outside(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Other
    )
}

fn unreadable(path: &str, error: &(dyn std::error::Error + 'static)) -> Finding {
    Finding::new(Rule::ModuleUnreadable, path, chain(error))
}

/// Reads the wheel `file_name`.
///
/// # Errors
///
/// Only when `reader` itself fails; a file that is no wheel has findings.
pub fn inspect_wheel<R: Read + Seek>(
    file_name: &str,
    mut reader: R,
    options: &InspectOptions,
) -> io::Result<WheelReport> {
    let size_bytes = reader.seek(io::SeekFrom::End(0))?;
    let sha256 = match options.reading {
        Reading::Whole => {
            reader.rewind()?;
            Some(Sha256Digest::of_reader(&mut reader)?.0)
        }
        Reading::ModulesByName => None,
    };
    let mut report = WheelReport {
        sha256,
        ..WheelReport::empty(file_name, FileKind::Wheel, size_bytes)
    };
    match file_name.parse() {
        Ok(name) => report.name = Some(name),
        Err(error) => {
            let error: crate::wheel::name::WheelNameError = error;
            let finding = Finding::new(Rule::NameMetadataMismatch, file_name, chain(&error));
            report.findings.push(finding);
        }
    }
    let headers = match options.reading {
        Reading::Whole => LocalHeaders::Checked,
        Reading::ModulesByName => LocalHeaders::AsRead,
    };
    match WheelArchive::open(reader, &options.caps, headers) {
        Ok(mut archive) => Inspection {
            archive: &mut archive,
            report: &mut report,
            options,
            device_code: options.caps.device_code,
            symbol_bytes: options.caps.symbol_bytes,
        }
        .run()?,
        Err(error) => report.unsound(&error),
    }
    super::judge::intrinsic(&mut report);
    report.findings.sort();
    report.findings.dedup();
    Ok(report)
}

/// Reads the module `file_name`, which is in no wheel.
///
/// # Errors
///
/// Only when `source` itself fails.
pub fn inspect_module_file(
    file_name: &str,
    source: &mut dyn ReadAt,
    depth: Depth,
) -> io::Result<WheelReport> {
    let mut report = WheelReport::empty(file_name, FileKind::Module, source.size_bytes());
    let module = inspect_module(file_name, source, depth, &mut report.findings)?;
    report.modules.extend(module);
    super::judge::intrinsic(&mut report);
    report.findings.sort();
    report.findings.dedup();
    Ok(report)
}

impl WheelReport {
    fn empty(file_name: &str, kind: FileKind, size_bytes: u64) -> Self {
        Self {
            file_name: file_name.to_owned(),
            kind,
            sha256: None,
            size_bytes,
            name: None,
            metadata: None,
            tags: Vec::new(),
            modules: Vec::new(),
            gpu_files: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Whether nothing in it was out of reach.
    pub fn is_read_to_the_end(&self) -> bool {
        self.unread().next().is_none()
    }

    /// The modules and other members that are there and could not be read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &str> {
        let unread = [Rule::ArchiveUnsound, Rule::ModuleUnreadable];
        let findings = self.findings.iter();
        let findings = findings.filter(move |finding| unread.contains(&finding.rule));
        findings.map(|finding| &*finding.place)
    }

    fn unsound(&mut self, error: &ArchiveError) {
        let place = error.member().unwrap_or(&self.file_name).to_owned();
        let finding = Finding::new(Rule::ArchiveUnsound, place, chain(error));
        self.findings.push(finding);
    }
}

/// A wheel while it is read.
struct Inspection<'a, R> {
    archive: &'a mut WheelArchive<R>,
    report: &'a mut WheelReport,
    options: &'a InspectOptions,
    /// What is left of the caps on GPU code.
    device_code: FatbinCaps,
    /// What is left of the cap on the modules' names.
    symbol_bytes: usize,
}

impl<R: Read + Seek> Inspection<'_, R> {
    fn run(mut self) -> io::Result<()> {
        let dist_info = match self.archive.dist_info() {
            Ok(dist_info) => Some(dist_info),
            Err(error) => {
                self.report.unsound(&error);
                None
            }
        };
        let files = self.members()?;
        let Some(dist_info) = dist_info else {
            return Ok(());
        };
        self.metadata(&dist_info);
        self.wheel_file(&dist_info);
        match self.options.reading {
            Reading::Whole => self.record(&dist_info, &files),
            Reading::ModulesByName => {
                let why = "only some of the wheel's files were read";
                let finding = Finding::not_checked(Rule::RecordMismatch, "RECORD", why);
                self.report.findings.push(finding);
            }
        }
        Ok(())
    }

    fn members(&mut self) -> io::Result<BTreeMap<String, FileRecord>> {
        let mut files = BTreeMap::new();
        for member in self.archive.members().to_vec() {
            if is_gpu_file(&member.path) {
                self.report.gpu_files.push(member.path.clone());
            }
            let is_wanted = match self.options.reading {
                Reading::Whole => true,
                Reading::ModulesByName => is_library_name(&member.path),
            };
            if !is_wanted {
                continue;
            }
            if let Some(file) = self.member(&member)? {
                files.insert(member.path, file);
            }
        }
        Ok(files)
    }

    fn member(&mut self, member: &Member) -> io::Result<Option<FileRecord>> {
        let mut passed = match self.archive.pass(member) {
            Ok(passed) => passed,
            Err(ArchiveError::Unpack { source, .. }) if is_outside(&source) => return Err(source),
            Err(error) => {
                self.report.unsound(&error);
                return Ok(None);
            }
        };
        if passed.is_elf {
            let mut reading = ModuleReading {
                depth: self.options.depth,
                left: self.device_code,
                findings: &mut self.report.findings,
            };
            let module = reading.module(&member.path, &mut passed.bytes)?;
            self.device_code = reading.left;
            let held = module.as_ref().map_or(0, ModuleReport::name_bytes);
            if let Some(left) = self.symbol_bytes.checked_sub(held) {
                self.symbol_bytes = left;
                self.report.modules.extend(module);
            } else {
                let seen = "has more symbols than the modules of any wheel together";
                let finding = Finding::new(Rule::ModuleUnreadable, &*member.path, seen);
                self.report.findings.push(finding);
            }
        }
        Ok(Some(FileRecord {
            sha256: passed.sha256,
            size_bytes: passed.size_bytes,
        }))
    }

    fn metadata(&mut self, dist_info: &str) {
        let path = format!("{dist_info}/METADATA");
        let mismatch =
            |path: &str, seen: String| Finding::new(Rule::NameMetadataMismatch, path, seen);
        let bytes = match self.archive.read_small(&path, METADATA_CAP_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return self.report.unsound(&error),
        };
        let metadata = match CoreMetadata::parse(&bytes) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.report.findings.push(mismatch(&path, chain(&error)));
                return;
            }
        };
        if let Some(name) = &self.report.name {
            let in_name = format!("{} {}", name.project(), name.full_version());
            let inside = format!("{} {}", metadata.project(), metadata.version());
            if in_name != inside {
                let finding = mismatch(&path, format!("says {inside}"));
                let finding = finding.expected(format!("{in_name}, as the file name says"));
                self.report.findings.push(finding);
            }
            let folder = dist_info_name(dist_info);
            let in_folder = folder.map(|(project, version)| format!("{project} {version}"));
            if in_folder.as_ref() != Some(&in_name) {
                let finding = mismatch(dist_info, "is the folder's name".to_owned());
                let finding = finding.expected(format!("{in_name}, as the file name says"));
                self.report.findings.push(finding);
            }
        }
        self.report.metadata = Some(MetadataFacts {
            project: metadata.project().to_string(),
            version: metadata.version(),
            requires_python: metadata.requires_python().map(str::to_owned),
            requires_dist: metadata.requires_dist().map(str::to_owned).collect(),
        });
    }

    fn wheel_file(&mut self, dist_info: &str) {
        let path = format!("{dist_info}/WHEEL");
        let bytes = match self.archive.read_small(&path, WHEEL_FILE_CAP_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return self.report.unsound(&error),
        };
        let untrue = |seen: String| Finding::new(Rule::TagUntrue, &*path, seen);
        let file = match WheelFile::parse(&bytes) {
            Ok(file) => file,
            Err(error) => return self.report.findings.push(untrue(chain(&error))),
        };
        self.report.tags = file.tags().map(str::to_owned).collect();
        let Some(name) = &self.report.name else {
            return;
        };
        if !file.has_tags_of(name) {
            let finding = untrue(format!("says {}", self.report.tags.join(", ")));
            let tags = name.expanded_tags().join(", ");
            let finding = finding.expected(format!("{tags}, as the file name says"));
            self.report.findings.push(finding);
        } else if let Err(error) = file.check_against(name) {
            self.report.findings.push(untrue(chain(&error)));
        }
    }

    fn record(&mut self, dist_info: &str, files: &BTreeMap<String, FileRecord>) {
        let path = format!("{dist_info}/RECORD");
        let bytes = match self.archive.read_small(&path, RECORD_CAP_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return self.report.unsound(&error),
        };
        // A signature over RECORD cannot stand in it.
        let unlisted: BTreeSet<String> = [".jws", ".p7s"].map(|end| format!("{path}{end}")).into();
        let files = files
            .iter()
            .filter(|(file, _)| **file != path && !unlisted.contains(*file))
            .map(|(file, record)| (file.clone(), *record))
            .collect();
        for fault in record::faults(&bytes, &path, &files) {
            // What could not be unpacked is there, and has a finding of its own.
            let is_there = |path: &str| self.archive.members().iter().any(|m| m.path == path);
            if matches!(&fault, RecordError::Absent { path } if is_there(path)) {
                continue;
            }
            let place = fault.path().unwrap_or(&path).to_owned();
            let finding = Finding::new(Rule::RecordMismatch, place, chain(&fault));
            self.report.findings.push(finding);
        }
    }
}

/// `_C.so`, `libx.so.1.2`: what a library is called.
fn is_library_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split_once(".so")
        .is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('.'))
}

/// The Python that an extension module's name says it is for: `cp312`, or `abi3`. `None` for what
/// any Python loads.
pub(super) fn python_of(path: &str) -> Option<&str> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let parts: Vec<&str> = file.split('.').collect();
    let [.., tag, "so"] = parts.as_slice() else {
        return None;
    };
    if *tag == "abi3" {
        return Some("abi3");
    }
    let version = tag.strip_prefix("cpython-")?.split('-').next()?;
    CPYTHON_TAGS
        .iter()
        .find(|(digits, _)| *digits == version)
        .map(|(_, tag)| *tag)
}

/// What an extension module has in its name, and the ABI tag of the same.
const CPYTHON_TAGS: [(&str, &str); 12] = [
    ("37m", "cp37m"),
    ("38", "cp38"),
    ("39", "cp39"),
    ("310", "cp310"),
    ("311", "cp311"),
    ("312", "cp312"),
    ("313", "cp313"),
    ("313t", "cp313t"),
    ("314", "cp314"),
    ("314t", "cp314t"),
    ("315", "cp315"),
    ("315t", "cp315t"),
];

fn is_gpu_file(path: &str) -> bool {
    [".cubin", ".fatbin", ".ptx"]
        .iter()
        .any(|end| path.ends_with(end))
}

#[cfg(test)]
mod cap_tests;
#[cfg(test)]
mod tests;
