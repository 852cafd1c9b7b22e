//! Symbol versions: `GLIBC_2.28` and its like.

use std::collections::BTreeMap;

/// The highest of each prefix, and those that are not numbered, sorted.
pub(super) fn highest_of_each(versions: &[String]) -> Vec<String> {
    let mut highest: BTreeMap<&str, &str> = BTreeMap::new();
    let mut kept: Vec<String> = Vec::new();
    for version in versions {
        match split_version(version) {
            Some((prefix, number)) => {
                let known = highest.entry(prefix).or_insert(number);
                if version_numbers(number) > version_numbers(known) {
                    *known = number;
                }
            }
            None => kept.push(version.clone()),
        }
    }
    kept.extend(
        highest
            .iter()
            .map(|(prefix, number)| format!("{prefix}_{number}")),
    );
    kept.sort();
    kept.dedup();
    kept
}

/// `GLIBC_2.28` is `GLIBC` and `2.28`; `None` for what carries no number.
pub(crate) fn split_version(version: &str) -> Option<(&str, &str)> {
    let (prefix, number) = version.rsplit_once('_')?;
    version_numbers(number)?;
    Some((prefix, number))
}

/// `2.28` as numbers, to be compared.
pub(crate) fn version_numbers(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_of_each_prefix_is_kept() {
        let versions = [
            "GLIBC_2.2.5",
            "GLIBC_2.28",
            "GLIBC_2.3",
            "GLIBC_ABI_DT_RELR",
            "CXXABI_1.3",
            "CXXABI_TM_1",
            "GLIBC_PRIVATE",
            "libcudart.so.12",
        ];
        let versions: Vec<String> = versions.map(str::to_owned).to_vec();
        assert_eq!(
            highest_of_each(&versions),
            [
                "CXXABI_1.3",
                "CXXABI_TM_1",
                "GLIBC_2.28",
                "GLIBC_ABI_DT_RELR",
                "GLIBC_PRIVATE",
                "libcudart.so.12",
            ]
        );
    }
}
