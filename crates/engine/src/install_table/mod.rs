//! Runs the install table: real pip and real uv on a release, before it goes out and, if wanted, on the
//! place that it went to.
//!
//! The candidate is served on loopback with the redirects and content types of the place that it is for. No
//! row installs anything: each asks its installer what it would do, with PyPI in sight. Nothing that is
//! downloaded is run but the installers themselves.

mod environment;
mod http;
mod run;
mod said;
mod shown;
mod site;
mod tools;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use camino::Utf8PathBuf;
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::release::links::Links;
use wheelfarm_core::release::table::{self, Installer, Places, Row, Rows, Verdict};
use wheelfarm_core::source::IndexUrl;
use wheelfarm_core::wheel::name::WheelName;

use crate::fetch::{FetchError, Fetcher};
use crate::files::FileError;
use crate::run::StopSignal;
use run::Runner;
use shown::Patience;
use site::{NEGOTIATING, PLACE, REPOSITORY, STATIC};

pub use site::Source;
pub use tools::version;

/// How many rows run at a time. A row of pip is a second of one core.
pub const AT_ONCE: usize = 4;

/// How long one row may take.
pub const ROW_LIMIT: Duration = Duration::from_mins(2);

/// How long a Space may take to show what was brought to it.
pub const SHOWN_LIMIT: Duration = Duration::from_mins(5);

/// How long is waited before a Space is asked again.
const SHOWN_BETWEEN: Duration = Duration::from_secs(3);

/// What the table needs of this machine.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// Fetches the installers and the pages of the default index.
    pub fetcher: Fetcher,
    /// The default index that users have: PyPI.
    pub index: IndexUrl,
    /// A Python of this machine: a name that is looked for, or a path.
    pub python: Utf8PathBuf,
    /// The environment that a few variables are taken from: the way to the network, and no token.
    pub inherited: Vec<(OsString, OsString)>,
    /// How many rows run at a time.
    pub at_once: usize,
    /// How long one row may take.
    pub limit: Duration,
    /// How long a Space may take to show the release before rows are run on it.
    pub shown_limit: Duration,
    /// The user's wish to stop.
    pub stop: StopSignal,
}

/// Where a release stands for its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// How it points at files.
    pub links: Links,
    /// Where its folder `whl/` is served as HTML, if it is.
    pub index_url: Option<String>,
    /// What `${WHEELS_URL}` stands for in a release that knows no address of its own.
    pub address: Option<String>,
}

/// The table.
#[derive(Debug)]
pub struct InstallTable {
    options: TableOptions,
}

/// What came of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowReport {
    /// The row.
    pub row: Row,
    /// The line as a user of the real place would type it.
    pub line: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// The installer's own words.
    pub said: String,
    /// How long it took.
    pub took_ms: u64,
}

impl RowReport {
    /// `pass`, `wrong` or `not-checked`.
    pub fn result(&self) -> &'static str {
        match self.verdict {
            Verdict::Pass => "pass",
            Verdict::Wrong { .. } => "wrong",
            Verdict::NotChecked { .. } => "not-checked",
        }
    }

    /// The row in a sentence: what was asked in which environment, and what came of it.
    pub fn sentence(&self) -> String {
        let row = &self.row;
        let (project, channel) = (&row.project, &row.channel);
        let asked = format!(
            "{project} from {channel} with {} by {} ({})",
            installer_name(row.installer),
            row.way.as_str(),
            row.environment()
        );
        match &self.verdict {
            Verdict::Pass => format!("{asked}: {}", row.expected),
            Verdict::Wrong { got } => format!("{asked}: expected {}, got {got}", row.expected),
            Verdict::NotChecked { why } => format!("{asked}: not checked: {why}"),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let row = &self.row;
        let detail = match &self.verdict {
            Verdict::Pass => None,
            Verdict::Wrong { got } => Some(got),
            Verdict::NotChecked { why } => Some(why),
        };
        serde_json::json!({
            "channel": row.channel,
            "detail": detail,
            "expected": row.expected.to_string(),
            "face": row.face,
            "installed_torch": row.installed_torch,
            "installer": row.installer,
            "line": self.line,
            "machine": row.machine,
            "project": row.project,
            "purpose": row.purpose,
            "python": row.python.to_string(),
            "result": self.result(),
            "said": self.said,
            "took_ms": self.took_ms,
            "track": row.track,
            "way": row.way.as_str(),
        })
    }
}

/// An installer as people call it: `pip 23.2.1`.
pub fn installer_name(installer: Installer) -> String {
    let client = installer.client().as_str();
    format!("{client} {}", version(installer))
}

