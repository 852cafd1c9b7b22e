//! The pure part of wheelfarm: it turns text and bytes into plans, build contexts, finished wheels
//! and releases.
//!
//! Nothing here touches the disk, the network, a clock, the environment or a process: the same
//! input gives the same bytes out on any machine. What acts lives in `wheelfarm-engine`.

pub mod collect;
pub mod digest;
pub mod ident;
pub mod output_rule;
pub mod release;
pub mod wheel;
