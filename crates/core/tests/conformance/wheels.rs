//! The wheels of the list: fetched once by pip, checked, and unpacked one library at a time.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

const LIST: &str = include_str!("wheels.txt");

/// How many of the wheels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Small,
    Whole,
}

/// One line of the list.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// `torch==2.8.0`.
    pub(crate) requirement: &'static str,
    file_name: &'static str,
    sha256: &'static str,
}

pub(crate) fn listed(set: Set) -> Vec<Wheel> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let &[of, requirement, file_name, sha256] = &*fields else {
                panic!("a line of wheels.txt has not four fields: {line}");
            };
            (set == Set::Whole || of == "small").then_some(Wheel {
                requirement,
                file_name,
                sha256,
            })
        })
        .collect()
}

impl Wheel {
    /// The options by which pip takes this file on any machine.
    fn pip_options(&self) -> Vec<String> {
        let tags: Vec<_> = self
            .file_name
            .trim_end_matches(".whl")
            .rsplit('-')
            .collect();
        let &[platforms, abi, python, ..] = &*tags else {
            panic!("{} is no name of a wheel", self.file_name);
        };
        let digits = python.trim_start_matches(char::is_alphabetic);
        let python_version = match digits.split_at(1) {
            (major, "") => format!("{major}.12"),
            (major, minor) => format!("{major}.{minor}"),
        };
        let mut options = vec![
            format!("--python-version={python_version}"),
            format!("--abi={abi}"),
            "--implementation=cp".to_owned(),
        ];
        options.extend(
            platforms
                .split('.')
                .map(|platform| format!("--platform={platform}")),
        );
        options
    }
}

/// The folder that keeps wheels between runs.
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub(crate) fn open() -> Self {
        let folder = match std::env::var("WHEELFARM_TEST_CACHE") {
            Ok(folder) => PathBuf::from(folder),
            Err(_) => Path::new(&std::env::var("HOME").unwrap()).join(".cache/wheelfarm-tests"),
        };
        fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The wheel's file; what is there already is checked as well.
    pub(crate) fn fetch(&self, wheel: &Wheel) -> PathBuf {
        let file = self.folder.join(wheel.file_name);
        if !file.exists() {
            self.download(wheel);
        }
        let found = sha256_of(&file);
        assert_eq!(
            found,
            wheel.sha256,
            "{} is not the wheel of the list",
            file.display()
        );
        file
    }

    fn download(&self, wheel: &Wheel) {
        let folder = tempfile::tempdir_in(&self.folder).unwrap();
        let list = folder.path().join("requirements.txt");
        fs::write(
            &list,
            format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256),
        )
        .unwrap();
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
        let output = Command::new(python)
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-cache-dir",
            ])
            .args(["--only-binary=:all:", "--disable-pip-version-check"])
            .args(wheel.pip_options())
            .arg("--dest")
            .arg(folder.path())
            .arg("--requirement")
            .arg(&list)
            .output()
            .expect("there is no .venv/bin/python: run `scripts/setup test`");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "pip cannot download {}:\n{errors}",
            wheel.file_name
        );
        fs::rename(
            folder.path().join(wheel.file_name),
            self.folder.join(wheel.file_name),
        )
        .unwrap();
    }
}

fn sha256_of(file: &Path) -> String {
    let mut file = File::open(file).unwrap();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hex::encode(hash.finalize()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Unpacks the shared libraries of a wheel one after the other into `folder`; each is removed when
/// `look` has seen it.
pub(crate) fn each_library(wheel: &Path, folder: &Path, mut look: impl FnMut(&str, &Path)) {
    let mut archive = ZipArchive::new(File::open(wheel).unwrap()).unwrap();
    let place = tempfile::tempdir_in(folder).unwrap();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let path = member.name().unwrap().into_owned();
        let name = path.rsplit('/').next().unwrap();
        let end = name.split_once(".so").map(|(_, end)| end);
        if !end.is_some_and(|end| end.is_empty() || end.starts_with('.')) {
            continue;
        }
        let file = place.path().join(name);
        io::copy(&mut member, &mut File::create(&file).unwrap()).unwrap();
        look(name, &file);
        fs::remove_file(&file).unwrap();
    }
}
