//! `wheelfarm schema`: its schemas take what people of this repository have written, refuse what is bad in
//! shape, and are what the program prints. Of what programs print, other tests hold real output against
//! them (`shape::check`).

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelfarm"));
    command.args(args).output().unwrap()
}

fn data(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every file below `folder` for which `is_wanted` has a schema's name, with that name.
fn written(
    folder: &Path,
    is_wanted: fn(&Path) -> Option<&'static str>,
) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "out" {
                found.extend(written(&path, is_wanted));
            }
        } else if let Some(schema) = is_wanted(&path) {
            found.push((path, schema));
        }
    }
    found
}

/// By its name, what a file is that people write.
fn kind(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    match name {
        "matrix.yaml" => Some("matrix"),
        "package.yaml" => Some("package"),
        "contract.yaml" => Some("contract"),
        _ if name.ends_with(".subst.yaml") => Some("substitution"),
        _ => None,
    }
}

/// As an editor reads it, by the core schema of YAML 1.2.
fn yaml(path: &Path) -> Result<Value, String> {
    let text = fs_err::read_to_string(path).unwrap();
    // `off` is a text there, and a truth value in YAML 1.1 alone.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| error.to_string())
}

fn is_refused_on_purpose(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "bad-input")
}

#[test]
fn everything_that_is_written_in_this_repository_is_taken() {
    let files = written(&top(), kind);
    let mut seen = BTreeSet::new();
    for (path, name) in files {
        if is_refused_on_purpose(&path) {
            continue;
        }
        let value = yaml(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let faults = shape::faults(&shape::schema(name), &value);
        assert_eq!(faults, None, "{}", path.display());
        seen.insert(name);
    }
    assert!(
        seen.contains("matrix") && seen.contains("package") && seen.contains("substitution"),
        "{seen:?}"
    );
}

/// The rules that are about the shape of a file alone: any reader with the schema can see them.
const OF_SHAPE: [&str; 9] = [
    "unknown-key",
    "unknown-choice",
    "missing-key",
    "unquoted-number",
    "unknown-arch",
    "amount",
    "schema",
    "floating-git-ref",
    "empty-list",
];

#[test]
fn what_is_bad_in_shape_is_refused() {
    let mut refused = BTreeSet::new();
    for folder in fs_err::read_dir(top().join("tests/bad-input")).unwrap() {
        let folder = folder.unwrap().path();
        let said = fs_err::read_to_string(folder.join("expected.txt")).unwrap();
        let faults: Vec<_> = said
            .lines()
            .filter_map(|line| {
                line.strip_prefix("error: ")?
                    .strip_suffix(']')?
                    .rsplit_once(" [")
            })
            .collect();
        for (path, name) in written(&folder, kind) {
            let place = path.strip_prefix(&folder).unwrap().display().to_string();
            let here: BTreeSet<_> = faults
                .iter()
                .filter(|(text, _)| text.starts_with(&format!("{place}:")))
                .map(|(_, rule)| *rule)
                .filter(|rule| OF_SHAPE.contains(rule))
                .collect();
            if here.is_empty() {
                continue;
            }
            let Ok(value) = yaml(&path) else { continue };
            let found = shape::faults(&shape::schema(name), &value);
            assert!(found.is_some(), "{}: {here:?} is not seen", path.display());
            refused.extend(here.into_iter().map(str::to_owned));
        }
    }
    let all: BTreeSet<_> = OF_SHAPE.map(str::to_owned).into();
    assert_eq!(
        refused, all,
        "each rule is one that something was refused by"
    );
}

/// What is refused for another reason than its shape, the program has to tell: a schema that refuses it
/// too would refuse what is right somewhere else.
#[test]
fn a_schema_says_no_more_than_the_program() {
    for folder in fs_err::read_dir(top().join("tests/bad-input")).unwrap() {
        let folder = folder.unwrap().path();
        let said = fs_err::read_to_string(folder.join("expected.txt")).unwrap();
        let command = fs_err::read_to_string(folder.join("command.txt")).unwrap();
        // `init` sees that there is a matrix, and does not read it.
        if command.starts_with("init") {
            continue;
        }
        for (path, name) in written(&folder, kind) {
            let place = path.strip_prefix(&folder).unwrap().display().to_string();
            let is_blamed = said.contains(&format!("error: {place}:"));
            let Ok(value) = yaml(&path) else { continue };
            let found = shape::faults(&shape::schema(name), &value);
            assert!(
                is_blamed || found.is_none(),
                "{}: {found:?}",
                path.display()
            );
        }
    }
}

#[test]
fn the_program_has_every_schema_and_lists_them() {
    let folder = top().join("schemas");
    let kept: BTreeSet<_> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| Some(name.strip_suffix(".schema.json")?.to_owned()))
        .collect();
    let list: Value = serde_json::from_str(&data(&["schema", "--format", "json"])).unwrap();
    shape::check("schemas", &list);
    let listed = list["schemas"].as_array().unwrap();
    let names: BTreeSet<_> = listed
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, kept);
    let lines = data(&["schema"]);
    for entry in listed {
        let name = entry["name"].as_str().unwrap();
        let text = data(&["schema", name]);
        let path = folder.join(format!("{name}.schema.json"));
        assert_eq!(text, fs_err::read_to_string(path).unwrap());
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["$id"], entry["id"]);
        assert!(
            schema["$id"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/{name}.schema.json"))
        );
        let title = schema["title"].as_str().unwrap();
        assert!(lines.contains(title), "{lines}");
    }
}

