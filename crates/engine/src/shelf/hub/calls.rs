//! Calls to a Hub: every status is read, what may pass is tried again, and a page where JSON was
//! expected is never believed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::address::Endpoint;
use super::auth::Token;
use crate::fetch::FetchOptions;
use crate::fetch::http::exchange::{Ask, Content, Reply, Verb};
use crate::fetch::http::{Cause, Http, HttpError};

/// The longest answer of the API that is read: a page of a large tree has a few hundred kB.
const ANSWER_CAP_BYTES: u64 = 64 << 20;

/// How much of what a Hub said an error keeps.
const SAID_CHARS: usize = 300;

/// What a user hears while a Hub is worked with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubNotice {
    /// Something failed for a cause that may pass, or the Hub asks to wait.
    Waiting {
        /// What is being done.
        doing: String,
        /// What failed and why.
        reason: String,
        /// Which attempt comes next, from 2.
        attempt: u32,
        /// How long until then.
        wait: Duration,
    },
    /// Files did not come through Xet, and are sent whole by the LFS protocol.
    WithoutXet {
        /// What failed and why.
        reason: String,
    },
}

/// Hears notices.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&HubNotice) + Send + Sync>);

impl Listener {
    /// One that calls `hear`.
    pub fn new(hear: impl Fn(&HubNotice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// One that does not listen.
    pub fn none() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// Whether what an answer says of a refusal may stand in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// Yes.
    Everything,
    /// No: it may quote a secret that was sent.
    Nothing,
}

/// A call, which can be made again.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// What it is for: `read what is on the shelf`.
    pub(super) doing: String,
    pub(super) verb: Verb,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) bearer: Option<Token>,
    pub(super) body: Option<(&'static str, Bytes)>,
    /// How long the Hub may think, where that is longer than the usual limit on silence.
    pub(super) patience: Duration,
    pub(super) cap_bytes: u64,
    pub(super) says: Says,
}

impl Call {
    /// Reads an address.
    pub(super) fn get(doing: &str, url: String) -> Self {
        Self {
            doing: doing.to_owned(),
            verb: Verb::Get,
            url,
            headers: Vec::new(),
            bearer: None,
            body: None,
            patience: Duration::ZERO,
            cap_bytes: ANSWER_CAP_BYTES,
            says: Says::Everything,
        }
    }

    /// Sends JSON to an address.
    pub(super) fn post(doing: &str, url: String, json: Bytes) -> Self {
        Self {
            verb: Verb::Post,
            body: Some(("application/json", json)),
            ..Self::get(doing, url)
        }
    }
}

/// What a Hub said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: u16,
    /// Its `X-Error-Code`: `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`, `GatedRepo`.
    pub(super) code: Option<String>,
    /// Its `X-Error-Message`, or `error` in its JSON.
    pub(super) said: Option<String>,
    /// How long it asks to wait.
    pub(super) wait: Option<Duration>,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There was no whole answer.
    Unanswered(HttpError),
    /// The answer is a refusal.
    Refused(Refusal),
    /// The answer has the status of success and is none.
    Senseless(String),
}

impl Trouble {
    /// Whether the same call may work in a while.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unanswered(error) => !matches!(error, HttpError::TooLong { .. }),
            Self::Refused(refusal) => refusal.status >= 500 || [408, 429].contains(&refusal.status),
            Self::Senseless(_) => true,
        }
    }

    /// The status of a refusal.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Unanswered(_) | Self::Senseless(_) => None,
        }
    }

    /// How long the Hub asks to wait.
    pub(super) fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.wait,
            Self::Unanswered(_) | Self::Senseless(_) => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => f.write_str(&crate::fetch::http::with_cause(error)),
            Self::Refused(refusal) => {
                write!(f, "the Hub answered {}", refusal.status)?;
                match &refusal.said {
                    Some(said) => write!(f, ": {said}"),
                    None => Ok(()),
                }
            }
            Self::Senseless(what) => write!(f, "the Hub answered with {what}"),
        }
    }
}

/// An answer with the status of success, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// When the Hub says that it is.
    pub(super) date: Option<jiff::Timestamp>,
    /// The next page.
    pub(super) next: Option<String>,
    /// Its `ETag`, as it stands.
    pub(super) etag: Option<String>,
}

/// Makes calls.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    http: Http,
    limits: FetchOptions,
    listener: Listener,
}

impl Calls {
    /// One that tries as often as `limits` says.
    pub(super) fn new(limits: &FetchOptions, listener: Listener) -> Result<Self, Cause> {
        Ok(Self {
            http: Http::for_sending(limits)?,
            limits: limits.clone(),
            listener,
        })
    }

