//! Takes secrets out of what is handed on.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in place of a secret.
const MASK: &str = "[redacted]";

/// Tokens that are known by their form, credentials in addresses, and values that are named a secret.
/// The forms are those of the services' own secret scanners.
const FORMS: [&str; 5] = [
    r"\b(?:hf_|api_org_)[A-Za-z0-9]{16,}",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|pypi-[A-Za-z0-9_-]{32,}|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|npm_[A-Za-z0-9]{30,}|dckr_pat_[A-Za-z0-9_-]{16,})",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*",
];

/// A private key has more lines than one (RFC 7468; the older headers of OpenSSL, and PGP's, are alike).
const KEY_BEGINS: &str = "-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----";
const KEY_ENDS: &str = "-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----";

/// Behind the first mark of a key its line has no words, but for line ends that a program wrote as `\n`.
const KEY_OPENS: &str = r"^(?:\\[nr]|[^A-Za-z0-9])*$";
/// What a key may have before its body: `Proc-Type: 4,ENCRYPTED`, `Version: GnuPG v2`.
const KEY_HEADER: &str = r"[A-Za-z][A-Za-z0-9-]*: ";
/// The last letters of base64 in a line, behind which nothing but quotes, commas and line ends stands.
const KEY_BODY: &str = r"([A-Za-z0-9+/=]+)(?:\\[nr]|[^A-Za-z0-9+/=])*$";

static KEY_FORMS: LazyLock<[Regex; 5]> = LazyLock::new(|| {
    [KEY_BEGINS, KEY_ENDS, KEY_OPENS, KEY_HEADER, KEY_BODY]
        .map(|text| Regex::new(text).expect("a test reads the forms"))
});

/// So many lines of a key are masked whose end does not come: an RSA key of 16,384 bits has 200.
const KEY_LINES: usize = 400;

/// A line of a key has so many letters of base64 at least: 64 to 76 are usual.
const KEY_LETTERS: usize = 16;

/// So many lines of a key may have fewer: its last one, and the checksum that PGP writes behind that.
const SHORT_LINES: usize = 2;

/// `name: value` and `https://user:password@host`; the name and the user stay.
const NAMED: [&str; 3] = [
    r"(?i)(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?P<behind>@)",
    r"(?i)(?P<keep>\b(?:proxy-)?authorization:?\s*(?:bearer|basic|token)?\s+)\S+",
    r#"(?i)(?P<keep>\b[a-z0-9_.-]*(?:token|passwd|password|secret|api[_-]?key|access[_-]?key|credentials?)["']?\s*[=:]\s*["']?)[^\s"',;&]{4,}"#,
];

/// Masks private keys in lines that come one by one.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyBlock {
    open: Option<OpenKey>,
}

impl KeyBlock {
    /// The next line, without what of it is a key. Lines that only name the mark of a key, as a script does
    /// that looks for one, hide none behind them.
    pub(super) fn masked<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        let [begins, ends, ..] = &*KEY_FORMS;
        let open = self.open.take();
        let (shown, inside) = if let Some(mut key) = open.filter(|key| key.lines > 0) {
            if !ends.is_match(line) {
                if !key.goes_on(line) {
                    return self.masked(line);
                }
                self.open = Some(key);
                return Cow::Borrowed(MASK);
            }
            ("", line)
        } else if let Some(begin) = begins.find(line) {
            line.split_at(begin.start())
        } else {
            return Cow::Borrowed(line);
        };
        let Some(end) = ends.find(inside) else {
            self.open = OpenKey::begun(shown, inside);
            return Cow::Owned(format!("{shown}{MASK}"));
        };
        // Another key may begin on the same line.
        let behind = self.masked(&inside[end.end()..]);
        Cow::Owned(format!("{shown}{MASK}{behind}"))
    }
}

/// A private key whose end has not come.
#[derive(Debug, Clone)]
struct OpenKey {
    /// How many more lines may belong to it.
    lines: usize,
    /// Where its mark stood in its line: what stands there is most often a prefix, and as long on the other lines.
    column: usize,
    has_body: bool,
    short_lines: usize,
}

impl OpenKey {
    /// The key of a line whose rest begins with the mark of one; none where the line only names that.
    fn begun(before: &str, rest: &str) -> Option<Self> {
        let [begins, _, opens, ..] = &*KEY_FORMS;
        let behind = &rest[begins.find(rest)?.end()..];
        let quote = behind.chars().next().filter(|it| "'\"`".contains(*it));
        let is_quoted = quote.is_some_and(|quote| before.contains(quote));
        (opens.is_match(behind) && !is_quoted).then_some(Self {
            lines: KEY_LINES,
            column: before.len(),
            has_body: false,
            short_lines: 0,
        })
    }

