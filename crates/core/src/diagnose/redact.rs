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

static KEY_EDGES: LazyLock<[Regex; 2]> = LazyLock::new(|| {
    [KEY_BEGINS, KEY_ENDS].map(|text| Regex::new(text).expect("a test reads the edges"))
});

/// So many lines of a key are masked whose end does not come: an RSA key of 16,384 bits has 200.
const KEY_LINES: usize = 400;

/// `name: value` and `https://user:password@host`; the name and the user stay.
const NAMED: [&str; 3] = [
    r"(?i)(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?P<behind>@)",
    r"(?i)(?P<keep>\b(?:proxy-)?authorization:?\s*(?:bearer|basic|token)?\s+)\S+",
    r#"(?i)(?P<keep>\b[a-z0-9_.-]*(?:token|passwd|password|secret|api[_-]?key|access[_-]?key|credentials?)["']?\s*[=:]\s*["']?)[^\s"',;&]{4,}"#,
];

/// Masks private keys in lines that come one by one.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyBlock {
    /// How many more lines belong to a key whose end has not come.
    open: usize,
}

impl KeyBlock {
    /// The next line, without what of it is a key. Between its edges nothing is shown: a body that another
    /// program wrote its prefix before cannot be told from other lines.
    pub(super) fn masked<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        let [begins, ends] = &*KEY_EDGES;
        let (shown, inside) = if self.open > 0 {
            (String::new(), line)
        } else if let Some(begin) = begins.find(line) {
            (line[..begin.start()].to_owned(), &line[begin.start()..])
        } else {
            return Cow::Borrowed(line);
        };
        let (open, behind) = match ends.find(inside) {
            Some(end) => (0, &inside[end.end()..]),
            None if self.open > 0 => (self.open - 1, ""),
            None => (KEY_LINES, ""),
        };
        self.open = open;
        // Another key may begin on the same line.
        let behind = if behind.is_empty() {
            Cow::Borrowed("")
        } else {
            self.masked(behind)
        };
        Cow::Owned(format!("{shown}{MASK}{behind}"))
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
        let shown = (0..1000).filter(|_| key.masked("MIIEpAIB") != mask);
        assert_eq!(shown.count(), 1000 - KEY_LINES);
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
