//! Small fatbins for tests, with every byte under control.

/// One entry, as nvcc writes it unless a field says otherwise.
#[derive(Debug, Clone)]
pub(crate) struct EntryBytes {
    pub(crate) kind: u16,
    pub(crate) layout: u16,
    pub(crate) version: (u16, u16),
    pub(crate) arch: u32,
    pub(crate) flags: u64,
    /// The source's name, as `-G` leaves it.
    pub(crate) identifier: &'static str,
    pub(crate) options: Option<&'static str>,
    /// The records of a concatenated entry, with their count.
    pub(crate) records: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) size_bytes: u64,
}

pub(crate) const FLAG_64_BIT: u64 = 0x11;
pub(crate) const FLAG_LZ4: u64 = 0x2000;
pub(crate) const FLAG_ZSTD: u64 = 0x8000;
pub(crate) const FLAG_SPECIFIC: u64 = 0x10_0000;
pub(crate) const FLAG_FAMILY: u64 = 0x20_0000;

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

impl EntryBytes {
    /// A cubin that is not compressed.
    pub(crate) fn sass(arch: u32, payload: Vec<u8>) -> Self {
        Self {
            kind: 2,
            layout: 0x0101,
            version: (1, 7),
            arch,
            flags: FLAG_64_BIT,
            identifier: "",
            options: None,
            records: Vec::new(),
            payload,
            size_bytes: 0,
        }
    }

    /// PTX that is not compressed.
    pub(crate) fn ptx(arch: u32, text: &str) -> Self {
        Self {
            kind: 1,
            version: (8, 7),
            ..Self::sass(arch, text.into())
        }
    }

    /// Several images in one zstd frame; without, they lie as they are.
    /// Several images in one compressed payload.
    pub(crate) fn concatenated(images: &[Self], flag: u64) -> Self {
        let mut payload = Vec::new();
        let mut records = Vec::new();
        for image in images {
            let mut bytes = image.payload.clone();
            pad(&mut bytes);
            let record = Self {
                payload: bytes.clone(),
                ..image.clone()
            };
            let mut header = record.header();
            header[4..8].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
            records.extend(header);
            payload.extend(bytes);
        }
        let count = u32::try_from(images.len()).unwrap();
        let total = u32::try_from(records.len() + 8).unwrap();
        let whole = Self {
            kind: 0x100,
            version: (0, 1),
            records: [&count.to_le_bytes(), &total.to_le_bytes(), &*records].concat(),
            ..Self::sass(0, payload)
        };
        whole.packed(flag)
    }

    pub(crate) fn with_flags(mut self, flags: u64) -> Self {
        self.flags |= flags;
        self
    }

    /// The same, compressed as the flag says.
    pub(crate) fn packed(mut self, flag: u64) -> Self {
        self.size_bytes = length_of(&self.payload);
        self.payload = match flag {
            FLAG_LZ4 => lz4_flex::block::compress(&self.payload),
            FLAG_ZSTD => zstd::bulk::compress(&self.payload, 3).unwrap(),
            _ => panic!("no compression has flag {flag:#x}"),
        };
        self.with_flags(flag)
    }

    fn header(&self) -> Vec<u8> {
        let mut more = Vec::new();
        if !self.identifier.is_empty() {
            more.extend(self.identifier.as_bytes());
            more.push(0);
            pad(&mut more);
        }
        let mut options_offset = 0;
        if let Some(options) = self.options {
            options_offset = u32::try_from(64 + more.len()).unwrap();
            more.extend((options_offset + 8).to_le_bytes());
            more.extend(u32::try_from(options.len()).unwrap().to_le_bytes());
            more.extend(options.as_bytes());
            more.push(0);
            pad(&mut more);
        }
        if !self.records.is_empty() {
            options_offset = 64;
            more.extend(&self.records);
        }
        let is_packed = self.size_bytes != 0;
        let packed_bytes = if is_packed { self.payload.len() } else { 0 };
        let mut bytes = Vec::new();
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.layout.to_le_bytes());
        bytes.extend(u32::try_from(64 + more.len()).unwrap().to_le_bytes());
        bytes.extend(length_of(&self.payload).next_multiple_of(8).to_le_bytes());
        bytes.extend(u32::try_from(packed_bytes).unwrap().to_le_bytes());
        bytes.extend(options_offset.to_le_bytes());
        bytes.extend(self.version.1.to_le_bytes());
        bytes.extend(self.version.0.to_le_bytes());
        bytes.extend(self.arch.to_le_bytes());
        let identifier_offset = u32::from(!self.identifier.is_empty()) * 64;
        bytes.extend(identifier_offset.to_le_bytes());
        bytes.extend(u32::try_from(self.identifier.len()).unwrap().to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.size_bytes.to_le_bytes());
        bytes.extend(more);
        bytes
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.extend(&self.payload);
        pad(&mut bytes);
        bytes
    }
}

