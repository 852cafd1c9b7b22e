//! What goes with a release of torch: torchvision, torchaudio and triton, each at one version and from
//! one index, or why there is none.

use serde::Serialize;

use super::lookup::list;
use super::table::{Index, TABLE, TorchRow};
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::wheel::version::TorchMinor;

/// The packages that an environment has beside torch.
pub const COMPANIONS: [&str; 3] = ["torchvision", "torchaudio", "triton"];

/// A package that goes with a torch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Companion {
    /// Its name.
    pub package: &'static str,
    /// The version and where it is; otherwise why there is none.
    pub version: Result<CompanionVersion, String>,
}

/// One version of a companion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompanionVersion {
    /// The version without a local part: `0.26.0`.
    pub version: String,
    /// Which index has it for torch's CUDA.
    pub index: Index,
    /// Whether its builds are told apart by CUDA, as those of torch are: `0.26.0+cu128`.
    pub has_cuda: bool,
}

/// A torch as it is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TorchInstalled {
    /// The release.
    pub torch: TorchVersion,
    /// The CUDA that it is built for.
    pub cuda: CudaVersion,
    /// The Python that it is installed into.
    pub python: PythonVersion,
    /// The index that has it.
    pub index: Index,
}

/// The releases of a minor version that are known, the oldest first.
pub fn releases_of(minor: TorchMinor) -> &'static [TorchVersion] {
    TABLE.torch.get(&minor).map_or(&[], |row| &row.releases)
}

/// Whether the wheels of a torch need glibc 2.28: their platform is `manylinux_2_28` from 2.7 on, and
/// `manylinux1` before, by their names on PyPI.
pub fn torch_needs_glibc_2_28(minor: TorchMinor) -> bool {
    minor.parts() >= (2, 7)
}

/// What goes with a torch; empty where nothing is known of it.
pub fn companions(with: &TorchInstalled) -> Vec<Companion> {
    let Some(row) = TABLE.torch.get(&with.torch.minor()) else {
        return Vec::new();
    };
    let of = |&package: &&'static str| Companion {
        package,
        version: version(row, package, with),
    };
    COMPANIONS.iter().map(of).collect()
}

fn version(
    row: &TorchRow,
    package: &str,
    with: &TorchInstalled,
) -> Result<CompanionVersion, String> {
    let &TorchInstalled {
        torch,
        cuda,
        python,
        index,
    } = with;
    let matches = row.packages.get(package).into_iter().flatten();
    let mut matches = matches.filter(|one| one.torch.is_none_or(|one| one == torch));
    let (one, version) = matches
        .find_map(|one| one.pinned().map(|version| (one, version)))
        .ok_or_else(|| format!("the table has none for torch {torch}"))?;
    if one.without.contains(&python) {
        return Err(format!(
            "PyPI has no wheel of {version} for Python {python}"
        ));
    }
    // triton brings its own ptxas and has one build.
    let has_cuda = package != "triton";
    let index = match (has_cuda, one.built_with) {
        (false, _) => Index::Pypi,
        (true, None) => index,
        (true, Some(built)) => built_for(version, built, cuda)?,
    };
    Ok(CompanionVersion {
        version: version.to_owned(),
        index,
        has_cuda,
    })
}

/// A version that was built with an earlier torch: its builds are those of that torch, and the one for
/// the very same CUDA is wanted. torchaudio refuses another at import, by minor version
/// (`_check_cuda_version` in torchaudio/_extension/utils.py of 2.11.0; tried with torch 2.11.0+cu130
/// that was made to say 13.2).
fn built_for(version: &str, built: TorchMinor, cuda: CudaVersion) -> Result<Index, String> {
    let row = &TABLE.torch[&built];
    if row.builds.contains_key(&cuda) {
        return Ok(if row.pypi_cuda == cuda {
            Index::Pypi
        } else {
            Index::Pytorch
        });
    }
    Err(format!(
        "{version}, the last there is, was built with torch {built} for CUDA {}, and refuses another \
         at import",
        list(row.builds.keys())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(torch: &str, cuda: &str, python: &str) -> String {
        let cuda: CudaVersion = cuda.parse().unwrap();
        let torch: TorchVersion = torch.parse().unwrap();
        let index = if super::super::cuda_on_pypi(torch.minor()) == Some(cuda) {
            Index::Pypi
        } else {
            Index::Pytorch
        };
        let all = companions(&TorchInstalled {
            torch,
            cuda,
            python: python.parse().unwrap(),
            index,
        });
        let all = all.into_iter().map(|one| match one.version {
            Ok(found) => format!("{} {} {}", one.package, found.version, found.index.name()),
            Err(why) => format!("no {}: {why}", one.package),
        });
        let all: Vec<_> = all.collect();
        format!("{torch} {cuda} {python}: {}", all.join(", "))
    }

    #[test]
    fn each_release_has_its_own_companions_and_torchaudio_ends_at_2_11() {
        insta::assert_snapshot!([
            told("2.4.1", "12.1", "3.12"),
            told("2.5.0", "12.4", "3.13"),
            told("2.7.1", "12.8", "3.12"),
            told("2.8.0", "12.8", "3.12"),
            told("2.11.0", "13.0", "3.12"),
            told("2.14.1", "13.0", "3.12"),
            told("2.14.1", "12.6", "3.12"),
            told("2.14.1", "13.2", "3.12"),
            told("2.15.0", "13.2", "3.15"),
            told("2.99.0", "13.2", "3.15"),
        ].join("\n"), @r"
        2.4.1 12.1 3.12: torchvision 0.19.1 PyPI, torchaudio 2.4.1 PyPI, triton 3.0.0 PyPI
        2.5.0 12.4 3.13: no torchvision: PyPI has no wheel of 0.20.0 for Python 3.13, no torchaudio: PyPI has no wheel of 2.5.0 for Python 3.13, no triton: PyPI has no wheel of 3.1.0 for Python 3.13
        2.7.1 12.8 3.12: torchvision 0.22.1 download.pytorch.org, torchaudio 2.7.1 download.pytorch.org, triton 3.3.1 PyPI
        2.8.0 12.8 3.12: torchvision 0.23.0 PyPI, torchaudio 2.8.0 PyPI, triton 3.4.0 PyPI
        2.11.0 13.0 3.12: torchvision 0.26.0 PyPI, torchaudio 2.11.0 PyPI, triton 3.6.0 PyPI
        2.14.1 13.0 3.12: torchvision 0.29.1 PyPI, torchaudio 2.11.0 PyPI, triton 3.8.0 PyPI
        2.14.1 12.6 3.12: torchvision 0.29.1 download.pytorch.org, torchaudio 2.11.0 download.pytorch.org, triton 3.8.0 PyPI
        2.14.1 13.2 3.12: torchvision 0.29.1 download.pytorch.org, no torchaudio: 2.11.0, the last there is, was built with torch 2.11 for CUDA 12.6, 12.8, 12.9, 13.0, and refuses another at import, triton 3.8.0 PyPI
        2.15.0 13.2 3.15: torchvision 0.29.2 PyPI, no torchaudio: PyPI has no wheel of 2.11.0 for Python 3.15, triton 3.9.0 PyPI
        2.99.0 13.2 3.15: 
        ");
    }
}
