//! Why there is no recipe, and what comes nearest to what was asked for.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use super::choice::{self, Axis, Environment};
use super::{Ask, Manager};
use crate::compat::{self, Fit};
use crate::gpu::{self, Platform};
use crate::release::catalog::Track;
use crate::release::resolve::{Asked, Cuda, Libc, Outcome, Question, has_a_wheel, resolve};
use crate::version::PythonVersion;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Why {
    /// Whether it cannot work, or that is not known.
    pub fit: Fit,
    /// What is in the way.
    pub text: String,
    /// Where that comes from.
    pub source: Option<String>,
    /// What to change.
    pub change: Option<String>,
}

/// No recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusal {
    /// Whether it cannot work, or that is not known.
    pub fit: Fit,
    /// Why; not empty.
    pub reasons: Vec<Why>,
    /// The nearest that fits, and the flags that ask for it.
    pub nearest: Option<String>,
}

impl Why {
    fn new(fit: Fit, text: String) -> Self {
        Self {
            fit,
            text,
            source: None,
            change: None,
        }
    }

    fn change(mut self, change: impl Into<String>) -> Self {
        self.change = Some(change.into());
        self
    }
}

/// What no table of torch's builds can help with.
pub(super) fn of_the_machine(ask: &Ask<'_>) -> Option<Refusal> {
    let question = ask.question;
    let machine = choice::machine(question);
    let tegra = question.gpus.iter().filter_map(|&gpu| gpu::of(gpu));
    let tegra = tegra
        .into_iter()
        .find(|gpu| gpu.platform == Platform::Tegra);
    let why = if let Some(gpu) = tegra {
        Why::new(
            Fit::Unknown,
            format!(
                "{gpu} is a Jetson or a Drive: its torch comes with NVIDIA's JetPack, and the table has \
                 none of those builds"
            ),
        )
        .change("take the torch that NVIDIA publishes for your JetPack")
    } else if machine != "x86_64" {
        let beside = match choice::beside_arm(question) {
            Some(gpu) => format!("{gpu} is beside an Arm processor: "),
            None => String::new(),
        };
        let text = format!(
            "{beside}the table has torch's builds for x86_64 alone, and none for {machine}"
        );
        Why::new(Fit::Unknown, text)
    } else if question.libc == Some(Libc::Musl) {
        let text = "torch has no wheels for musl".to_owned();
        Why::new(Fit::No, text).change("use a distribution with glibc, such as Debian")
    } else if let (Manager::Dockerfile, Some(python)) = (ask.manager, free_threaded(question)) {
        let text = format!("there is no image `python` with Python {python}");
        Why::new(Fit::No, text)
            .change("ask with `--environment uv`, which brings that Python itself")
    } else if let Some(Cuda::Without(build)) = &question.cuda {
        let text = format!("a torch without CUDA (`{build}`) has no use for a GPU");
        Why::new(Fit::No, text).change("leave `--cuda` out")
    } else {
        return None;
    };
    Some(Refusal {
        fit: why.fit,
        reasons: vec![why],
        nearest: None,
    })
}

fn free_threaded(question: &Question) -> Option<PythonVersion> {
    let python = question.python.map(|python| python.version)?;
    python.to_string().ends_with('t').then_some(python)
}

/// Why nothing fits.
pub(super) fn explain(ask: &Ask<'_>) -> Refusal {
    let question = ask.question;
    let environments = choice::environments(question);
    let fits_the_table = environments
        .iter()
        .any(|one| one.lacks(question).is_empty());
    let mut reasons = if fits_the_table {
        of_the_wheels(ask, &environments)
    } else {
        of_the_table(question, &environments)
    };
    reasons.extend(a_nightly(ask));
    let nearest = nearest(ask, &environments);
    if reasons.is_empty() {
        reasons.push(Why::new(
            Fit::Unknown,
            "the table has no environment that is all of this".to_owned(),
        ));
    }
    Refusal {
        // For good, if one of them is.
        fit: reasons
            .iter()
            .map(|why| why.fit)
            .max()
            .unwrap_or(Fit::Unknown),
        reasons,
        nearest,
    }
}

