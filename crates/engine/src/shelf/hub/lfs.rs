//! Uploads by the LFS protocol, where a Hub has no Xet, and for what is not a wheel: the batch, a PUT or
//! its parts, and the word that all is there (git-lfs' docs/api, and `huggingface_hub`'s `lfs.py` for
//! the Hub's way of parts).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::api::Api;
use super::calls::{Call, Trouble, bearer_for, no_page};
use super::error::HubError;
use super::source::{Altered, Meter, Object, Part};
use crate::fetch::http::exchange::{Content, Verb};
use crate::fetch::run_blocking;
use crate::shelf::Progress;

/// How many objects one question is about: as many as `huggingface_hub` asks.
const OBJECTS_AT_ONCE: usize = 256;

/// How many objects are sent at a time.
const UPLOADS_AT_ONCE: usize = 4;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// How long a storage may think over what it has got.
const PATIENCE: Duration = Duration::from_mins(2);

const LFS_JSON: &str = "application/vnd.git-lfs+json";

/// Which way of sending a Hub is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// Whatever it likes best.
    All,
    /// What needs no library.
    Plain,
}

/// How objects come to a Hub, by its choice.
#[derive(Debug)]
pub(super) enum Way {
    /// Through Xet.
    Xet,
    /// As it says of each that it does not have.
    Plain(Vec<(Object, Upload)>),
}

#[derive(Debug, Deserialize)]
struct Batch {
    transfer: Option<String>,
    objects: Vec<BatchObject>,
}

#[derive(Debug, Deserialize)]
struct BatchObject {
    oid: String,
    actions: Option<Actions>,
    error: Option<BatchError>,
}

#[derive(Debug, Deserialize)]
struct BatchError {
    code: u16,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Debug, Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, serde_json::Value>,
}

/// What is to be done for an object.
#[derive(Debug)]
pub(super) struct Upload {
    upload: Action,
    verify: Option<Action>,
}

impl Api {
    /// Asks how `objects` come to the Hub. Those that it has are left out.
    pub(super) async fn way(
        &self,
        branch: &str,
        objects: &[Object],
        offer: Offer,
    ) -> Result<Way, HubError> {
        let doing = "ask how to upload";
        let mut todo = Vec::new();
        for objects in objects.chunks(OBJECTS_AT_ONCE) {
            let call = self.batch(doing, branch, objects, offer);
            let batch: Batch = self
                .calls
                .json(&call)
                .await
                .map_err(|trouble| self.failed(doing, trouble))?;
            if batch.transfer.as_deref() == Some("xet") && offer == Offer::All {
                return Ok(Way::Xet);
            }
            for answer in batch.objects {
                let object = objects
                    .iter()
                    .find(|object| object.sha256.to_string() == answer.oid);
                let Some(object) = object else { continue };
                if let Some(error) = answer.error {
                    return Err(HubError::Refused {
                        doing: "upload".to_owned(),
                        address: self.repository.to_string(),
                        status: error.code,
                        said: error.message.map(|said| super::calls::one_line(&said)),
                    });
                }
                // The Hub says nothing of what is to be done for an object that it has.
                let Some(Actions {
                    upload: Some(upload),
                    verify,
                }) = answer.actions
                else {
                    continue;
                };
                todo.push((object.clone(), Upload { upload, verify }));
            }
        }
        Ok(Way::Plain(todo))
    }

    fn batch(&self, doing: &str, branch: &str, objects: &[Object], offer: Offer) -> Call {
        let transfers = match offer {
            Offer::All => vec!["basic", "multipart", "xet"],
            Offer::Plain => vec!["basic", "multipart"],
        };
        let object = |object: &Object| serde_json::json!({ "oid": object.sha256.to_string(), "size": object.size_bytes });
        let body = serde_json::json!({
            "operation": "upload",
            "transfers": transfers,
            "hash_algo": "sha256",
            "ref": { "name": branch },
            "objects": objects.iter().map(object).collect::<Vec<_>>(),
        });
        let url = format!(
            "{}/{}.git/info/lfs/objects/batch",
            self.endpoint,
            self.repository.path()
        );
        Call {
            headers: vec![("Accept".to_owned(), LFS_JSON.to_owned())],
            body: Some((LFS_JSON, Bytes::from(body.to_string()))),
            ..self.with_token(Call::post(doing, url, Bytes::new()))
        }
    }

    /// Uploads objects, several at a time.
    pub(super) async fn upload(
        &self,
        branch: &str,
        todo: Vec<(Object, Upload)>,
        meter: &Meter,
        progress: &Told<'_>,
    ) -> Result<(), HubError> {
        let uploads = stream::iter(todo)
            .map(|(object, upload)| self.upload_one(branch, object, upload, meter))
            .buffer_unordered(UPLOADS_AT_ONCE)
            .try_collect::<Vec<()>>();
        tokio::pin!(uploads);
        loop {
            tokio::select! {
                biased;
                done = &mut uploads => {
                    progress.tell(meter);
                    return done.map(drop);
                }
                () = tokio::time::sleep(TICK) => progress.tell(meter),
            }
        }
    }

