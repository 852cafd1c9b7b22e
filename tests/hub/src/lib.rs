//! A Hugging Face Hub on loopback, for tests: routes, redirects, headers, limits and errors of the real
//! one, with the official simulator of Xet's storage behind it, and faults at any request.
//!
//! What the real Hub does was read from its clients' sources and from logs (`hub.md`); what it is not
//! known to do is said where it is decided here. The official Python client is run against it in
//! `tests/official_client.rs`.
//!
//! # Faults at every request
//!
//! Requests have numbers, from 1, over all ports, in the order in which they arrive. To cut every single
//! request of an action in turn, plant a fault at the action's first, second, ... request until one is
//! not met:
//!
//! ```no_run
//! # use test_hub::{Fault, Options, TestHub, What};
//! # fn publish(hub: &TestHub) {}
//! for n in 1.. {
//!     let hub = TestHub::start_blocking(Options::default()).unwrap();
//!     // Whatever has to be there first.
//!     let before = hub.request_count();
//!     hub.plant(Fault::at_request(before + n, What::CutAfter));
//!     publish(&hub);
//!     if hub.request_count() < before + n {
//!         break; // The action needed fewer requests: all were cut.
//!     }
//!     // Look at `hub.tree(...)`, `hub.commits(...)`.
//! }
//! ```
//!
//! Transfers to and from Xet run side by side, so that the same number may be another request in the
//! next run; plant faults on routes where that matters.

mod access;
mod answer;
mod api;
mod attributes;
mod blobs;
mod cas;
mod cdn;
mod content;
mod fault;
mod front;
mod hub;
mod limits;
mod log;
mod options;
mod repo;
mod server;
mod spaces;
mod wire;

pub use fault::{At, Fault, What};
pub use log::{Door, Request};
pub use options::{
    Limits, Mode, OIDC_REQUEST_TOKEN, Options, READ_TOKEN, Role, STRANGER_TOKEN, Token,
    TrustedPublisher, WRITE_TOKEN, XetCheck,
};
pub use repo::{Commit, Entry, Kind, RepoName, RepoNameError, Tree};
pub use server::{StartError, TestHub, TestHubError};
