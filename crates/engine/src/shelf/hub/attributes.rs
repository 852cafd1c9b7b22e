//! The line of `.gitattributes` that makes a Hub store wheels as LFS.

/// The file's name.
pub(super) const FILE_NAME: &str = ".gitattributes";

/// The Hub's default file names many endings and not this one.
const LINE: &str = "*.whl filter=lfs diff=lfs merge=lfs -text";

/// `text` with the line; nothing where what it says of wheels is that already.
pub(super) fn with_wheels(text: &str) -> Option<String> {
    let of_wheels = |line: &&str| line.split_whitespace().next() == Some("*.whl");
    // Of several lines for one pattern, the last counts (gitattributes(5)).
    let last = text.lines().rfind(of_wheels);
    if last.is_some_and(|line| line.split_whitespace().any(|word| word == "filter=lfs")) {
        return None;
    }
    let joint = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Some(format!("{text}{joint}{LINE}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_added_once() {
        let added = with_wheels("*.bin filter=lfs -text").unwrap();
        assert_eq!(
            added,
            "*.bin filter=lfs -text\n*.whl filter=lfs diff=lfs merge=lfs -text\n"
        );
        assert_eq!(with_wheels(&added), None);
        assert_eq!(with_wheels("").unwrap(), format!("{LINE}\n"));
        assert!(with_wheels("*.whl text\n").is_some());
        assert!(with_wheels(&format!("{LINE}\n*.whl -filter\n")).is_some());
    }
}
