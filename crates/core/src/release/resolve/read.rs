//! Reads of a catalog what is said of one package, and passes over the rest.
//!
//! A catalog of 10,000 wheels is some 15 MB, of which an answer needs a few lines. Entries are told apart by
//! JSON's own brackets and strings, whatever their order and layout; those that name the package are
//! read in full, by the reader of catalogs.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::ident::PackageName;
use crate::release::catalog::{Catalog, CatalogError};

/// A catalog's wheels of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The catalog, with these wheels alone.
    pub catalog: Catalog,
    /// The packages that there are, where there is no wheel of the one that is wanted.
    pub packages: BTreeSet<PackageName>,
}

/// Reads a catalog's wheels of `package`.
///
/// What is said of other packages is not checked, unless there is no wheel of this one.
pub fn read_package(text: &str, package: &PackageName) -> Result<Excerpt, CatalogError> {
    let mut catalog = match excerpt(text, package) {
        Some(text) => Catalog::parse(&text)?,
        // Not the JSON of a catalog: its reader says what is wrong.
        None => Catalog::parse(text)?,
    };
    catalog.wheels.retain(|_, wheel| wheel.package == *package);
    let packages = if catalog.wheels.is_empty() {
        let all = Catalog::parse(text)?;
        all.wheels
            .into_values()
            .map(|wheel| wheel.package)
            .collect()
    } else {
        BTreeSet::new()
    };
    Ok(Excerpt { catalog, packages })
}

/// The same text without the entries that cannot be about the package.
fn excerpt(text: &str, package: &PackageName) -> Option<String> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        wanted: package.as_str().as_bytes(),
        is_met: false,
    };
    let (whole, entries) = scanner.entries()?;
    let entries: Vec<&str> = entries.into_iter().map(|place| &text[place]).collect();
    let (before, after) = (&text[..whole.start], &text[whole.end..]);
    Some(format!("{before}[{}]{after}", entries.join(",")))
}

/// Walks over JSON. What it takes for granted is checked by the reader that gets what it leaves.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    wanted: &'a [u8],
    /// Whether a text was passed that is the wanted one, or may be since it has an escape.
    is_met: bool,
}

