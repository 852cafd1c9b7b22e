//! Takes secrets out of what is handed on.

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
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*",
];

/// `name: value` and `https://user:password@host`; the name and the user stay.
const NAMED: [&str; 3] = [
    r"(?i)(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?P<behind>@)",
    r"(?i)(?P<keep>\b(?:proxy-)?authorization:?\s*(?:bearer|basic|token)?\s+)\S+",
    r#"(?i)(?P<keep>\b[a-z0-9_.-]*(?:token|passwd|password|secret|api[_-]?key|access[_-]?key|credentials?)["']?\s*[=:]\s*["']?)[^\s"',;&]{4,}"#,
];

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
