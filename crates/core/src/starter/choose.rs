//! Chooses what was left out: torch, CUDA, Pythons, archs and versions.
//!
//! What fits what is not decided here: a farm is drafted for one torch and CUDA after the other, in the
//! order that `data/starter/choices.yaml` and compat.yaml give, and the first that plans without a fault
//! and without a warning is taken.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::draft::{Draft, Entry};
use super::settings::{BaseAsked, GpuAsked, Settings, StarterError};
use super::shipped;
use crate::arch::{Arch, ArchSuffix, ArchTarget, Ptx};
use crate::compat::{self, Index, Verdict};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::gpu::Capability;
use crate::matrix::Matrix;
use crate::package::{Kernels, Package, PackageRelease};
use crate::plan::{self, Plan, PlanInput};
use crate::render;
use crate::version::{CudaVersion, PythonVersion, Threading, TorchVersion};
use crate::yaml;

const CHOICES: &str = include_str!("../../data/starter/choices.yaml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawChoices {
    schema: u32,
    compiled: Vec<RawPair>,
    images: BTreeMap<String, String>,
    #[expect(dead_code, reason = "who reads the file wants it")]
    images_source: String,
    suite: String,
    package: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    torch: String,
    cuda: String,
    source: String,
}

/// `data/starter/choices.yaml`.
pub(super) struct Choices {
    compiled: Vec<Pair>,
    pub(super) images: BTreeMap<CudaVersion, String>,
    pub(super) suite: String,
    pub(super) package: String,
}

struct Pair {
    torch: TorchVersion,
    cuda: CudaVersion,
    source: String,
}

pub(super) static TABLE: LazyLock<Choices> = LazyLock::new(|| {
    let read = "a test reads the built-in table";
    let raw: RawChoices = yaml::parse("choices.yaml", CHOICES).expect(read);
    assert_eq!(raw.schema, 1, "the built-in table has the reader's schema");
    let pair = |pair: RawPair| Pair {
        torch: pair.torch.parse().expect(read),
        cuda: pair.cuda.parse().expect(read),
        source: pair.source,
    };
    let images = raw.images.into_iter();
    Choices {
        compiled: raw.compiled.into_iter().map(pair).collect(),
        images: images
            .map(|(cuda, image)| (cuda.parse().expect(read), image))
            .collect(),
        suite: raw.suite,
        package: raw.package,
    }
});

/// A torch with a CUDA, and why it is tried.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) torch: TorchVersion,
    pub(super) cuda: CudaVersion,
    /// Why this torch and why this CUDA.
    pub(super) why: [String; 2],
}

/// A draft that plans, and how.
pub(super) struct Chosen {
    pub(super) draft: Draft,
    pub(super) plan: Plan,
}

/// The first draft that plans.
pub(super) fn choose(settings: &Settings) -> Result<Chosen, StarterError> {
    refuse_arm(&settings.gpus)?;
    let wanted = wanted(settings)?;
    let mut nearest: Option<Diagnostics> = None;
    for candidate in candidates(settings)? {
        match attempt(settings, &wanted, candidate) {
            Ok(chosen) => return Ok(chosen),
            Err(faults) => {
                let fewer = |other: &Diagnostics| faults.iter().count() < other.iter().count();
                if nearest.as_ref().is_none_or(fewer) {
                    nearest = Some(faults);
                }
            }
        }
    }
    Err(StarterError::Faults(
        nearest.expect("there is a candidate, and it has faults"),
    ))
}

fn refuse_arm(gpus: &[GpuAsked]) -> Result<(), StarterError> {
    let is_arm = |asked: &&GpuAsked| asked.gpu.is_beside_arm_as(&asked.text);
    match gpus.iter().find(is_arm) {
        Some(asked) => Err(StarterError::Arm {
            text: asked.text.clone(),
        }),
        None => Ok(()),
    }
}

/// A package that is wanted, with the releases that are tried.
struct Wanted {
    package: &'static Package,
    releases: Vec<&'static PackageRelease>,
}

