//! Reads YAML that people write. The only module that names the YAML crate.
//!
//! `serde_yaml` silently keeps the last of two equal keys, so a package listed twice would lose its
//! builds; this reader refuses duplicates, knows where things stand, and takes no unquoted number
//! for a text: `3.10` unquoted is a float to every other YAML reader.

pub(crate) mod edit;
pub(crate) mod tree;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_saphyr::{DuplicateKeyPolicy, Error, Options, Spanned};

use crate::diagnostic::{Diagnostic, Located, Location};

/// A value with its place. The YAML crate's own type would do, were it not for traits that are not ours
/// either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    /// What was written.
    pub(crate) value: T,
    /// Where it is used.
    referenced: serde_saphyr::Location,
    /// Where it stands; elsewhere than where it is used for an alias.
    defined: serde_saphyr::Location,
}

impl<T> At<T> {
    fn new(value: T, referenced: serde_saphyr::Location, defined: serde_saphyr::Location) -> Self {
        Self {
            value,
            referenced,
            defined,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self::new(
            spanned.value,
            spanned.referenced,
            spanned.defined,
        ))
    }
}

/// The place is nothing that people write.
#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// Reads `text`, which the user knows as `file`.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Box<Diagnostic>> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        no_schema: true,
        strict_booleans: true,
        with_snippet: false,
    };
    parse_with(file, text, options)
}

/// What every schema has, and all that is read of one that is not known.
#[derive(serde::Deserialize)]
struct Versioned {
    schema: At<u32>,
}

/// Reads `text` when it has schema 1. A later schema is refused by its number, not by the first of
/// its keys that this program does not know.
pub(crate) fn parse_schema_1<T: DeserializeOwned>(
    file: &str,
    text: &str,
) -> Result<T, Box<Diagnostic>> {
    // What is wrong with a text that cannot even be read so far is said by the whole reading.
    if let Ok(versioned) = parse::<Versioned>(file, text)
        && versioned.schema.value != 1
    {
        let message = format!("schema {} is not known", versioned.schema.value);
        let location = place(file, &versioned.schema);
        let fault = Diagnostic::new(location, "schema", message)
            .with_hint("this program reads `schema: 1`; a newer one may read this file");
        return Err(Box::new(fault));
    }
    parse(file, text)
}

fn parse_with<T: DeserializeOwned>(
    file: &str,
    text: &str,
    options: Options,
) -> Result<T, Box<Diagnostic>> {
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let location = match error.location() {
            Some(place) => Location {
                file: file.to_owned(),
                line: place.line(),
                column: place.column(),
            },
            None => start_of(file),
        };
        Box::new(explain(&location, &error))
    })
}

/// The first character of a file: where a fault of the whole file is reported.
pub(crate) fn start_of(file: &str) -> Location {
    Location {
        file: file.to_owned(),
        line: 1,
        column: 1,
    }
}

/// Where `at` was written in `file`.
pub(crate) fn place<T>(file: &str, at: &At<T>) -> Location {
    Location {
        file: file.to_owned(),
        line: at.referenced.line(),
        column: at.referenced.column(),
    }
}

/// Parses the text at `at`; a text that is refused becomes a fault at its place.
pub(crate) fn read<T, E>(
    file: &str,
    at: &At<String>,
    rule: &'static str,
    hint: impl Fn(&E) -> Option<String>,
) -> Result<Located<T>, Box<Diagnostic>>
where
    T: std::str::FromStr<Err = E>,
    E: std::error::Error,
{
    let location = place(file, at);
    match at.value.parse() {
        Ok(value) => Ok(Located { value, location }),
        Err(error) => {
            let fault = Diagnostic::new(location, rule, error.to_string());
            Err(Box::new(match hint(&error) {
                Some(hint) => fault.with_hint(hint),
                None => fault,
            }))
        }
    }
}

/// Turns what was read of a file into checked values, gathering every fault instead of the first.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    /// The file, as the user knows it.
    pub(crate) file: &'a str,
    /// What is wrong so far.
    pub(crate) faults: Vec<Diagnostic>,
}

impl<'a> Reading<'a> {
    /// Begins with nothing wrong.
    pub(crate) fn new(file: &'a str) -> Self {
        Self {
            file,
            faults: Vec::new(),
        }
    }

    /// Parses the text at `at`; `None` when it is refused.
    pub(crate) fn read<T, E>(
        &mut self,
        at: &At<String>,
        rule: &'static str,
        hint: impl Fn(&E) -> Option<String>,
    ) -> Option<Located<T>>
    where
        T: std::str::FromStr<Err = E>,
        E: std::error::Error,
    {
        read(self.file, at, rule, hint)
            .map_err(|fault| self.faults.push(*fault))
            .ok()
    }

    /// Notes a fault.
    pub(crate) fn fault(
        &mut self,
        location: Location,
        rule: &'static str,
        message: String,
        hint: &str,
    ) {
        self.faults
            .push(Diagnostic::new(location, rule, message).with_hint(hint));
    }
}

