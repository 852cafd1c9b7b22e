//! A survey as `package.yaml` and `test.py`.

use std::fmt::Write;

use super::pins::{Pin, PinnedBy, Requirement};
use super::setup_py::{Extension, ExtensionKind};
use super::survey::Survey;
use crate::arch::Arch;
use crate::diagnostic::Diagnostics;
use crate::ident::PackageName;
use crate::package;
use crate::source::{IndexUrl, Source, Submodules};
use crate::version::{PackageVersion, VersionRange};

/// What a package is begun from.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Its name.
    pub name: &'a PackageName,
    /// Its version.
    pub version: &'a PackageVersion,
    /// Where its source comes from.
    pub source: &'a Source,
    /// What was found in it.
    pub survey: &'a Survey,
    /// The build requirements with their versions.
    pub pins: &'a [Pin],
    /// Those that no version was found for.
    pub unpinned: &'a [Requirement],
    /// The archs that the matrix asks for.
    pub archs: &'a [Arch],
}

/// The two files of a package's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `package.yaml`, which reads without faults.
    pub package: String,
    /// `test.py`.
    pub test: String,
}

/// Writes the files. `path` is that of the package.yaml to be.
///
/// # Errors
/// The faults of the package.yaml, which a source can cause that says something of itself that no
/// package can have.
pub fn files(path: &str, draft: &Draft<'_>) -> Result<Files, Diagnostics> {
    let package = package_yaml(draft);
    package::parse(path, &package)?;
    Ok(Files {
        package,
        test: test_py(draft),
    })
}

/// The longest line of a comment, for an editor beside another.
const WIDTH: usize = 116;

