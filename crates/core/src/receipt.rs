//! What running a wheel's own test leaves behind: checks, and the receipt of a run on a machine.
//!
//! A receipt is a versioned JSON file. Readers of schema 1 must accept keys they do not know; a
//! writer that takes a key away or changes its meaning raises the schema. It is a statement of who
//! made it, not a proof: nothing signs it.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::ident::{JobId, PackageName};
use crate::plan::JobDigest;

/// The schema of a receipt that this program writes, and the only one that it reads.
pub const SCHEMA: u32 = 1;

/// The name of the receipt beside a wheel on record.
pub const FILE_NAME: &str = "gpu-receipt.json";

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum CheckResult {
    /// It was made and held.
    #[serde(rename = "pass")]
    Pass,
    /// It was made and did not hold.
    #[serde(rename = "fail")]
    Fail,
    /// It could not be made here.
    #[serde(rename = "not checked")]
    NotChecked,
}

/// One check of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// What came of it.
    pub result: CheckResult,
    /// What was seen, error norms included.
    #[serde(default)]
    pub detail: String,
    /// Whether it is of the part that a GPU is needed for.
    #[serde(default)]
    pub gpu: bool,
}

impl Check {
    /// A check that no GPU is needed for.
    pub fn new(name: impl Into<String>, result: CheckResult, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            result,
            detail: detail.into(),
            gpu: false,
        }
    }
}

#[derive(Deserialize)]
struct TestReport {
    schema: u32,
    checks: Vec<Check>,
}

/// The checks that a line of a test's output reports: one JSON object of schema 1, as
/// `docs/packages.md` has it. `None` for every other line, for libraries print what they like.
pub fn parse_report(line: &str) -> Option<Vec<Check>> {
    let report: TestReport = serde_json::from_str(line).ok()?;
    (report.schema == 1).then_some(report.checks)
}

/// What a run of a wheel on a machine says of it on a GPU. What was not run never reads as passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// No check failed, and one that needs a GPU was made and held.
    Passed,
    /// A check failed.
    Failed,
    /// Nothing that needs a GPU was run.
    NotRun,
}

impl RunState {
    /// The state as people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotRun => "not run",
        }
    }
}

/// Whether torch sees a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuPresence {
    /// At least one.
    Present,
    /// None.
    Absent,
}

/// What GPU code a run is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RunMode {
    /// What the driver chooses, as users run it.
    AsBuilt,
    /// PTX, for the driver is told to pass over all machine code (`CUDA_FORCE_PTX_JIT=1`), torch's
    /// included, and has no cache (`CUDA_CACHE_DISABLE=1`).
    ForcedPtx,
    /// PTX, for the wheel has nothing else for the GPU; the driver has no cache.
    PtxOnly,
}

impl RunMode {
    /// Whether the driver compiles the wheel's kernels in the run.
    pub fn is_from_ptx(self) -> bool {
        match self {
            Self::AsBuilt => false,
            Self::ForcedPtx | Self::PtxOnly => true,
        }
    }
}

/// One run of a package's test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// What GPU code of the wheel it ran.
    pub mode: RunMode,
    /// What the checks come to.
    pub state: RunState,
    /// Why it is not passed.
    pub reason: Option<String>,
    /// The checks in their order.
    pub checks: Vec<Check>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl Run {
    /// A run with these checks.
    pub fn new(mode: RunMode, checks: Vec<Check>, gpu: GpuPresence) -> Self {
        let (state, reason) = state_of(&checks, gpu);
        Self {
            mode,
            state,
            reason,
            checks,
            elapsed_ms: 0,
        }
    }

    /// A run that was not made, and why.
    pub fn not_made(mode: RunMode, reason: impl Into<String>) -> Self {
        Self {
            mode,
            state: RunState::NotRun,
            reason: Some(reason.into()),
            checks: Vec::new(),
            elapsed_ms: 0,
        }
    }

    /// The same with its time, in milliseconds.
    #[must_use]
    pub fn took(self, elapsed_ms: u64) -> Self {
        Self { elapsed_ms, ..self }
    }
}

