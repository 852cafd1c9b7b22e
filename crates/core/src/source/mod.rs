//! Where a package's source comes from.
mod spec;
pub use spec::{PatchedTree, Source, SourceTree, TarOwner};
