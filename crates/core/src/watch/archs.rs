//! Archs that have become possible: the package has kernels for them, toolkit and torch take them, and
//! the matrix does not ask for them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Comparison, MatrixChange, News, NewsKind, Packages, listed};
use crate::arch::Arch;
use crate::compat::{self, Verdict};
use crate::gpu::{self, Capability, Platform};
use crate::matrix::{EnvironmentAxes, Matrix, MatrixPackage};
use crate::package::{Kernels, Package};

/// Notes which archs each package could be built for besides.
///
/// An arch that every package of the matrix's own list could have is one piece of news; others belong
/// to their package.
pub(super) fn compare(matrix: &Matrix, packages: &Packages, comparison: &mut Comparison) {
    let compiled: Vec<_> = matrix
        .packages
        .iter()
        .filter_map(|entry| {
            let package = packages.get(&entry.name.value)?;
            Some((entry, possible(matrix, entry, package)?))
        })
        .collect();
    let sharing: Vec<_> = compiled
        .iter()
        .filter(|(entry, _)| entry.archs.is_empty())
        .collect();
    let mut shared: Vec<Arch> = Vec::new();
    if let Some(((_, first), rest)) = sharing.split_first() {
        let everywhere = |arch: &&Arch| rest.iter().all(|(_, archs)| archs.contains_key(*arch));
        shared = first.keys().filter(everywhere).copied().collect();
    }
    for arch in &shared {
        let names = sharing.iter().map(|(entry, _)| &entry.name.value);
        let mut item = news(matrix, None, *arch);
        item.notes
            .push(format!("there are kernels for it in {}", listed(names)));
        let environments = sharing.iter().flat_map(|(_, archs)| &archs[arch]);
        let environments: BTreeSet<_> = environments.collect();
        item.notes
            .push(format!("possible in {}", listed(environments)));
        item.change = Some(MatrixChange::AddSharedArch { arch: *arch });
        comparison.news.push(item);
    }
    for (entry, archs) in &compiled {
        for (arch, environments) in archs {
            if entry.archs.is_empty() && shared.contains(arch) {
                continue;
            }
            let mut item = news(matrix, Some(entry), *arch);
            item.notes
                .push(format!("possible in {}", listed(environments)));
            item.change = Some(MatrixChange::AddArch {
                package: entry.name.value.clone(),
                arch: *arch,
            });
            comparison.news.push(item);
        }
    }
}

fn news(matrix: &Matrix, entry: Option<&MatrixPackage>, arch: Arch) -> News {
    let subject = match entry {
        Some(entry) => format!("{} archs", entry.name.value),
        None => "archs".to_owned(),
    };
    let asked = match entry {
        Some(entry) => entry.asked_archs(matrix),
        None => &matrix.archs,
    };
    let gpu = gpu_of(arch);
    News {
        kind: NewsKind::Arch,
        subject,
        there: arch.to_string(),
        here: listed(asked.iter().map(|arch| arch.value)),
        link: gpu.map_or_else(
            || "https://developer.nvidia.com/cuda-gpus".to_owned(),
            |gpu| gpu.source.clone(),
        ),
        notes: gpu
            .map(|gpu| format!("for {}", gpu.example))
            .into_iter()
            .collect(),
        change: None,
        release: None,
    }
}

fn gpu_of(arch: Arch) -> Option<&'static gpu::Gpu> {
    gpu::of(Capability::of_arch(arch))
}

/// The archs that every wanted release of a compiled package has kernels for, with the environments
/// that take them; `None` where nothing is compiled.
///
/// Tegra chips are not in machines with an `x86_64`, so wheels of this farm never run there.
fn possible<'a>(
    matrix: &'a Matrix,
    entry: &MatrixPackage,
    package: &Package,
) -> Option<BTreeMap<Arch, Vec<&'a str>>> {
    let asked: Vec<_> = entry
        .asked_archs(matrix)
        .iter()
        .map(|arch| arch.value.arch)
        .collect();
    let mut common: Option<Vec<Arch>> = None;
    for version in &entry.versions {
        let mut releases = package.releases.iter();
        let release = releases.find(|release| release.version.value == version.value)?;
        let Kernels::Compiled { archs, .. } = &release.kernels else {
            continue;
        };
        common = Some(match common {
            Some(common) => common
                .into_iter()
                .filter(|arch| archs.contains(arch))
                .collect(),
            None => archs.clone(),
        });
    }
    let is_new = |arch: &Arch| {
        let is_asked = asked
            .iter()
            .any(|asked| asked.capability() == arch.capability());
        let is_tegra = gpu_of(*arch).is_some_and(|gpu| gpu.platform == Platform::Tegra);
        !is_asked && !is_tegra
    };
    let archs = common?.into_iter().filter(is_new);
    let environments = |arch: Arch| -> Vec<&'a str> {
        matrix
            .environments
            .iter()
            .filter(|environment| entry.is_built_in(environment) && takes(environment, arch))
            .map(|environment| environment.name.value.as_str())
            .collect()
    };
    let possible = archs.map(|arch| (arch, environments(arch)));
    Some(
        possible
            .filter(|(_, environments)| !environments.is_empty())
            .collect(),
    )
}

/// Whether the toolkit of an environment and one of its torches take `arch`. No row is no yes.
fn takes(environment: &EnvironmentAxes, arch: Arch) -> bool {
    let mut torches = environment.torch.iter();
    compat::toolkit_compiles(environment.cuda.value, arch) == Verdict::Works
        && torches.any(|torch| compat::torch_takes_arch(torch.value, arch) == Verdict::Works)
}
