//! Which torch a lock file pins, for which CUDA, and which Python it is for.
//!
//! What a lock file leaves open stays open, and a note says why.

mod marker;

use std::collections::BTreeSet;

use toml::{Table, Value};

use self::marker::Known;
use super::facts::Facts;
use super::question::{Cuda, PythonAsked};
use crate::compat;
use crate::source::RemoteUrl;
use crate::version::{CudaVersion, VersionRange};
use crate::wheel::name::WheelName;

/// A file is no lock file that is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// It is not TOML.
    #[error("failed to read `{name}` as TOML: line {line}: {what}")]
    NotToml {
        /// The file.
        name: String,
        /// The line.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// It is TOML of another kind.
    #[error("`{name}` is no lock file of uv or Poetry, and none by PEP 751")]
    Unknown {
        /// The file.
        name: String,
    },
    /// It is a Dockerfile, which pins nothing that can be told without building it.
    #[error("`{name}` is a Dockerfile and no lock file")]
    Dockerfile {
        /// The file.
        name: String,
    },
}

impl LockError {
    /// What to do instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotToml { .. } | Self::Unknown { .. } => {
                "give a `uv.lock`, a `pylock.toml`, a `poetry.lock` or a requirements file with pins"
            }
            Self::Dockerfile { .. } => "build it and name the image: `--image IMAGE`",
        }
    }
}

/// A torch in a lock file.
#[derive(Debug, Default)]
struct Pin {
    version: String,
    /// The indexes or files that it comes from.
    sources: Vec<String>,
    /// The conditions that it is for; it is for any of them.
    markers: Vec<String>,
}

/// Reads the lock file `name` with that text, for Linux and the machine, if that is known.
pub fn read_lock(name: &str, text: &str, machine: Option<&str>) -> Result<Facts, LockError> {
    let known = Known { machine };
    let last = name.rsplit('/').next().unwrap_or(name);
    let is_from = |line: &str| line.trim_start().to_ascii_uppercase().starts_with("FROM ");
    if last.contains("ockerfile") || text.lines().any(is_from) {
        let name = name.to_owned();
        return Err(LockError::Dockerfile { name });
    }
    // What has neither ending is a list of requirements, whatever its name.
    let ending = last.rsplit('.').next().unwrap_or_default();
    if ending != "toml" && ending != "lock" {
        return Ok(requirements(text, known));
    }
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = text.get(..error.span().map_or(0, |span| span.start));
        LockError::NotToml {
            name: name.to_owned(),
            line: before.unwrap_or_default().matches('\n').count() + 1,
            what: error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    })?;
    let metadata = table.get("metadata");
    if table.contains_key("lock-version") && table.contains_key("packages") {
        Ok(pylock(&table, known))
    } else if let Some(metadata) = metadata.filter(|value| value.get("lock-version").is_some()) {
        Ok(poetry(&table, metadata, known))
    } else if table.get("version").is_some_and(Value::is_integer) {
        Ok(uv(&table, known))
    } else {
        let name = name.to_owned();
        Err(LockError::Unknown { name })
    }
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    let items = items.filter_map(Value::as_str);
    items.map(str::to_owned).collect()
}

/// The tables of the list `key` that are about torch.
fn torches<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a Value> {
    let list = table.get(key).and_then(Value::as_array);
    let list = list.into_iter().flatten();
    list.filter(|one| text_of(one, "name") == Some("torch"))
}

fn uv(table: &Table, known: Known<'_>) -> Facts {
    let pins = torches(table, "package").map(|package| {
        let source = package.get("source");
        let from = |key| source.and_then(|source| text_of(source, key));
        Pin {
            version: text_of(package, "version").unwrap_or_default().to_owned(),
            sources: [from("registry"), from("url")]
                .into_iter()
                .flatten()
                .map(str::to_owned)
                .collect(),
            markers: texts(package.get("resolution-markers")),
        }
    });
    let python = table.get("requires-python").and_then(Value::as_str);
    facts(&pins.collect::<Vec<_>>(), python, known)
}

