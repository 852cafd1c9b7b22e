//! What modules need of the system that they are loaded on.

use std::collections::{BTreeMap, BTreeSet};

use super::some_of;
use crate::gate::contract::{Contract, PythonAbi, family_of};
use crate::gate::finding::Finding;
use crate::gate::inspect::{ModuleReport, WheelReport};
use crate::gate::libraries::{Closure, Libraries, Library};
use crate::gate::rule::Rule;
use crate::wheel::elf::NeededSymbol;

/// Search paths must lead from the module, not from the root of the machine it was built on.
pub(super) fn search_paths(module: &ModuleReport, findings: &mut Vec<Finding>) {
    let depth = depth_in_site_packages(&module.facts.path);
    let lists = module.facts.search_paths.iter();
    let leaks: BTreeSet<String> = lists
        .flat_map(|list| list.split(':'))
        .filter(|entry| {
            let from_origin = ["$ORIGIN", "${ORIGIN}"]
                .iter()
                .find_map(|origin| entry.strip_prefix(origin))
                // `$ORIGINAL/lib` is a folder of that name in the current one.
                .filter(|rest| rest.is_empty() || rest.starts_with('/'));
            from_origin.is_none_or(|rest| climbs(rest) > depth)
        })
        // The loader takes an empty entry for the current folder.
        .map(|entry| if entry.is_empty() { "." } else { entry }.to_owned())
        .collect();
    if leaks.is_empty() {
        return;
    }
    let leaks: Vec<String> = leaks.into_iter().collect();
    let seen = format!("looks for libraries in {}", some_of(&leaks));
    let finding = Finding::new(Rule::RpathLeak, &*module.facts.path, seen);
    findings.push(finding.expected("paths from $ORIGIN, within site-packages"));
}

/// How many folders above the module are inside of site-packages.
fn depth_in_site_packages(path: &str) -> usize {
    let folders = path.matches('/').count();
    // `demo-1.0.data/platlib/…` is unpacked into site-packages too.
    let is_data = path
        .split('/')
        .next()
        .is_some_and(|first| first.strip_suffix(".data").is_some());
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
        if let Some((stem, major)) = cuda_library(soname)
            && major != contract.cuda.major().to_string()
        {
            let seen = format!("needs `{soname}`");
            let finding = Finding::new(Rule::NeededOtherCuda, path, seen);
            findings.push(finding.expected(format!("{stem}.so.{}", contract.cuda.major())));
        }
    }
}

/// The CUDA that a library of the toolkit is of, for those that count as CUDA does: `12` for
/// `libcudart.so.12` and `libnvrtc.so.12.0`. cuFFT, cuSPARSE and others have numbers of their own.
fn cuda_library(soname: &str) -> Option<(&str, &str)> {
    const STEMS: [&str; 7] = [
        "libcublas",
        "libcublasLt",
        "libcudart",
        "libcupti",
        "libnvJitLink",
        "libnvrtc",
        "libnvrtc-builtins",
    ];
    let (stem, version) = soname.split_once(".so.")?;
    let major = version.split('.').next()?;
    STEMS.contains(&stem).then_some((stem, major))
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
        Some(PythonAbi::None) if module.facts.uses_cpython => "no use of CPython's C API",
        Some(PythonAbi::Stable) if built_for.is_some_and(|built| built != "abi3") => {
            "the stable ABI: `.abi3.so`"
        }
        Some(PythonAbi::Version) if built_for.is_some_and(|built| built != tag) => &*tag,
        None | Some(PythonAbi::None | PythonAbi::Stable | PythonAbi::Version) => return,
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
    let in_wheel = provided_by_wheel(report);
    let needed = host.iter().flat_map(|module| &module.facts.needed);
    let needed: BTreeSet<&str> = needed.map(String::as_str).collect();
    let lookup = Lookup {
        libraries,
        own: own_library(&host),
        from_outside: needed.difference(&in_wheel).copied().collect(),
        in_wheel,
    };
    for module in host {
        lookup.module(module, contract, findings);
    }
}

/// Where the modules of one wheel find their symbols.
struct Lookup<'a> {
    libraries: &'a Libraries,
    /// What the wheel's own modules have.
    own: Library,
    /// The names that they go by.
    in_wheel: BTreeSet<&'a str>,
    /// All that they need from elsewhere.
    from_outside: BTreeSet<&'a str>,
}

