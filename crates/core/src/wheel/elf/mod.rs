//! What an ELF file needs from the system it is loaded on.
//!
//! Everything comes from the tables that the dynamic loader reads. They are found through the
//! section headers, which a loader ignores, so the two are compared first: a file whose section
//! headers tell another story than its segments is refused, never believed.

mod loaded;
mod names;
mod symbols;
mod versions;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use object::LittleEndian;
use object::elf;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use serde::{Deserialize, Serialize};

use self::loaded::Loaded;
use self::names::is_torch_cxx;
pub(crate) use self::names::{is_cpython, is_torch_symbol};
pub use self::symbols::{Binding, NeededSymbol, ProvidedSymbol, Symbols};
use self::versions::highest_of_each;
pub(crate) use self::versions::{split_version, version_numbers};
use crate::read_at::ReadAt;

/// A loader reads no more dependencies and versions than this from any library that works.
const ENTRIES_CAP: usize = 1 << 16;

/// Mangled names grow long; this is enough to see whose types stand in them.
const NAME_CAP_BYTES: usize = 2048;

/// All names of libraries, versions and search paths together; real ones are below 100 KB.
const TEXTS_CAP_BYTES: usize = 4 << 20;

/// The first bytes of every ELF file.
pub const ELF_MAGIC: [u8; 4] = *b"\x7fELF";

/// What the machine code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm, little endian.
    Aarch64,
    /// A GPU: the file is a cubin, data as far as the host is concerned.
    Cuda,
    /// Something that no wheel of this farm is for.
    Other,
}

/// What one ELF file in a wheel is and needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModuleFacts {
    /// Where it stands in the wheel.
    pub path: String,
    /// What its code is for. All below is empty unless that is a host.
    pub machine: Machine,
    /// The name that other libraries know it by (`DT_SONAME`).
    pub soname: Option<String>,
    /// The libraries it loads (`DT_NEEDED`).
    pub needed: Vec<String>,
    /// Where it looks for them first (`DT_RPATH` and `DT_RUNPATH`, as written).
    pub search_paths: Vec<String>,
    /// Per library, the symbol versions it needs: the highest of each prefix, and those without
    /// a number (`CXXABI_TM_1`).
    pub symbol_versions: BTreeMap<String, Vec<String>>,
    /// A symbol that shows that torch's C++ ABI is in use.
    pub torch_cxx_symbol: Option<String>,
    /// Whether the Python interpreter must provide symbols.
    pub uses_cpython: bool,
}

impl ModuleFacts {
    /// Whether the module is tied to one minor version of torch.
    pub fn uses_torch_cxx_abi(&self) -> bool {
        self.torch_cxx_symbol.is_some()
    }

    /// Whether the module is for the machine that Python runs on.
    pub fn is_host_code(&self) -> bool {
        match self.machine {
            Machine::X86_64 | Machine::Aarch64 | Machine::Other => true,
            Machine::Cuda => false,
        }
    }

    /// The glibc that is needed, if any: major and minor.
    pub fn highest_glibc(&self) -> Option<(u32, u32)> {
        let mut parts = self.highest("GLIBC")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// The highest numbered version that is needed of a prefix: `2.28` for `GLIBC`.
    pub fn highest(&self, prefix: &str) -> Option<&str> {
        self.symbol_versions
            .values()
            .flatten()
            .filter_map(|version| version.strip_prefix(prefix)?.strip_prefix('_'))
            .filter(|number| version_numbers(number).is_some())
            .max_by_key(|number| version_numbers(number))
    }
}

/// One ELF file as the loader and the CUDA runtime find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// What it is and needs.
    pub facts: ModuleFacts,
    /// Its dynamic symbols.
    pub symbols: Symbols,
    /// Where its fatbins lie in the file, in order.
    pub fatbins: Vec<FatbinPlace>,
}

/// A section that holds fatbins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatbinPlace {
    /// Which one.
    pub section: FatbinSection,
    /// Its bytes in the file.
    pub range: Range<u64>,
}

/// The two sections that nvcc puts fatbins into, and AMD's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum FatbinSection {
    /// What the CUDA runtime registers.
    #[serde(rename = ".nv_fatbin")]
    Executable,
    /// Relocatable code of `-rdc` builds, which the driver would have to link first.
    #[serde(rename = "__nv_relfatbin")]
    Relocatable,
    /// Code for AMD's GPUs, which this program does not read.
    #[serde(rename = ".hip_fatbin")]
    Hip,
}

impl FatbinSection {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b".nv_fatbin" => Some(Self::Executable),
            b"__nv_relfatbin" => Some(Self::Relocatable),
            b".hip_fatbin" => Some(Self::Hip),
            _ => None,
        }
    }

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executable => ".nv_fatbin",
            Self::Relocatable => "__nv_relfatbin",
            Self::Hip => ".hip_fatbin",
        }
    }
}

