//! What works with what: the answer to a question, and what is known of the things in it.

use std::collections::BTreeSet;

use serde_json::json;
use wheelfarm_core::compat::{
    Answer, BuildGpus, BuildOnGpu, CxxAbi, Fit, GpuSection, Index, Match, PythonSection, Question,
    Reason, ToolkitOnGpu, ToolkitSection, TorchBuild, TorchSection, grouped,
};
use wheelfarm_core::gpu::Platform;
use wheelfarm_core::gpu::driver::Driver;
use wheelfarm_core::gpu::verdict::Verdict;

use super::inspect::aligned;
use super::{OutputError, data};

/// The answer for a person: of several things whether they fit, of one thing all that is known.
pub(crate) fn human(question: &Question, answer: &Answer) -> Result<(), OutputError> {
    data(&text(question, answer))
}

fn text(question: &Question, answer: &Answer) -> String {
    if question.is_empty() {
        return overview(answer);
    }
    let mut parts = Vec::new();
    if question.len() > 1 || !answer.reasons.is_empty() {
        parts.push(reasons(question, answer));
    }
    if question.len() == 1 {
        parts.extend(answer.gpu.iter().map(gpu));
        parts.extend(answer.torch.iter().map(torch));
        parts.extend(answer.cuda.iter().map(toolkit));
        parts.extend(answer.python.iter().filter_map(python));
    }
    parts.join("\n\n")
}

fn reasons(question: &Question, answer: &Answer) -> String {
    let head = format!("{}: {question}", answer.fit.as_str());
    let lines = answer.reasons.iter().flat_map(reason);
    std::iter::once(head)
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

fn reason(reason: &Reason) -> Vec<String> {
    let fit = match reason.fit {
        Fit::Yes => "fits    ",
        Fit::No => "fails   ",
        Fit::Unknown => "unknown ",
    };
    let mut lines = vec![format!("  {fit} {} [{}]", reason.text, reason.rule)];
    let source = reason.source.as_ref();
    lines.extend(source.map(|source| format!("             rule: {source}")));
    let change = reason.change.as_ref();
    lines.extend(change.map(|change| format!("             hint: {change}")));
    lines
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(", ")
    }
}

fn or_unknown<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn gpu(gpu: &GpuSection) -> String {
    let of = |what: &str, fits: &dyn Fn(&&ToolkitOnGpu) -> bool| {
        let toolkits = gpu.toolkits.iter().filter(fits).map(|one| one.cuda);
        vec![what.to_owned(), list(toolkits)]
    };
    let head = aligned(&[
        row(["it gets", "from CUDA"]),
        of("machine code", &|one| !one.native.is_empty()),
        of("PTX alone", &|one| {
            one.native.is_empty() && one.ptx.is_some()
        }),
        of("nothing", &|one| one.native.is_empty() && one.ptx.is_none()),
    ]);
    [
        format!("{} ({})\n\n{head}", gpu.capability, gpu.name),
        drivers(gpu),
        torches(gpu),
        code(gpu),
        sources(gpu.sources.iter()),
    ]
    .join("\n\n")
}

fn drivers(gpu: &GpuSection) -> String {
    if gpu.platform == Platform::Tegra {
        return "its driver comes with its JetPack, and has numbers of its own".to_owned();
    }
    let mut table = vec![row(["least driver (Linux)", "machine code", "its PTX"])];
    let cell = |is_made: bool, driver: &Option<Driver>| {
        if is_made {
            or_unknown(driver.as_ref())
        } else {
            "-".to_owned()
        }
    };
    for one in &gpu.toolkits {
        if !one.native.is_empty() || one.ptx.is_some() {
            table.push(vec![
                format!("CUDA {}", one.cuda),
                cell(!one.native.is_empty(), &one.native_driver),
                cell(one.ptx.is_some(), &one.ptx_driver),
            ]);
        }
    }
    aligned(&table)
}

