use super::*;

fn facts(path: &str, mut bytes: &[u8]) -> Result<ModuleFacts, ElfError> {
    inspect(path, &mut bytes).map(|module| module.facts)
}
use crate::wheel::fixture::{Elf, with_sections};

#[test]
fn other_machines_are_named_and_not_read() {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 190;
    assert_eq!(facts("a.cubin", &bytes).unwrap().machine, Machine::Cuda);
    bytes[18] = 3;
    assert_eq!(facts("a.so", &bytes).unwrap().machine, Machine::Other);
    assert_eq!(facts("a.so", &ELF_MAGIC).unwrap().machine, Machine::Other);
    bytes[18] = 62;
    assert!(facts("a.so", &bytes).is_err());
}

fn extension() -> Elf<'static> {
    Elf {
        soname: Some("libx.so.1"),
        needed: &["libc10.so", "libc.so.6"],
        run_path: Some("$ORIGIN/../torch/lib:/usr/local/cuda/lib64"),
        versions: &[
            ("libc.so.6", &["GLIBC_2.2.5", "GLIBC_2.27"]),
            ("libstdc++.so.6", &["GLIBCXX_3.4.21", "CXXABI_1.3"]),
        ],
        undefined: &["malloc", "PyLong_FromLong", "_ZN3c105ErrorD1Ev"],
        ..Elf::default()
    }
}

