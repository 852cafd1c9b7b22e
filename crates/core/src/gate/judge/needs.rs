//! What modules need of the system that they are loaded on.

use std::collections::{BTreeMap, BTreeSet};

use super::some_of;
use crate::gate::contract::{Contract, PythonAbi, family_of};
use crate::gate::finding::Finding;
use crate::gate::inspect::{ModuleReport, WheelReport};
use crate::gate::libraries::{Libraries, Library};
use crate::gate::rule::Rule;

/// Search paths must lead from the module, not from the root of the machine it was built on.
pub(super) fn search_paths(module: &ModuleReport, findings: &mut Vec<Finding>) {
    let depth = depth_in_site_packages(&module.facts.path);
    for path in module
        .facts
        .search_paths
        .iter()
        .flat_map(|list| list.split(':'))
    {
        let from_origin = ["$ORIGIN", "${ORIGIN}"]
            .iter()
            .find_map(|origin| path.strip_prefix(origin));
        let seen = match from_origin {
            Some(rest) if climbs(rest) <= depth => continue,
            Some(_) => format!("`{path}` leaves site-packages"),
            None if path.is_empty() => "an empty entry: the current folder".to_owned(),
            None => format!("`{path}`"),
        };
        let finding = Finding::new(Rule::RpathLeak, &*module.facts.path, seen);
        findings.push(finding.expected("paths from $ORIGIN, within site-packages"));
    }
}

/// How many folders above the module are inside of site-packages.
fn depth_in_site_packages(path: &str) -> usize {
    let folders = path.matches('/').count();
    // `demo-1.0.data/platlib/…` is unpacked into site-packages too.
    let is_data = path
        .split('/')
        .next()
        .is_some_and(|first| first.ends_with(".data"));
    if is_data {
        folders.saturating_sub(2)
    } else {
        folders
    }
}

/// How far up a path goes at most.
fn climbs(path: &str) -> usize {
    let mut height: usize = 0;
    let mut highest = 0;
    let mut inside: usize = 0;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if inside > 0 => inside -= 1,
            ".." => {
                height += 1;
                highest = highest.max(height);
            }
            _ => inside += 1,
        }
    }
    highest
}

/// The driver's libraries belong to the user's machine; a copy breaks every other driver.
pub(super) fn bundled_driver(module: &ModuleReport, findings: &mut Vec<Finding>) {
    let path = &*module.facts.path;
    let file = path.rsplit('/').next().unwrap_or(path);
    let names = [Some(file), module.facts.soname.as_deref()];
    if let Some(name) = names.into_iter().flatten().find(|name| is_driver(name)) {
        let seen = format!("`{name}` is a library of the NVIDIA driver");
        findings.push(Finding::new(Rule::NeededBundledDriver, path, seen));
    }
}

/// `libcuda.so.1`, and `libcuda-1a2b3c4d.so.1` as repair tools rename it.
fn is_driver(file: &str) -> bool {
    const STEMS: [&str; 8] = [
        "libcuda",
        "libcudadebugger",
        "libnvidia-ml",
        "libnvidia-ptxjitcompiler",
        "libnvidia-nvvm",
        "libnvcuvid",
        "libnvidia-encode",
        "libnvoptix",
    ];
    let Some((stem, _)) = file.split_once(".so") else {
        return false;
    };
    STEMS.iter().any(|driver| {
        stem.strip_prefix(driver).is_some_and(|rest| {
            let is_hash = |rest: &str| rest.chars().all(|c| c.is_ascii_hexdigit());
            rest.is_empty() || rest.strip_prefix('-').is_some_and(is_hash)
        })
    })
}

/// Whether the libraries that a module loads are of the families that the contract allows.
pub(super) fn libraries(
    in_wheel: &BTreeSet<&str>,
    module: &ModuleReport,
    contract: &Contract,
    findings: &mut Vec<Finding>,
) {
    let path = &*module.facts.path;
    if !module.facts.is_host_code() {
        return;
    }
    let allowed: BTreeSet<&str> = contract.families().collect();
    for soname in &module.facts.needed {
        if in_wheel.contains(soname.as_str()) {
            continue;
        }
        let family = family_of(soname);
        if !family.is_some_and(|family| allowed.contains(family)) {
            let seen = match family {
                Some(family) => format!("needs `{soname}` of the family `{family}`"),
                None => format!("needs `{soname}`, which is of no known family"),
            };
            let expected: Vec<&str> = allowed.iter().copied().collect();
            let finding = Finding::new(Rule::NeededNotAllowed, path, seen);
            findings.push(finding.expected(expected.join(", ")));
        }
        if let Some(major) = runtime_major(soname)
            && major != contract.cuda.major().to_string()
        {
            let seen = format!("needs `{soname}`");
            let finding = Finding::new(Rule::NeededOtherCuda, path, seen);
            findings.push(finding.expected(format!("libcudart.so.{}", contract.cuda.major())));
        }
    }
}

/// The CUDA that a runtime library is of: `12` for `libcudart.so.12` and `libcudart.so.12.0`.
fn runtime_major(soname: &str) -> Option<&str> {
    soname.strip_prefix("libcudart.so.")?.split('.').next()
}

