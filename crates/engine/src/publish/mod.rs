//! Publishes wheels on record to a shelf.
//!
//! `records` looks at them again; a `draft` is the release as it would be, which is tried before
//! anything is brought; and then it comes about, all of it or nothing.

pub mod draft;
pub mod records;
#[cfg(test)]
mod tests;
