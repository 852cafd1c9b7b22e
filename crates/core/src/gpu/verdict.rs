//! Whether device code runs on a GPU: container by container, and as a whole.
//!
//! A file "has `sm_90a`" when 4 of its 393 containers do, so nothing is judged by the file.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::capability::Capability;
use super::driver::{self, Driver, PtxVersion};
use super::rules::{self, ContainerRun, ImageRun, WhyNot};
use crate::arch::Arch;
use crate::fatbin::{Container, ImageKind};
use crate::version::CudaVersion;

/// The containers of one module, without its device-link stubs: those have no kernels, and would
/// look broken on every GPU that needs PTX.
#[derive(Debug, Clone, Default)]
pub struct ModuleCode<'a> {
    /// What the runtime registers and launches from (`.nv_fatbin`).
    pub executable: Vec<&'a Container>,
    /// What was an input of a device link and is kept beside its result (`__nv_relfatbin`).
    pub relocatable: Vec<&'a Container>,
}

/// The answer for all the device code of a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Everything runs as it is.
    Native,
    /// Everything runs, and the driver has to compile some of it.
    Jit,
    /// Some fails, and some does not.
    Partly,
    /// Nothing runs.
    Fails,
    /// Nothing is known to fail, and not everything is known to run.
    Unknown,
    /// There is no device code, so nothing here depends on the GPU.
    NoDeviceCode,
}

impl Verdict {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Jit => "jit",
            Self::Partly => "partly",
            Self::Fails => "fails",
            Self::Unknown => "unknown",
            Self::NoDeviceCode => "no-device-code",
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What the device code of a wheel does on one GPU, counted in containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuVerdict {
    /// The GPU.
    pub gpu: Capability,
    /// The answer.
    pub verdict: Verdict,
    /// How many run as they are.
    pub native: usize,
    /// How many the driver compiles.
    pub jit: usize,
    /// How many run only if the driver links them anew while it loads them, which is not proven.
    pub link_unproven: usize,
    /// How many fail.
    pub fails: usize,
    /// Of how many it is not known.
    pub unknown: usize,
    /// All of them.
    pub total: usize,
    /// The newest PTX ISA that the driver has to compile.
    pub ptx: Option<PtxVersion>,
    /// The least driver for machine code of this wheel on this GPU; `None` when it is not known.
    pub native_driver: Option<Driver>,
    /// The least driver for all that runs here, PTX included; `None` when it is not known or nothing
    /// runs.
    pub least_driver: Option<Driver>,
    /// What the containers that fail hold instead.
    pub held: Held,
}

/// The archs of images that are of no use on a GPU, each with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Machine code.
    pub machine_code: BTreeMap<Arch, WhyNot>,
    /// PTX, and code for the linker.
    pub ptx: BTreeMap<Arch, WhyNot>,
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written {
            machine_code: BTreeMap<String, WhyNot>,
            ptx: BTreeMap<String, WhyNot>,
        }
        let written = |held: &BTreeMap<Arch, WhyNot>| {
            let pairs = held.iter().map(|(arch, why)| (arch.to_string(), *why));
            pairs.collect()
        };
        let written = Written {
            machine_code: written(&self.machine_code),
            ptx: written(&self.ptx),
        };
        written.serialize(serializer)
    }
}

