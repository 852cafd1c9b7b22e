//! One text from a web server, asked for anew.

use wheelfarm_core::source::RemoteUrl;

use super::http::Attempts;
use super::{FetchError, FetchProgress, Fetcher, Progress};

const ACCEPT: &str = "application/json, */*;q=0.5";

/// A text that a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedText {
    /// The text.
    pub text: String,
    /// What the server calls it: `application/json`.
    pub content_type: String,
}

impl Fetcher {
    /// The text at `url`, after redirects, of at most `cap_bytes`. It is not kept.
    pub async fn text(
        &self,
        url: &RemoteUrl,
        cap_bytes: u64,
        progress: impl Fn(FetchProgress) + Send + Sync,
    ) -> Result<FetchedText, FetchError> {
        let progress: Progress<'_> = &progress;
        let mut attempts = Attempts::new(&self.options, progress);
        loop {
            match self.http.page(url.with_secrets(), ACCEPT, cap_bytes).await {
                Ok(page) => {
                    return Ok(FetchedText {
                        text: page.text,
                        content_type: page.content_type,
                    });
                }
                Err(error) => attempts.wait(error).await.map_err(FetchError::Http)?,
            }
        }
    }
}
