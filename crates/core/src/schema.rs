//! JSON Schemas of the files that people write and of those that programs read, made of the types that
//! read and write them. The result is kept in `schemas/`, which `wheelfarm schema` prints; the test here
//! says when a type and its schema are no longer one.
//!
//! A text that has a form is a type with a pattern below. A pattern may be wider than its parser, never
//! narrower: what the program takes, the schema must not refuse.

mod outputs;

use std::borrow::Cow;

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::arch::{Arch, ArchTarget};
use crate::compat::{CodeRun, Fit};
use crate::digest::Sha256Digest;
use crate::gate::contract::{self, FAMILIES, GlibcVersion};
use crate::gpu::Capability;
use crate::gpu::driver::{Driver, PtxVersion};
use crate::gpu::verdict::Verdict as GpuVerdict;
use crate::ident::{GitCommit, JobId, PackageName, VariantName};
use crate::manifest::Manifest;
use crate::matrix;
use crate::output_rule::OutputRule;
use crate::package;
use crate::plan::JobDigest;
use crate::plan::inputs::InputsRecord;
use crate::quantity::{ByteSize, TimeLimit};
use crate::receipt::MachineReceipt;
use crate::release::catalog::Catalog;
use crate::release::channel::Channel;
use crate::source::patch::{self, PatchPart};
use crate::source::{GitUrl, IndexUrl, RemoteUrl, TreePath};
use crate::version::{CudaVersion, PackageVersion, PythonVersion, TorchVersion, VersionRange};
use crate::wheel::name::WheelName;
use crate::wheel::variant_name::VariantWheelName;
use crate::wheel::version::TorchMinor;

/// Texts with a form: type, pattern (empty for none), description, examples.
macro_rules! texts {
    ($($type:ident, $pattern:literal, $what:literal, [$($example:literal),*];)+) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!({
                    "type": "string",
                    "description": $what,
                    "examples": [$($example),*],
                });
                if !$pattern.is_empty() {
                    schema.insert("pattern".to_owned(), json!($pattern));
                }
                schema
            }
        }
    )+};
}

texts! {
    Arch, r"^[1-9][0-9]*\.[0-9][af]?$",
        "A GPU arch as torch writes it: compute capability with one digit after the point, and an optional suffix \
         (`a`: exactly this GPU, `f`: its family).",
        ["8.0", "9.0a", "12.0f"];
    ArchTarget, r"^[1-9][0-9]*\.[0-9][af]?(\+PTX)?$",
        "A GPU arch as torch writes it, with `+PTX` for code that later drivers compile for later GPUs.",
        ["8.0", "9.0", "9.0a", "12.0+PTX"];
    ByteSize, r"^0*[1-9][0-9]*(MiB|GiB)$", "A whole number with its unit.", ["512MiB", "12GiB"];
    TimeLimit, r"^0*[1-9][0-9]*[smh]$", "A whole number with its unit: seconds, minutes, hours.", ["90s", "45m", "2h"];
    CudaVersion, r"^[0-9]+\.[0-9]+$", "A CUDA toolkit: major and minor version, quoted.", ["12.8", "13.0"];
    TorchVersion, r"^[0-9]+\.[0-9]+\.[0-9]+(\.dev[0-9]{8})?$",
        "A torch with all three parts, quoted; a nightly with its day.", ["2.11.0", "2.16.0.dev20261120"];
    PythonVersion, r"^3\.[0-9]+t?$",
        "A Python: major and minor version, quoted; `t` for the free-threaded build.", ["3.10", "3.13", "3.13t"];
    PackageVersion,
        r"^([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?$",
        "A version by PEP 440 in normal form, without a local part.", ["2.8.3.post2"];
    VersionRange, r"", "A range by PEP 440.", [">=2.10", ">=2.4,<2.14"];
    GlibcVersion, r"^[0-9]+\.[0-9]+$", "A glibc: major and minor version, quoted.", ["2.28"];
    PackageName, r"^[a-z0-9]+(-[a-z0-9]+)*$",
        "A distribution's name in normal form (PEP 503): lower-case letters, digits, single `-` between them.",
        ["flash-attn"];
    VariantName, r"^[a-z][a-z0-9]*$", "Which build of a version, where there are several.", ["avx512"];
    JobId, r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", "A job: package, version, environment.",
        ["sageattention-2.2.0-cu128-torch2.8-cp312"];
    GitCommit, r"^([0-9a-f]{40}|[0-9a-f]{64})$",
        "A commit by its full name: branches, tags and short names move or collide.", [];
    Sha256Digest, r"^[0-9a-fA-F]{64}$", "A SHA-256 digest: 64 hexadecimal digits.", [];
    JobDigest, r"^[0-9a-f]{64}$", "The digest of everything that can change a wheel's bytes.", [];
    IndexUrl, r"", "The address of a package index, without credentials, query or fragment.",
        ["https://pypi.org/simple"];
    RemoteUrl, r"", "The address of a file on a web server.", ["https://example.org/source.tar.gz"];
    GitUrl, r"", "The address of a git repository, without a password.", ["https://github.com/NVIDIA/cutlass"];
    TreePath, r"^[^/]+(/[^/]+)*$", "A path in the source, with `/` between the names.",
        ["csrc/cutlass"];
    OutputRule, r"^[^/]+$", "A glob over file names.", ["*.whl"];
    Channel, r"^[^/]+/torch[^/]+$", "A pair of CUDA and torch.", ["cu130/torch2.11"];
    WheelName, r"\.whl$", "A wheel's file name.", ["demo-1.0-py3-none-any.whl"];
    VariantWheelName, r"\.whl$", "The file name of a wheel variant (PEP 825).", [];
    TorchMinor, r"^[0-9]+\.[0-9]+$", "A torch: major and minor version.", ["2.11"];
    Capability, r"^[1-9][0-9]*\.[0-9]$", "A GPU's compute capability.", ["9.0", "12.0"];
    Driver, r"^[0-9]+(\.[0-9]+)*$", "A driver version, or a branch.", ["575.51.03", "580"];
    PtxVersion, r"^[0-9]+\.[0-9]+$", "A version of the PTX ISA.", ["8.7"];
    Fit, r"^(yes|no|unknown)$", "Whether it fits; unknown where no table says.", ["yes"];
    CodeRun, r"^(native|jit|fails|unknown)$",
        "What becomes of code on a GPU: it runs, the driver compiles it, it does not load, or no document says.", ["jit"];
    GpuVerdict, r"^[a-z-]+$", "What becomes of all the code of a build on a GPU.", ["native", "jit", "partly", "fails"];
    PatchPart, r"^(hunk [0-9]+|substitution [0-9]+|whole)$", "A part of a patch.", ["hunk 2"];
}

