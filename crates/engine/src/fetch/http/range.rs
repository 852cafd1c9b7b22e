//! Requests for a part of a file (RFC 9110, section 14) and what servers make of them.

use std::fmt;
use std::ops::Range;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use reqwest::{Response, StatusCode};

use super::{Download, Http, HttpError, refused, shown, unanswered};

/// Which part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// So many bytes at the end.
    Last(u64),
    /// From one byte to before another; not empty.
    Between(Range<u64>),
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(length) => write!(f, "bytes=-{length}"),
            Self::Between(span) => write!(f, "bytes={}-{}", span.start, span.end.saturating_sub(1)),
        }
    }
}

/// By what a server tells one content of a file from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    etag: Option<String>,
    modified: Option<String>,
    /// When the server said so.
    date: Option<String>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        Self {
            etag: text(headers, &ETAG),
            modified: text(headers, &LAST_MODIFIED),
            date: text(headers, &DATE),
        }
    }

    /// What a server takes for proof that it sends a part of the same bytes.
    fn if_range(&self) -> Option<&str> {
        match (&self.etag, &self.modified) {
            (Some(etag), _) if !etag.starts_with("W/") => Some(etag),
            (_, Some(modified)) if self.is_modified_long_ago() => Some(modified),
            (Some(_) | None, Some(_) | None) => None,
        }
    }

    /// A date counts to the second: what was changed in the second of the answer may have been
    /// changed again (RFC 9110, section 8.8.2.2).
    fn is_modified_long_ago(&self) -> bool {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let time = |text: &Option<String>| parser.parse_timestamp(text.as_deref()?).ok();
        match (time(&self.modified), time(&self.date)) {
            (Some(modified), Some(date)) => modified < date,
            (Some(_) | None, Some(_) | None) => false,
        }
    }

    /// Whether the two are of different contents. What only one of them has says nothing.
    pub(crate) fn differ(&self, other: &Self) -> bool {
        let plain = |etag: &str| etag.trim_start_matches("W/").to_owned();
        match (&self.etag, &other.etag) {
            (Some(one), Some(other)) => plain(one) != plain(other),
            (Some(_), None) | (None, Some(_)) => false,
            (None, None) => matches!(
                (&self.modified, &other.modified),
                (Some(one), Some(other)) if one != other
            ),
        }
    }
}

/// What a server makes of a request for a part.
#[derive(Debug)]
pub(crate) enum RangeAnswer {
    /// It sends a part, though not always the one that was asked for.
    Part {
        /// Which part.
        span: Range<u64>,
        /// How long the whole file is, where the server says so.
        size_bytes: Option<u64>,
        /// What tells this content from another.
        validators: Validators,
        /// The part's bytes, and not one more.
        download: Download,
    },
    /// It sends the whole file.
    Whole {
        /// How long the file is, where the server says so.
        size_bytes: Option<u64>,
        /// What tells this content from another.
        validators: Validators,
        /// The file's bytes.
        download: Download,
    },
    /// It has no such part.
    Unsatisfied {
        /// How long the file is, where the server says so.
        size_bytes: Option<u64>,
    },
}

