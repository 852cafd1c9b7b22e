//! The content delivery network: signed links to upload to and to download from, on a host:port of its
//! own. It refuses a request with an `Authorization` header, as S3 does with two ways to sign in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::header::{AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, HeaderName};
use hyper::{Method, StatusCode, Uri};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use crate::answer::{Answer, Asked, Refusal, bytes_answer, set};
use crate::content::{Content, Described, Wanted, send};
use crate::hub::Hub;

/// What the signature covers; links of another Hub, or of another content, do not work.
fn sign(hub: &Hub, path: &str, expires: u64) -> String {
    let text = format!("{} {path} {expires}", hub.secret);
    hex::encode(Sha256::digest(text))[..32].to_owned()
}

/// A link to a path of the CDN, or to one of the Hub that wants no token, which works for a while.
pub(crate) fn signed(hub: &Hub, base: &str, path: &str, extra: &[(&str, &str)]) -> String {
    let expires = (now() + hub.options.limits.link_lifetime).as_secs();
    let signature = sign(hub, path, expires);
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(extra)
        .append_pair("Expires", &expires.to_string())
        .append_pair("Signature", &signature)
        .finish();
    format!("{base}{path}?{query}")
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

pub(crate) async fn answer(hub: &Arc<Hub>, request: Asked) -> Answer {
    match route(hub, request).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    }
}

async fn route(hub: &Arc<Hub>, request: Asked) -> Result<Answer, Refusal> {
    if request.headers().contains_key(AUTHORIZATION) {
        return Err(Refusal::bad_request(
            "InvalidArgument: Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
             query string parameter or the Authorization header should be specified",
        ));
    }
    check_signature(hub, request.uri())?;
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET | &Method::HEAD, ["contents", sha256]) => {
            download(hub, &request, sha256).await
        }
        (&Method::PUT, ["upload", sha256]) => {
            let number = hub.next_upload();
            hub.blobs
                .receive(number, sha256, request.into_body())
                .await?;
            let mut answer = bytes_answer(StatusCode::OK, "application/xml", "");
            set(&mut answer, ETAG, &format!("\"{}\"", &sha256[..32]));
            Ok(answer)
        }
        (&Method::PUT, ["upload", sha256, part]) => {
            let part = part.parse().map_err(|_| Refusal::no_route())?;
            let number = hub.next_upload();
            let etag = hub
                .blobs
                .receive_part(number, sha256, part, request.into_body())
                .await?;
            let mut answer = bytes_answer(StatusCode::OK, "application/xml", "");
            set(&mut answer, ETAG, &etag);
            Ok(answer)
        }
        _ => Err(Refusal::no_route()),
    }
}

/// Whether a link was given out by this Hub and still works.
pub(crate) fn check_signature(hub: &Hub, uri: &Uri) -> Result<(), Refusal> {
    let expires = parameter(uri, "Expires")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let signature = parameter(uri, "Signature").unwrap_or_default();
    if signature != sign(hub, uri.path(), expires) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "AccessDenied: wrong signature",
        ));
    }
    if now().as_secs() >= expires {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "AccessDenied: Request has expired",
        ));
    }
    Ok(())
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

async fn download(hub: &Arc<Hub>, request: &Asked, sha256: &str) -> Result<Answer, Refusal> {
    let content = find(hub, sha256).await?.ok_or_else(Refusal::no_route)?;
    let mut headers: Vec<(HeaderName, String)> =
        vec![(CONTENT_TYPE, "application/octet-stream".to_owned())];
    if let Some(disposition) = parameter(request.uri(), "response-content-disposition") {
        headers.push((CONTENT_DISPOSITION, disposition));
    }
    let described = Described {
        content,
        etag: format!("\"{sha256}\""),
        headers,
    };
    let wanted = Wanted::new(request.method(), request.headers());
    send(hub, &wanted, described).await
}

/// Where a content of this digest is: the plain storage, or Xet.
pub(crate) async fn find(hub: &Hub, sha256: &str) -> Result<Option<Content>, Refusal> {
    let sha256 = sha256.to_owned();
    if let Some(size) = hub.blobs.size(&sha256).await {
        return Ok(Some(Content::Blob { sha256, size }));
    }
    if let Some(cas) = &hub.cas
        && let Some(file) = cas.find(&sha256).await?
    {
        return Ok(Some(Content::Xet {
            sha256,
            size: file.size,
        }));
    }
    Ok(None)
}
