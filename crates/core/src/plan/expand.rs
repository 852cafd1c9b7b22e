//! Every package version in every environment it names, minus what is excluded, if the rest works.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;

use super::job::{Environment, Job, JobParts, JobPatch};
use super::patches::{self, PatchKey};
use super::rules::{self, Combination, Judgement};
use super::{ExcludedJob, Plan};
use crate::arch::ArchList;
use crate::diagnostic::{Diagnostic, Diagnostics, Located, Location};
use crate::digest::Sha256Digest;
use crate::ident::{JobId, PackageName, VariantName};
use crate::matrix::{EnvironmentAxes, Exclusion, Matrix, MatrixPackage};
use crate::package::{Kernels, Package, PackageRelease, Reach};
use crate::source::Source;
use crate::version::{PackageVersion, PythonVersion, TorchVersion};

/// Everything that a plan is made from; reading it from the disk is the caller's.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The matrix.
    pub matrix: &'a Matrix,
    /// The packages it names that could be read.
    pub packages: &'a BTreeMap<PackageName, Package>,
    /// The texts of the patches they name that could be read.
    pub patches: &'a BTreeMap<PatchKey, String>,
    /// The tree digests of the folders that they take source from.
    pub folders: &'a BTreeMap<Utf8PathBuf, Sha256Digest>,
}

/// Expands a matrix into its plan.
///
/// # Errors
/// Every fault at once: a package or patch that is not there, a combination that cannot work, an
/// exclusion that takes nothing out.
pub fn expand(input: &PlanInput<'_>) -> Result<Plan, Diagnostics> {
    let mut expansion = Expansion {
        input,
        candidates: Vec::new(),
        excluded: Vec::new(),
        idle: input.matrix.exclusions.iter().map(|_| true).collect(),
        judgement: Judgement::default(),
    };
    for package in &input.matrix.packages {
        expansion.package(package);
    }
    expansion.refuse_idle_exclusions();
    expansion.refuse_equal_ids();
    expansion.drop_what_others_serve();
    let jobs = expansion.jobs();
    let Judgement {
        faults,
        mut warnings,
    } = expansion.judgement;
    warnings.sort();
    warnings.dedup();
    let mut excluded = expansion.excluded;
    excluded.sort();
    let plan = Plan {
        jobs,
        excluded,
        warnings,
    };
    Diagnostics::check(plan, faults)
}

/// A combination that nothing has ruled out so far.
#[derive(Debug)]
struct Candidate<'a> {
    id: JobId,
    package: &'a MatrixPackage,
    release: Arc<PackageRelease>,
    environment: Arc<Environment>,
    environment_name: &'a Located<String>,
    archs: Option<ArchList>,
    patches: Arc<[JobPatch]>,
    source_identity: Arc<str>,
}

struct Expansion<'a> {
    input: &'a PlanInput<'a>,
    candidates: Vec<Candidate<'a>>,
    excluded: Vec<ExcludedJob>,
    /// Beside each exclusion: whether it has taken nothing out yet.
    idle: Vec<bool>,
    judgement: Judgement,
}

impl<'a> Expansion<'a> {
    fn package(&mut self, entry: &'a MatrixPackage) {
        let name = &entry.name;
        let Some(package) = self.input.packages.get(&name.value) else {
            let message = format!("package `{}` has no package.yaml", name.value);
            let folder = &self.input.matrix.folders.packages;
            let hint = format!("write {folder}/{}/package.yaml", name.value);
            self.fault(&name.location, "unknown-package", message, hint);
            return;
        };
        for version in &entry.versions {
            let of_version = |release: &&PackageRelease| release.version.value == version.value;
            let releases: Vec<_> = package.releases.iter().filter(of_version).collect();
            if releases.is_empty() {
                self.refuse_version(package, version);
                continue;
            }
            if entry.variants.is_empty() {
                match releases.iter().find(|release| release.variant.is_none()) {
                    Some(release) => self.release(entry, release),
                    None => self.refuse_plain(package, version, &releases),
                }
            }
            for variant in &entry.variants {
                let wanted = Some(&variant.value);
                match releases
                    .iter()
                    .find(|release| release.variant.as_ref() == wanted)
                {
                    Some(release) => self.release(entry, release),
                    None => self.refuse_variant(package, version, variant),
                }
            }
        }
    }

    fn refuse_plain(
        &mut self,
        package: &Package,
        version: &Located<PackageVersion>,
        releases: &[&PackageRelease],
    ) {
        let message = format!(
            "release {} of package `{}` has variants only",
            version.value, package.name
        );
        let variants: Vec<_> = releases
            .iter()
            .filter_map(|release| release.variant.as_ref())
            .map(ToString::to_string)
            .collect();
        let hint = format!("choose with `variants: [{}]`", variants.join(", "));
        self.fault(&version.location, "unknown-variant", message, hint);
    }

    fn refuse_variant(
        &mut self,
        package: &Package,
        version: &Located<PackageVersion>,
        variant: &Located<VariantName>,
    ) {
        let message = format!(
            "release {} of package `{}` has no variant `{}`",
            version.value, package.name, variant.value
        );
        let labels: Vec<_> = package.releases.iter().map(PackageRelease::label).collect();
        let hint = format!("its package.yaml has {}", labels.join(", "));
        self.fault(&variant.location, "unknown-variant", message, hint);
    }