    /// Whether the next line, which is not its last, may be one of its lines.
    fn goes_on(&mut self, line: &str) -> bool {
        self.lines -= 1;
        let behind_prefix = line.get(self.column..).unwrap_or_default();
        let (Some(whole), Some(part)) = (Body::of(line), Body::of(behind_prefix)) else {
            // An empty line stands between headers and body.
            return true;
        };
        let [.., header, _] = &*KEY_FORMS;
        if !self.has_body && header.is_match(line) {
            return true;
        }
        if whole.letters >= KEY_LETTERS {
            self.has_body = true;
            return true;
        }
        self.short_lines += 1;
        (whole.is_alone || part.is_alone) && self.short_lines <= SHORT_LINES
    }
}

/// What of a line may be the body of a key.
#[derive(Debug, Clone, Copy)]
struct Body {
    letters: usize,
    /// Whether the line has nothing else.
    is_alone: bool,
}

impl Body {
    fn of(line: &str) -> Option<Self> {
        let [.., body] = &*KEY_FORMS;
        let found = body.captures(line)?.get(1)?;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        Some(Self {
            letters: found.len(),
            is_alone: !line[..found.start()].bytes().any(is_letter),
        })
    }
}

/// Masks secrets in text.
#[derive(Debug)]
pub struct Redactor {
    forms: Vec<Regex>,
    named: Vec<Regex>,
    /// Longest first: a secret may hold another.
    values: Vec<String>,
}

