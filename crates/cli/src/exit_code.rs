//! Exit codes: documented in the README, stable, given in one place.

use std::process;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// Everything asked for is done.
    Done,
    /// A job failed, or a wheel was refused.
    JobFailed,
    /// The input is wrong.
    BadInput,
    /// The engine, the network or a disk failed.
    Infrastructure,
    /// A check could not be made, and nothing else is wrong.
    NotChecked,
    /// Stopped by the user.
    Cancelled,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        let number = match code {
            ExitCode::Done => 0,
            ExitCode::JobFailed => 1,
            ExitCode::BadInput => 2,
            ExitCode::Infrastructure => 3,
            ExitCode::NotChecked => 4,
            ExitCode::Cancelled => 130,
        };
        Self::from(number)
    }
}
