//! Static Spaces: the files of `main`, with the content type of their names. The real ones have a host
//! each, `OWNER-NAME.static.hf.space`; here they share one, with `/OWNER/NAME` before the path.

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::answer::{Answer, Asked, Refusal, bytes_answer, set};
use crate::content::{Described, Wanted, send};
use crate::hub::Hub;
use crate::repo::{Kind, RepoName, has_folder};

pub(crate) async fn answer(hub: &Arc<Hub>, request: Asked) -> Answer {
    match route(hub, &request).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    }
}

async fn route(hub: &Arc<Hub>, request: &Asked) -> Result<Answer, Refusal> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed",
        ));
    }
    let path = percent_decode_str(request.uri().path())
        .decode_utf8_lossy()
        .into_owned();
    let mut words = path.trim_start_matches('/').splitn(3, '/');
    let (Some(owner), Some(name)) = (words.next(), words.next()) else {
        return Err(Refusal::no_route());
    };
    let inside = words.next().unwrap_or_default();
    let name = RepoName {
        kind: Kind::Space,
        owner: owner.to_owned(),
        name: name.to_owned(),
    };
    let tree = hub.static_tree(&name).ok_or_else(Refusal::no_route)?;
    let file = match inside {
        "" => "index.html".to_owned(),
        folder if folder.ends_with('/') => format!("{folder}index.html"),
        file => file.to_owned(),
    };
    if let Some(entry) = tree.get(&file) {
        let etag = format!("\"{}\"", entry.oid());
        let headers = vec![
            (CONTENT_TYPE, content_type(&file).to_owned()),
            (CACHE_CONTROL, "no-cache".to_owned()),
        ];
        let described = Described {
            content: hub.content(entry).await?,
            etag,
            headers,
        };
        let wanted = Wanted::new(request.method(), request.headers());
        return send(hub, &wanted, described).await;
    }
    if !inside.is_empty()
        && has_folder(&tree, inside)
        && tree.contains_key(&format!("{inside}/index.html"))
    {
        let mut answer = bytes_answer(StatusCode::FOUND, "text/plain; charset=utf-8", "Found");
        set(&mut answer, LOCATION, &format!("{}/", request.uri().path()));
        return Ok(answer);
    }
    Err(Refusal::no_route())
}

/// By the name's ending, as static hosts do.
fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "json" => "application/json",
        "txt" | "md" | "metadata" => "text/plain; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "whl" | "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}
