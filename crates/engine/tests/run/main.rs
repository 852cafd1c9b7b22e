//! Runs of the dispatcher on the scripted engine: what becomes of every job, and what is left.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in test functions, and not in what they call"
)]

mod adopt;
mod cancel;
mod changes;
mod commands;
mod containers;
mod ends;
mod farm;
mod host;
mod leftovers;
mod memory;
mod scripts;