fn pylock(table: &Table, known: Known<'_>) -> Facts {
    let pins = torches(table, "packages").map(|package| {
        let wheels = package.get("wheels").and_then(Value::as_array);
        let wheels = wheels.into_iter().flatten();
        let urls = wheels.filter_map(|wheel| text_of(wheel, "url"));
        let index = text_of(package, "index");
        Pin {
            version: text_of(package, "version").unwrap_or_default().to_owned(),
            sources: index.into_iter().chain(urls).map(str::to_owned).collect(),
            markers: text_of(package, "marker")
                .into_iter()
                .map(str::to_owned)
                .collect(),
        }
    });
    let python = table.get("requires-python").and_then(Value::as_str);
    facts(&pins.collect::<Vec<_>>(), python, known)
}

fn poetry(table: &Table, metadata: &Value, known: Known<'_>) -> Facts {
    let pins = torches(table, "package").map(|package| {
        let source = package.get("source").and_then(|one| text_of(one, "url"));
        let markers = package.get("markers");
        Pin {
            version: text_of(package, "version").unwrap_or_default().to_owned(),
            // Poetry writes no source for what is from PyPI.
            sources: vec![source.unwrap_or("https://pypi.org/simple").to_owned()],
            markers: match markers.and_then(Value::as_str) {
                Some(marker) => vec![marker.to_owned()],
                None => Vec::new(),
            },
        }
    });
    facts(
        &pins.collect::<Vec<_>>(),
        text_of(metadata, "python-versions"),
        known,
    )
}

/// A list of requirements, as pip-compile and `uv pip compile` write it.
fn requirements(text: &str, known: Known<'_>) -> Facts {
    let mut indexes = Vec::new();
    let mut pins = Vec::new();
    let mut has_loose_torch = false;
    let mut wheel_python = None;
    for line in text.replace("\\\n", " ").replace("\\\r\n", " ").lines() {
        // An address may hold a `#`: a comment has space before it.
        let line = line.trim();
        let line = line.split(" #").next().unwrap_or_default().trim();
        let options = [
            "--index-url",
            "--extra-index-url",
            "-i",
            "--find-links",
            "-f",
        ];
        let option = options.iter().find_map(|option| line.strip_prefix(option));
        if let Some(url) = option {
            indexes.push(url.trim_start_matches('=').trim().to_owned());
            continue;
        }
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
        let (name, rest) = line.split_at(end.unwrap_or(line.len()));
        if !name.eq_ignore_ascii_case("torch") {
            continue;
        }
        let rest = rest.split("--hash").next().unwrap_or_default();
        let (wanted, marker) = match rest.split_once(" ;").or_else(|| rest.split_once(';')) {
            Some((wanted, marker)) => (wanted.trim(), Some(marker.trim().to_owned())),
            None => (rest.trim(), None),
        };
        let version = if let Some(url) = wanted.strip_prefix('@') {
            let wheel = wheel_at(url.trim());
            wheel_python = wheel.as_ref().and_then(|wheel| {
                let tag = wheel.abi_tags().first()?;
                crate::version::PythonVersion::from_tag(tag)
            });
            wheel.map(|wheel| (wheel.full_version(), vec![url.trim().to_owned()]))
        } else {
            let version = wanted
                .strip_prefix("==")
                .map(|version| version.trim_start_matches('='));
            let version = version
                .map(str::trim)
                .filter(|version| !version.contains(['*', ',']));
            version.map(|version| (version.to_owned(), Vec::new()))
        };
        match version {
            None => has_loose_torch = true,
            Some((version, sources)) => pins.push(Pin {
                version,
                sources,
                markers: marker.into_iter().collect(),
            }),
        }
    }
    for pin in pins.iter_mut().filter(|pin| pin.sources.is_empty()) {
        pin.sources.clone_from(&indexes);
    }
    let is_pinned = !pins.is_empty();
    let mut facts = facts(&pins, None, known);
    if has_loose_torch && !is_pinned {
        facts.notes = vec!["it requires torch without pinning it: give --torch".to_owned()];
    }
    facts.python = wheel_python
        .map(|version| PythonAsked {
            version,
            patch: None,
        })
        .or_else(|| python_of_header(text));
    if facts.python.is_none() {
        facts.note("it does not say which Python it is for: give --python");
    }
    facts
}

