//! Cubins: ELF files of machine code for one GPU arch.
//!
//! Read by hand: since code version 1.8 their tables lie at odd offsets, and the `object` crate
//! wants them aligned.

use crate::arch::{Arch, ArchSuffix};
use crate::fatbin::code::{Code, CodeError, KernelBudget, parse_target};
use crate::fatbin::image::Kernel;

/// 64-bit, little endian.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const MACHINE_CUDA: u16 = 190;

/// `EI_OSABI` of code version 1.7: the arch is the lowest byte of `e_flags`, its suffix a bit. The
/// bit is older than the suffix: cuBLAS 11 has it in cubins for 5.0.
const ABI_1_7: u8 = 0x33;
const FLAG_SPECIFIC_1_7: u32 = 0x800;
const FIRST_WITH_SUFFIX: u8 = 90;
/// `EI_OSABI` of code version 1.8: the arch is the second byte.
const ABI_1_8: u8 = 0x41;

const SECTION_BYTES: u64 = 64;
const SECTION_PROGBITS: u32 = 1;
const SECTION_SYMBOLS: u32 = 2;
const SYMBOL_BYTES: usize = 24;
const SYMBOL_FUNCTION: u8 = 2;
/// The bit of `st_other` that tells a kernel from a device function.
const SYMBOL_ENTRY: u8 = 0x10;
/// A section's number that does not fit the field (`SHN_XINDEX`).
const INDEX_ELSEWHERE: u16 = 0xffff;

/// Where ptxas and nvlink write how they were called.
const NOTE_TOOLS: &[u8] = b".note.nv.tkinfo\0";

/// A section of code has the name of its kernel.
const CODE_PREFIX: &[u8] = b".text.";
const CODE_PREFIX_BYTES: u32 = 6;

/// Reads `bytes`, which the fatbin says is for `header_arch`.
pub(super) fn read(
    bytes: &[u8],
    header_arch: Option<Arch>,
    budget: &mut KernelBudget,
) -> Result<Code, CodeError> {
    let cubin = Cubin::parse(bytes)?;
    let mut kernels = match cubin.first(|section| section.kind == SECTION_SYMBOLS) {
        Some(symbols) => cubin.kernels_of_symbols(&symbols, budget)?,
        None => cubin.kernels_of_sections(budget)?,
    };
    kernels.sort();
    kernels.dedup_by(|next, kept| next.name == kept.name);
    Ok(Code {
        arch: cubin.arch(header_arch),
        kernels,
    })
}

fn array<const N: usize>(bytes: &[u8], offset: u64) -> Option<[u8; N]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], offset: u64) -> Option<u16> {
    array(bytes, offset).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: u64) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: u64) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

struct Section {
    name: u32,
    kind: u32,
    offset: u64,
    size_bytes: u64,
    link: u32,
}

struct Cubin<'a> {
    bytes: &'a [u8],
    abi: u8,
    flags: u32,
    sections_offset: u64,
    section_count: u64,
    names: &'a [u8],
}