    fn refuse_version(&mut self, package: &Package, version: &Located<PackageVersion>) {
        let message = format!(
            "package `{}` has no release {}",
            package.name, version.value
        );
        let known: Vec<_> = package.releases.iter().map(PackageRelease::label).collect();
        let hint = format!("its package.yaml has {}", known.join(", "));
        self.fault(&version.location, "unknown-version", message, hint);
    }

    fn release(&mut self, entry: &'a MatrixPackage, release: &PackageRelease) {
        let patches = self.patches(&entry.name.value, release);
        let Some(source_identity) = self.source_identity(release) else {
            return;
        };
        let release = Arc::new(release.clone());
        let matrix = self.input.matrix;
        for environment in &matrix.environments {
            if !entry.is_built_in(environment) {
                continue;
            }
            for torch in &environment.torch {
                for python in &environment.python {
                    let part = CandidatePart {
                        entry,
                        release: &release,
                        environment,
                        torch,
                        python,
                        patches: &patches,
                        source_identity: &source_identity,
                    };
                    self.candidate(&part);
                }
            }
        }
    }

    fn candidate(&mut self, part: &CandidatePart<'a, '_>) {
        let Some(id) = part.id() else {
            let message = format!(
                "package version `{}` gives no job id",
                part.release.version.value
            );
            let hint = "use letters, digits and `-._+`".to_owned();
            self.fault(&part.entry.name.location, "job-id", message, hint);
            return;
        };
        if let Some(reason) = self.exclusion(part) {
            self.excluded.push(ExcludedJob { id, reason });
            return;
        }
        let archs = part.entry.asked_archs(self.input.matrix);
        let combination = Combination {
            package: part.entry.name.value.as_str(),
            release: part.release,
            environment: part.environment,
            torch: part.torch,
            python: part.python,
            archs,
        };
        rules::judge(&combination, &mut self.judgement);
        let archs = match part.release.kernels {
            Kernels::JustInTime => None,
            Kernels::Compiled { .. } => {
                let archs = ArchList::new(archs.iter().map(|arch| arch.value));
                if archs.is_none() {
                    let message =
                        format!("package `{}` has no archs to build", part.entry.name.value);
                    let hint =
                        "give the matrix or the package's entry `archs: [\"9.0\", …]`".to_owned();
                    self.fault(&part.entry.name.location, "no-archs", message, hint);
                }
                archs
            }
        };
        self.candidates.push(Candidate {
            id,
            package: part.entry,
            release: Arc::clone(part.release),
            environment: Arc::new(part.environment(self.input.matrix)),
            environment_name: &part.environment.name,
            archs,
            patches: Arc::clone(part.patches),
            source_identity: Arc::clone(part.source_identity),
        });
    }

    fn exclusion(&mut self, part: &CandidatePart<'_, '_>) -> Option<String> {
        let exclusions = self.input.matrix.exclusions.iter().zip(&mut self.idle);
        let mut reason = None;
        for (exclusion, idle) in exclusions {
            if part.is_matched_by(exclusion) {
                *idle = false;
                reason.get_or_insert_with(|| exclusion.reason.clone());
            }
        }
        reason
    }

    /// The release's patches; none when something is wrong with them, for there may be more to say.
    fn patches(&mut self, package: &PackageName, release: &PackageRelease) -> Arc<[JobPatch]> {
        let folder = &self.input.matrix.folders.patches;
        let read = patches::of_release(package, release, folder, self.input.patches);
        let patches = read.unwrap_or_else(|faults| {
            self.judgement.faults.extend(faults.iter().cloned());
            Vec::new()
        });
        let patches = patches.iter().map(|patch| JobPatch {
            name: patch.name().to_owned(),
            text: patch.text().to_owned(),
            sha256: patch.sha256(),
        });
        patches.collect()
    }

    fn source_identity(&mut self, release: &PackageRelease) -> Option<Arc<str>> {
        let pinned = |own: &str| Some(release.source_identity(own).into());
        let Source::Folder { path } = &release.source else {
            return pinned(&release.source.identity()?);
        };
        if let Some(digest) = self.input.folders.get(path) {
            return pinned(&Source::folder_identity(*digest));
        }
        let message = format!("source folder `{path}` is not there");
        let hint = "the path is relative to the package's folder".to_owned();
        self.fault(&release.version.location, "missing-folder", message, hint);
        None
    }

    fn refuse_idle_exclusions(&mut self) {
        let matrix = self.input.matrix;
        for (exclusion, idle) in matrix.exclusions.iter().zip(self.idle.clone()) {
            if idle {
                let message = "this exclusion takes no job out".to_owned();
                let hint = "remove it, or mend the axis that does not match".to_owned();
                self.fault(&exclusion.location, "idle-exclusion", message, hint);
            }
        }
    }

