//! Opens wheels and modules that lie on this machine, so that the gate can read them.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::process::Command;

use camino::Utf8Path;
use fs_err as fs;
use wheelfarm_core::fatbin::Depth;
use wheelfarm_core::gate::inspect::{
    InspectOptions, Reading, WheelReport, inspect_module_file, inspect_wheel,
};
use wheelfarm_core::gpu::machine::{ARGUMENTS, MachineGpu, MachineGpuError, parse_machine_gpus};
use wheelfarm_core::read_at::SeekBytes;
use wheelfarm_core::wheel::WheelCaps;
use wheelfarm_core::wheel::elf::ELF_MAGIC;

use crate::files::FileError;

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

/// Why the GPUs of this machine are not known.
#[derive(Debug, thiserror::Error)]
pub enum NoMachineGpu {
    /// There is no driver here, or its tools are not installed.
    #[error("failed to run `nvidia-smi`")]
    Run(#[source] std::io::Error),
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
    let output = Command::new("nvidia-smi")
        .args(ARGUMENTS)
        .output()
        .map_err(NoMachineGpu::Run)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = text.lines().next().unwrap_or("nothing is said").to_owned();
        return Err(NoMachineGpu::Failed(said));
    }
    parse_machine_gpus(&text).map_err(NoMachineGpu::Unreadable)
}
