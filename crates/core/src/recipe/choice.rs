//! Which torch, Python and wheels: of all environments that the table has, the first that fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Ask, Recipe, TorchPick, WheelPick};
use crate::compat::{
    self, Companion, Index, TorchBuild, TorchInstalled, Verdict, releases_of,
    torch_needs_glibc_2_28,
};
use crate::gpu::driver::{self, Driver};
use crate::gpu::{self, Capability, Gpu};
use crate::release::catalog::Track;
use crate::release::resolve::{Cuda, Libc, Outcome, Question, TorchGiven, has_a_wheel, resolve};
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::wheel::tags::{self, LibcNeed};

/// The Pythons, the one to take first where none is asked for first: what most wheels are published for
/// comes before what is newest.
const PYTHONS: [&str; 8] = ["3.12", "3.11", "3.13", "3.10", "3.14", "3.9", "3.15", "3.8"];

/// In what an environment is not what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Axis {
    /// The torch is another.
    Torch,
    /// It is built for another CUDA.
    Cuda,
    /// The Python is another, or the torch has no wheels for it.
    Python,
    /// The driver is older than it needs.
    Driver,
    /// The C library is older than it needs.
    Glibc,
}

/// A build of a torch in a Python, on all GPUs that were named.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    pub(super) torch: TorchPick,
    pub(super) python: PythonVersion,
    pub(super) companions: Vec<Companion>,
    /// For the GPUs; with none, for its CUDA. `None` where that is not known.
    pub(super) least_driver: Option<Driver>,
    /// Whether the driver has to compile PTX at first use.
    pub(super) is_jit: bool,
}

impl Environment {
    fn missing(&self) -> usize {
        let companions = self.companions.iter();
        companions.filter(|one| one.version.is_err()).count()
    }

    /// What the question tells that this is not.
    pub(super) fn lacks(&self, question: &Question) -> BTreeSet<Axis> {
        let mut lacks = BTreeSet::new();
        let TorchPick { version, cuda, .. } = self.torch;
        if let Some(asked) = &question.torch {
            let is_it = match asked.version.exact() {
                Some(exact) => exact == version,
                None => asked.version.minor() == version.minor(),
            };
            if !is_it {
                lacks.insert(Axis::Torch);
            }
        }
        if let Some(asked) = &question.cuda
            && *asked != Cuda::Version(cuda)
        {
            lacks.insert(Axis::Cuda);
        }
        if question
            .python
            .is_some_and(|asked| asked.version != self.python)
        {
            lacks.insert(Axis::Python);
        }
        if let (Some(has), Some(needs)) = (&question.driver, &self.least_driver)
            && has < needs
        {
            lacks.insert(Axis::Driver);
        }
        if let Some(Libc::Glibc(major, minor)) = question.libc
            && (major, minor) < (2, 28)
            && torch_needs_glibc_2_28(version.minor())
        {
            lacks.insert(Axis::Glibc);
        }
        lacks
    }

    /// The question about one package in this environment.
    pub(super) fn question(&self, ask: &Ask<'_>, wish: usize) -> Question {
        let torch = match self.torch.index {
            Index::Pypi => self.torch.version.to_string(),
            Index::Pytorch => format!("{}+{}", self.torch.version, self.torch.cuda.tag()),
        };
        Question {
            package: ask.wishes[wish].package.clone(),
            torch: torch.parse().ok(),
            cuda: Some(Cuda::Version(self.torch.cuda)),
            python: self.python.to_string().parse().ok(),
            machine: Some(machine(ask.question).to_owned()),
            ..ask.question.clone()
        }
    }

    /// The farm's wheels for it, one for each wish; `None` where one has none.
    fn wheels<'a>(&self, ask: &Ask<'a>) -> Option<Vec<WheelPick<'a>>> {
        let pick = |index: usize| {
            let question = self.question(ask, index);
            if !has_a_wheel(ask.wishes[index].catalog, &question) {
                return None;
            }
            match resolve(ask.wishes[index].catalog, &question, ask.links).outcome {
                Outcome::One(one) => Some(WheelPick {
                    wheel: one.wheel,
                    lines: one.lines,
                }),
                Outcome::Several { .. } | Outcome::None { .. } => None,
            }
        };
        (0..ask.wishes.len()).map(pick).collect()
    }
}

/// The machine that is meant: the table has builds for x86-64 alone, and some GPUs are beside no such
/// processor.
pub(super) fn machine(question: &Question) -> &str {
    let otherwise = match beside_arm(question) {
        Some(_) => "aarch64",
        None => "x86_64",
    };
    question.machine.as_deref().unwrap_or(otherwise)
}

