//! GPU code: is it there for every arch, in every container, and is it the same everywhere?

use std::collections::{BTreeMap, BTreeSet};

use super::{kernels, part_of, some_of};
use crate::arch::Arch;
use crate::fatbin::{Compression, Container, Content, Image, ImageKind};
use crate::gate::contract::{Contract, DeviceCode};
use crate::gate::finding::Finding;
use crate::gate::inspect::{ModuleReport, WheelReport};
use crate::gate::rule::Rule;

/// A kernel without a body is a return and padding: at most this long on every arch since 7.0.
const EMPTY_BYTES: u64 = 256;

/// A body this many times as long on another arch is no coincidence of code generation.
const FULL_TIMES: u64 = 8;

/// Whether an image should hold kernels: machine code or PTX.
pub(super) fn has_kernels(image: &Image) -> bool {
    match image.kind {
        ImageKind::Sass | ImageKind::Ptx => true,
        ImageKind::Lto | ImageKind::Unknown(_) => false,
    }
}

/// What is wrong with a module's images whatever was asked for.
pub(super) fn images(module: &ModuleReport, findings: &mut Vec<Finding>) {
    let path = &*module.facts.path;
    let containers: Vec<&Container> = module.kernel_containers().collect();
    if containers.is_empty() && !module.relocatable.is_empty() {
        let seen = format!(
            "{} containers in __nv_relfatbin, none in .nv_fatbin",
            module.relocatable.len()
        );
        findings.push(Finding::new(Rule::ArchRelocatableOnly, path, seen));
    }
    let mut unknown = BTreeSet::new();
    let mut other_archs = BTreeSet::new();
    let mut unreadable = BTreeSet::new();
    for image in module.containers.iter().flat_map(|found| &found.images) {
        unknown.extend(what_is_unknown(image));
        match &image.content {
            Some(Content::Read {
                arch: Some(inside), ..
            }) if differs(image, *inside) => {
                other_archs.insert(format!("{} holds code for {inside}", label(image)));
            }
            Some(Content::Unreadable(why)) => {
                unreadable.insert(format!("{}: {why}", label(image)));
            }
            Some(Content::Read { .. }) | None => {}
        }
    }
    for seen in unknown {
        findings.push(Finding::new(Rule::ArchUnknownImage, path, seen));
    }
    for seen in other_archs {
        findings.push(Finding::new(Rule::ArchHeaderMismatch, path, seen));
    }
    for seen in unreadable {
        findings.push(Finding::new(Rule::ModuleUnreadable, path, seen));
    }
    parity(path, &containers, findings);
    empty_kernels(path, &containers, findings);
}

fn what_is_unknown(image: &Image) -> Option<String> {
    if let ImageKind::Unknown(kind) = image.kind {
        return Some(format!("an image of kind {kind:#x}"));
    }
    if image.arch.is_none() {
        return Some("an image for an arch with no number of NVIDIA's".to_owned());
    }
    (image.compression == Compression::Unknown)
        .then(|| format!("{} is packed in an unknown way", label(image)))
}

/// Whether the payload is for another arch than its header says. Cubins of code version 1.8 have
/// the suffix in the header alone.
fn differs(image: &Image, inside: Arch) -> bool {
    let Some(outside) = image.arch else {
        return false;
    };
    match image.kind {
        ImageKind::Ptx => inside != outside,
        ImageKind::Sass | ImageKind::Lto | ImageKind::Unknown(_) => {
            inside.capability() != outside.capability()
        }
    }
}

/// `sm_90a` or `compute_90`, as NVIDIA writes them.
pub(in crate::gate) fn label(image: &Image) -> String {
    let number = image
        .arch
        .map_or_else(|| "?".to_owned(), |arch| arch.number());
    match image.kind {
        ImageKind::Sass => format!("sm_{number}"),
        ImageKind::Ptx => format!("compute_{number}"),
        ImageKind::Lto => format!("lto_{number}"),
        ImageKind::Unknown(_) => format!("unknown_{number}"),
    }
}

/// One arch of a module that lacks kernels which its containers have for other archs.
#[derive(Default)]
struct Lack<'a> {
    containers: usize,
    kernels: BTreeSet<&'a str>,
}

/// How often an image of a module is asked for a kernel. Real modules stay below a tenth; a hostile
/// container has a thousand images, each with kernels that the others lack.
const PARITY_CAP: usize = 20_000_000;

