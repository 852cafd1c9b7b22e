//! How patches fit, and what is proposed for those that do not.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde_json::{Value, json};
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::source::patch::{Drift, FitVerdict, PatchFit, Proposal, Refreshed};
use wheelfarm_core::version::PackageVersion;
use wheelfarm_engine::patch_check::{ReleaseReport, TargetKind, TargetOutcome, TargetReport};
use wheelfarm_engine::upstream::Found;

use super::{OutputError, data};

/// A paragraph for each release, a line for each patch, and how each that drifted missed.
pub(crate) fn human(reports: &[ReleaseReport]) -> Result<(), OutputError> {
    data(&human_text(reports))
}

fn human_text(reports: &[ReleaseReport]) -> String {
    let mut lines = Vec::new();
    for report in reports {
        lines.push(format!("{} {}", report.package, report.release));
        for target in &report.targets {
            target_lines(report, target, &mut lines);
        }
    }
    lines.push(Counts::of(reports).to_string());
    lines.join("\n")
}

fn target_lines(report: &ReleaseReport, target: &TargetReport, lines: &mut Vec<String>) {
    let source = target.source.as_ref().map(ToString::to_string);
    let what = match target.kind {
        TargetKind::Claimed => "the version itself",
        TargetKind::Head => "upstream now",
        TargetKind::Against => "against",
    };
    let source = source.unwrap_or_else(|| "not found".to_owned());
    lines.push(format!("  {what}: {source}"));
    let fits = match &target.outcome {
        TargetOutcome::SameAsClaimed => {
            lines.push("    the same".to_owned());
            return;
        }
        TargetOutcome::NotChecked { reason } => {
            lines.push(format!("    not checked: {reason}"));
            return;
        }
        TargetOutcome::Checked(fits) => fits,
    };
    let width = fits.iter().map(|fit| fit.patch.len()).max().unwrap_or(0);
    for fit in fits {
        fit_lines(fit, width, lines);
    }
    let has_drifted = fits
        .iter()
        .any(|fit| matches!(fit.verdict, FitVerdict::Drifted { .. }));
    if let Some(found) = &target.source
        && has_drifted
        && target.kind != TargetKind::Claimed
    {
        let (package, version) = (&report.package, &report.version);
        lines.push(format!(
            "    hint: wheelfarm patch refresh {package}=={version} --against {}",
            found.typed()
        ));
    }
}

fn fit_lines(fit: &PatchFit, width: usize, lines: &mut Vec<String>) {
    let (name, verdict) = (&fit.patch, verdict(&fit.verdict));
    let without = without(&fit.without);
    lines.push(format!("    {name:width$}  {verdict}{without}"));
    let FitVerdict::Drifted { faults } = &fit.verdict else {
        return;
    };
    for Drift {
        message, detail, ..
    } in faults
    {
        lines.push(format!("      {message}"));
        for line in detail.iter().flat_map(|detail| detail.lines()) {
            lines.push(format!("        {line}").trim_end().to_owned());
        }
    }
    let hints: BTreeSet<_> = faults
        .iter()
        .filter_map(|fault| fault.hint.as_ref())
        .collect();
    for hint in hints {
        lines.push(format!("      hint: {hint}"));
    }
}

/// Which patches the tree lacks that stand before this one.
fn without(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!(" (without {})", names.join(", "))
    }
}

fn verdict(verdict: &FitVerdict) -> String {
    match verdict {
        FitVerdict::Fits { .. } => match verdict.moved() {
            None => "fits".to_owned(),
            Some((1, 1)) => "fits, moved by 1 line".to_owned(),
            Some((least, most)) if least == most => format!("fits, moved by {most} lines"),
            Some((least, most)) => format!("fits, moved by {least} to {most} lines"),
        },
        FitVerdict::AlreadyThere => "already there".to_owned(),
        FitVerdict::Drifted { .. } => "drifted".to_owned(),
        FitVerdict::NotChecked { reason } => format!("not checked: {reason}"),
    }
}

/// How many patches fared how, each counted for every source that it was held against.
#[derive(Debug, Default)]
struct Counts {
    releases: usize,
    patches: usize,
    fit: usize,
    moved: usize,
    already_there: usize,
    drifted: usize,
    not_checked: usize,
}

