//! PEP 691: the page as JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{IndexFile, IndexPageError, check_api_version, file_url};

// Indexes add keys of their own and later versions add more, so unknown ones are let through.
#[derive(Debug, Deserialize)]
struct RawPage {
    meta: RawMeta,
    files: Vec<RawFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMeta {
    api_version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    requires_python: Option<String>,
    /// `true`, `false` or the reason.
    yanked: Option<Value>,
}

pub(super) fn parse(page: &Url, text: &str) -> Result<Vec<IndexFile>, IndexPageError> {
    let raw: RawPage = serde_json::from_str(text).map_err(|error| IndexPageError::NotJson {
        reason: error.to_string(),
    })?;
    check_api_version(&raw.meta.api_version)?;
    Ok(raw
        .files
        .into_iter()
        .filter_map(|file| index_file(page, file))
        .collect())
}

fn index_file(page: &Url, raw: RawFile) -> Option<IndexFile> {
    let mut url = file_url(page, &raw.url)?;
    url.set_fragment(None);
    let yanked = match raw.yanked {
        Some(Value::String(reason)) => Some(reason),
        Some(value) => (value == Value::Bool(true)).then(String::new),
        None => None,
    };
    Some(IndexFile {
        file_name: raw.filename,
        url: url.into(),
        sha256: raw.hashes.get("sha256").and_then(|text| text.parse().ok()),
        requires_python: raw.requires_python,
        yanked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{
      "meta": {"api-version": "1.4", "_last-serial": 1},
      "name": "p", "versions": ["1.0"],
      "files": [
        {"filename": "p-1.0.tar.gz", "url": "../../packages/p-1.0.tar.gz",
         "hashes": {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
         "requires-python": ">=3.8", "yanked": false, "size": 3},
        {"filename": "p-0.9.tar.gz", "url": "https://x.org/p-0.9.tar.gz#x", "hashes": {},
         "yanked": "broken"},
        {"filename": "p-0.8.tar.gz", "url": "file:///etc/passwd", "hashes": {}}
      ]}"#;

    fn parse_at_pypi(text: &str) -> Result<Vec<IndexFile>, IndexPageError> {
        parse(&"https://pypi.org/simple/p/".parse().unwrap(), text)
    }

    #[test]
    fn files_are_read() {
        let files = parse_at_pypi(PAGE).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].url, "https://pypi.org/packages/p-1.0.tar.gz");
        assert!(files[0].sha256.is_some());
        assert_eq!(files[0].requires_python.as_deref(), Some(">=3.8"));
        assert_eq!(files[0].yanked, None);
        assert_eq!(files[1].url, "https://x.org/p-0.9.tar.gz");
        assert_eq!(files[1].yanked.as_deref(), Some("broken"));
    }

    #[test]
    fn other_pages_are_refused() {
        let refused = |text: &str| parse_at_pypi(text).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                refused("<html>"),
                refused("{}"),
                refused(&PAGE.replace("1.4", "2.0")),
            ]
            .join("\n"),
            @"
            the page is not JSON by PEP 691: expected value at line 1 column 1
            the page is not JSON by PEP 691: missing field `meta` at line 1 column 2
            the index speaks version 2.0 of the simple API; 1 is known
            "
        );
    }
}