fn parity(path: &str, containers: &[&Container], findings: &mut Vec<Finding>) {
    let mut lacks: BTreeMap<String, Lack<'_>> = BTreeMap::new();
    let mut left = PARITY_CAP;
    for container in containers {
        let read = container.images.iter().filter(|image| has_kernels(image));
        let read: Vec<(&Image, BTreeSet<&str>)> = read
            .filter_map(|image| {
                let names = kernels(image)?.iter().map(|kernel| kernel.name.as_str());
                Some((image, names.collect()))
            })
            .collect();
        let all: BTreeSet<&str> = read.iter().flat_map(|(_, names)| names).copied().collect();
        let Some(rest) = left.checked_sub(all.len().saturating_mul(read.len())) else {
            let why = "it has more kernels in more images than any real module";
            findings.push(Finding::not_checked(Rule::ArchKernelParity, path, why));
            return;
        };
        left = rest;
        let mut lacking = BTreeSet::new();
        for (image, names) in &read {
            let missing: Vec<&&str> = all.difference(names).collect();
            if missing.is_empty() {
                continue;
            }
            let lack = lacks.entry(label(image)).or_default();
            lack.containers += usize::from(lacking.insert(label(image)));
            lack.kernels.extend(missing.into_iter().copied());
        }
    }
    for (arch, lack) in lacks {
        let names: Vec<String> = lack.kernels.into_iter().map(str::to_owned).collect();
        let seen = format!(
            "{arch} lacks {} kernels that another arch of its container has, in {} containers: {}",
            names.len(),
            part_of(lack.containers, containers.len()),
            some_of(&names)
        );
        findings.push(Finding::new(Rule::ArchKernelParity, path, seen));
    }
}

fn empty_kernels(path: &str, containers: &[&Container], findings: &mut Vec<Finding>) {
    let mut empty: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in containers {
        let mut longest: BTreeMap<&str, u64> = BTreeMap::new();
        for kernel in container.images.iter().filter_map(kernels).flatten() {
            let length = longest.entry(&kernel.name).or_default();
            *length = kernel.code_bytes.unwrap_or(0).max(*length);
        }
        for image in &container.images {
            for kernel in kernels(image).unwrap_or_default() {
                let full = longest.get(&*kernel.name).copied().unwrap_or(0);
                let is_empty = kernel
                    .code_bytes
                    .is_some_and(|own| own <= EMPTY_BYTES && full >= own.max(1) * FULL_TIMES);
                if is_empty {
                    let of_arch = empty.entry(label(image)).or_default();
                    of_arch.insert(kernel.name.clone());
                }
            }
        }
    }
    for (arch, names) in empty {
        let names: Vec<String> = names.into_iter().collect();
        let seen = format!(
            "{arch} has {} kernels with an empty body where another arch has a full one: {}",
            names.len(),
            some_of(&names)
        );
        findings.push(Finding::new(Rule::ArchEmptyKernel, path, seen));
    }
}

/// Whether the modules that the contract names are there, and no other one has GPU code.
pub(super) fn modules(report: &WheelReport, contract: &Contract, findings: &mut Vec<Finding>) {
    for terms in contract.module_terms() {
        let is_for_these_archs = contract.archs.is_none()
            || terms.device_code == DeviceCode::None
            || !contract.targets(Some(terms)).native.is_empty();
        let has = |path: &str| terms.name.matches(path);
        if is_for_these_archs && !report.modules.iter().any(|module| has(&module.facts.path)) {
            let seen = "is not in the wheel";
            findings.push(Finding::new(Rule::ModuleMissing, terms.name.as_str(), seen));
        }
    }
    if contract.module_terms().next().is_none() {
        let has_code = report.modules.iter().any(ModuleReport::has_device_code);
        if contract.archs.is_some() && !has_code {
            let seen = "no module holds GPU code";
            let finding = Finding::new(Rule::ArchMissingSass, &*report.file_name, seen);
            findings.push(finding.expected(asked(contract)));
        }
        return;
    }
    for module in &report.modules {
        let path = &*module.facts.path;
        if module.has_device_code() && contract.terms_of(path).is_none() {
            let seen = "holds GPU code, and the contract does not name it";
            findings.push(Finding::new(Rule::ModuleUnexpected, path, seen));
        }
    }
}

fn asked(contract: &Contract) -> String {
    match &contract.archs {
        Some(archs) => archs.to_string(),
        None => "no GPU code".to_owned(),
    }
}

