//! The families that libraries belong to, by their sonames: `data/libraries.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::Pattern;
use crate::yaml;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawFamilies {
    #[expect(dead_code, reason = "judged before the rest is read")]
    schema: u32,
    families: BTreeMap<String, RawFamily>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawFamily {
    source: String,
    sonames: Vec<String>,
}

pub(crate) static FAMILIES: LazyLock<BTreeMap<String, Vec<Pattern>>> = LazyLock::new(|| {
    const TEXT: &str = include_str!("../../../data/libraries.yaml");
    let raw: RawFamilies =
        yaml::parse_schema_1("libraries.yaml", TEXT).expect("a test reads the built-in families");
    let patterns = |family: RawFamily| {
        assert!(!family.source.is_empty(), "a family cites its source");
        let sonames = family.sonames.iter();
        let patterns = sonames.map(|text| Pattern::new(text).expect("a test reads every soname"));
        patterns.collect()
    };
    let families = raw.families.into_iter();
    families
        .map(|(name, family)| (name, patterns(family)))
        .collect()
});

/// The family that a soname belongs to.
pub fn family_of(soname: &str) -> Option<&'static str> {
    let fits = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(soname));
    let mut families = FAMILIES.iter();
    families
        .find(|(_, patterns)| fits(patterns))
        .map(|(name, _)| name.as_str())
}