/// The Python that the tool which wrote the file noted at its top.
fn python_of_header(text: &str) -> Option<PythonAsked> {
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    let mut words = comments.flat_map(str::split_whitespace).peekable();
    while let Some(word) = words.next() {
        // `by pip-compile with Python 3.11`; `uv pip compile … --python-version 3.11`.
        let value = match word.split_once('=') {
            Some(("--python-version", value)) => Some(value),
            _ if matches!(word, "Python" | "--python-version" | "-p") => words.peek().copied(),
            _ => None,
        };
        if let Some(python) = value.and_then(|value| value.parse().ok()) {
            return Some(python);
        }
    }
    None
}

fn wheel_at(url: &str) -> Option<WheelName> {
    let url: RemoteUrl = url.parse().ok()?;
    url.file_name()?.parse().ok()
}

/// Puts together what the pins of torch and the range of Pythons tell.
fn facts(pins: &[Pin], requires_python: Option<&str>, known: Known<'_>) -> Facts {
    let mut facts = Facts::default();
    let here: Vec<&Pin> = pins
        .iter()
        .filter(|pin| !is_elsewhere(pin, known))
        .collect();
    let versions: BTreeSet<&str> = here.iter().map(|pin| pin.version.as_str()).collect();
    let versions: Vec<&str> = versions.into_iter().collect();
    match versions.as_slice() {
        [] => facts.note("it pins no torch: give --torch"),
        [version] => facts.torch_from(version),
        several => {
            let public = |version: &&str| version.split('+').next().unwrap_or_default().to_owned();
            let publics: BTreeSet<String> = several.iter().map(public).collect();
            let all = several.join(" and ");
            if publics.len() == 1 {
                facts.torch_from(&public(&several[0]));
                facts.note(format!("it has torch {all}: give --cuda"));
            } else {
                facts.note(format!("it has torch {all}: give --torch"));
            }
        }
    }
    if let [_] = versions.as_slice() {
        set_cuda(&mut facts, &here);
    }
    if let Some(range) = requires_python {
        set_python(&mut facts, range);
    }
    facts
}

/// By the local part of the version, then by the index, then by what PyPI's torch is known to be.
fn set_cuda(facts: &mut Facts, pins: &[&Pin]) {
    let Some(torch) = facts.torch.clone() else {
        return;
    };
    let sources = || pins.iter().flat_map(|pin| &pin.sources);
    let mut of_indexes: Vec<Cuda> = sources().filter_map(|url| cuda_in(url)).collect();
    of_indexes.dedup();
    facts.cuda = match (torch.cuda(), of_indexes.as_slice()) {
        (Some(cuda), _) => Some(cuda),
        (None, [cuda]) => Some(cuda.clone()),
        (None, _) => None,
    };
    if facts.cuda.is_some() {
        return;
    }
    let is_pypi = |url: &String| {
        url.starts_with("https://pypi.org/") || url.starts_with("https://files.pythonhosted.org/")
    };
    let minor = torch.version.minor();
    let of_pypi = compat::cuda_on_pypi(minor).filter(|_| {
        let mut all = sources().peekable();
        all.peek().is_some() && all.all(is_pypi)
    });
    match of_pypi {
        Some(cuda) => {
            facts.cuda = Some(Cuda::Version(cuda));
            facts.note(format!(
                "it has torch {minor} from PyPI, which on x86_64 is built for CUDA {cuda}"
            ));
        }
        None => facts.note("it does not say which CUDA its torch is built with: give --cuda"),
    }
}

/// The CUDA that an address of PyTorch's indexes and files names: `…/whl/cu128`.
fn cuda_in(url: &str) -> Option<Cuda> {
    url.split(['/', '?', '#']).find_map(|part| match part {
        "cpu" => Some(Cuda::Without("cpu".to_owned())),
        part => CudaVersion::from_tag(part).map(Cuda::Version),
    })
}

fn set_python(facts: &mut Facts, range: &str) {
    // Poetry writes ranges of its own, `^3.11`, into its file too.
    let Ok(versions) = range.parse::<VersionRange>() else {
        facts.note(format!("it is for Python {range}: give --python"));
        return;
    };
    let all = (6..=30).filter_map(|minor| format!("3.{minor}").parse().ok());
    let mut fitting = all.filter(|&python| versions.contains_some_python(python));
    match (fitting.next(), fitting.next()) {
        (Some(version), None) => {
            let patch = None;
            facts.python = Some(PythonAsked { version, patch });
        }
        _ => facts.note(format!("it is for Python {range}: give --python")),
    }
}