#[test]
fn a_module_tells_what_it_needs() {
    let facts = facts("x/_C.so", &extension().bytes()).unwrap();
    assert_eq!(facts.highest("GLIBC"), Some("2.27"));
    assert_eq!(facts.highest("GCC"), None);
    insta::assert_snapshot!(serde_json::to_string_pretty(&facts).unwrap(), @r#"
{
  "path": "x/_C.so",
  "machine": "x86_64",
  "soname": "libx.so.1",
  "needed": [
    "libc10.so",
    "libc.so.6"
  ],
  "search_paths": [
    "$ORIGIN/../torch/lib:/usr/local/cuda/lib64"
  ],
  "symbol_versions": {
    "libc.so.6": [
      "GLIBC_2.27"
    ],
    "libstdc++.so.6": [
      "CXXABI_1.3",
      "GLIBCXX_3.4.21"
    ]
  },
  "torch_cxx_symbol": "_ZN3c105ErrorD1Ev",
  "uses_cpython": true
}
"#);
}

#[test]
fn defined_symbols_need_nothing() {
    let elf = Elf {
        defined: &["_ZN2at6TensorC1Ev", "PyInit_x"],
        undefined: &["malloc"],
        ..Elf::default()
    };
    let facts = facts("x.so", &elf.bytes()).unwrap();
    assert!(!facts.uses_torch_cxx_abi() && !facts.uses_cpython);
}

#[test]
fn section_headers_that_differ_from_the_segments_are_refused() {
    let honest = extension().bytes();
    let section_table = honest.len() - 6 * 64;
    for (section, field) in [(4, 0x18), (1, 0x10), (2, 0x10), (3, 0x10)] {
        let mut bytes = honest.clone();
        bytes[section_table + section * 64 + field] ^= 8;
        let res = facts("x.so", &bytes);
        assert!(
            matches!(res, Err(ElfError::SectionsDisagree { .. })),
            "section {section}: {res:?}"
        );
    }
    // No section headers at all, as packers leave it: e_shoff, e_shnum and e_shstrndx.
    let mut bytes = honest;
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let res = facts("x.so", &bytes);
    assert!(
        matches!(res, Err(ElfError::SectionsDisagree { .. })),
        "{res:?}"
    );
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let honest = extension().bytes();
    for at in 0..honest.len() {
        for value in [0, 0x7f, 0xff, honest[at].wrapping_add(1)] {
            let mut damaged = honest.clone();
            damaged[at] = value;
            drop(facts("x.so", &damaged));
        }
    }
    for length in 0..honest.len() {
        drop(facts("x.so", &honest[..length]));
    }
}

/// Where a section's header has its offset in the file; the length stands eight bytes further.
fn offset_field(bytes: &[u8], section: usize) -> usize {
    bytes.len() - 6 * 64 + section * 64 + 24
}

fn number_at(bytes: &[u8], at: usize) -> usize {
    usize::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn symbols_that_share_one_long_name_are_refused() {
    let long = "a".repeat(2000);
    let mut undefined = vec!["x"; 2000];
    undefined.push(&long);
    let elf = Elf {
        undefined: &undefined,
        ..Elf::default()
    };
    let honest = elf.bytes();
    assert!(facts("x.so", &honest).is_ok());
    let mut bytes = honest;
    let table = number_at(&bytes, offset_field(&bytes, 2));
    let last = table + 24 * undefined.len();
    let name: [u8; 4] = bytes[last..last + 4].try_into().unwrap();
    for symbol in 1..undefined.len() {
        bytes[table + 24 * symbol..][..4].copy_from_slice(&name);
    }
    let res = facts("x.so", &bytes);
    assert!(matches!(res, Err(ElfError::TablesTooLarge)), "{res:?}");
}

#[test]
fn fatbins_that_share_bytes_are_refused() {
    let honest = with_sections(
        &extension().bytes(),
        &[(".nv_fatbin", &[0; 64]), ("__nv_relfatbin", &[0; 64])],
    );
    let module = inspect("x.so", &mut honest.as_slice()).unwrap();
    assert_eq!(module.fatbins.len(), 2);
    let mut bytes = honest;
    let second = bytes.len() - 64 + 24;
    let before = u8::try_from(number_at(&bytes, second) % 256).unwrap();
    bytes[second] = before - 8;
    let res = facts("x.so", &bytes);
    assert!(matches!(res, Err(ElfError::Overlap)), "{res:?}");
}

#[test]
fn tables_that_overlap_again_and_again_are_refused() {
    let honest = extension().bytes();
    let sections: Vec<(&str, &[u8])> = vec![("", &[0; 8]); 64];
    let mut bytes = with_sections(&honest, &sections);
    assert!(facts("x.so", &bytes).is_ok());
    // Tables of dynamic symbols, each eight bytes longer than the one before.
    let first = bytes.len() - sections.len() * 64;
    for section in 0..sections.len() {
        let header = first + section * 64;
        bytes[header + 4] = 11;
        bytes[header + 24..header + 32].fill(0);
        let length = (1000 + 8 * section).to_le_bytes();
        bytes[header + 32..header + 40].copy_from_slice(&length);
        bytes[header + 40] = 1;
    }
    let res = facts("x.so", &bytes);
    assert!(matches!(res, Err(ElfError::TablesTooLarge)), "{res:?}");
}

#[test]
fn endless_texts_are_refused() {
    let names: Vec<String> = (0..3000).map(|number| format!("{number:02000}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let needed = Elf {
        needed: &names,
        ..Elf::default()
    };
    let versions = Elf {
        versions: &[("libx.so", &names)],
        ..Elf::default()
    };
    for elf in [needed, versions] {
        let res = facts("x.so", &elf.bytes());
        assert!(matches!(res, Err(ElfError::TablesTooLarge)), "{res:?}");
    }
}

#[test]
fn version_tables_that_overlap_themselves_are_cut_short() {
    // Four, again and again: the next definition is always four bytes further.
    let mut bytes = extension().bytes();
    let header = offset_field(&bytes, 5) - 24;
    let place = [bytes.len(), 4 * 70_000].map(usize::to_le_bytes).concat();
    bytes[header + 4..header + 8].copy_from_slice(&0x6fff_fffd_u32.to_le_bytes());
    bytes[header + 24..header + 40].copy_from_slice(&place);
    // That was the table of section names; the other table of names stands in for it.
    bytes[62] = 1;
    bytes[header + 40] = 1;
    bytes.extend([4, 0, 0, 0].repeat(70_000));
    let res = facts("x.so", &bytes);
    assert!(
        matches!(res, Err(ElfError::TooManyEntries { .. })),
        "{res:?}"
    );
}

#[test]
fn endless_tables_are_cut_short() {
    let libraries = vec![("libx.so", &[][..]); 70_000];
    let elf = Elf {
        versions: &libraries,
        ..Elf::default()
    };
    let res = facts("x.so", &elf.bytes());
    assert!(
        matches!(res, Err(ElfError::TooManyEntries { .. })),
        "{res:?}"
    );
    let versions = vec!["V_1"; 70_000];
    let elf = Elf {
        versions: &[
            ("libx.so", &versions[..40_000]),
            ("liby.so", &versions[..40_000]),
        ],
        ..Elf::default()
    };
    let res = facts("x.so", &elf.bytes());
    assert!(
        matches!(res, Err(ElfError::TooManyEntries { .. })),
        "{res:?}"
    );
}
