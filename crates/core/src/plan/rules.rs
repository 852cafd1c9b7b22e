//! What cannot work, job by job: each rule names the place in the matrix that asks for it, and the
//! source that rules it out.

use crate::arch::ArchTarget;
use crate::compat::{self, Index, Verdict};
use crate::diagnostic::{Diagnostic, Located};
use crate::matrix::{Base, EnvironmentAxes, Interpreter, Toolkit, TorchIndex};
use crate::package::{Kernels, PackageRelease};
use crate::render;
use crate::version::{PythonVersion, TorchVersion};

/// One combination under judgement, with the places where its parts were written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Combination<'a> {
    pub(super) package: &'a str,
    pub(super) release: &'a PackageRelease,
    pub(super) environment: &'a EnvironmentAxes,
    pub(super) torch: &'a Located<TorchVersion>,
    pub(super) python: &'a Located<PythonVersion>,
    pub(super) archs: &'a [Located<ArchTarget>],
}

/// Where a reader finds what the rules know.
const TABLE: &str = "the compatibility table (data/compat.yaml)";

/// What a judgement found.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) faults: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Judgement {
    fn take(&mut self, verdict: Verdict, fault: Diagnostic) {
        match verdict {
            Verdict::Works => {}
            Verdict::Fails { known, source } => {
                self.faults.push(fault.with_source(source).with_hint(known));
            }
            Verdict::Unknown { why } => {
                let message = format!("not known to work: {}", fault.message);
                let warning = Diagnostic::new(fault.location, fault.rule, message);
                let source = format!("{TABLE}: {why}");
                let hint = "unknown, and allowed with this warning: it is not checked";
                self.warnings
                    .push(warning.with_source(source).with_hint(hint));
            }
        }
    }
}

/// Judges `combination` by every rule.
pub(super) fn judge(combination: &Combination<'_>, judgement: &mut Judgement) {
    judge_torch(combination, judgement);
    judge_environment(combination, judgement);
    judge_compiler(combination, judgement);
    judge_interpreter(combination, judgement);
    judge_needs(combination, judgement);
    for arch in combination.archs {
        judge_arch(combination, arch, judgement);
    }
}

/// Whether the torch is one that is known to be there; a nightly is told to be one.
fn judge_torch(combination: &Combination<'_>, judgement: &mut Judgement) {
    let torch = combination.torch;
    let location = torch.location.clone();
    if torch.value.nightly().is_some() {
        let message = format!("torch {} is a nightly", torch.value);
        let minor = torch.value.minor();
        let known = if compat::torch_has_row(torch.value) {
            format!("it is judged by what is known of torch {minor}")
        } else {
            format!("it has no row for torch {minor}")
        };
        let source = format!("{TABLE}: {known}");
        let hint = "the wheel requires this very nightly: its C++ ABI holds for that day only";
        let warning = Diagnostic::new(location, "torch-nightly", message);
        judgement
            .warnings
            .push(warning.with_source(source).with_hint(hint));
    } else if compat::torch_has_row(torch.value) {
        let message = format!("torch {} is not among the releases", torch.value);
        let fault = Diagnostic::new(location, "torch-is-released", message);
        judgement.take(compat::torch_is_released(torch.value), fault);
    }
}

