//! The answer: one wheel, several that it could be, or none with every near miss and its reason.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::choice::{self, Fitting, Rank};
use super::job::{self, Job};
use super::lines::{self, Lines};
use super::question::{Asked, Question};
use super::rules::{self, Miss, Rule};
use crate::release::catalog::{Catalog, CatalogWheel};
use crate::release::links::Links;
use crate::wheel::tags::{self, LibcNeed};

/// A wheel that is the answer, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The wheel.
    pub wheel: &'a CatalogWheel,
    /// How it is installed.
    pub lines: Lines,
    /// What the catalog does not tell of it.
    pub unknown: Vec<Miss>,
}

/// A wheel that is not the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss<'a> {
    /// The wheel.
    pub wheel: &'a CatalogWheel,
    /// Why not: of several reasons the one that is hardest to change.
    pub reason: Miss,
    /// The others.
    pub more: Vec<Miss>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// This wheel, and no other.
    One(Box<Candidate<'a>>),
    /// One of these, the likeliest first.
    Several {
        /// The wheels.
        candidates: Vec<Candidate<'a>>,
        /// What would decide; empty where the catalog does not tell enough of a wheel.
        give: BTreeSet<Asked>,
    },
    /// None.
    None {
        /// All wheels of the package, the nearest first.
        near_misses: Vec<NearMiss<'a>>,
        /// What would have to be built.
        job: Job,
    },
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What came of it.
    pub outcome: Outcome<'a>,
    /// What the question leaves open and the wheel that is the answer does not; it is taken to be as
    /// the wheel wants it.
    pub assumed: BTreeSet<Asked>,
    /// The nearest wheel of a later version than the answer's, which the environment keeps from being it.
    pub newer: Option<NearMiss<'a>>,
}

/// Answers `question` from the wheels of `catalog`; lines point at files through `links`, which must
/// not be relative for them to work from anywhere.
pub fn resolve<'a>(catalog: &'a Catalog, question: &Question, links: &Links) -> Answer<'a> {
    let wheels = catalog.wheels.values();
    let mut fitting = Vec::new();
    let mut misses = Vec::new();
    for wheel in wheels.filter(|wheel| wheel.package == question.package.name) {
        let judgement = rules::judge(wheel, question);
        if judgement.broken.is_empty() {
            fitting.push(Fitting { wheel, judgement });
        } else {
            misses.push(near_miss(wheel, judgement.broken));
        }
    }
    misses.sort_by_cached_key(|miss| nearness(miss, question));
    let (chosen, give) = choice::choose(fitting, question);
    let newer = chosen.first().and_then(|best| {
        let best = Rank::of(best.wheel, question);
        let is_later = |miss: &&NearMiss<'_>| {
            is_for_everybody(miss) && best.is_older_than(&Rank::of(miss.wheel, question))
        };
        misses.iter().find(is_later).cloned()
    });
    let candidate = |one: Fitting<'a>| Candidate {
        wheel: one.wheel,
        lines: lines::lines(one.wheel, question, links),
        unknown: one.judgement.unknown,
    };
    let mut candidates: Vec<Candidate<'a>> = chosen.into_iter().map(candidate).collect();
    let is_sure = candidates.iter().all(|one| one.unknown.is_empty());
    let assumed = match candidates.as_slice() {
        [only] => assumed(only.wheel, question),
        _ => BTreeSet::new(),
    };
    let outcome = match candidates.pop() {
        None => Outcome::None {
            job: job::nearest(&misses, question),
            near_misses: misses,
        },
        Some(only) if candidates.is_empty() && is_sure => Outcome::One(Box::new(only)),
        Some(last) => {
            candidates.push(last);
            Outcome::Several { candidates, give }
        }
    };
    Answer {
        outcome,
        assumed,
        newer,
    }
}

/// Whether any wheel of `catalog` breaks no rule: [`resolve`] without its reasons, for who asks about many
/// environments.
pub fn has_a_wheel(catalog: &Catalog, question: &Question) -> bool {
    let mut wheels = catalog.wheels.values();
    wheels.any(|wheel| {
        wheel.package == question.package.name && rules::judge(wheel, question).broken.is_empty()
    })
}

/// Whether nothing but the environment keeps the wheel from being the answer.
fn is_for_everybody(miss: &NearMiss<'_>) -> bool {
    let mut all = [&miss.reason].into_iter().chain(&miss.more);
    !all.any(|miss| {
        matches!(
            miss.rule,
            Rule::Version | Rule::Variant | Rule::Yanked | Rule::Track
        )
    })
}

fn near_miss(wheel: &CatalogWheel, mut broken: Vec<Miss>) -> NearMiss<'_> {
    broken.sort_by_key(|miss| miss.rule);
    broken.dedup_by_key(|miss| miss.rule);
    let reason = broken.remove(0);
    NearMiss {
        wheel,
        reason,
        more: broken,
    }
}

/// What lacks least comes first; of two that lack as much, the one whose reason is easier to change,
/// then the one that would be preferred if it fitted.
fn nearness<'a>(miss: &NearMiss<'a>, question: &Question) -> impl Ord + use<'a> {
    (
        miss.more.len(),
        Reverse(miss.reason.rule),
        Rank::of(miss.wheel, question),
    )
}

/// What is not told and matters to the wheel.
fn assumed(wheel: &CatalogWheel, question: &Question) -> BTreeSet<Asked> {
    let name = &wheel.file_name;
    let is_pure = tags::is_pure(name);
    let is_tied_to_python = name.abi_tags() != ["none"];
    let wants_torch = wheel.uses_torch_cxx_abi || requires_torch(wheel);
    let need = tags::libc_need(question.machine.as_deref(), name);
    let open = [
        (
            Asked::Python,
            question.python.is_none() && is_tied_to_python,
        ),
        (Asked::Torch, question.torch.is_none() && wants_torch),
        (Asked::Cuda, question.cuda.is_none() && !is_pure),
        (
            Asked::Glibc,
            question.libc.is_none() && need.is_some_and(|need| need != LibcNeed::Nothing),
        ),
        (Asked::Machine, question.machine.is_none() && !is_pure),
    ];
    let open = open.into_iter().filter(|(_, is_assumed)| *is_assumed);
    open.map(|(asked, _)| asked).collect()
}

/// Whether the wheel requires torch at all.
fn requires_torch(wheel: &CatalogWheel) -> bool {
    use crate::wheel::requirement::{TorchBound, torch_bound};
    let requires = wheel.requires_dist.iter().map(String::as_str);
    torch_bound(requires) != TorchBound::None
}
