//! Finds the GPU that a person means, or a machine names: `RTX 5090`, `sm_120`, `NVIDIA H100 80GB
//! HBM3`.
//!
//! A name is a set of words and numbers. Words that tell no two compute capabilities apart are left
//! out: makers, memory, sockets, forms of delivery.

use std::collections::BTreeSet;

use super::capability::Capability;
use super::table::{self, Gpu};

/// The text names no known GPU, or several.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuNameError {
    /// Nothing known has this name.
    #[error("`{text}` is not a known GPU")]
    NotKnown {
        /// What was asked.
        text: String,
        /// Known names that are much like it.
        near: Vec<String>,
    },
    /// GPUs of different compute capabilities have this name.
    #[error("`{text}` can be more than one GPU: {}", .meant.join(", "))]
    Ambiguous {
        /// What was asked.
        text: String,
        /// Each with its compute capability.
        meant: Vec<String>,
    },
    /// No known GPU has this compute capability.
    #[error("no known GPU has compute capability {capability}")]
    NoSuchCapability {
        /// What was asked.
        capability: Capability,
        /// The number it has today, where CUDA gave it another.
        today: Option<Capability>,
    },
    /// A target of a compiler, which is not a GPU.
    #[error("`{text}` is what code is compiled for, and a GPU has no such suffix")]
    Suffix {
        /// What was asked.
        text: String,
        /// The compute capability in it.
        capability: Capability,
    },
}

impl GpuNameError {
    /// What to type instead.
    pub fn hint(&self) -> String {
        match self {
            Self::NotKnown { near, .. } if near.is_empty() => {
                "say a compute capability, `12.0`, or a product, `RTX 5090`".to_owned()
            }
            Self::NotKnown { near, .. } => format!(
                "near it are {}; a compute capability does as well, as `nvidia-smi \
                 --query-gpu=compute_cap --format=csv` shows it",
                near.join(", ")
            ),
            Self::Ambiguous { .. } => {
                "write the whole name, or the compute capability in brackets".to_owned()
            }
            Self::NoSuchCapability {
                today: Some(today), ..
            } => format!("its number is {today} since CUDA 13.0"),
            Self::NoSuchCapability { today: None, .. } => {
                let known: Vec<_> = table::all().map(ToString::to_string).collect();
                format!("known are {}", known.join(", "))
            }
            Self::Suffix { capability, .. } => format!("write `{capability}`"),
        }
    }
}

/// The GPU that `text` names: a product, a compute capability (`12.0`), or its number (`120`,
/// `sm_120`).
pub fn find(text: &str) -> Result<&'static Gpu, GpuNameError> {
    if let Some(found) = by_capability(text.trim()) {
        return found;
    }
    let asked = words(text);
    let names: Vec<_> = table::all()
        .flat_map(|gpu| gpu.names.iter().map(move |name| (gpu, name)))
        .collect();
    if let Some((gpu, _)) = names.iter().find(|(_, name)| words(name) == asked) {
        return Ok(gpu);
    }
    // A part of a name does when it has a number (`5090`): words alone (`Ada`) are of generations,
    // and those have several compute capabilities.
    let has_number = asked.iter().any(|word| is_number(word));
    let holding: Vec<_> = names
        .iter()
        .filter(|(_, name)| has_number && asked.is_subset(&words(name)))
        .collect();
    let capabilities: BTreeSet<_> = holding.iter().map(|(gpu, _)| gpu.capability).collect();
    match holding.first() {
        Some((gpu, _)) if capabilities.len() == 1 => Ok(gpu),
        Some(_) => Err(GpuNameError::Ambiguous {
            text: text.to_owned(),
            meant: holding
                .iter()
                .map(|(gpu, name)| format!("{name} ({})", gpu.capability))
                .collect(),
        }),
        None => Err(GpuNameError::NotKnown {
            text: text.to_owned(),
            near: near(&asked, names.iter().map(|(_, name)| name.as_str())),
        }),
    }
}

