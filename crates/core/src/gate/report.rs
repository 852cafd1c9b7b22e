//! What is known of a wheel, as JSON and in the words that people read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::finding::{Finding, Verdict};
use super::inspect::{FileKind, ModuleReport, WheelReport, python_of};
use super::judge::{Judgement, label};
use crate::fatbin::{Container, Content, Image, ImageKind};
use crate::gpu::sentence::sentence;
use crate::gpu::verdict::{self, GpuVerdict, ModuleCode};
use crate::gpu::{self, Capability};
use crate::manifest::{ModuleArchs, RunsOn};
use crate::version::CudaVersion;
use crate::wheel::elf::is_torch_symbol;

/// The schema of every JSON text in this module.
pub const SCHEMA: u32 = 1;

/// What the wheel's GPU code does on a GPU of compute capability `gpu`.
pub fn runs_on(report: &WheelReport, gpu: Capability) -> GpuVerdict {
    let modules: Vec<ModuleCode<'_>> = report.modules.iter().map(code_of).collect();
    let mut found = verdict::runs_on(&modules, cuda_of(&report.modules), gpu);
    // What could not be read may hold anything: it counts as one container that is not known.
    if !report.is_read_to_the_end() {
        found.unknown += 1;
        found.total += 1;
        found.verdict = match found.verdict {
            verdict::Verdict::Partly => verdict::Verdict::Partly,
            verdict::Verdict::Native
            | verdict::Verdict::Jit
            | verdict::Verdict::Fails
            | verdict::Verdict::Unknown
            | verdict::Verdict::NoDeviceCode => verdict::Verdict::Unknown,
        };
    }
    found
}

/// That answer as a sentence, with the file's name.
pub fn answer(report: &WheelReport, gpu: Capability) -> String {
    let name = &report.file_name;
    if report.is_read_to_the_end() {
        return format!("{name} {}", sentence(&runs_on(report, gpu)));
    }
    format!("{name} cannot be read to its end, so whether it runs on {gpu} is not known")
}

/// The same for one module.
pub fn module_runs_on(module: &ModuleReport, gpu: Capability) -> GpuVerdict {
    let cuda = cuda_of(std::slice::from_ref(module));
    verdict::runs_on(&[code_of(module)], cuda, gpu)
}

/// The same for every GPU that is known, by compute capability.
pub fn runs_on_known(report: &WheelReport) -> Vec<GpuVerdict> {
    gpu::known()
        .map(|gpu| runs_on(report, gpu.capability))
        .collect()
}

fn code_of(module: &ModuleReport) -> ModuleCode<'_> {
    ModuleCode {
        executable: module.kernel_containers().collect(),
        relocatable: module.relocatable.iter().collect(),
    }
}

/// The CUDA that the modules were built with, as far as the runtime that they load tells it.
fn cuda_of(modules: &[ModuleReport]) -> Option<CudaVersion> {
    let needed = modules.iter().flat_map(|module| &module.facts.needed);
    let major = needed
        .filter_map(|soname| soname.strip_prefix("libcudart.so."))
        .find_map(|version| version.split('.').next());
    format!("{}.0", major?).parse().ok()
}

/// How many of a module's containers hold an image, by the image's label (`sm_90a`).
pub fn arch_counts(module: &ModuleReport) -> BTreeMap<ArchColumn, usize> {
    let mut counts = BTreeMap::new();
    for container in module.kernel_containers() {
        let columns: BTreeSet<ArchColumn> = container.images.iter().map(ArchColumn::of).collect();
        for column in columns {
            *counts.entry(column).or_default() += 1;
        }
    }
    counts
}

/// A kind and an arch, in the order of a table's columns: machine code first, by arch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchColumn {
    kind: ImageKind,
    arch: Option<crate::arch::Arch>,
    label: String,
}

impl ArchColumn {
    fn of(image: &Image) -> Self {
        Self {
            kind: image.kind,
            arch: image.arch,
            label: label(image),
        }
    }

