//! What works with what: CUDA toolkit x arch x host compiler, torch x CUDA x Python x arch, as cited
//! data, and the answers to what a person asks of it.
//!
//! The data is `data/compat.yaml`. What has no row is unknown, which is not the same as impossible.
//! Drivers and GPUs are [`crate::gpu`]'s.

mod answer;
mod builds;
mod code;
mod companions;
mod lookup;
mod question;
mod reason;
mod sections;
mod table;
#[cfg(test)]
mod transcript;

pub use answer::{Answer, answer};
pub use builds::{BuildOnGpu, TorchBuild, archs_of_torch_build, torch_build_runs_on, torch_builds};
pub use code::{CodeKind, CodeOnGpu, CodeRun, grouped};
pub use companions::{
    COMPANIONS, Companion, CompanionVersion, TorchInstalled, companions, releases_of,
    torch_needs_glibc_2_28,
};
pub use lookup::{
    Verdict, base_of, cuda_on_pypi, known_torches, newest_release_of, toolkit_compiles,
    toolkit_is_on_pypi, toolkit_takes_gcc, toolkits_for, torch_has_cuda, torch_has_python,
    torch_has_row, torch_is_released, torch_on_pypi_is_for, torch_takes_arch, torch_takes_gcc,
};
pub use question::{Question, TorchAsked, TorchAskedError};
pub use reason::{Fit, Reason};
pub use sections::{
    BuildGpus, GpuSection, HostCompilers, PythonSection, ToolkitOnGpu, ToolkitSection, TorchSection,
};
pub use table::{Base, CxxAbi, Index, Match};
