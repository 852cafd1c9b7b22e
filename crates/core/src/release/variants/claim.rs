//! What a wheel may promise as a variant, from what the gate found in it.
//!
//! A promise holds for every GPU that uv gives the wheel to because of it, in all containers of all
//! modules. What the gate did not look at promises nothing.

use std::collections::BTreeSet;

use crate::arch::{Arch, ArchSuffix};
use crate::fatbin::ImageKind;
use crate::gpu::rules::{ImageRun, image_runs};
use crate::gpu::verdict::Verdict;
use crate::gpu::{self, Capability, Gpu, Platform};
use crate::release::catalog::CatalogWheel;
use crate::version::CudaVersion;
use crate::wheel::label::{SmArch, VariantLabel};
use crate::wheel::variant_name::{VariantNameError, VariantWheelName};
use crate::wheel::version::LocalVersion;

/// The first major compute capability with family-specific targets (`100f`, CUDA Programming Guide
/// 5.1.2.2).
const FIRST_WITH_FAMILIES: u8 = 10;

/// Why a wheel is not published as a variant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoVariant {
    /// Nothing in it depends on the GPU.
    #[error("it holds no GPU code")]
    NoDeviceCode,
    /// Its manifest is from before there was a gate.
    #[error("the gate has not looked at its GPU code")]
    NotLookedAt,
    /// A nightly's ABI is promised for a day, and its version sorts above every release of torch.
    #[error("it is for a nightly of torch")]
    Nightly,
    /// Its version has another local part than its channel, so its torch is not known.
    #[error("its version does not name the CUDA and torch of its channel")]
    OtherVersion,
    /// It is a build of which the machine must have more than its archs say.
    #[error("it is the build `{variant}`, and a label says CUDA and archs alone")]
    OtherBuild {
        /// What the package calls the build.
        variant: String,
    },
    /// Not one arch is safe to promise.
    #[error("no arch is held by all of its code and safe to promise; all of its code holds: {}", list(.held))]
    NoArch {
        /// The images that all containers of all modules hold: `sm_120a`.
        held: Vec<String>,
    },
    /// The CUDA is unknown, or its tag is that of another one.
    #[error("CUDA `{cuda}` has no tag of its own")]
    Cuda {
        /// What it was built with.
        cuda: String,
    },
    /// The name cannot have a label.
    #[error("it has a name that no variant can have")]
    Name(#[source] VariantNameError),
}

fn list(held: &[String]) -> String {
    if held.is_empty() {
        "nothing".to_owned()
    } else {
        held.join(", ")
    }
}

/// The name that a wheel has as a variant: torch in the version, CUDA and archs in the label.
pub fn variant_name(wheel: &CatalogWheel) -> Result<VariantWheelName, NoVariant> {
    if wheel.module_archs.is_empty() {
        return Err(NoVariant::NoDeviceCode);
    }
    let channel = &wheel.channel;
    let torch = channel.torch();
    if torch.nightly().is_some() {
        return Err(NoVariant::Nightly);
    }
    if wheel.file_name.local_version() != Some(&channel.local_version()) {
        return Err(NoVariant::OtherVersion);
    }
    let label = label(wheel)?;
    // A build that is named for its archs says no more than its label.
    match channel.variant() {
        Some(variant) if variant.as_str() != label.archs_word() => {
            return Err(NoVariant::OtherBuild {
                variant: variant.to_string(),
            });
        }
        Some(_) | None => {}
    }
    let local: LocalVersion = format!("torch{torch}")
        .parse()
        .expect("a word and a minor version are a local version");
    VariantWheelName::new(wheel.file_name.with_local(&local), label).map_err(NoVariant::Name)
}

/// What may be promised of a wheel.
fn label(wheel: &CatalogWheel) -> Result<VariantLabel, NoVariant> {
    if wheel.runs_on.is_empty() {
        return Err(NoVariant::NotLookedAt);
    }
    let held = held_by_all(wheel);
    let native = held.iter().filter_map(|label| label.strip_prefix("sm_"));
    let native: Vec<Arch> = native.filter_map(Arch::from_code).collect();
    let ptx = held
        .iter()
        .filter_map(|label| label.strip_prefix("compute_"));
    let ptx: Vec<Arch> = ptx.filter_map(Arch::from_code).collect();
    let promises = Promises { wheel, native, ptx };
    let archs: BTreeSet<SmArch> = promises.real().chain(promises.virtual_()).collect();
    if archs.is_empty() {
        let held = held.into_iter().map(str::to_owned).collect();
        return Err(NoVariant::NoArch { held });
    }
    let cuda = &wheel.built_against.cuda;
    let wrong = || NoVariant::Cuda { cuda: cuda.clone() };
    let version: CudaVersion = cuda.parse().map_err(|_| wrong())?;
    VariantLabel::new(version, archs).ok_or_else(wrong)
}

