//! The host that jobs run on: how much room its disks have, who has been promised it, what lies
//! there of the farm's, and how that is cleared away.
//!
//! It must never touch what does not carry a label of the farm's, nor what a container has.

pub mod clear;
pub mod disk;
mod image_tree;
pub mod things;
pub mod verdict;
mod volumes;

pub use volumes::{VolumeError, shrink_cache, volume_sizes};

#[cfg(test)]
mod tests;
