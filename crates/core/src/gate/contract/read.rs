//! From the written contract to the checked one, gathering every fault instead of the first.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::families::FAMILIES;
use super::{
    Contract, ContractTerms, DeviceCode, GlibcVersion, GlibcVersionError, ModuleTerms, Pattern,
    PtxTerms, PythonAbi, SourceTerms, TargetTerms,
};
use crate::arch::{Arch, ArchList, ArchTarget};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::ident::{IdentError, PackageName, VariantName};
use crate::quantity::{ByteSize, QuantityError};
use crate::version::{CudaVersion, PackageVersion, PythonVersion, TorchVersion, VersionRange};
use crate::yaml::{self, At, Reading};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawContract {
    /// One line for each module; without any, every module with GPU code has all that was asked for.
    #[serde(default)]
    modules: Vec<RawModule>,
    /// Lines for sources that are not compiled for all that their module is compiled for.
    #[serde(default)]
    sources: Vec<RawSourceTerms>,
    /// What the modules may need besides libc.
    #[cfg_attr(test, schemars(with = "Option<Vec<crate::schema::LibraryFamily>>"))]
    libraries: Option<Vec<At<String>>>,
    /// Globs over mangled names that may be in no library of the environment.
    #[serde(default)]
    symbols: Vec<At<String>>,
    /// The highest glibc that a module may need.
    #[cfg_attr(test, schemars(with = "Option<GlibcVersion>"))]
    glibc: Option<At<String>>,
    /// How large the wheel may be.
    #[cfg_attr(test, schemars(with = "Option<ByteSize>"))]
    size: Option<At<String>>,
    /// What the modules may use of Python.
    python_abi: Option<PythonAbi>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawModule {
    /// A glob over paths in the wheel; `*` matches `/` too. The first line that fits a module counts.
    name: At<String>,
    /// The toolkits for which the line is there.
    #[cfg_attr(test, schemars(with = "Option<VersionRange>"))]
    cuda: Option<At<String>>,
    /// Globs over the `.cu` files that it is compiled from.
    #[serde(default)]
    sources: Vec<At<String>>,
    /// Of the archs asked for, those that it is built for.
    #[cfg_attr(test, schemars(with = "Option<Vec<Arch>>"))]
    archs: Option<Vec<At<String>>>,
    /// What it holds for an arch that was asked for.
    #[cfg_attr(test, schemars(with = "BTreeMap<Arch, Arch>"))]
    #[serde(default)]
    built_as: BTreeMap<String, At<String>>,
    /// Whether it has the PTX that was asked for.
    #[serde(default)]
    ptx: PtxTerms,
    /// Whether it has GPU code.
    #[serde(default)]
    device_code: DeviceCode,
    /// Whether its archs have the same kernels.
    kernels: Option<RawKernels>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSourceTerms {
    /// Globs over paths in the source; `*` matches `/` too.
    files: Vec<At<String>>,
    /// The toolkits for which the line is there.
    #[cfg_attr(test, schemars(with = "Option<VersionRange>"))]
    cuda: Option<At<String>>,
    /// Of the archs asked for, those that they are compiled for.
    #[cfg_attr(test, schemars(with = "Option<Vec<Arch>>"))]
    archs: Option<Vec<At<String>>>,
    /// What they are compiled for instead of an arch that was asked for.
    #[cfg_attr(test, schemars(with = "BTreeMap<Arch, Arch>"))]
    #[serde(default)]
    built_as: BTreeMap<String, At<String>>,
    /// Whether they have the PTX that was asked for.
    #[serde(default)]
    ptx: PtxTerms,
    /// Archs that they may be compiled for besides.
    #[cfg_attr(test, schemars(with = "Vec<Arch>"))]
    #[serde(default)]
    may_add: Vec<At<String>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[cfg_attr(test, schemars(rename = "RawKernelTerms"))]
struct RawKernels {
    /// Why the archs need not have the same kernels.
    #[cfg_attr(test, schemars(regex(pattern = r"\S")))]
    may_differ: At<String>,
}

/// A contract for wheels that no matrix of this farm builds.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawContractFile {
    /// Always 1.
    #[cfg_attr(test, schemars(extend("const" = 1)))]
    #[expect(dead_code, reason = "judged before the rest is read")]
    schema: u32,
    /// What the wheel must be of.
    #[cfg_attr(test, schemars(with = "PackageName"))]
    project: At<String>,
    /// Its version, without a local part.
    #[cfg_attr(test, schemars(with = "PackageVersion"))]
    version: At<String>,
    /// Its variant.
    #[cfg_attr(test, schemars(with = "Option<VariantName>"))]
    variant: Option<At<String>>,
    /// What was asked for; left out for a package without GPU code.
    #[cfg_attr(test, schemars(with = "Option<Vec<ArchTarget>>"))]
    archs: Option<Vec<At<String>>>,
    /// The CUDA that it is for.
    #[cfg_attr(test, schemars(with = "CudaVersion"))]
    cuda: At<String>,
    /// The torch that it is for.
    #[cfg_attr(test, schemars(with = "TorchVersion"))]
    torch: At<String>,
    /// The Python that it is for.
    #[cfg_attr(test, schemars(with = "PythonVersion"))]
    python: At<String>,
    /// What it must hold and may need.
    #[serde(default)]
    contract: RawContract,
}

/// The schema of a contract file.
#[cfg(test)]
pub(crate) fn schema(name: &str, title: &str) -> String {
    crate::schema::made::<RawContractFile>(name, title)
}

/// The families that a package's wheels may need when its contract names none: what torch's own
/// extension builder links.
const USUAL_FAMILIES: [&str; 4] = ["cuda-runtime", "cxx", "openmp", "torch"];

/// Reads a contract file, which the user knows as `file`.
pub fn parse_file(file: &str, text: &str) -> Result<Contract, Diagnostics> {
    let raw: RawContractFile = yaml::parse_schema_1(file, text)?;
    let mut reader = Reader {
        reading: Reading::new(file),
    };
    let version_hint = |error: &crate::version::VersionError| Some(error.hint().to_owned());
    let project =
        reader
            .reading
            .read::<PackageName, _>(&raw.project, "package-name", |_: &IdentError| None);
    let version =
        reader
            .reading
            .read::<PackageVersion, _>(&raw.version, "package-version", version_hint);
    let variant = raw.variant.and_then(|variant| {
        let variant =
            reader
                .reading
                .read::<VariantName, _>(&variant, "variant", |_: &IdentError| None);
        variant.map(|variant| variant.value)
    });
    let archs = raw.archs.as_ref().map(|archs| {
        let targets = archs.iter().filter_map(|arch| {
            reader
                .reading
                .read::<ArchTarget, _>(arch, "unknown-arch", |error| Some(error.hint()))
        });
        ArchList::new(targets.map(|target| target.value))
    });
    let cuda = reader
        .reading
        .read::<CudaVersion, _>(&raw.cuda, "version", version_hint);
    let torch = reader
        .reading
        .read::<TorchVersion, _>(&raw.torch, "version", version_hint);
    let python = reader
        .reading
        .read::<PythonVersion, _>(&raw.python, "version", version_hint);
    let terms = reader.terms(raw.contract);
    let contract = (|| {
        Some(Contract {
            project: project?.value,
            version: version?.value,
            variant,
            build_number: None,
            archs: archs.flatten(),
            cuda: cuda?.value,
            torch: torch?.value,
            python: python?.value,
            terms,
        })
    })();
    match contract {
        Some(contract) => Diagnostics::check(contract, reader.reading.faults),
        None => Err(Diagnostics::check((), reader.reading.faults)
            .expect_err("a reading that gave no contract has said why")),
    }
}

/// Reads the `contract:` of a release; what is wrong with it goes to `faults`.
pub(crate) fn read_terms(
    file: &str,
    raw: RawContract,
    faults: &mut Vec<Diagnostic>,
) -> ContractTerms {
    let mut reader = Reader {
        reading: Reading::new(file),
    };
    let terms = reader.terms(raw);
    faults.append(&mut reader.reading.faults);
    terms
}

/// Turns the raw contract into the checked one, gathering every fault.
struct Reader<'a> {
    reading: Reading<'a>,
}

impl Reader<'_> {
    fn terms(&mut self, raw: RawContract) -> ContractTerms {
        let modules = raw.modules.into_iter();
        let modules = modules.filter_map(|module| self.module(module)).collect();
        let sources = raw.sources.into_iter();
        let sources = sources.filter_map(|terms| self.source(terms)).collect();
        let libraries = match raw.libraries {
            None => USUAL_FAMILIES.map(str::to_owned).into(),
            Some(names) => names
                .into_iter()
                .filter_map(|name| self.family(name))
                .collect(),
        };
        let symbols = self.patterns(&raw.symbols);
        let glibc = raw.glibc.and_then(|glibc| {
            self.reading.read::<GlibcVersion, _>(
                &glibc,
                "glibc-version",
                |_: &GlibcVersionError| Some("write major and minor, quoted: \"2.34\"".to_owned()),
            )
        });
        let size = raw.size.and_then(|size| {
            let hint = |error: &QuantityError| Some(error.hint().to_owned());
            self.reading.read::<ByteSize, _>(&size, "amount", hint)
        });
        ContractTerms {
            modules,
            sources,
            libraries,
            symbols,
            glibc: glibc.map(|glibc| glibc.value),
            size: size.map(|size| size.value),
            python_abi: raw.python_abi,
        }
    }

    fn module(&mut self, raw: RawModule) -> Option<ModuleTerms> {
        let name = self.pattern(&raw.name);
        let cuda = self.range(raw.cuda);
        let targets = self.targets(raw.archs, raw.built_as, raw.ptx);
        Some(ModuleTerms {
            name: name?,
            cuda: cuda?,
            sources: self.patterns(&raw.sources),
            targets,
            device_code: raw.device_code,
            kernels_may_differ: raw.kernels.and_then(|kernels| self.reason(kernels)),
        })
    }

    fn source(&mut self, raw: RawSourceTerms) -> Option<SourceTerms> {
        let cuda = self.range(raw.cuda);
        let targets = self.targets(raw.archs, raw.built_as, raw.ptx);
        Some(SourceTerms {
            files: self.patterns(&raw.files),
            cuda: cuda?,
            targets,
            may_add: raw
                .may_add
                .iter()
                .filter_map(|arch| self.arch(arch))
                .collect(),
        })
    }

    /// A range that was not written holds everything.
    fn range(&mut self, raw: Option<At<String>>) -> Option<VersionRange> {
        let Some(raw) = raw else {
            return Some(VersionRange::any());
        };
        let hint = |error: &crate::version::VersionError| Some(error.hint().to_owned());
        let range = self
            .reading
            .read::<VersionRange, _>(&raw, "version-range", hint);
        range.map(|range| range.value)
    }

    fn targets(
        &mut self,
        archs: Option<Vec<At<String>>>,
        raw_built_as: BTreeMap<String, At<String>>,
        ptx: PtxTerms,
    ) -> TargetTerms {
        let archs = archs.map(|archs| archs.iter().filter_map(|arch| self.arch(arch)).collect());
        let mut built_as = BTreeMap::new();
        for (asked, built) in raw_built_as {
            let place = yaml::place(self.reading.file, &built);
            let Some(built) = self.arch(&built) else {
                continue;
            };
            match asked.parse::<Arch>() {
                Ok(asked) => {
                    built_as.insert(asked, built);
                }
                Err(error) => {
                    let fault = Diagnostic::new(place, "unknown-arch", error.to_string());
                    self.reading.faults.push(fault.with_hint(error.hint()));
                }
            }
        }
        TargetTerms {
            archs,
            built_as,
            ptx,
        }
    }

    fn patterns(&mut self, raw: &[At<String>]) -> Vec<Pattern> {
        raw.iter().filter_map(|at| self.pattern(at)).collect()
    }

    fn reason(&mut self, kernels: RawKernels) -> Option<String> {
        let reason = kernels.may_differ;
        if !reason.value.trim().is_empty() {
            return Some(reason.value);
        }
        let place = yaml::place(self.reading.file, &reason);
        let message = "kernels may not differ without a reason".to_owned();
        let hint = "say in a line why an arch lacks what another one has";
        self.reading.fault(place, "reason", message, hint);
        None
    }

    fn arch(&mut self, at: &At<String>) -> Option<Arch> {
        let arch = self
            .reading
            .read::<Arch, _>(at, "unknown-arch", |error| Some(error.hint()));
        arch.map(|arch| arch.value)
    }

    fn family(&mut self, at: At<String>) -> Option<String> {
        if FAMILIES.contains_key(&at.value) {
            return Some(at.value);
        }
        let message = format!("`{}` is not a family of libraries", at.value);
        let known: Vec<&str> = FAMILIES.keys().map(String::as_str).collect();
        let hint = format!("there are {}", known.join(", "));
        let fault = Diagnostic::new(
            yaml::place(self.reading.file, &at),
            "library-family",
            message,
        );
        self.reading.faults.push(fault.with_hint(hint));
        None
    }

    fn pattern(&mut self, at: &At<String>) -> Option<Pattern> {
        if let Ok(pattern) = Pattern::new(&at.value) {
            return Some(pattern);
        }
        let message = format!("`{}` is not a glob", at.value);
        let hint = "`*` stands for any text, `?` for one letter, `[ab]` for one of these";
        let place = yaml::place(self.reading.file, at);
        self.reading.fault(place, "glob", message, hint);
        None
    }
}
