//! The Hub's own server: API, git LFS batch, resolve. One module for each group of routes.

mod commit;
mod info;
mod lfs;
mod listing;
mod oauth;
mod references;
mod repos;
mod resolve;
mod xet;

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::json;
use url::form_urlencoded;

use self::resolve::Place;
use crate::access::Caller;
use crate::answer::{Answer, Asked, Counted, Refusal, ok, set_extra};
use crate::hub::Hub;
use crate::limits::Standing;
use crate::repo::{Kind, RepoName};

/// Answers a request, with the headers that all the Hub's answers have.
pub(crate) async fn answer(hub: &Arc<Hub>, number: u64, request: Asked) -> Answer {
    let standing = count(hub, request.uri().path());
    let result = match standing {
        Some(standing) if standing.is_over => Err(standing.refusal()),
        _ => route(hub, request).await,
    };
    let mut answer = result.unwrap_or_else(Answer::from);
    set_extra(
        &mut answer,
        "x-request-id",
        &format!("Root=1-test-{number}"),
    );
    if let Some(standing) = standing {
        standing.write(&mut answer);
    }
    answer
}

/// Which quota a path is counted on (hub-docs, rate-limits.md): API, or resolvers.
fn count(hub: &Hub, path: &str) -> Option<Standing> {
    let quota = if path.contains("/resolve/") || path.starts_with("/api/resolve-cache/") {
        &hub.resolve_quota
    } else if path.starts_with("/api/") || path.contains("/info/lfs/") {
        &hub.api_quota
    } else {
        return None;
    };
    Some(
        quota
            .lock()
            .expect("no code panics while it holds a quota")
            .take(),
    )
}

/// A request whose caller is known.
struct Call {
    caller: Caller,
    head: Parts,
    body: Counted,
}

impl Call {
    /// A parameter of the query.
    fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.head.uri, name)
    }

    /// Whether a parameter is there and says yes; Python sends `True` and `1`.
    fn flag(&self, name: &str) -> bool {
        self.parameter(name)
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true"))
    }
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The segments of a path, each decoded: a revision or a path may hold encoded slashes.
fn segments(uri: &Uri) -> Vec<String> {
    uri.path()
        .trim_start_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect()
}

fn repo_name(kind: Kind, owner: &str, name: &str) -> RepoName {
    RepoName {
        kind,
        owner: owner.to_owned(),
        name: name.to_owned(),
    }
}

async fn route(hub: &Arc<Hub>, request: Asked) -> Result<Answer, Refusal> {
    let decoded = segments(request.uri());
    let path: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let method = request.method().clone();
    // These two carry tokens that are not the Hub's, or none.
    match (&method, path.as_slice()) {
        (&Method::GET, ["_oidc", "token"]) => return oauth::mint(hub, &request),
        (&Method::POST, ["api", "complete_multipart", sha256]) => {
            return lfs::complete(hub, sha256, request).await;
        }
        _ => {}
    }
    let caller = hub
        .tokens
        .lock()
        .expect("no code panics while it holds the tokens")
        .caller(request.headers())?;
    let (head, body) = request.into_parts();
    let call = Call { caller, head, body };
    match (&method, path.as_slice()) {
        (&Method::POST, ["oauth", "token"]) => oauth::exchange(hub, call).await,
        (&Method::POST, ["api", "repos", "create"]) => repos::create(hub, call).await,
        (&Method::DELETE, ["api", "repos", "delete"]) => repos::delete(hub, call).await,
        (&Method::GET, ["api", "whoami-v2"]) => repos::whoami(&call),
        // The real Hub reads the front matter of a README; this one finds nothing wrong with any.
        (&Method::POST, ["api", "validate-yaml"]) => {
            Ok(ok(&json!({ "errors": [], "warnings": [] })))
        }
        (
            &Method::GET | &Method::HEAD,
            ["api", "resolve-cache", kind, owner, name, commit, path @ ..],
        ) => {
            let kind = Kind::from_plural(kind).ok_or_else(Refusal::no_route)?;
            let name = repo_name(kind, owner, name);
            resolve::cached(hub, &call, &at(&name, commit, &path.join("/"))).await
        }
        (_, ["api", kind, owner, name, rest @ ..]) => {
            let kind = Kind::from_plural(kind).ok_or_else(Refusal::no_route)?;
            repo_route(hub, call, &repo_name(kind, owner, name), rest).await
        }
        (_, [kind @ ("datasets" | "spaces"), owner, name, rest @ ..]) => {
            let kind = Kind::from_plural(kind).ok_or_else(Refusal::no_route)?;
            file_route(hub, call, kind, (owner, name), rest).await
        }
        (_, [owner, name, rest @ ..]) => {
            file_route(hub, call, Kind::Model, (owner, name), rest).await
        }
        _ => Err(Refusal::no_route()),
    }
}

