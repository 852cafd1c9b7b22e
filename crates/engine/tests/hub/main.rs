//! A shelf on a Hub, against the test Hub: what a publication leaves there, whatever goes wrong on the
//! way.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in test functions, and not in what they call"
)]
#![expect(clippy::print_stdout, reason = "what a sweep came to")]

mod access;
mod bench;
mod doctor;
mod doubt;
mod faults;
mod life;
mod secrets;
mod sweep;
