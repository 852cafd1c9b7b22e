//! Proves one wheel with a Python of this machine: pip installs it into a folder of its own, and the
//! package's test runs there, once as users run it and once with PTX alone if that is asked for.
//!
//! No container and no engine, for a machine with a GPU is often lent without one. So the wheel's code
//! runs as this user, and nothing but the environment and a time limit is kept from it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use tokio::time::Instant;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::finding::Finding;
use wheelfarm_core::gate::inspect::WheelReport;
use wheelfarm_core::gate::judge;
use wheelfarm_core::gate::ptx::ptx_mode;
use wheelfarm_core::gate::report::finding_line;
use wheelfarm_core::gate::rule::Rule;
use wheelfarm_core::gpu::machine::{self, MachineGpu, parse_machine_gpus};
use wheelfarm_core::ident::PackageName;
use wheelfarm_core::receipt::{
    self, Check, CheckResult, Device, GpuPresence, HostFacts, MachineReceipt, Run, RunMode,
    RunState, TorchDevice, TorchFacts, WheelSubject, parse_report,
};
use wheelfarm_core::wheel::name::WheelName;

use super::error::MachineProofError;
use super::process::{self, Ending, Program, Stream, clean_environment};
use super::workshop::Workshop;
use super::{no_report, no_test};
use crate::container::sanitise_line;
use crate::files::FileError;
use crate::inspect::inspect_file;
use crate::run::StopSignal;

/// Runs kernels of torch and of cuBLAS, and nothing of the wheel: whether a run with PTX alone can say
/// anything of the wheel here.
const CONTROL: &str =
    "import torch; x = torch.arange(8., device='cuda'); assert (x @ x + x.sum()).item() == 168.0";

/// The longest that one run of a test may take, as in a container.
pub const LIMIT: Duration = Duration::from_mins(30);

/// The longest that torch may take to be imported, and pip to unpack a wheel.
const OVERHEAD_LIMIT: Duration = Duration::from_mins(10);

/// The longest that the driver may take to tell what it drives: a GPU that has fallen off the bus can keep
/// `nvidia-smi` for ever.
const DRIVER_LIMIT: Duration = Duration::from_secs(30);

/// Whether the test runs a second time with PTX alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PtxRun {
    /// It does.
    Wanted,
    /// It does not.
    Unwanted,
}

/// One wheel to prove.
#[derive(Debug, Clone)]
pub struct MachineSubject {
    /// The wheel's file.
    pub wheel: Utf8PathBuf,
    /// Its name, taken apart.
    pub name: WheelName,
    /// The package that it is of.
    pub package: PackageName,
    /// The text of that package's test.
    pub test: Option<String>,
}

/// Where and how wheels are proven.
#[derive(Debug)]
pub struct MachineProver {
    /// The Python: a name that is looked for, or a path.
    pub python: Utf8PathBuf,
    /// The environment that the few variables are taken from which the test gets.
    pub inherited: Vec<(OsString, OsString)>,
    /// Whether the test runs with PTX alone too.
    pub ptx: PtxRun,
    /// The longest that one run of the test may take.
    pub limit: Duration,
    /// The user's wish to stop.
    pub stop: StopSignal,
}

/// What [`FACTS`] tells.
#[derive(Debug, Deserialize)]
struct PythonFacts {
    python: String,
    pip: Option<String>,
    fits: Option<bool>,
    unmet: Vec<String>,
    host: HostFacts,
    torch: Option<TorchFacts>,
    torch_file: Option<String>,
    torch_error: Option<String>,
}

/// Whether the wheel is on Python's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Installed {
    Yes,
    No,
}

/// What a program left.
struct Said {
    ending: Ending,
    /// What its lines reported.
    reports: Vec<Vec<Check>>,
    /// The last line of standard output.
    output: String,
    /// The last line that was no report, of either stream.
    last: String,
}

impl Said {
    fn exit_code(&self) -> Option<i32> {
        match self.ending {
            Ending::Exited(status) => status.code(),
            Ending::TimedOut | Ending::Stopped => None,
        }
    }

