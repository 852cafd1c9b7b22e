//! Wheels: their names, what stands in them, and the one form in which the farm hands them on.
//!
//! The input is hostile until proven otherwise: it comes out of a container that ran a stranger's
//! build. The steps are `archive` (open and check), `survey` (hash everything, look into every
//! ELF file), `platform` (the tag that the ELF files allow) and `finish` (write the result).

pub(crate) mod archive;
pub mod build_number;
pub mod elf;
pub mod finish;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod headers;
mod member;
pub mod metadata;
pub mod name;
mod normal_form;
pub mod platform;
pub mod record;
pub mod requirement;
mod rewrite;
pub(crate) mod stable_abi;
mod survey;
pub mod tags;
pub mod version;
pub(crate) mod wheel_file;

pub use archive::{ArchiveError, WheelCaps};
pub use survey::SurveyError;
pub use wheel_file::WheelFileError;

pub(crate) use rewrite::dist_info_name;