/// `None` when `text` is not written like a compute capability.
fn by_capability(text: &str) -> Option<Result<&'static Gpu, GpuNameError>> {
    let lower = text.to_ascii_lowercase();
    let prefixes = ["sm_", "sm", "compute_", "cc "];
    let prefix = prefixes
        .into_iter()
        .find(|prefix| lower.starts_with(prefix));
    let number = &lower[prefix.map_or(0, str::len)..];
    let read = |number: &str| {
        if number.contains('.') {
            return number.parse().ok();
        }
        // Two or three digits; `5090` is a name.
        Capability::from_number(number).filter(|_| number.len() < 4)
    };
    if let Some(capability) = number.strip_suffix(['a', 'f']).and_then(read) {
        return Some(Err(GpuNameError::Suffix {
            text: text.to_owned(),
            capability,
        }));
    }
    let capability = read(number)?;
    match table::of(capability) {
        Some(gpu) => Some(Ok(gpu)),
        // A bare `40` is rather a name cut short than compute capability 4.0.
        None if prefix.is_none() && !number.contains('.') => None,
        None => Some(Err(GpuNameError::NoSuchCapability {
            capability,
            today: table::renamed(capability),
        })),
    }
}

/// Words of which no two compute capabilities are told apart.
const NOISE: [&str; 32] = [
    "nvidia",
    "geforce",
    "tesla",
    "jetson",
    "gpu",
    "laptop",
    "mobile",
    "notebook",
    "max",
    "q",
    "maxq",
    "with",
    "design",
    "super",
    "oem",
    "generation",
    "gen",
    "edition",
    "workstation",
    "server",
    "sff",
    "module",
    "pcie",
    "nvl",
    "nvl72",
    "hgx",
    "mig",
    "nvgpu",
    "tensor",
    "core",
    "developer",
    "kit",
];

/// The words and numbers of a name, noise left out: `NVIDIA H100 80GB HBM3` is `h` and `100`.
fn words(name: &str) -> BTreeSet<String> {
    let lower = name.to_ascii_lowercase();
    let parts: Vec<_> = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    let is_memory = |index: usize| {
        let unit = |part: &str| matches!(part, "gb" | "g" | "gib");
        let part = parts[index];
        let digits = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let sized = is_number(part) && parts.get(index + 1).is_some_and(|next| unit(next));
        sized || unit(digits)
    };
    let is_noise =
        |part: &str| NOISE.contains(&part) || part.starts_with("sxm") || part.starts_with("hbm");
    let kept = (0..parts.len()).filter(|&index| !is_memory(index) && !is_noise(parts[index]));
    let runs = kept.flat_map(|index| {
        parts[index]
            .as_bytes()
            .chunk_by(|left, right| left.is_ascii_digit() == right.is_ascii_digit())
            .map(|run| String::from_utf8_lossy(run).into_owned())
    });
    runs.filter(|run| !NOISE.contains(&run.as_str())).collect()
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit())
}

const MOST_NEAR: usize = 5;

/// The names that have most in common with what was asked.
fn near<'a>(asked: &BTreeSet<String>, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<_> = names
        .map(|name| (likeness(asked, &words(name)), name))
        .filter(|&(score, _)| score > 0)
        .collect();
    // The sort is stable: equally near names stay in the order of the table.
    scored.sort_by_key(|&(score, _)| std::cmp::Reverse(score));
    scored.truncate(MOST_NEAR);
    scored
        .into_iter()
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// A number in common counts most, one that is off by a digit less, and a word least; words alone
/// make nothing near.
fn likeness(asked: &BTreeSet<String>, name: &BTreeSet<String>) -> usize {
    let shared = asked
        .intersection(name)
        .filter(|word| !is_number(word))
        .count();
    let number = |asked: &String| {
        let best = |known: &String| match differing_digits(asked, known) {
            Some(0) => 6,
            Some(1) if asked.len() > 2 => 3,
            _ => 0,
        };
        name.iter().map(best).max().unwrap_or(0)
    };
    let numbers: usize = asked
        .iter()
        .filter(|word| is_number(word))
        .map(number)
        .sum();
    let whole_words = asked
        .intersection(name)
        .any(|word| word.len() > 3 && !is_number(word));
    match (numbers, whole_words) {
        (0, false) => 0,
        (numbers, _) => numbers + shared,
    }
}

