//! The environments that rows run in: the Pythons of this machine, each with a torch that is there by name
//! alone. Nothing is installed into them, so rows share them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::release::table::{Installer, Row, Sight};
use wheelfarm_core::version::{PythonVersion, Threading};

use super::TableError;
use super::tools::least_python;
use crate::files::{self, FileError};
use crate::prove::process::{self, Ending, Program, Stream, clean_environment};

/// What asks a Python what it is.
const FACTS: &str = "import json, platform, sys, sysconfig
free = 't' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''
print(json.dumps({'version': '%d.%d' % sys.version_info[:2] + free, 'machine': platform.machine(),
 'libc': platform.libc_ver(), 'implementation': sys.implementation.name}))";

/// Which names a Python may have besides the one that is given.
const MINORS: std::ops::RangeInclusive<u8> = 9..=15;

/// How long a Python may take to tell what it is, and to make an environment.
const LIMIT: Duration = Duration::from_mins(1);

/// The glibc of the user that rows stand for where they are not for this machine's own Python: that of
/// Ubuntu 24.04, which everybody's wheels run on.
const USERS_GLIBC: (u32, u32) = (2, 39);

/// What of this process's environment installers get besides the little that any program does: the way to
/// the network and whom to trust on it. Tokens are no part of it.
const NETWORK: [&str; 11] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
];

/// A Python of this machine.
#[derive(Debug, Clone)]
pub(super) struct Python {
    program: Utf8PathBuf,
    version: PythonVersion,
    machine: String,
    glibc: Option<(u32, u32)>,
}

#[derive(Deserialize)]
struct Facts {
    version: String,
    machine: String,
    libc: (String, String),
    implementation: String,
}

/// The variables of an installer whose home is `home`.
pub(super) fn variables(
    inherited: &[(OsString, OsString)],
    home: &Utf8Path,
) -> BTreeMap<OsString, OsString> {
    let mut variables = clean_environment(inherited, home);
    let network = inherited
        .iter()
        .filter(|(name, _)| NETWORK.iter().any(|kept| name == kept));
    variables.extend(network.cloned());
    // The table's own server must not be asked for through a proxy.
    for name in ["NO_PROXY", "no_proxy"] {
        let others = inherited.iter().find(|(known, _)| known == name);
        let others = others.map_or_else(String::new, |(_, hosts)| {
            format!("{},", hosts.to_string_lossy())
        });
        variables.insert(name.into(), format!("{others}127.0.0.1").into());
    }
    // Python's own start is most of what a row of pip takes.
    variables.remove(&OsString::from("PYTHONDONTWRITEBYTECODE"));
    variables
}

/// The Pythons of this machine: the one that is given first, which must be there, then those that have a
/// version in their name.
pub(super) async fn pythons(
    given: &Utf8Path,
    inherited: &[(OsString, OsString)],
    home: &Utf8Path,
    stop: &CancellationToken,
) -> Result<Vec<Python>, TableError> {
    let first = python(given, inherited, home, stop).await?;
    let mut found = vec![first];
    for minor in MINORS {
        let name = Utf8PathBuf::from(format!("python3.{minor}"));
        let other = python(&name, inherited, home, stop).await;
        let is_new = |other: &Python| found.iter().all(|known| known.version != other.version);
        if let Some(other) = other.ok().filter(is_new) {
            found.push(other);
        }
    }
    Ok(found)
}

