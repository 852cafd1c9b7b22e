//! What the farm relies on, seen on a real Docker engine: `cargo nextest run --profile docker`.

mod contract;
mod ends;
mod files;
mod images;
mod lab;
mod ownership;
mod rights;
