//! Fatbins: the containers of GPU code that nvcc puts into a module, read without NVIDIA's tools.
//!
//! The layout is undocumented; it was established on files made with nvcc 11.8 to 13.5 and checked
//! image for image against `cuobjdump` (`make conformance`).
//!
//! The input is hostile: every offset is checked, what is inflated is capped, and what is unknown
//! is reported as unknown and never left out.

mod caps;
mod code;
mod cubin;
mod entry;
#[cfg(test)]
pub(crate) mod fixture;
mod image;
mod payload;
mod ptx;
mod records;
mod walk;

pub use caps::FatbinCaps;
pub use image::{Compression, Container, Content, Depth, Image, ImageKind, Kernel};
pub use walk::{Fault, Section, read_section};