/// Below `/api/{kind}s/{owner}/{name}`.
async fn repo_route(
    hub: &Arc<Hub>,
    call: Call,
    name: &RepoName,
    rest: &[&str],
) -> Result<Answer, Refusal> {
    match (&call.head.method.clone(), rest) {
        (&Method::GET, []) => info::info(hub, &call, name, "main"),
        (&Method::GET, ["revision", revision @ ..]) => {
            info::info(hub, &call, name, &revision.join("/"))
        }
        (&Method::PUT, ["settings"]) => repos::settings(hub, call, name).await,
        (&Method::POST, ["preupload", revision @ ..]) => {
            commit::preupload(hub, call, name, &revision.join("/")).await
        }
        (&Method::POST, ["commit", revision @ ..]) => {
            commit::commit(hub, call, name, &revision.join("/")).await
        }
        (&Method::GET, ["xet-read-token", revision @ ..]) => {
            xet::read_token(hub, &call, name, &revision.join("/"))
        }
        (&Method::GET, ["xet-write-token", revision @ ..]) => {
            xet::write_token(hub, &call, name, &revision.join("/"))
        }
        (&Method::GET, ["tree", revision, path @ ..]) => {
            listing::tree(hub, &call, &at(name, revision, &path.join("/")))
        }
        (&Method::POST, ["paths-info", revision @ ..]) => {
            listing::paths_info(hub, call, name, &revision.join("/")).await
        }
        (&Method::GET, ["commits", revision @ ..]) => {
            listing::commits(hub, &call, name, &revision.join("/"))
        }
        (&Method::GET, ["refs"]) => references::list(hub, &call, name),
        (&Method::POST, ["branch", branch @ ..]) => {
            references::create_branch(hub, call, name, &branch.join("/")).await
        }
        (&Method::DELETE, ["branch", branch @ ..]) => {
            references::delete_branch(hub, &call, name, &branch.join("/"))
        }
        (&Method::POST, ["tag", revision @ ..]) => {
            references::create_tag(hub, call, name, &revision.join("/")).await
        }
        (&Method::DELETE, ["tag", tag @ ..]) => {
            references::delete_tag(hub, &call, name, &tag.join("/"))
        }
        (&Method::POST, ["super-squash", branch @ ..]) => {
            references::squash(hub, call, name, &branch.join("/")).await
        }
        _ => Err(Refusal::no_route()),
    }
}

/// Below `/{prefix}{owner}/{name}`: files, and git LFS.
async fn file_route(
    hub: &Arc<Hub>,
    call: Call,
    kind: Kind,
    (owner, name): (&str, &str),
    rest: &[&str],
) -> Result<Answer, Refusal> {
    let method = call.head.method.clone();
    if let Some(name) = name.strip_suffix(".git") {
        let name = repo_name(kind, owner, name);
        return match (&method, rest) {
            (&Method::POST, ["info", "lfs", "objects", "batch"]) => {
                lfs::batch(hub, call, &name).await
            }
            (&Method::POST, ["info", "lfs", "objects", "verify"]) => {
                lfs::verify(hub, call, &name).await
            }
            _ => Err(Refusal::no_route()),
        };
    }
    let name = repo_name(kind, owner, name);
    match (&method, rest) {
        (&Method::GET | &Method::HEAD, ["resolve", revision, path @ ..]) => {
            resolve::resolve(hub, &call, &at(&name, revision, &path.join("/")))
        }
        (&Method::GET | &Method::HEAD, ["raw", revision, path @ ..]) => {
            resolve::raw(hub, &call, &at(&name, revision, &path.join("/"))).await
        }
        _ => Err(Refusal::no_route()),
    }
}

fn at<'a>(name: &'a RepoName, revision: &'a str, path: &'a str) -> Place<'a> {
    Place {
        name,
        revision,
        path,
    }
}

/// The refusal of something that exists already.
fn conflict(message: &str) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, message)
}
