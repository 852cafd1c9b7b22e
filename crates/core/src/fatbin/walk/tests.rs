use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::fatbin::fixture::{
    EntryBytes, FLAG_64_BIT, FLAG_FAMILY, FLAG_LZ4, FLAG_SPECIFIC, FLAG_ZSTD, Function, container,
    cubin, cubin_1_7,
};

const PADDING: [u8; 24] = [0; 24];
const PTX: &str = ".version 8.7\n.target sm_90\n.visible .entry kernel(){ret;}\n";

fn kernel_cubin(flags: u32) -> Vec<u8> {
    cubin_1_7(flags, &[("kernel", Function::Kernel, 384)])
}

fn bare_cubin(flags: u32) -> Vec<u8> {
    cubin_1_7(flags, &[("helper", Function::Device, 128)])
}

/// As a source that counts what is read twice, or backwards.
struct Rising<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl ReadAt for Rising<'_> {
    fn size_bytes(&self) -> u64 {
        self.bytes.size_bytes()
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(offset >= self.at, "{offset} after {}", self.at);
        self.at = offset + u64_of(buffer.len());
        self.bytes.read_exact_at(offset, buffer)
    }
}

fn read_with(bytes: &[u8], depth: Depth, caps: &FatbinCaps) -> Section {
    let mut source = Rising { bytes, at: 0 };
    read_section(&mut source, 0..u64_of(bytes.len()), depth, caps).unwrap()
}

fn read(bytes: &[u8], depth: Depth) -> Section {
    read_with(bytes, depth, &FatbinCaps::default())
}

/// One line for each image, as people would write them down.
fn listing(section: &Section) -> String {
    let mut lines = String::new();
    for container in &section.containers {
        let stub = if container.is_stub() { " stub" } else { "" };
        let whole = if container.complete {
            ""
        } else {
            " incomplete"
        };
        writeln!(lines, "container {}{stub}{whole}", container.offset).unwrap();
        for image in &container.images {
            let arch = image
                .arch
                .map_or("none".to_owned(), |arch| arch.to_string());
            let (major, minor) = image.version;
            writeln!(
                lines,
                "  {:?} {arch} {major}.{minor} {:?} {}",
                image.kind, image.compression, image.size_bytes
            )
            .unwrap();
            match &image.content {
                None => {}
                Some(Content::Unreadable(why)) => writeln!(lines, "    unreadable: {why}").unwrap(),
                Some(Content::Read { arch, kernels }) => {
                    let arch = arch.map_or("none".to_owned(), |arch| arch.to_string());
                    let names: Vec<_> = kernels.iter().map(|kernel| &*kernel.name).collect();
                    writeln!(lines, "    {arch}: {}", names.join(" ")).unwrap();
                }
            }
        }
    }
    for fault in &section.faults {
        writeln!(lines, "fault at {}: {}", fault.offset, fault.what).unwrap();
    }
    lines
}

/// Everything that nvcc is known to write.
fn honest() -> Vec<u8> {
    let sass_120 = cubin(
        0x41,
        0x600_7802,
        Some("-arch sm_120f "),
        &[("kernel", Function::Kernel, 512)],
    );
    let mut bytes = container(&[
        EntryBytes::sass(80, kernel_cubin(0x50_0550)),
        EntryBytes::sass(90, kernel_cubin(0x5a_0d5a))
            .with_flags(FLAG_SPECIFIC)
            .packed(FLAG_LZ4),
        EntryBytes {
            version: (1, 8),
            options: Some("\x02\x09"),
            ..EntryBytes::sass(120, sass_120.clone())
                .with_flags(FLAG_FAMILY)
                .packed(FLAG_ZSTD)
        },
        EntryBytes::ptx(90, PTX).packed(FLAG_ZSTD),
        EntryBytes::ptx(90, PTX).packed(FLAG_LZ4),
        EntryBytes {
            kind: 8,
            ..EntryBytes::ptx(90, "bitcode")
        },
    ]);
    bytes.extend(PADDING);
    bytes.extend(container(&[
        EntryBytes::concatenated(
            &[
                EntryBytes::sass(90, kernel_cubin(0x5a_0d5a)).with_flags(FLAG_SPECIFIC),
                EntryBytes {
                    identifier: "a.cu",
                    ..EntryBytes::sass(80, kernel_cubin(0x50_0550))
                },
                EntryBytes {
                    identifier: "a_long_name.cu",
                    options: Some(" -g --return-at-end "),
                    ..EntryBytes::ptx(80, PTX)
                },
                EntryBytes {
                    options: Some("--compile"),
                    ..EntryBytes::ptx(90, PTX)
                },
            ],
            FLAG_ZSTD,
        ),
        EntryBytes::ptx(90, PTX),
    ]));
    bytes.extend(PADDING);
    bytes.extend(container(&[
        EntryBytes::sass(80, bare_cubin(0x50_0550)),
        EntryBytes::sass(90, bare_cubin(0x5a_055a)).packed(FLAG_LZ4),
    ]));
    bytes
}

