//! GPU targets as NVIDIA writes them, and the lists of them that a matrix asks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether a target is for every later GPU of its generation, for its family, or for one GPU alone
/// (CUDA Programming Guide, 5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArchSuffix {
    /// `9.0`: runs on the same major compute capability with an equal or higher minor one.
    Portable,
    /// `10.0f`: family-specific, since CUDA 12.9.
    Family,
    /// `9.0a`: architecture-specific, runs on exactly that compute capability.
    Specific,
}

/// One GPU target: a compute capability and its suffix, written `9.0`, `9.0a`, `12.0f`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arch {
    major: u8,
    minor: u8,
    suffix: ArchSuffix,
}

/// The text is not a GPU target.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a GPU arch")]
pub struct ArchError {
    text: String,
}

impl ArchError {
    /// What to write instead.
    pub fn hint(&self) -> String {
        let digits: String = self.text.chars().filter(char::is_ascii_digit).collect();
        let example = match digits.len() {
            2 | 3 => {
                let (major, minor) = digits.split_at(digits.len() - 1);
                format!("{major}.{minor}")
            }
            _ => "9.0".to_owned(),
        };
        format!(
            "write it as torch does, a compute capability with an optional suffix: `{example}`, \
             `9.0a`, `12.0+PTX`"
        )
    }
}

impl Arch {
    /// From NVIDIA's number: 90 is 9.0, 120 is 12.0. `None` for what is no arch's number.
    pub fn from_number(number: u32, suffix: ArchSuffix) -> Option<Self> {
        let major = u8::try_from(number / 10).ok().filter(|&major| major > 0)?;
        let minor = u8::try_from(number % 10).ok()?;
        Some(Self {
            major,
            minor,
            suffix,
        })
    }

    /// Major and minor compute capability: `(9, 0)`.
    pub fn capability(self) -> (u8, u8) {
        (self.major, self.minor)
    }

    /// The suffix.
    pub fn suffix(self) -> ArchSuffix {
        self.suffix
    }

    /// The number with its suffix, as in compiler flags and file names: `90a`, `120`.
    pub fn number(self) -> String {
        format!("{}{}{}", self.major, self.minor, self.suffix_text())
    }

    /// The arch of such a number with its suffix, as [`Self::number`] writes it: `90a` is 9.0a.
    pub(crate) fn from_code(text: &str) -> Option<Self> {
        let (digits, suffix) = match text.as_bytes().last() {
            Some(b'a') => (&text[..text.len() - 1], ArchSuffix::Specific),
            Some(b'f') => (&text[..text.len() - 1], ArchSuffix::Family),
            _ => (text, ArchSuffix::Portable),
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| digits.parse().ok())??;
        Self::from_number(number, suffix)
    }

    fn suffix_text(self) -> &'static str {
        match self.suffix {
            ArchSuffix::Portable => "",
            ArchSuffix::Family => "f",
            ArchSuffix::Specific => "a",
        }
    }
}

impl FromStr for Arch {
    type Err = ArchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_arch(text).ok_or_else(|| ArchError {
            text: text.to_owned(),
        })
    }
}

fn parse_arch(text: &str) -> Option<Arch> {
    let (number, suffix) = match text.as_bytes().last()? {
        b'a' => (&text[..text.len() - 1], ArchSuffix::Specific),
        b'f' => (&text[..text.len() - 1], ArchSuffix::Family),
        _ => (text, ArchSuffix::Portable),
    };
    let (major, minor) = number.split_once('.')?;
    let is_number = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    // NVIDIA writes sm_120 for 12.0: the minor is always one digit.
    if !is_number(major) || !is_number(minor) || minor.len() != 1 || major.starts_with('0') {
        return None;
    }
    Some(Arch {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        suffix,
    })
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.major, self.minor, self.suffix_text())
    }
}

impl TryFrom<String> for Arch {
    type Error = ArchError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> String {
        arch.to_string()
    }
}

/// Whether PTX goes into the wheel beside the machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ptx {
    /// Machine code (SASS) only.
    Without,
    /// Machine code and PTX, which later drivers compile for later GPUs.
    With,
}

/// What a matrix asks for: machine code for one arch, with or without its PTX; `12.0+PTX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArchTarget {
    /// The arch that gets machine code.
    pub arch: Arch,
    /// Whether its PTX is wanted too.
    pub ptx: Ptx,
}

impl FromStr for ArchTarget {
    type Err = ArchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (arch, ptx) = match text.strip_suffix("+PTX") {
            Some(arch) => (arch, Ptx::With),
            None => (text, Ptx::Without),
        };
        parse_arch(arch)
            .map(|arch| Self { arch, ptx })
            .ok_or_else(|| ArchError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for ArchTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ptx {
            Ptx::Without => self.arch.fmt(f),
            Ptx::With => write!(f, "{}+PTX", self.arch),
        }
    }
}

