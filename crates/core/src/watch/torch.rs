//! Torches and Pythons: an environment against the index that its torch is installed from.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Answers, Comparison, MatrixChange, News, NewsKind, NotChecked, Question};
use super::{listed, reason, torch_question};
use crate::compat::{self, Verdict};
use crate::matrix::{Base, EnvironmentAxes, Interpreter, Matrix, TorchIndex};
use crate::source::simple_index::IndexFile;
use crate::version::{
    CudaVersion, PackageVersion, PythonVersion, Threading, TorchVersion, VersionRange,
};
use crate::wheel::name::WheelName;

/// Notes what an index has for `environment`.
pub(super) fn compare(
    matrix: &Matrix,
    environment: &EnvironmentAxes,
    answers: &Answers,
    comparison: &mut Comparison,
) {
    let name = &environment.name.value;
    let not_checked = |reason| NotChecked {
        subject: format!("torch and Python of {name}"),
        reason,
    };
    let question = match torch_question(matrix, environment) {
        Ok(question) => question,
        Err(reason) => {
            comparison.not_checked.push(not_checked(reason));
            return;
        }
    };
    let files = match answers.get(&question) {
        Some(Answer::Files(files)) => files,
        other => {
            comparison.not_checked.push(not_checked(reason(other)));
            return;
        }
    };
    let look = Look {
        environment,
        link: page(&question),
        on_index: torches(environment, files),
    };
    look.torches(&mut comparison.news);
    look.pythons(&mut comparison.news);
}

/// What an index has of one torch for one CUDA on this platform.
#[derive(Debug, Default)]
struct OnIndex {
    /// The Pythons that its wheels are for, those that are withdrawn left out.
    pythons: BTreeSet<PythonVersion>,
    /// How many of its wheels are not withdrawn.
    wheels: usize,
    /// Why the last of those that are was withdrawn.
    yanked: Option<String>,
    /// Whether nothing says which CUDA it is built for.
    cuda_is_unknown: bool,
}

impl OnIndex {
    /// What stands against building with it.
    fn obstacle(&self, environment: &EnvironmentAxes) -> Option<String> {
        if self.cuda_is_unknown {
            return Some("nothing says which CUDA this torch of PyPI is built for".to_owned());
        }
        let wanted = environment.python.iter().map(|python| python.value);
        let missing: Vec<_> = wanted
            .filter(|python| !self.pythons.contains(python))
            .collect();
        (!missing.is_empty()).then(|| format!("it has no wheel for Python {}", listed(missing)))
    }
}

type Torches = BTreeMap<TorchVersion, OnIndex>;

/// The torches that `environment` could install: released ones, with a wheel for its CUDA on linux
/// `x86_64`.
fn torches(environment: &EnvironmentAxes, files: &[IndexFile]) -> Torches {
    let known = known_pythons(environment, files);
    let mut found = Torches::new();
    for file in files {
        let Some((version, wheel)) = torch_wheel(file, environment) else {
            continue;
        };
        let cuda = cuda_of(&wheel, version, environment);
        if cuda == Some(false) {
            continue;
        }
        let torch = found.entry(version).or_default();
        torch.cuda_is_unknown |= cuda.is_none();
        if let Some(reason) = &file.yanked {
            torch.yanked = Some(reason.clone());
            continue;
        }
        torch.wheels += 1;
        // A range that cannot be read binds nobody: installers take the file (pip's
        // `_check_link_requires_python`).
        let range = file.requires_python.as_deref();
        let range: Option<VersionRange> = range.and_then(|range| range.parse().ok());
        let pythons = pythons_of(&wheel, &known);
        torch.pythons.extend(pythons.into_iter().filter(|python| {
            range
                .as_ref()
                .is_none_or(|range| range.contains_some_python(*python))
        }));
    }
    found
}

/// A file that is a released torch for linux `x86_64`, or a nightly that is in use.
fn torch_wheel(
    file: &IndexFile,
    environment: &EnvironmentAxes,
) -> Option<(TorchVersion, WheelName)> {
    let wheel: WheelName = file.file_name.parse().ok()?;
    let is_ours = wheel.project().as_str() == "torch" && is_for_linux(&wheel);
    let version: PackageVersion = wheel.public_version().as_str().parse().ok()?;
    let mut in_use = environment.torch.iter();
    let is_in_use = in_use.any(|torch| PackageVersion::from(torch.value) == version);
    if !is_ours || (version.is_prerelease() && !is_in_use) {
        return None;
    }
    // A matrix has no post releases of torch, and torch has none.
    Some((version.to_string().parse().ok()?, wheel))
}

