//! What cannot work, job by job: each rule names the place in the matrix that asks for it, and the
//! source that rules it out.

use crate::arch::ArchTarget;
use crate::compat::{self, Verdict};
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
            Verdict::Unknown => {
                let message = format!("not known to work: {}", fault.message);
                let hint = "newer than this program's table; it is allowed, and not checked";
                self.warnings
                    .push(Diagnostic::new(fault.location, fault.rule, message).with_hint(hint));
            }
        }
    }
}

/// Judges `combination` by every rule.
pub(super) fn judge(combination: &Combination<'_>, judgement: &mut Judgement) {
    judge_environment(combination, judgement);
    judge_interpreter(combination, judgement);
    judge_needs(combination, judgement);
    for arch in combination.archs {
        judge_arch(combination, arch, judgement);
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
    judgement.take(compat::torch_has_python(torch.value, python.value), fault);
    if environment.toolkit == Toolkit::Pypi {
        let message = format!("PyPI has no complete CUDA {cuda} toolkit");
        let location = environment.cuda.location.clone();
        let fault = Diagnostic::new(location, "toolkit-on-pypi", message);
        let verdict = match compat::toolkit_is_on_pypi(cuda) {
            Verdict::Works if render::pinned_toolkit(cuda).is_none() => Verdict::Fails {
                known: "add its pins to dockerfiles/toolkits.yaml".to_owned(),
                source: "dockerfiles/toolkits.yaml, which has no pins for it".to_owned(),
            },
            verdict @ (Verdict::Works | Verdict::Fails { .. } | Verdict::Unknown) => verdict,
        };
        judgement.take(verdict, fault);
    }
}

/// The one Python of each distribution whose own Python is used.
const DISTRIBUTION_PYTHONS: [(&str, &str); 4] = [
    ("bookworm", "3.11"),
    ("trixie", "3.13"),
    ("ubuntu22.04", "3.10"),
    ("ubuntu24.04", "3.12"),
];

fn judge_interpreter(combination: &Combination<'_>, judgement: &mut Judgement) {
    let distribution = match &combination.environment.base {
        Base::Debootstrap { suite, .. } => suite,
        Base::Image {
            reference,
            interpreter: Interpreter::Apt,
        } => reference,
        Base::Image {
            interpreter: Interpreter::Manylinux,
            ..
        } => return,
    };
    let python = combination.python;
    let known = DISTRIBUTION_PYTHONS
        .iter()
        .find(|(name, _)| distribution.contains(name));
    let verdict = match known {
        None => Verdict::Unknown,
        Some((_, version)) if *version == python.value.to_string() => Verdict::Works,
        Some((name, version)) => Verdict::Fails {
            known: format!("{name} has Python {version}; manylinux images have every Python"),
            source: format!("the python3 package of {name}"),
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
