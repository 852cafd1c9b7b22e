//! The rules that wheels are held against: their names here, their texts in `data/rules.yaml`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::yaml;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)+) => {
        /// A rule, by its stable id.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum Rule {
            $($(#[$doc])* #[serde(rename = $id)] $name,)+
        }

        impl Rule {
            /// Every rule, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable id: `arch/missing-sass`.
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }
        }
    };
}

rules! {
    /// The archive can be read in two ways, or not at all.
    ArchiveUnsound = "archive/unsound",
    /// RECORD and the files disagree.
    RecordMismatch = "record/mismatch",
    /// The file name and METADATA tell of different releases.
    NameMetadataMismatch = "name/metadata-mismatch",
    /// The wheel is of another project or version than was asked for.
    NameNotAsked = "name/not-asked",
    /// A tag says what the files do not bear out.
    TagUntrue = "tag/untrue",
    /// A module cannot be read to its end.
    ModuleUnreadable = "module/unreadable",
    /// A module of the contract is not in the wheel.
    ModuleMissing = "module/missing",
    /// A module with GPU code is not in the contract.
    ModuleUnexpected = "module/unexpected",
    /// A container does not hold the machine code that was asked for.
    ArchMissingSass = "arch/missing-sass",
    /// A container has PTX where machine code was asked for.
    ArchJitOnly = "arch/jit-only",
    /// A container has no PTX where it was asked for.
    ArchMissingPtx = "arch/missing-ptx",
    /// A container has code that nobody asked for.
    ArchUnasked = "arch/unasked",
    /// The archs of a container do not have the same kernels.
    ArchKernelParity = "arch/kernel-parity",
    /// A kernel is empty for one arch and not for another.
    ArchEmptyKernel = "arch/empty-kernel",
    /// An image's header and its content name different archs.
    ArchHeaderMismatch = "arch/header-mismatch",
    /// An image is of a kind, or packed in a way, that is not known.
    ArchUnknownImage = "arch/unknown-image",
    /// A module's GPU code is relocatable only.
    ArchRelocatableOnly = "arch/relocatable-only",
    /// The wheel is for another torch than was asked for.
    AbiTorchMinor = "abi/torch-minor",
    /// A symbol that no library of the environment has.
    AbiUndefinedSymbol = "abi/undefined-symbol",
    /// A module is for another Python ABI than was asked for.
    AbiPython = "abi/python",
    /// A module needs a newer glibc than allowed.
    GlibcTooNew = "glibc/too-new",
    /// A module needs a library that is not allowed.
    NeededNotAllowed = "needed/not-allowed",
    /// A module needs a library of another CUDA.
    NeededOtherCuda = "needed/other-cuda",
    /// The wheel brings a library of the NVIDIA driver.
    NeededBundledDriver = "needed/bundled-driver",
    /// A module looks for libraries in a folder of the build host.
    RpathLeak = "rpath/leak",
    /// The wheel is larger than its budget.
    SizeOverBudget = "size/over-budget",
    /// A wheel that is tied to one torch does not require it.
    RequiresTorchBound = "requires/torch-bound",
}

/// What a finding of a rule means for the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The wheel does not go out.
    Error,
    /// It goes out; someone should look.
    Warning,
    /// The rule could not be held against the wheel.
    NotChecked,
}

impl Severity {
    /// The stable name, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::NotChecked => "not-checked",
        }
    }
}

/// What there is to say of a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleText {
    /// What a finding of it means.
    pub severity: Severity,
    /// What it is about, in one line.
    pub title: String,
    /// What goes wrong for users without it.
    pub why: String,
    /// Where the rule comes from.
    pub source: String,
    /// What to do.
    pub fix: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRules {
    #[expect(dead_code, reason = "judged before the rest is read")]
    schema: u32,
    rules: BTreeMap<Rule, RuleText>,
}

const TEXT: &str = include_str!("../../data/rules.yaml");

static RULES: LazyLock<BTreeMap<Rule, RuleText>> = LazyLock::new(|| {
    let raw: RawRules =
        yaml::parse_schema_1("rules.yaml", TEXT).expect("a test reads the built-in rules");
    raw.rules
});

impl Rule {
    /// What there is to say of it.
    pub fn text(self) -> &'static RuleText {
        RULES.get(&self).expect("a test finds every rule's text")
    }

    /// What a finding of it means.
    pub fn severity(self) -> Severity {
        self.text().severity
    }
}

/// The text names no rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no rule `{text}`")]
pub struct RuleError {
    text: String,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|rule| rule.id() == text);
        found.copied().ok_or_else(|| RuleError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_text_and_its_source() {
        for &rule in Rule::ALL {
            let text = rule.text();
            for part in [&text.title, &text.why, &text.source, &text.fix] {
                assert!(part.trim().len() > 20, "{rule}: {part}");
            }
            assert!(text.source.contains("https://"), "{rule}");
            assert_eq!(rule.id().parse(), Ok(rule));
        }
        assert_eq!(RULES.len(), Rule::ALL.len());
    }

    #[test]
    fn titles_are_fragments_of_one_line() {
        for &rule in Rule::ALL {
            let title = &rule.text().title;
            assert!(title.len() <= 80 && !title.contains('\n'), "{rule}");
            assert!(!title.ends_with('.'), "{rule}");
        }
    }

    /// The terminal and the page make the same of a text only within this part of Markdown.
    #[test]
    fn texts_are_paragraphs_items_and_indented_lines() {
        for &rule in Rule::ALL {
            let text = rule.text();
            for part in [&text.why, &text.source, &text.fix] {
                let mut before = "";
                for block in part.trim_end().split("\n\n") {
                    check_block(block, before)
                        .unwrap_or_else(|why| panic!("{rule}: {why}\n{block}"));
                    before = block;
                }
            }
        }
    }

    fn check_block(block: &str, before: &str) -> Result<(), &'static str> {
        let all = |fits: fn(&str) -> bool| block.lines().all(fits);
        let balanced = block.matches('`').count().is_multiple_of(2);
        let plain =
            |line: &str| line.starts_with(|c: char| c.is_alphanumeric() || "`\"'(".contains(c));
        if !all(|line| !line.is_empty() && line.trim_end() == line && !line.contains('\t')) {
            Err("blanks that do not show")
        } else if all(|line| line.starts_with("    ")) {
            let fits = !before.starts_with("- ");
            fits.then_some(())
                .ok_or("indented lines would belong to the item before")
        } else if !balanced {
            Err("a backtick without its other half")
        } else if block.starts_with("- ") {
            let fits = all(|line| {
                line.starts_with("- ") || (line.starts_with("  ") && !line.starts_with("   "))
            });
            fits.then_some(()).ok_or("items go on indented by two")
        } else {
            block.lines().all(plain).then_some(()).ok_or("no paragraph")
        }
    }
}
