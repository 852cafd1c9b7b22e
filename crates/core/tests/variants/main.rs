//! The tree of wheel variants held against real installers: uv with a machine that is faked by NVIDIA's
//! two variables, pip of today and the oldest that is supported, and `variantlib` on the files themselves.
//!
//! Needs uv in `.venv` (`scripts/setup test`) and PyPI on the first run: what else it runs is put into
//! virtual environments that stay in `$WHEELFARM_TEST_CACHE`, or `~/.cache/wheelfarm-tests`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first surprise, and this one writes files and starts programs"
)]

mod release;
mod server;
mod tools;

use std::path::Path;

use serde_json::Value;

use crate::release::Site;
use crate::server::{Pages, Server};
use crate::tools::{Installer, Machine, Venv};

/// One line of the table: who asks for what, on which machine, and what has to come.
struct Row {
    machine: Machine,
    asked: &'static [&'static str],
    want: &'static str,
}

const fn row(
    driver: &'static str,
    gpu: &'static str,
    asked: &'static [&'static str],
    want: &'static str,
) -> Row {
    Row {
        machine: Machine { driver, gpu },
        asked,
        want,
    }
}

const DEMO: &[&str] = &["demo"];
const ON_2_11: &[&str] = &["demo", "torch==2.11.0"];
const ON_2_8: &[&str] = &["demo", "torch==2.8.0"];

/// What uv takes that knows variants. `plain` is a wheel without a label.
const TABLE: &[Row] = &[
    // The newest CUDA that the driver knows, then the GPU's own code before older code and PTX.
    row(
        "13.0",
        "9.0",
        DEMO,
        "1.0+torch2.11 cu130_sm90_ptx90_ptx100_ptx110_ptx120",
    ),
    row("13.0", "12.0", DEMO, "1.0+torch2.11 cu130_sm120"),
    row("13.1", "12.1", DEMO, "1.0+torch2.11 cu130_sm120"),
    row(
        "13.0",
        "10.3",
        DEMO,
        "1.0+torch2.11 cu130_sm90_ptx90_ptx100_ptx110_ptx120",
    ),
    row("12.8", "9.0", DEMO, "1.0+torch2.11 cu128_sm80_sm86_sm90"),
    row("12.9", "8.9", DEMO, "1.0+torch2.11 cu128_sm80_sm86_sm90"),
    row("13.0", "8.0", DEMO, "1.0+torch2.11 cu128_sm80_sm86_sm90"),
    // Neither driver nor GPU fit the newest torch: back to an older one.
    row("12.6", "9.0", DEMO, "1.0+torch2.8 cu126_sm90"),
    // torch decides before CUDA and GPU do.
    row(
        "13.0",
        "9.0",
        ON_2_11,
        "1.0+torch2.11 cu130_sm90_ptx90_ptx100_ptx110_ptx120",
    ),
    row("13.0", "9.0", ON_2_8, "1.0+torch2.8 cu126_sm90"),
    row("12.8", "12.0", ON_2_8, "1.0+cu126torch2.8 plain"),
    row("12.6", "9.0", ON_2_11, "1.0+cu130torch2.11 plain"),
    // No variant for the machine, an older driver than any, no GPU at all.
    row("13.0", "7.5", DEMO, "1.0+cu130torch2.11 plain"),
    row("11.8", "9.0", DEMO, "1.0+cu130torch2.11 plain"),
    row("", "", DEMO, "1.0+cu130torch2.11 plain"),
    row("", "", ON_2_8, "1.0+cu126torch2.8 plain"),
    // A pin on the version of the variants.
    row(
        "13.0",
        "12.0",
        &["demo==1.0+torch2.11"],
        "1.0+torch2.11 cu130_sm120",
    ),
    row("13.0", "12.0", &["demo==1.0"], "1.0+torch2.11 cu130_sm120"),
    // 1.1 was withdrawn; whoever pins it still gets it.
    row(
        "13.0",
        "9.0",
        &["demo==1.1+torch2.11"],
        "1.1+torch2.11 cu130_sm90",
    ),
];

/// What everybody else takes, whatever the machine has.
const PLAIN: &[Row] = &[
    row("13.0", "9.0", DEMO, "1.0+cu130torch2.11 plain"),
    row("13.0", "9.0", ON_2_11, "1.0+cu130torch2.11 plain"),
    row("12.6", "8.0", ON_2_8, "1.0+cu126torch2.8 plain"),
    row("13.0", "9.0", &["demo==1.0"], "1.0+cu130torch2.11 plain"),
];

/// What came of a row.
struct Outcome {
    line: String,
    is_wrong: bool,
}

