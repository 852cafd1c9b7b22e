//! A shelf on a Hub, against the test Hub: what a publication leaves there, whatever goes wrong on the
//! way.

mod access;
mod bench;
mod faults;
mod life;
mod secrets;
mod sweep;
