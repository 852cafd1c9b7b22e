//! News as changed text: the matrix and package.yaml with what they would have, comments and order kept,
//! and as a diff for a reviewer.
//!
//! A change that would leave a matrix that cannot be planned is left out, and said to be.

use std::collections::BTreeMap;

use super::{MatrixChange, News, ReleaseChange, ReleaseChangeKind};
use crate::arch::{Arch, ArchTarget, Ptx};
use crate::diagnostic::{Diagnostics, Located};
use crate::ident::PackageName;
use crate::matrix::Matrix;
use crate::package;
use crate::plan::{self, Plan, PlanInput};
use crate::yaml::edit::{Change, EditError, Step, edit};

/// A text and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Its path as the user knows it.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// The texts that people wrote.
#[derive(Debug, Clone)]
pub struct Texts {
    /// The matrix.
    pub matrix: TextFile,
    /// The package.yaml of each package.
    pub packages: BTreeMap<PackageName, TextFile>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The news asks for none.
    None,
    /// It is in the proposal; of the matrix, with how many jobs more or less it gives.
    Proposed {
        /// Jobs after it less jobs before it.
        jobs: i64,
    },
    /// It is not in the proposal, and why, in one line.
    LeftOut(String),
}

/// What became of one piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fates {
    /// Its change of the matrix.
    pub matrix: Fate,
    /// Its change of a package.yaml.
    pub package: Fate,
}

/// A file before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path as the user knows it.
    pub path: String,
    /// What it says.
    pub before: String,
    /// What it would say.
    pub after: String,
}

impl ChangedFile {
    /// The change as a unified diff that `git apply` and `patch -p1` take.
    pub fn diff(&self) -> String {
        let path = self.path.trim_start_matches("./").trim_start_matches('/');
        let mut options = diffy::DiffOptions::new();
        options
            .set_original_filename(format!("a/{path}"))
            .set_modified_filename(format!("b/{path}"));
        options.create_patch(&self.before, &self.after).to_string()
    }
}

/// What follows from news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What became of each piece of news, in their order.
    pub fates: Vec<Fates>,
    /// The matrix, if anything of it changes. It plans without faults.
    pub matrix: Option<ChangedFile>,
    /// Each package.yaml that changes. They are for people to complete: patches, ranges and archs of a
    /// new release are copied from another one.
    pub packages: Vec<ChangedFile>,
}

/// Makes text of `news`. `input` is what the matrix in `texts` plans with, without faults.
pub fn propose(input: &PlanInput<'_>, texts: &Texts, news: &[News]) -> Proposal {
    let mut draft = Draft {
        input,
        texts,
        matrix: texts.matrix.text.clone(),
        jobs: plan::expand(input).map_or(0, |plan| plan.jobs.len()),
        packages: BTreeMap::new(),
    };
    let fates = news.iter().map(|news| draft.take(news)).collect();
    let changed = |file: &TextFile, after: String| {
        (file.text != after).then(|| ChangedFile {
            path: file.path.clone(),
            before: file.text.clone(),
            after,
        })
    };
    let packages = draft.packages.into_iter();
    Proposal {
        fates,
        matrix: changed(&texts.matrix, draft.matrix),
        packages: packages
            .filter_map(|(name, after)| changed(texts.packages.get(&name)?, after))
            .collect(),
    }
}

/// The texts as far as they are changed.
struct Draft<'a> {
    input: &'a PlanInput<'a>,
    texts: &'a Texts,
    matrix: String,
    /// How many jobs the matrix gives so far.
    jobs: usize,
    packages: BTreeMap<PackageName, String>,
}

