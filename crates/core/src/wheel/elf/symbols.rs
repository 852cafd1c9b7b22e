//! The symbols that a module wants from other libraries, and those that it has for them.

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::SymbolIndex;
use object::read::elf::{Sym as _, VersionTable};

use super::loaded::Loaded;
use super::{ENTRIES_CAP, ElfError, bytes_at, malformed};

const LE: LittleEndian = LittleEndian;

const SYMBOL_BYTES: usize = 24;

/// How many times the length of the tables that they stand in all names together may have. An honest
/// string table has each name once, and a symbol few versions.
const NAMES_TIMES: usize = 16;

/// All names of a module together; libtorch's are below a tenth.
const NAMES_CAP_BYTES: usize = 1 << 30;

/// Every name that the dynamic loader looks up, or finds, in one module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbols {
    /// What another library has to provide, sorted.
    pub needed: Vec<NeededSymbol>,
    /// What others can use, sorted.
    pub provided: Vec<ProvidedSymbol>,
}

impl Symbols {
    /// About as much memory as they take.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = |name: &String, version: &Option<String>| {
            size_of::<NeededSymbol>() + name.len() + version.as_ref().map_or(0, String::len)
        };
        let needed = self.needed.iter();
        let needed = needed.map(|symbol| held(&symbol.name, &symbol.version));
        let provided = self.provided.iter();
        let provided = provided.map(|symbol| held(&symbol.name, &symbol.version));
        needed.chain(provided).sum()
    }
}

/// A symbol that another library has to provide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeededSymbol {
    /// Its mangled name.
    pub name: String,
    /// The version it must have: `GLIBC_2.34`.
    pub version: Option<String>,
    /// Whether the module loads without it.
    pub binding: Binding,
}

/// Whether a symbol has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// Loading fails without it, at once or when it is first called.
    Strong,
    /// Without it, its address is null.
    Weak,
}

/// A symbol that others can use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProvidedSymbol {
    /// Its mangled name.
    pub name: String,
    /// Its version, if the library has versions.
    pub version: Option<String>,
}

/// Reads the dynamic symbol table.
pub(super) fn read(loaded: &Loaded) -> Result<Symbols, ElfError> {
    let sections = loaded.sections()?;
    let table = sections
        .symbols(LE, loaded, elf::SHT_DYNSYM)
        .map_err(malformed)?;
    let mut symbols = Symbols::default();
    if table.is_empty() {
        return Ok(symbols);
    }
    let strings = sections
        .section(table.string_section())
        .map_err(malformed)?;
    let strings = object::read::elf::SectionHeader::data(strings, LE, loaded).map_err(malformed)?;
    check_definitions(loaded)?;
    let versions = sections.versions(LE, loaded).map_err(malformed)?;
    let table_bytes = strings.len() + table.len() * SYMBOL_BYTES;
    let mut left = (table_bytes * NAMES_TIMES).min(NAMES_CAP_BYTES);
    // The first symbol is the null one.
    for (index, symbol) in table.iter().enumerate().skip(1) {
        let binding = match symbol.st_bind() {
            elf::STB_GLOBAL | elf::STB_GNU_UNIQUE => Binding::Strong,
            elf::STB_WEAK => Binding::Weak,
            _ => continue,
        };
        let wrong = || ElfError::Name {
            what: "symbol table",
        };
        let name = bytes_at(strings, symbol.st_name(LE).into()).ok_or_else(wrong)?;
        let name = name.escape_ascii().to_string();
        let version = version_of(versions.as_ref(), SymbolIndex(index))?;
        let name_bytes = name.len() + version.as_ref().map_or(0, String::len);
        left = left
            .checked_sub(name_bytes)
            .ok_or(ElfError::TablesTooLarge)?;
        if symbol.is_undefined(LE) {
            symbols.needed.push(NeededSymbol {
                name,
                version,
                binding,
            });
        } else if is_visible(symbol.st_visibility()) {
            symbols.provided.push(ProvidedSymbol { name, version });
        }
    }
    symbols.needed.sort();
    symbols.needed.dedup();
    symbols.provided.sort();
    symbols.provided.dedup();
    Ok(symbols)
}

/// Definitions of versions may overlap, and there may be as many as their section has bytes: they
/// are counted before anything is done for each.
fn check_definitions(loaded: &Loaded) -> Result<(), ElfError> {
    let sections = loaded.sections()?;
    let table = sections.gnu_verdef(LE, loaded).map_err(malformed)?;
    let Some((mut definitions, _)) = table else {
        return Ok(());
    };
    let mut count = 0;
    while definitions.next().map_err(malformed)?.is_some() {
        count += 1;
        if count > ENTRIES_CAP {
            let what = "defined versions";
            return Err(ElfError::TooManyEntries { what });
        }
    }
    Ok(())
}

fn is_visible(visibility: elf::SymbolVisibility) -> bool {
    visibility == elf::STV_DEFAULT || visibility == elf::STV_PROTECTED
}

fn version_of(
    versions: Option<&VersionTable<'_, FileHeader64<LittleEndian>>>,
    index: SymbolIndex,
) -> Result<Option<String>, ElfError> {
    let Some(versions) = versions else {
        return Ok(None);
    };
    let version = versions.version(versions.version_index(LE, index).index());
    let version = version.map_err(malformed)?;
    Ok(version.map(|version| version.name().escape_ascii().to_string()))
}
