//! The labels of wheel variants (PEP 825, a draft): which machines a wheel is for, in its file name.
//!
//! The PEP leaves the text of a label open. Here it says all of a variant's properties and nothing
//! else, `cu130_sm90_sm120`, so one label can never mean two sets of properties, and what is known of
//! a published variant can be read from its name.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::gpu::Capability;
use crate::version::CudaVersion;

/// What a wheel has code for, as a value of the property `nvidia :: sm_arch`. The meaning is that of
/// NVIDIA's provider 0.0.1, which uv has built in: a GPU of compute capability M.m takes `Mm_real` to
/// `M0_real`, then `M0_virtual`, and nothing of another major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SmArch {
    /// Runs as it is on GPUs of the same major compute capability from this one on: `90_real`.
    Real(Capability),
    /// Runs on GPUs of the major compute capability, which the driver compiles it for: `90_virtual`.
    Virtual(u8),
}

/// A label: `cu130_sm90_sm120_ptx120`. `sm120` stands for `120_real`, `ptx120` for `120_virtual`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariantLabel {
    cuda: CudaVersion,
    archs: BTreeSet<SmArch>,
}

/// The text is not a label of this program.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{text}` is not a variant label, which is a CUDA and what there is code for, such as `cu130_sm90_ptx120`"
)]
pub struct VariantLabelError {
    text: String,
}

impl SmArch {
    /// The value of the property: `90_real`, `90_virtual`.
    pub fn value(self) -> String {
        match self {
            Self::Real(capability) => format!("{}_real", capability.number()),
            Self::Virtual(major) => format!("{major}0_virtual"),
        }
    }

    fn from_label(text: &str) -> Option<Self> {
        if let Some(number) = text.strip_prefix("sm") {
            return Capability::from_number(number).map(Self::Real);
        }
        let base = Capability::from_number(text.strip_prefix("ptx")?)?;
        (base.minor() == 0).then(|| Self::Virtual(base.major()))
    }
}

/// As a label has it: `sm90`, `ptx90`.
impl fmt::Display for SmArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real(capability) => write!(f, "sm{}", capability.number()),
            Self::Virtual(major) => write!(f, "ptx{major}0"),
        }
    }
}

impl VariantLabel {
    /// The label of a wheel that was built with `cuda` and has code for `archs`. `None` without any,
    /// and for a CUDA whose tag is that of another one (12.10).
    pub fn new(cuda: CudaVersion, archs: BTreeSet<SmArch>) -> Option<Self> {
        let is_told = CudaVersion::from_tag(&cuda.tag()) == Some(cuda);
        (is_told && !archs.is_empty()).then_some(Self { cuda, archs })
    }

    /// The CUDA that the wheel was built with, and that a driver must know at least.
    pub fn cuda(&self) -> CudaVersion {
        self.cuda
    }

    /// What it has code for: machine code first, each kind in ascending order.
    pub fn archs(&self) -> &BTreeSet<SmArch> {
        &self.archs
    }

    /// The archs without the CUDA, in one word: `sm90sm120`.
    pub(crate) fn archs_word(&self) -> String {
        self.archs.iter().map(ToString::to_string).collect()
    }
}

impl FromStr for VariantLabel {
    type Err = VariantLabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split('_');
            let cuda = CudaVersion::from_tag(parts.next()?)?;
            let archs = parts.map(SmArch::from_label).collect::<Option<_>>()?;
            Self::new(cuda, archs)
        };
        // One spelling: in order, nothing twice.
        parse()
            .filter(|label| label.to_string() == text)
            .ok_or_else(|| VariantLabelError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for VariantLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cuda.tag())?;
        self.archs.iter().try_for_each(|arch| write!(f, "_{arch}"))
    }
}

impl TryFrom<String> for VariantLabel {
    type Error = VariantLabelError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VariantLabel> for String {
    fn from(label: VariantLabel) -> String {
        label.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, values: &[&str]) {
        let label: VariantLabel = text.parse().unwrap();
        assert_eq!(label.to_string(), text);
        let found: Vec<String> = label.archs().iter().map(|arch| arch.value()).collect();
        assert_eq!(found, values);
    }

    #[test]
    fn a_label_says_every_property() {
        check("cu130_sm120", &["120_real"]);
        check("cu128_sm90_sm120", &["90_real", "120_real"]);
        check(
            "cu126_sm80_sm86_ptx90_ptx100",
            &["80_real", "86_real", "90_virtual", "100_virtual"],
        );
    }

    #[test]
    fn other_labels_are_not_read() {
        for bad in [
            "",
            "null",
            "cu130",
            "cu130_",
            "sm90",
            "cu130_sm9",
            "cu130_sm090",
            "cu130_sm90a",
            "cu130_ptx86",
            "cu130_sm120_sm90",
            "cu130_sm90_sm90",
            "cu130_ptx90_sm90",
            "CU130_sm90",
        ] {
            assert!(bad.parse::<VariantLabel>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cuda_that_its_tag_does_not_tell_has_no_label() {
        let archs = BTreeSet::from([SmArch::Virtual(9)]);
        let cuda = |text: &str| text.parse::<CudaVersion>().unwrap();
        assert_eq!(VariantLabel::new(cuda("12.10"), archs.clone()), None);
        assert_eq!(VariantLabel::new(cuda("13.0"), BTreeSet::new()), None);
        assert!(VariantLabel::new(cuda("13.0"), archs).is_some());
    }

    proptest! {
        #[test]
        fn labels_come_back_and_are_what_the_pep_allows(
            (major, minor) in (1_u8..100, 0_u8..10),
            real in proptest::collection::btree_set((1_u32..30, 0_u32..10), 0..6),
            jit in proptest::collection::btree_set(1_u8..30, 1..4),
        ) {
            let capability =
                |(major, minor)| format!("{major}.{minor}").parse::<Capability>().unwrap();
            let real = real.into_iter().map(|pair| SmArch::Real(capability(pair)));
            let archs = real.chain(jit.into_iter().map(SmArch::Virtual)).collect();
            let cuda = format!("{major}.{minor}").parse().unwrap();
            let label = VariantLabel::new(cuda, archs).unwrap();
            let text = label.to_string();
            prop_assert!(text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='z' | '_' | '.')));
            prop_assert_eq!(text.parse(), Ok(label));
        }

        #[test]
        fn no_label_panics(text in "(cu|sm|ptx|_|[0-9]|\\PC){0,12}") {
            drop(text.parse::<VariantLabel>());
        }
    }
}