impl Lookup<'_> {
    fn module(&self, module: &ModuleReport, contract: &Contract, findings: &mut Vec<Finding>) {
        let path = &*module.facts.path;
        let mut closure = self.closure(module);
        // The driver is in no image; what it has is known by its prefix.
        let needs_driver = closure.unknown.remove("libcuda.so.1");
        let own: &[&Library] = if self.loads_own(module) {
            &[&self.own]
        } else {
            &[]
        };
        let missing = closure.resolve(&module.symbols.needed, own);
        let missing = missing
            .into_iter()
            .filter(|symbol| !is_allowed(&symbol.name, contract))
            .filter(|symbol| !(needs_driver && is_driver_symbol(&symbol.name)));
        // A library that is not known may have them.
        let (unknown, lacking): (Vec<_>, Vec<_>) =
            missing.partition(|symbol| may_be_in(&symbol.name, &closure.unknown));
        if !lacking.is_empty() {
            let seen = self.say(&lacking);
            findings.push(Finding::new(Rule::AbiUndefinedSymbol, path, seen));
        }
        if !unknown.is_empty() {
            let libraries: Vec<String> = closure.unknown.into_iter().collect();
            let libraries = some_of(&libraries);
            let why = format!("{}; {libraries} could not be read", self.say(&unknown));
            findings.push(Finding::not_checked(Rule::AbiUndefinedSymbol, path, why));
        }
    }

    fn loads_own(&self, module: &ModuleReport) -> bool {
        let needed = module.facts.needed.iter();
        needed
            .into_iter()
            .any(|name| self.in_wheel.contains(name.as_str()))
    }

    /// The libraries that are in the process with the module. What a library of the wheel loads is
    /// there too; which of them loads what is not followed.
    fn closure<'s>(&'s self, module: &'s ModuleReport) -> Closure<'s> {
        let mut names: BTreeSet<&'s str> = if self.loads_own(module) {
            self.from_outside.clone()
        } else {
            let needed = module.facts.needed.iter();
            needed.map(String::as_str).collect()
        };
        // torch loads what it links for all to see, so its extensions may use the CUDA runtime
        // without naming it (`torch/__init__.py`, `_load_global_deps`).
        let loads_torch = names.iter().any(|name| family_of(name) == Some("torch"));
        if loads_torch && self.libraries.libraries.contains_key(TORCH_GLOBAL) {
            names.insert(TORCH_GLOBAL);
        }
        self.libraries.closure(names)
    }

    fn say(&self, symbols: &[&NeededSymbol]) -> String {
        let names: Vec<String> = symbols.iter().map(|symbol| name_of(symbol)).collect();
        let (count, environment) = (names.len(), &self.libraries.environment);
        let names = some_of(&names);
        format!("{count} symbols are in no library of {environment}: {names}")
    }
}

/// The driver is on no build host, and what it has is known by its name: it has nothing of torch.
fn may_be_in(symbol: &str, unknown: &BTreeSet<String>) -> bool {
    let is_of_driver = ["cu", "nvml"].iter().any(|start| symbol.starts_with(start));
    let mut unknown = unknown.iter();
    unknown.any(|soname| is_of_driver || family_of(soname) != Some("cuda-driver"))
}

fn name_of(symbol: &NeededSymbol) -> String {
    match &symbol.version {
        Some(version) => format!("{}@{version}", symbol.name),
        None => symbol.name.clone(),
    }
}

/// What torch loads with its symbols open to all.
const TORCH_GLOBAL: &str = "libtorch_global_deps.so";

