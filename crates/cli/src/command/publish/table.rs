//! The install table of a publication: on the candidate before it goes out, and on the place after.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::release::catalog::CatalogWheel;
use wheelfarm_core::release::life::pick::WheelGlobs;
use wheelfarm_core::release::life::steps;
use wheelfarm_core::release::links::Links;
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::install_table::{
    AT_ONCE, InstallTable, ROW_LIMIT, RowReport, Served, Source, TableError, TableOptions,
    TableReport,
};
use wheelfarm_engine::publish::draft::{Draft, Published};
use wheelfarm_engine::run::StopSignal;
use wheelfarm_engine::shelf::Shelf;
use wheelfarm_engine::shelf::revise::{self, Act};

use super::super::cache_folder;
use super::super::place::failure;
use super::super::shelf::failure as revise_failure;
use crate::args::{Format, PublishArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::render;

/// The index that users have without saying so.
const DEFAULT_INDEX: &str = "https://pypi.org/simple";

/// The table with what this command says of it.
pub(super) struct Table {
    table: InstallTable,
    format: Format,
}

impl Table {
    pub(super) fn new(args: &PublishArgs, stop: &StopSignal) -> Result<Self, Failure> {
        let cache = cache_folder(args.cache.as_ref());
        let fetcher = Fetcher::new(cache, FetchOptions::default());
        let options = TableOptions {
            fetcher: fetcher.map_err(Failure::infrastructure)?,
            index: DEFAULT_INDEX.parse().map_err(Failure::bad_input)?,
            python: Utf8PathBuf::from("python3"),
            inherited: std::env::vars_os().collect(),
            at_once: AT_ONCE,
            limit: ROW_LIMIT,
            stop: stop.clone(),
        };
        Ok(Self {
            table: InstallTable::new(options),
            format: args.format,
        })
    }

    /// The table on a release that is not out yet.
    pub(super) async fn before<S: Shelf>(
        &self,
        shelf: &S,
        draft: &Draft,
    ) -> Result<TableReport, Failure> {
        let candidate = draft.candidate();
        let served = served(shelf, draft);
        let mut sources: BTreeMap<String, Source> = candidate
            .places
            .iter()
            .map(|(path, place)| (path.clone(), Source::Disk(place.clone())))
            .collect();
        self.add_metadata(shelf, draft, &mut sources).await?;
        let told = |row: &RowReport, count: usize| self.told(row, count);
        let files = move |path: &str| sources.get(path).cloned();
        let (catalog, changed) = (candidate.catalog, &candidate.changed);
        let report = self.table.run(catalog, changed, &served, files, &told);
        report.await.map_err(failed)
    }

    /// The same rows on the place that the release is at by now.
    pub(super) async fn after<S: Shelf>(
        &self,
        shelf: &S,
        draft: &Draft,
        published: &Published,
    ) -> Result<TableReport, Failure> {
        let (changed, served) = (names(draft), served(shelf, draft));
        let told = |row: &RowReport, count: usize| self.told(row, count);
        let catalog = &published.catalog;
        let report = self.table.prove_after(catalog, &changed, &served, &told);
        report.await.map_err(failed)
    }

    /// Yanks the wheels of a publication that does not install as it should.
    pub(super) async fn yank<S: Shelf>(
        &self,
        shelf: &S,
        draft: &Draft,
    ) -> Result<revise::Revised, Failure> {
        let globs: Vec<String> = names(draft).iter().map(ToString::to_string).collect();
        let globs = WheelGlobs::new(&globs).map_err(Failure::infrastructure)?;
        let reason = "installers did not take it as they should";
        let reason = reason.parse().map_err(Failure::infrastructure)?;
        let revised = revise::revise(shelf, Act::Make, |catalog, now| {
            steps::yank(catalog, &globs, &reason, now)
        });
        revised.await.map_err(revise_failure)
    }

    /// The METADATA of wheels that are out already and stand on the same pages: installers read it before
    /// they choose.
    async fn add_metadata<S: Shelf>(
        &self,
        shelf: &S,
        draft: &Draft,
        sources: &mut BTreeMap<String, Source>,
    ) -> Result<(), Failure> {
        let candidate = draft.candidate();
        let wheels = &candidate.catalog.wheels;
        let changed = || candidate.changed.iter().filter_map(|name| wheels.get(name));
        let projects: BTreeSet<_> = changed().map(|wheel| wheel.file_name.project()).collect();
        let channels: BTreeSet<_> = changed().flat_map(CatalogWheel::channels).collect();
        for wheel in wheels.values() {
            let is_near = projects.contains(wheel.file_name.project())
                && wheel
                    .channels()
                    .iter()
                    .any(|channel| channels.contains(channel));
            let path = format!("{}.metadata", wheel.path());
            if !is_near || sources.contains_key(&path) {
                continue;
            }
            let text = shelf.file(draft.head(), &path).await.map_err(failure)?;
            if let Some(text) = text {
                sources.insert(path, Source::Memory(text.into()));
            }
        }
        Ok(())
    }

    fn told(&self, row: &RowReport, count: usize) {
        if self.format == Format::Human {
            render::publish::table_row(row, count);
        }
    }
}

/// The wheels of a publication.
fn names(draft: &Draft) -> BTreeSet<WheelName> {
    let listed = draft.listed().into_iter();
    listed.map(|wheel| wheel.file_name.clone()).collect()
}

/// How users reach the place.
fn served<S: Shelf>(shelf: &S, draft: &Draft) -> Served {
    let address = match draft.links() {
        Links::Relative => Links::on_disk(Utf8Path::new(&shelf.address())),
        Links::Absolute { .. } | Links::Hub { .. } => None,
    };
    Served {
        links: draft.links().clone(),
        index_url: shelf.index_url(),
        address: match address {
            Some(Links::Absolute { base }) => Some(base),
            Some(Links::Relative | Links::Hub { .. }) | None => None,
        },
    }
}

fn failed(error: TableError) -> Failure {
    let hint = error.hint();
    let code = match error {
        TableError::Stopped => ExitCode::Cancelled,
        TableError::NoPython { .. } | TableError::Tool { .. } | TableError::NoIndex { .. } => {
            ExitCode::NotChecked
        }
        _ => ExitCode::Infrastructure,
    };
    let failure = Failure::new(code, error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// What a table's rows come to.
pub(super) fn exit_code(report: &TableReport) -> ExitCode {
    if report.wrong().next().is_some() {
        ExitCode::JobFailed
    } else if report.holds() {
        ExitCode::Done
    } else {
        ExitCode::NotChecked
    }
}
