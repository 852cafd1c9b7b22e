//! The platform tag that a wheel's ELF files allow.
//!
//! The rules are auditwheel's (`data/manylinux-policy.json`), with one addition: what the user's
//! torch and driver bring counts as present. Nothing is copied into the wheel, so the question
//! is only which tag is true.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use crate::wheel::elf::{Machine, ModuleFacts, split_version, version_numbers};

/// A platform tag and the fact that decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformTag {
    /// `manylinux_2_28_x86_64`, `linux_x86_64` or `any`.
    pub tag: String,
    /// Which module needs what, so that no lower tag is true.
    pub why: String,
}

/// Why no platform tag can be given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlatformError {
    /// A module is for a machine that this farm makes no wheels for.
    #[error("module `{module}` is for a machine other than x86_64 and aarch64")]
    OtherMachine {
        /// Its path in the wheel.
        module: String,
    },
    /// One wheel has modules for two machines.
    #[error("modules `{first}` and `{second}` are for different machines")]
    MixedMachines {
        /// A module.
        first: String,
        /// Another.
        second: String,
    },
}

/// The lowest manylinux policy that all modules meet, or plain Linux with what stands against
/// the newest policy; `any` when no module is for a host machine.
pub fn platform_tag(modules: &[ModuleFacts]) -> Result<PlatformTag, PlatformError> {
    let modules: Vec<&ModuleFacts> = modules.iter().filter(|m| m.is_host_code()).collect();
    let Some(machine) = common_machine(&modules)? else {
        return Ok(PlatformTag {
            tag: "any".to_owned(),
            why: "no compiled module".to_owned(),
        });
    };
    let policies = &*POLICIES;
    let mut libraries: Vec<&str> = Vec::new();
    let mut why = format!("no module needs more than {}", policies.policies[0].name);
    for policy in &policies.policies {
        libraries.extend(policy.adds_libraries.iter().map(String::as_str));
        let check = Check {
            limits: policy.limits(machine),
            libraries: &libraries,
            modules: &modules,
            supplied: &policies.supplied_by_user,
        };
        match modules.iter().find_map(|module| check.objection(module)) {
            Some(objection) => why = objection,
            None => {
                return Ok(PlatformTag {
                    tag: format!("{}_{}", policy.name, machine.as_str()),
                    why,
                });
            }
        }
    }
    Ok(PlatformTag {
        tag: format!("linux_{}", machine.as_str()),
        why,
    })
}

/// Whether a wheel that is tagged `claimed` runs wherever that tag says, if `truth` is the lowest
/// tag that its modules allow; `None` for a platform that this farm knows nothing of.
pub fn covers(claimed: &str, truth: &str) -> Option<bool> {
    if claimed == truth || truth == "any" {
        return Some(true);
    }
    if claimed == "any" {
        return Some(false);
    }
    let (claimed, claimed_machine) = promised_glibc(claimed)?;
    let (needed, machine) = promised_glibc(truth)?;
    if claimed_machine != machine {
        return Some(false);
    }
    Some(match (claimed, needed) {
        // Plain Linux promises no glibc: such a wheel is for the machine that it is copied to.
        (None, _) => true,
        (Some(_), None) => false,
        (Some(claimed), Some(needed)) => claimed >= needed,
    })
}

/// The glibc that a platform tag promises to be enough: 2.17 for `manylinux2014_x86_64`.
pub fn glibc_of(tag: &str) -> Option<(u32, u32)> {
    promised_glibc(tag)?.0
}

/// The glibc that a platform tag promises to be enough, and its machine.
fn promised_glibc(tag: &str) -> Option<(Option<(u32, u32)>, &str)> {
    if let Some(machine) = tag.strip_prefix("linux_") {
        return Some((None, machine));
    }
    for (old, glibc) in [
        ("manylinux1_", (2, 5)),
        ("manylinux2010_", (2, 12)),
        ("manylinux2014_", (2, 17)),
    ] {
        if let Some(machine) = tag.strip_prefix(old) {
            return Some((Some(glibc), machine));
        }
    }
    let mut parts = tag.strip_prefix("manylinux_")?.splitn(3, '_');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((Some((major, minor)), parts.next()?))
}

/// The machine that a platform tag names: `x86_64`. `None` for `any`, and for a platform that this
/// farm knows nothing of.
pub(crate) fn machine_of(tag: &str) -> Option<&str> {
    promised_glibc(tag).map(|(_, machine)| machine)
}

/// The machines that have policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    X86_64,
    Aarch64,
}

