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
use crate::wheel::version::TorchMinor;

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
    let wanted = contract.python.tag();
    let mut pythons = name.python_tags().iter();
    let fits = |python: &String| {
        let mut abis = name.abi_tags().iter();
        abis.any(|abi| installs(&wanted, python, abi))
    };
    if !pythons.any(fits) {
        let (pythons, abis) = (name.python_tags().join("."), name.abi_tags().join("."));
        let seen = format!("is for {pythons}-{abis}");
        let finding = Finding::new(Rule::AbiPython, &*report.file_name, seen);
        findings.push(finding.expected(wanted));
    }
}

/// Whether the Python whose ABI is `wanted` takes a wheel of these tags: what `packaging.tags` lists
/// (<https://packaging.python.org/specifications/platform-compatibility-tags/>).
fn installs(wanted: &str, python: &str, abi: &str) -> bool {
    // The free-threaded build has an ABI of its own, and no stable one: `cp313-cp313t`.
    let own = wanted.trim_end_matches('t');
    let is_no_newer = |prefix: &str| {
        let minor = |tag: &str, prefix| tag.strip_prefix(prefix)?.parse::<u32>().ok();
        let least = minor(python, prefix).zip(minor(own, "cp3"));
        least.is_some_and(|(least, minor)| least <= minor)
    };
    match abi {
        "abi3" => wanted == own && is_no_newer("cp3"),
        "none" => python == own || python == "py3" || is_no_newer("py3"),
        abi => python == own && abi == wanted,
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
    let Ok(wanted) = contract.torch.minor().parse::<TorchMinor>() else {
        return;
    };
    let requires = report
        .metadata
        .iter()
        .flat_map(|metadata| &metadata.requires_dist);
    let bound = requirement::torch_bound(requires.map(String::as_str));
    if let TorchBound::One(minor) = bound
        && minor != wanted
    {
        let finding = Finding::new(
            Rule::AbiTorchMinor,
            "METADATA",
            format!("requires torch {minor}"),
        );
        findings.push(finding.expected(format!("torch {wanted}")));
    }
    let local = report.name.as_ref().and_then(WheelName::local_version);
    let wanted_local = format!("{}torch{wanted}", contract.cuda.tag());
    if let Some(local) = local
        && local.as_str() != wanted_local
    {
        let finding = Finding::new(
            Rule::AbiTorchMinor,
            &*report.file_name,
            format!("is built for {local}"),
        );
        findings.push(finding.expected(wanted_local));
    }
}
