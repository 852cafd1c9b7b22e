//! Why a log ends in a failure: known failures as data, held against the lines of any log.
//!
//! `data/diagnose/*.yaml` has the rules. [`Rules::built_in`] reads them, [`Reader`] takes a log in pieces
//! and gives what fits, the cause first. What no rule fits becomes a [`Prompt`] for a person or an
//! assistant.

mod clean;
mod extract;
mod fill;
mod prompt;
mod reader;
mod redact;
mod rules;

pub use extract::{Extract, Passage, is_error_like};
pub use prompt::{Prompt, Subject};
pub use reader::{Diagnoses, Diagnosis, Reader};
pub use redact::Redactor;
pub use rules::{Example, Kind, Origin, Place, Rule, Rules};