impl TryFrom<String> for ArchTarget {
    type Error = ArchError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ArchTarget> for String {
    fn from(target: ArchTarget) -> String {
        target.to_string()
    }
}

/// The archs of one job: sorted, each once, never empty.
///
/// Sorted, because upstreams read the order (torch takes PTX from the last) and two spellings of
/// one list must not give two wheels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ArchList(Vec<ArchTarget>);

impl ArchList {
    /// Sorts and merges `targets`; `9.0` beside `9.0+PTX` is `9.0+PTX`. `None` when empty.
    pub fn new(targets: impl IntoIterator<Item = ArchTarget>) -> Option<Self> {
        let mut targets: Vec<_> = targets.into_iter().collect();
        targets.sort();
        // Sorted with the PTX form last, so of two equal archs the later one is kept.
        targets.reverse();
        targets.dedup_by_key(|target| target.arch);
        targets.reverse();
        (!targets.is_empty()).then_some(Self(targets))
    }

    /// The targets, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = ArchTarget> + '_ {
        self.0.iter().copied()
    }

    /// `9.0;12.0+PTX`: the one spelling that `torch.utils.cpp_extension` and every upstream that
    /// reads `TORCH_CUDA_ARCH_LIST` itself accept; SageAttention cuts a space-separated list after
    /// its first entry without a word.
    pub fn torch_list(&self) -> String {
        self.join(";", |target| target.to_string())
    }

    /// `90;120`, without suffix or PTX: the form of `FLASH_ATTN_CUDA_ARCHS`.
    pub fn numbers(&self) -> String {
        self.join(";", |target| {
            let (major, minor) = target.arch.capability();
            format!("{major}{minor}")
        })
    }

    /// `9.0;12.0`, without suffix or PTX: the form of `NATTEN_CUDA_ARCH`.
    pub fn capabilities(&self) -> String {
        self.join(";", |target| {
            let (major, minor) = target.arch.capability();
            format!("{major}.{minor}")
        })
    }

    /// `-gencode` flags for nvcc.
    pub fn gencode(&self) -> String {
        self.join(" ", |target| {
            let number = target.arch.number();
            let code = match target.ptx {
                Ptx::Without => format!("sm_{number}"),
                Ptx::With => format!("[sm_{number},compute_{number}]"),
            };
            format!("-gencode=arch=compute_{number},code={code}")
        })
    }

    fn join(&self, separator: &str, text: impl Fn(ArchTarget) -> String) -> String {
        self.iter().map(text).collect::<Vec<_>>().join(separator)
    }
}

impl fmt::Display for ArchList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join(" ", |target| target.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> ArchList {
        ArchList::new(text.split(' ').map(|one| one.parse().unwrap())).unwrap()
    }

    #[test]
    fn the_spellings_of_nvcc_and_of_the_guides_are_refused_with_the_right_one() {
        for (bad, right) in [
            ("sm_90", "`9.0`"),
            ("120", "`12.0`"),
            ("compute_86", "`8.6`"),
        ] {
            let error = bad.parse::<ArchTarget>().unwrap_err();
            assert!(error.hint().contains(right), "{bad}: {}", error.hint());
        }
        for bad in ["", "9", "9.00", "9.0b", "9.0+ptx", "09.0", "9.0+PTX+PTX"] {
            assert!(bad.parse::<ArchTarget>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_come_back_with_their_suffix() {
        for text in ["75", "90a", "100f", "120"] {
            assert_eq!(Arch::from_code(text).unwrap().number(), text);
        }
        for bad in ["", "a", "9", "+90", "90b", "90aa", "é"] {
            assert_eq!(Arch::from_code(bad), None, "{bad}");
        }
    }

    #[test]
    fn lists_are_sorted_and_merged() {
        let archs = list("12.0 9.0a 8.0 12.0+PTX 9.0");
        assert_eq!(archs.to_string(), "8.0 9.0 9.0a 12.0+PTX");
        assert_eq!(archs.torch_list(), "8.0;9.0;9.0a;12.0+PTX");
        assert_eq!(list("9.0 12.0").numbers(), "90;120");
        assert_eq!(ArchList::new([]), None);
    }

    #[test]
    fn gencode_carries_ptx_only_where_asked() {
        assert_eq!(
            list("9.0a 12.0+PTX").gencode(),
            "-gencode=arch=compute_90a,code=sm_90a \
             -gencode=arch=compute_120,code=[sm_120,compute_120]"
        );
    }

    proptest::proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            mut picks in proptest::collection::vec((7u8..14, 0u8..10, 0u8..3, proptest::bool::ANY), 1..8)
        ) {
            let to_list = |picks: &[(u8, u8, u8, bool)]| {
                ArchList::new(picks.iter().map(|&(major, minor, suffix, ptx)| {
                    let suffix = ["", "a", "f"][usize::from(suffix)];
                    let ptx = if ptx { "+PTX" } else { "" };
                    format!("{major}.{minor}{suffix}{ptx}").parse().unwrap()
                }))
            };
            let first = to_list(&picks);
            picks.reverse();
            picks.extend_from_within(..);
            proptest::prop_assert_eq!(first, to_list(&picks));
        }
    }
}