/// A container of `entries`.
pub(crate) fn container(entries: &[EntryBytes]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(EntryBytes::bytes).collect();
    let mut bytes = 0xBA55_ED50_u32.to_le_bytes().to_vec();
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(16u16.to_le_bytes());
    bytes.extend(length_of(&entries).to_le_bytes());
    bytes.extend(entries);
    bytes
}

/// What a function of a cubin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Kernel,
    Device,
}

/// A cubin of code version 1.7.
pub(crate) fn cubin_1_7(flags: u32, functions: &[(&str, Function, u64)]) -> Vec<u8> {
    cubin(0x33, flags, None, functions)
}

/// A cubin with a section for each function, and a note of the tool's options if it is to have one.
pub(crate) fn cubin(
    abi: u8,
    flags: u32,
    note: Option<&str>,
    functions: &[(&str, Function, u64)],
) -> Vec<u8> {
    let mut names = vec![0];
    let mut add_name = |name: &str| {
        let offset = u32::try_from(names.len()).unwrap();
        names.extend(name.as_bytes());
        names.push(0);
        offset
    };
    let mut symbols = vec![0; 24];
    // Name, type, content and link of each section; functions have a length and no content.
    let mut sections: Vec<(u32, u32, Vec<u8>, u64)> = vec![(0, 0, Vec::new(), 0)];
    let note_bytes = note.unwrap_or_default().as_bytes().to_vec();
    if note.is_some() {
        sections.push((add_name(".note.nv.tkinfo"), 7, note_bytes, 0));
    }
    for (name, function, code_bytes) in functions {
        let entry = match function {
            Function::Kernel => 0x10,
            Function::Device => 0,
        };
        symbols.extend(add_name(name).to_le_bytes());
        symbols.extend([0x12, entry]);
        symbols.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
        symbols.extend([0; 16]);
        sections.push((
            add_name(&format!(".text.{name}")),
            1,
            Vec::new(),
            *code_bytes,
        ));
    }
    sections.push((add_name(".symtab"), 2, symbols, 0));
    let names_section = (add_name(".strtab"), 3, Vec::new(), 0);
    sections.push(names_section);
    sections.last_mut().unwrap().2 = names;

    let mut content = Vec::new();
    let mut table = Vec::new();
    let last = u32::try_from(sections.len() - 1).unwrap();
    for (name, kind, bytes, code_bytes) in &sections {
        table.extend(name.to_le_bytes());
        table.extend(kind.to_le_bytes());
        table.extend([0; 16]);
        table.extend((64 + length_of(&content)).to_le_bytes());
        table.extend((length_of(bytes) + code_bytes).to_le_bytes());
        table.extend(last.to_le_bytes());
        table.extend([0; 20]);
        content.extend(bytes);
    }
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.extend([abi, 7, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([2, 0, 190, 0, 1, 0, 0, 0]);
    file.extend([0; 16]);
    file.extend((64 + length_of(&content)).to_le_bytes());
    file.extend(flags.to_le_bytes());
    file.extend([64, 0, 56, 0, 0, 0, 64, 0]);
    file.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
    file.extend(u16::try_from(last).unwrap().to_le_bytes());
    file.extend(content);
    file.extend(table);
    file
}
