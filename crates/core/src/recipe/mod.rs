//! `wheelfarm resolve --environment`: torch, what goes with it, and the farm's wheels, at versions that
//! fit one another, the GPU and the driver, as a file for pip, uv, pixi or Docker.
//!
//! What fits is the compatibility table's word ([`crate::compat`]) and, for each wheel,
//! [`crate::release::resolve`]'s. Nothing is asked of an index, so a pin is what the table has read, and
//! what the table does not say is not promised.

mod choice;
mod refusal;
#[cfg(test)]
mod tests;
mod write;

use serde::Serialize;

pub use refusal::{Refusal, Why};

use crate::compat::{Companion, Index};
use crate::gpu::Capability;
use crate::gpu::driver::Driver;
use crate::release::catalog::{Catalog, CatalogWheel};
use crate::release::links::Links;
use crate::release::resolve::{Lines, PackageWish, Question};
use crate::version::{CudaVersion, PythonVersion, TorchVersion};
use crate::wheel::tags::LibcNeed;

/// Who makes the environment of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// pip: a `requirements.txt`.
    Pip,
    /// uv: a `pyproject.toml`.
    Uv,
    /// pixi: a `pixi.toml`.
    Pixi,
    /// Docker: a `Dockerfile`.
    Dockerfile,
}

impl Manager {
    /// The name of the file that it reads.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Pip => "requirements.txt",
            Self::Uv => "pyproject.toml",
            Self::Pixi => "pixi.toml",
            Self::Dockerfile => "Dockerfile",
        }
    }
}

/// A package of a release that the environment is to have.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The package and its versions.
    pub package: &'a PackageWish,
    /// The release.
    pub catalog: &'a Catalog,
}

/// What a recipe is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The environment as far as it is told; its package stands for nothing.
    pub question: &'a Question,
    /// The farm's packages.
    pub wishes: &'a [Wish<'a>],
    /// Where the files of the release are.
    pub links: &'a Links,
    /// Who makes the environment.
    pub manager: Manager,
}

/// The torch of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TorchPick {
    /// The release, or the nightly.
    pub version: TorchVersion,
    /// The CUDA that it is built for.
    pub cuda: CudaVersion,
    /// The index that has it.
    pub index: Index,
}

impl TorchPick {
    /// The address of the index, where it is not PyPI.
    pub fn index_url(&self) -> Option<String> {
        let nightly = if self.version.nightly().is_some() {
            "nightly/"
        } else {
            ""
        };
        match self.index {
            Index::Pypi => None,
            Index::Pytorch => Some(format!(
                "https://download.pytorch.org/whl/{nightly}{}",
                self.cuda.tag()
            )),
        }
    }
}

/// A wheel of the farm in a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelPick<'a> {
    /// The wheel.
    pub wheel: &'a CatalogWheel,
    /// How it is named where it is installed.
    pub lines: Lines,
}

/// Versions that fit one another, and what has to be said of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe<'a> {
    /// Who makes the environment.
    pub manager: Manager,
    /// The torch.
    pub torch: TorchPick,
    /// The Python.
    pub python: PythonVersion,
    /// What goes with torch; empty for a nightly, whose own metadata pins it.
    pub companions: Vec<Companion>,
    /// The farm's wheels, in the order of the wishes.
    pub wheels: Vec<WheelPick<'a>>,
    /// The GPUs that all of it runs on; empty where none was named.
    pub gpus: Vec<Capability>,
    /// The least driver; `None` where it is not known.
    pub least_driver: Option<Driver>,
    /// What its wheels need of the C library; `None` for what a table of names does not tell.
    pub libc: Option<LibcNeed>,
    /// Why a nightly is needed; `None` where none is.
    pub nightly: Option<String>,
    /// What a reader should know, a sentence each.
    pub notes: Vec<String>,
}

impl Recipe<'_> {
    /// The file, with its reasons as comments.
    pub fn text(&self) -> String {
        write::text(self)
    }
}

/// What came of an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Composed<'a> {
    /// A recipe.
    Recipe(Box<Recipe<'a>>),
    /// None, and why.
    Refused(Refusal),
}

/// Puts an environment together, or says why there is none.
pub fn compose<'a>(ask: &Ask<'a>) -> Composed<'a> {
    if let Some(refusal) = refusal::of_the_machine(ask) {
        return Composed::Refused(refusal);
    }
    match choice::choose(ask) {
        Some(recipe) => Composed::Recipe(Box::new(recipe)),
        None => Composed::Refused(refusal::explain(ask)),
    }
}
