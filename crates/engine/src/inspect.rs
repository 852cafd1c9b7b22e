//! Opens wheels and modules, on this machine or elsewhere, so that the gate can read them.

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::process::Output;

use camino::Utf8Path;
use fs_err as fs;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::fatbin::Depth;
use wheelfarm_core::gate::inspect::{
    InspectOptions, Reading, WheelReport, inspect_module_file, inspect_wheel,
};
use wheelfarm_core::gpu::machine::{ARGUMENTS, MachineGpu, MachineGpuError, parse_machine_gpus};
use wheelfarm_core::read_at::SeekBytes;
use wheelfarm_core::source::RemoteUrl;
use wheelfarm_core::wheel::WheelCaps;
use wheelfarm_core::wheel::elf::ELF_MAGIC;

use crate::files::FileError;
use crate::remote::{RemoteClient, RemoteError, RemoteFile, RemoteProgress};
use crate::secrets;

/// Reads the wheel or module at `path`; which of the two it is, its first bytes tell.
pub fn inspect_file(path: &Utf8Path, depth: Depth) -> Result<WheelReport, FileError> {
    let failed = |error| FileError::new("read", path, error);
    let mut file = fs::File::open(path).map_err(|error| FileError::new("open", path, error))?;
    let mut head = Vec::new();
    (&mut file).take(4).read_to_end(&mut head).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let name = path.file_name().unwrap_or(path.as_str());
    if head == ELF_MAGIC {
        let mut source = SeekBytes::new(file).map_err(failed)?;
        return inspect_module_file(name, &mut source, depth).map_err(failed);
    }
    let options = InspectOptions {
        depth,
        reading: Reading::Whole,
        caps: WheelCaps::default(),
    };
    inspect_wheel(name, BufReader::with_capacity(256 << 10, file), &options).map_err(failed)
}

/// A remote wheel as far as it was read.
#[derive(Debug)]
pub struct RemoteReport {
    /// What it holds.
    pub report: WheelReport,
    /// How much of it came over the network.
    pub fetched_bytes: u64,
    /// How often the server was asked.
    pub requests: u64,
}

/// Reads the wheel at `url`: its directory, its metadata, and what has a library's name.
///
/// Not for a thread of the runtime: it blocks.
pub fn inspect_url(
    client: &RemoteClient,
    url: &RemoteUrl,
    depth: Depth,
    stop: CancellationToken,
    progress: impl Fn(RemoteProgress) + Send + Sync + 'static,
) -> Result<RemoteReport, RemoteError> {
    let mut file = client.open(url.clone(), stop, progress)?;
    let fault = RefCell::new(None);
    let reader = Noting {
        file: &mut file,
        fault: &fault,
    };
    let options = InspectOptions {
        depth,
        reading: Reading::ModulesByName,
        caps: WheelCaps::default(),
    };
    let name = url.file_name().unwrap_or_default();
    let res = inspect_wheel(&name, reader, &options);
    // A wheel that could not be fetched is not a wheel that is unsound.
    if let Some(fault) = fault.into_inner() {
        return Err(fault);
    }
    let report = res.map_err(|error| FileError::new("read", url.to_string(), error))?;
    Ok(RemoteReport {
        report,
        fetched_bytes: file.fetched_bytes(),
        requests: file.requests(),
    })
}

/// Keeps the first failure of a remote file, which what reads from it would take for a fault of
/// the wheel.
struct Noting<'a> {
    file: &'a mut RemoteFile,
    fault: &'a RefCell<Option<RemoteError>>,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| {
            let held = error
                .into_inner()
                .map(<dyn Error + Send + Sync>::downcast::<RemoteError>);
            if let Some(Ok(fault)) = held {
                self.fault.borrow_mut().get_or_insert(*fault);
            }
            io::Error::other("the rest of the remote file could not be fetched")
        })
    }
}

impl Seek for Noting<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Why the GPUs of this machine are not known.
#[derive(Debug, thiserror::Error)]
pub enum NoMachineGpu {
    /// There is no driver here, or its tools are not installed.
    #[error("failed to run `nvidia-smi`")]
    Run(#[source] io::Error),
    /// It ran, and failed.
    #[error("`nvidia-smi` failed: {0}")]
    Failed(String),
    /// What it says is not understood.
    #[error("failed to read what `nvidia-smi` says")]
    Unreadable(#[source] MachineGpuError),
}

impl NoMachineGpu {
    /// What to type.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Run(_) | Self::Failed(_) => {
                "say the GPU by its name or compute capability: `--gpu \"RTX 5090\"`, `--gpu 9.0`"
            }
            Self::Unreadable(error) => error.hint(),
        }
    }
}

/// The GPUs of this machine, as its driver tells them.
pub fn machine_gpus() -> Result<Vec<MachineGpu>, NoMachineGpu> {
    let output = secrets::command("nvidia-smi")
        .args(ARGUMENTS)
        .output()
        .map_err(NoMachineGpu::Run)?;
    machine_gpus_in(&output)
}

/// The GPUs that an answer of `nvidia-smi` tells.
pub(crate) fn machine_gpus_in(output: &Output) -> Result<Vec<MachineGpu>, NoMachineGpu> {
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = text.lines().next().unwrap_or("nothing is said").to_owned();
        return Err(NoMachineGpu::Failed(said));
    }
    parse_machine_gpus(&text).map_err(NoMachineGpu::Unreadable)
}
