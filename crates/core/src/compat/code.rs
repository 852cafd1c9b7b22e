//! What code for any arch does on one GPU, arch by arch.

use serde::{Serialize, Serializer};

use super::lookup::list;
use super::table::TABLE;
use crate::arch::Arch;
use crate::fatbin::ImageKind;
use crate::gpu::rules::{self, ImageRun, WhyNot};
use crate::gpu::{Capability, sentence};

/// Machine code or PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CodeKind {
    /// A cubin, `sm_90`.
    MachineCode,
    /// PTX, `compute_90`.
    Ptx,
}

impl CodeKind {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::MachineCode => "machine code",
            Self::Ptx => "PTX",
        }
    }

    fn image(self) -> ImageKind {
        match self {
            Self::MachineCode => ImageKind::Sass,
            Self::Ptx => ImageKind::Ptx,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::MachineCode => "sm_",
            Self::Ptx => "compute_",
        }
    }
}

/// What becomes of code on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CodeRun {
    /// It runs as it is.
    Native,
    /// The driver compiles it at first use.
    Jit,
    /// It does not load.
    Fails(WhyNot),
    /// No document says.
    Unknown,
}

impl CodeRun {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Jit => "jit",
            Self::Fails(_) => "fails",
            Self::Unknown => "unknown",
        }
    }

    /// What it means, for code of several archs at once.
    pub fn sentence(self) -> String {
        match self {
            Self::Native => "runs as it is".to_owned(),
            Self::Jit => "is compiled by the driver at first use".to_owned(),
            Self::Fails(why) => format!("does not load: {}", sentence::rule(why)),
            Self::Unknown => "is not documented to run, nor to fail".to_owned(),
        }
    }
}

impl Serialize for CodeRun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Code for one arch, on the GPU that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CodeOnGpu {
    /// Machine code or PTX.
    pub kind: CodeKind,
    /// What it was compiled for.
    pub arch: Arch,
    /// What becomes of it.
    pub run: CodeRun,
    /// The same as a sentence, which says why it fails.
    pub sentence: String,
}

/// What code for every arch that a known toolkit compiles for does on `gpu`, as machine code and as
/// PTX, by arch.
pub(super) fn code_on(gpu: Capability) -> Vec<CodeOnGpu> {
    let mut archs: Vec<Arch> = TABLE
        .toolkits
        .values()
        .flat_map(|row| row.archs.iter().copied())
        .collect();
    archs.sort();
    archs.dedup();
    let both = [CodeKind::MachineCode, CodeKind::Ptx];
    both.into_iter()
        .flat_map(|kind| archs.iter().map(move |&arch| one(kind, arch, gpu)))
        .collect()
}

fn one(kind: CodeKind, arch: Arch, gpu: Capability) -> CodeOnGpu {
    let run = run(kind, arch, gpu);
    let sentence = match run {
        CodeRun::Fails(why) => {
            let why = sentence::reason(kind.prefix(), arch, why, gpu);
            format!("does not load: {why}")
        }
        CodeRun::Native | CodeRun::Jit | CodeRun::Unknown => run.sentence(),
    };
    CodeOnGpu {
        kind,
        arch,
        run,
        sentence,
    }
}

/// What becomes of code for `arch` on `gpu`.
pub(super) fn run(kind: CodeKind, arch: Arch, gpu: Capability) -> CodeRun {
    match rules::image_runs(kind.image(), Some(arch), gpu) {
        ImageRun::Native => CodeRun::Native,
        ImageRun::Jit => CodeRun::Jit,
        ImageRun::No(why) => CodeRun::Fails(why),
        ImageRun::Link | ImageRun::Unknown => CodeRun::Unknown,
    }
}

/// The same, for people: archs that share an answer in one line, `7.5 to 9.0a, 10.0` where they
/// follow each other. What runs comes first.
pub fn grouped(code: &[CodeOnGpu]) -> Vec<(CodeKind, String, CodeRun)> {
    let mut groups: Vec<(CodeKind, CodeRun)> = code.iter().map(|one| (one.kind, one.run)).collect();
    groups.sort();
    groups.dedup();
    let line = |(kind, run)| {
        let of_kind: Vec<_> = code.iter().filter(|one| one.kind == kind).collect();
        let runs = of_kind.chunk_by(|left, right| (left.run == run) == (right.run == run));
        let runs = runs.filter(|archs| archs[0].run == run);
        let texts: Vec<_> = runs
            .map(|archs| match archs {
                [first, _, _, .., last] => format!("{} to {}", first.arch, last.arch),
                few => list(few.iter().map(|one| one.arch)),
            })
            .collect();
        (kind, texts.join(", "), run)
    };
    groups.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(gpu: &str) -> String {
        let code = code_on(gpu.parse().unwrap());
        let lines: Vec<_> = grouped(&code)
            .into_iter()
            .map(|(kind, archs, run)| format!("{} {archs}: {}", kind.name(), run.sentence()))
            .collect();
        format!("{gpu}\n{}", lines.join("\n"))
    }

    #[test]
    fn archs_with_one_answer_share_a_line() {
        let texts = ["12.0", "9.0", "8.9", "6.1", "11.0"].map(told);
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    #[test]
    fn each_arch_has_a_sentence_of_its_own() {
        let code = code_on("12.0".parse().unwrap());
        let wanted = ["8.6", "9.0a", "12.0f", "12.1"];
        let wanted = code
            .iter()
            .filter(|one| wanted.contains(&one.arch.to_string().as_str()));
        let lines: Vec<_> = wanted
            .map(|one| format!("{} {} {}", one.kind.name(), one.arch, one.sentence))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
