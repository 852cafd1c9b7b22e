//! What must hold of the readers of wheels, whatever the bytes are. The fuzz targets run these
//! checks, and so does `crates/core/tests/corpus.rs`, over the inputs that were kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Write as _};
use std::sync::LazyLock;

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::fatbin::{
    Content, Depth, FatbinCaps, Image, ImageKind, Kernel, Section, read_section,
};
use wheelfarm_core::gate::contract::{self, Contract};
use wheelfarm_core::gate::finding::{Finding, Verdict};
use wheelfarm_core::gate::inspect::{
    InspectOptions, Reading, WheelReport, inspect_module_file, inspect_wheel,
};
use wheelfarm_core::gate::judge::judge as held_against;
use wheelfarm_core::gate::libraries::{Libraries, Library, SCHEMA};
use wheelfarm_core::gate::report;
use wheelfarm_core::gate::rule::Rule;
use wheelfarm_core::gpu::{self, sentence};
use wheelfarm_core::read_at::{ReadAt, SeekBytes};
use wheelfarm_core::wheel::WheelCaps;
use wheelfarm_core::wheel::build_number::BuildNumber;
use wheelfarm_core::wheel::elf::{self, Module, ModuleFacts, Symbols};
use wheelfarm_core::wheel::finish::{FinishRequest, finish};
use wheelfarm_core::wheel::metadata::CoreMetadata;
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_core::wheel::platform::platform_tag;
use wheelfarm_core::wheel::record::{self, FileRecord};
use wheelfarm_core::wheel::requirement::{TorchBound, torch_bound};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Panics when something does not hold of the readers on these bytes.
pub type Check = fn(&[u8]);

/// Every check, by the name of its target and of its folder in `fuzz/corpus`.
pub const CHECKS: [(&str, Check); 5] = [
    ("elf", elf),
    ("fatbin", fatbin),
    ("judge", judge),
    ("metadata", metadata),
    ("wheel", wheel),
];

/// Small, so that an input that gets round a cap is seen at once.
const DEVICE_CODE: FatbinCaps = FatbinCaps {
    containers: 500,
    images: 1000,
    records: 64,
    faults: 20,
    payload_bytes: 1 << 20,
    total_bytes: 4 << 20,
    kernels: 2000,
    name_bytes: 256,
    total_name_bytes: 64 << 10,
};

const CAPS: WheelCaps = WheelCaps {
    members: 100,
    member_bytes: 4 << 20,
    total_bytes: 8 << 20,
    device_code: DEVICE_CODE,
    symbol_bytes: 1 << 20,
};

/// What stands between the parts of the inputs that are put together to a wheel.
pub const CUT: &str = "\n=====\n";

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits")
}

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest
        .windows(CUT.len())
        .position(|window| window == CUT.as_bytes())
    {
        parts.push(&rest[..at]);
        rest = &rest[at + CUT.len()..];
    }
    parts.push(rest);
    parts
}

/// A source that refuses to be read backwards or past its end.
struct Rising<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl ReadAt for Rising<'_> {
    fn size_bytes(&self) -> u64 {
        length(self.bytes)
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(offset >= self.at, "{offset} is read after {}", self.at);
        self.at = offset + length(buffer);
        assert!(self.at <= length(self.bytes), "read up to {}", self.at);
        self.bytes.read_exact_at(offset, buffer)
    }
}

// --- fatbin

