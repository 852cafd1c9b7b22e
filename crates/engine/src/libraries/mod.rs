//! The symbol tables of an environment's libraries: from an image, once, or from folders.
//!
//! What resolves modules against them is core's `gate::libraries`.

mod cache;
mod environment;
mod error;
#[cfg(test)]
mod fixture;
mod folder;
mod gather;
mod tables;

pub use environment::{environment_libraries, job_libraries};
pub use error::{LibrariesError, LibrariesErrorKind};
pub use folder::folder_libraries;
pub use gather::InterpreterError;
pub use tables::TablesError;
