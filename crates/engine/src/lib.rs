//! engine

pub mod fetch;
pub mod files;
