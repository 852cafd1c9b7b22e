//! The rules that keep a wheel from being the answer, each with the reason for one wheel.

use serde::{Serialize, Serializer};

use super::gpu;
use super::question::{Cuda, Libc, PythonAsked, Question, TorchGiven};
use crate::release::catalog::{CatalogWheel, Track};
use crate::version::{CudaVersion, VersionRange};
use crate::wheel::requirement::{TorchAdmission, torch_admission};
use crate::wheel::tags::{self, LibcNeed};

/// Why a wheel is not the answer; the order is from what is hardest to change to what is easiest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// It is of a version that was not asked for.
    Version,
    /// It is for another machine or system.
    Machine,
    /// It is for another Python.
    Python,
    /// It is for another torch.
    Torch,
    /// It is for another CUDA.
    Cuda,
    /// The machine's C library is too old, or another one.
    Glibc,
    /// Its GPU code does not run on the GPU.
    Gpu,
    /// The driver is too old.
    Driver,
    /// It is of a variant that was not asked for, or of none.
    Variant,
    /// It was withdrawn.
    Yanked,
    /// It is not on the track.
    Track,
}

impl Rule {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Machine => "machine",
            Self::Python => "python",
            Self::Torch => "torch",
            Self::Cuda => "cuda",
            Self::Glibc => "glibc",
            Self::Gpu => "gpu",
            Self::Driver => "driver",
            Self::Variant => "variant",
            Self::Yanked => "yanked",
            Self::Track => "track",
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A rule that a wheel breaks, or of which it is not known whether it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// The rule.
    pub rule: Rule,
    /// What is wanted, and what the wheel is.
    pub reason: String,
}

/// What the rules say of one wheel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The rules that it breaks, in their order.
    pub(super) broken: Vec<Miss>,
    /// Those of which the catalog does not tell.
    pub(super) unknown: Vec<Miss>,
}

/// What one rule says.
pub(super) enum Word {
    Fits,
    Breaks(String),
    Unknown(String),
}

impl Judgement {
    pub(super) fn add(&mut self, rule: Rule, word: Word) {
        match word {
            Word::Fits => {}
            Word::Breaks(reason) => self.broken.push(Miss { rule, reason }),
            Word::Unknown(reason) => self.unknown.push(Miss { rule, reason }),
        }
    }
}

/// Holds a wheel against everything that the question tells.
pub(super) fn judge(wheel: &CatalogWheel, question: &Question) -> Judgement {
    let mut judgement = Judgement::default();
    judgement.add(Rule::Version, version(wheel, &question.package.versions));
    let machine = question.machine.as_deref();
    judgement.add(Rule::Machine, of_machine(wheel, machine));
    if let Some(asked) = question.python {
        judgement.add(Rule::Python, python(wheel, asked));
    }
    if let Some(asked) = &question.torch {
        judgement.add(Rule::Torch, torch(wheel, asked));
    }
    if let Some(asked) = &question.cuda {
        judgement.add(Rule::Cuda, cuda(wheel, asked));
    }
    if let Some(asked) = question.libc {
        judgement.add(Rule::Glibc, libc(wheel, machine, asked));
    }
    gpu::judge(wheel, question, &mut judgement);
    judgement.add(Rule::Variant, variant(wheel, question));
    judgement.add(Rule::Yanked, yanked(wheel, &question.package.versions));
    judgement.add(Rule::Track, track(wheel, question.track));
    judgement
}

fn breaks_unless(fits: bool, reason: impl FnOnce() -> String) -> Word {
    if fits {
        Word::Fits
    } else {
        Word::Breaks(reason())
    }
}

fn version(wheel: &CatalogWheel, wanted: &VersionRange) -> Word {
    breaks_unless(wanted.contains_wheel(&wheel.file_name), || {
        let version = wheel.file_name.public_version();
        format!("version {wanted} wanted, wheel is {version}")
    })
}

fn of_machine(wheel: &CatalogWheel, machine: Option<&str>) -> Word {
    let name = &wheel.file_name;
    breaks_unless(tags::libc_need(machine, name).is_some(), || {
        let found = name.platform_tags().join(", ");
        match machine {
            Some(machine) => format!("{machine} wanted, wheel is for {found}"),
            None => format!("Linux with glibc wanted, wheel is for {found}"),
        }
    })
}

/// Whether a Python takes the wheel: by its tags, as pip does, and by its `Requires-Python`.
pub(super) fn python(wheel: &CatalogWheel, asked: PythonAsked) -> Word {
    let name = &wheel.file_name;
    if tags::python_rank(asked.version, name).is_none() {
        let tags = match name.abi_tags() {
            [abi] if name.python_tags() != [abi.as_str()] => {
                format!("{}-{abi}", name.python_tags().join("."))
            }
            abis => abis.join("."),
        };
        return Word::Breaks(format!("Python {asked} wanted, wheel is for {tags}"));
    }
    let Some(requires) = &wheel.requires_python else {
        return Word::Fits;
    };
    match requires.parse::<VersionRange>() {
        // pip and uv pass over one that they cannot read.
        Err(_) => Word::Fits,
        Ok(range) => breaks_unless(asked.is_in(&range), || {
            format!("Python {asked} wanted, wheel requires Python {requires}")
        }),
    }
}