#[test]
fn kernels_are_listed_image_by_image() {
    insta::assert_snapshot!(listing(&read(&honest(), Depth::Kernels)));
}

#[test]
fn headers_alone_tell_all_but_the_kernels() {
    insta::assert_snapshot!(listing(&read(&honest(), Depth::Headers)));
}

#[test]
fn headers_are_the_same_at_every_depth() {
    let mut deep = read(&honest(), Depth::Kernels);
    let mut headers = read(&honest(), Depth::Headers);
    for section in [&mut deep, &mut headers] {
        let images = section.containers.iter_mut();
        images
            .flat_map(|container| &mut container.images)
            .for_each(|image| image.content = None);
    }
    assert_eq!(deep.containers, headers.containers);
    assert_eq!(deep.faults, headers.faults);
}

#[track_caller]
fn check_stub(entries: &[EntryBytes], want: bool) {
    for depth in [Depth::Headers, Depth::Kernels] {
        let section = read(&container(entries), depth);
        assert_eq!(section.containers[0].is_stub(), want, "{depth:?}");
        let looked_into = section.containers[0]
            .images
            .iter()
            .any(|i| i.content.is_some());
        assert!(
            depth == Depth::Kernels || looked_into == want,
            "half looked into"
        );
    }
}

#[test]
fn a_stub_has_cubins_without_kernels_and_nothing_else() {
    let bare = |arch| EntryBytes::sass(arch, bare_cubin(0x50_0550));
    check_stub(&[bare(80), bare(90).packed(FLAG_LZ4)], true);
    check_stub(
        &[EntryBytes::concatenated(&[bare(80), bare(90)], FLAG_ZSTD)],
        true,
    );
    let kernel = EntryBytes::sass(90, kernel_cubin(0x5a_055a));
    check_stub(&[bare(80), kernel.clone()], false);
    check_stub(&[kernel.clone(), bare(80)], false);
    check_stub(
        &[EntryBytes::concatenated(&[bare(80), kernel], FLAG_ZSTD)],
        false,
    );
    check_stub(
        &[
            bare(80),
            EntryBytes::ptx(90, ".version 8.7\n.target sm_90\n"),
        ],
        false,
    );
    let unknown = EntryBytes {
        kind: 64,
        ..bare(90)
    };
    check_stub(&[bare(80), unknown], false);
}

#[track_caller]
fn check_faults(bytes: &[u8], want: &str) {
    let section = read(bytes, Depth::Kernels);
    assert_eq!(listing(&section).trim_end(), want.trim_end());
}

#[test]
fn what_is_unknown_is_listed_and_never_left_out() {
    let odd = EntryBytes {
        kind: 64,
        layout: 0x0102,
        ..EntryBytes::sass(0, vec![1; 8])
    };
    let both = EntryBytes::sass(90, kernel_cubin(0x5a_055a))
        .with_flags(FLAG_SPECIFIC | FLAG_FAMILY | FLAG_LZ4 | FLAG_ZSTD);
    check_faults(
        &container(&[odd, both, EntryBytes::sass(90, vec![2; 8])]),
        "\
container 0 incomplete
  Unknown(64) none 1.7 None 8
  Sass none 1.7 Unknown 0
    unreadable: the payload is packed in an unknown way
  Sass 9.0 1.7 None 8
    unreadable: not a 64-bit ELF file for GPUs
fault at 16: entry layout 0x0102 is unknown
",
    );
}

