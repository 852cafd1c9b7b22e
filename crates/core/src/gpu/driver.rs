//! Versions of drivers and of PTX, and which driver is needed for what.
//!
//! The numbers are those of Linux drivers. A Tegra's driver comes with its system and is numbered
//! otherwise, so no number is given for one.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::capability::Capability;
use super::table::{self, Platform};
use crate::version::CudaVersion;

/// A driver version: `575.51.03`, or a branch, `580`.
///
/// It is compared by its numbers and shown as NVIDIA writes it, zeros included.
#[derive(Debug, Clone)]
pub struct Driver {
    numbers: [u16; 3],
    text: String,
}

/// The text is not a driver version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a driver version")]
pub struct DriverError {
    text: String,
}

impl FromStr for Driver {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut numbers = [0; 3];
            let mut parts = text.split('.');
            for (index, number) in numbers.iter_mut().enumerate() {
                match parts.next() {
                    Some(part) => *number = plain_number(part)?,
                    None if index > 0 => break,
                    None => return None,
                }
            }
            parts.next().is_none().then_some(numbers)
        };
        match parse() {
            Some(numbers) => Ok(Self {
                numbers,
                text: text.to_owned(),
            }),
            None => Err(DriverError {
                text: text.to_owned(),
            }),
        }
    }
}

/// Digits alone: `u16::from_str` takes a sign as well.
fn plain_number(text: &str) -> Option<u16> {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

impl PartialEq for Driver {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }
}

impl Eq for Driver {}

