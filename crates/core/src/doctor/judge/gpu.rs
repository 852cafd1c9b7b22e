//! GPUs: what is planned against what is here.

use std::collections::BTreeMap;

use super::counted;
use crate::arch::{ArchList, Ptx};
use crate::doctor::facts::{EngineSurvey, Facts, FarmFacts, GpuFacts, GpuWay, Proofs, Whereabouts};
use crate::doctor::{Check, MATRIX_HINT, Topic};
use crate::fatbin::ImageKind;
use crate::gpu::Capability;
use crate::gpu::driver::{self, Driver, PtxVersion};
use crate::gpu::machine::MachineGpu;
use crate::gpu::rules::{ImageRun, image_runs};
use crate::package::GpuWish;
use crate::version::CudaVersion;

/// The first API with CDI, of Docker 25 (<https://docs.docker.com/reference/api/engine/version-history/>).
const CDI_API: (usize, usize) = (1, 44);

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let farm = facts.farm.as_ref().ok();
    let use_of = Use::of(farm, facts.proofs);
    let mut checks = if is_of_another_machine(facts) {
        elsewhere(use_of)
    } else {
        let mut checks = vec![gpu(&facts.gpu, use_of)];
        checks.extend(drivers(facts, farm, use_of));
        checks.extend(code(&facts.gpu, farm, facts.proofs));
        checks
    };
    checks.push(engine_gpu(facts, use_of));
    checks
}

/// Whether jobs get the GPUs of a machine that is not looked at: the engine's host is another one, and no
/// wheel is proved here.
fn is_of_another_machine(facts: &Facts) -> bool {
    let engine = facts.engine.as_ref();
    let is_away = engine.is_ok_and(|engine| engine.whereabouts == Whereabouts::Elsewhere);
    is_away && facts.proofs == Proofs::AsPackagesSay
}

fn elsewhere(use_of: Use) -> Vec<Check> {
    let seen = "the engine is on another host, whose GPUs are not seen from here";
    let of = |topic: Topic| match use_of {
        Use::None => topic.pass(format!("{seen}; no job asks for one")),
        Use::IfThere | Use::Needed => {
            topic.not_checked(seen, "run `wheelfarm doctor` on the engine's host")
        }
    };
    [Topic::Gpu, Topic::Driver, Topic::GpuCode].map(of).to_vec()
}

/// How much the night leans on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// No job asks for one.
    None,
    /// Containers get one that is there.
    IfThere,
    /// Without one something fails.
    Needed,
}

impl Use {
    fn of(farm: Option<&FarmFacts>, proofs: Proofs) -> Self {
        match (proofs, farm.map(|farm| farm.wants.gpu())) {
            (Proofs::OnThisMachine, _) | (_, Some(GpuWish::Required)) => Self::Needed,
            (Proofs::AsPackagesSay, Some(GpuWish::Auto)) => Self::IfThere,
            (Proofs::AsPackagesSay, Some(GpuWish::None) | None) => Self::None,
        }
    }

    /// A fault as far as the night leans on it.
    fn fault(self, topic: Topic, seen: String, hint: &str) -> Check {
        match self {
            Self::None => topic.pass(format!("{seen}; no job asks for one")),
            Self::IfThere => topic.warn(format!("{seen}; jobs with `gpu: auto` go without"), hint),
            Self::Needed => topic.fail(seen, hint),
        }
    }
}

fn gpu(facts: &GpuFacts, use_of: Use) -> Check {
    let loaded = facts.loaded.as_ref();
    match &facts.gpus {
        Ok(gpus) => {
            let names: Vec<_> = gpus
                .iter()
                .map(|gpu| format!("{} ({})", gpu.name, gpu.capability))
                .collect();
            Topic::Gpu.pass(names.join(", "))
        }
        Err(unseen) => match (facts.devices, loaded) {
            (0, None) => use_of.fault(
                Topic::Gpu,
                "no GPU of NVIDIA's in this machine".to_owned(),
                "run where there is one, or set `gpu: none` in the package",
            ),
            (_, Some(driver)) => Topic::Gpu.warn(
                format!("driver {driver} is loaded, and `nvidia-smi` does not tell the GPUs: {}", unseen.why),
                "install the driver's tools (Debian: `sudo apt-get install nvidia-smi`), then `nvidia-smi -L`",
            ),
            (count, None) => {
                let seen = format!("{} of NVIDIA's on the bus, and no driver is loaded", counted(count, "GPU"));
                let hint = "install the driver (https://www.nvidia.com/drivers), reboot, then `nvidia-smi -L`";
                match use_of {
                    Use::None | Use::IfThere => Topic::Gpu.warn(seen, hint),
                    Use::Needed => Topic::Gpu.fail(seen, hint),
                }
            }
        },
    }
}

