//! The pure part of wheelfarm: it turns text and bytes into plans, build contexts, finished wheels
//! and releases.
//!
//! Nothing here touches the disk, the network, a clock, the environment or a process: the same
//! input gives the same bytes out on any machine. What acts lives in `wheelfarm-engine`.

pub mod arch;
pub mod collect;
pub mod commands;
pub mod compat;
pub mod diagnose;
pub mod diagnostic;
pub mod digest;
pub mod doctor;
pub mod estimate;
pub mod fatbin;
pub mod gate;
pub mod github;
pub mod gpu;
pub mod ident;
pub mod manifest;
pub mod matrix;
pub mod outcome;
pub mod output_rule;
pub mod package;
pub mod plan;
pub mod quantity;
pub mod read_at;
pub mod receipt;
pub mod recipe;
pub mod release;
pub mod render;
pub mod scaffold;
#[cfg(test)]
mod schema;
pub mod source;
pub mod starter;
pub mod version;
pub mod watch;
pub mod wheel;
mod yaml;