/// What checks come to, and why that is not `passed`.
fn state_of(checks: &[Check], gpu: GpuPresence) -> (RunState, Option<String>) {
    let first = |wanted, on_gpu: bool| {
        let is = move |check: &&Check| check.result == wanted && (check.gpu || !on_gpu);
        checks.iter().find(is)
    };
    if let Some(check) = first(CheckResult::Fail, false) {
        let reason = format!("{}: {}", check.name, check.detail);
        return (RunState::Failed, Some(reason));
    }
    let not_run = |reason: &str| (RunState::NotRun, Some(reason.to_owned()));
    match (first(CheckResult::Pass, true), gpu) {
        (Some(_), GpuPresence::Present) => (RunState::Passed, None),
        (Some(_), GpuPresence::Absent) => {
            not_run("the test says that it ran on a GPU, and torch sees none")
        }
        (None, _) => match first(CheckResult::NotChecked, true) {
            Some(check) => not_run(&format!("{}: {}", check.name, check.detail)),
            None => not_run("no check of the test is one for a GPU"),
        },
    }
}

/// The wheel that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WheelSubject {
    /// Its name.
    pub file_name: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// A job that made exactly this wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JobSubject {
    /// Its id.
    pub id: JobId,
    /// Its digest.
    pub digest: JobDigest,
}

/// A GPU as torch has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TorchDevice {
    /// Its name.
    pub name: String,
    /// Its compute capability: `9.0`.
    pub capability: String,
    /// Its memory.
    pub memory_bytes: u64,
}

/// The torch that the wheel was run with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TorchFacts {
    /// What it says of itself: `2.11.0+cu130`.
    pub version: String,
    /// The CUDA that it was built with; `None` without one.
    pub cuda: Option<String>,
    /// The GPUs that it sees, in its order.
    pub devices: Vec<TorchDevice>,
}

/// The GPU that the test ran on: the first that torch sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Device {
    /// Its name: `NVIDIA H200`.
    pub name: String,
    /// Its compute capability: `9.0`.
    pub capability: String,
    /// Its memory as the driver tells it, else as torch does.
    pub memory_bytes: u64,
    /// The driver; `None` when `nvidia-smi` did not tell.
    pub driver: Option<String>,
}

/// The machine. Its name and its user are nobody's business and not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostFacts {
    /// The operating system's name for itself.
    pub os: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// The C library of the Python: `2.36`; `None` when it is not glibc.
    pub glibc: Option<String>,
    /// The processor's architecture: `x86_64`.
    pub machine: String,
}

/// A run of one wheel's test on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MachineReceipt {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// What the runs come to.
    pub state: RunState,
    /// Why that is not passed.
    pub reason: Option<String>,
    /// The wheel.
    pub wheel: WheelSubject,
    /// The jobs on record that made it; none when no record was at hand.
    pub jobs: Vec<JobSubject>,
    /// The package whose test ran.
    pub package: PackageName,
    /// The digest of that test; `None` when the package has none.
    pub test_sha256: Option<Sha256Digest>,
    /// The Python that ran it: `CPython 3.12.3`.
    pub python: String,
    /// The torch.
    pub torch: TorchFacts,
    /// The GPU; `None` where torch sees none.
    pub device: Option<Device>,
    /// The run as users run it, and the one with PTX alone if it was asked for.
    pub runs: Vec<Run>,
    /// The machine.
    pub host: HostFacts,
    /// When it was made, RFC 3339 in UTC.
    pub proved_at: String,
    /// This program's version.
    pub wheelfarm: String,
}

/// A receipt cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The text is not a receipt.
    #[error("failed to read the receipt")]
    Malformed(#[source] serde_json::Error),
    /// It was written by another version of this program.
    #[error("the receipt has schema {found}, and this program reads {SCHEMA}")]
    OtherSchema {
        /// What it says.
        found: u64,
    },
    /// It says more than its checks do.
    #[error("the receipt says `{said}`, and its checks come to `{found}`")]
    Contradiction {
        /// Its state.
        said: &'static str,
        /// The state of its checks.
        found: &'static str,
    },
    /// Nobody could tell whether it is the later of two.
    #[error("`proved_at` is `{said}`, and not a time in UTC such as `2026-11-21T09:30:00Z`")]
    NoTime {
        /// What stands there.
        said: String,
    },
}

