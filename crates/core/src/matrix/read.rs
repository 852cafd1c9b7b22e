//! From the raw matrix to the checked one, gathering every fault instead of the first.

use std::fmt::Display;
use std::str::FromStr;

use super::raw::{
    RawBase, RawBuildPolicy, RawEnvironment, RawExclusion, RawFolders, RawMatrix, RawMatrixPackage,
};
use super::{
    Base, BuildPolicy, CaBundle, EnvironmentAxes, Exclusion, Folders, Matrix, MatrixPackage,
    TorchIndex,
};
use crate::arch::{ArchError, ArchTarget};
use crate::diagnostic::{Diagnostics, Located};
use crate::ident::{IdentError, JobId, PackageName};
use crate::quantity::{ByteSize, QuantityError};
use crate::source::{INDEX_HINT, IndexUrl, SourceUrlError};
use crate::version::VersionError;
use crate::yaml::{self, At, Reading};

/// 1980-01-01: the earliest time that a zip can hold.
const ZIP_EPOCH_S: u64 = 315_532_800;

/// What stays free of a disk unless the matrix says otherwise: enough for an engine and a farm to
/// end what they do, remove what they made and write down why.
const DISK_RESERVE: ByteSize = ByteSize::gib(5);

/// What a package's compiler cache may hold unless the matrix says so: torch-spline-conv's objects for two
/// archs take 46 MB of it, flash-attn's many have room for several torch versions.
const COMPILER_CACHE: ByteSize = ByteSize::gib(10);

pub(super) fn matrix(file: &str, text: &str) -> Result<Matrix, Diagnostics> {
    let raw: RawMatrix = yaml::parse_schema_1(file, text)?;
    let mut reader = Reader {
        reading: Reading::new(file),
    };
    let matrix = reader.matrix(raw);
    Diagnostics::check(matrix, reader.reading.faults)
}

struct Reader<'a> {
    reading: Reading<'a>,
}

