//! The wheel that is right for an environment, those that it could be, or why there is none.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::manifest::CheckState;
use wheelfarm_core::receipt::RunState;
use wheelfarm_core::release::catalog::CatalogWheel;
use wheelfarm_core::release::resolve::{
    Answer, Asked, Candidate, Cuda, Job, Libc, Lines, Miss, NearMiss, Outcome, Question,
};
use wheelfarm_core::wheel::tags::{self, LibcNeed};
use wheelfarm_engine::fetch::FetchProgress;

use super::inspect::aligned;
use super::{OutputError, data, talk};

/// How many near misses are shown to a person.
const SHOWN: usize = 8;

/// An answer and what it is the answer to.
pub(crate) struct Shown<'a> {
    pub(crate) question: &'a Question,
    pub(crate) answer: &'a Answer<'a>,
    /// The packages of the catalog, where it has no wheel of the one that was asked for.
    pub(crate) packages: &'a BTreeSet<PackageName>,
}

/// Says what could not be told of an environment.
pub(crate) fn notes(notes: &[String]) {
    for note in notes {
        talk(&format!("note: {note}"));
    }
}

/// Says that a request is made again.
pub(crate) fn progress(progress: FetchProgress) {
    if let FetchProgress::Retrying { reason, wait, .. } = progress {
        talk(&format!("{reason}; again in {} s", wait.as_secs()));
    }
}

impl Shown<'_> {
    /// The answer for a person.
    pub(crate) fn human(&self) -> Result<(), OutputError> {
        data(self.text().trim_end())
    }

    /// One line of the one wheel; where there is none, the answer for a person beside it.
    pub(crate) fn line(&self, line: fn(&Lines) -> &String) -> Result<(), OutputError> {
        match &self.answer.outcome {
            Outcome::One(one) => {
                if let Some(why) = &one.wheel.yanked {
                    talk(&format!(
                        "warning: {} is yanked: {why}",
                        one.wheel.file_name
                    ));
                }
                data(line(&one.lines))
            }
            Outcome::Several { .. } | Outcome::None { .. } => {
                talk(self.text().trim_end());
                Ok(())
            }
        }
    }

    fn text(&self) -> String {
        let environment = environment(self.question);
        let for_what = match environment.as_str() {
            "" => String::new(),
            environment => format!(" for {environment}"),
        };
        let package = package(self.question);
        match &self.answer.outcome {
            Outcome::One(one) => format!("{package}{for_what}\n\n{}", self.one(one)),
            Outcome::Several { candidates, give } => {
                format!("{package}{for_what}: {}", several(candidates, give))
            }
            Outcome::None { near_misses, job } => {
                let head = format!("no wheel of {package}{for_what}\n");
                format!("{head}{}{}", self.misses(near_misses), job_text(job))
            }
        }
    }

    fn one(&self, one: &Candidate<'_>) -> String {
        let wheel = one.wheel;
        let row = |key: &str, value: String| vec![key.to_owned(), value];
        let mut rows = vec![
            row("wheel", wheel.file_name.to_string()),
            row("size", format!("{} bytes", wheel.size_bytes)),
            row("sha256", wheel.sha256.to_string()),
            row("made for", made_for(wheel)),
            row("GPUs", gpus(wheel)),
            row("checked", checked(wheel)),
        ];
        if let Some(why) = &wheel.yanked {
            rows.push(row("yanked", why.clone()));
        }
        if let Some(newer) = &self.answer.newer {
            let version = newer.wheel.file_name.public_version();
            rows.push(row(
                "newer",
                format!("{version}, but: {}", newer.reason.reason),
            ));
        }
        if !self.answer.assumed.is_empty() {
            let flags = flags(&self.answer.assumed);
            let text = format!("{flags}: taken to be as the wheel wants it");
            rows.push(row("not told", text));
        }
        format!("{}\n\n{}", aligned(&rows), one.lines.dockerfile)
    }

    fn misses(&self, misses: &[NearMiss<'_>]) -> String {
        if misses.is_empty() {
            let all: Vec<&str> = self.packages.iter().map(PackageName::as_str).collect();
            return match all.as_slice() {
                [] => "the catalog has no wheels at all\n".to_owned(),
                all if all.len() <= SHOWN => format!("the catalog has {}\n", all.join(", ")),
                all => {
                    let some = near(&self.question.package.name, all).join(", ");
                    format!(
                        "the catalog has {} packages; near it are {some}\n",
                        all.len()
                    )
                }
            };
        }
        let lines = misses.iter().take(SHOWN).map(|miss| {
            let more: Vec<&str> = miss.more.iter().map(|miss| miss.rule.as_str()).collect();
            let more = match more.as_slice() {
                [] => String::new(),
                more => format!("; and by {}", more.join(", ")),
            };
            let (name, reason) = (&miss.wheel.file_name, &miss.reason.reason);
            format!("  {name}\n    {reason}{more}\n")
        });
        let lines: Vec<String> = lines.collect();
        let rest = rest(misses.len());
        format!(
            "\nnear misses, the nearest first:\n{}{rest}",
            lines.concat()
        )
    }

    /// Schema 1.
    pub(crate) fn json(&self) -> Result<(), OutputError> {
        let mut value = json!({
            "schema": 1,
            "question": question_json(self.question),
            "assumed": self.answer.assumed,
            "newer": self.answer.newer.as_ref().map(miss_json),
        });
        let (outcome, more) = match &self.answer.outcome {
            Outcome::One(one) => ("one", json!({ "wheel": candidate_json(one) })),
            Outcome::Several { candidates, give } => {
                let candidates: Vec<Value> = candidates.iter().map(candidate_json).collect();
                ("several", json!({ "candidates": candidates, "give": give }))
            }
            Outcome::None { near_misses, job } => {
                let misses: Vec<Value> = near_misses.iter().map(miss_json).collect();
                let job = match job {
                    Job::Add(job) => json!({
                        "id": job.id, "matrix": job.yaml, "not_known": job.not_known,
                    }),
                    Job::None(why) => json!({ "none": why }),
                };
                let packages = self.packages;
                (
                    "none",
                    json!({ "near_misses": misses, "job": job, "packages": packages }),
                )
            }
        };
        let all = value.as_object_mut().expect("it was made as an object");
        all.insert("outcome".to_owned(), outcome.into());
        if let Value::Object(more) = more {
            all.extend(more);
        }
        data(&format!("{value:#}"))
    }
}

