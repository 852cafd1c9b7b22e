//! Placeholder until the source branch lands.
use crate::digest::Sha256Digest;
use crate::ident::{GitCommit, PackageName};
use camino::Utf8PathBuf;
/// Source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// sdist
    Sdist {
        /// p
        project: PackageName,
        /// v
        version: String,
        /// s
        sha256: Sha256Digest,
        /// i
        index: String,
    },
    /// git
    Git {
        /// u
        url: String,
        /// c
        commit: GitCommit,
        /// s
        submodules: bool,
    },
    /// folder
    Folder {
        /// p
        path: Utf8PathBuf,
    },
}
impl Source {
    /// id
    pub fn identity(&self) -> String {
        format!("{self:?}")
    }
}
/// T
#[derive(Debug, Clone)]
pub struct SourceTree;
/// P
#[derive(Debug, Clone)]
pub struct PatchedTree;
/// o
#[derive(Debug, Clone, Copy)]
pub struct TarOwner;
impl TarOwner {
    /// r
    pub const ROOT: Self = Self;
}
impl PatchedTree {
    /// t
    pub fn into_tree(self) -> SourceTree {
        SourceTree
    }
}
impl SourceTree {
    /// a
    pub fn append_to_tar<W: std::io::Write>(
        &self,
        _a: &mut tar::Builder<W>,
        _p: &str,
        _o: TarOwner,
    ) -> std::io::Result<()> {
        Ok(())
    }
}