    /// `sm_90a`, `compute_90`.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// What a manifest says of the GPUs that are known.
pub fn runs_on_records(report: &WheelReport) -> Vec<RunsOn> {
    let known = gpu::known();
    known
        .map(|gpu| {
            let verdict = runs_on(report, gpu.capability);
            RunsOn {
                capability: gpu.capability.to_string(),
                example: gpu.example.clone(),
                verdict: verdict.verdict.as_str().to_owned(),
                least_driver: verdict.least_driver.map(|driver| driver.to_string()),
            }
        })
        .collect()
}

/// What a manifest says of the modules' GPU code.
pub fn module_archs(report: &WheelReport) -> BTreeMap<String, ModuleArchs> {
    let modules = report
        .modules
        .iter()
        .filter(|module| module.has_device_code());
    modules
        .map(|module| {
            let counts = arch_counts(module).into_iter();
            let archs = ModuleArchs {
                containers: module.kernel_containers().count(),
                images: counts
                    .map(|(column, count)| (column.label, count))
                    .collect(),
            };
            (module.facts.path.clone(), archs)
        })
        .collect()
}

/// Where a wheel runs, in a line: `native 8.0, 9.0; jit 12.0 (driver 570.26); fails elsewhere`.
pub fn runs_on_line(runs_on: &[RunsOn]) -> String {
    let of = |wanted: &str| {
        let gpus = runs_on.iter().filter(|gpu| gpu.verdict == wanted);
        gpus.map(|gpu| gpu.capability.as_str()).collect::<Vec<_>>()
    };
    if of("no-device-code").len() == runs_on.len() {
        return "no GPU code".to_owned();
    }
    let parts = ["native", "jit", "partly", "unknown", "fails"].map(|verdict| {
        let gpus = of(verdict);
        (!gpus.is_empty()).then(|| format!("{verdict} {}", gpus.join(" ")))
    });
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Sorts the labels of images as a table's columns are: machine code first, by arch.
pub fn label_order(label: &str) -> (bool, u32, &str) {
    let digits: String = label.chars().filter(char::is_ascii_digit).collect();
    let is_machine_code = label.starts_with("sm_");
    (!is_machine_code, digits.parse().unwrap_or(0), label)
}

/// How many different kernels a module has for each arch; empty unless it was read deeply.
pub fn kernel_counts(module: &ModuleReport) -> BTreeMap<String, usize> {
    let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for image in module.kernel_containers().flat_map(|found| &found.images) {
        if let Some(Content::Read { kernels, .. }) = &image.content {
            let of_arch = names.entry(label(image)).or_default();
            of_arch.extend(kernels.iter().map(|kernel| kernel.name.as_str()));
        }
    }
    let counts = names.into_iter();
    counts.map(|(label, names)| (label, names.len())).collect()
}

/// Everything that is known of a file, schema 1.
pub fn inspection(report: &WheelReport, is_deep: bool) -> Value {
    let metadata = report.metadata.as_ref();
    let modules: Vec<Value> = report
        .modules
        .iter()
        .map(|module| module_json(module, is_deep))
        .collect();
    json!({
        "file": report.file_name,
        "kind": match report.kind {
            FileKind::Wheel => "wheel",
            FileKind::Module => "module",
        },
        "name": metadata.map(|metadata| &metadata.project),
        "version": metadata.map(|metadata| &metadata.version),
        "requires_python": metadata.and_then(|metadata| metadata.requires_python.as_ref()),
        "requires_dist": metadata.map(|metadata| &metadata.requires_dist),
        "tags": report.tags,
        "sha256": report.sha256.map(|sha256| sha256.to_string()),
        "size_bytes": report.size_bytes,
        "modules": modules,
        "gpu_files": report.gpu_files,
        "runs_on": runs_on_json(report),
        "findings": report.findings,
    })
}

/// For every known GPU, by an example of its name: what the wheel does there.
fn runs_on_json(report: &WheelReport) -> Vec<Value> {
    gpu::known()
        .map(|gpu| {
            let verdict = runs_on(report, gpu.capability);
            let mut value = serde_json::to_value(&verdict).expect("a verdict serialises");
            value["name"] = json!(gpu.example);
            value
        })
        .collect()
}

fn module_json(module: &ModuleReport, is_deep: bool) -> Value {
    let facts = &module.facts;
    let torch_symbols: Vec<&str> = module
        .symbols
        .needed
        .iter()
        .map(|symbol| symbol.name.as_str())
        .filter(|name| is_torch_symbol(name))
        .collect();
    let stubs = module.containers.len() - module.kernel_containers().count();
    let executable = module.containers.iter();
    let executable = executable.map(|found| container_json(found, ".nv_fatbin"));
    let relocatable = module.relocatable.iter();
    let relocatable = relocatable.map(|found| container_json(found, "__nv_relfatbin"));
    json!({
        "path": facts.path,
        "machine": facts.machine,
        "size_bytes": module.size_bytes,
        "soname": facts.soname,
        "needed": facts.needed,
        "rpath": facts.search_paths,
        "highest": {
            "GLIBC": facts.highest("GLIBC"),
            "GLIBCXX": facts.highest("GLIBCXX"),
            "CXXABI": facts.highest("CXXABI"),
        },
        "torch": {
            "abi": torch_abi(module),
            "symbols": torch_symbols,
        },
        "python": {
            "uses_c_api": facts.uses_cpython,
            "built_for": python_of(&facts.path),
        },
        "containers": {
            "total": module.containers.len() - stubs,
            "stubs": stubs,
            "relocatable": module.relocatable.len(),
        },
        "images": executable.chain(relocatable).flatten().collect::<Vec<_>>(),
        "kernels": is_deep.then(|| kernel_counts(module)),
        "has_hip": module.has_hip,
    })
}

/// `cxx`: tied to one minor version of torch; `stable`: fits every later one; `null`: neither.
pub fn torch_abi(module: &ModuleReport) -> Option<&'static str> {
    let needed = &module.symbols.needed;
    if module.facts.uses_torch_cxx_abi() {
        Some("cxx")
    } else if needed.iter().any(|symbol| is_torch_symbol(&symbol.name)) {
        Some("stable")
    } else {
        None
    }
}

fn container_json<'a>(
    container: &'a Container,
    section: &'static str,
) -> impl Iterator<Item = Value> + 'a {
    container.images.iter().map(move |image| {
        let kind = match image.kind {
            ImageKind::Sass => "sass",
            ImageKind::Ptx => "ptx",
            ImageKind::Lto => "lto",
            ImageKind::Unknown(_) => "unknown",
        };
        let (major, minor) = image.version;
        json!({
            "container": container.offset,
            "section": section,
            "kind": kind,
            "arch": image.arch.map(|arch| arch.to_string()),
            "version": format!("{major}.{minor}"),
            "compression": image.compression,
            "stored_bytes": image.stored_bytes,
            "size_bytes": image.size_bytes,
        })
    })
}

