//! The contract: what a package's wheels must hold and may need, written once per package and held
//! against every wheel.

mod families;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use crate::arch::{Arch, ArchList, ArchTarget, Ptx};
use crate::ident::{PackageName, VariantName};
use crate::plan::Job;
use crate::quantity::ByteSize;
use crate::release::channel::Channel;
use crate::version::{CudaVersion, PackageVersion, PythonVersion, TorchVersion, VersionRange};
use crate::wheel::build_number::BuildNumber;

pub use families::family_of;
pub use read::parse_file;
pub(crate) use read::{RawContract, read_terms};
#[cfg(test)]
pub(crate) use {families::FAMILIES, read::schema};

/// A package's part of the contract: the same for every wheel of a release.
#[derive(Debug, Clone, Default)]
pub struct ContractTerms {
    /// What holds for single modules; empty: every module with GPU code has all that was asked for.
    pub modules: Vec<ModuleTerms>,
    /// What holds for sources that are not compiled for all that their module is compiled for.
    pub sources: Vec<SourceTerms>,
    /// The families of libraries that modules may need besides libc.
    pub libraries: BTreeSet<String>,
    /// Symbols that may stay undefined, as globs over mangled names.
    pub symbols: Vec<Pattern>,
    /// The highest glibc that a module may need.
    pub glibc: Option<GlibcVersion>,
    /// How large the wheel may be.
    pub size: Option<ByteSize>,
    /// What the modules may use of Python.
    pub python_abi: Option<PythonAbi>,
}

/// What holds for the modules of one name.
#[derive(Debug, Clone)]
pub struct ModuleTerms {
    /// Which modules: a glob over paths in the wheel.
    pub name: Pattern,
    /// The toolkits with which the module is built.
    pub cuda: VersionRange,
    /// The files that it is compiled from: globs over paths in the source.
    pub sources: Vec<Pattern>,
    /// What it is compiled for.
    pub targets: TargetTerms,
    /// Whether it has GPU code.
    pub device_code: DeviceCode,
    /// Why its archs need not have the same kernels; `None`: they must.
    pub kernels_may_differ: Option<String>,
}

/// What holds for sources of one name, whichever module they belong to.
#[derive(Debug, Clone)]
pub struct SourceTerms {
    /// Which files: globs over paths in the source.
    pub files: Vec<Pattern>,
    /// The toolkits for which it holds.
    pub cuda: VersionRange,
    /// What they are compiled for.
    pub targets: TargetTerms,
    /// Archs that they may be compiled for besides, as machine code.
    pub may_add: BTreeSet<Arch>,
}

/// What a module or a source is compiled for, of what was asked for.
#[derive(Debug, Clone, Default)]
pub struct TargetTerms {
    /// The archs that it is built for, of those asked for; `None`: all.
    pub archs: Option<BTreeSet<Arch>>,
    /// What it is built for instead of an arch asked for.
    pub built_as: BTreeMap<Arch, Arch>,
    /// Whether it has the PTX that was asked for.
    pub ptx: PtxTerms,
}

/// Whether a module has the PTX that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PtxTerms {
    /// It has.
    #[default]
    AsAsked,
    /// It has none: PTX of an `a` target runs on no later GPU.
    None,
}

/// Whether a module has GPU code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DeviceCode {
    /// It has.
    #[default]
    Required,
    /// It has none.
    None,
}

/// What modules may use of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PythonAbi {
    /// The ABI of one version: `cp312-cp312`.
    Version,
    /// The stable ABI: `abi3`.
    Stable,
    /// Nothing: libraries that Python loads without being an extension of it.
    None,
}

/// A glob and its text.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, globset::Error> {
        let matcher = Glob::new(text)?.compile_matcher();
        let text = text.to_owned();
        Ok(Self { text, matcher })
    }

    /// Whether it matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A version of glibc: `2.28`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GlibcVersion {
    major: u32,
    minor: u32,
}