impl Draft<'_> {
    fn take(&mut self, news: &News) -> Fates {
        Fates {
            matrix: match &news.change {
                None => Fate::None,
                Some(change) => self.take_matrix(change).unwrap_or_else(Fate::LeftOut),
            },
            package: match &news.release {
                None => Fate::None,
                Some(change) => self.take_release(change).unwrap_or_else(Fate::LeftOut),
            },
        }
    }

    fn take_matrix(&mut self, change: &MatrixChange) -> Result<Fate, String> {
        if let MatrixChange::AddVersion { package, version } = change
            && let Some(known) = self.input.packages.get(package)
            && !known
                .releases
                .iter()
                .any(|release| release.version.value == *version)
        {
            let path = self
                .texts
                .packages
                .get(package)
                .map(|file| file.path.as_str());
            let path = path.unwrap_or("package.yaml");
            return Err(format!("needs release {version} in {path} first"));
        }
        let matrix = self.parse(&self.matrix).map_err(|faults| first(&faults))?;
        let changed = changed_matrix(&self.matrix, &matrix, change).map_err(by_hand)?;
        let plan = self.plan(&changed).map_err(|faults| first(&faults))?;
        let count = |jobs: usize| i64::try_from(jobs).unwrap_or(i64::MAX);
        let jobs = count(plan.jobs.len()) - count(self.jobs);
        self.jobs = plan.jobs.len();
        self.matrix = changed;
        Ok(Fate::Proposed { jobs })
    }

    fn parse(&self, text: &str) -> Result<Matrix, Diagnostics> {
        Matrix::parse(&self.texts.matrix.path, text)
    }

    fn plan(&self, text: &str) -> Result<Plan, Diagnostics> {
        plan::expand(&PlanInput {
            matrix: &self.parse(text)?,
            ..*self.input
        })
    }

    fn take_release(&mut self, change: &ReleaseChange) -> Result<Fate, String> {
        let name = &change.package;
        let Some(file) = self.texts.packages.get(name) else {
            return Err(format!("the package.yaml of `{name}` is not at hand"));
        };
        let text = self.packages.get(name).unwrap_or(&file.text);
        let parsed = package::parse(&file.path, text).map_err(|faults| first(&faults))?;
        let changed = changed_package(text, &parsed, change).map_err(by_hand)?;
        package::parse(&file.path, &changed).map_err(|faults| first(&faults))?;
        self.packages.insert(name.clone(), changed);
        Ok(Fate::Proposed { jobs: 0 })
    }
}

/// The first fault in one line, and how many there are besides.
fn first(faults: &Diagnostics) -> String {
    let count = faults.iter().count();
    let more = match count.saturating_sub(1) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    match faults.iter().next() {
        Some(fault) => format!("{} [{}]{more}", fault.message, fault.rule),
        None => "it is refused without a reason".to_owned(),
    }
}

fn by_hand(error: EditError) -> String {
    error.to_string()
}

fn changed_matrix(text: &str, matrix: &Matrix, change: &MatrixChange) -> Result<String, EditError> {
    let environment = |name: &str| {
        let mut names = matrix.environments.iter();
        names.position(|environment| environment.name.value == name)
    };
    let axis = |name: &str, axis: &'static str| {
        let index = environment(name).ok_or(EditError::NoPlace)?;
        Ok([
            Step::Key("environments"),
            Step::Item(index),
            Step::Key(axis),
        ])
    };
    match change {
        MatrixChange::AddTorch { environment, torch } => {
            let way = axis(environment, "torch")?;
            edit(text, &way, Change::Append(&torch.to_string()))
        }
        MatrixChange::AddPython {
            environment,
            python,
        } => {
            let way = axis(environment, "python")?;
            edit(text, &way, Change::Append(&python.to_string()))
        }
        MatrixChange::ReplaceTorch {
            environment: name,
            from,
            to,
        } => {
            let index = environment(name).ok_or(EditError::NoPlace)?;
            let mut torches = matrix.environments[index].torch.iter();
            let place = torches.position(|torch| torch.value == *from);
            let [environments, item, torch] = axis(name, "torch")?;
            let place = Step::Item(place.ok_or(EditError::NoPlace)?);
            let way = [environments, item, torch, place];
            edit(text, &way, Change::Replace(&to.to_string()))
        }
        MatrixChange::AddVersion { package, version } => {
            let [packages, item] = entry(matrix, package)?;
            let way = [packages, item, Step::Key("versions")];
            edit(text, &way, Change::Append(&version.to_string()))
        }
        MatrixChange::AddSharedArch { arch } => {
            add_arch(text, &[Step::Key("archs")], &matrix.archs, *arch)
        }
        MatrixChange::AddArch { package, arch } => {
            let [packages, item] = entry(matrix, package)?;
            let mut entries = matrix.packages.iter();
            let own = entries.find(|entry| entry.name.value == *package);
            if let Some(own) = own.filter(|own| !own.archs.is_empty()) {
                let way = [packages, item, Step::Key("archs")];
                return add_arch(text, &way, &own.archs, *arch);
            }
            let mut items: Vec<_> = matrix.archs.iter().map(|arch| arch.value).collect();
            let arch = ArchTarget {
                arch: *arch,
                ptx: Ptx::Without,
            };
            items.insert(place(&matrix.archs, arch.arch).unwrap_or(items.len()), arch);
            let items: Vec<_> = items.iter().map(ToString::to_string).collect();
            let insert = Change::Insert {
                key: "archs",
                items: &items,
            };
            edit(text, &[packages, item], insert)
        }
    }
}

