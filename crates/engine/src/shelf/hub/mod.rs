//! Shelves on a Hugging Face Hub.
//!
//! Wheels are uploaded and committed to a branch that only grows (`wheels`) and that nothing lists; then
//! one commit to `main`, made on the head that was read, brings wheels, indexes and lists at once. A cut
//! between the two leaves `main` as it was, and the next run finds the wheels where they are.

mod address;
mod api;
mod attributes;
mod auth;
mod blob_id;
mod budget;
mod calls;
mod commit;
mod error;
mod lfs;
mod shelf;
mod source;
mod space;
mod standing;
mod upload;
mod xet;

pub use address::{AddressError, Endpoint, Repository, RepositoryKind};
pub use api::Visibility;
pub use auth::{Credentials, Token};
pub use budget::COMMITS_PER_HOUR;
pub use calls::{HubNotice, Listener};
pub use error::HubError;
pub use shelf::{HubOptions, HubShelf};
pub use space::{IndexSpace, SpaceState, space};
pub(crate) use standing::standing;
pub use xet::xet_cache;
