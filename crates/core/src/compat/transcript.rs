//! The table against a second listing, cell by cell, and against the laws that its cells keep.
//!
//! The listing was transcribed from what was read in wheels and upstream files, not from the YAML.

use std::collections::BTreeSet;

use super::table::{CxxAbi, Index, TABLE};
use crate::arch::{Arch, ArchSuffix, Ptx};
use crate::gpu::driver::{self, PtxVersion};
use crate::gpu::{self, Capability};
use crate::version::CudaVersion;
use crate::wheel::version::TorchMinor;

const MAXWELL_TO_HOPPER: &str = "50 52 53 60 61 62 70 72 75 80 86 87 89 90 90a";
const SINCE_13_0: &str = "75 80 86 87 88 89 90 90a 100 100a 100f 103 103a 103f 110 110a 110f 120 120a 120f 121 121a 121f";
const SINCE_13_4: &str = "75 80 86 87 88 89 90 90a 100 100a 100f 103 103a 103f 107 107a 107f 110 110a \
                          110f 120 120a 120f 121 121a 121f";

/// CUDA, archs by NVIDIA's numbers, newest gcc, first clang refused, driver released with it, least
/// driver of the major version, and whether PyPI has the whole nvcc.
type ToolkitLine = (
    &'static str,
    &'static str,
    u16,
    u16,
    Option<&'static str>,
    &'static str,
    bool,
);

const TOOLKITS: [ToolkitLine; 12] = [
    (
        "11.8",
        "35 37 50 52 53 60 61 62 70 72 75 80 86 87 89 90",
        11,
        15,
        Some("520.61.05"),
        "450.80.02",
        false,
    ),
    (
        "12.1",
        MAXWELL_TO_HOPPER,
        12,
        16,
        Some("530.30.02"),
        "525.60.13",
        false,
    ),
    (
        "12.4",
        MAXWELL_TO_HOPPER,
        13,
        18,
        Some("550.54.14"),
        "525.60.13",
        false,
    ),
    (
        "12.6",
        MAXWELL_TO_HOPPER,
        13,
        19,
        Some("560.28.03"),
        "525.60.13",
        false,
    ),
    (
        "12.8",
        "50 52 53 60 61 62 70 72 75 80 86 87 89 90 90a 100 100a 101 101a 120 120a",
        14,
        20,
        Some("570.26"),
        "525.60.13",
        false,
    ),
    (
        "12.9",
        "50 52 53 60 61 62 70 72 75 80 86 87 89 90 90a 100 100a 100f 101 101a 101f 103 103a 103f 120 \
         120a 120f 121 121a 121f",
        14,
        20,
        Some("575.51.03"),
        "525.60.13",
        false,
    ),
    ("13.0", SINCE_13_0, 15, 21, Some("580.65.06"), "580", true),
    ("13.1", SINCE_13_0, 15, 22, Some("590.44.01"), "580", true),
    ("13.2", SINCE_13_0, 15, 22, Some("595.45.04"), "580", true),
    ("13.3", SINCE_13_0, 15, 22, Some("610.43.02"), "580", true),
    // NVIDIA pairs 13.4 with branch R615, and nothing was found for 13.5.
    ("13.4", SINCE_13_4, 16, 23, Some("615"), "580", true),
    ("13.5", SINCE_13_4, 16, 23, None, "580", true),
];

fn arch(number: &str) -> Arch {
    let digits = number.trim_end_matches(['a', 'f']);
    let suffix = match &number[digits.len()..] {
        "a" => ArchSuffix::Specific,
        "f" => ArchSuffix::Family,
        _ => ArchSuffix::Portable,
    };
    Arch::from_number(digits.parse().unwrap(), suffix).unwrap()
}

fn cuda(text: &str) -> CudaVersion {
    text.parse().unwrap()
}

