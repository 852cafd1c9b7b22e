//! A wheel as a value that is changed and packed again.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::wheel::record::{self, FileRecord};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::elf::Elf;

/// Every file of a wheel, by path.
#[derive(Debug, Clone)]
pub(crate) struct Wheel {
    pub(crate) file_name: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Wheel {
    pub(crate) fn read(path: &Path) -> Self {
        let mut zip = ZipArchive::new(fs_err::File::open(path).unwrap()).unwrap();
        let mut files = BTreeMap::new();
        for index in 0..zip.len() {
            let mut member = zip.by_index(index).unwrap();
            if member.is_dir() {
                continue;
            }
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            files.insert(member.name().unwrap().into_owned(), bytes);
        }
        Self {
            file_name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            files,
        }
    }

    /// The `.dist-info` folder.
    pub(crate) fn dist_info(&self) -> String {
        let folders = self.files.keys().filter_map(|path| path.split_once('/'));
        let mut folders = folders.map(|(folder, _)| folder.to_owned());
        folders.find(|name| name.ends_with(".dist-info")).unwrap()
    }

    /// A file of the `.dist-info` folder.
    pub(crate) fn meta(&self, name: &str) -> String {
        format!("{}/{name}", self.dist_info())
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        str::from_utf8(&self.files[path]).unwrap()
    }

    /// Puts `new` for the one `old` in a text file.
    #[track_caller]
    pub(crate) fn replaced(mut self, path: &str, old: &str, new: &str) -> Self {
        let text = self.text(path);
        assert_eq!(text.matches(old).count(), 1, "`{old}` in {path}:\n{text}");
        let text = text.replace(old, new);
        self.files.insert(path.to_owned(), text.into_bytes());
        self
    }

    pub(crate) fn with(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.insert(path.to_owned(), bytes.to_vec());
        self
    }

    pub(crate) fn without(mut self, path: &str) -> Self {
        self.files.remove(path).unwrap();
        self
    }

    /// Changes one ELF file.
    pub(crate) fn edited(mut self, path: &str, edit: impl FnOnce(&mut Elf)) -> Self {
        let mut elf = Elf {
            bytes: self.files[path].clone(),
        };
        edit(&mut elf);
        self.files.insert(path.to_owned(), elf.bytes);
        self
    }

    /// Puts `new` for the one `old` in the file's name.
    #[track_caller]
    pub(crate) fn named(mut self, old: &str, new: &str) -> Self {
        assert_eq!(self.file_name.matches(old).count(), 1, "{}", self.file_name);
        self.file_name = self.file_name.replace(old, new);
        self
    }

    /// Moves the `.dist-info` folder.
    pub(crate) fn with_dist_info(mut self, folder: &str) -> Self {
        let old = format!("{}/", self.dist_info());
        let files = std::mem::take(&mut self.files).into_iter();
        self.files = files
            .map(|(path, bytes)| match path.strip_prefix(&old) {
                Some(rest) => (format!("{folder}/{rest}"), bytes),
                None => (path, bytes),
            })
            .collect();
        self
    }

    /// Writes the RECORD that belongs to the files.
    pub(crate) fn recorded(self) -> Self {
        let path = self.meta("RECORD");
        let others = self.files.iter().filter(|(file, _)| **file != path);
        let records: Vec<(&str, FileRecord)> = others
            .map(|(file, bytes)| {
                let record = FileRecord {
                    sha256: Sha256Digest::of(bytes),
                    size_bytes: u64::try_from(bytes.len()).unwrap(),
                };
                (file.as_str(), record)
            })
            .collect();
        let text = record::write(records.iter().map(|(file, record)| (*file, record)), &path);
        self.with(&path, &text)
    }

    /// The archive, with RECORD as it stands.
    pub(crate) fn packed(&self) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (path, bytes) in &self.files {
            let options = SimpleFileOptions::default().unix_permissions(0o644);
            zip.start_file(path.as_str(), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }
}
