//! nvcc's command lines, as a build left them behind: what they say, and whether it is what the
//! contract wants.
//!
//! A `setup.py` that ignores, cuts or splits its list of archs wrongly gives a wheel that fails at a
//! user's. Its command lines show it in the first minute of a build of hours, file by file. They are
//! evidence of accidents, not of malice: the build could have written anything there, and the gate
//! reads the finished wheel anyway.

mod judge;
mod nvcc;
mod record;

pub use judge::{CommandFault, CommandReport, Extent, judge};
pub use nvcc::{FlagError, Invocation};
pub use record::{RecordError, Recorded, parse};
