//! Lines of files as bytes with their ends, and how they are shown to people.

/// The lines of `bytes`, each with its line end; the last may have none.
pub(super) fn split(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The line without its end.
pub(super) fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The line as it can be printed: on one line, with `\r` and other control characters written
/// out, and cut where it gets long.
pub(super) fn shown(line: &[u8]) -> String {
    const LONGEST: usize = 160;
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let mut out = String::new();
    for (place, c) in text.chars().enumerate() {
        if place == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// `line 3`, or `lines 3, 8`: a list for a message.
pub(super) fn numbered(lines: &[usize]) -> String {
    const MOST: usize = 8;
    let shown: Vec<_> = lines.iter().take(MOST).map(ToString::to_string).collect();
    let word = if lines.len() == 1 { "line" } else { "lines" };
    match lines.len().saturating_sub(MOST) {
        0 => format!("{word} {}", shown.join(", ")),
        more => format!("{word} {} and {more} more", shown.join(", ")),
    }
}

/// The line of `lines` that is most like `wanted`, by place, if any is like it at all.
pub(super) fn nearest(lines: &[&[u8]], wanted: &[u8]) -> Option<usize> {
    let wanted = pairs(wanted);
    let scored = lines.iter().enumerate().map(|(place, line)| {
        let found = pairs(line);
        let common = common(&wanted, &found);
        (2000 * common / (wanted.len() + found.len()).max(1), place)
    });
    let best = scored.max_by_key(|(score, place)| (*score, std::cmp::Reverse(*place)))?;
    (best.0 >= 500).then_some(best.1)
}

/// The sorted pairs of neighbouring bytes of a line, without the space around it.
fn pairs(line: &[u8]) -> Vec<[u8; 2]> {
    let mut pairs: Vec<_> = line
        .trim_ascii()
        .windows(2)
        .filter_map(|pair| pair.try_into().ok())
        .collect();
    pairs.sort_unstable();
    pairs
}

/// How many elements two sorted lists share.
fn common(left: &[[u8; 2]], right: &[[u8; 2]]) -> usize {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut count = 0;
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
            std::cmp::Ordering::Equal => {
                count += 1;
                left.next();
                right.next();
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_ends() {
        let lines = split(b"a\r\nb\n\nc");
        assert_eq!(lines, [&b"a\r\n"[..], b"b\n", b"\n", b"c"]);
        assert_eq!(content(b"a\r\n"), b"a");
        assert!(split(b"").is_empty());
    }

    #[test]
    fn shown_lines_are_one_line_and_harmless() {
        assert_eq!(shown(b"a\tb\x1b[31m\r\n"), "a\tb\\u{1b}[31m\\r");
        assert_eq!(shown(&[b'x'; 200]).chars().count(), 161);
        assert_eq!(shown(b"\xff\n"), "\u{fffd}");
    }

    #[test]
    fn the_nearest_line_is_found() {
        let lines = split(b"import os\n    arch = '8.0'\n    archs = ['8.0']\n\n");
        assert_eq!(nearest(&lines, b"archs = ['9.0']"), Some(2));
        assert_eq!(nearest(&lines, b"completely different"), None);
        assert_eq!(nearest(&[], b"x"), None);
    }
}
