use std::io::Cursor;

use super::*;
use crate::wheel::fixture::{Elf, PLAIN, Tree};

const STEM: &str = "demo-1.0";
const FILE: &str = "demo-1.0-cp311-cp311-linux_x86_64.whl";
const TAG: &str = "cp311-cp311-linux_x86_64";

const OPTIONS: InspectOptions = InspectOptions {
    depth: Depth::Kernels,
    reading: Reading::Whole,
    caps: WheelCaps {
        members: 100,
        member_bytes: 1 << 20,
        total_bytes: 2 << 20,
    },
};

fn tree() -> Tree {
    let module = Elf {
        needed: &["libc.so.6"],
        ..Elf::default()
    };
    Tree::wheel(STEM, &[], TAG).with("demo/_C.so", &module.bytes())
}

fn inspect(file_name: &str, bytes: Vec<u8>) -> WheelReport {
    inspect_wheel(file_name, Cursor::new(bytes), &OPTIONS).unwrap()
}

/// Compares severity, rule and place of all findings.
#[track_caller]
fn check(file_name: &str, bytes: Vec<u8>, want: &[&str]) -> WheelReport {
    let report = inspect(file_name, bytes);
    let found: Vec<String> = report
        .findings
        .iter()
        .map(|found| format!("{} {} {}", found.severity.as_str(), found.rule, found.place))
        .collect();
    assert_eq!(found, want, "{:#?}", report.findings);
    report
}

fn packed(tree: Tree) -> Vec<u8> {
    tree.recorded(STEM).pack(PLAIN).into_inner()
}

#[test]
fn a_sound_wheel_has_no_findings() {
    let report = check(FILE, packed(tree()), &[]);
    assert_eq!(report.modules[0].facts.needed, ["libc.so.6"]);
    assert_eq!(report.tags, [TAG]);
    assert_eq!(report.metadata.unwrap().project, "demo");
}

#[test]
fn an_archive_that_is_cut_off_is_unsound() {
    let bytes = packed(tree());
    let unsound = format!("error archive/unsound {FILE}");
    for length in [0, bytes.len() / 2, bytes.len() - 1] {
        let report = check(FILE, bytes[..length].to_vec(), &[&unsound]);
        assert!(report.sha256.is_some());
    }
    let text = b"version https://git-lfs.github.com/spec/v1\n".to_vec();
    check(FILE, text, &[&unsound]);
}

#[test]
fn a_member_that_cannot_be_unpacked_is_the_place_of_one_finding() {
    let noise: Vec<u8> = (0..2000_u16)
        .map(|at| at.wrapping_mul(at).wrapping_mul(193).to_be_bytes()[0])
        .collect();
    let mut bytes = packed(tree().with("demo/noise.bin", &noise));
    let name = b"demo/noise.bin";
    let local = bytes.windows(name.len()).position(|w| w == name).unwrap();
    bytes[local + name.len() + 500] ^= 1;
    check(FILE, bytes, &["error archive/unsound demo/noise.bin"]);

    let large = tree().with("demo/large.bin", &vec![0; (1 << 20) + 1]);
    check(
        FILE,
        packed(large),
        &["error archive/unsound demo/large.bin"],
    );
    let mut parts = tree();
    for part in ["demo/a", "demo/b", "demo/c"] {
        parts = parts.with(part, &vec![0; 1 << 20]);
    }
    let unsound = format!("error archive/unsound {FILE}");
    check(FILE, packed(parts), &[&unsound]);
}

#[test]
fn a_name_out_of_the_folder_is_unsound() {
    let mut bytes = packed(tree().with("xx/evil.py", b"import os\n"));
    let name = b"xx/evil.py";
    for at in 0..bytes.len() - name.len() {
        if bytes[at..].starts_with(name) {
            bytes[at..at + 2].copy_from_slice(b"..");
        }
    }
    check(FILE, bytes, &["error archive/unsound ../evil.py"]);
}

#[test]
fn record_lists_every_file_with_its_digest() {
    let recorded = || tree().with("demo/a.py", b"a = 1\n").recorded(STEM);
    let pack = |tree: Tree| tree.pack(PLAIN).into_inner();
    let found = "error record/mismatch demo/a.py";
    check(
        FILE,
        pack(recorded().with("demo/a.py", b"a = 2\n")),
        &[found],
    );
    let mut without = recorded();
    without.files.remove("demo/a.py");
    check(FILE, pack(without), &[found]);
    let more = recorded().with("demo/b.py", b"b = 1\n");
    check(FILE, pack(more), &["error record/mismatch demo/b.py"]);
    let broken = recorded().with("demo-1.0.dist-info/RECORD", b"one field\n");
    check(
        FILE,
        pack(broken),
        &["error record/mismatch demo-1.0.dist-info/RECORD"],
    );
}

#[test]
fn a_remote_wheel_is_not_held_against_its_record() {
    let options = InspectOptions {
        reading: Reading::ModulesByName,
        ..OPTIONS
    };
    let report = inspect_wheel(FILE, Cursor::new(packed(tree())), &options).unwrap();
    let finding = &report.findings[0];
    assert_eq!(
        (finding.rule, finding.severity),
        (
            Rule::RecordMismatch,
            crate::gate::rule::Severity::NotChecked
        )
    );
    assert_eq!((report.findings.len(), report.modules.len()), (1, 1));
}

