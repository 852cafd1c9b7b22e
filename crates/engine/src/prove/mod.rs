//! Proofs: a wheel is installed as a user would, and its package's own test runs.
//!
//! `container` proves a published folder without a network, `machine` one wheel with a Python that is
//! here already, on the GPU that is here, in a `workshop`; `receipt` keeps what the second leaves behind.

pub mod container;
pub mod error;
pub mod machine;
pub(crate) mod process;
pub mod receipt;
mod workshop;

use wheelfarm_core::receipt::{Check, CheckResult};

/// What every package's test shares.
const CHECKS: &str = include_str!("../../../../dockerfiles/wheelfarm_checks.py");

/// The check that stands for a package's test as a whole.
const TEST: &str = "the package's own test";

fn no_report() -> Check {
    Check::new(TEST, CheckResult::Fail, "it ended without a report")
}

fn no_test() -> Check {
    // It stands for the part on a GPU too.
    Check {
        gpu: true,
        ..Check::new(TEST, CheckResult::NotChecked, "the package has no test")
    }
}
