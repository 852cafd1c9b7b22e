//! Holds command lines against a contract.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::nvcc::{FlagError, Invocation};
use super::record::Recorded;
use crate::arch::Arch;
use crate::gate::contract::{Contract, DeviceCode, ModuleTerms, Pattern, TargetTerms, Targets};

/// How much of a build the commands are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// It runs: what was not compiled yet may still come.
    SoFar,
    /// It has ended.
    Whole,
}

/// What was found of a build's commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandReport {
    /// How many CUDA sources were compiled, each time counted.
    pub compilations: usize,
    /// How many of them were held against something.
    pub checked: usize,
    /// What is wrong, one entry for all sources of which the same is wrong.
    pub faults: Vec<CommandFault>,
    /// Why not all were checked.
    pub not_checked: Option<String>,
}

/// What is wrong with some command lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandFault {
    /// Sources are compiled for other targets than they should be.
    Targets {
        /// The module or sources' line that says what they should be compiled for.
        line: String,
        /// What that is.
        wanted: Targets,
        /// What they are compiled for instead.
        seen: Result<Targets, FlagError>,
        /// The sources, relative to the source's top.
        sources: Vec<String>,
    },
    /// Archs were asked for, and nvcc compiled nothing: a build without CUDA, or a stranger's wheel.
    NothingCompiled,
    /// Sources that no line of the contract names, where lines name sources.
    Unnamed {
        /// The sources, relative to the source's top.
        sources: Vec<String>,
    },
    /// A glob that no compiled source has matched.
    Unmatched {
        /// The module's line.
        line: String,
        /// The glob.
        glob: String,
    },
}

/// Longest list of sources that a fault shows.
const SHOWN: usize = 3;

fn some_of(sources: &[String]) -> String {
    let shown = sources
        .iter()
        .take(SHOWN)
        .map(|source| format!("`{source}`"));
    let text = shown.collect::<Vec<_>>().join(", ");
    match sources.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

impl fmt::Display for CommandFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Targets {
                line,
                wanted,
                seen,
                sources,
            } => {
                write!(f, "{line}: {} ", some_of(sources))?;
                match seen {
                    Ok(seen) => write!(f, "compiled for {seen}")?,
                    Err(error) => write!(f, "compiled for nobody knows what: {error}")?,
                }
                write!(f, "; the contract wants {wanted}")
            }
            Self::NothingCompiled => {
                f.write_str("nvcc compiled nothing: the build left CUDA out, or fetched a wheel")
            }
            Self::Unnamed { sources } => write!(
                f,
                "{} compiled, which no `sources` of the contract names",
                some_of(sources)
            ),
            Self::Unmatched { line, glob } => {
                write!(f, "{line}: nothing was compiled that `{glob}` matches")
            }
        }
    }
}

/// Holds `commands` against `contract`; `source_folder` is where the source lay.
///
/// A source gets what the first line says that names it: the contract's own `sources`, then those of
/// its modules. Where no line names sources, every source gets what all modules get; where modules
/// differ then, nothing can be said of a source.
pub fn judge(
    commands: &[Recorded],
    contract: &Contract,
    source_folder: &str,
    extent: Extent,
) -> CommandReport {
    let mut judging = Judging {
        contract,
        report: CommandReport::default(),
        wrong: BTreeMap::new(),
        unnamed: BTreeSet::new(),
        matched: BTreeSet::new(),
    };
    let source_names = SourceNames::of(contract);
    for invocation in commands.iter().filter_map(Invocation::read) {
        for source in &invocation.sources {
            // What lies elsewhere is what a build tries nvcc out on.
            if let Some(inside) = source.strip_prefix(source_folder) {
                let name = inside.trim_start_matches('/');
                judging.source(name, &invocation.targets, &source_names);
            }
        }
    }
    judging.finish(extent, &source_names)
}

/// What the lines of a contract say of sources.
enum SourceNames {
    /// They name them.
    Given,
    /// They do not, and all modules are compiled for the same.
    Same(Targets),
    /// They do not, and modules differ.
    Differ,
}

