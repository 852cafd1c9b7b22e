//! What stands in a wheel, as a picture: modules by archs, GPUs that run it, and what is wrong.

use std::collections::BTreeSet;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use wheelfarm_core::gate::finding::Finding;
use wheelfarm_core::gate::inspect::{FileKind, ModuleReport, WheelReport};
use wheelfarm_core::gate::report::{self, ArchColumn};
use wheelfarm_core::gpu::sentence::sentence;
use wheelfarm_core::gpu::verdict::{GpuVerdict, Verdict};
use wheelfarm_core::gpu::{self, Capability};
use wheelfarm_engine::inspect::RemoteReport;
use wheelfarm_engine::remote::RemoteProgress;

use super::{OutputError, data};

/// The picture of one file; with `gpus`, the answers for those alone.
pub(crate) fn human(
    report: &WheelReport,
    gpus: &[Capability],
    is_deep: bool,
) -> Result<(), OutputError> {
    if gpus.is_empty() {
        return data(&picture(report, is_deep));
    }
    for &gpu in gpus {
        data(&answer(report, gpu))?;
    }
    Ok(())
}

/// Shows how far a remote wheel is read, on a terminal alone, in one line that is wiped at the end.
pub(crate) fn remote_progress() -> impl Fn(RemoteProgress) + Send + Sync + 'static {
    let bar = ProgressBar::new_spinner();
    move |step| {
        if let RemoteProgress::Received {
            fetched_bytes,
            size_bytes: Some(size_bytes),
            ..
        } = step
        {
            bar.set_message(format!(
                "read {} of {}",
                size(fetched_bytes),
                size(size_bytes)
            ));
        } else if let RemoteProgress::Retrying { reason, wait, .. } = step {
            bar.set_message(format!("{reason}; again in {}", super::elapsed(wait)));
        }
    }
}

/// Says what reading a remote wheel took.
pub(crate) fn fetched(read: &RemoteReport) {
    super::talk(&format!(
        "read {} of {} in {} requests",
        size(read.fetched_bytes),
        size(read.report.size_bytes),
        read.requests
    ));
}

/// One sentence for one GPU, and one for each module when they differ.
fn answer(report: &WheelReport, gpu: Capability) -> String {
    let whole = report::runs_on(report, gpu);
    let mut lines = vec![report::answer(report, gpu)];
    let of_modules: Vec<(&ModuleReport, GpuVerdict)> = report
        .modules
        .iter()
        .map(|module| (module, report::module_runs_on(module, gpu)))
        .filter(|(_, verdict)| verdict.verdict != Verdict::NoDeviceCode)
        .collect();
    let differ = of_modules
        .iter()
        .any(|(_, verdict)| verdict.verdict != whole.verdict);
    if differ {
        let shown = of_modules.iter();
        lines.extend(
            shown.map(|(module, verdict)| format!("  {} {}", module.facts.path, sentence(verdict))),
        );
    }
    lines.join("\n")
}

fn picture(report: &WheelReport, is_deep: bool) -> String {
    let mut parts = vec![head(report)];
    parts.push(modules(report));
    if is_deep {
        parts.extend(kernels(report));
    }
    parts.extend(gpus(report));
    if !report.gpu_files.is_empty() {
        parts.push(format!(
            "GPU code in files: {}",
            report.gpu_files.join(", ")
        ));
    }
    parts.push(findings(report));
    parts.join("\n\n")
}

fn head(report: &WheelReport) -> String {
    let mut lines = vec![format!("{}  {}", report.file_name, size(report.size_bytes))];
    if let Some(metadata) = &report.metadata {
        let torch = metadata.requires_dist.iter();
        let torch: Vec<&str> = torch
            .filter(|text| text.starts_with("torch") && !text.starts_with("torchv"))
            .map(String::as_str)
            .collect();
        let mut line = format!("{} {}", metadata.project, metadata.version);
        if let Some(python) = &metadata.requires_python {
            line.push_str(", Python ");
            line.push_str(python);
        }
        if !torch.is_empty() {
            line.push_str(", requires ");
            line.push_str(&torch.join(", "));
        }
        lines.push(line);
    }
    if let Some(sha256) = report.sha256 {
        lines.push(format!("sha256 {sha256}"));
    }
    if let Some(line) = needs(report) {
        lines.push(line);
    }
    lines.join("\n")
}

