//! What a host costs, without a rounding error: money is counted in millionths.

use std::fmt;
use std::str::FromStr;

/// A price for an hour, written `3.50`, in any currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourlyPrice {
    micros: u64,
    /// As it was written, to say it back.
    text: String,
}

/// The text is not a price.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a price for an hour")]
pub struct PriceError {
    text: String,
}

impl PriceError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write a number with a point and without a currency: `3.50`"
    }
}

/// An amount of money, shown in hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost(u128);

const MICROS: u64 = 1_000_000;
const HOUR_MS: u128 = 3_600_000;

impl HourlyPrice {
    /// What so many milliseconds cost.
    pub fn cost(&self, ms: u64) -> Cost {
        Cost(u128::from(self.micros) * u128::from(ms) / HOUR_MS)
    }
}

impl FromStr for HourlyPrice {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let is_price = is_number(whole) && is_number(part) && part.len() <= 6;
            let micros = format!("{part:0<6}");
            is_price.then_some(())?;
            let whole: u64 = whole.parse().ok()?;
            whole.checked_mul(MICROS)?.checked_add(micros.parse().ok()?)
        };
        let micros = parse().ok_or_else(|| PriceError {
            text: text.to_owned(),
        })?;
        Ok(Self {
            micros,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for HourlyPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0 + 5_000) / 10_000;
        write!(f, "{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(price: &str, ms: u64, want: &str) {
        let price: HourlyPrice = price.parse().unwrap();
        assert_eq!(price.cost(ms).to_string(), want);
    }

    #[test]
    fn money_does_not_drift() {
        check("3.50", 72 * 60_000, "4.20");
        check("0.1", 3 * 3_600_000, "0.30");
        check("2", 90 * 60_000, "3.00");
        check("0.000001", 3_600_000_000_000, "1.00");
        check("18446744073709", u64::MAX, "94522879700257857757152472.22");
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "",
            ".",
            "3,50",
            "-1",
            "3.",
            ".5",
            "1e3",
            "0.0000001",
            "3.50 EUR",
        ] {
            assert!(text.parse::<HourlyPrice>().is_err(), "{text}");
        }
        for text in ["99999999999999999999", "18446744073710"] {
            assert!(text.parse::<HourlyPrice>().is_err(), "{text}");
        }
    }
}
