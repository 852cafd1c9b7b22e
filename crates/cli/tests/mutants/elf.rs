//! ELF files, 64-bit and little-endian, changed in place: nothing moves.

use super::bytes::{number, places, put, text};

const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
const DYNAMIC_BYTES: usize = 16;

pub(crate) const DT_NEEDED: usize = 1;
pub(crate) const DT_RUNPATH: usize = 29;

/// A host's module or a cubin.
#[derive(Debug, Clone)]
pub(crate) struct Elf {
    pub(crate) bytes: Vec<u8>,
}

/// Where a section's header stands, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    header: usize,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// An entry of a symbol table.
#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    at: usize,
    pub(crate) name: String,
    info: u8,
    other: u8,
    section: usize,
}

impl Symbol {
    /// A strong symbol that another library has to provide.
    pub(crate) fn is_wanted(&self) -> bool {
        self.section == 0 && self.info >> 4 == 1
    }

    fn is_provided(&self) -> bool {
        self.section != 0 && self.info >> 4 != 0
    }

    /// In a cubin: an entry point, not a device function.
    pub(crate) fn is_kernel(&self) -> bool {
        self.info & 0xf == 2 && self.other & 0x10 != 0 && self.section != 0
    }
}

impl Elf {
    fn section_at(&self, index: usize) -> Section {
        let header = number(&self.bytes, 40, 8) + index * SECTION_BYTES;
        Section {
            header,
            offset: number(&self.bytes, header + 24, 8),
            length: number(&self.bytes, header + 32, 8),
        }
    }

    #[track_caller]
    pub(crate) fn section(&self, name: &str) -> Section {
        let names = self.section_at(number(&self.bytes, 62, 2)).offset;
        let count = number(&self.bytes, 60, 2);
        let mut sections = (0..count).map(|index| self.section_at(index));
        let is_wanted = |section: &Section| {
            let at = names + number(&self.bytes, section.header, 4);
            text(&self.bytes, at) == name
        };
        sections
            .find(is_wanted)
            .unwrap_or_else(|| panic!("no section {name}"))
    }

    /// Says that a section has another length.
    pub(crate) fn resize_section(&mut self, name: &str, length: usize) {
        let header = self.section(name).header;
        put(&mut self.bytes, header + 32, 8, length);
    }

    /// The symbols of the table `name`: `.dynsym`, or a cubin's `.symtab`.
    pub(crate) fn symbols(&self, name: &str) -> Vec<Symbol> {
        let table = self.section(name);
        let link = number(&self.bytes, table.header + 40, 4);
        let names = self.section_at(link).offset;
        let entries = (table.offset..table.offset + table.length).step_by(SYMBOL_BYTES);
        entries
            .map(|at| Symbol {
                at,
                name: text(&self.bytes, names + number(&self.bytes, at, 4)).to_owned(),
                info: self.bytes[at + 4],
                other: self.bytes[at + 5],
                section: number(&self.bytes, at + 6, 2),
            })
            .collect()
    }

    /// Puts `new` for the one `old` of the same length.
    #[track_caller]
    pub(crate) fn replace(&mut self, old: &str, new: &str) {
        assert_eq!(old.len(), new.len());
        let found = places(&self.bytes, old.as_bytes());
        assert_eq!(found.len(), 1, "`{old}`");
        self.bytes[found[0]..found[0] + old.len()].copy_from_slice(new.as_bytes());
    }

    /// Makes an entry the null symbol.
    pub(crate) fn remove_symbol(&mut self, symbol: &Symbol) {
        self.bytes[symbol.at..symbol.at + SYMBOL_BYTES].fill(0);
    }

    /// Gives a name of the dynamic string table another text of the same length.
    #[track_caller]
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        assert_eq!(old.len(), new.len());
        let table = self.section(".dynstr");
        let strings = &mut self.bytes[table.offset..table.offset + table.length];
        let found = places(strings, format!("\0{old}\0").as_bytes());
        assert_eq!(found.len(), 1, "`{old}`");
        strings[found[0] + 1..=found[0] + old.len()].copy_from_slice(new.as_bytes());
    }

    /// Renames a version that the module needs, with its hash.
    #[track_caller]
    pub(crate) fn rename_version(&mut self, old: &str, new: &str) {
        self.rename(old, new);
        let table = self.section(".gnu.version_r");
        let entries = &mut self.bytes[table.offset..table.offset + table.length];
        let found = places(entries, &elf_hash(old).to_le_bytes());
        assert!(!found.is_empty(), "`{old}`");
        for at in found {
            entries[at..at + 4].copy_from_slice(&elf_hash(new).to_le_bytes());
        }
    }

    /// Adds an entry to the dynamic table: linkers leave spare ones. Its text takes the place of
    /// the longest name of a symbol that the module has for others, since no string can be added.
    pub(crate) fn add_dynamic(&mut self, tag: usize, value: &str) {
        let strings = self.section(".dynstr").offset;
        let symbols = self.symbols(".dynsym");
        let provided = symbols.iter().filter(|symbol| symbol.is_provided());
        let longest = provided.max_by_key(|symbol| symbol.name.len()).unwrap();
        let name = number(&self.bytes, longest.at, 4);
        assert!(value.len() < longest.name.len());
        self.bytes[strings + name..][..value.len()].copy_from_slice(value.as_bytes());
        self.bytes[strings + name + value.len()] = 0;

        let table = self.section(".dynamic");
        let mut entries = (table.offset..table.offset + table.length).step_by(DYNAMIC_BYTES);
        let is_null = |at: &usize| number(&self.bytes, *at, 8) == 0;
        let (first, second) = (entries.find(is_null), entries.find(is_null));
        let spare = first.filter(|_| second.is_some()).expect("a spare entry");
        put(&mut self.bytes, spare, 8, tag);
        put(&mut self.bytes, spare + 8, 8, name);
    }
}

/// The hash of the System V ABI, by which versions are found.
fn elf_hash(name: &str) -> u32 {
    name.bytes().fold(0_u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}
