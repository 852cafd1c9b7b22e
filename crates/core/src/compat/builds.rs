//! The builds of torch, and what their own kernels do on a GPU.

use serde::Serialize;

use super::table::{BuildRow, CxxAbi, Index, TABLE, TorchRow};
use crate::arch::{Arch, ArchTarget, Ptx};
use crate::fatbin::{Compression, Container, Image, ImageKind};
use crate::gpu::driver::{Driver, PtxVersion};
use crate::gpu::verdict::{self, ModuleCode, Verdict};
use crate::gpu::{Capability, sentence};
use crate::version::CudaVersion;
use crate::wheel::version::TorchMinor;

/// One build of a minor version of torch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TorchBuild {
    /// Which torch.
    pub torch: TorchMinor,
    /// Built with which CUDA.
    pub cuda: CudaVersion,
    /// Where it is: PyPI has one build of each torch.
    pub index: Index,
    /// What its kernels are compiled for.
    pub archs: Vec<ArchTarget>,
    /// Which ABI of libstdc++ it has.
    pub cxx_abi: CxxAbi,
    /// Where the archs come from.
    pub source: String,
    /// What its kernels do on the GPU that was asked about; `None` when none was.
    pub on_gpu: Option<BuildOnGpu>,
}

/// What the kernels of one build do on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BuildOnGpu {
    /// The answer.
    pub verdict: Verdict,
    /// Why they fail; empty when they do not.
    pub why: Vec<String>,
    /// The least driver; `None` when it is not known, or nothing runs.
    pub least_driver: Option<Driver>,
}

impl BuildOnGpu {
    /// Whether they run, compiled by the driver or as they are; `None` when it is not known.
    pub fn runs(&self) -> Option<bool> {
        match self.verdict {
            Verdict::Native | Verdict::Jit | Verdict::NoDeviceCode => Some(true),
            Verdict::Partly | Verdict::Fails => Some(false),
            Verdict::Unknown => None,
        }
    }
}

/// Every known build, by torch and CUDA, with what it does on `gpu` if one is given.
pub fn torch_builds(gpu: Option<Capability>) -> Vec<TorchBuild> {
    let rows = TABLE.torch.iter();
    rows.flat_map(|(&torch, row)| builds_of(torch, row, gpu))
        .collect()
}

/// What torch's own build for `cuda` is compiled for; empty where no such build is known.
pub fn archs_of_torch_build(torch: TorchMinor, cuda: CudaVersion) -> &'static [ArchTarget] {
    let row = TABLE.torch.get(&torch);
    let build = row.and_then(|row| row.builds.get(&cuda));
    build.map_or(&[], |build| &build.archs)
}

/// Whether torch's own build for `cuda` runs on `gpu`; `None` where that is not known.
pub fn torch_build_runs_on(torch: TorchMinor, cuda: CudaVersion, gpu: Capability) -> Option<bool> {
    let archs = archs_of_torch_build(torch, cuda);
    if archs.is_empty() {
        return None;
    }
    on_gpu(archs, cuda, gpu).runs()
}

fn builds_of(torch: TorchMinor, row: &TorchRow, gpu: Option<Capability>) -> Vec<TorchBuild> {
    let one = |(&cuda, build): (&CudaVersion, &BuildRow)| TorchBuild {
        torch,
        cuda,
        index: if row.pypi_cuda == cuda {
            Index::Pypi
        } else {
            Index::Pytorch
        },
        archs: build.archs.clone(),
        cxx_abi: build.cxx_abi,
        source: row.sources.default_archs.clone(),
        on_gpu: gpu.map(|gpu| on_gpu(&build.archs, cuda, gpu)),
    };
    row.builds.iter().map(one).collect()
}

/// Judges kernels of these archs, as a wheel's would be: one container that holds them all.
fn on_gpu(archs: &[ArchTarget], cuda: CudaVersion, gpu: Capability) -> BuildOnGpu {
    let container = container(archs, cuda);
    let module = ModuleCode {
        executable: vec![&container],
        relocatable: Vec::new(),
    };
    let found = verdict::runs_on(&[module], Some(cuda), gpu);
    BuildOnGpu {
        verdict: found.verdict,
        why: sentence::causes(&found),
        least_driver: found.least_driver,
    }
}

fn container(archs: &[ArchTarget], cuda: CudaVersion) -> Container {
    let machine_code = archs
        .iter()
        .map(|target| image(ImageKind::Sass, target.arch, (0, 0)));
    let ptx = PtxVersion::of_cuda(cuda);
    let ptx = archs.iter().filter_map(|target| match target.ptx {
        // Without its version nothing can be said of PTX.
        Ptx::With => Some(image(ImageKind::Ptx, target.arch, ptx?.parts())),
        Ptx::Without => None,
    });
    Container {
        offset: 0,
        images: machine_code.chain(ptx).collect(),
        complete: true,
    }
}

fn image(kind: ImageKind, arch: Arch, version: (u16, u16)) -> Image {
    Image {
        kind,
        arch: Some(arch),
        version,
        compression: Compression::None,
        stored_bytes: 0,
        size_bytes: 0,
        flags: 0,
        content: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every build does on `gpu`: `2.7 cu126 fails`.
    fn told(gpu: &str) -> String {
        let lines: Vec<_> = torch_builds(gpu.parse().ok())
            .into_iter()
            .map(|build| {
                let on_gpu = build.on_gpu.unwrap();
                let driver = on_gpu
                    .least_driver
                    .map_or("-".to_owned(), |one| one.to_string());
                format!(
                    "{} {} {} {driver}",
                    build.torch,
                    build.cuda.tag(),
                    on_gpu.verdict.as_str()
                )
            })
            .collect();
        lines.join("\n")
    }

    #[test]
    fn on_an_rtx_5090_torch_2_7_of_pypi_fails_and_its_cu128_runs() {
        insta::assert_snapshot!(told("12.0"));
    }

    #[test]
    fn ptx_carries_a_build_to_later_gpus() {
        let told = told("13.0");
        let runs: Vec<_> = told
            .lines()
            .filter(|line| !line.contains("fails"))
            .collect();
        // PTX alone, and a driver that knows the GPU is not known.
        insta::assert_snapshot!(runs.join("\n"), @r"
        2.7 cu128 jit -
        2.8 cu129 jit -
        2.9 cu129 jit -
        2.9 cu130 jit -
        2.10 cu129 jit -
        2.10 cu130 jit -
        2.11 cu129 jit -
        ");
    }
}