impl Reader<'_> {
    fn matrix(&mut self, raw: RawMatrix) -> Matrix {
        if raw.farm.value.parse::<JobId>().is_err() {
            let message = format!("farm name `{}` is not a plain word", raw.farm.value);
            let location = yaml::place(self.reading.file, &raw.farm);
            let hint = "letters, digits and `-._+` only: it labels containers and images";
            self.reading.fault(location, "farm-name", message, hint);
        }
        let environments = raw.environments.value.iter();
        let names: Vec<_> = environments.map(|env| env.name.value.clone()).collect();
        let environments = self.environments(raw.environments);
        let packages = self.packages(&raw.packages, &names);
        let exclusions = raw
            .exclude
            .into_iter()
            .map(|exclusion| self.exclusion(exclusion, &names))
            .collect();
        Matrix {
            file: self.reading.file.to_owned(),
            farm: raw.farm.value,
            folders: folders(raw.folders),
            archs: self.archs(&raw.archs),
            packages,
            environments,
            exclusions,
            build: self.build(raw.build),
        }
    }

    fn environments(&mut self, raw: At<Vec<RawEnvironment>>) -> Vec<EnvironmentAxes> {
        self.refuse_empty("environments", &raw);
        let environments: Vec<_> = raw
            .value
            .into_iter()
            .filter_map(|environment| self.environment(environment))
            .collect();
        self.refuse_twice("environment", environments.iter().map(|env| &env.name));
        environments
    }

    fn environment(&mut self, raw: RawEnvironment) -> Option<EnvironmentAxes> {
        let name = self.located(&raw.name);
        let cuda = self.reading.read(&raw.cuda, "cuda-version", version_hint);
        self.refuse_empty("torch", &raw.torch);
        self.refuse_empty("python", &raw.python);
        let torch = self.read_all(&raw.torch.value, "torch-version", version_hint);
        let python = self.read_all(&raw.python.value, "python-version", version_hint);
        self.refuse_twice("torch", &torch);
        self.refuse_twice("python", &python);
        Some(EnvironmentAxes {
            name,
            base: base(raw.base),
            toolkit: raw.toolkit,
            cuda: cuda?,
            torch_index: self.torch_index(raw.torch_index)?,
            torch,
            python,
        })
    }

    fn torch_index(&mut self, raw: Option<At<String>>) -> Option<TorchIndex> {
        let Some(raw) = raw else {
            return Some(TorchIndex::Pypi);
        };
        if raw.value.starts_with("https://") || raw.value.starts_with("http://") {
            return Some(TorchIndex::Url(raw.value));
        }
        let message = format!("torch-index `{}` is not a URL", raw.value);
        let location = yaml::place(self.reading.file, &raw);
        let hint = "leave it out for PyPI, or write `https://download.pytorch.org/whl/cu128`";
        self.reading.fault(location, "torch-index", message, hint);
        None
    }

    fn packages(
        &mut self,
        raw: &At<Vec<RawMatrixPackage>>,
        environments: &[String],
    ) -> Vec<MatrixPackage> {
        self.refuse_empty("packages", raw);
        let packages: Vec<_> = raw
            .value
            .iter()
            .filter_map(|package| self.package(package, environments))
            .collect();
        self.refuse_twice("package", packages.iter().map(|package| &package.name));
        packages
    }

    fn package(
        &mut self,
        raw: &RawMatrixPackage,
        environments: &[String],
    ) -> Option<MatrixPackage> {
        let name = self
            .reading
            .read(&raw.name, "package-name", |_: &IdentError| {
                PackageName::normalise(&raw.name.value)
                    .ok()
                    .map(|name| format!("write `{name}`"))
            });
        self.refuse_empty("versions", &raw.versions);
        let versions = self.read_all(&raw.versions.value, "package-version", version_hint);
        self.refuse_twice("version", &versions);
        let variants = self.read_all(&raw.variants, "variant", |_: &IdentError| None);
        self.refuse_twice("variant", &variants);
        self.refuse_unknown_environments(&raw.environments, environments);
        Some(MatrixPackage {
            name: name?,
            versions,
            variants,
            environments: raw.environments.iter().map(|at| self.located(at)).collect(),
            archs: self.archs(&raw.archs),
        })
    }

    fn exclusion(&mut self, at: At<RawExclusion>, environments: &[String]) -> Exclusion {
        let location = yaml::place(self.reading.file, &at);
        let raw = at.value;
        if raw.reason.trim().is_empty() {
            let message = "an exclusion has no reason".to_owned();
            let hint = "say why, in one line";
            self.reading
                .fault(location.clone(), "no-reason", message, hint);
        }
        let axes = [
            &raw.packages,
            &raw.versions,
            &raw.environments,
            &raw.cuda,
            &raw.torch,
            &raw.python,
        ];
        if axes.iter().all(|axis| axis.is_empty()) {
            let message = "this exclusion would take every job out".to_owned();
            let hint = "name `packages`, `versions`, `environments`, `cuda`, `torch` or `python`";
            self.reading
                .fault(location.clone(), "boundless-exclusion", message, hint);
        }
        self.refuse_unknown_environments(&raw.environments, environments);
        Exclusion {
            packages: self.values(&raw.packages, "package-name", |_: &IdentError| None),
            versions: self.values(&raw.versions, "package-version", version_hint),
            environments: raw.environments.into_iter().map(|at| at.value).collect(),
            cuda: self.values(&raw.cuda, "cuda-version", version_hint),
            torch: self.values(&raw.torch, "torch-version", version_hint),
            python: self.values(&raw.python, "python-version", version_hint),
            reason: raw.reason,
            location,
        }
    }

    fn build(&mut self, raw: RawBuildPolicy) -> BuildPolicy {
        let mut amount = |at: Option<At<String>>| {
            let hint = |error: &QuantityError| Some(error.hint().to_owned());
            let read = at.and_then(|at| self.reading.read(&at, "amount", hint));
            read.map(|amount: Located<ByteSize>| amount.value)
        };
        let memory = amount(raw.memory);
        let disk_reserve = amount(raw.disk_reserve).unwrap_or(DISK_RESERVE);
        let cache = match raw.cache {
            Some(at) if at.value == "off" => None,
            at => amount(at).or(Some(COMPILER_CACHE)),
        };
        let jobs = raw.jobs.map(|jobs| {
            if jobs.value == 0 {
                let location = yaml::place(self.reading.file, &jobs);
                let message = "no job could ever run".to_owned();
                self.reading.fault(
                    location,
                    "jobs",
                    message,
                    "write `jobs: 1` or more, or leave it out",
                );
            }
            jobs.value
        });
        let package_index = raw.package_index.map_or_else(IndexUrl::default, |index| {
            self.reading
                .read(&index, "source-url", index_hint)
                .map_or_else(IndexUrl::default, |index| index.value)
        });
        let source_date_epoch_s = raw.source_date_epoch.map_or(ZIP_EPOCH_S, |epoch| {
            if epoch.value < ZIP_EPOCH_S {
                let location = yaml::place(self.reading.file, &epoch);
                let message = format!("{} lies before what a zip can hold", epoch.value);
                let hint = format!("write {ZIP_EPOCH_S} (1980-01-01) or later");
                self.reading
                    .fault(location, "source-date-epoch", message, &hint);
            }
            epoch.value
        });
        BuildPolicy {
            ca_bundle: match raw.ca_bundle.as_deref() {
                None | Some("image") => CaBundle::Image,
                Some("host") => CaBundle::Host,
                Some(path) => CaBundle::File(path.into()),
            },
            jobs,
            memory,
            disk_reserve,
            cache,
            package_index: package_index.to_string(),
            source_date_epoch_s,
        }
    }

    fn archs(&mut self, raw: &[At<String>]) -> Vec<Located<ArchTarget>> {
        self.read_all(raw, "unknown-arch", |error: &ArchError| Some(error.hint()))
    }

    fn located(&self, at: &At<String>) -> Located<String> {
        Located {
            value: at.value.clone(),
            location: yaml::place(self.reading.file, at),
        }
    }

    fn read_all<T, E>(
        &mut self,
        raw: &[At<String>],
        rule: &'static str,
        hint: impl Fn(&E) -> Option<String> + Copy,
    ) -> Vec<Located<T>>
    where
        T: FromStr<Err = E>,
        E: std::error::Error,
    {
        raw.iter()
            .filter_map(|at| self.reading.read(at, rule, hint))
            .collect()
    }

    fn values<T, E>(
        &mut self,
        raw: &[At<String>],
        rule: &'static str,
        hint: impl Fn(&E) -> Option<String> + Copy,
    ) -> Vec<T>
    where
        T: FromStr<Err = E>,
        E: std::error::Error,
    {
        self.read_all(raw, rule, hint)
            .into_iter()
            .map(|located| located.value)
            .collect()
    }

    fn refuse_twice<'v, T: PartialEq + Display + 'v>(
        &mut self,
        what: &str,
        values: impl IntoIterator<Item = &'v Located<T>>,
    ) {
        let mut seen: Vec<&Located<T>> = Vec::new();
        for value in values {
            if let Some(first) = seen.iter().find(|other| other.value == value.value) {
                let message = format!(
                    "{what} `{}` stands here twice; first in line {}",
                    value.value, first.location.line
                );
                let hint = "merge the two entries";
                self.reading
                    .fault(value.location.clone(), "duplicate-entry", message, hint);
            }
            seen.push(value);
        }
    }

    /// An empty list along any axis gives a matrix without jobs, which nobody means.
    fn refuse_empty<T>(&mut self, key: &str, list: &At<Vec<T>>) {
        if list.value.is_empty() {
            let message = format!("`{key}` is empty, so there is nothing to build");
            let hint = format!("give `{key}` at least one entry");
            self.reading.fault(
                yaml::place(self.reading.file, list),
                "empty-list",
                message,
                &hint,
            );
        }
    }

    fn refuse_unknown_environments(&mut self, wanted: &[At<String>], known: &[String]) {
        for wanted in wanted {
            if !known.contains(&wanted.value) {
                let message = format!("environment `{}` is not in this matrix", wanted.value);
                let hint = format!("the environments are: {}", known.join(", "));
                let location = yaml::place(self.reading.file, wanted);
                self.reading
                    .fault(location, "unknown-environment", message, &hint);
            }
        }
    }
}

fn folders(raw: Option<RawFolders>) -> Folders {
    let (packages, patches) = match raw {
        Some(raw) => (raw.packages, raw.patches),
        None => ("packages".to_owned(), "patches".to_owned()),
    };
    Folders {
        packages: packages.into(),
        patches: patches.into(),
    }
}

fn base(raw: RawBase) -> Base {
    match raw {
        RawBase::Debootstrap(raw) => Base::Debootstrap {
            suite: raw.suite,
            mirror: raw
                .mirror
                .unwrap_or_else(|| "http://deb.debian.org/debian".to_owned()),
        },
        RawBase::Image(raw) => Base::Image {
            reference: raw.reference,
            interpreter: raw.interpreter,
        },
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that `read` takes")]
fn index_hint(_: &SourceUrlError) -> Option<String> {
    Some(INDEX_HINT.to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that `read` takes")]
fn version_hint(error: &VersionError) -> Option<String> {
    Some(error.hint().to_owned())
}