/// The driver of this machine, however it was found out.
fn driver_here(facts: &GpuFacts) -> Option<&Driver> {
    let told = facts.gpus.as_ref().ok().and_then(|gpus| gpus.first());
    told.map(|gpu| &gpu.driver).or(facts.loaded.as_ref())
}

fn drivers(facts: &Facts, farm: Option<&FarmFacts>, use_of: Use) -> Vec<Check> {
    let Some(farm) = farm else {
        return vec![
            Topic::Driver.not_checked("no matrix says which CUDA is planned", MATRIX_HINT),
        ];
    };
    let Some(here) = driver_here(&facts.gpu) else {
        if use_of == Use::None {
            return vec![Topic::Driver.pass("none of NVIDIA's is loaded; no job asks for one")];
        }
        return vec![Topic::Driver.not_checked(
            "no driver of NVIDIA's is loaded",
            "a build needs none; for proofs: https://www.nvidia.com/drivers",
        )];
    };
    let engine = facts.engine.as_ref();
    let has_way = engine.is_ok_and(|engine| engine.gpu != GpuWay::None);
    let planned = farm.wants.cudas.iter();
    let meets = |wish| match (facts.proofs, wish) {
        (Proofs::OnThisMachine, _) | (_, GpuWish::Required) => Meets::Driver,
        (Proofs::AsPackagesSay, GpuWish::Auto) if has_way || engine.is_err() => Meets::Driver,
        (Proofs::AsPackagesSay, GpuWish::Auto) => Meets::NoGpu,
        (Proofs::AsPackagesSay, GpuWish::None) => Meets::Nothing,
    };
    planned
        .map(|(&cuda, &wish)| driver_for(here, cuda, meets(wish)).of(format!("CUDA {cuda}")))
        .collect()
}

/// What jobs of a CUDA have to do with the driver here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// They run by it, or wheels are proved by it.
    Driver,
    /// They would, but their containers get no GPU (`gpu: auto`).
    NoGpu,
    /// None of them asks for a GPU.
    Nothing,
}

/// A container that gets a GPU does not even start when its image asks for a newer CUDA than the driver
/// has (`NVIDIA_REQUIRE_CUDA`), and torch finds no GPU.
fn driver_for(here: &Driver, cuda: CudaVersion, meets: Meets) -> Check {
    let Some(least) = driver::least_for(cuda) else {
        return Topic::Driver.not_checked(
            format!("driver {here}; which driver CUDA {cuda} needs is not known"),
            format!("wheelfarm compat --cuda {cuda}"),
        );
    };
    if *here < least {
        let seen = format!("driver {here}, and programs of CUDA {cuda} need {least} or later");
        let hint = format!(
            "install driver {least} or later (https://www.nvidia.com/drivers) and reboot, or leave CUDA {cuda} out \
             of the matrix"
        );
        let proving = "`wheelfarm prove` on this machine does not";
        return match meets {
            Meets::Driver => Topic::Driver.fail(seen, hint),
            Meets::NoGpu => Topic::Driver.warn(
                format!("{seen}: containers get no GPU, so builds do without; {proving}"),
                hint,
            ),
            Meets::Nothing => {
                Topic::Driver.warn(format!("{seen}: builds do without, {proving}"), hint)
            }
        };
    }
    match driver::released_with(cuda) {
        Some(released) if *here < released => Topic::Driver.pass(format!(
            "driver {here} runs machine code of CUDA {cuda}; its PTX takes {released}"
        )),
        Some(_) | None => Topic::Driver.pass(format!("driver {here}, {least} or later is needed")),
    }
}

/// What code does on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Runs {
    Native,
    Jit,
    No,
    Unknown,
}

fn runs(archs: &ArchList, cuda: CudaVersion, gpu: &MachineGpu) -> Runs {
    let capability = gpu.capability;
    let of =
        |kind, target: crate::arch::ArchTarget| image_runs(kind, Some(target.arch), capability);
    let native: Vec<_> = archs
        .iter()
        .map(|target| of(ImageKind::Sass, target))
        .collect();
    if native.contains(&ImageRun::Native) {
        return Runs::Native;
    }
    let with_ptx = archs.iter().filter(|target| target.ptx == Ptx::With);
    let jit: Vec<_> = with_ptx.map(|target| of(ImageKind::Ptx, target)).collect();
    if jit.contains(&ImageRun::Jit) {
        let enough = PtxVersion::of_cuda(cuda)
            .and_then(|ptx| driver::jit_driver(capability, Some(cuda), ptx));
        return match enough {
            Some(least) if gpu.driver < least => Runs::No,
            Some(_) => Runs::Jit,
            None => Runs::Unknown,
        };
    }
    if native.contains(&ImageRun::Unknown) || jit.contains(&ImageRun::Unknown) {
        return Runs::Unknown;
    }
    Runs::No
}