    /// Uploads an object. What to do for it is asked again after a failure: addresses to send to
    /// expire, and what has arrived is not sent again.
    async fn upload_one(
        &self,
        branch: &str,
        object: Object,
        first: Upload,
        meter: &Meter,
    ) -> Result<(), HubError> {
        let doing = format!("upload {}", object.sha256.short());
        let mut upload = first;
        let mut attempt = 1;
        loop {
            let altered = Altered::default();
            let sent = match self.send(&object, &upload.upload, meter, &altered).await {
                Ok(()) => self.verify(&object, upload.verify.as_ref()).await,
                Err(error) => Err(error),
            };
            let trouble = match sent {
                Ok(()) => {
                    meter.add_done(object.size_bytes);
                    return Ok(());
                }
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::There(trouble)) => trouble,
            };
            if let Some(found) = altered.get() {
                return Err(object.altered(*found));
            }
            // An address that is refused may have expired.
            let may_pass = trouble.may_pass() || trouble.status() == Some(403);
            if !may_pass || attempt >= self.calls.limits().attempts {
                return Err(self.failed(&doing, trouble));
            }
            let wait = trouble.asked_wait();
            self.calls
                .pause(&doing, &trouble.to_string(), attempt, wait)
                .await;
            attempt += 1;
            let again = std::slice::from_ref(&object);
            let Way::Plain(mut todo) = self.way(branch, again, Offer::Plain).await? else {
                return Err(self.failed(&doing, trouble));
            };
            let Some((_, next)) = todo.pop() else {
                meter.add_done(object.size_bytes);
                return Ok(());
            };
            upload = next;
        }
    }

    async fn send(
        &self,
        object: &Object,
        action: &Action,
        meter: &Meter,
        altered: &Altered,
    ) -> Result<(), Failed> {
        let text = |name: &str| {
            let value = action.header.get(name)?;
            value
                .as_str()
                .map(str::to_owned)
                .or_else(|| Some(value.to_string()))
        };
        let Some(part_bytes) = text("chunk_size") else {
            let headers = action
                .header
                .keys()
                .filter_map(|name| Some((name.clone(), text(name)?)));
            let call = self.put(&action.href, headers.collect());
            let part = object.whole();
            self.put_part(&call, object, part, altered).await?;
            meter.add_sent(part.length_bytes);
            return Ok(());
        };
        let part_bytes: u64 = part_bytes
            .parse()
            .ok()
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| senseless("parts of no length"))?;
        let hashed = object.clone();
        let parts = run_blocking(move || hashed.parts(part_bytes))
            .await
            .map_err(Failed::Here)?;
        let mut tags = Vec::new();
        for (number, part) in (1_u64..).zip(parts) {
            // Numbers may be written with zeros before them.
            let is_this = |name: &&String| name.parse() == Ok(number);
            let name = action.header.keys().find(is_this);
            let url = name.and_then(|name| text(name));
            let url = url.ok_or_else(|| senseless("too few places for parts"))?;
            let tag = self
                .put_part(&self.put(&url, Vec::new()), object, part, altered)
                .await?;
            let tag = tag.ok_or_else(|| senseless("a part without an ETag"))?;
            meter.add_sent(part.length_bytes);
            tags.push(serde_json::json!({ "partNumber": number, "etag": tag }));
        }
        let body = serde_json::json!({ "oid": object.sha256.to_string(), "parts": tags });
        let call = self.action_call("complete an upload", &action.href, &body);
        self.calls.once(&call).await?;
        Ok(())
    }

    fn put(&self, url: &str, headers: Vec<(String, String)>) -> Call {
        Call {
            verb: Verb::Put,
            headers,
            bearer: bearer_for(self.token.as_ref(), &self.endpoint, url),
            patience: PATIENCE,
            ..Call::get("upload", url.to_owned())
        }
    }

    async fn put_part(
        &self,
        call: &Call,
        object: &Object,
        part: Part,
        altered: &Altered,
    ) -> Result<Option<String>, Failed> {
        let content = Content::Pieces {
            length_bytes: part.length_bytes,
            pieces: object.pieces(part, altered),
        };
        let answer = self.calls.sent(call, content).await?;
        // A storage has nothing to say; who sends a page is not one.
        no_page(&answer.bytes)?;
        Ok(answer.etag)
    }

    /// Tells the Hub that an object is there, where it wants to be told.
    async fn verify(&self, object: &Object, action: Option<&Action>) -> Result<(), Failed> {
        let Some(action) = action else {
            return Ok(());
        };
        let body =
            serde_json::json!({ "oid": object.sha256.to_string(), "size": object.size_bytes });
        let call = self.action_call("confirm an upload", &action.href, &body);
        self.calls.once(&call).await?;
        Ok(())
    }

    fn action_call(&self, doing: &str, url: &str, body: &serde_json::Value) -> Call {
        Call {
            headers: vec![("Accept".to_owned(), LFS_JSON.to_owned())],
            body: Some((LFS_JSON, Bytes::from(body.to_string()))),
            bearer: bearer_for(self.token.as_ref(), &self.endpoint, url),
            patience: PATIENCE,
            ..Call::post(doing, url.to_owned(), Bytes::new())
        }
    }
}

/// To whom progress is told, and what was there before.
pub(super) struct Told<'a> {
    pub(super) progress: &'a dyn Progress,
    pub(super) before_bytes: u64,
    pub(super) all_bytes: u64,
    pub(super) sent_before_bytes: u64,
}

impl Told<'_> {
    /// Tells how far `meter` is.
    pub(super) fn tell(&self, meter: &Meter) {
        let done_bytes = (self.before_bytes + meter.done_bytes()).min(self.all_bytes);
        let sent_bytes = self.sent_before_bytes + meter.sent_bytes();
        self.progress
            .on_progress(done_bytes, self.all_bytes, sent_bytes);
    }
}

/// Why an object was not uploaded.
enum Failed {
    /// For a cause on this machine.
    Here(HubError),
    /// For a cause out there.
    There(Trouble),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self::There(trouble)
    }
}

fn senseless(what: &str) -> Failed {
    Failed::There(Trouble::Senseless(what.to_owned()))
}
