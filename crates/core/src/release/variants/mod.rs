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

use crate::digest::Sha256Digest;
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
            metadata_sha256: Sha256Digest::of(&renamed.metadata),
            commit: None,
        },
        metadata: renamed.metadata,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::wheel::finish::{FinishRequest, finish};
    use crate::wheel::fixture::{Elf, PLAIN, Packing, Tree};

    const STEM: &str = "Demo_Kernels-1.2.0";
    const VARIANT: &str =
        "demo_kernels-1.2.0+torch2.11-cp312-cp312-manylinux_2_27_x86_64-cu130_sm90_ptx120.whl";

    fn tree() -> Tree {
        let elf = Elf {
            needed: &["libtorch.so", "libc.so.6"],
            versions: &[("libc.so.6", &["GLIBC_2.27"])],
            undefined: &["_ZN3c105ErrorD1Ev"],
            ..Elf::default()
        };
        Tree::wheel(STEM, &["torch>=2.0"], "cp312-cp312-linux_x86_64")
            .with("demo_kernels/_C.so", &elf.bytes())
            .with("Demo_Kernels-1.2.0.data/scripts/demo", b"#!python\n")
    }

    /// The wheel that the farm has on record.
    fn plain() -> (WheelName, Vec<u8>) {
        let name = "Demo_Kernels-1.2.0-cp312-cp312-linux_x86_64.whl";
        let request = FinishRequest {
            project: "demo-kernels".parse().unwrap(),
            version: "1.2.0".parse().unwrap(),
            local_version: "cu130torch2.11".parse().unwrap(),
            build: None,
            torch: "2.11".parse().unwrap(),
            source_date_epoch_s: 1_700_000_000,
            caps: WheelCaps::default(),
        };
        let mut output = Cursor::new(Vec::new());
        let wheel = tree().recorded(STEM).pack(PLAIN);
        let finished = finish(&name.parse().unwrap(), wheel, &request, &mut output).unwrap();
        (finished.name().clone(), output.into_inner())
    }

    fn run(name: &WheelName, wheel: Vec<u8>) -> Result<(VariantWheel, Vec<u8>), WheelError> {
        let mut output = Cursor::new(Vec::new());
        let made = variant_wheel(
            name,
            Cursor::new(wheel),
            &VARIANT.parse().unwrap(),
            &WheelCaps::default(),
            &mut output,
        )?;
        Ok((made, output.into_inner()))
    }

    fn listing(bytes: &[u8]) -> String {
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut lines = Vec::new();
        for index in 0..zip.len() {
            let mut file = zip.by_index(index).unwrap();
            let path = file.name().unwrap().into_owned();
            let time = file.last_modified().unwrap();
            lines.push(format!("{time} {path}"));
            if path.contains(".dist-info/") {
                let mut content = String::new();
                file.read_to_string(&mut content).unwrap();
                lines.extend(content.lines().map(|line| format!("    | {line}")));
            }
        }
        lines.join("\n")
    }

    #[test]
    fn a_variant_is_the_same_wheel_with_its_label_and_torch_in_its_version() {
        let (name, wheel) = plain();
        let (made, bytes) = run(&name, wheel).unwrap();
        assert_eq!(made.variant.file_name.to_string(), VARIANT);
        assert_eq!(made.variant.sha256, Sha256Digest::of(&bytes));
        assert_eq!(
            made.variant.metadata_sha256,
            Sha256Digest::of(&made.metadata)
        );
        assert_eq!(made.variant.size_bytes, u64::try_from(bytes.len()).unwrap());
        let text = listing(&bytes);
        assert!(
            text.contains(
                str::from_utf8(&made.metadata)
                    .unwrap()
                    .lines()
                    .next()
                    .unwrap()
            )
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_same_wheel_gives_the_same_bytes() {
        let (name, wheel) = plain();
        let (_, first) = run(&name, wheel.clone()).unwrap();
        let (_, second) = run(&name, wheel).unwrap();
        assert_eq!(first, second);
        // Nor does it matter how a wheel with these files and this time was packed.
        let tree = tree().recorded(STEM);
        let upstream: WheelName = "Demo_Kernels-1.2.0-cp312-cp312-linux_x86_64.whl"
            .parse()
            .unwrap();
        let packed = |packing| run(&upstream, tree.pack(packing).into_inner()).unwrap().1;
        let other = Packing {
            reversed: true,
            level: Some(9),
            folders: true,
            ..PLAIN
        };
        assert_eq!(packed(PLAIN), packed(other));
    }

    #[test]
    fn a_wheel_that_is_not_what_it_says_is_refused() {
        let (name, wheel) = plain();
        let other: WheelName = name.to_string().replace("1.2.0", "1.3.0").parse().unwrap();
        let error = run(&other, wheel).unwrap_err();
        assert!(matches!(error, WheelError::Disagree { .. }), "{error:?}");
        let forged = tree()
            .recorded(STEM)
            .with("Demo_Kernels/__init__.py", b"import evil\n");
        let upstream = "Demo_Kernels-1.2.0-cp312-cp312-linux_x86_64.whl"
            .parse()
            .unwrap();
        let error = run(&upstream, forged.pack(PLAIN).into_inner()).unwrap_err();
        assert!(matches!(error, WheelError::Survey(_)), "{error:?}");
        let twice = tree().with("Demo_Kernels-1.2.0.dist-info/variant.json", b"{}");
        let twice = twice.recorded(STEM).pack(PLAIN).into_inner();
        let error = run(&upstream, twice).unwrap_err();
        assert!(matches!(error, WheelError::Archive(_)), "{error:?}");
    }
}
