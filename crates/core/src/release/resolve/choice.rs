//! Which of several wheels is the answer, and whether what the question leaves open could change that.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use pep440_rs::Version;

use super::question::{Asked, Cuda, PythonAsked, Question, TorchGiven};
use super::rules::{self, Judgement, Word};
use crate::compat;
use crate::release::catalog::CatalogWheel;
use crate::wheel::name::WheelName;
use crate::wheel::tags::{self, LibcNeed, PythonRank};

/// A wheel that breaks no rule.
#[derive(Debug)]
pub(super) struct Fitting<'a> {
    pub(super) wheel: &'a CatalogWheel,
    pub(super) judgement: Judgement,
}

/// What an installer would like better comes first: by PEP 440 and 592 as pip has them, then what was
/// built for most nearly the CUDA and torch that are there, then the build number.
///
/// pip looks at tags before build numbers. A build number is given to put an earlier file right, so
/// here it comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    is_yanked: bool,
    is_unwanted_prerelease: bool,
    version: Reverse<Option<Version>>,
    cuda: (u8, u64),
    torch: (u8, u64),
    build: Reverse<Build<'a>>,
    python: Option<PythonRank>,
    libc: Reverse<Option<LibcNeed>>,
    name: Reverse<String>,
}

impl<'a> Rank<'a> {
    pub(super) fn of(wheel: &'a CatalogWheel, question: &Question) -> Self {
        let name = &wheel.file_name;
        let version: Option<Version> = name.public_version().as_str().parse().ok();
        let is_prerelease = version.as_ref().is_some_and(Version::any_prerelease);
        let python = question.python;
        Self {
            is_yanked: wheel.yanked.is_some(),
            is_unwanted_prerelease: is_prerelease && !question.package.versions.names_prerelease(),
            version: Reverse(version),
            cuda: cuda_distance(wheel, question.cuda.as_ref()),
            torch: torch_distance(wheel, question.torch.as_ref()),
            build: Reverse(Build(name)),
            python: python.and_then(|python| tags::python_rank(python.version, name)),
            libc: Reverse(tags::libc_need(question.machine.as_deref(), name)),
            name: Reverse(name.to_string()),
        }
    }

    /// Whether the other is of a later version.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        self.version.0 < other.version.0
    }
}

/// A wheel's build number, by the order that installers have.
#[derive(Debug)]
struct Build<'a>(&'a WheelName);

impl Ord for Build<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.build_order().cmp(&other.0.build_order())
    }
}

impl PartialOrd for Build<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Build<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Build<'_> {}

/// The same is nearest; then what is older, for what is built against an older minor version knows of
/// nothing that only a newer one has. Where nothing is asked, the newest.
fn distance(asked: Option<u64>, found: u64) -> (u8, u64) {
    match asked {
        None => (0, u64::MAX - found),
        Some(asked) if found == asked => (0, 0),
        Some(asked) if found < asked => (1, asked - found),
        Some(asked) => (2, found - asked),
    }
}

fn cuda_distance(wheel: &CatalogWheel, asked: Option<&Cuda>) -> (u8, u64) {
    let number = |cuda: &Cuda| match cuda {
        Cuda::Version(version) => {
            let (major, minor) = version.parts();
            u64::from(major) * 1000 + u64::from(minor)
        }
        Cuda::Without(_) => 0,
    };
    match rules::cuda_of(wheel) {
        // A wheel without compiled code is as near to one CUDA as to another.
        None => (0, 0),
        Some(cuda) => distance(asked.map(number), number(&cuda)),
    }
}

fn torch_distance(wheel: &CatalogWheel, asked: Option<&TorchGiven>) -> (u8, u64) {
    let number = |(major, minor): (u64, u64)| major.saturating_mul(1000).saturating_add(minor);
    let asked = asked.map(|torch| number(torch.version.minor().parts()));
    // A file that several jobs made is as near as the nearest of them.
    let channels = wheel.channels().into_iter();
    let distances =
        channels.map(|channel| distance(asked, number(channel.torch().minor().parts())));
    distances.min().unwrap_or((u8::MAX, 0))
}