    fn refuse_equal_ids(&mut self) {
        self.candidates.sort_by(|one, other| one.id.cmp(&other.id));
        let faults: Vec<_> = self
            .candidates
            .windows(2)
            .filter(|pair| pair[0].id == pair[1].id)
            .map(|pair| {
                let message = format!(
                    "job `{}` comes from two environments: `{}` and `{}`",
                    pair[0].id, pair[0].environment_name.value, pair[1].environment_name.value
                );
                Diagnostic::new(
                    pair[1].environment_name.location.clone(),
                    "equal-jobs",
                    message,
                )
                .with_hint("one (CUDA, torch, Python) belongs to one environment")
            })
            .collect();
        self.judgement.faults.extend(faults);
    }

    /// One wheel of a stable-ABI package serves several Pythons or torches: of each such group only
    /// the job with the lowest versions is kept.
    fn drop_what_others_serve(&mut self) {
        let mut kept: BTreeMap<Vec<String>, (PythonVersion, TorchVersion, JobId)> = BTreeMap::new();
        for candidate in &self.candidates {
            let rank = candidate.rank();
            let entry = kept
                .entry(candidate.group())
                .or_insert_with(|| rank.clone());
            if (rank.1, rank.0) < (entry.1, entry.0) {
                *entry = rank;
            }
        }
        let (keep, drop): (Vec<_>, Vec<_>) = std::mem::take(&mut self.candidates)
            .into_iter()
            .partition(|candidate| kept[&candidate.group()].2 == candidate.id);
        self.candidates = keep;
        self.excluded
            .extend(drop.into_iter().map(|candidate| ExcludedJob {
                reason: format!(
                    "the wheel of `{}` serves it too",
                    kept[&candidate.group()].2
                ),
                id: candidate.id,
            }));
    }

    fn jobs(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for candidate in std::mem::take(&mut self.candidates) {
            let parts = JobParts {
                id: candidate.id,
                package: candidate.package.name.value.clone(),
                release: candidate.release,
                environment: candidate.environment,
                archs: candidate.archs,
                patches: candidate.patches,
                source_identity: candidate.source_identity,
                source_date_epoch_s: self.input.matrix.build.source_date_epoch_s,
            };
            match Job::new(parts) {
                Ok(job) => jobs.push(job),
                Err(error) => {
                    let location = error.location().clone();
                    let fault = Diagnostic::new(location, "package-env", error.to_string());
                    self.judgement.faults.push(fault.with_hint(error.hint()));
                }
            }
        }
        jobs
    }

    fn fault(&mut self, location: &Location, rule: &'static str, message: String, hint: String) {
        self.judgement
            .faults
            .push(Diagnostic::new(location.clone(), rule, message).with_hint(hint));
    }
}

impl Candidate<'_> {
    /// What candidates have in common that one wheel may serve.
    fn group(&self) -> Vec<String> {
        let environment = &self.environment;
        let mut group = vec![
            self.package.name.value.to_string(),
            self.release.label(),
            environment.cuda.to_string(),
        ];
        if self.release.serves.torch == Reach::One {
            group.push(format!("torch {}", environment.torch));
        }
        if self.release.serves.python == Reach::One {
            group.push(format!("python {}", environment.python));
        }
        group
    }

    fn rank(&self) -> (PythonVersion, TorchVersion, JobId) {
        let environment = &self.environment;
        (environment.python, environment.torch, self.id.clone())
    }
}

/// One release in one environment at one torch and one Python.
struct CandidatePart<'a, 'b> {
    entry: &'a MatrixPackage,
    release: &'b Arc<PackageRelease>,
    environment: &'a EnvironmentAxes,
    torch: &'a Located<TorchVersion>,
    python: &'a Located<PythonVersion>,
    patches: &'b Arc<[JobPatch]>,
    source_identity: &'b Arc<str>,
}

impl CandidatePart<'_, '_> {
    fn id(&self) -> Option<JobId> {
        let variant = match &self.release.variant {
            None => String::new(),
            Some(variant) => format!("-{variant}"),
        };
        let id = format!(
            "{}-{}{variant}-{}-torch{}-{}",
            self.entry.name.value,
            self.release.version.value,
            self.environment.cuda.value.tag(),
            self.torch.value.abi(),
            self.python.value.tag()
        );
        id.parse().ok()
    }

    fn environment(&self, matrix: &Matrix) -> Environment {
        Environment {
            name: self.environment.name.value.clone(),
            base: self.environment.base.clone(),
            toolkit: self.environment.toolkit,
            cuda: self.environment.cuda.value,
            torch: self.torch.value,
            torch_index: self.environment.torch_index.clone(),
            python: self.python.value,
            package_index: matrix.build.package_index.clone(),
        }
    }

    fn is_matched_by(&self, exclusion: &Exclusion) -> bool {
        fn names<T: PartialEq>(axis: &[T], value: &T) -> bool {
            axis.is_empty() || axis.contains(value)
        }
        names(&exclusion.packages, &self.entry.name.value)
            && names(&exclusion.versions, &self.release.version.value)
            && names(&exclusion.environments, &self.environment.name.value)
            && names(&exclusion.cuda, &self.environment.cuda.value)
            && names(&exclusion.torch, &self.torch.value)
            && names(&exclusion.python, &self.python.value)
    }
}