/// The text is no version of glibc.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a version of glibc")]
pub struct GlibcVersionError(String);

impl std::str::FromStr for GlibcVersion {
    type Err = GlibcVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
            Some(Self {
                major: parts.next()??,
                minor: parts.next()??,
            })
        };
        parse().ok_or_else(|| GlibcVersionError(text.to_owned()))
    }
}

impl std::fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What one wheel is held against: a release's terms in one environment.
#[derive(Debug, Clone)]
pub struct Contract {
    /// The project that the wheel is of.
    pub project: PackageName,
    /// Its upstream version, without a local part.
    pub version: PackageVersion,
    /// Which build of the version it is, when there is more than one.
    pub variant: Option<VariantName>,
    /// The build number that the wheel must have; `None`: whichever it has.
    pub build_number: Option<BuildNumber>,
    /// The archs that were asked for; `None` for a package that compiles on the user's GPU.
    pub archs: Option<ArchList>,
    /// The toolkit.
    pub cuda: CudaVersion,
    /// The torch.
    pub torch: TorchVersion,
    /// The Python.
    pub python: PythonVersion,
    /// What its package promises.
    pub terms: ContractTerms,
}

/// What a module must hold and may hold, or a compiler is told to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Targets {
    /// As machine code.
    pub native: BTreeSet<Arch>,
    /// As PTX.
    pub ptx: BTreeSet<Arch>,
}

impl std::fmt::Display for Targets {
    /// `8.0 9.0a 12.0+PTX`; PTX without machine code is `PTX 9.0`; nothing at all is `nothing`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let native = self.native.iter().map(|&arch| {
            let ptx = if self.ptx.contains(&arch) {
                Ptx::With
            } else {
                Ptx::Without
            };
            ArchTarget { arch, ptx }.to_string()
        });
        let ptx_alone = self.ptx.difference(&self.native);
        let words: Vec<_> = native
            .chain(ptx_alone.map(|arch| format!("PTX {arch}")))
            .collect();
        if words.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&words.join(" "))
    }
}

impl Contract {
    /// The contract of a job.
    pub fn of_job(job: &Job) -> Self {
        let environment = job.environment();
        Self {
            project: job.package().clone(),
            version: job.release().version.value.clone(),
            variant: job.release().variant.clone(),
            build_number: job.release().build_number,
            archs: job.archs().cloned(),
            cuda: environment.cuda,
            torch: environment.torch,
            python: environment.python,
            terms: job.release().contract.clone(),
        }
    }

    /// The lines that hold with this toolkit.
    pub fn module_terms(&self) -> impl Iterator<Item = &ModuleTerms> {
        let modules = self.terms.modules.iter();
        modules.filter(|terms| terms.cuda.contains_cuda(self.cuda))
    }

    /// The line for the module at `path`: the first whose name fits.
    pub fn terms_of(&self, path: &str) -> Option<&ModuleTerms> {
        self.module_terms().find(|terms| terms.name.matches(path))
    }

    /// The lines on sources that hold with this toolkit.
    pub fn source_terms(&self) -> impl Iterator<Item = &SourceTerms> {
        let sources = self.terms.sources.iter();
        sources.filter(|terms| terms.cuda.contains_cuda(self.cuda))
    }

    /// What the modules of one line must hold; without a line, all that was asked for.
    pub fn targets(&self, terms: Option<&ModuleTerms>) -> Targets {
        match terms {
            Some(terms) => self.targets_of(&terms.targets),
            None => self.targets_of(&TargetTerms::default()),
        }
    }

    /// What `terms` make of what was asked for.
    pub fn targets_of(&self, terms: &TargetTerms) -> Targets {
        let mut targets = Targets::default();
        let asked = self.archs.iter().flat_map(ArchList::iter);
        for ArchTarget { arch, ptx } in asked {
            let is_built = |archs: &BTreeSet<Arch>| archs.contains(&arch);
            if !terms.archs.as_ref().is_none_or(is_built) {
                continue;
            }
            let built = terms.built_as.get(&arch).copied().unwrap_or(arch);
            targets.native.insert(built);
            if ptx == Ptx::With && terms.ptx == PtxTerms::AsAsked {
                targets.ptx.insert(built);
            }
        }
        targets
    }

