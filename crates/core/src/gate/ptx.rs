//! Whether a wheel's PTX alone serves a GPU: what a run under `CUDA_FORCE_PTX_JIT=1` needs.

use super::inspect::{ModuleReport, WheelReport};
use super::report::runs_on;
use crate::fatbin::{Image, ImageKind};
use crate::gpu::Capability;
use crate::gpu::rules::{ContainerRun, container_runs};
use crate::gpu::verdict::Verdict;
use crate::receipt::RunMode;

/// How the wheel's PTX can be run on `gpu`, or why it cannot.
///
/// A wheel that has machine code for the GPU needs `CUDA_FORCE_PTX_JIT=1`, which torch's own kernels
/// have to bear too; one that has none is compiled by the driver anyway.
pub fn ptx_mode(report: &WheelReport, gpu: Capability) -> Result<RunMode, String> {
    if let Some(reason) = why_not_ptx_alone(report, gpu) {
        return Err(reason);
    }
    Ok(match runs_on(report, gpu).verdict {
        Verdict::Jit => RunMode::PtxOnly,
        Verdict::Native
        | Verdict::Partly
        | Verdict::Fails
        | Verdict::Unknown
        | Verdict::NoDeviceCode => RunMode::ForcedPtx,
    })
}

/// Why the driver cannot run the wheel on `gpu` from its PTX alone; `None` when it can. Kernels that
/// have none "will fail to load" then (CUDA C++ Programming Guide, `CUDA_FORCE_PTX_JIT`).
fn why_not_ptx_alone(report: &WheelReport, gpu: Capability) -> Option<String> {
    if !report.is_read_to_the_end() {
        return Some("the wheel cannot be read to its end".to_owned());
    }
    let mut modules = report
        .modules
        .iter()
        .filter(|module| module.has_device_code());
    if modules.clone().next().is_none() {
        return Some("the wheel holds no GPU code".to_owned());
    }
    if modules.clone().all(|module| !has_ptx(module)) {
        return Some("the wheel holds no PTX".to_owned());
    }
    modules.find_map(|module| {
        let all = module.kernel_containers().count();
        let without = module
            .kernel_containers()
            .filter(|container| !serves(&container.images, gpu))
            .count();
        (without > 0).then(|| {
            let path = &module.facts.path;
            format!("`{path}` has no PTX for {gpu} in {without} of {all} containers")
        })
    })
}

fn has_ptx(module: &ModuleReport) -> bool {
    let images = module.kernel_containers().flat_map(|each| &each.images);
    images.into_iter().any(|image| image.kind == ImageKind::Ptx)
}

fn serves(images: &[Image], gpu: Capability) -> bool {
    let is_ptx = |image: &&Image| image.kind == ImageKind::Ptx;
    let ptx: Vec<Image> = images.iter().filter(is_ptx).cloned().collect();
    matches!(container_runs(&ptx, gpu), ContainerRun::Jit { .. })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::gate::inspect::{InspectOptions, Reading, inspect_wheel};
    use crate::gate::judge::DEPTH;
    use crate::wheel::WheelCaps;

    /// A real module with machine code for 9.0 and 12.0, and PTX for 12.0.
    const WHEEL: &[u8] = include_bytes!(
        "../../../../tests/demo-wheel/demo_gpu-1.0-py3-none-manylinux_2_17_x86_64.whl"
    );

    fn report() -> WheelReport {
        let options = InspectOptions {
            depth: DEPTH,
            reading: Reading::Whole,
            caps: WheelCaps::default(),
        };
        let name = "demo_gpu-1.0-py3-none-manylinux_2_17_x86_64.whl";
        inspect_wheel(name, Cursor::new(WHEEL), &options).unwrap()
    }

    #[track_caller]
    fn check(report: &WheelReport, gpu: &str, want: Result<RunMode, &str>) {
        let gpu = gpu.parse().unwrap();
        assert_eq!(ptx_mode(report, gpu), want.map_err(str::to_owned));
    }

    #[test]
    fn ptx_serves_gpus_from_its_own_on() {
        let report = report();
        check(&report, "12.0", Ok(RunMode::ForcedPtx));
        check(&report, "12.1", Ok(RunMode::ForcedPtx));
        let path = &report.modules[0].facts.path;
        let want = format!("`{path}` has no PTX for 9.0 in 1 of 1 containers");
        check(&report, "9.0", Err(&want));
    }

    #[test]
    fn a_wheel_with_nothing_but_ptx_for_a_gpu_is_compiled_anyway() {
        let mut report = report();
        let old = |image: &Image| {
            image
                .arch
                .is_some_and(|arch| Capability::of_arch(arch).major() < 12)
        };
        for container in &mut report.modules[0].containers {
            container
                .images
                .retain(|image| image.kind == ImageKind::Ptx || old(image));
        }
        check(&report, "12.0", Ok(RunMode::PtxOnly));
    }

    #[test]
    fn what_has_no_ptx_says_so() {
        let mut without = report();
        let images = |container: &mut crate::fatbin::Container| {
            container
                .images
                .retain(|image| image.kind != ImageKind::Ptx);
        };
        without.modules[0].containers.iter_mut().for_each(images);
        check(&without, "12.0", Err("the wheel holds no PTX"));
        without.modules.clear();
        check(&without, "12.0", Err("the wheel holds no GPU code"));
    }
}
