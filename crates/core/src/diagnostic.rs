//! What is wrong in a file that a person wrote: where, what, by which rule, and what to type.

use std::fmt;

use serde::Serialize;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub location: Location,
}

/// One fault in a file, complete enough to be mended without looking elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// Where it is; a fault of a whole file stands at its first character.
    pub location: Location,
    /// The rule's stable name: `duplicate-key`, `arch-needs-cuda`.
    pub rule: &'static str,
    /// A lowercase sentence fragment: what is wrong with what.
    pub message: String,
    /// Where the rule comes from: a PEP, an NVIDIA guide, an upstream file.
    pub source: Option<String>,
    /// What to type instead.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A fault at a place, by a rule.
    pub fn new(location: Location, rule: &'static str, message: impl Into<String>) -> Self {
        Self {
            location,
            rule,
            message: message.into(),
            source: None,
            hint: None,
        }
    }

    /// Adds where the rule comes from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what to type instead.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.location, self.message, self.rule)?;
        if let Some(source) = &self.source {
            write!(f, "\n  rule: {source}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// The faults of a reading, sorted by place; never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// `Ok` with `value` when `faults` is empty.
    pub fn check<T>(value: T, mut faults: Vec<Diagnostic>) -> Result<T, Self> {
        if faults.is_empty() {
            return Ok(value);
        }
        faults.sort();
        faults.dedup();
        Err(Self(faults))
    }

    /// The faults, by place.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(fault: Diagnostic) -> Self {
        Self(vec![fault])
    }
}

impl From<Box<Diagnostic>> for Diagnostics {
    fn from(fault: Box<Diagnostic>) -> Self {
        Self(vec![*fault])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// An error and its causes, as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
