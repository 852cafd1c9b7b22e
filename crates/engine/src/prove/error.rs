//! Why a machine could not prove a wheel.

use std::io;

use camino::Utf8PathBuf;
use wheelfarm_core::wheel::name::WheelNameError;

use crate::files::FileError;

/// A machine could not prove a wheel; of the wheel that says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineProofError {
    /// The file's name is no wheel's.
    #[error("failed to prove `{path}`")]
    NoWheel {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: WheelNameError,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(FileError),
    /// The file is no sound archive.
    #[error("`{path}` cannot be read to its end: {fault}")]
    Unsound {
        /// The file.
        path: Utf8PathBuf,
        /// The first fault.
        fault: String,
    },
    /// There is no such Python.
    #[error("there is no Python `{python}`")]
    NoPython {
        /// What was given.
        python: Utf8PathBuf,
    },
    /// The Python does not tell what it is.
    #[error("`{python}` does not tell what it is: {said}")]
    StrangePython {
        /// What was given.
        python: Utf8PathBuf,
        /// The end of what it said.
        said: String,
    },
    /// It has no pip.
    #[error("`{python}` has no pip")]
    NoPip {
        /// What was given.
        python: Utf8PathBuf,
    },
    /// It has no torch that can be imported.
    #[error("`{python}` has no torch that can be imported: {said}")]
    NoTorch {
        /// What was given.
        python: Utf8PathBuf,
        /// What importing it says.
        said: String,
    },
    /// The wheel's tags are not for the Python.
    #[error("`{wheel}` is not for `{python}`, which is {version}")]
    OtherTags {
        /// The wheel.
        wheel: String,
        /// What was given.
        python: Utf8PathBuf,
        /// What it is.
        version: String,
    },
    /// The Python's packages are not those that the wheel requires.
    #[error("`{wheel}` requires what `{python}` does not have: {}", .unmet.join(", "))]
    Unmet {
        /// The wheel.
        wheel: String,
        /// What was given.
        python: Utf8PathBuf,
        /// Each requirement with what is there.
        unmet: Vec<String>,
    },
    /// Something could not be started.
    #[error("failed to run `{what}`")]
    Run {
        /// The program.
        what: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
}

impl MachineProofError {
    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoWheel { .. } | Self::Unreadable(_) | Self::Unsound { .. } => {
                Some("name a wheel that is there, by its whole name")
            }
            Self::NoPython { .. } | Self::StrangePython { .. } => {
                Some("name one with --python: `--python .venv/bin/python`")
            }
            Self::NoPip { .. } => Some("`PYTHON -m ensurepip`, or another Python with --python"),
            Self::NoTorch { .. } => Some("name a Python that has torch with --python"),
            Self::OtherTags { .. } => {
                Some("name the Python that the wheel was built for with --python")
            }
            Self::Unmet { .. } => {
                Some("install it into that Python, or name another one with --python")
            }
            Self::Run { .. } | Self::File(_) | Self::Stopped => None,
        }
    }

    /// Whether another wheel or Python has to be named, the machine being as it should.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::NoWheel { .. }
            | Self::Unreadable(_)
            | Self::Unsound { .. }
            | Self::NoPython { .. }
            | Self::StrangePython { .. }
            | Self::NoTorch { .. }
            | Self::OtherTags { .. }
            | Self::Unmet { .. } => true,
            Self::NoPip { .. } | Self::Run { .. } | Self::File(_) | Self::Stopped => false,
        }
    }
}
