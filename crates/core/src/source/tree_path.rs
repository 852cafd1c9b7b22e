//! Paths inside a source tree: checked once, so that no file can land outside a folder.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest path that Linux opens.
const LONGEST_BYTES: usize = 4095;

/// A path inside a source tree: relative, `/` between the names, UTF-8.
///
/// No name is empty, `.` or `..` and none holds a control character, so joining it to a folder
/// gives a path below that folder, and printing it gives one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

/// The text is not a path inside a source tree.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{}` is not a path inside a source tree: relative, `/` between the names, no `..`, no control \
     characters",
    .text.escape_debug()
)]
pub struct TreePathError {
    text: String,
}

impl TreePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the file itself.
    pub fn file_name(&self) -> &str {
        match self.0.rsplit_once('/') {
            Some((_, name)) => name,
            None => &self.0,
        }
    }

    /// This path below the folder `folder`.
    #[must_use]
    pub fn below(&self, folder: &Self) -> Self {
        Self(format!("{folder}/{self}"))
    }

    /// The folders above it, from the top: `a`, `a/b` for `a/b/c`.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(end, _)| &self.0[..end])
    }

    /// How many folders lie above it.
    pub(crate) fn depth(&self) -> usize {
        self.folders().count()
    }
}

impl FromStr for TreePath {
    type Err = TreePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |name: &str| !matches!(name, "" | "." | "..");
        let is_path = text.len() <= LONGEST_BYTES
            && text.split('/').all(is_name)
            && !text.chars().any(char::is_control);
        if !is_path {
            return Err(TreePathError {
                text: text.chars().take(200).collect(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TreePath {
    type Error = TreePathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> Self {
        path.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_tree_or_the_line_are_refused() {
        for good in ["setup.py", "a/b/c", "a b/ü.cu", "..a", "a\\b", "-x"] {
            assert!(good.parse::<TreePath>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "./a",
            "a/../b",
            "a/.",
            "a\nb",
            "a\0b",
            "\u{1b}[1m",
        ] {
            assert!(bad.parse::<TreePath>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(5000).parse::<TreePath>().is_err());
    }

    #[test]
    fn folders_are_listed_from_the_top() {
        let path: TreePath = "a/b/c".parse().unwrap();
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(path.file_name(), "c");
        assert_eq!(path.below(&"src".parse().unwrap()).as_str(), "src/a/b/c");
    }
}
