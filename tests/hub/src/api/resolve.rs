//! Files by URL: redirects to the cache or to the CDN, and the cache itself (hub.md section 3, "resolve").

use std::sync::Arc;

use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, LINK,
    LOCATION,
};
use hyper::{Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::Call;
use crate::answer::{Answer, Refusal, bytes_answer, empty, set, set_extra};
use crate::cdn;
use crate::content::{Content, Wanted, send};
use crate::hub::Hub;
use crate::repo::{Entry, RepoName, pointer};

/// What the links of the Hub leave as it is in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// All contents of git are plain text to the Hub, pages too: `resolve/main/index.html` is no page
/// (hub.md section 5).
const PLAIN: &str = "text/plain; charset=utf-8";

fn entry(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    revision: &str,
    path: &str,
) -> Result<(String, Entry), Refusal> {
    hub.read(&call.caller, name, |repo| {
        let commit = repo
            .resolve(revision)
            .ok_or_else(|| Refusal::no_revision(revision))?;
        match commit.tree.get(path) {
            Some(entry) => Ok((commit.id.clone(), entry.clone())),
            None => Err(Refusal::no_entry(path, &commit.id)),
        }
    })
}

pub(super) fn resolve(
    hub: &Hub,
    call: &Call,
    name: &RepoName,
    revision: &str,
    path: &str,
) -> Result<Answer, Refusal> {
    let (commit, entry) = entry(hub, call, name, revision, path)?;
    let wanted = Wanted::new(&call.head.method, &call.head.headers);
    Ok(match entry {
        Entry::Regular { oid, .. } => to_cache(call, name, &commit, path, &oid),
        Entry::Lfs {
            sha256,
            size,
            xet_hash,
            ..
        } => {
            let facts = LfsFacts {
                sha256: &sha256,
                size,
                xet_hash: xet_hash.as_deref(),
            };
            to_cdn(hub, &wanted, name, &commit, path, &facts)
        }
    })
}

/// 307 with a relative link. The length is the redirect's, which hf-hub#191 took for the file's.
fn to_cache(call: &Call, name: &RepoName, commit: &str, path: &str, oid: &str) -> Answer {
    let asked =
        form_urlencoded::byte_serialize(call.head.uri.path().as_bytes()).collect::<String>();
    let location = format!(
        "/api/resolve-cache/{}/{}/{commit}/{}?{asked}=&etag=%22{oid}%22",
        name.kind.plural(),
        name.id(),
        utf8_percent_encode(path, IN_PATH)
    );
    let text = format!("Temporary Redirect. Redirecting to {location}");
    let mut answer = bytes_answer(StatusCode::TEMPORARY_REDIRECT, PLAIN, text);
    set(&mut answer, LOCATION, &location);
    set_extra(&mut answer, "x-repo-commit", commit);
    answer
}

struct LfsFacts<'a> {
    sha256: &'a str,
    size: u64,
    xet_hash: Option<&'a str>,
}

/// 302 with a signed link to the CDN, and what a client must know of the file itself.
fn to_cdn(
    hub: &Hub,
    wanted: &Wanted,
    name: &RepoName,
    commit: &str,
    path: &str,
    facts: &LfsFacts<'_>,
) -> Answer {
    let file = path.rsplit('/').next().unwrap_or(path);
    let disposition = format!(
        "inline; filename*=UTF-8''{}; filename=\"{file}\";",
        utf8_percent_encode(file, NON_ALPHANUMERIC)
    );
    let location = cdn::signed(
        hub,
        &hub.addresses.cdn(),
        &format!("/contents/{}", facts.sha256),
        &[("response-content-disposition", &disposition)],
    );
    let etag = format!("\"{}\"", facts.sha256);
    let mut answer = if wanted.has(&etag) {
        let mut answer = Response::new(empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        let text = format!("Found. Redirecting to {location}");
        let mut answer = bytes_answer(StatusCode::FOUND, PLAIN, text);
        set(&mut answer, LOCATION, &location);
        answer
    };
    set_extra(&mut answer, "x-repo-commit", commit);
    set_extra(&mut answer, "x-linked-size", &facts.size.to_string());
    set_extra(&mut answer, "x-linked-etag", &etag);
    set(&mut answer, ETAG, &etag);
    set(&mut answer, ACCEPT_RANGES, "bytes");
    set(&mut answer, CACHE_CONTROL, "no-store");
    if let Some(hash) = facts.xet_hash {
        set_extra(&mut answer, "x-xet-hash", hash);
        let api = format!(
            "{}/api/{}/{}",
            hub.addresses.hub(),
            name.kind.plural(),
            name.id()
        );
        let link = format!("<{api}/xet-read-token/{commit}>; rel=\"xet-auth\"");
        set(&mut answer, LINK, &link);
    }
    answer
}

pub(super) async fn cached(
    hub: &Arc<Hub>,
    call: &Call,
    name: &RepoName,
    commit: &str,
    path: &str,
) -> Result<Answer, Refusal> {
    let (commit, entry) = entry(hub, call, name, commit, path)?;
    let Entry::Regular { bytes, oid } = entry else {
        return Err(Refusal::no_entry(path, &commit));
    };
    plain(hub, call, &commit, Content::Bytes(bytes), &oid).await
}

/// The blob as it is in git: of an LFS file, its pointer.
pub(super) async fn raw(
    hub: &Arc<Hub>,
    call: &Call,
    name: &RepoName,
    revision: &str,
    path: &str,
) -> Result<Answer, Refusal> {
    let (commit, entry) = entry(hub, call, name, revision, path)?;
    let oid = entry.oid().to_owned();
    let content = match entry {
        Entry::Regular { bytes, .. } => Content::Bytes(bytes),
        Entry::Lfs { sha256, size, .. } => Content::Bytes(pointer(&sha256, size).into()),
    };
    plain(hub, call, &commit, content, &oid).await
}

async fn plain(
    hub: &Arc<Hub>,
    call: &Call,
    commit: &str,
    content: Content,
    oid: &str,
) -> Result<Answer, Refusal> {
    let headers: Vec<(HeaderName, String)> = vec![
        (CONTENT_TYPE, PLAIN.to_owned()),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox".to_owned(),
        ),
        (HeaderName::from_static("x-repo-commit"), commit.to_owned()),
    ];
    let wanted = Wanted::new(&call.head.method, &call.head.headers);
    send(hub, &wanted, content, &format!("\"{oid}\""), headers).await
}