/// The catalog that the tests of `resolve` ask is as a publication writes it.
#[test]
fn a_catalog_is_as_its_schema_says() {
    let text = fs_err::read_to_string(top().join("tests/resolve/manifest.json")).unwrap();
    shape::check("catalog", &serde_json::from_str(&text).unwrap());
}

/// What an editor shows beside a key is of use to somebody who writes one.
#[test]
fn every_key_that_people_write_is_described() {
    fn keys<'a>(schema: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
        if let Some(properties) = schema["properties"].as_object() {
            for (key, value) in properties {
                found.push((format!("{place}.{key}"), value));
            }
        }
        for part in ["oneOf", "anyOf"] {
            for (number, one) in schema[part].as_array().into_iter().flatten().enumerate() {
                let place = format!("{place}.{number}");
                // The key of a choice: what it is of is said of the choice.
                if one["description"].is_null() {
                    keys(one, &place, found);
                }
            }
        }
    }
    for name in ["matrix", "package", "contract", "substitution"] {
        let schema = shape::schema(name);
        let mut found = Vec::new();
        keys(&schema, name, &mut found);
        for (def, schema) in schema["$defs"].as_object().into_iter().flatten() {
            keys(schema, def, &mut found);
        }
        for (place, key) in found {
            assert!(
                key["description"].is_string(),
                "{name}: {place} is not described"
            );
        }
    }
}

#[test]
fn the_matrices_of_this_repository_name_their_schema_for_editors() {
    let of_ours = ["matrix.yaml", "examples"].map(|name| top().join(name));
    let mut count = 0;
    for path in of_ours {
        let files = if path.is_dir() {
            written(&path, kind)
        } else {
            vec![(path, "matrix")]
        };
        for (path, name) in files {
            if name != "matrix" {
                continue;
            }
            let text = fs_err::read_to_string(&path).unwrap();
            let line = text.lines().next().unwrap();
            let relative = line.strip_prefix("# yaml-language-server: $schema=");
            let relative = relative.unwrap_or_else(|| panic!("{}: {line}", path.display()));
            let schema = path.parent().unwrap().join(relative);
            assert_eq!(
                fs_err::canonicalize(schema).unwrap(),
                fs_err::canonicalize(top().join("schemas/matrix.schema.json")).unwrap()
            );
            count += 1;
        }
    }
    assert!(count > 3, "{count}");
}
