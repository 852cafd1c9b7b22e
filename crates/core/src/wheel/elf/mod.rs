//! What an ELF file needs from the system it is loaded on.
//!
//! Everything comes from the tables that the dynamic loader reads. They are found through the
//! section headers, which a loader ignores, so the two are compared first: a file whose section
//! headers tell another story than its segments is refused, never believed.

mod loaded;
mod symbols;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use object::LittleEndian;
use object::elf;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use serde::{Deserialize, Serialize};

use self::loaded::Loaded;
pub use self::symbols::{Binding, NeededSymbol, ProvidedSymbol, Symbols};
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

/// The highest of each prefix, and those that are not numbered, sorted.
fn highest_of_each(versions: &[String]) -> Vec<String> {
    let mut highest: BTreeMap<&str, &str> = BTreeMap::new();
    let mut kept: Vec<String> = Vec::new();
    for version in versions {
        match split_version(version) {
            Some((prefix, number)) => {
                let known = highest.entry(prefix).or_insert(number);
                if version_numbers(number) > version_numbers(known) {
                    *known = number;
                }
            }
            None => kept.push(version.clone()),
        }
    }
    kept.extend(
        highest
            .iter()
            .map(|(prefix, number)| format!("{prefix}_{number}")),
    );
    kept.sort();
    kept.dedup();
    kept
}

/// `GLIBC_2.28` is `GLIBC` and `2.28`; `None` for what carries no number.
pub(super) fn split_version(version: &str) -> Option<(&str, &str)> {
    let (prefix, number) = version.rsplit_once('_')?;
    version_numbers(number)?;
    Some((prefix, number))
}

/// `2.28` as numbers, to be compared.
pub(super) fn version_numbers(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// `Py_…`, `_Py_…` and `PyObject_…`, in which a capital or an underscore follows the `Py`.
pub(crate) fn is_cpython(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"_").unwrap_or(name);
    let after = name.strip_prefix(b"Py").and_then(<[u8]>::first);
    after.is_some_and(|&byte| byte == b'_' || byte.is_ascii_uppercase())
}

/// Whether torch has to provide an undefined symbol: as C++, or through the C shims of its stable
/// ABI.
pub(crate) fn is_torch_symbol(name: &str) -> bool {
    name.starts_with("aoti_torch_") || name.starts_with("torch_") || is_torch_cxx(name.as_bytes())
}