/// Lines that a YAML file is made of.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, indent: usize, text: &str) {
        let blank = " ".repeat(indent);
        writeln!(self.0, "{}", format!("{blank}{text}").trim_end()).expect("a String takes it all");
    }

    fn comment(&mut self, indent: usize, text: &str) {
        // A line of a stranger must not end the comment.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let mut line = "#".to_owned();
        for word in text.split_whitespace() {
            if line.len() > 2 && indent + line.len() + 1 + word.len() > WIDTH {
                self.line(indent, &line);
                "#  ".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(indent, &line);
    }
}

fn package_yaml(draft: &Draft<'_>) -> String {
    let mut out = Lines::default();
    header(&mut out, draft);
    out.line(0, "releases:");
    out.line(2, &format!("- version: \"{}\"", draft.version));
    source(&mut out, draft.source);
    kernels(&mut out, draft);
    needs(&mut out, draft);
    contract(&mut out, draft.survey);
    build(&mut out, draft);
    out.line(
        4,
        "# Guesses: the log of a first build has the peak and the time that it took.",
    );
    out.line(4, "resources:");
    let (memory, time) = if is_compiled(draft.survey) {
        ("12GiB", "6h")
    } else {
        ("2GiB", "10m")
    };
    out.line(6, &format!("memory: {memory}"));
    out.line(6, &format!("time: {time}"));
    out.line(4, "gpu: auto");
    out.0
}

fn header(out: &mut Lines, draft: &Draft<'_>) {
    let project = &draft.survey.project;
    out.comment(
        0,
        &format!(
            "Begun by `wheelfarm init package {}`: what it guessed is said to be guessed. Check it, and take the remarks out.",
            draft.name
        ),
    );
    out.line(0, "schema: 1");
    out.line(0, &format!("name: {}", draft.name));
    if project.summary.is_none() {
        out.comment(0, "Its source says nothing of what it is.");
    }
    let summary = project.summary.as_deref().unwrap_or(draft.name.as_str());
    out.line(0, &format!("summary: {}", quoted(summary)));
    let said = project
        .licence
        .as_ref()
        .map(|licence| &licence.guessed_from);
    match said {
        None => out.comment(
            0,
            "Its source names no licence: find out before you publish.",
        ),
        Some(Some(said)) => {
            let from = &project.read_from;
            out.comment(0, &format!("Guessed from `{said}` ({from}): check."));
        }
        Some(None) => {}
    }
    let licence = project
        .licence
        .as_ref()
        .map(|licence| licence.spdx.as_str());
    let licence = licence.unwrap_or("NOASSERTION");
    out.line(0, &format!("licence: {}", quoted(licence)));
    let upstream = match (&project.upstream, draft.source) {
        (Some(upstream), _) => upstream.clone(),
        (None, Source::Git { url, .. }) => url.to_string(),
        (None, Source::Sdist { .. } | Source::Archive { .. } | Source::Folder { .. }) => {
            format!("https://pypi.org/project/{}/", draft.name)
        }
    };
    out.line(0, &format!("upstream: {}", quoted(&upstream)));
    out.line(0, "test: test.py");
}

fn source(out: &mut Lines, source: &Source) {
    out.line(4, "source:");
    match source {
        Source::Sdist { sha256, index, .. } => {
            out.line(6, "sdist:");
            out.line(8, &format!("sha256: \"{sha256}\""));
            if *index != IndexUrl::default() {
                out.line(8, &format!("index: {}", quoted(&index.to_string())));
            }
        }
        Source::Git {
            url,
            commit,
            submodules,
        } => {
            out.line(6, "git:");
            out.line(8, &format!("url: {}", quoted(url.as_str())));
            out.line(8, &format!("commit: \"{commit}\""));
            if *submodules == Submodules::On {
                out.line(8, "submodules: true");
            }
        }
        Source::Archive { url, sha256 } => {
            out.line(6, "archive:");
            out.line(8, &format!("url: {}", quoted(&url.to_string())));
            out.line(8, &format!("sha256: \"{sha256}\""));
        }
        Source::Folder { path } => out.line(6, &format!("folder: {}", quoted(path.as_str()))),
    }
}

fn is_compiled(survey: &Survey) -> bool {
    !survey.cuda_files.is_empty()
}

fn kernels(out: &mut Lines, draft: &Draft<'_>) {
    let survey = draft.survey;
    if !is_compiled(survey) {
        out.comment(
            4,
            if survey.has_triton {
                "No .cu file, and kernels for Triton: they are compiled on the user's GPU."
            } else {
                "Neither a .cu file nor a kernel for Triton was found, so nothing is compiled for GPUs."
            },
        );
        out.line(4, "kernels: just-in-time");
        return;
    }
    out.line(4, "kernels:");
    out.line(6, "compiled:");
    out.comment(
        8,
        "Guessed: what the matrix asks for. Write the archs that the kernels are for, and where you read it.",
    );
    let remarks = survey
        .remarks
        .iter()
        .filter(|remark| remark.file != "setup.py");
    for remark in remarks {
        out.comment(8, &remark.to_string());
    }
    let archs: Vec<_> = draft
        .archs
        .iter()
        .map(|arch| format!("\"{arch}\""))
        .collect();
    out.line(8, &format!("archs: [{}]", archs.join(", ")));
    let first = survey
        .cuda_files
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let count = survey.cuda_files.len();
    let source = format!(
        "not checked: {first}, {count} .cu files in all, of {}",
        draft.version
    );
    out.line(8, &format!("source: {}", quoted(&source)));
}

fn needs(out: &mut Lines, draft: &Draft<'_>) {
    let project = &draft.survey.project;
    let Some(range) = &project.requires_python else {
        out.comment(
            4,
            "Its source does not say which Pythons and torches it needs.",
        );
        return;
    };
    if range.parse::<VersionRange>().is_err() {
        out.comment(
            4,
            &format!(
                "{} says requires-python `{range}`, which is no range.",
                project.read_from
            ),
        );
        return;
    }
    out.line(4, "needs:");
    out.line(6, &format!("python: {}", quoted(range)));
    let source = format!(
        "{} of {}, requires-python",
        project.read_from, draft.version
    );
    out.line(6, &format!("source: {}", quoted(&source)));
}

fn contract(out: &mut Lines, survey: &Survey) {
    if !is_compiled(survey) {
        out.line(4, "contract:");
        out.comment(
            6,
            "No compiled module needs a library: take it out if there is one.",
        );
        out.line(6, "libraries: []");
        return;
    }
    if survey.extensions.is_empty() {
        out.comment(
            4,
            "No extension was found in setup.py. Without a contract every module with GPU code must have every \
             arch: build once, then name the modules that `wheelfarm inspect` shows.",
        );
        return;
    }
    let is_sure =
        |extension: &Extension| extension.is_exact && extension.kind != ExtensionKind::Either;
    let all_sure = survey.extensions.iter().all(is_sure);
    if !all_sure {
        out.comment(
            4,
            "setup.py puts names together when it runs. Build once, see `wheelfarm inspect`, and name each \
             module; without a contract every module with GPU code must have every arch.",
        );
    }
    let line = |out: &mut Lines, indent: usize, text: &str| {
        if all_sure {
            out.line(indent, text);
        } else {
            // As a comment that keeps the indentation of what it stands for.
            out.line(4, &format!("# {}{text}", " ".repeat(indent - 4)));
        }
    };
    line(out, 4, "contract:");
    line(out, 6, "modules:");
    for extension in &survey.extensions {
        let from = format!("# guessed from setup.py line {}: check", extension.line);
        line(out, 8, &from);
        line(out, 8, &format!("- name: \"{}\"", extension.glob()));
        match extension.kind {
            ExtensionKind::Cuda => {}
            ExtensionKind::Cpp => line(out, 10, "device-code: none"),
            ExtensionKind::Either => {
                line(out, 10, "# device-code: none, for those without kernels");
            }
        }
    }
}

fn build(out: &mut Lines, draft: &Draft<'_>) {
    let survey = draft.survey;
    out.line(4, "build:");
    let by_index: Vec<_> = draft
        .pins
        .iter()
        .filter(|pin| pin.by == PinnedBy::Index)
        .map(|pin| pin.name.to_string())
        .collect();
    if !by_index.is_empty() {
        let names = by_index.join(", ");
        out.comment(
            6,
            &format!(
                "The newest wheels on the index: {names}. Others: as in this farm's packages."
            ),
        );
    }
    for requirement in draft.unpinned {
        let (name, range) = (&requirement.name, &requirement.range);
        out.comment(
            6,
            &format!("It asks for {name} {range}, and no wheel of it was found: pin it by hand."),
        );
    }
    let pins: Vec<_> = draft
        .pins
        .iter()
        .map(|pin| format!("\"{}=={}\"", pin.name, pin.version))
        .collect();
    out.line(6, &format!("requirements: [{}]", pins.join(", ")));
    let remarks: Vec<_> = survey
        .remarks
        .iter()
        .filter(|remark| remark.file == "setup.py")
        .collect();
    if !remarks.is_empty() {
        out.comment(6, "Seen in its setup.py, which was read and not run:");
        for remark in remarks {
            out.comment(6, &format!("line {}: {}", remark.line, remark.what));
        }
    }
    let others = survey
        .variables
        .iter()
        .filter(|variable| !variable.is_known());
    let others: Vec<_> = others
        .map(|variable| format!("{} (line {})", variable.name, variable.line))
        .collect();
    if !others.is_empty() {
        out.comment(6, &format!("It also reads {}.", others.join(", ")));
    }
    let variables = environment(survey);
    if !variables.is_empty() {
        out.line(6, "env:");
        for (name, value) in variables {
            out.line(8, &format!("{name}: \"{value}\""));
        }
    }
}

/// The variables that are set from the start.
fn environment(survey: &Survey) -> Vec<(String, &'static str)> {
    let mut set = Vec::new();
    if !is_compiled(survey) {
        return set;
    }
    for name in survey.variables.iter().map(|variable| &variable.name) {
        if name == "FORCE_CUDA" {
            set.push((name.clone(), "1"));
        } else if name.ends_with("_FORCE_BUILD") {
            set.push((name.clone(), "TRUE"));
        }
    }
    set.push(("TORCH_CUDA_ARCH_LIST".to_owned(), "{{ archs.torch }}"));
    set
}

/// A text as YAML's double-quoted style, which JSON's strings are; plain where that reads better.
fn quoted(text: &str) -> String {
    let text: Vec<_> = text.split_whitespace().collect();
    let text = text.join(" ");
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !["true", "false", "null", "yes", "no", "on", "off"]
            .contains(&text.to_ascii_lowercase().as_str())
        && !text.contains(": ")
        && !text.ends_with(':')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || " .,()/+_-:".contains(c));
    if is_plain {
        text
    } else {
        serde_json::Value::String(text).to_string()
    }
}