fn package(question: &Question) -> String {
    format!("{}{}", question.package.name, question.package.versions)
}

/// `Python 3.11, torch 2.11.0, CUDA 13.0, glibc 2.35, x86_64, GPU 12.0`.
pub(super) fn environment(question: &Question) -> String {
    let gpus = question.gpus.iter().map(|gpu| Some(format!("GPU {gpu}")));
    let variant = question.variant.as_ref();
    let parts = [
        question.python.map(|python| format!("Python {python}")),
        question
            .torch
            .as_ref()
            .map(|torch| format!("torch {torch}")),
        question.cuda.as_ref().map(|cuda| match cuda {
            Cuda::Version(version) => format!("CUDA {version}"),
            Cuda::Without(build) => format!("no CUDA ({build})"),
        }),
        question.libc.map(|libc| match libc {
            Libc::Glibc(..) => format!("glibc {libc}"),
            Libc::Musl => "musl".to_owned(),
        }),
        question.machine.clone(),
    ];
    let driver = question.driver.as_ref();
    let last = [
        driver.map(|driver| format!("driver {driver}")),
        variant.map(|variant| format!("variant {variant}")),
    ];
    let parts = parts.into_iter().chain(gpus).chain(last);
    parts.flatten().collect::<Vec<_>>().join(", ")
}

/// What the wheel is for, by its tags and by what it was built against.
fn made_for(wheel: &CatalogWheel) -> String {
    let name = &wheel.file_name;
    let python = format!(
        "{}-{}",
        name.python_tags().join("."),
        name.abi_tags().join(".")
    );
    let against = &wheel.built_against;
    let torch = if wheel.uses_torch_cxx_abi {
        format!("torch {}", wheel.channel.torch())
    } else {
        let mut requires = wheel.requires_dist.iter();
        match requires.find(|text| text.starts_with("torch") && !text.starts_with("torch-")) {
            Some(text) => format!("`{text}`"),
            None => "any torch".to_owned(),
        }
    };
    let (cuda, system) = if tags::is_pure(name) {
        ("any CUDA".to_owned(), "any machine".to_owned())
    } else {
        let cuda = format!("CUDA {}", against.cuda);
        let machines = tags::machines(name).join(", ");
        (
            cuda,
            match tags::libc_need(None, name) {
                Some(LibcNeed::Glibc(major, minor)) => {
                    format!("{machines}, glibc {major}.{minor} or later")
                }
                Some(LibcNeed::Nothing) | None => machines,
            },
        )
    };
    format!("{python}, {torch}, {cuda}, {system}")
}