/// Whether torch's C++ stands in an undefined symbol: as the namespace that has to provide it
/// (functions, vtables `_ZTV`, type information `_ZTI`), or as a type in its signature. The C
/// shims of the stable ABI (`aoti_torch_…`) are none of these.
///
/// `THP…` are the Python bindings inside torch: C names, but no more stable than the rest.
fn is_torch_cxx(name: &[u8]) -> bool {
    const NAMESPACES: [&[u8]; 4] = [b"2at", b"3c10", b"5torch", b"6caffe2"];
    if name.starts_with(b"THP") {
        return true;
    }
    if !name.starts_with(b"_Z") {
        return false;
    }
    let nested = |at: usize| {
        let inside = &name[at + 1..];
        let inside = inside.strip_prefix(b"K").unwrap_or(inside);
        NAMESPACES.iter().any(|space| inside.starts_with(space))
    };
    (0..name.len()).any(|at| name[at] == b'N' && nested(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(path: &str, mut bytes: &[u8]) -> Result<ModuleFacts, ElfError> {
        inspect(path, &mut bytes).map(|module| module.facts)
    }
    use crate::wheel::fixture::{Elf, with_sections};

    #[track_caller]
    fn check_torch(name: &str, want: bool) {
        assert_eq!(is_torch_cxx(name.as_bytes()), want, "{name}");
    }

    #[test]
    fn torch_is_seen_in_functions_data_and_signatures() {
        for name in [
            "_ZN2at4_ops5empty4callEv",
            "_ZNK2at6Tensor4sizeEv",
            "_ZN3c105ErrorD1Ev",
            "_ZNK3c104Type3strEv",
            "_ZTVN3c1021AutogradMetaInterfaceE",
            "_ZTIN3c105ErrorE",
            "_ZN5torch7LibraryC1Ev",
            "_ZN6caffe28TypeMeta21error_unsupportedEv",
            "_Z16THPVariable_WrapN2at10TensorBaseE",
            "THPVariableClass",
        ] {
            check_torch(name, true);
        }
        for name in [
            "aoti_torch_empty_strided",
            "torch_call_dispatcher",
            "_ZNSt6vectorIiSaIiEE2atEm",
            "_ZN11torchvision3opsEv",
            "_ZN4main2atEv",
            "cudaLaunchKernel",
            "PyObject_Call",
            "",
            "N2at",
        ] {
            check_torch(name, false);
        }
    }

    #[test]
    fn cpython_is_told_from_names_that_start_alike() {
        for name in [
            "PyObject_Call",
            "Py_BuildValue",
            "_Py_NoneStruct",
            "_PyLong_New",
        ] {
            assert!(is_cpython(name.as_bytes()), "{name}");
        }
        for name in ["PythonInit", "Pyramid", "_ZN8pybind11", "Py", ""] {
            assert!(!is_cpython(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_highest_version_of_each_prefix_is_kept() {
        let versions = [
            "GLIBC_2.2.5",
            "GLIBC_2.28",
            "GLIBC_2.3",
            "GLIBC_ABI_DT_RELR",
            "CXXABI_1.3",
            "CXXABI_TM_1",
            "GLIBC_PRIVATE",
            "libcudart.so.12",
        ];
        let versions: Vec<String> = versions.map(str::to_owned).to_vec();
        assert_eq!(
            highest_of_each(&versions),
            [
                "CXXABI_1.3",
                "CXXABI_TM_1",
                "GLIBC_2.28",
                "GLIBC_ABI_DT_RELR",
                "GLIBC_PRIVATE",
                "libcudart.so.12",
            ]
        );
    }

    #[test]
    fn other_machines_are_named_and_not_read() {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 190;
        assert_eq!(facts("a.cubin", &bytes).unwrap().machine, Machine::Cuda);
        bytes[18] = 3;
        assert_eq!(facts("a.so", &bytes).unwrap().machine, Machine::Other);
        assert_eq!(facts("a.so", &ELF_MAGIC).unwrap().machine, Machine::Other);
        bytes[18] = 62;
        assert!(facts("a.so", &bytes).is_err());
    }

    fn extension() -> Elf<'static> {
        Elf {
            soname: Some("libx.so.1"),
            needed: &["libc10.so", "libc.so.6"],
            run_path: Some("$ORIGIN/../torch/lib:/usr/local/cuda/lib64"),
            versions: &[
                ("libc.so.6", &["GLIBC_2.2.5", "GLIBC_2.27"]),
                ("libstdc++.so.6", &["GLIBCXX_3.4.21", "CXXABI_1.3"]),
            ],
            undefined: &["malloc", "PyLong_FromLong", "_ZN3c105ErrorD1Ev"],
            ..Elf::default()
        }
    }

    #[test]
    fn a_module_tells_what_it_needs() {
        let facts = facts("x/_C.so", &extension().bytes()).unwrap();
        assert_eq!(facts.highest("GLIBC"), Some("2.27"));
        assert_eq!(facts.highest("GCC"), None);
        insta::assert_snapshot!(serde_json::to_string_pretty(&facts).unwrap(), @r#"
{
  "path": "x/_C.so",
  "machine": "x86_64",
  "soname": "libx.so.1",
  "needed": [
    "libc10.so",
    "libc.so.6"
  ],
  "search_paths": [
    "$ORIGIN/../torch/lib:/usr/local/cuda/lib64"
  ],
  "symbol_versions": {
    "libc.so.6": [
      "GLIBC_2.27"
    ],
    "libstdc++.so.6": [
      "CXXABI_1.3",
      "GLIBCXX_3.4.21"
    ]
  },
  "torch_cxx_symbol": "_ZN3c105ErrorD1Ev",
  "uses_cpython": true
}
"#);
    }

    #[test]
    fn defined_symbols_need_nothing() {
        let elf = Elf {
            defined: &["_ZN2at6TensorC1Ev", "PyInit_x"],
            undefined: &["malloc"],
            ..Elf::default()
        };
        let facts = facts("x.so", &elf.bytes()).unwrap();
        assert!(!facts.uses_torch_cxx_abi() && !facts.uses_cpython);
    }

    #[test]
    fn section_headers_that_differ_from_the_segments_are_refused() {
        let honest = extension().bytes();
        let section_table = honest.len() - 6 * 64;
        for (section, field) in [(4, 0x18), (1, 0x10), (2, 0x10), (3, 0x10)] {
            let mut bytes = honest.clone();
            bytes[section_table + section * 64 + field] ^= 8;
            let res = facts("x.so", &bytes);
            assert!(
                matches!(res, Err(ElfError::SectionsDisagree { .. })),
                "section {section}: {res:?}"
            );
        }
        // No section headers at all, as packers leave it: e_shoff, e_shnum and e_shstrndx.
        let mut bytes = honest;
        bytes[0x28..0x30].fill(0);
        bytes[0x3c..0x40].fill(0);
        let res = facts("x.so", &bytes);
        assert!(
            matches!(res, Err(ElfError::SectionsDisagree { .. })),
            "{res:?}"
        );
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let honest = extension().bytes();
        for at in 0..honest.len() {
            for value in [0, 0x7f, 0xff, honest[at].wrapping_add(1)] {
                let mut damaged = honest.clone();
                damaged[at] = value;
                drop(facts("x.so", &damaged));
            }
        }
        for length in 0..honest.len() {
            drop(facts("x.so", &honest[..length]));
        }
    }

    /// Where a section's header has its offset in the file; the length stands eight bytes further.
    fn offset_field(bytes: &[u8], section: usize) -> usize {
        bytes.len() - 6 * 64 + section * 64 + 24
    }

    fn number_at(bytes: &[u8], at: usize) -> usize {
        usize::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn symbols_that_share_one_long_name_are_refused() {
        let long = "a".repeat(2000);
        let mut undefined = vec!["x"; 2000];
        undefined.push(&long);
        let elf = Elf {
            undefined: &undefined,
            ..Elf::default()
        };
        let honest = elf.bytes();
        assert!(facts("x.so", &honest).is_ok());
        let mut bytes = honest;
        let table = number_at(&bytes, offset_field(&bytes, 2));
        let last = table + 24 * undefined.len();
        let name: [u8; 4] = bytes[last..last + 4].try_into().unwrap();
        for symbol in 1..undefined.len() {
            bytes[table + 24 * symbol..][..4].copy_from_slice(&name);
        }
        let res = facts("x.so", &bytes);
        assert!(matches!(res, Err(ElfError::TablesTooLarge)), "{res:?}");
    }

    #[test]
    fn fatbins_that_share_bytes_are_refused() {
        let honest = with_sections(
            &extension().bytes(),
            &[(".nv_fatbin", &[0; 64]), ("__nv_relfatbin", &[0; 64])],
        );
        let module = inspect("x.so", &mut honest.as_slice()).unwrap();
        assert_eq!(module.fatbins.len(), 2);
        let mut bytes = honest;
        let second = bytes.len() - 64 + 24;
        let before = u8::try_from(number_at(&bytes, second) % 256).unwrap();
        bytes[second] = before - 8;
        let res = facts("x.so", &bytes);
        assert!(matches!(res, Err(ElfError::Overlap)), "{res:?}");
    }

    #[test]
    fn tables_that_overlap_again_and_again_are_refused() {
        let honest = extension().bytes();
        let sections: Vec<(&str, &[u8])> = vec![("", &[0; 8]); 64];
        let mut bytes = with_sections(&honest, &sections);
        assert!(facts("x.so", &bytes).is_ok());
        // Tables of dynamic symbols, each eight bytes longer than the one before.
        let first = bytes.len() - sections.len() * 64;
        for section in 0..sections.len() {
            let header = first + section * 64;
            bytes[header + 4] = 11;
            bytes[header + 24..header + 32].fill(0);
            let length = (1000 + 8 * section).to_le_bytes();
            bytes[header + 32..header + 40].copy_from_slice(&length);
            bytes[header + 40] = 1;
        }
        let res = facts("x.so", &bytes);
        assert!(matches!(res, Err(ElfError::TablesTooLarge)), "{res:?}");
    }

    #[test]
    fn endless_texts_are_refused() {
        let names: Vec<String> = (0..3000).map(|number| format!("{number:02000}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let needed = Elf {
            needed: &names,
            ..Elf::default()
        };
        let versions = Elf {
            versions: &[("libx.so", &names)],
            ..Elf::default()
        };
        for elf in [needed, versions] {
            let res = facts("x.so", &elf.bytes());
            assert!(matches!(res, Err(ElfError::TablesTooLarge)), "{res:?}");
        }
    }

    #[test]
    fn version_tables_that_overlap_themselves_are_cut_short() {
        // Four, again and again: the next definition is always four bytes further.
        let mut bytes = extension().bytes();
        let header = offset_field(&bytes, 5) - 24;
        let place = [bytes.len(), 4 * 70_000].map(usize::to_le_bytes).concat();
        bytes[header + 4..header + 8].copy_from_slice(&0x6fff_fffd_u32.to_le_bytes());
        bytes[header + 24..header + 40].copy_from_slice(&place);
        // That was the table of section names; the other table of names stands in for it.
        bytes[62] = 1;
        bytes[header + 40] = 1;
        bytes.extend([4, 0, 0, 0].repeat(70_000));
        let res = facts("x.so", &bytes);
        assert!(
            matches!(res, Err(ElfError::TooManyEntries { .. })),
            "{res:?}"
        );
    }

    #[test]
    fn endless_tables_are_cut_short() {
        let libraries = vec![("libx.so", &[][..]); 70_000];
        let elf = Elf {
            versions: &libraries,
            ..Elf::default()
        };
        let res = facts("x.so", &elf.bytes());
        assert!(
            matches!(res, Err(ElfError::TooManyEntries { .. })),
            "{res:?}"
        );
        let versions = vec!["V_1"; 70_000];
        let elf = Elf {
            versions: &[
                ("libx.so", &versions[..40_000]),
                ("liby.so", &versions[..40_000]),
            ],
            ..Elf::default()
        };
        let res = facts("x.so", &elf.bytes());
        assert!(
            matches!(res, Err(ElfError::TooManyEntries { .. })),
            "{res:?}"
        );
    }
}