    /// The fault with the last that was said before it.
    fn with_last(&self, fault: String) -> String {
        if self.last.is_empty() {
            fault
        } else {
            format!("{fault}: {}", self.last)
        }
    }

    /// Why it did not end well, if it did not; `limit` is the one that it had.
    fn fault(&self, limit: Duration) -> Option<String> {
        match self.ending {
            Ending::Exited(status) if status.success() => None,
            Ending::Exited(status) => Some(match status.code() {
                Some(code) => format!("exit code {code}"),
                None => status.to_string(),
            }),
            Ending::TimedOut => Some(format!(
                "it ran past its time limit of {}s",
                limit.as_secs()
            )),
            Ending::Stopped => Some("it was stopped".to_owned()),
        }
    }
}

impl MachineProver {
    /// Installs the wheel, runs its test and tells what came of it.
    ///
    /// A wheel that pip refuses, a test that fails, hangs or says nothing are a receipt that says so.
    pub async fn prove(
        &self,
        subject: &MachineSubject,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<MachineReceipt, MachineProofError> {
        let read = read_wheel(subject.wheel.clone()).await?;
        let workshop = Workshop::open()?;
        let res = self
            .prove_in(&workshop, subject, (&read.0, read.1), on_line)
            .await;
        workshop.remove();
        res
    }

    async fn prove_in(
        &self,
        workshop: &Workshop,
        subject: &MachineSubject,
        (report, sha256): (&WheelReport, Sha256Digest),
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<MachineReceipt, MachineProofError> {
        let before = self.facts(workshop, subject, report, Installed::No).await?;
        let torch = self.check_python(&before, subject)?;
        let device = match torch.devices.first() {
            Some(seen) => Some(device(seen, &self.gpus(workshop).await?)),
            None => None,
        };
        let gpu = match device {
            Some(_) => GpuPresence::Present,
            None => GpuPresence::Absent,
        };
        let started = Instant::now();
        let mut checks = vec![self.install(workshop, subject, on_line).await?];
        let is_installed = checks.iter().all(|check| check.result == CheckResult::Pass);
        if is_installed {
            let after = self.facts(workshop, subject, report, Installed::Yes).await;
            checks.push(torch_is_left_alone(&before, after)?);
            let test = self.test(workshop, subject, &[], on_line).await?;
            checks.extend(test);
        }
        let run = Run::new(RunMode::AsBuilt, checks, gpu).took(milliseconds(started));
        let ptx = match self.ptx {
            PtxRun::Unwanted => None,
            PtxRun::Wanted => Some(match ptx_plan(&run, report, device.as_ref()) {
                Err(reason) => Run::not_made(RunMode::ForcedPtx, reason),
                Ok(mode) => self.ptx_run(workshop, subject, mode, on_line).await?,
            }),
        };
        let runs: Vec<Run> = [Some(run), ptx].into_iter().flatten().collect();
        let (state, reason) = receipt::verdict(&runs);
        Ok(MachineReceipt {
            schema: receipt::SCHEMA,
            state,
            reason,
            wheel: WheelSubject {
                file_name: subject.name.to_string(),
                sha256,
                size_bytes: report.size_bytes,
            },
            jobs: Vec::new(),
            package: subject.package.clone(),
            test_sha256: subject
                .test
                .as_ref()
                .map(|test| Sha256Digest::of(test.as_bytes())),
            python: before.python,
            torch,
            device,
            runs,
            host: before.host,
            proved_at: jiff::Timestamp::now().to_string(),
            wheelfarm: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Whether this Python can prove the wheel at all; its torch.
    fn check_python(
        &self,
        facts: &PythonFacts,
        subject: &MachineSubject,
    ) -> Result<TorchFacts, MachineProofError> {
        let python = self.python.clone();
        let wheel = subject.name.to_string();
        if facts.pip.is_none() {
            return Err(MachineProofError::NoPip { python });
        }
        if facts.fits == Some(false) {
            let version = facts.python.clone();
            return Err(MachineProofError::OtherTags {
                wheel,
                python,
                version,
            });
        }
        let Some(torch) = facts.torch.clone() else {
            let said = facts.torch_error.clone().unwrap_or_default();
            return Err(MachineProofError::NoTorch { python, said });
        };
        if !facts.unmet.is_empty() {
            let unmet = facts.unmet.clone();
            return Err(MachineProofError::Unmet {
                wheel,
                python,
                unmet,
            });
        }
        Ok(torch)
    }

    async fn facts(
        &self,
        workshop: &Workshop,
        subject: &MachineSubject,
        report: &WheelReport,
        installed: Installed,
    ) -> Result<PythonFacts, MachineProofError> {
        let metadata = report.metadata.as_ref();
        let asked = serde_json::json!({
            "tags": subject.name.expanded_tags(),
            "requires": metadata.map_or(&[][..], |facts| &facts.requires_dist),
        })
        .to_string();
        let script = workshop.proof("machine_facts.py");
        let mut environment = self.environment(workshop);
        if installed == Installed::Yes {
            environment.insert("PYTHONPATH".into(), workshop.site().as_str().into());
        }
        let args = vec![script.as_str(), &asked];
        let said = self
            .run(workshop, args, environment, OVERHEAD_LIMIT, &mut |_| ())
            .await?;
        serde_json::from_str(&said.output).map_err(|_| MachineProofError::StrangePython {
            python: self.python.clone(),
            said: match said.fault(OVERHEAD_LIMIT) {
                Some(fault) => said.with_last(fault),
                None => said.last,
            },
        })
    }

    /// The GPUs as the driver tells them; none when it tells nothing, for then torch's word is all there is.
    async fn gpus(&self, workshop: &Workshop) -> Result<Vec<MachineGpu>, MachineProofError> {
        let home = workshop.home();
        let program = Program {
            name: Utf8Path::new("nvidia-smi"),
            args: machine::ARGUMENTS.to_vec(),
            environment: self.environment(workshop),
            folder: &home,
        };
        let mut text = String::new();
        let mut heard = |stream, line: &[u8]| {
            if stream == Stream::Output {
                text.push_str(&String::from_utf8_lossy(line));
                text.push('\n');
            }
        };
        let res = process::run(&program, DRIVER_LIMIT, &self.stop.stop, &mut heard).await;
        let fault = match res {
            Ok(Ending::Stopped) => return Err(MachineProofError::Stopped),
            Ok(Ending::Exited(status)) if status.success() => match parse_machine_gpus(&text) {
                Ok(gpus) => return Ok(gpus),
                Err(error) => chain(&error),
            },
            Ok(Ending::Exited(status)) => status.to_string(),
            Ok(Ending::TimedOut) => format!("no answer in {}s", DRIVER_LIMIT.as_secs()),
            Err(error) => error.to_string(),
        };
        tracing::debug!(error = %fault, "no driver told");
        Ok(Vec::new())
    }

    async fn install(
        &self,
        workshop: &Workshop,
        subject: &MachineSubject,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Check, MachineProofError> {
        let site = workshop.site();
        let wheel = absolute(&subject.wheel)?;
        let args = vec![
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--no-cache-dir",
            "--target",
            site.as_str(),
            wheel.as_str(),
        ];
        let environment = self.environment(workshop);
        let said = self
            .run(workshop, args, environment, OVERHEAD_LIMIT, on_line)
            .await?;
        let name = "pip install";
        Ok(match said.fault(OVERHEAD_LIMIT) {
            None => {
                let (project, version) = (subject.name.project(), subject.name.full_version());
                Check::new(name, CheckResult::Pass, format!("{project} {version}"))
            }
            Some(fault) => Check::new(name, CheckResult::Fail, said.with_last(fault)),
        })
    }

    /// Runs the package's test, with `more` in its environment.
    async fn test(
        &self,
        workshop: &Workshop,
        subject: &MachineSubject,
        more: &[(&str, &str)],
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Vec<Check>, MachineProofError> {
        let Some(test) = &subject.test else {
            return Ok(vec![no_test()]);
        };
        workshop.put("test.py", test)?;
        let script = workshop.proof("test.py");
        let environment = self.test_environment(workshop, more);
        let said = self
            .run(
                workshop,
                vec![script.as_str()],
                environment,
                self.limit,
                on_line,
            )
            .await?;
        let mut checks = said.reports.concat();
        // Exit code 1 is how a test says that a check failed.
        let has_failed = checks.iter().any(|check| check.result == CheckResult::Fail);
        if let Some(fault) = said.fault(self.limit)
            && !(has_failed && said.exit_code() == Some(1))
        {
            let detail = said.with_last(fault);
            checks.push(Check::new("test exit", CheckResult::Fail, detail));
        }
        if said.reports.is_empty() {
            checks.push(no_report());
        }
        Ok(checks)
    }

    /// The second run, unless torch itself cannot do without its machine code here.
    async fn ptx_run(
        &self,
        workshop: &Workshop,
        subject: &MachineSubject,
        mode: RunMode,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Run, MachineProofError> {
        // Without its cache the driver really compiles.
        let mut more = vec![("CUDA_CACHE_DISABLE", "1")];
        let started = Instant::now();
        if mode == RunMode::ForcedPtx {
            more.push(("CUDA_FORCE_PTX_JIT", "1"));
            if let Some(reason) = self.why_torch_cannot(workshop, &more).await? {
                return Ok(Run::not_made(mode, reason).took(milliseconds(started)));
            }
        }
        let checks = self.test(workshop, subject, &more, on_line).await?;
        // There is no second run without a GPU.
        Ok(Run::new(mode, checks, GpuPresence::Present).took(milliseconds(started)))
    }

    /// Why nothing can be said of the wheel with `more` in its environment: torch does not bear it.
    async fn why_torch_cannot(
        &self,
        workshop: &Workshop,
        more: &[(&str, &str)],
    ) -> Result<Option<String>, MachineProofError> {
        let environment = self.test_environment(workshop, more);
        let args = vec!["-c", CONTROL];
        let said = self
            .run(workshop, args, environment, self.limit, &mut |_| ())
            .await?;
        Ok(said.fault(self.limit).map(|fault| {
            format!(
                "torch's own kernels do not run with CUDA_FORCE_PTX_JIT=1 on this GPU, so the wheel's \
                 cannot be tried: {}",
                said.with_last(fault)
            )
        }))
    }

    fn environment(&self, workshop: &Workshop) -> BTreeMap<OsString, OsString> {
        clean_environment(&self.inherited, &workshop.home())
    }

    fn test_environment(
        &self,
        workshop: &Workshop,
        more: &[(&str, &str)],
    ) -> BTreeMap<OsString, OsString> {
        let mut environment = self.environment(workshop);
        environment.insert("PYTHONPATH".into(), workshop.python_path().into());
        environment.extend(more.iter().map(|(name, value)| (name.into(), value.into())));
        environment
    }

    async fn run(
        &self,
        workshop: &Workshop,
        args: Vec<&str>,
        environment: BTreeMap<OsString, OsString>,
        limit: Duration,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Said, MachineProofError> {
        let home = workshop.home();
        // A name is looked for in PATH; a path would be one from the folder that it runs in.
        let python = if self.python.as_str().contains('/') {
            absolute(&self.python)?
        } else {
            self.python.clone()
        };
        let program = Program {
            name: &python,
            args,
            environment,
            folder: &home,
        };
        let mut reports = Vec::new();
        let (mut output, mut last) = (String::new(), String::new());
        let mut heard = |stream, line: &[u8]| {
            let line = sanitise_line(line);
            match parse_report(&line) {
                Some(checks) if stream == Stream::Output => reports.push(checks),
                Some(_) | None => {
                    on_line(&line);
                    if !line.trim().is_empty() {
                        line.trim().clone_into(&mut last);
                    }
                }
            }
            if stream == Stream::Output {
                output = line;
            }
        };
        let res = process::run(&program, limit, &self.stop.stop, &mut heard).await;
        let ending = res.map_err(|source| self.not_started(source))?;
        if matches!(ending, Ending::Stopped) {
            return Err(MachineProofError::Stopped);
        }
        Ok(Said {
            ending,
            reports,
            output,
            last,
        })
    }

    fn not_started(&self, source: io::Error) -> MachineProofError {
        let python = self.python.clone();
        let is_none = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
        if is_none.contains(&source.kind()) {
            MachineProofError::NoPython { python }
        } else {
            MachineProofError::Run {
                what: python,
                source,
            }
        }
    }
}

/// The name of the wheel at `path`, taken apart.
pub fn wheel_name(path: &Utf8Path) -> Result<WheelName, MachineProofError> {
    let name = path.file_name().unwrap_or_default().parse();
    name.map_err(|source| MachineProofError::NoWheel {
        path: path.to_owned(),
        source,
    })
}

/// What is in the wheel, and its digest.
async fn read_wheel(path: Utf8PathBuf) -> Result<(WheelReport, Sha256Digest), MachineProofError> {
    let place = path.clone();
    let report = tokio::task::spawn_blocking(move || inspect_file(&place, judge::DEPTH))
        .await
        .expect("inspecting does not panic")
        .map_err(MachineProofError::Unreadable)?;
    let unsound = |finding: &&Finding| finding.rule == Rule::ArchiveUnsound;
    match (report.findings.iter().find(unsound), report.sha256) {
        (None, Some(sha256)) => Ok((report, sha256)),
        (finding, _) => Err(MachineProofError::Unsound {
            path,
            fault: finding.map_or("it is no archive".to_owned(), finding_line),
        }),
    }
}

/// The GPU as `nvidia-smi` has it, which numbers GPUs in its own order: the first that is of the kind
/// which torch sees.
fn device(seen: &TorchDevice, gpus: &[MachineGpu]) -> Device {
    let same =
        |gpu: &&MachineGpu| gpu.name == seen.name && gpu.capability.to_string() == seen.capability;
    let told = gpus.iter().find(same);
    Device {
        name: seen.name.clone(),
        capability: seen.capability.clone(),
        memory_bytes: told
            .and_then(|gpu| gpu.memory_bytes)
            .unwrap_or(seen.memory_bytes),
        driver: told.map(|gpu| gpu.driver.to_string()),
    }
}

/// Whether the Python and its torch are with the wheel what they were without. That they no longer tell is
/// the wheel's doing, for they did before.
fn torch_is_left_alone(
    before: &PythonFacts,
    after: Result<PythonFacts, MachineProofError>,
) -> Result<Check, MachineProofError> {
    let name = "torch is left alone";
    let told = |facts: &PythonFacts| match &facts.torch {
        Some(torch) => format!("torch {}", torch.version),
        None => facts.torch_error.clone().unwrap_or_default(),
    };
    let after = match after {
        Ok(after) => after,
        Err(MachineProofError::StrangePython { said, .. }) => {
            let said = if said.is_empty() {
                "nothing is said"
            } else {
                &said
            };
            let detail = format!(
                "it was {}, and Python does not tell with the wheel on its path: {said}",
                told(before)
            );
            return Ok(Check::new(name, CheckResult::Fail, detail));
        }
        Err(error) => return Err(error),
    };
    let same = after.torch == before.torch && after.torch_file == before.torch_file;
    let (result, detail) = if same {
        (CheckResult::Pass, told(before))
    } else {
        let place = after.torch_file.as_deref().unwrap_or("nowhere");
        let detail = format!(
            "it was {} and is {}, in {place}",
            told(before),
            told(&after)
        );
        (CheckResult::Fail, detail)
    };
    Ok(Check::new(name, result, detail))
}

/// How the second run goes, or why there is none.
fn ptx_plan(run: &Run, report: &WheelReport, device: Option<&Device>) -> Result<RunMode, String> {
    let Some(device) = device else {
        return Err("torch sees no GPU here".to_owned());
    };
    if run.state != RunState::Passed {
        let state = run.state.as_str();
        return Err(format!("the run as built is `{state}`"));
    }
    match device.capability.parse() {
        Ok(capability) => ptx_mode(report, capability),
        Err(error) => Err(chain(&error)),
    }
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, MachineProofError> {
    let fault = |source| FileError::new("find", path, source);
    let absolute = std::path::absolute(path).map_err(fault)?;
    Ok(Utf8PathBuf::from_path_buf(absolute)
        .map_err(|_| fault(io::Error::other("the path to it is not UTF-8")))?)
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
