//! All that is known of one GPU, one toolkit, one torch, one Python.

use std::collections::BTreeMap;

use serde::Serialize;

use super::builds::{self, TorchBuild};
use super::code::{self, CodeKind, CodeOnGpu, CodeRun};
use super::lookup::{limited_python, limits};
use super::question::Question;
use super::table::{Index, Match, TABLE, ToolkitRow, TorchRow};
use crate::arch::Arch;
use crate::gpu::driver::{self, Driver, PtxVersion};
use crate::gpu::{self, Capability, Gpu, Platform};
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::wheel::version::TorchMinor;

/// A GPU: what compiles for it, what runs on it, and with which driver.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuSection {
    /// Its compute capability.
    pub capability: Capability,
    /// The name that stands for it.
    pub name: String,
    /// Desktop or Tegra; the driver of a Tegra comes with its system and has other numbers.
    pub platform: Platform,
    /// What each toolkit compiles for it.
    pub toolkits: Vec<ToolkitOnGpu>,
    /// The builds of torch, and what they do there.
    pub builds: Vec<TorchBuild>,
    /// What code for other archs does there.
    pub code: Vec<CodeOnGpu>,
    /// Where each fact comes from.
    pub sources: BTreeMap<&'static str, String>,
}

/// What a toolkit compiles for a GPU, and the least drivers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ToolkitOnGpu {
    /// The toolkit.
    pub cuda: CudaVersion,
    /// The archs whose machine code runs there as it is.
    pub native: Vec<Arch>,
    /// The highest arch whose PTX the driver compiles there.
    pub ptx: Option<Arch>,
    /// For machine code; `None` when it is not known.
    pub native_driver: Option<Driver>,
    /// For PTX that this toolkit writes; `None` when it is not known.
    pub ptx_driver: Option<Driver>,
}

/// What a toolkit takes as host compiler, by major versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostCompilers {
    /// The newest gcc.
    pub gcc_most: u16,
    /// The first clang that it refuses.
    pub clang_below: u16,
}

/// A CUDA toolkit.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ToolkitSection {
    /// Its version.
    pub cuda: CudaVersion,
    /// What nvcc compiles for.
    pub archs: Vec<Arch>,
    /// The toolkit before it in the table; `None` for the first.
    pub previous: Option<CudaVersion>,
    /// The archs that `previous` has not.
    pub added: Vec<Arch>,
    /// The archs that only `previous` has.
    pub removed: Vec<Arch>,
    /// What compiles the host's part.
    pub host_compilers: HostCompilers,
    /// Whether PyPI has the whole of its nvcc.
    pub nvcc_on_pypi: bool,
    /// The PTX that it writes.
    pub ptx: Option<PtxVersion>,
    /// The least driver for machine code, where the driver knows the GPU.
    pub least_driver: Option<Driver>,
    /// The least driver that compiles its PTX.
    pub ptx_driver: Option<Driver>,
    /// The torches that are built with it, and where each is.
    pub torches: Vec<(TorchMinor, Index)>,
    /// Where each fact comes from.
    pub sources: BTreeMap<&'static str, String>,
}

/// A minor version of torch.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TorchSection {
    /// Its minor version.
    pub torch: TorchMinor,
    /// The releases of it.
    pub releases: Vec<TorchVersion>,
    /// Its builds.
    pub builds: Vec<TorchBuild>,
    /// Why it may have more builds.
    pub more_builds: Option<String>,
    /// For each build, the GPUs that its kernels run on and those that they do not.
    pub gpus: Vec<BuildGpus>,
    /// The Pythons that it has wheels for; with a limit in brackets.
    pub python: Vec<String>,
    /// The archs that its `cpp_extension` takes.
    pub archs: Vec<Arch>,
    /// The suffixes that its `select_compute_arch.cmake` takes.
    pub cmake_suffixes: Vec<String>,
    /// The first gcc that its `cpp_extension` refuses, by range of CUDA.
    pub gcc_check: Vec<(String, u16)>,
    /// The C++ standard that its `cpp_extension` passes.
    pub cxx_default: u8,
    /// The least C++ standard that its headers take.
    pub cxx_least: u8,
    /// The packages that go with it.
    pub packages: BTreeMap<String, Vec<Match>>,
    /// Where each fact comes from.
    pub sources: BTreeMap<&'static str, String>,
}

