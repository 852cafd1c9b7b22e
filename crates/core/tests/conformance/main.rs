//! The fatbin reader held against NVIDIA's `cuobjdump`, image for image, on real wheels of PyPI.
//!
//! Needs what `scripts/setup test` installs into `.venv`, and the network on the first run: the
//! wheels stay in `$WHEELFARM_TEST_CACHE`, or `~/.cache/wheelfarm-tests`. `cargo nextest run` leaves
//! these tests out; `make test` runs the small set and `make conformance` the whole.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first surprise, and this one reads files and starts programs"
)]

mod listing;
mod module;
mod wheels;

use std::path::Path;

use crate::listing::Reader;
use crate::module::{Report, Verdict};
use crate::wheels::{Cache, Set, Wheel};

/// The modules of one wheel that have fatbins, compared.
fn compare_wheel(wheel: &Wheel, cache: &Cache, reader: &Reader) -> Vec<Report> {
    let archive = cache.fetch(wheel);
    let mut reports = Vec::new();
    wheels::each_library(&archive, cache.folder(), |name, file| {
        reports.extend(module::compare(name, file, reader));
    });
    reports
}

/// Prints the table and ends the test if anything does not agree.
fn compare_wheels(set: Set) -> Vec<String> {
    let cache = Cache::open();
    let reader = Reader::find();
    let mut lines = Vec::new();
    let mut all = Vec::new();
    for wheel in wheels::listed(set) {
        for report in compare_wheel(&wheel, &cache, &reader) {
            lines.push(format!("{:<32} {}", wheel.requirement, report.line()));
            all.push(report);
        }
    }
    lines.push(summary(&all));
    let wrong: Vec<_> = all.iter().flat_map(Report::complaints).collect();
    assert!(
        wrong.is_empty(),
        "{}\n\n{}",
        lines.join("\n"),
        wrong.join("\n")
    );
    lines
}

fn summary(reports: &[Report]) -> String {
    let sum = |count: fn(&Report) -> usize| -> usize { reports.iter().map(count).sum() };
    let agrees = |report: &Report| usize::from(report.verdict == Verdict::Agrees);
    let agreed = sum(agrees);
    format!(
        "{} modules, {} images; cuobjdump agrees on {agreed} modules, {} images, and aborts on {}; \
         {} of {} stubs are seen without a look into every payload",
        reports.len(),
        sum(|report| report.images),
        sum(|report| match report.verdict {
            Verdict::Agrees => report.images,
            Verdict::Aborts { .. } | Verdict::Differs { .. } => 0,
        }),
        reports.len() - agreed,
        sum(|report| report.quick_stubs),
        sum(|report| report.stubs),
    )
}

#[test]
fn conformance_small() {
    println!("{}", compare_wheels(Set::Small).join("\n"));
}

#[test]
fn conformance_whole() {
    println!("{}", compare_wheels(Set::Whole).join("\n"));
}

/// Fatbins of nvcc 13.5 that lie in the repository: compressed in each way, with link-time code,
/// concatenated with names and options, without kernels.
#[test]
fn conformance_small_fatbins_of_nvcc() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fatbins");
    let reader = Reader::find();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "fatbin")
        {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let report = module::compare_fatbin(&name, &path, &reader);
            println!("{}", report.line());
            assert_eq!(report.complaints(), Vec::<String>::new());
            assert_eq!(report.verdict, Verdict::Agrees);
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}
