//! Writes the catalog of a large shelf to standard output, for measurements:
//! `cargo run --release --package wheelfarm-core --example large_catalog -- 10000 > manifest.json`.
//! With a file in place of the number it answers a question from that catalog a hundred times, and
//! tells what that takes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a tool for measurements, that reads a file and a clock"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gpu;
use wheelfarm_core::manifest::{CheckState, ModuleArchs};
use wheelfarm_core::receipt::RunState;
use wheelfarm_core::release::catalog::{BuiltAgainst, Catalog, CatalogWheel, OnGpu, Track};
use wheelfarm_core::release::links::Links;
use wheelfarm_core::release::resolve::{Outcome, Question, read_package, resolve};

const CUDAS: [(&str, &str); 4] = [
    ("cu126", "12.6"),
    ("cu128", "12.8"),
    ("cu129", "12.9"),
    ("cu130", "13.0"),
];
const TORCHES: [&str; 4] = ["2.8", "2.9", "2.10", "2.11"];
const PYTHONS: [&str; 5] = ["3.10", "3.11", "3.12", "3.13", "3.14"];
/// Packages have from 1 to as many modules as the larger ones: flash-attn has one, SageAttention three.
const MODULES: [usize; 5] = [1, 1, 2, 3, 6];

fn main() {
    let argument = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "10000".to_owned());
    match argument.parse() {
        Ok(count) => print!("{}", catalog(count).to_text()),
        Err(_) => measure(&argument),
    }
}

/// As many wheels, of packages with four versions each.
fn catalog(count: usize) -> Catalog {
    let mut catalog = Catalog::empty();
    let channels = CUDAS.len() * TORCHES.len() * PYTHONS.len();
    for number in 0..count {
        let (release, place) = (number / channels, number % channels);
        let wheel = wheel(release, place);
        catalog.wheels.insert(wheel.file_name.clone(), wheel);
    }
    let now = "2026-11-21T03:00:00Z";
    catalog.next(now)
}

fn wheel(release: usize, place: usize) -> CatalogWheel {
    let (cuda, version) = CUDAS[place % 4];
    let torch = TORCHES[place / 4 % 4];
    let python = PYTHONS[place / 16];
    let package = format!("package-{}", release / 4);
    let abi = format!("cp{}", python.replace('.', ""));
    let stem = package.replace('-', "_");
    let full = format!("2.{}.0+{cuda}torch{torch}", release % 4);
    let file_name = format!("{stem}-{full}-{abi}-{abi}-manylinux_2_28_x86_64.whl");
    let on_gpu = |gpu: &gpu::Gpu| {
        let native = gpu.capability.major() < 11;
        let answer = OnGpu {
            verdict: if native { "native" } else { "jit" }.to_owned(),
            least_driver: Some(if native { "525.60.13" } else { "570.26" }.to_owned()),
        };
        (gpu.capability.to_string(), answer)
    };
    let labels = [
        "sm_80",
        "sm_86",
        "sm_89",
        "sm_90",
        "sm_100",
        "sm_120",
        "compute_120",
    ];
    let module = |number| {
        let module = ModuleArchs {
            containers: 73,
            images: labels.map(|label| (label.to_owned(), 73)).into(),
        };
        (format!("{stem}/_C_{number}.abi3.so"), module)
    };
    let modules = (0..MODULES[release % MODULES.len()]).map(module);
    CatalogWheel {
        sha256: Sha256Digest::of(file_name.as_bytes()),
        size_bytes: 123_456_789,
        metadata_sha256: Sha256Digest::of(full.as_bytes()),
        requires_python: Some(">=3.9".to_owned()),
        requires_dist: vec![
            "einops".to_owned(),
            "pytest; extra == \"test\"".to_owned(),
            format!("torch=={torch}.*"),
        ],
        channel: format!("{cuda}/torch{torch}").parse().unwrap(),
        manifest_sha256: Some(Sha256Digest::of(package.as_bytes())),
        also: BTreeMap::new(),
        tracks: BTreeSet::from([Track::Stable]),
        job: format!("{package}-2.{}.0-{cuda}-torch{torch}-{abi}", release % 4)
            .parse()
            .unwrap(),
        package: package.parse().unwrap(),
        built_against: BuiltAgainst {
            cuda: version.to_owned(),
            torch: format!("{torch}.0"),
            python: python.to_owned(),
        },
        archs: Some("8.0 8.6 8.9 9.0 10.0 12.0+PTX".to_owned()),
        uses_torch_cxx_abi: true,
        module_archs: modules.collect(),
        runs_on: gpu::known().map(on_gpu).collect::<BTreeMap<_, _>>(),
        gate: CheckState::Passed,
        gpu_run: RunState::NotRun,
        published_at: "2026-11-21T03:00:00Z".to_owned(),
        variant: None,
        yanked: None,
        hold: None,
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        file_name: file_name.parse().unwrap(),
    }
}

fn measure(path: &str) {
    let mut question = Question::about("package-7".parse().unwrap());
    question.python = "3.12".parse().ok();
    question.torch = "2.10.0".parse().ok();
    question.cuda = "13.0".parse().ok();
    question.libc = "2.35".parse().ok();
    question.gpus.insert("12.0".parse().unwrap());
    let mut times = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        let text = std::fs::read_to_string(path).unwrap();
        let read = started.elapsed();
        let excerpt = read_package(&text, &question.package.name).unwrap();
        let parsed = started.elapsed();
        let answer = resolve(&excerpt.catalog, &question, &Links::Relative);
        assert!(matches!(answer.outcome, Outcome::One(_)), "{answer:?}");
        drop(text);
        times.push((started.elapsed(), read, parsed));
    }
    times.sort();
    for (what, place) in [("best", 0), ("median", 50), ("worst", 99)] {
        let (all, read, parsed) = times[place];
        eprintln!(
            "{what}: {all:.1?}; the file is read after {read:.1?}, its wheels after {parsed:.1?}"
        );
    }
}
