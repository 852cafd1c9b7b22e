//! Wheels and contracts for the tests of rules, cut to what matters.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judgement, intrinsic, judge};
use crate::arch::{Arch, ArchSuffix};
use crate::fatbin::{Compression, Container, Content, Image, ImageKind, Kernel};
use crate::gate::contract::{self, Contract};
use crate::gate::inspect::{FileKind, MetadataFacts, ModuleReport, WheelReport};
use crate::gate::libraries::{Libraries, Library, SCHEMA};
use crate::wheel::elf::{Binding, Machine, ModuleFacts, NeededSymbol, Symbols};

pub(super) const FILE: &str = "demo-1.0+cu130torch2.11-cp311-cp311-manylinux_2_34_x86_64.whl";

/// A wheel named `file_name` that requires what `requires` says.
pub(super) fn wheel(file_name: &str, requires: &[&str], modules: Vec<ModuleReport>) -> WheelReport {
    WheelReport {
        file_name: file_name.to_owned(),
        kind: FileKind::Wheel,
        sha256: None,
        size_bytes: 1000,
        name: file_name.parse().ok(),
        metadata: Some(MetadataFacts {
            project: "demo".to_owned(),
            version: "1.0+cu130torch2.11".to_owned(),
            requires_python: None,
            requires_dist: requires.iter().map(|&text| text.to_owned()).collect(),
        }),
        tags: Vec::new(),
        modules,
        gpu_files: Vec::new(),
        findings: Vec::new(),
    }
}

/// The wheel of [`FILE`], which requires its torch.
pub(super) fn demo(modules: impl IntoIterator<Item = ModuleReport>) -> WheelReport {
    wheel(FILE, &["torch==2.11.*"], modules.into_iter().collect())
}

/// A module of x86-64 that needs nothing, with the containers that [`container`] reads.
pub(super) fn module(path: &str, containers: &[&str]) -> ModuleReport {
    ModuleReport {
        facts: ModuleFacts {
            path: path.to_owned(),
            machine: Machine::X86_64,
            soname: None,
            needed: Vec::new(),
            search_paths: Vec::new(),
            symbol_versions: BTreeMap::new(),
            torch_cxx_symbol: None,
            uses_cpython: false,
        },
        size_bytes: 1000,
        symbols: Symbols::default(),
        containers: containers.iter().map(|text| container(text)).collect(),
        relocatable: Vec::new(),
        has_hip: false,
    }
}

impl ModuleReport {
    pub(super) fn needs(mut self, sonames: &[&str]) -> Self {
        self.facts.needed = sonames.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// `_Z1fv`, or `open@GLIBC_2.34`.
    pub(super) fn wants(mut self, symbols: &[&str]) -> Self {
        let symbols = symbols.iter().map(|text| {
            let (name, version) = text.split_once('@').unwrap_or((text, ""));
            NeededSymbol {
                name: name.to_owned(),
                version: (!version.is_empty()).then(|| version.to_owned()),
                binding: Binding::Strong,
            }
        });
        self.symbols.needed = symbols.collect();
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut ModuleFacts)) -> Self {
        change(&mut self.facts);
        self
    }
}

/// Images between blanks. `sm_90` has one kernel; `sm_90:a=1000,b=128` has these, of so many bytes,
/// and `sm_90:` none; `sm_90@8.0` holds code for another arch; `sm_90!` cannot be read and `sm_90?`
/// was not looked into; `lto_90`, and `kind64_90` for a kind that is not known.
pub(super) fn container(text: &str) -> Container {
    Container {
        offset: 0,
        images: text.split_whitespace().map(image).collect(),
        complete: true,
    }
}

fn image(text: &str) -> Image {
    let head_bytes = text.find(['@', ':', '!', '?']).unwrap_or(text.len());
    let (head, more) = text.split_at(head_bytes);
    let (kind, number) = head.split_once('_').unwrap();
    let suffix = match number.trim_start_matches(|c: char| c.is_ascii_digit()) {
        "a" => ArchSuffix::Specific,
        "f" => ArchSuffix::Family,
        _ => ArchSuffix::Portable,
    };
    let number = number.trim_end_matches(['a', 'f']).parse().unwrap();
    let kind = match kind {
        "sm" => ImageKind::Sass,
        "compute" => ImageKind::Ptx,
        "lto" => ImageKind::Lto,
        other => ImageKind::Unknown(other.trim_start_matches("kind").parse().unwrap()),
    };
    let arch = Arch::from_number(number, suffix);
    Image {
        kind,
        arch,
        version: (9, 0),
        compression: Compression::None,
        stored_bytes: 5000,
        size_bytes: 5000,
        flags: 0,
        content: content(kind, arch, more),
    }
}

