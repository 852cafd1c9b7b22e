//! What the farm relies on, seen on a real Docker engine: `cargo nextest run --profile docker`.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in test functions, and not in what they call"
)]

mod contract;
mod doctor;
mod ends;
mod files;
mod host;
mod images;
mod lab;
mod libraries;
mod listing;
mod ownership;
mod resolve;
mod rights;
