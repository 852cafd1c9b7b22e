//! Python's stable ABI: what a module that is built once for all later Pythons may use
//! (<https://docs.python.org/3/c-api/stable.html>).

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A version of Python: major and minor.
type Minor = (u8, u8);

static SYMBOLS: LazyLock<BTreeMap<&str, Minor>> = LazyLock::new(|| {
    let lines = include_str!("../../data/stable-abi.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| read(line).expect("a test reads the built-in list"))
        .collect()
});

fn read(line: &str) -> Option<(&str, Minor)> {
    let (name, version) = line.split_once(' ')?;
    let (major, minor) = version.split_once('.')?;
    Some((name, (major.parse().ok()?, minor.parse().ok()?)))
}

/// The Python since which `symbol` is in the stable ABI; `None` if it is not.
pub(crate) fn since(symbol: &str) -> Option<Minor> {
    SYMBOLS.get(symbol).copied()
}

/// The Python that a tag of the stable ABI starts at: 3.9 for `cp39`.
pub(crate) fn start_of(tag: &str) -> Option<Minor> {
    let digits = tag.strip_prefix("cp")?;
    let (major, minor) = digits.split_at_checked(1)?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_stable_since_a_version_or_not_at_all() {
        assert_eq!(since("PyLong_FromLong"), Some((3, 2)));
        assert_eq!(since("_Py_NoneStruct"), Some((3, 2)));
        assert_eq!(since("PyObject_Vectorcall"), Some((3, 12)));
        assert_eq!(since("_PyLong_AsByteArray"), None);
        assert!(SYMBOLS.len() > 900);
    }

    #[test]
    fn a_tag_names_the_first_python() {
        assert_eq!(start_of("cp39"), Some((3, 9)));
        assert_eq!(start_of("cp312"), Some((3, 12)));
        assert_eq!(start_of("py3"), None);
        assert_eq!(start_of("cp"), None);
    }
}
