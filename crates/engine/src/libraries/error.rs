//! Why the symbol tables of an environment are not to be had.

use camino::Utf8PathBuf;

use super::gather::InterpreterError;
use super::tables::TablesError;
use crate::container::{EngineError, ImageId};
use crate::files::FileError;

/// The symbol tables of an environment are not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibrariesError {
    /// The engine failed.
    #[error("failed to read the libraries of image `{image}`")]
    Engine {
        /// The image.
        image: ImageId,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
    /// The engine does not answer.
    #[error("failed to look for the environment's image")]
    NoEngine(#[source] EngineError),
    /// The script that lists the libraries did not end well.
    #[error("the list of the libraries of image `{image}` {how}: {last_line}")]
    Script {
        /// The image.
        image: ImageId,
        /// How it ended: `ended with exit code 1`.
        how: String,
        /// What it said last.
        last_line: String,
    },
    /// What the script wrote cannot be used.
    #[error("failed to read the symbol tables that came out of image `{image}`")]
    Tables {
        /// The image.
        image: ImageId,
        /// What is wrong.
        #[source]
        source: TablesError,
    },
    /// A file or folder of this machine failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The interpreter that the caller names cannot be read.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// A folder holds no shared library.
    #[error("no shared library is in `{folder}`, nor in its `torch/lib`, `nvidia` and `*.libs`")]
    NoLibraries {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The user stopped it.
    #[error("stopped before the symbol tables were read")]
    Stopped,
}

/// Who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibrariesErrorKind {
    /// Who named the folders or the interpreter.
    Input,
    /// The engine or this machine.
    Host,
    /// The user, who stopped it.
    Stopped,
}

impl LibrariesError {
    /// Who can do something about it.
    pub fn kind(&self) -> LibrariesErrorKind {
        match self {
            Self::Interpreter(_) | Self::NoLibraries { .. } => LibrariesErrorKind::Input,
            Self::Engine { .. }
            | Self::NoEngine(_)
            | Self::Script { .. }
            | Self::Tables { .. }
            | Self::File(_) => LibrariesErrorKind::Host,
            Self::Stopped => LibrariesErrorKind::Stopped,
        }
    }

    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Engine { source, .. } | Self::NoEngine(source) => source.hint(),
            Self::NoLibraries { .. } => Some(
                "name a `site-packages` folder that torch is installed in, or a folder of `.so` files",
            ),
            Self::Script { .. }
            | Self::Tables { .. }
            | Self::File(_)
            | Self::Interpreter(_)
            | Self::Stopped => None,
        }
    }
}
