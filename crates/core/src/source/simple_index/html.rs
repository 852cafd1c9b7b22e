//! PEP 503: the page as HTML. Of HTML, only what such pages are made of: start tags with their
//! attributes, comments, and character references.

use url::Url;

use super::{IndexFile, IndexPageError, check_api_version, file_url};

pub(super) fn parse(page: Url, text: &str) -> Result<Vec<IndexFile>, IndexPageError> {
    let mut base = page;
    let mut files = Vec::new();
    let mut rest = text;
    while let Some((tag, after)) = next_tag(rest) {
        rest = after;
        if tag.is("a") {
            files.extend(index_file(&base, &tag));
        } else if tag.is("base")
            && let Some(url) = tag.attribute("href").and_then(|href| base.join(&href).ok())
        {
            base = url;
        } else if tag.is("meta")
            && tag.attribute("name").as_deref() == Some("pypi:repository-version")
        {
            check_api_version(&tag.attribute("content").unwrap_or_default())?;
        }
    }
    Ok(files)
}

fn index_file(base: &Url, tag: &Tag<'_>) -> Option<IndexFile> {
    let mut url = file_url(base, &tag.attribute("href")?)?;
    let sha256 = url
        .fragment()
        .and_then(|fragment| {
            fragment
                .split('&')
                .find_map(|part| part.strip_prefix("sha256="))
        })
        .and_then(|text| text.parse().ok());
    url.set_fragment(None);
    let last = url.path_segments()?.next_back()?;
    let file_name = percent_decoded(last)?;
    if file_name.is_empty() {
        return None;
    }
    Some(IndexFile {
        file_name,
        url: url.into(),
        sha256,
        requires_python: tag.attribute("data-requires-python"),
        yanked: tag.attribute("data-yanked"),
    })
}

/// A start tag.
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

impl Tag<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The first attribute of that name, with its character references resolved.
    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| unescaped(value))
    }
}

/// The next start tag, and the text after it. An unfinished tag is no tag.
fn next_tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = &comment[comment.find("-->")?..];
        } else if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return tag(rest);
        }
    }
}

fn tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let name_end = text.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>'))?;
    let (name, mut rest) = text.split_at(name_end);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((Tag { name, attributes }, after));
        }
        let key_end = rest
            .char_indices()
            // A `=` at the front belongs to the name, or the loop would stand still.
            .find(|(at, c)| {
                c.is_ascii_whitespace() || matches!(c, '/' | '>') || (*c == '=' && *at > 0)
            })?
            .0;
        let (key, after) = rest.split_at(key_end);
        let (value, after) = match after.trim_ascii_start().strip_prefix('=') {
            Some(after) => attribute_value(after.trim_ascii_start())?,
            None => ("", after),
        };
        attributes.push((key, value));
        rest = after;
    }
}

fn attribute_value(text: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote);
        }
    }
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '>')?;
    Some(text.split_at(end))
}

/// Resolves the character references that can stand in an address or a version range.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let reference = rest.find(';').and_then(|end| {
            let c = character(&rest[1..end])?;
            Some((c, end + 1))
        });
        let (c, length) = reference.unwrap_or(('&', 1));
        out.push(c);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        name => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// `%2B` as `+`; nothing if that is no UTF-8.
pub(in crate::source) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let mut byte = [*first];
        rest = after;
        if *first == b'%'
            && let Some((digits, after)) = after.split_at_checked(2)
            && hex::decode_to_slice(digits, &mut byte).is_ok()
        {
            rest = after;
        }
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse_at(url: &str, text: &str) -> Vec<IndexFile> {
        parse(url.parse().unwrap(), text).unwrap()
    }

    #[test]
    fn a_page_of_pypi_is_read() {
        let page = format!(
            r#"<!DOCTYPE html>
<html>
  <head>
    <meta name="pypi:repository-version" content="1.4">
    <title>Links for p</title>
  </head>
  <body>
    <h1>Links for p</h1>
<a href="https://files.pythonhosted.org/p-1.0.tar.gz#sha256={DIGEST}" data-requires-python="&gt;=3.8" data-core-metadata="true">p-1.0.tar.gz</a><br />
<a href="https://files.pythonhosted.org/p-0.9.tar.gz#sha256={DIGEST}" data-yanked="a &quot;bad&quot; one">p-0.9.tar.gz</a><br />
</body>
</html>
<!--SERIAL 1-->"#
        );
        let files = parse_at("https://pypi.org/simple/p/", &page);
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].file_name, "p-1.0.tar.gz");
        assert_eq!(files[0].url, "https://files.pythonhosted.org/p-1.0.tar.gz");
        assert_eq!(files[0].sha256, Some(DIGEST.parse().unwrap()));
        assert_eq!(files[0].requires_python.as_deref(), Some(">=3.8"));
        assert_eq!(files[0].yanked, None);
        assert_eq!(files[1].yanked.as_deref(), Some("a \"bad\" one"));
    }

    #[track_caller]
    fn check_url(page: &str, html: &str, want: &[(&str, &str)]) {
        let files = parse_at(page, html);
        let found: Vec<_> = files
            .iter()
            .map(|file| (file.file_name.as_str(), file.url.as_str()))
            .collect();
        assert_eq!(found, want, "{html}");
    }

    #[test]
    fn addresses_are_relative_to_the_page() {
        let page = "https://x.org/simple/p/";
        let want = [("p.whl", "https://x.org/files/p.whl")];
        check_url(page, "<a href='../../files/p.whl'>", &want);
        check_url(page, "<A class=x HREF=/files/p.whl>p</A>", &want);
        check_url(page, "<a\n href = \"/files/p.whl\" />", &want);
        check_url(page, "<base href='/files/'><a href=p.whl>", &want);
        check_url(
            page,
            "<a href='p-1%2Bcu128.whl'>",
            &[("p-1+cu128.whl", "https://x.org/simple/p/p-1%2Bcu128.whl")],
        );
        check_url(
            page,
            "<a href='/f?a=1&#38;b=&#x32;'>",
            &[("f", "https://x.org/f?a=1&b=2")],
        );
    }

    #[test]
    fn what_is_no_file_is_passed_over() {
        let page = "https://x.org/simple/p/";
        check_url(page, "<!-- <a href=/x.whl> --> <abbr href=/y>", &[]);
        check_url(page, "<a href=file:///etc/passwd><a href=mailto:x>", &[]);
        check_url(page, "<a name=x></a><a href='../'>up</a>", &[]);
        check_url(page, "<a href=\"/x.whl", &[]);
        check_url(
            page,
            "1 < 2 <a =x href=/z.whl>",
            &[("z.whl", "https://x.org/z.whl")],
        );
    }

    #[test]
    fn a_later_major_version_is_refused() {
        let page = "<meta name='pypi:repository-version' content='2.0'>";
        let error = parse("https://x.org/".parse().unwrap(), page).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the index speaks version 2.0 of the simple API; 1 is known"
        );
    }

    proptest! {
        #[test]
        fn no_page_stops_the_reader(page in "[<>a=\"'/ !&#;xh-]{0,60}") {
            // Neither a panic nor a loop without end.
            drop(parse("https://x.org/".parse().unwrap(), &page));
        }
    }
}
