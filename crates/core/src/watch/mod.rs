//! What is out there and not in the matrix: newer torches, Pythons and releases, what was withdrawn,
//! and archs that have become possible.
//!
//! [`questions`] says what has to be asked, [`compare`] makes news of the answers, and
//! [`propose::propose`] turns news into changed text. What could not be asked is said to be not
//! checked, and never to be no news.

mod archs;
mod packages;
pub mod propose;
pub mod told;
mod torch;

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Arch;
use crate::digest::Sha256Digest;
use crate::ident::{GitCommit, PackageName};
use crate::matrix::{EnvironmentAxes, Matrix, TorchIndex};
use crate::package::Package;
use crate::source::simple_index::IndexFile;
use crate::source::{GitRefs, GitUrl, IndexUrl, Source};
use crate::version::{PackageVersion, PythonVersion, TorchVersion};

/// Something to ask of the outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The files of a project on a package index.
    Project {
        /// The index.
        index: IndexUrl,
        /// The project.
        project: PackageName,
    },
    /// The head and the tags of a repository.
    Repository(GitUrl),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The files of a project.
    Files(Vec<IndexFile>),
    /// The head and the tags of a repository.
    Refs(GitRefs),
    /// Nothing that can be used, and why, in one line.
    None(String),
}

/// The answers that were had.
pub type Answers = BTreeMap<Question, Answer>;

/// What a piece of news is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NewsKind {
    /// A torch of a later minor version.
    TorchMinor,
    /// A later patch release of a torch that the matrix has.
    TorchPatch,
    /// A torch that the matrix has was withdrawn.
    TorchYanked,
    /// A torch that the matrix has is not on its index.
    TorchMissing,
    /// A later Python that every torch of an environment has wheels for.
    Python,
    /// A release of a package that its package.yaml does not have.
    PackageRelease,
    /// A release in package.yaml that is later than those in the matrix.
    PackageUnused,
    /// A release in the matrix was withdrawn.
    PackageYanked,
    /// The sdist of a release in the matrix is not on its index.
    PackageMissing,
    /// The sdist of a release in the matrix has another digest on its index.
    PackageDigest,
    /// A tag of a later version than any in package.yaml.
    GitTag,
    /// The default branch has gone on since the commit that is pinned.
    GitTip,
    /// An arch that a package has kernels for and that toolkit and torch take.
    Arch,
}

impl NewsKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::TorchMinor,
        Self::TorchPatch,
        Self::TorchYanked,
        Self::TorchMissing,
        Self::Python,
        Self::PackageRelease,
        Self::PackageUnused,
        Self::PackageYanked,
        Self::PackageMissing,
        Self::PackageDigest,
        Self::GitTag,
        Self::GitTip,
        Self::Arch,
    ];

    /// Its stable name, which is part of fingerprints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TorchMinor => "torch-minor",
            Self::TorchPatch => "torch-patch",
            Self::TorchYanked => "torch-yanked",
            Self::TorchMissing => "torch-missing",
            Self::Python => "python",
            Self::PackageRelease => "package-release",
            Self::PackageUnused => "package-unused",
            Self::PackageYanked => "package-yanked",
            Self::PackageMissing => "package-missing",
            Self::PackageDigest => "package-digest",
            Self::GitTag => "git-tag",
            Self::GitTip => "git-tip",
            Self::Arch => "arch",
        }
    }
}

/// A piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What it is about.
    pub kind: NewsKind,
    /// What it is of: `manylinux-cu128 torch 2.9`.
    pub subject: String,
    /// What is out there: `2.9.1`.
    pub there: String,
    /// What the matrix or the package has: `2.9.0`.
    pub here: String,
    /// Where to look.
    pub link: String,
    /// What else a reviewer should know, a line each.
    pub notes: Vec<String>,
    /// What follows from it for the matrix.
    pub change: Option<MatrixChange>,
    /// What follows from it for the package's package.yaml.
    pub release: Option<ReleaseChange>,
}

impl News {
    /// Twelve digits that stand for kind, subject and what is out there: the same news has the same.
    pub fn fingerprint(&self) -> String {
        let text = format!("{}\n{}\n{}", self.kind.as_str(), self.subject, self.there);
        Sha256Digest::of(text.as_bytes()).short()
    }
}

