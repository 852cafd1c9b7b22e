//! The gate: what a wheel holds, judged against what it says and what was asked for.
//!
//! `inspect` reads a wheel and reports; it never fails on what stands in one, however hostile: a
//! fault is a finding. `contract` is what a package promises, `judge` holds a report against it.
//! Every finding names a rule of `data/rules.yaml`, which `wheelfarm explain` shows.

pub mod contract;
pub mod finding;
pub mod inspect;
pub mod judge;
pub mod libraries;
pub mod ptx;
pub mod report;
pub mod rule;
