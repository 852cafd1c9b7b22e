//! Writes the inputs that fuzzing starts from, out of the fixtures of the unit tests and of the
//! wheels and modules that are named.
//!
//! ```sh
//! cargo run --manifest-path fuzz/Cargo.toml --example seeds -- fuzz/corpus [FILE.whl|FILE.so]...
//! ```

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::PathBuf;
use std::{env, fs};

use wheelfarm_core::fatbin::{Depth, FatbinCaps, read_section};
use wheelfarm_core::wheel::elf::inspect;
use wheelfarm_core::{digest, wheel};
use wheelfarm_fuzz::checks::CUT;

use self::fatbins::{
    EntryBytes, FLAG_64_BIT, FLAG_FAMILY, FLAG_LZ4, FLAG_SPECIFIC, FLAG_ZSTD, Function, container,
    cubin, cubin_1_7,
};
use self::wheels::{Elf, PLAIN, Packing, Tree, with_sections};

#[allow(dead_code, reason = "the unit tests use more of it")]
#[path = "../../crates/core/src/fatbin/fixture.rs"]
mod fatbins;
#[allow(dead_code, reason = "the unit tests use more of it")]
#[path = "../../crates/core/src/wheel/fixture.rs"]
mod wheels;

/// Larger files give the fuzzer nothing but slowness.
const CAP_BYTES: usize = 32 << 10;

const STEM: &str = "demo-1.0";
const TAG: &str = "cp312-cp312-linux_x86_64";
const PTX: &str = ".version 8.7\n.target sm_90\n.visible .entry kernel(){ret;}\n";

struct Seeds {
    folder: PathBuf,
}