/// `cuLaunchKernel`: the driver's own interface.
fn is_driver_symbol(name: &str) -> bool {
    let after = name.strip_prefix("cu").and_then(|rest| rest.chars().next());
    after.is_some_and(|letter| letter.is_ascii_uppercase())
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{check, check_in, contract_for, demo, environment, module};
    use crate::gate::contract::Contract;
    use crate::gate::finding::Verdict;
    use crate::gate::inspect::ModuleReport;
    use crate::gate::judge::Judgement;

    const PATH: &str = "demo/_C.so";

    /// The contract of a package without GPU code.
    fn contract(terms: &str) -> Contract {
        contract_for("", "13.0", terms)
    }

    /// Judges one module; `want` has severities and rules, and all of them are at the module.
    #[track_caller]
    fn check_module(module: ModuleReport, terms: &str, want: &[&str]) -> Judgement {
        let path = module.facts.path.clone();
        let want: Vec<String> = want.iter().map(|found| format!("{found} {path}")).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check(demo([module]), &contract(terms), &want)
    }

    #[track_caller]
    fn check_path(path: &str, search_path: &str, is_leak: bool) {
        let module =
            module(path, &[]).with(|facts| facts.search_paths.push(search_path.to_owned()));
        let want: &[&str] = if is_leak { &["error rpath/leak"] } else { &[] };
        check_module(module, "", want);
    }

    #[test]
    fn search_paths_lead_from_the_module_and_stay_in_site_packages() {
        for path in [
            "$ORIGIN",
            "${ORIGIN}/lib",
            "$ORIGIN/../torch/lib:$ORIGIN/../nvidia/cu13/lib",
            "$ORIGIN/a/../../torch",
        ] {
            check_path(PATH, path, false);
        }
        for path in [
            "/usr/local/cuda/lib64",
            "$ORIGIN:/home/builder/lib",
            "lib",
            "",
            "$ORIGIN/../..",
            "$ORIGIN/../../site-packages/torch",
            // No variable of the loader's: a folder in the current one.
            "$ORIGINAL/lib",
            "$LIB",
        ] {
            check_path(PATH, path, true);
        }
        check_path("demo-1.0.data/platlib/demo/_C.so", "$ORIGIN/..", false);
        check_path("demo-1.0.data/platlib/_C.so", "$ORIGIN/..", true);
    }

    #[test]
    fn libraries_of_the_driver_are_not_in_a_wheel() {
        let driver = &["error needed/bundled-driver"];
        check_module(module("demo.libs/libcuda-1a2b3c4d.so.1", &[]), "", driver);
        check_module(module("demo.libs/libcuda.so.1", &[]), "", driver);
        check_module(module("demo/libnvidia-ml.so.570.26", &[]), "", driver);
        let renamed = module("demo/_driver.so", &[]);
        let renamed = renamed.with(|facts| facts.soname = Some("libcuda.so.1".to_owned()));
        check_module(renamed, "", driver);
        for path in [
            "demo/libcudart.so.13",
            "demo/libcuda_kernels.so",
            "demo/libcuda-utils.so",
        ] {
            check_module(module(path, &[]), "", &[]);
        }
    }

    #[test]
    fn needed_libraries_are_of_a_family_that_is_allowed() {
        let needs = |soname| module(PATH, &[]).needs(&[soname]);
        check_module(needs("libcudart.so.13"), "", &[]);
        check_module(needs("libc.so.6"), "libraries: []", &[]);
        let not_allowed = &["error needed/not-allowed"];
        let judgement = check_module(needs("libcudart.so.13"), "libraries: [torch]", not_allowed);
        let finding = &judgement.findings[0];
        assert_eq!(
            finding.seen,
            "needs `libcudart.so.13` of the family `cuda-runtime`"
        );
        assert_eq!(finding.expected.as_deref(), Some("libc, torch"));
        // Nothing gives glibc's tag for such a wheel either.
        let found = ["error tag/untrue", "error needed/not-allowed"];
        let report = demo([needs("libmystery.so.7")]);
        let found = [
            format!("{} {}", found[0], report.file_name),
            format!("{} {PATH}", found[1]),
        ];
        check(report, &contract(""), &found.each_ref().map(|text| &**text));
    }

    #[test]
    fn libraries_of_the_wheel_itself_are_there_by_file_name_or_soname() {
        let by_soname = module("demo.libs/libb-1a2b.so.2", &[]);
        let by_soname = by_soname.with(|facts| facts.soname = Some("libb.so.2".to_owned()));
        let report = demo([
            module(PATH, &[]).needs(&["liba.so", "libb.so.2"]),
            module("demo/liba.so", &[]),
            by_soname,
        ]);
        check(report, &contract("libraries: []"), &[]);
    }

    #[test]
    fn libraries_that_count_as_cuda_does_are_of_the_same_cuda() {
        let terms = "libraries: [cuda-runtime, cublas, cusparse, nvrtc]";
        for other in ["libcudart.so.12", "libcublasLt.so.12", "libnvrtc.so.11.2"] {
            let found = &["error needed/other-cuda"];
            check_module(module(PATH, &[]).needs(&[other]), terms, found);
        }
        // cuSPARSE of CUDA 13 is libcusparse.so.12.
        for same in ["libcudart.so.13", "libcublas.so.13", "libcusparse.so.12"] {
            check_module(module(PATH, &[]).needs(&[same]), terms, &[]);
        }
    }

    #[test]
    fn glibc_is_not_newer_than_the_contract_allows() {
        let needs = |version: &str| {
            let versions = vec![format!("GLIBC_{version}")];
            module(PATH, &[]).with(|facts| {
                facts
                    .symbol_versions
                    .insert("libc.so.6".to_owned(), versions);
            })
        };
        let too_new = &["error glibc/too-new"];
        check_module(needs("2.34"), "glibc: \"2.28\"", too_new);
        check_module(needs("2.34"), "glibc: \"2.34\"", &[]);
        // Versions are numbers, not text.
        check_module(needs("2.5"), "glibc: \"2.28\"", &[]);
        check_module(needs("2.34"), "", &[]);
    }

    #[test]
    fn modules_use_the_python_abi_of_the_contract() {
        let wrong = &["error abi/python"];
        let plain = || module(PATH, &[]);
        let uses_api = || plain().with(|facts| facts.uses_cpython = true);
        check_module(plain(), "python-abi: none", &[]);
        check_module(uses_api(), "python-abi: none", wrong);
        check_module(uses_api(), "python-abi: version", &[]);
        let of_311 = || module("demo/_C.cpython-311-x86_64-linux-gnu.so", &[]);
        check_module(of_311(), "python-abi: version", &[]);
        check_module(of_311(), "python-abi: stable", wrong);
        check_module(module("demo/_C.abi3.so", &[]), "python-abi: stable", &[]);
        check_module(module("demo/_C.abi3.so", &[]), "python-abi: version", wrong);
    }

    #[test]
    fn every_symbol_is_in_a_library_that_is_loaded() {
        let lacking = &["error abi/undefined-symbol"];
        let loads =
            |libraries: &[&str], symbol| module(PATH, &[]).needs(libraries).wants(&[symbol]);
        check_module(loads(&["libc10.so"], "_ZN3c105ErrorC2Ev"), "", &[]);
        check_module(loads(&["libc.so.6"], "open@GLIBC_2.34"), "", &[]);
        check_module(loads(&[], "PyLong_FromLong"), "", &[]);
        let judgement = check_module(loads(&["libc10.so"], "_ZN3c105ErrorC3Ev"), "", lacking);
        assert_eq!(
            judgement.findings[0].seen,
            "1 symbols are in no library of the environment: `_ZN3c105ErrorC3Ev`"
        );
        check_module(loads(&[], "_ZN3c105ErrorC2Ev"), "", lacking);
        check_module(loads(&["libc.so.6"], "open@GLIBC_2.99"), "", lacking);
        check_module(
            loads(&["libc10.so"], "_ZN3c105ErrorC3Ev"),
            "symbols: [\"_ZN3c105Error*\"]",
            &[],
        );
    }

    #[test]
    fn a_symbol_may_be_in_a_library_that_is_not_known() {
        let unknown = &["not-checked abi/undefined-symbol"];
        let lacking = &["error abi/undefined-symbol"];
        let terms = "libraries: [torch, cuda-driver]";
        let loads = |library, symbol| module(PATH, &[]).needs(&[library]).wants(&[symbol]);
        let judgement = check_module(loads("libtorch_cpu.so", "_ZN2at3addEv"), terms, unknown);
        assert_eq!(judgement.verdict, Verdict::NotChecked);
        // The driver is on no build host; what it has is known by its name, and is nothing of torch.
        check_module(loads("libcuda.so.1", "cuLaunchKernel"), terms, &[]);
        check_module(loads("libnvidia-ml.so.1", "nvmlInit_v2"), terms, unknown);
        check_module(loads("libcuda.so.1", "_ZN2at3addEv"), terms, lacking);
    }

    #[test]
    fn symbols_that_cannot_be_looked_up_are_not_checked() {
        let report = || demo([module(PATH, &[]).wants(&["PyLong_FromLong"])]);
        let file_name = report().file_name;
        let want = format!("not-checked abi/undefined-symbol {file_name}");
        check_in(report(), &contract(""), None, &[&want]);
        check_in(demo([]), &contract(""), None, &[]);

        let mut libraries = environment();
        libraries.interpreter = None;
        let uses_api = module(PATH, &[]).wants(&["PyLong_FromLong"]);
        let uses_api = uses_api.with(|facts| facts.uses_cpython = true);
        let want = format!("not-checked abi/undefined-symbol {PATH}");
        check_in(demo([uses_api]), &contract(""), Some(&libraries), &[&want]);
    }
}
