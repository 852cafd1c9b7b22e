//! Rows on this machine: each an installer of its own, a few at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::StreamExt;
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::release::links::ADDRESS_VARIABLE;
use wheelfarm_core::release::table::{Ended, Installer, Outcome, Row, Sight, Taken};

use super::environment::{self, Environments, Python, Stand};
use super::site::{DEFAULT_INDEX, Files, Hosts, PLACE, STATIC, Site, Visit};
use super::tools::Tools;
use super::window::Window;
use super::{RowReport, Served, TableError, TableOptions, said, shown_line};
use crate::files::{self, FileError};
use crate::prove::process::{self, Ending, Program, Stream};

/// How many lines of an installer are kept. uv's log of a row has a few hundred.
const LINES_CAP: usize = 20_000;

/// What all rows share.
pub(super) struct Runner<'a> {
    pub(super) options: &'a TableOptions,
    pub(super) served: &'a Served,
    /// What `${WHEELS_URL}` stands for; the row's own address on loopback where it is none.
    pub(super) address: Option<&'a str>,
}

/// What rows work with.
struct Bench<'a> {
    site: &'a Site,
    tools: Tools,
    pythons: Vec<Python>,
    environments: Environments,
    folder: Utf8PathBuf,
}

impl Runner<'_> {
    /// Runs the rows, and tells them in their order.
    pub(super) async fn run(
        &self,
        rows: Vec<Row>,
        own: BTreeSet<PackageName>,
        pages: BTreeMap<String, Vec<u8>>,
        files: Files,
        on_row: &(dyn Fn(&RowReport, usize) + Send + Sync),
    ) -> Result<Vec<RowReport>, TableError> {
        let workshop = tempfile::Builder::new()
            .prefix("wheelfarm-table-")
            .tempdir()
            .map_err(|source| FileError::new("write into", std::env::temp_dir(), source))?;
        let folder = Utf8PathBuf::from_path_buf(workshop.path().to_owned())
            .map_err(|path| TableError::Path { path })?;
        let options = self.options;
        let stop = &options.stop.stop;
        let pythons =
            environment::pythons(&options.python, &options.inherited, &folder, stop).await?;
        let tools = Tools::bring(&options.fetcher, &options.index).await?;
        let window = Window::new(options.fetcher.clone(), options.index.clone(), own);
        let torch: PackageName = "torch".parse().expect("a plain name");
        window
            .is_open(&torch)
            .await
            .map_err(|why| TableError::NoIndex {
                index: options.index.clone(),
                why,
            })?;
        let environments = self.environments(&rows, &pythons, &folder).await?;
        let torches = rows.iter().map(|row| row.torch.clone()).collect();
        let hosts = Hosts::open(pages, files, window, torches)
            .await
            .map_err(TableError::Serve)?;
        let bench = Bench {
            site: &hosts.site,
            tools,
            pythons,
            environments,
            folder,
        };
        let all = self.all(&rows, &bench, on_row);
        tokio::select! {
            biased;
            reports = all => reports,
            error = hosts.serve() => Err(TableError::Serve(error)),
        }
    }

    async fn environments(
        &self,
        rows: &[Row],
        pythons: &[Python],
        folder: &Utf8Path,
    ) -> Result<Environments, TableError> {
        let variables = environment::variables(&self.options.inherited, folder);
        let mut environments = Environments::default();
        for row in rows {
            if let Ok(stand) = Stand::of(row, pythons) {
                let torch = row.installed_torch.as_deref();
                environments
                    .make(
                        stand.python(),
                        torch,
                        folder,
                        &variables,
                        &self.options.stop.stop,
                    )
                    .await?;
            }
        }
        Ok(environments)
    }

    async fn all(
        &self,
        rows: &[Row],
        bench: &Bench<'_>,
        on_row: &(dyn Fn(&RowReport, usize) + Send + Sync),
    ) -> Result<Vec<RowReport>, TableError> {
        let running = rows.iter().enumerate().map(|(place, row)| async move {
            let report = self.row(row, place, bench).await?;
            on_row(&report, rows.len());
            Ok::<_, TableError>((place, report))
        });
        let mut running =
            futures_util::stream::iter(running).buffer_unordered(self.options.at_once);
        let mut reports = BTreeMap::new();
        while let Some(report) = running.next().await {
            let (place, report): (usize, RowReport) = report?;
            reports.insert(place, report);
        }
        Ok(reports.into_values().collect())
    }

    async fn row(
        &self,
        row: &Row,
        place: usize,
        bench: &Bench<'_>,
    ) -> Result<RowReport, TableError> {
        let started = Instant::now();
        let outcome = match Stand::of(row, &bench.pythons) {
            Ok(stand) => self.attempt(row, place, bench, &stand).await?,
            Err(why) => not_run(why),
        };
        Ok(RowReport {
            line: shown_line(row, self.served),
            verdict: row.judge(&outcome),
            said: outcome.said.replace(&bench.site.address(place), "…"),
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            row: row.clone(),
        })
    }

    async fn attempt(
        &self,
        row: &Row,
        place: usize,
        bench: &Bench<'_>,
        stand: &Stand<'_>,
    ) -> Result<Outcome, TableError> {
        let torch = row.installed_torch.as_deref();
        let python = bench.environments.python(stand.python(), torch);
        let Some(python) = python else {
            return Ok(not_run("no environment was made for it".to_owned()));
        };
        let home = bench.folder.join(format!("row-{place}"));
        files::create_folder(&home)?;
        let attempt = Attempt {
            row,
            stand,
            python,
            tools: &bench.tools,
            address: bench.site.address(place),
            released: self.address,
            home: &home,
        };
        let (ending, lines) = attempt.run(self.options).await;
        let visit = bench.site.visit(place);
        let outcome = match ending {
            Ok(Ending::Exited(status)) => attempt.outcome(status, &lines, visit),
            Ok(Ending::TimedOut) => {
                let limit = self.options.limit.as_secs();
                not_run(format!("it did not end within {limit} s"))
            }
            Ok(Ending::Stopped) => return Err(TableError::Stopped),
            Err(error) => not_run(format!("it cannot be started: {error}")),
        };
        // What an installer leaves behind may be large, and there are hundreds.
        if let Err(error) = fs_err::remove_dir_all(&home) {
            tracing::debug!(%error, "the folder of a row is left for the end");
        }
        Ok(outcome)
    }
}