impl Scanner<'_> {
    /// The place of the list of wheels, and of each entry in it that has the wanted text.
    fn entries(&mut self) -> Option<(Range<usize>, Vec<Range<usize>>)> {
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            if &self.bytes[key] == b"wheels" {
                break;
            }
            self.value()?;
            self.expect(b',')?;
        }
        self.expect(b'[')?;
        let start = self.at - 1;
        let mut entries = Vec::new();
        if self.next_is(b']') {
            return Some((start..self.at, entries));
        }
        loop {
            self.is_met = false;
            let entry = self.value()?;
            if self.is_met {
                entries.push(entry);
            }
            if self.next_is(b']') {
                return Some((start..self.at, entries));
            }
            self.expect(b',')?;
        }
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn next_is(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let is_next = self.bytes.get(self.at) == Some(&wanted);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.next_is(wanted).then_some(())
    }

    /// The place of the first quote or escape from `at` on, eight bytes at a time: nearly all of a catalog
    /// is in texts.
    fn text_end(&self, mut at: usize) -> Option<usize> {
        while let Some(word) = self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*word);
            let found = bytes_of(word, b'"') | bytes_of(word, b'\\');
            if found != 0 {
                return Some(at + usize::try_from(found.trailing_zeros() / 8).ok()?);
            }
            at += 8;
        }
        let rest = self.bytes.get(at..)?.iter();
        let mut rest = rest.enumerate();
        let (more, _) = rest.find(|(_, byte)| matches!(byte, b'"' | b'\\'))?;
        Some(at + more)
    }

    /// Passes a text; its place, without the quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut has_escape = false;
        loop {
            self.at = self.text_end(self.at)?;
            if self.bytes[self.at] == b'"' {
                break;
            }
            // Only that one can stand for a letter.
            has_escape |= self.bytes.get(self.at + 1) == Some(&b'u');
            self.at += 2;
        }
        let place = start..self.at;
        self.at += 1;
        self.is_met |= has_escape || self.bytes[place.clone()] == *self.wanted;
        Some(place)
    }

    /// Passes a value; its place.
    fn value(&mut self) -> Option<Range<usize>> {
        self.skip_space();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.bytes.get(self.at)? {
                b'"' => {
                    self.string()?;
                    if depth == 0 {
                        return Some(start..self.at);
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => break,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Some(start..self.at);
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        // A number or a word ends where something else begins.
        (self.at > start).then_some(start..self.at)
    }
}

/// The highest bit of the lowest byte of `word` that is `byte`, and perhaps of some above that: a known
/// trick, exact up to its first hit (<https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>).
fn bytes_of(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let differs = word ^ u64::from_le_bytes([byte; 8]);
    differs.wrapping_sub(ONES) & !differs & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::catalog::Track;
    use crate::release::catalog::tests::sample;

    const NOW: &str = "2026-11-21T03:00:00Z";

    /// A catalog of two packages, one of which names the other in a requirement.
    fn catalog() -> Catalog {
        let mut other = sample();
        let name = other
            .file_name
            .to_string()
            .replace("torch_spline_conv", "demo");
        other.file_name = name.parse().unwrap();
        other.package = "demo".parse().unwrap();
        other.requires_dist = vec!["torch-spline-conv".to_owned(), "a\"\\b]".to_owned()];
        let wheels = [sample(), other];
        Catalog::empty().with(wheels, Track::Stable, NOW).unwrap()
    }

    #[track_caller]
    fn check(text: &str) {
        for package in ["demo", "torch-spline-conv"] {
            let package = package.parse().unwrap();
            let excerpt = read_package(text, &package).unwrap();
            let mut want = catalog();
            want.wheels.retain(|_, wheel| wheel.package == package);
            assert_eq!(want.wheels.len(), 1);
            assert_eq!(excerpt.catalog, want);
            assert!(excerpt.packages.is_empty());
        }
    }

    #[test]
    fn the_layout_of_the_json_does_not_matter() {
        let text = catalog().to_text();
        check(&text);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        check(&value.to_string());
        check(&serde_json::to_string_pretty(&value).unwrap());
        check(&text.replace(',', "\r\n\t, "));
        // An escape for a letter is the letter.
        check(&text.replace("\"demo\"", "\"d\\u0065mo\""));
        // The head may come after the wheels.
        let head = format!("\"published_at\": \"{NOW}\",\n");
        let later = text.replace(&head, "");
        let later = format!(
            "{},\n\"x\": {{\"wheels\": []}}, \"published_at\": \"{NOW}\"}}",
            later.trim_end().trim_end_matches('}')
        );
        check(&later);
    }

    #[test]
    fn an_excerpt_has_what_names_the_package_and_no_more() {
        let text = catalog().to_text();
        let short = excerpt(&text, &"nothing".parse().unwrap()).unwrap();
        assert!(!short.contains("torch_spline_conv-") && !short.contains("demo-"));
        let escaped = text.replace("a\\\"", "\\u0061");
        let short = excerpt(&escaped, &"nothing".parse().unwrap()).unwrap();
        // The one with an escape may be about anything.
        assert!(!short.contains("torch_spline_conv-") && short.contains("demo-"));
        let excerpt = read_package(&text, &"nothing".parse().unwrap()).unwrap();
        assert_eq!(excerpt.catalog.wheels.len(), 0);
        let packages: Vec<&str> = excerpt.packages.iter().map(PackageName::as_str).collect();
        assert_eq!(packages, ["demo", "torch-spline-conv"]);
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics_and_what_is_left_is_as_the_whole(
            text in "([\\[\\]{},:\"\\\\u a]|wheels|\"wheels\": ?\\[|demo|é|[0-9]){0,60}",
            at in 0..2000_usize,
        ) {
            let package: PackageName = "demo".parse().unwrap();
            drop(read_package(&text, &package));
            // A catalog with something in it that does not belong there.
            let mut broken = catalog().to_text();
            if broken.is_char_boundary(at) {
                broken.insert_str(at.min(broken.len()), &text);
            }
            let (ours, whole) = (read_package(&broken, &package), Catalog::parse(&broken));
            if let (Ok(ours), Ok(mut whole)) = (ours, whole) {
                whole.wheels.retain(|_, wheel| wheel.package == package);
                prop_assert_eq!(ours.catalog, whole);
            }
        }
    }

    #[test]
    fn what_is_no_catalog_is_told_as_the_reader_of_catalogs_tells_it() {
        let text = catalog().to_text();
        let package: PackageName = "demo".parse().unwrap();
        let mut cut = 0;
        for end in (0..text.trim_end().len()).step_by(7) {
            let res = read_package(&text[..end], &package);
            assert!(
                matches!(res, Err(CatalogError::Malformed(_))),
                "{end}: {res:?}"
            );
            cut += 1;
        }
        assert!(cut > 100);
        for other in ["", "[]", "null", "{\"wheels\": 3}", "<!doctype html><html>"] {
            assert!(read_package(other, &package).is_err(), "{other}");
        }
        let schema = text.replace("\"schema\": 2", "\"schema\": 3");
        let res = read_package(&schema, &package);
        assert!(
            matches!(res, Err(CatalogError::OtherSchema { found: 3 })),
            "{res:?}"
        );
    }
}