impl<'a> Cubin<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, CodeError> {
        const WHAT: CodeError = CodeError::Outside {
            what: "section table",
        };
        if !bytes.starts_with(MAGIC) || u16_at(bytes, 18) != Some(MACHINE_CUDA) {
            return Err(CodeError::NotACubin);
        }
        let mut cubin = Self {
            bytes,
            abi: bytes.get(7).copied().ok_or(WHAT)?,
            flags: u32_at(bytes, 48).ok_or(WHAT)?,
            sections_offset: u64_at(bytes, 40).ok_or(WHAT)?,
            section_count: u64::from(u16_at(bytes, 60).ok_or(WHAT)?),
            names: &[],
        };
        let mut names_index = u32::from(u16_at(bytes, 62).ok_or(WHAT)?);
        if cubin.sections_offset == 0 {
            return Ok(cubin);
        }
        // Numbers too large for the header stand in the section that is none.
        if cubin.section_count == 0 {
            cubin.section_count = cubin.section_at(0).ok_or(WHAT)?.size_bytes;
        }
        if names_index == u32::from(INDEX_ELSEWHERE) {
            names_index = cubin.section_at(0).ok_or(WHAT)?.link;
        }
        let last = cubin.section_count.checked_sub(1).ok_or(WHAT)?;
        cubin.section_at(last).ok_or(WHAT)?;
        let names = cubin.section(names_index).ok_or(WHAT)?;
        cubin.names = cubin.content(&names, "table of section names")?;
        Ok(cubin)
    }

    /// The section header at `index`, wherever the table ends.
    fn section_at(&self, index: u64) -> Option<Section> {
        let start = index
            .checked_mul(SECTION_BYTES)?
            .checked_add(self.sections_offset)?;
        let header: [u8; 64] = array(self.bytes, start)?;
        Some(Section {
            name: u32_at(&header, 0)?,
            kind: u32_at(&header, 4)?,
            offset: u64_at(&header, 24)?,
            size_bytes: u64_at(&header, 32)?,
            link: u32_at(&header, 40)?,
        })
    }

    fn section(&self, index: u32) -> Option<Section> {
        let index = u64::from(index);
        (index < self.section_count).then(|| self.section_at(index))?
    }

    fn sections(&self) -> impl Iterator<Item = Section> + '_ {
        (0..self.section_count).map_while(|index| self.section_at(index))
    }

    fn first(&self, is_wanted: impl Fn(&Section) -> bool) -> Option<Section> {
        self.sections().find(is_wanted)
    }

    /// Whether the name starts so. A table without nulls is not read through for each section.
    fn has_name(&self, section: &Section, prefix: &[u8]) -> bool {
        let start = usize::try_from(section.name).unwrap_or(usize::MAX);
        let name = self.names.get(start..).unwrap_or_default();
        name.starts_with(prefix)
    }

    fn content(&self, section: &Section, what: &'static str) -> Result<&'a [u8], CodeError> {
        let find = || {
            let start = usize::try_from(section.offset).ok()?;
            let length = usize::try_from(section.size_bytes).ok()?;
            self.bytes.get(start..start.checked_add(length)?)
        };
        find().ok_or(CodeError::Outside { what })
    }

    /// From the symbol table, which tells kernels from device functions that stayed functions.
    fn kernels_of_symbols(
        &self,
        symbols: &Section,
        budget: &mut KernelBudget,
    ) -> Result<Vec<Kernel>, CodeError> {
        let names = self
            .section(symbols.link)
            .ok_or(CodeError::Outside {
                what: "table of symbol names",
            })
            .and_then(|names| self.content(&names, "table of symbol names"))?;
        let (symbols, _) = self
            .content(symbols, "symbol table")?
            .as_chunks::<SYMBOL_BYTES>();
        let mut kernels = Vec::new();
        for symbol in symbols {
            let index = u16::from_le_bytes([symbol[6], symbol[7]]);
            if symbol[4] & 0xf != SYMBOL_FUNCTION || symbol[5] & SYMBOL_ENTRY == 0 || index == 0 {
                continue;
            }
            let name = u32_at(symbol, 0).and_then(|name| name_at(names, name, budget));
            let size = match self.section(index.into()) {
                Some(section) if index != INDEX_ELSEWHERE => Some(section.size_bytes),
                Some(_) | None => u64_at(symbol, 16),
            };
            kernels.push(Kernel {
                name: budget.name(name.ok_or(budget.bad_name())?)?,
                code_bytes: size,
            });
        }
        Ok(kernels)
    }

    /// From the names of the sections, where there is no symbol table.
    fn kernels_of_sections(&self, budget: &mut KernelBudget) -> Result<Vec<Kernel>, CodeError> {
        let mut kernels = Vec::new();
        for section in self
            .sections()
            .filter(|section| section.kind == SECTION_PROGBITS)
        {
            let start = section.name.checked_add(CODE_PREFIX_BYTES);
            if !self.has_name(&section, CODE_PREFIX) {
                continue;
            }
            let name = start.and_then(|start| name_at(self.names, start, budget));
            kernels.push(Kernel {
                name: budget.name(name.ok_or(budget.bad_name())?)?,
                code_bytes: Some(section.size_bytes),
            });
        }
        Ok(kernels)
    }

    fn arch(&self, header_arch: Option<Arch>) -> Option<Arch> {
        let [low, second, _, _] = self.flags.to_le_bytes();
        match self.abi {
            ABI_1_7 if low >= FIRST_WITH_SUFFIX && self.flags & FLAG_SPECIFIC_1_7 != 0 => {
                Arch::from_number(low.into(), ArchSuffix::Specific)
            }
            ABI_1_7 => Arch::from_number(low.into(), ArchSuffix::Portable),
            ABI_1_8 => {
                let arch = Arch::from_number(second.into(), ArchSuffix::Portable)?;
                let suffix = self.arch_of_note().or(header_arch);
                suffix
                    .filter(|named| named.capability() == arch.capability())
                    .or(Some(arch))
            }
            _ => None,
        }
    }

    /// From the `-arch sm_90a` that the note of ptxas holds.
    fn arch_of_note(&self) -> Option<Arch> {
        const OPTION: &[u8] = b"-arch sm_";
        const SEEN_BYTES: usize = 4096;
        let note = self.first(|section| self.has_name(section, NOTE_TOOLS))?;
        let note = self.content(&note, "note").ok()?;
        let note = &note[..note.len().min(SEEN_BYTES)];
        let at = note
            .windows(OPTION.len())
            .position(|window| window == OPTION)?;
        parse_target(&note[at + b"-arch ".len()..])
    }
}

