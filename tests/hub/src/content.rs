//! Sends contents: whole, in ranges, or not at all where the client has them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use hyper::{Method, Response, StatusCode};

use crate::answer::{Answer, Body, Refusal, empty, full, set};
use crate::hub::Hub;

/// How much of a file is in memory at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In the plain LFS storage.
    Blob { sha256: String, size: u64 },
    /// In Xet.
    Xet { sha256: String, size: u64 },
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len().try_into().unwrap_or(u64::MAX),
            Self::Blob { size, .. } | Self::Xet { size, .. } => *size,
        }
    }

    async fn body(self, hub: &Arc<Hub>, from: u64, to: u64) -> Result<Body, Refusal> {
        match self {
            Self::Bytes(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(full(bytes.slice(place(from)..place(to))))
            }
            Self::Blob { sha256, .. } => Ok(pieces(Arc::clone(hub), sha256, from, to)),
            Self::Xet { sha256, .. } => match &hub.cas {
                Some(cas) => Ok(full(cas.read(&sha256, from, to).await?)),
                None => Err(Refusal::no_route()),
            },
        }
    }

    /// All its bytes.
    pub(crate) async fn read(self, hub: &Arc<Hub>) -> Result<Bytes, Refusal> {
        let size = self.size();
        let body = self.body(hub, 0, size).await?;
        Ok(body.collect().await?.to_bytes())
    }
}

/// A file's bytes, read piece by piece while they are sent.
fn pieces(hub: Arc<Hub>, sha256: String, from: u64, to: u64) -> Body {
    let pieces = stream::unfold((hub, sha256, from), move |(hub, sha256, at)| async move {
        let length = (to - at).min(PIECE_BYTES);
        if length == 0 {
            return None;
        }
        let read = hub
            .blobs
            .read(&sha256, at, usize::try_from(length).unwrap_or(usize::MAX))
            .await;
        let frame = read.map(|bytes| Frame::data(Bytes::from(bytes)));
        Some((frame, (hub, sha256, at + length)))
    });
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

/// What of a request matters for sending a content.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
}

impl Wanted {
    pub(crate) fn new(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            method: method.clone(),
            headers: headers.clone(),
        }
    }

    pub(crate) fn text(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the client says that it has this very content.
    pub(crate) fn has(&self, etag: &str) -> bool {
        self.text(IF_NONE_MATCH).is_some_and(|list| {
            let bare = |text: &str| {
                text.trim()
                    .trim_start_matches("W/")
                    .trim_matches('"')
                    .to_owned()
            };
            list.split(',')
                .any(|one| bare(one) == bare(etag) || one.trim() == "*")
        })
    }
}

/// A content with what is said of it.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) content: Content,
    /// With its quotes.
    pub(crate) etag: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
}

/// Sends a content, or the range of it that is asked for.
pub(crate) async fn send(
    hub: &Arc<Hub>,
    wanted: &Wanted,
    described: Described,
) -> Result<Answer, Refusal> {
    let Described {
        content,
        etag,
        headers,
    } = described;
    let size = content.size();
    let range = match wanted.text(RANGE) {
        Some(range) if wanted.text(IF_RANGE).is_none_or(|known| known == etag) => {
            parse_range(range, size)
        }
        _ => Range::Whole,
    };
    let mut answer = Response::new(empty());
    let (from, to) = match range {
        _ if wanted.has(&etag) => {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            (0, 0)
        }
        Range::Beyond => {
            *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            set(&mut answer, CONTENT_LENGTH, "0");
            return Ok(answer);
        }
        Range::Whole => (0, size),
        Range::Part(from, to) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(
                &mut answer,
                CONTENT_RANGE,
                &format!("bytes {from}-{}/{size}", to - 1),
            );
            (from, to)
        }
    };
    for (name, value) in headers {
        set(&mut answer, name, &value);
    }
    set(&mut answer, ETAG, &etag);
    set(&mut answer, ACCEPT_RANGES, "bytes");
    if answer.status() != StatusCode::NOT_MODIFIED {
        set(&mut answer, CONTENT_LENGTH, &(to - from).to_string());
        if wanted.method != Method::HEAD {
            *answer.body_mut() = content.body(hub, from, to).await?;
        }
    }
    Ok(answer)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// From the first byte to before the second one.
    Part(u64, u64),
    Beyond,
}

/// A range of RFC 9110, section 14. Several ranges, and what is no range, give the whole content.
fn parse_range(header: &str, size: u64) -> Range {
    let Some((from, to)) = header
        .strip_prefix("bytes=")
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Range::Whole;
    };
    let bounds = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if to.is_empty() => (from, size),
        (Err(_), Ok(last)) if from.is_empty() => (size.saturating_sub(last), size),
        _ => return Range::Whole,
    };
    match bounds {
        (from, to) if from < to => Range::Part(from, to),
        _ => Range::Beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        assert_eq!(parse_range("bytes=0-3", 10), Range::Part(0, 4));
        assert_eq!(parse_range("bytes=4-", 10), Range::Part(4, 10));
        assert_eq!(parse_range("bytes=-3", 10), Range::Part(7, 10));
        assert_eq!(parse_range("bytes=-30", 10), Range::Part(0, 10));
        assert_eq!(parse_range("bytes=8-30", 10), Range::Part(8, 10));
        assert_eq!(parse_range("bytes=10-", 10), Range::Beyond);
        assert_eq!(parse_range("bytes=-0", 10), Range::Beyond);
        assert_eq!(parse_range("bytes=0-1,3-4", 10), Range::Whole);
        assert_eq!(parse_range("lines=0-1", 10), Range::Whole);
    }
}