/// What runs come to: a failure of any is one; else the run as users run it decides.
pub fn verdict(runs: &[Run]) -> (RunState, Option<String>) {
    let failed = runs.iter().find(|run| run.state == RunState::Failed);
    match failed.or(runs.first()) {
        Some(run) if run.mode.is_from_ptx() => {
            let reason = run.reason.as_deref().unwrap_or_default();
            (run.state, Some(format!("from PTX alone: {reason}")))
        }
        Some(run) => (run.state, run.reason.clone()),
        None => (RunState::NotRun, Some("nothing was run".to_owned())),
    }
}

impl MachineReceipt {
    /// Reads a receipt, and holds what it says against its checks.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(ReceiptError::Malformed)?;
        let found = value.get("schema").and_then(serde_json::Value::as_u64);
        if found != Some(u64::from(SCHEMA)) {
            return Err(ReceiptError::OtherSchema {
                found: found.unwrap_or(0),
            });
        }
        let receipt: Self = serde_json::from_value(value).map_err(ReceiptError::Malformed)?;
        receipt.hold_against_its_checks()?;
        if !is_utc(&receipt.proved_at) {
            let said = receipt.proved_at;
            return Err(ReceiptError::NoTime { said });
        }
        Ok(receipt)
    }

    fn hold_against_its_checks(&self) -> Result<(), ReceiptError> {
        let gpu = match self.device {
            Some(_) => GpuPresence::Present,
            None => GpuPresence::Absent,
        };
        let again = |run: &Run| Run::new(run.mode, run.checks.clone(), gpu);
        let runs: Vec<Run> = self.runs.iter().map(again).collect();
        let said = self.runs.iter().map(|run| run.state);
        let found = runs.iter().map(|run| run.state);
        let mut pairs = said.zip(found).chain([(self.state, verdict(&runs).0)]);
        match pairs.find(|(said, found)| said != found) {
            None => Ok(()),
            Some((said, found)) => Err(ReceiptError::Contradiction {
                said: said.as_str(),
                found: found.as_str(),
            }),
        }
    }

    /// Writes a receipt: sorted keys, a newline at the end.
    pub fn to_text(&self) -> String {
        // Through a Value, whose maps are sorted, so that the order of the fields above is free.
        let value = serde_json::to_value(self).expect("plain texts and numbers serialise");
        format!("{value:#}\n")
    }

    /// What the run with PTX alone came to, if it was asked for.
    pub fn ptx_jit(&self) -> Option<&Run> {
        self.runs.iter().find(|run| run.mode.is_from_ptx())
    }
}

/// Whether `text` is an RFC 3339 time with `Z`, whose order is that of its text but for the `Z`: with or
/// without a fraction, and nothing else.
fn is_utc(text: &str) -> bool {
    let Some((whole, fraction)) = text
        .strip_suffix('Z')
        .map(|time| time.split_once('.').unwrap_or((time, "0")))
    else {
        return false;
    };
    let is_digit = |character: char| character.is_ascii_digit();
    let shape = whole.replace(is_digit, "0");
    shape == "0000-00-00T00:00:00" && !fraction.is_empty() && fraction.chars().all(is_digit)
}

/// The receipt beside a wheel, as its manifest knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceiptFile {
    /// Its name.
    pub file_name: String,
    /// The digest of its text.
    pub sha256: Sha256Digest,
}

/// What a manifest says of runs of its wheel on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuRunRecord {
    /// What the last run came to.
    pub state: RunState,
    /// Why that is not passed.
    pub reason: Option<String>,
    /// The GPU.
    pub device: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// What the run with PTX alone came to, if it was asked for.
    pub ptx_jit: Option<RunState>,
    /// When it was, RFC 3339 in UTC; `None` without a run, and absent in a record from before this was
    /// kept.
    #[serde(default)]
    pub proved_at: Option<String>,
    /// The receipt; `None` when there is none.
    pub receipt: Option<ReceiptFile>,
}