/// Which builds of each torch run on the GPU, and why others do not.
fn torches(gpu: &GpuSection) -> String {
    let mut table = vec![row(["torch", "its own kernels run", "do not run"])];
    let names: BTreeSet<_> = gpu.builds.iter().map(|build| build.torch).collect();
    for torch in names {
        let builds = gpu.builds.iter().filter(|build| build.torch == torch);
        let that = |wanted: Option<bool>| {
            let builds = builds
                .clone()
                .filter(|build| build.on_gpu.as_ref().and_then(BuildOnGpu::runs) == wanted);
            let names: Vec<_> = builds.map(build_name).collect();
            names.join(", ")
        };
        let mut cells = vec![torch.to_string(), that(Some(true)), that(Some(false))];
        for cell in &mut cells {
            if cell.is_empty() {
                cell.push('-');
            }
        }
        let open = that(None);
        if !open.is_empty() {
            cells.push(format!("not known: {open}"));
        }
        table.push(cells);
    }
    let on_gpu = gpu.builds.iter().filter_map(|build| build.on_gpu.as_ref());
    let causes: BTreeSet<_> = on_gpu.flat_map(|on_gpu| &on_gpu.why).collect();
    let mut lines = vec![aligned(&table)];
    lines.push(
        "`PyPI` marks PyPI's own build, the others are on download.pytorch.org; `PTX` what the \
         driver compiles at first use"
            .to_owned(),
    );
    lines.extend(causes.iter().map(|cause| format!("why not: {cause}")));
    lines.join("\n")
}

/// `cu128 (PyPI)`.
fn build_name(build: &TorchBuild) -> String {
    let is_jit = build
        .on_gpu
        .as_ref()
        .is_some_and(|on_gpu| on_gpu.verdict == Verdict::Jit);
    let marks = match (build.index, is_jit) {
        (Index::Pypi, true) => " (PyPI, PTX)",
        (Index::Pypi, false) => " (PyPI)",
        (Index::Pytorch, true) => " (PTX)",
        (Index::Pytorch, false) => "",
    };
    format!("{}{marks}", build.cuda.tag())
}

fn code(gpu: &GpuSection) -> String {
    let mut table = vec![row(["code for", "", "there"])];
    for (kind, archs, run) in grouped(&gpu.code) {
        table.push(vec![kind.name().to_owned(), archs, run.sentence()]);
    }
    aligned(&table)
}

fn torch(torch: &TorchSection) -> String {
    let mut builds = vec![row(["CUDA", "from", "C++ ABI", "kernels for", "run on"])];
    for (build, gpus) in torch.builds.iter().zip(&torch.gpus) {
        let archs: Vec<_> = build.archs.iter().map(ToString::to_string).collect();
        builds.push(vec![
            build.cuda.to_string(),
            build.index.name().to_owned(),
            match build.cxx_abi {
                CxxAbi::Old => "old".to_owned(),
                CxxAbi::New => "new".to_owned(),
            },
            archs.join(" "),
            runs_on(gpus),
        ]);
    }
    let checks: Vec<_> = torch
        .gcc_check
        .iter()
        .map(|(cuda, below)| format!("before {below} with CUDA {cuda}"))
        .collect();
    let gcc = if checks.is_empty() {
        "any, it does not look".to_owned()
    } else {
        format!("{}; with other CUDA it does not look", checks.join(", "))
    };
    let mut facts = vec![
        vec!["Python".to_owned(), list(&torch.python)],
        vec![
            "archs that cpp_extension takes".to_owned(),
            list(&torch.archs),
        ],
        vec!["gcc that cpp_extension takes".to_owned(), gcc],
        vec![
            "C++ standard".to_owned(),
            format!(
                "cpp_extension passes {}, the headers take {} and later",
                torch.cxx_default, torch.cxx_least
            ),
        ],
        vec![
            "arch suffixes of its cmake".to_owned(),
            list(&torch.cmake_suffixes),
        ],
    ];
    for (package, versions) in &torch.packages {
        facts.push(vec![package.clone(), list(versions.iter().map(match_text))]);
    }
    let mut parts = vec![
        format!("torch {}: {}", torch.torch, list(&torch.releases)),
        aligned(&builds),
    ];
    let more = torch.more_builds.as_ref();
    parts.extend(more.map(|more| format!("other builds are not known: {more}")));
    parts.push(aligned(&facts));
    parts.push(sources(torch.sources.iter()));
    parts.join("\n\n")
}

fn runs_on(gpus: &BuildGpus) -> String {
    let native: Vec<_> = gpus.native.iter().map(ToString::to_string).collect();
    let jit: Vec<_> = gpus.jit.iter().map(ToString::to_string).collect();
    if jit.is_empty() {
        native.join(" ")
    } else {
        format!("{}, by PTX {}", native.join(" "), jit.join(" "))
    }
}

/// `==3.3.0 (2.7.0)`.
fn match_text(one: &Match) -> String {
    match one.torch {
        None => one.version.clone(),
        Some(torch) => format!("{} ({torch})", one.version),
    }
}

fn sources<'a>(sources: impl Iterator<Item = (&'a &'static str, &'a String)>) -> String {
    let mut table = vec![row(["sources", ""])];
    table.extend(sources.map(|(what, source)| vec![(*what).to_owned(), source.clone()]));
    aligned(&table)
}