/// Whether a wheel installs on the one platform that the farm builds for.
fn is_for_linux(wheel: &WheelName) -> bool {
    wheel.platform_tags().iter().any(|tag| {
        let is_gnu = tag.starts_with("linux_") || tag.starts_with("manylinux");
        is_gnu && tag.ends_with("_x86_64")
    })
}

/// Whether the wheel is built for the environment's CUDA; nothing where nothing says so.
fn cuda_of(
    wheel: &WheelName,
    version: TorchVersion,
    environment: &EnvironmentAxes,
) -> Option<bool> {
    let cuda = environment.cuda.value;
    if let Some(local) = wheel.local_version() {
        // `cu128`, and once `cu121.with.pypi.cudnn`.
        return Some(local.as_str().split('.').next() == Some(&cuda.tag()));
    }
    match environment.torch_index {
        // An index of the matrix's own is one for its CUDA: a mirror may drop the local part.
        TorchIndex::Url(_) => Some(true),
        TorchIndex::Pypi => on_pypi(version, cuda),
    }
}

fn on_pypi(version: TorchVersion, cuda: CudaVersion) -> Option<bool> {
    match compat::torch_on_pypi_is_for(version, cuda) {
        Verdict::Works => Some(true),
        Verdict::Fails { .. } => Some(false),
        Verdict::Unknown { .. } => None,
    }
}

/// The Pythons that a wheel's tags name; of a wheel on the stable ABI (`cp310-abi3`), all that are
/// known from that one on.
fn pythons_of(wheel: &WheelName, known: &BTreeSet<PythonVersion>) -> BTreeSet<PythonVersion> {
    let mut pythons = BTreeSet::new();
    for python in wheel.python_tags() {
        for abi in wheel.abi_tags() {
            if let Some(of_abi) = PythonVersion::from_tag(abi) {
                let is_its_python = abi.trim_end_matches('t') == python;
                pythons.extend(is_its_python.then_some(of_abi));
            } else if abi == "abi3"
                && let Some(first) = PythonVersion::from_tag(python)
            {
                let serves =
                    |later: &PythonVersion| *later >= first && later.threading() == Threading::Gil;
                pythons.extend(known.iter().copied().filter(serves));
            }
        }
    }
    pythons
}

/// The Pythons that anything speaks of, which a wheel on the stable ABI may be for.
fn known_pythons(environment: &EnvironmentAxes, files: &[IndexFile]) -> BTreeSet<PythonVersion> {
    let in_use = environment.python.iter().map(|python| python.value);
    let wheels = files.iter().filter_map(|file| file.file_name.parse().ok());
    let named = wheels.flat_map(|wheel: WheelName| {
        let tags = wheel.python_tags().iter();
        tags.filter_map(|tag| PythonVersion::from_tag(tag))
            .collect::<Vec<_>>()
    });
    in_use.chain(named).collect()
}

fn page(question: &Question) -> String {
    match question {
        Question::Project { index, project } => index.project_page(project),
        Question::Repository(url) => url.to_string(),
    }
}

/// An environment and what its index has.
struct Look<'a> {
    environment: &'a EnvironmentAxes,
    link: String,
    on_index: Torches,
}

