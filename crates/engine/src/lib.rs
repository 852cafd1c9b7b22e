//! The part of wheelfarm that acts: container engines, stages, dispatcher, publishers, proofs.
//!
//! It never prints, parses no flags and does not end the process: that is the command line's.

pub mod container;
mod crash_point;
pub mod diagnose;
pub mod doctor;
pub mod event;
pub mod farm_folder;
pub mod fetch;
pub mod files;
pub mod host;
pub mod inspect;
pub mod install_table;
pub mod libraries;
pub mod out_folder;
pub mod patch_check;
pub mod patch_files;
pub mod prove;
pub mod publish;
pub mod remote;
pub mod resolve;
pub mod run;
pub mod scaffold;
pub mod secrets;
pub mod shelf;
pub mod starter;
pub mod store;
pub mod upstream;
pub mod watch;
