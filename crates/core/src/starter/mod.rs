//! A new farm: what somebody says of it, what is chosen where nothing was said, and its files as text.
//!
//! Every choice is told with its reason, and nothing is given out that `wheelfarm plan` has a fault or
//! a warning for.

mod choose;
mod draft;
pub mod nightly;
mod settings;
mod shipped;
mod starter_files;
#[cfg(test)]
mod tests;

pub use settings::{
    AskedBy, BaseAsked, GpuAsked, PackageAsked, PackageAskedError, Settings, StarterError,
    shell_word,
};
pub use shipped::packages;
pub use starter_files::{IfThere, StarterFile};

use crate::plan::Plan;
use choose::Chosen;
use draft::{Draft, joined};

/// The file that a farm is known by.
pub const MATRIX: &str = "matrix.yaml";

/// A farm before it is written.
#[derive(Debug)]
pub struct Starter {
    /// Its files. The matrix is the last: a folder without one is no farm.
    pub files: Vec<StarterFile>,
    /// What was chosen, and why.
    pub choices: Vec<Choice>,
    /// What a plan of it is.
    pub plan: Plan,
}

/// Something that a farm needs, with what it is and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What: `torch`.
    pub what: &'static str,
    /// What it is: `2.11.0`.
    pub value: String,
    /// Why, in one line.
    pub why: String,
}

/// Makes a farm of what was said.
///
/// # Errors
/// What cannot be: of an input that is none, or what `wheelfarm plan` would say of the farm that comes
/// nearest.
pub fn begin(settings: &Settings) -> Result<Starter, StarterError> {
    let Chosen { draft, plan } = choose::choose(settings)?;
    Ok(Starter {
        files: starter_files::files(settings, &draft),
        choices: choices(settings, &draft),
        plan,
    })
}

fn choices(settings: &Settings, draft: &Draft) -> Vec<Choice> {
    let choice = |what, value: String, why: &str| Choice {
        what,
        value,
        why: why.to_owned(),
    };
    let asked = "as asked for";
    let mut choices = Vec::new();
    let archs = joined(draft.archs.iter().map(ToString::to_string));
    choices.push(choice("archs", archs, &why_archs(settings, draft)));
    for entry in &draft.entries {
        let why = match &settings.packages[..] {
            [] => "compiled CUDA that is built in minutes, since no package was named".to_owned(),
            all => match all.iter().find(|one| one.name == entry.name) {
                Some(one) if one.version.is_some() => asked.to_owned(),
                Some(_) | None => "the newest release that fits".to_owned(),
            },
        };
        let value = format!("{} {}", entry.name, entry.version);
        choices.push(choice("package", value, &why));
        if !entry.archs.is_empty() {
            let own = joined(entry.archs.iter().map(ToString::to_string));
            let value = format!("{own} for {}", entry.name);
            choices.push(choice("archs", value, &entry.remarks.join("; ")));
        }
    }
    let [of_torch, of_cuda] = &draft.candidate.why;
    choices.push(choice("torch", draft.candidate.torch.to_string(), of_torch));
    choices.push(choice("cuda", draft.candidate.cuda.to_string(), of_cuda));
    let pythons = joined(draft.pythons.iter().map(ToString::to_string));
    let (why_python, why_base) = match settings.base {
        BaseAsked::Manylinux => (
            "the middle one of those that this torch and the packages are for",
            "PyTorch's builder image from Docker Hub: glibc 2.28, every Python",
        ),
        BaseAsked::Debian => (
            "the base's own",
            "made on this host by debootstrap, as root and without a registry",
        ),
    };
    let why_python = if settings.pythons.is_empty() {
        why_python
    } else {
        asked
    };
    choices.push(choice("python", pythons, why_python));
    choices.push(choice("base", draft.environment(), why_base));
    if let Some(nightly) = &settings.nightly {
        let why = "the wheelfarm that the nightly installs, by its commit";
        choices.push(choice("action", nightly.action().to_owned(), why));
    }
    choices
}

fn why_archs(settings: &Settings, draft: &Draft) -> String {
    if !settings.archs.is_empty() {
        return "as asked for".to_owned();
    }
    if settings.gpus.is_empty() {
        let torch = draft.candidate.torch.minor();
        return format!(
            "what torch {torch} itself is built for, since no GPU was named and none is here"
        );
    }
    joined(settings.gpus.iter().map(|asked| match asked.by {
        AskedBy::Person => format!("{} is {}", asked.text, asked.gpu.capability),
        AskedBy::Machine => format!("{} of this machine", asked.text),
    }))
}