impl Host {
    fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

fn common_machine(modules: &[&ModuleFacts]) -> Result<Option<Host>, PlatformError> {
    let mut found: Option<(Host, &ModuleFacts)> = None;
    for module in modules {
        let host = match module.machine {
            Machine::X86_64 => Host::X86_64,
            Machine::Aarch64 => Host::Aarch64,
            Machine::Cuda | Machine::Other => {
                return Err(PlatformError::OtherMachine {
                    module: module.path.clone(),
                });
            }
        };
        match found {
            Some((first, other)) if first != host => {
                return Err(PlatformError::MixedMachines {
                    first: other.path.clone(),
                    second: module.path.clone(),
                });
            }
            Some(_) => {}
            None => found = Some((host, module)),
        }
    }
    Ok(found.map(|(host, _)| host))
}

/// One policy, ready to be held against one module after the other.
struct Check<'a> {
    limits: &'a Limits,
    libraries: &'a [&'a str],
    modules: &'a [&'a ModuleFacts],
    supplied: &'a GlobSet,
}

impl Check<'_> {
    /// The first thing that the module needs and the policy does not promise.
    fn objection(&self, module: &ModuleFacts) -> Option<String> {
        let path = &module.path;
        let library = module.needed.iter().find(|name| !self.has_library(name));
        if let Some(library) = library {
            return Some(format!(
                "`{path}` needs `{library}`, which neither the system, the wheel, torch nor the driver has to provide"
            ));
        }
        let versions = module
            .symbol_versions
            .iter()
            .filter(|(library, _)| !self.is_in_wheel(library) && !is_loader(library))
            .flat_map(|(library, versions)| versions.iter().map(move |v| (library, v)));
        for (library, version) in versions {
            if !self.limits.allow(version) {
                return Some(format!("`{path}` needs `{version}` of `{library}`"));
            }
        }
        None
    }

    fn has_library(&self, name: &str) -> bool {
        self.libraries.contains(&name)
            || is_loader(name)
            || self.supplied.is_match(name)
            || self.is_in_wheel(name)
    }

    /// Libraries in the wheel find each other by file name or by soname.
    fn is_in_wheel(&self, name: &str) -> bool {
        self.modules.iter().any(|module| {
            let file_name = module.path.rsplit('/').next();
            file_name == Some(name) || module.soname.as_deref() == Some(name)
        })
    }
}

/// The dynamic loader is there, or nothing runs at all.
fn is_loader(library: &str) -> bool {
    library.starts_with("ld-linux")
}

/// The policy file, read once.
static POLICIES: LazyLock<Policies> = LazyLock::new(|| {
    let raw: RawPolicies = serde_json::from_str(include_str!("../../data/manylinux-policy.json"))
        .expect("the policy file is part of the program and a test reads it");
    Policies::new(raw).expect("the policy file is part of the program and a test reads it")
});

#[derive(Debug)]
struct Policies {
    policies: Vec<Policy>,
    supplied_by_user: GlobSet,
}