#[test]
fn every_toolkit_has_the_cells_of_the_listing() {
    let listed: Vec<_> = TOOLKITS.iter().map(|line| cuda(line.0)).collect();
    assert_eq!(TABLE.toolkits.keys().copied().collect::<Vec<_>>(), listed);
    for (version, archs, gcc, clang, paired, floor, on_pypi) in TOOLKITS {
        let row = &TABLE.toolkits[&cuda(version)];
        let archs: Vec<_> = archs.split_whitespace().map(arch).collect();
        assert_eq!(row.archs, archs, "{version}");
        assert_eq!(row.gcc_most, gcc, "{version}");
        assert_eq!(row.clang_below, clang, "{version}");
        assert_eq!(row.nvcc_on_pypi, on_pypi, "{version}");
        let told = |driver: Option<driver::Driver>| driver.map(|driver| driver.to_string());
        let ptx = PtxVersion::of_cuda(cuda(version)).unwrap();
        // 12.5 and 12.6 write one PTX, and the driver of 12.5 is the first to read it.
        let reads = if version == "12.6" {
            Some("555.42.02")
        } else {
            paired
        };
        assert_eq!(told(ptx.driver()).as_deref(), reads, "{version}");
        assert_eq!(
            told(driver::released_with(cuda(version))).as_deref(),
            paired
        );
        // The oldest GPU of the table: any driver knows it, so the toolkit alone decides.
        let oldest = "7.5".parse().unwrap();
        let native = told(driver::native_driver(oldest, Some(cuda(version))));
        assert_eq!(native.as_deref(), Some(floor), "{version}");
    }
}

/// The first toolkit that compiles for an arch; `None` where that is older than the table.
const FIRST: [(&str, &str); 18] = [
    ("75", "10.0"),
    ("80", "11.0"),
    ("86", "11.1"),
    ("88", "13.0"),
    ("89", "11.8"),
    ("90", "11.8"),
    ("90a", "12.0"),
    ("100", "12.8"),
    ("100a", "12.8"),
    ("100f", "12.9"),
    ("101", "12.8"),
    ("103", "12.9"),
    ("107", "13.4"),
    ("110", "13.0"),
    ("120", "12.8"),
    ("120a", "12.8"),
    ("120f", "12.9"),
    ("121", "12.9"),
];

/// From which toolkit on an arch is gone.
fn removed_in(arch: Arch) -> Option<CudaVersion> {
    let (major, minor) = arch.capability();
    match (major, minor) {
        (3, _) => Some(cuda("12.0")),
        // Thor is 11.0 since.
        (5..=7, 0..=3) | (10, 1) => Some(cuda("13.0")),
        _ => None,
    }
}

#[test]
fn archs_come_with_one_toolkit_and_go_with_the_documented_ones() {
    for (number, first) in FIRST {
        for (version, row) in &TABLE.toolkits {
            let wanted = *version >= cuda(first)
                && removed_in(arch(number)).is_none_or(|removed| *version < removed);
            let has = row.archs.contains(&arch(number));
            assert_eq!(has, wanted, "{number} by CUDA {version}");
        }
    }
    let rows: Vec<_> = TABLE.toolkits.iter().collect();
    for pair in rows.windows(2) {
        let [(_, earlier), (version, later)] = pair else {
            unreachable!("windows of two");
        };
        for arch in &earlier.archs {
            let is_removed = removed_in(*arch).is_some_and(|removed| removed <= **version);
            assert_eq!(
                !later.archs.contains(arch),
                is_removed,
                "{arch} in {version}"
            );
        }
        assert!(earlier.gcc_most <= later.gcc_most, "{version}");
        assert!(earlier.clang_below <= later.clang_below, "{version}");
    }
    for row in TABLE.toolkits.values() {
        assert!(row.archs.is_sorted_by_key(|arch| arch.capability()));
        for arch in &row.archs {
            let portable = Capability::of_arch(*arch).to_string().parse().unwrap();
            assert!(row.archs.contains(&portable), "{arch} without its number");
        }
    }
}

