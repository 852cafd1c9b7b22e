//! The job that would make the wheel that is missing, as a piece of a matrix.

use std::collections::BTreeSet;

use super::answer::NearMiss;
use super::question::{Cuda, Libc, Question};
use super::rules::Rule;
use crate::arch::ArchList;
use crate::compat::{self, Fit};
use crate::gpu::{self, Capability};
use crate::ident::PackageName;
use crate::version::{CudaVersion, PackageVersion, PythonVersion, TorchVersion};

/// What would have to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// This job, for a matrix.
    Add(JobSnippet),
    /// None: why, or what else to do.
    None(String),
}

/// A job, and the lines of `matrix.yaml` that ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSnippet {
    /// Its id: `flash-attn-2.8.3-cu130-torch2.9-cp314`.
    pub id: String,
    /// A package and an environment, for the matrix's `packages` and `environments`.
    pub yaml: String,
    /// What the compatibility table does not know of it; empty where it says that all fits.
    pub not_known: Vec<String>,
}

/// The glibc of the images that the snippet builds in: `manylinux2_28`.
const BASE_GLIBC: (u32, u32) = (2, 28);

/// What is built, every axis fixed.
struct Parts<'a> {
    package: &'a PackageName,
    version: String,
    cuda: CudaVersion,
    torch: TorchVersion,
    python: PythonVersion,
    archs: Option<String>,
}

/// The job for what is asked; what the question leaves open is as the nearest wheel has it.
pub(super) fn nearest(misses: &[NearMiss<'_>], question: &Question) -> Job {
    if let Some(nearest) = misses.first()
        && let Some(instead) = without_a_build(nearest, question)
    {
        return Job::None(instead);
    }
    let parts = match parts(misses, question) {
        Ok(parts) => parts,
        Err(why) => return Job::None(why),
    };
    let answer = compat::answer(&compat::Question {
        gpu: question.gpus.first().and_then(|&gpu| gpu::of(gpu)),
        torch: parts.torch.to_string().parse().ok(),
        cuda: Some(parts.cuda),
        python: Some(parts.python),
    });
    let of = |wanted: Fit| {
        let reasons = answer.reasons.iter().filter(move |one| one.fit == wanted);
        reasons.map(|one| one.text.clone()).collect::<Vec<_>>()
    };
    if answer.fit == Fit::No {
        return Job::None(format!("no job can make it: {}", of(Fit::No).join("; ")));
    }
    Job::Add(JobSnippet {
        id: parts.id(),
        yaml: parts.yaml(),
        not_known: of(Fit::Unknown),
    })
}

/// What to do where the wheel is there and only something else is in its way.
fn without_a_build(nearest: &NearMiss<'_>, question: &Question) -> Option<String> {
    let rules: Vec<Rule> = [&nearest.reason]
        .into_iter()
        .chain(&nearest.more)
        .map(|miss| miss.rule)
        .collect();
    let name = &nearest.wheel.file_name;
    Some(match rules.as_slice() {
        [Rule::Track] => match nearest.wheel.tracks.first() {
            Some(track) => format!("the wheel is there: ask with `--track {track}`"),
            None => "the wheel is there, and was taken off: publish it again".to_owned(),
        },
        [Rule::Variant] => match nearest.wheel.channel.variant() {
            Some(variant) => format!("the wheel is there: ask with `--variant {variant}`"),
            None => "the wheel is there: ask without `--variant`".to_owned(),
        },
        [Rule::Driver] => "the wheel is there: it is the driver that has to be newer".to_owned(),
        [Rule::Yanked] => format!(
            "the wheel is there and was withdrawn: another build of it would be the answer, and \
             `--package {}=={}` takes it as it is",
            question.package.name,
            name.full_version()
        ),
        _ => return None,
    })
}

fn parts<'a>(misses: &[NearMiss<'_>], question: &'a Question) -> Result<Parts<'a>, String> {
    if question
        .machine
        .as_deref()
        .is_some_and(|machine| machine != "x86_64")
    {
        return Err("no job can make it: jobs build for x86_64 alone".to_owned());
    }
    match question.libc {
        Some(Libc::Musl) => return Err("no job can make it: jobs build for glibc alone".to_owned()),
        Some(Libc::Glibc(major, minor)) if (major, minor) < BASE_GLIBC => {
            let (base_major, base_minor) = BASE_GLIBC;
            return Err(format!(
                "no job is proposed: the oldest image that is known to build in has glibc \
                 {base_major}.{base_minor}"
            ));
        }
        Some(Libc::Glibc(..)) | None => {}
    }
    let near = misses.first().map(|miss| miss.wheel);
    let not_told = |flag: &str| {
        let package = &question.package.name;
        format!("no job is proposed: no wheel of `{package}` is there to go by; give {flag}")
    };
    let version = version(misses, question);
    let version = version.ok_or_else(|| {
        let package = &question.package;
        match near {
            Some(_) => format!(
                "no job is proposed: no version that `{}` admits is published; name one: \
                 `--package {}==VERSION`",
                package.versions, package.name
            ),
            None => not_told("its version: `--package NAME==VERSION`"),
        }
    })?;
    let cuda = match &question.cuda {
        Some(Cuda::Version(version)) => Some(*version),
        Some(Cuda::Without(build)) => {
            return Err(format!(
                "no job can make it: jobs build for CUDA, and not for {build}"
            ));
        }
        None => near.and_then(|wheel| wheel.built_against.cuda.parse().ok()),
    };
    let built_torch: Option<TorchVersion> =
        near.and_then(|wheel| wheel.built_against.torch.parse().ok());
    let torch = match &question.torch {
        None => built_torch,
        Some(asked) => asked.version.exact().or_else(|| {
            let minor = asked.version.minor();
            let built = built_torch.filter(|torch| torch.minor() == minor);
            let first = || format!("{minor}.0").parse().ok();
            built
                .or_else(|| compat::newest_release_of(minor))
                .or_else(first)
        }),
    };
    let python = match question.python {
        Some(asked) => Some(asked.version),
        None => near.and_then(|wheel| wheel.built_against.python.parse().ok()),
    };
    Ok(Parts {
        package: &question.package.name,
        version: version.to_string(),
        cuda: cuda.ok_or_else(|| not_told("--cuda"))?,
        torch: torch.ok_or_else(|| not_told("--torch"))?,
        python: python.ok_or_else(|| not_told("--python"))?,
        archs: misses
            .first()
            .and_then(|miss| wanted_archs(miss, &question.gpus)),
    })
}