impl Seeds {
    fn add(&self, target: &str, bytes: &[u8]) {
        if bytes.len() > CAP_BYTES {
            return;
        }
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder).unwrap();
        let name = digest::Sha256Digest::of(bytes).to_string();
        let name: String = name
            .chars()
            .filter(char::is_ascii_hexdigit)
            .take(40)
            .collect();
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn main() {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments.next().expect("usage: seeds FOLDER [FILE]...");
    let seeds = Seeds {
        folder: folder.into(),
    };
    let fatbins = fatbins();
    for bytes in &fatbins {
        seeds.add("fatbin", bytes);
    }
    seeds.add("fatbin", &fatbins.concat());
    let modules = modules(&fatbins);
    for module in &modules {
        seeds.add("elf", module);
    }
    metadata(&seeds);
    whole_wheels(&seeds, &modules);
    parts_of_wheels(&seeds, &modules);
    for file in arguments {
        let bytes = fs::read(&file).unwrap();
        if file.to_string_lossy().ends_with(".whl") {
            real_wheel(&seeds, bytes);
        } else {
            real_module(&seeds, &bytes);
        }
    }
}

/// Everything that nvcc is known to write, container by container.
fn fatbins() -> Vec<Vec<u8>> {
    let kernel = |flags| cubin_1_7(flags, &[("kernel", Function::Kernel, 384)]);
    let bare = |flags| cubin_1_7(flags, &[("helper", Function::Device, 128)]);
    let newer = cubin(
        0x41,
        0x600_7802,
        Some("-arch sm_120f "),
        &[
            ("kernel", Function::Kernel, 512),
            ("h", Function::Device, 8),
        ],
    );
    let sass_80 = EntryBytes::sass(80, kernel(0x50_0550));
    let sass_90a = EntryBytes::sass(90, kernel(0x5a_0d5a)).with_flags(FLAG_SPECIFIC);
    let sass_120f = EntryBytes {
        version: (1, 8),
        options: Some("\x02\x09"),
        ..EntryBytes::sass(120, newer).with_flags(FLAG_FAMILY)
    };
    let ptx = EntryBytes::ptx(90, PTX);
    let named = EntryBytes {
        identifier: "a_long_name.cu",
        options: Some(" -g --return-at-end "),
        ..ptx.clone()
    };
    let lto = EntryBytes {
        kind: 8,
        flags: FLAG_64_BIT,
        ..EntryBytes::ptx(90, "bitcode")
    };
    let joined = [sass_80.clone(), named.clone(), sass_90a.clone()];
    let several = [
        container(&[sass_80.clone(), sass_90a.clone(), ptx.clone()]),
        container(&[
            sass_80.clone().packed(FLAG_LZ4),
            ptx.clone().packed(FLAG_LZ4),
        ]),
        container(&[sass_120f.clone().packed(FLAG_ZSTD), ptx.packed(FLAG_ZSTD)]),
        container(&[sass_120f, named, lto]),
        container(&[EntryBytes::concatenated(&joined, FLAG_ZSTD)]),
        container(&[EntryBytes::concatenated(&joined, FLAG_LZ4), sass_80]),
        container(&[
            EntryBytes::sass(80, bare(0x50_0550)),
            EntryBytes::sass(90, bare(0x5a_055a)).packed(FLAG_LZ4),
        ]),
        container(&[]),
        vec![0; 24],
    ];
    several.into()
}

fn modules(fatbins: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let extension = Elf {
        needed: &["libc10.so", "libtorch.so", "libcudart.so.13", "libc.so.6"],
        run_path: Some("$ORIGIN/../../torch/lib:/opt/build"),
        versions: &[
            ("libc.so.6", &["GLIBC_2.17", "GLIBC_2.27"]),
            ("libstdc++.so.6", &["GLIBCXX_3.4.21", "CXXABI_1.3"]),
        ],
        undefined: &["_ZN3c105ErrorD1Ev", "PyLong_FromLong", "memcpy"],
        defined: &["PyInit__C"],
        ..Elf::default()
    };
    let library = Elf {
        soname: Some("libdemo.so.1"),
        needed: &["libc.so.6"],
        defined: &["demo_run", "demo_stop"],
        ..Elf::default()
    };
    let arm = Elf {
        machine: 183,
        ..library.clone()
    };
    let data = cubin_1_7(0x50_0550, &[("kernel", Function::Kernel, 384)]);
    let plain = [extension.bytes(), library.bytes(), arm.bytes(), data];
    let relocatable = [
        (".nv_fatbin", &*fatbins[6]),
        ("__nv_relfatbin", &*fatbins[0]),
    ];
    let mut all: Vec<Vec<u8>> = plain.into();
    for fatbin in fatbins {
        all.push(with_sections(&extension.bytes(), &[(".nv_fatbin", fatbin)]));
    }
    all.push(with_sections(&extension.bytes(), &relocatable));
    all.push(with_sections(&library.bytes(), &[(".hip_fatbin", b"amd")]));
    all
}

fn metadata(seeds: &Seeds) {
    let tree = tree(
        &["numpy>=1.2; python_version < '3.13'", "torch >=2.0,!=2.5"],
        &[],
    );
    let of = |name: &str| tree.files[&format!("{STEM}.dist-info/{name}")].0.clone();
    let parts = |metadata: &[u8], name: &str| {
        let parts = [metadata, &of("WHEEL"), &of("RECORD"), name.as_bytes()];
        parts.join(CUT.as_bytes())
    };
    let plain = of("METADATA");
    let folded = b"Metadata-Version: 2.1\r\nname: Demo.X\r\nVersion: 1.0rc1+a.b\r\nSummary: one\r\n  two\r\n\
        Requires-Dist: Torch [opt] (~=2.11.1) ; extra == 'x'\r\nRequires-Dist: torch==2.*\r\n\r\nText\r\n";
    seeds.add(
        "metadata",
        &parts(&plain, "demo-1.0-cp312-cp312-linux_x86_64.whl"),
    );
    seeds.add(
        "metadata",
        &parts(
            folded,
            "Demo.X-1.0rc1+a_b-2x-py2.py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl",
        ),
    );
}

fn tree(requires: &[&str], modules: &[(&str, &[u8])]) -> Tree {
    let tree = Tree::wheel(STEM, requires, TAG);
    let with = |tree: Tree, (path, bytes): &(&str, &[u8])| tree.with(path, bytes);
    modules.iter().fold(tree, with).recorded(STEM)
}

fn whole_wheels(seeds: &Seeds, modules: &[Vec<u8>]) {
    let stored = Packing {
        level: None,
        folders: true,
        mode_bits: 0o100_000,
        ..PLAIN
    };
    for (index, module) in modules.iter().enumerate() {
        let files = [("demo/_C.cpython-312-x86_64-linux-gnu.so", &**module)];
        let tree = tree(&["torch"], &files);
        let packing = if index % 2 == 0 { PLAIN } else { stored };
        seeds.add("wheel", &tree.pack(packing).into_inner());
    }
    let empty = tree(&[], &[]).pack(Packing {
        reversed: true,
        ..PLAIN
    });
    seeds.add("wheel", &empty.into_inner());
}

fn parts_of_wheels(seeds: &Seeds, modules: &[Vec<u8>]) {
    let tree = tree(&["torch==2.11.*"], &[]);
    let of = |name: &str| &*tree.files[&format!("{STEM}.dist-info/{name}")].0;
    for (index, module) in modules.iter().enumerate() {
        let letters = ["\0s", "\u{1}s", "\0P", "\u{2}s"][index % 4];
        let next = &*modules[(index + 1) % modules.len()];
        let parts = [
            letters.as_bytes(),
            of("METADATA"),
            of("WHEEL"),
            b"",
            module,
            next,
        ];
        seeds.add("judge", &parts.join(CUT.as_bytes()));
    }
}

/// The small files of a real wheel, and its modules.
fn real_wheel(seeds: &Seeds, bytes: Vec<u8>) {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut texts = BTreeMap::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let path = file.name().unwrap().into_owned();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        if content.starts_with(b"\x7fELF") {
            real_module(seeds, &content);
        } else if let Some((_, name)) = path.split_once(".dist-info/") {
            texts.insert(name.to_owned(), content);
        }
    }
    let of = |name: &str| &*texts[name];
    let parts = [
        of("METADATA"),
        of("WHEEL"),
        of("RECORD"),
        b"demo-1.0-py3-none-any.whl",
    ];
    seeds.add("metadata", &parts.join(CUT.as_bytes()));
}

/// A real module, if it is small, and the small containers in it.
fn real_module(seeds: &Seeds, bytes: &[u8]) {
    seeds.add("elf", bytes);
    let mut source = bytes;
    let module = inspect("module", &mut source).unwrap();
    for place in module.fatbins {
        let end = place.range.end;
        let caps = FatbinCaps::default();
        let section = read_section(&mut source, place.range, Depth::Headers, &caps).unwrap();
        let starts = section.containers.iter().map(|container| container.offset);
        let starts: Vec<u64> = starts.chain([end]).collect();
        for pair in starts.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|at| usize::try_from(at).unwrap());
            seeds.add("fatbin", &bytes[from..to]);
        }
    }
}