/// The wheels that can be the answer, the likeliest first: one, unless what the question leaves open
/// or the catalog does not tell decides between several. With them, what would decide.
pub(super) fn choose<'a>(
    mut fitting: Vec<Fitting<'a>>,
    question: &Question,
) -> (Vec<Fitting<'a>>, BTreeSet<Asked>) {
    fitting.sort_by_cached_key(|one| Rank::of(one.wheel, question));
    let scope = Scope::new(&fitting, question);
    let mut kept: Vec<(Fitting<'a>, Reach)> = Vec::new();
    let mut decide = BTreeSet::new();
    for one in fitting {
        let reach = scope.reach(one.wheel);
        // A better wheel that serves every environment which this one serves is taken in all of them.
        let is_sure = |better: &Fitting<'_>| better.judgement.unknown.is_empty();
        let is_covered = |(better, wider): &(Fitting<'_>, Reach)| {
            is_sure(better) && wider.beyond(&reach).is_empty()
        };
        if kept.iter().any(is_covered) {
            continue;
        }
        for (_, other) in &kept {
            decide.extend(other.beyond(&reach));
        }
        kept.push((one, reach));
    }
    (kept.into_iter().map(|(one, _)| one).collect(), decide)
}

/// The environments that open parts of the question may stand for.
struct Scope {
    pythons: Vec<PythonAsked>,
    torches: Vec<TorchGiven>,
    is_cuda_open: bool,
    is_libc_open: bool,
    machine: Option<String>,
}

/// Which of those a wheel serves.
struct Reach {
    pythons: Vec<bool>,
    torches: Vec<bool>,
    /// The CUDA that it was built with, where that is open. One of another minor version may do as
    /// well, and is not what the wheel was made for.
    cuda: Option<Cuda>,
    /// The glibc that it needs, where that is open.
    libc: Option<LibcNeed>,
    /// Its machines, where that is open; empty for any.
    machines: Vec<String>,
}

impl Scope {
    fn new(fitting: &[Fitting<'_>], question: &Question) -> Self {
        let minors = 6..=30;
        let pythons = minors
            .flat_map(|minor| [format!("3.{minor}"), format!("3.{minor}t")])
            .filter_map(|text| text.parse().ok());
        // Those that wheels were built against, and those that are known: a wheel that is not tied to
        // one may be the only one for another.
        let built = fitting
            .iter()
            .map(|one| one.wheel.built_against.torch.clone());
        let known = compat::known_torches().map(|torch| torch.to_string());
        let torches: BTreeSet<String> = built.chain(known).collect();
        Self {
            pythons: match question.python {
                Some(_) => Vec::new(),
                None => pythons.collect(),
            },
            torches: match question.torch {
                Some(_) => Vec::new(),
                None => torches
                    .iter()
                    .filter_map(|text| text.parse().ok())
                    .collect(),
            },
            is_cuda_open: question.cuda.is_none(),
            is_libc_open: question.libc.is_none(),
            machine: question.machine.clone(),
        }
    }

    fn reach(&self, wheel: &CatalogWheel) -> Reach {
        let fits = |word: Word| match word {
            Word::Fits => true,
            Word::Breaks(_) | Word::Unknown(_) => false,
        };
        let name = &wheel.file_name;
        let pythons = self.pythons.iter();
        let torches = self.torches.iter();
        let machines = match self.machine {
            Some(_) => Vec::new(),
            None if tags::is_pure(name) => Vec::new(),
            None => tags::machines(name),
        };
        Reach {
            pythons: pythons
                .map(|&one| fits(rules::python(wheel, one)))
                .collect(),
            torches: torches.map(|one| fits(rules::torch(wheel, one))).collect(),
            cuda: rules::cuda_of(wheel).filter(|_| self.is_cuda_open),
            libc: tags::libc_need(self.machine.as_deref(), name).filter(|_| self.is_libc_open),
            machines: machines.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl Reach {
    /// In what `other` serves environments that this one does not.
    fn beyond(&self, other: &Self) -> BTreeSet<Asked> {
        let more = |mine: &[bool], its: &[bool]| {
            let mut pairs = mine.iter().zip(its);
            pairs.any(|(mine, its)| *its && !*mine)
        };
        let is_elsewhere = |machine: &String| !self.machines.contains(machine);
        let machines = !self.machines.is_empty()
            && (other.machines.is_empty() || other.machines.iter().any(is_elsewhere));
        let found = [
            (Asked::Python, more(&self.pythons, &other.pythons)),
            (Asked::Torch, more(&self.torches, &other.torches)),
            (Asked::Cuda, self.cuda.is_some() && self.cuda != other.cuda),
            (Asked::Glibc, other.libc < self.libc),
            (Asked::Machine, machines),
        ];
        let open = found.into_iter().filter(|(_, differs)| *differs);
        open.map(|(asked, _)| asked).collect()
    }
}
