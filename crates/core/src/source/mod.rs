//! A package's source: where it comes from, what it holds, and how it is patched.

mod git_refs;
mod pack;
pub mod patch;
mod remote_url;
pub mod simple_index;
mod spec;
mod tree;
mod tree_path;
mod unpack;

pub use git_refs::GitRefs;
pub use pack::TarLayout;
pub use remote_url::{RemoteUrl, RemoteUrlError};
pub use spec::{GitUrl, INDEX_HINT, IndexUrl, Source, SourceUrlError, Submodules};
#[cfg(test)]
pub(crate) use tree::tree_of;
pub use tree::{FileMode, SourceTree, TreeCaps, TreeEntry, TreeError};
pub use tree_path::{TreePath, TreePathError};
pub use unpack::TopFolder;
