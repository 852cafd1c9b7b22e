//! A module's one container, entry by entry.

use super::bytes::{number, put};
use super::elf::Elf;

const CONTAINER_BYTES: usize = 16;

pub(crate) const PTX: usize = 1;
pub(crate) const SASS: usize = 2;

/// The flag of an `a` target.
pub(crate) const FLAG_SPECIFIC: usize = 0x10_0000;
const FLAG_ZSTD: usize = 0x8000;

/// One image, with its header.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    header: Vec<u8>,
    payload: Vec<u8>,
}

/// The images of a module.
#[derive(Debug, Clone)]
pub(crate) struct Fatbin {
    entries: Vec<Entry>,
}

impl Entry {
    fn is(&self, kind: usize, arch: usize) -> bool {
        number(&self.header, 0, 2) == kind && number(&self.header, 28, 4) == arch
    }

    pub(crate) fn set_kind(&mut self, kind: usize) {
        put(&mut self.header, 0, 2, kind);
    }

    pub(crate) fn set_flag(&mut self, flag: usize) {
        let flags = number(&self.header, 40, 8) | flag;
        put(&mut self.header, 40, 8, flags);
    }

    /// The cubin inside; it must not be compressed.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Elf)) {
        assert_eq!(number(&self.header, 16, 4), 0, "a cubin as it is");
        let mut elf = Elf {
            bytes: std::mem::take(&mut self.payload),
        };
        edit(&mut elf);
        self.payload = elf.bytes;
    }

    /// Packs what was not compressed with zstd.
    pub(crate) fn pack(&mut self) {
        assert_eq!(number(&self.header, 16, 4), 0, "not packed yet");
        let packed = zstd::bulk::compress(&self.payload, 3).unwrap();
        put(&mut self.header, 16, 4, packed.len());
        put(&mut self.header, 56, 8, self.payload.len());
        self.set_flag(FLAG_ZSTD);
        self.payload = packed;
    }

    /// Changes a byte in the middle of the payload.
    pub(crate) fn damage(&mut self) {
        let middle = self.payload.len() / 2;
        self.payload[middle] ^= 0xff;
    }
}

impl Fatbin {
    /// Reads the container of `module`.
    pub(crate) fn of(module: &Elf) -> Self {
        let section = module.section(".nv_fatbin");
        let bytes = &module.bytes[section.offset..section.offset + section.length];
        let end = CONTAINER_BYTES + number(bytes, 8, 8);
        assert!(
            bytes[end..].iter().all(|&byte| byte == 0),
            "a module of one source file has one container"
        );
        let mut entries = Vec::new();
        let mut at = CONTAINER_BYTES;
        while at < end {
            let payload = at + number(bytes, at + 4, 4);
            let next = payload + number(bytes, at + 8, 8);
            entries.push(Entry {
                header: bytes[at..payload].to_vec(),
                payload: bytes[payload..next].to_vec(),
            });
            at = next;
        }
        Self { entries }
    }

    /// Writes the container back; what it leaves of the section is padding.
    pub(crate) fn write(mut self, module: &mut Elf) {
        let section = module.section(".nv_fatbin");
        let bytes = &mut module.bytes[section.offset..section.offset + section.length];
        let mut content = Vec::new();
        for entry in &mut self.entries {
            let padded = entry.payload.len().next_multiple_of(8);
            entry.payload.resize(padded, 0);
            put(&mut entry.header, 8, 8, padded);
            content.extend_from_slice(&entry.header);
            content.extend_from_slice(&entry.payload);
        }
        put(bytes, 8, 8, content.len());
        let (written, padding) = bytes[CONTAINER_BYTES..].split_at_mut(content.len());
        written.copy_from_slice(&content);
        padding.fill(0);
    }

    fn index(&self, kind: usize, arch: usize) -> usize {
        let mut entries = self.entries.iter();
        entries.position(|entry| entry.is(kind, arch)).unwrap()
    }

    pub(crate) fn image(&mut self, kind: usize, arch: usize) -> &mut Entry {
        let index = self.index(kind, arch);
        &mut self.entries[index]
    }

    pub(crate) fn remove(&mut self, kind: usize, arch: usize) {
        let index = self.index(kind, arch);
        self.entries.remove(index);
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Two images change places, and their headers stay.
    pub(crate) fn swap_payloads(&mut self, left: (usize, usize), right: (usize, usize)) {
        let left = self.index(left.0, left.1);
        let right = self.index(right.0, right.1);
        let payload = std::mem::take(&mut self.entries[left].payload);
        self.entries[left].payload = std::mem::replace(&mut self.entries[right].payload, payload);
    }
}