/// What the modules together need of the machine.
fn needs(report: &WheelReport) -> Option<String> {
    let highest = |prefix: &str| {
        let modules = report.modules.iter();
        modules
            .filter_map(|module| module.facts.highest(prefix))
            .max_by_key(|number| {
                let parts = number
                    .split('.')
                    .map(|part| part.parse::<u32>().unwrap_or(0));
                parts.collect::<Vec<_>>()
            })
            .map(|number| format!("{prefix} {number}"))
    };
    let mut parts: Vec<String> = ["GLIBC", "GLIBCXX", "CXXABI"]
        .into_iter()
        .filter_map(highest)
        .collect();
    let abis: BTreeSet<&str> = report
        .modules
        .iter()
        .filter_map(report::torch_abi)
        .collect();
    if abis.contains("cxx") {
        parts.push("torch's C++ ABI: one minor version".to_owned());
    } else if abis.contains("stable") {
        parts.push("torch's stable ABI: fits later versions".to_owned());
    }
    (!parts.is_empty()).then(|| format!("needs {}", parts.join(", ")))
}

/// A row for each module with GPU code, a column for each arch; how many containers hold it.
fn modules(report: &WheelReport) -> String {
    let rows: Vec<_> = report
        .modules
        .iter()
        .filter(|module| module.has_device_code() || module.has_hip)
        .map(|module| (module, report::arch_counts(module)))
        .collect();
    if rows.is_empty() {
        let count = report.modules.len();
        return match (report.kind, count) {
            _ if !report.is_read_to_the_end() => "what GPU code it holds is not known".to_owned(),
            (_, 0) => "no compiled module: no GPU code that could be missing".to_owned(),
            (FileKind::Module, _) => "no GPU code".to_owned(),
            (FileKind::Wheel, count) => format!("no GPU code in its {count} modules"),
        };
    }
    let columns: BTreeSet<&ArchColumn> =
        rows.iter().flat_map(|(_, counts)| counts.keys()).collect();
    let mut table = vec![{
        let mut head = vec!["module".to_owned(), "containers".to_owned()];
        head.extend(columns.iter().map(|column| column.label().to_owned()));
        head
    }];
    for (module, counts) in &rows {
        let total = module.kernel_containers().count();
        let mut row = vec![module.facts.path.clone(), total.to_string()];
        row.extend(columns.iter().map(|column| match counts.get(*column) {
            None => "-".to_owned(),
            Some(&count) if count == total => "all".to_owned(),
            Some(count) => count.to_string(),
        }));
        if !module.relocatable.is_empty() {
            row.push(format!("+{} relocatable", module.relocatable.len()));
        }
        if module.has_hip {
            row.push("+ code for AMD's GPUs, not read".to_owned());
        }
        table.push(row);
    }
    aligned(&table)
}

/// How many different kernels each module has for each arch.
fn kernels(report: &WheelReport) -> Option<String> {
    let rows: Vec<_> = report
        .modules
        .iter()
        .map(|module| (module, report::kernel_counts(module)))
        .filter(|(_, counts)| !counts.is_empty())
        .collect();
    let columns: BTreeSet<&String> = rows.iter().flat_map(|(_, counts)| counts.keys()).collect();
    if columns.is_empty() {
        return None;
    }
    let mut columns: Vec<&String> = columns.into_iter().collect();
    columns.sort_by_key(|column| report::label_order(column));
    let mut head = vec!["kernels".to_owned()];
    head.extend(columns.iter().map(|&column| column.clone()));
    let mut table = vec![head];
    for (module, counts) in &rows {
        let mut row = vec![module.facts.path.clone()];
        row.extend(columns.iter().map(|&column| {
            counts
                .get(column)
                .map_or_else(|| "-".to_owned(), ToString::to_string)
        }));
        table.push(row);
    }
    Some(aligned(&table))
}