/// Runs the rows.
fn outcomes(installer: &Installer, rows: &[Row], server: &Server, into: &Path) -> Vec<Outcome> {
    let outcome = |row: &Row| {
        let found = installer.install(row.asked, row.machine, server, into);
        let found = found.unwrap_or_else(|error| error);
        let asked = row.asked.join(" ");
        let mut line = format!("{installer}, {}, {asked}: {found}", row.machine);
        let is_wrong = found != row.want;
        if is_wrong {
            line = format!("{line}, and not {}", row.want);
        }
        Outcome { line, is_wrong }
    };
    rows.iter().map(outcome).collect()
}

fn wrong(outcomes: &[Outcome]) -> Vec<&str> {
    let wrong = outcomes.iter().filter(|outcome| outcome.is_wrong);
    wrong.map(|outcome| outcome.line.as_str()).collect()
}

#[test]
fn conformance_small_variants_are_taken_by_driver_and_gpu() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::write(&folder.path().join("site"), &[]);
    let into = folder.path().join("into");
    let installers = [
        Installer::Uv,
        Installer::Pip(Venv::of("pip-23.2.1", &["pip==23.2.1"])),
        Installer::Pip(Venv::of("pip-26.3", &["pip==26.3"])),
    ];
    let mut all = Vec::new();
    for pages in [Pages::Html, Pages::Json] {
        if pages == Pages::Json {
            let html = site.root.join("whl/variants/simple/demo/index.html");
            std::fs::remove_file(html).unwrap();
        }
        let server = Server::start(&site.root, pages);
        all.extend(outcomes(&Installer::UvWithVariants, TABLE, &server, &into));
        for installer in &installers {
            all.extend(outcomes(installer, PLAIN, &server, &into));
        }
    }
    for outcome in &all {
        println!("{}", outcome.line);
    }
    assert_eq!(wrong(&all), [""; 0]);
}

#[test]
fn conformance_small_variants_beside_the_plain_wheels_that_the_maintainer_names() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::write(&folder.path().join("site"), &["cu128/torch2.11"]);
    let server = Server::start(&site.root, Pages::Html);
    let rows = [row("13.0", "9.0", DEMO, "1.0+cu128torch2.11 plain")];
    let into = folder.path().join("into");
    let all = outcomes(&Installer::Uv, &rows, &server, &into);
    assert_eq!(wrong(&all), [""; 0]);
}

/// Why the file and the pages that link to it go out in one change.
#[test]
fn conformance_small_variants_whose_file_has_another_digest_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::write(&folder.path().join("site"), &[]);
    let file = site
        .root
        .join("whl/variants/simple/demo/demo-1.0+torch2.11-variants.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n")).unwrap();
    let server = Server::start(&site.root, Pages::Html);
    let machine = Machine {
        driver: "13.0",
        gpu: "9.0",
    };
    let into = folder.path().join("into");
    let refused = Installer::UvWithVariants.install(ON_2_11, machine, &server, &into);
    let error = refused.unwrap_err();
    assert!(error.contains("sha256"), "{error}");
    let plain = Installer::Uv.install(ON_2_11, machine, &server, &into);
    assert_eq!(plain.unwrap(), "1.0+cu130torch2.11 plain");
}

/// variantlib reads every variant and merges them to the same files that the tree has.
#[test]
fn conformance_small_variants_are_what_variantlib_makes_of_the_wheels() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::write(&folder.path().join("site"), &[]);
    let wheels = folder.path().join("wheels");
    std::fs::create_dir(&wheels).unwrap();
    for variant in &site.variants {
        let name = variant.file_name().unwrap();
        std::fs::copy(variant, wheels.join(name)).unwrap();
    }
    let said = Venv::of("variantlib-0.2.2", &["variantlib==0.2.2"]).run(
        "variantlib",
        &["generate-index-json", "-d", wheels.to_str().unwrap()],
    );
    assert!(
        !said.contains("ERROR") && !said.contains("WARNING"),
        "{said}"
    );
    let mut compared = 0;
    for entry in std::fs::read_dir(&wheels).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let own = site.root.join("whl/variants/simple/demo");
            let own = own.join(path.file_name().unwrap());
            assert_eq!(comparable(&path), comparable(&own), "{}", path.display());
            compared += 1;
        }
    }
    assert_eq!(compared, 3);
}

/// The content of such a file; variantlib writes an address of its own for the schema, and values,
/// whose order has no meaning, as text.
fn comparable(path: &Path) -> Value {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(value["$schema"].take().is_string());
    for (_, variant) in value["variants"].as_object_mut().unwrap() {
        for (_, values) in variant["nvidia"].as_object_mut().unwrap() {
            let values = values.as_array_mut().unwrap();
            values.sort_by_key(ToString::to_string);
        }
    }
    value
}
