//! What a wheel says of itself: its name, its tags, its requirements.

use crate::gate::contract::Contract;
use crate::gate::finding::Finding;
use crate::gate::inspect::{ModuleReport, WheelReport, python_of};
use crate::gate::rule::Rule;
use crate::wheel::elf::{self, Machine, ModuleFacts};
use crate::wheel::name::WheelName;
use crate::wheel::platform::{self, platform_tag};
use crate::wheel::requirement::{self, TorchBound};
use crate::wheel::stable_abi;

/// Whether the tags of the file name are borne out by the modules.
pub(super) fn tags(report: &WheelReport, findings: &mut Vec<Finding>) {
    let Some(name) = &report.name else {
        return;
    };
    for module in &report.modules {
        python_tag(name, module, findings);
    }
    let faults = findings.len();
    for module in &report.modules {
        machine(name, module, findings);
    }
    if findings.len() > faults {
        return;
    }
    let place = &*report.file_name;
    let modules: Vec<ModuleFacts> = report
        .modules
        .iter()
        .map(|module| module.facts.clone())
        .collect();
    match platform_tag(&modules) {
        Err(error) => findings.push(Finding::new(Rule::TagUntrue, place, error.to_string())),
        Ok(truth) => {
            for tag in name.platform_tags() {
                match platform::covers(tag, &truth.tag) {
                    Some(true) => {}
                    Some(false) if is_older_than_policies(tag, &modules) => {}
                    Some(false) => {
                        let finding = Finding::new(Rule::TagUntrue, place, format!("`{tag}`"));
                        findings.push(finding.expected(format!("`{}`: {}", truth.tag, truth.why)));
                    }
                    None => {
                        let why = format!("nothing is known of platform `{tag}`");
                        findings.push(Finding::not_checked(Rule::TagUntrue, place, why));
                    }
                }
            }
        }
    }
}

/// Whether `tag` promises a glibc from before the first policy that is known, and the modules need
/// no newer one: what else such a policy allows cannot be told, and was less.
fn is_older_than_policies(tag: &str, modules: &[ModuleFacts]) -> bool {
    const FIRST: (u32, u32) = (2, 17);
    let Some(promised) = platform::glibc_of(tag).filter(|&glibc| glibc < FIRST) else {
        return false;
    };
    let mut needed = modules.iter().filter_map(ModuleFacts::highest_glibc);
    needed.all(|needed| needed <= promised)
}

/// A module for another machine than the tags name.
fn machine(name: &WheelName, module: &ModuleReport, findings: &mut Vec<Finding>) {
    let tags = name.platform_tags().iter();
    let machines: Vec<&str> = tags.filter_map(|tag| platform::machine_of(tag)).collect();
    let own = match module.facts.machine {
        Machine::X86_64 => "x86_64",
        Machine::Aarch64 => "aarch64",
        Machine::Other => "a machine other than x86_64 and aarch64",
        Machine::Cuda => return,
    };
    if !machines.is_empty() && !machines.contains(&own) {
        let finding = Finding::new(
            Rule::TagUntrue,
            &*module.facts.path,
            format!("is for {own}"),
        );
        findings.push(finding.expected(format!("{}, as the file name says", machines.join(", "))));
    }
}

/// A module that Python of the tag would not even look for.
fn python_tag(name: &WheelName, module: &ModuleReport, findings: &mut Vec<Finding>) {
    let Some(built_for) = python_of(&module.facts.path) else {
        return;
    };
    let is_stable = built_for == "abi3";
    let abis = name.abi_tags();
    let fits = |abi: &String| {
        is_stable
            || abi == built_for
            || (abi == "none" && name.python_tags().iter().any(|tag| tag == built_for))
    };
    if !abis.iter().any(fits) {
        let seen = format!("is built for {built_for}");
        let finding = Finding::new(Rule::TagUntrue, &*module.facts.path, seen);
        let tags = format!("{}-{}", name.python_tags().join("."), abis.join("."));
        findings.push(finding.expected(format!("{tags}, as the file name says")));
    }
}

