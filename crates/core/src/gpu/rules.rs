//! What one image, and what one container, does on a GPU.
//!
//! The rules are NVIDIA's:
//! - machine code runs on the same major compute capability with an equal or higher minor one
//!   (Blackwell Compatibility Guide 1.2), and not between desktop and Tegra nor between Tegras (CUDA
//!   C++ Programming Guide 6.1.2);
//! - PTX compiles for an equal or higher compute capability (the same, 6.1.3);
//! - the suffix `a` holds code to one compute capability, `f` to the members of its family, machine
//!   code and PTX alike (CUDA Programming Guide 5.1.2).

use serde::Serialize;

use super::capability::Capability;
use super::driver::PtxVersion;
use super::table::{self, Platform};
use crate::arch::{Arch, ArchSuffix};
use crate::fatbin::{Image, ImageKind};

/// What an image does on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageRun {
    /// It runs as it is.
    Native,
    /// The driver compiles it, if it is new enough.
    Jit,
    /// It can be compiled for the GPU, but only while it is linked.
    Link,
    /// It is of no use there.
    No(WhyNot),
    /// Its kind, its arch or a rule for it is not known.
    Unknown,
}

/// Why an image is of no use on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WhyNot {
    /// Machine code of another major compute capability.
    OtherMajor,
    /// It is for a later compute capability.
    Later,
    /// Its suffix `a` holds it to another compute capability.
    Specific,
    /// Its suffix `f` holds it to a family that the GPU is not of.
    Family,
    /// Machine code from or for a Tegra, which is compatible with its own compute capability alone.
    Tegra,
}

/// What an image of `kind` for `arch` does on `gpu`.
pub fn image_runs(kind: ImageKind, arch: Option<Arch>, gpu: Capability) -> ImageRun {
    let Some(arch) = arch else {
        return ImageRun::Unknown;
    };
    let judge = match kind {
        ImageKind::Sass => machine_code_runs,
        ImageKind::Ptx | ImageKind::Lto => source_compiles,
        ImageKind::Unknown(_) => return ImageRun::Unknown,
    };
    match (judge(arch, gpu), kind) {
        (Fit::Yes, ImageKind::Sass) => ImageRun::Native,
        (Fit::Yes, ImageKind::Lto) => ImageRun::Link,
        (Fit::Yes, ImageKind::Ptx | ImageKind::Unknown(_)) => ImageRun::Jit,
        (Fit::No(why), _) => ImageRun::No(why),
        (Fit::Unknown, _) => ImageRun::Unknown,
    }
}

enum Fit {
    Yes,
    No(WhyNot),
    Unknown,
}

fn machine_code_runs(arch: Arch, gpu: Capability) -> Fit {
    let target = Capability::of_arch(arch);
    if target == gpu {
        return Fit::Yes;
    }
    if table::renamed(target) == Some(gpu) {
        return Fit::Unknown;
    }
    if target.major() != gpu.major() {
        return Fit::No(WhyNot::OtherMajor);
    }
    match arch.suffix() {
        ArchSuffix::Specific => Fit::No(WhyNot::Specific),
        ArchSuffix::Family => of_family(target, gpu),
        ArchSuffix::Portable if target > gpu => Fit::No(WhyNot::Later),
        ArchSuffix::Portable => {
            let platform = |capability| table::of(capability).map(|gpu| gpu.platform);
            match (platform(target), platform(gpu)) {
                (Some(Platform::Desktop), Some(Platform::Desktop)) => Fit::Yes,
                (Some(Platform::Tegra), _) | (_, Some(Platform::Tegra)) => Fit::No(WhyNot::Tegra),
                (None, Some(Platform::Desktop) | None) | (Some(Platform::Desktop), None) => {
                    Fit::Unknown
                }
            }
        }
    }
}

fn source_compiles(arch: Arch, gpu: Capability) -> Fit {
    let target = Capability::of_arch(arch);
    if target == gpu {
        return Fit::Yes;
    }
    if target > gpu {
        return Fit::No(WhyNot::Later);
    }
    match arch.suffix() {
        ArchSuffix::Portable => Fit::Yes,
        ArchSuffix::Family | ArchSuffix::Specific if table::renamed(target) == Some(gpu) => {
            Fit::Unknown
        }
        ArchSuffix::Family => of_family(target, gpu),
        ArchSuffix::Specific => Fit::No(WhyNot::Specific),
    }
}

fn of_family(target: Capability, gpu: Capability) -> Fit {
    match table::family(target) {
        Some(members) if members.contains(&gpu) => Fit::Yes,
        // No family has a member below its own target.
        _ if target > gpu => Fit::No(WhyNot::Family),
        // A GPU that is newer than the table may be a member that the table does not name.
        Some(_) if table::of(gpu).is_none() && gpu > target && gpu.major() == target.major() => {
            Fit::Unknown
        }
        Some(_) => Fit::No(WhyNot::Family),
        None => Fit::Unknown,
    }
}