#[test]
fn payloads_that_lie_are_unreadable() {
    let lying = |flag: u64, more: i64| {
        let mut entry = EntryBytes::ptx(90, PTX).packed(flag);
        entry.size_bytes = entry.size_bytes.wrapping_add_signed(more);
        entry
    };
    let too_long = EntryBytes {
        size_bytes: 1 << 29,
        ..lying(FLAG_LZ4, 0)
    };
    let too_large = EntryBytes {
        size_bytes: u64::MAX,
        ..lying(FLAG_ZSTD, 0)
    };
    check_faults(
        &container(&[
            lying(FLAG_LZ4, 1),
            lying(FLAG_ZSTD, 1),
            lying(FLAG_ZSTD, -1),
            too_long,
            too_large,
            EntryBytes {
                flags: FLAG_64_BIT | FLAG_ZSTD,
                ..lying(FLAG_LZ4, 0)
            },
        ]),
        "\
container 0
  Ptx 9.0 8.7 Lz4 59
    unreadable: the payload has 58 bytes; its header says 59
  Ptx 9.0 8.7 Zstd 59
    unreadable: the payload has 58 bytes; its header says 59
  Ptx 9.0 8.7 Zstd 57
    unreadable: the payload is not 57 bytes of zstd data
  Ptx 9.0 8.7 Lz4 536870912
    unreadable: the payload is not 536870912 bytes of LZ4 data
  Ptx 9.0 8.7 Zstd 18446744073709551615
    unreadable: the payload has 18446744073709551615 bytes; at most 1073741824 are read
  Ptx 9.0 8.7 Zstd 58
    unreadable: the payload is not 58 bytes of zstd data
",
    );
}

/// Too large to make room for on a header's word.
#[test]
fn large_payloads_are_inflated_as_they_come() {
    let text = format!("{PTX}//{}", "x".repeat(3 << 20));
    let large = |more: i64| {
        let mut entry = EntryBytes::ptx(90, &text).packed(FLAG_ZSTD);
        entry.size_bytes = entry.size_bytes.wrapping_add_signed(more);
        entry
    };
    check_faults(
        &container(&[large(0), large(1), large(-1)]),
        "\
container 0
  Ptx 9.0 8.7 Zstd 3145788
    9.0: kernel
  Ptx 9.0 8.7 Zstd 3145789
    unreadable: the payload has 3145788 bytes; its header says 3145789
  Ptx 9.0 8.7 Zstd 3145787
    unreadable: the payload has 3145788 bytes; its header says 3145787
",
    );
}

#[test]
fn a_fault_costs_no_more_than_its_container() {
    let good = container(&[EntryBytes::ptx(90, PTX)]);
    let mut bytes = Vec::new();
    // An unknown version, an entry's header of no length, and one beyond the end.
    for (at, value) in [(4, 2), (20, 0), (20, 200)] {
        let mut bad = good.clone();
        bad[at] = value;
        bytes.extend(bad);
    }
    bytes.extend(&good);
    // Something that is no container: nobody knows where it ends.
    bytes.extend([1; 24]);
    bytes.extend(&good);
    check_faults(
        &bytes,
        "\
container 0 incomplete
container 144 incomplete
container 288 incomplete
container 432
  Ptx 9.0 8.7 None 64
    9.0: kernel
fault at 0: container version 2 is unknown
fault at 160: the entry's header cannot have 0 bytes
fault at 304: the entry's header cannot have 200 bytes
fault at 576: neither a container nor padding
",
    );
}

#[test]
fn records_that_point_outside_leave_the_entry_listed() {
    let image = EntryBytes::ptx(90, PTX);
    let mut entry = EntryBytes::concatenated(&[image.clone(), image], FLAG_ZSTD);
    entry.records[8 + 64 + 5] = 1;
    let mut many = entry.clone();
    many.records[1] = 255;
    check_faults(
        &container(&[entry, many]),
        "\
container 0 incomplete
  Unknown(256) none 0.1 Zstd 128
  Unknown(256) none 0.1 Zstd 128
fault at 16: a record of the entry is malformed
fault at 296: the entry has 65282 records; at most 4096 are read
",
    );
}

#[track_caller]
fn check_cap(caps: FatbinCaps, want: &str) {
    let section = read_with(&honest(), Depth::Kernels, &caps);
    let listing = listing(&section);
    assert!(listing.contains(want), "{listing}");
}

#[test]
fn every_cap_ends_the_walk_with_a_fault() {
    let caps = FatbinCaps::default();
    check_cap(
        FatbinCaps {
            containers: 1,
            ..caps
        },
        "the section has too many containers",
    );
    check_cap(
        FatbinCaps { images: 5, ..caps },
        "the section has too many images",
    );
    check_cap(
        FatbinCaps { records: 2, ..caps },
        "the entry has 4 records; at most 2 are read",
    );
    check_cap(
        FatbinCaps {
            payload_bytes: 30,
            ..caps
        },
        "at most 30 are read",
    );
    check_cap(
        FatbinCaps {
            total_bytes: 2000,
            ..caps
        },
        "unreadable: the payload has",
    );
    check_cap(
        FatbinCaps { kernels: 3, ..caps },
        "the section has too many kernels",
    );
}