/// Whether modules that are said to be for every later Python use the stable ABI alone.
pub(super) fn stable_abi(report: &WheelReport, findings: &mut Vec<Finding>) {
    let Some(name) = &report.name else {
        return;
    };
    let is_tagged = name.abi_tags().iter().any(|abi| abi == "abi3");
    let tags = name.python_tags().iter();
    let first = tags.filter_map(|tag| stable_abi::start_of(tag)).min();
    for module in &report.modules {
        let is_stable = match python_of(&module.facts.path) {
            Some(built_for) => built_for == "abi3",
            None => is_tagged,
        };
        if !is_stable {
            continue;
        }
        let symbols = module.symbols.needed.iter().map(|symbol| &symbol.name);
        let cpython = symbols.filter(|name| elf::is_cpython(name.as_bytes()));
        let unstable: Vec<String> = cpython
            .filter(|symbol| match (stable_abi::since(symbol), first) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(since), Some(first)) => since > first,
            })
            .cloned()
            .collect();
        if !unstable.is_empty() {
            let seen = format!("uses {}", super::some_of(&unstable));
            let finding = Finding::new(Rule::AbiPython, &*module.facts.path, seen);
            let first =
                first.map_or_else(String::new, |(major, minor)| format!(" of {major}.{minor}"));
            findings.push(finding.expected(format!("only symbols of the stable ABI{first}")));
        }
    }
}

/// Whether a wheel that is tied to one torch requires that torch.
pub(super) fn torch_bound(report: &WheelReport, findings: &mut Vec<Finding>) {
    // torch is built with itself.
    let Some(metadata) = report
        .metadata
        .as_ref()
        .filter(|own| own.project != "torch")
    else {
        return;
    };
    let tied = report.modules.iter().find_map(|module| {
        module
            .facts
            .torch_cxx_symbol
            .as_ref()
            .map(|symbol| (module, symbol))
    });
    let Some((module, symbol)) = tied else {
        return;
    };
    let bound = requirement::torch_bound(metadata.requires_dist.iter().map(String::as_str));
    let seen = match bound {
        TorchBound::One(_) => return,
        TorchBound::None => "METADATA does not require torch",
        TorchBound::Wider => "METADATA admits several minor versions of torch",
    };
    let seen = format!("{seen}, and `{}` needs `{symbol}`", module.facts.path);
    let finding = Finding::new(Rule::RequiresTorchBound, "METADATA", seen);
    findings.push(finding.expected("one minor version: `torch==2.8.*`"));
}

/// Whether the wheel is the one that was asked for.
pub(super) fn asked(report: &WheelReport, contract: &Contract, findings: &mut Vec<Finding>) {
    if let Some(name) = &report.name {
        let found = format!("{} {}", name.project(), name.public_version());
        let wanted = format!("{} {}", contract.project, contract.version);
        if found != wanted {
            let finding = Finding::new(
                Rule::NameNotAsked,
                &*report.file_name,
                format!("is {found}"),
            );
            findings.push(finding.expected(wanted));
        }
        if let Some(wanted) = contract.build_number
            && name.build() != Some(wanted.to_string().as_str())
        {
            let seen = match name.build() {
                Some(build) => format!("has build number {build}"),
                None => "has no build number".to_owned(),
            };
            let finding = Finding::new(Rule::NameNotAsked, &*report.file_name, seen);
            findings.push(finding.expected(format!("build number {wanted}")));
        }
        python_asked(report, name, contract, findings);
    }
    torch_asked(report, contract, findings);
    if let Some(limit) = contract.terms.size
        && report.size_bytes > limit.bytes()
    {
        let seen = format!("{} bytes", report.size_bytes);
        let finding = Finding::new(Rule::SizeOverBudget, &*report.file_name, seen);
        findings.push(finding.expected(format!("at most {limit}")));
    }
}

/// Whether the wheel installs on the Python that was asked for.
fn python_asked(
    report: &WheelReport,
    name: &WheelName,
    contract: &Contract,
    findings: &mut Vec<Finding>,
) {
    if !name.fits(contract.python) {
        let (pythons, abis) = (name.python_tags().join("."), name.abi_tags().join("."));
        let seen = format!("is for {pythons}-{abis}");
        let finding = Finding::new(Rule::AbiPython, &*report.file_name, seen);
        findings.push(finding.expected(contract.python.tag()));
    }
}

