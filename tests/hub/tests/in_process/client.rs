//! The smallest client: one request, no redirects, no retries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use test_hub::{TestHub, WRITE_TOKEN};

/// An answer that arrived whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no `{name}` in {self:?}"))
    }
}

/// Sends a request. None where no whole answer came.
pub(crate) async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Option<Answer> {
    // A new connection for each: one that a fault closed must not hit the next request.
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .retry_canceled_requests(false)
        .build_http();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = client
        .request(request.body(Full::new(body.into())).unwrap())
        .await
        .ok()?;
    let status = answer.status().as_u16();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some(Answer {
        status,
        headers,
        body,
    })
}

pub(crate) fn bearer() -> (&'static str, String) {
    ("authorization", format!("Bearer {WRITE_TOKEN}"))
}

pub(crate) async fn get(url: &str) -> Answer {
    send("GET", url, &[], "").await.unwrap()
}

/// A commit of lines, with the token that may write.
pub(crate) async fn commit(hub: &TestHub, repo: &str, lines: &[Value]) -> Option<Answer> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let body = lines.join("\n");
    let url = format!("{}/api/models/{repo}/commit/main", hub.endpoint());
    let (name, value) = bearer();
    send("POST", &url, &[(name, &value)], body).await
}

pub(crate) fn header(title: &str) -> Value {
    json!({ "key": "header", "value": { "summary": title } })
}

pub(crate) fn file(path: &str, text: &str) -> Value {
    let content = STANDARD.encode(text);
    json!({ "key": "file", "value": { "path": path, "content": content, "encoding": "base64" } })
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Uploads a content as plain LFS, unless it is stored, and commits it. None where an answer did not come.
pub(crate) async fn commit_lfs(
    hub: &TestHub,
    repo: &str,
    path: &str,
    bytes: &[u8],
) -> Option<Answer> {
    let oid = digest(bytes);
    let batch = json!({
        "operation": "upload",
        "transfers": ["basic"],
        "objects": [{ "oid": oid, "size": bytes.len() }],
    });
    let url = format!("{}/{repo}.git/info/lfs/objects/batch", hub.endpoint());
    let (name, value) = bearer();
    let answer = send("POST", &url, &[(name, &value)], batch.to_string())
        .await?
        .json();
    if let Some(href) = answer["objects"][0]["actions"]["upload"]["href"].as_str() {
        let put = send("PUT", href, &[], bytes.to_vec()).await?;
        assert_eq!(put.status, 200, "{put:?}");
    }
    let pointer = json!({
        "key": "lfsFile",
        "value": { "path": path, "algo": "sha256", "oid": oid, "size": bytes.len() },
    });
    commit(hub, repo, &[header("LFS"), pointer]).await
}

/// Waits until something of the Hub, which works on threads of its own, has happened.
pub(crate) async fn until(happened: impl Fn() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it did not happen"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
