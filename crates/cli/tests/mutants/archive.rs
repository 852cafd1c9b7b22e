//! Files that are no sound archive.

use super::Mutant;
use super::bytes::{number, places, put};
use super::device::BASIS;
use super::wheel::Wheel;

/// In a member's own header: where its length and its name stand.
const LOCAL: Header = Header {
    magic: *b"PK\x03\x04",
    size: 22,
    name: 30,
};
/// The same in the directory.
const CENTRAL: Header = Header {
    magic: *b"PK\x01\x02",
    size: 24,
    name: 46,
};

struct Header {
    magic: [u8; 4],
    size: usize,
    name: usize,
}

/// Where the header of a member is.
fn header_of(archive: &[u8], path: &str, header: &Header) -> usize {
    let names = places(archive, path.as_bytes()).into_iter();
    let starts = names.filter_map(|at| at.checked_sub(header.name));
    let mut headers = starts.filter(|&at| archive[at..].starts_with(&header.magic));
    headers.next().unwrap()
}

/// Gives a member another name of the same length, in both of its headers.
fn rename(archive: &mut [u8], old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    for header in [LOCAL, CENTRAL] {
        let at = header_of(archive, old, &header) + header.name;
        archive[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
}

/// Says that a member unpacks to another length, in both of its headers.
fn declare(archive: &mut [u8], path: &str, size_bytes: usize) {
    for header in [LOCAL, CENTRAL] {
        let at = header_of(archive, path, &header) + header.size;
        put(archive, at, 4, size_bytes);
    }
}

pub(crate) fn mutants(good: &Wheel) -> Vec<Mutant> {
    let archive = good.packed();
    let raw = |what, bytes: &[u8]| Mutant::raw(what, &good.file_name, bytes.to_vec());
    let mut mutants = vec![
        raw("cut off at its end", &archive[..archive.len() - 30])
            .finds("archive/unsound", &good.file_name),
        raw("cut off in the middle", &archive[..archive.len() / 2])
            .finds("archive/unsound", &good.file_name),
        raw(
            "a text in its place",
            b"version https://git-lfs.github.com/spec/v1\n",
        )
        .finds("archive/unsound", &good.file_name),
        raw(
            "an ELF file in front of the archive",
            &[&good.files[BASIS], &*archive].concat(),
        )
        .finds("archive/unsound", &good.file_name),
    ];
    mutants.extend(members(good));
    mutants.extend(sizes(good));
    mutants
}

fn members(good: &Wheel) -> Vec<Mutant> {
    let extra = "torch_spline_conv/basiz.py";
    let outside = "../evil.py";
    let changed = |path: &str, new: &str| {
        let mut archive = good.clone().with(path, b"import os\n").recorded().packed();
        rename(&mut archive, path, new);
        archive
    };
    let mut flipped = good.packed();
    let local = header_of(&flipped, BASIS, &LOCAL);
    let middle = local + LOCAL.name + BASIS.len() + number(&flipped, local + 18, 4) / 2;
    flipped[middle] ^= 1;
    vec![
        Mutant::raw(
            "a member that stands twice",
            &good.file_name,
            changed(extra, "torch_spline_conv/basis.py"),
        )
        .finds("archive/unsound", &good.file_name),
        Mutant::raw(
            "a member outside of site-packages",
            &good.file_name,
            changed("xx/evil.py", outside),
        )
        .finds("archive/unsound", outside),
        Mutant::raw("a bit of a packed module changed", &good.file_name, flipped)
            .finds("archive/unsound", BASIS),
    ]
}

fn sizes(good: &Wheel) -> Vec<Mutant> {
    let parts = ["a", "b", "c", "d", "e"].map(|part| format!("torch_spline_conv/{part}.bin"));
    let with_parts = parts
        .iter()
        .fold(good.clone(), |wheel, part| wheel.with(part, &[0; 100]));
    let mut huge = with_parts.recorded().packed();
    for part in &parts {
        declare(&mut huge, part, 0xffff_fff0);
    }
    let first = &parts[0];
    let mut lying = good
        .clone()
        .with(first, &vec![0; 1 << 20])
        .recorded()
        .packed();
    declare(&mut lying, first, 100);
    vec![
        Mutant::raw("members of 20 GB by their headers", &good.file_name, huge)
            .finds("archive/unsound", &good.file_name),
        Mutant::raw(
            "a member longer than its header says",
            &good.file_name,
            lying,
        )
        .finds("archive/unsound", first),
    ]
}