impl Look<'_> {
    fn news(&self, kind: NewsKind, subject: &str, there: String, here: String) -> News {
        News {
            kind,
            subject: format!("{} {subject}", self.environment.name.value),
            there,
            here,
            link: self.link.clone(),
            notes: Vec::new(),
            change: None,
            release: None,
        }
    }

    fn in_use(&self) -> impl Iterator<Item = TorchVersion> {
        self.environment.torch.iter().map(|torch| torch.value)
    }

    fn torches(&self, news: &mut Vec<News>) {
        for torch in self.in_use() {
            news.extend(self.withdrawn(torch));
            news.extend(self.patch(torch));
        }
        let Some(newest) = self.in_use().max() else {
            return;
        };
        let mut latest: BTreeMap<(u64, u64), TorchVersion> = BTreeMap::new();
        for (&torch, on_index) in &self.on_index {
            if on_index.wheels > 0 && minor(torch) > minor(newest) {
                latest.insert(minor(torch), torch);
            }
        }
        for torch in latest.into_values() {
            let mut item = self.news(
                NewsKind::TorchMinor,
                "torch",
                torch.to_string(),
                listed(self.in_use()),
            );
            let environment = self.environment.name.value.clone();
            match self.on_index[&torch].obstacle(self.environment) {
                Some(obstacle) => item.notes.push(obstacle),
                None => item.change = Some(MatrixChange::AddTorch { environment, torch }),
            }
            news.push(item);
        }
    }

    /// Says that a torch in use is withdrawn or gone.
    fn withdrawn(&self, torch: TorchVersion) -> Option<News> {
        let subject = format!("torch {torch}");
        let here = torch.to_string();
        match self.on_index.get(&torch) {
            Some(on_index) if on_index.wheels > 0 => None,
            Some(on_index) => {
                let there = "withdrawn".to_owned();
                let mut item = self.news(NewsKind::TorchYanked, &subject, there, here);
                let reason = on_index.yanked.as_deref().unwrap_or_default();
                item.notes.extend(given(reason));
                if self.later_patch(torch).is_none() {
                    item.notes.push(format!(
                        "torch {} has no later patch release: take it out by hand",
                        torch.minor()
                    ));
                }
                Some(item)
            }
            None => {
                let there = "not on the index".to_owned();
                let mut item = self.news(NewsKind::TorchMissing, &subject, there, here);
                item.notes.push(format!(
                    "there is no wheel of it for CUDA {} on linux x86_64",
                    self.environment.cuda.value
                ));
                Some(item)
            }
        }
    }

    fn later_patch(&self, torch: TorchVersion) -> Option<TorchVersion> {
        let fits = |(other, on_index): &(&TorchVersion, &OnIndex)| {
            minor(**other) == minor(torch) && **other > torch && on_index.wheels > 0
        };
        self.on_index
            .iter()
            .filter(fits)
            .map(|(torch, _)| *torch)
            .max()
    }

    fn patch(&self, torch: TorchVersion) -> Option<News> {
        let later = self.later_patch(torch)?;
        let subject = format!("torch {}", torch.minor());
        let mut item = self.news(
            NewsKind::TorchPatch,
            &subject,
            later.to_string(),
            torch.to_string(),
        );
        match self.on_index[&later].obstacle(self.environment) {
            Some(obstacle) => item.notes.push(obstacle),
            None => {
                item.change = Some(MatrixChange::ReplaceTorch {
                    environment: self.environment.name.value.clone(),
                    from: torch,
                    to: later,
                });
            }
        }
        Some(item)
    }

    /// Later Pythons than the environment has, if every one of its torches has wheels for them.
    ///
    /// Free-threaded builds are another ABI: they are news only where one is built already. Bases
    /// with a Python of their own have no other.
    fn pythons(&self, news: &mut Vec<News>) {
        let Base::Image {
            interpreter: Interpreter::Manylinux,
            ..
        } = self.environment.base
        else {
            return;
        };
        let mut common: Option<BTreeSet<PythonVersion>> = None;
        for torch in self.in_use() {
            let Some(on_index) = self.on_index.get(&torch) else {
                return;
            };
            let pythons = &on_index.pythons;
            common = Some(match common {
                Some(common) => common.intersection(pythons).copied().collect(),
                None => pythons.clone(),
            });
        }
        for python in common.unwrap_or_default() {
            let alike = self.environment.python.iter().map(|python| python.value);
            let newest = alike
                .filter(|other| other.threading() == python.threading())
                .max();
            if newest.is_none_or(|newest| newest >= python) {
                continue;
            }
            let here = listed(self.environment.python.iter().map(|python| python.value));
            let mut item = self.news(NewsKind::Python, "python", python.to_string(), here);
            item.notes.push(format!(
                "there are wheels for it of torch {}",
                listed(self.in_use())
            ));
            if python.threading() == Threading::Free {
                item.notes.push("a free-threaded build".to_owned());
            }
            item.change = Some(MatrixChange::AddPython {
                environment: self.environment.name.value.clone(),
                python,
            });
            news.push(item);
        }
    }
}

/// Major and minor number; 2.9 is before 2.10.
fn minor(torch: TorchVersion) -> (u64, u64) {
    let version = PackageVersion::from(torch);
    let number = |at: usize| version.numbers().get(at).copied().unwrap_or(0);
    (number(0), number(1))
}

/// The reason for a withdrawal, if one is given.
pub(super) fn given(reason: &str) -> Option<String> {
    let reason: Vec<_> = reason.split_whitespace().collect();
    (!reason.is_empty()).then(|| format!("its maintainers say: {}", reason.join(" ")))
}