impl Http {
    /// Asks for a part of the file at `url`: of the content that `known` is of, if it is still
    /// that one.
    ///
    /// Redirects are followed from `url` each time, for where they lead is often signed and
    /// expires.
    pub(crate) async fn range(
        &self,
        url: &str,
        range: &ByteRange,
        known: Option<&Validators>,
    ) -> Result<RangeAnswer, HttpError> {
        let mut request = self
            .client
            .get(url)
            .header(RANGE, range.to_string())
            // A part of what is packed on the way is a part of something else.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(same) = known.and_then(Validators::if_range) {
            request = request.header(IF_RANGE, same);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unanswered(url, self.stall_limit, error))?;
        let status = response.status();
        let senseless = |answered: String| HttpError::Senseless {
            url: shown(url),
            asked: format!("a request for `{range}`"),
            answered,
        };
        if url.starts_with("https:") && response.url().scheme() != "https" {
            return Err(senseless("a redirect to an address without TLS".to_owned()));
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            let size_bytes = text(response.headers(), &CONTENT_RANGE)
                .and_then(|text| text.strip_prefix("bytes */")?.parse().ok());
            return Ok(RangeAnswer::Unsatisfied { size_bytes });
        }
        if !status.is_success() {
            return Err(refused(url, status, response.headers()));
        }
        let encoding = text(response.headers(), &CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|encoding| encoding != "identity") {
            return Err(senseless(format!("content packed with `{encoding}`")));
        }
        if status != StatusCode::PARTIAL_CONTENT {
            return Ok(self.whole(url, response));
        }
        let Some(part) = text(response.headers(), &CONTENT_RANGE) else {
            return Err(senseless("a part without `Content-Range`".to_owned()));
        };
        match parse_content_range(&part) {
            Some((span, size_bytes)) => Ok(self.part(url, response, span, size_bytes)),
            None => Err(senseless(format!("a part `{}`", part.escape_debug()))),
        }
    }

    fn part(
        &self,
        url: &str,
        response: Response,
        span: Range<u64>,
        size_bytes: Option<u64>,
    ) -> RangeAnswer {
        let length_bytes = span.end - span.start;
        RangeAnswer::Part {
            span,
            size_bytes,
            validators: Validators::of(response.headers()),
            download: self.body(url, response, length_bytes),
        }
    }

    fn whole(&self, url: &str, response: Response) -> RangeAnswer {
        RangeAnswer::Whole {
            size_bytes: response.content_length(),
            validators: Validators::of(response.headers()),
            download: self.body(url, response, u64::MAX),
        }
    }

    fn body(&self, url: &str, response: Response, cap_bytes: u64) -> Download {
        Download {
            response,
            url: shown(url),
            stall_limit: self.stall_limit,
            left_bytes: cap_bytes,
            cap_bytes,
        }
    }
}

/// `bytes 0-9/100` or `bytes 0-9/*`; a part that is empty, runs backwards or past the end is none.
fn parse_content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (part, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.trim().split_once('-')?;
    let span = first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
    let size_bytes = match size.trim() {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    let is_within = size_bytes.is_none_or(|size_bytes| span.end <= size_bytes);
    (!span.is_empty() && is_within).then_some((span, size_bytes))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_part(text: &str, want: &str) {
        let part = parse_content_range(text);
        let part = part.map(|(span, size_bytes)| format!("{span:?} of {size_bytes:?}"));
        assert_eq!(part.as_deref().unwrap_or("none"), want, "{text}");
    }

    #[test]
    fn only_parts_that_can_be_are_read() {
        check_part("bytes 0-9/100", "0..10 of Some(100)");
        check_part("bytes 90-99/100", "90..100 of Some(100)");
        check_part("bytes 0-9/*", "0..10 of None");
        check_part("bytes 90-100/100", "none");
        check_part("bytes 9-8/100", "none");
        check_part("bytes */100", "none");
        check_part("bytes 0-18446744073709551615/*", "none");
        check_part("items 0-9/100", "none");
        check_part("", "none");
    }

    fn validators(etag: &str, modified: &str, date: &str) -> Validators {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Validators {
            etag: some(etag),
            modified: some(modified),
            date: some(date),
        }
    }

    #[test]
    fn only_strong_validators_are_sent() {
        let (early, late) = (
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wed, 21 Oct 2015 07:28:01 GMT",
        );
        let sent = |etag, modified, date| {
            let sent = validators(etag, modified, date);
            sent.if_range().map(str::to_owned)
        };
        assert_eq!(sent("\"a\"", early, late).as_deref(), Some("\"a\""));
        assert_eq!(sent("W/\"a\"", early, late).as_deref(), Some(early));
        assert_eq!(sent("", early, early), None);
        assert_eq!(sent("W/\"a\"", early, ""), None);
        assert_eq!(sent("", "", late), None);
    }

    #[test]
    fn contents_differ_by_what_both_have() {
        let differ = |one: (&str, &str), other: (&str, &str)| {
            validators(one.0, one.1, "").differ(&validators(other.0, other.1, "x"))
        };
        assert!(differ(("\"a\"", "1"), ("\"b\"", "1")));
        assert!(!differ(("\"a\"", "1"), ("W/\"a\"", "2")));
        assert!(!differ(("\"a\"", "1"), ("", "2")));
        assert!(differ(("", "1"), ("", "2")));
        assert!(!differ(("", "1"), ("", "")));
    }
}