/// Why an ELF file cannot be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file ends early, or an offset in it points nowhere.
    #[error("the ELF file is malformed")]
    Malformed {
        /// What the ELF reader says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bytes cannot be read, or end before an offset in the file.
    #[error("failed to read the ELF file")]
    Read(#[from] io::Error),
    /// The tables that have to be in memory are larger than any real ones.
    #[error("the ELF file's dynamic tables are too large to be a library's")]
    TablesTooLarge,
    /// A name is cut off, longer than any real one, or not UTF-8.
    #[error("the ELF file has a {what} that is not a name")]
    Name {
        /// Which table it stands in.
        what: &'static str,
    },
    /// A table has more entries than any real file.
    #[error("the ELF file has more than {ENTRIES_CAP} entries in its {what}")]
    TooManyEntries {
        /// Which table it is.
        what: &'static str,
    },
    /// The section headers are missing, or disagree with what the loader will read.
    #[error("the ELF file's section headers and its segments disagree on the {what}")]
    SectionsDisagree {
        /// Which table it is.
        what: &'static str,
    },
    /// Two sections of fatbins share bytes, which would be read once for each.
    #[error("two of the ELF file's fatbin sections overlap")]
    Overlap,
}

const LE: LittleEndian = LittleEndian;

/// Reads what the file at `path` in the wheel, with the bytes of `source`, is and needs.
pub fn inspect(path: &str, source: &mut dyn ReadAt) -> Result<Module, ElfError> {
    let mut start = [0; 20];
    if source.size_bytes() >= 20 {
        source.read_exact_at(0, &mut start)?;
    }
    let mut module = Module {
        facts: ModuleFacts {
            path: path.to_owned(),
            machine: machine(&start),
            soname: None,
            needed: Vec::new(),
            search_paths: Vec::new(),
            symbol_versions: BTreeMap::new(),
            torch_cxx_symbol: None,
            uses_cpython: false,
        },
        symbols: Symbols::default(),
        fatbins: Vec::new(),
    };
    match module.facts.machine {
        Machine::Cuda | Machine::Other => return Ok(module),
        Machine::X86_64 | Machine::Aarch64 => {}
    }
    let loaded = Loaded::load(source)?;
    module.fatbins = loaded.fatbins()?;
    let Some(dynamic) = Dynamic::find(&loaded)? else {
        return Ok(module);
    };
    let facts = &mut module.facts;
    dynamic.read_entries(facts)?;
    facts.symbol_versions = read_versions(&loaded)?;
    module.symbols = symbols::read(&loaded)?;
    for symbol in &module.symbols.needed {
        facts.uses_cpython |= is_cpython(symbol.name.as_bytes());
        if facts.torch_cxx_symbol.is_none() && is_torch_cxx(symbol.name.as_bytes()) {
            facts.torch_cxx_symbol = Some(symbol.name.clone());
        }
    }
    Ok(module)
}

fn malformed(error: object::read::Error) -> ElfError {
    ElfError::Malformed {
        source: Box::new(error),
    }
}

/// From the first twenty bytes: class, byte order and `e_machine`.
fn machine(bytes: &[u8]) -> Machine {
    let is_little_64 = bytes.get(4..6) == Some(&[2, 1]);
    let code = match bytes.get(18..20) {
        Some(&[low, high]) if is_little_64 => u16::from_le_bytes([low, high]),
        Some(_) | None => return Machine::Other,
    };
    if code == elf::EM_X86_64.0 {
        Machine::X86_64
    } else if code == elf::EM_AARCH64.0 {
        Machine::Aarch64
    } else if code == elf::EM_CUDA.0 {
        Machine::Cuda
    } else {
        Machine::Other
    }
}

/// The dynamic table, seen alike by the section headers and by the loader.
struct Dynamic<'data> {
    entries: &'data [elf::Dyn64<LittleEndian>],
    strings: &'data [u8],
}