/// On which GPUs a build of torch runs, by compute capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BuildGpus {
    /// The build.
    pub cuda: CudaVersion,
    /// As it is.
    pub native: Vec<Capability>,
    /// Compiled by the driver.
    pub jit: Vec<Capability>,
    /// Not at all.
    pub fails: Vec<Capability>,
}

/// A Python.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PythonSection {
    /// Its version.
    pub python: PythonVersion,
    /// The torches that have wheels for it, each with a limit or without.
    pub torches: Vec<(TorchMinor, Option<String>)>,
}

/// What is known of a GPU, of the toolkits and builds that `question` leaves.
pub(super) fn gpu_section(gpu: &Gpu, question: &Question) -> GpuSection {
    let asked = |cuda: CudaVersion| question.cuda.is_none_or(|asked| asked == cuda);
    let toolkits = TABLE.toolkits.iter().filter(|&(&cuda, _)| asked(cuda));
    let builds = builds::torch_builds(Some(gpu.capability)).into_iter();
    GpuSection {
        capability: gpu.capability,
        name: gpu.example.clone(),
        platform: gpu.platform,
        toolkits: toolkits
            .map(|(&cuda, row)| toolkit_on_gpu(cuda, row, gpu.capability))
            .collect(),
        builds: builds
            .filter(|build| {
                let torch = question.torch;
                asked(build.cuda) && torch.is_none_or(|torch| torch.minor() == build.torch)
            })
            .collect(),
        code: code::code_on(gpu.capability),
        sources: gpu_sources(gpu),
    }
}

fn gpu_sources(gpu: &Gpu) -> BTreeMap<&'static str, String> {
    let [drivers, minor_compatibility] = driver::sources();
    [
        ("compute-capability", gpu.source.as_str()),
        ("drivers", drivers),
        ("minor-compatibility", minor_compatibility),
        ("what runs there", RULES),
    ]
    .map(|(what, source)| (what, source.to_owned()))
    .into()
}

/// What [`crate::gpu::rules`] goes by.
const RULES: &str = "Blackwell Compatibility Guide 1.2; CUDA C++ Programming Guide 6.1.2 and 6.1.3; CUDA \
                     Programming Guide 5.1.2";

/// What a toolkit compiles for a GPU.
pub(super) fn toolkit_on_gpu(cuda: CudaVersion, row: &ToolkitRow, gpu: Capability) -> ToolkitOnGpu {
    let that = |kind, wanted: CodeRun| {
        let archs = row.archs.iter().copied();
        archs.filter(move |&arch| code::run(kind, arch, gpu) == wanted)
    };
    let native: Vec<_> = that(CodeKind::MachineCode, CodeRun::Native).collect();
    let ptx = that(CodeKind::Ptx, CodeRun::Jit).max();
    let version = PtxVersion::of_cuda(cuda);
    ToolkitOnGpu {
        cuda,
        native_driver: native
            .first()
            .and_then(|_| driver::native_driver(gpu, Some(cuda))),
        ptx_driver: match (ptx, version) {
            (Some(_), Some(version)) => driver::jit_driver(gpu, Some(cuda), version),
            _ => None,
        },
        native,
        ptx,
    }
}

/// What is known of a toolkit; `None` when it has no row.
pub(super) fn toolkit_section(cuda: CudaVersion) -> Option<ToolkitSection> {
    let row = TABLE.toolkits.get(&cuda)?;
    let previous = TABLE.toolkits.range(..cuda).next_back();
    let without = |archs: &[Arch], others: &[Arch]| -> Vec<Arch> {
        let archs = archs.iter().copied();
        archs.filter(|arch| !others.contains(arch)).collect()
    };
    let (added, removed) = match previous {
        None => (Vec::new(), Vec::new()),
        Some((_, before)) => (
            without(&row.archs, &before.archs),
            without(&before.archs, &row.archs),
        ),
    };
    let ptx = PtxVersion::of_cuda(cuda);
    let builds = builds::torch_builds(None).into_iter();
    let sources = &row.sources;
    Some(ToolkitSection {
        cuda,
        archs: row.archs.clone(),
        previous: previous.map(|(&previous, _)| previous),
        added,
        removed,
        host_compilers: HostCompilers {
            gcc_most: row.gcc_most,
            clang_below: row.clang_below,
        },
        nvcc_on_pypi: row.nvcc_on_pypi,
        ptx,
        least_driver: driver::least_for(cuda),
        ptx_driver: driver::released_with(cuda),
        torches: builds
            .filter(|build| build.cuda == cuda)
            .map(|build| (build.torch, build.index))
            .collect(),
        sources: [
            ("archs", &sources.archs),
            ("host-compilers", &sources.host_compilers),
            ("nvcc-on-pypi", &sources.nvcc_on_pypi),
        ]
        .map(|(what, source)| (what, source.clone()))
        .into(),
    })
}

