//! `wheelfarm schema`.

use crate::args::SchemaArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;
use crate::render::schema::Entry;

/// The schemas of `schemas/`, by name: `include_str!` of each.
macro_rules! kept {
    ($($name:literal),+ $(,)?) => {
        &[$(Entry {
            name: $name,
            text: include_str!(concat!("../../../../schemas/", $name, ".schema.json")),
        }),+]
    };
}

/// What people write first, then what programs read.
const SCHEMAS: &[Entry] = kept![
    "matrix",
    "package",
    "contract",
    "substitution",
    "plan",
    "build",
    "event",
    "runs",
    "run",
    "resolve",
    "inspect",
    "verify",
    "publish",
    "change",
    "sweep",
    "status",
    "freshness",
    "recipe",
    "compat",
    "prove",
    "doctor",
    "diagnose",
    "diagnosis-rules",
    "gate-rules",
    "gc",
    "watch",
    "patch-check",
    "patch-refresh",
    "init",
    "init-package",
    "schemas",
    "report",
    "manifest",
    "inputs",
    "receipt",
    "catalog",
];

pub(super) fn run(args: &SchemaArgs) -> Result<ExitCode, Failure> {
    match &args.name {
        None => render::schema::list(SCHEMAS, args.format)?,
        Some(name) => {
            let schema = SCHEMAS.iter().find(|schema| schema.name == name);
            let schema = schema.ok_or_else(|| {
                let error = anyhow::anyhow!("there is no schema `{name}`");
                Failure::bad_input(error).with_hint("`wheelfarm schema` lists them")
            })?;
            render::data(schema.text.trim_end())?;
        }
    }
    Ok(ExitCode::Done)
}