impl Redactor {
    /// Masks what looks like a secret, and `values` wherever they stand. Values of fewer than eight
    /// letters are left aside: they would mask ordinary words.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let regex = |text: &&str| Regex::new(text).expect("a test reads the forms");
        let mut values: Vec<_> = values
            .into_iter()
            .filter(|value| value.len() >= 8)
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self {
            forms: FORMS.iter().map(regex).collect(),
            named: NAMED.iter().map(regex).collect(),
            values,
        }
    }

    /// The line with masks in place of secrets.
    pub fn redact(&self, line: &str) -> String {
        let mut text = line.to_owned();
        for value in &self.values {
            text = text.replace(value.as_str(), MASK);
        }
        for form in &self.forms {
            text = form.replace_all(&text, MASK).into_owned();
        }
        for named in &self.named {
            text = named
                .replace_all(&text, |found: &Captures<'_>| {
                    let part = |name| found.name(name).map_or("", |part| part.as_str());
                    format!("{}{MASK}{}", part("keep"), part("behind"))
                })
                .into_owned();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &str) {
        let redactor = Redactor::new(["the-value-of-it".to_owned(), "short".to_owned()]);
        assert_eq!(redactor.redact(line), want);
    }

    #[test]
    fn tokens_are_known_by_their_form() {
        // Put together here, so that no scanner takes this file for a leak.
        let token = |start: &str| format!("{start}{}", "aB3".repeat(12));
        for start in [
            "hf_",
            "ghp_",
            "gho_",
            "github_pat_",
            "glpat-",
            "sk-ant-",
            "pypi-",
        ] {
            check(&format!("x {} y", token(start)), "x [redacted] y");
        }
        check(&format!("AKIA{}", "A1".repeat(8)), "[redacted]");
    }

    #[test]
    fn named_values_and_credentials_in_addresses_are_masked() {
        check(
            "fetch https://me:s3cret@example.org/x",
            "fetch https://me:[redacted]@example.org/x",
        );
        check(
            "Authorization: Bearer abcdef",
            "Authorization: Bearer [redacted]",
        );
        check("HF_TOKEN=abcdefgh", "HF_TOKEN=[redacted]");
        check(r#"{"api_key": "abcdefgh"}"#, r#"{"api_key": "[redacted]"}"#);
        check("db_password: hunter22", "db_password: [redacted]");
    }

    #[track_caller]
    fn check_key(lines: &[&str], want: &[&str]) {
        let mut key = KeyBlock::default();
        let masked: Vec<_> = lines.iter().map(|line| key.masked(line)).collect();
        assert_eq!(masked, want);
    }

    #[test]
    fn a_private_key_is_masked_from_its_first_line_to_its_last() {
        // Put together here, so that no scanner takes this file for a leak.
        let edge = |which: &str, what: &str| format!("-----{which} {what}PRIVATE KEY-----");
        let (begin, end) = (edge("BEGIN", "RSA "), edge("END", "RSA "));
        let first = format!("key: {begin}");
        let last = format!("{end} and more");
        let mask = "[redacted]";
        check_key(
            &["a", &first, "log | MIIEpAIBAAKCAQEA", "=", &last, "b"],
            &[
                "a",
                "key: [redacted]",
                mask,
                mask,
                "[redacted] and more",
                "b",
            ],
        );
        let one_line = format!("x {begin}\\nMIIEpAIB\\n{end}\\n y");
        check_key(&[&one_line, "b"], &["x [redacted]\\n y", "b"]);
        let two = format!("{begin}M{end},{}", edge("BEGIN", "EC "));
        check_key(&[&two, "MHc"], &["[redacted],[redacted]", mask]);
        // One that does not end hides no whole log.
        let mut key = KeyBlock::default();
        assert_eq!(key.masked(&begin), mask);
        let shown = (0..1000).filter(|_| key.masked("MIIEpAIBAAKCAQEA") != mask);
        assert_eq!(shown.count(), 1000 - KEY_LINES);
    }

    #[test]
    fn the_lines_of_a_key_are_masked_however_it_is_written() {
        let edge = |which: &str, what: &str| format!("-----{which} {what}PRIVATE KEY-----");
        let (begin, end) = (edge("BEGIN", "RSA "), edge("END", "RSA "));
        let body = "aB3/".repeat(16);
        // With headers and another program's prefix, the last line short.
        let text = [
            begin.as_str(),
            "Proc-Type: 4,ENCRYPTED",
            "DEK-Info: AES-128-CBC,0A1B",
            "",
            body.as_str(),
            "mQ==",
            end.as_str(),
            "b",
        ];
        let prefixed: Vec<_> = text.iter().map(|line| format!("12:01 | {line}")).collect();
        for lines in [text, std::array::from_fn(|at| prefixed[at].as_str())] {
            let mut key = KeyBlock::default();
            let masked: Vec<_> = lines.iter().map(|line| key.masked(line)).collect();
            assert!(masked[0].ends_with(MASK), "{masked:?}");
            assert!(masked[1..7].iter().all(|line| line == MASK), "{masked:?}");
            assert_eq!(masked[7], lines[7]);
        }
        // As strings of a program.
        let first = format!(r#"char key[] = "{begin}\n""#);
        let second = format!(r#"    "{body}\n""#);
        let last = format!(r#"    "{end}\n";"#);
        check_key(
            &[&first, &second, &second, r#"    "mQ==\n""#, &last],
            &[
                r#"char key[] = "[redacted]"#,
                MASK,
                MASK,
                MASK,
                r#"[redacted]\n";"#,
            ],
        );
        // The checksum of PGP is a short line behind a short line.
        let edge = |which: &str| format!("-----{which} PGP PRIVATE KEY BLOCK-----");
        let (begin, end) = (edge("BEGIN"), edge("END"));
        check_key(
            &[&begin, "", &body, "mQ==", "=njUN", &end, "b"],
            &[MASK, MASK, MASK, MASK, MASK, MASK, "b"],
        );
    }

    #[test]
    fn a_line_that_names_the_mark_of_a_key_hides_no_others() {
        let begin = format!("-----BEGIN {}PRIVATE KEY-----", "OPENSSH ");
        for (line, shown) in [
            (format!("+ grep -q '{begin}' f"), "+ grep -q '[redacted]"),
            (format!("+ grep -q '{begin}'"), "+ grep -q '[redacted]"),
            (format!("no {begin} in f"), "no [redacted]"),
        ] {
            let others = ["error: x", "", "make: *** [Makefile:3: all] Error 1"];
            check_key(
                &[&line, others[0], others[1], others[2]],
                &[shown, others[0], others[1], others[2]],
            );
        }
        // Nor does one that looks like the first line of a key, once a line is none of a key's.
        let body = "aB3/".repeat(16);
        let other = "x.cu(3): error: no";
        check_key(&[&begin, &body, other, &body], &[MASK, MASK, other, &body]);
        check_key(
            &[&begin, "Entering 1 of 2", "b"],
            &[MASK, "Entering 1 of 2", "b"],
        );
        let word = ["one", "two", "three"];
        check_key(
            &[&begin, word[0], word[1], word[2]],
            &[MASK, MASK, MASK, word[2]],
        );
    }

    #[test]
    fn given_values_are_masked_anywhere() {
        check("a the-value-of-it-b", "a [redacted]-b");
        check("short", "short");
    }

    #[test]
    fn ordinary_lines_stay_as_they_are() {
        for line in [
            "nvcc fatal   : Unsupported gpu architecture 'compute_120'",
            "csrc/tokenizer.cu(3): error: expected a token",
            "https://github.com/Dao-AILab/flash-attention/issues/2361",
            "FAILED: [code=1] /tmp/w/demo.o",
            "demo.cpp:1:9: error: expected unqualified-id before ';' token",
        ] {
            check(line, line);
        }
    }
}