/// Why a receipt does not take the place of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// What is there ran on a GPU.
    #[error("what is there ran on a GPU, and this did not")]
    SaysLess,
    /// What is there is later.
    #[error("what is there is of {there}, and this is of {given}, which is earlier")]
    Older {
        /// The time of what is there.
        there: String,
        /// The time of the other.
        given: String,
    },
    /// What is there failed elsewhere, and nothing else than a run there can say that it no longer does.
    #[error("what is there failed on {there}, and this ran on {given}")]
    OtherDevice {
        /// The GPU of what is there.
        there: String,
        /// The GPU of the other.
        given: String,
    },
}

impl Stays {
    /// Whether what is kept back says something of the wheel that the record does not.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::SaysLess => false,
            Self::Older { .. } | Self::OtherDevice { .. } => true,
        }
    }
}

impl GpuRunRecord {
    /// What a build says of the wheel that it made.
    pub fn not_run() -> Self {
        Self {
            state: RunState::NotRun,
            reason: Some("no GPU was lent since it was built".to_owned()),
            device: None,
            driver: None,
            ptx_jit: None,
            proved_at: None,
            receipt: None,
        }
    }

    /// What `receipt`, whose text is `text`, says.
    pub fn of(receipt: &MachineReceipt, text: &str) -> Self {
        let device = receipt.device.as_ref();
        // The receipt has all of it: a trace of a library is many lines.
        let reason = receipt.reason.as_ref().and_then(|text| text.lines().next());
        Self {
            state: receipt.state,
            reason: reason.map(str::to_owned),
            device: device.map(|device| device.name.clone()),
            driver: device.and_then(|device| device.driver.clone()),
            ptx_jit: receipt.ptx_jit().map(|run| run.state),
            proved_at: Some(receipt.proved_at.clone()),
            receipt: Some(ReceiptFile {
                file_name: FILE_NAME.to_owned(),
                sha256: Sha256Digest::of(text.as_bytes()),
            }),
        }
    }

    /// Whether it goes on record in the place of `old`, or why not: what nothing was run for on a GPU has
    /// nothing to say against a run on one, what is earlier nothing against what is later, and what did
    /// not fail nothing against a failure on another GPU. A time that was not kept counts as earlier.
    pub fn replaces(&self, old: Option<&Self>) -> Result<(), Stays> {
        let Some(old) = old else {
            return Ok(());
        };
        if old.is_of_a_gpu() && !self.is_of_a_gpu() {
            return Err(Stays::SaysLess);
        }
        if old.state == RunState::NotRun && self.state != RunState::NotRun {
            return Ok(());
        }
        if let (Some(there), Some(given)) = (&old.proved_at, &self.proved_at)
            && order_of(given) < order_of(there)
        {
            let (there, given) = (there.clone(), given.clone());
            return Err(Stays::Older { there, given });
        }
        let refutes = self.state == RunState::Failed || self.device == old.device;
        if old.state == RunState::Failed && !refutes {
            let (there, given) = (old.place(), self.place());
            return Err(Stays::OtherDevice { there, given });
        }
        Ok(())
    }

    fn place(&self) -> String {
        match &self.device {
            Some(name) => format!("`{name}`"),
            None => "a machine without a GPU".to_owned(),
        }
    }

    fn is_of_a_gpu(&self) -> bool {
        self.device.is_some() && self.state != RunState::NotRun
    }

    /// A line for people: `NVIDIA H200, driver 580.159.03, passed`.
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.device.clone());
        parts.extend(self.driver.iter().map(|driver| format!("driver {driver}")));
        parts.push(match &self.reason {
            Some(reason) => format!("{} ({reason})", self.state.as_str()),
            None => self.state.as_str().to_owned(),
        });
        if let (RunState::Passed | RunState::Failed, Some(ptx)) = (self.state, self.ptx_jit) {
            parts.push(format!("its PTX alone {}", ptx.as_str()));
        }
        parts.join(", ")
    }
}

