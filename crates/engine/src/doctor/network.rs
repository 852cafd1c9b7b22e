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
    limits_of(SILENCE)
}

fn limits_of(silence: Duration) -> FetchOptions {
    FetchOptions {
        connect_limit: silence,
        stall_limit: silence,
        git_stall_limit: silence,
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

/// Asks servers, in the order of `targets`, within the limits of the fetcher.
pub(super) async fn ask(targets: Vec<Target>, fetcher: &Fetcher) -> Vec<Asked> {
    let http = Http::new(fetcher.options());
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
                Err(error) => Reach::Failed(short(&said_by_git(&chain(&error)))),
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

/// What git itself said, where it said something: the rest names the repository once more.
fn said_by_git(text: &str) -> String {
    match text.rsplit_once("git said: ") {
        Some((_, said)) => said.trim().to_owned(),
        None => text.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use wheelfarm_core::doctor::targets::TargetKind;

    use super::*;
    use crate::fetch::tests::server::{Reply, Server};

    /// Limits that do not make a test wait long.
    fn fetcher(folder: &std::path::Path) -> Fetcher {
        Fetcher::new(folder, limits_of(Duration::from_millis(300))).unwrap()
    }

    fn target(question: Question) -> Target {
        Target {
            kind: TargetKind::Index,
            name: "a server".to_owned(),
            question,
            needed_by: "a test".to_owned(),
            held: None,
        }
    }

    fn web(url: &str) -> Target {
        target(Question::Web(url.parse().unwrap()))
    }

    #[tokio::test]
    async fn servers_are_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let fetcher = fetcher(folder.path());
        let mut server = Server::new().await;
        let date = "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
        server.on("/fine", Reply::status(200, date));
        server.on(
            "/page",
            Reply::ok("text/html; charset=utf-8", "<h1>sign in</h1>"),
        );
        server.on("/busy", Reply::status(503, ""));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = format!("http://{}/", closed.local_addr().unwrap());
        drop(closed);
        // Connections come about, and nobody answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hangs = format!("http://{}/", silent.local_addr().unwrap());
        let paths = ["/fine", "/page", "/busy", "/absent"];
        let mut targets: Vec<_> = paths.iter().map(|path| web(&server.url(path))).collect();
        targets.extend([web(&gone), web(&hangs), target(Question::Nothing)]);
        let asked = server.during(ask(targets, &fetcher)).await;
        let reaches: Vec<_> = asked.into_iter().map(|asked| asked.reach).collect();
        let answer = |place: usize| {
            let Reach::Answered(answer) = &reaches[place] else {
                panic!("{:?}", reaches[place]);
            };
            answer.clone()
        };
        assert_eq!(answer(0).status, 200);
        // Ten years and more behind.
        assert!(answer(0).ahead_s.unwrap() < -300_000_000, "{reaches:?}");
        assert!(answer(1).is_page && !answer(0).is_page);
        assert_eq!(answer(1).ahead_s, None);
        assert_eq!((answer(2).status, answer(3).status), (503, 404));
        assert!(
            matches!(&reaches[4], Reach::Failed(why) if why.contains("refused")),
            "{reaches:?}"
        );
        assert_eq!(reaches[5], Reach::Silent { seconds: 0 });
        assert_eq!(reaches[6], Reach::NotAsked("it is no address"));
    }

    #[tokio::test]
    async fn a_page_that_stands_in_a_servers_place_is_told_by_its_host() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server::new().await;
        let login = server.url("/login").replace("127.0.0.1", "localhost");
        let away = format!("Location: {login}\r\n");
        server.on("/simple/pip/", Reply::status(302, &away));
        server.on("/login", Reply::ok("text/html", "<h1>sign in</h1>"));
        let targets = vec![web(&server.url("/simple/pip/"))];
        let asked = server.during(ask(targets, &fetcher(folder.path()))).await;
        let Reach::Answered(answer) = &asked[0].reach else {
            panic!("{asked:?}")
        };
        assert_eq!(answer.from_host.as_deref(), Some("localhost"));
        assert!(answer.is_page);
    }

    #[tokio::test]
    async fn repositories_are_asked_by_git_itself() {
        let folder = tempfile::tempdir().unwrap();
        let fetcher = fetcher(&folder.path().join("cache"));
        let there = folder.path().join("there");
        let made = crate::secrets::command("git")
            .args(["init", "--quiet"])
            .arg(&there)
            .status();
        assert!(made.unwrap().success());
        let url = |path: &std::path::Path| format!("file://{}", path.display()).parse().unwrap();
        let targets = vec![
            target(Question::Git(url(&there))),
            target(Question::Git(url(&folder.path().join("absent")))),
        ];
        let asked = ask(targets, &fetcher).await;
        // It has no commit, and answers.
        assert!(matches!(asked[0].reach, Reach::Listed { .. }), "{asked:?}");
        let Reach::Failed(why) = &asked[1].reach else {
            panic!("{asked:?}")
        };
        assert!(
            why.contains("does not appear to be a git repository"),
            "{why}"
        );
    }

    #[test]
    fn proxies_are_named_and_not_shown() {
        let variables = [
            ("HTTPS_PROXY", "http://me:planted@proxy:3128"),
            ("http_proxy", ""),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(proxies(&variables), ["HTTPS_PROXY"]);
    }
}