/// A section of fatbins, at both depths.
pub fn fatbin(bytes: &[u8]) {
    let headers = section(bytes, Depth::Headers);
    let kernels = section(bytes, Depth::Kernels);
    for found in [&headers, &kernels] {
        section_holds(found, length(bytes));
    }
    for (shallow, deep) in headers.containers.iter().zip(&kernels.containers) {
        let is_read = |image: &Image| matches!(image.content, Some(Content::Read { .. }));
        if shallow.is_stub() && deep.images.iter().all(is_read) {
            assert!(deep.is_stub(), "a stub by its headers is one");
        }
    }
    assert_eq!(without_content(headers), without_content(kernels), "depths");
    // The same in the middle of a file, through a reader with a window.
    let framed = [&[0xff; 24], bytes, &[0xff; 8]].concat();
    let mut file = SeekBytes::new(Cursor::new(&framed)).expect("a cursor can be read");
    let range = 24..24 + length(bytes);
    let inside = read_section(&mut file, range, Depth::Kernels, &DEVICE_CODE);
    let mut inside = inside.expect("a cursor can be read");
    for container in &mut inside.containers {
        container.offset -= 24;
    }
    assert_eq!(
        inside.containers,
        section(bytes, Depth::Kernels).containers,
        "in a file"
    );
}

fn section(bytes: &[u8], depth: Depth) -> Section {
    let mut source = Rising { bytes, at: 0 };
    read_section(&mut source, 0..length(bytes), depth, &DEVICE_CODE).expect("a slice can be read")
}

fn without_content(mut section: Section) -> Section {
    let containers = section.containers.iter_mut();
    for image in containers.flat_map(|container| &mut container.images) {
        image.content = None;
    }
    section.left = DEVICE_CODE;
    section
}

fn section_holds(section: &Section, end: u64) {
    let containers = &section.containers;
    assert!(containers.len() <= DEVICE_CODE.containers);
    assert!(
        containers
            .windows(2)
            .all(|pair| pair[0].offset + 16 <= pair[1].offset)
    );
    assert!(
        containers
            .iter()
            .all(|container| container.offset + 16 <= end)
    );
    let images = containers.iter().flat_map(|container| &container.images);
    assert!(images.clone().count() <= DEVICE_CODE.images);
    // The fault that reaches the cap may be found while another one is reported.
    assert!(section.faults.len() <= DEVICE_CODE.faults + 2);
    assert!(section.faults.iter().all(|fault| fault.offset <= end));
    assert!(containers.iter().all(|found| found.complete) || !section.faults.is_empty());
    images_hold(images);
}

fn images_hold<'a>(images: impl Iterator<Item = &'a Image>) {
    let mut all: Vec<&Kernel> = Vec::new();
    for image in images {
        let is_code = matches!(image.kind, ImageKind::Sass | ImageKind::Ptx);
        assert!(image.content.is_none() || is_code);
        if let Some(Content::Read { kernels, .. }) = &image.content {
            assert!(kernels.windows(2).all(|pair| pair[0] < pair[1]), "sorted");
            assert!(kernels.iter().all(|kernel| !kernel.name.is_empty()));
            all.extend(kernels);
        }
    }
    assert!(all.len() <= DEVICE_CODE.kernels);
    let name_bytes: usize = all.iter().map(|kernel| kernel.name.len()).sum();
    assert!(name_bytes <= DEVICE_CODE.total_name_bytes);
}

// --- elf

/// A module by itself.
pub fn elf(bytes: &[u8]) {
    const PATH: &str = "demo/_C.so";
    let mut source = bytes;
    let found = elf::inspect(PATH, &mut source);
    let mut file = SeekBytes::new(Cursor::new(bytes)).expect("a cursor can be read");
    let again = elf::inspect(PATH, &mut file);
    match (&found, &again) {
        (Ok(found), Ok(again)) => assert_eq!(found, again, "from a file"),
        (Err(found), Err(again)) => assert_eq!(found.to_string(), again.to_string()),
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => panic!("one source alone gives {error}"),
    }
    if let Ok(module) = &found {
        module_holds(module, bytes.len());
    }
    let mut source = bytes;
    let report = inspect_module_file(PATH, &mut source, Depth::Kernels);
    report_holds(&report.expect("a slice can be read"), length(bytes));
}