impl Policies {
    fn new(raw: RawPolicies) -> Result<Self, globset::Error> {
        let mut supplied = GlobSetBuilder::new();
        for pattern in &raw.supplied_by_user {
            supplied.add(Glob::new(pattern)?);
        }
        Ok(Self {
            policies: raw.policies,
            supplied_by_user: supplied.build()?,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicies {
    /// Where the numbers are from; for people.
    #[serde(rename = "source")]
    _source: String,
    supplied_by_user: Vec<String>,
    /// From the oldest system to the newest.
    policies: Vec<Policy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    name: String,
    /// On top of those of the policies before.
    adds_libraries: Vec<String>,
    x86_64: Limits,
    aarch64: Limits,
}

impl Policy {
    fn limits(&self, host: Host) -> &Limits {
        match host {
            Host::X86_64 => &self.x86_64,
            Host::Aarch64 => &self.aarch64,
        }
    }
}

/// The symbol versions that a policy promises on one machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    /// Per prefix the highest number.
    highest: BTreeMap<String, String>,
    /// Versions that have a name instead of a number.
    named: Vec<String>,
}

impl Limits {
    /// Prefixes that the policy does not know say nothing about the system: a library's own
    /// versions, such as `libcudart.so.12`.
    fn allow(&self, version: &str) -> bool {
        if self.named.iter().any(|named| named == version) {
            return true;
        }
        if let Some((prefix, number)) = split_version(version) {
            let limit = self.highest.get(prefix);
            return limit.is_none_or(|limit| version_numbers(number) <= version_numbers(limit));
        }
        let prefix = version.split('_').next().unwrap_or(version);
        !self.highest.contains_key(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, needed: &[&str], versions: &[(&str, &str)]) -> ModuleFacts {
        let mut symbol_versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (library, version) in versions {
            let of_library = symbol_versions.entry((*library).to_owned()).or_default();
            of_library.push((*version).to_owned());
        }
        ModuleFacts {
            path: path.to_owned(),
            machine: Machine::X86_64,
            soname: None,
            needed: needed.iter().map(|&name| name.to_owned()).collect(),
            search_paths: Vec::new(),
            symbol_versions,
            torch_cxx_symbol: None,
            uses_cpython: false,
        }
    }

    #[track_caller]
    fn check(needed: &[&str], versions: &[(&str, &str)], want: &str) {
        let tag = platform_tag(&[module("x/_C.so", needed, versions)]).unwrap();
        assert_eq!(format!("{}: {}", tag.tag, tag.why), want);
    }

    #[test]
    fn the_lowest_policy_that_fits_is_taken() {
        check(
            &["libc.so.6", "ld-linux-x86-64.so.2"],
            &[
                ("libc.so.6", "GLIBC_2.14"),
                ("ld-linux-x86-64.so.2", "GLIBC_2.99"),
            ],
            "manylinux_2_17_x86_64: no module needs more than manylinux_2_17",
        );
        check(
            &[
                "libc.so.6",
                "libstdc++.so.6",
                "libc10.so",
                "libcudart.so.13",
            ],
            &[
                ("libc.so.6", "GLIBC_2.28"),
                ("libstdc++.so.6", "GLIBCXX_3.4.22"),
                ("libcudart.so.13", "libcudart.so.13"),
            ],
            "manylinux_2_28_x86_64: `x/_C.so` needs `GLIBC_2.28` of `libc.so.6`",
        );
        check(
            &["libmvec.so.1"],
            &[],
            "manylinux_2_24_x86_64: `x/_C.so` needs `libmvec.so.1`, which neither the system, the wheel, torch nor the driver has to provide",
        );
        check(
            &[],
            &[("libc.so.6", "GLIBC_ABI_DT_RELR")],
            "manylinux_2_36_x86_64: `x/_C.so` needs `GLIBC_ABI_DT_RELR` of `libc.so.6`",
        );
    }

    #[test]
    fn what_no_policy_promises_makes_it_plain_linux() {
        check(
            &["libcudnn_graph.so.9", "libfoo.so.1"],
            &[],
            "linux_x86_64: `x/_C.so` needs `libfoo.so.1`, which neither the system, the wheel, torch nor the driver has to provide",
        );
        check(
            &[],
            &[("libc.so.6", "GLIBC_2.99")],
            "linux_x86_64: `x/_C.so` needs `GLIBC_2.99` of `libc.so.6`",
        );
        check(
            &[],
            &[("libc.so.6", "GLIBC_PRIVATE")],
            "linux_x86_64: `x/_C.so` needs `GLIBC_PRIVATE` of `libc.so.6`",
        );
    }

    #[test]
    fn libraries_in_the_wheel_count_as_present() {
        let mut bundled = module("x.libs/libfoo-1a2b.so.1", &[], &[]);
        bundled.soname = Some("libfoo.so.1".to_owned());
        let user = module(
            "x/_C.so",
            &["libfoo.so.1"],
            &[("libfoo.so.1", "GLIBC_2.99")],
        );
        let tag = platform_tag(&[user, bundled]).unwrap();
        assert_eq!(tag.tag, "manylinux_2_17_x86_64");
    }

    #[test]
    fn machines_are_not_mixed_and_cubins_are_data() {
        let mut arm = module("b.so", &[], &[]);
        arm.machine = Machine::Aarch64;
        let mut cubin = module("c.cubin", &[], &[]);
        cubin.machine = Machine::Cuda;
        let mut other = module("d.so", &[], &[]);
        other.machine = Machine::Other;
        let amd = module("a.so", &[], &[]);
        assert_eq!(platform_tag(&[]).unwrap().tag, "any");
        assert_eq!(
            platform_tag(std::slice::from_ref(&cubin)).unwrap().tag,
            "any"
        );
        let tag = platform_tag(&[arm.clone(), cubin]).unwrap();
        assert_eq!(tag.tag, "manylinux_2_17_aarch64");
        assert!(matches!(
            platform_tag(&[amd, arm]),
            Err(PlatformError::MixedMachines { .. })
        ));
        assert!(matches!(
            platform_tag(&[other]),
            Err(PlatformError::OtherMachine { .. })
        ));
    }

    #[test]
    fn policies_only_ever_allow_more() {
        let policies = &POLICIES.policies;
        for pair in policies.windows(2) {
            for host in [Host::X86_64, Host::Aarch64] {
                for (prefix, number) in &pair[0].limits(host).highest {
                    let version = format!("{prefix}_{number}");
                    assert!(
                        pair[1].limits(host).allow(&version),
                        "{}: {version}",
                        pair[1].name
                    );
                }
            }
        }
        assert_eq!(policies.len(), 14);
    }
}
