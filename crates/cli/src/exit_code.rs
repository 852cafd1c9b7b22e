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

impl ExitCode {
    /// All of them, by number.
    pub(crate) const ALL: [Self; 6] = [
        Self::Done,
        Self::JobFailed,
        Self::BadInput,
        Self::Infrastructure,
        Self::NotChecked,
        Self::Cancelled,
    ];

    /// The number that the process ends with.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::JobFailed => 1,
            Self::BadInput => 2,
            Self::Infrastructure => 3,
            Self::NotChecked => 4,
            Self::Cancelled => 130,
        }
    }

    /// What it says, for a man page.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Everything asked for is done.",
            Self::JobFailed => "A job failed, a wheel was refused, or the answer is no.",
            Self::BadInput => "The input is wrong: the arguments, the matrix or a package.",
            Self::Infrastructure => "The engine, the network or a disk failed.",
            Self::NotChecked => "A check could not be made, and nothing else is wrong.",
            Self::Cancelled => "Stopped by the user.",
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}
