//! Asks servers whether they are there, side by side, each within a limit.

use std::ffi::OsString;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::{self, Instant};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::doctor::targets::{Answer, Asked, Question, Reach, Target};

use super::OFFLINE;
use crate::fetch::http::{Cause, Http, HttpError};
use crate::fetch::{FetchError, FetchOptions, Fetcher};

/// How long a server may take to answer, and git to read its references.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may take to come about, and how long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(5);

/// How many are asked at a time.
const AT_ONCE: usize = 8;

/// The longest text of a cause.
const CAUSE_CHARS: usize = 200;

/// Variables that name a proxy, as the HTTP library and git read them.
const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The bounds of a look: one attempt, and little patience.
pub(super) fn limits() -> FetchOptions {
    FetchOptions {
        connect_limit: SILENCE,
        stall_limit: SILENCE,
        git_stall_limit: SILENCE,
        attempts: 1,
        ..FetchOptions::default()
    }
}

/// The variables of an environment that name a proxy; not with what they say, which may hold a password.
pub(super) fn proxies(variables: &[(OsString, OsString)]) -> Vec<String> {
    let is_set = |wanted: &&str| {
        let mut found = variables.iter().filter(|(name, _)| name == wanted);
        found.any(|(_, value)| !value.is_empty())
    };
    let set = PROXIES.iter().copied().filter(|name| is_set(name));
    set.map(str::to_owned).collect()
}

/// What is known of servers that are not asked.
pub(super) fn not_asked(targets: Vec<Target>) -> Vec<Asked> {
    let asked = |target| Asked {
        target,
        reach: Reach::NotAsked(OFFLINE),
    };
    targets.into_iter().map(asked).collect()
}

/// Asks servers, in the order of `targets`.
pub(super) async fn ask(targets: Vec<Target>, fetcher: &Fetcher) -> Vec<Asked> {
    let http = Http::new(&limits());
    let asked = targets.into_iter().map(|target| {
        let http = http.as_ref();
        async move {
            let reach = one(&target, http, fetcher).await;
            Asked { target, reach }
        }
    });
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

async fn one(target: &Target, http: Result<&Http, &Cause>, fetcher: &Fetcher) -> Reach {
    let begun = Instant::now();
    let asking = async {
        match &target.question {
            Question::Web(url) => match http {
                Ok(http) => web(http, url.with_secrets(), begun).await,
                Err(cause) => Reach::Failed(chain(&**cause)),
            },
            Question::Git(url) => match fetcher.git_tip(url, "HEAD").await {
                // It answered, and has no head: a commit is fetched by its name all the same.
                Ok(_) | Err(FetchError::NoReference { .. }) => Reach::Listed { ms: ms(begun) },
                Err(FetchError::GitStalled { limit, .. }) => Reach::Silent {
                    seconds: limit.as_secs(),
                },
                Err(error) => Reach::Failed(short(&chain(&error))),
            },
            Question::Nothing => Reach::NotAsked("it is no address"),
        }
    };
    match time::timeout(LIMIT, asking).await {
        Ok(reach) => reach,
        Err(_) => Reach::Silent {
            seconds: LIMIT.as_secs(),
        },
    }
}

async fn web(http: &Http, url: &str, begun: Instant) -> Reach {
    match http.probe(url).await {
        Ok(head) => Reach::Answered(Answer {
            status: head.status,
            is_page: head.is_page,
            from_host: head.from_host,
            ms: ms(begun),
            ahead_s: head
                .date
                .map(|date| date.as_second() - Timestamp::now().as_second()),
        }),
        Err(HttpError::Stalled { limit, .. }) => Reach::Silent {
            seconds: limit.as_secs(),
        },
        Err(error) => Reach::Failed(short(&crate::fetch::http::with_cause(&error))),
    }
}

fn ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A cause in one line.
fn short(text: &str) -> String {
    let line: Vec<_> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(CAUSE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