/// Whether a module has what was asked for, container by container.
pub(super) fn targets(module: &ModuleReport, contract: &Contract, findings: &mut Vec<Finding>) {
    let path = &*module.facts.path;
    let terms = contract.terms_of(path);
    let wants_code = match terms.map(|terms| terms.device_code) {
        Some(DeviceCode::None) => false,
        Some(DeviceCode::Required) => contract.archs.is_some(),
        // What no line names is held to all that was asked for, if it has GPU code at all.
        None => contract.archs.is_some() && module.has_device_code(),
    };
    let containers: Vec<&Container> = module.kernel_containers().collect();
    let targets = contract.targets(terms);
    if !wants_code {
        if let Some(image) = containers.iter().flat_map(|found| &found.images).next() {
            let finding = Finding::new(Rule::ArchUnasked, path, label(image));
            findings.push(finding.expected("no GPU code"));
        }
        return;
    }
    if containers.is_empty() && !targets.native.is_empty() {
        let finding = Finding::new(Rule::ArchMissingSass, path, "no GPU code");
        findings.push(finding.expected(list(&targets.native, "sm_")));
        return;
    }
    let total = containers.len();
    for &arch in &targets.native {
        let lacking = without(&containers, ImageKind::Sass, arch);
        if lacking.is_empty() {
            continue;
        }
        let has_ptx = |container: &&&Container| {
            let images = container.images.iter();
            images
                .filter(|image| image.kind == ImageKind::Ptx)
                .any(|image| image.arch == Some(arch))
        };
        let with_ptx = lacking.iter().filter(has_ptx).count();
        let rule = if with_ptx == lacking.len() {
            Rule::ArchJitOnly
        } else {
            Rule::ArchMissingSass
        };
        let seen = format!(
            "{} containers have no sm_{}; they hold {}",
            part_of(lacking.len(), total),
            arch.number(),
            held(&lacking)
        );
        let finding = Finding::new(rule, path, seen);
        findings.push(finding.expected(format!("sm_{} in every container", arch.number())));
    }
    for &arch in &targets.ptx {
        let lacking = without(&containers, ImageKind::Ptx, arch);
        if !lacking.is_empty() {
            let seen = format!(
                "{} containers have no compute_{}; they hold {}",
                part_of(lacking.len(), total),
                arch.number(),
                held(&lacking)
            );
            let finding = Finding::new(Rule::ArchMissingPtx, path, seen);
            findings
                .push(finding.expected(format!("compute_{} in every container", arch.number())));
        }
    }
    unasked(path, &containers, &targets, findings);
}

fn unasked(
    path: &str,
    containers: &[&Container],
    targets: &crate::gate::contract::Targets,
    findings: &mut Vec<Finding>,
) {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for container in containers {
        let unasked: BTreeSet<String> = container
            .images
            .iter()
            .filter(|image| {
                let wanted = match image.kind {
                    ImageKind::Sass => &targets.native,
                    ImageKind::Ptx => &targets.ptx,
                    ImageKind::Lto | ImageKind::Unknown(_) => return false,
                };
                image.arch.is_some_and(|arch| !wanted.contains(&arch))
            })
            .map(label)
            .collect();
        for label in unasked {
            *found.entry(label).or_default() += 1;
        }
    }
    for (label, count) in found {
        let seen = format!("{label} in {} containers", part_of(count, containers.len()));
        findings.push(Finding::new(Rule::ArchUnasked, path, seen));
    }
}

fn without<'a>(containers: &[&'a Container], kind: ImageKind, arch: Arch) -> Vec<&'a Container> {
    let has = |image: &Image| image.kind == kind && image.arch == Some(arch);
    let lacking = containers.iter().copied();
    lacking
        .filter(|container| !container.images.iter().any(has))
        .collect()
}

/// What containers hold: `sm_90, compute_90`.
fn held(containers: &[&Container]) -> String {
    let images = containers.iter().flat_map(|container| &container.images);
    let labels: BTreeSet<String> = images.map(label).collect();
    if labels.is_empty() {
        return "nothing".to_owned();
    }
    labels.into_iter().collect::<Vec<_>>().join(", ")
}

fn list(archs: &BTreeSet<Arch>, prefix: &str) -> String {
    let archs = archs
        .iter()
        .map(|arch| format!("{prefix}{}", arch.number()));
    archs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fatbin::Kernel;

    /// A container of as many images, each with kernels that no other one has.
    fn without_parity(images: usize, kernels: usize) -> Container {
        let image = |image: usize| Image {
            kind: ImageKind::Ptx,
            arch: "9.0".parse().ok(),
            version: (8, 0),
            compression: Compression::None,
            stored_bytes: 0,
            size_bytes: 0,
            flags: 0,
            content: Some(Content::Read {
                arch: None,
                kernels: (0..kernels)
                    .map(|kernel| Kernel {
                        name: format!("{image}_{kernel}"),
                        code_bytes: None,
                    })
                    .collect(),
            }),
        };
        Container {
            offset: 0,
            images: (0..images).map(image).collect(),
            complete: true,
        }
    }

    #[track_caller]
    fn check_parity(container: &Container, want: &str) {
        let mut findings = Vec::new();
        parity("a.so", &[container], &mut findings);
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        assert_eq!(finding.seen, want);
    }

    #[test]
    fn kernels_are_compared_unless_there_are_too_many() {
        check_parity(
            &without_parity(2, 1),
            "compute_90 lacks 2 kernels that another arch of its container has, in all 1 containers: `0_0`, `1_0`",
        );
        check_parity(
            &without_parity(1000, 21),
            "it has more kernels in more images than any real module",
        );
    }
}