impl<'data> Dynamic<'data> {
    /// `None` for a file that is not loaded dynamically: a relocatable or static one.
    fn find(file: &'data Loaded) -> Result<Option<Self>, ElfError> {
        let segments = file
            .header()?
            .program_headers(LE, file)
            .map_err(malformed)?;
        let segment = segments
            .iter()
            .find(|header| header.p_type(LE) == elf::PT_DYNAMIC);
        let Some(segment) = segment else {
            return Ok(None);
        };
        let sections = file.sections()?;
        let disagree = |what| ElfError::SectionsDisagree { what };
        let section = sections
            .iter()
            .find(|section| section.sh_type(LE) == elf::SHT_DYNAMIC)
            .filter(|section| section.sh_offset(LE) == segment.p_offset(LE))
            .ok_or_else(|| disagree("dynamic table"))?;
        let link = section.link(LE);
        let strings = sections.section(link).map_err(malformed)?;
        let entries = section.data_as_array(LE, file).map_err(malformed)?;
        let found = Self {
            entries,
            strings: strings.data(LE, file).map_err(malformed)?,
        };
        let address_of = |kind| {
            sections
                .iter()
                .find(|section| section.sh_type(LE) == kind)
                .map(|section| section.sh_addr(LE))
        };
        if found.value(elf::DT_STRTAB) != Some(strings.sh_addr(LE)) {
            return Err(disagree("string table"));
        }
        if found.value(elf::DT_SYMTAB) != address_of(elf::SHT_DYNSYM) {
            return Err(disagree("symbol table"));
        }
        if found.value(elf::DT_VERNEED) != address_of(elf::SHT_GNU_VERNEED) {
            return Err(disagree("needed versions"));
        }
        Ok(Some(found))
    }

    /// Up to the null entry that ends the table.
    fn iter(&self) -> impl Iterator<Item = (elf::DynamicTag, u64)> {
        self.entries
            .iter()
            .map(|entry| (entry.d_tag(LE), entry.d_val(LE)))
            .take_while(|(tag, _)| *tag != elf::DT_NULL)
    }

    fn value(&self, wanted: elf::DynamicTag) -> Option<u64> {
        self.iter()
            .find(|(tag, _)| *tag == wanted)
            .map(|(_, value)| value)
    }

    fn read_entries(&self, facts: &mut ModuleFacts) -> Result<(), ElfError> {
        let mut texts = Texts::default();
        for (count, (tag, value)) in self.iter().enumerate() {
            if count > ENTRIES_CAP {
                return Err(ElfError::TooManyEntries {
                    what: "dynamic table",
                });
            }
            let mut text = || texts.name_at(self.strings, value, "dynamic table entry");
            if tag == elf::DT_NEEDED {
                facts.needed.push(text()?);
            } else if tag == elf::DT_RPATH || tag == elf::DT_RUNPATH {
                facts.search_paths.push(text()?);
            } else if tag == elf::DT_SONAME {
                facts.soname = Some(text()?);
            }
        }
        Ok(())
    }
}

/// Names out of string tables, with the memory for all of them bounded: any number of entries can
/// share one long name.
#[derive(Debug, Default)]
struct Texts {
    bytes: usize,
}

impl Texts {
    /// The name that starts at `offset` of a string table.
    fn name_at(
        &mut self,
        strings: &[u8],
        offset: u64,
        what: &'static str,
    ) -> Result<String, ElfError> {
        let wrong = || ElfError::Name { what };
        let name = bytes_at(strings, offset).ok_or_else(wrong)?;
        if name.len() >= NAME_CAP_BYTES {
            return Err(wrong());
        }
        self.bytes += name.len();
        if self.bytes > TEXTS_CAP_BYTES {
            return Err(ElfError::TablesTooLarge);
        }
        String::from_utf8(name.to_vec()).map_err(|_| wrong())
    }
}

/// The bytes up to the next null, at most [`NAME_CAP_BYTES`]: a table without nulls must not be
/// read through once per symbol.
fn bytes_at(strings: &[u8], offset: u64) -> Option<&[u8]> {
    let tail = strings.get(usize::try_from(offset).ok()?..)?;
    let window = &tail[..tail.len().min(NAME_CAP_BYTES)];
    let length = window.iter().position(|&byte| byte == 0);
    Some(&window[..length.unwrap_or(window.len())])
}

/// The versions in `.gnu.version_r`, per library.
fn read_versions(file: &Loaded) -> Result<BTreeMap<String, Vec<String>>, ElfError> {
    const WHAT: &str = "needed versions";
    let sections = file.sections()?;
    let table = sections.gnu_verneed(LE, file).map_err(malformed)?;
    let Some((mut libraries, link)) = table else {
        return Ok(BTreeMap::new());
    };
    let strings = sections.section(link).map_err(malformed)?;
    let strings = strings.data(LE, file).map_err(malformed)?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut texts = Texts::default();
    let mut count = 0;
    let mut step = || {
        count += 1;
        let is_over = count > ENTRIES_CAP;
        (!is_over)
            .then_some(())
            .ok_or(ElfError::TooManyEntries { what: WHAT })
    };
    while let Some((library, mut versions)) = libraries.next().map_err(malformed)? {
        step()?;
        let name = texts.name_at(strings, library.vn_file.get(LE).into(), WHAT)?;
        let of_library = found.entry(name).or_default();
        while let Some(version) = versions.next().map_err(malformed)? {
            step()?;
            of_library.push(texts.name_at(strings, version.vna_name.get(LE).into(), WHAT)?);
        }
    }
    for versions in found.values_mut() {
        *versions = highest_of_each(versions);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