/// Whether a pin is for other systems alone: every condition that it stands under rules this one out.
fn is_elsewhere(pin: &Pin, known: Known<'_>) -> bool {
    let rules_out = |one: &String| marker::rules_out(one, known);
    !pin.markers.is_empty() && pin.markers.iter().all(rules_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, text: &str) -> String {
        match read_lock(name, text, None) {
            Err(error) => format!("{error}\n  hint: {}", error.hint()),
            Ok(facts) => {
                let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let line = format!(
                    "python {} torch {} cuda {}",
                    or(facts.python.map(|one| one.to_string())),
                    or(facts.torch.as_ref().map(ToString::to_string)),
                    or(facts.cuda.as_ref().map(Cuda::to_string)),
                );
                let notes = facts.notes.iter().map(|note| format!("\n  {note}"));
                std::iter::once(line).chain(notes).collect()
            }
        }
    }

    const UV: &str = "version = 1\nrevision = 3\nrequires-python = \"==3.11.*\"\n\
                      [[package]]\nname = \"numpy\"\nversion = \"2.3.4\"\n\
                      source = { registry = \"https://pypi.org/simple\" }\n";

    fn uv_with(packages: &[&str]) -> String {
        let packages = packages
            .iter()
            .map(|text| format!("[[package]]\nname = \"torch\"\n{text}\n"));
        std::iter::once(UV.to_owned()).chain(packages).collect()
    }

    #[test]
    fn locks_of_uv() {
        let pytorch = "source = { registry = \"https://download.pytorch.org/whl/cu128\" }";
        let pypi = "source = { registry = \"https://pypi.org/simple\" }";
        let linux = "resolution-markers = [\"sys_platform == 'linux'\"]";
        let mac = "resolution-markers = [\"sys_platform == 'darwin'\", \"platform_machine != 'x' and sys_platform == 'win32'\"]";
        let texts = [
            uv_with(&[&format!("version = \"2.8.0+cu128\"\n{pytorch}")]),
            uv_with(&[&format!("version = \"2.8.0\"\n{pytorch}")]),
            uv_with(&[&format!("version = \"2.11.0\"\n{pypi}")]),
            uv_with(&[
                &format!("version = \"2.8.0\"\n{pypi}\n{mac}"),
                &format!("version = \"2.8.0+cu128\"\n{pytorch}\n{linux}"),
            ]),
            uv_with(&[
                &format!("version = \"2.8.0+cpu\"\n{linux}"),
                &format!("version = \"2.8.0+cu128\"\n{linux}"),
            ]),
            uv_with(&["version = \"2.8.0\"", "version = \"2.9.1\""]),
            uv_with(&[]).replace("==3.11.*", ">=3.11"),
            uv_with(&[
                "version = \"2.8.0\"\nsource = { registry = \"https://mirror.example/simple\" }",
            ]),
        ];
        insta::assert_snapshot!(texts.map(|text| told("x/uv.lock", &text)).join("\n"), @"
        python 3.11 torch 2.8.0+cu128 cuda 12.8
        python 3.11 torch 2.8.0 cuda 12.8
        python 3.11 torch 2.11.0 cuda 13.0
          it has torch 2.11 from PyPI, which on x86_64 is built for CUDA 13.0
        python 3.11 torch 2.8.0+cu128 cuda 12.8
        python 3.11 torch 2.8.0 cuda -
          it has torch 2.8.0+cpu and 2.8.0+cu128: give --cuda
        python 3.11 torch - cuda -
          it has torch 2.8.0 and 2.9.1: give --torch
        python - torch - cuda -
          it pins no torch: give --torch
          it is for Python >=3.11: give --python
        python 3.11 torch 2.8.0 cuda -
          it does not say which CUDA its torch is built with: give --cuda
        ");
    }

    #[test]
    fn locks_by_pep_751_and_of_poetry() {
        let pylock = "lock-version = \"1.0\"\nrequires-python = \">=3.12,<3.13\"\ncreated-by = \"uv\"\n\
                      [[packages]]\nname = \"torch\"\nversion = \"2.9.1\"\n\
                      wheels = [{ url = \"https://download.pytorch.org/whl/cu130/torch-2.9.1%2Bcu130-cp312-cp312-manylinux_2_28_x86_64.whl\", hashes = { sha256 = \"00\" } }]\n";
        let poetry = "[[package]]\nname = \"torch\"\nversion = \"2.8.0+cu126\"\n\
                      [package.source]\ntype = \"legacy\"\nurl = \"https://download.pytorch.org/whl/cu126\"\n\
                      [metadata]\nlock-version = \"2.1\"\npython-versions = \"^3.11\"\n";
        let from_pypi = "[[package]]\nname = \"torch\"\nversion = \"2.8.0\"\n\
                         [metadata]\nlock-version = \"2.1\"\npython-versions = \"~=3.11.0\"\n";
        let told = [
            told("pylock.toml", pylock),
            told(
                "pylock.gpu.toml",
                &pylock.replace("%2Bcu130", "").replace("whl/cu130", "whl"),
            ),
            told("poetry.lock", poetry),
            told("poetry.lock", from_pypi),
        ];
        insta::assert_snapshot!(told.join("\n"), @"
        python 3.12 torch 2.9.1 cuda 13.0
        python 3.12 torch 2.9.1 cuda -
          it does not say which CUDA its torch is built with: give --cuda
        python - torch 2.8.0+cu126 cuda 12.6
          it is for Python ^3.11: give --python
        python 3.11 torch 2.8.0 cuda 12.8
          it has torch 2.8 from PyPI, which on x86_64 is built for CUDA 12.8
        ");
    }

    #[test]
    fn lists_of_requirements() {
        let texts = [
            "# This file is autogenerated by pip-compile with Python 3.11\n# by the following command:\n\
             #    pip-compile\n--extra-index-url https://download.pytorch.org/whl/cu128\n\n\
             numpy==2.3.4 \\\n    --hash=sha256:00\ntorch==2.8.0 \\\n    --hash=sha256:11 \\\n    --hash=sha256:22\n    # via -r requirements.in\n",
            "# uv pip compile in.txt --python-version 3.12 -o out.txt\nTorch==2.8.0+cu126 ; sys_platform == 'linux'\n\
             torch==2.8.0 ; sys_platform == 'darwin'\n",
            "torch @ https://download.pytorch.org/whl/cu130/torch-2.9.1%2Bcu130-cp313-cp313t-manylinux_2_28_x86_64.whl#sha256=00\n",
            "torch>=2.8\ntorchvision==0.23.0\n",
            "torch==2.8.*\n",
            "-i https://x.org/simple\ntorch==2.8.0  # the one of production\n",
            "numpy\n",
            "",
        ];
        insta::assert_snapshot!(texts.map(|text| told("requirements.txt", text)).join("\n"), @"
        python 3.11 torch 2.8.0 cuda 12.8
        python 3.12 torch 2.8.0+cu126 cuda 12.6
        python 3.13t torch 2.9.1+cu130 cuda 13.0
        python - torch - cuda -
          it requires torch without pinning it: give --torch
          it does not say which Python it is for: give --python
        python - torch - cuda -
          it requires torch without pinning it: give --torch
          it does not say which Python it is for: give --python
        python - torch 2.8.0 cuda -
          it does not say which CUDA its torch is built with: give --cuda
          it does not say which Python it is for: give --python
        python - torch - cuda -
          it pins no torch: give --torch
          it does not say which Python it is for: give --python
        python - torch - cuda -
          it pins no torch: give --torch
          it does not say which Python it is for: give --python
        ");
    }

    #[test]
    fn what_is_no_lock_file_is_told() {
        let told = [
            told("Dockerfile", "torch==2.8.0"),
            told("x.txt", "# a\nFROM nvidia/cuda:12.8.1\n"),
            told("pyproject.toml", "[project]\nname = \"x\"\n"),
            told("uv.lock", "version = = 1\n"),
        ];
        insta::assert_snapshot!(told.join("\n"), @"
        `Dockerfile` is a Dockerfile and no lock file
          hint: build it and name the image: `--image IMAGE`
        `x.txt` is a Dockerfile and no lock file
          hint: build it and name the image: `--image IMAGE`
        `pyproject.toml` is no lock file of uv or Poetry, and none by PEP 751
          hint: give a `uv.lock`, a `pylock.toml`, a `poetry.lock` or a requirements file with pins
        failed to read `uv.lock` as TOML: line 1: extra `=`, expected nothing
          hint: give a `uv.lock`, a `pylock.toml`, a `poetry.lock` or a requirements file with pins
        ");
    }
}
