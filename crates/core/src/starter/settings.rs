//! What somebody says of the farm that they want, and what is refused at once.

use std::str::FromStr;

use super::nightly::NightlySettings;
use crate::arch::ArchTarget;
use crate::compat::{self, TorchAsked};
use crate::diagnostic::Diagnostics;
use crate::gpu::Gpu;
use crate::ident::{FarmName, IdentError, PackageName};
use crate::version::{CudaVersion, PackageVersion, PythonVersion, TorchVersion, VersionError};

/// What is wanted of a new farm. What is left out is chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The farm's name.
    pub farm: FarmName,
    /// The GPUs that its wheels are for.
    pub gpus: Vec<GpuAsked>,
    /// The archs, where somebody knows them better; GPUs are not looked at then.
    pub archs: Vec<ArchTarget>,
    /// The torch.
    pub torch: Option<TorchAsked>,
    /// The CUDA toolkit.
    pub cuda: Option<CudaVersion>,
    /// The Pythons.
    pub pythons: Vec<PythonVersion>,
    /// What is built.
    pub packages: Vec<PackageAsked>,
    /// What images start from.
    pub base: BaseAsked,
    /// Where wheels are published: a folder, or `hf://OWNER/NAME`; looked at by whoever read it.
    pub publish_to: Option<String>,
    /// The workflow of its nights; none where there is none.
    pub nightly: Option<NightlySettings>,
}

/// A path or an address as one word for a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A GPU that wheels are for.
#[derive(Debug, Clone)]
pub struct GpuAsked {
    /// How it was named.
    pub text: String,
    /// What it is.
    pub gpu: &'static Gpu,
    /// Who named it.
    pub by: AskedBy,
}

/// Who named a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// Whoever begins the farm.
    Person,
    /// This machine's driver.
    Machine,
}

/// A package, or one version of it: `sageattention`, `sageattention==1.0.6`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageAsked {
    /// Its name.
    pub name: PackageName,
    /// The version; without it, the newest that fits.
    pub version: Option<PackageVersion>,
}

/// The text names no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageAskedError {
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] IdentError),
    /// Its version is none.
    #[error(transparent)]
    Version(#[from] VersionError),
}

impl FromStr for PackageAsked {
    type Err = PackageAskedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, version) = match text.split_once("==") {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        Ok(Self {
            name: name.parse()?,
            version: version.map(str::parse).transpose()?,
        })
    }
}

/// What images start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseAsked {
    /// PyTorch's builder images from Docker Hub: the oldest glibc, every Python.
    Manylinux,
    /// Debian, made on the host from a mirror: no registry, and root for debootstrap.
    Debian,
}

/// Why no farm can be written for what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StarterError {
    /// The program has no such package.
    #[error("`{name}` is not among the packages that wheelfarm brings along")]
    NoPackage {
        /// What was asked.
        name: PackageName,
    },
    /// The package has no such release.
    #[error("the {name} that wheelfarm brings along has no version {version}")]
    NoVersion {
        /// The package.
        name: PackageName,
        /// What was asked.
        version: PackageVersion,
        /// What it has.
        known: Vec<String>,
    },
    /// A package was named twice.
    #[error("package `{name}` is named twice")]
    TwoVersions {
        /// The package.
        name: PackageName,
    },
    /// Its wheels would not install there.
    #[error("`{text}` sits beside an Arm processor, and this farm builds wheels for x86_64 alone")]
    Arm {
        /// The GPU as it was named.
        text: String,
    },
    /// Nothing is known of this torch, or of this patch level of it.
    #[error("nothing is known of torch {torch}")]
    NoTorch {
        /// What was asked.
        torch: TorchAsked,
    },
    /// No base is known that has this toolkit.
    #[error("no {base} with CUDA {cuda} is known to begin with")]
    NoToolkit {
        /// `builder image`, `toolkit on PyPI`.
        base: &'static str,
        /// What was asked.
        cuda: CudaVersion,
        /// What there is.
        known: Vec<CudaVersion>,
    },
    /// What the rules of `wheelfarm plan` say of the nearest farm.
    #[error("{0}")]
    Faults(Diagnostics),
}

impl StarterError {
    /// What to type.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPackage { .. } => {
                let names = super::shipped::packages().keys();
                let names: Vec<_> = names.map(PackageName::as_str).collect();
                format!(
                    "it has {}; begin the farm without it, then `wheelfarm init package NAME` begins \
                     another package from its source",
                    names.join(", ")
                )
            }
            Self::NoVersion { name, known, .. } => {
                format!(
                    "it has {}: `--package {name}=={}`",
                    known.join(", "),
                    known[0]
                )
            }
            Self::TwoVersions { .. } => {
                "name it once; more versions of it go into `versions:` of the matrix".to_owned()
            }
            Self::Arm { .. } => "name the GPUs of x86_64 machines: `--gpu \"RTX 5090\"`".to_owned(),
            Self::NoTorch { .. } => {
                let known: Vec<_> = compat::known_torches().map(|one| one.to_string()).collect();
                let newest = compat::known_torches().max().map(TorchVersion::minor);
                let newest = newest.map(|minor| minor.to_string()).unwrap_or_default();
                format!(
                    "known are {}: `--torch {newest}`; another one, or a nightly, goes into `torch:` of \
                     the matrix afterwards",
                    known.join(", ")
                )
            }
            Self::NoToolkit { known, .. } => {
                let known: Vec<_> = known.iter().map(ToString::to_string).collect();
                format!("there is CUDA {}: `--cuda {}`", known.join(", "), known[0])
            }
            Self::Faults(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_word() {
        assert_eq!(shell_word("my-wheels/a.b"), "my-wheels/a.b");
        assert_eq!(shell_word("hf://lab/wheels"), "hf://lab/wheels");
        assert_eq!(shell_word("my wheels"), "'my wheels'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_farm_is_named_after_its_folder() {
        let name = |folder| FarmName::of_folder(folder).as_str().to_owned();
        assert_eq!(name("wheels"), "wheels");
        assert_eq!(name("my wheels (GPU)"), "my-wheels--GPU");
        assert_eq!(name(".hidden"), "hidden");
        assert_eq!(name("räder"), "r-der");
        assert_eq!(name("…"), "farm");
        assert_eq!(name(""), "farm");
    }

    #[test]
    fn a_package_may_have_its_version() {
        let asked: PackageAsked = "sageattention==1.0.6".parse().unwrap();
        assert_eq!(asked.name.as_str(), "sageattention");
        assert_eq!(asked.version.unwrap().to_string(), "1.0.6");
        let asked: PackageAsked = "flash-attn".parse().unwrap();
        assert_eq!(asked.version, None);
        for text in ["", "==1.0", "a==", "A_b", "a==1.0+cu130"] {
            assert!(text.parse::<PackageAsked>().is_err(), "{text}");
        }
    }
}
