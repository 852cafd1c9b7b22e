//! Answers and refusals as the Hub words them, and the body of a request, which counts what is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub(crate) type Answer = Response<Body>;
/// A request whose body is not read yet.
pub(crate) type Asked = hyper::Request<Counted>;

/// Bodies that are read whole may have this many bytes: commits with files in them, not contents.
const WHOLE_BODY_BYTES: usize = 1 << 30;

/// The body of a request. Counts the bytes that are read for the log.
#[derive(Debug)]
pub(crate) struct Counted {
    inner: Incoming,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    pub(crate) fn new(inner: Incoming, bytes: Arc<AtomicU64>) -> Self {
        Self { inner, bytes }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let length = data.len().try_into().unwrap_or(u64::MAX);
            self.bytes.fetch_add(length, Ordering::Relaxed);
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Why the Hub does not do what it is asked: an answer in the form that its clients read.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// `X-Error-Code`, which decides the client's exception (`utils/_http.py`, `hf_raise_for_status`).
    pub(crate) fn code(self, code: &'static str) -> Self {
        self.header(HeaderName::from_static("x-error-code"), code)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn no_revision(revision: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Invalid rev id: {revision}"))
            .code("RevisionNotFound")
    }

    pub(crate) fn no_entry(path: &str, commit: &str) -> Self {
        let message = format!("{path} does not exist on \"{commit}\"");
        Self::new(StatusCode::NOT_FOUND, message)
            .code("EntryNotFound")
            .header(HeaderName::from_static("x-repo-commit"), commit)
    }

    pub(crate) fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Sorry, we can't find the page you are looking for.",
        )
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let mut answer = json_answer(refusal.status, &json!({ "error": refusal.message }));
        // Header values cannot hold what a path may: such a message stands in the body only.
        if let Ok(message) = HeaderValue::from_str(&refusal.message) {
            answer.headers_mut().insert("x-error-message", message);
        }
        for (name, value) in refusal.headers {
            set(&mut answer, name, &value);
        }
        answer
    }
}

/// What fails for reasons of this machine and not of the request.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Internal Error: {error}"),
        )
    }
}

/// Sets a header; one that is no header value is left out.
pub(crate) fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Sets a header that HTTP has no constant for.
pub(crate) fn set_extra(answer: &mut Answer, name: &'static str, value: &str) {
    set(answer, HeaderName::from_static(name), value);
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An answer whose length is given in any case: hyper leaves it out of answers to HEAD.
pub(crate) fn bytes_answer(
    status: StatusCode,
    content_type: &str,
    bytes: impl Into<Bytes>,
) -> Answer {
    let bytes = bytes.into();
    let length = bytes.len().to_string();
    let mut answer = Response::new(full(bytes));
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, content_type);
    set(&mut answer, CONTENT_LENGTH, &length);
    answer
}

pub(crate) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    bytes_answer(status, "application/json; charset=utf-8", value.to_string())
}

pub(crate) fn ok(value: &Value) -> Answer {
    json_answer(StatusCode::OK, value)
}

/// The whole body of a request.
pub(crate) async fn read_body(body: Counted) -> Result<Bytes, Refusal> {
    match Limited::new(body, WHOLE_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request entity too large",
        )),
        Err(error) => Err(Refusal::bad_request(format!(
            "the request body broke off: {error}"
        ))),
    }
}

/// The body of a request as JSON.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Counted) -> Result<T, Refusal> {
    let bytes = read_body(body).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("Invalid JSON: {error}")))
}
