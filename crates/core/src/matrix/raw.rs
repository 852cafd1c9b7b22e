//! A matrix as it was written.

use serde::Deserialize;

use super::{Interpreter, Toolkit};
use crate::yaml::At;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMatrix {
    /// Always 1.
    #[cfg_attr(test, schemars(extend("const" = 1)))]
    #[expect(dead_code, reason = "judged before the rest is read")]
    pub(super) schema: u32,
    /// The farm's name; it labels containers, volumes and images in the engine.
    #[cfg_attr(test, schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")))]
    pub(super) farm: At<String>,
    /// Where packages and patches lie, relative to this file.
    pub(super) folders: Option<RawFolders>,
    /// What compiled packages are built for, unless their entry has its own `archs`.
    #[cfg_attr(test, schemars(with = "Vec<crate::arch::ArchTarget>"))]
    #[serde(default)]
    pub(super) archs: Vec<At<String>>,
    /// What is built.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub(super) packages: At<Vec<RawMatrixPackage>>,
    /// What it is built against.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub(super) environments: At<Vec<RawEnvironment>>,
    /// What is left out, and why.
    #[serde(default)]
    pub(super) exclude: Vec<At<RawExclusion>>,
    /// How the farm builds, whatever the package.
    #[serde(default)]
    pub(super) build: RawBuildPolicy,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFolders {
    /// Holds `<name>/package.yaml`.
    #[cfg_attr(test, schemars(example = &"packages"))]
    pub(super) packages: String,
    /// Holds `<name>/<version>/<patch>`.
    #[cfg_attr(test, schemars(example = &"patches"))]
    pub(super) patches: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMatrixPackage {
    /// The package's name in normal form (PEP 503), as its folder has it.
    #[cfg_attr(test, schemars(with = "crate::ident::PackageName"))]
    pub(super) name: At<String>,
    /// The versions to build; each must be a release in the package's `package.yaml`.
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::version::PackageVersion>", length(min = 1))
    )]
    pub(super) versions: At<Vec<At<String>>>,
    /// Which builds of each version, where its package has several; without it, the plain build.
    #[cfg_attr(test, schemars(with = "Vec<crate::ident::VariantName>"))]
    #[serde(default)]
    pub(super) variants: Vec<At<String>>,
    /// The environments to build in; without it, all.
    #[serde(default)]
    pub(super) environments: Vec<At<String>>,
    /// Its own archs, instead of the matrix's.
    #[cfg_attr(test, schemars(with = "Vec<crate::arch::ArchTarget>"))]
    #[serde(default)]
    pub(super) archs: Vec<At<String>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawEnvironment {
    /// Its name in `packages`, in `exclude` and in manifests.
    pub(super) name: At<String>,
    /// What the image starts from.
    pub(super) base: RawBase,
    /// Where nvcc comes from.
    pub(super) toolkit: Toolkit,
    /// The toolkit's version, quoted.
    #[cfg_attr(test, schemars(with = "crate::version::CudaVersion"))]
    pub(super) cuda: At<String>,
    /// The index that torch is installed from; without it, PyPI, whose torch must be the build for this CUDA.
    #[cfg_attr(
        test,
        schemars(
            example = &"https://download.pytorch.org/whl/cu128",
            regex(pattern = "^https?://")
        )
    )]
    #[serde(default)]
    pub(super) torch_index: Option<At<String>>,
    /// The torches: each is built with every Python.
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::version::TorchVersion>", length(min = 1))
    )]
    pub(super) torch: At<Vec<At<String>>>,
    /// The Pythons: each is built with every torch.
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::version::PythonVersion>", length(min = 1))
    )]
    pub(super) python: At<Vec<At<String>>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawBase {
    /// Made from a Debian mirror, without a registry.
    Debootstrap(RawDebootstrap),
    /// An image of a registry.
    Image(RawImage),
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDebootstrap {
    /// The suite of Debian.
    #[cfg_attr(test, schemars(example = &"bookworm"))]
    pub(super) suite: String,
    /// Where its packages are fetched.
    #[cfg_attr(test, schemars(example = &"http://deb.debian.org/debian"))]
    pub(super) mirror: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawImage {
    /// The image; better with `@sha256:…`, for a tag can move without the farm noticing.
    #[cfg_attr(
        test,
        schemars(
            example = &"pytorch/manylinux2_28-builder:cuda13.0",
            example = &"nvidia/cuda:12.8.1-devel-ubuntu22.04"
        )
    )]
    pub(super) reference: String,
    /// Where its Python comes from.
    pub(super) interpreter: Interpreter,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawExclusion {
    /// Only these packages; without it, all.
    #[cfg_attr(test, schemars(with = "Vec<crate::ident::PackageName>"))]
    #[serde(default)]
    pub(super) packages: Vec<At<String>>,
    /// Only these versions; without it, all.
    #[cfg_attr(test, schemars(with = "Vec<crate::version::PackageVersion>"))]
    #[serde(default)]
    pub(super) versions: Vec<At<String>>,
    /// Only these environments; without it, all.
    #[serde(default)]
    pub(super) environments: Vec<At<String>>,
    /// Only these CUDAs; without it, all.
    #[cfg_attr(test, schemars(with = "Vec<crate::version::CudaVersion>"))]
    #[serde(default)]
    pub(super) cuda: Vec<At<String>>,
    /// Only these torches; without it, all.
    #[cfg_attr(test, schemars(with = "Vec<crate::version::TorchVersion>"))]
    #[serde(default)]
    pub(super) torch: Vec<At<String>>,
    /// Only these Pythons; without it, all.
    #[cfg_attr(test, schemars(with = "Vec<crate::version::PythonVersion>"))]
    #[serde(default)]
    pub(super) python: Vec<At<String>>,
    /// Why, in one line; the plan shows it beside each job that is left out.
    #[cfg_attr(test, schemars(regex(pattern = r"\S")))]
    pub(super) reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawBuildPolicy {
    /// Whose certificates containers trust when they fetch: `image`, `host`, or a PEM file's path.
    #[cfg_attr(test, schemars(example = &"image", example = &"host"))]
    pub(super) ca_bundle: Option<String>,
    /// The most jobs at a time; without it, memory and cores decide.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(super) jobs: Option<At<u32>>,
    /// The most memory that all jobs together may be given.
    #[cfg_attr(test, schemars(with = "Option<crate::quantity::ByteSize>"))]
    pub(super) memory: Option<At<String>>,
    /// What stays free of every disk that jobs write to.
    #[cfg_attr(test, schemars(with = "Option<crate::quantity::ByteSize>"))]
    pub(super) disk_reserve: Option<At<String>>,
    /// The most that the compiler cache of each package may hold; `off` compiles everything again.
    #[cfg_attr(
        test,
        schemars(
            with = "Option<String>",
            regex(pattern = r"^(off|0*[1-9][0-9]*(MiB|GiB))$"),
            example = &"10GiB",
            example = &"off"
        )
    )]
    pub(super) cache: Option<At<String>>,
    /// Where pip, build requirements and `toolkit: pypi` come from.
    #[cfg_attr(test, schemars(with = "Option<crate::source::IndexUrl>"))]
    pub(super) package_index: Option<At<String>>,
    /// The time stamp of every file in a wheel, in seconds since 1970.
    #[cfg_attr(test, schemars(range(min = 315_532_800)))]
    pub(super) source_date_epoch: Option<At<u64>>,
}
