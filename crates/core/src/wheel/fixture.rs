//! Small ELF files and wheels for tests, with every byte under control.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::digest::Sha256Digest;
use crate::wheel::record::{self, FileRecord};

/// A shared library with nothing in it but the tables that a loader reads.
///
/// Six sections, whose headers are the last bytes of the file: null, `.dynstr`, `.dynsym`,
/// `.gnu.version_r`, `.dynamic`, `.shstrtab`.
#[derive(Debug, Clone)]
pub(crate) struct Elf<'a> {
    pub(crate) machine: u16,
    pub(crate) soname: Option<&'a str>,
    pub(crate) needed: &'a [&'a str],
    pub(crate) run_path: Option<&'a str>,
    pub(crate) defined: &'a [&'a str],
    pub(crate) undefined: &'a [&'a str],
    /// Per library, the versions that it must have.
    pub(crate) versions: &'a [(&'a str, &'a [&'a str])],
}

impl Default for Elf<'_> {
    fn default() -> Self {
        Self {
            machine: 62,
            soname: None,
            needed: &[],
            run_path: None,
            defined: &[],
            undefined: &[],
            versions: &[],
        }
    }
}

/// A table of null-terminated names.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let offset = u32::try_from(self.0.len()).unwrap();
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        offset
    }
}

fn put<const N: usize>(bytes: &mut Vec<u8>, fields: [&[u8]; N]) {
    for field in fields {
        bytes.extend_from_slice(field);
    }
}

impl Elf<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut strings = Strings(vec![0]);
        let symbols = self.symbols(&mut strings);
        let versions = self.version_table(&mut strings);
        let names: Vec<(u64, u32)> = self.named_entries(&mut strings);
        // The tables follow the ELF header and two program headers, eight-byte aligned.
        let mut bytes = vec![0; 64 + 2 * 56];
        let mut place = |table: &[u8]| {
            let start = u64::try_from(bytes.len()).unwrap();
            bytes.extend_from_slice(table);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            (start, u64::try_from(table.len()).unwrap())
        };
        let strings_at = place(&strings.0);
        let symbols_at = place(&symbols);
        let versions_at = place(&versions);
        let mut dynamic: Vec<u8> = Vec::new();
        let mut entry = |tag: u64, value: u64| {
            put(&mut dynamic, [&tag.to_le_bytes(), &value.to_le_bytes()]);
        };
        for (tag, name) in names {
            entry(tag, name.into());
        }
        entry(5, strings_at.0);
        entry(6, symbols_at.0);
        if !self.versions.is_empty() {
            entry(0x6fff_fffe, versions_at.0);
        }
        entry(0, 0);
        let dynamic_at = place(&dynamic);
        let section_names_at = place(b"\0");
        let version_kind = if self.versions.is_empty() {
            1
        } else {
            0x6fff_fffe
        };
        let section_table = u64::try_from(bytes.len()).unwrap();
        for (kind, link, (start, length), entry_size) in [
            (0_u32, 0_u32, (0, 0), 0_u64),
            (3, 0, strings_at, 0),
            (11, 1, symbols_at, 24),
            (version_kind, 1, versions_at, 0),
            (6, 1, dynamic_at, 16),
            (3, 0, section_names_at, 0),
        ] {
            let head = [0_u32.to_le_bytes(), kind.to_le_bytes()].concat();
            let [start, length] = [start, length].map(u64::to_le_bytes);
            let (flags, align) = (0_u64.to_le_bytes(), 1_u64.to_le_bytes());
            let link = [link.to_le_bytes(), 0_u32.to_le_bytes()].concat();
            put(
                &mut bytes,
                [&head, &flags, &start, &start, &length, &link, &align],
            );
            bytes.extend_from_slice(&entry_size.to_le_bytes());
        }
        let length = u64::try_from(bytes.len()).unwrap();
        let mut head = self.header(section_table);
        head.extend(program_header(1, (0, length)));
        head.extend(program_header(2, dynamic_at));
        bytes[..head.len()].copy_from_slice(&head);
        bytes
    }

    fn header(&self, section_table: u64) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(16, 0);
        let half = |number: u16| number.to_le_bytes();
        put(
            &mut head,
            [&half(3), &half(self.machine), &1_u32.to_le_bytes()],
        );
        let [entry, programs] = [0_u64, 64].map(u64::to_le_bytes);
        put(
            &mut head,
            [&entry, &programs, &section_table.to_le_bytes(), &[0; 4]],
        );
        [64, 56, 2, 64, 6, 5]
            .map(half)
            .iter()
            .for_each(|field| head.extend(field));
        head
    }

    fn symbols(&self, strings: &mut Strings) -> Vec<u8> {
        let mut table = vec![0; 24];
        let all = [(self.undefined, 0_u16), (self.defined, 1)];
        for (names, section) in all {
            for name in names {
                let name = strings.add(name).to_le_bytes();
                put(
                    &mut table,
                    [&name, &[0x12, 0], &section.to_le_bytes(), &[0; 16]],
                );
            }
        }
        table
    }

    fn version_table(&self, strings: &mut Strings) -> Vec<u8> {
        let mut table = Vec::new();
        for (index, (library, versions)) in self.versions.iter().enumerate() {
            let count = u16::try_from(versions.len()).unwrap();
            let is_last = index + 1 == self.versions.len();
            let next = if is_last {
                0
            } else {
                16 + 16 * u32::from(count)
            };
            let library = strings.add(library).to_le_bytes();
            put(
                &mut table,
                [&1_u16.to_le_bytes(), &count.to_le_bytes(), &library],
            );
            put(&mut table, [&16_u32.to_le_bytes(), &next.to_le_bytes()]);
            for (index, version) in versions.iter().enumerate() {
                let next = if index + 1 == versions.len() {
                    0_u32
                } else {
                    16
                };
                let name = strings.add(version).to_le_bytes();
                put(
                    &mut table,
                    [&[0; 4], &[0, 0, 2, 0], &name, &next.to_le_bytes()],
                );
            }
        }
        table
    }

    fn named_entries(&self, strings: &mut Strings) -> Vec<(u64, u32)> {
        let needed = self.needed.iter().map(|&name| (1, name));
        let soname = self.soname.iter().map(|&name| (14, name));
        let run_path = self.run_path.iter().map(|&path| (29, path));
        needed
            .chain(soname)
            .chain(run_path)
            .map(|(tag, text)| (tag, strings.add(text)))
            .collect()
    }
}

