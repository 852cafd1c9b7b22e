//! The few parts of an ELF file that have to be in memory, taken from a file of any size.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::ReadRef;
use object::read::elf::{FileHeader as _, SectionHeader as _, SectionTable};

use super::{ENTRIES_CAP, ElfError, FatbinPlace, FatbinSection, NAME_CAP_BYTES, malformed};
use crate::read_at::ReadAt;

const LE: LittleEndian = LittleEndian;

/// More than the tables of any library that exists: libtorch's take some 60 MB.
const LOADED_CAP_BYTES: u64 = 512 << 20;

const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const SECTION_HEADER_BYTES: u64 = 64;

/// Tables do not overlap, so that all of them together are no longer than the file; a file of
/// overlapping ones must not be read once for each.
const LOADED_TIMES: u64 = 2;

/// Parts of a file by their offset. What was not loaded reads as an error.
#[derive(Debug)]
pub(super) struct Loaded {
    size_bytes: u64,
    parts: BTreeMap<u64, Vec<u8>>,
    held_bytes: u64,
}

impl Loaded {
    /// Loads the headers and the tables that the dynamic loader reads, in rising order as far as
    /// the format allows.
    pub(super) fn load(source: &mut dyn ReadAt) -> Result<Self, ElfError> {
        let mut loaded = Self {
            size_bytes: source.size_bytes(),
            parts: BTreeMap::new(),
            held_bytes: 0,
        };
        loaded.add(source, 0..HEADER_BYTES)?;
        let header = *loaded.header()?;
        let count = u64::from(header.e_phnum(LE));
        loaded.add_table(source, header.e_phoff(LE), count, PROGRAM_HEADER_BYTES)?;
        let table = header.e_shoff(LE);
        if table == 0 {
            return Ok(loaded);
        }
        let count = match header.e_shnum(LE) {
            // More sections than the field can say: the first section has the number.
            0 => {
                loaded.add_table(source, table, 1, SECTION_HEADER_BYTES)?;
                u64::from(header.shnum(LE, &loaded).map_err(malformed)?)
            }
            count => u64::from(count),
        };
        if usize::try_from(count).is_ok_and(|count| count > ENTRIES_CAP) {
            return Err(ElfError::TooManyEntries {
                what: "section table",
            });
        }
        loaded.add_table(source, table, count, SECTION_HEADER_BYTES)?;
        if header.shstrndx(LE, &loaded).map_err(malformed)? != 0 {
            let names = header.section_strings_index(LE, &loaded);
            let headers = header.section_headers(LE, &loaded).map_err(malformed)?;
            let names = headers.get(names.map_err(malformed)?.0);
            let range = names.and_then(places);
            if let Some(range) = range {
                loaded.add(source, range)?;
            }
        }
        for range in loaded.tables()? {
            loaded.add(source, range)?;
        }
        Ok(loaded)
    }

    pub(super) fn header(&self) -> Result<&FileHeader64<LittleEndian>, ElfError> {
        FileHeader64::parse(self).map_err(malformed)
    }

