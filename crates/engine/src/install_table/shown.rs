//! Waits until a place that shows the pages of a release some time after they were brought has them.
//!
//! A static Space is built again after each commit, and shows what it had until then. A row that was
//! judged by the old pages would say of a good wheel that it cannot be installed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::source::RemoteUrl;
use wheelfarm_core::wheel::name::WheelName;

use crate::fetch::Fetcher;

/// The longest page that is read.
const PAGE_CAP_BYTES: u64 = 16 * 1024 * 1024;

/// What stands before a digest in a page.
const DIGEST: &str = "sha256=";

/// How long and how often a place is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For so long in all.
    pub(super) limit: Duration,
    /// With so long between two questions.
    pub(super) between: Duration,
}

/// The pages of `changed` wheels below `whl/`, with the digests that each must name. Pages are not
/// compared as a whole, for whoever serves them may put something into them.
pub(super) fn wanted(
    layout: &Layout<'_>,
    changed: &BTreeSet<WheelName>,
) -> BTreeMap<String, BTreeSet<String>> {
    let projects: BTreeSet<String> = changed
        .iter()
        .map(|name| format!("/simple/{}/index.html", name.project()))
        .collect();
    let files = layout.files().into_iter();
    let pages = files.filter_map(|(path, content)| {
        let path = path.strip_prefix("whl/")?.to_owned();
        let is_wanted = projects.iter().any(|project| path.ends_with(project));
        is_wanted.then(|| (path, digests(&String::from_utf8_lossy(&content))))
    });
    pages.collect()
}

fn digests(page: &str) -> BTreeSet<String> {
    let found = page.split(DIGEST).skip(1);
    found
        .filter_map(|rest| Some(rest.get(..64)?.to_owned()))
        .collect()
}

/// Waits until the pages below `index_url` are as `wanted`; what is missing when patience ends.
pub(super) async fn wait(
    fetcher: &Fetcher,
    index_url: &str,
    wanted: &BTreeMap<String, BTreeSet<String>>,
    patience: Patience,
) -> Result<(), String> {
    let ends_at = Instant::now() + patience.limit;
    for (path, digests) in wanted {
        let url = format!("{}/{path}", index_url.trim_end_matches('/'));
        loop {
            // A server that answers nothing must not take longer than all may.
            let asked = tokio::time::timeout_at(ends_at, missing(fetcher, &url, digests)).await;
            let why = match asked {
                Ok(None) => break,
                Ok(Some(why)) => why,
                Err(_) => "it does not answer".to_owned(),
            };
            if Instant::now() + patience.between >= ends_at {
                let seconds = patience.limit.as_secs();
                return Err(format!(
                    "after {seconds} s, {url} does not show the release: {why}"
                ));
            }
            tokio::time::sleep(patience.between).await;
        }
    }
    Ok(())
}

/// Why the page at `url` is not the one that names `digests`, if it is not.
async fn missing(fetcher: &Fetcher, url: &str, digests: &BTreeSet<String>) -> Option<String> {
    let address = match url.parse::<RemoteUrl>() {
        Ok(address) => address,
        Err(error) => return Some(chain(&error)),
    };
    match fetcher.text(&address, PAGE_CAP_BYTES, |_| ()).await {
        Ok(page) => {
            let missing = digests.iter().find(|digest| !page.text.contains(*digest));
            missing.map(|digest| format!("it does not name {digest}"))
        }
        Err(error) => Some(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::fetch::FetchOptions;

    const OLD: &str = "<a href=\"x.whl#sha256=1111111111111111111111111111111111111111111111111111111111111111\">";
    const NEW: &str = "<a href=\"x.whl#sha256=2222222222222222222222222222222222222222222222222222222222222222\">";

    /// Waits for a server that answers with the old page `behind` times: what came of it, and how often
    /// it was asked.
    async fn waited(behind: usize) -> (Result<(), String>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/whl/", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let serve = async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /whl/demo/index.html HTTP/1.1"));
                let is_old = count.fetch_add(1, Ordering::Relaxed) < behind;
                let page = if is_old { OLD } else { NEW };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n{page}",
                    page.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let cache = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(cache.path(), FetchOptions::default()).unwrap();
        let wanted = BTreeMap::from([("demo/index.html".to_owned(), digests(NEW))]);
        let patience = Patience {
            limit: Duration::from_secs(2),
            between: Duration::from_millis(20),
        };
        let res = tokio::select! {
            res = wait(&fetcher, &url, &wanted, patience) => res,
            () = serve => unreachable!("it serves on"),
        };
        (res, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_place_that_lags_behind_is_waited_for() {
        assert_eq!(waited(0).await, (Ok(()), 1));
        assert_eq!(waited(3).await, (Ok(()), 4));
    }

    #[tokio::test]
    async fn a_place_that_stays_behind_is_said_to() {
        let (res, asked) = waited(usize::MAX).await;
        let why = res.unwrap_err();
        assert!(why.starts_with("after 2 s, http://127.0.0.1:"), "{why}");
        assert!(why.contains("does not name 2222"), "{why}");
        assert!(asked > 3, "{asked}");
    }
}
