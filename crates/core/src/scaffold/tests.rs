//! Small sources, from survey to a package that plans.

use std::collections::BTreeMap;

use super::write::{Draft, files};
use super::*;
use crate::arch::Arch;
use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::matrix::Matrix;
use crate::package::{self, Kernels, Package};
use crate::plan::{self, PlanInput};
use crate::source::{FileMode, Source, SourceTree, TreeEntry};

const SETUP: &str = r#"
import os, subprocess
from setuptools import setup
import torch
from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

FORCE_BUILD = os.getenv("DEMO_FORCE_BUILD", "FALSE") == "TRUE"
SKIP = os.getenv("DEMO_SKIP_CUDA_BUILD")
WITH_CUDA = torch.cuda.is_available() or os.environ.get("FORCE_CUDA", "0") == "1"
cap = torch.cuda.get_device_capability()
ext_modules = [
    # CUDAExtension("demo._old", []),
    CUDAExtension(
        name="demo._cuda",
        sources=["csrc/a.cu", "csrc/b.cpp"],
        extra_compile_args={"nvcc": ["-gencode", "arch=compute_80,code=sm_80", "-std=c++17"]},
    ),
    CppExtension("demo_cpu", ["csrc/b.cpp"]),
]
setup(name="demo", ext_modules=ext_modules)
"#;

const PKG_INFO: &str = "Metadata-Version: 2.1\nName: demo-kernels\nVersion: 1.2\nSummary: Kernels: \"fast\" ones\n\
                        Home-page: https://example.org/demo\nLicense: BSD\nRequires-Python: >=3.9\n";

fn tree(files: &[(&str, &str)]) -> SourceTree {
    let mut tree = SourceTree::new();
    for (path, text) in files {
        let entry = TreeEntry::File {
            bytes: text.as_bytes().into(),
            mode: FileMode::Plain,
        };
        tree.insert(path.parse().unwrap(), entry).unwrap();
    }
    tree
}

fn compiled() -> SourceTree {
    tree(&[
        ("PKG-INFO", PKG_INFO),
        ("setup.py", SETUP),
        (
            "pyproject.toml",
            "[build-system]\nrequires = [\"setuptools>=61\", \"torch\", \"psutil\"]\n",
        ),
        ("LICENSE", "Redistribution and use. Neither the name of"),
        ("csrc/a.cu", "// kernel\nasm(\"wgmma.mma_async\");\n"),
        ("csrc/cutlass/x.cu", "tcgen05"),
        ("demo/__init__.py", ""),
        ("demo_kernels.egg-info/top_level.txt", "demo\ndemo_cpu\n"),
    ])
}

struct Farm {
    name: PackageName,
    files: write::Files,
    package: Package,
}

fn begin(tree: &SourceTree, pins: &[Pin], unpinned: &[Requirement]) -> Farm {
    let name: PackageName = "demo-kernels".parse().unwrap();
    let survey = survey(&name, tree);
    let version = survey.project.version.clone().unwrap();
    let source = Source::Sdist {
        project: name.clone(),
        version: version.clone(),
        sha256: Sha256Digest::of(b"sdist"),
        index: crate::source::IndexUrl::default(),
    };
    let archs: Vec<Arch> = ["8.0", "9.0a", "12.0"]
        .map(|arch| arch.parse().unwrap())
        .into();
    let draft = Draft {
        name: &name,
        version: &version,
        source: &source,
        survey: &survey,
        pins,
        unpinned,
        archs: &archs,
    };
    let path = "packages/demo-kernels/package.yaml";
    let files = files(path, &draft).unwrap_or_else(|faults| panic!("{faults}"));
    let package = package::parse(path, &files.package).unwrap();
    Farm {
        name,
        files,
        package,
    }
}

/// The jobs that it gives in a matrix of one environment.
fn plan(farm: &Farm) -> usize {
    let version = &farm.package.releases[0].version.value;
    let matrix = format!(
        "schema: 1\nfarm: t\narchs: [\"8.0\", \"9.0a\", \"12.0+PTX\"]\npackages:\n  - name: {}\n    versions: \
         [\"{version}\"]\nenvironments:\n  - name: cu130\n    base:\n      debootstrap:\n        suite: bookworm\n    \
         toolkit: pypi\n    cuda: \"13.0\"\n    torch: [\"2.11.0\"]\n    python: [\"3.11\"]\n",
        farm.name
    );
    let matrix = Matrix::parse("matrix.yaml", &matrix).unwrap();
    let plan = plan::expand(&PlanInput {
        matrix: &matrix,
        packages: &BTreeMap::from([(farm.name.clone(), farm.package.clone())]),
        patches: &BTreeMap::new(),
        folders: &BTreeMap::new(),
    });
    plan.unwrap_or_else(|faults| panic!("{faults}")).jobs.len()
}

