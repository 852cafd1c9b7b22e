//! Builds in a file: what one farm has learned, for another to reckon with.

use serde::Deserialize;

use super::Sample;
use super::history::{History, StageTimes};

/// A file of builds does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum SamplesError {
    /// It is of a later version of the farm.
    #[error("the builds are of schema {0}, and this program reads schema 1")]
    Schema(u64),
    /// It is not what docs/nights.md shows.
    #[error("failed to read the builds")]
    Content(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Versioned {
    schema: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSamples {
    #[serde(rename = "schema")]
    _schema: u64,
    samples: Vec<Sample>,
    #[serde(default)]
    stages: Vec<StageTimes>,
}

impl History {
    /// Reads a JSON file of builds: `{"schema": 1, "samples": […], "stages": […]}`, in any order.
    ///
    /// # Errors
    /// Another schema, or a field that is missing or unknown.
    pub fn parse(text: &str) -> Result<Self, SamplesError> {
        let versioned: Versioned = serde_json::from_str(text).map_err(SamplesError::Content)?;
        if versioned.schema != 1 {
            return Err(SamplesError::Schema(versioned.schema));
        }
        let raw: RawSamples = serde_json::from_str(text).map_err(SamplesError::Content)?;
        Ok(Self::new(raw.samples).with_stages(raw.stages))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{GIB, MINUTE_MS, built, subject};
    use super::*;

    #[test]
    fn builds_are_read_as_they_were_written() {
        let sample = serde_json::to_value(built("demo", 2, 4 * GIB, MINUTE_MS)).unwrap();
        let stages = serde_json::json!({ "package": "demo", "version": "1.0", "other_ms": 7 });
        let file = serde_json::json!({ "schema": 1, "samples": [sample], "stages": [stages] });
        let estimate = History::parse(&file.to_string()).unwrap();
        let estimate = estimate.estimate_of(&subject("demo", 12, 4));
        assert_eq!(estimate.memory.bytes(2), 5 * GIB);
        assert_eq!(estimate.other_ms, Some(7));
    }

    #[test]
    fn what_is_no_file_of_builds_is_refused() {
        for text in [
            "",
            "{}",
            "{\"schema\": 1}",
            "{\"schema\": 1, \"samples\": [{}]}",
        ] {
            assert!(
                matches!(History::parse(text), Err(SamplesError::Content(_))),
                "{text}"
            );
        }
        let later = "{\"schema\": 2, \"runs\": []}";
        assert!(matches!(
            History::parse(later),
            Err(SamplesError::Schema(2))
        ));
    }
}
