//! What the script writes, made of files that every Linux with glibc has.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

/// A small program that is loaded dynamically.
pub(super) fn program() -> Utf8PathBuf {
    Utf8Path::new("/bin/sh").canonicalize_utf8().unwrap()
}

/// The C library that this test runs with.
pub(super) fn libc() -> Utf8PathBuf {
    let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split(' ').next_back());
    let mut paths = paths.filter(|path| path.ends_with("/libc.so.6"));
    Utf8PathBuf::from(paths.next().expect("tests run with glibc"))
}

/// The record of a whole file.
pub(super) fn record(kind: &str, path: &Utf8Path) -> Vec<u8> {
    let bytes = fs_err::read(path).unwrap();
    let size_bytes = bytes.len();
    let about = json!({ "path": path, "size_bytes": size_bytes, "parts": [[0, size_bytes]] });
    let mut record = format!("{}\n", json!({ kind: about })).into_bytes();
    record.extend(bytes);
    record
}

/// The tables of an environment with one library.
pub(super) fn tables() -> Vec<u8> {
    let mut tables = record("interpreter", &program());
    tables.extend(record("library", &libc()));
    tables.extend(b"{\"end\":2}\n");
    tables
}

/// What an engine makes of a file that is taken out.
pub(super) fn tar_of(content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(content.len()).unwrap());
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "tables", content).unwrap();
    archive.into_inner().unwrap()
}