/// Whether the wheel works with a torch: C++ ABI by the torch that it was built against, and what it
/// requires. Without either, any torch will do.
pub(super) fn torch(wheel: &CatalogWheel, asked: &TorchGiven) -> Word {
    let (minor, exact) = (asked.version.minor(), asked.version.exact());
    if wheel.uses_torch_cxx_abi {
        let abi = wheel.channel.torch();
        let fits = match exact {
            Some(exact) => exact.abi() == abi,
            None => abi.nightly().is_none() && abi.minor() == minor,
        };
        if !fits {
            let asked = asked.version;
            return Word::Breaks(format!("torch {asked} wanted, wheel is for {abi}"));
        }
    }
    let requires = wheel.requires_dist.iter().map(String::as_str);
    match torch_admission(requires, minor, exact) {
        TorchAdmission::Yes => Word::Fits,
        TorchAdmission::No(text) => {
            let asked = asked.version;
            Word::Breaks(format!("torch {asked} wanted, wheel requires `{text}`"))
        }
        TorchAdmission::Perhaps(text) => {
            let asked = asked.version;
            Word::Unknown(format!(
                "whether `{text}` holds torch {asked} off depends on its condition, which is not read"
            ))
        }
    }
}

/// The CUDA that the wheel's compiled code is tied to; `None` for a wheel without any. The name's word
/// for a pure wheel counts: nothing in it links to a CUDA library.
pub(super) fn cuda_of(wheel: &CatalogWheel) -> Option<Cuda> {
    if tags::is_pure(&wheel.file_name) {
        return None;
    }
    let tag = wheel.channel.cuda();
    let version = CudaVersion::from_tag(tag);
    Some(version.map_or_else(|| Cuda::Without(tag.to_owned()), Cuda::Version))
}

/// CUDA's libraries are compatible within a major version (CUDA Compatibility, "Minor Version
/// Compatibility"), and not beyond: the very names of the libraries differ.
pub(super) fn cuda(wheel: &CatalogWheel, asked: &Cuda) -> Word {
    let Some(of_wheel) = cuda_of(wheel) else {
        return Word::Fits;
    };
    let fits = match (asked, &of_wheel) {
        (Cuda::Version(asked), Cuda::Version(of_wheel)) => asked.major() == of_wheel.major(),
        (Cuda::Without(asked), Cuda::Without(of_wheel)) => asked == of_wheel,
        (Cuda::Version(_), Cuda::Without(_)) | (Cuda::Without(_), Cuda::Version(_)) => false,
    };
    breaks_unless(fits, || {
        let named = |cuda: &Cuda| match cuda {
            Cuda::Version(version) => format!("CUDA {version}"),
            Cuda::Without(build) => format!("torch without CUDA ({build})"),
        };
        format!("{} wanted, wheel is for {}", named(asked), named(&of_wheel))
    })
}

fn libc(wheel: &CatalogWheel, machine: Option<&str>, asked: Libc) -> Word {
    // What the wheel is for at all is the machine's rule.
    let Some(need) = tags::libc_need(machine, &wheel.file_name) else {
        return Word::Fits;
    };
    match (asked, need) {
        (Libc::Glibc(..), LibcNeed::Nothing) => Word::Fits,
        (Libc::Glibc(major, minor), LibcNeed::Glibc(need_major, need_minor)) => {
            breaks_unless((major, minor) >= (need_major, need_minor), || {
                format!("glibc {asked}, wheel needs {need_major}.{need_minor}")
            })
        }
        (Libc::Musl, _) => breaks_unless(tags::is_pure(&wheel.file_name), || match need {
            LibcNeed::Glibc(major, minor) => format!("musl, wheel needs glibc {major}.{minor}"),
            LibcNeed::Nothing => "musl, wheel needs glibc".to_owned(),
        }),
    }
}

/// Wheels of a variant are given to nobody who does not ask for it.
fn variant(wheel: &CatalogWheel, question: &Question) -> Word {
    let (of_wheel, asked) = (wheel.channel.variant(), question.variant.as_ref());
    let mut channels = wheel.channels().into_iter();
    let is_offered = channels.any(|channel| channel.variant() == asked);
    breaks_unless(is_offered, || match (of_wheel, asked) {
        (Some(of_wheel), _) => format!("of variant {of_wheel}, which has to be asked for"),
        (None, Some(asked)) => format!("variant {asked} wanted, wheel is of none"),
        (None, None) => String::new(),
    })
}

/// PEP 592: only who names the very version is given what was withdrawn.
fn yanked(wheel: &CatalogWheel, wanted: &VersionRange) -> Word {
    match &wheel.yanked {
        Some(why) if !wanted.is_pin() => Word::Breaks(format!("yanked: {why}")),
        Some(_) | None => Word::Fits,
    }
}

fn track(wheel: &CatalogWheel, wanted: Track) -> Word {
    breaks_unless(wheel.tracks.contains(&wanted), || {
        let tracks: Vec<_> = wheel.tracks.iter().map(|track| track.as_str()).collect();
        match tracks.as_slice() {
            [] => "taken off every track".to_owned(),
            tracks => format!("on the {} track only", tracks.join(" and ")),
        }
    })
}