/// What the table says against the parts of the question, or against its driver and C library.
fn of_the_table(question: &Question, environments: &[Environment]) -> Vec<Why> {
    let cuda = match &question.cuda {
        Some(Cuda::Version(cuda)) => Some(*cuda),
        Some(Cuda::Without(_)) | None => None,
    };
    let gpus: Vec<Option<&gpu::Gpu>> = match question.gpus.len() {
        0 => vec![None],
        _ => question.gpus.iter().map(|&gpu| gpu::of(gpu)).collect(),
    };
    let mut whys: Vec<Why> = Vec::new();
    for gpu in gpus {
        let answer = compat::answer(&compat::Question {
            gpu,
            torch: question.torch.as_ref().map(|torch| torch.version),
            cuda,
            python: question.python.map(|python| python.version),
        });
        let against = answer.reasons.into_iter().filter(|one| one.fit != Fit::Yes);
        for reason in against {
            let change = match reason.rule {
                "torch-known" | "torch-is-released" => Some(a_nightly_by_its_day(question)),
                _ => reason.change,
            };
            let why = Why {
                fit: reason.fit,
                text: reason.text,
                source: reason.source,
                change,
            };
            if !whys.contains(&why) {
                whys.push(why);
            }
        }
    }
    // The driver and the C library are none of the table of what works with what.
    let only = |axis: Axis| {
        let nearly = environments.iter();
        nearly.filter(move |one| one.lacks(question) == BTreeSet::from([axis]))
    };
    // `min_by_key` gives the first of equals, which is the one to prefer.
    let near = only(Axis::Driver).min_by_key(|one| one.least_driver.clone());
    if let (Some(near), Some(driver)) = (near, &question.driver)
        && let Some(least) = &near.least_driver
    {
        let text = format!(
            "driver {driver} is older than {least}, which torch {} for CUDA {} needs there",
            near.torch.version, near.torch.cuda
        );
        whys.push(Why::new(Fit::No, text).change(format!("install driver {least} or later")));
    }
    if let (Some(near), Some(libc)) = (only(Axis::Glibc).next(), question.libc) {
        let text = format!(
            "glibc {libc} is older than 2.28, which the wheels of torch {} need",
            near.torch.version.minor()
        );
        whys.push(Why::new(Fit::No, text));
    }
    let builds = compat::torch_builds(None);
    if let Some(cuda) = cuda
        && builds.iter().all(|build| build.cuda != cuda)
    {
        let text = format!("no release of torch in the table is built for CUDA {cuda}");
        whys.push(Why::new(Fit::Unknown, text).change(a_nightly_by_its_day(question)));
    }
    if environments.is_empty() && whys.is_empty() {
        let gpus: Vec<String> = question.gpus.iter().map(ToString::to_string).collect();
        let text = format!(
            "no release of torch in the table runs on {}",
            gpus.join(" and ")
        );
        whys.push(Why::new(Fit::No, text));
    }
    whys
}

/// How a nightly is asked for, of which the table has none.
fn a_nightly_by_its_day(question: &Question) -> String {
    let cuda = match &question.cuda {
        Some(Cuda::Version(cuda)) => cuda.to_string(),
        Some(Cuda::Without(_)) | None => "13.2".to_owned(),
    };
    format!(
        "if it is a nightly's, name its day: `--torch 2.16.0.dev20261120 --cuda {cuda}`; \
         https://download.pytorch.org/whl/nightly/torch/ lists them"
    )
}

/// For each wish, the environments that it has wheels for, or why it has none at all.
fn of_the_wheels(ask: &Ask<'_>, environments: &[Environment]) -> Vec<Why> {
    let fitting: Vec<&Environment> = environments
        .iter()
        .filter(|one| one.lacks(ask.question).is_empty())
        .collect();
    (0..ask.wishes.len())
        .map(|index| of_one_package(ask, index, &fitting))
        .collect()
}

fn of_one_package(ask: &Ask<'_>, index: usize, fitting: &[&Environment]) -> Why {
    let wish = ask.wishes[index];
    let package = &wish.package.name;
    let mut has = Vec::new();
    for one in fitting {
        let question = one.question(ask, index);
        if !has_a_wheel(wish.catalog, &question) {
            continue;
        }
        match resolve(wish.catalog, &question, ask.links).outcome {
            Outcome::One(_) => has.push(format!(
                "torch {} for CUDA {} with Python {}",
                one.torch.version, one.torch.cuda, one.python
            )),
            Outcome::Several { give, candidates } => {
                let flags: Vec<&str> = give.into_iter().map(Asked::flag).collect();
                let text = format!(
                    "`{package}` can be any of {} wheels for torch {}",
                    candidates.len(),
                    one.torch.version
                );
                let change = match flags.as_slice() {
                    [] => "the release does not tell enough of them: publish it again".to_owned(),
                    flags => format!("give {}", flags.join(" ")),
                };
                return Why::new(Fit::Unknown, text).change(change);
            }
            Outcome::None { .. } => {}
        }
    }
    if !has.is_empty() {
        let rest = match has.len().saturating_sub(4) {
            0 => String::new(),
            rest => format!(", and {rest} more"),
        };
        has.truncate(4);
        let text = format!(
            "`{package}` has wheels for {}{rest}: no environment has all packages",
            has.join(", ")
        );
        return Why::new(Fit::No, text)
            .change("ask for fewer packages, or build the ones that lack");
    }
    // Of the environment alone, without a torch that was chosen for it.
    let question = Question {
        package: wish.package.clone(),
        ..ask.question.clone()
    };
    let outcome = resolve(wish.catalog, &question, ask.links).outcome;
    let text = match outcome {
        Outcome::None { near_misses, .. } => match near_misses.first() {
            Some(miss) => format!(
                "`{package}` has no wheel for it; the nearest is {}: {}",
                miss.wheel.file_name, miss.reason.reason
            ),
            None => format!("the release has no wheel of `{package}`"),
        },
        Outcome::One(one) => {
            torches_that_lack(package.as_str(), &[&one.wheel.file_name.to_string()])
        }
        Outcome::Several { candidates, .. } => {
            let names: Vec<String> = candidates
                .iter()
                .map(|one| one.wheel.file_name.to_string())
                .collect();
            let names: Vec<&String> = names.iter().collect();
            torches_that_lack(package.as_str(), &names)
        }
    };
    Why::new(Fit::No, text).change(format!(
        "`wheelfarm resolve --package {package}` with the same flags proposes the job that builds it"
    ))
}

