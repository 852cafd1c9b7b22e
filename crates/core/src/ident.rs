//! Names that cross modules: each is checked once, where it enters, and printed as it was checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text cannot be a name of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct IdentError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

/// A text newtype: private field, `FromStr` in, `Display` out, the same text in serde.
macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdentError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdentError {
                        text: text.to_owned(),
                        what: $what,
                        rule: $rule,
                    })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_newtype!(
    /// A distribution's name in normal form (PEP 503): `flash-attn`, never `Flash_Attn`.
    ///
    /// One spelling only, because the name is a folder, a URL part and half of a job id.
    PackageName,
    "package name",
    "lower-case letters, digits and single `-` between them (PEP 503 normal form)",
    |text| {
        !text.is_empty()
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.contains("--")
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    }
);

impl PackageName {
    /// The name in normal form, whatever its spelling: `Flash_Attn` gives `flash-attn` (PEP 503).
    pub fn normalise(text: &str) -> Result<Self, IdentError> {
        let mut name = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '-' | '_' | '.' if name.ends_with('-') => {}
                '-' | '_' | '.' => name.push('-'),
                other => name.push(other.to_ascii_lowercase()),
            }
        }
        name.parse()
    }

    /// The spelling in a wheel's file name and `.dist-info` folder: `flash_attn`.
    pub fn for_file_name(&self) -> String {
        self.0.replace('-', "_")
    }
}

text_newtype!(
    /// Which build of a version: `avx512`. A part of the wheel's local version (PEP 440), so it has
    /// no separators.
    VariantName,
    "variant",
    "starts with a lower-case letter; lower-case letters and digits only",
    |text| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    }
);

text_newtype!(
    /// A job's readable name, unique in a plan: `sageattention-2.2.0-cu128-torch2.8-cp312`.
    ///
    /// It is also a folder under `out/jobs/`, so it holds no separators and starts with a letter
    /// or digit.
    JobId,
    "job id",
    "starts with a letter or digit; letters, digits and `-._+` only",
    |text| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._+".contains(c))
    }
);

text_newtype!(
    /// A farm's name: the label on everything that it creates in an engine, as `farm:` of a matrix
    /// takes it.
    FarmName,
    "farm name",
    "starts with a letter or digit; letters, digits and `-._+` only",
    |text| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._+".contains(c))
    }
);

impl FarmName {
    /// A name made from a folder's: what no name may have becomes a hyphen.
    pub fn of_folder(folder: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
        let text: String = folder
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect();
        let text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let name = text.parse().or_else(|_| "farm".parse());
        name.expect("`farm` is a name")
    }
}

text_newtype!(
    /// A git commit by its full object name: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits.
    ///
    /// Branches and tags move; a wheel built from one cannot be built again.
    GitCommit,
    "git commit",
    "40 or 64 lower-case hexadecimal digits; branches, tags and short hashes move or collide",
    |text| {
        (text.len() == 40 || text.len() == 64)
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_are_in_normal_form() {
        assert!("flash-attn".parse::<PackageName>().is_ok());
        for bad in ["", "Flash-attn", "flash_attn", "-x", "x-", "a--b"] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
        let name = PackageName::normalise("Flash._-Attn").unwrap();
        assert_eq!(name.as_str(), "flash-attn");
        assert_eq!(name.for_file_name(), "flash_attn");
    }

    #[test]
    fn job_ids_are_safe_folder_names() {
        assert!("a-1.0+x_y".parse::<JobId>().is_ok());
        for bad in ["", ".hidden", "../x", "a/b", "-x", "a b"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn floating_git_references_are_refused() {
        for bad in ["main", "v2.2.0", "d1a57a5"] {
            assert!(bad.parse::<GitCommit>().is_err(), "{bad}");
        }
    }
}
