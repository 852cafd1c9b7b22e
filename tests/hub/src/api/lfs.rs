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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transfer {
    Basic,
    Multipart,
    Xet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Upload(Transfer),
    Download,
}

impl Operation {
    /// As in the answer of a batch.
    fn transfer(self) -> &'static str {
        match self {
            Self::Upload(Transfer::Basic) | Self::Download => "basic",
            Self::Upload(Transfer::Multipart) => "multipart",
            Self::Upload(Transfer::Xet) => "xet",
        }
    }
}

fn sha256() -> String {
    "sha256".to_owned()
}

pub(super) async fn batch(hub: &Arc<Hub>, call: Call, name: &RepoName) -> Result<Answer, Refusal> {
    let batch: Batch = read_json(call.body).await?;
    if batch.hash_algo != "sha256" {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "only sha256 is supported",
        ));
    }
    let operation = match batch.operation.as_str() {
        "upload" => {
            hub.write(&call.caller, name, |_, _| Ok(()))?;
            Operation::Upload(transfer(hub, &batch))
        }
        "download" => {
            hub.read(&call.caller, name, |_| Ok(()))?;
            Operation::Download
        }
        other => return Err(Refusal::bad_request(format!("Invalid operation: {other}"))),
    };
    let mut objects = Vec::new();
    for object in &batch.objects {
        objects.push(row(hub, name, object, operation).await?);
    }
    let mut answer =
        ok(&json!({ "transfer": operation.transfer(), "objects": objects, "hash_algo": "sha256" }));
    let vendor = HeaderValue::from_static("application/vnd.git-lfs+json; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, vendor);
    Ok(answer)
}

/// How an upload goes. The real Hub takes Xet where the client offers it.
fn transfer(hub: &Hub, batch: &Batch) -> Transfer {
    let offers = |transfer: &str| batch.transfers.iter().any(|offered| offered == transfer);
    let limit = hub.options.limits.multipart_from_bytes;
    if hub.cas.is_some() && offers("xet") {
        Transfer::Xet
    } else if offers("multipart") && batch.objects.iter().any(|object| object.size > limit) {
        Transfer::Multipart
    } else {
        Transfer::Basic
    }
}

/// An object without `actions` is stored already; the client sends nothing then.
async fn row(
    hub: &Hub,
    name: &RepoName,
    object: &Object,
    operation: Operation,
) -> Result<Value, Refusal> {
    let Object { oid, size } = object;
    if !is_sha256(oid) {
        let error = json!({ "code": 422, "message": "Invalid oid" });
        return Ok(json!({ "oid": oid, "size": size, "error": error }));
    }
    let is_stored = cdn::find(hub, oid).await?.is_some();
    let mut row = json!({ "oid": oid, "size": size, "authenticated": true });
    let actions = match operation {
        Operation::Upload(_) if is_stored => return Ok(row),
        Operation::Upload(Transfer::Xet) => return Ok(row),
        Operation::Upload(transfer) => json!({
            "upload": upload(hub, object, transfer),
            "verify": {
                "href": format!("{}/{name}.git/info/lfs/objects/verify", hub.addresses.hub()),
                "header": {},
            },
        }),
        Operation::Download if is_stored => {
            let href = cdn::signed(hub, &hub.addresses.cdn(), &format!("/contents/{oid}"), &[]);
            json!({ "download": { "href": href } })
        }
        Operation::Download => {
            let error = json!({ "code": 404, "message": "Object does not exist" });
            return Ok(json!({ "oid": oid, "size": size, "error": error }));
        }
    };
    row["actions"] = actions;
    Ok(row)
}

fn upload(hub: &Hub, object: &Object, transfer: Transfer) -> Value {
    let Object { oid, size } = object;
    let limits = &hub.options.limits;
    let cdn_base = hub.addresses.cdn();
    if transfer != Transfer::Multipart || *size <= limits.multipart_from_bytes {
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
