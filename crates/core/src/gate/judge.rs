//! Holds what a wheel has against what it says, and against its contract.

mod arch;
#[cfg(test)]
mod fixture;
mod needs;
mod wheel;

pub(super) use self::arch::label;
use super::contract::Contract;
use super::finding::{Finding, Verdict};
use super::inspect::{FileKind, ModuleReport, WheelReport};
use super::libraries::Libraries;
use super::rule::{Rule, Severity};
use crate::fatbin::{Content, Depth};

/// A wheel's findings, and what they add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// All of them, errors first.
    pub findings: Vec<Finding>,
    /// The answer.
    pub verdict: Verdict,
}

impl Judgement {
    /// The findings that keep the wheel back.
    pub fn errors(&self) -> Vec<&Finding> {
        let findings = self.findings.iter();
        findings
            .filter(|found| found.severity == Severity::Error)
            .collect()
    }
}

/// Adds what is wrong with the wheel whatever was asked for.
pub(super) fn intrinsic(report: &mut WheelReport) {
    let mut findings = Vec::new();
    wheel::tags(report, &mut findings);
    wheel::stable_abi(report, &mut findings);
    wheel::torch_bound(report, &mut findings);
    for module in &report.modules {
        arch::images(module, &mut findings);
        needs::search_paths(module, &mut findings);
        needs::bundled_driver(module, &mut findings);
    }
    report.findings.append(&mut findings);
}

/// Holds the wheel against its contract, and its symbols against the environment's libraries.
pub fn judge(
    report: &WheelReport,
    contract: &Contract,
    libraries: Option<&Libraries>,
) -> Judgement {
    let mut findings = report.findings.clone();
    // A file may be a library from its start and an archive from its end.
    if report.kind == FileKind::Module {
        let seen = "starts as an ELF file does, and no wheel does";
        findings.push(Finding::new(Rule::ArchiveUnsound, &*report.file_name, seen));
        return conclude(findings);
    }
    wheel::asked(report, contract, &mut findings);
    arch::modules(report, contract, &mut findings);
    let in_wheel = needs::provided_by_wheel(report);
    for module in &report.modules {
        arch::targets(module, contract, &mut findings);
        needs::libraries(&in_wheel, module, contract, &mut findings);
        needs::glibc(module, contract, &mut findings);
        needs::python(module, contract, &mut findings);
    }
    needs::symbols(report, contract, libraries, &mut findings);
    if !was_read_deeply(report) {
        for rule in [Rule::ArchKernelParity, Rule::ArchEmptyKernel] {
            let why = "the wheel's GPU code was not looked into";
            findings.push(Finding::not_checked(rule, &*report.file_name, why));
        }
    }
    findings.retain(|finding| !is_allowed(finding, contract));
    conclude(findings)
}

fn conclude(mut findings: Vec<Finding>) -> Judgement {
    findings.sort();
    findings.dedup();
    let verdict = Verdict::of(&findings);
    Judgement { findings, verdict }
}

/// The depth at which a wheel has to be read so that every rule can be checked.
pub const DEPTH: Depth = Depth::Kernels;

fn was_read_deeply(report: &WheelReport) -> bool {
    let images = report
        .modules
        .iter()
        .flat_map(ModuleReport::kernel_containers)
        .flat_map(|container| &container.images);
    images
        .filter(|image| arch::has_kernels(image))
        .all(|image| image.content.is_some())
}

/// Whether the contract gives a reason for what was found.
fn is_allowed(finding: &Finding, contract: &Contract) -> bool {
    let is_parity = [Rule::ArchKernelParity, Rule::ArchEmptyKernel].contains(&finding.rule);
    let terms = contract.terms_of(&finding.place);
    is_parity && terms.is_some_and(|terms| terms.kernels_may_differ.is_some())
}

/// `3 of 12`, or `all 12`.
fn part_of(count: usize, total: usize) -> String {
    if count == total {
        format!("all {total}")
    } else {
        format!("{count} of {total}")
    }
}

/// The first few of a list, and how many more there are. Mangled names of templates run to a
/// kilobyte: what is longer than any plain one is cut.
fn some_of(items: &[String]) -> String {
    const SHOWN: usize = 3;
    const NAME_CHARS: usize = 160;
    let shown = items.iter().take(SHOWN);
    let shown: Vec<String> = shown
        .map(|item| match item.char_indices().nth(NAME_CHARS) {
            Some((end, _)) => format!("`{}…`", &item[..end]),
            None => format!("`{item}`"),
        })
        .collect();
    let shown = shown.join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The kernels of an image that was looked into.
fn kernels(image: &crate::fatbin::Image) -> Option<&[crate::fatbin::Kernel]> {
    match &image.content {
        Some(Content::Read { kernels, .. }) => Some(kernels),
        Some(Content::Unreadable(_)) | None => None,
    }
}