impl PartialOrd for Driver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Driver {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers)
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Driver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A version of the PTX ISA: `8.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PtxVersion {
    major: u16,
    minor: u16,
}

/// The text is not a version of the PTX ISA.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a PTX ISA version")]
pub struct PtxVersionError {
    text: String,
}

impl PtxVersion {
    /// From the header of a PTX image.
    pub fn from_header((major, minor): (u16, u16)) -> Self {
        Self { major, minor }
    }

    /// Major and minor, as in the header of a PTX image.
    pub(crate) fn parts(self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// What the compiler of a CUDA writes; `None` when the table does not have it.
    pub fn of_cuda(cuda: CudaVersion) -> Option<Self> {
        table::ptx_of_cuda(cuda)
    }

    /// The first CUDA whose compiler writes it and whose driver reads it; `None` when it is newer
    /// than the table.
    pub fn cuda(self) -> Option<CudaVersion> {
        table::cuda_of_ptx(self)
    }

    /// The least driver that compiles it; `None` when that is not known.
    pub fn driver(self) -> Option<Driver> {
        table::paired_driver(self.cuda()?).cloned()
    }
}

impl FromStr for PtxVersion {
    type Err = PtxVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self {
                major: plain_number(major)?,
                minor: plain_number(minor)?,
            })
        };
        parse().ok_or_else(|| PtxVersionError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for PtxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for PtxVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the numbers come from: of drivers released with a CUDA, and of minor version compatibility.
pub fn sources() -> [&'static str; 2] {
    table::driver_sources()
}

/// The Linux x86-64 driver that came with a CUDA; `None` when it is not known.
pub fn released_with(cuda: CudaVersion) -> Option<Driver> {
    table::paired_driver(cuda).cloned()
}

/// The least driver for programs of a CUDA with machine code for a GPU that the driver knows, by minor
/// version compatibility; `None` when it is not known.
pub fn least_for(cuda: CudaVersion) -> Option<Driver> {
    match cuda.major() {
        // Minor version compatibility began with CUDA 11.
        ..11 => table::paired_driver(cuda).cloned(),
        major => table::minor_compatibility(major).cloned(),
    }
}

/// The least driver for machine code: the first that knows the GPU, and one that runs programs of
/// `cuda`, the toolkit that a wheel is built with, by minor version compatibility.
///
/// `None` when one of the two is not known, and for a Tegra.
pub fn native_driver(gpu: Capability, cuda: Option<CudaVersion>) -> Option<Driver> {
    let gpu = table::of(gpu)?;
    match gpu.platform {
        Platform::Tegra => return None,
        Platform::Desktop => {}
    }
    let knows_gpu = released_with(gpu.first_cuda)?;
    match cuda {
        Some(cuda) => Some(knows_gpu.max(least_for(cuda)?)),
        None => Some(knows_gpu),
    }
}

/// The least driver that compiles PTX of version `ptx` for the GPU; `None` when it is not known.
///
/// Minor version compatibility does not help here: a driver refuses PTX that is newer than itself
/// (`CUDA_ERROR_UNSUPPORTED_PTX_VERSION`).
pub fn jit_driver(gpu: Capability, cuda: Option<CudaVersion>, ptx: PtxVersion) -> Option<Driver> {
    Some(native_driver(gpu, cuda)?.max(ptx.driver()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(text: &str) -> Driver {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(found: Option<Driver>, want: Option<&str>) {
        assert_eq!(found.map(|driver| driver.to_string()).as_deref(), want);
    }

    #[test]
    fn drivers_compare_by_number_and_show_as_written() {
        assert!(driver("580") < driver("580.65.06"));
        assert!(driver("570.26") < driver("570.124.06"));
        assert!(driver("565.57.01") < driver("570.26"));
        assert_eq!(driver("570.124.06").to_string(), "570.124.06");
        for bad in [
            "",
            ".",
            "570.",
            "570.1.2.3",
            "570.x",
            "+570",
            "[N/A]",
            "70000",
        ] {
            assert!(bad.parse::<Driver>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ptx_names_its_cuda_and_driver() {
        for (ptx, cuda, driver) in [
            ("6.3", "10.0", "410.48"),
            ("7.8", "11.8", "520.61.05"),
            ("8.4", "12.4", "550.54.14"),
            ("8.5", "12.5", "555.42.02"),
            ("8.6", "12.7", "565.57.01"),
            ("8.7", "12.8", "570.26"),
            ("9.2", "13.2", "595.45.04"),
            ("9.4", "13.4", "615"),
        ] {
            let ptx: PtxVersion = ptx.parse().unwrap();
            assert_eq!(ptx.cuda().unwrap().to_string(), cuda);
            check(ptx.driver(), Some(driver));
        }
    }

    #[test]
    fn ptx_newer_than_the_table_has_no_driver() {
        let ptx = PtxVersion::from_header((9, 5));
        assert_eq!(ptx.cuda().unwrap().to_string(), "13.5");
        check(ptx.driver(), None);
        assert_eq!(PtxVersion::from_header((9, 99)).cuda(), None);
        assert!("8".parse::<PtxVersion>().is_err());
    }

    #[track_caller]
    fn check_native(gpu: &str, cuda: Option<&str>, want: Option<&str>) {
        let cuda = cuda.map(|cuda| cuda.parse().unwrap());
        check(native_driver(gpu.parse().unwrap(), cuda), want);
    }

    #[test]
    fn machine_code_needs_a_driver_that_knows_the_gpu_and_the_cuda() {
        check_native("12.0", Some("12.8"), Some("570.26"));
        check_native("12.0", Some("13.0"), Some("580"));
        check_native("9.0", Some("12.8"), Some("525.60.13"));
        check_native("9.0", None, Some("520.61.05"));
        check_native("7.5", Some("11.8"), Some("450.80.02"));
        check_native("7.5", Some("10.2"), Some("440.33"));
        check_native("12.0", Some("14.0"), None);
        check_native("12.9", Some("12.8"), None);
        check_native("11.0", Some("13.0"), None);
    }

    #[test]
    fn ptx_needs_a_driver_as_new_as_itself_and_as_the_gpu() {
        let jit = |gpu: &str, cuda: &str, ptx| {
            let cuda = cuda.parse().unwrap();
            jit_driver(
                gpu.parse().unwrap(),
                Some(cuda),
                PtxVersion::from_header(ptx),
            )
        };
        check(jit("12.0", "12.4", (8, 4)), Some("570.26"));
        check(jit("9.0", "12.8", (8, 7)), Some("570.26"));
        check(jit("9.0", "13.2", (9, 2)), Some("595.45.04"));
        check(jit("9.0", "13.5", (9, 5)), None);
    }
}