/// The name at `offset` of a table, up to its null. `None` when there is none within the cap.
fn name_at<'a>(names: &'a [u8], offset: u32, budget: &KernelBudget) -> Option<&'a [u8]> {
    let tail = names.get(usize::try_from(offset).ok()?..)?;
    let window = &tail[..tail.len().min(budget.name_bytes().saturating_add(1))];
    let length = window.iter().position(|&byte| byte == 0)?;
    Some(&window[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fatbin::caps::FatbinCaps;
    use crate::fatbin::fixture::{Function, cubin, cubin_1_7};

    fn read_whole(bytes: &[u8], header_arch: Option<&str>) -> Result<Code, CodeError> {
        let mut budget = KernelBudget::new(&FatbinCaps::default());
        let header_arch = header_arch.map(|arch| arch.parse().unwrap());
        read(bytes, header_arch, &mut budget)
    }

    #[track_caller]
    fn check_arch(bytes: &[u8], header_arch: Option<&str>, want: Option<&str>) {
        let code = read_whole(bytes, header_arch).unwrap();
        assert_eq!(code.arch.map(|arch| arch.to_string()).as_deref(), want);
    }

    #[test]
    fn the_arch_stands_where_the_code_version_puts_it() {
        check_arch(&cubin_1_7(0x5a_055a, &[]), None, Some("9.0"));
        check_arch(&cubin_1_7(0x5a_0d5a, &[]), None, Some("9.0a"));
        check_arch(&cubin_1_7(0x3c_0d32, &[]), None, Some("5.0"));
        check_arch(&cubin(0x41, 0x600_7802, None, &[]), None, Some("12.0"));
        check_arch(&cubin(0x77, 0x600_7802, None, &[]), Some("12.0"), None);
    }

    #[test]
    fn the_suffix_of_version_1_8_comes_from_the_note_and_else_from_the_header() {
        let noted = |note| cubin(0x41, 0x600_7802, Some(note), &[]);
        check_arch(&noted("-arch sm_120f -m 64 "), Some("12.0"), Some("12.0f"));
        check_arch(&noted("-arch sm_120 -m 64 "), Some("12.0a"), Some("12.0"));
        check_arch(&noted("-m 64 "), Some("12.0a"), Some("12.0a"));
        check_arch(&noted("-arch sm_90a "), Some("9.0a"), Some("12.0"));
    }

    #[test]
    fn kernels_are_told_from_device_functions() {
        let functions = [
            ("_Z6kernelPf", Function::Kernel, 384),
            ("_Z6helperf", Function::Device, 128),
            ("_Z5emptyv", Function::Kernel, 256),
        ];
        let code = read_whole(&cubin_1_7(0x5a_055a, &functions), None).unwrap();
        let kernel = |name: &str, code_bytes| Kernel {
            name: name.to_owned(),
            code_bytes: Some(code_bytes),
        };
        let want = [kernel("_Z5emptyv", 256), kernel("_Z6kernelPf", 384)];
        assert_eq!(code.kernels, want);

        // Without a symbol table, sections are all there is.
        let mut stripped = cubin_1_7(0x5a_055a, &functions);
        let table = stripped.len() - 64 * 2;
        stripped[table + 4] = 0;
        let code = read_whole(&stripped, None).unwrap();
        assert_eq!(code.kernels.len(), 3);
    }

    #[test]
    fn what_is_no_cubin_is_refused() {
        for bytes in [&b""[..], b"\x7fELF\x02\x01", &[0; 200]] {
            assert_eq!(read_whole(bytes, None), Err(CodeError::NotACubin));
        }
    }

    #[test]
    fn kernels_have_caps() {
        let functions = [
            ("first", Function::Kernel, 1),
            ("second", Function::Kernel, 1),
        ];
        let bytes = cubin_1_7(0x5a_055a, &functions);
        let caps = FatbinCaps::default();
        let read = |caps| read(&bytes, None, &mut KernelBudget::new(&caps));
        let too_many = Err(CodeError::TooManyKernels);
        assert_eq!(read(FatbinCaps { kernels: 1, ..caps }), too_many);
        let long_names = FatbinCaps {
            total_name_bytes: 10,
            ..caps
        };
        assert_eq!(read(long_names), too_many);
        let long_name = FatbinCaps {
            name_bytes: 5,
            ..caps
        };
        assert_eq!(read(long_name), Err(CodeError::Name { cap_bytes: 5 }));
    }
}