fn module_holds(module: &Module, size_bytes: usize) {
    let facts = &module.facts;
    let versions = facts.symbol_versions.values().flatten();
    let texts = facts
        .needed
        .iter()
        .chain(&facts.search_paths)
        .chain(versions);
    let text_bytes: usize = texts.map(String::len).sum();
    let held = text_bytes + symbol_bytes(&module.symbols);
    assert!(
        held <= 128 * size_bytes,
        "{size_bytes} bytes hold {held} of names"
    );
    let Symbols { needed, provided } = &module.symbols;
    assert!(needed.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(provided.windows(2).all(|pair| pair[0] < pair[1]));
    let starts = module.fatbins.windows(2);
    assert!(starts.into_iter().all(|pair| {
        let [left, right] = pair else { return false };
        left.range.start <= right.range.start
    }));
    assert!(
        module
            .fatbins
            .iter()
            .all(|place| place.range.start <= place.range.end)
    );
    let text = serde_json::to_string(facts).expect("facts serialise");
    let again: ModuleFacts = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(*facts, again);
    drop(platform_tag(std::slice::from_ref(facts)));
    let library = Library::of_module(&facts.path, module);
    let tables = Libraries {
        schema: SCHEMA,
        environment: "fuzz".to_owned(),
        interpreter: None,
        libraries: [(facts.path.clone(), library)].into(),
    };
    let again = Libraries::parse(&tables.to_text()).expect("what was written can be read");
    assert_eq!(tables, again);
    let closure = tables.closure([facts.path.as_str()]);
    let missing = closure.resolve(needed, &[]);
    assert!(missing.len() <= needed.len());
}

fn symbol_bytes(symbols: &Symbols) -> usize {
    let version_bytes = |version: &Option<String>| version.as_ref().map_or(0, String::len);
    let needed = symbols.needed.iter();
    let needed = needed.map(|symbol| symbol.name.len() + version_bytes(&symbol.version) + 48);
    let provided = symbols.provided.iter();
    let provided = provided.map(|symbol| symbol.name.len() + version_bytes(&symbol.version) + 48);
    needed.chain(provided).sum()
}

// --- metadata

/// The texts of a wheel: METADATA, WHEEL, RECORD and its file name, in that order.
pub fn metadata(bytes: &[u8]) {
    let parts = parts(bytes);
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    if let Ok(metadata) = CoreMetadata::parse(part(0)) {
        core_metadata_holds(&metadata, part(0));
    }
    record_holds(part(2));
    let name = String::from_utf8_lossy(part(3));
    name_holds(&name);
    let files = BTreeMap::from([
        ("demo/__init__.py".to_owned(), Vec::new()),
        (format!("{STEM}.dist-info/METADATA"), part(0).to_vec()),
        (format!("{STEM}.dist-info/WHEEL"), part(1).to_vec()),
        (format!("{STEM}.dist-info/RECORD"), part(2).to_vec()),
    ]);
    let wheel = pack(&files, CompressionMethod::Stored);
    let name = if name.is_empty() { NAMES[0] } else { &*name };
    report_holds(&inspected(name, &wheel, Reading::Whole), CAPS.total_bytes);
}

fn core_metadata_holds(metadata: &CoreMetadata, bytes: &[u8]) {
    assert_eq!(metadata.to_bytes(), bytes, "every byte is kept");
    let minor = "2.11".parse().expect("it is a version");
    let mut edited = metadata.clone();
    edited
        .set_version("1.0+cu130torch2.11")
        .expect("it is a version");
    if edited.bind_torch(minor).is_ok() {
        let written = edited.to_bytes();
        let mut again = CoreMetadata::parse(&written).expect("an edited file can be read");
        assert_eq!(again.project(), metadata.project());
        assert_eq!(again.version(), "1.0+cu130torch2.11");
        assert_eq!(torch_bound(again.requires_dist()), TorchBound::One(minor));
        again.bind_torch(minor).expect("it is bound already");
        assert_eq!(again.to_bytes(), written, "a second edit changes nothing");
    }
}

fn record_holds(bytes: &[u8]) {
    const PATH: &str = "demo-1.0.dist-info/RECORD";
    let file = FileRecord {
        sha256: Sha256Digest::of(b"a"),
        size_bytes: 1,
    };
    let files = BTreeMap::from([("a".to_owned(), file)]);
    let faults = record::faults(bytes, PATH, &files);
    let first = record::check(bytes, PATH, &files).err();
    assert_eq!(faults.first(), first.as_ref());
    assert!(faults.len() <= bytes.len() + 1);
}

fn name_holds(text: &str) {
    if let Ok(name) = text.parse::<WheelName>() {
        assert_eq!(name.to_string(), text);
        let tags = name.python_tags().len() * name.abi_tags().len() * name.platform_tags().len();
        assert_eq!(name.expanded_tags().len(), tags);
    }
}

// --- wheel

/// A file that is taken for a wheel.
pub fn wheel(bytes: &[u8]) {
    // The last byte is of the length of the zip's comment: it chooses the name too.
    let name = NAMES[bytes
        .last()
        .map_or(0, |&last| usize::from(last) % NAMES.len())];
    let whole = inspected(name, bytes, Reading::Whole);
    report_holds(&whole, CAPS.member_bytes);
    assert_eq!(whole.size_bytes, length(bytes));
    assert_eq!(whole.sha256, Some(Sha256Digest::of(bytes)));
    assert!(whole.modules.len() <= CAPS.members);
    let by_name = inspected(name, bytes, Reading::ModulesByName);
    report_holds(&by_name, CAPS.member_bytes);
    let is_sound = |report: &WheelReport| {
        let mut findings = report.findings.iter();
        findings.all(|finding| finding.rule != Rule::ArchiveUnsound)
    };
    if is_sound(&whole) {
        assert!(is_sound(&by_name), "{:?}", by_name.findings);
        assert_eq!(whole.metadata, by_name.metadata);
        assert_eq!(whole.tags, by_name.tags);
    }
    finish_holds(name, bytes);
}

fn inspected(name: &str, bytes: &[u8], reading: Reading) -> WheelReport {
    let options = InspectOptions {
        depth: Depth::Kernels,
        reading,
        caps: CAPS,
    };
    inspect_wheel(name, Cursor::new(bytes), &options).expect("a cursor can be read")
}

/// What can be finished is sound afterwards, and is finished.
fn finish_holds(name: &str, bytes: &[u8]) {
    let Ok(name) = name.parse::<WheelName>() else {
        return;
    };
    let request = FinishRequest {
        project: name.project().clone(),
        version: name.public_version().clone(),
        local_version: "cu130torch2.11".parse().expect("it is a local version"),
        // Every other one gets a number.
        build: BuildNumber::new(u32::from(bytes.len() % 2 == 1)),
        torch: "2.11".parse().expect("it is a version"),
        source_date_epoch_s: 1_700_000_000,
        caps: CAPS,
    };
    let mut once = Cursor::new(Vec::new());
    let Ok(finished) = finish(&name, Cursor::new(bytes), &request, &mut once) else {
        return;
    };
    let once = once.into_inner();
    assert_eq!(finished.sha256(), Sha256Digest::of(&once));
    let mut twice = Cursor::new(Vec::new());
    let again = finish(finished.name(), Cursor::new(&once), &request, &mut twice);
    let again = again.expect("a finished wheel can be finished");
    assert_eq!(again.name(), finished.name());
    assert!(once == twice.into_inner(), "finishing is done once");
    let report = inspected(&finished.name().to_string(), &once, Reading::Whole);
    let broken = [
        Rule::ArchiveUnsound,
        Rule::RecordMismatch,
        Rule::NameMetadataMismatch,
    ];
    let found = report.findings.iter();
    let found: Vec<&Finding> = found.filter(|one| broken.contains(&one.rule)).collect();
    assert!(found.is_empty(), "{found:?}");
}

// --- judge

const STEM: &str = "demo-1.0";

const NAMES: [&str; 3] = [
    "demo-1.0-cp312-cp312-linux_x86_64.whl",
    "demo-1.0+cu130torch2.11-cp312-cp312-manylinux_2_28_x86_64.whl",
    "demo-1.0-py3-none-any.whl",
];

const MODULES: [&str; 4] = [
    "demo/_C.cpython-312-x86_64-linux-gnu.so",
    "demo/libdemo.so.1",
    "demo.libs/libcudart-1a2b3c4d.so.13",
    "demo/kernels.cubin",
];

const CONTRACTS: [&str; 3] = [
    "schema: 1\nproject: demo\nversion: \"1.0\"\narchs: [\"9.0\", \"12.0+PTX\"]\ncuda: \"13.0\"\n\
     torch: \"2.11.0\"\npython: \"3.12\"\n",
    "schema: 1\nproject: demo\nversion: \"1.0\"\narchs: [\"9.0\", \"12.0+PTX\"]\ncuda: \"13.0\"\n\
     torch: \"2.11.0\"\npython: \"3.12\"\ncontract:\n  modules:\n    - name: demo/_C*\n      \
     archs: [\"9.0\"]\n      built-as: {\"9.0\": \"9.0a\"}\n      ptx: none\n    - name: demo/lib*\n      \
     device-code: none\n  libraries: [cxx]\n  symbols: [\"_Z*\"]\n  glibc: \"2.17\"\n  \
     size: 1MiB\n  python-abi: stable\n",
    "schema: 1\nproject: other\nversion: \"2.0\"\ncuda: \"12.8\"\ntorch: \"2.8.0\"\npython: \"3.11\"\n",
];

static READ_CONTRACTS: LazyLock<Vec<Contract>> = LazyLock::new(|| {
    let texts = CONTRACTS.iter();
    let read = texts.map(|text| contract::parse_file("contract.yaml", text));
    read.map(|contract| contract.expect("the contracts here are sound"))
        .collect()
});

/// A wheel of given parts: a letter for its name and one for padding, METADATA, WHEEL, RECORD
/// (empty for the true one) and modules.
pub fn judge(bytes: &[u8]) {
    let parts = parts(bytes);
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let letter = |index: usize| part(0).get(index).copied().unwrap_or_default();
    let name = NAMES[usize::from(letter(0)) % NAMES.len()];
    let mut files = BTreeMap::from([
        (format!("{STEM}.dist-info/METADATA"), part(1).to_vec()),
        (format!("{STEM}.dist-info/WHEEL"), part(2).to_vec()),
    ]);
    for (path, module) in MODULES.iter().zip(parts.iter().skip(4)) {
        files.insert((*path).to_owned(), module.to_vec());
    }
    if letter(1) == b'P'
        && let Some(module) = files.get_mut(MODULES[0])
    {
        // So much that its middle is no longer held while it is read.
        module.resize(module.len() + (2 << 20), 0);
        let deflated = pack(&files, CompressionMethod::Deflated);
        let report = inspected(name, &deflated, Reading::ModulesByName);
        return report_holds(&report, CAPS.member_bytes);
    }
    let record = match part(3) {
        b"" => true_record(&files),
        other => other.to_vec(),
    };
    files.insert(format!("{STEM}.dist-info/RECORD"), record);
    let stored = pack(&files, CompressionMethod::Stored);
    let mut found = inspected(name, &stored, Reading::Whole);
    judgement_holds(&found);
    finish_holds(name, &stored);
    let deflated = pack(&files, CompressionMethod::Deflated);
    let other = inspected(name, &deflated, Reading::Whole);
    (found.size_bytes, found.sha256) = (other.size_bytes, other.sha256);
    assert_eq!(found, other, "packing changes nothing");
}

fn true_record(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let records: Vec<(&str, FileRecord)> = files
        .iter()
        .map(|(path, content)| {
            let record = FileRecord {
                sha256: Sha256Digest::of(content),
                size_bytes: length(content),
            };
            (path.as_str(), record)
        })
        .collect();
    let records = records.iter().map(|(path, record)| (*path, record));
    record::write(records, &format!("{STEM}.dist-info/RECORD"))
}

fn pack(files: &BTreeMap<String, Vec<u8>>, method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    let write = |zip: &mut ZipWriter<_>| -> io::Result<()> {
        for (path, content) in files {
            zip.start_file(path.as_str(), options)?;
            zip.write_all(content)?;
        }
        Ok(())
    };
    write(&mut zip).expect("a buffer takes everything");
    zip.finish()
        .expect("a buffer takes everything")
        .into_inner()
}

fn judgement_holds(report: &WheelReport) {
    report_holds(report, CAPS.member_bytes);
    let modules = report.modules.iter().map(|module| {
        let module = Module {
            facts: module.facts.clone(),
            symbols: module.symbols.clone(),
            fatbins: Vec::new(),
        };
        let path = module.facts.path.clone();
        (path.clone(), Library::of_module(&path, &module))
    });
    let libraries = Libraries {
        schema: SCHEMA,
        environment: "fuzz".to_owned(),
        interpreter: None,
        libraries: modules.collect(),
    };
    let tables = [Some(&libraries), None, Some(&libraries)];
    for (contract, libraries) in READ_CONTRACTS.iter().zip(tables) {
        let judgement = held_against(report, contract, libraries);
        let findings = &judgement.findings;
        assert!(findings.windows(2).all(|pair| pair[0] < pair[1]), "sorted");
        assert_eq!(judgement.verdict, Verdict::of(findings));
        let is_failed = judgement.verdict == Verdict::Failed;
        assert_eq!(judgement.errors().is_empty(), !is_failed);
        let mut own = report.findings.iter();
        assert!(own.all(|finding| findings.contains(finding)));
        if libraries.is_none() {
            let shown = report::judged(report, &judgement);
            assert_eq!(shown["verdict"], judgement.verdict.as_str());
        }
        assert!(!report::verdict_line(&judgement).is_empty());
    }
}

/// What holds of every report, and that it can be shown.
fn report_holds(report: &WheelReport, member_cap_bytes: u64) {
    let findings = &report.findings;
    assert!(findings.windows(2).all(|pair| pair[0] < pair[1]), "sorted");
    for finding in findings {
        let text = serde_json::to_string(finding).expect("a finding serialises");
        let again: Finding = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(*finding, again);
        assert!(!report::finding_line(finding).is_empty());
    }
    let mut paths = BTreeSet::new();
    for module in &report.modules {
        let path = &*module.facts.path;
        assert!(paths.insert(path), "{path} stands twice");
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        assert!(
            path.split('/').all(is_plain) && !path.contains('\0'),
            "{path}"
        );
        assert!(module.size_bytes <= member_cap_bytes);
        drop(report::kernel_counts(module));
        drop(report::arch_counts(module));
    }
    let containers = report.modules.iter();
    let containers: usize = containers
        .map(|module| module.kernel_containers().count())
        .sum();
    for verdict in report::runs_on_known(report) {
        let counted = [
            verdict.native,
            verdict.jit,
            verdict.link_unproven,
            verdict.fails,
            verdict.unknown,
        ];
        assert_eq!(counted.iter().sum::<usize>(), verdict.total);
        assert!(verdict.total >= containers, "every container counts");
        assert!(!sentence::sentence(&verdict).is_empty());
    }
    let records = report::runs_on_records(report);
    assert_eq!(records.len(), gpu::known().count(), "one for each GPU");
    assert!(!report::runs_on_line(&records).is_empty());
    drop(report::module_archs(report));
    let shown = report::inspection(report, true);
    assert_eq!(
        shown["findings"].as_array().map(Vec::len),
        Some(findings.len())
    );
}
