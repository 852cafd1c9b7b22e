//! A wheel's METADATA file: the few headers the farm reads, and the two it may change.

use std::str::FromStr;

use pep440_rs::Version;

use crate::ident::{IdentError, PackageName};
use crate::wheel::headers::{HeaderError, Headers};
use crate::wheel::requirement::{self, Edit, RequirementError};
use crate::wheel::version::TorchAbi;

/// A METADATA file of more than this is not one that a person wrote a description for.
pub const METADATA_CAP_BYTES: u64 = 4 << 20;

/// Core metadata with every byte of the file behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreMetadata {
    headers: Headers,
    project: PackageName,
    version: Version,
}

/// Why a METADATA file cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// The headers cannot be read, or one of them is missing or repeated.
    #[error("METADATA has no usable headers")]
    Headers(#[from] HeaderError),
    /// `Name` is not a project name.
    #[error("METADATA names no project")]
    Name(#[from] IdentError),
    /// `Version` is not a PEP 440 version.
    #[error("METADATA has version `{version}`, which is not a PEP 440 version")]
    Version {
        /// The header's value.
        version: String,
    },
}

impl CoreMetadata {
    /// Reads a METADATA file.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let headers = Headers::parse(bytes)?;
        let project = PackageName::normalise(headers.one("Name")?)?;
        let version = headers.one("Version")?;
        let version = Version::from_str(version).map_err(|_| MetadataError::Version {
            version: version.to_owned(),
        })?;
        headers.at_most_one("Requires-Python")?;
        Ok(Self {
            headers,
            project,
            version,
        })
    }

    /// The project, in normal form.
    pub fn project(&self) -> &PackageName {
        &self.project
    }

    /// The whole version in normal form, local part included.
    pub fn version(&self) -> String {
        self.version.to_string()
    }

    /// The `Requires-Python` specifiers as written.
    pub fn requires_python(&self) -> Option<&str> {
        self.headers.values("Requires-Python").next()
    }

    /// The `Requires-Dist` values in order.
    pub fn requires_dist(&self) -> impl Iterator<Item = &str> {
        self.headers.values("Requires-Dist")
    }

    /// The file as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.headers.to_bytes()
    }

    /// Writes another version into the `Version` header.
    pub fn set_version(&mut self, version: &str) -> Result<(), MetadataError> {
        self.version = Version::from_str(version).map_err(|_| MetadataError::Version {
            version: version.to_owned(),
        })?;
        self.headers.replace("Version", 0, version);
        Ok(())
    }

    /// Makes the requirements admit no torch but those of `abi`; a stricter bound stays.
    pub fn bind_torch(&mut self, abi: TorchAbi) -> Result<(), RequirementError> {
        for edit in requirement::bind_torch(self.requires_dist(), abi)? {
            match edit {
                Edit::Replace { index, text } => {
                    self.headers.replace("Requires-Dist", index, &text);
                }
                Edit::Add { text } => self.headers.add("Requires-Dist", &text),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = "\
Metadata-Version: 2.1
Name: Flash.Attn
Version: 2.8.3
Requires-Python: >=3.9
Requires-Dist: einops
Requires-Dist: torch
Provides-Extra: dev
Requires-Dist: pytest ; extra == 'dev'

# Flash

Version: 1.0 is mentioned here.
";

    #[test]
    fn the_headers_that_matter_are_read() {
        let metadata = CoreMetadata::parse(METADATA.as_bytes()).unwrap();
        assert_eq!(metadata.project().as_str(), "flash-attn");
        assert_eq!(metadata.version(), "2.8.3");
        assert_eq!(metadata.requires_python(), Some(">=3.9"));
        assert_eq!(metadata.requires_dist().count(), 3);
        assert_eq!(metadata.to_bytes(), METADATA.as_bytes());
    }

    #[test]
    fn edits_leave_the_rest_alone() {
        let mut metadata = CoreMetadata::parse(METADATA.as_bytes()).unwrap();
        metadata.set_version("2.8.3+cu130torch2.11").unwrap();
        metadata.bind_torch("2.11".parse().unwrap()).unwrap();
        let want = METADATA
            .replace("Version: 2.8.3\n", "Version: 2.8.3+cu130torch2.11\n")
            .replace("Dist: torch\n", "Dist: torch==2.11.*\n");
        assert_eq!(String::from_utf8(metadata.to_bytes()).unwrap(), want);
    }

    #[track_caller]
    fn check_refused(text: &str, want: &MetadataError) {
        assert_eq!(&CoreMetadata::parse(text.as_bytes()).unwrap_err(), want);
    }

    #[test]
    fn missing_and_repeated_headers_are_refused() {
        check_refused(
            "Name: x\n",
            &MetadataError::Headers(HeaderError::Missing { name: "Version" }),
        );
        check_refused(
            "Name: x\nVersion: 1\nname: y\n",
            &MetadataError::Headers(HeaderError::Repeated { name: "Name" }),
        );
        check_refused(
            "Name: x\nVersion: main\n",
            &MetadataError::Version {
                version: "main".to_owned(),
            },
        );
    }
}
