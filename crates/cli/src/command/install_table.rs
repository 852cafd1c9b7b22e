//! The install table of a publication: before it goes out, and on the place that it went to.

use std::collections::{BTreeMap, BTreeSet};

use wheelfarm_core::release::catalog::{Catalog, CatalogWheel};
use wheelfarm_core::release::life::pick::{Reason, WheelGlobs};
use wheelfarm_core::release::life::steps;
use wheelfarm_core::release::links::Links;
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::install_table::{
    AT_ONCE, InstallTable, ROW_LIMIT, RowReport, SHOWN_LIMIT, Served, Source, TableError,
    TableOptions, TableReport,
};
use wheelfarm_engine::publish::draft::{Candidate, Draft};
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::shelf::Shelf;
use wheelfarm_engine::shelf::revise::{self, Act};

use super::{Selected, cache_folder, place};
use crate::args::{Format, PublishArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// The table of a publication, if it is to have one.
pub(super) struct Tables {
    table: InstallTable,
    format: Format,
}

impl Tables {
    pub(super) fn of(
        selected: &Selected,
        args: &PublishArgs,
        stop: &StopSignal,
    ) -> Result<Option<Self>, Failure> {
        if args.table.without_install_table {
            return Ok(None);
        }
        let index = selected.plan.jobs.first();
        let index = index.map(|job| job.environment().package_index.parse());
        let index = index.transpose().map_err(Failure::bad_input)?;
        let fetcher = Fetcher::new(
            cache_folder(args.table.cache.as_ref()),
            FetchOptions::default(),
        );
        let options = TableOptions {
            fetcher: fetcher.map_err(Failure::infrastructure)?,
            index: index.unwrap_or_default(),
            python: args.table.python.clone(),
            inherited: std::env::vars_os().collect(),
            at_once: AT_ONCE,
            limit: ROW_LIMIT,
            shown_limit: SHOWN_LIMIT,
            stop: stop.clone(),
        };
        Ok(Some(Self {
            table: InstallTable::new(options),
            format: args.format,
        }))
    }

    /// Runs the table on a release that is not out yet.
    pub(super) async fn before<S: Shelf>(
        &self,
        shelf: &S,
        draft: &Draft,
    ) -> Result<TableReport, Failure> {
        let candidate = draft.candidate();
        let old = published_metadata(shelf, draft).await?;
        let places = candidate.places;
        let files = move |path: &str| match places.get(path) {
            Some(place) => Some(Source::Disk(place.clone())),
            None => old.get(path).cloned().map(Source::Memory),
        };
        let served = Served {
            links: draft.links().clone(),
            index_url: shelf.index_url(),
            address: None,
        };
        let on_row = self.on_row();
        let report = self.table.run(
            candidate.catalog,
            &candidate.changed,
            &served,
            files,
            &on_row,
        );
        report.await.map_err(table_failure)
    }

    /// Runs it on the release where it stands now.
    pub(super) async fn after<S: Shelf>(
        &self,
        shelf: &S,
        published: &Catalog,
        changed: &BTreeSet<WheelName>,
    ) -> Result<TableReport, Failure> {
        let served = Served {
            links: shelf.links(),
            index_url: shelf.index_url(),
            address: None,
        };
        let on_row = self.on_row();
        let report = self.table.prove_after(published, changed, &served, &on_row);
        report.await.map_err(table_failure)
    }

    fn on_row(&self) -> impl Fn(&RowReport, usize) + Send + Sync + use<> {
        let rows = render::install_table::Rows::new(self.format);
        move |row: &RowReport, count: usize| rows.hear(row, count)
    }
}

/// Refuses what could not be proven afterwards anyway.
pub(super) fn check(args: &PublishArgs, links: &Links) -> Result<(), Failure> {
    if args.table.prove_after && *links == Links::Relative {
        let error = anyhow::anyhow!(
            "`{}` has no address that pip and uv could be sent to",
            args.to
        );
        return Err(Failure::bad_input(error).with_hint(
            "say where it is served: `--base-url https://…`, or leave --prove-after out",
        ));
    }
    Ok(())
}

/// The METADATA of the wheels that are out already, of the projects that come or change: rows read
/// them to choose, and a shelf may want a password for them that no installer is given.
async fn published_metadata<S: Shelf>(
    shelf: &S,
    draft: &Draft,
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let paths = metadata_elsewhere(&draft.candidate());
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let old = shelf.contents(draft.head(), &paths).await;
    old.map_err(place::failure)
}

/// Where it lies on the shelf, of those wheels that a page lists and that are not on this machine.
fn metadata_elsewhere(candidate: &Candidate<'_>) -> Vec<String> {
    let touched: BTreeSet<_> = candidate.changed.iter().map(WheelName::project).collect();
    let wheels = candidate.catalog.wheels.values();
    let listed = wheels.filter(|wheel| !wheel.tracks.is_empty());
    listed
        .filter(|wheel| touched.contains(wheel.file_name.project()))
        .map(|wheel| format!("{}.metadata", wheel.path()))
        .filter(|path| !candidate.places.contains_key(path))
        .collect()
}

/// Marks the new wheels that came out wrong, so that nobody takes them; how many there are.
pub(super) async fn yank<S: Shelf>(
    shelf: &S,
    published: &Catalog,
    report: &TableReport,
    changed: &BTreeSet<WheelName>,
) -> Result<usize, Failure> {
    let is_wrong = |name: &&WheelName| {
        let mut wrong = report.wrong();
        wrong.any(|row| {
            let is_listed = |wheel: &CatalogWheel| wheel.channels().contains(&&row.row.channel);
            row.row.project == *name.project() && published.wheels.get(*name).is_some_and(is_listed)
        })
    };
    let names: Vec<String> = changed
        .iter()
        .filter(is_wrong)
        .map(ToString::to_string)
        .collect();
    if names.is_empty() {
        return Ok(0);
    }
    let globs = WheelGlobs::new(&names).map_err(Failure::infrastructure)?;
    let reason: Reason = "pip or uv did not install it as they should; a fixed build will follow"
        .parse()
        .map_err(Failure::infrastructure)?;
    let revised = revise::revise(shelf, Act::Make, |catalog, now| {
        steps::yank(catalog, &globs, &reason, now)
    });
    let revised = revised.await.map_err(|error| {
        Failure::infrastructure(error).with_hint("take them back yourself: `wheelfarm yank`")
    })?;
    Ok(revised.revision.effects.len())
}

/// What a table comes to as an exit code, unless all is well.
pub(super) fn verdict(report: &TableReport) -> Option<ExitCode> {
    if report.wrong().next().is_some() {
        return Some(ExitCode::JobFailed);
    }
    (!report.holds()).then_some(ExitCode::NotChecked)
}

fn table_failure(error: TableError) -> Failure {
    let hint = error.hint();
    let failure = match error {
        TableError::Stopped => Failure::new(ExitCode::Cancelled, error),
        TableError::File(_) | TableError::Path { .. } => Failure::infrastructure(error),
        TableError::NoPython { .. }
        | TableError::Tool { .. }
        | TableError::NoIndex { .. }
        | TableError::Serve(_) => Failure::new(ExitCode::NotChecked, error),
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(project: &str, version: &str, tracks: &[&str]) -> CatalogWheel {
        serde_json::from_value(serde_json::json!({
            "file_name": format!("{project}-{version}-py3-none-any.whl"),
            "sha256": "0".repeat(64), "size_bytes": 1, "metadata_sha256": "0".repeat(64),
            "requires_dist": [], "channel": "cu130/torch2.11", "tracks": tracks,
            "job": format!("{project}-{version}-cu130-torch2.11-cp311"), "package": project,
            "built_against": { "cuda": "13.0", "torch": "2.11.0", "python": "3.11" },
            "uses_torch_cxx_abi": false, "module_archs": {}, "runs_on": {},
            "gate": "passed", "gpu_run": "not-run", "published_at": "2026-11-21T03:00:00Z",
        }))
        .unwrap()
    }

    /// A nightly that was rolled back behind, or another project's wheel, is on no page of the table.
    #[test]
    fn only_what_a_page_lists_is_fetched_and_only_what_is_not_here() {
        let wheels = [
            wheel("demo", "1.0", &["stable"]),
            wheel("demo", "1.1", &["nightly"]),
            wheel("demo", "1.2", &[]),
            wheel("demo", "1.3", &["stable"]),
            wheel("other", "1.0", &["stable"]),
        ];
        let new = &wheels[3];
        let catalog = Catalog {
            wheels: wheels
                .iter()
                .map(|it| (it.file_name.clone(), it.clone()))
                .collect(),
            ..Catalog::empty()
        };
        let here = format!("{}.metadata", new.path());
        let candidate = Candidate {
            catalog: &catalog,
            changed: [new.file_name.clone()].into(),
            places: [(here, "out/demo.metadata".into())].into(),
        };
        let wanted = wheels[..2].iter().map(|it| it.path() + ".metadata");
        assert_eq!(metadata_elsewhere(&candidate), wanted.collect::<Vec<_>>());
    }
}