impl SourceNames {
    fn of(contract: &Contract) -> Self {
        let names = |terms: &ModuleTerms| !terms.sources.is_empty();
        if contract.module_terms().any(names) || contract.source_terms().next().is_some() {
            return Self::Given;
        }
        let with_code = contract
            .module_terms()
            .filter(|terms| terms.device_code == DeviceCode::Required);
        // One that gets nothing of what was asked for is not built.
        let targets: BTreeSet<_> = with_code
            .map(|terms| contract.targets(Some(terms)))
            .filter(|targets| *targets != Targets::default())
            .collect();
        let mut targets = targets.into_iter();
        match (targets.next(), targets.next()) {
            (None, _) => Self::Same(contract.targets(None)),
            (Some(targets), None) => Self::Same(targets),
            (Some(_), Some(_)) => Self::Differ,
        }
    }
}

/// What is the same about sources that are wrong in the same way.
type Wrong = (String, Targets, Result<Targets, FlagError>);

/// A line of the contract that names a source.
#[derive(Clone)]
struct Line<'a> {
    name: String,
    targets: &'a TargetTerms,
    may_add: Option<&'a BTreeSet<Arch>>,
}

struct Judging<'a> {
    contract: &'a Contract,
    report: CommandReport,
    wrong: BTreeMap<Wrong, BTreeSet<String>>,
    unnamed: BTreeSet<String>,
    matched: BTreeSet<&'a str>,
}

impl<'a> Judging<'a> {
    fn source(
        &mut self,
        name: &str,
        seen: &Result<Targets, FlagError>,
        source_names: &SourceNames,
    ) {
        self.report.compilations += 1;
        let mut may_add = None;
        let (line, wanted) = match source_names {
            SourceNames::Differ => return,
            SourceNames::Same(targets) => ("every module".to_owned(), targets.clone()),
            SourceNames::Given => {
                let Some(found) = self.line_of(name) else {
                    self.unnamed.insert(name.to_owned());
                    return;
                };
                may_add = found.may_add;
                (found.name, self.contract.targets_of(found.targets))
            }
        };
        self.report.checked += 1;
        let is_wanted = seen.as_ref().is_ok_and(|seen| {
            let added = may_add.into_iter().flatten();
            let allowed: BTreeSet<_> = wanted.native.iter().chain(added).collect();
            seen.ptx == wanted.ptx
                && seen.native.is_superset(&wanted.native)
                && seen.native.iter().all(|arch| allowed.contains(arch))
        });
        if !is_wanted {
            let sources = self.wrong.entry((line, wanted, seen.clone())).or_default();
            sources.insert(name.to_owned());
        }
    }