fn torches_that_lack(package: &str, names: &[&String]) -> String {
    let some: Vec<&str> = names.iter().take(3).map(|name| name.as_str()).collect();
    format!(
        "`{package}` has {}, and no torch of the table that runs there is one that they are for",
        some.join(", ")
    )
}

/// Where a nightly would do, or may.
fn a_nightly(ask: &Ask<'_>) -> Option<Why> {
    let question = ask.question;
    let is_asked = question.torch.as_ref().and_then(|one| one.version.exact());
    let is_asked = is_asked.is_some_and(|version| version.nightly().is_some());
    if is_asked && question.cuda.is_none() {
        let text = "a nightly is built for several CUDAs, and none was named".to_owned();
        return Some(Why::new(Fit::Unknown, text).change("give `--cuda`"));
    }
    if question.track == Track::Stable {
        let nightly = Question {
            track: Track::Nightly,
            ..question.clone()
        };
        let ask = Ask {
            question: &nightly,
            ..*ask
        };
        let found = choice::nightlies_of_wheels_on_any_track(&ask);
        let found = found.iter().find(|(one, _)| choice::has_wheels(&ask, one));
        if let Some((one, _)) = found {
            let text = format!(
                "the wheels are there for a nightly of torch, {}",
                one.torch.version
            );
            return Some(Why::new(Fit::No, text).change("ask with `--track nightly`"));
        }
    }
    None
}

/// The environment with wheels that differs least from what is asked for, with the flags for it.
fn nearest(ask: &Ask<'_>, environments: &[Environment]) -> Option<String> {
    let question = ask.question;
    let asked_torch = question.torch.as_ref().map(|torch| torch.version.minor());
    let mut near: Vec<(BTreeSet<Axis>, &Environment)> = environments
        .iter()
        .map(|one| (one.lacks(question), one))
        .filter(|(lacks, _)| !lacks.is_empty())
        .collect();
    // The sort is stable: what is as near stays in the order of preference.
    near.sort_by_key(|(lacks, one)| {
        let distance = asked_torch.map(|asked| {
            let (asked, found) = (asked.parts().1, one.torch.version.minor().parts().1);
            // The next later torch is nearer than the one before: what is asked for is too old more
            // often than too new.
            (
                found.abs_diff(asked),
                found < asked,
                Reverse(one.torch.version),
            )
        });
        let driver = lacks
            .contains(&Axis::Driver)
            .then(|| one.least_driver.clone());
        (lacks.len(), driver, distance)
    });
    let (lacks, one) = near
        .into_iter()
        .find(|(_, one)| choice::has_wheels(ask, one))?;
    let index = one.torch.index.name();
    let flags: Vec<String> = lacks
        .iter()
        .filter_map(|axis| match axis {
            Axis::Torch => Some(format!("--torch {}", one.torch.version)),
            Axis::Cuda => Some(format!("--cuda {}", one.torch.cuda)),
            Axis::Python => Some(format!("--python {}", one.python)),
            Axis::Driver | Axis::Glibc => None,
        })
        .collect();
    let mut needs = Vec::new();
    if let Some(driver) = one
        .least_driver
        .as_ref()
        .filter(|_| lacks.contains(&Axis::Driver))
    {
        needs.push(format!("driver {driver} or later"));
    }
    if lacks.contains(&Axis::Glibc) {
        needs.push("glibc 2.28 or later".to_owned());
    }
    let ask_with = match flags.as_slice() {
        [] => String::new(),
        flags => format!(": ask with `{}`", flags.join(" ")),
    };
    let needs = match needs.as_slice() {
        [] => String::new(),
        needs => format!(", with {}", needs.join(" and ")),
    };
    Some(format!(
        "torch {} for CUDA {} ({index}) with Python {}{needs}{ask_with}",
        one.torch.version, one.torch.cuda, one.python
    ))
}