/// What a container does on a GPU: the runtime chooses one of its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerRun {
    /// It has machine code that runs.
    Native {
        /// The arch that is chosen: the closest, and of equal ones the most specific.
        arch: Arch,
    },
    /// It has no machine code that runs, but PTX that the driver compiles.
    Jit {
        /// The arch of the PTX that is chosen, the highest one that fits.
        arch: Arch,
        /// The PTX ISA that the driver has to know.
        ptx: PtxVersion,
    },
    /// Only what is compiled while it is linked would fit, and whether that happens is the program's
    /// affair.
    LinkUnproven,
    /// Nothing in it is of use on the GPU.
    Fails,
    /// Nothing known in it fits, but something is not known; or it is empty.
    Unknown,
}

/// What a container of `images` does on `gpu`.
pub fn container_runs(images: &[Image], gpu: Capability) -> ContainerRun {
    let fitting = |wanted: ImageRun| {
        let fits = move |image: &&Image| image_runs(image.kind, image.arch, gpu) == wanted;
        images.iter().filter(fits)
    };
    // Archs sort by compute capability, and within one by how specific they are.
    if let Some(arch) = fitting(ImageRun::Native)
        .filter_map(|image| image.arch)
        .max()
    {
        return ContainerRun::Native { arch };
    }
    let ptx = |image: &Image| Some((image.arch?, PtxVersion::from_header(image.version)));
    if let Some((arch, ptx)) = fitting(ImageRun::Jit).filter_map(ptx).max() {
        return ContainerRun::Jit { arch, ptx };
    }
    if fitting(ImageRun::Unknown).next().is_some() || images.is_empty() {
        return ContainerRun::Unknown;
    }
    if fitting(ImageRun::Link).next().is_some() {
        return ContainerRun::LinkUnproven;
    }
    ContainerRun::Fails
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fatbin::{Compression, Container};

    /// `sm_90a`, `compute_90`, `lto_90`, `kind16_90`: what stands in a container.
    fn kind_and_arch(text: &str) -> (ImageKind, Option<Arch>) {
        let (kind, number) = text.split_once('_').unwrap();
        let kind = match kind {
            "sm" => ImageKind::Sass,
            "compute" => ImageKind::Ptx,
            "lto" => ImageKind::Lto,
            _ => ImageKind::Unknown(16),
        };
        let (digits, suffix) = match number.as_bytes().last().unwrap() {
            b'a' => (&number[..number.len() - 1], ArchSuffix::Specific),
            b'f' => (&number[..number.len() - 1], ArchSuffix::Family),
            _ => (number, ArchSuffix::Portable),
        };
        let arch = digits.parse().ok();
        (
            kind,
            arch.and_then(|number| Arch::from_number(number, suffix)),
        )
    }

    /// Images as above, each with the PTX ISA after an `@`, or 8.7.
    fn images(texts: &str) -> Vec<Image> {
        let image = |text: &str| {
            let (name, version) = text.split_once('@').unwrap_or((text, "8.7"));
            let (kind, arch) = kind_and_arch(name);
            let (major, minor) = version.split_once('.').unwrap();
            Image {
                kind,
                arch,
                version: (major.parse().unwrap(), minor.parse().unwrap()),
                compression: Compression::None,
                stored_bytes: 0,
                size_bytes: 0,
                flags: 0,
                content: None,
            }
        };
        texts.split_whitespace().map(image).collect()
    }

    pub(in crate::gpu) fn container(texts: &str) -> Container {
        Container {
            offset: 0,
            images: images(texts),
            complete: true,
        }
    }

    fn capability(text: &str) -> Capability {
        text.parse().unwrap()
    }

    fn cell(image: &str, gpu: &str) -> &'static str {
        let (kind, arch) = kind_and_arch(image);
        match image_runs(kind, arch, capability(gpu)) {
            ImageRun::Native => "N",
            ImageRun::Jit => "J",
            ImageRun::Link => "L",
            ImageRun::No(WhyNot::Tegra) => "-*",
            ImageRun::No(_) => "-",
            ImageRun::Unknown => "?",
        }
    }

    fn table_of(gpus: &str, images: &str) -> String {
        let row = |gpu: &str| {
            let cells = images.split_whitespace().map(|image| cell(image, gpu));
            let cells: Vec<_> = cells.map(|cell| format!("{cell:>3}")).collect();
            format!("{gpu:<4}{}", cells.concat())
        };
        gpus.split_whitespace()
            .map(row)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The table of NVIDIA's rules, image for image: N native, J by just-in-time compilation, -
    /// fails, -* fails because a Tegra is concerned.
    #[test]
    fn the_decision_table_of_documented_images() {
        let gpus = "7.0 7.2 7.5 8.0 8.6 8.7 8.9 9.0 10.0 10.3 10.7 11.0 12.0 12.1";
        let machine_code = "sm_75 sm_80 sm_86 sm_89 sm_90 sm_90a sm_100 sm_100f sm_100a sm_103 \
                            sm_110 sm_120 sm_120f sm_120a";
        insta::assert_snapshot!(table_of(gpus, machine_code), @r"
        7.0   -  -  -  -  -  -  -  -  -  -  -  -  -  -
        7.2   -  -  -  -  -  -  -  -  -  -  -  -  -  -
        7.5   N  -  -  -  -  -  -  -  -  -  -  -  -  -
        8.0   -  N  -  -  -  -  -  -  -  -  -  -  -  -
        8.6   -  N  N  -  -  -  -  -  -  -  -  -  -  -
        8.7   - -* -*  -  -  -  -  -  -  -  -  -  -  -
        8.9   -  N  N  N  -  -  -  -  -  -  -  -  -  -
        9.0   -  -  -  -  N  N  -  -  -  -  -  -  -  -
        10.0  -  -  -  -  -  -  N  N  N  -  -  -  -  -
        10.3  -  -  -  -  -  -  N  N  -  N  -  -  -  -
        10.7  -  -  -  -  -  -  N  N  -  N  -  -  -  -
        11.0  -  -  -  -  -  -  -  -  -  -  N  -  -  -
        12.0  -  -  -  -  -  -  -  -  -  -  -  N  N  N
        12.1  -  -  -  -  -  -  -  -  -  -  -  N  N  -
        ");
        let ptx = "compute_80 compute_90 compute_90a compute_100f compute_120 compute_120f";
        insta::assert_snapshot!(table_of(gpus, ptx), @r"
        7.0   -  -  -  -  -  -
        7.2   -  -  -  -  -  -
        7.5   -  -  -  -  -  -
        8.0   J  -  -  -  -  -
        8.6   J  -  -  -  -  -
        8.7   J  -  -  -  -  -
        8.9   J  -  -  -  -  -
        9.0   J  J  J  -  -  -
        10.0  J  J  -  J  -  -
        10.3  J  J  -  J  -  -
        10.7  J  J  -  J  -  -
        11.0  J  J  -  -  -  -
        12.0  J  J  -  -  J  J
        12.1  J  J  -  -  J  J
        ");
    }

    #[test]
    fn the_decision_table_of_rare_images() {
        let gpus = "7.0 7.2 7.5 8.6 8.7 8.9 10.0 10.3 10.7 11.0 12.0 12.1";
        let machine_code = "sm_70 sm_72 sm_87 sm_101 sm_101a sm_101f sm_103a sm_103f sm_107f \
                            sm_107 sm_110f sm_110a sm_121 sm_121f sm_121a";
        insta::assert_snapshot!(table_of(gpus, machine_code), @r"
        7.0   N  -  -  -  -  -  -  -  -  -  -  -  -  -  -
        7.2  -*  N  -  -  -  -  -  -  -  -  -  -  -  -  -
        7.5   N -*  -  -  -  -  -  -  -  -  -  -  -  -  -
        8.6   -  -  -  -  -  -  -  -  -  -  -  -  -  -  -
        8.7   -  -  N  -  -  -  -  -  -  -  -  -  -  -  -
        8.9   -  - -*  -  -  -  -  -  -  -  -  -  -  -  -
        10.0  -  -  -  -  -  -  -  -  -  -  -  -  -  -  -
        10.3  -  -  -  ?  -  ?  N  N  -  -  -  -  -  -  -
        10.7  -  -  -  ?  -  ?  -  N  N  N  -  -  -  -  -
        11.0  -  -  -  ?  ?  ?  -  -  -  -  N  N  -  -  -
        12.0  -  -  -  -  -  -  -  -  -  -  -  -  -  -  -
        12.1  -  -  -  -  -  -  -  -  -  -  -  -  N  N  N
        ");
        let other = "compute_50 compute_72 compute_87 compute_101 compute_101a compute_101f \
                     compute_103f compute_110f compute_121f compute_130f lto_90 lto_120 kind16_90 \
                     sm_x compute_x";
        insta::assert_snapshot!(table_of(gpus, other), @r"
        7.0   J  -  -  -  -  -  -  -  -  -  -  -  ?  ?  ?
        7.2   J  J  -  -  -  -  -  -  -  -  -  -  ?  ?  ?
        7.5   J  J  -  -  -  -  -  -  -  -  -  -  ?  ?  ?
        8.6   J  J  -  -  -  -  -  -  -  -  -  -  ?  ?  ?
        8.7   J  J  J  -  -  -  -  -  -  -  -  -  ?  ?  ?
        8.9   J  J  J  -  -  -  -  -  -  -  -  -  ?  ?  ?
        10.0  J  J  J  -  -  -  -  -  -  -  L  -  ?  ?  ?
        10.3  J  J  J  J  -  ?  J  -  -  -  L  -  ?  ?  ?
        10.7  J  J  J  J  -  ?  J  -  -  -  L  -  ?  ?  ?
        11.0  J  J  J  J  ?  ?  -  J  -  -  L  -  ?  ?  ?
        12.0  J  J  J  J  -  ?  -  -  -  -  L  L  ?  ?  ?
        12.1  J  J  J  J  -  ?  -  -  J  -  L  L  ?  ?  ?
        ");
    }

    #[test]
    fn on_a_gpu_that_the_table_does_not_have_only_what_is_certain_is_said() {
        let gpus = "3.7 8.8 12.5 13.0";
        let images = "sm_35 sm_37 sm_86 sm_88 sm_89 sm_90 sm_120 sm_120f sm_120a sm_130 compute_35 \
                      compute_90 compute_120f compute_130";
        insta::assert_snapshot!(table_of(gpus, images), @r"
        3.7   ?  N  -  -  -  -  -  -  -  -  J  -  -  -
        8.8   -  -  ?  N  -  -  -  -  -  -  J  -  -  -
        12.5  -  -  -  -  -  -  ?  ?  -  -  J  J  ?  -
        13.0  -  -  -  -  -  -  -  -  -  N  J  J  -  J
        ");
    }

    #[test]
    fn why_an_image_is_of_no_use_is_told_apart() {
        for (image, gpu, why) in [
            ("sm_90", "12.0", WhyNot::OtherMajor),
            ("sm_90a", "12.0", WhyNot::OtherMajor),
            ("sm_89", "8.6", WhyNot::Later),
            ("sm_100a", "10.3", WhyNot::Specific),
            ("sm_103f", "10.0", WhyNot::Family),
            ("sm_86", "8.7", WhyNot::Tegra),
            ("sm_87", "8.9", WhyNot::Tegra),
            ("compute_120", "11.0", WhyNot::Later),
            ("compute_90a", "12.0", WhyNot::Specific),
            ("compute_100f", "12.0", WhyNot::Family),
        ] {
            let (kind, arch) = kind_and_arch(image);
            let run = image_runs(kind, arch, capability(gpu));
            assert_eq!(run, ImageRun::No(why), "{image} on {gpu}");
        }
    }

    #[track_caller]
    fn check(texts: &str, gpu: &str, want: &str) {
        let run = match container_runs(&images(texts), capability(gpu)) {
            ContainerRun::Native { arch } => format!("native {arch}"),
            ContainerRun::Jit { arch, ptx } => format!("jit {arch} {ptx}"),
            ContainerRun::LinkUnproven => "link".to_owned(),
            ContainerRun::Fails => "fails".to_owned(),
            ContainerRun::Unknown => "unknown".to_owned(),
        };
        assert_eq!(run, want, "{texts} on {gpu}");
    }

    #[test]
    fn the_closest_and_most_specific_machine_code_is_chosen() {
        check("sm_80 sm_86 sm_89 sm_90 compute_90", "8.9", "native 8.9");
        check("sm_80 sm_86 sm_90", "8.9", "native 8.6");
        check("sm_90a sm_90", "9.0", "native 9.0a");
        check("sm_120 sm_120f sm_120a", "12.1", "native 12.0f");
        check("compute_120 sm_120", "12.0", "native 12.0");
    }

    #[test]
    fn ptx_counts_only_without_machine_code_and_the_highest_is_chosen() {
        check("sm_86 sm_90 compute_80 compute_90", "12.0", "jit 9.0 8.7");
        check("sm_90a compute_90a", "12.0", "fails");
        check("sm_75 sm_80 compute_120", "11.0", "fails");
        check("sm_80 compute_80", "8.7", "jit 8.0 8.7");
    }

    #[test]
    fn what_is_unknown_never_fails() {
        check("sm_90 kind16_120", "12.0", "unknown");
        check("sm_90 sm_x", "12.0", "unknown");
        check("sm_101a", "11.0", "unknown");
        check("", "12.0", "unknown");
        check("sm_120 kind16_120", "12.0", "native 12.0");
        check("compute_90 kind16_120", "12.0", "jit 9.0 8.7");
    }

    #[test]
    fn code_for_the_linker_alone_proves_nothing() {
        check("sm_90 lto_90", "12.0", "link");
        check("lto_120", "9.0", "fails");
        check("lto_90 compute_90", "12.0", "jit 9.0 8.7");
        check("lto_90 kind16_90", "12.0", "unknown");
    }
}