#[test]
fn a_toolkit_compiles_for_a_gpu_from_its_first_cuda_on() {
    for gpu in gpu::all() {
        let own: Arch = gpu.capability.to_string().parse().unwrap();
        for (version, row) in &TABLE.toolkits {
            let wanted = *version >= gpu.first_cuda
                && removed_in(own).is_none_or(|removed| *version < removed);
            assert_eq!(row.archs.contains(&own), wanted, "{gpu} by CUDA {version}");
        }
    }
}

const A: &str = "5.0 6.0 7.0 7.5 8.0 8.6 9.0";
const CU118: &str = "3.7 5.0 6.0 7.0 7.5 8.0 8.6 9.0";
const VOLTA: &str = "7.0 7.5 8.0 8.6 9.0 10.0 12.0";
const VOLTA_PTX: &str = "7.0 7.5 8.0 8.6 9.0 10.0 12.0+PTX";
const TURING: &str = "7.5 8.0 8.6 9.0 10.0 12.0";
const TURING_PTX: &str = "7.5 8.0 8.6 9.0 10.0 12.0+PTX";

struct TorchLine {
    torch: &'static str,
    releases: &'static str,
    /// CUDA and default archs; the build of PyPI is marked.
    builds: &'static [(&'static str, &'static str)],
    pypi: &'static str,
    python: &'static str,
    /// CUDA versions whose builds have the old C++ ABI.
    old_abi: &'static str,
    standard: (u8, u8),
    /// The highest arch that `cpp_extension` takes, and how many.
    archs: (&'static str, usize),
    suffixes: &'static str,
    /// With CUDA 12.1, 12.4, 12.8, 13.0, 13.2: the first gcc that `cpp_extension` refuses; 0: none.
    gcc: [u16; 5],
    torchvision: &'static str,
    torchaudio: &'static str,
    triton: &'static str,
    xformers: &'static str,
}

const UNCHECKED: [u16; 5] = [0; 5];
const CHECKED: [u16; 5] = [13, 14, 15, 16, 0];

const TORCHES: [TorchLine; 12] = [
    TorchLine {
        torch: "2.4",
        releases: "2.4.0 2.4.1",
        builds: &[("11.8", CU118), ("12.1", A), ("12.4", A)],
        pypi: "12.1",
        python: "3.8 3.9 3.10 3.11 3.12",
        old_abi: "11.8 12.1 12.4",
        standard: (17, 17),
        archs: ("9.0a", 17),
        suffixes: "a",
        gcc: UNCHECKED,
        torchvision: "==0.19.0@2.4.0 ==0.19.1@2.4.1",
        torchaudio: "==2.4.0@2.4.0 ==2.4.1@2.4.1",
        triton: "==3.0.0",
        xformers: "==0.0.27.post2@2.4.0 ==0.0.28@2.4.1 ==0.0.28.post1@2.4.1",
    },
    TorchLine {
        torch: "2.5",
        releases: "2.5.0 2.5.1",
        builds: &[("11.8", CU118), ("12.1", A), ("12.4", A)],
        pypi: "12.4",
        python: "3.9 3.10 3.11 3.12 3.13",
        old_abi: "11.8 12.1 12.4",
        standard: (17, 17),
        archs: ("9.0a", 17),
        suffixes: "a",
        gcc: UNCHECKED,
        torchvision: "==0.20.0@2.5.0-3.13 ==0.20.1@2.5.1-3.13",
        torchaudio: "==2.5.0@2.5.0-3.13 ==2.5.1@2.5.1-3.13",
        triton: "==3.1.0-3.13",
        xformers: "==0.0.28.post3@2.5.1 ==0.0.29@2.5.1 ==0.0.29.post1@2.5.1",
    },
    TorchLine {
        torch: "2.6",
        releases: "2.6.0",
        builds: &[("11.8", CU118), ("12.4", A), ("12.6", A)],
        pypi: "12.4",
        python: "3.9 3.10 3.11 3.12 3.13 3.13t/pytorch",
        old_abi: "11.8 12.4",
        standard: (17, 17),
        archs: ("10.0", 18),
        suffixes: "a",
        gcc: UNCHECKED,
        torchvision: "==0.21.0-3.13t",
        torchaudio: "==2.6.0-3.13t",
        triton: "==3.2.0-3.13t",
        xformers: "==0.0.29.post2 ==0.0.29.post3",
    },
    TorchLine {
        torch: "2.7",
        releases: "2.7.0 2.7.1",
        builds: &[("11.8", CU118), ("12.6", A), ("12.8", TURING_PTX)],
        pypi: "12.6",
        python: "3.9 3.10 3.11 3.12 3.13 3.13t",
        old_abi: "",
        standard: (17, 17),
        archs: ("12.0a", 23),
        suffixes: "a",
        gcc: UNCHECKED,
        torchvision: "==0.22.0@2.7.0 ==0.22.1@2.7.1",
        torchaudio: "==2.7.0@2.7.0 ==2.7.1@2.7.1",
        triton: "==3.3.0@2.7.0 ==3.3.1@2.7.1",
        xformers: "==0.0.30@2.7.0 ==0.0.31@2.7.1 ==0.0.31.post1@2.7.1",
    },
    TorchLine {
        torch: "2.8",
        releases: "2.8.0",
        builds: &[("12.6", A), ("12.8", VOLTA), ("12.9", VOLTA_PTX)],
        pypi: "12.8",
        python: "3.9 3.10 3.11 3.12 3.13 3.13t",
        old_abi: "",
        standard: (17, 17),
        archs: ("12.1a", 27),
        suffixes: "a",
        gcc: UNCHECKED,
        torchvision: "==0.23.0",
        torchaudio: "==2.8.0",
        triton: "==3.4.0",
        xformers: "==0.0.32.post1 ==0.0.32.post2",
    },
    TorchLine {
        torch: "2.9",
        releases: "2.9.0 2.9.1",
        builds: &[
            ("12.6", A),
            ("12.8", VOLTA),
            ("12.9", VOLTA_PTX),
            ("13.0", TURING_PTX),
        ],
        pypi: "12.8",
        python: "3.10 3.11 3.12 3.13 3.13t 3.14 3.14t",
        old_abi: "",
        standard: (17, 17),
        archs: ("12.1a", 27),
        suffixes: "a f",
        gcc: UNCHECKED,
        torchvision: "==0.24.0@2.9.0 ==0.24.1@2.9.1",
        torchaudio: "==2.9.0@2.9.0 ==2.9.1@2.9.1",
        triton: "==3.5.0@2.9.0 ==3.5.1@2.9.1",
        xformers: "==0.0.33@2.9.0 ==0.0.33.post1@2.9.0 ==0.0.33.post2@2.9.1",
    },
    TorchLine {
        torch: "2.10",
        releases: "2.10.0",
        builds: &[
            ("12.6", A),
            ("12.8", VOLTA),
            ("12.9", VOLTA_PTX),
            ("13.0", TURING_PTX),
        ],
        pypi: "12.8",
        python: "3.10 3.11 3.12 3.13 3.13t 3.14 3.14t",
        old_abi: "",
        standard: (17, 17),
        archs: ("12.1a", 27),
        suffixes: "a f",
        gcc: UNCHECKED,
        torchvision: "==0.25.0",
        torchaudio: "==2.10.0",
        triton: "==3.6.0",
        xformers: "==0.0.34 ==0.0.35",
    },
    TorchLine {
        torch: "2.11",
        releases: "2.11.0",
        builds: &[
            ("12.6", A),
            ("12.8", TURING),
            ("12.9", TURING_PTX),
            ("13.0", TURING),
        ],
        pypi: "13.0",
        python: "3.10 3.11 3.12 3.13 3.13t 3.14 3.14t",
        old_abi: "",
        standard: (17, 17),
        archs: ("12.1a", 27),
        suffixes: "a f",
        gcc: [13, 14, 14, 16, 0],
        torchvision: "==0.26.0",
        torchaudio: "==2.11.0",
        triton: "==3.6.0",
        xformers: "==0.0.35",
    },
    TorchLine {
        torch: "2.12",
        releases: "2.12.0 2.12.1",
        builds: &[
            ("12.6", A),
            ("12.9", TURING),
            ("13.0", TURING),
            ("13.2", TURING),
        ],
        pypi: "13.0",
        python: "3.10 3.11 3.12 3.13 3.14 3.14t 3.13t@2.12.0",
        old_abi: "",
        standard: (20, 17),
        archs: ("12.1a", 27),
        suffixes: "a f",
        gcc: CHECKED,
        torchvision: "==0.27.0@2.12.0 ==0.27.1@2.12.1",
        torchaudio: "==2.11.0<2.11",
        triton: "==3.7.0@2.12.0 ==3.7.1@2.12.1",
        xformers: "==0.0.35",
    },
    TorchLine {
        torch: "2.13",
        releases: "2.13.0",
        builds: &[
            ("12.6", A),
            ("12.9", TURING),
            ("13.0", TURING),
            ("13.2", TURING),
        ],
        pypi: "13.0",
        python: "3.10 3.11 3.12 3.13 3.14 3.14t 3.15/pytorch",
        old_abi: "",
        standard: (20, 17),
        archs: ("12.1a", 27),
        suffixes: "a f",
        gcc: CHECKED,
        torchvision: "==0.28.0-3.15",
        torchaudio: "==2.11.0<2.11-3.15",
        triton: "==3.7.1-3.15",
        xformers: "==0.0.35",
    },
    TorchLine {
        torch: "2.14",
        releases: "2.14.0 2.14.1",
        builds: &[("12.6", A), ("13.0", TURING), ("13.2", TURING)],
        pypi: "13.0",
        python: "3.10 3.11 3.12 3.13 3.14 3.14t",
        old_abi: "",
        standard: (20, 20),
        archs: ("12.1a", 29),
        suffixes: "a f",
        gcc: CHECKED,
        torchvision: "==0.29.0@2.14.0 ==0.29.1@2.14.1",
        torchaudio: "==2.11.0<2.11",
        triton: "~=3.8.0=3.8.0",
        xformers: "==0.0.35",
    },
    TorchLine {
        torch: "2.15",
        releases: "2.15.0",
        builds: &[("13.2", TURING)],
        pypi: "13.2",
        python: "3.11 3.12 3.13 3.14 3.14t 3.15 3.15t",
        old_abi: "",
        standard: (20, 20),
        archs: ("12.1a", 29),
        suffixes: "a f",
        gcc: CHECKED,
        torchvision: "==0.29.2",
        torchaudio: "==2.11.0<2.11-3.15-3.15t",
        triton: "~=3.9.0=3.9.0",
        xformers: "==0.0.35",
    },
];

fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(" ")
}

