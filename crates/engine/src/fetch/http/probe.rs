//! Whether a server answers at all: the head of an answer, of any status.

use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE};

use super::{Http, HttpError, unanswered};

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status.
    pub(crate) status: u16,
    /// Whether it is a page for people.
    pub(crate) is_page: bool,
    /// The host that answered in the end, when it is another than the one that was asked.
    pub(crate) from_host: Option<String>,
    /// When the server says that it is.
    pub(crate) date: Option<jiff::Timestamp>,
}

impl Http {
    /// Asks for an address and reads the head of the answer; the body is left where it is. A request by
    /// `HEAD` would be less, and some servers of files answer it otherwise.
    pub(crate) async fn probe(&self, url: &str) -> Result<Head, HttpError> {
        let request = self.client.get(url).header(ACCEPT, "*/*");
        let response = request
            .send()
            .await
            .map_err(|error| unanswered(url, self.stall_limit, error))?;
        let text = |name| response.headers().get(name)?.to_str().ok();
        let asked = reqwest::Url::parse(url).ok();
        let asked = asked.as_ref().and_then(reqwest::Url::host_str);
        let answered = response.url().host_str();
        Ok(Head {
            status: response.status().as_u16(),
            is_page: text(CONTENT_TYPE).is_some_and(|kind| kind.trim().starts_with("text/html")),
            from_host: answered
                .filter(|host| Some(*host) != asked)
                .map(str::to_owned),
            date: text(DATE).and_then(|text| {
                let parser = jiff::fmt::rfc2822::DateTimeParser::new();
                parser.parse_timestamp(text).ok()
            }),
        })
    }
}
