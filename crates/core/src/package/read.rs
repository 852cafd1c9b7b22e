//! From the raw package to the checked one, gathering every fault instead of the first.

use std::collections::BTreeMap;

use pep440_rs::Version;

use super::raw::{
    RawArchive, RawBuild, RawExtraSource, RawGit, RawKernels, RawNeeds, RawPackage, RawRelease,
    RawResources, RawSdist, RawSource,
};
use super::{
    BuildSettings, ExtraSource, Kernels, Needs, Package, PackageRelease, Reach, Resources, Serves,
};
use crate::arch::Arch;
use crate::diagnostic::{Diagnostic, Diagnostics, Located};
use crate::digest::Sha256Digest;
use crate::gate::contract;
use crate::ident::{GitCommit, IdentError, PackageName, VariantName};
use crate::output_rule::{OutputRule, OutputRuleError};
use crate::quantity::{ByteSize, QuantityError, TimeLimit};
use crate::source::{
    GitUrl, INDEX_HINT, IndexUrl, RemoteUrl, RemoteUrlError, Source, SourceUrlError, Submodules,
    TreePath, TreePathError,
};
use crate::version::{PackageVersion, VersionError, VersionRange};
use crate::wheel::build_number::BuildNumber;
use crate::yaml::{self, At, Reading};

pub(super) fn package(file: &str, text: &str) -> Result<Package, Diagnostics> {
    let raw: RawPackage = yaml::parse_schema_1(file, text)?;
    let mut reader = Reader {
        reading: Reading::new(file),
    };
    let package = reader.package(raw);
    let faults = reader.reading.faults;
    match package {
        Some(package) => Diagnostics::check(package, faults),
        None => Err(Diagnostics::check((), faults)
            .expect_err("a reading that gave no package has said why")),
    }
}

/// Turns the raw file into the checked one, gathering every fault instead of the first.
struct Reader<'a> {
    reading: Reading<'a>,
}

