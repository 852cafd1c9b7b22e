//! Amounts as people write them: `12GiB`, `45m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The text is not an amount of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {what}")]
pub struct QuantityError {
    text: String,
    what: &'static str,
    hint: &'static str,
}

impl QuantityError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// An amount of memory or disk in bytes, written `512MiB` or `12GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const KIB: u64 = 1024;

impl ByteSize {
    /// An amount from its number of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// An amount from its number of GiB.
    pub const fn gib(gib: u64) -> Self {
        Self(gib * KIB * KIB * KIB)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [("MiB", KIB * KIB), ("GiB", KIB * KIB * KIB)];
        units
            .iter()
            .find_map(|(unit, bytes)| whole(text, unit)?.checked_mul(*bytes))
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| QuantityError {
                text: text.to_owned(),
                what: "an amount of memory or disk",
                hint: "write a whole number and a unit: `512MiB`, `12GiB`",
            })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", KIB * KIB * KIB), ("MiB", KIB * KIB), ("KiB", KIB)];
        for (unit, bytes) in units {
            if self.0 >= bytes {
                let tenths = self.0.saturating_mul(10) / bytes;
                return match tenths % 10 {
                    0 => write!(f, "{}{unit}", tenths / 10),
                    tenth => write!(f, "{}.{tenth}{unit}", tenths / 10),
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A time limit, written `90s`, `45m` or `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeLimit(Duration);

impl TimeLimit {
    /// A limit from its number of minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }

    /// The limit as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for TimeLimit {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [("s", 1), ("m", 60), ("h", 3600)]
            .iter()
            .find_map(|(unit, seconds)| whole(text, unit)?.checked_mul(*seconds))
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| QuantityError {
                text: text.to_owned(),
                what: "a time limit",
                hint: "write a whole number and a unit: `90s`, `45m`, `2h`",
            })
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds % 3600, seconds % 60) {
            (0, _) => write!(f, "{}h", seconds / 3600),
            (_, 0) => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

/// A number of days, written `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Days(u64);

impl Days {
    /// The time as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_hours(self.0 * 24)
    }
}

impl FromStr for Days {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        whole(text, "d")
            // What a file system or an engine can have seen, and no more than fits into hours.
            .filter(|days| *days < 1_000_000)
            .map(Self)
            .ok_or_else(|| QuantityError {
                text: text.to_owned(),
                what: "a number of days",
                hint: "write a whole number and `d`: `30d`",
            })
    }
}

fn whole(text: &str, unit: &str) -> Option<u64> {
    let number = text.strip_suffix(unit)?;
    let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    digits.then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_as_they_were_written() {
        for text in ["512MiB", "12GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["90s", "45m", "2h"] {
            assert_eq!(text.parse::<TimeLimit>().unwrap().to_string(), text);
        }
        assert_eq!(ByteSize::from_bytes(1_610_612_736).to_string(), "1.5GiB");
    }

    #[test]
    fn amounts_without_a_unit_are_refused() {
        for bad in [
            "12",
            "0GiB",
            "1.5GiB",
            "GiB",
            "-1GiB",
            "99999999999999999GiB",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        for bad in ["12", "0s", "1h30m", "-1m"] {
            assert!(bad.parse::<TimeLimit>().is_err(), "{bad}");
        }
        for bad in ["30", "d", "-1d", "1.5d", "30 d", "99999999999d"] {
            assert!(bad.parse::<Days>().is_err(), "{bad}");
        }
        let days: Days = "2d".parse().unwrap();
        assert_eq!(days.duration().as_secs(), 2 * 24 * 3600);
    }
}