fn gpus(report: &WheelReport) -> Option<String> {
    if !report.modules.iter().any(ModuleReport::has_device_code) {
        return None;
    }
    let mut table = vec![vec!["GPU".to_owned(), String::new(), "answer".to_owned()]];
    for gpu in gpu::known() {
        let verdict = report::runs_on(report, gpu.capability);
        table.push(vec![
            gpu.capability.to_string(),
            gpu.example.clone(),
            verdict_text(&verdict),
        ]);
    }
    Some(aligned(&table))
}

/// `native`, `jit from driver 570.26`, `fails: 3 of 12 containers`.
fn verdict_text(verdict: &GpuVerdict) -> String {
    let total = verdict.total;
    match verdict.verdict {
        Verdict::Native => "native".to_owned(),
        Verdict::Jit => {
            let driver = verdict.least_driver.as_ref().map_or_else(
                || "with a driver that is not known here".to_owned(),
                |driver| format!("driver {driver} or later"),
            );
            format!("jit: {} of {total} containers, {driver}", verdict.jit)
        }
        Verdict::Partly => format!("partly: {} of {total} containers fail", verdict.fails),
        Verdict::Fails => format!("fails: {} of {total} containers", verdict.fails),
        Verdict::Unknown => {
            let open = verdict.unknown + verdict.link_unproven;
            format!("unknown: {open} of {total} containers")
        }
        Verdict::NoDeviceCode => "no GPU code".to_owned(),
    }
}

fn findings(report: &WheelReport) -> String {
    if report.findings.is_empty() {
        return "nothing is wrong with it".to_owned();
    }
    let lines = grouped(&report.findings);
    format!(
        "{}\n`wheelfarm explain RULE` says why and what to do",
        lines.join("\n")
    )
}

/// Lines for findings; what many modules have in common is said once.
fn grouped(findings: &[Finding]) -> Vec<String> {
    let mut groups: Vec<(&Finding, usize)> = Vec::new();
    for finding in findings {
        let is_same = |other: &Finding| {
            (other.rule, &other.seen, &other.expected)
                == (finding.rule, &finding.seen, &finding.expected)
        };
        match groups.iter_mut().find(|(first, _)| is_same(first)) {
            Some((_, count)) => *count += 1,
            None => groups.push((finding, 1)),
        }
    }
    groups
        .into_iter()
        .map(|(finding, count)| match count {
            1 => report::finding_line(finding),
            count => format!(
                "{} (and so in {} more)",
                report::finding_line(finding),
                count - 1
            ),
        })
        .collect()
}

/// `888.1 MB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(name, unit)| format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    )
}

/// Columns of text, the first one to the left and numbers too: people read down.
pub(super) fn aligned(table: &[Vec<String>]) -> String {
    let count = table.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            let cells = table.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Schema 1.
pub(crate) fn json(
    reports: &[WheelReport],
    gpus: &[Capability],
    is_deep: bool,
) -> Result<(), OutputError> {
    let files: Vec<Value> = reports
        .iter()
        .map(|report| {
            let mut value = report::inspection(report, is_deep);
            if !gpus.is_empty() {
                let answers = gpus.iter().map(|&gpu| {
                    let verdict = report::runs_on(report, gpu);
                    json!({
                        "gpu": gpu,
                        "verdict": verdict.verdict,
                        "sentence": report::answer(report, gpu),
                    })
                });
                value["answers"] = answers.collect();
            }
            value
        })
        .collect();
    let value = json!({ "schema": report::SCHEMA, "files": files });
    data(&format!("{value:#}"))
}
