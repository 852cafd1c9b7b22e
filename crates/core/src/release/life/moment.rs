//! Points of time as catalogs have them. There is no clock here: what is later is compared, not asked.

use crate::release::life::LifeError;

/// A second of time, counted from 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// How many seconds lie between `earlier` and this; 0 if that is not earlier, as clocks differ.
    pub fn seconds_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl std::str::FromStr for Moment {
    type Err = LifeError;

    /// Reads RFC 3339 in UTC: `2026-11-21T03:00:00Z`, `2026-11-21T03:00:00.123Z`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| LifeError::Time(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Moment> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_sound.then(|| {
        let days = days_since_1970(year, month, day);
        Moment(days * 86_400 + hour * 3_600 + minute * 60 + second)
    })
}

fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut found = [0; 3];
    let mut parts = text.split(separator);
    for (place, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Counts years from March, so that the leap day is the last one
/// (<https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(moment("1970-01-01T00:00:00Z"), Moment(0));
        assert_eq!(moment("2001-09-09T01:46:40Z"), Moment(1_000_000_000));
        assert_eq!(moment("2024-02-29T00:00:00.5Z"), Moment(1_709_164_800));
        assert_eq!(moment("2026-11-21T03:00:00Z"), Moment(1_795_230_000));
        let day = moment("2024-03-01T00:00:00Z").seconds_since(moment("2024-02-28T00:00:00Z"));
        assert_eq!(day, 2 * 86_400);
        let later = moment("2026-11-21T03:00:01Z");
        assert_eq!(moment("2026-11-21T03:00:00Z").seconds_since(later), 0);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T03:00:00",
            "2026-11-21T03:00:00+01:00",
            "2026-13-21T03:00:00Z",
            "2026-11-00T03:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T03:00Z",
            "2026-11-21T03:00:00.Z",
            "2026-11-21T03:00:00.xZ",
            "26-11-21T03:00:00Z",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
