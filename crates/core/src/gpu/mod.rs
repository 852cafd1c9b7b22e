//! GPUs: which there are, what device code runs on which, and with which driver.
//!
//! The facts are `data/gpus.yaml`, each with its source; the rules are NVIDIA's, cited where they
//! stand. What is not known is said to be unknown and never to fail.

pub mod capability;
pub mod driver;
pub mod machine;
pub mod name;
pub mod rules;
pub mod sentence;
mod table;
pub mod verdict;

pub use capability::Capability;
pub use name::find;
pub use table::{Gpu, Listing, Platform, all, known, of};