fn wanted(settings: &Settings) -> Result<Vec<Wanted>, StarterError> {
    let packages = shipped::packages();
    if settings.packages.is_empty() {
        let package = &packages[&TABLE.package.parse().expect("a test reads the table")];
        let releases = shipped::releases(package, None);
        return Ok(vec![Wanted { package, releases }]);
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    for asked in &settings.packages {
        let name = &asked.name;
        let Some(package) = packages.get(name) else {
            return Err(StarterError::NoPackage { name: name.clone() });
        };
        if wanted.iter().any(|other| other.package.name == *name) {
            return Err(StarterError::TwoVersions { name: name.clone() });
        }
        let releases = shipped::releases(package, asked.version.as_ref());
        if let (Some(version), []) = (&asked.version, &releases[..]) {
            let finished = shipped::finished(package);
            return Err(StarterError::NoVersion {
                name: name.clone(),
                version: version.clone(),
                known: finished.into_iter().map(PackageRelease::label).collect(),
            });
        }
        wanted.push(Wanted { package, releases });
    }
    Ok(wanted)
}

/// What is tried, the best first: what packages were compiled with, then the newest torch with the CUDA
/// of PyPI's own build, then its other CUDAs, then the torch before it.
fn candidates(settings: &Settings) -> Result<Vec<Candidate>, StarterError> {
    let toolkits = toolkits(settings.base);
    if let Some(cuda) = settings.cuda.filter(|cuda| !toolkits.contains(cuda)) {
        let base = match settings.base {
            BaseAsked::Manylinux => "builder image",
            BaseAsked::Debian => "pinned toolkit on PyPI",
        };
        let known = toolkits;
        return Err(StarterError::NoToolkit { base, cuda, known });
    }
    let torches = if let Some(asked) = settings.torch {
        let newest = compat::newest_release_of(asked.minor());
        let torch = asked.exact().or(newest);
        let is_known = |torch: &TorchVersion| {
            torch.nightly().is_none() && compat::torch_is_released(*torch) == Verdict::Works
        };
        let unknown = StarterError::NoTorch { torch: asked };
        vec![torch.filter(is_known).ok_or(unknown)?]
    } else {
        let mut known: Vec<_> = compat::known_torches().collect();
        known.sort_by(|one, other| other.cmp(one));
        known
    };
    let mut pairs = Vec::new();
    for torch in torches {
        let on_pypi = compat::cuda_on_pypi(torch.minor());
        let mut cudas: Vec<_> = match settings.cuda {
            Some(cuda) => vec![cuda],
            None => toolkits.clone(),
        };
        cudas.sort_by_key(|&cuda| (Some(cuda) != on_pypi, std::cmp::Reverse(cuda)));
        pairs.extend(cudas.into_iter().map(|cuda| (torch, cuda)));
    }
    // Kept where nothing else is left, so that the plan says what is wrong with it.
    let works = |pair: &&(TorchVersion, CudaVersion)| {
        compat::torch_has_cuda(pair.0, pair.1) == Verdict::Works
    };
    let working: Vec<_> = pairs.iter().filter(works).copied().collect();
    let mut pairs = if working.is_empty() { pairs } else { working };
    let is_compiled = |pair: &(TorchVersion, CudaVersion)| {
        let mut compiled = TABLE.compiled.iter();
        compiled.position(|one| (one.torch, one.cuda) == *pair)
    };
    pairs.sort_by_key(|pair| is_compiled(pair).unwrap_or(usize::MAX));
    let candidate = |(torch, cuda)| Candidate {
        torch,
        cuda,
        why: reasons(settings, torch, cuda),
    };
    Ok(pairs.into_iter().map(candidate).collect())
}

/// The toolkits that there is a base with, the newest first.
fn toolkits(base: BaseAsked) -> Vec<CudaVersion> {
    let all = TABLE.images.keys().rev().copied();
    match base {
        BaseAsked::Manylinux => all.collect(),
        BaseAsked::Debian => all
            .filter(|&cuda| render::pinned_toolkit(cuda).is_some())
            .collect(),
    }
}

fn reasons(settings: &Settings, torch: TorchVersion, cuda: CudaVersion) -> [String; 2] {
    let mut compiled = TABLE.compiled.iter();
    let compiled = compiled.find(|pair| (pair.torch, pair.cuda) == (torch, cuda));
    let newest = compat::known_torches().max();
    let of_torch = match (settings.torch, compiled) {
        (Some(_), _) => "as asked for".to_owned(),
        (None, Some(pair)) => {
            let newer = newest.filter(|newest| *newest > torch);
            let newer = newer.map(|newest| {
                let minor = newest.minor();
                format!("; {newest} is out, `--torch {minor}` takes it")
            });
            format!(
                "the newest that packages here were compiled with ({}){}",
                pair.source,
                newer.unwrap_or_default()
            )
        }
        (None, None) if Some(torch) == newest => "the newest".to_owned(),
        (None, None) => "the newest that fits".to_owned(),
    };
    let of_cuda = if settings.cuda.is_some() {
        "as asked for".to_owned()
    } else if compat::cuda_on_pypi(torch.minor()) == Some(cuda) {
        format!("what PyPI's own torch {} is built with", torch.minor())
    } else {
        format!("the newest with a torch {} that fits", torch.minor())
    };
    [of_torch, of_cuda]
}

fn attempt(
    settings: &Settings,
    wanted: &[Wanted],
    candidate: Candidate,
) -> Result<Chosen, Diagnostics> {
    let archs = archs(settings, &candidate);
    let pythons = pythons(settings, wanted, &candidate);
    let mut draft = Draft {
        farm: settings.farm.clone(),
        base: settings.base,
        candidate,
        archs,
        pythons,
        entries: Vec::new(),
    };
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    for package in wanted {
        match entry(settings, &mut draft, package) {
            Ok(entry) => entries.push(entry),
            Err(found) => faults.extend(found.iter().cloned()),
        }
    }
    Diagnostics::check((), faults)?;
    draft.entries = entries;
    let plan = trial(settings, &draft)?;
    Ok(Chosen { draft, plan })
}

/// The first release of a package that plans alone.
fn entry(settings: &Settings, draft: &mut Draft, wanted: &Wanted) -> Result<Entry, Diagnostics> {
    let mut first = None;
    for release in &wanted.releases {
        let entry = Entry::new(wanted.package, release, settings, &draft.archs);
        draft.entries = vec![entry];
        match trial(settings, draft) {
            Ok(_) => return Ok(draft.entries.remove(0)),
            Err(faults) => first = first.or(Some(faults)),
        }
    }
    Err(first.expect("every package has a release that is no variant and no pre-release"))
}

/// What a plan of `draft` would be: warnings count as faults, and so does a torch whose own code does
/// not run on a GPU that wheels are wanted for.
fn trial(settings: &Settings, draft: &Draft) -> Result<Plan, Diagnostics> {
    let text = draft.matrix();
    let matrix = Matrix::parse(super::MATRIX, &text)?;
    let plan = plan::expand(&PlanInput {
        matrix: &matrix,
        packages: shipped::packages(),
        patches: shipped::patches(),
        folders: &BTreeMap::new(),
    })?;
    let mut faults = plan.warnings.clone();
    let Candidate { torch, cuda, .. } = draft.candidate;
    for asked in &settings.gpus {
        let gpu = asked.gpu.capability;
        if compat::torch_build_runs_on(torch.minor(), cuda, gpu) == Some(false) {
            let place = &matrix.environments[0].torch[0].location;
            let message = format!(
                "torch {torch} for CUDA {cuda} does not run on {}",
                asked.gpu
            );
            let fault = Diagnostic::new(place.clone(), "torch-runs-on-gpu", message);
            let hint = format!("`wheelfarm compat {gpu}` shows which torch does");
            faults.push(fault.with_hint(hint));
        }
    }
    Diagnostics::check(plan, faults)
}

/// What was asked for; else those of the GPUs; else those that torch itself is built for. With PTX of
/// the last, for GPUs to come.
fn archs(settings: &Settings, candidate: &Candidate) -> Vec<ArchTarget> {
    if !settings.archs.is_empty() {
        return settings.archs.clone();
    }
    let mut archs: Vec<Arch> = if settings.gpus.is_empty() {
        let torch = candidate.torch.minor();
        let mut built = compat::archs_of_torch_build(torch, candidate.cuda);
        if let ([], Some(pair)) = (built, TABLE.compiled.first()) {
            // Something is wrong with this pair, and the plan will say so of it and not of its archs.
            built = compat::archs_of_torch_build(pair.torch.minor(), pair.cuda);
        }
        built.iter().map(|target| target.arch).collect()
    } else {
        let gpus = settings.gpus.iter();
        gpus.filter_map(|asked| plain(asked.gpu.capability))
            .collect()
    };
    archs.sort();
    archs.dedup();
    let last = archs.last().copied();
    let target = |arch| ArchTarget {
        arch,
        ptx: if Some(arch) == last {
            Ptx::With
        } else {
            Ptx::Without
        },
    };
    archs.into_iter().map(target).collect()
}

fn plain(capability: Capability) -> Option<Arch> {
    Arch::from_number(capability.number(), ArchSuffix::Portable)
}

/// What was asked for; else the base's own Python; else the one in the middle of those that torch has
/// wheels for and the packages take: neither about to be dropped nor too new for what else is installed.
fn pythons(settings: &Settings, wanted: &[Wanted], candidate: &Candidate) -> Vec<PythonVersion> {
    if !settings.pythons.is_empty() {
        return settings.pythons.clone();
    }
    if settings.base == BaseAsked::Debian {
        let base = compat::base_of(&TABLE.suite);
        let own = base.and_then(|base| base.python.as_deref());
        return own.and_then(|text| text.parse().ok()).into_iter().collect();
    }
    let Candidate { torch, cuda, .. } = *candidate;
    let index = match compat::cuda_on_pypi(torch.minor()) {
        Some(on_pypi) if on_pypi == cuda => Index::Pypi,
        Some(_) | None => Index::Pytorch,
    };
    let fits = |python: &PythonVersion| {
        let takes = |wanted: &Wanted| {
            let mut releases = wanted.releases.iter();
            releases.any(|release| release.needs.python.contains_python(*python))
        };
        python.threading() == Threading::Gil
            && compat::torch_has_python(torch, *python, Some(index)) == Verdict::Works
            && wanted.iter().all(takes)
    };
    let all = (8..30).filter_map(|minor| format!("3.{minor}").parse().ok());
    let fitting: Vec<PythonVersion> = all.filter(fits).collect();
    // Of none, the plan says what is wrong with a usual one.
    let middle = fitting.get(fitting.len() / 2).copied();
    let usual = || "3.12".parse().expect("it is a version");
    vec![middle.unwrap_or_else(usual)]
}

impl Entry {
    /// The entry of a release in a matrix that asks for `archs`. Where archs follow from GPUs, the
    /// entry gets those of the release that serve them; where somebody wrote archs, they are kept, and
    /// the plan says what it has against them.
    fn new(
        package: &Package,
        release: &PackageRelease,
        settings: &Settings,
        archs: &[ArchTarget],
    ) -> Self {
        let mut entry = Self {
            name: package.name.clone(),
            version: release.version.value.clone(),
            summary: package.summary.clone(),
            archs: Vec::new(),
            remarks: Vec::new(),
        };
        let Kernels::Compiled { archs: known, .. } = &release.kernels else {
            return entry;
        };
        if !settings.archs.is_empty() {
            return entry;
        }
        let mut own = Vec::new();
        let mut missing = Vec::new();
        let mut remarks = Vec::new();
        for target in archs {
            match serving(*target, known) {
                Some(serving) => {
                    if serving != *target {
                        remarks.push(format!("`{serving}` serves {}", target.arch));
                    }
                    own.push(serving);
                }
                None => missing.push(target.arch.to_string()),
            }
        }
        if !missing.is_empty() {
            remarks.push(format!("it has no kernels for {}", missing.join(", ")));
        }
        own.sort();
        own.dedup_by_key(|target| target.arch);
        // Of none of them, the plan says so.
        if !own.is_empty() && own != archs {
            entry.archs = own;
            entry.remarks = remarks;
        }
        entry
    }
}

/// Which of the `known` archs of a package serves a GPU of `target`: the same, the same with a suffix
/// (exactly that GPU, and PTX of it is for no other), or machine code of an earlier minor version, which
/// later ones run (CUDA C++ Programming Guide, binary compatibility).
fn serving(target: ArchTarget, known: &[Arch]) -> Option<ArchTarget> {
    if known.contains(&target.arch) {
        return Some(target);
    }
    let (major, minor) = target.arch.capability();
    let suffixed = known.iter().find(|arch| {
        arch.capability() == (major, minor) && target.arch.suffix() == ArchSuffix::Portable
    });
    if let Some(&arch) = suffixed {
        let ptx = Ptx::Without;
        return Some(ArchTarget { arch, ptx });
    }
    let earlier = known.iter().filter(|arch| {
        let (of_major, of_minor) = arch.capability();
        arch.suffix() == ArchSuffix::Portable && of_major == major && of_minor < minor
    });
    let arch = *earlier.max()?;
    Some(ArchTarget { arch, ..target })
}
