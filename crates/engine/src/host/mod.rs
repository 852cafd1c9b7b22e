//! The host that jobs run on: how much room its disks have, who has been promised it, what lies
//! there of the farm's, and how that is cleared away.
//!
//! It must never touch what does not carry a label of the farm's, nor what a container has.

pub mod disk;
