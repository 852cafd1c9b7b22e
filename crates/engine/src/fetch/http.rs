//! HTTP requests with stall limits, caps and retries. The only part of the crate that names the
//! HTTP library.

pub(crate) mod exchange;
pub(crate) mod probe;
pub(crate) mod range;

use std::error::Error;
use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};

use super::{FetchOptions, FetchProgress, Progress};

/// What stands behind a failure.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

const USER_AGENT: &str = concat!("wheelfarm/", env!("CARGO_PKG_VERSION"));

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection: the name, the network, the certificate.
    #[error("failed to reach `{url}`")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server sent nothing for too long.
    #[error("`{url}` sent nothing for {} s", .limit.as_secs_f32())]
    Stalled {
        /// The address.
        url: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The server refused.
    #[error("`{url}` answered {code} {reason}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        code: u16,
        /// What the status means.
        reason: &'static str,
        /// Whether the server may answer differently later.
        passes: Passes,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The answer stopped in the middle.
    #[error("the answer of `{url}` broke off")]
    BrokenOff {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer is longer than anything that is wanted.
    #[error("the answer of `{url}` is longer than {cap_bytes} bytes")]
    TooLong {
        /// The address.
        url: String,
        /// The cap.
        cap_bytes: u64,
    },
    /// The answer is none to what was asked.
    #[error("`{url}` answered {asked} with {answered}")]
    Senseless {
        /// The address.
        url: String,
        /// What was asked: `a request for bytes=0-9`.
        asked: String,
        /// What came: `bytes 5-9/100`.
        answered: String,
    },
}

/// Whether a failure may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// The same request may work in a while.
    Maybe,
    /// The same request fails again.
    No,
}

impl HttpError {
    fn passes(&self) -> Passes {
        match self {
            Self::Unreachable { .. } | Self::Stalled { .. } | Self::BrokenOff { .. } => {
                Passes::Maybe
            }
            Self::Status { passes, .. } => *passes,
            Self::TooLong { .. } | Self::Senseless { .. } => Passes::No,
        }
    }

    /// Whether the server knows nothing at that address.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.code(), Some(404 | 410))
    }

    /// The status of an answer that refuses.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::BrokenOff { .. }
            | Self::TooLong { .. }
            | Self::Senseless { .. } => None,
        }
    }

    /// How long to wait before attempt `next`, or nothing if there is no point.
    fn wait(&self, next: u32, options: &FetchOptions) -> Option<Duration> {
        if self.passes() == Passes::No || next > options.attempts {
            return None;
        }
        let asked = match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::BrokenOff { .. }
            | Self::TooLong { .. }
            | Self::Senseless { .. } => None,
        };
        let doubled = 2_u32.saturating_pow(next.saturating_sub(2));
        let wait = options.first_wait.saturating_mul(doubled);
        Some(asked.unwrap_or(wait).min(options.longest_wait))
    }
}

/// An HTTP client.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    stall_limit: Duration,
}

/// A text that a server sent.
#[derive(Debug)]
pub(super) struct Page {
    /// Where it was in the end, after redirects.
    pub(super) url: String,
    pub(super) content_type: String,
    pub(super) text: String,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Download {
    response: Response,
    url: String,
    stall_limit: Duration,
    left_bytes: u64,
    cap_bytes: u64,
}

impl Http {
    /// A client, or what stands in the way of HTTPS.
    pub(crate) fn new(options: &FetchOptions) -> Result<Self, Cause> {
        install_crypto();
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(options.connect_limit)
            .read_timeout(options.stall_limit)
            // The address that redirects may hold a signature.
            .referer(false)
            .build()?;
        Ok(Self {
            client,
            stall_limit: options.stall_limit,
        })
    }

    /// The page at `url`, whole.
    pub(super) async fn page(
        &self,
        url: &str,
        accept: &'static str,
        cap_bytes: u64,
    ) -> Result<Page, HttpError> {
        let mut download = self.request(url, Some(accept), cap_bytes).await?;
        let response = &download.response;
        let final_url = response.url().to_string();
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Page {
            url: final_url,
            content_type,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// The beginning of a download.
    pub(super) async fn download(&self, url: &str, cap_bytes: u64) -> Result<Download, HttpError> {
        self.request(url, None, cap_bytes).await
    }

    async fn request(
        &self,
        url: &str,
        accept: Option<&'static str>,
        cap_bytes: u64,
    ) -> Result<Download, HttpError> {
        let mut request = self.client.get(url);
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unanswered(url, self.stall_limit, error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(url, status, response.headers()));
        }
        Ok(Download {
            response,
            url: shown(url),
            stall_limit: self.stall_limit,
            left_bytes: cap_bytes,
            cap_bytes,
        })
    }
}

impl Download {
    /// The same with a lower cap, or a higher one.
    pub(crate) fn capped(self, cap_bytes: u64) -> Self {
        Self {
            left_bytes: cap_bytes,
            cap_bytes,
            ..self
        }
    }

    /// The failure of a body that is shorter than was promised.
    pub(crate) fn ended_early(&self) -> HttpError {
        HttpError::BrokenOff {
            url: self.url.clone(),
            source: std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into(),
        }
    }