    /// The limits.
    pub(super) fn limits(&self) -> &FetchOptions {
        &self.limits
    }

    /// Makes a call whose answer says nothing but that it was done, until it is, or there is no point
    /// any more.
    pub(super) async fn done(&self, call: &Call) -> Result<(), Trouble> {
        let mut attempt = 1;
        loop {
            match self
                .once(call)
                .await
                .and_then(|answer| no_page(&answer.bytes))
            {
                Ok(()) => return Ok(()),
                Err(trouble) => attempt = self.wait(&call.doing, attempt, trouble).await?,
            }
        }
    }

    /// The same for an answer in JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Trouble> {
        Ok(self.json_page(call).await?.0)
    }

    /// The same with what the headers say.
    pub(super) async fn json_page<T: DeserializeOwned>(
        &self,
        call: &Call,
    ) -> Result<(T, Answer), Trouble> {
        let mut attempt = 1;
        loop {
            let answered = self.once(call).await.and_then(|answer| {
                let value = parsed(&answer.bytes)?;
                Ok((value, answer))
            });
            match answered {
                Ok(answered) => return Ok(answered),
                Err(trouble) => attempt = self.wait(&call.doing, attempt, trouble).await?,
            }
        }
    }

    /// Waits until the attempt after `attempt` and gives its number, or the trouble back if there is to
    /// be none: a Hub that asks for a longer wait than is had is not asked in vain.
    pub(super) async fn wait(
        &self,
        doing: &str,
        attempt: u32,
        trouble: Trouble,
    ) -> Result<u32, Trouble> {
        let asked = trouble.asked_wait();
        let is_too_long = asked.is_some_and(|wait| wait > self.limits.longest_wait);
        if !trouble.may_pass() || attempt >= self.limits.attempts || is_too_long {
            return Err(trouble);
        }
        self.pause(doing, &trouble.to_string(), attempt, asked)
            .await;
        Ok(attempt + 1)
    }

    /// Waits after `attempt`, as long as was `asked`, or twice as long each time; says so.
    pub(super) async fn pause(
        &self,
        doing: &str,
        reason: &str,
        attempt: u32,
        asked: Option<Duration>,
    ) {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let wait = self.limits.first_wait.saturating_mul(doubled);
        let wait = asked.unwrap_or(wait).min(self.limits.longest_wait);
        self.say(&HubNotice::Waiting {
            doing: doing.to_owned(),
            reason: reason.to_owned(),
            attempt: attempt + 1,
            wait,
        });
        tokio::time::sleep(wait).await;
    }

    /// Says something to who listens.
    pub(super) fn say(&self, notice: &HubNotice) {
        (self.listener.0)(notice);
    }

    /// Makes a call, once.
    pub(super) async fn once(&self, call: &Call) -> Result<Answer, Trouble> {
        let content = match &call.body {
            Some((content_type, bytes)) => Content::Whole {
                content_type,
                bytes: bytes.clone(),
            },
            None => Content::Nothing,
        };
        self.sent(call, content).await
    }

    /// Makes a call with another body, once.
    pub(super) async fn sent(&self, call: &Call, content: Content) -> Result<Answer, Trouble> {
        tracing::debug!(doing = %call.doing, "call to the Hub");
        let ask = Ask {
            verb: call.verb,
            url: &call.url,
            headers: &call.headers,
            bearer: call.bearer.as_ref().map(Token::secret),
            content,
            patience: call.patience,
            cap_bytes: call.cap_bytes,
        };
        let reply = self.http.ask(ask).await.map_err(Trouble::Unanswered)?;
        if !(200..300).contains(&reply.status) {
            return Err(Trouble::Refused(refusal(call, reply).await));
        }
        let date = reply.header("date").and_then(|text| {
            let parser = jiff::fmt::rfc2822::DateTimeParser::new();
            parser.parse_timestamp(text).ok()
        });
        let next = reply.header("link").and_then(next_page);
        let etag = reply.header("etag").map(str::to_owned);
        let bytes = reply.bytes().await.map_err(Trouble::Unanswered)?;
        Ok(Answer {
            bytes,
            date,
            next,
            etag,
        })
    }
}

/// The token for a call, where `url` is the Hub's own: what a Hub names as the place to send a file
/// to is often another's.
pub(super) fn bearer_for(token: Option<&Token>, endpoint: &Endpoint, url: &str) -> Option<Token> {
    token.filter(|_| endpoint.is_of(url)).cloned()
}