#[test]
fn every_torch_has_the_cells_of_the_listing() {
    let listed: Vec<TorchMinor> = TORCHES
        .iter()
        .map(|line| line.torch.parse().unwrap())
        .collect();
    assert_eq!(TABLE.torch.keys().copied().collect::<Vec<_>>(), listed);
    for line in &TORCHES {
        let torch = line.torch;
        let row = &TABLE.torch[&torch.parse().unwrap()];
        assert_eq!(words(&row.releases), line.releases, "{torch}");
        assert_eq!(row.pypi_cuda, cuda(line.pypi), "{torch}");
        let builds = row.builds.iter();
        let builds: Vec<_> = builds
            .map(|(version, build)| (version.to_string(), words(&build.archs)))
            .collect();
        let wanted = line.builds.iter();
        let wanted: Vec<_> = wanted
            .map(|&(version, archs)| (version.to_owned(), archs.to_owned()))
            .collect();
        assert_eq!(builds, wanted, "{torch}");
        let old = row
            .builds
            .iter()
            .filter(|(_, build)| build.cxx_abi == CxxAbi::Old);
        assert_eq!(
            words(old.map(|(version, _)| version)),
            line.old_abi,
            "{torch}"
        );
        let limited = row.also_python.iter().map(|limited| {
            let torch = limited
                .torch
                .map(|torch| format!("@{torch}"))
                .unwrap_or_default();
            let index = match limited.index {
                None => "",
                Some(Index::Pypi) => "/pypi",
                Some(Index::Pytorch) => "/pytorch",
            };
            format!("{}{torch}{index}", limited.python)
        });
        let pythons = row.python.iter().map(ToString::to_string).chain(limited);
        assert_eq!(words(pythons), line.python, "{torch}");
        let standard = (row.cxx_standard.default, row.cxx_standard.least);
        assert_eq!(standard, line.standard, "{torch}");
        let highest = row.archs.iter().max().unwrap().to_string();
        assert_eq!((highest.as_str(), row.archs.len()), line.archs, "{torch}");
        assert_eq!(words(&row.cmake_suffixes), line.suffixes, "{torch}");
        let gcc = ["12.1", "12.4", "12.8", "13.0", "13.2"].map(|version| {
            let mut checks = row.gcc_check.iter();
            let check = checks.find(|check| check.cuda.contains_cuda(cuda(version)));
            check.map_or(0, |check| check.below)
        });
        assert_eq!(gcc, line.gcc, "{torch}");
        for (package, versions) in [
            ("torchvision", line.torchvision),
            ("torchaudio", line.torchaudio),
            ("triton", line.triton),
            ("xformers", line.xformers),
        ] {
            // Version, `=` the pin of a range, `@` its one torch, `<` the torch it was built with, `-` each
            // Python that it lacks.
            let matches = row.packages[package].iter().map(|one| {
                let pin = one.pin.iter().map(|pin| format!("={pin}"));
                let torch = one.torch.iter().map(|torch| format!("@{torch}"));
                let built_with = one.built_with.iter().map(|torch| format!("<{torch}"));
                let without = one.without.iter().map(|python| format!("-{python}"));
                let marks: String = pin.chain(torch).chain(built_with).chain(without).collect();
                format!("{}{marks}", one.version)
            });
            assert_eq!(words(matches), versions, "{torch} {package}");
        }
        assert_eq!(row.packages.len(), 4, "{torch}");
    }
}