    pub(super) fn sections(
        &self,
    ) -> Result<SectionTable<'_, FileHeader64<LittleEndian>, &Self>, ElfError> {
        self.header()?.sections(LE, self).map_err(malformed)
    }

    /// Where the sections of fatbins lie, in order.
    pub(super) fn fatbins(&self) -> Result<Vec<FatbinPlace>, ElfError> {
        let sections = self.sections()?;
        let mut found = Vec::new();
        for header in sections.iter() {
            let name = sections.section_name(LE, header).unwrap_or_default();
            if let (Some(section), Some(range)) = (FatbinSection::of(name), places(header)) {
                found.push(FatbinPlace { section, range });
            }
        }
        found.sort_by_key(|place| place.range.start);
        let overlap = |pair: &[FatbinPlace]| pair[0].range.end > pair[1].range.start;
        if found.windows(2).any(overlap) {
            return Err(ElfError::Overlap);
        }
        Ok(found)
    }

    /// The sections that the dynamic loader's tables lie in, with the strings they point to.
    fn tables(&self) -> Result<Vec<Range<u64>>, ElfError> {
        let sections = self.sections()?;
        let mut wanted = Vec::new();
        for section in sections.iter() {
            let kind = section.sh_type(LE);
            let is_wanted = [
                elf::SHT_DYNAMIC,
                elf::SHT_DYNSYM,
                elf::SHT_GNU_VERNEED,
                elf::SHT_GNU_VERDEF,
                elf::SHT_GNU_VERSYM,
            ]
            .contains(&kind);
            if !is_wanted {
                continue;
            }
            wanted.extend(places(section));
            let strings = sections.section(section.link(LE)).map_err(malformed)?;
            if strings.sh_type(LE) == elf::SHT_STRTAB {
                wanted.extend(places(strings));
            }
        }
        wanted.sort_by_key(|range| range.start);
        Ok(wanted)
    }

    fn add_table(
        &mut self,
        source: &mut dyn ReadAt,
        start: u64,
        count: u64,
        entry_bytes: u64,
    ) -> Result<(), ElfError> {
        let end = start.saturating_add(count.saturating_mul(entry_bytes));
        self.add(source, start..end)
    }

    fn add(&mut self, source: &mut dyn ReadAt, range: Range<u64>) -> Result<(), ElfError> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 || self.part(range.start, length).is_some() {
            return Ok(());
        }
        if range.end > self.size_bytes {
            return Err(ElfError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        self.held_bytes = self.held_bytes.saturating_add(length);
        let cap_bytes = self.size_bytes.saturating_mul(LOADED_TIMES);
        if self.held_bytes > LOADED_CAP_BYTES.min(cap_bytes) {
            return Err(ElfError::TablesTooLarge);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| ElfError::TablesTooLarge)?];
        source.read_exact_at(range.start, &mut bytes)?;
        self.parts.insert(range.start, bytes);
        Ok(())
    }

    fn part(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let (start, bytes) = self.parts.range(..=offset).next_back()?;
        let from = usize::try_from(offset - start).ok()?;
        bytes.get(from..from.checked_add(usize::try_from(length).ok()?)?)
    }
}

/// Where a section lies in the file; `None` when it takes no room there.
fn places(section: &elf::SectionHeader64<LittleEndian>) -> Option<Range<u64>> {
    let (start, length) = section.file_range(LE)?;
    (length > 0).then(|| start..start.saturating_add(length))
}

impl<'a> ReadRef<'a> for &'a Loaded {
    fn len(self) -> Result<u64, ()> {
        Ok(self.size_bytes)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size == 0 {
            return Ok(&[]);
        }
        self.part(offset, size).ok_or(())
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let length = range.end.checked_sub(range.start).ok_or(())?;
        let bytes = self.read_bytes_at(range.start, length)?;
        // A table without nulls must not be read through once per name.
        let window = &bytes[..bytes.len().min(NAME_CAP_BYTES)];
        let end = window.iter().position(|&byte| byte == delimiter);
        Ok(&window[..end.ok_or(())?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_end_is_none() {
        let table = [b"x\0".as_slice(), &*vec![b'a'; 1 << 20], b"\0"].concat();
        let loaded = Loaded {
            size_bytes: u64::try_from(table.len()).unwrap(),
            parts: [(0, table)].into(),
            held_bytes: 0,
        };
        let end = loaded.size_bytes;
        assert_eq!((&loaded).read_bytes_at_until(0..end, 0), Ok(&b"x"[..]));
        assert_eq!((&loaded).read_bytes_at_until(2..end, 0), Err(()));
        assert_eq!(
            (&loaded).read_bytes_at_until(end - 9..end, 0),
            Ok(&b"aaaaaaaa"[..])
        );
    }
}
