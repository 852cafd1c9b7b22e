//! Texts of rules with what a log says put into them.
//!
//! `{name}` is what the pattern's group of that name matched; `{name|words}` says `words` where it
//! matched nothing. `{name:arch}` reads NVIDIA's number as a compute capability (`120` is 12.0),
//! `{name:toolkits}` says which CUDA toolkits compile for it, `{name:cuda}` reads a driver's number
//! (`12020` is 12.2).

use std::collections::BTreeMap;

use crate::arch::Arch;
use crate::compat;

/// Captured texts by their names.
pub(super) type Captures = BTreeMap<String, String>;

/// A captured text is untrusted and may be long: so many letters of it are shown.
const LETTERS: usize = 100;

/// A place in a text that is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot<'a> {
    pub(super) name: &'a str,
    pub(super) filter: Option<&'a str>,
    pub(super) otherwise: Option<&'a str>,
}

pub(super) const FILTERS: [&str; 3] = ["arch", "toolkits", "cuda"];

/// The next slot of a text: what stands before it, the slot, what stands behind it. An error names what
/// is no slot.
fn next_slot(text: &str) -> Result<Option<(&str, Slot<'_>, &str)>, String> {
    let Some((before, rest)) = text.split_once('{') else {
        return Ok(None);
    };
    let Some((inside, behind)) = rest.split_once('}') else {
        return Err(format!("`{{{rest}` has no end"));
    };
    let (reference, otherwise) = match inside.split_once('|') {
        Some((reference, otherwise)) => (reference, Some(otherwise)),
        None => (inside, None),
    };
    let (name, filter) = match reference.split_once(':') {
        Some((name, filter)) => (name, Some(filter)),
        None => (reference, None),
    };
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !is_name || filter.is_some_and(|filter| !FILTERS.contains(&filter)) {
        return Err(format!("`{{{inside}}}` names no group or no filter"));
    }
    let slot = Slot {
        name,
        filter,
        otherwise,
    };
    Ok(Some((before, slot, behind)))
}

/// Every slot of a text.
///
/// # Errors
/// What is no slot, in words.
pub(super) fn slots(mut text: &str) -> Result<Vec<Slot<'_>>, String> {
    let mut slots = Vec::new();
    while let Some((_, slot, behind)) = next_slot(text)? {
        slots.push(slot);
        text = behind;
    }
    Ok(slots)
}

/// The text with its slots filled. What the log does not say becomes the words behind `|`, or `…`.
pub(super) fn fill(text: &str, captures: &Captures) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Ok(Some((before, slot, behind))) = next_slot(rest) {
        filled.push_str(before);
        let captured = captures.get(slot.name).map(|text| text.trim());
        let value = captured.and_then(|captured| match slot.filter {
            None => Some(captured.chars().take(LETTERS).collect()),
            Some(filter) => filtered(captured, filter),
        });
        match value {
            Some(value) => filled.push_str(&value),
            None => filled.push_str(slot.otherwise.unwrap_or("…")),
        }
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

fn filtered(captured: &str, filter: &str) -> Option<String> {
    match filter {
        "arch" => Some(arch(captured)?.to_string()),
        "toolkits" => toolkits(arch(captured)?),
        _ => cuda(captured),
    }
}

/// `120`, `90a`, and what people write: `sm_90`, `9.0`.
fn arch(text: &str) -> Option<Arch> {
    let number = text
        .trim_start_matches("sm_")
        .trim_start_matches("compute_");
    Arch::from_code(number).or_else(|| number.parse().ok())
}

/// Which known toolkits compile for an arch.
fn toolkits(arch: Arch) -> Option<String> {
    let (first, last) = compat::toolkits_for(arch)?;
    Some(match last {
        None => format!("CUDA {first} and later"),
        Some(last) => format!("CUDA {first} to {last}"),
    })
}

/// A driver's number: a thousand for the major, ten for the minor version (`cudaDriverGetVersion`).
fn cuda(text: &str) -> Option<String> {
    let number: u32 = text.parse().ok()?;
    Some(format!("{}.{}", number / 1000, number % 1000 / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let captures = [
            ("arch", "120"),
            ("old", "50"),
            ("driver", "12020"),
            ("name", "x"),
        ];
        let captures = captures.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(fill(text, &Captures::from(captures)), want);
    }

    #[test]
    fn slots_are_filled_from_the_log() {
        check("for {arch}, {name}", "for 120, x");
        check("{arch:arch}: {arch:toolkits}", "12.0: CUDA 12.8 and later");
        check("{old:toolkits}", "CUDA 11.8 to 12.9");
        check("CUDA {driver:cuda}", "CUDA 12.2");
    }

    #[test]
    fn what_the_log_does_not_say_has_other_words() {
        check("{gpu|the GPU} {gpu}", "the GPU …");
        check("{name:arch|an arch}", "an arch");
    }

    #[test]
    fn what_is_no_slot_is_told() {
        for text in ["{", "{}", "{A}", "{arch:nothing}", "x {two words} y"] {
            assert!(slots(text).is_err(), "{text}");
        }
        assert_eq!(slots("{a} {b:arch|c d}").unwrap().len(), 2);
    }
}
