//! One question to the table at a time, as `wheelfarm plan` asks them.

use super::table::{Base, Index, LimitedPython, TABLE, TorchRow};
use crate::arch::Arch;
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::wheel::version::TorchMinor;

/// What the table says of a combination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A row allows it.
    Works,
    /// A row rules it out; `known` is what the row has instead, `source` where the row comes from.
    Fails {
        /// What would work, for a hint.
        known: String,
        /// Where the row comes from.
        source: String,
    },
    /// No row says so or otherwise.
    Unknown {
        /// What is not known: `no row for CUDA 14.0`.
        why: String,
    },
}

impl Verdict {
    fn of(works: bool, known: impl FnOnce() -> String, source: &str) -> Self {
        if works {
            return Self::Works;
        }
        Self::Fails {
            known: known(),
            source: source.to_owned(),
        }
    }

    fn no_row(what: &str) -> Self {
        let why = format!("it has no row for {what}");
        Self::Unknown { why }
    }

    /// What a row says against a nightly is not certain where it is about what gets built: such
    /// lists change from one night to the next.
    fn for_build_of(self, torch: TorchVersion) -> Self {
        match self {
            Self::Fails { known, .. } if torch.nightly().is_some() => Self::Unknown {
                why: format!("{known}, as a release; a nightly may be built otherwise"),
            },
            verdict @ (Self::Works | Self::Fails { .. } | Self::Unknown { .. }) => verdict,
        }
    }
}

/// Whether nvcc of `cuda` compiles for `arch`.
pub fn toolkit_compiles(cuda: CudaVersion, arch: Arch) -> Verdict {
    let Some(row) = TABLE.toolkits.get(&cuda) else {
        return Verdict::no_row(&format!("CUDA {cuda}"));
    };
    let known = || {
        let with_arch: Vec<_> = TABLE
            .toolkits
            .iter()
            .filter(|(_, row)| row.archs.contains(&arch))
            .map(|(version, _)| version.to_string())
            .collect();
        match (with_arch.first(), with_arch.last()) {
            (Some(first), Some(last)) => format!("CUDA {first} to {last} compile for {arch}"),
            _ => format!("no known CUDA toolkit compiles for {arch}"),
        }
    };
    Verdict::of(row.archs.contains(&arch), known, &row.sources.archs)
}

/// The known toolkits that compile for `arch`: the first, and the last unless the newest one still does.
/// `None` when none does.
pub fn toolkits_for(arch: Arch) -> Option<(CudaVersion, Option<CudaVersion>)> {
    let with_arch = TABLE
        .toolkits
        .iter()
        .filter(|(_, row)| row.archs.contains(&arch));
    let mut versions = with_arch.map(|(version, _)| *version);
    let first = versions.next()?;
    let last = versions.last().unwrap_or(first);
    let newest = *TABLE.toolkits.keys().next_back()?;
    Some((first, (last != newest).then_some(last)))
}

/// Whether PyPI has the whole nvcc of `cuda` as wheels.
pub fn toolkit_is_on_pypi(cuda: CudaVersion) -> Verdict {
    let Some(row) = TABLE.toolkits.get(&cuda) else {
        return Verdict::no_row(&format!("CUDA {cuda}"));
    };
    let known =
        || "wheels before CUDA 13.0 have no nvcc; use a base image with the toolkit".to_owned();
    Verdict::of(row.nvcc_on_pypi, known, &row.sources.nvcc_on_pypi)
}

/// Whether nvcc of `cuda` takes gcc of the major version `gcc` as its host compiler.
pub fn toolkit_takes_gcc(cuda: CudaVersion, gcc: u16) -> Verdict {
    let Some(row) = TABLE.toolkits.get(&cuda) else {
        return Verdict::no_row(&format!("CUDA {cuda}"));
    };
    let known = || {
        let most = row.gcc_most;
        let bases = bases_with_gcc(|gcc| gcc <= most);
        format!("it takes gcc {most} and earlier: {bases}")
    };
    Verdict::of(gcc <= row.gcc_most, known, &row.sources.host_compilers)
}

/// Whether anything is known of the minor version of `torch`.
pub fn torch_has_row(torch: TorchVersion) -> bool {
    TABLE.torch.contains_key(&torch.minor())
}

