//! Output rules: which file that a build leaves behind is its wheel.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// Which file of a build's output folder is its wheel: a glob over file names, `*.whl` if
/// nothing else is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutputRule {
    text: String,
    matcher: GlobMatcher,
}

/// The text is not a glob over file names.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an output rule, which is a glob over file names such as `*.whl`")]
pub struct OutputRuleError {
    text: String,
}

impl OutputRule {
    /// The rule as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the rule takes the file with that name.
    pub fn is_match(&self, file_name: &str) -> bool {
        self.matcher.is_match(file_name)
    }
}

impl Default for OutputRule {
    fn default() -> Self {
        "*.whl".parse().expect("`*.whl` is a glob over file names")
    }
}

impl FromStr for OutputRule {
    type Err = OutputRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || OutputRuleError {
            text: text.to_owned(),
        };
        if text.is_empty() || text.contains('/') {
            return Err(wrong());
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .build()
            .map_err(|_| wrong())?;
        Ok(Self {
            text: text.to_owned(),
            matcher: glob.compile_matcher(),
        })
    }
}

impl fmt::Display for OutputRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for OutputRule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for OutputRule {}

impl TryFrom<String> for OutputRule {
    type Error = OutputRuleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OutputRule> for String {
    fn from(rule: OutputRule) -> String {
        rule.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_globs_over_file_names() {
        let rule: OutputRule = "demo-*-{cp312,abi3}*.whl".parse().unwrap();
        assert!(rule.is_match("demo-1-cp312-x.whl") && !rule.is_match("demo-1-cp313-x.whl"));
        for bad in ["", "a/*.whl", "a[.whl"] {
            assert!(bad.parse::<OutputRule>().is_err(), "{bad}");
        }
    }
}
