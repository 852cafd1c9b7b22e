//! Why something fits, or does not, or is not known to.

use serde::{Serialize, Serializer};

use super::lookup::Verdict;

/// Whether something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It does.
    Yes,
    /// The table does not say.
    Unknown,
    /// It cannot work.
    No,
}

impl Fit {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Unknown => "unknown",
            Self::No => "no",
        }
    }
}

impl Serialize for Fit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reason {
    /// The rule's stable name, the plan's where it has one.
    pub rule: &'static str,
    /// Whether it fits.
    pub fit: Fit,
    /// What was found.
    pub text: String,
    /// Where the rule or the fact comes from.
    pub source: Option<String>,
    /// What to change; `None` when nothing need be.
    pub change: Option<String>,
}

impl Reason {
    pub(super) fn new(rule: &'static str, fit: Fit, text: String) -> Self {
        Self {
            rule,
            fit,
            text,
            source: None,
            change: None,
        }
    }

    pub(super) fn source(mut self, source: &str) -> Self {
        self.source = Some(source.to_owned());
        self
    }

    pub(super) fn change(mut self, change: String) -> Self {
        self.change = Some(change);
        self
    }

    /// From a row's verdict: the texts are those of a yes and of a no, `source` is the row's.
    pub(super) fn of(
        rule: &'static str,
        verdict: Verdict,
        texts: [String; 2],
        source: &str,
    ) -> Self {
        let [yes, no] = texts;
        match verdict {
            Verdict::Works => Self::new(rule, Fit::Yes, yes).source(source),
            Verdict::Fails { known, source } => {
                Self::new(rule, Fit::No, no).source(&source).change(known)
            }
            Verdict::Unknown { why } => unknown(rule, &why),
        }
    }
}

/// What the table does not say.
pub(super) fn unknown(rule: &'static str, why: &str) -> Reason {
    let text = format!("the table does not say: {why}");
    let change = "`wheelfarm plan` allows it, with a warning".to_owned();
    Reason::new(rule, Fit::Unknown, text).change(change)
}
