//! The test Hub, asked over HTTP without any of its clients, and by the Rust client. Needs no network and
//! no Python.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod client;
mod faults;
mod hf_hub_client;
mod protocol;
mod spaces_and_publishers;
