//! The programs that install: uv of `.venv`, and pip in virtual environments of its own.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::server::Server;

/// Python of `.venv`.
pub(crate) fn python() -> PathBuf {
    tool("python")
}

fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.venv/bin")
        .join(name);
    assert!(
        path.exists(),
        "there is no {name} in .venv: run `scripts/setup test`"
    );
    path
}

/// A virtual environment with a few packages of PyPI, made once; each is of one test, for nothing here
/// keeps two from making the same.
#[derive(Debug)]
pub(crate) struct Venv {
    name: &'static str,
    folder: PathBuf,
}

impl Venv {
    pub(crate) fn of(name: &'static str, packages: &[&str]) -> Self {
        let cache = match std::env::var("WHEELFARM_TEST_CACHE") {
            Ok(folder) => PathBuf::from(folder),
            Err(_) => Path::new(&std::env::var("HOME").unwrap()).join(".cache/wheelfarm-tests"),
        };
        fs::create_dir_all(&cache).unwrap();
        let folder = cache.join(format!("venv-{name}"));
        let venv = Self { name, folder };
        if !venv.folder.join("complete").exists() {
            let folder = venv.folder.to_str().unwrap();
            succeed(
                Command::new(tool("uv")).args(["venv", "--clear", "--seed", "--quiet", folder]),
            );
            let python = venv.folder.join("bin/python");
            succeed(
                Command::new(tool("uv"))
                    .args([
                        "pip",
                        "install",
                        "--quiet",
                        "--only-binary=:all:",
                        "--python",
                    ])
                    .arg(python)
                    .args(packages),
            );
            fs::write(venv.folder.join("complete"), "").unwrap();
        }
        venv
    }

    /// Everything that a program of it says.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.folder.join("bin").join(program));
        let output = succeed(command.args(arguments));
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap()
    }
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

/// What uv is to take the machine for; empty for nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    /// The CUDA that its driver knows.
    pub(crate) driver: &'static str,
    /// The compute capability of its GPU.
    pub(crate) gpu: &'static str,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.driver, self.gpu) {
            ("", "") => f.write_str("no GPU"),
            (driver, gpu) => write!(f, "CUDA {driver}, GPU {gpu}"),
        }
    }
}

/// A program that installs.
#[derive(Debug)]
pub(crate) enum Installer {
    UvWithVariants,
    Uv,
    Pip(Venv),
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UvWithVariants => f.write_str("uv with variants"),
            Self::Uv => f.write_str("uv"),
            Self::Pip(venv) => f.write_str(venv.name),
        }
    }
}

impl Installer {
    /// Installs `asked` into the empty folder `into`: the version that came, with its label, or what
    /// the installer said when it failed.
    pub(crate) fn install(
        &self,
        asked: &[&str],
        machine: Machine,
        server: &Server,
        into: &Path,
    ) -> Result<String, String> {
        if into.exists() {
            fs::remove_dir_all(into).unwrap();
        }
        let others = server.url("others/simple");
        let variants = server.url("whl/variants/simple");
        let mut command = match self {
            Self::UvWithVariants | Self::Uv => {
                let mut command = Command::new(tool("uv"));
                command.args(["pip", "install", "--no-config", "--no-cache", "--python"]);
                command.arg(python());
                if matches!(self, Self::UvWithVariants) {
                    command.args(["--preview-features", "wheel-variants"]);
                }
                command.args(["--default-index", &others, "--index", &variants]);
                command
            }
            Self::Pip(venv) => {
                let mut command = Command::new(venv.folder.join("bin/python"));
                command.args(["-m", "pip", "--isolated", "install", "--no-cache-dir"]);
                command.args(["--disable-pip-version-check"]);
                command.args(["--index-url", &others, "--extra-index-url", &variants]);
                command
            }
        };
        command.arg("--target").arg(into).args(asked);
        for (variable, value) in [
            (
                "NV_VARIANT_PROVIDER_FORCE_CUDA_DRIVER_VERSION",
                machine.driver,
            ),
            ("NV_VARIANT_PROVIDER_FORCE_SM_ARCH", machine.gpu),
        ] {
            if value.is_empty() {
                // Nothing answers where no GPU is to be.
                command.env_remove(variable).env("PATH", "/nowhere");
            } else {
                command.env(variable, value);
            }
        }
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(what_is_in(into))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

/// `1.0+torch2.11 cu130_sm120`, from what stands in the installed package.
fn what_is_in(folder: &Path) -> String {
    let module = fs::read_to_string(folder.join("demo.py")).unwrap();
    let mut found = fs::read_dir(folder).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        let version = name.strip_prefix("demo-")?.strip_suffix(".dist-info")?;
        Some((version.to_owned(), path.clone()))
    });
    let (version, dist_info) = found.next().expect("demo is installed");
    let label = match fs::read_to_string(dist_info.join("variant.json")) {
        Err(_) => "plain".to_owned(),
        Ok(text) => {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let labels = value["variants"].as_object().unwrap();
            assert_eq!(labels.len(), 1, "{text}");
            labels.keys().next().unwrap().clone()
        }
    };
    // The code of the wheel that the variant was made of is there too.
    assert!(module.starts_with("BUILT = "), "{module}");
    format!("{version} {label}")
}