/// For what is wrong in a way that has no advice of its own.
const WHERE_KEYS_ARE: &str = "docs/matrix.md and docs/packages.md have every key and its type; \
                              `wheelfarm schema matrix` gives them to an editor";

/// Gives the reader's message a rule's name and a hint, and takes out the place, which the
/// diagnostic already has.
fn explain(location: &Location, error: &Error) -> Diagnostic {
    let fault = |rule, message: String| Diagnostic::new(location.clone(), rule, message);
    // The reader's errors are many and their list is open: those that people meet are named.
    if let Error::QuotingRequired { value, .. } = error {
        let message = format!("`{value}` is a number to YAML, and a text is wanted here");
        let hint = format!("put it in quotes: \"{value}\"");
        return fault("unquoted-number", message).with_hint(hint);
    }
    if let Error::DuplicateMappingKey { key, .. } = error {
        let key = key.as_deref().unwrap_or("?");
        return fault("duplicate-key", format!("`{key}` stands here twice"))
            .with_hint("merge the two entries: the second would replace the first");
    }
    if let Error::SerdeUnknownField {
        field, expected, ..
    } = error
    {
        return fault("unknown-key", format!("`{field}` is not a key here"))
            .with_hint(format!("the keys are: {}", expected.join(", ")));
    }
    if let Error::SerdeUnknownVariant {
        variant, expected, ..
    } = error
    {
        return fault(
            "unknown-choice",
            format!("`{variant}` is not a choice here"),
        )
        .with_hint(format!("the choices are: {}", expected.join(", ")));
    }
    if let Error::SerdeMissingField { field, .. } = error {
        return fault("missing-key", format!("`{field}` is missing here"))
            .with_hint(format!("write `{field}: …`"));
    }
    if let Error::Unexpected { expected, .. } = error {
        let (expected, hint) = match *expected {
            "mapping start" => (
                "a map of `key: value` lines",
                "write the keys below it, each further in than the line above",
            ),
            "sequence start" => ("a list", "write `[one, two]`, or a line `- one` for each"),
            "string scalar" => (
                "a text",
                "write one value on the line; quote one that begins with `[`, `{`, `*`, `&` or `!`",
            ),
            other => (other, WHERE_KEYS_ARE),
        };
        return fault("yaml", format!("{expected} is wanted here")).with_hint(hint);
    }
    if let Error::InvalidScalar {
        ty: "u32" | "u64", ..
    } = error
    {
        let message = "a whole number is wanted here".to_owned();
        return fault("yaml", message).with_hint("write digits alone: `2`");
    }
    if let Error::Eof { .. } = error {
        return fault("yaml", "the file is empty or ends too early".to_owned()).with_hint(
            "begin it with `schema: 1`; docs/matrix.md and docs/packages.md show whole files",
        );
    }
    let text = error.to_string();
    let first_line = text.lines().next().unwrap_or_default();
    let message = match first_line.rfind(" at line ") {
        Some(end) => &first_line[..end],
        None => first_line,
    };
    fault("yaml", message.to_owned()).with_hint(
        "YAML cannot be read from here on: look here and in the line above for a quote or a bracket that stays \
         open, a tab, or a line that is not as far in as its neighbours",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only read through Debug")]
        python: Vec<String>,
        #[expect(dead_code, reason = "only read through Debug")]
        #[serde(default)]
        packages: BTreeMap<String, Spanned<String>>,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Count {
        #[expect(dead_code, reason = "only read through Debug")]
        jobs: u32,
    }

    #[track_caller]
    fn fault(text: &str) -> String {
        parse::<Sample>("matrix.yaml", text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn faults_say_where_what_and_what_to_do() {
        insta::assert_snapshot!(
            [
                fault("python: [3.10]\n"),
                fault("python: [\"3.10\"]\npackages:\n  a: x\n  a: y\n"),
                fault("python: [\"3.10\"]\npyhton: []\n"),
                fault("packages: {}\n"),
                fault("python: [\"3.10\"\n"),
                fault("python: 7\n"),
                parse::<Count>("matrix.yaml", "jobs: -1\n")
                    .unwrap_err()
                    .to_string(),
            ]
            .join("\n"),
            @r#"
        matrix.yaml:1:10: `3.10` is a number to YAML, and a text is wanted here [unquoted-number]
          hint: put it in quotes: "3.10"
        matrix.yaml:4:3: `a` stands here twice [duplicate-key]
          hint: merge the two entries: the second would replace the first
        matrix.yaml:2:1: `pyhton` is not a key here [unknown-key]
          hint: the keys are: python, packages
        matrix.yaml:1:1: `python` is missing here [missing-key]
          hint: write `python: …`
        matrix.yaml:1:9: unclosed bracket '[' [yaml]
          hint: YAML cannot be read from here on: look here and in the line above for a quote or a bracket that stays open, a tab, or a line that is not as far in as its neighbours
        matrix.yaml:1:9: a list is wanted here [yaml]
          hint: write `[one, two]`, or a line `- one` for each
        matrix.yaml:1:7: a whole number is wanted here [yaml]
          hint: write digits alone: `2`
        "#
        );
    }
}
