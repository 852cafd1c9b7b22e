//! The GPUs of a machine, out of what `nvidia-smi` says; it is run elsewhere.

use serde::Serialize;

use super::capability::Capability;
use super::driver::Driver;

/// What `nvidia-smi` is asked.
pub const ARGUMENTS: [&str; 2] = [
    "--query-gpu=name,compute_cap,driver_version,memory.total",
    "--format=csv,noheader",
];

/// One GPU of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineGpu {
    /// Its name as the driver has it: `NVIDIA H200`.
    pub name: String,
    /// Its compute capability.
    pub capability: Capability,
    /// The machine's driver.
    pub driver: Driver,
    /// Its memory; `None` where it shares the machine's and the driver tells none.
    pub memory_bytes: Option<u64>,
}

/// Why the GPUs of a machine are not known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineGpuError {
    /// It lists none.
    #[error("`nvidia-smi` lists no GPU")]
    None,
    /// The driver is too old to tell compute capabilities.
    #[error("`nvidia-smi` of this driver does not tell compute capabilities")]
    NoCapabilities,
    /// A line has not the four fields that were asked for.
    #[error("`nvidia-smi` says `{line}`, which is no GPU")]
    Line {
        /// The line.
        line: String,
    },
    /// A field is not given, or not a version.
    #[error("`nvidia-smi` gives `{text}` as the {field} of `{name}`")]
    Field {
        /// The GPU.
        name: String,
        /// Which field.
        field: &'static str,
        /// What stands there, `[N/A]`.
        text: String,
    },
}

impl MachineGpuError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::None | Self::Line { .. } => "see what `nvidia-smi -L` says on this machine",
            Self::NoCapabilities | Self::Field { .. } => {
                "say the GPU by its name or compute capability: `H200`, `9.0`"
            }
        }
    }
}

/// Reads the answer to [`ARGUMENTS`], one GPU a line, in the order of the machine.
pub fn parse_machine_gpus(text: &str) -> Result<Vec<MachineGpu>, MachineGpuError> {
    if text.contains("\"compute_cap\" is not a valid field") {
        return Err(MachineGpuError::NoCapabilities);
    }
    if text.contains("No devices were found") {
        return Err(MachineGpuError::None);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let gpus: Vec<_> = lines.map(parse_line).collect::<Result<_, _>>()?;
    if gpus.is_empty() {
        return Err(MachineGpuError::None);
    }
    Ok(gpus)
}

fn parse_line(line: &str) -> Result<MachineGpu, MachineGpuError> {
    // From the right: a name may hold anything.
    let mut fields = line.rsplitn(4, ',').map(str::trim);
    let (Some(memory), Some(driver), Some(capability), Some(name)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(MachineGpuError::Line {
            line: line.to_owned(),
        });
    };
    let fault = |field, text: &str| MachineGpuError::Field {
        name: name.to_owned(),
        field,
        text: text.to_owned(),
    };
    Ok(MachineGpu {
        name: name.to_owned(),
        capability: capability
            .parse()
            .map_err(|_| fault("compute capability", capability))?,
        driver: driver.parse().map_err(|_| fault("driver", driver))?,
        memory_bytes: if memory.starts_with('[') {
            None
        } else {
            Some(parse_mib(memory).ok_or_else(|| fault("memory", memory))?)
        },
    })
}

/// `143771 MiB` in bytes.
fn parse_mib(text: &str) -> Option<u64> {
    let mib: u64 = text.strip_suffix(" MiB")?.parse().ok()?;
    mib.checked_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match parse_machine_gpus(text) {
            Ok(gpus) => {
                let line = |gpu: MachineGpu| {
                    let memory = gpu.memory_bytes.map_or("-".to_owned(), |b| b.to_string());
                    let (name, capability, driver) = (gpu.name, gpu.capability, gpu.driver);
                    format!("{name} | {capability} | {driver} | {memory}")
                };
                gpus.into_iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Err(error) => format!("{error}\n  hint: {}", error.hint()),
        }
    }

    #[test]
    fn gpus_are_read_in_order() {
        insta::assert_snapshot!(
            told(
                "NVIDIA H200, 9.0, 570.86.10, 143771 MiB\n\
                 NVIDIA GeForce RTX 5090, 12.0, 570.86.10, 32607 MiB\r\n\n"
            ),
            @r"
        NVIDIA H200 | 9.0 | 570.86.10 | 150754820096
        NVIDIA GeForce RTX 5090 | 12.0 | 570.86.10 | 34190917632
        "
        );
        insta::assert_snapshot!(
            told("Odd, Name, 8.6, 580.65.06, [N/A]"),
            @"Odd, Name | 8.6 | 580.65.06 | -"
        );
    }

    #[test]
    fn what_is_not_given_is_an_error() {
        let texts = [
            "",
            "\n",
            "No devices were found\n",
            "Field \"compute_cap\" is not a valid field to query.\n",
            "Orin (nvgpu), [N/A], 540.4.0, [N/A]\n",
            "NVIDIA H200, 9.0, [N/A], 143771 MiB\n",
            "NVIDIA H200, [Unknown Error], 570.86.10, 143771 MiB\n",
            "NVIDIA H200, 9.0, 570.86.10, much\n",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        ];
        insta::assert_snapshot!(texts.map(told).join("\n"), @r"
        `nvidia-smi` lists no GPU
          hint: see what `nvidia-smi -L` says on this machine
        `nvidia-smi` lists no GPU
          hint: see what `nvidia-smi -L` says on this machine
        `nvidia-smi` lists no GPU
          hint: see what `nvidia-smi -L` says on this machine
        `nvidia-smi` of this driver does not tell compute capabilities
          hint: say the GPU by its name or compute capability: `H200`, `9.0`
        `nvidia-smi` gives `[N/A]` as the compute capability of `Orin (nvgpu)`
          hint: say the GPU by its name or compute capability: `H200`, `9.0`
        `nvidia-smi` gives `[N/A]` as the driver of `NVIDIA H200`
          hint: say the GPU by its name or compute capability: `H200`, `9.0`
        `nvidia-smi` gives `[Unknown Error]` as the compute capability of `NVIDIA H200`
          hint: say the GPU by its name or compute capability: `H200`, `9.0`
        `nvidia-smi` gives `much` as the memory of `NVIDIA H200`
          hint: say the GPU by its name or compute capability: `H200`, `9.0`
        `nvidia-smi` says `NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.`, which is no GPU
          hint: see what `nvidia-smi -L` says on this machine
        ");
    }
}