/// A GPU of the question whose machines all have an Arm processor.
pub(super) fn beside_arm(question: &Question) -> Option<&'static Gpu> {
    let gpus = question.gpus.iter().filter_map(|&gpu| gpu::of(gpu));
    gpus.into_iter().find(|gpu| gpu.is_beside_arm())
}

/// What the builds of a torch come to on all of `gpus`; `None` where one does not run on one of them.
fn on_gpus(builds: &[&TorchBuild]) -> Option<(Option<Driver>, bool)> {
    let mut least = None;
    let mut is_jit = false;
    let mut is_known = true;
    for build in builds {
        let on_gpu = build.on_gpu.as_ref()?;
        if on_gpu.runs() != Some(true) {
            return None;
        }
        is_jit |= on_gpu.verdict == gpu::verdict::Verdict::Jit;
        match &on_gpu.least_driver {
            Some(driver) => least = least.max(Some(driver.clone())),
            None => is_known = false,
        }
    }
    Some((least.filter(|_| is_known), is_jit))
}

/// Every environment of the table whose torch runs on all the GPUs, the one to prefer first: the Python
/// that is asked for or usual, all companions, the newest torch, from PyPI, the newest CUDA.
pub(super) fn environments(question: &Question) -> Vec<Environment> {
    let mut by_build: BTreeMap<_, Vec<TorchBuild>> = BTreeMap::new();
    let gpus: Vec<Option<Capability>> = match question.gpus.len() {
        0 => vec![None],
        _ => question.gpus.iter().copied().map(Some).collect(),
    };
    for gpu in gpus {
        for build in compat::torch_builds(gpu) {
            let of_build = by_build.entry((build.torch, build.cuda)).or_default();
            of_build.push(build);
        }
    }
    let pythons = pythons(question);
    let mut all = Vec::new();
    for ((minor, cuda), builds) in &by_build {
        let of_gpus: Vec<&TorchBuild> = builds.iter().collect();
        let on_gpus = if question.gpus.is_empty() {
            Some((driver::least_for(*cuda), false))
        } else {
            on_gpus(&of_gpus)
        };
        let Some((least_driver, is_jit)) = on_gpus else {
            continue;
        };
        for (rank, &python) in pythons.iter().enumerate() {
            for &version in releases_of(*minor) {
                let Some(index) = index(version, python, of_gpus[0].index) else {
                    continue;
                };
                let torch = TorchPick {
                    version,
                    cuda: *cuda,
                    index,
                };
                let companions = compat::companions(&TorchInstalled {
                    torch: version,
                    cuda: *cuda,
                    python,
                    index,
                });
                all.push((
                    rank,
                    Environment {
                        torch,
                        python,
                        companions,
                        least_driver: least_driver.clone(),
                        is_jit,
                    },
                ));
            }
        }
    }
    all.sort_by_key(|(rank, one)| {
        let TorchPick {
            version,
            cuda,
            index,
        } = one.torch;
        (*rank, one.missing(), Reverse(version), index, Reverse(cuda))
    });
    all.into_iter().map(|(_, one)| one).collect()
}

/// The Pythons to try: the one that is asked for, or all, in order.
fn pythons(question: &Question) -> Vec<PythonVersion> {
    let asked = question.python.map(|python| python.version);
    let usual = PYTHONS.iter().filter_map(|text| text.parse().ok());
    let usual = usual.filter(|one| asked != Some(*one));
    asked.into_iter().chain(usual).collect()
}

/// The index that has `torch` for `python`: that of its build, or PyTorch's alone, which has PyPI's
/// builds as well.
fn index(torch: TorchVersion, python: PythonVersion, of_build: Index) -> Option<Index> {
    let has = |index| compat::torch_has_python(torch, python, Some(index)) == Verdict::Works;
    [of_build, Index::Pytorch]
        .into_iter()
        .find(|&index| has(index))
}

/// The first environment that is all that is asked for, with wheels for all wishes.
pub(super) fn choose<'a>(ask: &Ask<'a>) -> Option<Recipe<'a>> {
    let nightly_asked = nightly_that_is_asked_for(ask);
    let fitting = environments(ask.question).into_iter();
    let mut fitting = fitting.filter(|one| one.lacks(ask.question).is_empty());
    let released = fitting.find_map(|one| {
        let wheels = one.wheels(ask)?;
        Some(recipe(ask, one, wheels, None))
    });
    released.or_else(|| {
        let nightlies = nightly_asked.into_iter().chain(nightlies_of_wheels(ask));
        nightlies.into_iter().find_map(|(one, why)| {
            let wheels = one.wheels(ask)?;
            Some(recipe(ask, one, wheels, Some(why)))
        })
    })
}

