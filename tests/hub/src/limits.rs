//! The limits of requests and commits (hub.md section 4).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use crate::answer::{Answer, Refusal, set_extra};

/// The real Hub counts requests in windows of five minutes.
const WINDOW: Duration = Duration::from_mins(5);
const HOUR: Duration = Duration::from_hours(1);

/// Requests in the current window.
#[derive(Debug)]
pub(crate) struct Quota {
    resource: &'static str,
    allowed: u32,
    used: u32,
    began: Instant,
}

/// How a quota stands, for the headers of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    resource: &'static str,
    allowed: u32,
    left: u32,
    seconds: u64,
    pub(crate) is_over: bool,
}

impl Quota {
    pub(crate) fn new(resource: &'static str, allowed: u32) -> Self {
        Self {
            resource,
            allowed,
            used: 0,
            began: Instant::now(),
        }
    }

    /// Counts a request.
    pub(crate) fn take(&mut self) -> Standing {
        if self.began.elapsed() >= WINDOW {
            self.used = 0;
            self.began = Instant::now();
        }
        self.used = self.used.saturating_add(1);
        Standing {
            resource: self.resource,
            allowed: self.allowed,
            left: self.allowed.saturating_sub(self.used),
            seconds: WINDOW.saturating_sub(self.began.elapsed()).as_secs(),
            is_over: self.used > self.allowed,
        }
    }
}

impl Standing {
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "We had to rate limit you, you hit the quota of {} {} requests per 5 minutes period.",
                self.allowed, self.resource
            ),
        )
    }

    /// The headers stand on every answer (`utils/_http.py`: "Headers are set on every response").
    pub(crate) fn write(self, answer: &mut Answer) {
        let Self {
            resource,
            allowed,
            left,
            seconds,
            ..
        } = self;
        set_extra(
            answer,
            "ratelimit",
            &format!("\"{resource}\";r={left};t={seconds}"),
        );
        let policy = format!(
            "\"fixed window\";\"{resource}\";q={allowed};w={}",
            WINDOW.as_secs()
        );
        set_extra(answer, "ratelimit-policy", &policy);
    }
}

/// Whether another commit may be made now; forgets those that are older than an hour.
pub(crate) fn check_commits(recent: &mut VecDeque<Instant>, allowed: u32) -> Result<(), Refusal> {
    while recent.front().is_some_and(|time| time.elapsed() >= HOUR) {
        recent.pop_front();
    }
    if recent.len() < usize::try_from(allowed).unwrap_or(usize::MAX) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "You have exceeded the rate limit for repository commits ({allowed} per hour). You can retry this action in \
             about 1 hour."
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_after_the_last_one_is_over() {
        let mut quota = Quota::new("api", 2);
        assert!(!quota.take().is_over);
        let last = quota.take();
        assert_eq!((last.is_over, last.left), (false, 0));
        assert!(quota.take().is_over);
    }

    #[test]
    fn commits_are_counted_for_an_hour() {
        let mut recent = VecDeque::from([Instant::now()]);
        assert!(check_commits(&mut recent, 1).is_err());
        assert!(check_commits(&mut recent, 2).is_ok());
    }
}
