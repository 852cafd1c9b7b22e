//! GPU code: is it there for every arch, in every container, and is it the same everywhere?

use std::collections::{BTreeMap, BTreeSet};

use super::{kernels, part_of, some_of};
use crate::arch::Arch;
use crate::fatbin::{Compression, Container, Content, Image, ImageKind};
use crate::gate::contract::{Contract, DeviceCode};
use crate::gate::finding::Finding;
use crate::gate::inspect::{ModuleReport, WheelReport};
use crate::gate::rule::Rule;
use crate::gpu::Capability;
use crate::gpu::rules::{ContainerRun, container_runs};

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

/// Whether the payload is for another arch than its header says, suffix included: a cubin names it
/// in a flag or in a note (tried with ptxas of CUDA 12.8, 12.9 and 13.0); in one that does not, it
/// is read as the header's.
fn differs(image: &Image, inside: Arch) -> bool {
    image.arch.is_some_and(|outside| inside != outside)
}

/// `sm_90a` or `compute_90`, as NVIDIA writes them.
pub(in crate::gate) fn label(image: &Image) -> String {
    let number = image.arch.map_or_else(|| "?".to_owned(), Arch::number);
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
    let mut rules = report.findings.iter().map(|finding| finding.rule);
    // Of an archive that could not be opened, nobody knows what it lacks.
    if report.modules.is_empty() && rules.any(|rule| rule == Rule::ArchiveUnsound) {
        return;
    }
    let unread: Vec<&str> = report.unread().collect();
    for terms in contract.module_terms() {
        let is_for_these_archs = contract.archs.is_none()
            || terms.device_code == DeviceCode::None
            || !contract.targets(Some(terms)).native.is_empty();
        let modules = report.modules.iter().map(|module| &*module.facts.path);
        let mut there = modules.chain(unread.iter().copied());
        if is_for_these_archs && !there.any(|path| terms.name.matches(path)) {
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
        let seen = if module.relocatable.is_empty() {
            "no GPU code"
        } else {
            "relocatable GPU code alone"
        };
        let finding = Finding::new(Rule::ArchMissingSass, path, seen);
        findings.push(finding.expected(list(&targets.native, "sm_")));
        return;
    }
    for &arch in &targets.native {
        let lacking = without(&containers, ImageKind::Sass, arch);
        // Machine code of another suffix or minor version may run there; PTX alone is compiled.
        let gpu = Capability::of_arch(arch);
        let is_compiled = |container: &&Container| {
            let run = container_runs(&container.images, gpu);
            matches!(run, ContainerRun::Jit { .. })
        };
        let rule = if lacking.iter().all(is_compiled) {
            Rule::ArchJitOnly
        } else {
            Rule::ArchMissingSass
        };
        let wanted = format!("sm_{}", arch.number());
        findings.extend(lack(rule, path, &wanted, &lacking, containers.len()));
    }
    for &arch in &targets.ptx {
        let lacking = without(&containers, ImageKind::Ptx, arch);
        let wanted = format!("compute_{}", arch.number());
        let total = containers.len();
        findings.extend(lack(Rule::ArchMissingPtx, path, &wanted, &lacking, total));
    }
    unasked(path, &containers, &targets, findings);
}

/// What `rule` has to say when some of a module's containers have no `wanted`.
fn lack(
    rule: Rule,
    path: &str,
    wanted: &str,
    lacking: &[&Container],
    total: usize,
) -> Option<Finding> {
    if lacking.is_empty() {
        return None;
    }
    let seen = format!(
        "{} containers have no {wanted}; they hold {}",
        part_of(lacking.len(), total),
        held(lacking)
    );
    Some(Finding::new(rule, path, seen).expected(format!("{wanted} in every container")))
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
    use super::super::fixture::{check, container, contract, contract_for, demo, module};
    use super::{Finding, Rule};
    use crate::gate::finding::Verdict;
    use crate::gate::judge::Judgement;

    const PATH: &str = "demo/_C.so";
    /// What the contract of these tests asks for.
    const GOOD: &str = "sm_90 sm_120 compute_120";

    /// Judges one module; `want` has severities and rules, and all of them are at the module.
    #[track_caller]
    fn check_code(containers: &[&str], terms: &str, want: &[&str]) -> Judgement {
        let want: Vec<String> = want.iter().map(|found| format!("{found} {PATH}")).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check(demo([module(PATH, containers)]), &contract(terms), &want)
    }

    #[test]
    fn every_container_has_all_that_was_asked_for() {
        let judgement = check_code(&[GOOD, "compute_120 sm_120 sm_90"], "", &[]);
        assert_eq!(judgement.verdict, Verdict::Passed);
        let judgement = check_code(
            &[GOOD, "sm_120 compute_120", GOOD],
            "",
            &["error arch/missing-sass"],
        );
        let seen = "1 of 3 containers have no sm_90; they hold compute_120, sm_120";
        assert_eq!(judgement.findings[0].seen, seen);
        assert_eq!(judgement.verdict, Verdict::Failed);
        check_code(&["sm_90 sm_120"], "", &["error arch/missing-ptx"]);
        check_code(
            &["sm_80 sm_90 sm_120 compute_80 compute_120"],
            "",
            &["warning arch/unasked", "warning arch/unasked"],
        );
    }

    #[test]
    fn jit_only_is_what_the_driver_compiles_in_every_container() {
        check_code(&["sm_90 compute_120"], "", &["error arch/jit-only"]);
        // PTX of an earlier arch is compiled as well, and PTX of a later one is not.
        check_code(
            &["sm_90 compute_90"],
            "",
            &[
                "error arch/jit-only",
                "error arch/missing-ptx",
                "warning arch/unasked",
            ],
        );
        check_code(&["sm_120 compute_120"], "", &["error arch/missing-sass"]);
        check_code(
            &["sm_90 compute_120", "sm_90 compute_121"],
            "",
            &[
                "error arch/missing-sass",
                "error arch/missing-ptx",
                "warning arch/unasked",
            ],
        );
    }

    #[test]
    fn a_suffix_makes_another_arch() {
        check_code(
            &["sm_90 sm_120a compute_120"],
            "",
            &["error arch/missing-sass", "warning arch/unasked"],
        );
        check_code(
            &["sm_90 sm_120f compute_120"],
            "",
            &["error arch/missing-sass", "warning arch/unasked"],
        );
        check_code(
            &["sm_90 sm_120 compute_120a"],
            "",
            &["error arch/missing-ptx", "warning arch/unasked"],
        );
    }

    #[test]
    fn stubs_of_device_linking_need_nothing() {
        check_code(&[GOOD, "sm_90: sm_120:"], "", &[]);
        let stubs = demo([module(PATH, &["sm_90: sm_120:"])]);
        let found = format!("error arch/missing-sass {}", stubs.file_name);
        check(stubs, &contract(""), &[&found]);
    }

    #[test]
    fn archs_have_the_same_kernels_unless_the_contract_says_why_not() {
        let differ =
            "modules:\n  - name: demo/*\n    kernels: {may-differ: \"8.0 has no bfloat16\"}";
        let containers = [GOOD, "sm_90:a=999,b=999 sm_120:a=999 compute_120:a=0,b=0"];
        let judgement = check_code(&containers, "", &["error arch/kernel-parity"]);
        let seen = "sm_120 lacks 1 kernels that another arch of its container has, in 1 of 2 \
                    containers: `b`";
        assert_eq!(judgement.findings[0].seen, seen);
        check_code(&containers, differ, &[]);
        check_code(
            &["sm_90:a=999 sm_120:a=999 compute_120:"],
            "",
            &["error arch/kernel-parity"],
        );

        let empty = ["sm_90:a=4096 sm_120:a=128 compute_120:a=0"];
        let judgement = check_code(&empty, "", &["error arch/empty-kernel"]);
        let seen = "sm_120 has 1 kernels with an empty body where another arch has a full one: `a`";
        assert_eq!(judgement.findings[0].seen, seen);
        check_code(&empty, differ, &[]);
        check_code(&["sm_90:a=512 sm_120:a=128 compute_120:a=0"], "", &[]);
        check_code(&["sm_90:a=4096 sm_120:a=384 compute_120:a=0"], "", &[]);
    }

    #[test]
    fn a_difference_that_is_allowed_for_one_module_is_not_for_another() {
        let terms = "modules:\n  - name: demo/_A.so\n    kernels: {may-differ: \"so it is\"}\n  - name: demo/_B.so";
        let containers = &["sm_90:a=999 sm_120:a=999,b=999 compute_120:a=0"];
        let report = demo(["demo/_A.so", "demo/_B.so"].map(|path| module(path, containers)));
        let want = "error arch/kernel-parity demo/_B.so";
        check(report, &contract(terms), &[want, want]);
    }

    #[test]
    fn a_header_must_name_the_arch_of_its_content() {
        let wrong = &["error arch/header-mismatch"];
        let judgement = check_code(&["sm_90@8.0 sm_120 compute_120"], "", wrong);
        assert_eq!(judgement.findings[0].seen, "sm_90 holds code for 8.0");
        check_code(&["sm_90 sm_120 compute_120@12.0a"], "", wrong);
        let suffix = &[
            "error arch/missing-sass",
            "error arch/header-mismatch",
            "warning arch/unasked",
        ];
        check_code(&["sm_90 sm_120a@12.0 compute_120"], "", suffix);
    }

    #[test]
    fn what_is_unknown_is_not_checked_and_what_is_damaged_is_an_error() {
        let unknown = &["not-checked arch/unknown-image"];
        let judgement = check_code(&["sm_90 sm_120 compute_120 kind64_90"], "", unknown);
        assert_eq!(judgement.verdict, Verdict::NotChecked);
        assert_eq!(judgement.findings[0].seen, "an image of kind 0x40");
        check_code(&["sm_90 sm_120 compute_120 sm_5"], "", unknown);
        check_code(&["sm_90 sm_120 compute_120 lto_90"], "", &[]);
        check_code(
            &["sm_90! sm_120 compute_120"],
            "",
            &["error module/unreadable"],
        );
    }

    #[test]
    fn kernels_that_were_not_looked_at_are_not_checked() {
        let report = demo([module(PATH, &["sm_90 sm_120? compute_120"])]);
        let found = ["arch/kernel-parity", "arch/empty-kernel"]
            .map(|rule| format!("not-checked {rule} {}", report.file_name));
        let found = found.each_ref().map(String::as_str);
        check(report, &contract(""), &found);
    }

    #[test]
    fn relocatable_code_and_code_for_amd_do_not_count() {
        let mut linked = module(PATH, &[]);
        linked.relocatable = vec![container(GOOD)];
        let want = [
            format!("error arch/missing-sass {PATH}"),
            format!("warning arch/relocatable-only {PATH}"),
        ];
        let judgement = check(
            demo([linked]),
            &contract(""),
            &want.each_ref().map(|w| &**w),
        );
        assert_eq!(judgement.findings[0].seen, "relocatable GPU code alone");

        let mut amd = module(PATH, &[]);
        amd.has_hip = true;
        let report = demo([amd]);
        let found = format!("error arch/missing-sass {}", report.file_name);
        check(report, &contract(""), &[&found]);
    }

    #[test]
    fn code_that_nobody_asked_for_is_a_warning() {
        let warning = format!("warning arch/unasked {PATH}");
        let none = contract_for("", "13.0", "");
        check(demo([module(PATH, &[GOOD])]), &none, &[&warning]);
        check(demo([module(PATH, &[])]), &none, &[]);
        let terms = "modules:\n  - name: demo/*\n    device-code: none";
        check_code(&[GOOD], terms, &["warning arch/unasked"]);
    }

    #[test]
    fn a_line_of_the_contract_has_archs_of_its_own() {
        let hopper =
            "modules:\n  - name: demo/*\n    archs: [\"9.0\"]\n    built-as: {\"9.0\": \"9.0a\"}";
        check_code(&["sm_90a"], hopper, &[]);
        check_code(
            &["sm_90"],
            hopper,
            &["error arch/missing-sass", "warning arch/unasked"],
        );
        let later = "modules:\n  - name: demo/*\n    archs: [\"12.0\"]\n    ptx: none";
        check_code(&["sm_120"], later, &[]);
        check_code(&["sm_120 compute_120"], later, &["warning arch/unasked"]);
        // Nobody asked for 8.9, so the module may be left out, and its code is more than was asked.
        let ada = "modules:\n  - name: demo/*\n    archs: [\"8.9\"]";
        check_code(&["sm_89"], ada, &["warning arch/unasked"]);
        check(demo([]), &contract(ada), &[]);
    }

    #[test]
    fn modules_are_those_of_the_contract() {
        let terms = "modules:\n  - name: demo/_C*.so\n  - name: demo/_new.so\n    cuda: \">=13.1\"";
        check_code(&[GOOD], terms, &[]);
        check(
            demo([]),
            &contract(terms),
            &["error module/missing demo/_C*.so"],
        );
        let newer = contract_for(r#"["9.0", "12.0+PTX"]"#, "13.1", terms);
        check(
            demo([module(PATH, &[GOOD])]),
            &newer,
            &["error module/missing demo/_new.so"],
        );
        // Without a line that holds, a module is held to all that was asked for.
        check(
            demo([
                module(PATH, &[GOOD]),
                module("demo/_new.so", &["sm_90 compute_120"]),
            ]),
            &contract(terms),
            &[
                "error arch/jit-only demo/_new.so",
                "warning module/unexpected demo/_new.so",
            ],
        );
        let without_code = "modules:\n  - name: demo/*\n    device-code: none";
        let missing = "error module/missing demo/*";
        check(demo([]), &contract(without_code), &[missing]);
    }

    #[test]
    fn a_module_that_cannot_be_read_is_not_missing() {
        let terms = "modules:\n  - name: demo/_C.so";
        let mut report = demo([]);
        let unreadable = Finding::new(Rule::ModuleUnreadable, PATH, "cut off");
        report.findings.push(unreadable);
        let want = format!("error module/unreadable {PATH}");
        check(report, &contract(terms), &[&want]);

        let mut report = demo([]);
        let unsound = Finding::new(Rule::ArchiveUnsound, "../evil.py", "is no name");
        report.findings.push(unsound);
        let want = "error archive/unsound ../evil.py";
        check(report, &contract(terms), &[want]);
    }
}

#[cfg(test)]
mod cap_tests {
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