impl Counts {
    fn of(reports: &[ReleaseReport]) -> Self {
        let mut counts = Self {
            releases: reports.len(),
            ..Self::default()
        };
        for report in reports {
            let fits = report.targets.iter().map(|target| match &target.outcome {
                TargetOutcome::Checked(fits) => fits.as_slice(),
                TargetOutcome::SameAsClaimed | TargetOutcome::NotChecked { .. } => &[],
            });
            counts.patches += report.patches;
            for fit in fits.flatten() {
                let count = match &fit.verdict {
                    FitVerdict::Fits { .. } if fit.verdict.moved().is_some() => &mut counts.moved,
                    FitVerdict::Fits { .. } => &mut counts.fit,
                    FitVerdict::AlreadyThere => &mut counts.already_there,
                    FitVerdict::Drifted { .. } => &mut counts.drifted,
                    FitVerdict::NotChecked { .. } => &mut counts.not_checked,
                };
                *count += 1;
            }
            for target in &report.targets {
                if matches!(target.outcome, TargetOutcome::NotChecked { .. }) {
                    counts.not_checked += report.patches;
                }
            }
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count: usize, one: &'static str, more: &'static str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        let patches = plural(self.patches, "patch", "patches");
        let releases = plural(self.releases, "release", "releases");
        write!(
            f,
            "{patches} of {releases}: {} fit, {} moved, {} already there, {} drifted, {} not checked",
            self.fit, self.moved, self.already_there, self.drifted, self.not_checked
        )
    }
}

/// Schema 1.
pub(crate) fn json(reports: &[ReleaseReport]) -> Result<(), OutputError> {
    let releases: Vec<_> = reports
        .iter()
        .map(|report| {
            json!({
                "package": report.package.as_str(),
                "release": report.release,
                "version": report.version.to_string(),
                "targets": report.targets.iter().map(target_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    let counts = Counts::of(reports);
    let report = json!({
        "schema": 1,
        "releases": releases,
        "summary": {
            "releases": counts.releases,
            "patches": counts.patches,
            "fits": counts.fit,
            "fits_moved": counts.moved,
            "already_there": counts.already_there,
            "drifted": counts.drifted,
            "not_checked": counts.not_checked,
        },
    });
    data(&format!("{report:#}"))
}

fn target_json(target: &TargetReport) -> Value {
    let (outcome, reason, patches) = match &target.outcome {
        TargetOutcome::Checked(fits) => (
            "checked",
            None,
            fits.iter().map(fit_json).collect::<Vec<_>>(),
        ),
        TargetOutcome::SameAsClaimed => ("same-as-claimed", None, Vec::new()),
        TargetOutcome::NotChecked { reason } => ("not-checked", Some(reason), Vec::new()),
    };
    json!({
        "target": target.kind.as_str(),
        "source": target.source.as_ref().map(ToString::to_string),
        "outcome": outcome,
        "reason": reason,
        "patches": patches,
    })
}

fn fit_json(fit: &PatchFit) -> Value {
    let (files, faults, reason) = match &fit.verdict {
        FitVerdict::Fits { files } => (json!(files), json!([]), None),
        FitVerdict::AlreadyThere => (json!([]), json!([]), None),
        FitVerdict::Drifted { faults } => (json!([]), json!(faults), None),
        FitVerdict::NotChecked { reason } => (json!([]), json!([]), Some(reason)),
    };
    json!({
        "name": fit.patch,
        "sha256": fit.sha256.to_string(),
        "without": fit.without,
        "verdict": fit.verdict.as_str(),
        "moved_by_lines": fit.verdict.moved().map(|(least, most)| [least, most]),
        "files": files,
        "faults": faults,
        "reason": reason,
    })
}

/// Patches on their way to another version.
#[derive(Debug)]
pub(crate) struct Refreshing<'a> {
    pub(crate) package: &'a PackageName,
    pub(crate) from: &'a PackageVersion,
    pub(crate) source: &'a Found,
    pub(crate) refreshed: &'a [Refreshed],
    /// The folder that they were written into.
    pub(crate) written: Option<&'a Utf8Path>,
}

/// A line for each patch, with the new patch or the conflict below it.
pub(crate) fn refreshed_human(refreshing: &Refreshing<'_>) -> Result<(), OutputError> {
    data(&refreshed_text(refreshing))
}

fn refreshed_text(refreshing: &Refreshing<'_>) -> String {
    let Refreshing {
        package,
        from,
        source,
        ..
    } = refreshing;
    let mut lines = vec![format!("patches of {package} {from} for {source}")];
    for refreshed in refreshing.refreshed {
        let name = &refreshed.patch;
        let line = match &refreshed.proposal {
            Proposal::Keep { .. } => format!("keep      {name}: it fits"),
            Proposal::Replace { patch } if patch.name() == name => {
                format!("replace   {name}")
            }
            Proposal::Replace { patch } => format!("replace   {name} by {}", patch.name()),
            Proposal::Drop => format!("drop      {name}: the source has its changes already"),
            Proposal::Conflict { .. } => format!("conflict  {name}"),
            Proposal::NotChecked { reason } => format!("not checked  {name}: {reason}"),
        };
        lines.push(line + &without(&refreshed.without));
        match &refreshed.proposal {
            // In its folder it can be read better.
            Proposal::Replace { patch } if refreshing.written.is_none() => {
                lines.extend(patch.text().lines().map(str::to_owned));
            }
            Proposal::Conflict { conflicts } => {
                for conflict in conflicts {
                    let place = match conflict.line {
                        Some(line) => format!("{}:{line}", conflict.file),
                        None => conflict.file.to_string(),
                    };
                    lines.push(format!("  {place}: {}", conflict.message));
                    let text = conflict.text.iter().flat_map(|text| text.lines());
                    lines.extend(text.map(|line| format!("    {line}").trim_end().to_owned()));
                }
            }
            Proposal::Keep { .. }
            | Proposal::Replace { .. }
            | Proposal::Drop
            | Proposal::NotChecked { .. } => {}
        }
    }
    if let Some(folder) = refreshing.written {
        lines.push(format!(
            "written to {folder}; the release in package.yaml lists:"
        ));
        lines.push("    patches:".to_owned());
        for name in refreshing.refreshed.iter().filter_map(new_name) {
            lines.push(format!("      - {name}"));
        }
    }
    lines.join("\n")
}

fn new_name(refreshed: &Refreshed) -> Option<&str> {
    match &refreshed.proposal {
        Proposal::Keep { patch } | Proposal::Replace { patch } => Some(patch.name()),
        Proposal::Drop | Proposal::Conflict { .. } | Proposal::NotChecked { .. } => None,
    }
}

/// Schema 1.
pub(crate) fn refreshed_json(refreshing: &Refreshing<'_>) -> Result<(), OutputError> {
    let patches: Vec<_> = refreshing.refreshed.iter().map(proposal_json).collect();
    let report = json!({
        "schema": 1,
        "package": refreshing.package.as_str(),
        "version": refreshing.from.to_string(),
        "source": refreshing.source.to_string(),
        "patches": patches,
        "written": refreshing.written.map(Utf8Path::as_str),
    });
    data(&format!("{report:#}"))
}

fn proposal_json(refreshed: &Refreshed) -> Value {
    let (text, conflicts, reason) = match &refreshed.proposal {
        Proposal::Keep { patch } | Proposal::Replace { patch } => {
            (Some(patch.text()), json!([]), None)
        }
        Proposal::Drop => (None, json!([]), None),
        Proposal::Conflict { conflicts } => (None, json!(conflicts), None),
        Proposal::NotChecked { reason } => (None, json!([]), Some(reason)),
    };
    json!({
        "name": refreshed.patch,
        "proposal": refreshed.proposal.as_str(),
        "new_name": new_name(refreshed),
        "text": text,
        "conflicts": conflicts,
        "reason": reason,
        "without": refreshed.without,
    })
}

/// Says where a new patch is, and what is left to do; `package` is the folder of one that does not
/// list it yet.
pub(crate) fn written(path: &Utf8Path, package: Option<&Utf8Path>) -> Result<(), OutputError> {
    let mut lines = vec![format!("written to {path}")];
    if let Some(folder) = package {
        let name = path.file_name().unwrap_or_default();
        lines.push(format!(
            "to use it, add `{name}` to the release's `patches` in {folder}/package.yaml"
        ));
    }
    data(&lines.join("\n"))
}
