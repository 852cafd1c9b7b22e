//! Bringing wheels to a Hub: to a branch that only grows, and that nothing lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wheelfarm_core::digest::Sha256Digest;

use super::api::{Branch, Mode, Offered, SAMPLE_BYTES};
use super::attributes;
use super::blob_id::Held;
use super::calls::HubNotice;
use super::commit::{Draft, LOOKS, Line};
use super::error::HubError;
use super::lfs::{Offer, Told, Upload, Way};
use super::shelf::{HubShelf, MAIN, WHEELS};
use super::source::{Meter, Object, Source};
use super::xet::{Entry, XetCommit, XetError};
use crate::files::FileError;
use crate::shelf::{Blob, Brought, Progress};

/// How the Hub has a blob.
enum There {
    /// With these bytes.
    Same,
    /// Not at all, or a wheel in git, which is put right by bringing it as it should be.
    Missing,
}

/// What is sent at once, and the commit it makes.
struct Parcel<'a> {
    head: &'a str,
    title: String,
    objects: Vec<Object>,
    lines: Vec<Line>,
}

impl HubShelf {
    /// Brings `blobs` to the branch of wheels; gives the commit that has all of them.
    pub(super) async fn brought(
        &self,
        blobs: &[Blob],
        progress: &dyn Progress,
    ) -> Result<Brought, HubError> {
        let main = self.repository_for_writing().await?;
        let main = self.with_attributes(main).await?;
        let mut head = self.wheels_branch(&main).await?;
        let limits = self.api.calls.limits().clone();
        let mut brought = Brought::default();
        let all_bytes = blobs.iter().map(|blob| blob.size_bytes).sum();
        let mut attempt = 1;
        loop {
            let missing = self.missing(&head, blobs).await?;
            if attempt == 1 {
                brought.unchanged = blobs.len() - missing.len();
                brought.offered_bytes = missing.iter().map(|blob| blob.size_bytes).sum();
            }
            if missing.is_empty() {
                brought.commit = Some(head);
                progress.on_progress(all_bytes, all_bytes, brought.sent_bytes);
                return Ok(brought);
            }
            if attempt == 1 {
                let branches = [MAIN, WHEELS];
                self.api
                    .check_budget(&branches, 2, self.commits_per_hour)
                    .await?;
            }
            let left_bytes: u64 = missing.iter().map(|blob| blob.size_bytes).sum();
            let told = Told {
                progress,
                before_bytes: all_bytes - left_bytes,
                all_bytes,
                sent_before_bytes: brought.sent_bytes,
            };
            let meter = Arc::new(Meter::default());
            let sent = self.send(&head, &missing, &meter, &told).await;
            brought.sent_bytes += meter.sent_bytes();
            match sent {
                Ok(commit) => {
                    self.check_brought(&commit, blobs).await?;
                    head = commit;
                }
                Err(error) if !error.may_pass() || attempt >= limits.attempts => return Err(error),
                Err(error) => {
                    let reason = error.to_string();
                    let calls = &self.api.calls;
                    calls
                        .pause("upload", &reason, attempt, error.asked_wait())
                        .await;
                    // Whatever became of the answer: what the branch has now is what counts. Where the
                    // library kept a limit's wait to itself, this call meets the limit and waits.
                    head = self.wheels_head().await?;
                }
            }
            attempt += 1;
        }
    }

