//! Wheel variants: an opt-in tree of a release in which uv picks a wheel by the machine's driver and
//! GPU. A draft (PEP 825 and 850), which may change.
//!
//! A variant is a wheel's own code under another name. torch stands in its version and CUDA and archs
//! in its label, `2.8.3+torch2.11` and `cu130_sm90`: a resolver goes back over versions until one fits
//! the torch that is asked for, and takes the label that fits best of that version. It never goes back
//! over labels.
//!
//! Beside the variants stand plain wheels for whoever knows no variants and for machines that none is
//! for. They are the channels' own under their own names, `2.8.3+cu130torch2.11`: a plain wheel named
//! for torch alone would have to change its bytes when a channel of a newer CUDA comes. A version with
//! `+torch` sorts above one with `+cu`, so variants are looked at first. That is also what a variant
//! without properties (`null`) would be for, so there is none.

mod claim;
mod json;
mod tree;

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use crate::release::catalog::CatalogVariant;
use crate::wheel::WheelCaps;
use crate::wheel::finish::WheelError;
use crate::wheel::name::WheelName;
use crate::wheel::rename::{Renaming, rename};
use crate::wheel::variant_name::VariantWheelName;

pub use claim::{NoVariant, variant_name};
pub use tree::tree;

/// Said on every page.
pub const DRAFT: &str = "draft: PEP 825/850, may change";

/// A variant as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantWheel {
    /// What the catalog says of it.
    pub variant: CatalogVariant,
    /// Its METADATA, which stands beside it.
    pub metadata: Vec<u8>,
}

/// Writes the wheel `name` as the variant `variant` (of [`variant_name`]) to `output`, which must be
/// empty: the same files, with `variant.json` and another version. The same wheel gives the same
/// bytes.
///
/// Fails when the wheel is not sound, or when `output` cannot be written.
pub fn variant_wheel<R, W>(
    name: &WheelName,
    wheel: R,
    variant: &VariantWheelName,
    caps: &WheelCaps,
    output: W,
) -> Result<VariantWheel, WheelError>
where
    R: Read + Seek,
    W: Read + Write + Seek,
{
    let text = json::text([variant.label()]);
    let renaming = Renaming {
        name: variant.wheel(),
        file_name: variant.to_string(),
        added: BTreeMap::from([(json::IN_WHEEL.to_owned(), text.into_bytes())]),
        caps,
    };
    let renamed = rename(name, wheel, renaming, output)?;
    Ok(VariantWheel {
        variant: CatalogVariant {
            file_name: variant.clone(),
            sha256: renamed.sha256,
            size_bytes: renamed.size_bytes,
            metadata_sha256: crate::digest::Sha256Digest::of(&renamed.metadata),
            commit: None,
        },
        metadata: renamed.metadata,
    })
}
