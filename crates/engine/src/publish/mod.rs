//! Publishes wheels on record to a shelf.
//!
//! `records` looks at them again; a `draft` is the release as it would be, which is tried before
//! anything is brought; and then it comes about, all of it or nothing.

pub mod draft;
pub mod records;
#[cfg(test)]
mod tests;

/// The time as releases write it: RFC 3339 in UTC, to the second.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    let now = now.round(jiff::Unit::Second).unwrap_or(now);
    now.to_string()
}
