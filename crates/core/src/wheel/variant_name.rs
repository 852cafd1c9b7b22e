//! The file names of wheel variants (PEP 825, a draft): a wheel's name with a label at its end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::wheel::label::{VariantLabel, VariantLabelError};
use crate::wheel::name::{WheelName, WheelNameError};

/// A variant's file name: `demo-1.0+torch2.11-cp312-cp312-manylinux_2_28_x86_64-cu130_sm120.whl`.
///
/// A type of its own: to everything that does not know variants such a file is no wheel, since it
/// has six or seven parts, and its second part of six is no build number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariantWheelName {
    wheel: WheelName,
    label: VariantLabel,
}

/// Why a file name is not a variant's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VariantNameError {
    /// There is no label.
    #[error("`{name}` has no variant label at its end")]
    NoLabel {
        /// The file name.
        name: String,
    },
    /// A Python tag that starts with a digit cannot be told from a build number.
    #[error("`{tag}` in `{name}` is not a Python tag of a wheel variant: it starts with a digit")]
    PythonTag {
        /// The file name.
        name: String,
        /// The tag.
        tag: String,
    },
    /// The label is not one of this program.
    #[error(transparent)]
    Label(#[from] VariantLabelError),
    /// What stands before the label is not a wheel's name.
    #[error(transparent)]
    Wheel(#[from] WheelNameError),
}

impl VariantWheelName {
    /// The name of the variant `label` of the wheel that without it would be named `wheel`.
    pub fn new(wheel: WheelName, label: VariantLabel) -> Result<Self, VariantNameError> {
        let starts_with_digit = |tag: &&String| tag.starts_with(|c: char| c.is_ascii_digit());
        if let Some(tag) = wheel.python_tags().iter().find(starts_with_digit) {
            return Err(VariantNameError::PythonTag {
                name: wheel.to_string(),
                tag: tag.clone(),
            });
        }
        Ok(Self { wheel, label })
    }

    /// The name without its label.
    pub fn wheel(&self) -> &WheelName {
        &self.wheel
    }

    /// The label.
    pub fn label(&self) -> &VariantLabel {
        &self.label
    }
}

impl FromStr for VariantWheelName {
    type Err = VariantNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let stem = name.strip_suffix(".whl");
        let Some((wheel, label)) = stem.and_then(|stem| stem.rsplit_once('-')) else {
            return Err(VariantNameError::NoLabel {
                name: name.to_owned(),
            });
        };
        Self::new(format!("{wheel}.whl").parse()?, label.parse()?)
    }
}

impl fmt::Display for VariantWheelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wheel = self.wheel.to_string();
        let stem = wheel.strip_suffix(".whl").unwrap_or(&wheel);
        write!(f, "{stem}-{}.whl", self.label)
    }
}

impl TryFrom<String> for VariantWheelName {
    type Error = VariantNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VariantWheelName> for String {
    fn from(name: VariantWheelName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variants_name_is_a_wheels_with_a_label_and_no_wheels() {
        for (text, build) in [
            (
                "demo-1.0+torch2.11-cp312-cp312-linux_x86_64-cu130_sm90.whl",
                None,
            ),
            (
                "demo-1.0-2-py39-none-linux_x86_64-cu130_sm90_ptx90.whl",
                Some("2"),
            ),
        ] {
            let name: VariantWheelName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert_eq!(name.wheel().build(), build);
            assert!(text.parse::<WheelName>().is_err(), "{text}");
        }
    }

    #[track_caller]
    fn check_refused(name: &str, want: &str) {
        let error = name.parse::<VariantWheelName>().unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn wheels_and_foreign_labels_are_refused() {
        check_refused("demo.whl", "`demo.whl` has no variant label at its end");
        check_refused(
            "demo-1.0-2-cp312-cp312-any.whl",
            "`any` is not a variant label, which is a CUDA and what there is code for, such as `cu130_sm90_ptx120`",
        );
        check_refused(
            "demo-1.0-cp312-cp312-any-null.whl",
            "`null` is not a variant label, which is a CUDA and what there is code for, such as `cu130_sm90_ptx120`",
        );
        check_refused(
            "demo-1.0-3-none-any-cu130_sm90.whl",
            "`3` in `demo-1.0-3-none-any.whl` is not a Python tag of a wheel variant: it starts with a digit",
        );
        check_refused(
            "demo-1.0-any-cu130_sm90.whl",
            "`demo-1.0-any.whl` has 3 parts between its dashes; a wheel has five, or six with a build number",
        );
    }
}