async fn python(
    program: &Utf8Path,
    inherited: &[(OsString, OsString)],
    home: &Utf8Path,
    stop: &CancellationToken,
) -> Result<Python, TableError> {
    let fault = |why: String| TableError::NoPython {
        python: program.to_owned(),
        why,
    };
    let asked = Program {
        name: program,
        args: vec!["-c", FACTS],
        environment: clean_environment(inherited, home),
        folder: home,
    };
    let mut last = String::new();
    let mut on_line = |_: Stream, line: &[u8]| last = String::from_utf8_lossy(line).into_owned();
    let ending = process::run(&asked, LIMIT, stop, &mut on_line)
        .await
        .map_err(|error| fault(error.to_string()))?;
    if !matches!(ending, Ending::Exited(status) if status.success()) {
        return Err(fault(last));
    }
    let facts: Facts = serde_json::from_str(&last).map_err(|_| fault(last.clone()))?;
    let version = facts.version.parse().ok();
    let version = version.filter(|_| facts.implementation == "cpython");
    let glibc = (facts.libc.0 == "glibc").then(|| {
        let (major, minor) = facts.libc.1.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    Ok(Python {
        program: program.to_owned(),
        version: version
            .ok_or_else(|| fault(format!("it is {} {}", facts.implementation, facts.version)))?,
        machine: facts.machine,
        glibc: glibc.flatten(),
    })
}

/// How a row's Python is had.
#[derive(Debug, Clone)]
pub(super) enum Stand<'a> {
    /// It is here.
    Itself(&'a Python),
    /// Another runs the installer, which is told what it installs for.
    For(&'a Python),
}

impl<'a> Stand<'a> {
    /// The Python to run a row's installer with; why there is none.
    pub(super) fn of(row: &Row, pythons: &'a [Python]) -> Result<Self, String> {
        let least =
            least_python(row.installer).and_then(|least| least.parse::<PythonVersion>().ok());
        let runs = |python: &&Python| least.is_none_or(|least| python.version >= least);
        let is_row = |python: &&Python| {
            python.version == row.python
                && python.machine == row.machine
                && row.glibc.is_none_or(|needed| python.glibc >= Some(needed))
        };
        if let Some(python) = pythons.iter().filter(runs).find(is_row) {
            return Ok(Self::Itself(python));
        }
        let python = pythons.iter().find(runs).ok_or_else(|| {
            let least = least.map_or_else(String::new, |least| least.to_string());
            format!("{} needs Python {least} or later to run on", row.installer)
        })?;
        Ok(Self::For(python))
    }

    pub(super) fn python(&self) -> &'a Python {
        match self {
            Self::Itself(python) | Self::For(python) => python,
        }
    }

    /// Whether the installer looks at what is installed.
    pub(super) fn sight(&self, row: &Row) -> Sight {
        match (self, row.installer) {
            // Before 23.3 pip takes another Python with a target alone, and looks at nothing else then.
            (Self::For(_), Installer::PipOldest) => Sight::Blind,
            (Self::Itself(_) | Self::For(_), _) => Sight::Seeing,
        }
    }

    /// What tells the installer whom it installs for; `target` is a folder that is not there.
    pub(super) fn options(&self, row: &Row, target: &Utf8Path) -> Vec<String> {
        if matches!(self, Self::Itself(_)) {
            return Vec::new();
        }
        let (major, minor) = row.glibc.unwrap_or_default().max(USERS_GLIBC);
        let (machine, version) = (&row.machine, row.python.to_string());
        let version = version.trim_end_matches('t').to_owned();
        if row.installer == Installer::Uv {
            let platform = format!("{machine}-manylinux_{major}_{minor}");
            return words(&["--python-version", &version, "--python-platform", &platform]);
        }
        let interpreter = row.python.tag();
        let interpreter = interpreter.trim_end_matches('t');
        let abi = match row.python.threading() {
            Threading::Gil => interpreter.to_owned(),
            Threading::Free => format!("{interpreter}t"),
        };
        let mut options = words(&[
            "--only-binary=:all:",
            "--implementation",
            "cp",
            "--python-version",
            &version,
            "--abi",
            &abi,
            "--abi",
            "abi3",
            "--abi",
            "none",
        ]);
        for minor in (17..=minor).rev() {
            options.push(format!("--platform=manylinux_{major}_{minor}_{machine}"));
        }
        options.push(format!("--platform=manylinux2014_{machine}"));
        options.push(format!("--platform=linux_{machine}"));
        if self.sight(row) == Sight::Blind {
            options.extend(words(&["--target", target.as_str()]));
        }
        options
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Environments by Python and installed torch.
#[derive(Debug, Default)]
pub(super) struct Environments {
    made: BTreeMap<(Utf8PathBuf, Option<String>), Utf8PathBuf>,
}

impl Environments {
    /// Makes one below `folder` unless it is there.
    pub(super) async fn make(
        &mut self,
        python: &Python,
        torch: Option<&str>,
        folder: &Utf8Path,
        variables: &BTreeMap<OsString, OsString>,
        stop: &CancellationToken,
    ) -> Result<(), TableError> {
        let key = (python.program.clone(), torch.map(str::to_owned));
        if self.made.contains_key(&key) {
            return Ok(());
        }
        let place = folder.join(format!("environment-{}", self.made.len()));
        let maker = Program {
            name: &python.program,
            args: vec!["-m", "venv", "--without-pip", place.as_str()],
            environment: variables.clone(),
            folder,
        };
        let mut last = String::new();
        let mut on_line =
            |_: Stream, line: &[u8]| last = String::from_utf8_lossy(line).into_owned();
        let fault = |why: String| TableError::NoPython {
            python: python.program.clone(),
            why,
        };
        let ending = process::run(&maker, LIMIT, stop, &mut on_line)
            .await
            .map_err(|error| fault(error.to_string()))?;
        if !matches!(ending, Ending::Exited(status) if status.success()) {
            return Err(fault(format!("`-m venv` failed: {last}")));
        }
        if let Some(torch) = torch {
            let version = python.version.to_string();
            put_torch(
                &place.join(format!("lib/python{version}/site-packages")),
                torch,
            )?;
        }
        self.made.insert(key, place.join("bin/python"));
        Ok(())
    }

    /// The Python of one that was made.
    pub(super) fn python(&self, python: &Python, torch: Option<&str>) -> Option<&Utf8PathBuf> {
        self.made
            .get(&(python.program.clone(), torch.map(str::to_owned)))
    }
}

/// A torch of which there is nothing but what says that it is installed.
fn put_torch(site: &Utf8Path, version: &str) -> Result<(), FileError> {
    let folder = format!("torch-{version}.dist-info");
    let place = site.join(&folder);
    files::create_folder(&place)?;
    let metadata = format!("Metadata-Version: 2.1\nName: torch\nVersion: {version}\n");
    let wheel =
        "Wheel-Version: 1.0\nGenerator: wheelfarm\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let record =
        format!("{folder}/METADATA,,\n{folder}/WHEEL,,\n{folder}/INSTALLER,,\n{folder}/RECORD,,\n");
    for (name, text) in [
        ("METADATA", metadata.as_str()),
        ("WHEEL", wheel),
        ("INSTALLER", "pip\n"),
        ("RECORD", &record),
    ] {
        files::write_atomic(place.join(name), text.as_bytes())?;
    }
    Ok(())
}
