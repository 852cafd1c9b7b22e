//! Holds JSON against the schemas that are kept. Shared by tests; not one itself.

use std::path::Path;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

/// The schema of that name as it is kept.
pub(crate) fn schema(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let text = fs_err::read_to_string(folder.join(format!("{name}.schema.json")));
    let text = text.unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_str(&text).expect("a schema is JSON")
}

/// What is wrong with `value`, if anything is; panics when `schema` is none.
pub(crate) fn faults(schema: &Value, value: &Value) -> Option<String> {
    let id = schema["$id"].as_str().expect("a schema has an id");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler
        .add_resource(id, schema.clone())
        .expect("it is JSON");
    // Holds the schema against that of its draft too.
    let index = compiler.compile(id, &mut schemas);
    let index = index.unwrap_or_else(|error| panic!("{id}: {error:#}"));
    let fault = schemas.validate(value, index).err();
    fault.map(|fault| format!("{fault:#}"))
}

/// Panics unless `value`, which the program has written, is as the schema `name` says: with all keys that
/// it says, and with none besides. Programs must take further keys, so the schemas that are kept allow them;
/// here a key that no schema tells of is a fault of ours.
#[track_caller]
pub(crate) fn check(name: &str, value: &Value) {
    let mut schema = schema(name);
    close(&mut schema);
    if let Some(fault) = faults(&schema, value) {
        panic!("{name}: {fault}\n{value:#}");
    }
}

/// Refuses keys that are not named, wherever keys are.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            keys.values_mut().for_each(close);
            let is_open = ![
                "additionalProperties",
                "unevaluatedProperties",
                "allOf",
                "$ref",
            ]
            .iter()
            .any(|key| keys.contains_key(*key));
            if keys.contains_key("oneOf") && keys.contains_key("properties") {
                keys.insert("unevaluatedProperties".to_owned(), json!(false));
            } else if keys.contains_key("properties") && is_open {
                keys.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