/// What came of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Its rows in order.
    pub rows: Vec<RowReport>,
    /// How many more there would be if the table had no cap.
    pub left_out: usize,
}

impl TableReport {
    /// The rows that came out wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &RowReport> {
        let is_wrong = |row: &&RowReport| matches!(row.verdict, Verdict::Wrong { .. });
        self.rows.iter().filter(is_wrong)
    }

    /// The rows that could not be run.
    pub fn not_checked(&self) -> impl Iterator<Item = &RowReport> {
        let is_open = |row: &&RowReport| matches!(row.verdict, Verdict::NotChecked { .. });
        self.rows.iter().filter(is_open)
    }

    /// Whether every row is as it must be.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.verdict == Verdict::Pass)
    }

    /// The report for programs, with sorted keys.
    pub fn to_json(&self) -> serde_json::Value {
        let rows: Vec<_> = self.rows.iter().map(RowReport::to_json).collect();
        serde_json::json!({
            "installers": installers(),
            "left_out": self.left_out,
            "rows": rows,
            "schema": 1,
        })
    }
}

/// The table could not be run: of the release that says nothing.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// There is no Python that can be used.
    #[error("failed to run `{python}`: {why}")]
    NoPython {
        /// The Python.
        python: Utf8PathBuf,
        /// Why.
        why: String,
    },
    /// An installer cannot be had.
    #[error("failed to fetch {tool} {version}")]
    Tool {
        /// pip or uv.
        tool: &'static str,
        /// Its version.
        version: &'static str,
        /// Why.
        #[source]
        source: Box<FetchError>,
    },
    /// The default index does not answer, so that no row would see it.
    #[error("failed to ask `{index}`, which every row sees: {why}")]
    NoIndex {
        /// The index.
        index: IndexUrl,
        /// Why.
        why: String,
    },
    /// Loopback cannot be served on.
    #[error("failed to serve the release on 127.0.0.1")]
    Serve(#[source] io::Error),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A path is not UTF-8.
    #[error("the path `{}` is not UTF-8", .path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
}

impl TableError {
    /// What to type.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoPython { .. } => Some(
                "install python3 (3.10 or later, with venv), or publish with --without-install-table",
            ),
            Self::Tool { .. } | Self::NoIndex { .. } => {
                Some("try again when the index answers, or publish with --without-install-table")
            }
            Self::Serve(_) | Self::File(_) | Self::Path { .. } | Self::Stopped => None,
        }
    }
}

impl InstallTable {
    /// A table on this machine.
    pub fn new(options: TableOptions) -> Self {
        Self { options }
    }

    /// Runs the table on a release that is not out yet. `changed` are the wheels that it brings or lists
    /// differently; `files` tells where the content of a file below `files/` is; `on_row` hears each row as
    /// it ends, and how many there are.
    pub async fn run(
        &self,
        candidate: &Catalog,
        changed: &BTreeSet<WheelName>,
        served: &Served,
        files: impl Fn(&str) -> Option<Source> + Send + Sync + 'static,
        on_row: &(dyn Fn(&RowReport, usize) + Send + Sync),
    ) -> Result<TableReport, TableError> {
        let links = on_loopback(&served.links);
        let index_url = format!("{PLACE}/{STATIC}/whl");
        let layout = Layout {
            catalog: candidate,
            links: &links,
            index_url: Some(&index_url),
        };
        let pages = layout.files();
        let places = Places {
            links: &links,
            index_url: Some(&index_url),
            json_index_url: Some(&format!("{PLACE}/{NEGOTIATING}/whl")),
        };
        let rows = table::rows(candidate, changed, &places);
        let files: site::Files = Box::new(files);
        self.run_rows(candidate, rows, (pages, files), (served, None), on_row)
            .await
    }

    /// Runs the same rows on the place that the release is at by now. A Space is waited for until it shows the
    /// release; while it does not, no row can be judged.
    pub async fn prove_after(
        &self,
        published: &Catalog,
        changed: &BTreeSet<WheelName>,
        served: &Served,
        on_row: &(dyn Fn(&RowReport, usize) + Send + Sync),
    ) -> Result<TableReport, TableError> {
        let at_variable = match (&served.links, &served.address) {
            (Links::Relative, Some(address)) => Some(format!("{address}/whl")),
            (Links::Relative | Links::Absolute { .. } | Links::Hub { .. }, _) => None,
        };
        let places = Places {
            links: &served.links,
            index_url: served.index_url.as_deref().or(at_variable.as_deref()),
            json_index_url: None,
        };
        let rows = table::rows(published, changed, &places);
        if let Some(why) = self.is_behind(published, changed, served).await? {
            return Ok(not_checked(rows, served, &why, on_row));
        }
        let files: site::Files = Box::new(|_| None);
        let site = (BTreeMap::new(), files);
        let address = served.address.as_deref();
        self.run_rows(published, rows, site, (served, address), on_row)
            .await
    }

