//! The batch of git LFS, and the end of an upload in parts (py: `lfs.py`).

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Call;
use crate::answer::{Answer, Asked, Refusal, json_answer, ok, read_json};
use crate::blobs::is_sha256;
use crate::cdn;
use crate::hub::Hub;
use crate::repo::RepoName;

#[derive(Deserialize)]
struct Batch {
    operation: String,
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
    #[serde(default = "sha256")]
    hash_algo: String,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

fn sha256() -> String {
    "sha256".to_owned()
}

pub(super) async fn batch(hub: &Arc<Hub>, call: Call, name: &RepoName) -> Result<Answer, Refusal> {
    let batch: Batch = read_json(call.body).await?;
    let uploads = match batch.operation.as_str() {
        "upload" => {
            hub.write(&call.caller, name, |_, _| Ok(()))?;
            true
        }
        "download" => {
            hub.read(&call.caller, name, |_| Ok(()))?;
            false
        }
        other => return Err(Refusal::bad_request(format!("Invalid operation: {other}"))),
    };
    if batch.hash_algo != "sha256" {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "only sha256 is supported",
        ));
    }
    let limit = hub.options.limits.multipart_from_bytes;
    let offers = |transfer: &str| batch.transfers.iter().any(|offered| offered == transfer);
    let transfer = if uploads && hub.cas.is_some() && offers("xet") {
        "xet"
    } else if uploads
        && offers("multipart")
        && batch.objects.iter().any(|object| object.size > limit)
    {
        "multipart"
    } else {
        "basic"
    };
    let mut objects = Vec::new();
    for object in &batch.objects {
        objects.push(row(hub, name, object, transfer, uploads).await?);
    }
    let mut answer =
        ok(&json!({ "transfer": transfer, "objects": objects, "hash_algo": "sha256" }));
    let vendor = HeaderValue::from_static("application/vnd.git-lfs+json; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, vendor);
    Ok(answer)
}

/// An object without `actions` is stored already; the client sends nothing then.
async fn row(
    hub: &Hub,
    name: &RepoName,
    object: &Object,
    transfer: &str,
    uploads: bool,
) -> Result<Value, Refusal> {
    let Object { oid, size } = object;
    if !is_sha256(oid) {
        let error = json!({ "code": 422, "message": "Invalid oid" });
        return Ok(json!({ "oid": oid, "size": size, "error": error }));
    }
    let is_stored = cdn::find(hub, oid).await?.is_some();
    let mut row = json!({ "oid": oid, "size": size, "authenticated": true });
    let actions = match (uploads, is_stored) {
        (true, true) => return Ok(row),
        (true, false) if transfer == "xet" => return Ok(row),
        (true, false) => json!({
            "upload": upload(hub, object, transfer),
            "verify": {
                "href": format!("{}/{name}.git/info/lfs/objects/verify", hub.addresses.hub()),
                "header": {},
            },
        }),
        (false, true) => {
            let href = cdn::signed(hub, &hub.addresses.cdn(), &format!("/contents/{oid}"), &[]);
            json!({ "download": { "href": href } })
        }
        (false, false) => {
            let error = json!({ "code": 404, "message": "Object does not exist" });
            return Ok(json!({ "oid": oid, "size": size, "error": error }));
        }
    };
    row["actions"] = actions;
    Ok(row)
}

fn upload(hub: &Hub, object: &Object, transfer: &str) -> Value {
    let Object { oid, size } = object;
    let limits = &hub.options.limits;
    let cdn_base = hub.addresses.cdn();
    if transfer != "multipart" || *size <= limits.multipart_from_bytes {
        return json!({ "href": cdn::signed(hub, &cdn_base, &format!("/upload/{oid}"), &[]), "header": {} });
    }
    let part_bytes = limits.multipart_part_bytes.max(1);
    let mut header = Map::new();
    header.insert("chunk_size".to_owned(), json!(part_bytes.to_string()));
    for part in 1..=size.div_ceil(part_bytes) {
        let href = cdn::signed(hub, &cdn_base, &format!("/upload/{oid}/{part}"), &[]);
        header.insert(part.to_string(), json!(href));
    }
    let path = format!("/api/complete_multipart/{oid}");
    json!({ "href": cdn::signed(hub, &hub.addresses.hub(), &path, &[]), "header": header })
}

#[derive(Deserialize)]
struct Completion {
    oid: String,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "partNumber")]
    number: u64,
    etag: String,
}

/// The end of an upload in parts. It has a signed link and no token.
pub(super) async fn complete(
    hub: &Arc<Hub>,
    sha256: &str,
    request: Asked,
) -> Result<Answer, Refusal> {
    cdn::check_signature(hub, request.uri())?;
    let completion: Completion = read_json(request.into_body()).await?;
    if completion.oid != sha256 || completion.parts.iter().any(|part| part.etag.is_empty()) {
        return Err(Refusal::bad_request("the parts are not of this object"));
    }
    let mut parts: Vec<u64> = completion.parts.iter().map(|part| part.number).collect();
    parts.sort_unstable();
    hub.blobs
        .complete(hub.next_upload(), sha256, &parts)
        .await?;
    Ok(json_answer(StatusCode::OK, &json!({ "success": true })))
}

pub(super) async fn verify(hub: &Arc<Hub>, call: Call, name: &RepoName) -> Result<Answer, Refusal> {
    let object: Object = read_json(call.body).await?;
    hub.write(&call.caller, name, |_, _| Ok(()))?;
    match hub.blobs.size(&object.oid).await {
        Some(size) if size == object.size => Ok(ok(&json!({}))),
        Some(size) => Err(Refusal::bad_request(format!(
            "Invalid size: {} announced, {size} stored",
            object.size
        ))),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "Object does not exist")),
    }
}