/// A change of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatrixChange {
    /// Another torch for an environment.
    AddTorch {
        /// Which environment.
        environment: String,
        /// The torch.
        torch: TorchVersion,
    },
    /// A torch of an environment in place of another.
    ReplaceTorch {
        /// Which environment.
        environment: String,
        /// The one that goes.
        from: TorchVersion,
        /// The one that comes.
        to: TorchVersion,
    },
    /// Another Python for an environment.
    AddPython {
        /// Which environment.
        environment: String,
        /// The Python.
        python: PythonVersion,
    },
    /// Another version of a package.
    AddVersion {
        /// Which package.
        package: PackageName,
        /// The version.
        version: PackageVersion,
    },
    /// Another arch for one package, which gets a list of its own if it has none.
    AddArch {
        /// Which package.
        package: PackageName,
        /// The arch.
        arch: Arch,
    },
    /// Another arch for every package without a list of its own.
    AddSharedArch {
        /// The arch.
        arch: Arch,
    },
}

/// A change of a package.yaml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseChange {
    /// Which package.
    pub package: PackageName,
    /// Which of its releases the change starts from, counted from 0.
    pub like: usize,
    /// What is done with it.
    pub kind: ReleaseChangeKind,
}

/// What is done with a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseChangeKind {
    /// A copy of it with another version and sdist.
    Sdist {
        /// The version of the copy.
        version: PackageVersion,
        /// The digest of its sdist.
        sha256: Sha256Digest,
    },
    /// A copy of it with another version and commit.
    Git {
        /// The version of the copy.
        version: PackageVersion,
        /// Its commit.
        commit: GitCommit,
    },
    /// Another commit, under the same version.
    Commit(GitCommit),
}

/// Something that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotChecked {
    /// What would have been looked up: `torch of manylinux-cu128`.
    pub subject: String,
    /// Why it was not, in one line.
    pub reason: String,
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// The news, torches first, in the order of the matrix.
    pub news: Vec<News>,
    /// What could not be asked.
    pub not_checked: Vec<NotChecked>,
}

/// The packages of a farm by name.
pub type Packages = BTreeMap<PackageName, Package>;

/// What has to be asked for a matrix, each thing once.
pub fn questions(matrix: &Matrix, packages: &Packages) -> BTreeSet<Question> {
    let mut questions: BTreeSet<_> = matrix
        .environments
        .iter()
        .filter_map(|environment| torch_question(matrix, environment).ok())
        .collect();
    for entry in &matrix.packages {
        let Some(package) = packages.get(&entry.name.value) else {
            continue;
        };
        let sources = package.releases.iter().map(|release| &release.source);
        questions.extend(sources.filter_map(source_question));
    }
    questions
}

/// Holds a matrix that plans without faults against the answers to its [`questions`].
pub fn compare(matrix: &Matrix, packages: &Packages, answers: &Answers) -> Comparison {
    let mut comparison = Comparison::default();
    for environment in &matrix.environments {
        torch::compare(matrix, environment, answers, &mut comparison);
    }
    for entry in &matrix.packages {
        if let Some(package) = packages.get(&entry.name.value) {
            packages::compare(entry, package, answers, &mut comparison);
        }
    }
    archs::compare(matrix, packages, &mut comparison);
    comparison.not_checked.sort();
    comparison.not_checked.dedup();
    comparison
}

/// Where an environment's torch is looked up; the text of its index when that is no index's address.
fn torch_question(matrix: &Matrix, environment: &EnvironmentAxes) -> Result<Question, String> {
    let index = match &environment.torch_index {
        TorchIndex::Pypi => &matrix.build.package_index,
        TorchIndex::Url(url) => url,
    };
    let index: IndexUrl = index
        .parse()
        .map_err(|error: crate::source::SourceUrlError| error.to_string())?;
    let project = "torch".parse().expect("`torch` is a package name");
    Ok(Question::Project { index, project })
}

/// Where news of a source would be.
fn source_question(source: &Source) -> Option<Question> {
    match source {
        Source::Sdist { project, index, .. } => Some(Question::Project {
            index: index.clone(),
            project: project.clone(),
        }),
        Source::Git { url, .. } => Some(Question::Repository(url.clone())),
        // A file of its own says nothing of later ones.
        Source::Archive { .. } | Source::Folder { .. } => None,
    }
}

/// Why there is no usable answer, in one line.
fn reason(answer: Option<&Answer>) -> String {
    match answer {
        Some(Answer::None(reason)) => reason.clone(),
        Some(Answer::Files(_) | Answer::Refs(_)) => "the answer is of another kind".to_owned(),
        None => "it was not asked".to_owned(),
    }
}

/// Texts in one line, as people list them.
fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests;