/// Adds sections to what [`Elf::bytes`] gave.
pub(crate) fn with_sections(module: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
    const HEADER_BYTES: usize = 64;
    let (body, headers) = module.split_at(module.len() - 6 * HEADER_BYTES);
    let (mut body, mut headers) = (body.to_vec(), headers.to_vec());
    let mut names = vec![0];
    let place = |bytes: &[u8], body: &mut Vec<u8>| -> [u8; 16] {
        let place = [body.len(), bytes.len()].map(usize::to_le_bytes);
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(8), 0);
        place.concat().try_into().unwrap()
    };
    for (name, content) in sections {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&u32::try_from(names.len()).unwrap().to_le_bytes());
        header[4] = 1;
        header[24..40].copy_from_slice(&place(content, &mut body));
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        headers.extend(header);
    }
    let names = place(&names, &mut body);
    headers[5 * HEADER_BYTES + 24..5 * HEADER_BYTES + 40].copy_from_slice(&names);
    let table = body.len().to_le_bytes();
    body[40..48].copy_from_slice(&table);
    body[60] = u8::try_from(headers.len() / HEADER_BYTES).unwrap();
    body.extend(headers);
    body
}

fn program_header(kind: u32, (start, length): (u64, u64)) -> Vec<u8> {
    let mut header = [kind.to_le_bytes(), 4_u32.to_le_bytes()].concat();
    let [start, length] = [start, length].map(u64::to_le_bytes);
    put(&mut header, [&start, &start, &start, &length, &length]);
    header.extend(8_u64.to_le_bytes());
    header
}

/// The files of a wheel, by path, with their Unix modes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, (Vec<u8>, u32)>,
}

/// How one packer or another would write the same tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packing {
    pub(crate) reversed: bool,
    pub(crate) year: u16,
    pub(crate) level: Option<i64>,
    /// Added to every mode.
    pub(crate) mode_bits: u32,
    pub(crate) folders: bool,
}

pub(crate) const PLAIN: Packing = Packing {
    reversed: false,
    year: 2024,
    level: Some(1),
    mode_bits: 0,
    folders: false,
};

impl Tree {
    /// A wheel of one package with the folder stem `stem`, whose METADATA and WHEEL agree with it.
    pub(crate) fn wheel(stem: &str, requires: &[&str], tag: &str) -> Self {
        let (name, version) = stem.split_once('-').unwrap();
        let requires: String = requires
            .iter()
            .flat_map(|text| ["Requires-Dist: ", text, "\n"])
            .collect();
        let metadata = format!(
            "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nRequires-Python: >=3.10\n{requires}\n# {name}\n"
        );
        let wheel_file =
            format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n");
        Self::default()
            .with(&format!("{name}/__init__.py"), b"import os\n")
            .with(&format!("{stem}.dist-info/METADATA"), metadata.as_bytes())
            .with(&format!("{stem}.dist-info/WHEEL"), wheel_file.as_bytes())
    }

    pub(crate) fn with(mut self, path: &str, content: &[u8]) -> Self {
        self.files
            .insert(path.to_owned(), (content.to_vec(), 0o644));
        self
    }

    /// Adds the RECORD that belongs to the files.
    pub(crate) fn recorded(self, stem: &str) -> Self {
        let records: Vec<(&str, FileRecord)> = self
            .files
            .iter()
            .map(|(path, (content, _))| {
                let file = FileRecord {
                    sha256: Sha256Digest::of(content),
                    size_bytes: u64::try_from(content.len()).unwrap(),
                };
                (path.as_str(), file)
            })
            .collect();
        let path = format!("{stem}.dist-info/RECORD");
        let record = record::write(records.iter().map(|(path, file)| (*path, file)), &path);
        self.with(&path, &record)
    }

    pub(crate) fn pack(&self, packing: Packing) -> Cursor<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let time = DateTime::from_date_and_time(packing.year, 5, 6, 7, 8, 10).unwrap();
        let options = SimpleFileOptions::default()
            .last_modified_time(time)
            .compression_method(match packing.level {
                Some(_) => CompressionMethod::Deflated,
                None => CompressionMethod::Stored,
            })
            .compression_level(packing.level);
        let mut files: Vec<_> = self.files.iter().collect();
        if packing.reversed {
            files.reverse();
        }
        if packing.folders {
            zip.add_directory("empty", options).unwrap();
        }
        for (path, (content, mode)) in files {
            let options = options.unix_permissions(mode | packing.mode_bits);
            zip.start_file(path, options).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap()
    }
}