    /// How long the body is, where the server says so.
    pub(super) fn total_bytes(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let chunk = match self.response.chunk().await {
            Ok(chunk) => chunk,
            Err(error) if error.is_timeout() => {
                return Err(HttpError::Stalled {
                    url: self.url.clone(),
                    limit: self.stall_limit,
                });
            }
            Err(error) => {
                return Err(HttpError::BrokenOff {
                    url: self.url.clone(),
                    source: error.without_url().into(),
                });
            }
        };
        let length = chunk.as_ref().map_or(0, Bytes::len);
        let left_bytes = u64::try_from(length)
            .ok()
            .and_then(|length_bytes| self.left_bytes.checked_sub(length_bytes));
        self.left_bytes = left_bytes.ok_or_else(|| HttpError::TooLong {
            url: self.url.clone(),
            cap_bytes: self.cap_bytes,
        })?;
        Ok(chunk)
    }
}

/// Counts the attempts of one request.
pub(crate) struct Attempts<'a> {
    options: &'a FetchOptions,
    progress: Progress<'a>,
    next: u32,
}

impl<'a> Attempts<'a> {
    /// Before the first attempt.
    pub(crate) fn new(options: &'a FetchOptions, progress: Progress<'a>) -> Self {
        Self {
            options,
            progress,
            next: 2,
        }
    }

    /// Waits until the next attempt, or gives the failure back if there is to be none.
    pub(crate) async fn wait(&mut self, error: HttpError) -> Result<(), HttpError> {
        let Some(wait) = error.wait(self.next, self.options) else {
            return Err(error);
        };
        (self.progress)(FetchProgress::Retrying {
            reason: with_cause(&error),
            attempt: self.next,
            wait,
        });
        self.next += 1;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// The error and what is at the bottom of it, in one line.
pub(crate) fn with_cause(error: &HttpError) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(Error::source) {
        cause = Some(deeper);
    }
    match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn unanswered(url: &str, stall_limit: Duration, error: reqwest::Error) -> HttpError {
    let url = shown(url);
    // A connection that does not come about has its own limit and is unreachable.
    if error.is_timeout() && !error.is_connect() {
        return HttpError::Stalled {
            url,
            limit: stall_limit,
        };
    }
    HttpError::Unreachable {
        url,
        source: error.without_url().into(),
    }
}

fn refused(url: &str, status: StatusCode, headers: &HeaderMap) -> HttpError {
    let passes = if status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
    {
        Passes::Maybe
    } else {
        Passes::No
    };
    let header = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    HttpError::Status {
        url: shown(url),
        code: status.as_u16(),
        reason: status.canonical_reason().unwrap_or_default(),
        passes,
        retry_after: header.and_then(|text| retry_after(text, jiff::Timestamp::now())),
    }
}

/// `Retry-After` as a number of seconds or as a date.
fn retry_after(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    // A date that has passed means now.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// The address for messages: a query may hold a signature that opens the file to anybody, and
/// what stands before the host is a password.
fn shown(url: &str) -> String {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let (address, query) = match url.split_once('?') {
        Some((address, _)) => (address, "?…"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = address.split_once("://") else {
        return format!("{address}{query}");
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}{query}")
}

/// The HTTP library asks for the process's cryptography and panics where there is none.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that another part of the program has chosen one, which is as well.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, retry_after: Option<&str>) -> HttpError {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        let code = StatusCode::from_u16(code).unwrap();
        refused("https://x.org/f?sig=secret", code, &headers)
    }

    #[test]
    fn waits_double_unless_the_server_asks() {
        let options = FetchOptions {
            attempts: 4,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            ..FetchOptions::default()
        };
        let seconds = |error: HttpError, next| error.wait(next, &options).map(|w| w.as_secs());
        assert_eq!(seconds(status(503, None), 2), Some(1));
        assert_eq!(seconds(status(503, None), 4), Some(4));
        assert_eq!(seconds(status(503, None), 5), None);
        assert_eq!(seconds(status(429, Some("7")), 2), Some(7));
        assert_eq!(seconds(status(429, Some("9999")), 2), Some(30));
        assert_eq!(seconds(status(404, Some("7")), 2), None);
        assert!(status(404, None).is_not_found());
        assert!(!status(403, None).is_not_found());
    }

    #[test]
    fn dates_to_wait_for_are_understood() {
        let now = "2015-10-21T07:27:30Z".parse().unwrap();
        let wait = |text: &str| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(30));
        assert_eq!(wait("Wed, 21 Oct 2015 07:00:00 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn signatures_stay_out_of_messages() {
        insta::assert_snapshot!(status(403, None), @"`https://x.org/f?…` answered 403 Forbidden");
        for (url, want) in [
            (
                "https://me:secret@x.org/a@b/f#sha256=1",
                "https://x.org/a@b/f",
            ),
            ("https://secret@x.org?sig=secret#x", "https://x.org?…"),
            ("http://x.org:80/f", "http://x.org:80/f"),
        ] {
            assert_eq!(shown(url), want);
        }
    }
}