/// A text that sorts as its time does: `00Z` is before `00.5Z`, and the letter comes after the point.
fn order_of(time: &str) -> &str {
    time.strip_suffix('Z').unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(result: CheckResult, gpu: bool) -> Check {
        Check {
            gpu,
            ..Check::new("numbers", result, "seen")
        }
    }

    #[track_caller]
    fn comes_to(checks: &[Check], gpu: GpuPresence, want: (RunState, Option<&str>)) {
        let run = Run::new(RunMode::AsBuilt, checks.to_vec(), gpu);
        assert_eq!((run.state, run.reason.as_deref()), want);
    }

    #[test]
    fn only_a_check_on_a_gpu_makes_a_run_pass() {
        use CheckResult::{Fail, NotChecked, Pass};
        use GpuPresence::{Absent, Present};
        let (cpu, gpu) = (check(Pass, false), check(Pass, true));
        comes_to(
            &[cpu.clone(), gpu.clone()],
            Present,
            (RunState::Passed, None),
        );
        comes_to(
            &[gpu.clone(), check(Fail, false)],
            Present,
            (RunState::Failed, Some("numbers: seen")),
        );
        comes_to(
            &[cpu.clone(), check(NotChecked, true)],
            Present,
            (RunState::NotRun, Some("numbers: seen")),
        );
        comes_to(
            &[cpu],
            Present,
            (
                RunState::NotRun,
                Some("no check of the test is one for a GPU"),
            ),
        );
        comes_to(
            &[gpu],
            Absent,
            (
                RunState::NotRun,
                Some("the test says that it ran on a GPU, and torch sees none"),
            ),
        );
        comes_to(
            &[],
            Absent,
            (
                RunState::NotRun,
                Some("no check of the test is one for a GPU"),
            ),
        );
    }

    #[test]
    fn a_failure_of_any_run_is_one_and_ptx_alone_makes_nothing_pass() {
        let pass = Run::new(
            RunMode::AsBuilt,
            vec![check(CheckResult::Pass, true)],
            GpuPresence::Present,
        );
        let ptx = |result| {
            Run::new(
                RunMode::ForcedPtx,
                vec![check(result, true)],
                GpuPresence::Present,
            )
        };
        let not_made = Run::not_made(RunMode::ForcedPtx, "the wheel holds no PTX");
        assert_eq!(verdict(&[pass.clone(), not_made]).0, RunState::Passed);
        assert_eq!(
            verdict(&[pass, ptx(CheckResult::Fail)]),
            (
                RunState::Failed,
                Some("from PTX alone: numbers: seen".to_owned())
            )
        );
        let not_run = Run::not_made(RunMode::AsBuilt, "no GPU");
        assert_eq!(
            verdict(&[not_run, ptx(CheckResult::Pass)]).0,
            RunState::NotRun
        );
        assert_eq!(verdict(&[]).0, RunState::NotRun);
    }

    #[test]
    fn a_report_is_one_line_of_schema_1() {
        let line = "{\"schema\":1,\"checks\":[{\"name\":\"x\",\"result\":\"not checked\"}]}";
        let checks = parse_report(line).unwrap();
        assert_eq!(checks, [Check::new("x", CheckResult::NotChecked, "")]);
        for other in [
            "",
            "text {",
            &line.replace('1', "2"),
            &line.replace("not checked", "passed"),
            "{\"schema\":1}",
        ] {
            assert_eq!(parse_report(other), None, "{other}");
        }
    }

    pub(crate) fn receipt() -> MachineReceipt {
        let runs = vec![
            Run::new(
                RunMode::AsBuilt,
                vec![check(CheckResult::Pass, true)],
                GpuPresence::Present,
            )
            .took(900),
            Run::not_made(RunMode::ForcedPtx, "the wheel holds no PTX"),
        ];
        let (state, reason) = verdict(&runs);
        MachineReceipt {
            schema: SCHEMA,
            state,
            reason,
            wheel: WheelSubject {
                file_name: "demo-1.0-py3-none-any.whl".to_owned(),
                sha256: Sha256Digest::of(b"a wheel"),
                size_bytes: 7,
            },
            jobs: Vec::new(),
            package: "demo".parse().unwrap(),
            test_sha256: None,
            python: "CPython 3.12.3".to_owned(),
            torch: TorchFacts {
                version: "2.11.0+cu130".to_owned(),
                cuda: Some("13.0".to_owned()),
                devices: Vec::new(),
            },
            device: Some(Device {
                name: "NVIDIA H200".to_owned(),
                capability: "9.0".to_owned(),
                memory_bytes: 150_754_820_096,
                driver: Some("580.159.03".to_owned()),
            }),
            runs,
            host: HostFacts {
                os: None,
                kernel: "6.1.0".to_owned(),
                glibc: Some("2.36".to_owned()),
                machine: "x86_64".to_owned(),
            },
            proved_at: "2026-11-21T00:00:00Z".to_owned(),
            wheelfarm: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_receipt_comes_back_as_it_was_written() {
        let receipt = receipt();
        let text = receipt.to_text();
        assert_eq!(MachineReceipt::parse(&text).unwrap(), receipt);
        let newer = text.replace("\"schema\": 1", "\"schema\": 2, \"more\": 1");
        let error = MachineReceipt::parse(&newer).unwrap_err().to_string();
        assert!(error.contains("schema 2"), "{error}");
    }

    #[test]
    fn a_receipt_that_says_more_than_its_checks_is_refused() {
        let told = |change: fn(&mut MachineReceipt)| {
            let mut receipt = receipt();
            change(&mut receipt);
            match MachineReceipt::parse(&receipt.to_text()) {
                Ok(_) => "taken".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        insta::assert_snapshot!(
            [
                told(|_| ()),
                told(|receipt| receipt.runs[0].checks[0].result = CheckResult::Fail),
                told(|receipt| receipt.runs[0].checks[0].gpu = false),
                told(|receipt| receipt.device = None),
                told(|receipt| receipt.runs.clear()),
            ]
            .join("\n"),
            @r"
        taken
        the receipt says `passed`, and its checks come to `failed`
        the receipt says `passed`, and its checks come to `not run`
        the receipt says `passed`, and its checks come to `not run`
        the receipt says `passed`, and its checks come to `not run`
        "
        );
    }

    #[test]
    fn what_a_manifest_says_of_a_run() {
        let mut receipt = receipt();
        let record = |receipt: &MachineReceipt| GpuRunRecord::of(receipt, &receipt.to_text());
        let passed = record(&receipt);
        receipt.state = RunState::Failed;
        receipt.reason = Some("numbers: off by 3\n  in line 4".to_owned());
        receipt.runs.truncate(1);
        let failed = record(&receipt);
        let not_run = GpuRunRecord::not_run();
        insta::assert_snapshot!(
            [&passed, &failed, &not_run].map(GpuRunRecord::line).join("\n"),
            @r"
        NVIDIA H200, driver 580.159.03, passed, its PTX alone not run
        NVIDIA H200, driver 580.159.03, failed (numbers: off by 3)
        not run (no GPU was lent since it was built)
        "
        );
    }

    /// A record of a run at `09:SECONDS` on a GPU, or none with an empty name.
    fn record(state: RunState, device: &str, seconds: &str) -> GpuRunRecord {
        GpuRunRecord {
            state,
            device: (!device.is_empty()).then(|| device.to_owned()),
            proved_at: Some(format!("2026-11-21T09:00:{seconds}Z")),
            ..GpuRunRecord::not_run()
        }
    }

    #[track_caller]
    fn takes_the_place(new: &GpuRunRecord, old: &GpuRunRecord, want: &str) {
        let told = match new.replaces(Some(old)) {
            Ok(()) => "it does".to_owned(),
            Err(stays) => stays.to_string(),
        };
        assert_eq!(told, want);
    }

    #[test]
    fn what_was_not_run_on_a_gpu_says_less_than_what_was() {
        use RunState::{Failed, NotRun, Passed};
        let less = "what is there ran on a GPU, and this did not";
        let never = GpuRunRecord::not_run();
        assert_eq!(never.replaces(None), Ok(()));
        for state in [Passed, Failed] {
            let there = record(state, "H200", "00");
            takes_the_place(&never, &there, less);
            takes_the_place(&record(NotRun, "", "01"), &there, less);
            takes_the_place(&record(NotRun, "H200", "01"), &there, less);
            takes_the_place(&record(Failed, "", "01"), &there, less);
            for there in [&never, &record(NotRun, "", "01")] {
                takes_the_place(&record(state, "H200", "00"), there, "it does");
                takes_the_place(&record(Failed, "", "00"), there, "it does");
            }
        }
        takes_the_place(&never, &never, "it does");
    }

    #[test]
    fn what_is_earlier_takes_no_place() {
        use RunState::{Failed, NotRun, Passed};
        let runs = [
            (Failed, Passed, "H200"),
            (Passed, Failed, "H200"),
            (Passed, Passed, "H200"),
            (NotRun, NotRun, ""),
        ];
        for (old, new, device) in runs {
            // A text that is not cut before its `Z` would have the fraction first.
            for (early, late) in [("00", "00.5"), ("00.25", "00.5"), ("09.9", "10")] {
                let (early, late) = (record(new, device, early), record(old, device, late));
                let told = early.replaces(Some(&late)).unwrap_err();
                assert!(matches!(told, Stays::Older { .. }), "{told}");
                takes_the_place(&late, &early, "it does");
            }
            let (again, there) = (record(new, device, "00"), record(old, device, "00"));
            takes_the_place(&again, &there, "it does");
        }
        takes_the_place(
            &record(Passed, "H200", "00"),
            &record(Failed, "H200", "30"),
            "what is there is of 2026-11-21T09:00:30Z, and this is of 2026-11-21T09:00:00Z, which is \
             earlier",
        );
        let undated = GpuRunRecord {
            proved_at: None,
            ..record(Failed, "H200", "00")
        };
        takes_the_place(&record(Passed, "H200", "00"), &undated, "it does");
    }

    #[test]
    fn a_failure_on_another_gpu_stays() {
        use RunState::{Failed, NotRun, Passed};
        let failed = record(Failed, "L4", "00");
        let stays = "what is there failed on `L4`, and this ran on `H200`";
        takes_the_place(&record(Passed, "H200", "01"), &failed, stays);
        takes_the_place(&record(Passed, "L4", "01"), &failed, "it does");
        takes_the_place(&record(Failed, "H200", "01"), &failed, "it does");
        let passed = record(Passed, "L4", "00");
        takes_the_place(&record(Passed, "H200", "01"), &passed, "it does");

        let failed = record(Failed, "", "00");
        let stays = "what is there failed on a machine without a GPU, and this ran on `H200`";
        for state in [Passed, NotRun] {
            takes_the_place(&record(state, "H200", "01"), &failed, stays);
        }
        takes_the_place(&record(NotRun, "", "01"), &failed, "it does");
    }

    #[test]
    fn a_record_from_before_its_time_was_kept_can_be_read() {
        let mut old = serde_json::to_value(record(RunState::Failed, "L4", "00")).unwrap();
        old.as_object_mut().unwrap().remove("proved_at");
        let read: GpuRunRecord = serde_json::from_value(old).unwrap();
        assert_eq!((read.device.as_deref(), read.proved_at), (Some("L4"), None));
    }

    #[test]
    fn a_receipt_without_a_time_in_utc_is_refused() {
        for (time, is_taken) in [
            ("2026-11-21T09:30:00Z", true),
            ("2026-11-21T09:30:00.012Z", true),
            ("2026-11-21T09:30:00.Z", false),
            ("2026-11-21T09:30:00", false),
            ("2026-11-21T09:30:00+02:00", false),
            ("2026-11-21 09:30:00Z", false),
            ("12026-11-21T09:30:00Z", false),
            ("yesterday", false),
            ("", false),
        ] {
            let text = MachineReceipt {
                proved_at: time.to_owned(),
                ..receipt()
            }
            .to_text();
            let res = MachineReceipt::parse(&text);
            assert_eq!(res.is_ok(), is_taken, "{time}: {res:?}");
        }
    }
}
