//! What an environment is, by its own Python: on this machine, or in a container of an image. Nothing is
//! installed, and torch is not imported.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gpu::machine::{self, MachineGpu, parse_machine_gpus};
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_core::release::resolve::Facts;

use super::error::EnvironmentError;
use crate::container::{
    ContainerSpec, Engine, EngineError, EngineErrorKind, ImageId, ImageRef, Network,
    OwnedContainer, RootFileSystem, RunHow, RunLimits, labels, sanitise_line,
};
use crate::prove::process::{self, Ending, Program, Stream};
use crate::run::{StopSignal, farm_labels};

/// What tells; it runs with the Python that is looked into.
const SCRIPT: &str = include_str!("../../../../dockerfiles/environment_facts.py");

/// Before what it tells, for an image's own entry point may print what it likes.
const MARK: &str = "wheelfarm-facts: ";

/// What it says where there is no Python, with the loader of musl if there is one.
const NO_PYTHON: &str = "wheelfarm-no-python";

/// Looks for a Python in an image, where images of Python, torch, NVIDIA and Anaconda have one.
const FIND_PYTHON: &str = "for python in python3 python /opt/venv/bin/python /opt/conda/bin/python \
    /usr/local/bin/python3; do command -v \"$python\" >/dev/null 2>&1 && \
    exec \"$python\" -B -c \"$1\"; done; echo wheelfarm-no-python /lib/ld-musl-*";

/// It reads a few files.
const LIMIT: Duration = Duration::from_mins(1);

/// A GPU that has fallen off the bus can keep `nvidia-smi` for ever.
const DRIVER_LIMIT: Duration = Duration::from_secs(20);

const MEMORY: ByteSize = ByteSize::gib(1);

const LIMITS: RunLimits = RunLimits {
    total: LIMIT,
    silence: LIMIT,
    grace: Duration::from_secs(2),
};

/// What of this process's environment a Python gets: where it finds itself, its packages and its GPUs.
const KEPT: [&str; 12] = [
    "PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONUSERBASE",
    "PYTHONNOUSERSITE",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYENV_VERSION",
    "PYENV_ROOT",
    "CUDA_VISIBLE_DEVICES",
];

/// What a Python of this machine is, and its GPUs.
pub async fn here(
    python: &Utf8Path,
    inherited: &[(OsString, OsString)],
    stop: &StopSignal,
) -> Result<Facts, EnvironmentError> {
    let program = Program {
        name: python,
        args: vec!["-B", "-c", SCRIPT],
        environment: environment(inherited),
        // Where the user is: the Python may be given from there.
        folder: Utf8Path::new("."),
    };
    let mut told = Told::default();
    let mut on_line = |_, line: &[u8]| told.take(&sanitise_line(line));
    let ending = process::run(&program, LIMIT, &stop.stop, &mut on_line).await;
    let run = |source| EnvironmentError::Run {
        python: python.to_owned(),
        source,
    };
    let how = match ending.map_err(run)? {
        Ending::Stopped => return Err(EnvironmentError::Stopped),
        Ending::TimedOut => format!("no answer in {} s", LIMIT.as_secs()),
        Ending::Exited(status) => status.to_string(),
    };
    let mut facts = told.facts(python.as_str(), &how)?;
    match gpus(inherited, stop).await? {
        Ok(found) => {
            facts.driver = found.first().map(|gpu| gpu.driver.clone());
            facts.gpus = found.into_iter().map(|gpu| gpu.capability).collect();
        }
        Err(why) => facts.notes.push(format!("its GPU is not known: {why}")),
    }
    Ok(facts)
}

/// The GPUs of this machine, or why they are not known.
pub async fn gpus(
    inherited: &[(OsString, OsString)],
    stop: &StopSignal,
) -> Result<Result<Vec<MachineGpu>, String>, EnvironmentError> {
    let program = Program {
        name: Utf8Path::new("nvidia-smi"),
        args: machine::ARGUMENTS.to_vec(),
        environment: environment(inherited),
        folder: Utf8Path::new("/"),
    };
    let mut text = String::new();
    let mut on_line = |stream, line: &[u8]| {
        if stream == Stream::Output {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
    };
    let ending = process::run(&program, DRIVER_LIMIT, &stop.stop, &mut on_line).await;
    Ok(match ending {
        Ok(Ending::Stopped) => return Err(EnvironmentError::Stopped),
        Ok(Ending::TimedOut) => Err(format!(
            "`nvidia-smi` gave no answer in {} s",
            DRIVER_LIMIT.as_secs()
        )),
        Ok(Ending::Exited(status)) if !status.success() => {
            let said = text.lines().next().unwrap_or("nothing is said");
            Err(format!(
                "`nvidia-smi` failed: {}",
                sanitise_line(said.as_bytes())
            ))
        }
        Ok(Ending::Exited(_)) => parse_machine_gpus(&text).map_err(|error| error.to_string()),
        Err(error) => Err(format!("failed to run `nvidia-smi`: {error}")),
    })
}

fn environment(inherited: &[(OsString, OsString)]) -> BTreeMap<OsString, OsString> {
    let kept = inherited
        .iter()
        .filter(|(name, _)| KEPT.iter().any(|kept| name == kept));
    let language = ("LC_ALL".into(), "C.UTF-8".into());
    kept.cloned().chain([language]).collect()
}

/// What the Python of an image is. The image is brought if it is not there; the container has no network
/// and no GPU, and is gone afterwards.
///
/// Not cancel-safe: cancel `stop` instead.
pub async fn image<E: Engine>(
    engine: &Arc<E>,
    image: &str,
    stop: &StopSignal,
) -> Result<Facts, EnvironmentError> {
    let looking = Looking {
        engine,
        image,
        stop,
    };
    let id = looking.image_id().await?;
    let mut container = OwnedContainer::create(Arc::clone(engine), spec(&id))
        .await
        .map_err(|error| looking.failure(error))?;
    let res = looking.ask(&container).await;
    if let Err(error) = container.remove().await {
        tracing::warn!(image, %error, "container left in the engine");
    }
    res
}

struct Looking<'a, E: Engine> {
    engine: &'a Arc<E>,
    image: &'a str,
    stop: &'a StopSignal,
}

