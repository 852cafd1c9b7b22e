//! A plan for people and for programs.

use std::collections::BTreeMap;

use serde_json::json;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::plan::changes::Why;
use wheelfarm_core::plan::{ExcludedJob, Job, Need};

use super::forecast::Explained;
use super::{OutputError, changes, data};

/// A table of the jobs, then what is left out and why.
pub(crate) fn human(
    needs: &[(&Job, Need)],
    why: &BTreeMap<JobId, Why>,
    excluded: &[ExcludedJob],
    explained: Option<&Explained>,
) -> Result<(), OutputError> {
    data(&human_text(needs, why, excluded, explained))
}

fn human_text(
    needs: &[(&Job, Need)],
    why: &BTreeMap<JobId, Why>,
    excluded: &[ExcludedJob],
    explained: Option<&Explained>,
) -> String {
    let ids = needs.iter().map(|(job, _)| job.id().as_str().len());
    let width = ids
        .chain(excluded.iter().map(|job| job.id.as_str().len()))
        .max();
    let width = width.unwrap_or(0);
    let mut lines = Vec::new();
    for (job, need) in needs {
        let archs = match job.archs() {
            Some(archs) => archs.to_string(),
            None => "compiled on the user's GPU".to_owned(),
        };
        let mark = if *need == Need::UpToDate {
            "ok   "
        } else {
            "build"
        };
        lines.push(format!("{mark}  {:width$}  {}", job.id(), need.reason()));
        lines.push(format!("       archs    {archs}"));
        for patch in job.patches() {
            lines.push(format!("       patch    {}", patch.name));
        }
        let more = why.get(job.id()).map(|why| changes::lines(job, why));
        let more = more.unwrap_or_default();
        let takes = explained.and_then(|explained| explained.job_line(job.id()));
        let more = more.iter().chain(&takes);
        lines.extend(more.map(|line| format!("       {line}")));
    }
    for job in excluded {
        lines.push(format!("skip   {:width$}  {}", job.id, job.reason));
    }
    let to_build = needs
        .iter()
        .filter(|(_, need)| *need != Need::UpToDate)
        .count();
    lines.push(format!(
        "{to_build} to build, {} up to date, {} left out",
        needs.len() - to_build,
        excluded.len()
    ));
    lines.extend(explained.map(Explained::lines).unwrap_or_default());
    lines.join("\n")
}

/// Schema 1.
pub(crate) fn json(
    needs: &[(&Job, Need)],
    why: &BTreeMap<JobId, Why>,
    excluded: &[ExcludedJob],
    explained: Option<&Explained>,
) -> Result<(), OutputError> {
    let jobs: Vec<_> = needs
        .iter()
        .map(|(job, need)| {
            let environment = job.environment();
            let why = why.get(job.id());
            let last_failure = why.and_then(|why| why.last_failure.as_ref());
            json!({
                "id": job.id().as_str(),
                "digest": job.digest().to_string(),
                "package": job.package().as_str(),
                "version": job.release().version.value.to_string(),
                "environment": environment.name,
                "cuda": environment.cuda.to_string(),
                "torch": environment.torch.to_string(),
                "python": environment.python.to_string(),
                "archs": job.archs().map(ToString::to_string),
                "patches": job.patches().iter().map(|patch| json!({
                    "name": patch.name,
                    "sha256": patch.sha256.to_string(),
                })).collect::<Vec<_>>(),
                "changes": why.map_or_else(|| json!([]), |why| changes::json(&why.changes)),
                "last_failure": last_failure.map(|failure| changes::failure_json(job, failure)),
                "need": need.as_str(),
                "reason": need.reason(),
            })
        })
        .collect();
    let excluded: Vec<_> = excluded
        .iter()
        .map(|job| json!({ "id": job.id.as_str(), "reason": job.reason }))
        .collect();
    let mut plan = json!({ "schema": 1, "jobs": jobs, "excluded": excluded });
    if let Some(explained) = explained {
        plan["forecast"] = explained.json();
    }
    data(&format!("{plan:#}"))
}