fn toolkit(toolkit: &ToolkitSection) -> String {
    let compilers = &toolkit.host_compilers;
    let mut facts = vec![vec!["archs".to_owned(), list(&toolkit.archs)]];
    if let Some(previous) = toolkit.previous {
        facts.push(vec![
            format!("added since CUDA {previous}"),
            list(&toolkit.added),
        ]);
        facts.push(vec![
            format!("removed since CUDA {previous}"),
            list(&toolkit.removed),
        ]);
    }
    let torches = toolkit.torches.iter();
    let ptx = toolkit
        .ptx
        .map_or_else(String::new, |ptx| format!(" (ISA {ptx})"));
    facts.extend([
        vec![
            "host compilers".to_owned(),
            format!(
                "gcc {} and earlier, clang before {}",
                compilers.gcc_most, compilers.clang_below
            ),
        ],
        vec![
            "nvcc on PyPI".to_owned(),
            if toolkit.nvcc_on_pypi {
                "whole"
            } else {
                "not whole"
            }
            .to_owned(),
        ],
        vec![
            "least driver, machine code".to_owned(),
            format!(
                "{}, for GPUs that such a driver knows",
                or_unknown(toolkit.least_driver.as_ref())
            ),
        ],
        vec![
            "least driver, its PTX".to_owned(),
            format!("{}{ptx}", or_unknown(toolkit.ptx_driver.as_ref())),
        ],
        vec![
            "torch built with it".to_owned(),
            list(torches.map(|(torch, index)| format!("{torch} ({})", index.name()))),
        ],
    ]);
    [
        format!("CUDA {}", toolkit.cuda),
        aligned(&facts),
        sources(toolkit.sources.iter()),
    ]
    .join("\n\n")
}

fn python(python: &PythonSection) -> Option<String> {
    if python.torches.is_empty() {
        return None;
    }
    let torches = python.torches.iter().map(|(torch, limit)| match limit {
        None => torch.to_string(),
        Some(limit) => format!("{torch} ({limit})"),
    });
    Some(format!(
        "Python {}\ntorch  {}",
        python.python,
        list(torches)
    ))
}

/// The whole table, short.
fn overview(answer: &Answer) -> String {
    let mut toolkits = vec![row([
        "CUDA",
        "archs",
        "added",
        "removed",
        "gcc",
        "clang",
        "driver",
        "driver for its PTX",
        "nvcc on PyPI",
    ])];
    for toolkit in &answer.cuda {
        let ends = [toolkit.archs.first(), toolkit.archs.last()];
        let ends: Vec<_> = ends
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        let dash = |archs: &[_]| {
            if archs.is_empty() {
                "-".to_owned()
            } else {
                list(archs)
            }
        };
        toolkits.push(vec![
            toolkit.cuda.to_string(),
            ends.join(" to "),
            dash(&toolkit.added),
            dash(&toolkit.removed),
            format!("<= {}", toolkit.host_compilers.gcc_most),
            format!("< {}", toolkit.host_compilers.clang_below),
            or_unknown(toolkit.least_driver.as_ref()),
            or_unknown(toolkit.ptx_driver.as_ref()),
            if toolkit.nvcc_on_pypi { "whole" } else { "-" }.to_owned(),
        ]);
    }
    let mut torches = vec![row([
        "torch",
        "CUDA",
        "Python",
        "C++",
        "torchvision",
        "torchaudio",
        "triton",
        "xformers",
    ])];
    for torch in &answer.torch {
        let versions = |package: &str| {
            let versions = torch.packages.get(package).into_iter().flatten();
            list(versions.map(match_text))
        };
        torches.push(vec![
            torch.torch.to_string(),
            list(torch.builds.iter().map(build_name)),
            list(&torch.python),
            format!("{}, least {}", torch.cxx_default, torch.cxx_least),
            versions("torchvision"),
            versions("torchaudio"),
            versions("triton"),
            versions("xformers"),
        ]);
    }
    [
        aligned(&toolkits),
        aligned(&torches),
        "more of one: `wheelfarm compat --torch 2.11`, `--cuda 13.0`, `--gpu \"RTX 5090\"`, \
         `--python 3.12`; several together: whether they fit"
            .to_owned(),
    ]
    .join("\n\n")
}

/// Schema 1.
pub(crate) fn json(question: &Question, answer: &Answer) -> Result<(), OutputError> {
    let mut value =
        serde_json::to_value(answer).expect("texts and numbers under named keys serialise");
    value["schema"] = json!(1);
    value["question"] = json!({
        "gpu": question.gpu.map(|gpu| gpu.capability),
        "torch": question.torch,
        "cuda": question.cuda,
        "python": question.python,
    });
    data(&format!("{value:#}"))
}