fn pin(name: &str, version: &str, by: PinnedBy) -> Pin {
    Pin {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        by,
    }
}

#[test]
fn a_compiled_package_is_begun_with_what_its_source_tells() {
    let wanted: Vec<_> = survey(&"demo-kernels".parse().unwrap(), &compiled())
        .requirements
        .iter()
        .map(|requirement| requirement.name.to_string())
        .collect();
    assert_eq!(
        wanted,
        ["setuptools", "psutil", "wheel", "packaging", "ninja"]
    );
    let pins = [
        pin("setuptools", "80.9.0", PinnedBy::Farm),
        pin("psutil", "7.1.3", PinnedBy::Index),
    ];
    let unpinned = ["wheel>=99".parse().unwrap()];
    let farm = begin(&compiled(), &pins, &unpinned);
    insta::assert_snapshot!("compiled_package", farm.files.package);
    insta::assert_snapshot!("compiled_test", farm.files.test);
    assert_eq!(farm.package.summary, "Kernels: \"fast\" ones");
    assert_eq!(plan(&farm), 1);
}

#[test]
fn names_that_are_put_together_are_no_contract() {
    let setup = "Extension = CppExtension\nif x:\n    Extension = CUDAExtension\nExtension(f'demo._{n}_{s}', [])\n";
    let tree = tree(&[
        ("PKG-INFO", PKG_INFO),
        ("setup.py", setup),
        ("csrc/a.cu", ""),
    ]);
    let farm = begin(&tree, &[], &[]);
    let text = &farm.files.package;
    assert!(
        text.contains("    #     - name: \"demo/_*_*.so\"\n"),
        "{text}"
    );
    assert!(!text.contains("    contract:\n"), "{text}");
    assert_eq!(plan(&farm), 1);
}

#[test]
fn what_is_not_compiled_says_so() {
    let kernel = "import triton\n\n@triton.jit\ndef k(): pass\n";
    let files = [
        ("setup.py", "setup(name='x', version=VERSION)\n"),
        ("demo_kernels/__init__.py", "__version__ = \"0.3.post1\"\n"),
        ("demo_kernels/k.py", kernel),
        ("third_party/cutlass/a.cu", ""),
    ];
    let farm = begin(&tree(&files), &[], &[]);
    let text = &farm.files.package;
    assert!(text.contains(
        "kernels for Triton: they are compiled on the user's GPU.\n    kernels: just-in-time\n"
    ));
    assert!(text.contains("licence: NOASSERTION\n"), "{text}");
    assert!(
        text.contains("upstream: https://pypi.org/project/demo-kernels/\n"),
        "{text}"
    );
    assert_eq!(farm.package.releases[0].kernels, Kernels::JustInTime);
    assert_eq!(
        farm.package.releases[0].version.value.to_string(),
        "0.3.post1"
    );
    assert!(
        !farm.files.test.contains("device_code"),
        "{}",
        farm.files.test
    );
    assert_eq!(plan(&farm), 1);

    let farm = begin(&tree(&files[..2]), &[], &[]);
    assert!(
        farm.files
            .package
            .contains("so nothing is compiled for GPUs.")
    );
}

#[test]
fn what_strangers_write_stays_a_text() {
    let pkg_info = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\nSummary: a # b: {c} [\\] \u{7}\"\n\
                    License: x\u{1b}[31m\nHome-page: javascript:{{ env }}\nRequires-Python: >=3.9\"\n";
    let setup = "os.getenv('A\\nb: c')\nos.getenv('EVIL_FORCE_BUILD')\nCUDAExtension('a\"b', [])\n";
    let farm = begin(
        &tree(&[("PKG-INFO", pkg_info), ("setup.py", setup), ("a.cu", "")]),
        &[],
        &[],
    );
    assert_eq!(farm.package.summary, "a # b: {c} [\\] \u{7}\"");
    let env: Vec<_> = farm.package.releases[0].build.env.keys().collect();
    assert_eq!(env, ["EVIL_FORCE_BUILD", "TORCH_CUDA_ARCH_LIST"]);
    assert_eq!(plan(&farm), 1);
}