fn code(facts: &GpuFacts, farm: Option<&FarmFacts>, proofs: Proofs) -> Vec<Check> {
    let (Some(farm), Ok(gpus)) = (farm, &facts.gpus) else {
        return Vec::new();
    };
    // Eight GPUs of one kind are one line.
    let kinds: BTreeMap<Capability, &MachineGpu> =
        gpus.iter().map(|gpu| (gpu.capability, gpu)).collect();
    let lines = kinds.values().filter_map(|gpu| code_on(gpu, farm, proofs));
    lines.collect()
}

fn code_on(gpu: &MachineGpu, farm: &FarmFacts, proofs: Proofs) -> Option<Check> {
    let mut by_end: BTreeMap<Runs, Vec<String>> = BTreeMap::new();
    for ((release, cuda), archs) in &farm.wants.code {
        let list = by_end.entry(runs(archs, *cuda, gpu)).or_default();
        list.push(format!("{release} of CUDA {cuda}"));
    }
    let count = farm.wants.code.len();
    (count > 0).then_some(())?;
    let named = |end: Runs| by_end.get(&end).map(|list| list.join(", "));
    let subject = format!("{} ({})", gpu.name, gpu.capability);
    let hint = "`wheelfarm inspect WHEEL --gpu here` says it of a wheel; prove those on a machine with such a GPU";
    let check = match (named(Runs::No), named(Runs::Unknown), named(Runs::Jit)) {
        (Some(no), _, _) if proofs == Proofs::OnThisMachine => {
            Topic::GpuCode.fail(format!("does not run: {no}"), hint)
        }
        (Some(no), _, _) => {
            Topic::GpuCode.warn(format!("does not run, so no proof of it here: {no}"), hint)
        }
        (None, Some(unknown), _) => {
            Topic::GpuCode.not_checked(format!("whether it runs is not known: {unknown}"), hint)
        }
        (None, None, Some(jit)) => Topic::GpuCode.pass(format!(
            "all that is planned runs; compiled by the driver when first used: {jit}"
        )),
        (None, None, None) => Topic::GpuCode.pass(format!(
            "all that is planned runs, as machine code ({})",
            counted(count, "release")
        )),
    };
    Some(check.of(subject))
}

fn engine_gpu(facts: &Facts, use_of: Use) -> Check {
    const TOOLKIT: &str = "install NVIDIA's container toolkit \
                           (https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html), \
                           then `sudo nvidia-ctk runtime configure --runtime=docker` and `sudo systemctl restart docker`";
    let survey = match &facts.engine {
        Ok(survey) => survey,
        Err(unseen) => {
            return Topic::EngineGpu.not_checked("the engine does not answer", &unseen.hint);
        }
    };
    if let Some(Err(why)) = &facts.gpu.in_container {
        let seen = format!("a container with a GPU does not see it: {why}");
        return match use_of {
            Use::None => Topic::EngineGpu.warn(seen, TOOLKIT),
            Use::IfThere | Use::Needed => Topic::EngineGpu.fail(seen, TOOLKIT),
        };
    }
    let way = match survey.gpu {
        GpuWay::NvidiaRuntime => "NVIDIA's runtime",
        GpuWay::Cdi => "CDI",
        GpuWay::None => {
            let has_gpu = facts.is_engine_here() && facts.gpu.gpus.is_ok();
            return no_way(survey, has_gpu, use_of, TOOLKIT);
        }
    };
    match &facts.gpu.in_container {
        Some(Ok(seen)) => Topic::EngineGpu.pass(format!("by {way}; a container sees {seen}")),
        Some(Err(_)) | None => Topic::EngineGpu.pass(format!("by {way}; not tried in a container")),
    }
}

fn no_way(survey: &EngineSurvey, has_gpu: bool, use_of: Use, toolkit: &str) -> Check {
    let (major, minor) = survey.api;
    if !survey.cdi_folders.is_empty() && survey.api < CDI_API {
        let seen = format!(
            "CDI names NVIDIA devices in {}, and this engine (API {major}.{minor}) does not read it",
            survey.cdi_folders.join(", ")
        );
        let hint = "upgrade to Docker 25 or later, or `sudo nvidia-ctk runtime configure --runtime=docker`";
        return use_of.fault(Topic::EngineGpu, seen, hint);
    }
    let seen = "containers get no GPU: neither NVIDIA's runtime nor CDI".to_owned();
    match use_of {
        Use::None if has_gpu => Topic::EngineGpu.warn(
            format!("{seen}, though there is one; no job asks for it"),
            toolkit,
        ),
        Use::None | Use::IfThere | Use::Needed => use_of.fault(Topic::EngineGpu, seen, toolkit),
    }
}
