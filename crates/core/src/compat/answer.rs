//! Whether what a person names fits together, why, and what to change.

use serde::Serialize;

use super::builds::{BuildOnGpu, TorchBuild};
use super::code::{CodeKind, CodeRun};
use super::lookup::{self, Verdict, list};
use super::question::{Question, TorchAsked};
use super::reason::{Fit, Reason, unknown};
use super::sections::{
    self, GpuSection, PythonSection, ToolkitOnGpu, ToolkitSection, TorchSection,
};
use super::table::{Index, TABLE};
use super::{builds, code};
use crate::gpu::Gpu;
use crate::version::{CudaVersion, PythonVersion};

/// The answer to a question.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Answer {
    /// Whether all of it fits together.
    #[serde(rename = "answer")]
    pub fit: Fit,
    /// What was looked at; empty when one thing was named and is known.
    pub reasons: Vec<Reason>,
    /// The GPU that was named.
    pub gpu: Option<GpuSection>,
    /// The torch that was named, or all when nothing was.
    pub torch: Vec<TorchSection>,
    /// The toolkit that was named, or all when nothing was.
    pub cuda: Vec<ToolkitSection>,
    /// The Python that was named.
    pub python: Option<PythonSection>,
}

/// Answers `question`; without anything in it, with the whole table.
pub fn answer(question: &Question) -> Answer {
    let reasons = reasons(question);
    let all_torches = TABLE.torch.keys().copied();
    let all_toolkits = TABLE.toolkits.keys().copied();
    Answer {
        fit: reasons
            .iter()
            .map(|reason| reason.fit)
            .max()
            .unwrap_or(Fit::Yes),
        reasons,
        gpu: question.gpu.map(|gpu| sections::gpu_section(gpu, question)),
        torch: match question.torch {
            Some(torch) => sections::torch_section(torch.minor()).into_iter().collect(),
            None if question.is_empty() => {
                all_torches.filter_map(sections::torch_section).collect()
            }
            None => Vec::new(),
        },
        cuda: match question.cuda {
            Some(cuda) => sections::toolkit_section(cuda).into_iter().collect(),
            None if question.is_empty() => {
                all_toolkits.filter_map(sections::toolkit_section).collect()
            }
            None => Vec::new(),
        },
        python: question.python.map(sections::python_section),
    }
}

fn reasons(question: &Question) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let Question {
        gpu,
        torch,
        cuda,
        python,
    } = *question;
    reasons.extend(cuda.and_then(cuda_is_known));
    reasons.extend(torch.and_then(torch_is_known));
    reasons.extend(python.and_then(python_is_known));
    // What has no row would be told again by every rule.
    let cuda = cuda.filter(|cuda| TABLE.toolkits.contains_key(cuda));
    let torch = torch.filter(|torch| TABLE.torch.contains_key(&torch.minor()));
    if let (Some(cuda), Some(gpu)) = (cuda, gpu) {
        reasons.push(cuda_on_gpu(cuda, gpu));
    }
    if let (Some(torch), Some(cuda)) = (torch, cuda) {
        reasons.push(torch_with_cuda(torch, cuda));
    }
    if let (Some(torch), Some(python)) = (torch, python) {
        reasons.push(torch_with_python(torch, python));
    }
    if let (Some(torch), Some(gpu)) = (torch, gpu) {
        reasons.extend(torch_on_gpu(torch, gpu, cuda));
    }
    if question.torch.is_none()
        && question.len() > 1
        && let Some(python) = python
    {
        reasons.extend(some_torch(python, gpu, question.cuda));
    }
    reasons
}

fn cuda_is_known(cuda: CudaVersion) -> Option<Reason> {
    let has_row = TABLE.toolkits.contains_key(&cuda);
    (!has_row).then(|| unknown("cuda-known", &format!("it has no row for CUDA {cuda}")))
}

fn torch_is_known(torch: TorchAsked) -> Option<Reason> {
    let minor = torch.minor();
    if !TABLE.torch.contains_key(&minor) {
        return Some(unknown(
            "torch-known",
            &format!("it has no row for torch {minor}"),
        ));
    }
    let exact = torch.exact()?;
    if exact.nightly().is_some() {
        let text = format!("{torch} is a nightly, and is judged by what is known of torch {minor}");
        return Some(Reason::new("torch-nightly", Fit::Yes, text));
    }
    match lookup::torch_is_released(exact) {
        Verdict::Unknown { why } => Some(unknown("torch-is-released", &why)),
        Verdict::Works | Verdict::Fails { .. } => None,
    }
}

