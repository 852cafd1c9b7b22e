//! Whether the GPU code of a wheel runs on a GPU, by what the gate found and the catalog keeps.

use super::question::Question;
use super::rules::{Judgement, Rule, Word};
use crate::arch::{Arch, ArchSuffix};
use crate::fatbin::ImageKind;
use crate::gpu::Capability;
use crate::gpu::driver::Driver;
use crate::gpu::rules::{ImageRun, image_runs};
use crate::manifest::ModuleArchs;
use crate::release::catalog::{CatalogWheel, OnGpu};

/// Holds a wheel against every GPU of the question, and the driver against what it runs by there.
pub(super) fn judge(wheel: &CatalogWheel, question: &Question, judgement: &mut Judgement) {
    for &gpu in &question.gpus {
        let known = wheel.runs_on.get(&gpu.to_string());
        let word = match known {
            Some(answer) => by_verdict(wheel, answer, gpu),
            None => by_images(wheel, gpu),
        };
        let runs = matches!(word, Word::Fits);
        judgement.add(Rule::Gpu, word);
        if let (true, Some(answer), Some(driver)) = (runs, known, &question.driver) {
            judgement.add(Rule::Driver, by_driver(answer, driver, gpu));
        }
    }
}

fn by_verdict(wheel: &CatalogWheel, answer: &OnGpu, gpu: Capability) -> Word {
    match answer.verdict.as_str() {
        "native" | "jit" | "no-device-code" => Word::Fits,
        "fails" | "partly" => Word::Breaks(missing(wheel, gpu)),
        _ => Word::Unknown(format!("what its code does on {gpu} is not known")),
    }
}

/// The answer for a GPU that the gate did not know when it looked, out of the images that it counted.
fn by_images(wheel: &CatalogWheel, gpu: Capability) -> Word {
    let has_no_code = |answer: &OnGpu| answer.verdict == "no-device-code";
    if !wheel.runs_on.is_empty() && wheel.runs_on.values().all(has_no_code) {
        return Word::Fits;
    }
    let modules = wheel.module_archs.values();
    let found: Vec<ModuleRun> = modules.map(|module| module_run(module, gpu)).collect();
    if found.contains(&ModuleRun::Fails) {
        Word::Breaks(missing(wheel, gpu))
    } else if !found.is_empty() && found.iter().all(|&run| run == ModuleRun::Runs) {
        Word::Fits
    } else {
        Word::Unknown(format!("what its code does on {gpu} was not looked at"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModuleRun {
    /// Every container has an image that runs.
    Runs,
    /// No container has one.
    Fails,
    /// Some have one, and how many is not told by counts of images.
    Unknown,
}

fn module_run(module: &ModuleArchs, gpu: Capability) -> ModuleRun {
    let runs = |label: &str| {
        let run = image_of(label).map(|(kind, arch)| image_runs(kind, Some(arch), gpu));
        run.unwrap_or(ImageRun::Unknown)
    };
    let mut is_sure = true;
    let mut most = 0;
    for (label, &count) in &module.images {
        match runs(label) {
            ImageRun::Native | ImageRun::Jit => most = most.max(count),
            ImageRun::No(_) => {}
            ImageRun::Link | ImageRun::Unknown => is_sure = false,
        }
    }
    match most {
        0 if is_sure => ModuleRun::Fails,
        most if most == module.containers && most > 0 => ModuleRun::Runs,
        _ => ModuleRun::Unknown,
    }
}

/// The image that a label is for: `sm_90a`, `compute_90`.
fn image_of(label: &str) -> Option<(ImageKind, Arch)> {
    let (kind, number) = match label.split_once('_')? {
        ("sm", number) => (ImageKind::Sass, number),
        ("compute", number) => (ImageKind::Ptx, number),
        _ => return None,
    };
    let (number, suffix) = match number.strip_suffix(['a', 'f']) {
        None => (number, ArchSuffix::Portable),
        Some(digits) if number.ends_with('a') => (digits, ArchSuffix::Specific),
        Some(digits) => (digits, ArchSuffix::Family),
    };
    let arch = Arch::from_number(number.parse().ok()?, suffix)?;
    Some((kind, arch))
}

/// No image for `sm_89` in `_qattn_sm89`: by the modules that have none at all.
fn missing(wheel: &CatalogWheel, gpu: Capability) -> String {
    let arch = format!("sm_{}{}", gpu.major(), gpu.minor());
    let of = |wanted: ModuleRun| {
        let modules = wheel.module_archs.iter();
        let modules = modules.filter(move |(_, module)| module_run(module, gpu) == wanted);
        modules.map(|(path, _)| short(path)).collect::<Vec<_>>()
    };
    match of(ModuleRun::Fails).as_slice() {
        [first] => format!("no image for {arch} in `{first}`"),
        [first, second] => format!("no image for {arch} in `{first}` and `{second}`"),
        [first, rest @ ..] => {
            format!(
                "no image for {arch} in `{first}` and {} more modules",
                rest.len()
            )
        }
        [] => match of(ModuleRun::Unknown).first() {
            Some(module) => format!("no image for {arch} in a part of `{module}`"),
            None => format!("no image for {arch} in a part of it"),
        },
    }
}

/// `_C` of `xformers/_C.abi3.so`.
fn short(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

fn by_driver(answer: &OnGpu, driver: &Driver, gpu: Capability) -> Word {
    let what = match answer.verdict.as_str() {
        "native" => "running its machine code needs",
        "jit" => "compiling its PTX needs",
        _ => return Word::Fits,
    };
    let least = answer.least_driver.as_deref().map(str::parse::<Driver>);
    match least {
        Some(Ok(least)) if *driver >= least => Word::Fits,
        Some(Ok(least)) => Word::Breaks(format!(
            "driver {driver} is older than {least}, which {what}"
        )),
        Some(Err(_)) | None => {
            Word::Unknown(format!("which driver it needs on {gpu} is not known"))
        }
    }
}
