//! What a `setup.py` would compile, read and do, as far as its text shows it.

use super::python::Python;
use super::remarks::{ENVIRONMENT, Remark, of_variable};

/// A compiled module that a `setup.py` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its name by Python, `*` for what only running the file would tell: `torch_cluster._*_cuda`.
    pub name: String,
    /// Whether the whole name is known.
    pub is_exact: bool,
    /// What it is compiled from.
    pub kind: ExtensionKind,
    /// The line that it was read from.
    pub line: usize,
}

/// What an extension is compiled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtensionKind {
    /// `CUDAExtension`: nvcc has a part in it.
    Cuda,
    /// `CppExtension`: host code alone.
    Cpp,
    /// One or the other, by what the file finds when it runs.
    Either,
}

impl Extension {
    /// The glob over paths in a wheel that its file fits: `torch_cluster/_*_cuda*.so`.
    pub fn glob(&self) -> String {
        let path = self.name.replace('.', "/");
        format!("{}*.so", path.trim_end_matches('*'))
    }
}

/// An environment variable that the file reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The first line that reads it.
    pub line: usize,
}

impl Variable {
    /// Whether it is known what others of its kind are for.
    pub fn is_known(&self) -> bool {
        of_variable(&self.name).is_some()
    }
}

const CUDA: &str = "CUDAExtension";
const CPP: &str = "CppExtension";

/// The extensions, in the order of the file.
pub(super) fn extensions(python: &Python<'_>) -> Vec<Extension> {
    let (of_cuda, of_cpp) = (python.aliases(CUDA), python.aliases(CPP));
    let mut names = vec![(CUDA, ExtensionKind::Cuda), (CPP, ExtensionKind::Cpp)];
    for alias in of_cuda.iter().chain(&of_cpp) {
        let kind = match (of_cuda.contains(alias), of_cpp.contains(alias)) {
            (true, false) => ExtensionKind::Cuda,
            (false, true) => ExtensionKind::Cpp,
            _ => ExtensionKind::Either,
        };
        if !names.contains(&(alias, kind)) {
            names.push((alias, kind));
        }
    }
    let mut found = Vec::new();
    for (function, kind) in names {
        for call in python.calls(function) {
            let Some(name) = python.argument(&call, "name", 0) else {
                continue;
            };
            let extension = Extension {
                name: name.pattern,
                is_exact: name.is_exact,
                kind,
                line: python.line(call.at),
            };
            if is_plain(&extension.name) {
                found.push(extension);
            }
        }
    }
    found.sort_by_key(|extension| extension.line);
    let mut seen: Vec<Extension> = Vec::new();
    for extension in found {
        // A file may have one extension for CUDA and the same for ROCm.
        let is_seen =
            |other: &Extension| other.name == extension.name && other.kind == extension.kind;
        if !seen.iter().any(is_seen) {
            seen.push(extension);
        }
    }
    seen
}

/// A dotted name with stars and nothing else: it becomes part of a glob in a file of ours.
fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._*".contains(c);
    name.len() <= 200 && name.chars().all(is_allowed)
}

/// The environment variables that the file reads by name, each once.
pub(super) fn variables(python: &Python<'_>) -> Vec<Variable> {
    let mut found: Vec<Variable> = Vec::new();
    for before in ["getenv(", "environ.get(", "environ["] {
        for (at, name) in python.strings_after(before) {
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name || name.is_empty() || found.iter().any(|other| other.name == name) {
                continue;
            }
            found.push(Variable {
                name: name.to_owned(),
                line: python.line(at),
            });
        }
    }
    found.sort_by_key(|variable| variable.line);
    found
}

/// What a maintainer has to know of the file.
pub(super) fn remarks(file: &str, python: &Python<'_>) -> Vec<Remark> {
    let variables = variables(python).into_iter().filter_map(|variable| {
        Some(Remark {
            file: file.to_owned(),
            line: variable.line,
            what: format!("reads {}: {}", variable.name, of_variable(&variable.name)?),
        })
    });
    let mut remarks: Vec<_> = variables.collect();
    for known in ENVIRONMENT {
        let mut lines = python.lines();
        let seen = lines.find(|(_, line)| known.marks.iter().any(|mark| line.contains(mark)));
        if let Some((line, _)) = seen {
            remarks.push(Remark {
                file: file.to_owned(),
                line,
                what: known.meaning.to_owned(),
            });
        }
    }
    remarks.sort();
    remarks.dedup();
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let extensions = extensions(&Python::read(text));
        let shown = extensions.iter().map(|extension| {
            format!(
                "{}: {} {:?}",
                extension.line,
                extension.glob(),
                extension.kind
            )
        });
        shown.collect()
    }

    #[test]
    fn extensions_have_globs_and_kinds() {
        assert_eq!(
            shown(
                "from torch.utils.cpp_extension import CUDAExtension, CppExtension\n\
                 a = CUDAExtension(name='fast_cuda', sources=[])\n\
                 b = CppExtension('pkg.sub._cpu', [])\n\
                 c = CUDAExtension(f'pkg._{x}', [])\n\
                 d = CUDAExtension('../../etc/passwd', [])\n"
            ),
            [
                "2: fast_cuda*.so Cuda",
                "3: pkg/sub/_cpu*.so Cpp",
                "4: pkg/_*.so Cuda"
            ]
        );
    }

    #[test]
    fn an_alias_may_be_one_or_the_other() {
        assert_eq!(
            shown(
                "Extension = CppExtension\nif WITH_CUDA:\n    Extension = CUDAExtension\nExtension('a._' + n)\n"
            ),
            ["4: a/_*.so Either"]
        );
    }

    #[test]
    fn what_matters_in_a_build_without_a_gpu_is_remarked() {
        let text = "import os\nif os.getenv(\"DEMO_FORCE_BUILD\", \"FALSE\") == \"TRUE\": pass\n\
                    x = os.environ.get('DEMO_THING')\nos.environ['MAX_JOBS']\n\
                    cap = torch.cuda.get_device_capability()\n\
                    flags = ['-gencode', 'arch=compute_80,code=sm_80', '-std=c++17']\n\
                    # torch.cuda.is_available()\n\
                    urllib.request.urlretrieve(url)\n";
        let remarks = remarks("setup.py", &Python::read(text));
        let shown: Vec<_> = remarks.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        setup.py:2: reads DEMO_FORCE_BUILD: set to TRUE below: without that very word such files download a stranger's wheel
        setup.py:4: reads MAX_JOBS: the farm sets it from `memory-per-process`
        setup.py:5: asks for a GPU, and a build has none: patch it to take the archs from TORCH_CUDA_ARCH_LIST
        setup.py:6: fixes the C++ standard; torch 2.14 and later refuse one below C++20
        setup.py:6: writes archs for nvcc itself; torch adds those of TORCH_CUDA_ARCH_LIST only when a package writes none: look whether the list gets in, else patch it
        setup.py:8: downloads; there is no network while it compiles, and a wheel of a stranger is none of ours
        ");
    }
}
