//! Wheels of a publication once more, as wheel variants.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use tempfile::TempDir;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::CatalogVariant;
use wheelfarm_core::release::variants::{NoVariant, variant_name, variant_wheel};
use wheelfarm_core::wheel::WheelCaps;
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_core::wheel::variant_name::VariantWheelName;

use super::records::{METADATA, ReadyWheel, RecordError};
use crate::files::{self, FileError};
use crate::shelf::Blob;

/// A wheel as a variant, in files of this machine.
#[derive(Debug, Clone)]
pub struct ReadyVariant {
    /// What the catalog will say of it.
    pub variant: CatalogVariant,
    /// The file and its METADATA.
    pub blobs: [Blob; 2],
}

/// The variants that were made; their files go with this.
#[derive(Debug)]
pub struct MadeVariants {
    _folder: TempDir,
    /// The wheels that are no variant, with the reason.
    pub without: Vec<(WheelName, NoVariant)>,
}

/// Makes the variant of every wheel that can be one.
///
/// Blocking: packs every wheel anew, into a temporary folder.
pub fn make_variants(wheels: &mut [ReadyWheel]) -> Result<MadeVariants, RecordError> {
    let folder = TempDir::with_prefix("wheelfarm-variants-")?;
    let path = Utf8PathBuf::try_from(folder.path().to_owned())
        .map_err(camino::FromPathBufError::into_io_error)?;
    let mut without = Vec::new();
    // Several jobs may have made one file.
    let mut made: BTreeMap<Sha256Digest, ReadyVariant> = BTreeMap::new();
    for (number, ready) in wheels.iter_mut().enumerate() {
        let name = match variant_name(&ready.wheel) {
            Ok(name) => name,
            Err(none) => {
                without.push((ready.wheel.file_name.clone(), none));
                continue;
            }
        };
        let variant = if let Some(variant) = made.get(&ready.wheel.sha256) {
            variant.clone()
        } else {
            let folder = path.join(number.to_string());
            fs::create_dir(&folder)?;
            make(ready, &name, &folder)?
        };
        made.insert(ready.wheel.sha256, variant.clone());
        ready.variant = Some(variant);
    }
    Ok(MadeVariants {
        _folder: folder,
        without,
    })
}

fn make(
    ready: &ReadyWheel,
    name: &VariantWheelName,
    folder: &Utf8Path,
) -> Result<ReadyVariant, RecordError> {
    let plain = ready.place();
    let output = folder.join(name.to_string());
    let wheel = files::open(plain.as_std_path())?;
    let file = fs::OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&output)?;
    let caps = WheelCaps::default();
    let made = variant_wheel(&ready.wheel.file_name, wheel, name, &caps, file);
    let made = made.map_err(|source| RecordError::Variant {
        path: plain,
        source: Box::new(source),
    })?;
    let metadata = Utf8PathBuf::from(format!("{output}{METADATA}"));
    fs::write(&metadata, &made.metadata)
        .map_err(|source| FileError::new("write", &metadata, source))?;
    let path = made.variant.path();
    let blobs = [
        Blob {
            path: path.clone(),
            source: output,
            sha256: made.variant.sha256,
            size_bytes: made.variant.size_bytes,
        },
        Blob {
            path: format!("{path}{METADATA}"),
            source: metadata,
            sha256: made.variant.metadata_sha256,
            size_bytes: u64::try_from(made.metadata.len()).unwrap_or(u64::MAX),
        },
    ];
    Ok(ReadyVariant {
        variant: made.variant,
        blobs,
    })
}
