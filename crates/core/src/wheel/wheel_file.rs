//! The WHEEL file: which tags a wheel has, and whether it is pure Python.

use std::collections::BTreeSet;

use crate::wheel::headers::{HeaderError, Headers};
use crate::wheel::name::WheelName;

/// WHEEL holds a handful of lines.
pub(crate) const WHEEL_FILE_CAP_BYTES: u64 = 64 << 10;

/// Why a WHEEL file cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WheelFileError {
    /// The headers cannot be read, or one of them is missing or repeated.
    #[error("WHEEL has no usable headers")]
    Headers(#[from] HeaderError),
    /// The format is one that this farm does not know.
    #[error("WHEEL has format version `{version}`; only 1.x is known")]
    FormatVersion {
        /// The `Wheel-Version` value.
        version: String,
    },
    /// A `Tag` is not three parts joined by dashes.
    #[error("WHEEL has tag `{tag}`, which is not `python-abi-platform`")]
    Tag {
        /// The `Tag` value.
        tag: String,
    },
    /// The file name promises other Python or ABI tags, or the one is pure and the other is not.
    #[error("file name has the tags {in_name}, but WHEEL has {in_file}")]
    OtherTags {
        /// From the file name.
        in_name: String,
        /// From the file.
        in_file: String,
    },
    /// The file name has another build number.
    #[error("file name has build number `{in_name}`, but WHEEL has `{in_file}`")]
    OtherBuild {
        /// From the file name; empty for none.
        in_name: String,
        /// From the file; empty for none.
        in_file: String,
    },
}

/// The WHEEL file with every byte behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WheelFile {
    headers: Headers,
}

impl WheelFile {
    /// Reads a WHEEL file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WheelFileError> {
        let headers = Headers::parse(bytes)?;
        let version = headers.one("Wheel-Version")?;
        if version.split('.').next() != Some("1") {
            return Err(WheelFileError::FormatVersion {
                version: version.to_owned(),
            });
        }
        headers.at_most_one("Build")?;
        headers.one("Root-Is-Purelib")?;
        if headers.values("Tag").next().is_none() {
            return Err(HeaderError::Missing { name: "Tag" }.into());
        }
        Ok(Self { headers })
    }

    /// The tags as written.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        self.headers.values("Tag")
    }

    /// Compares with the file name.
    ///
    /// Which Linux stands in the platform tag is not compared: tools that repair or rename wheels
    /// leave the old one here, and the farm writes both anew from the ELF files.
    pub(crate) fn check_against(&self, name: &WheelName) -> Result<(), WheelFileError> {
        let in_name = Self::comparable(name.expanded_tags().iter().map(String::as_str))?;
        let in_file = Self::comparable(self.headers.values("Tag"))?;
        if in_name != in_file {
            let list = |tags: BTreeSet<String>| -> String {
                let quoted: Vec<String> = tags.iter().map(|tag| format!("`{tag}`")).collect();
                quoted.join(" ")
            };
            return Err(WheelFileError::OtherTags {
                in_name: list(in_name),
                in_file: list(in_file),
            });
        }
        let in_file = self.headers.values("Build").next().unwrap_or("");
        let in_name = name.build().unwrap_or("");
        if in_file != in_name {
            return Err(WheelFileError::OtherBuild {
                in_name: in_name.to_owned(),
                in_file: in_file.to_owned(),
            });
        }
        Ok(())
    }

    /// Whether the tags are those of the file name to the letter.
    pub(crate) fn has_tags_of(&self, name: &WheelName) -> bool {
        let in_name = name.expanded_tags();
        let in_name: BTreeSet<&str> = in_name.iter().map(String::as_str).collect();
        self.tags().collect::<BTreeSet<_>>() == in_name
    }

    /// Writes the tags of a wheel that holds compiled modules.
    pub(super) fn set_compiled(&mut self, name: &WheelName) {
        self.headers.replace("Root-Is-Purelib", 0, "false");
        self.headers.set_all("Tag", &name.expanded_tags());
    }

    /// Writes the build number, which the file name has too.
    pub(super) fn set_build(&mut self, build: &str) {
        self.headers.set_all("Build", &[build.to_owned()]);
    }

    /// The file as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.headers.to_bytes()
    }

    /// The tags with every Linux on the same machine made equal.
    fn comparable<'a>(
        tags: impl Iterator<Item = &'a str>,
    ) -> Result<BTreeSet<String>, WheelFileError> {
        tags.map(|tag| match *tag.split('-').collect::<Vec<_>>() {
            [python, abi, platform] => Ok(format!("{python}-{abi}-{}", without_libc(platform))),
            _ => Err(WheelFileError::Tag {
                tag: tag.to_owned(),
            }),
        })
        .collect()
    }
}

/// `manylinux_2_28_x86_64`, `manylinux2014_x86_64` and `linux_x86_64` all give `linux_x86_64`.
fn without_libc(platform: &str) -> String {
    let is_linux = platform.starts_with("linux_") || platform.starts_with("manylinux");
    match ["x86_64", "aarch64"]
        .iter()
        .find(|machine| is_linux && platform.ends_with(*machine))
    {
        Some(machine) => format!("linux_{machine}"),
        None => platform.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHEEL: &str = "\
Wheel-Version: 1.0
Generator: setuptools (80.9.0)
Root-Is-Purelib: true
Tag: cp312-cp312-linux_x86_64
";

    #[track_caller]
    fn check(name: &str, want: Result<(), &str>) {
        let name: WheelName = name.parse().unwrap();
        let res = WheelFile::parse(WHEEL.as_bytes())
            .unwrap()
            .check_against(&name)
            .map_err(|error| error.to_string());
        assert_eq!(res, want.map_err(str::to_owned));
    }

    #[test]
    fn tags_are_compared_with_the_file_name() {
        check("x-1-cp312-cp312-linux_x86_64.whl", Ok(()));
        check(
            "x-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            Ok(()),
        );
        check(
            "x-1-cp312-abi3-linux_x86_64.whl",
            Err(
                "file name has the tags `cp312-abi3-linux_x86_64`, but WHEEL has `cp312-cp312-linux_x86_64`",
            ),
        );
        check(
            "x-1-cp312-cp312-linux_aarch64.whl",
            Err(
                "file name has the tags `cp312-cp312-linux_aarch64`, but WHEEL has `cp312-cp312-linux_x86_64`",
            ),
        );
        check(
            "x-1-2-cp312-cp312-linux_x86_64.whl",
            Err("file name has build number `2`, but WHEEL has ``"),
        );
    }

    #[test]
    fn compiled_wheels_are_not_pure_and_have_the_tags_of_their_name() {
        let name: WheelName = "x-1-cp39.cp312-abi3-manylinux_2_28_x86_64.whl"
            .parse()
            .unwrap();
        let mut file = WheelFile::parse(WHEEL.as_bytes()).unwrap();
        file.set_compiled(&name);
        insta::assert_snapshot!(String::from_utf8(file.to_bytes()).unwrap(), @"
Wheel-Version: 1.0
Generator: setuptools (80.9.0)
Root-Is-Purelib: false
Tag: cp39-abi3-manylinux_2_28_x86_64
Tag: cp312-abi3-manylinux_2_28_x86_64
");
    }

    #[test]
    fn unknown_formats_are_refused() {
        let text = WHEEL.replace("Wheel-Version: 1.0", "Wheel-Version: 2.0");
        let error = WheelFile::parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "WHEEL has format version `2.0`; only 1.x is known"
        );
        assert!(WheelFile::parse(b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n").is_err());
    }
}