/// Where an arch belongs in a list that ascends; at the end of one that does not.
fn place(archs: &[Located<ArchTarget>], arch: Arch) -> Option<usize> {
    let ascends = archs.is_sorted_by_key(|other| other.value);
    let later = archs.iter().position(|other| other.value.arch > arch);
    later.filter(|_| ascends)
}

fn add_arch(
    text: &str,
    way: &[Step<'_>],
    archs: &[Located<ArchTarget>],
    arch: Arch,
) -> Result<String, EditError> {
    let value = arch.to_string();
    let change = match place(archs, arch) {
        Some(item) => Change::Before {
            item,
            value: &value,
        },
        None => Change::Append(&value),
    };
    edit(text, way, change)
}

fn entry(matrix: &Matrix, package: &PackageName) -> Result<[Step<'static>; 2], EditError> {
    let mut entries = matrix.packages.iter();
    let index = entries.position(|entry| entry.name.value == *package);
    let index = index.ok_or(EditError::NoPlace)?;
    Ok([Step::Key("packages"), Step::Item(index)])
}

fn changed_package(
    text: &str,
    parsed: &package::Package,
    change: &ReleaseChange,
) -> Result<String, EditError> {
    let releases = Step::Key("releases");
    let pin = |text: &str, item: usize, source: &str, key: &str, value: &str| {
        let way = [
            releases,
            Step::Item(item),
            Step::Key("source"),
            Step::Key(source),
            Step::Key(key),
        ];
        edit(text, &way, Change::Replace(value))
    };
    let copy = |version: &crate::version::PackageVersion| {
        let from = parsed.releases.get(change.like).ok_or(EditError::NoPlace)?;
        let mut comment = format!(
            "review: copied from {}; wheelfarm patch check {}=={version}",
            from.version.value, parsed.name
        );
        if from.build_number.is_some() {
            comment += "; take `build-number` out";
        }
        let copy = Change::Copy {
            item: change.like,
            comment: &comment,
        };
        let text = edit(text, &[releases], copy)?;
        let item = parsed.releases.len();
        let way = [releases, Step::Item(item), Step::Key("version")];
        let text = edit(&text, &way, Change::Replace(&version.to_string()))?;
        Ok((text, item))
    };
    match &change.kind {
        ReleaseChangeKind::Sdist { version, sha256 } => {
            let (text, item) = copy(version)?;
            pin(&text, item, "sdist", "sha256", &sha256.to_string())
        }
        ReleaseChangeKind::Git { version, commit } => {
            let (text, item) = copy(version)?;
            pin(&text, item, "git", "commit", commit.as_str())
        }
        ReleaseChangeKind::Commit(commit) => {
            pin(text, change.like, "git", "commit", commit.as_str())
        }
    }
}
