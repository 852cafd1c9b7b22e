//! Files by URL: redirects to the cache or to the CDN, and the cache itself (hub.md section 3, "resolve").

use std::sync::Arc;

use bytes::Bytes;
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
use crate::content::{Content, Described, Wanted, send};
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

/// A path of a repo at a revision.
pub(super) struct Place<'a> {
    pub(super) name: &'a RepoName,
    pub(super) revision: &'a str,
    pub(super) path: &'a str,
}

/// What lies there, and the commit that the revision names.
fn entry(hub: &Hub, call: &Call, place: &Place<'_>) -> Result<(String, Entry), Refusal> {
    let Place {
        name,
        revision,
        path,
    } = *place;
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

pub(super) fn resolve(hub: &Hub, call: &Call, place: &Place<'_>) -> Result<Answer, Refusal> {
    let (commit, entry) = entry(hub, call, place)?;
    let wanted = Wanted::new(&call.head.method, &call.head.headers);
    Ok(match entry {
        Entry::Regular { oid, .. } => to_cache(call, place, &commit, &oid),
        Entry::Lfs {
            sha256,
            size,
            xet_hash,
            ..
        } => {
            let facts = LfsFacts {
                commit: &commit,
                sha256: &sha256,
                size,
                xet_hash: xet_hash.as_deref(),
            };
            to_cdn(hub, &wanted, place, &facts)
        }
    })
}

/// 307 with a relative link. The length is the redirect's, which hf-hub#191 took for the file's.
fn to_cache(call: &Call, place: &Place<'_>, commit: &str, oid: &str) -> Answer {
    let Place { name, path, .. } = *place;
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
    commit: &'a str,
    sha256: &'a str,
    size: u64,
    xet_hash: Option<&'a str>,
}

/// 302 with a signed link to the CDN, and what a client must know of the file itself.
fn to_cdn(hub: &Hub, wanted: &Wanted, place: &Place<'_>, facts: &LfsFacts<'_>) -> Answer {
    let Place { name, path, .. } = *place;
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
    set_extra(&mut answer, "x-repo-commit", facts.commit);
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
        let link = format!("<{api}/xet-read-token/{}>; rel=\"xet-auth\"", facts.commit);
        set(&mut answer, LINK, &link);
    }
    answer
}

pub(super) async fn cached(
    hub: &Arc<Hub>,
    call: &Call,
    place: &Place<'_>,
) -> Result<Answer, Refusal> {
    let (commit, entry) = entry(hub, call, place)?;
    match entry {
        Entry::Regular { bytes, oid } => plain(hub, call, &commit, (bytes, &oid)).await,
        Entry::Lfs { .. } => Err(Refusal::no_entry(place.path, &commit)),
    }
}

/// The blob as it is in git: of an LFS file, its pointer.
pub(super) async fn raw(hub: &Arc<Hub>, call: &Call, place: &Place<'_>) -> Result<Answer, Refusal> {
    let (commit, entry) = entry(hub, call, place)?;
    match entry {
        Entry::Regular { bytes, oid } => plain(hub, call, &commit, (bytes, &oid)).await,
        Entry::Lfs {
            sha256, size, oid, ..
        } => plain(hub, call, &commit, (pointer(&sha256, size).into(), &oid)).await,
    }
}

async fn plain(
    hub: &Arc<Hub>,
    call: &Call,
    commit: &str,
    (bytes, oid): (Bytes, &str),
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
    let described = Described {
        content: Content::Bytes(bytes),
        etag: format!("\"{oid}\""),
        headers,
    };
    send(hub, &wanted, described).await
}