fn content(kind: ImageKind, arch: Option<Arch>, text: &str) -> Option<Content> {
    if !matches!(kind, ImageKind::Sass | ImageKind::Ptx) {
        return None;
    }
    let kernel = |text: &str| {
        let (name, bytes) = text.split_once('=').unwrap();
        Kernel {
            name: name.to_owned(),
            code_bytes: (kind == ImageKind::Sass).then(|| bytes.parse().unwrap()),
        }
    };
    let usual = vec![kernel("kernel=4096")];
    match text.split_at_checked(1) {
        None => Some(Content::Read {
            arch,
            kernels: usual,
        }),
        Some(("@", inside)) => Some(Content::Read {
            arch: Some(inside.parse().unwrap()),
            kernels: usual,
        }),
        Some((":", kernels)) => Some(Content::Read {
            arch,
            kernels: kernels.split_terminator(',').map(kernel).collect(),
        }),
        Some(("!", _)) => Some(Content::Unreadable("damaged".to_owned())),
        Some(_) => None,
    }
}

/// The contract for [`FILE`] with `sm_90`, `sm_120` and `compute_120`, and the lines of `terms` under
/// `contract:`.
pub(super) fn contract(terms: &str) -> Contract {
    contract_for(r#"["9.0", "12.0+PTX"]"#, "13.0", terms)
}

/// The same for other archs and another CUDA; without archs for a package without GPU code.
pub(super) fn contract_for(archs: &str, cuda: &str, terms: &str) -> Contract {
    let archs = match archs {
        "" => String::new(),
        archs => format!("archs: {archs}\n"),
    };
    let terms: String = terms.lines().flat_map(|line| ["  ", line, "\n"]).collect();
    let terms = match &*terms {
        "" => "{}\n",
        terms => terms,
    };
    let text = format!(
        "schema: 1\nproject: demo\nversion: \"1.0\"\n{archs}cuda: \"{cuda}\"\n\
         torch: \"2.11.0\"\npython: \"3.11\"\ncontract:\n  {}\n",
        terms.trim(),
    );
    contract::parse_file("contract.yaml", &text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// An environment of a C library, torch and a CUDA runtime.
pub(super) fn environment() -> Libraries {
    let library = |symbols: &[(&str, &str)]| Library {
        path: String::new(),
        needed: Vec::new(),
        symbols: symbols
            .iter()
            .map(|&(name, version)| {
                let version = (!version.is_empty()).then(|| version.to_owned());
                (
                    name.to_owned(),
                    version.into_iter().collect::<BTreeSet<_>>(),
                )
            })
            .collect(),
    };
    Libraries {
        schema: SCHEMA,
        environment: "the environment".to_owned(),
        interpreter: Some(library(&[("PyLong_FromLong", "")])),
        libraries: [
            ("libc.so.6", library(&[("open", "GLIBC_2.34")])),
            ("libc10.so", library(&[("_ZN3c105ErrorC2Ev", "")])),
            (
                "libcudart.so.13",
                library(&[("cudaMalloc", "libcudart.so.13")]),
            ),
        ]
        .map(|(name, library)| (name.to_owned(), library))
        .into(),
    }
}

/// Judges, and compares severity, rule and place of all findings: `error arch/jit-only demo/_C.so`.
#[track_caller]
pub(super) fn check(report: WheelReport, contract: &Contract, want: &[&str]) -> Judgement {
    check_in(report, contract, Some(&environment()), want)
}

/// The same with other libraries.
#[track_caller]
pub(super) fn check_in(
    mut report: WheelReport,
    contract: &Contract,
    libraries: Option<&Libraries>,
    want: &[&str],
) -> Judgement {
    intrinsic(&mut report);
    let judgement = judge(&report, contract, libraries);
    let found: Vec<String> = judgement
        .findings
        .iter()
        .map(|found| format!("{} {} {}", found.severity.as_str(), found.rule, found.place))
        .collect();
    assert_eq!(found, want, "{:#?}", judgement.findings);
    judgement
}