/// The arch flags in the libraries of the wheels that PyPI has.
const PYPI_FLAGS: [(&str, &str, &str); 12] = [
    ("2.4", "12.1", "50 60 70 75 80 86 90"),
    ("2.5", "12.4", "50 60 70 75 80 86 90"),
    ("2.6", "12.4", "50 60 70 75 80 86 90"),
    ("2.7", "12.6", "50 60 70 75 80 86 90"),
    ("2.8", "12.8", "70 75 80 86 90 100 120"),
    ("2.9", "12.8", "70 75 80 86 90 100 120"),
    ("2.10", "12.8", "70 75 80 86 90 100 120"),
    ("2.11", "13.0", "75 80 86 90 100 120"),
    ("2.12", "13.0", "75 80 86 90 100 120"),
    ("2.13", "13.0", "75 80 86 90 100 120"),
    ("2.14", "13.0", "75 80 86 90 100 120"),
    ("2.15", "13.2", "75 80 86 90 100 120"),
];

#[test]
fn the_wheels_of_pypi_hold_the_archs_of_their_build_and_no_ptx() {
    for (torch, version, flags) in PYPI_FLAGS {
        let row = &TABLE.torch[&torch.parse().unwrap()];
        assert_eq!(row.pypi_cuda, cuda(version), "{torch}");
        let build = &row.builds[&row.pypi_cuda];
        assert!(
            build.archs.iter().all(|target| target.ptx == Ptx::Without),
            "{torch}"
        );
        let archs = build.archs.iter().map(|target| target.arch.number());
        assert_eq!(words(archs), flags, "{torch}");
    }
}