/// Whether `torch` is one of the releases that are known of its minor version.
pub fn torch_is_released(torch: TorchVersion) -> Verdict {
    if torch.nightly().is_some() {
        return Verdict::Works;
    }
    match TABLE.torch.get(&torch.minor()) {
        None => Verdict::no_row(&format!("torch {}", torch.minor())),
        Some(row) if row.releases.contains(&torch) => Verdict::Works,
        Some(row) => Verdict::Unknown {
            why: format!(
                "of torch {} it has {}",
                torch.minor(),
                list(row.releases.iter())
            ),
        },
    }
}

/// The last release that is known of a minor version of torch.
pub fn newest_release_of(minor: TorchMinor) -> Option<TorchVersion> {
    TABLE.torch.get(&minor)?.releases.iter().max().copied()
}

/// The last release of every minor version of torch that is known.
pub fn known_torches() -> impl Iterator<Item = TorchVersion> {
    let rows = TABLE.torch.values();
    rows.filter_map(|row| row.releases.iter().max().copied())
}

/// The CUDA that PyPI's own torch of a minor version is built with; nothing where that is not known.
pub fn cuda_on_pypi(minor: TorchMinor) -> Option<CudaVersion> {
    Some(TABLE.torch.get(&minor)?.pypi_cuda)
}

/// Whether `torch` has a build for `cuda`.
pub fn torch_has_cuda(torch: TorchVersion, cuda: CudaVersion) -> Verdict {
    let judge = |row: &TorchRow| {
        let known = || {
            format!(
                "torch {} is built for CUDA {}",
                torch.minor(),
                list(row.builds.keys())
            )
        };
        match &row.more_builds {
            Some(why) if !row.builds.contains_key(&cuda) => Verdict::Unknown {
                why: format!("{}; {why}", known()),
            },
            _ => Verdict::of(row.builds.contains_key(&cuda), known, &row.sources.builds),
        }
    };
    torch_row(torch, judge).for_build_of(torch)
}

/// Whether the torch wheel that PyPI itself serves is the build for `cuda`.
pub fn torch_on_pypi_is_for(torch: TorchVersion, cuda: CudaVersion) -> Verdict {
    if torch.nightly().is_some() {
        return Verdict::Fails {
            known: format!(
                "nightlies are on PyTorch's own index: `torch-index: {}`",
                nightly_index(cuda)
            ),
            source: "https://pytorch.org/get-started/locally/".to_owned(),
        };
    }
    torch_row(torch, |row| {
        let known = || {
            format!(
                "PyPI's torch {} is built for CUDA {}; others are on download.pytorch.org",
                torch.minor(),
                row.pypi_cuda
            )
        };
        Verdict::of(row.pypi_cuda == cuda, known, &row.sources.pypi_cuda)
    })
}

/// The index of the nightlies for one CUDA.
fn nightly_index(cuda: CudaVersion) -> String {
    format!("https://download.pytorch.org/whl/nightly/{}", cuda.tag())
}

/// Whether `torch` has wheels for `python` on `index`; `None`: on some index.
pub fn torch_has_python(
    torch: TorchVersion,
    python: PythonVersion,
    index: Option<Index>,
) -> Verdict {
    let judge = |row: &TorchRow| {
        let known = || {
            let limited = row.also_python.iter().map(limited_python);
            let pythons = row.python.iter().map(ToString::to_string).chain(limited);
            format!("torch {} is for Python {}", torch.minor(), list(pythons))
        };
        let works = row.has_python(Some(torch), python, index);
        let limit = row.also_python.iter().find(|one| one.python == python);
        let source = limit.map_or(&row.sources.python, |limit| &limit.source);
        Verdict::of(works, known, source)
    };
    torch_row(torch, judge).for_build_of(torch)
}

/// `3.15 (download.pytorch.org only)`.
pub(super) fn limited_python(limited: &LimitedPython) -> String {
    format!("{} ({})", limited.python, limits(limited))
}

/// `download.pytorch.org only`, `2.12.0 only`.
pub(super) fn limits(limited: &LimitedPython) -> String {
    let limits = [
        limited.torch.map(|torch| format!("{torch} only")),
        limited.index.map(|index| format!("{} only", index.name())),
    ];
    list(limits.into_iter().flatten())
}