/// That an answer of which nothing is read is not the page of somebody who stands in the Hub's place.
pub(super) fn no_page(bytes: &[u8]) -> Result<(), Trouble> {
    if bytes.trim_ascii_start().starts_with(b"<") {
        let what = "a page where nothing was expected".to_owned();
        return Err(Trouble::Senseless(what));
    }
    Ok(())
}

/// Reads JSON.
pub(super) fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(bytes).map_err(|error| {
        let start = bytes.trim_ascii_start();
        let what = match start.first() {
            Some(b'<') => "a page where JSON was expected".to_owned(),
            Some(_) => format!("JSON that is not what was asked for: {error}"),
            None => "nothing".to_owned(),
        };
        Trouble::Senseless(what)
    })
}

async fn refusal(call: &Call, reply: Reply) -> Refusal {
    let status = reply.status;
    let header = |name: &str| reply.header(name).map(str::to_owned);
    let code = header("x-error-code");
    let message = header("x-error-message");
    let wait = reply
        .header("ratelimit")
        .and_then(limit_wait)
        .or_else(|| reply.retry_after());
    // What cannot be read says nothing more than the status does.
    let body = reply.bytes().await.unwrap_or_default();
    let in_json = || {
        let json: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let error = json
            .get("error_description")
            .or_else(|| json.get("error"))?;
        Some(error.as_str()?.to_owned())
    };
    let said = message
        .or_else(in_json)
        .filter(|_| call.says == Says::Everything);
    let said = said.map(|said| {
        let hidden = call
            .bearer
            .as_ref()
            .map_or_else(|| said.clone(), |token| token.hidden_in(&said));
        one_line(&hidden)
    });
    Refusal {
        status,
        code: code.map(|code| one_line(&code)),
        said: said.filter(|said| !said.is_empty()),
        wait: (status == 429 || status == 503).then_some(wait).flatten(),
    }
}

/// The end of the window in `RateLimit: "api";r=0;t=55`, and a second more
/// (draft-ietf-httpapi-ratelimit-headers).
fn limit_wait(header: &str) -> Option<Duration> {
    let rest = header
        .split(';')
        .find_map(|part| part.trim().strip_prefix("t="))?;
    let seconds: u64 = rest.split(',').next()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_add(1)))
}

/// The address in `Link: <https://…>; rel="next"` (RFC 8288).
fn next_page(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (address, relation) = link.split_once(';')?;
        let is_next = relation.replace('"', "").contains("rel=next");
        let address = address.trim().strip_prefix('<')?.strip_suffix('>')?;
        is_next.then(|| address.to_owned())
    })
}

/// What somebody else wrote, fit for an error: one line without control characters, cut short, and
/// without the queries of addresses, which may be signatures.
pub(super) fn one_line(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let is_address = word.contains("://");
        match word.split_once('?') {
            Some((address, _)) if is_address => words.push(format!("{address}?…")),
            _ if word.is_empty() => {}
            _ => words.push(word.to_owned()),
        }
    }
    let line = words.join(" ");
    match line.char_indices().nth(SAID_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_say_when_they_end() {
        let seconds = |text: &str| limit_wait(text).map(|wait| wait.as_secs());
        assert_eq!(seconds("\"api\";r=0;t=55"), Some(56));
        assert_eq!(seconds("\"api\";r=0;t=55, \"pages\";r=1;t=9"), Some(56));
        assert_eq!(seconds("\"api\";r=0"), None);
    }

    #[test]
    fn pages_say_which_is_next() {
        let link = "<https://h.org/api?cursor=x%3D&limit=2>; rel=\"next\"";
        assert_eq!(
            next_page(link).as_deref(),
            Some("https://h.org/api?cursor=x%3D&limit=2")
        );
        assert_eq!(next_page("<https://h.org>; rel=\"prev\""), None);
    }

    #[test]
    fn what_others_write_is_cut_to_a_line_without_signatures() {
        assert_eq!(
            one_line("put\n https://s3.org/x?X-Sig=secret\x1b[31m failed"),
            "put https://s3.org/x?… [31m failed"
        );
        assert_eq!(one_line(&"a".repeat(400)).chars().count(), 301);
    }

    #[test]
    fn a_page_is_no_json() {
        let trouble = parsed::<Vec<u8>>(b" <html>oops</html>").unwrap_err();
        assert!(trouble.may_pass());
        assert_eq!(
            trouble.to_string(),
            "the Hub answered with a page where JSON was expected"
        );
    }
}