/// What is known of a torch; `None` when it has no row.
pub(super) fn torch_section(torch: TorchMinor) -> Option<TorchSection> {
    let row = TABLE.torch.get(&torch)?;
    let builds: Vec<_> = builds::torch_builds(None)
        .into_iter()
        .filter(|build| build.torch == torch)
        .collect();
    let limited = row.also_python.iter().map(limited_python);
    let checks = row.gcc_check.iter();
    Some(TorchSection {
        torch,
        releases: row.releases.clone(),
        gpus: row
            .builds
            .keys()
            .map(|&cuda| build_gpus(torch, cuda))
            .collect(),
        builds,
        more_builds: row.more_builds.clone(),
        python: row
            .python
            .iter()
            .map(ToString::to_string)
            .chain(limited)
            .collect(),
        archs: row.archs.clone(),
        cmake_suffixes: row.cmake_suffixes.clone(),
        gcc_check: checks
            .map(|check| (check.cuda.to_string(), check.below))
            .collect(),
        cxx_default: row.cxx_standard.default,
        cxx_least: row.cxx_standard.least,
        packages: row.packages.clone(),
        sources: torch_sources(row),
    })
}

fn torch_sources(row: &TorchRow) -> BTreeMap<&'static str, String> {
    let sources = &row.sources;
    [
        ("builds", &sources.builds),
        ("pypi-cuda", &sources.pypi_cuda),
        ("default-archs", &sources.default_archs),
        ("cxx11-abi", &sources.cxx11_abi),
        ("python", &sources.python),
        ("archs", &sources.archs),
        ("cmake-suffixes", &sources.cmake_suffixes),
        ("gcc-check", &sources.gcc_check),
        ("cxx-standard", &sources.cxx_standard),
        ("packages", &sources.packages),
    ]
    .map(|(what, source)| (what, source.clone()))
    .into()
}

fn build_gpus(torch: TorchMinor, cuda: CudaVersion) -> BuildGpus {
    use crate::gpu::verdict::Verdict;
    let mut gpus = BuildGpus {
        cuda,
        native: Vec::new(),
        jit: Vec::new(),
        fails: Vec::new(),
    };
    for gpu in gpu::all() {
        let builds = builds::torch_builds(Some(gpu.capability)).into_iter();
        let mut builds = builds.filter(|build| build.torch == torch && build.cuda == cuda);
        let on_gpu = builds.next().and_then(|build| build.on_gpu);
        match on_gpu.map(|on_gpu| on_gpu.verdict) {
            Some(Verdict::Native) => gpus.native.push(gpu.capability),
            Some(Verdict::Jit) => gpus.jit.push(gpu.capability),
            Some(Verdict::Fails | Verdict::Partly) => gpus.fails.push(gpu.capability),
            Some(Verdict::Unknown | Verdict::NoDeviceCode) | None => {}
        }
    }
    gpus
}

/// Which torches are for a Python.
pub(super) fn python_section(python: PythonVersion) -> PythonSection {
    let limit = |row: &TorchRow| -> Option<Option<String>> {
        if row.python.contains(&python) {
            return Some(None);
        }
        let limited = row.also_python.iter().find(|one| one.python == python)?;
        Some(Some(limits(limited)))
    };
    let rows = TABLE.torch.iter();
    PythonSection {
        python,
        torches: rows
            .filter_map(|(&torch, row)| Some((torch, limit(row)?)))
            .collect(),
    }
}
