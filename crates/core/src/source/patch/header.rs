//! What every patch says of itself: why it is there, what upstream knows of it, when it goes.

use serde::Serialize;

use super::error::PatchError;

/// What a patch says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PatchHeader {
    /// Why it is there.
    pub why: String,
    /// What upstream knows of it: an issue, a pull request, or that it has been told nothing.
    pub upstream: String,
    /// When it can go.
    pub drop_when: String,
}

const KEYS: [&str; 3] = ["Why", "Upstream", "Drop-when"];

impl PatchHeader {
    /// A header for a patch that is to be written. White space is one blank: each value is one line.
    ///
    /// # Errors
    /// The names of the values that are empty, as a patch writes them.
    pub fn new(why: &str, upstream: &str, drop_when: &str) -> Result<Self, Vec<&'static str>> {
        let values = [why, upstream, drop_when];
        let [why, upstream, drop_when] =
            values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "));
        let header = Self {
            why,
            upstream,
            drop_when,
        };
        let missing = missing(&header.values());
        if missing.is_empty() {
            Ok(header)
        } else {
            Err(missing)
        }
    }

    /// The header as a diff has it before its first line.
    pub(super) fn for_diff(&self) -> String {
        let lines = std::iter::zip(KEYS, self.values());
        lines
            .flat_map(|(key, value)| [key, ": ", value, "\n"])
            .collect()
    }

    fn values(&self) -> [&str; 3] {
        [&self.why, &self.upstream, &self.drop_when]
    }

    /// The header from its three values, in the order of the fields.
    pub(super) fn checked(patch: &str, values: [Option<String>; 3]) -> Result<Self, PatchError> {
        let values = values.map(|value| value.unwrap_or_default().trim().to_owned());
        let missing = missing(&values.each_ref().map(String::as_str));
        if !missing.is_empty() {
            return Err(PatchError::NoHeader {
                patch: patch.to_owned(),
                missing,
            });
        }
        let [why, upstream, drop_when] = values;
        Ok(Self {
            why,
            upstream,
            drop_when,
        })
    }
}

fn missing(values: &[&str; 3]) -> Vec<&'static str> {
    let empty = std::iter::zip(KEYS, values).filter(|(_, value)| value.is_empty());
    empty.map(|(key, _)| key).collect()
}

/// What stands before the diff itself, as it was written.
pub(super) fn text_of_diff(text: &str) -> &str {
    let lines = text
        .split_inclusive('\n')
        .take_while(|line| !starts_diff(line));
    &text[..lines.map(str::len).sum()]
}

fn starts_diff(line: &str) -> bool {
    line.starts_with("---") || line.starts_with("diff --git ")
}

/// The header of a diff: lines before the first that begins with `---`, among what git's mail
/// format puts there.
pub(super) fn of_diff(patch: &str, text: &str) -> Result<PatchHeader, PatchError> {
    let lines = text.lines().take_while(|line| !starts_diff(line));
    read(patch, lines)
}

/// The header of a script: comment lines before the first line of code.
pub(super) fn of_script(patch: &str, text: &str) -> Result<PatchHeader, PatchError> {
    let lines = text
        .lines()
        .take_while(|line| line.starts_with('#') || line.trim().is_empty())
        .map(|line| {
            let comment = line.strip_prefix('#').unwrap_or_default();
            comment.strip_prefix(' ').unwrap_or(comment)
        });
    read(patch, lines)
}

/// A line that begins with a space goes on with the value before it.
fn read<'a>(patch: &str, lines: impl Iterator<Item = &'a str>) -> Result<PatchHeader, PatchError> {
    let mut values: [Option<String>; 3] = [None, None, None];
    let mut open: Option<usize> = None;
    for line in lines {
        let found = KEYS.iter().enumerate().find_map(|(place, key)| {
            let value = line.strip_prefix(key)?.strip_prefix(':')?;
            Some((place, value))
        });
        match (found, open) {
            (Some((place, _)), _) if values[place].is_some() => {
                return Err(PatchError::RepeatedHeader {
                    patch: patch.to_owned(),
                    key: KEYS[place],
                });
            }
            (Some((place, value)), _) => {
                values[place] = Some(value.trim().to_owned());
                open = Some(place);
            }
            (None, Some(place)) if line.starts_with([' ', '\t']) && !line.trim().is_empty() => {
                let value = values[place].get_or_insert_default();
                value.push(' ');
                value.push_str(line.trim());
            }
            (None, _) => open = None,
        }
    }
    PatchHeader::checked(patch, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_stands_anywhere_in_a_mail() {
        let text = "From d1a57a5 Mon Sep 17 00:00:00 2001\nFrom: A <a@x>\nSubject: [PATCH] x\n\n\
                    Why: nvcc of CUDA 13\n  refuses sm_70\nDrop-when: 2.3.0\n\
                    Upstream: https://github.com/a/b/pull/1\n\nMore text.\n---\n x.py | 2 +-\n";
        let header = of_diff("1.patch", text).unwrap();
        assert_eq!(header.why, "nvcc of CUDA 13 refuses sm_70");
        assert_eq!(header.upstream, "https://github.com/a/b/pull/1");
        assert_eq!(header.drop_when, "2.3.0");
    }

    #[test]
    fn what_is_missing_is_named() {
        let diff = |text: &str| of_diff("1.patch", text).unwrap_err().report();
        let script = |text: &str| of_script("1.sh", text).unwrap_err().report();
        insta::assert_snapshot!(
            [
                diff("--- a/x\nWhy: too late\n"),
                diff("Why: x\nUpstream:\n"),
                diff("Why: x\nWhy: y\n"),
                script("# Why: x\n\n# Upstream: y\nset -e\n# Drop-when: too late\n"),
            ]
            .join("\n"),
            @"
            patch `1.patch` does not say `Why`, `Upstream`, `Drop-when`
            hint: put `Why: …`, `Upstream: …` and `Drop-when: …` before the first `---` line
            patch `1.patch` does not say `Upstream`, `Drop-when`
            hint: put `Why: …`, `Upstream: …` and `Drop-when: …` before the first `---` line
            patch `1.patch` says `Why` twice
            patch `1.sh` does not say `Drop-when`
            hint: put `# Why: …`, `# Upstream: …` and `# Drop-when: …` at the top of the script
            "
        );
    }
}