fn judge_environment(combination: &Combination<'_>, judgement: &mut Judgement) {
    let environment = combination.environment;
    let (torch, python) = (combination.torch, combination.python);
    let cuda = environment.cuda.value;
    let message = format!("torch {} has no build for CUDA {cuda}", torch.value);
    let fault = Diagnostic::new(torch.location.clone(), "torch-needs-cuda", message);
    judgement.take(compat::torch_has_cuda(torch.value, cuda), fault);
    if environment.torch_index == TorchIndex::Pypi {
        let message = format!("PyPI has no torch {} for CUDA {cuda}", torch.value);
        let fault = Diagnostic::new(torch.location.clone(), "torch-on-pypi", message);
        judgement.take(compat::torch_on_pypi_is_for(torch.value, cuda), fault);
    }
    let message = format!(
        "torch {} does not support Python {}",
        torch.value, python.value
    );
    let fault = Diagnostic::new(python.location.clone(), "torch-needs-python", message);
    let index = match &environment.torch_index {
        TorchIndex::Pypi => Some(Index::Pypi),
        TorchIndex::Url(url) if url.starts_with("https://download.pytorch.org/") => {
            Some(Index::Pytorch)
        }
        // A mirror of one of them, or of both.
        TorchIndex::Url(_) => None,
    };
    let verdict = compat::torch_has_python(torch.value, python.value, index);
    judgement.take(verdict, fault);
    if environment.toolkit == Toolkit::Pypi {
        let message = format!("PyPI has no complete CUDA {cuda} toolkit");
        let location = environment.cuda.location.clone();
        let fault = Diagnostic::new(location, "toolkit-on-pypi", message);
        let verdict = match compat::toolkit_is_on_pypi(cuda) {
            Verdict::Works if render::pinned_toolkit(cuda).is_none() => Verdict::Fails {
                known: "add its pins to dockerfiles/toolkits.yaml".to_owned(),
                source: "dockerfiles/toolkits.yaml, which has no pins for it".to_owned(),
            },
            verdict @ (Verdict::Works | Verdict::Fails { .. } | Verdict::Unknown { .. }) => verdict,
        };
        judgement.take(verdict, fault);
    }
}

/// The text by which the base of an environment is known: its suite, or its image's reference.
fn base_text(base: &Base) -> &str {
    match base {
        Base::Debootstrap { suite, .. } => suite,
        Base::Image { reference, .. } => reference,
    }
}

/// Variables by which a build takes another compiler than the base's own, or another nvcc flag.
const COMPILER_VARIABLES: [&str; 7] = [
    "CC",
    "CXX",
    "CUDAHOSTCXX",
    "NVCC_CCBIN",
    "NVCC_PREPEND_FLAGS",
    "NVCC_APPEND_FLAGS",
    "PATH",
];

/// With these values, torch does not look at the compiler (`cpp_extension._check_cuda_version`).
const UNCHECKED: [&str; 5] = ["ON", "1", "YES", "TRUE", "Y"];

/// Whether nvcc and torch take the gcc that the base has. Of an unknown base, or of a compiler that the
/// package chooses, nothing is said.
fn judge_compiler(combination: &Combination<'_>, judgement: &mut Judgement) {
    let Kernels::Compiled { .. } = combination.release.kernels else {
        return;
    };
    let env = &combination.release.build.env;
    if COMPILER_VARIABLES
        .iter()
        .any(|name| env.contains_key(*name))
    {
        return;
    }
    let environment = combination.environment;
    let Some(base) = compat::base_of(base_text(&environment.base)) else {
        return;
    };
    let (cuda, torch) = (&environment.cuda, combination.torch);
    let message = format!(
        "gcc {} of {} is no host compiler of CUDA {}",
        base.gcc, base.name, cuda.value
    );
    let fault = Diagnostic::new(cuda.location.clone(), "cuda-takes-gcc", message);
    // What has no row is told by other rules.
    match compat::toolkit_takes_gcc(cuda.value, base.gcc) {
        Verdict::Unknown { .. } => {}
        verdict @ (Verdict::Works | Verdict::Fails { .. }) => judgement.take(verdict, fault),
    }
    let checked = env
        .get("TORCH_DONT_CHECK_COMPILER_ABI")
        .is_none_or(|value| !UNCHECKED.contains(&value.value.as_str()));
    if checked {
        let message = format!(
            "torch {} refuses gcc {} of {} with CUDA {}",
            torch.value, base.gcc, base.name, cuda.value
        );
        let fault = Diagnostic::new(torch.location.clone(), "torch-takes-gcc", message);
        let verdict = match compat::torch_takes_gcc(torch.value, cuda.value, base.gcc) {
            Verdict::Fails { known, source } => Verdict::Fails {
                known: format!(
                    "{known}; or set `TORCH_DONT_CHECK_COMPILER_ABI: \"1\"` in the package's `env`"
                ),
                source,
            },
            Verdict::Works | Verdict::Unknown { .. } => Verdict::Works,
        };
        judgement.take(verdict, fault);
    }
}