/// The names by which the wheel's own libraries are asked for.
pub(super) fn provided_by_wheel(report: &WheelReport) -> BTreeSet<&str> {
    let modules = report.modules.iter();
    modules
        .flat_map(|module| {
            let file = module.facts.path.rsplit('/').next();
            [module.facts.soname.as_deref(), file].into_iter().flatten()
        })
        .collect()
}

/// Whether a module needs a newer glibc than the contract allows.
pub(super) fn glibc(module: &ModuleReport, contract: &Contract, findings: &mut Vec<Finding>) {
    let Some(limit) = contract.terms.glibc else {
        return;
    };
    let Some(needed) = module.facts.highest("GLIBC") else {
        return;
    };
    if needed
        .parse()
        .is_ok_and(|needed: crate::gate::contract::GlibcVersion| needed > limit)
    {
        let seen = format!("needs GLIBC_{needed}");
        let finding = Finding::new(Rule::GlibcTooNew, &*module.facts.path, seen);
        findings.push(finding.expected(format!("glibc {limit} or older")));
    }
}

/// Whether a module is for the Python that was asked for.
pub(super) fn python(module: &ModuleReport, contract: &Contract, findings: &mut Vec<Finding>) {
    let path = &*module.facts.path;
    let tag = contract.python.tag();
    let built_for = crate::gate::inspect::python_of(path);
    let expected = match contract.terms.python_abi {
        None => return,
        Some(PythonAbi::None) if module.facts.uses_cpython => "no use of CPython's C API",
        Some(PythonAbi::Stable) if built_for.is_some_and(|built| built != "abi3") => {
            "the stable ABI: `.abi3.so`"
        }
        Some(PythonAbi::Version) if built_for.is_some_and(|built| built != tag) => &*tag,
        Some(PythonAbi::None | PythonAbi::Stable | PythonAbi::Version) => return,
    };
    let seen = match built_for {
        Some(built_for) => format!("is built for {built_for}"),
        None => "uses CPython's C API".to_owned(),
    };
    findings.push(Finding::new(Rule::AbiPython, path, seen).expected(expected));
}

/// Whether every symbol that a module needs is in a library of the environment.
pub(super) fn symbols(
    report: &WheelReport,
    contract: &Contract,
    libraries: Option<&Libraries>,
    findings: &mut Vec<Finding>,
) {
    let host: Vec<&ModuleReport> = report
        .modules
        .iter()
        .filter(|module| module.facts.is_host_code())
        .collect();
    if host.is_empty() {
        return;
    }
    let Some(libraries) = libraries else {
        let why = "the libraries of the environment are not known";
        let finding = Finding::not_checked(Rule::AbiUndefinedSymbol, &*report.file_name, why);
        findings.push(finding);
        return;
    };
    let python = host.iter().find(|module| module.facts.uses_cpython);
    if let (Some(module), None) = (python, &libraries.interpreter) {
        let why = "the symbols of CPython are not known: no interpreter was looked at";
        let finding = Finding::not_checked(Rule::AbiUndefinedSymbol, &*module.facts.path, why);
        findings.push(finding);
    }
    let own = own_library(&host);
    let in_wheel = provided_by_wheel(report);
    for module in host {
        let path = &*module.facts.path;
        let from_outside = module.facts.needed.iter().map(String::as_str);
        let from_outside = from_outside.filter(|name| !in_wheel.contains(name));
        let closure = libraries.closure(from_outside);
        let missing = closure.resolve(&module.symbols.needed, &[&own]);
        let missing: Vec<String> = missing
            .into_iter()
            .filter(|symbol| !is_allowed(&symbol.name, contract))
            .map(|symbol| match &symbol.version {
                Some(version) => format!("{}@{version}", symbol.name),
                None => symbol.name.clone(),
            })
            .collect();
        if missing.is_empty() {
            continue;
        }
        let seen = format!(
            "{} symbols are in no library of {}: {}",
            missing.len(),
            libraries.environment,
            some_of(&missing)
        );
        // A library that is not known may have them.
        let finding = if closure.unknown.is_empty() {
            Finding::new(Rule::AbiUndefinedSymbol, path, seen)
        } else {
            let unknown: Vec<String> = closure.unknown.into_iter().collect();
            let why = format!("{seen}; {} could not be read", some_of(&unknown));
            Finding::not_checked(Rule::AbiUndefinedSymbol, path, why)
        };
        findings.push(finding);
    }
}

/// All that the wheel's own modules have, as one library: a wheel may have more modules than are to
/// be asked one by one for each symbol.
fn own_library(modules: &[&ModuleReport]) -> Library {
    let mut symbols: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut without_versions: BTreeSet<&str> = BTreeSet::new();
    for symbol in modules.iter().flat_map(|module| &module.symbols.provided) {
        let versions = symbols.entry(symbol.name.clone()).or_default();
        match &symbol.version {
            Some(version) => {
                versions.insert(version.clone());
            }
            None => {
                without_versions.insert(&symbol.name);
            }
        }
    }
    // The loader takes a symbol without a version for any.
    for name in without_versions {
        symbols.insert(name.to_owned(), BTreeSet::new());
    }
    Library {
        path: String::new(),
        needed: Vec::new(),
        symbols,
    }
}

fn is_allowed(symbol: &str, contract: &Contract) -> bool {
    let allowed = contract.terms.symbols.iter();
    allowed.into_iter().any(|pattern| pattern.matches(symbol))
}