    /// The channel that its wheel is for.
    pub fn channel(&self) -> Channel {
        Channel::new(&self.cuda.tag(), self.torch.abi())
            .expect("a toolkit's tag names a channel")
            .of_variant(self.variant.clone())
    }

    /// The families that its modules may need.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        let named = self.terms.libraries.iter().map(String::as_str);
        named.chain(["libc"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;

    const HEAD: &str = "schema: 1\nproject: demo\nversion: \"1.0\"\ntorch: \"2.8.0\"\n\
                        python: \"3.11\"\narchs: [\"8.0\", \"9.0\", \"12.0+PTX\"]\n";

    fn contract(cuda: &str, terms: &str) -> Result<Contract, Diagnostics> {
        let text = format!("{HEAD}cuda: \"{cuda}\"\ncontract:\n{terms}");
        parse_file("contract.yaml", &text)
    }

    /// What the module at `path` must hold: machine code, then PTX.
    #[track_caller]
    fn check(cuda: &str, terms: &str, path: &str, want: &str) {
        let contract = contract(cuda, terms).unwrap();
        let targets = contract.targets(contract.terms_of(path));
        let text = |archs: BTreeSet<Arch>| {
            let archs: Vec<_> = archs.iter().map(ToString::to_string).collect();
            archs.join(" ")
        };
        let held = format!("{} / {}", text(targets.native), text(targets.ptx));
        assert_eq!(held, want, "{path}");
    }

    #[track_caller]
    fn refused(terms: &str, rule: &str) {
        let faults = contract("12.8", terms).unwrap_err().to_string();
        assert!(faults.contains(&format!("[{rule}]")), "{faults}");
        assert!(faults.contains("\n  hint: "), "{faults}");
    }

    #[test]
    fn a_module_must_hold_what_was_asked_for_unless_its_line_says_otherwise() {
        let terms = "  modules:\n    \
                     - name: demo/_a*.so\n    \
                     - name: demo/_b*.so\n      archs: [\"9.0\", \"10.0\"]\n      \
                     built-as: {\"9.0\": \"9.0a\", \"10.0\": \"10.0a\"}\n    \
                     - name: demo/_c*.so\n      archs: [\"12.0\"]\n      ptx: none\n    \
                     - name: demo/_d*.so\n      built-as: {\"12.0\": \"12.0f\"}\n";
        check("12.8", terms, "demo/_a.so", "8.0 9.0 12.0 / 12.0");
        check("12.8", terms, "demo/_b.so", "9.0a / ");
        check("12.8", terms, "demo/_c.so", "12.0 / ");
        check("12.8", terms, "demo/_d.so", "8.0 9.0 12.0f / 12.0f");
        check("12.8", terms, "demo/_unnamed.so", "8.0 9.0 12.0 / 12.0");
    }

    #[test]
    fn the_first_line_that_fits_counts_and_only_those_of_the_toolkit() {
        let terms = "  modules:\n    \
                     - name: demo/_a*.so\n      cuda: \"<13.0\"\n      archs: [\"8.0\"]\n    \
                     - name: demo/*.so\n      archs: [\"9.0\"]\n";
        check("12.8", terms, "demo/_a.so", "8.0 / ");
        check("12.8", terms, "demo/_b.so", "9.0 / ");
        check("13.0", terms, "demo/_a.so", "9.0 / ");
        assert_eq!(contract("12.8", terms).unwrap().module_terms().count(), 2);
        assert_eq!(contract("13.0", terms).unwrap().module_terms().count(), 1);
    }

    #[test]
    fn without_a_list_of_libraries_the_usual_ones_are_allowed_and_libc_always() {
        let families = |terms: &str| {
            let contract = contract("12.8", terms).unwrap();
            let families: Vec<_> = contract.families().map(str::to_owned).collect();
            families.join(" ")
        };
        assert_eq!(
            families("  size: 1MiB\n"),
            "cuda-runtime cxx openmp torch libc"
        );
        assert_eq!(families("  libraries: [cublas]\n"), "cublas libc");
        assert_eq!(families("  libraries: []\n"), "libc");
    }

    #[test]
    fn every_soname_is_of_one_family() {
        let check = |soname, family| assert_eq!(family_of(soname), family, "{soname}");
        check("libc.so.6", Some("libc"));
        check("libcudart.so.13", Some("cuda-runtime"));
        check("libcuda.so.1", Some("cuda-driver"));
        check("libcublasLt.so.12", Some("cublas"));
        check("libtorch_cuda.so", Some("torch"));
        check("libpython3.11.so.1.0", Some("python"));
        check("libmystery.so.1", None);
    }

    /// Per module of SageAttention 2.2.0: what it must hold when `archs` are asked for.
    fn sageattention(archs: &[&str]) -> Vec<String> {
        let text = include_str!("../../../../../packages/sageattention/package.yaml");
        let package = crate::package::parse("package.yaml", text).unwrap();
        let release = package.releases.into_iter().next_back().unwrap();
        let archs = archs.iter().map(|arch| arch.parse().unwrap());
        let contract = Contract {
            archs: ArchList::new(archs),
            terms: release.contract,
            ..contract("12.8", "  size: 1MiB\n").unwrap()
        };
        let modules = ["_qattn_sm80", "_qattn_sm89", "_qattn_sm90", "_fused"];
        let line = |module: &str| {
            let path = format!("sageattention/{module}.cpython-311-x86_64-linux-gnu.so");
            let targets = contract.targets(contract.terms_of(&path));
            let text = |archs: &BTreeSet<Arch>| {
                let numbers = archs.iter().copied().map(Arch::number);
                numbers.collect::<Vec<_>>().join(" ")
            };
            format!(
                "{module}: {} / {}",
                text(&targets.native),
                text(&targets.ptx)
            )
        };
        modules.map(line).into()
    }

    #[test]
    fn modules_of_sageattention_differ() {
        let all = ["8.0", "8.6", "8.9", "9.0", "10.0", "12.0+PTX"];
        assert_eq!(
            sageattention(&all),
            [
                "_qattn_sm80: 80 86 89 90 100 120 / 120",
                "_qattn_sm89: 89 90 100 120 / 120",
                "_qattn_sm90: 90a / ",
                "_fused: 80 86 89 90 100 120 / 120",
            ]
        );
        assert_eq!(
            sageattention(&["8.0", "8.6"]),
            [
                "_qattn_sm80: 80 86 / ",
                "_qattn_sm89:  / ",
                "_qattn_sm90:  / ",
                "_fused: 80 86 / ",
            ]
        );
    }

    #[test]
    fn what_a_contract_cannot_mean_is_refused_with_a_hint() {
        let module = |line: &str| format!("  modules:\n    - name: demo/_a*.so\n      {line}\n");
        refused("  libraries: [pytorch]\n", "library-family");
        refused("  modules:\n    - name: \"[\"\n", "glob");
        refused("  symbols: [\"{\"]\n", "glob");
        refused(&module("archs: [\"sm_90\"]"), "unknown-arch");
        refused(&module("built-as: {\"90\": \"9.0a\"}"), "unknown-arch");
        refused(&module("built-as: {\"9.0\": \"90a\"}"), "unknown-arch");
        refused(&module("cuda: \"12.8\""), "version-range");
        refused(&module("kernels: {may-differ: \" \"}"), "reason");
        refused("  glibc: \"28\"\n", "glibc-version");
        refused("  glibc: 2.28\n", "unquoted-number");
        refused("  size: 100MB\n", "amount");
        refused("  modul: []\n", "unknown-key");
    }
}
