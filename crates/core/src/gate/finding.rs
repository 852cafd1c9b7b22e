//! What the gate has to say of a wheel.

use serde::{Deserialize, Serialize};

use super::rule::{Rule, Severity};

/// One thing that a rule has to say of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// What it means for the wheel: the rule's own severity, or that it could not be checked.
    pub severity: Severity,
    /// The rule.
    pub rule: Rule,
    /// Where: a module, another file of the wheel, or the wheel as a whole.
    pub place: String,
    /// What there is.
    pub seen: String,
    /// What there should be, where that is not plain from the rule.
    pub expected: Option<String>,
}

impl Finding {
    /// What `rule` has found at `place`.
    pub fn new(rule: Rule, place: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            severity: rule.severity(),
            rule,
            place: place.into(),
            seen: seen.into(),
            expected: None,
        }
    }

    /// `rule` could not be held against the wheel, and why.
    pub fn not_checked(rule: Rule, place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            severity: Severity::NotChecked,
            ..Self::new(rule, place, why)
        }
    }

    /// Adds what there should be.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }
}

/// The gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every rule was held against the wheel, and none has an error to report.
    Passed,
    /// A rule has found an error.
    Failed,
    /// No rule has found an error, and one could not be checked.
    NotChecked,
}

impl Verdict {
    /// The verdict that `findings` add up to.
    pub fn of(findings: &[Finding]) -> Self {
        let has = |severity| findings.iter().any(|finding| finding.severity == severity);
        if has(Severity::Error) {
            Self::Failed
        } else if has(Severity::NotChecked) {
            Self::NotChecked
        } else {
            Self::Passed
        }
    }

    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "not-checked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_outweighs_what_was_not_checked_and_that_a_pass() {
        let error = Finding::new(Rule::RpathLeak, "a.so", "/build");
        let warning = Finding::new(Rule::ArchUnasked, "a.so", "sm_75");
        let unknown = Finding::not_checked(Rule::AbiUndefinedSymbol, "wheel", "no libraries");
        assert_eq!(Verdict::of(&[]), Verdict::Passed);
        assert_eq!(Verdict::of(std::slice::from_ref(&warning)), Verdict::Passed);
        assert_eq!(
            Verdict::of(&[warning, unknown.clone()]),
            Verdict::NotChecked
        );
        assert_eq!(Verdict::of(&[unknown, error]), Verdict::Failed);
    }
}
