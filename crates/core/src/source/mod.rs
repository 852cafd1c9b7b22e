//! A package's source: where it comes from, what it holds, and how it is patched.

mod pack;
mod tree;
mod tree_path;
mod unpack;

pub use pack::TarLayout;
pub use tree::{FileMode, SourceTree, TreeCaps, TreeEntry, TreeError};
pub use tree_path::{TreePath, TreePathError};
pub use unpack::TopFolder;
