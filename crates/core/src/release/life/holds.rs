//! What lock files point to. Their formats are many (requirements, uv.lock, pylock.toml, Dockerfiles),
//! and what matters stands in all of them as plain text: digests, file names, versions.
//!
//! Reading too much out of a file holds a wheel for longer; reading too little breaks somebody's
//! installation. So a file is read as text, and whatever could be meant counts.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use pep440_rs::Version;

use crate::digest::Sha256Digest;
use crate::ident::PackageName;
use crate::release::catalog::{Catalog, CatalogWheel};
use crate::wheel::name::WheelName;

/// What files point to: digests, wheels by name, versions by pin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    files: Vec<HeldBy>,
}

/// What one file points to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HeldBy {
    file: String,
    sha256: BTreeSet<Sha256Digest>,
    names: BTreeSet<WheelName>,
    pins: BTreeMap<PackageName, BTreeSet<Version>>,
}

impl Holds {
    /// Reads `text`, which the user knows as `file`.
    pub fn add(&mut self, file: &str, text: &str) {
        self.files.push(HeldBy {
            file: file.to_owned(),
            sha256: digests(text),
            names: names(text),
            pins: pins(text),
        });
    }

    /// The first file that points to `wheel`.
    pub fn file_of(&self, wheel: &CatalogWheel) -> Option<&str> {
        let mut files = self.files.iter();
        let holder = files.find(|held| held.points_to(wheel))?;
        Some(&holder.file)
    }

    /// How many wheels of `catalog` each file points to, in the order in which they were read.
    pub fn counts(&self, catalog: &Catalog) -> Vec<(&str, usize)> {
        let wheels = || catalog.wheels.values();
        let count = |held: &HeldBy| wheels().filter(|wheel| held.points_to(wheel)).count();
        let files = self.files.iter();
        files
            .map(|held| (held.file.as_str(), count(held)))
            .collect()
    }
}

impl HeldBy {
    fn points_to(&self, wheel: &CatalogWheel) -> bool {
        let name = &wheel.file_name;
        self.sha256.contains(&wheel.sha256) || self.names.contains(name) || self.pins(name)
    }

    /// Whether the file pins the wheel's version. A pin without a local part admits any (PEP 440).
    fn pins(&self, name: &WheelName) -> bool {
        let Ok(version) = Version::from_str(&name.full_version()) else {
            return false;
        };
        let public = version.clone().without_local();
        let pins = self.pins.get(name.project());
        pins.is_some_and(|pins| pins.contains(&version) || pins.contains(&public))
    }
}

/// Every run of 64 hexadecimal digits.
pub(super) fn digests(text: &str) -> BTreeSet<Sha256Digest> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() == 64)
        .filter_map(|word| word.to_ascii_lowercase().parse().ok())
        .collect()
}

/// Every wheel's name, bare or at the end of an address, with `+` as it is or written out.
fn names(text: &str) -> BTreeSet<WheelName> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.+!%".contains(c);
    text.split(|c: char| !is_part(c))
        .filter_map(|word| {
            let end = word.find(".whl")? + ".whl".len();
            let name = word[..end].replace("%2B", "+").replace("%2b", "+");
            name.replace("%21", "!").parse().ok()
        })
        .collect()
}

/// Every `name==version`, with or without spaces and extras.
fn pins(text: &str) -> BTreeMap<PackageName, BTreeSet<Version>> {
    let mut pins: BTreeMap<PackageName, BTreeSet<Version>> = BTreeMap::new();
    for (at, _) in text.match_indices("==") {
        let before = text[..at].trim_end_matches(['=', ' ', '\t']);
        let before = match before
            .strip_suffix(']')
            .and_then(|head| head.rsplit_once('['))
        {
            Some((name, _)) => name.trim_end(),
            None => before,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = before.rsplit(|c: char| !is_name(c)).next();
        let after = text[at..].trim_start_matches(['=', ' ', '\t', '"', '\'']);
        let is_version = |c: char| c.is_ascii_alphanumeric() || "-_.+!*".contains(c);
        let version = after.split(|c: char| !is_version(c)).next();
        let name = name.map(PackageName::normalise);
        let version = version.map(Version::from_str);
        if let (Some(Ok(name)), Some(Ok(version))) = (name, version) {
            pins.entry(name).or_default().insert(version);
        }
    }
    pins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::catalog::Track;
    use crate::release::life::tests::{catalog, wheel};

    fn held() -> CatalogWheel {
        let name = "1.0+cu130torch2.11-cp311-cp311";
        wheel(name, "cu130/torch2.11", 1, &[Track::Stable])
    }

    #[track_caller]
    fn check(text: &str, is_held: bool) {
        let mut holds = Holds::default();
        holds.add("other.txt", "nothing here");
        holds.add("lock", text);
        let want = is_held.then_some("lock");
        assert_eq!(holds.file_of(&held()), want, "{text}");
        let catalog = catalog([held()]);
        let counts = holds.counts(&catalog);
        assert_eq!(counts, [("other.txt", 0), ("lock", usize::from(is_held))]);
    }

    #[test]
    fn a_lock_file_holds_what_it_names_in_any_form() {
        let wheel = held();
        let (digest, name) = (wheel.sha256.to_string(), wheel.file_name.to_string());
        let written = name.replace('+', "%2B");
        for text in [
            format!("demo==9.9 \\\n    --hash=sha256:{digest}\n"),
            format!("sdist = {{ hash = \"sha256:{}\" }}", digest.to_uppercase()),
            format!("RUN pip install https://example.org/files/ab/{digest}/{written}"),
            format!(
                "demo @ https://example.org/x/{written}#sha256={}",
                "0".repeat(64)
            ),
            format!("{{ url = \"https://example.org/x/{name}.metadata\" }}"),
            format!("{name}\n"),
            "demo==1.0+cu130torch2.11".to_owned(),
            "Demo[all] == 1.0 ; python_version > '3'".to_owned(),
            "\"demo===1.0+cu130torch2.11\",".to_owned(),
            "RUN uv pip install \"demo==1.0.0\" torch==2.11.0".to_owned(),
        ] {
            check(&text, true);
        }
    }

    #[test]
    fn a_lock_file_holds_nothing_else() {
        let wheel = held();
        let digest = wheel.sha256.to_string();
        let name = wheel.file_name.to_string();
        for text in [
            String::new(),
            format!("sha256:{}", "0".repeat(64)),
            digest[..63].to_owned(),
            format!("{digest}0"),
            name.replace("cp311", "cp312"),
            name.replace(".whl", ".zip"),
            "demo==1.0+cu128torch2.8".to_owned(),
            "demo==1.1".to_owned(),
            "demo>=1.0".to_owned(),
            "other-demo==1.0".to_owned(),
            "demo==1.*".to_owned(),
        ] {
            check(&text, false);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "(\\PC|==|\\.whl|%2B|\\n){0,60}") {
            Holds::default().add("lock", &text);
        }
    }
}
