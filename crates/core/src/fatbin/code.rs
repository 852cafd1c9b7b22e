//! What cubins and PTX have in common: an arch, and kernels in limited number.

use crate::arch::{Arch, ArchSuffix};
use crate::fatbin::caps::FatbinCaps;
use crate::fatbin::image::Kernel;

/// What was read of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) arch: Option<Arch>,
    /// Sorted by name, each once.
    pub(super) kernels: Vec<Kernel>,
}

/// Why a payload cannot be read as code.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CodeError {
    /// It does not start as a cubin does.
    #[error("not a 64-bit ELF file for GPUs")]
    NotACubin,
    /// A table of the cubin points nowhere.
    #[error("the cubin's {what} lies outside of it")]
    Outside { what: &'static str },
    /// A kernel has no name, or one longer than any real one.
    #[error("a kernel's name is longer than {cap_bytes} bytes, or missing")]
    Name { cap_bytes: usize },
    /// The section has more kernels, or longer names of them, than the caps allow.
    #[error("the section has too many kernels")]
    TooManyKernels,
}

/// How many kernels may still come, and how long their names may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct KernelBudget {
    kernels: usize,
    total_name_bytes: usize,
    name_bytes: usize,
}

impl KernelBudget {
    pub(super) fn new(caps: &FatbinCaps) -> Self {
        Self {
            kernels: caps.kernels,
            total_name_bytes: caps.total_name_bytes,
            name_bytes: caps.name_bytes,
        }
    }

    /// Pays for a kernel and gives its name as text.
    pub(super) fn name(&mut self, name: &[u8]) -> Result<String, CodeError> {
        if name.is_empty() || name.len() > self.name_bytes {
            return Err(self.bad_name());
        }
        // Bytes that are no text become four each: what is paid for is what is held.
        let text = match str::from_utf8(name) {
            Ok(name) => name.to_owned(),
            Err(_) => name.escape_ascii().to_string(),
        };
        let left = self
            .kernels
            .checked_sub(1)
            .zip(self.total_name_bytes.checked_sub(text.len()));
        (self.kernels, self.total_name_bytes) = left.ok_or(CodeError::TooManyKernels)?;
        Ok(text)
    }

    /// How many kernels, and how many bytes of names, may still come.
    pub(super) fn left(&self) -> (usize, usize) {
        (self.kernels, self.total_name_bytes)
    }

    pub(super) fn bad_name(&self) -> CodeError {
        CodeError::Name {
            cap_bytes: self.name_bytes,
        }
    }

    /// The longest name that may be.
    pub(super) fn name_bytes(&self) -> usize {
        self.name_bytes
    }
}

/// `sm_90a` as it stands at the start of `text`.
pub(super) fn parse_target(text: &[u8]) -> Option<Arch> {
    let text = text.strip_prefix(b"sm_")?;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let suffix = match rest.first() {
        Some(b'a') => ArchSuffix::Specific,
        Some(b'f') => ArchSuffix::Family,
        Some(_) | None => ArchSuffix::Portable,
    };
    Arch::from_number(str::from_utf8(number).ok()?.parse().ok()?, suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_pay_for_what_they_take() {
        let caps = FatbinCaps {
            total_name_bytes: 8,
            ..FatbinCaps::default()
        };
        let mut budget = KernelBudget::new(&caps);
        assert_eq!(budget.name(b"abc").as_deref(), Ok("abc"));
        assert_eq!(budget.name(b"\xff\xff"), Err(CodeError::TooManyKernels));
        assert_eq!(budget.name(b"\xff").as_deref(), Ok("\\xff"));
    }
}