/// One installer's run for one row.
struct Attempt<'a> {
    row: &'a Row,
    stand: &'a Stand<'a>,
    /// The Python of the environment.
    python: &'a Utf8Path,
    tools: &'a Tools,
    /// The row's own address.
    address: String,
    /// What `${WHEELS_URL}` stands for, if not the row's own address.
    released: Option<&'a str>,
    home: &'a Utf8Path,
}

impl Attempt<'_> {
    async fn run(&self, options: &TableOptions) -> (io::Result<Ending>, Vec<String>) {
        let (name, args) = self.command();
        let program = Program {
            name,
            args: args.iter().map(String::as_str).collect(),
            environment: self.variables(&options.inherited),
            folder: self.home,
        };
        let mut lines = Vec::new();
        let mut on_line = |_: Stream, line: &[u8]| {
            if lines.len() < LINES_CAP {
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
        };
        let stop = &options.stop.stop;
        let ending = process::run(&program, options.limit, stop, &mut on_line).await;
        (ending, lines)
    }

    /// The row's line, made to tell and not to do.
    fn command(&self) -> (&Utf8Path, Vec<String>) {
        let variable = format!("${{{ADDRESS_VARIABLE}}}");
        let released = self.released();
        let here = |word: &String| {
            let word = word.replace(&variable, &released);
            word.replace(PLACE, &self.address)
        };
        let report = self.report();
        // What follows `pip install` and `uv pip install`.
        let (program, begin, told): (_, Vec<&str>, _) = match self.row.installer {
            Installer::PipOldest | Installer::PipNewest => {
                let begin = ["-m", "pip", "install", "--dry-run", "--report"];
                let begin = begin.into_iter().chain([report.as_str()]).collect();
                (self.python, begin, &self.row.words[2..])
            }
            Installer::Uv => {
                let begin = ["pip", "install", "--dry-run", "-v", "--python"];
                let begin = begin.into_iter().chain([self.python.as_str()]).collect();
                (self.tools.uv.as_path(), begin, &self.row.words[3..])
            }
        };
        let begin = begin.into_iter().map(str::to_owned);
        let options = self.stand.options(self.row, &self.home.join("target"));
        let args = begin.chain(told.iter().map(here)).chain(options);
        (program, args.collect())
    }

    fn report(&self) -> Utf8PathBuf {
        self.home.join("report.json")
    }

    fn released(&self) -> String {
        let here = || format!("{}/{STATIC}", self.address);
        self.released.map_or_else(here, str::to_owned)
    }

    fn variables(&self, inherited: &[(OsString, OsString)]) -> BTreeMap<OsString, OsString> {
        let mut variables = environment::variables(inherited, self.home);
        let index = format!("{}/{DEFAULT_INDEX}/simple", self.address);
        let released = self.released();
        let cache = self.home.join("cache");
        let mut set = |name: &str, value: &str| variables.insert(name.into(), value.into());
        match self.row.installer {
            Installer::PipOldest => set("PYTHONPATH", self.tools.pip_oldest.as_str()),
            Installer::PipNewest => set("PYTHONPATH", self.tools.pip_newest.as_str()),
            Installer::Uv => set("UV_NO_CONFIG", "1"),
        };
        for (name, value) in [
            (ADDRESS_VARIABLE, released.as_str()),
            ("PIP_INDEX_URL", &index),
            ("PIP_NO_CACHE_DIR", "1"),
            ("PIP_NO_INPUT", "1"),
            ("UV_DEFAULT_INDEX", &index),
            ("UV_CACHE_DIR", cache.as_str()),
            ("UV_PYTHON_DOWNLOADS", "never"),
            ("UV_NO_PROGRESS", "1"),
        ] {
            set(name, value);
        }
        variables
    }

    /// What the installer's end comes to.
    fn outcome(&self, status: ExitStatus, lines: &[String], visit: Visit) -> Outcome {
        let said = said::reason(lines);
        if let Some(why) = visit.closed {
            return not_run(why);
        }
        let (ended, taken) = match status.code() {
            Some(0) => match self.taken(lines) {
                Ok(taken) => (Ended::Done, taken),
                Err(why) => (Ended::NotRun(why), Vec::new()),
            },
            // Who asked for a file that the window does not hand out has chosen it: no server is to blame.
            Some(_) if !visit.turned_away.is_empty() => (Ended::Failed, Vec::new()),
            Some(_) if !is_crash(lines) => match said::unreachable(lines) {
                Some(line) => {
                    let why = format!("a server could not be reached: {line}");
                    (Ended::NotRun(why), Vec::new())
                }
                None => (Ended::Failed, Vec::new()),
            },
            Some(_) | None => {
                let why = format!("it broke with {status}: {said}");
                (Ended::NotRun(why), Vec::new())
            }
        };
        Outcome {
            ended,
            sight: self.stand.sight(self.row),
            taken,
            turned_away: visit.turned_away,
            missing: visit.missing,
            said,
        }
    }

    fn taken(&self, lines: &[String]) -> Result<Vec<Taken>, String> {
        match self.row.installer {
            Installer::PipOldest | Installer::PipNewest => {
                let text = fs_err::read_to_string(self.report());
                let text = text.map_err(|error| error.to_string())?;
                said::by_pip(&text).map_err(|error| format!("its report cannot be read: {error}"))
            }
            Installer::Uv => Ok(said::by_uv(lines)),
        }
    }
}

/// Whether an installer broke instead of refusing: Python's traceback, or options that it does not know.
fn is_crash(lines: &[String]) -> bool {
    let signs = [
        "Traceback (most recent call last)",
        "For more information, try '--help'",
        "no such option:",
    ];
    lines.is_empty()
        || lines
            .iter()
            .any(|line| signs.iter().any(|sign| line.contains(sign)))
}

fn not_run(why: String) -> Outcome {
    Outcome {
        ended: Ended::NotRun(why.clone()),
        sight: Sight::Seeing,
        taken: Vec::new(),
        turned_away: Vec::new(),
        missing: Vec::new(),
        said: why,
    }
}