impl Reader<'_> {
    fn package(&mut self, raw: RawPackage) -> Option<Package> {
        let name = self
            .reading
            .read(&raw.name, "package-name", |_: &IdentError| None);
        let mut releases: Vec<PackageRelease> = Vec::new();
        for release in raw.releases {
            let Some(release) = self.release(name.as_ref().map(|name| &name.value), release) else {
                continue;
            };
            let version = &release.version;
            let is_same = |other: &&PackageRelease| {
                other.version.value == version.value && other.variant == release.variant
            };
            if releases.iter().any(|other| is_same(&other)) {
                let message = format!("release `{}` stands here twice", release.label());
                let location = version.location.clone();
                self.reading.fault(
                    location,
                    "duplicate-release",
                    message,
                    "merge the two entries",
                );
            }
            releases.push(release);
        }
        Some(Package {
            name: name?.value,
            summary: raw.summary,
            licence: raw.licence,
            upstream: raw.upstream,
            links: self.links(raw.links),
            test: raw.test.map(|test| self.located(test)),
            releases,
        })
    }

    fn release(&mut self, name: Option<&PackageName>, raw: RawRelease) -> Option<PackageRelease> {
        let version = self
            .reading
            .read(&raw.version, "package-version", version_hint);
        let variant = raw.variant.and_then(|variant| {
            let variant =
                self.reading
                    .read::<VariantName, _>(&variant, "variant", |_: &IdentError| None);
            variant.map(|variant| variant.value)
        });
        let build_number = raw
            .build_number
            .and_then(|number| self.build_number(&number));
        let source = self.source(name, version.as_ref().map(|v| &v.value), raw.source);
        let extra_sources = raw.extra_sources.iter();
        let extra_sources = extra_sources
            .filter_map(|extra| self.extra_source(extra))
            .collect();
        let patches = raw
            .patches
            .iter()
            .filter_map(|patch| self.patch_name(patch))
            .collect();
        let kernels = self.kernels(raw.kernels);
        let needs = self.needs(raw.needs);
        let build = self.build(raw.build);
        let resources = self.resources(&raw.resources);
        let faults = &mut self.reading.faults;
        let contract = contract::read_terms(self.reading.file, raw.contract, faults);
        Some(PackageRelease {
            version: version?,
            variant,
            build_number,
            source: source?,
            extra_sources,
            patches,
            kernels,
            needs,
            serves: Serves {
                python: raw.serves.python.unwrap_or(Reach::One),
                torch: raw.serves.torch.unwrap_or(Reach::One),
            },
            build,
            resources,
            gpu: raw.gpu,
            contract,
        })
    }

    fn build_number(&mut self, number: &At<u32>) -> Option<BuildNumber> {
        let build = BuildNumber::new(number.value);
        if build.is_none() {
            let location = yaml::place(self.reading.file, number);
            let message = "build number 0 is none".to_owned();
            let hint =
                "leave `build-number` out for the first build; the second is `build-number: 2`";
            self.reading.fault(location, "build-number", message, hint);
        }
        build
    }

    fn source(
        &mut self,
        name: Option<&PackageName>,
        version: Option<&PackageVersion>,
        raw: RawSource,
    ) -> Option<Source> {
        match raw {
            RawSource::Sdist(raw) => self.sdist(name, version, &raw),
            RawSource::Git(raw) => self.git(&raw),
            RawSource::Archive(raw) => self.archive(&raw),
            RawSource::Folder(path) => Some(Source::Folder {
                path: path.value.into(),
            }),
        }
    }

    fn sdist(
        &mut self,
        name: Option<&PackageName>,
        version: Option<&PackageVersion>,
        raw: &RawSdist,
    ) -> Option<Source> {
        let sha256 = self
            .reading
            .read::<Sha256Digest, _>(&raw.sha256, "sdist-sha256", |_| {
                Some("copy it from the file's row at https://pypi.org/simple/<project>/".into())
            });
        let index = match &raw.index {
            None => Some(IndexUrl::default()),
            Some(index) => self
                .reading
                .read(index, "source-url", index_hint)
                .map(|index| index.value),
        };
        Some(Source::Sdist {
            project: name?.clone(),
            version: version?.clone(),
            sha256: sha256?.value,
            index: index?,
        })
    }

    fn git(&mut self, raw: &RawGit) -> Option<Source> {
        let commit = self
            .reading
            .read::<GitCommit, _>(&raw.commit, "floating-git-ref", |_| {
                Some("pin the full commit: `git ls-remote <url> <branch or tag>`".into())
            });
        let url = self
            .reading
            .read::<GitUrl, _>(&raw.url, "source-url", |_: &SourceUrlError| {
                Some("write `https://<host>/<owner>/<project>`".into())
            });
        Some(Source::Git {
            url: url?.value,
            commit: commit?.value,
            submodules: if raw.submodules {
                Submodules::On
            } else {
                Submodules::Off
            },
        })
    }

    fn archive(&mut self, raw: &RawArchive) -> Option<Source> {
        let sha256 = self
            .reading
            .read::<Sha256Digest, _>(&raw.sha256, "archive-sha256", |_| {
                Some("`curl --location URL | sha256sum` prints it".into())
            });
        let url =
            self.reading
                .read::<RemoteUrl, _>(&raw.url, "source-url", |error: &RemoteUrlError| {
                    Some(error.hint().to_owned())
                });
        Some(Source::Archive {
            url: url?.value,
            sha256: sha256?.value,
        })
    }

    fn extra_source(&mut self, raw: &RawExtraSource) -> Option<ExtraSource> {
        let into = self.tree_path(&raw.into);
        let source = match (&raw.git, &raw.archive) {
            (Some(git), None) => self.git(git),
            (None, Some(archive)) => self.archive(archive),
            (None, None) | (Some(_), Some(_)) => {
                let message = format!("extra source `{}` has no single origin", raw.into.value);
                let location = yaml::place(self.reading.file, &raw.into);
                let hint = "give it either `git:` or `archive:`";
                self.reading.fault(location, "extra-source", message, hint);
                None
            }
        };
        Some(ExtraSource {
            into: into?,
            source: source?,
        })
    }

    fn tree_path(&mut self, at: &At<String>) -> Option<Located<TreePath>> {
        self.reading
            .read::<TreePath, _>(at, "source-path", |_: &TreePathError| {
                Some("write a path in the source, with `/`: `csrc/cutlass`".into())
            })
    }

    fn links(&mut self, raw: BTreeMap<String, At<String>>) -> BTreeMap<String, Located<String>> {
        for (name, link) in &raw {
            if link.value.starts_with("https://") {
                continue;
            }
            let message = format!("link `{name}` is not an address");
            let location = yaml::place(self.reading.file, link);
            let hint = "write it in full: `https://…`";
            self.reading.fault(location, "link", message, hint);
        }
        let links = raw.into_iter();
        links.map(|(name, at)| (name, self.located(at))).collect()
    }

    fn patch_name(&mut self, patch: &At<String>) -> Option<Located<String>> {
        let location = yaml::place(self.reading.file, patch);
        if patch.value.contains('/') || patch.value.starts_with('.') {
            let message = format!("patch `{}` is not a plain file name", patch.value);
            let hint = "name a file in patches/<package>/<version>/";
            self.reading.fault(location, "patch-name", message, hint);
            return None;
        }
        Some(Located {
            value: patch.value.clone(),
            location,
        })
    }

    fn kernels(&mut self, raw: RawKernels) -> Kernels {
        match raw {
            RawKernels::JustInTime => Kernels::JustInTime,
            RawKernels::Compiled(raw) => Kernels::Compiled {
                cuda: self.cuda_by_arch(raw.cuda),
                archs: raw
                    .archs
                    .iter()
                    .filter_map(|arch| {
                        self.reading
                            .read::<Arch, _>(arch, "unknown-arch", |error| Some(error.hint()))
                    })
                    .map(|arch| arch.value)
                    .collect(),
                source: raw.source,
            },
        }
    }

    fn cuda_by_arch(&mut self, raw: BTreeMap<String, At<String>>) -> BTreeMap<Arch, VersionRange> {
        let mut ranges = BTreeMap::new();
        for (arch, range) in raw {
            let place = yaml::place(self.reading.file, &range);
            let Some(range) = self.reading.read(&range, "version-range", version_hint) else {
                continue;
            };
            match arch.parse::<Arch>() {
                Ok(arch) => {
                    ranges.insert(arch, range.value);
                }
                Err(error) => {
                    let fault = Diagnostic::new(place, "unknown-arch", error.to_string());
                    self.reading.faults.push(fault.with_hint(error.hint()));
                }
            }
        }
        ranges
    }

    fn needs(&mut self, raw: RawNeeds) -> Needs {
        let mut range = |text: Option<At<String>>| {
            text.and_then(|text| self.reading.read(&text, "version-range", version_hint))
                .map_or_else(VersionRange::any, |range| range.value)
        };
        Needs {
            torch: range(raw.torch),
            python: range(raw.python),
            cuda: range(raw.cuda),
            source: raw.source,
        }
    }

    fn build(&mut self, raw: RawBuild) -> BuildSettings {
        for requirement in &raw.requirements {
            let Some(name) = unpinned(&requirement.value) else {
                continue;
            };
            let message = format!("build requirement `{}` is not pinned", requirement.value);
            let name = if name.is_empty() { "name" } else { name };
            let hint = format!("pin one version: `{name}==1.2.3`");
            let location = yaml::place(self.reading.file, requirement);
            self.reading
                .fault(location, "unpinned-requirement", message, &hint);
        }
        let output = raw.output.and_then(|output| {
            self.reading
                .read::<OutputRule, _>(&output, "output-rule", |_: &OutputRuleError| {
                    Some("the file lies in `$OUT` itself, so write its name alone".into())
                })
        });
        let command = raw.command.and_then(|command| self.command(&command));
        let folder = raw
            .folder
            .as_ref()
            .and_then(|folder| self.tree_path(folder));
        let env = raw.env.into_iter();
        BuildSettings {
            folder: folder.map(|folder| folder.value),
            gpu_shim: raw.gpu_shim,
            requirements: raw.requirements.into_iter().map(|at| at.value).collect(),
            system_packages: raw.system_packages,
            env: env.map(|(name, at)| (name, self.located(at))).collect(),
            command,
            output: output.map(|output| output.value).unwrap_or_default(),
        }
    }

    /// It stands in one line of a Dockerfile.
    fn command(&mut self, command: &At<String>) -> Option<String> {
        if !command.value.contains(char::is_control) {
            return Some(command.value.clone());
        }
        let location = yaml::place(self.reading.file, command);
        let message = "the build command has more than one line".to_owned();
        let hint =
            "begin it with `>-`, which makes one line of several, and end each command with `;`";
        self.reading.fault(location, "build-command", message, hint);
        None
    }

    fn located<T>(&self, at: At<T>) -> Located<T> {
        Located {
            location: yaml::place(self.reading.file, &at),
            value: at.value,
        }
    }

    fn resources(&mut self, raw: &RawResources) -> Resources {
        let hint = |error: &QuantityError| Some(error.hint().to_owned());
        let mut size = |at: &Option<At<String>>, default: ByteSize| {
            at.as_ref()
                .and_then(|at| self.reading.read(at, "amount", hint))
                .map_or(default, |size| size.value)
        };
        let memory = size(&raw.memory, ByteSize::gib(12));
        let memory_per_process = size(&raw.memory_per_process, ByteSize::gib(4).min(memory));
        let disk = size(&raw.disk, ByteSize::gib(10));
        let mut limit = |at: &Option<At<String>>, default: TimeLimit| {
            at.as_ref()
                .and_then(|at| self.reading.read(at, "amount", hint))
                .map_or(default, |limit| limit.value)
        };
        Resources {
            memory,
            memory_per_process,
            processes: raw.processes.unwrap_or(2048),
            disk,
            time: limit(&raw.time, TimeLimit::minutes(360)),
            silence: limit(&raw.silence, TimeLimit::minutes(60)),
        }
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

/// The name in a requirement that is not pinned to one version; `None` when it is.
fn unpinned(requirement: &str) -> Option<&str> {
    let bare = requirement.split(';').next().unwrap_or_default().trim();
    let name_end = bare
        .find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
        .unwrap_or(bare.len());
    let (name, tail) = bare.split_at(name_end);
    let tail = tail.trim_start();
    let specifier = match tail.strip_prefix('[').and_then(|tail| tail.split_once(']')) {
        Some((_, specifier)) => specifier.trim_start(),
        None => tail,
    };
    let version = specifier.strip_prefix("==").map(str::trim);
    let is_pinned = version.is_some_and(|version| version.parse::<Version>().is_ok());
    (!is_pinned || name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(requirement: &str, want: Option<&str>) {
        assert_eq!(unpinned(requirement), want, "{requirement}");
    }

    #[test]
    fn a_requirement_is_pinned_to_one_version_or_not_at_all() {
        check("setuptools==80.9.0", None);
        check("torch[opt] == 2.11.0+cu130", None);
        check("ninja==1.13.0; python_version < \"3.14\"", None);
        check("setuptools", Some("setuptools"));
        check("setuptools>=80", Some("setuptools"));
        check("setuptools==80.*", Some("setuptools"));
        check("setuptools==80.9.0,!=80.9.1", Some("setuptools"));
        check("setuptools===80.9.0", Some("setuptools"));
        check("demo @ https://example.org/demo==1.0", Some("demo"));
        check("==1.0", Some(""));
    }
}