impl TorchRow {
    /// Whether `index` has wheels of a release, or of some release, for `python`.
    pub(super) fn has_python(
        &self,
        torch: Option<TorchVersion>,
        python: PythonVersion,
        index: Option<Index>,
    ) -> bool {
        let fits = |limited: &LimitedPython| {
            let is_torch = limited
                .torch
                .is_none_or(|one| torch.is_none_or(|asked| asked == one));
            let is_index = limited
                .index
                .is_none_or(|one| index.is_none_or(|asked| asked == one));
            limited.python == python && is_torch && is_index
        };
        self.python.contains(&python) || self.also_python.iter().any(fits)
    }
}

/// Whether the `torch.utils.cpp_extension` of `torch` takes `arch` in `TORCH_CUDA_ARCH_LIST`.
pub fn torch_takes_arch(torch: TorchVersion, arch: Arch) -> Verdict {
    torch_row(torch, |row| {
        let known = || format!("torch {} takes {}", torch.minor(), list(row.archs.iter()));
        Verdict::of(row.archs.contains(&arch), known, &row.sources.archs)
    })
}

/// Whether the `torch.utils.cpp_extension` of `torch` takes gcc of the major version `gcc` with
/// `cuda`. It asks by itself, and may refuse what nvcc takes.
pub fn torch_takes_gcc(torch: TorchVersion, cuda: CudaVersion, gcc: u16) -> Verdict {
    torch_row(torch, |row| {
        let check = row
            .gcc_check
            .iter()
            .find(|check| check.cuda.contains_cuda(cuda));
        let Some(below) = check.map(|check| check.below) else {
            return Verdict::Works;
        };
        let known = || {
            let bases = bases_with_gcc(|gcc| gcc < below);
            format!("it takes gcc before {below} with CUDA {cuda}: {bases}")
        };
        Verdict::of(gcc < below, known, &row.sources.gcc_check)
    })
}

/// What is known of the base of an environment, by the reference of its image or its suite.
pub fn base_of(text: &str) -> Option<&'static Base> {
    let fits = |base: &&Base| base.names.iter().any(|name| text.contains(name));
    TABLE.bases.iter().find(fits)
}

/// `Debian 12 (gcc 12), Ubuntu 24.04 (gcc 13)`.
fn bases_with_gcc(fits: impl Fn(u16) -> bool) -> String {
    let bases = TABLE.bases.iter().filter(|base| fits(base.gcc));
    list(bases.map(|base| format!("{} has gcc {}", base.name, base.gcc)))
}

/// Its texts, joined by commas.
pub(super) fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let texts: Vec<_> = items.map(|item| item.to_string()).collect();
    texts.join(", ")
}