/// In how many digits two numbers of one length differ.
fn differing_digits(left: &str, right: &str) -> Option<usize> {
    let comparable = is_number(left) && is_number(right) && left.len() == right.len();
    comparable.then(|| {
        left.bytes()
            .zip(right.bytes())
            .filter(|(l, r)| l != r)
            .count()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        match find(text) {
            Ok(gpu) => assert_eq!(gpu.capability.to_string(), want, "{text}"),
            Err(error) => panic!("{text}: {error} ({})", error.hint()),
        }
    }

    #[test]
    fn names_are_found_as_people_and_machines_write_them() {
        for (text, want) in [
            ("RTX 5090", "12.0"),
            ("NVIDIA GeForce RTX 5090", "12.0"),
            ("rtx5090", "12.0"),
            ("RTX 5090 Laptop GPU", "12.0"),
            ("NVIDIA GeForce RTX 5090 D", "12.0"),
            ("5090", "12.0"),
            ("5070ti", "12.0"),
            (
                "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
                "12.0",
            ),
            ("RTX PRO 6000", "12.0"),
            ("H200", "9.0"),
            ("NVIDIA H100 80GB HBM3", "9.0"),
            ("H100 80 GB", "9.0"),
            ("NVIDIA H100 PCIe", "9.0"),
            ("NVIDIA GH200 480GB", "9.0"),
            ("A100-SXM4-80GB", "8.0"),
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "8.0"),
            ("Tesla T4", "7.5"),
            ("t4", "7.5"),
            ("NVIDIA A10", "8.6"),
            ("A10G", "8.6"),
            ("NVIDIA L4", "8.9"),
            ("L40S", "8.9"),
            ("NVIDIA RTX 6000 Ada Generation", "8.9"),
            ("NVIDIA RTX 4000 SFF Ada Generation", "8.9"),
            ("Quadro RTX 6000", "7.5"),
            ("RTX A6000", "8.6"),
            ("a6000", "8.6"),
            ("NVIDIA GeForce RTX 4070 Ti SUPER", "8.9"),
            ("GeForce GTX 1660 SUPER", "7.5"),
            ("NVIDIA GeForce GTX 1080 Ti", "6.1"),
            ("Tesla P100-PCIE-16GB", "6.0"),
            ("GTX TITAN X", "5.2"),
            ("Tesla V100-SXM2-16GB", "7.0"),
            ("NVIDIA B200", "10.0"),
            ("GB300", "10.3"),
            ("NVIDIA GB10", "12.1"),
            ("NVIDIA GB10 (DGX Spark)", "12.1"),
            ("dgx spark", "12.1"),
            ("Orin (nvgpu)", "8.7"),
            ("NVIDIA Jetson AGX Thor Developer Kit", "11.0"),
            ("jetson xavier nx", "7.2"),
            ("rubin", "10.7"),
        ] {
            check(text, want);
        }
    }

    #[test]
    fn capabilities_are_found_in_every_spelling() {
        for text in [
            "12.0",
            " 12.0 ",
            "sm_120",
            "SM_120",
            "sm120",
            "compute_120",
            "120",
        ] {
            check(text, "12.0");
        }
        check("90", "9.0");
        check("100", "10.0");
        check("10.7", "10.7");
    }

    #[test]
    fn every_name_and_every_example_finds_its_own_gpu() {
        for gpu in table::all() {
            check(&gpu.example, &gpu.capability.to_string());
            for name in &gpu.names {
                check(name, &gpu.capability.to_string());
                check(&format!("NVIDIA {name} 24GB"), &gpu.capability.to_string());
            }
        }
    }

    fn told(text: &str) -> String {
        let error = find(text).unwrap_err();
        format!("{error}\n  hint: {}", error.hint())
    }

    #[test]
    fn what_is_not_found_is_refused_with_what_is_near() {
        let asked = [
            "RTX 6000",
            "RTX 5095",
            "GTX 1085 Ti",
            "RTX 6090",
            "A1000000",
            "40",
            "Ada",
            "Blackwell",
            "MI300X",
            "",
            "sm_120a",
            "9.0a",
            "10.1",
            "sm_101",
            "13.0",
            "12.00",
            "RX 7900 XTX",
        ];
        let told: Vec<_> = asked.into_iter().map(told).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        `RTX 6000` can be more than one GPU: Quadro RTX 6000 (7.5), RTX A6000 (8.6), RTX 6000 Ada (8.9), RTX PRO 6000 Blackwell (12.0)
          hint: write the whole name, or the compute capability in brackets
        `RTX 5095` is not a known GPU
          hint: near it are RTX 5090, RTX 5090 D; a compute capability does as well, as `nvidia-smi --query-gpu=compute_cap --format=csv` shows it
        `GTX 1085 Ti` is not a known GPU
          hint: near it are GTX 1080 Ti, GTX 1080; a compute capability does as well, as `nvidia-smi --query-gpu=compute_cap --format=csv` shows it
        `RTX 6090` is not a known GPU
          hint: near it are Quadro RTX 6000, RTX A6000, RTX 3090 Ti, RTX 3090, RTX 6000 Ada; a compute capability does as well, as `nvidia-smi --query-gpu=compute_cap --format=csv` shows it
        `A1000000` is not a known GPU
          hint: say a compute capability, `12.0`, or a product, `RTX 5090`
        `40` can be more than one GPU: Tesla M40 (5.2), Tesla P40 (6.1), A40 (8.6), L40 (8.9), L40S (8.9)
          hint: write the whole name, or the compute capability in brackets
        `Ada` is not a known GPU
          hint: say a compute capability, `12.0`, or a product, `RTX 5090`
        `Blackwell` is not a known GPU
          hint: near it are RTX PRO 6000 Blackwell, RTX PRO 5000 Blackwell, RTX PRO 4500 Blackwell, RTX PRO 4000 Blackwell, RTX PRO 2000 Blackwell; a compute capability does as well, as `nvidia-smi --query-gpu=compute_cap --format=csv` shows it
        `MI300X` is not a known GPU
          hint: near it are B300, GB300, A100X, Tesla P100, Quadro GP100; a compute capability does as well, as `nvidia-smi --query-gpu=compute_cap --format=csv` shows it
        `` is not a known GPU
          hint: say a compute capability, `12.0`, or a product, `RTX 5090`
        `sm_120a` is what code is compiled for, and a GPU has no such suffix
          hint: write `12.0`
        `9.0a` is what code is compiled for, and a GPU has no such suffix
          hint: write `9.0`
        no known GPU has compute capability 10.1
          hint: its number is 11.0 since CUDA 13.0
        no known GPU has compute capability 10.1
          hint: its number is 11.0 since CUDA 13.0
        no known GPU has compute capability 13.0
          hint: known are 5.0 (GTX 750 Ti), 5.2 (GTX 980), 5.3 (Jetson Nano), 6.0 (P100), 6.1 (GTX 1080 Ti), 6.2 (Jetson TX2), 7.0 (V100), 7.2 (Jetson Xavier), 7.5 (T4), 8.0 (A100), 8.6 (RTX 3090), 8.7 (Jetson Orin), 8.9 (RTX 4090), 9.0 (H100), 10.0 (B200), 10.3 (B300), 10.7 (Rubin), 11.0 (Jetson Thor), 12.0 (RTX 5090), 12.1 (DGX Spark)
        `12.00` is not a known GPU
          hint: say a compute capability, `12.0`, or a product, `RTX 5090`
        `RX 7900 XTX` is not a known GPU
          hint: say a compute capability, `12.0`, or a product, `RTX 5090`
        ");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            if let Err(error) = find(&text) {
                proptest::prop_assert!(!error.hint().is_empty());
            }
        }
    }
}