impl<E: Engine> Looking<'_, E> {
    async fn image_id(&self) -> Result<ImageId, EnvironmentError> {
        let reference = ImageRef::new(self.image);
        let failure = |error| self.failure(error);
        if let Some(found) = self.engine.image(&reference).await.map_err(failure)? {
            return Ok(found.id);
        }
        let pulled = self.engine.pull(&reference, &self.stop.stop).await;
        pulled.map_err(failure)?;
        let found = self.engine.image(&reference).await.map_err(failure)?;
        found.map(|image| image.id).ok_or_else(|| {
            let operation = format!("find image `{}` after it was pulled", self.image);
            self.failure(EngineError::new(operation, EngineErrorKind::NoSuchImage))
        })
    }

    async fn ask(&self, container: &OwnedContainer<E>) -> Result<Facts, EnvironmentError> {
        let mut told = Told::default();
        let end = container
            .run_to_end(&LIMITS, &self.stop.stop, &self.stop.at_once, |line| {
                told.take(&sanitise_line(line));
            })
            .await
            .map_err(|error| self.failure(error))?;
        let how = match end.how {
            RunHow::Cancelled => return Err(EnvironmentError::Stopped),
            RunHow::Exited => format!("exit code {}", end.exit_code),
            RunHow::OutOfMemory => format!("it ran out of its {MEMORY} of memory"),
            RunHow::TimedOut | RunHow::Stalled => format!("no answer in {} s", LIMIT.as_secs()),
        };
        if let Some(loader) = &told.no_python {
            return Err(EnvironmentError::NoPython {
                image: self.image.to_owned(),
                // Where there is none, the pattern stays as it is.
                is_musl: !loader.contains('*'),
            });
        }
        told.facts(self.image, &how)
    }

    fn failure(&self, source: EngineError) -> EnvironmentError {
        if source.kind() == EngineErrorKind::Cancelled {
            return EnvironmentError::Stopped;
        }
        EnvironmentError::Engine {
            image: self.image.to_owned(),
            source,
        }
    }
}

/// The container that an image is looked into with.
fn spec(image: &ImageId) -> ContainerSpec {
    let digest = Sha256Digest::of(image.as_str().as_bytes()).short();
    // Of two that look into one image at a time, neither may take the other's for a leftover.
    let name = format!("wheelfarm-resolve-{digest}-{}", std::process::id());
    ContainerSpec {
        image: image.clone(),
        command: ["sh", "-c", FIND_PYTHON, "sh", SCRIPT]
            .map(str::to_owned)
            .into(),
        env: BTreeMap::from([("HOME".to_owned(), "/tmp".to_owned())]),
        working_dir: Some("/".to_owned()),
        user: None,
        network: Network::Off,
        memory_bytes: MEMORY.bytes(),
        milli_cpus: 1000,
        pids_limit: 64,
        // An image's entry point may want to write; that layer goes with the container.
        root: RootFileSystem::Writable,
        tmpfs: Vec::new(),
        volumes: Vec::new(),
        gpu: None,
        labels: farm_labels(&name).with(labels::IMAGE, image.as_str()),
        name,
    }
}

/// What was said.
#[derive(Debug, Default)]
struct Told {
    facts: Option<String>,
    no_python: Option<String>,
    last: String,
}

impl Told {
    fn take(&mut self, line: &str) {
        if let Some(facts) = line.strip_prefix(MARK) {
            self.facts = Some(facts.to_owned());
        } else if let Some(loader) = line.strip_prefix(NO_PYTHON) {
            self.no_python = Some(loader.trim().to_owned());
        } else if !line.is_empty() {
            line.clone_into(&mut self.last);
        }
    }

    fn facts(self, place: &str, how: &str) -> Result<Facts, EnvironmentError> {
        let Some(text) = self.facts else {
            return Err(EnvironmentError::Silent {
                place: place.to_owned(),
                said: match self.last.as_str() {
                    "" => how.to_owned(),
                    last => format!("{how}: {last}"),
                },
            });
        };
        Facts::parse(&text).map_err(|source| EnvironmentError::Facts {
            place: place.to_owned(),
            source,
        })
    }
}
