//! Which news has been told: a file of fingerprints, so that nothing is told twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::News;

/// The news that has been told, by fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    items: BTreeMap<String, ToldNews>,
}

/// What a fingerprint stands for, for people who read the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ToldNews {
    kind: String,
    subject: String,
    there: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawTold {
    schema: u32,
    told: BTreeMap<String, ToldNews>,
}

/// The file is not one of told news.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToldError {
    /// Not JSON, or of another form.
    #[error("it is not a list of told news: {reason}")]
    Unreadable {
        /// What the reader said, with the place.
        reason: String,
    },
    /// Of a later program.
    #[error("schema {schema} of told news is not known; 1 is")]
    Schema {
        /// The schema.
        schema: u32,
    },
}

impl Told {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, ToldError> {
        let unreadable = |error: serde_json::Error| ToldError::Unreadable {
            reason: error.to_string(),
        };
        // A later schema is refused by its number, not by the first key that is not known.
        let value: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
        let schema = value.get("schema").and_then(serde_json::Value::as_u64);
        if let Some(schema) = schema.and_then(|schema| u32::try_from(schema).ok())
            && schema != 1
        {
            return Err(ToldError::Schema { schema });
        }
        let raw: RawTold = serde_json::from_value(value).map_err(unreadable)?;
        Ok(Self { items: raw.told })
    }

    /// The file: schema 1, sorted keys, a newline at the end.
    pub fn to_text(&self) -> String {
        let raw = RawTold {
            schema: 1,
            told: self.items.clone(),
        };
        // Through a value, whose keys are sorted.
        let value = serde_json::to_value(raw).expect("texts and numbers are JSON");
        format!("{value:#}\n")
    }

    /// Whether `news` has been told.
    pub fn has(&self, news: &News) -> bool {
        self.items.contains_key(&news.fingerprint())
    }

    /// Notes that `news` has been told. What has been told stays noted: an index that is out of reach
    /// for a night does not make its news new again.
    pub fn add(&mut self, news: &News) {
        self.items.insert(
            news.fingerprint(),
            ToldNews {
                kind: news.kind.as_str().to_owned(),
                subject: news.subject.clone(),
                there: news.there.clone(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewsKind;
    use super::*;

    fn news(there: &str, here: &str) -> News {
        News {
            kind: NewsKind::TorchPatch,
            subject: "env torch 2.9".to_owned(),
            there: there.to_owned(),
            here: here.to_owned(),
            link: String::new(),
            notes: Vec::new(),
            change: None,
            release: None,
        }
    }

    #[test]
    fn what_is_told_is_known_again_by_what_is_out_there() {
        let mut told = Told::default();
        told.add(&news("2.9.1", "2.9.0"));
        let told = Told::parse(&told.to_text()).unwrap();
        assert!(told.has(&news("2.9.1", "2.8.0")));
        assert!(!told.has(&news("2.9.2", "2.9.0")));
        insta::assert_snapshot!(told.to_text(), @r#"
        {
          "schema": 1,
          "told": {
            "73a4c6af4741": {
              "kind": "torch-patch",
              "subject": "env torch 2.9",
              "there": "2.9.1"
            }
          }
        }
        "#);
    }

    #[test]
    fn other_files_are_refused() {
        let refused = |text: &str| Told::parse(text).unwrap_err().to_string();
        assert_eq!(
            refused("{\"schema\": 2, \"later\": []}"),
            "schema 2 of told news is not known; 1 is"
        );
        for text in [
            "",
            "[]",
            "{}",
            "{\"schema\": 1}",
            "{\"schema\": 1, \"told\": {}, \"x\": 1}",
        ] {
            assert!(
                refused(text).starts_with("it is not a list of told news"),
                "{text}"
            );
        }
    }
}