fn python_is_known(python: PythonVersion) -> Option<Reason> {
    let rows = TABLE.torch.values();
    if rows.clone().any(|row| row.has_python(None, python, None)) {
        return None;
    }
    let is_newer = rows
        .flat_map(|row| &row.python)
        .all(|known| *known < python);
    if is_newer {
        let why = format!("it has no torch for Python {python}");
        return Some(unknown("python-known", &why));
    }
    let text = format!("no torch of the table has wheels for Python {python}");
    Some(Reason::new("python-known", Fit::No, text))
}

fn cuda_on_gpu(cuda: CudaVersion, gpu: &Gpu) -> Reason {
    let rule = "gpu-needs-cuda";
    let row = &TABLE.toolkits[&cuda];
    let on_gpu = sections::toolkit_on_gpu(cuda, row, gpu.capability);
    if !on_gpu.native.is_empty() {
        let archs = list(on_gpu.native.iter());
        let text = format!("CUDA {cuda} compiles machine code that runs on {gpu}: {archs}");
        return Reason::new(rule, Fit::Yes, text).source(&row.sources.archs);
    }
    let natively: Vec<_> = TABLE
        .toolkits
        .iter()
        .filter(|&(&cuda, row)| {
            let on_gpu = sections::toolkit_on_gpu(cuda, row, gpu.capability);
            !on_gpu.native.is_empty()
        })
        .map(|(cuda, _)| cuda.to_string())
        .collect();
    let change = match (natively.first(), natively.last()) {
        (Some(first), Some(last)) => format!("CUDA {first} to {last} compile for it"),
        _ => "no toolkit of the table compiles for it".to_owned(),
    };
    if let Some(ptx) = on_gpu.ptx {
        let text = format!(
            "CUDA {cuda} compiles no machine code for {gpu}; its PTX for {ptx} runs there once the \
             driver has compiled it{}",
            with_driver(&on_gpu)
        );
        return Reason::new(rule, Fit::Yes, text)
            .source(&row.sources.archs)
            .change(change);
    }
    let is_open = row.archs.iter().any(|&arch| {
        let kinds = [CodeKind::MachineCode, CodeKind::Ptx];
        kinds
            .iter()
            .any(|&kind| code::run(kind, arch, gpu.capability) == CodeRun::Unknown)
    });
    if is_open {
        let why = format!("whether what CUDA {cuda} compiles runs on {gpu} is not documented");
        return unknown(rule, &why).change(change);
    }
    let text = format!("CUDA {cuda} compiles nothing that runs on {gpu}");
    Reason::new(rule, Fit::No, text)
        .source(&row.sources.archs)
        .change(change)
}

fn with_driver(on_gpu: &ToolkitOnGpu) -> String {
    let driver = on_gpu.ptx_driver.as_ref();
    driver.map_or_else(String::new, |driver| format!(", driver {driver} or later"))
}

fn torch_with_cuda(torch: TorchAsked, cuda: CudaVersion) -> Reason {
    let yes = format!(
        "torch {torch} has a build for CUDA {cuda}, on {}",
        index_of(torch, cuda).name()
    );
    let no = format!("torch {torch} has no build for CUDA {cuda}");
    let verdict = lookup::torch_has_cuda(torch.version(), cuda);
    let source = &TABLE.torch[&torch.minor()].sources.builds;
    Reason::of("torch-needs-cuda", verdict, [yes, no], source)
}

fn index_of(torch: TorchAsked, cuda: CudaVersion) -> Index {
    let is_nightly = torch.version().nightly().is_some();
    match TABLE.torch.get(&torch.minor()) {
        Some(row) if row.pypi_cuda == cuda && !is_nightly => Index::Pypi,
        _ => Index::Pytorch,
    }
}

fn torch_with_python(torch: TorchAsked, python: PythonVersion) -> Reason {
    let row = &TABLE.torch[&torch.minor()];
    let limit = row.also_python.iter().find(|one| one.python == python);
    let source = limit.map_or(&row.sources.python, |limit| &limit.source);
    let limit = limit.map_or_else(String::new, |limit| format!(" ({})", lookup::limits(limit)));
    let yes = format!("torch {torch} has wheels for Python {python}{limit}");
    let no = format!("torch {torch} has no wheels for Python {python}");
    let verdict = match torch.exact() {
        Some(exact) => lookup::torch_has_python(exact, python, None),
        None if row.has_python(None, python, None) => Verdict::Works,
        None => lookup::torch_has_python(torch.version(), python, None),
    };
    Reason::of("torch-needs-python", verdict, [yes, no], source)
}

