//! What a new repository begins with.

pub mod nightly;
