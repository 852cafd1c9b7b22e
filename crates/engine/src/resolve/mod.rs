//! What `wheelfarm resolve` needs of the world: catalogs wherever they lie, and what environments are.

pub mod catalog;
pub mod environment;
mod error;
#[cfg(test)]
mod tests;

pub use error::{CatalogReadError, EnvironmentError};