    /// The first line that names the source. All globs that match it count as matched: two modules
    /// may share a file.
    fn line_of(&mut self, name: &str) -> Option<Line<'a>> {
        let contract = self.contract;
        let mut found = None;
        let mut look = |globs: &'a [Pattern], line: &Line<'a>| {
            for glob in globs.iter().filter(|glob| glob.matches(name)) {
                self.matched.insert(glob.as_str());
                found.get_or_insert_with(|| line.clone());
            }
        };
        for terms in contract.source_terms() {
            let line = Line {
                name: "sources".to_owned(),
                targets: &terms.targets,
                may_add: Some(&terms.may_add),
            };
            look(&terms.files, &line);
        }
        for terms in contract.module_terms() {
            let line = Line {
                name: terms.name.as_str().to_owned(),
                targets: &terms.targets,
                may_add: None,
            };
            look(&terms.sources, &line);
        }
        found
    }

    fn finish(mut self, extent: Extent, source_names: &SourceNames) -> CommandReport {
        let wrong = std::mem::take(&mut self.wrong).into_iter();
        let mut faults: Vec<_> = wrong
            .map(|((line, wanted, seen), sources)| CommandFault::Targets {
                line,
                wanted,
                seen,
                sources: sources.into_iter().collect(),
            })
            .collect();
        if !self.unnamed.is_empty() {
            let sources = std::mem::take(&mut self.unnamed).into_iter().collect();
            faults.push(CommandFault::Unnamed { sources });
        }
        if extent == Extent::Whole && self.report.compilations == 0 && self.wants_code() {
            faults.push(CommandFault::NothingCompiled);
        } else if extent == Extent::Whole {
            faults.extend(self.unmatched());
        }
        if matches!(source_names, SourceNames::Differ) && self.report.compilations > 0 {
            let reason =
                "modules of the contract differ in their archs, and none names its sources";
            self.report.not_checked = Some(reason.to_owned());
        }
        CommandReport {
            faults,
            ..self.report
        }
    }

    /// Whether any module must have GPU code.
    fn wants_code(&self) -> bool {
        let mut modules = self.contract.module_terms().peekable();
        let is_asked_for = self.contract.archs.is_some();
        let no_module_is_named = modules.peek().is_none();
        let has_code = modules.any(|terms| terms.device_code == DeviceCode::Required);
        is_asked_for && (no_module_is_named || has_code)
    }

    /// Globs of modules that are built, and that nothing has matched. A module that gets nothing of
    /// what was asked for is not built.
    fn unmatched(&self) -> Vec<CommandFault> {
        let modules = self.contract.module_terms();
        let built = modules.filter(|terms| {
            let targets = self.contract.targets(Some(terms));
            !targets.native.is_empty() || !targets.ptx.is_empty()
        });
        let globs = built.flat_map(|terms| terms.sources.iter().map(move |glob| (terms, glob)));
        globs
            .filter(|(_, glob)| !self.matched.contains(glob.as_str()))
            .map(|(terms, glob)| CommandFault::Unmatched {
                line: terms.name.as_str().to_owned(),
                glob: glob.as_str().to_owned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::contract::parse_file;

    const HEAD: &str = "schema: 1\nproject: demo\nversion: \"1.0\"\ntorch: \"2.8.0\"\n\
                        python: \"3.11\"\ncuda: \"12.8\"\narchs: [\"8.0\", \"9.0\", \"12.0+PTX\"]\n";

    const SAGE: &str = "contract:\n  modules:\n    \
        - name: sage/_sm80*.so\n      sources: [\"csrc/*sm80*.cu\"]\n    \
        - name: sage/_sm90*.so\n      sources: [\"csrc/*sm90*.cu\"]\n      archs: [\"9.0\"]\n      \
        built-as: {\"9.0\": \"9.0a\"}\n";

    fn contract(terms: &str) -> Contract {
        parse_file("contract.yaml", &format!("{HEAD}{terms}")).unwrap()
    }

    fn compile(source: &str, flags: &str) -> Recorded {
        let line = format!("-c {source} -o {source}.o {flags}");
        Recorded {
            cwd: "/build/source".to_owned(),
            argv: line.split_whitespace().map(str::to_owned).collect(),
        }
    }

    const ALL: &str = "-gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90 \
                       -gencode=arch=compute_120,code=[compute_120,sm_120]";
    const HOPPER: &str = "-gencode=arch=compute_90a,code=sm_90a";

    #[track_caller]
    fn check(terms: &str, commands: &[Recorded], extent: Extent, want: &[&str]) {
        let report = judge(commands, &contract(terms), "/build/source", extent);
        let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, want);
    }

    #[test]
    fn every_source_gets_what_its_module_gets() {
        let commands = [
            compile("csrc/a_sm80.cu", ALL),
            compile("csrc/a_sm90.cu", HOPPER),
        ];
        check(SAGE, &commands, Extent::Whole, &[]);
        let report = judge(&commands, &contract(SAGE), "/build/source", Extent::Whole);
        assert_eq!((report.compilations, report.checked), (2, 2));
    }

    #[test]
    fn a_list_cut_after_its_first_arch_is_told_at_the_first_file() {
        let cut = "-gencode arch=compute_80,code=sm_80";
        let commands = [
            compile("csrc/a_sm80.cu", cut),
            compile("csrc/b_sm80.cu", cut),
        ];
        let want = "sage/_sm80*.so: `csrc/a_sm80.cu`, `csrc/b_sm80.cu` compiled for 8.0; \
                    the contract wants 8.0 9.0 12.0+PTX";
        check(SAGE, &commands, Extent::SoFar, &[want]);
    }

    #[test]
    fn flags_shared_by_all_extensions_are_a_fault_of_the_one_that_cannot_share() {
        let commands = [
            compile("csrc/a_sm80.cu", ALL),
            compile("csrc/a_sm90.cu", ALL),
        ];
        let want = "sage/_sm90*.so: `csrc/a_sm90.cu` compiled for 8.0 9.0 12.0+PTX; \
                    the contract wants 9.0a";
        check(SAGE, &commands, Extent::Whole, &[want]);
    }

    #[test]
    fn what_is_missing_is_told_at_the_end_and_what_nobody_named_at_once() {
        let commands = [compile("csrc/a_sm80.cu", ALL), compile("csrc/new.cu", ALL)];
        let unnamed = "`csrc/new.cu` compiled, which no `sources` of the contract names";
        check(SAGE, &commands, Extent::SoFar, &[unnamed]);
        let unmatched = "sage/_sm90*.so: nothing was compiled that `csrc/*sm90*.cu` matches";
        check(SAGE, &commands, Extent::Whole, &[unnamed, unmatched]);
    }

    #[test]
    fn a_build_that_never_compiled_is_told_apart_from_one_that_has_nothing_to_compile() {
        let want = "nvcc compiled nothing: the build left CUDA out, or fetched a wheel";
        check(SAGE, &[], Extent::Whole, &[want]);
        check("", &[], Extent::Whole, &[want]);
        check(SAGE, &[], Extent::SoFar, &[]);
        let host = "contract:\n  modules:\n    - name: a.so\n      device-code: none\n";
        check(host, &[], Extent::Whole, &[]);
    }

    #[test]
    fn lines_on_sources_come_before_those_on_modules() {
        let terms = format!(
            "{SAGE}  sources:\n    - files: [\"csrc/only80_sm80.cu\"]\n      archs: [\"8.0\"]\n"
        );
        let commands = [
            compile("csrc/only80_sm80.cu", "-gencode arch=compute_80,code=sm_80"),
            compile("csrc/a_sm80.cu", ALL),
            compile("csrc/a_sm90.cu", HOPPER),
        ];
        check(&terms, &commands, Extent::Whole, &[]);
    }

    #[test]
    fn a_source_may_be_given_more_where_its_line_says_so() {
        let terms = format!(
            "{SAGE}  sources:\n    - files: [\"csrc/more_sm80.cu\"]\n      may-add: [\"9.0a\"]\n"
        );
        let other = compile("csrc/a_sm80.cu", ALL);
        let hopper = compile("csrc/a_sm90.cu", HOPPER);
        let run = |flags: &str, want: &[&str]| {
            let commands = [
                compile("csrc/more_sm80.cu", flags),
                other.clone(),
                hopper.clone(),
            ];
            check(&terms, &commands, Extent::Whole, want);
        };
        run(ALL, &[]);
        run(&format!("{ALL} {HOPPER}"), &[]);
        run(
            &format!("{ALL} -gencode=arch=compute_100a,code=sm_100a"),
            &[
                "sources: `csrc/more_sm80.cu` compiled for 8.0 9.0 10.0a 12.0+PTX; \
               the contract wants 8.0 9.0 12.0+PTX",
            ],
        );
        run(
            HOPPER,
            &[
                "sources: `csrc/more_sm80.cu` compiled for 9.0a; the contract wants 8.0 9.0 12.0+PTX",
            ],
        );
    }

    #[test]
    fn what_a_build_tries_nvcc_out_on_is_no_source() {
        let probe = compile("/build/tmp/x/test.cu", "-arch=sm_50");
        let commands = [compile("k.cu", ALL), probe];
        let report = judge(&commands, &contract(""), "/build/source", Extent::Whole);
        assert_eq!((report.compilations, report.faults), (1, Vec::new()));
    }

    #[test]
    fn without_names_all_sources_get_what_all_modules_get_or_nothing_is_said() {
        let commands = [compile("k.cu", HOPPER)];
        let want = "every module: `k.cu` compiled for 9.0a; the contract wants 8.0 9.0 12.0+PTX";
        check("", &commands, Extent::Whole, &[want]);
        let differ =
            "contract:\n  modules:\n    - name: a.so\n    - name: b.so\n      archs: [\"9.0\"]\n";
        let report = judge(&commands, &contract(differ), "/build/source", Extent::Whole);
        assert_eq!((report.compilations, report.checked), (1, 0));
        assert!(report.not_checked.is_some());
    }
}
