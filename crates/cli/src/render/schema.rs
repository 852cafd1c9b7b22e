//! The list of JSON Schemas.

use serde_json::{Value, json};

use super::{OutputError, data};
use crate::args::Format;

/// A schema that the program has.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name: `matrix`.
    pub(crate) name: &'static str,
    /// Its text, which is JSON.
    pub(crate) text: &'static str,
}

/// A line for each: its name and what it is of.
pub(crate) fn list(schemas: &[Entry], format: Format) -> Result<(), OutputError> {
    let read = |schema: &Entry| -> Value {
        serde_json::from_str(schema.text).expect("a test reads every schema")
    };
    match format {
        Format::Human => {
            let lines = schemas.iter().map(|schema| {
                let title = read(schema)["title"].clone();
                format!("{:15}  {}", schema.name, title.as_str().unwrap_or_default())
            });
            data(&lines.collect::<Vec<_>>().join("\n"))
        }
        Format::Json => {
            let schemas = schemas.iter().map(|schema| {
                let text = read(schema);
                json!({ "name": schema.name, "title": text["title"], "id": text["$id"] })
            });
            let schemas: Vec<_> = schemas.collect();
            data(&format!("{:#}", json!({ "schema": 1, "schemas": schemas })))
        }
    }
}
