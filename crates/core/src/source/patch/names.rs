//! The names of files in diffs: prefixes, and git's quotes.

/// The path that two names mean: the same name, or the same below one-letter folders such as
/// git's `a/` and `b/`.
pub(super) fn one_path<'a>(old: &'a str, new: &str) -> Option<&'a str> {
    if old == new {
        return Some(old);
    }
    let below = |name: &str| name.as_bytes().get(1) == Some(&b'/') && name.is_char_boundary(2);
    (below(old) && below(new) && old[2..] == new[2..]).then(|| &old[2..])
}

/// The path of a `diff --git` line. Its two names have one length, unless one of them is quoted.
pub(super) fn git_path(names: &str) -> Option<String> {
    let (old, new) = if names.starts_with('"') {
        let (old, rest) = unquoted(names)?;
        let (new, _) = unquoted(rest.strip_prefix(' ')?)?;
        (old, new)
    } else {
        let (old, new) = names.split_at_checked(names.len() / 2)?;
        (old.to_owned(), new.strip_prefix(' ')?.to_owned())
    };
    one_path(&old, &new).map(str::to_owned)
}

/// A name in double quotes as git writes it where it holds anything unusual, and what follows it.
pub(super) fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text.strip_prefix('"')?.as_bytes();
    loop {
        let (first, after) = rest.split_first()?;
        rest = after;
        match first {
            b'"' => break,
            b'\\' => {
                let (escape, after) = rest.split_first()?;
                rest = after;
                let byte = match escape {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'\\' | b'"' => *escape,
                    b'0'..=b'3' => {
                        let (more, after) = rest.split_at_checked(2)?;
                        rest = after;
                        let digits = [*escape, more[0], more[1]];
                        u8::from_str_radix(str::from_utf8(&digits).ok()?, 8).ok()?
                    }
                    _ => return None,
                };
                bytes.push(byte);
            }
            other => bytes.push(*other),
        }
    }
    let after = str::from_utf8(rest).ok()?;
    Some((String::from_utf8(bytes).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_prefixes_are_taken_off_in_pairs() {
        assert_eq!(one_path("a/x", "b/x"), Some("x"));
        assert_eq!(one_path("a/x", "a/x"), Some("a/x"));
        assert_eq!(one_path("a/x", "b/y"), None);
        assert_eq!(one_path("x.orig", "x"), None);
        assert_eq!(one_path("ü/x", "b/x"), None);
    }

    #[test]
    fn the_line_of_git_holds_one_path_twice() {
        assert_eq!(git_path("a/x y b/x y").as_deref(), Some("x y"));
        assert_eq!(git_path("x x").as_deref(), Some("x"));
        assert_eq!(
            git_path(r#""a/\303\274" "b/\303\274""#).as_deref(),
            Some("ü")
        );
        assert_eq!(git_path("a/x b/yy"), None);
        assert_eq!(git_path("ü"), None);
    }

    #[test]
    fn quotes_are_read_to_their_end() {
        assert_eq!(unquoted(r#""a\t\"b" c"#), Some(("a\t\"b".to_owned(), " c")));
        for bad in [r#""a"#, r#""\x""#, r#""\30""#, r#""\377""#, "a"] {
            assert_eq!(unquoted(bad), None, "{bad}");
        }
    }
}