fn recipe<'a>(
    ask: &Ask<'a>,
    environment: Environment,
    wheels: Vec<WheelPick<'a>>,
    nightly: Option<String>,
) -> Recipe<'a> {
    let least_driver = least_driver(ask.question, &environment, &wheels);
    let needs = wheels
        .iter()
        .filter_map(|pick| tags::libc_need(Some(machine(ask.question)), &pick.wheel.file_name));
    let of_torch = torch_needs_glibc_2_28(environment.torch.version.minor());
    let of_torch = of_torch.then_some(LibcNeed::Glibc(2, 28));
    let libc = needs.chain(of_torch).max();
    let notes = super::write::notes(ask, &environment, libc);
    Recipe {
        manager: ask.manager,
        torch: environment.torch,
        python: environment.python,
        companions: environment.companions,
        wheels,
        gpus: ask.question.gpus.iter().copied().collect(),
        least_driver,
        libc,
        nightly,
        notes,
    }
}

/// What torch needs and what the wheels need, on each GPU; `None` where one of them is not known.
fn least_driver(
    question: &Question,
    environment: &Environment,
    wheels: &[WheelPick<'_>],
) -> Option<Driver> {
    let mut least = environment.least_driver.clone()?;
    for pick in wheels {
        for gpu in &question.gpus {
            let on_gpu = pick.wheel.runs_on.get(&gpu.to_string());
            let told = on_gpu.and_then(|on_gpu| on_gpu.least_driver.as_deref());
            if let Some(driver) = told.and_then(|text| text.parse().ok()) {
                least = least.max(driver);
            }
        }
    }
    Some(least)
}

/// The environment of a nightly, of which the table tells nothing but what its minor version's row says
/// of code.
fn nightly_environment(
    question: &Question,
    version: TorchVersion,
    cuda: CudaVersion,
) -> Vec<Environment> {
    let least = |gpu: &Capability| driver::native_driver(*gpu, Some(cuda));
    let least_driver = if question.gpus.is_empty() {
        driver::least_for(cuda)
    } else {
        let all: Option<Vec<Driver>> = question.gpus.iter().map(least).collect();
        all.and_then(|all| all.into_iter().max())
    };
    let one = |python| Environment {
        torch: TorchPick {
            version,
            cuda,
            index: Index::Pytorch,
        },
        python,
        companions: Vec::new(),
        least_driver: least_driver.clone(),
        is_jit: false,
    };
    pythons(question).into_iter().map(one).collect()
}

/// The nightly that the question names, if it tells its CUDA.
fn nightly_that_is_asked_for(ask: &Ask<'_>) -> Vec<(Environment, String)> {
    let question = ask.question;
    let version = question.torch.as_ref().and_then(|one| one.version.exact());
    let Some(version) = version.filter(|version| version.nightly().is_some()) else {
        return Vec::new();
    };
    let Some(Cuda::Version(cuda)) = question.cuda else {
        return Vec::new();
    };
    let all = nightly_environment(question, version, cuda).into_iter();
    let all = all.filter(|one| one.lacks(question).is_empty());
    all.map(|one| (one, "it was asked for by `--torch`".to_owned()))
        .collect()
}

/// The nightlies that wheels of the release were built with, for who asks for the nightly track.
fn nightlies_of_wheels(ask: &Ask<'_>) -> Vec<(Environment, String)> {
    if ask.question.track != Track::Nightly {
        return Vec::new();
    }
    nightlies_of_wheels_on_any_track(ask)
}

/// The same, whatever track is asked for: for a hint.
pub(super) fn nightlies_of_wheels_on_any_track(ask: &Ask<'_>) -> Vec<(Environment, String)> {
    let mut found = BTreeMap::new();
    for wish in ask.wishes {
        let wheels = wish.catalog.wheels.values();
        for wheel in wheels.filter(|wheel| wheel.package == wish.package.name) {
            let against = &wheel.built_against;
            let torch: Option<TorchGiven> = against.torch.parse().ok();
            let version = torch.and_then(|torch| torch.version.exact());
            let version = version.filter(|version| version.nightly().is_some());
            let cuda: Option<CudaVersion> = against.cuda.parse().ok();
            if let (Some(version), Some(cuda)) = (version, cuda) {
                found
                    .entry((Reverse(version), Reverse(cuda)))
                    .or_insert_with(|| wish.package.name.clone());
            }
        }
    }
    let mut all = Vec::new();
    for ((Reverse(version), Reverse(cuda)), package) in found {
        let why = format!(
            "no wheel of `{package}` for a released torch fits, and there is one for this nightly"
        );
        let environments = nightly_environment(ask.question, version, cuda).into_iter();
        let fitting = environments.filter(|one| one.lacks(ask.question).is_empty());
        all.extend(fitting.map(|one| (one, why.clone())));
    }
    all
}

/// Whether the wishes have wheels there.
pub(super) fn has_wheels(ask: &Ask<'_>, environment: &Environment) -> bool {
    environment.wheels(ask).is_some()
}