/// `native 8.0 9.0 (driver 525.60.13); jit 12.0 (driver 570.26); fails 7.5`.
fn gpus(wheel: &CatalogWheel) -> String {
    if wheel.runs_on.is_empty() {
        return "not looked at".to_owned();
    }
    if wheel
        .runs_on
        .values()
        .all(|gpu| gpu.verdict == "no-device-code")
    {
        return "no GPU code".to_owned();
    }
    let parts = ["native", "jit", "partly", "unknown", "fails"].map(|verdict| {
        // By number and not as text: 9.0 comes before 10.0.
        let mut of: Vec<_> = wheel
            .runs_on
            .iter()
            .filter(|(_, gpu)| gpu.verdict == verdict)
            .filter_map(|(gpu, _)| gpu.parse::<wheelfarm_core::gpu::Capability>().ok())
            .collect();
        of.sort();
        let all: Vec<String> = of.iter().map(ToString::to_string).collect();
        (!all.is_empty()).then(|| format!("{verdict} {}", all.join(" ")))
    });
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn checked(wheel: &CatalogWheel) -> String {
    let gate = match wheel.gate {
        CheckState::Passed => "gate passed",
        CheckState::NotChecked => "gate not checked in full",
    };
    let run = match wheel.gpu_run {
        RunState::Passed => "ran on a GPU",
        RunState::Failed => "FAILED on a GPU",
        RunState::NotRun => "not run on a GPU",
    };
    format!("{gate}, {run}")
}

fn several(candidates: &[Candidate<'_>], give: &BTreeSet<Asked>) -> String {
    let head = match candidates.len() {
        1 => "it may be this wheel, and that cannot be told".to_owned(),
        count => format!("it can be any of {count} wheels"),
    };
    let give = if give.is_empty() {
        String::new()
    } else {
        format!("; give {}", flags(give))
    };
    let lines = candidates.iter().take(SHOWN).flat_map(|one| {
        let unknown = one.unknown.iter();
        let unknown = unknown.map(|miss| format!("    {}\n", miss.reason));
        std::iter::once(format!("  {}\n", one.wheel.file_name)).chain(unknown)
    });
    let lines: Vec<String> = lines.collect();
    format!("{head}{give}\n{}{}", lines.concat(), rest(candidates.len()))
}

/// How many are left out.
fn rest(count: usize) -> String {
    match count.saturating_sub(SHOWN) {
        0 => String::new(),
        rest => format!("  and {rest} more: `--format json` has all\n"),
    }
}

fn flags(asked: &BTreeSet<Asked>) -> String {
    let flags: Vec<&str> = asked.iter().map(|one| one.flag()).collect();
    flags.join(" ")
}

fn job_text(job: &Job) -> String {
    match job {
        Job::None(why) => format!("\n{why}\n"),
        Job::Add(job) => {
            let lines = job.yaml.lines().map(|line| format!("  {line}\n"));
            let not_known = job.not_known.iter();
            let not_known = not_known.map(|why| format!("not known: {why}\n"));
            let lines: Vec<String> = lines.chain(not_known).collect();
            let (id, lines) = (&job.id, lines.concat());
            format!("\nthe nearest job is {id}; for matrix.yaml:\n{lines}")
        }
    }
}

/// Names that have most letters in common from the start.
fn near<'a>(wanted: &PackageName, all: &[&'a str]) -> Vec<&'a str> {
    let common = |name: &str| {
        let pairs = wanted.as_str().chars().zip(name.chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let mut names = all.to_vec();
    names.sort_by_key(|name| std::cmp::Reverse(common(name)));
    names.truncate(SHOWN);
    names
}

fn question_json(question: &Question) -> Value {
    let mut value = environment_json(question);
    value["package"] = json!(question.package.name);
    value["versions"] = json!(question.package.versions.to_string());
    value
}

/// All of a question but its package.
pub(super) fn environment_json(question: &Question) -> Value {
    json!({
        "python": question.python.as_ref().map(ToString::to_string),
        "torch": question.torch.as_ref().map(ToString::to_string),
        "cuda": question.cuda.as_ref().map(ToString::to_string),
        "gpus": question.gpus,
        "driver": question.driver,
        "glibc": question.libc.as_ref().map(ToString::to_string),
        "machine": question.machine,
        "track": question.track,
        "variant": question.variant,
    })
}

fn candidate_json(one: &Candidate<'_>) -> Value {
    json!({
        "wheel": one.wheel,
        "url": one.lines.url,
        "torch": one.lines.torch,
        "unknown": one.unknown,
        "lines": {
            "dockerfile": one.lines.dockerfile,
            "pip": one.lines.pip,
            "pip_require_hashes": one.lines.pip_hashed,
            "uv": one.lines.uv,
        },
    })
}

fn miss_json(miss: &NearMiss<'_>) -> Value {
    let more: Vec<&Miss> = miss.more.iter().collect();
    json!({
        "file_name": miss.wheel.file_name,
        "job": miss.wheel.job,
        "rule": miss.reason.rule,
        "reason": miss.reason.reason,
        "more": more,
    })
}