/// The version: the newest that is published and would do, or the one that is asked for.
fn version(misses: &[NearMiss<'_>], question: &Question) -> Option<PackageVersion> {
    let is_kept_back = |miss: &NearMiss<'_>| {
        let mut lacks = [&miss.reason].into_iter().chain(&miss.more);
        lacks.any(|miss| matches!(miss.rule, Rule::Version | Rule::Yanked | Rule::Track))
    };
    let published = misses.iter().filter(|miss| !is_kept_back(miss));
    let versions = published.filter_map(|miss| {
        let version = miss.wheel.file_name.public_version();
        version.as_str().parse::<PackageVersion>().ok()
    });
    let newest = versions.max_by_key(|version| (!version.is_prerelease(), version.clone()));
    newest.or_else(|| question.package.versions.pinned())
}

/// The archs of a wheel and those of the GPUs, where it is their code that it lacks.
fn wanted_archs(miss: &NearMiss<'_>, gpus: &BTreeSet<Capability>) -> Option<String> {
    let lacks = [&miss.reason].into_iter().chain(&miss.more);
    lacks.into_iter().find(|miss| miss.rule == Rule::Gpu)?;
    let built = miss.wheel.archs.as_deref()?.split_whitespace();
    let built = ArchList::new(built.filter_map(|target| target.parse().ok()))?;
    let is_built = |gpu: &&Capability| {
        let mut targets = built.iter();
        targets.any(|target| Capability::of_arch(target.arch) == **gpu)
    };
    let own = gpus.iter().filter(|gpu| !is_built(gpu));
    let own = own.filter_map(|gpu| gpu.to_string().parse().ok());
    let archs = ArchList::new(built.iter().chain(own))?;
    let quoted: Vec<String> = archs.iter().map(|target| format!("\"{target}\"")).collect();
    Some(quoted.join(", "))
}

impl Parts<'_> {
    fn id(&self) -> String {
        format!(
            "{}-{}-{}-torch{}-{}",
            self.package,
            self.version,
            self.cuda.tag(),
            self.torch.abi(),
            self.python.tag()
        )
    }

    fn yaml(&self) -> String {
        let tag = self.cuda.tag();
        let nightly = match self.torch.nightly() {
            Some(_) => "nightly/",
            None => "",
        };
        let archs = match &self.archs {
            Some(archs) => format!("    archs: [{archs}]\n"),
            None => String::new(),
        };
        format!(
            "packages:\n  - name: {}\n    versions: [\"{}\"]\n{archs}\
             environments:\n  - name: manylinux-{tag}-torch{}-{}\n    base:\n      image:\n        \
             reference: pytorch/manylinux2_28-builder:cuda{}\n        interpreter: manylinux\n    \
             toolkit: image\n    cuda: \"{}\"\n    \
             torch-index: https://download.pytorch.org/whl/{nightly}{tag}\n    \
             torch: [\"{}\"]\n    python: [\"{}\"]\n",
            self.package,
            self.version,
            self.torch.abi(),
            self.python.tag(),
            self.cuda,
            self.cuda,
            self.torch,
            self.python,
        )
    }
}
