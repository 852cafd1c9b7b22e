//! The folder that a machine's proof works in.

use std::io;

use camino::Utf8PathBuf;
use tempfile::TempDir;

use super::CHECKS;
use super::error::MachineProofError;
use crate::files::{self, FileError};

/// The program that tells what a Python and its torch are.
const FACTS: &str = include_str!("../../../../dockerfiles/machine_facts.py");

/// The folder that a wheel is installed into and its test runs in; it goes when this is dropped.
pub(super) struct Workshop {
    folder: TempDir,
    root: Utf8PathBuf,
}

impl Workshop {
    /// Makes it, under the folder for temporary files.
    pub(super) fn open() -> Result<Self, MachineProofError> {
        let place = std::env::temp_dir();
        let fault = |source| FileError::new("write into", &place, source);
        let folder = tempfile::Builder::new()
            .prefix("wheelfarm-proof-")
            .tempdir_in(&place)
            .map_err(fault)?;
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned())
            .map_err(|_| fault(io::Error::other("its path is not UTF-8")))?;
        let workshop = Self { folder, root };
        for folder in ["home", "site", "proof"] {
            let path = workshop.root.join(folder);
            fs_err::create_dir(&path).map_err(|error| FileError::new("create", &path, error))?;
        }
        workshop.put("wheelfarm_checks.py", CHECKS)?;
        workshop.put("machine_facts.py", FACTS)?;
        Ok(workshop)
    }

    /// The home and working folder of what runs.
    pub(super) fn home(&self) -> Utf8PathBuf {
        self.root.join("home")
    }

    /// Where pip puts the wheel.
    pub(super) fn site(&self) -> Utf8PathBuf {
        self.root.join("site")
    }

    /// Where the test and what it imports lie; `name` is one of them.
    pub(super) fn proof(&self, name: &str) -> Utf8PathBuf {
        self.root.join("proof").join(name)
    }

    /// What the test has on Python's path. Python adds the folder of a script itself, but not for what
    /// that starts.
    pub(super) fn python_path(&self) -> String {
        format!("{}:{}", self.site(), self.root.join("proof"))
    }

    /// Writes a file beside the test.
    pub(super) fn put(&self, name: &str, text: &str) -> Result<(), FileError> {
        let path = self.proof(name);
        files::write_atomic(&path, text.as_bytes())
    }

    /// Removes it, with what pip and the test have left in it.
    pub(super) fn remove(self) {
        let path = self.root;
        if let Err(error) = self.folder.close() {
            tracing::warn!(%path, %error, "folder of a proof left behind");
        }
    }
}
