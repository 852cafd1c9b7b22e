//! Requests of every kind: with a method, headers, a secret and a body. An answer of any status is
//! an answer here, for what a status means is the caller's to know.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, TryStreamExt};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use tokio::time::timeout;

use super::{Cause, Download, FetchOptions, Http, HttpError, USER_AGENT, install_crypto, shown};

/// What is done to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Reads.
    Get,
    /// Does whatever the address stands for.
    Post,
    /// Puts a content there.
    Put,
}

/// Pieces of a body.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// What a request sends.
pub(crate) enum Content {
    /// Nothing.
    Nothing,
    /// A text or bytes.
    Whole {
        /// Their `Content-Type`.
        content_type: &'static str,
        /// They.
        bytes: Bytes,
    },
    /// A file, piece by piece. An error among the pieces cuts the request off, so that the server
    /// never has a whole body.
    Pieces {
        /// Their length together.
        length_bytes: u64,
        /// They.
        pieces: Pieces,
    },
}

/// A request.
pub(crate) struct Ask<'a> {
    /// What is done.
    pub(crate) verb: Verb,
    /// To which address.
    pub(crate) url: &'a str,
    /// Headers that the server wants.
    pub(crate) headers: &'a [(String, String)],
    /// The token to ask with: it goes to the host of `url` alone, whatever that redirects to.
    pub(crate) bearer: Option<&'a str>,
    /// What is sent.
    pub(crate) content: Content,
    /// How long the server may think once it has all that is sent.
    pub(crate) patience: Duration,
    /// The longest answer that is read.
    pub(crate) cap_bytes: u64,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    headers: HeaderMap,
    download: Download,
}

impl Reply {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        super::retry_after(self.header("retry-after")?, jiff::Timestamp::now())
    }

    /// The body, whole.
    pub(crate) async fn bytes(mut self) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        let stall_limit = self.download.stall_limit;
        loop {
            let chunk = timeout(stall_limit, self.download.chunk()).await;
            let Ok(chunk) = chunk else {
                return Err(HttpError::Stalled {
                    url: self.download.url.clone(),
                    limit: stall_limit,
                });
            };
            match chunk? {
                Some(chunk) => bytes.extend_from_slice(&chunk),
                None => return Ok(bytes),
            }
        }
    }
}

impl Http {
    /// A client for requests that send much: the library's own limit on silence counts from the
    /// beginning of a request, and sending may take long; [`Http::ask`] has limits of its own.
    pub(crate) fn for_sending(options: &FetchOptions) -> Result<Self, Cause> {
        install_crypto();
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(options.connect_limit)
            .referer(false)
            .build()?;
        Ok(Self {
            client,
            stall_limit: options.stall_limit,
        })
    }

    /// The client itself, for a library that speaks HTTP through the same one.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }

    /// Makes a request, once. Fails when there is no answer.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Reply, HttpError> {
        let unbuilt = |error: Cause| HttpError::Unreachable {
            url: shown(ask.url),
            source: error,
        };
        let method = match ask.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
        };
        let mut request = self.client.request(method, ask.url);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if let Some(bearer) = ask.bearer {
            let value = HeaderValue::from_str(&format!("Bearer {bearer}"));
            // Not with its cause, which may quote the value.
            let mut value =
                value.map_err(|_| unbuilt("the token is no text of a header".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let request = with_content(request, ask.content, &sent_bytes);
        let limit = self.stall_limit;
        let response = tokio::select! {
            biased;
            response = request.send() => response.map_err(|error| {
                super::unanswered(ask.url, limit, error)
            })?,
            limit = silence(&sent_bytes, limit, ask.patience) => {
                return Err(HttpError::Stalled { url: shown(ask.url), limit });
            }
        };
        Ok(Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            download: Download {
                response,
                url: shown(ask.url),
                stall_limit: limit,
                left_bytes: ask.cap_bytes,
                cap_bytes: ask.cap_bytes,
            },
        })
    }
}

fn with_content(
    request: RequestBuilder,
    content: Content,
    sent_bytes: &Arc<AtomicU64>,
) -> RequestBuilder {
    match content {
        Content::Nothing => request,
        Content::Whole {
            content_type,
            bytes,
        } => request.header(CONTENT_TYPE, content_type).body(bytes),
        Content::Pieces {
            length_bytes,
            pieces,
        } => {
            let sent_bytes = Arc::clone(sent_bytes);
            let counted = pieces.inspect_ok(move |piece| {
                let length_bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                sent_bytes.fetch_add(length_bytes, Ordering::Relaxed);
            });
            request
                .header(CONTENT_LENGTH, length_bytes)
                .body(reqwest::Body::wrap_stream(counted))
        }
    }
}

/// Ends, with the limit, when nothing was sent and nothing was answered for too long. The server
/// gets `patience` from the last piece on.
async fn silence(sent_bytes: &AtomicU64, limit: Duration, patience: Duration) -> Duration {
    let limit = limit.max(patience);
    loop {
        let before = sent_bytes.load(Ordering::Relaxed);
        tokio::time::sleep(limit).await;
        if sent_bytes.load(Ordering::Relaxed) == before {
            return limit;
        }
    }
}