fn torch_on_gpu(torch: TorchAsked, gpu: &Gpu, cuda: Option<CudaVersion>) -> Vec<Reason> {
    let rule = "torch-runs-on-gpu";
    let all = builds::torch_builds(Some(gpu.capability));
    let own: Vec<_> = all
        .iter()
        .filter(|build| build.torch == torch.minor() && cuda.is_none_or(|cuda| cuda == build.cuda))
        .collect();
    let that = |wanted: Option<bool>| -> Vec<&TorchBuild> {
        let own = own.iter().copied();
        own.filter(|build| runs(build) == wanted).collect()
    };
    let (running, failing, open) = (that(Some(true)), that(Some(false)), that(None));
    let mut reasons = Vec::new();
    if let Some(first) = running.first() {
        let others = if failing.is_empty() {
            String::new()
        } else {
            let names = names(torch, &failing);
            format!("; that for {names} does not: {}", why(&failing))
        };
        let names = names(torch, &running);
        let text = format!("torch {torch} for {names} runs on {gpu}{others}");
        let mut reason = Reason::new(rule, Fit::Yes, text).source(&first.source);
        let is_on_pypi = |build: &&TorchBuild| index_of(torch, build.cuda) == Index::Pypi;
        if !running.iter().any(is_on_pypi) && failing.iter().any(is_on_pypi) {
            let tag = first.cuda.tag();
            reason = reason.change(format!(
                "PyPI's build is of no use there: install torch with `--index-url \
                 https://download.pytorch.org/whl/{tag}`"
            ));
        }
        reasons.push(reason);
    } else if let Some(first) = failing.first() {
        let names = names(torch, &failing);
        let text = format!(
            "torch {torch} for {names} does not run on {gpu}: {}",
            why(&failing)
        );
        let change = other_builds(&all, torch);
        reasons.push(
            Reason::new(rule, Fit::No, text)
                .source(&first.source)
                .change(change),
        );
    }
    if let Some(first) = open.first() {
        let why = format!(
            "whether torch {torch} for {} runs on {gpu}",
            names(torch, &open)
        );
        reasons.push(unknown(rule, &why).source(&first.source));
    }
    let more = TABLE.torch[&torch.minor()].more_builds.as_ref();
    if let Some(more) = more
        && running.is_empty()
        && cuda.is_none()
    {
        reasons.push(unknown(rule, more));
    }
    reasons
}

fn runs(build: &TorchBuild) -> Option<bool> {
    build.on_gpu.as_ref().and_then(BuildOnGpu::runs)
}

/// `CUDA 11.8 (download.pytorch.org), CUDA 12.6 (PyPI)`.
fn names(torch: TorchAsked, builds: &[&TorchBuild]) -> String {
    let name = |build: &&TorchBuild| {
        let index = index_of(torch, build.cuda);
        format!("CUDA {} ({})", build.cuda, index.name())
    };
    list(builds.iter().map(name))
}

/// Why builds fail, each cause once.
fn why(builds: &[&TorchBuild]) -> String {
    let causes = builds.iter().filter_map(|build| build.on_gpu.as_ref());
    let mut causes: Vec<_> = causes.flat_map(|on_gpu| on_gpu.why.clone()).collect();
    causes.sort();
    causes.dedup();
    causes.join("; ")
}

/// The builds that run on the GPU: of this torch, or else the first and the last torch that has one.
fn other_builds(builds: &[TorchBuild], torch: TorchAsked) -> String {
    let running = builds.iter().filter(|build| runs(build) == Some(true));
    let running: Vec<_> = running.collect();
    let name = |build: &TorchBuild| {
        format!(
            "{} for CUDA {} ({})",
            build.torch,
            build.cuda,
            build.index.name()
        )
    };
    let own = running.iter().filter(|build| build.torch == torch.minor());
    let own: Vec<_> = own.map(|build| name(build)).collect();
    match (own.as_slice(), running.as_slice()) {
        ([], []) => "no build of torch in the table runs there".to_owned(),
        ([], [one]) => format!("torch {} runs there", name(one)),
        ([], [first, .., last]) => {
            format!("torch {} to {} run there", name(first), name(last))
        }
        (own, _) => format!("torch {} runs there", own.join(", ")),
    }
}