/// The images that every container of every module holds, by their labels (`sm_90a`).
fn held_by_all(wheel: &CatalogWheel) -> BTreeSet<&str> {
    let mut modules = wheel.module_archs.values().map(|module| {
        let everywhere = |&(_, count): &(&String, &usize)| *count >= module.containers;
        let images = module.images.iter().filter(everywhere);
        images.map(|(label, _)| label.as_str()).collect()
    });
    let first: BTreeSet<&str> = modules.next().unwrap_or_default();
    modules.fold(first, |held, module| &held & &module)
}

/// What follows from the images that all of a wheel's code holds.
struct Promises<'a> {
    wheel: &'a CatalogWheel,
    native: Vec<Arch>,
    ptx: Vec<Arch>,
}

impl Promises<'_> {
    /// `XY_real` is taken by GPUs of X.Y and of every later minor version, so all of them must run
    /// what there is.
    ///
    /// Code for one compute capability alone (`120a`) counts for none, even where the later ones are
    /// covered today: a build can have the family (`120f`) instead, whose promise holds for GPUs to
    /// come. Hopper came before there were families, and 9.0 is all there is of 9.
    fn real(&self) -> impl Iterator<Item = SmArch> {
        let counts = |arch: &&Arch| match arch.suffix() {
            ArchSuffix::Portable | ArchSuffix::Family => true,
            ArchSuffix::Specific => Capability::of_arch(**arch).major() < FIRST_WITH_FAMILIES,
        };
        let counting: Vec<Arch> = self.native.iter().filter(counts).copied().collect();
        let holds = move |promised: &Capability| {
            let mut gpus = gpu::all()
                .filter(|gpu| self.is_given(*promised, gpu))
                .peekable();
            gpus.peek().is_some()
                && gpus.all(|gpu| {
                    let runs = |&arch: &Arch| {
                        image_runs(ImageKind::Sass, Some(arch), gpu.capability) == ImageRun::Native
                    };
                    counting.iter().any(runs) && self.is_found(gpu, &[Verdict::Native])
                })
        };
        let promised: BTreeSet<Capability> = self
            .native
            .iter()
            .map(|&arch| Capability::of_arch(arch))
            .collect();
        promised.into_iter().filter(holds).map(SmArch::Real)
    }

    /// Whether a GPU is given a wheel that promises machine code for `promised`. Tegra's processors
    /// are not those that wheels for `x86_64` are for.
    fn is_given(&self, promised: Capability, gpu: &Gpu) -> bool {
        let platforms = self.wheel.file_name.platform_tags();
        let is_x86 = platforms.iter().all(|tag| tag.ends_with("_x86_64"));
        let is_elsewhere = is_x86 && gpu.platform == Platform::Tegra && gpu.capability != promised;
        gpu.capability.major() == promised.major() && gpu.capability >= promised && !is_elsewhere
    }

    /// PTX compiles for every GPU from its own compute capability on, but `X0_virtual` is taken by all
    /// of X: for its own major version it must begin at X.0. The provider knows nothing of later
    /// majors, so each is promised by itself.
    fn virtual_(&self) -> impl Iterator<Item = SmArch> {
        let majors: BTreeSet<u8> = gpu::all().map(|gpu| gpu.capability.major()).collect();
        let bases = self.ptx.iter();
        let bases: Vec<Capability> = bases
            .filter(|arch| arch.suffix() == ArchSuffix::Portable)
            .map(|&arch| Capability::of_arch(arch))
            .collect();
        majors.into_iter().filter_map(move |major| {
            let covers = |base: &Capability| (base.major(), base.minor()) <= (major, 0);
            let runs = [Verdict::Native, Verdict::Jit];
            let mut gpus = gpu::all().filter(|gpu| gpu.capability.major() == major);
            let holds = bases.iter().any(covers) && gpus.all(|gpu| self.is_found(gpu, &runs));
            holds.then_some(SmArch::Virtual(major))
        })
    }

    /// Whether the gate's own answer for a GPU is one of these; of a GPU that was not known when the
    /// wheel was judged there is none.
    fn is_found(&self, gpu: &Gpu, wanted: &[Verdict]) -> bool {
        let found = self.wheel.runs_on.get(&gpu.capability.to_string());
        found.is_none_or(|found| {
            wanted
                .iter()
                .any(|verdict| verdict.as_str() == found.verdict)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::manifest::ModuleArchs;
    use crate::release::catalog::OnGpu;
    use crate::release::catalog::tests::sample;

    /// A module by its images: `sm_90 sm_120:3` is 9.0 in all four containers and 12.0 in three.
    fn module(images: &str) -> ModuleArchs {
        let image = |text: &str| match text.split_once(':') {
            Some((label, count)) => (label.to_owned(), count.parse().unwrap()),
            None => (text.to_owned(), 4),
        };
        ModuleArchs {
            containers: 4,
            images: images.split_whitespace().map(image).collect(),
        }
    }

    /// A wheel of these modules, of which the gate says nothing that is not in them.
    fn wheel(modules: &[&str]) -> CatalogWheel {
        let mut wheel = sample();
        let modules = modules.iter().enumerate();
        wheel.module_archs = modules
            .map(|(index, images)| (format!("{index}.so"), module(images)))
            .collect();
        wheel.runs_on = BTreeMap::from([("7.5".to_owned(), on_gpu("fails"))]);
        wheel
    }

    fn on_gpu(verdict: &str) -> OnGpu {
        OnGpu {
            verdict: verdict.to_owned(),
            least_driver: None,
        }
    }

    #[track_caller]
    fn check(modules: &[&str], want: &str) {
        let name = variant_name(&wheel(modules)).unwrap();
        assert_eq!(name.label().to_string(), want, "{modules:?}");
    }

    #[track_caller]
    fn check_none(modules: &[&str], held: &str) {
        let error = variant_name(&wheel(modules)).unwrap_err();
        let want = format!(
            "no arch is held by all of its code and safe to promise; all of its code holds: {held}"
        );
        assert_eq!(error.to_string(), want, "{modules:?}");
    }

    #[test]
    fn machine_code_is_promised_to_the_gpus_that_run_it() {
        check(&["sm_90"], "cu130_sm90");
        check(&["sm_120 sm_80 sm_86"], "cu130_sm80_sm86_sm120");
        check(&["sm_100f"], "cu130_sm100");
        check(&["sm_103f sm_120f"], "cu130_sm103_sm120");
        // Orin (8.7) is no machine of x86_64, and 8.9 does not run what is for Orin.
        check(&["sm_80"], "cu130_sm80");
        check(&["sm_87 sm_90"], "cu130_sm90");
    }

    #[test]
    fn code_for_one_capability_alone_is_promised_only_where_there_is_no_other_and_no_family() {
        check(&["sm_90a"], "cu130_sm90");
        check(&["sm_90a sm_120a"], "cu130_sm90");
        check_none(&["sm_120a"], "sm_120a");
        check_none(&["sm_120a sm_121a"], "sm_120a, sm_121a");
        check_none(&["sm_100a"], "sm_100a");
        check(&["sm_120a sm_120f"], "cu130_sm120");
    }

    #[test]
    fn ptx_is_promised_to_every_later_major_and_to_its_own_from_its_first() {
        check(&["compute_120"], "cu130_ptx120");
        check(&["compute_90"], "cu130_ptx90_ptx100_ptx110_ptx120");
        check(&["compute_86"], "cu130_ptx90_ptx100_ptx110_ptx120");
        check(
            &["sm_86 compute_86"],
            "cu130_sm86_ptx90_ptx100_ptx110_ptx120",
        );
        check(
            &["sm_80 compute_80"],
            "cu130_sm80_ptx80_ptx90_ptx100_ptx110_ptx120",
        );
        check_none(&["compute_90a"], "compute_90a");
        check_none(&["compute_100f compute_121"], "compute_100f, compute_121");
    }

    #[test]
    fn what_some_container_or_module_lacks_is_not_promised() {
        check(&["sm_90 sm_120:3"], "cu130_sm90");
        check(&["sm_90 sm_120", "sm_90 sm_100"], "cu130_sm90");
        check_none(&["sm_90", "sm_120"], "nothing");
        check_none(&["lto_90 unknown_?"], "lto_90, unknown_?");
    }

    #[test]
    fn what_the_gate_says_otherwise_is_not_promised() {
        let mut doubted = wheel(&["sm_90 sm_120 compute_120"]);
        doubted.runs_on.insert("12.1".to_owned(), on_gpu("partly"));
        let name = variant_name(&doubted).unwrap();
        assert_eq!(name.label().to_string(), "cu130_sm90");
        doubted.runs_on.insert("12.1".to_owned(), on_gpu("jit"));
        let name = variant_name(&doubted).unwrap();
        assert_eq!(name.label().to_string(), "cu130_sm90_ptx120");
        doubted.runs_on.clear();
        assert_eq!(variant_name(&doubted), Err(NoVariant::NotLookedAt));
    }

    #[test]
    fn torch_stands_in_the_version_and_cuda_in_the_label() {
        let name = variant_name(&sample()).unwrap();
        assert_eq!(
            name.to_string(),
            "torch_spline_conv-1.2.2+torch2.11-cp311-cp311-manylinux_2_34_x86_64-cu130_sm90_sm120_ptx120.whl"
        );
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut CatalogWheel), want: &str) {
        let mut wheel = wheel(&["sm_90"]);
        change(&mut wheel);
        assert_eq!(variant_name(&wheel).unwrap_err().to_string(), want);
    }

    fn into(wheel: &mut CatalogWheel, channel: &str) {
        wheel.channel = channel.parse().unwrap();
        let local = wheel.channel.local_version();
        wheel.file_name = wheel.file_name.with_local(&local);
    }

    #[test]
    fn what_a_label_cannot_say_has_no_variant() {
        check_refused(|wheel| wheel.module_archs.clear(), "it holds no GPU code");
        check_refused(
            |wheel| into(wheel, "cu130/torch2.16.dev20261120"),
            "it is for a nightly of torch",
        );
        check_refused(
            |wheel| into(wheel, "cu130/torch2.11-avx512"),
            "it is the build `avx512`, and a label says CUDA and archs alone",
        );
        check_refused(
            |wheel| wheel.channel = "cu128/torch2.11".parse().unwrap(),
            "its version does not name the CUDA and torch of its channel",
        );
        check_refused(
            |wheel| wheel.built_against.cuda = "12.10".to_owned(),
            "CUDA `12.10` has no tag of its own",
        );
    }

    #[test]
    fn a_build_that_is_named_for_its_archs_is_a_variant() {
        let mut wheel = wheel(&["sm_90"]);
        into(&mut wheel, "cu130/torch2.11-sm90");
        let name = variant_name(&wheel).unwrap();
        assert_eq!(name.label().to_string(), "cu130_sm90");
        assert_eq!(name.wheel().local_version().unwrap().as_str(), "torch2.11");
    }

    proptest! {
        /// What uv gives the wheel to (NVIDIA's provider 0.0.1), runs it by the rules of the gate.
        #[test]
        fn no_known_gpu_is_given_what_it_does_not_run(
            picks in proptest::collection::vec(
                (
                    proptest::sample::select(vec!["sm", "compute"]),
                    proptest::sample::select(vec![
                        "75", "80", "86", "87", "89", "90", "90a", "100", "100f", "100a", "103",
                        "103f", "103a", "110", "110a", "120", "120a", "120f", "121", "121a",
                    ]),
                ),
                1..6,
            ),
        ) {
            let images: Vec<String> =
                picks.iter().map(|(kind, arch)| format!("{kind}_{arch}")).collect();
            let Ok(name) = variant_name(&wheel(&[&images.join(" ")])) else {
                return Ok(());
            };
            for gpu in gpu::known().filter(|gpu| gpu.platform == Platform::Desktop) {
                let capability = gpu.capability;
                let is_given = name.label().archs().iter().any(|arch| match *arch {
                    SmArch::Real(promised) => {
                        promised.major() == capability.major() && promised <= capability
                    }
                    SmArch::Virtual(major) => major == capability.major(),
                });
                let runs = picks.iter().any(|(kind, arch)| {
                    let kind = if *kind == "sm" { ImageKind::Sass } else { ImageKind::Ptx };
                    let run = image_runs(kind, Arch::from_code(arch), capability);
                    matches!(run, ImageRun::Native | ImageRun::Jit)
                });
                prop_assert!(!is_given || runs, "{name} on {capability}");
            }
        }
    }
}
