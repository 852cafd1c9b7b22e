//! The fault table of docs/nights.md, on a real engine: what is killed, when, and what the next run makes of
//! it. Each test ends with a wheel on record and with nothing left in the engine or half-written in `out/`.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod controller;
mod engine;
mod farm;
mod memory;