/// What stands beside a wheel as `report.json`: all that is known of it and what the gate says.
pub fn judged(report: &WheelReport, judgement: &Judgement) -> Value {
    let mut value = inspection(report, true);
    value["schema"] = json!(SCHEMA);
    value["verdict"] = json!(judgement.verdict);
    value["findings"] = json!(judgement.findings);
    value
}

/// One line for a finding: what, where, and what there should be.
pub fn finding_line(finding: &Finding) -> String {
    let expected = finding.expected.as_ref();
    let expected = expected.map_or_else(String::new, |text| format!(" (expected {text})"));
    format!(
        "{} {}: {} {}{expected}",
        finding.severity.as_str(),
        finding.rule,
        finding.place,
        finding.seen
    )
}

/// The gate's answer in a line: `passed, 2 warnings`.
pub fn verdict_line(judgement: &Judgement) -> String {
    use super::rule::Severity;
    let count = |severity| {
        let findings = judgement.findings.iter();
        findings.filter(|found| found.severity == severity).count()
    };
    let plural = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let mut parts = vec![match judgement.verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Failed => "failed".to_owned(),
        Verdict::NotChecked => "not checked in full".to_owned(),
    }];
    for (severity, noun) in [
        (Severity::Error, "error"),
        (Severity::NotChecked, "unchecked rule"),
        (Severity::Warning, "warning"),
    ] {
        if count(severity) > 0 {
            parts.push(plural(count(severity), noun));
        }
    }
    parts.join(", ")
}