#[test]
fn rows_of_torch_agree_with_those_of_toolkits_and_with_each_other() {
    let mut newest_release = None;
    for (torch, row) in &TABLE.torch {
        assert!(row.builds.contains_key(&row.pypi_cuda), "{torch}");
        for (version, build) in &row.builds {
            let toolkit = &TABLE.toolkits[version];
            for target in &build.archs {
                assert!(
                    toolkit.archs.contains(&target.arch),
                    "{torch} {version} {target}"
                );
                assert!(
                    row.archs.contains(&target.arch),
                    "{torch} {version} {target}"
                );
            }
        }
        let known: BTreeSet<_> = TABLE.toolkits.values().flat_map(|row| &row.archs).collect();
        assert!(row.archs.iter().all(|arch| known.contains(arch)), "{torch}");
        assert!(
            row.cxx_standard.least <= row.cxx_standard.default,
            "{torch}"
        );
        for release in &row.releases {
            assert_eq!(release.minor(), *torch);
            assert!(newest_release < Some(*release), "{release}");
            newest_release = Some(*release);
        }
        for one in row.packages.values().flatten() {
            assert!(
                one.version.parse::<pep440_rs::VersionSpecifiers>().is_ok(),
                "{one:?}"
            );
            assert!(
                one.torch.is_none_or(|torch| row.releases.contains(&torch)),
                "{one:?}"
            );
            let range: pep440_rs::VersionSpecifiers = one.version.parse().unwrap();
            let pinned = one.pinned().expect("a range without a pin");
            assert!(range.contains(&pinned.parse().unwrap()), "{one:?}");
            assert!(
                one.built_with
                    .is_none_or(|built| built < *torch && TABLE.torch.contains_key(&built)),
                "{one:?}"
            );
            for python in &one.without {
                assert!(row.has_python(None, *python, None), "{one:?}");
            }
        }
        // A recipe takes one of each for every release.
        for (package, release) in ["torchvision", "torchaudio", "triton"]
            .into_iter()
            .flat_map(|package| row.releases.iter().map(move |release| (package, release)))
        {
            let of = row.packages[package]
                .iter()
                .filter(|one| one.torch.is_none_or(|torch| torch == *release));
            assert_eq!(of.count(), 1, "{package} for {release}");
        }
        for limited in &row.also_python {
            assert!(!row.python.contains(&limited.python), "{torch}");
            assert!(
                limited.torch.is_some() || limited.index.is_some(),
                "{torch}"
            );
        }
    }
}

#[test]
fn every_row_cites_its_sources() {
    let toolkits = TABLE.toolkits.values().flat_map(|row| {
        let sources = &row.sources;
        [
            &sources.archs,
            &sources.host_compilers,
            &sources.nvcc_on_pypi,
        ]
    });
    let torches = TABLE.torch.values().flat_map(|row| {
        let sources = &row.sources;
        [
            &sources.builds,
            &sources.pypi_cuda,
            &sources.default_archs,
            &sources.cxx11_abi,
            &sources.python,
            &sources.archs,
            &sources.cmake_suffixes,
            &sources.gcc_check,
            &sources.cxx_standard,
            &sources.packages,
        ]
    });
    let limits = TABLE.torch.values().flat_map(|row| &row.also_python);
    let limits = limits.map(|limited| &limited.source);
    let bases = TABLE.bases.iter().map(|base| &base.source);
    for source in toolkits.chain(torches).chain(limits).chain(bases) {
        assert!(source.len() > 10, "{source}");
    }
    for base in &TABLE.bases {
        let python = base.python.as_deref();
        assert!(
            python.is_none_or(|python| python.parse::<crate::version::PythonVersion>().is_ok())
        );
    }
}