/// A family of libraries that a wheel may need.
#[derive(Debug)]
pub(crate) struct LibraryFamily;

impl JsonSchema for LibraryFamily {
    fn schema_name() -> Cow<'static, str> {
        "LibraryFamily".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let families: Vec<_> = FAMILIES.keys().collect();
        json_schema!({
            "type": "string",
            "enum": families,
            "description": "A family of libraries, by their sonames (crates/core/data/libraries.yaml).",
        })
    }
}

/// The address of a page.
#[derive(Debug)]
pub(crate) struct HttpsUrl;

impl JsonSchema for HttpsUrl {
    fn schema_name() -> Cow<'static, str> {
        "HttpsUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^https://", "description": "An address in full." })
    }
}

/// Where the schemas are found by those who have no copy; the version that a program has is
/// `wheelfarm schema`'s.
const ADDRESS: &str = "https://raw.githubusercontent.com/wheelfarm/wheelfarm/main/schemas";

/// The schema of what is read into a `T`: what a writer may leave out is not required.
pub(crate) fn made<T: JsonSchema>(name: &str, title: &str) -> String {
    made_for::<T>(Contract::Deserialize, name, title)
}

/// The schema of what is printed as a `T`: every key is there, if only as null.
fn printed<T: JsonSchema>(name: &str, title: &str) -> String {
    made_for::<T>(Contract::Serialize, name, title)
}

fn made_for<T: JsonSchema>(contract: Contract, name: &str, title: &str) -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.contract = contract;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    let keys = schema.as_object_mut().expect("a schema is an object");
    let id = format!("{ADDRESS}/{name}.schema.json");
    keys.insert("$id".to_owned(), json!(id));
    keys.insert("title".to_owned(), json!(title));
    let text = serde_json::to_string_pretty(&on_one_line(schema)).expect("JSON serialises");
    // What is raw of a type is nobody's business who writes a file.
    let text = text.replace("\"Raw", "\"").replace("/$defs/Raw", "/$defs/");
    format!("{text}\n")
}

