//! `wheelfarm resolve`: the one right wheel of a catalog for an environment, or why there is none.
//!
//! Everything is answered from the catalog alone. What the question leaves open is taken from what is
//! known, and where that is not enough the answer says which wheels it could be.

mod answer;
mod choice;
mod facts;
mod gpu;
mod job;
mod lines;
mod lock;
mod place;
mod question;
mod read;
mod rules;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Candidate, NearMiss, Outcome, has_a_wheel, resolve};
pub use facts::{Facts, FactsError};
pub use job::{Job, JobSnippet};
pub use lines::Lines;
pub use lock::{LockError, read_lock};
pub use place::{CatalogPlace, PlaceError};
pub use question::{
    Asked, Cuda, Libc, PackageWish, PythonAsked, Question, QuestionError, TorchGiven,
};
pub use read::{Excerpt, read_package};
pub use rules::{Miss, Rule};