fn judge_interpreter(combination: &Combination<'_>, judgement: &mut Judgement) {
    match &combination.environment.base {
        Base::Debootstrap { .. }
        | Base::Image {
            interpreter: Interpreter::Apt,
            ..
        } => {}
        Base::Image {
            interpreter: Interpreter::Manylinux,
            ..
        } => return,
    }
    let distribution = base_text(&combination.environment.base);
    let python = combination.python;
    let known =
        compat::base_of(distribution).and_then(|base| Some((base, base.python.as_deref()?)));
    let verdict = match known {
        None => Verdict::Unknown {
            why: format!("it does not know `{distribution}`"),
        },
        Some((_, version)) if *version == python.value.to_string() => Verdict::Works,
        Some((base, version)) => Verdict::Fails {
            known: format!(
                "{} has Python {version}; manylinux images have every Python",
                base.name
            ),
            source: base.source.clone(),
        },
    };
    let message = format!("base `{distribution}` has no Python {}", python.value);
    let fault = Diagnostic::new(python.location.clone(), "base-has-python", message);
    judgement.take(verdict, fault);
}

fn judge_needs(combination: &Combination<'_>, judgement: &mut Judgement) {
    let needs = &combination.release.needs;
    let name = format!(
        "{} {}",
        combination.package, combination.release.version.value
    );
    let (torch, python) = (combination.torch, combination.python);
    let cuda = &combination.environment.cuda;
    let checks = [
        (
            needs.torch.contains_torch(torch.value),
            torch.location.clone(),
            "package-needs-torch",
            format!("{name} cannot be built against torch {}", torch.value),
            format!("it needs torch {}", needs.torch),
        ),
        (
            needs.python.contains_python(python.value),
            python.location.clone(),
            "package-needs-python",
            format!("{name} cannot be built for Python {}", python.value),
            format!("it needs Python {}", needs.python),
        ),
        (
            needs.cuda.contains_cuda(cuda.value),
            cuda.location.clone(),
            "package-needs-cuda",
            format!("{name} cannot be built with CUDA {}", cuda.value),
            format!("it needs CUDA {}", needs.cuda),
        ),
    ];
    for (works, location, rule, message, known) in checks {
        if !works {
            let hint = format!("{known}; leave the combination out with `exclude:` and a reason");
            let fault = Diagnostic::new(location, rule, message).with_hint(hint);
            let source = needs.source.clone();
            judgement.faults.push(fault.with_source(source));
        }
    }
}

fn judge_arch(
    combination: &Combination<'_>,
    arch: &Located<ArchTarget>,
    judgement: &mut Judgement,
) {
    let Kernels::Compiled {
        archs,
        cuda: toolkits,
        source,
    } = &combination.release.kernels
    else {
        return;
    };
    let cuda = combination.environment.cuda.value;
    let wanted = arch.value.arch;
    let fault = |rule, message: String| Diagnostic::new(arch.location.clone(), rule, message);
    judgement.take(
        compat::toolkit_compiles(cuda, wanted),
        fault(
            "arch-needs-cuda",
            format!("arch `{wanted}` cannot be compiled by CUDA {cuda}"),
        ),
    );
    let torch = combination.torch.value;
    judgement.take(
        compat::torch_takes_arch(torch, wanted),
        fault(
            "arch-needs-torch",
            format!("arch `{wanted}` is not known to torch {torch}"),
        ),
    );
    let name = format!("{} {}", combination.package, combination.release.label());
    let needed = toolkits.get(&wanted);
    if let Some(needed) = needed.filter(|needed| !needed.contains_cuda(cuda)) {
        let message = format!("{name} cannot be built for arch `{wanted}` with CUDA {cuda}");
        let hint = format!("for `{wanted}` it needs CUDA {needed}");
        let fault = fault("kernels-need-cuda", message).with_source(source.clone());
        judgement.faults.push(fault.with_hint(hint));
    }
    if !archs.contains(&wanted) {
        let known: Vec<_> = archs.iter().map(ToString::to_string).collect();
        judgement.faults.push(
            fault(
                "arch-needs-kernels",
                format!("{name} has no kernels for arch `{wanted}`"),
            )
            .with_source(source.clone())
            .with_hint(format!(
                "it has kernels for {}; give the package's entry its own `archs:`",
                known.join(", ")
            )),
        );
    }
}