/// Doc comments are broken where a line of code ends, which means nothing in an editor.
fn on_one_line(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(keys) => {
            for (key, value) in keys.iter_mut() {
                *value = match value.take() {
                    Value::String(text) if key == "description" => {
                        let paragraphs = text.split("\n\n");
                        let paragraphs = paragraphs.map(|text| text.replace('\n', " "));
                        json!(paragraphs.collect::<Vec<_>>().join("\n\n"))
                    }
                    other @ (Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_)
                    | Value::Array(_)
                    | Value::Object(_)) => on_one_line(other),
                };
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = on_one_line(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

/// A schema that is made of a type: its name, and how.
type Made = (&'static str, fn(&str, &str) -> String, &'static str);

/// All of them, with their titles.
const MADE: [Made; 36] = [
    ("matrix", matrix::schema, "matrix.yaml"),
    ("package", package::schema, "package.yaml"),
    (
        "contract",
        contract::schema,
        "A contract in a file, for `wheelfarm verify --contract`",
    ),
    (
        "substitution",
        patch::schema,
        "A patch of substitutions, `*.subst.yaml`",
    ),
    (
        "manifest",
        made::<Manifest>,
        "manifest.json beside a wheel on record or published",
    ),
    (
        "inputs",
        made::<InputsRecord>,
        "inputs.json: what a job was made from",
    ),
    (
        "catalog",
        made::<Catalog>,
        "manifest.json at the root of a release",
    ),
    (
        "receipt",
        made::<MachineReceipt>,
        "gpu-receipt.json: what `wheelfarm prove` leaves",
    ),
    (
        "plan",
        printed::<outputs::Plan>,
        "`wheelfarm plan --format json`",
    ),
    (
        "build",
        printed::<outputs::Build>,
        "`wheelfarm build --format json`",
    ),
    (
        "event",
        printed::<outputs::Event>,
        "A line of `wheelfarm events`",
    ),
    (
        "runs",
        printed::<outputs::Runs>,
        "`wheelfarm runs --format json`",
    ),
    (
        "run",
        printed::<outputs::RunDetail>,
        "`wheelfarm runs RUN --format json`",
    ),
    (
        "resolve",
        printed::<outputs::Resolve>,
        "`wheelfarm resolve --format json`",
    ),
    (
        "inspect",
        printed::<outputs::Inspect>,
        "`wheelfarm inspect --format json`",
    ),
    (
        "verify",
        printed::<outputs::Verify>,
        "`wheelfarm verify --format json`",
    ),
    (
        "report",
        printed::<outputs::Report>,
        "report.json beside a wheel on record",
    ),
    (
        "publish",
        printed::<outputs::shelf::Publish>,
        "`wheelfarm publish --format json`",
    ),
    (
        "change",
        printed::<outputs::shelf::Revised>,
        "`wheelfarm yank`, `hold`, `promote` and `rollback` with `--format json`",
    ),
    (
        "sweep",
        printed::<outputs::shelf::Sweep>,
        "`wheelfarm gc --from SHELF --format json`",
    ),
    (
        "status",
        printed::<outputs::shelf::Status>,
        "`wheelfarm status --format json`",
    ),
    (
        "freshness",
        printed::<outputs::shelf::Freshness>,
        "`wheelfarm status --freshness --format json`",
    ),
    (
        "recipe",
        printed::<outputs::farm::Recipe>,
        "`wheelfarm resolve --environment TOOL --format json`",
    ),
    (
        "prove",
        printed::<outputs::host::Prove>,
        "`wheelfarm prove --format json`",
    ),
    (
        "compat",
        printed::<outputs::farm::Compat>,
        "`wheelfarm compat --format json`",
    ),
    (
        "doctor",
        printed::<outputs::host::Doctor>,
        "`wheelfarm doctor --format json`",
    ),
    (
        "diagnose",
        printed::<outputs::host::Diagnose>,
        "`wheelfarm diagnose LOG --format json`",
    ),
    (
        "diagnosis-rules",
        printed::<outputs::host::DiagnosisRules>,
        "`wheelfarm diagnose --list --format json`",
    ),
    (
        "gate-rules",
        printed::<outputs::farm::Explain>,
        "`wheelfarm explain --format json`",
    ),
    (
        "gc",
        printed::<outputs::host::Cleared>,
        "`wheelfarm gc --format json`",
    ),
    (
        "watch",
        printed::<outputs::farm::Watch>,
        "`wheelfarm watch --format json`",
    ),
    (
        "patch-check",
        printed::<outputs::farm::PatchCheck>,
        "`wheelfarm patch check --format json`",
    ),
    (
        "patch-refresh",
        printed::<outputs::farm::PatchRefresh>,
        "`wheelfarm patch refresh --format json`",
    ),
    (
        "init",
        printed::<outputs::farm::Init>,
        "`wheelfarm init --format json`",
    ),
    (
        "init-package",
        printed::<outputs::farm::InitPackage>,
        "`wheelfarm init package --format json`",
    ),
    (
        "schemas",
        printed::<outputs::farm::Schemas>,
        "`wheelfarm schema --format json`",
    ),
];

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the files are what this test is about"
)]
fn the_schemas_that_are_kept_are_those_of_the_types() {
    let mut stale = Vec::new();
    for (name, make, title) in MADE {
        let made = make(name, title);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
        let path = format!("{folder}/{name}.schema.json");
        if std::env::var_os("WHEELFARM_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != made {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?}: WHEELFARM_UPDATE_GOLDEN=1 cargo nextest run -p wheelfarm-core --lib schema, then read the difference"
    );
}