fn torch_row(torch: TorchVersion, judge: impl FnOnce(&TorchRow) -> Verdict) -> Verdict {
    match TABLE.torch.get(&torch.minor()) {
        Some(row) => judge(row),
        None => Verdict::no_row(&format!("torch {}", torch.minor())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torch(text: &str) -> TorchVersion {
        text.parse().unwrap()
    }

    fn cuda(text: &str) -> CudaVersion {
        text.parse().unwrap()
    }

    /// `works`, `fails: …`, `unknown: …`.
    fn told(verdict: Verdict) -> String {
        match verdict {
            Verdict::Works => "works".to_owned(),
            Verdict::Fails { known, .. } => format!("fails: {known}"),
            Verdict::Unknown { why } => format!("unknown: {why}"),
        }
    }

    #[track_caller]
    fn check_toolkit(cuda: &str, arch: &str, works: bool) {
        let verdict = toolkit_compiles(cuda.parse().unwrap(), arch.parse().unwrap());
        assert_eq!(
            verdict == Verdict::Works,
            works,
            "{cuda} {arch}: {verdict:?}"
        );
    }

    #[test]
    fn blackwell_needs_cuda_12_8_and_volta_ends_at_13() {
        check_toolkit("12.8", "12.0", true);
        check_toolkit("12.6", "12.0", false);
        check_toolkit("12.8", "12.0f", false);
        check_toolkit("12.9", "12.0f", true);
        check_toolkit("12.9", "7.0", true);
        check_toolkit("13.0", "7.0", false);
        check_toolkit("13.0", "11.0", true);
    }

    #[test]
    fn torch_rows_know_cuda_python_and_arch() {
        let python = |torch_text, python: &str, index| {
            told(torch_has_python(
                torch(torch_text),
                python.parse().unwrap(),
                index,
            ))
        };
        let arch = |torch_text, arch: &str| {
            told(torch_takes_arch(torch(torch_text), arch.parse().unwrap()))
        };
        let answers = [
            told(torch_has_cuda(torch("2.11.0"), cuda("13.0"))),
            told(torch_has_cuda(torch("2.8.0"), cuda("13.0"))),
            told(torch_has_cuda(torch("2.15.0"), cuda("13.0"))),
            told(torch_has_cuda(torch("2.99.0"), cuda("13.0"))),
            told(torch_on_pypi_is_for(torch("2.11.0"), cuda("13.0"))),
            told(torch_on_pypi_is_for(torch("2.11.0"), cuda("12.8"))),
            told(torch_is_released(torch("2.9.1"))),
            told(torch_is_released(torch("2.9.7"))),
            python("2.9.1", "3.9", None),
            python("2.13.0", "3.15", None),
            python("2.13.0", "3.15", Some(Index::Pypi)),
            python("2.12.0", "3.13t", Some(Index::Pypi)),
            python("2.12.1", "3.13t", Some(Index::Pypi)),
            arch("2.7.0", "12.0"),
            arch("2.6.0", "12.0"),
            arch("2.11.0", "12.0f"),
        ];
        insta::assert_snapshot!(answers.join("\n"));
    }

    #[test]
    fn compilers_are_judged_by_nvcc_and_by_torch() {
        let nvcc = |cuda_text, gcc| told(toolkit_takes_gcc(cuda(cuda_text), gcc));
        let own = |torch_text, cuda_text, gcc| {
            told(torch_takes_gcc(torch(torch_text), cuda(cuda_text), gcc))
        };
        let answers = [
            nvcc("12.6", 13),
            nvcc("12.6", 14),
            nvcc("13.4", 16),
            nvcc("14.0", 12),
            own("2.10.0", "12.8", 14),
            own("2.11.0", "12.8", 13),
            own("2.11.0", "12.8", 14),
            own("2.12.0", "12.8", 14),
            own("2.11.0", "13.0", 15),
            own("2.12.0", "13.2", 99),
        ];
        insta::assert_snapshot!(answers.join("\n"));
    }

    #[test]
    fn a_nightly_is_judged_by_its_row_where_that_is_about_code() {
        let (known, new) = (torch("2.15.0.dev20260901"), torch("2.16.0.dev20261120"));
        let answers = [
            told(torch_has_cuda(known, cuda("13.2"))),
            told(torch_has_cuda(torch("2.14.0.dev20260901"), cuda("12.8"))),
            told(torch_has_python(known, "3.10".parse().unwrap(), None)),
            told(torch_takes_arch(known, "12.0f".parse().unwrap())),
            told(torch_is_released(known)),
            told(torch_on_pypi_is_for(known, cuda("13.2"))),
            told(torch_has_cuda(new, cuda("13.0"))),
            told(torch_takes_arch(new, "12.0f".parse().unwrap())),
        ];
        insta::assert_snapshot!(answers.join("\n"));
    }

    #[test]
    fn bases_are_known_by_what_their_reference_says() {
        let gcc = |text| base_of(text).map(|base| base.gcc);
        assert_eq!(gcc("bookworm"), Some(12));
        assert_eq!(gcc("python:3.13-slim-trixie"), Some(14));
        assert_eq!(gcc("nvidia/cuda:12.8.1-devel-ubuntu22.04"), Some(11));
        assert_eq!(
            gcc("nvidia/cuda:13.0.1-devel-ubuntu24.04@sha256:00"),
            Some(13)
        );
        assert_eq!(gcc("pytorch/manylinux2_28-builder:cuda13.0"), Some(13));
        assert_eq!(gcc("pytorch/manylinux2_28-builder:cuda12.1"), None);
        assert_eq!(gcc("quay.io/pypa/manylinux_2_28_x86_64:latest"), None);
    }
}
