//! Faults that a test plants: at a request's number or on a route, and what then goes wrong.

use std::time::Duration;

/// A planted fault. The first one that fits a request counts; each is used up after its `times`.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which request it hits.
    pub at: At,
    /// What goes wrong with it.
    pub what: What,
}

/// Which request a fault hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// The request with this number. Numbers begin at 1 when the Hub starts and go on over all its
    /// ports, in the order in which the heads of the requests arrive.
    Request(u64),
    /// Requests of a route.
    Route {
        /// The method, any where there is none.
        method: Option<String>,
        /// The path as it is on the wire, percent-encoded and without the query; `*` stands for any
        /// characters, `/` too.
        path: String,
        /// The first fitting request that is hit, counted from 1 since the fault was planted.
        first: u64,
        /// How many from there on.
        times: u64,
    },
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This answer instead of the Hub's; nothing is done.
    Status {
        /// The status code.
        code: u16,
        /// Headers, with their names.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The request is carried out, and answered with this status and an HTML page, as when a gateway
    /// gives up on a Hub that goes on (huggingface/datasets#7708: a 500 with the commit applied).
    StatusAfter(u16),
    /// The connection is closed; nothing is done, nothing is answered.
    CutBefore,
    /// The request is carried out and the connection is closed before any byte of the answer.
    CutAfter,
    /// The request is carried out, and the connection is closed after so many bytes of the answer, head
    /// included. An answer that is shorter gets through, and the connection stays.
    CutAt(u64),
    /// The error page of a content delivery network, in HTML; nothing is done. With 200 it passes for an
    /// answer.
    CdnErrorPage(u16),
    /// The request is carried out, so many bytes of the answer are sent, then nothing until the time is
    /// over, and then the connection is closed.
    Stall {
        /// Bytes of the answer that get through, head included.
        after_bytes: u64,
        /// How long nothing comes.
        silence: Duration,
    },
    /// The request is carried out, and one bit in the middle of the answer's body is another one.
    WrongBytes,
    /// The request is carried out at once, and answered so much later.
    SlowBy(Duration),
    /// Before the request is carried out, someone else's commit lands on `main` of its repo.
    OtherCommit,
}

impl Fault {
    /// At the request with this number.
    pub fn at_request(number: u64, what: What) -> Self {
        Self {
            at: At::Request(number),
            what,
        }
    }

    /// At the first request from now on that has this method and a path that fits; see [`At::Route`].
    pub fn on(method: &str, path: &str, what: What) -> Self {
        Self {
            at: At::Route {
                method: Some(method.to_owned()),
                path: path.to_owned(),
                first: 1,
                times: 1,
            },
            what,
        }
    }

    /// Lets `count` fitting requests pass first. Says nothing to a fault with a request's number.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        if let At::Route { first, .. } = &mut self.at {
            *first = count.saturating_add(1);
        }
        self
    }

    /// Hits `count` fitting requests in a row. Says nothing to a fault with a request's number.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        if let At::Route { times, .. } = &mut self.at {
            *times = count;
        }
        self
    }
}

impl What {
    /// A status with a JSON error, as the Hub gives them.
    pub fn status(code: u16, error: &str) -> Self {
        Self::Status {
            code,
            headers: vec![(
                "content-type".to_owned(),
                "application/json; charset=utf-8".to_owned(),
            )],
            body: serde_json::json!({ "error": error }).to_string(),
        }
    }

    /// 429 with the headers of the Hub's limits: nothing is left for so many seconds.
    pub fn rate_limited(seconds: u64) -> Self {
        Self::Status {
            code: 429,
            headers: vec![
                (
                    "content-type".to_owned(),
                    "application/json; charset=utf-8".to_owned(),
                ),
                ("ratelimit".to_owned(), format!("\"api\";r=0;t={seconds}")),
                (
                    "ratelimit-policy".to_owned(),
                    "\"fixed window\";\"api\";q=1000;w=300".to_owned(),
                ),
            ],
            body: serde_json::json!({ "error": "We had to rate limit you" }).to_string(),
        }
    }
}

/// The faults that are planted, and how often each was met.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    faults: Vec<(Fault, u64)>,
}

impl Planted {
    pub(crate) fn plant(&mut self, fault: Fault) {
        self.faults.push((fault, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    /// What goes wrong with this request. Counts it for every fault that it fits.
    pub(crate) fn hit(&mut self, number: u64, method: &str, path: &str) -> Option<What> {
        let mut hit = None;
        for (fault, seen) in &mut self.faults {
            let strikes = match &fault.at {
                At::Request(wanted) => *wanted == number,
                At::Route {
                    method: wanted,
                    path: pattern,
                    first,
                    times,
                } => {
                    let fits = wanted.as_deref().is_none_or(|wanted| wanted == method)
                        && matches(pattern, path);
                    *seen += u64::from(fits);
                    fits && *seen >= *first && *seen - *first < *times
                }
            };
            if strikes && hit.is_none() {
                hit = Some(fault.what.clone());
            }
        }
        hit
    }
}

/// Whether a pattern whose only special character is `*` fits the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, want: bool) {
        assert_eq!(matches(pattern, text), want, "`{pattern}` on `{text}`");
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        check("/api/*/commit/*", "/api/models/o/n/commit/main", true);
        check("/api/*/commit/*", "/api/models/o/n/commits/main", false);
        check("*/commit/main", "/api/models/o/n/commit/main", true);
        check("/api", "/api", true);
        check("/api", "/api/", false);
        check("*", "", true);
        check("/a*a", "/a", false);
    }

    #[test]
    fn a_route_fault_hits_its_nth_requests_only() {
        let mut planted = Planted::default();
        planted.plant(Fault::on("GET", "/x", What::CutBefore).after(1).times(2));
        let hits: Vec<bool> = (1..=5)
            .map(|number| planted.hit(number, "GET", "/x").is_some())
            .collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(planted.hit(6, "POST", "/x").is_none());
    }

    #[test]
    fn a_number_hits_whatever_comes() {
        let mut planted = Planted::default();
        planted.plant(Fault::at_request(2, What::CutAfter));
        assert_eq!(planted.hit(1, "GET", "/x"), None);
        assert_eq!(planted.hit(2, "PUT", "/y"), Some(What::CutAfter));
    }
}