    /// Checks that a commit that was just made has all of `blobs`, wheels as LFS.
    async fn check_brought(&self, commit: &str, blobs: &[Blob]) -> Result<(), HubError> {
        let mut attempt = 1;
        let blob = loop {
            match self.missing(commit, blobs).await {
                Ok(missing) if missing.is_empty() => return Ok(()),
                Ok(missing) if attempt == LOOKS => break missing[0],
                Err(error @ HubError::Refused { status: 404, .. }) if attempt == LOOKS => {
                    return Err(error);
                }
                Ok(_) | Err(HubError::Refused { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
            let reason = "the Hub does not say yet what was sent";
            let doing = "check the commit";
            self.api.calls.pause(doing, reason, attempt, None).await;
            attempt += 1;
        };
        match self.api.path_info(commit, &blob.path).await? {
            Some(_) => Err(HubError::NotLfs {
                path: blob.path.clone(),
            }),
            None => Err(HubError::Differs {
                address: self.api.repository.to_string(),
                commit: commit.to_owned(),
                path: blob.path.clone(),
                found: "nothing".to_owned(),
                wanted: format!("LFS sha256 {}", blob.sha256),
            }),
        }
    }

    /// The repository's branch `main`, with the repository made if it is not there and may be made.
    pub(super) async fn repository_for_writing(&self) -> Result<Branch, HubError> {
        if self.api.token.is_none() {
            return Err(HubError::NoToken {
                doing: "write".to_owned(),
                address: self.api.repository.to_string(),
            });
        }
        let main = self.api.branch(MAIN).await?;
        if main != Branch::NoRepository {
            return Ok(main);
        }
        let Some(visibility) = self.create else {
            return Err(HubError::NoRepository {
                address: self.api.repository.to_string(),
            });
        };
        self.api.create(visibility).await?;
        let limits = self.api.calls.limits().clone();
        for attempt in 1..limits.attempts {
            let main = self.api.branch(MAIN).await?;
            if main != Branch::NoRepository {
                return Ok(main);
            }
            let reason = "the Hub does not know its new repository yet";
            self.api
                .calls
                .pause("create the repository", reason, attempt, None)
                .await;
            // 409 may have said that the Hub was busy with another repository of this account.
            self.api.create(visibility).await?;
        }
        self.api.branch(MAIN).await
    }

    /// The commit of `main` that says that wheels are LFS.
    async fn with_attributes(&self, main: Branch) -> Result<String, HubError> {
        let parent = match main {
            Branch::At(commit) => Some(commit),
            Branch::Missing => None,
            Branch::NoRepository => {
                return Err(HubError::NoRepository {
                    address: self.api.repository.to_string(),
                });
            }
        };
        let mut text = String::new();
        if let Some(parent) = &parent
            && let Some(held) = self.api.path_info(parent, attributes::FILE_NAME).await?
        {
            let content = self
                .api
                .content(parent, attributes::FILE_NAME, &held)
                .await?;
            text = String::from_utf8_lossy(&content).into_owned();
        }
        let added = attributes::with_wheels(&text);
        let (added, parent) = match (added, parent) {
            (None, Some(parent)) => return Ok(parent),
            (added, parent) => (added.unwrap_or(text), parent),
        };
        let branches: &[&str] = if parent.is_some() { &[MAIN] } else { &[] };
        self.api
            .check_budget(branches, 3, self.commits_per_hour)
            .await?;
        let lines = [Line::File {
            path: attributes::FILE_NAME.to_owned(),
            content: Bytes::from(added),
        }];
        let draft = Draft {
            branch: MAIN,
            parent: parent.as_deref(),
            title: "wheels are LFS files",
            notes: "",
            lines: &lines,
        };
        let commit = self.api.commit(&draft).await?;
        self.advanced(parent.unwrap_or_default(), commit.clone());
        Ok(commit)
    }

    /// The head of the branch of wheels, which is begun on `main` if it is not there.
    async fn wheels_branch(&self, main: &str) -> Result<String, HubError> {
        if let Branch::At(head) = self.api.branch(WHEELS).await? {
            return Ok(head);
        }
        self.api.create_branch(WHEELS, main).await?;
        self.wheels_head().await
    }

    async fn wheels_head(&self) -> Result<String, HubError> {
        let limits = self.api.calls.limits().clone();
        let mut attempt = 1;
        loop {
            match self.api.branch(WHEELS).await? {
                Branch::At(head) => return Ok(head),
                Branch::Missing | Branch::NoRepository if attempt < limits.attempts => {
                    let reason = "the Hub does not know the branch yet";
                    self.api
                        .calls
                        .pause("read branch `wheels`", reason, attempt, None)
                        .await;
                    attempt += 1;
                }
                Branch::Missing | Branch::NoRepository => {
                    return Err(HubError::Senseless {
                        doing: "read branch `wheels`".to_owned(),
                        address: self.api.repository.to_string(),
                        answered: "a branch that is not there after it was made".to_owned(),
                    });
                }
            }
        }
    }

    /// Those of `blobs` that the branch of wheels does not have at `head`.
    async fn missing<'a>(&self, head: &str, blobs: &'a [Blob]) -> Result<Vec<&'a Blob>, HubError> {
        let paths: Vec<&str> = blobs.iter().map(|blob| blob.path.as_str()).collect();
        let held = self.api.paths_info(head, &paths).await?;
        let mut missing = BTreeMap::new();
        for blob in blobs {
            let there = match held.get(&blob.path) {
                Some(held) => self.compare(blob, held).await?,
                None => There::Missing,
            };
            match there {
                There::Same => {}
                There::Missing => drop(missing.insert(&blob.path, blob)),
            }
        }
        Ok(missing.into_values().collect())
    }

    async fn compare(&self, blob: &Blob, held: &Held) -> Result<There, HubError> {
        let is_same = match held {
            Held::Lfs { sha256, size_bytes } => {
                (*sha256, *size_bytes) == (blob.sha256, blob.size_bytes)
            }
            Held::Blob { .. } if is_wheel(&blob.path) => return Ok(There::Missing),
            Held::Blob { .. } => held.has(&read_blob(blob).await?),
        };
        if is_same {
            return Ok(There::Same);
        }
        Err(HubError::OtherBytes {
            address: self.api.repository.to_string(),
            path: blob.path.clone(),
            there: held.to_string(),
            new: format!("sha256 {} of {} bytes", blob.sha256, blob.size_bytes),
        })
    }

    /// Uploads what is missing, and commits it on `head`.
    async fn send(
        &self,
        head: &str,
        missing: &[&Blob],
        meter: &Arc<Meter>,
        told: &Told<'_>,
    ) -> Result<String, HubError> {
        let mut entries = Vec::new();
        for blob in missing {
            // What is not a wheel is small, and hf-hub would put it into the commit unhashed.
            let source = if is_wheel(&blob.path) {
                Source::File(blob.source.clone())
            } else {
                Source::Bytes(read_blob(blob).await?)
            };
            let object = Object {
                sha256: blob.sha256,
                size_bytes: blob.size_bytes,
                source,
            };
            entries.push(Entry {
                path: blob.path.clone(),
                object,
            });
        }
        let modes = self.modes(WHEELS, &entries).await?;
        let is_lfs = |entry: &&Entry| modes.get(&entry.path) == Some(&Mode::Lfs);
        let in_git = entries
            .iter()
            .find(|entry| is_wheel(&entry.path) && !is_lfs(entry));
        if let Some(entry) = in_git {
            return Err(HubError::NotLfs {
                path: entry.path.clone(),
            });
        }
        let parcel = Parcel {
            head,
            title: format!("{} files", entries.len()),
            objects: objects_of(entries.iter().filter(is_lfs)),
            lines: entries.iter().map(|entry| line_of(entry, &modes)).collect(),
        };
        let todo = match self.wheels_way(&parcel.objects).await? {
            Way::Plain(todo) => todo,
            Way::Xet => {
                let commit = XetCommit {
                    branch: WHEELS,
                    parent: head,
                    title: parcel.title.clone(),
                    entries,
                };
                match self.api.xet_commit(commit, meter, told).await {
                    Ok(Some(commit)) => return Ok(commit),
                    Ok(None) => return self.wheels_head().await,
                    Err(XetError::InDoubt(error)) => return Err(error),
                    Err(XetError::NotThere(error)) => {
                        self.api.calls.say(&HubNotice::WithoutXet {
                            reason: error.to_string(),
                        });
                        meter.set(0, meter.sent_bytes());
                        match self.api.way(WHEELS, &parcel.objects, Offer::Plain).await? {
                            Way::Plain(todo) => todo,
                            Way::Xet => return Err(error),
                        }
                    }
                }
            }
        };
        self.send_plainly(parcel, todo, meter, told).await
    }

    /// Uploads by the LFS protocol what the Hub wants, and commits.
    async fn send_plainly(
        &self,
        parcel: Parcel<'_>,
        todo: Vec<(Object, Upload)>,
        meter: &Meter,
        told: &Told<'_>,
    ) -> Result<String, HubError> {
        if !todo.is_empty() {
            self.api.upload(WHEELS, todo, meter, told).await?;
            self.arrived(&parcel.objects).await?;
        }
        let draft = Draft {
            branch: WHEELS,
            parent: Some(parcel.head),
            title: &parcel.title,
            notes: "",
            lines: &parcel.lines,
        };
        self.api.commit(&draft).await
    }

    /// How wheels come to the Hub.
    async fn wheels_way(&self, objects: &[Object]) -> Result<Way, HubError> {
        let nothing = Way::Plain(Vec::new());
        if objects.is_empty() {
            return Ok(nothing);
        }
        let way = self.api.way(WHEELS, objects, Offer::All).await?;
        // A Hub that chooses Xet does not say what it has: a run that was cut before its commit would
        // read all of them again.
        match way {
            Way::Xet => match self.api.way(WHEELS, objects, Offer::Plain).await? {
                Way::Plain(todo) if todo.is_empty() => Ok(nothing),
                Way::Plain(_) | Way::Xet => Ok(Way::Xet),
            },
            Way::Plain(todo) => Ok(Way::Plain(todo)),
        }
    }

    /// How the Hub stores files on a branch.
    pub(super) async fn modes(
        &self,
        branch: &str,
        entries: &[Entry],
    ) -> Result<BTreeMap<String, Mode>, HubError> {
        let mut offered = Vec::new();
        for entry in entries {
            offered.push(Offered {
                path: &entry.path,
                size_bytes: entry.object.size_bytes,
                sample: entry.object.sample(SAMPLE_BYTES).await?,
            });
        }
        self.api.modes(branch, &offered).await
    }

    /// Asks the Hub whether it has objects that were sent: who answered may not have been the storage.
    pub(super) async fn arrived(&self, objects: &[Object]) -> Result<(), HubError> {
        if objects.is_empty() {
            return Ok(());
        }
        match self.api.way(WHEELS, objects, Offer::Plain).await? {
            Way::Plain(todo) if todo.is_empty() => Ok(()),
            Way::Plain(_) | Way::Xet => Err(HubError::Senseless {
                doing: "upload".to_owned(),
                address: self.api.repository.to_string(),
                answered: "success for files that it does not have".to_owned(),
            }),
        }
    }

    /// The content of a blob that is not LFS: from here, or from the branch of wheels where it is not
    /// here any more.
    pub(super) async fn blob_content(
        &self,
        blob: &Blob,
        wheels: &str,
        held: &Held,
    ) -> Result<Bytes, HubError> {
        if fs_err::tokio::metadata(&blob.source).await.is_ok() {
            return read_blob(blob).await;
        }
        let content = self.api.content(wheels, &blob.path, held).await?;
        let found = Sha256Digest::of(&content);
        if found == blob.sha256 {
            return Ok(Bytes::from(content));
        }
        Err(HubError::OtherBytes {
            address: self.api.repository.to_string(),
            path: blob.path.clone(),
            there: format!("sha256 {found}"),
            new: format!("sha256 {}", blob.sha256),
        })
    }
}

/// The line of a commit for a file that the Hub stores so.
pub(super) fn line_of(entry: &Entry, modes: &BTreeMap<String, Mode>) -> Line {
    let path = entry.path.clone();
    match &entry.object.source {
        Source::Bytes(bytes) if modes.get(&path) != Some(&Mode::Lfs) => Line::File {
            path,
            content: bytes.clone(),
        },
        Source::Bytes(_) | Source::File(_) => Line::Lfs {
            path,
            sha256: entry.object.sha256,
            size_bytes: entry.object.size_bytes,
        },
    }
}

/// Each content once.
pub(super) fn objects_of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Object> {
    let by_digest: BTreeMap<Sha256Digest, Object> = entries
        .map(|entry| (entry.object.sha256, entry.object.clone()))
        .collect();
    by_digest.into_values().collect()
}

/// Whether a path must be LFS.
pub(super) fn is_wheel(path: &str) -> bool {
    path.strip_suffix(".whl").is_some()
}

/// The bytes of a small blob, which must be those that were recorded.
async fn read_blob(blob: &Blob) -> Result<Bytes, HubError> {
    let content = fs_err::tokio::read(&blob.source).await;
    let content = content.map_err(|error| FileError::new("read", &blob.source, error))?;
    let found = Sha256Digest::of(&content);
    if found == blob.sha256 {
        return Ok(Bytes::from(content));
    }
    Err(HubError::Altered {
        path: blob.source.to_string(),
        found: Some(found),
        wanted: blob.sha256,
    })
}