/// Judges `modules`, built with `cuda`, on a GPU.
pub fn runs_on(
    modules: &[ModuleCode<'_>],
    cuda: Option<CudaVersion>,
    gpu: Capability,
) -> GpuVerdict {
    let mut tally = Tally::default();
    for module in modules {
        tally.add(module, gpu);
    }
    let native_driver = driver::native_driver(gpu, cuda);
    let least_driver = match (tally.native + tally.jit, tally.ptx) {
        (0, _) => None,
        (_, None) => native_driver.clone(),
        (_, Some(ptx)) => driver::jit_driver(gpu, cuda, ptx),
    };
    GpuVerdict {
        gpu,
        verdict: tally.verdict(),
        native: tally.native,
        jit: tally.jit,
        link_unproven: tally.link_unproven,
        fails: tally.fails,
        unknown: tally.unknown,
        total: tally.total(),
        ptx: tally.ptx,
        native_driver,
        least_driver,
        held: tally.held,
    }
}

#[derive(Debug, Default)]
struct Tally {
    native: usize,
    jit: usize,
    link_unproven: usize,
    fails: usize,
    unknown: usize,
    ptx: Option<PtxVersion>,
    held: Held,
}

impl Tally {
    fn add(&mut self, module: &ModuleCode<'_>, gpu: Capability) {
        // "Implicit JIT linking" of relocatable code happens "if the cubin does not match the target
        // architecture at load time", and fails when one object has no PTX (nvcc's documentation).
        let can_link = !module.relocatable.is_empty()
            && module
                .relocatable
                .iter()
                .all(|container| has_source(container, gpu));
        for container in &module.executable {
            match rules::container_runs(&container.images, gpu) {
                ContainerRun::Native { .. } => self.native += 1,
                ContainerRun::Jit { ptx, .. } => {
                    self.jit += 1;
                    self.ptx = self.ptx.max(Some(ptx));
                }
                ContainerRun::LinkUnproven => self.link_unproven += 1,
                ContainerRun::Fails if can_link => self.link_unproven += 1,
                ContainerRun::Fails => {
                    self.fails += 1;
                    self.held.add(container, gpu);
                }
                ContainerRun::Unknown => self.unknown += 1,
            }
        }
        // Objects that nobody has linked yet run nowhere by themselves.
        if module.executable.is_empty() {
            if can_link {
                self.link_unproven += module.relocatable.len();
            } else {
                self.unknown += module.relocatable.len();
            }
        }
    }

    fn total(&self) -> usize {
        self.native + self.jit + self.link_unproven + self.fails + self.unknown
    }

    fn verdict(&self) -> Verdict {
        if self.total() == 0 {
            Verdict::NoDeviceCode
        } else if self.fails == self.total() {
            Verdict::Fails
        } else if self.fails > 0 {
            Verdict::Partly
        } else if self.unknown + self.link_unproven > 0 {
            Verdict::Unknown
        } else if self.jit > 0 {
            Verdict::Jit
        } else {
            Verdict::Native
        }
    }
}

impl Held {
    fn add(&mut self, container: &Container, gpu: Capability) {
        for image in &container.images {
            let ImageRun::No(why) = rules::image_runs(image.kind, image.arch, gpu) else {
                continue;
            };
            let held = match image.kind {
                ImageKind::Sass => &mut self.machine_code,
                ImageKind::Ptx | ImageKind::Lto => &mut self.ptx,
                ImageKind::Unknown(_) => continue,
            };
            held.extend(image.arch.map(|arch| (arch, why)));
        }
    }
}

/// Whether a container has something that can be compiled for the GPU.
fn has_source(container: &Container, gpu: Capability) -> bool {
    container.images.iter().any(|image| {
        matches!(
            rules::image_runs(image.kind, image.arch, gpu),
            ImageRun::Jit | ImageRun::Link
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::rules::tests::container;

    /// Executable containers, and relocatable ones after a bar, of one module.
    fn judge(code: &str, cuda: Option<&str>, gpu: &str) -> GpuVerdict {
        let (executable, relocatable) = code.split_once('|').unwrap_or((code, ""));
        let read = |text: &str| -> Vec<_> {
            let texts = text.split(',').filter(|text| !text.trim().is_empty());
            texts.map(container).collect()
        };
        let (executable, relocatable) = (read(executable), read(relocatable));
        let module = ModuleCode {
            executable: executable.iter().collect(),
            relocatable: relocatable.iter().collect(),
        };
        let cuda = cuda.map(|cuda| cuda.parse().unwrap());
        runs_on(&[module], cuda, gpu.parse().unwrap())
    }

    /// native/jit/link/fails/unknown of total: verdict, native and least driver.
    #[track_caller]
    fn check(code: &str, gpu: &str, want: &str) {
        let found = judge(code, Some("12.8"), gpu);
        let driver = |driver: &Option<Driver>| match driver {
            Some(driver) => driver.to_string(),
            None => "?".to_owned(),
        };
        let told = format!(
            "{}/{}/{}/{}/{} of {}: {}, {} {}",
            found.native,
            found.jit,
            found.link_unproven,
            found.fails,
            found.unknown,
            found.total,
            found.verdict.as_str(),
            driver(&found.native_driver),
            driver(&found.least_driver)
        );
        assert_eq!(told, want, "{code} on {gpu}");
    }

    #[test]
    fn a_wheel_is_judged_container_by_container() {
        check(
            "sm_120, sm_120 sm_90",
            "12.0",
            "2/0/0/0/0 of 2: native, 570.26 570.26",
        );
        check(
            "sm_120, sm_90 compute_90",
            "12.0",
            "1/1/0/0/0 of 2: jit, 570.26 570.26",
        );
        check(
            "sm_90, sm_90 compute_90",
            "12.0",
            "0/1/0/1/0 of 2: partly, 570.26 570.26",
        );
        check(
            "sm_90, sm_90a compute_90a",
            "12.0",
            "0/0/0/2/0 of 2: fails, 570.26 ?",
        );
        check("", "12.0", "0/0/0/0/0 of 0: no-device-code, 570.26 ?");
    }

    #[test]
    fn what_is_unknown_neither_fails_nor_runs() {
        check("kind16_120", "12.0", "0/0/0/0/1 of 1: unknown, 570.26 ?");
        check(
            "sm_120, sm_x",
            "12.0",
            "1/0/0/0/1 of 2: unknown, 570.26 570.26",
        );
        check("sm_90, sm_x", "12.0", "0/0/0/1/1 of 2: partly, 570.26 ?");
        check("sm_120", "13.0", "0/0/0/1/0 of 1: fails, ? ?");
    }

    #[test]
    fn relocatable_code_with_ptx_throughout_may_be_linked_when_loaded() {
        let linked = "0/0/1/0/0 of 1: unknown, 570.26 ?";
        check("sm_90 | sm_90 compute_90, compute_90", "12.0", linked);
        check("sm_90 | lto_90", "12.0", linked);
        check(
            "sm_90 | sm_90 compute_90, sm_90",
            "12.0",
            "0/0/0/1/0 of 1: fails, 570.26 ?",
        );
        check(
            "sm_90 | sm_90 compute_90",
            "9.0",
            "1/0/0/0/0 of 1: native, 525.60.13 525.60.13",
        );
        check("| sm_90 compute_90", "12.0", linked);
        check("| sm_90", "12.0", "0/0/0/0/1 of 1: unknown, 570.26 ?");
    }

    #[test]
    fn the_newest_ptx_decides_on_the_driver() {
        check("compute_90", "9.0", "0/1/0/0/0 of 1: jit, 525.60.13 570.26");
        check(
            "compute_90@8.4",
            "12.0",
            "0/1/0/0/0 of 1: jit, 570.26 570.26",
        );
        check(
            "compute_90@8.4, compute_90@9.2",
            "9.0",
            "0/2/0/0/0 of 2: jit, 525.60.13 595.45.04",
        );
        check("compute_90@9.5", "9.0", "0/1/0/0/0 of 1: jit, 525.60.13 ?");
        check("compute_80", "8.7", "0/1/0/0/0 of 1: jit, ? ?");
        assert_eq!(judge("sm_120", Some("14.0"), "12.0").native_driver, None);
        assert_eq!(
            judge("sm_120", None, "12.0").native_driver,
            "570.26".parse().ok()
        );
    }

    /// The wheels of the prototype's report: torch 2.8, xformers 0.0.32, torchvision 0.29 and 0.17.
    #[test]
    fn known_wheels_get_their_known_verdicts() {
        let gpus = "7.0 7.5 8.0 8.6 8.7 8.9 9.0 10.0 10.3 10.7 11.0 12.0 12.1";
        let wheels = [
            ("torch 2.8", "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120"),
            ("xformers", "sm_75 sm_80 compute_80 sm_90a"),
            (
                "torchvision 0.29",
                "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120",
            ),
            (
                "torchvision 0.17",
                "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90 compute_50",
            ),
        ];
        let row = |(name, code): (&str, &str)| {
            let verdicts = gpus.split(' ').map(|gpu| {
                let verdict = judge(code, Some("12.8"), gpu).verdict;
                format!("{gpu} {}", verdict.as_str())
            });
            format!("{name}: {}", verdicts.collect::<Vec<_>>().join(", "))
        };
        insta::assert_snapshot!(wheels.map(row).join("\n"), @r"
        torch 2.8: 7.0 native, 7.5 native, 8.0 native, 8.6 native, 8.7 fails, 8.9 native, 9.0 native, 10.0 native, 10.3 native, 10.7 native, 11.0 fails, 12.0 native, 12.1 native
        xformers: 7.0 fails, 7.5 native, 8.0 native, 8.6 native, 8.7 jit, 8.9 native, 9.0 native, 10.0 jit, 10.3 jit, 10.7 jit, 11.0 jit, 12.0 jit, 12.1 jit
        torchvision 0.29: 7.0 fails, 7.5 native, 8.0 native, 8.6 native, 8.7 fails, 8.9 native, 9.0 native, 10.0 native, 10.3 native, 10.7 native, 11.0 fails, 12.0 native, 12.1 native
        torchvision 0.17: 7.0 native, 7.5 native, 8.0 native, 8.6 native, 8.7 jit, 8.9 native, 9.0 native, 10.0 jit, 10.3 jit, 10.7 jit, 11.0 jit, 12.0 jit, 12.1 jit
        ");
    }

    #[test]
    fn modules_are_judged_by_themselves() {
        let (fails, may_link) = (container("sm_90"), container("compute_90"));
        let plain = ModuleCode {
            executable: vec![&fails],
            relocatable: Vec::new(),
        };
        let linked = ModuleCode {
            executable: vec![&fails],
            relocatable: vec![&may_link],
        };
        let found = runs_on(&[plain, linked], None, "12.0".parse().unwrap());
        assert_eq!((found.fails, found.link_unproven), (1, 1));
        assert_eq!(found.verdict, Verdict::Partly);
    }

    #[test]
    fn what_failing_containers_hold_is_kept_with_the_reason() {
        let found = judge("sm_86 sm_90a compute_90a, sm_120", None, "12.0");
        insta::assert_snapshot!(serde_json::to_string_pretty(&found).unwrap(), @r#"
        {
          "gpu": "12.0",
          "verdict": "partly",
          "native": 1,
          "jit": 0,
          "link_unproven": 0,
          "fails": 1,
          "unknown": 0,
          "total": 2,
          "ptx": null,
          "native_driver": "570.26",
          "least_driver": "570.26",
          "held": {
            "machine_code": {
              "8.6": "other-major",
              "9.0a": "other-major"
            },
            "ptx": {
              "9.0a": "specific"
            }
          }
        }
        "#);
    }
}