#[test]
fn the_three_places_that_name_the_release_agree() {
    let metadata = "demo-1.0.dist-info/METADATA";
    let mismatch = |place: &str| format!("error name/metadata-mismatch {place}");
    for text in [
        "Metadata-Version: 2.4\nName: other\nVersion: 1.0\n",
        "Metadata-Version: 2.4\nName: demo\nVersion: 1.1\n",
        "Name: demo\n",
    ] {
        let changed = tree().with(metadata, text.as_bytes());
        check(FILE, packed(changed), &[&mismatch(metadata)]);
    }
    check(
        "demo-1.1-cp311-cp311-linux_x86_64.whl",
        packed(tree()),
        &[&mismatch("demo-1.0.dist-info"), &mismatch(metadata)],
    );
    check("demo.whl", packed(tree()), &[&mismatch("demo.whl")]);
}

#[test]
fn tags_of_wheel_are_those_of_the_file_name() {
    let wheel_file = "demo-1.0.dist-info/WHEEL";
    let says = |lines: &str| {
        let text = format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n{lines}");
        packed(tree().with(wheel_file, text.as_bytes()))
    };
    let untrue = format!("error tag/untrue {wheel_file}");
    check(FILE, says(&format!("Tag: {TAG}\n")), &[]);
    for lines in [
        "Tag: cp312-cp312-linux_x86_64\n",
        "Tag: cp311-cp311-manylinux_2_17_x86_64\n",
        "Tag: cp311-cp311-linux_x86_64\nTag: py3-none-any\n",
        "Tag: cp311-cp311-linux_x86_64\nBuild: 1\n",
        "",
    ] {
        check(FILE, says(lines), &[&untrue]);
    }
}

#[test]
fn a_module_that_is_cut_off_is_unreadable() {
    let module = Elf::default().bytes();
    let cut = Tree::wheel(STEM, &[], TAG).with("demo/_C.so", &module[..module.len() - 100]);
    check(FILE, packed(cut), &["error module/unreadable demo/_C.so"]);
}

#[test]
fn gpu_code_that_lies_in_a_wheel_as_data_is_listed() {
    let mut with_files = tree();
    for path in ["demo/a.cubin", "demo/b.ptx", "demo/c.fatbin", "demo/d.cu"] {
        with_files = with_files.with(path, b"text");
    }
    let report = check(FILE, packed(with_files), &[]);
    assert_eq!(
        report.gpu_files,
        ["demo/a.cubin", "demo/b.ptx", "demo/c.fatbin"]
    );
}

#[test]
fn damage_is_a_finding_and_never_a_panic() {
    let bytes = packed(tree());
    for length in 0..bytes.len() {
        let report = inspect(FILE, bytes[..length].to_vec());
        assert!(!report.is_read_to_the_end(), "{length}");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        // A stray bit in a time stamp harms nobody; what matters is that there is a report.
        for reading in [Reading::Whole, Reading::ModulesByName] {
            let options = InspectOptions { reading, ..OPTIONS };
            let report = inspect_wheel(FILE, Cursor::new(&damaged), &options).unwrap();
            assert_eq!(Ok(report.size_bytes), u64::try_from(bytes.len()));
        }
    }
}

#[test]
fn a_module_for_every_later_python_uses_the_stable_abi_alone() {
    let file = "demo-1.0-cp39-abi3-linux_x86_64.whl";
    let with = |symbol: &'static str| {
        let elf = Elf {
            undefined: &[symbol],
            ..Elf::default()
        };
        let tree = Tree::wheel(STEM, &[], "cp39-abi3-linux_x86_64");
        packed(tree.with("demo/_C.abi3.so", &elf.bytes()))
    };
    check(file, with("PyLong_FromLong"), &[]);
    // Stable since 3.12, and never.
    for symbol in ["PyObject_Vectorcall", "_PyLong_AsByteArray"] {
        check(file, with(symbol), &["error abi/python demo/_C.abi3.so"]);
    }
}

#[test]
fn an_old_platform_tag_is_judged_by_its_glibc_alone() {
    let with = |version: &'static str| {
        let versions: &[(&str, &[&str])] = &[("libc.so.6", &[version])];
        let elf = Elf {
            needed: &["libc.so.6"],
            versions,
            ..Elf::default()
        };
        let tree = Tree::wheel(STEM, &[], "cp311-cp311-manylinux2010_x86_64");
        packed(tree.with("demo/_C.so", &elf.bytes()))
    };
    let file = "demo-1.0-cp311-cp311-manylinux2010_x86_64.whl";
    check(file, with("GLIBC_2.12"), &[]);
    check(
        file,
        with("GLIBC_2.14"),
        &[&format!("error tag/untrue {file}")],
    );
}

#[test]
fn a_module_by_itself_has_a_report_too() {
    let elf = Elf {
        undefined: &["_ZN3c105ErrorD1Ev"],
        ..Elf::default()
    };
    let bytes = elf.bytes();
    let report = inspect_module_file("x.so", &mut bytes.as_slice(), Depth::Headers).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.modules[0].facts.uses_torch_cxx_abi());
    let report = inspect_module_file("x.so", &mut &bytes[..100], Depth::Headers).unwrap();
    assert_eq!(report.findings[0].rule, Rule::ModuleUnreadable);
}
