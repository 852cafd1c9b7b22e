//! What words in a source mean for a build in a container without a GPU and without a network. Each was
//! met in a package: SageAttention, flash-attn, causal-conv1d, mamba-ssm, torch-scatter, NATTEN, xformers.

use std::fmt;

/// Something in a source that a maintainer has to know of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What was seen and what it means, in one line.
    pub what: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Words in a source, and what they mean.
#[derive(Debug)]
pub(super) struct Known {
    /// Any of these in a line.
    pub(super) marks: &'static [&'static str],
    pub(super) meaning: &'static str,
}

/// What a `setup.py` may do.
pub(super) const ENVIRONMENT: &[Known] = &[
    Known {
        marks: &[
            "get_device_capability(",
            "get_device_properties(",
            "cuda.device_count(",
            "nvidia-smi",
        ],
        meaning: "asks for a GPU, and a build has none: patch it to take the archs from \
                  TORCH_CUDA_ARCH_LIST",
    },
    Known {
        marks: &["cuda.is_available("],
        meaning: "asks whether there is a GPU; a build has none, and a CPU-only wheel comes out \
                  without a word unless a variable such as FORCE_CUDA says otherwise",
    },
    Known {
        marks: &["-gencode", "arch=compute_", "-arch=sm_"],
        meaning: "writes archs for nvcc itself; torch adds those of TORCH_CUDA_ARCH_LIST only when a \
                  package writes none: look whether the list gets in, else patch it",
    },
    Known {
        marks: &["-std=c++17", "-std=c++14"],
        meaning: "fixes the C++ standard; torch 2.14 and later refuse one below C++20",
    },
    Known {
        marks: &[
            "urlretrieve(",
            "urlopen(",
            "requests.get(",
            "/releases/download/",
        ],
        meaning: "downloads; there is no network while it compiles, and a wheel of a stranger is none \
                  of ours",
    },
    Known {
        marks: &[
            "git clone",
            "\"clone\"",
            "'clone'",
            "git submodule",
            "\"submodule\"",
            "'submodule'",
        ],
        meaning: "runs git for more sources; there is no network while it compiles, and what it would \
                  fetch is not pinned",
    },
    Known {
        marks: &["use_ninja=False"],
        meaning: "compiles one file after the other, so MAX_JOBS means nothing",
    },
    Known {
        marks: &["--threads"],
        meaning: "gives nvcc threads; the farm's NVCC_APPEND_FLAGS=--threads=1 wins, for memory is \
                  counted by compiler",
    },
    Known {
        marks: &["torch==", "torch ==", "torch~="],
        meaning: "asks for one torch; a finished wheel asks for the one that it was built against",
    },
    Known {
        marks: &["py_limited_api", "Py_LIMITED_API"],
        meaning: "uses Python's stable ABI: one wheel may serve later Pythons (`serves: {python: later}`)",
    },
    Known {
        marks: &["TORCH_TARGET_VERSION"],
        meaning: "uses torch's stable ABI: one wheel may serve later torches (`serves: {torch: later}`)",
    },
];

/// What kernels may ask of a GPU.
pub(super) const KERNELS: &[Known] = &[
    Known {
        marks: &["wgmma", "setmaxnreg", "cp.async.bulk.tensor"],
        meaning: "instructions of Hopper: 9.0a, and no other arch, unless the file guards them",
    },
    Known {
        marks: &["tcgen05"],
        meaning: "instructions of data-centre Blackwell: 10.0a or 10.0f, unless the file guards them",
    },
    Known {
        marks: &["__CUDA_ARCH_FEAT_SM"],
        meaning: "code for one arch with its suffix `a`",
    },
    Known {
        marks: &["#include <cutlass/", "#include \"cutlass/"],
        meaning: "CUTLASS: is it in the source, or a submodule? Its files take 4 to 10 GB to compile",
    },
];

/// What a variable of that name is for, by what others of its kind are.
pub(super) fn of_variable(name: &str) -> Option<&'static str> {
    let meaning = match name {
        "FORCE_CUDA" => {
            "set to 1 below, or a build without a GPU gives a CPU-only wheel without a word"
        }
        "FORCE_CPU" | "FORCE_ONLY_CPU" => "must stay unset: it leaves the kernels out",
        "TORCH_CUDA_ARCH_LIST" => {
            "it takes the archs itself; look how it cuts the list: entries are parted by `;`"
        }
        "NVCC_THREADS" => "the farm sets 1, for memory is counted by compiler",
        "MAX_JOBS" => "the farm sets it from `memory-per-process`",
        "BUILD_VERSION" | "VERSION_SUFFIX" => "leave it unset: the farm adds the local version",
        "CUDA_HOME" | "CUDA_PATH" => "the farm sets it",
        _ if name.ends_with("_FORCE_BUILD") => {
            "set to TRUE below: without that very word such files download a stranger's wheel"
        }
        _ if name.contains("SKIP_CUDA") => "must stay unset: it leaves the kernels out",
        _ if name.ends_with("_LOCAL_VERSION") => "leave it unset: the farm adds the local version",
        _ if name.ends_with("_CUDA_ARCHS") || name.ends_with("_CUDA_ARCH") => {
            "a list of archs of its own: give it the template archs.numbers (90;120) or archs.torch \
             (9.0;12.0+PTX), as it reads it"
        }
        _ => return None,
    };
    Some(meaning)
}