/// Whether a wheel that is tied to one torch is tied to the one that was asked for.
fn torch_asked(report: &WheelReport, contract: &Contract, findings: &mut Vec<Finding>) {
    let is_tied = report
        .modules
        .iter()
        .any(|module| module.facts.uses_torch_cxx_abi());
    if !is_tied {
        return;
    }
    let wanted = contract.torch.abi();
    let requires = report
        .metadata
        .iter()
        .flat_map(|metadata| &metadata.requires_dist);
    let bound = requirement::torch_bound(requires.map(String::as_str));
    if let TorchBound::One(torch) = bound
        && torch != wanted
    {
        let finding = Finding::new(
            Rule::AbiTorchMinor,
            "METADATA",
            format!("requires torch {torch}"),
        );
        findings.push(finding.expected(format!("torch {wanted}")));
    }
    let local = report.name.as_ref().and_then(WheelName::local_version);
    let wanted_local = contract.channel().local_version();
    if let Some(local) = local
        && *local != wanted_local
    {
        let finding = Finding::new(
            Rule::AbiTorchMinor,
            &*report.file_name,
            format!("is built for {local}"),
        );
        findings.push(finding.expected(wanted_local.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{FILE, check, contract_for, demo, module, wheel};
    use crate::gate::contract::Contract;
    use crate::gate::inspect::{FileKind, ModuleReport};
    use crate::wheel::build_number::BuildNumber;
    use crate::wheel::elf::Machine;

    const PATH: &str = "demo/_C.so";
    const TORCH: &[&str] = &["torch==2.11.*"];

    fn contract(terms: &str) -> Contract {
        contract_for("", "13.0", terms)
    }

    fn plain() -> ModuleReport {
        module(PATH, &[])
    }

    /// A module that is tied to one minor version of torch.
    fn tied() -> ModuleReport {
        plain().with(|facts| facts.torch_cxx_symbol = Some("_ZN2at3addEv".to_owned()))
    }

    fn glibc(version: &str) -> ModuleReport {
        let versions = vec![format!("GLIBC_{version}")];
        plain().with(|facts| {
            facts
                .symbol_versions
                .insert("libc.so.6".to_owned(), versions);
        })
    }

    /// Judges a wheel of this name; `want` has severities and rules at the wheel itself.
    #[track_caller]
    fn check_name(file_name: &str, module: ModuleReport, want: &[&str]) {
        let want: Vec<String> = want
            .iter()
            .map(|found| format!("{found} {file_name}"))
            .collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        check(wheel(file_name, TORCH, vec![module]), &contract(""), &want);
    }

    fn file(python: &str, platform: &str) -> String {
        format!("demo-1.0+cu130torch2.11-{python}-{platform}.whl")
    }

    #[test]
    fn a_platform_tag_promises_no_less_than_the_modules_need() {
        let of = |platform: &str| file("cp311-cp311", platform);
        check_name(&of("manylinux_2_34_x86_64"), glibc("2.34"), &[]);
        check_name(&of("manylinux_2_34_x86_64"), glibc("2.17"), &[]);
        check_name(&of("linux_x86_64"), glibc("2.34"), &[]);
        let untrue = &["error tag/untrue"];
        check_name(&of("manylinux_2_28_x86_64"), glibc("2.34"), untrue);
        check_name(
            &of("manylinux_2_34_x86_64.manylinux2014_x86_64"),
            glibc("2.34"),
            untrue,
        );
        check_name(&of("any"), glibc("2.17"), untrue);
        check_name(&of("win_amd64"), glibc("2.17"), &["not-checked tag/untrue"]);
    }

    #[test]
    fn modules_are_for_the_machine_of_the_tag() {
        let of = |machine| plain().with(|facts| facts.machine = machine);
        let untrue = format!("error tag/untrue {PATH}");
        for other in [Machine::Aarch64, Machine::Other] {
            check(demo([of(other)]), &contract(""), &[&untrue]);
            let mixed = demo([of(other), module("demo/_D.so", &[])]);
            check(mixed, &contract(""), &[&untrue]);
        }
        check(demo([of(Machine::Cuda)]), &contract(""), &[]);
        let arm = file("cp311-cp311", "manylinux_2_34_aarch64");
        check_name(&arm, of(Machine::Aarch64), &[]);
    }

    #[test]
    fn modules_are_for_the_python_of_the_tag() {
        let named = |path: &str| demo([module(path, &[])]);
        let of_312 = "demo/_C.cpython-312-x86_64-linux-gnu.so";
        let untrue = format!("error tag/untrue {of_312}");
        check(named(of_312), &contract(""), &[&untrue]);
        for path in [
            "demo/_C.cpython-311-x86_64-linux-gnu.so",
            "demo/_C.abi3.so",
            "demo/lib.so.1",
        ] {
            check(named(path), &contract(""), &[]);
        }
    }

    #[test]
    fn the_wheel_installs_on_the_python_that_was_asked_for() {
        let platform = "manylinux_2_34_x86_64";
        for python in ["cp311-cp311", "py3-none", "cp38-abi3", "cp311-none"] {
            check_name(&file(python, platform), plain(), &[]);
        }
        check_name(
            &file("cp312-cp312", platform),
            plain(),
            &["error abi/python"],
        );
    }

    #[test]
    fn a_wheel_that_is_tied_to_a_torch_requires_it_and_no_other() {
        let requires = |requires: &[&str], want: &[&str]| {
            check(wheel(FILE, requires, vec![tied()]), &contract(""), want);
        };
        requires(TORCH, &[]);
        requires(&["numpy", "torch<2.12,>=2.11"], &[]);
        requires(&["torch==2.10.*"], &["error abi/torch-minor METADATA"]);
        let unbound = &["error requires/torch-bound METADATA"];
        requires(&[], unbound);
        requires(&["torch"], unbound);
        requires(&["torch>=2.11"], unbound);
        requires(&["torch==2.11.*; python_version < '3.12'"], unbound);
        requires(&["torchvision==2.11.*"], unbound);
        check(wheel(FILE, &[], vec![plain()]), &contract(""), &[]);
    }

    #[test]
    fn a_nightly_is_asked_for_by_its_day() {
        let mut contract = contract("");
        contract.torch = "2.16.0.dev20261120".parse().unwrap();
        let name = |day: &str| {
            format!("demo-1.0+cu130torch2.16.dev{day}-cp311-cp311-manylinux_2_34_x86_64.whl")
        };
        let own = name("20261120");
        let of = |file: &str, requires: &str, want: &[&str]| {
            check(wheel(file, &[requires], vec![tied()]), &contract, want);
        };
        of(&own, "torch==2.16.0.dev20261120", &[]);
        let other = &["error abi/torch-minor METADATA"];
        of(&own, "torch==2.16.0.dev20261121", other);
        of(&own, "torch==2.16.*", other);
        of(
            &own,
            "torch>=2.16.0.dev20261120",
            &["error requires/torch-bound METADATA"],
        );
        let other = name("20261121");
        let want = format!("error abi/torch-minor {other}");
        of(&other, "torch==2.16.0.dev20261120", &[&want]);
    }

    #[test]
    fn the_local_version_is_that_of_the_channel() {
        let of = |local: &str| format!("demo-1.0+{local}-cp311-cp311-manylinux_2_34_x86_64.whl");
        check_name(&of("cu130torch2.11"), tied(), &[]);
        for other in ["cu130torch2.10", "cu128torch2.11", "local"] {
            check_name(&of(other), tied(), &["error abi/torch-minor"]);
        }
        check_name(&of("local"), plain(), &[]);
    }

    #[test]
    fn the_wheel_is_the_one_that_was_asked_for() {
        let name = FILE.replace("demo-1.0", "demo-1.1");
        check_name(&name, plain(), &["error name/not-asked"]);
        let name = FILE.replace("demo-", "other-");
        check_name(&name, plain(), &["error name/not-asked"]);
        let mut large = demo([plain()]);
        large.size_bytes = (8 << 20) + 1;
        let want = format!("error size/over-budget {FILE}");
        check(large.clone(), &contract("size: 8MiB"), &[&want]);
        large.size_bytes -= 1;
        check(large, &contract("size: 8MiB"), &[]);
    }

    #[test]
    fn the_build_is_the_one_that_was_asked_for() {
        let mut second = contract("");
        second.build_number = BuildNumber::new(2);
        let name = |build: &str| FILE.replace("-cp311-cp311", &format!("{build}-cp311-cp311"));
        let of = |build: &str, contract: &Contract, want: &[&str]| {
            check(wheel(&name(build), TORCH, vec![plain()]), contract, want);
        };
        of("-2", &second, &[]);
        for other in ["", "-1", "-20"] {
            let want = format!("error name/not-asked {}", name(other));
            of(other, &second, &[&want]);
        }
        of("-2", &contract(""), &[]);
    }

    #[test]
    fn a_library_is_no_wheel_whatever_its_name_is() {
        let mut report = demo([plain()]);
        report.kind = FileKind::Module;
        let want = format!("error archive/unsound {FILE}");
        check(report, &contract("modules:\n  - name: demo/*"), &[&want]);
    }
}