/// A Python meets a GPU or a toolkit through some torch that has both.
fn some_torch(
    python: PythonVersion,
    gpu: Option<&'static Gpu>,
    cuda: Option<CudaVersion>,
) -> Option<Reason> {
    let is_known = TABLE
        .torch
        .values()
        .any(|row| row.has_python(None, python, None));
    let has_row = cuda.is_none_or(|cuda| TABLE.toolkits.contains_key(&cuda));
    if !is_known || !has_row {
        return None;
    }
    let fits = |build: &&TorchBuild| {
        let row = &TABLE.torch[&build.torch];
        let on_gpu = build.on_gpu.as_ref();
        cuda.is_none_or(|cuda| cuda == build.cuda)
            && row.has_python(None, python, None)
            && on_gpu.is_none_or(|on_gpu| on_gpu.runs() == Some(true))
    };
    let builds = builds::torch_builds(gpu.map(|gpu| gpu.capability));
    let fitting = builds.iter().filter(fits);
    let fitting: Vec<_> = fitting
        .map(|build| format!("{} for CUDA {}", build.torch, build.cuda))
        .collect();
    let question = Question {
        gpu,
        cuda,
        python: Some(python),
        torch: None,
    };
    let rule = "some-torch";
    let rows = TABLE.torch.values().filter(|row| row.more_builds.is_some());
    let is_open = rows
        .filter(|row| row.has_python(None, python, None))
        .any(|row| cuda.is_none_or(|cuda| !row.builds.contains_key(&cuda)));
    Some(if !fitting.is_empty() {
        let text = format!("torch {} fit {question}", fitting.join(", "));
        Reason::new(rule, Fit::Yes, text)
    } else if is_open {
        let why = format!("it has no torch for {question}, and not every build of the newest");
        unknown(rule, &why)
    } else {
        let text = format!("no torch of the table is for {question}");
        Reason::new(rule, Fit::No, text)
            .change("ask with fewer of them to see what each allows".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu;

    /// `gpu=RTX 5090, torch=2.7`: the answer and its reasons.
    fn told(asked: &str) -> String {
        let mut question = Question::default();
        for part in asked.split(", ") {
            let (what, value) = part.split_once('=').unwrap();
            match what {
                "gpu" => question.gpu = Some(gpu::find(value).unwrap()),
                "torch" => question.torch = Some(value.parse().unwrap()),
                "cuda" => question.cuda = Some(value.parse().unwrap()),
                _ => question.python = Some(value.parse().unwrap()),
            }
        }
        let answer = answer(&question);
        let mut lines = vec![format!("{asked}: {}", answer.fit.as_str())];
        for reason in answer.reasons {
            lines.push(format!(
                "  {} [{}] {}",
                reason.fit.as_str(),
                reason.rule,
                reason.text
            ));
            lines.extend(reason.change.map(|change| format!("    change: {change}")));
        }
        lines.join("\n")
    }

    #[test]
    fn what_fits_and_what_does_not_is_told_with_reasons() {
        let asked = [
            "gpu=RTX 5090",
            "gpu=RTX 5090, torch=2.7",
            "gpu=RTX 5090, torch=2.7, cuda=12.6",
            "gpu=RTX 5090, torch=2.6",
            "gpu=RTX 5090, cuda=12.6",
            "gpu=GTX 1080 Ti, cuda=12.8",
            "gpu=GTX 1080 Ti, torch=2.14",
            "gpu=V100, cuda=13.0",
            "gpu=Thor, cuda=12.9",
            "gpu=H100, torch=2.15, python=3.15",
            "torch=2.8, python=3.14",
            "torch=2.13, python=3.15",
            "torch=2.12.1, python=3.13t",
            "torch=2.8, cuda=13.0",
            "torch=2.15, cuda=13.0",
            "torch=2.99",
            "torch=2.99, cuda=14.0, gpu=12.0, python=3.12",
            "torch=2.8.7",
            "torch=2.16.0.dev20261120, cuda=13.0",
            "torch=2.15.0.dev20260901, cuda=13.4, gpu=RTX 5090",
            "python=3.7",
            "python=3.16",
            "python=3.12, cuda=12.8",
            "python=3.8, cuda=12.8",
            "python=3.9, gpu=RTX 5090",
            "python=3.9, gpu=B300, cuda=13.0",
        ];
        insta::assert_snapshot!(asked.map(told).join("\n"));
    }
}
