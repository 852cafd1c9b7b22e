//! What works with what: CUDA toolkit x arch, torch x CUDA x Python x arch, as cited data.
//!
//! The data is `data/compat.yaml`. A version without a row is newer than the file: unknown, which
//! is not the same as impossible.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::arch::Arch;
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::yaml;

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
    /// No row: newer than the table.
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTable {
    schema: u32,
    cuda: BTreeMap<String, RawToolkit>,
    torch: BTreeMap<String, RawTorch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawToolkit {
    archs: Vec<Arch>,
    nvcc_on_pypi: bool,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTorch {
    pypi_cuda: String,
    cuda: Vec<String>,
    python: Vec<String>,
    archs: Vec<Arch>,
    source: String,
}

#[derive(Debug)]
struct Table {
    toolkits: BTreeMap<CudaVersion, RawToolkit>,
    torch: BTreeMap<String, RawTorch>,
}

const TEXT: &str = include_str!("../data/compat.yaml");

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let raw: RawTable = yaml::parse("compat.yaml", TEXT).expect("a test reads the built-in table");
    assert_eq!(raw.schema, 1, "the built-in table has the reader's schema");
    let cuda = |(version, row): (String, RawToolkit)| {
        let version = version.parse().expect("a test reads the built-in table");
        (version, row)
    };
    Table {
        toolkits: raw.cuda.into_iter().map(cuda).collect(),
        torch: raw.torch,
    }
});

/// Whether nvcc of `cuda` compiles for `arch`.
pub fn toolkit_compiles(cuda: CudaVersion, arch: Arch) -> Verdict {
    let Some(row) = TABLE.toolkits.get(&cuda) else {
        return Verdict::Unknown;
    };
    if row.archs.contains(&arch) {
        return Verdict::Works;
    }
    let with_arch: Vec<_> = TABLE
        .toolkits
        .iter()
        .filter(|(_, row)| row.archs.contains(&arch))
        .map(|(version, _)| version.to_string())
        .collect();
    Verdict::Fails {
        known: match (with_arch.first(), with_arch.last()) {
            (Some(first), Some(last)) => format!("CUDA {first} to {last} compile for {arch}"),
            _ => format!("no known CUDA toolkit compiles for {arch}"),
        },
        source: row.source.clone(),
    }
}

/// Whether PyPI has the whole nvcc of `cuda` as wheels.
pub fn toolkit_is_on_pypi(cuda: CudaVersion) -> Verdict {
    match TABLE.toolkits.get(&cuda) {
        None => Verdict::Unknown,
        Some(row) if row.nvcc_on_pypi => Verdict::Works,
        Some(row) => Verdict::Fails {
            known: "wheels before CUDA 13.0 have no nvcc; use a base image with the toolkit"
                .to_owned(),
            source: row.source.clone(),
        },
    }
}

/// Whether `torch` has a build for `cuda`.
pub fn torch_has_cuda(torch: TorchVersion, cuda: CudaVersion) -> Verdict {
    torch_row(torch, |row| {
        let known = || {
            format!(
                "torch {} is built for CUDA {}",
                torch.minor(),
                row.cuda.join(", ")
            )
        };
        (row.cuda.contains(&cuda.to_string()), known())
    })
}

/// Whether the torch wheel that PyPI itself serves is the build for `cuda`.
pub fn torch_on_pypi_is_for(torch: TorchVersion, cuda: CudaVersion) -> Verdict {
    torch_row(torch, |row| {
        let known = format!(
            "PyPI's torch {} is built for CUDA {}; others are on download.pytorch.org",
            torch.minor(),
            row.pypi_cuda
        );
        (row.pypi_cuda == cuda.to_string(), known)
    })
}

/// Whether `torch` has wheels for `python`.
pub fn torch_has_python(torch: TorchVersion, python: PythonVersion) -> Verdict {
    torch_row(torch, |row| {
        let known = format!(
            "torch {} is for Python {}",
            torch.minor(),
            row.python.join(", ")
        );
        (row.python.contains(&python.to_string()), known)
    })
}

/// Whether the `torch.utils.cpp_extension` of `torch` takes `arch` in `TORCH_CUDA_ARCH_LIST`.
pub fn torch_takes_arch(torch: TorchVersion, arch: Arch) -> Verdict {
    torch_row(torch, |row| {
        let archs: Vec<_> = row.archs.iter().map(ToString::to_string).collect();
        let known = format!("torch {} takes {}", torch.minor(), archs.join(", "));
        (row.archs.contains(&arch), known)
    })
}

fn torch_row(torch: TorchVersion, judge: impl Fn(&RawTorch) -> (bool, String)) -> Verdict {
    let Some(row) = TABLE.torch.get(&torch.minor()) else {
        return Verdict::Unknown;
    };
    match judge(row) {
        (true, _) => Verdict::Works,
        (false, known) => Verdict::Fails {
            known,
            source: row.source.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_row_can_be_read_and_cites_its_source() {
        for (cuda, row) in &TABLE.toolkits {
            assert!(!row.source.is_empty() && !row.archs.is_empty(), "{cuda}");
        }
        for (torch, row) in &TABLE.torch {
            assert!(!row.source.is_empty(), "{torch}");
            for cuda in row.cuda.iter().chain([&row.pypi_cuda]) {
                assert!(cuda.parse::<CudaVersion>().is_ok(), "{torch}: {cuda}");
            }
            for python in &row.python {
                assert!(python.parse::<PythonVersion>().is_ok(), "{torch}: {python}");
            }
        }
    }

    #[test]
    fn torch_rows_know_cuda_python_and_arch() {
        let torch = |text: &str| text.parse::<TorchVersion>().unwrap();
        let works = |verdict: Verdict| verdict == Verdict::Works;
        assert!(works(torch_has_cuda(
            torch("2.11.0"),
            "13.0".parse().unwrap()
        )));
        assert!(!works(torch_has_cuda(
            torch("2.8.0"),
            "13.0".parse().unwrap()
        )));
        assert!(works(torch_on_pypi_is_for(
            torch("2.11.0"),
            "13.0".parse().unwrap()
        )));
        assert!(!works(torch_has_python(
            torch("2.9.1"),
            "3.9".parse().unwrap()
        )));
        assert!(!works(torch_takes_arch(
            torch("2.6.0"),
            "12.0".parse().unwrap()
        )));
        assert!(!works(torch_takes_arch(
            torch("2.11.0"),
            "12.0f".parse().unwrap()
        )));
        assert_eq!(
            torch_has_cuda(torch("2.99.0"), "13.0".parse().unwrap()),
            Verdict::Unknown
        );
    }
}
