//! Takes off a line what the tools around a build put onto it: colours, time stamps, prefixes.

use std::borrow::Cow;

/// How many prefixes a line may have: a container's name before a time stamp before a mark.
const PREFIXES: usize = 5;

/// The text of a line without colours and control characters, with plain quotes. Bytes that are no
/// UTF-8 become replacement characters.
pub(super) fn plain(line: &[u8]) -> Cow<'_, str> {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\t';
    if line.iter().all(is_plain) {
        return String::from_utf8_lossy(line);
    }
    let text = String::from_utf8_lossy(line);
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => skip_escape(&mut letters),
            // gcc quotes by the locale.
            '\u{2018}' | '\u{2019}' => plain.push('\''),
            '\u{201c}' | '\u{201d}' => plain.push('"'),
            '\u{feff}' => {}
            '\u{a0}' => plain.push(' '),
            '\t' => plain.push('\t'),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    Cow::Owned(plain)
}

/// Goes past an escape sequence of a terminal (ECMA-48): colours, and titles up to their end.
fn skip_escape(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match letters.peek() {
        Some('[') => {
            letters.next();
            for letter in letters.by_ref() {
                if ('@'..='~').contains(&letter) {
                    return;
                }
            }
        }
        Some(']') => {
            while let Some(letter) = letters.next() {
                if letter == '\u{7}' {
                    return;
                }
                if letter == '\u{1b}' {
                    letters.next_if_eq(&'\\');
                    return;
                }
            }
        }
        _ => {
            letters.next();
        }
    }
}

/// What a tool wrote, without what stands before it: GitHub's time stamps and marks, the names of
/// containers, the step numbers of `docker build`, the frames that pip draws.
pub(super) fn bare(line: &str) -> &str {
    let mut line = unframed(line);
    for _ in 0..PREFIXES {
        let rest = github_columns(line)
            .or_else(|| time_stamp(line))
            .or_else(|| github_mark(line))
            .or_else(|| buildkit_step(line))
            .or_else(|| container_name(line));
        match rest {
            Some(rest) => line = unframed(rest),
            None => break,
        }
    }
    line.trim_end()
}

fn unframed(line: &str) -> &str {
    line.trim_start_matches(|letter: char| letter.is_whitespace() || "│╰─×>❯".contains(letter))
}

/// `job<tab>step<tab>time text`, as `gh run view --log` prints.
fn github_columns(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('\t')?;
    let (_, rest) = rest.split_once('\t')?;
    time_stamp(rest.trim_start_matches('\u{feff}'))
}

/// `2026-11-22T05:00:00.1234567Z `, also with an offset.
fn time_stamp(line: &str) -> Option<&str> {
    let (stamp, rest) = line.split_once(' ')?;
    let bytes = stamp.as_bytes();
    let has = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    let is_stamp = (19..=40).contains(&bytes.len())
        && has(4, b'-')
        && has(7, b'-')
        && has(10, b'T')
        && has(13, b':')
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_digit() || b"-+:.,TZ".contains(byte));
    is_stamp.then_some(rest)
}

/// `##[error]text`, or the workflow command that asks for it: `::error file=x::text`.
fn github_mark(line: &str) -> Option<&str> {
    const MARKS: [&str; 7] = [
        "error", "warning", "notice", "group", "endgroup", "command", "debug",
    ];
    if let Some(rest) = line.strip_prefix("##[") {
        let (mark, rest) = rest.split_once(']')?;
        return MARKS.contains(&mark).then_some(rest);
    }
    let rest = line.strip_prefix("::")?;
    let (command, rest) = rest.split_once("::")?;
    let name = command.split(' ').next()?;
    MARKS.contains(&name).then_some(rest)
}

/// `#12 34.56 text` of a build with BuildKit, or `34.56 text` where it repeats the end of a step.
fn buildkit_step(line: &str) -> Option<&str> {
    let seconds = |text: &str| {
        let (whole, part) = text.split_once('.')?;
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(whole) && digits(part) && part.len() <= 3).then_some(())
    };
    let (first, rest) = line.split_once(' ')?;
    if let Some(step) = first.strip_prefix('#') {
        if step.is_empty() || !step.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        return match rest.split_once(' ') {
            Some((time, rest)) if seconds(time).is_some() => Some(rest),
            _ => Some(rest),
        };
    }
    seconds(first).map(|()| rest)
}

/// `builder-1  | text`, as compose prints it. What has no letter in it is a line of gcc's excerpts.
fn container_name(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once('|')?;
    let name = name.trim_end();
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (is_name && rest.starts_with(' ')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &str) {
        let plain = plain(line.as_bytes());
        assert_eq!(bare(&plain), want);
    }

    #[test]
    fn colours_and_titles_are_taken_off() {
        check("\u{1b}[31;1merror:\u{1b}[0m no\u{1b}[K", "error: no");
        check("\u{1b}]0;title\u{7}text", "text");
        check("\u{1b}]8;;http://x\u{1b}\\link", "link");
        check("a\u{1b}[", "a");
        check("bell\u{7} and\u{0} nul", "bell and nul");
    }

    #[test]
    fn quotes_of_a_locale_become_plain() {
        check("error: ‘y’ was “not”", "error: 'y' was \"not\"");
    }

    #[test]
    fn what_is_no_utf8_does_not_end_the_line() {
        assert_eq!(bare(&plain(b"x \xff Killed")), "x \u{fffd} Killed");
    }

    #[test]
    fn prefixes_of_github_are_taken_off() {
        check("2026-11-22T05:00:00.1234567Z ##[error]Killed", "Killed");
        check(
            "build\tRun make\t2026-11-22T05:00:00.1234567Z Killed",
            "Killed",
        );
        check("::error file=a.cu,line=3::no", "no");
        check("##[group]Run x", "Run x");
        check("##[other]x", "##[other]x");
    }

    #[test]
    fn prefixes_of_docker_are_taken_off() {
        check("builder-1  | Killed", "Killed");
        check("#17 515.6       Killed", "Killed");
        check("515.6 Killed", "Killed");
        check("#5 [2/3] RUN x", "[2/3] RUN x");
        check("builder-1  | 2026-11-22T05:00:00+00:00 Killed", "Killed");
    }

    #[test]
    fn frames_and_indents_are_taken_off() {
        check("  │ exit code: 1", "exit code: 1");
        check("╰─> See above", "See above");
        check("      ModuleNotFoundError: x  ", "ModuleNotFoundError: x");
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in [
            "    1 | #include <Python.h>",
            "12.8 was found",
            "2026 was a year",
            "#error -- unsupported",
            "a|b",
            "::namespace::x",
        ] {
            let want = if line == "12.8 was found" {
                "was found"
            } else {
                line.trim_start()
            };
            check(line, want);
        }
    }
}