    /// Why the Space that shows the pages of `published` does not show them, once it has had its time. Of a
    /// place that serves what lies there, nothing.
    async fn is_behind(
        &self,
        published: &Catalog,
        changed: &BTreeSet<WheelName>,
        served: &Served,
    ) -> Result<Option<String>, TableError> {
        let (Links::Hub { .. }, Some(index_url)) = (&served.links, &served.index_url) else {
            return Ok(None);
        };
        let layout = Layout {
            catalog: published,
            links: &served.links,
            index_url: Some(index_url),
        };
        let wanted = shown::wanted(&layout, changed);
        let patience = Patience {
            limit: self.options.shown_limit,
            between: SHOWN_BETWEEN,
        };
        let stop = &self.options.stop.stop;
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(TableError::Stopped),
            res = shown::wait(&self.options.fetcher, index_url, &wanted, patience) => Ok(res.err()),
        }
    }

    async fn run_rows(
        &self,
        catalog: &Catalog,
        rows: Rows,
        (pages, files): (BTreeMap<String, Vec<u8>>, site::Files),
        (served, address): (&Served, Option<&str>),
        on_row: &(dyn Fn(&RowReport, usize) + Send + Sync),
    ) -> Result<TableReport, TableError> {
        if rows.rows.is_empty() {
            return Ok(TableReport {
                rows: Vec::new(),
                left_out: 0,
            });
        }
        let own = catalog
            .wheels
            .keys()
            .map(|name| name.project().clone())
            .collect();
        let runner = Runner {
            options: &self.options,
            served,
            address,
        };
        let left_out = rows.left_out;
        let stop = self.options.stop.stop.clone();
        let running = runner.run(rows.rows, own, pages, files, on_row);
        let rows = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(TableError::Stopped),
            rows = running => rows?,
        };
        Ok(TableReport { rows, left_out })
    }
}

/// The rows as what nothing can be said of.
fn not_checked(
    rows: Rows,
    served: &Served,
    why: &str,
    on_row: &(dyn Fn(&RowReport, usize) + Send + Sync),
) -> TableReport {
    let count = rows.rows.len();
    let report = |row: Row| {
        let report = RowReport {
            line: shown_line(&row, served),
            row,
            verdict: Verdict::NotChecked {
                why: why.to_owned(),
            },
            said: String::new(),
            took_ms: 0,
        };
        on_row(&report, count);
        report
    };
    TableReport {
        rows: rows.rows.into_iter().map(report).collect(),
        left_out: rows.left_out,
    }
}

/// The links of a release as it is served on loopback, each row at an address of its own.
fn on_loopback(links: &Links) -> Links {
    match links {
        Links::Relative => Links::Relative,
        Links::Absolute { .. } => Links::Absolute {
            base: format!("{PLACE}/{STATIC}"),
        },
        Links::Hub { .. } => Links::Hub {
            endpoint: PLACE.to_owned(),
            repository: REPOSITORY.to_owned(),
        },
    }
}

/// The line with the real place in it.
fn shown_line(row: &Row, served: &Served) -> String {
    let whl = match (&served.index_url, &served.links) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Links::Absolute { base }) => format!("{base}/whl"),
        (None, Links::Relative) => "${WHEELS_URL}/whl".to_owned(),
        (None, Links::Hub { .. }) => "${INDEX_URL}".to_owned(),
    };
    let root = match &served.links {
        Links::Absolute { base } => base.clone(),
        Links::Relative | Links::Hub { .. } => "${WHEELS_URL}".to_owned(),
    };
    let mut line = row.words.join(" ");
    for place in [STATIC, NEGOTIATING] {
        line = line.replace(&format!("{PLACE}/{place}/whl"), &whl);
        line = line.replace(&format!("{PLACE}/{place}"), &root);
    }
    if let Links::Hub {
        endpoint,
        repository,
    } = &served.links
    {
        line = line.replace(
            &format!("{PLACE}/{REPOSITORY}"),
            &format!("{endpoint}/{repository}"),
        );
    }
    line
}

/// The versions of the installers, for people: `pip 23.2.1 and 26.3, uv 0.13.8`.
pub fn installers() -> String {
    format!(
        "pip {} and {}, uv {}",
        version(Installer::PipOldest),
        version(Installer::PipNewest),
        version(Installer::Uv)
    )
}
