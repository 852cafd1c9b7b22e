//! What a source tells of itself without being run.

use super::metadata::{self, Project};
use super::pins::Requirement;
use super::python::Python;
use super::remarks::{KERNELS, Remark};
use super::setup_py::{self, Extension, Variable};
use crate::ident::PackageName;
use crate::source::SourceTree;

/// What was found in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// What the project says of itself.
    pub project: Project,
    /// The name that is imported.
    pub import_name: String,
    /// What it asks for to be built, torch left out: that comes with the environment.
    pub requirements: Vec<Requirement>,
    /// The compiled modules that its `setup.py` names.
    pub extensions: Vec<Extension>,
    /// The environment variables that its `setup.py` reads.
    pub variables: Vec<Variable>,
    /// Its own `.cu` files.
    pub cuda_files: Vec<String>,
    /// Whether there are kernels that Triton compiles on the user's GPU.
    pub has_triton: bool,
    /// Whether it has submodules.
    pub has_submodules: bool,
    /// What a maintainer has to know.
    pub remarks: Vec<Remark>,
}

/// Longer files are no `setup.py` and no kernel that somebody wrote.
const FILE_CAP_BYTES: usize = 1 << 20;

/// Folders that hold the sources of others, or nothing that is built.
const NOT_ITS_OWN: [&str; 8] = [
    "third_party",
    "third-party",
    "cutlass",
    "composable_kernel",
    "tests",
    "test",
    "examples",
    "benchmarks",
];

/// Reads a source.
pub fn survey(name: &PackageName, tree: &SourceTree) -> Survey {
    let text = |path: &str| text_of(tree, path).unwrap_or_default();
    let setup = text("setup.py");
    let python = Python::read(&setup);
    let pyproject = text("pyproject.toml");
    let licence = ["LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING"];
    let licence: String = licence.iter().map(|path| text(path)).collect();
    let pkg_info = text("PKG-INFO");
    let import_name = import_name(name, tree);
    let project = metadata::of_pkg_info(pkg_info.as_bytes(), &licence);
    let mut project = project.unwrap_or_else(|| metadata::of_files(&pyproject, &python, &licence));
    if project.version.is_none() {
        let init = text(&format!("{import_name}/__init__.py"));
        let version = Python::read(&init).keyword("__version__");
        project.version = version.and_then(|(_, text)| text.parse().ok());
    }
    let cuda_files = own_files(tree, &[".cu"]);
    let mut remarks = setup_py::remarks("setup.py", &python);
    remarks.extend(kernel_remarks(tree));
    let mut seen = own_files(tree, &[".py"]).into_iter();
    Survey {
        project,
        requirements: requirements(&pyproject, &python, !cuda_files.is_empty()),
        extensions: setup_py::extensions(&python),
        variables: setup_py::variables(&python),
        has_triton: seen.any(|path| text(&path).contains("@triton.jit")),
        has_submodules: text_of(tree, ".gitmodules").is_some(),
        import_name,
        cuda_files,
        remarks,
    }
}

fn text_of(tree: &SourceTree, path: &str) -> Option<String> {
    let bytes = tree.file(&path.parse().ok()?)?;
    let is_short = bytes.len() <= FILE_CAP_BYTES;
    is_short.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// The project's own files with such an end, in the order of their paths.
fn own_files(tree: &SourceTree, ends: &[&str]) -> Vec<String> {
    let is_own = |path: &str| {
        let mut folders = path
            .rsplit_once('/')
            .map_or("", |(folders, _)| folders)
            .split('/');
        !folders.any(|folder| NOT_ITS_OWN.contains(&folder))
    };
    let paths = tree.iter().map(|(path, _)| path.as_str());
    paths
        .filter(|path| ends.iter().any(|end| path.ends_with(end)) && is_own(path))
        .map(str::to_owned)
        .collect()
}

/// The first place of each thing that kernels may ask for.
fn kernel_remarks(tree: &SourceTree) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let files = own_files(tree, &[".cu", ".cuh", ".h", ".hpp"]);
    let texts: Vec<_> = files
        .into_iter()
        .filter_map(|path| text_of(tree, &path).map(|text| (path, text)))
        .collect();
    for known in KERNELS {
        let first = texts.iter().find_map(|(path, text)| {
            let mut lines = text.lines().enumerate();
            let is_meant = |line: &str| known.marks.iter().any(|mark| line.contains(mark));
            let (index, _) = lines.find(|(_, line)| is_meant(line))?;
            Some(Remark {
                file: path.clone(),
                line: index + 1,
                what: known.meaning.to_owned(),
            })
        });
        remarks.extend(first);
    }
    remarks
}

/// Modules that a `setup.py` may import, and the projects that they come from: flash-attn's asks psutil
/// how much memory there is, and says so nowhere.
const IMPORTED: [(&str, &str); 7] = [
    ("psutil", "psutil"),
    ("numpy", "numpy"),
    ("pybind11", "pybind11"),
    ("Cython", "cython"),
    ("jinja2", "jinja2"),
    ("cmake", "cmake"),
    ("setuptools_scm", "setuptools-scm"),
];

/// What the build needs: what `pyproject.toml` says, setuptools and wheel in any case, for nothing is
/// built in isolation, what torch's extensions are built with, and what `setup.py` imports.
fn requirements(pyproject: &str, setup: &Python<'_>, is_compiled: bool) -> Vec<Requirement> {
    let said = metadata::build_requirements(pyproject);
    let always = ["setuptools", "wheel"].iter();
    let compiled = ["packaging", "ninja"].iter().filter(|_| is_compiled);
    let imported = IMPORTED.iter().filter(|(module, _)| setup.imports(module));
    let imported = imported.map(|(_, project)| project);
    let more = always.chain(compiled).chain(imported);
    let more = more.map(|name| (*name).to_owned());
    let mut found: Vec<Requirement> = Vec::new();
    for text in said.into_iter().chain(more) {
        let Ok(requirement) = text.parse::<Requirement>() else {
            continue;
        };
        let is_known = found.iter().any(|other| other.name == requirement.name);
        if !is_known && requirement.name.as_str() != "torch" {
            found.push(requirement);
        }
    }
    found
}

/// The name that is imported: what the sdist's list says, if the source has it, else the project's.
fn import_name(name: &PackageName, tree: &SourceTree) -> String {
    let own = name.for_file_name();
    let lists = tree
        .iter()
        .filter(|(path, _)| path.as_str().ends_with(".egg-info/top_level.txt"));
    let listed = lists.filter_map(|(path, _)| text_of(tree, path.as_str()));
    let listed: Vec<_> = listed
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let is_there = |module: &str| {
        let is_name = module
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_');
        let paths = [
            format!("{module}/__init__.py"),
            format!("src/{module}/__init__.py"),
            format!("{module}.py"),
        ];
        is_name
            && paths
                .iter()
                .any(|path| path.parse().is_ok_and(|path| tree.file(&path).is_some()))
    };
    if is_there(&own) {
        return own;
    }
    listed
        .into_iter()
        .find(|module| is_there(module))
        .unwrap_or(own)
}