#[test]
fn a_range_beyond_the_source_is_a_fault() {
    let bytes = honest();
    let end = u64_of(bytes.len());
    for range in [
        0..end + 1,
        0..u64::MAX,
        end + 7..u64::MAX,
        Range { start: 9, end: 3 },
    ] {
        let mut source = &*bytes;
        let caps = FatbinCaps::default();
        let section = read_section(&mut source, range.clone(), Depth::Kernels, &caps).unwrap();
        assert!(!section.faults.is_empty(), "{range:?}");
    }
}

#[test]
fn an_error_of_the_source_is_an_error() {
    struct Broken<'a>(&'a [u8], u64);
    impl ReadAt for Broken<'_> {
        fn size_bytes(&self) -> u64 {
            self.0.size_bytes()
        }
        fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            if offset + u64_of(buffer.len()) > self.1 {
                return Err(io::Error::other("broken"));
            }
            self.0.read_exact_at(offset, buffer)
        }
    }
    let bytes = honest();
    let end = u64_of(bytes.len());
    // The padding at the very end is not read.
    for good in (0..end - 8).step_by(7) {
        let mut source = Broken(&bytes, good);
        let res = read_section(&mut source, 0..end, Depth::Kernels, &FatbinCaps::default());
        assert_eq!(res.unwrap_err().to_string(), "broken", "{good}");
    }
}

#[test]
fn a_section_that_is_cut_off_anywhere_has_a_fault_or_whole_containers() {
    let bytes = honest();
    let whole = read(&bytes, Depth::Headers).containers;
    for length in 0..bytes.len() {
        let section = read(&bytes[..length], Depth::Kernels);
        let complete = section
            .containers
            .iter()
            .filter(|container| container.complete);
        assert!(complete.count() <= whole.len());
        // The end of one container, or in the padding after it.
        let is_between = whole.iter().any(|container| {
            let start = usize_of(container.offset);
            let padding = if start == 0 { 0 } else { PADDING.len() };
            (start.saturating_sub(padding)..=start).contains(&length)
        });
        assert_eq!(section.faults.is_empty(), is_between, "{length}");
    }
}

#[test]
fn damage_anywhere_is_no_panic() {
    let bytes = honest();
    for at in 0..bytes.len() {
        for value in [
            0,
            1,
            0x7f,
            0xff,
            bytes[at] ^ 0x80,
            bytes[at].wrapping_add(1),
        ] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            read(&damaged, Depth::Kernels);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes, Depth::Kernels);
        let start = container(&[EntryBytes::sass(90, Vec::new())]);
        let kept = start.len().min(bytes.len()).min(24);
        bytes[..kept].copy_from_slice(&start[..kept]);
        read(&bytes, Depth::Kernels);
    }

    #[test]
    fn random_damage_is_no_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = honest();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read(&bytes, Depth::Kernels);
    }
}

/// nvcc's own: `crates/core/tests/fatbins/README.md` says how they were made.
const OF_NVCC: [(&str, &[u8]); 5] = [
    ("size", include_bytes!("../../../tests/fatbins/size.fatbin")),
    (
        "speed",
        include_bytes!("../../../tests/fatbins/speed.fatbin"),
    ),
    (
        "concat",
        include_bytes!("../../../tests/fatbins/concat.fatbin"),
    ),
    ("lto", include_bytes!("../../../tests/fatbins/lto.fatbin")),
    ("stub", include_bytes!("../../../tests/fatbins/stub.fatbin")),
];

#[test]
fn fatbins_of_nvcc_are_read() {
    let listings: Vec<_> = OF_NVCC
        .iter()
        .map(|(name, bytes)| format!("{name}: {}", listing(&read(bytes, Depth::Kernels))))
        .collect();
    insta::assert_snapshot!(listings.join("\n"));
}

#[test]
fn damaged_fatbins_of_nvcc_are_no_panic() {
    for (name, bytes) in OF_NVCC {
        if name == "speed" {
            // Four times as long as the others, and nothing new in it but LZ4.
            continue;
        }
        for at in (0..bytes.len()).step_by(5) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at / 5 % 8);
            read(&damaged, Depth::Kernels);
        }
    }
}
