//! The folder of a new package, begun from its source: what can be read without running it is filled in,
//! and what has to be decided is said beside it.
//!
//! [`survey()`] reads, [`pins::choose`] picks build requirements, [`write::files`] writes. All of it is
//! guesswork on files of strangers: each guess names the line that it was made from, and nothing that
//! cannot be guessed is made up.

mod metadata;
pub mod pins;
mod python;
mod remarks;
mod setup_py;
mod survey;
#[cfg(test)]
mod tests;
mod trial;
pub mod write;

pub use metadata::{Licence, Project};
pub use pins::{Pin, PinnedBy, Requirement};
pub use remarks::Remark;
pub use setup_py::{Extension, ExtensionKind, Variable};
pub use survey::{Survey, survey};
pub use trial::trial;