fn test_py(draft: &Draft<'_>) -> String {
    let (name, version) = (draft.name, draft.version);
    let import = &draft.survey.import_name;
    let mut out = format!(
        "#!/usr/bin/env python3\n\
         \"\"\"Smoke test of the finished {name} wheel: one JSON line on stdout, exit status 0 if no check failed.\"\"\"\n"
    );
    let is_compiled = is_compiled(draft.survey);
    out.push_str(if is_compiled {
        "import os\nfrom importlib.metadata import files, version\n\n\
         from wheelfarm_checks import NotChecked, check, device_code, finish, need_gpu\n"
    } else {
        "from importlib.metadata import version\n\n\
         from wheelfarm_checks import NotChecked, check, finish, need_gpu\n"
    });
    let _infallible = write!(
        out,
        "\nVERSION = \"{version}\"\n\n\n\
         @check(\"import\")\ndef _():\n    import torch  # noqa: F401  (first, for its libraries)\n    import {import}  # noqa: F401\n\n    \
         found = version(\"{name}\")\n    assert found.split(\"+\")[0] == VERSION, found\n    return f\"{import} {{found}}\"\n\n\n"
    );
    if is_compiled {
        let _infallible = write!(out, "{}", built_with_cuda(name));
    }
    out.push_str(
        "@check(\"numbers on the CPU\")\ndef _():\n    \
         # Compare with torch in double precision: see packages/torch-scatter/test.py.\n    \
         raise NotChecked(\"no reference is written yet\")\n\n\n\
         @check(\"numbers on the GPU\")\ndef _():\n    need_gpu()\n    \
         raise NotChecked(\"no reference is written yet\")\n\n\nfinish()\n",
    );
    out
}

/// A check that at least one module has GPU code: a CPU-only wheel installs and imports as well.
fn built_with_cuda(name: &PackageName) -> String {
    format!(
        "@check(\"built with CUDA\")\ndef _():\n    \
         paths = [str(file.locate()) for file in files(\"{name}\") if file.name.endswith(\".so\")]\n    \
         assert paths, \"no compiled module: a wheel without kernels\"\n    \
         with_code = []\n    for path in sorted(paths):\n        try:\n            device_code(path)\n        \
         except AssertionError:\n            continue  # host code alone\n        \
         with_code.append(os.path.basename(path))\n    \
         assert with_code, f\"a CPU-only build: {{len(paths)}} modules, none with device code\"\n    \
         return f\"device code in {{', '.join(with_code)}}\"\n\n\n"
    )
}
