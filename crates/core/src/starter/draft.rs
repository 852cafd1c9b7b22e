//! A farm that is drafted, and the text of its matrix.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment as Templates, UndefinedBehavior, context};

use super::choose::{Candidate, TABLE};
use super::settings::BaseAsked;
use crate::arch::ArchTarget;
use crate::compat;
use crate::gpu::{self, Capability};
use crate::ident::{FarmName, PackageName};
use crate::version::{PackageVersion, PythonVersion};

const TEMPLATE: &str = include_str!("../../data/starter/matrix.yaml.j2");

/// Where a farm keeps the schema of its matrix, so that editors need no network.
pub(super) const SCHEMA_PATH: &str = ".wheelfarm/matrix.schema.json";

/// What a new farm's matrix says.
pub(super) struct Draft {
    pub(super) farm: FarmName,
    pub(super) base: BaseAsked,
    pub(super) candidate: Candidate,
    pub(super) archs: Vec<ArchTarget>,
    pub(super) pythons: Vec<PythonVersion>,
    pub(super) entries: Vec<Entry>,
}

/// One package of it.
pub(super) struct Entry {
    pub(super) name: PackageName,
    pub(super) version: PackageVersion,
    /// One line on what it is.
    pub(super) summary: String,
    /// Its own archs; empty where the matrix's do.
    pub(super) archs: Vec<ArchTarget>,
    /// Why it has archs of its own.
    pub(super) remarks: Vec<String>,
}

/// Templates that take nothing for granted and leave no empty lines where a block stood.
pub(super) fn templates() -> Templates<'static> {
    let mut templates = Templates::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true);
    templates.set_syntax(syntax.build().expect("the usual delimiters differ"));
    templates
}

static TEMPLATES: LazyLock<Templates<'static>> = LazyLock::new(|| {
    let mut templates = templates();
    templates
        .add_template("matrix.yaml", TEMPLATE)
        .expect("a test renders it");
    templates
});

impl Draft {
    /// The name of its environment.
    pub(super) fn environment(&self) -> String {
        let base = match self.base {
            BaseAsked::Manylinux => "manylinux",
            BaseAsked::Debian => &TABLE.suite,
        };
        format!("{base}-{}", self.candidate.cuda.tag())
    }

    /// The index that torch comes from; `None`: PyPI, whose torch is the build for this CUDA.
    pub(super) fn torch_index(&self) -> Option<String> {
        let Candidate { torch, cuda, .. } = self.candidate;
        let is_on_pypi = compat::cuda_on_pypi(torch.minor()) == Some(cuda);
        (!is_on_pypi).then(|| format!("https://download.pytorch.org/whl/{}", cuda.tag()))
    }

    /// What each arch is: `9.0 (H100), 12.0 (RTX 5090)`.
    pub(super) fn gpus(&self) -> String {
        let name = |target: &ArchTarget| {
            let capability = Capability::of_arch(target.arch);
            match gpu::of(capability) {
                Some(gpu) => gpu.to_string(),
                None => capability.to_string(),
            }
        };
        joined(self.archs.iter().map(name))
    }

    /// The text of the matrix.
    pub(super) fn matrix(&self) -> String {
        let quoted =
            |targets: &[ArchTarget]| joined(targets.iter().map(|one| format!("\"{one}\"")));
        let entries = self.entries.iter().map(|entry| {
            context! {
                name => entry.name.as_str(),
                version => entry.version.to_string(),
                summary => entry.summary.as_str(),
                archs => quoted(&entry.archs),
                remarks => entry.remarks.join("; "),
            }
        });
        let Candidate { torch, cuda, .. } = &self.candidate;
        let values = context! {
            schema => SCHEMA_PATH,
            repository => env!("CARGO_PKG_REPOSITORY"),
            farm => self.farm.as_str(),
            archs => quoted(&self.archs),
            gpus => self.gpus(),
            entries => entries.collect::<Vec<_>>(),
            environment => self.environment(),
            image => TABLE.images.get(cuda),
            suite => match self.base {
                BaseAsked::Manylinux => None,
                BaseAsked::Debian => Some(&TABLE.suite),
            },
            cuda => cuda.to_string(),
            torch => torch.to_string(),
            torch_minor => torch.minor().to_string(),
            torch_index => self.torch_index(),
            python => self.pythons[0].to_string(),
            pythons => joined(self.pythons.iter().map(|python| format!("\"{python}\""))),
        };
        TEMPLATES
            .get_template("matrix.yaml")
            .and_then(|template| template.render(values))
            .expect("a test renders it for every base")
    }
}

pub(super) fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
