//! A repository on a Hub as a shelf.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::{Catalog, FILE_NAME};
use wheelfarm_core::release::links::Links;

use super::address::{Endpoint, Repository};
use super::api::{Api, Branch, Mode, Visibility};
use super::auth::Credentials;
use super::blob_id::Held;
use super::budget::COMMITS_PER_HOUR;
use super::calls::{Calls, Listener};
use super::commit::{Draft, Line};
use super::error::HubError;
use super::lfs::{Offer, Told, Way};
use super::source::{Meter, Object, Source};
use super::upload::{is_wheel, line_of, objects_of};
use super::xet::Entry;
use crate::fetch::FetchOptions;
use crate::shelf::{Blob, Brought, Change, Head, PastRelease, Progress, Shelf, Snapshot};

/// The branch that people and programs see.
pub(super) const MAIN: &str = "main";

/// The branch that wheels are brought to, and that only grows: what links are pinned to.
pub(super) const WHEELS: &str = "wheels";

/// How many files are read at a time.
const FILES_AT_ONCE: usize = 8;

/// What stands before a release's number and its time, in lines of a commit's description.
const RELEASE: &str = "Wheelfarm-Release: ";
const PUBLISHED: &str = "Wheelfarm-Published-At: ";

/// How a shelf on a Hub is worked with.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The Hub.
    pub endpoint: Endpoint,
    /// The repository.
    pub repository: Repository,
    /// Where the token comes from.
    pub credentials: Credentials,
    /// Whether a repository that is not there is made, and who may see it then.
    pub create: Option<Visibility>,
    /// The bounds of requests: how often, and how long is waited. The longest wait counts for what the
    /// Hub asks for, too: its windows are five minutes long.
    pub limits: FetchOptions,
    /// Who hears of waits.
    pub listener: Listener,
    /// How many commits there may be within an hour.
    pub commits_per_hour: usize,
    /// Where the folder `whl/` is served as true HTML pages: in a static Space, or on another host. Where
    /// nothing is said, it is what the catalog that is read says.
    pub index_url: Option<String>,
}

impl HubOptions {
    /// The usual bounds, no token, and a repository that has to be there.
    pub fn new(endpoint: Endpoint, repository: Repository) -> Self {
        Self {
            endpoint,
            repository,
            credentials: Credentials::none(),
            create: None,
            limits: FetchOptions {
                longest_wait: std::time::Duration::from_mins(6),
                ..FetchOptions::default()
            },
            listener: Listener::none(),
            commits_per_hour: COMMITS_PER_HOUR,
            index_url: None,
        }
    }
}

/// A repository on a Hub.
#[derive(Debug)]
pub struct HubShelf {
    pub(super) api: Api,
    pub(super) create: Option<Visibility>,
    pub(super) commits_per_hour: usize,
    /// The head of `main` before and after this shelf itself committed to it while bringing wheels: what
    /// was read before may be changed after.
    advanced: Mutex<Option<(Head, Head)>>,
    index_url: Mutex<Option<String>>,
}

impl HubShelf {
    /// Gets the token; asks the Hub nothing else.
    pub async fn open(options: HubOptions) -> Result<Self, HubError> {
        let HubOptions {
            endpoint,
            repository,
            credentials,
            create,
            limits,
            listener,
            commits_per_hour,
            index_url,
        } = options;
        let calls = Calls::new(&limits, listener).map_err(HubError::Setup)?;
        let token = credentials.token(&calls, &endpoint, &repository).await?;
        let api = Api {
            calls,
            endpoint,
            repository,
            token,
        };
        Ok(Self {
            api,
            create,
            commits_per_hour,
            advanced: Mutex::new(None),
            index_url: Mutex::new(index_url),
        })
    }

    /// Notes that this shelf itself went on from one head to another.
    pub(super) fn advanced(&self, from: String, to: String) {
        let mut advanced = self.advanced.lock().unwrap_or_else(PoisonError::into_inner);
        *advanced = Some((Head(from), Head(to)));
    }

    /// The commit that a change of what was read at `head` is made on.
    async fn parent(&self, head: &Head) -> Result<Option<String>, HubError> {
        let advanced = {
            let advanced = self.advanced.lock().unwrap_or_else(PoisonError::into_inner);
            advanced.clone()
        };
        if let Some((from, to)) = advanced.filter(|(from, _)| from == head) {
            // A first commit is made on nothing, so that somebody else's release may be below it.
            if self.catalog_at(&from).await? == self.catalog_at(&to).await? {
                return Ok(Some(to.0));
            }
            return Err(HubError::ChangedMeanwhile {
                address: self.api.repository.to_string(),
                read: from.0,
                now: to.0,
            });
        }
        if !head.0.is_empty() {
            return Ok(Some(head.0.clone()));
        }
        // There was no repository when it was read, or nothing in it.
        let Branch::At(now) = self.repository_for_writing().await? else {
            return Ok(None);
        };
        match self.api.path_info(&now, FILE_NAME).await? {
            None => Ok(Some(now)),
            Some(_) => Err(HubError::ChangedMeanwhile {
                address: self.api.repository.to_string(),
                read: "nothing".to_owned(),
                now,
            }),
        }
    }

    /// What the repository has for its catalog at `head`.
    async fn catalog_at(&self, head: &Head) -> Result<Option<Held>, HubError> {
        if head.0.is_empty() {
            return Ok(None);
        }
        self.api.path_info(&head.0, FILE_NAME).await
    }

    /// What a change does to the files of `parent`, those that are as they should be left out. What is
    /// too large for git is uploaded on the way.
    pub(super) async fn lines(
        &self,
        parent: Option<&str>,
        change: &Change,
    ) -> Result<Vec<Line>, HubError> {
        let added = change.add.iter().map(|blob| blob.path.as_str());
        let put = change.put.keys().map(String::as_str);
        let deleted = change.delete.iter().map(String::as_str);
        let paths: BTreeSet<&str> = added.chain(put).chain(deleted).collect();
        let paths: Vec<&str> = paths.into_iter().collect();
        let there = match parent {
            Some(parent) => self.api.paths_info(parent, &paths).await?,
            None => BTreeMap::new(),
        };
        let mut lines = self.added(&there, &change.add).await?;
        lines.extend(self.put(&there, &change.put).await?);
        // The Hub refuses to remove what is not there.
        let deleted = change
            .delete
            .iter()
            .filter(|path| there.contains_key(*path));
        lines.extend(deleted.map(|path| Line::Delete { path: path.clone() }));
        Ok(lines)
    }

    /// Blobs as the branch of wheels has them.
    async fn added(
        &self,
        there: &BTreeMap<String, Held>,
        blobs: &[Blob],
    ) -> Result<Vec<Line>, HubError> {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let Branch::At(wheels) = self.api.branch(WHEELS).await? else {
            return Err(self.not_brought(WHEELS, &blobs[0]));
        };
        let paths: Vec<&str> = blobs.iter().map(|blob| blob.path.as_str()).collect();
        let brought = self.api.paths_info(&wheels, &paths).await?;
        let mut lines = Vec::new();
        for blob in blobs {
            let held = brought.get(&blob.path);
            if held.is_some() && held == there.get(&blob.path) {
                continue;
            }
            let path = blob.path.clone();
            lines.push(match held {
                Some(Held::Lfs { sha256, size_bytes })
                    if (*sha256, *size_bytes) == (blob.sha256, blob.size_bytes) =>
                {
                    Line::Lfs {
                        path,
                        sha256: *sha256,
                        size_bytes: *size_bytes,
                    }
                }
                Some(held @ Held::Blob { .. }) if !is_wheel(&path) => {
                    let content = self.blob_content(blob, &wheels, held).await?;
                    Line::File { path, content }
                }
                Some(_) | None => return Err(self.not_brought(&wheels, blob)),
            });
        }
        Ok(lines)
    }

    fn not_brought(&self, commit: &str, blob: &Blob) -> HubError {
        HubError::Differs {
            address: self.api.repository.to_string(),
            commit: commit.to_owned(),
            path: blob.path.clone(),
            found: "nothing that was brought".to_owned(),
            wanted: format!("sha256 {} of {} bytes", blob.sha256, blob.size_bytes),
        }
    }

    /// Generated files, as they are in memory.
    async fn put(
        &self,
        there: &BTreeMap<String, Held>,
        put: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Vec<Line>, HubError> {
        let is_new = |(path, content): &(&String, &Vec<u8>)| {
            there.get(*path).is_none_or(|held| !held.has(content))
        };
        let entries: Vec<Entry> = put
            .iter()
            .filter(is_new)
            .map(|(path, content)| Entry {
                path: path.clone(),
                object: Object {
                    sha256: Sha256Digest::of(content),
                    size_bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
                    source: Source::Bytes(Bytes::copy_from_slice(content)),
                },
            })
            .collect();
        let modes = self.modes(MAIN, &entries).await?;
        let is_large = |entry: &&Entry| modes.get(&entry.path) == Some(&Mode::Lfs);
        let large = objects_of(entries.iter().filter(is_large));
        if !large.is_empty() {
            self.upload_generated(&large).await?;
        }
        let line = |entry: &Entry| line_of(entry, &modes);
        Ok(entries.iter().map(line).collect())
    }

    /// Uploads generated files that are too large for git, such as the catalog of a large shelf.
    async fn upload_generated(&self, objects: &[Object]) -> Result<(), HubError> {
        struct Silent;
        impl Progress for Silent {
            fn on_progress(&self, _: u64, _: u64, _: u64) {}
        }
        let told = Told {
            progress: &Silent,
            before_bytes: 0,
            all_bytes: 0,
            sent_before_bytes: 0,
        };
        match self.api.way(MAIN, objects, Offer::Plain).await? {
            Way::Plain(todo) => {
                self.api
                    .upload(MAIN, todo, &Meter::default(), &told)
                    .await?;
                self.arrived(objects).await
            }
            Way::Xet => Err(HubError::Senseless {
                doing: "upload".to_owned(),
                address: self.api.repository.to_string(),
                answered: "a way that was not offered".to_owned(),
            }),
        }
    }

    async fn committed(&self, head: &Head, change: &Change) -> Result<Head, HubError> {
        let parent = self.parent(head).await?;
        let lines = self.lines(parent.as_deref(), change).await?;
        match &parent {
            Some(parent) if lines.is_empty() => return Ok(Head(parent.clone())),
            Some(_) | None => {}
        }
        if parent.is_some() {
            let mut branches = vec![MAIN];
            if !change.add.is_empty() {
                branches.push(WHEELS);
            }
            self.api
                .check_budget(&branches, 1, self.commits_per_hour)
                .await?;
        }
        let notes = notes(change);
        let draft = Draft {
            branch: MAIN,
            parent: parent.as_deref(),
            title: &change.title,
            notes: &notes,
            lines: &lines,
        };
        self.api.commit(&draft).await.map(Head)
    }

    /// The releases in the branch's commits.
    async fn releases(&self, limit: usize) -> Result<Vec<PastRelease>, HubError> {
        if self.api.branch(MAIN).await? == Branch::NoRepository {
            return Err(HubError::NoRepository {
                address: self.api.repository.to_string(),
            });
        }
        let (commits, _) = self
            .api
            .commits(MAIN, |commits| {
                let releases = commits
                    .iter()
                    .filter(|commit| commit.message.contains(RELEASE));
                releases.count() >= limit
            })
            .await?;
        let releases = commits.into_iter().filter_map(|commit| {
            let note = |name: &str| {
                commit
                    .message
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
            };
            Some(PastRelease {
                release: note(RELEASE)?.trim().parse().ok()?,
                published_at: note(PUBLISHED).unwrap_or_default().trim().to_owned(),
                title: commit.title.clone(),
                head: Head(commit.id.clone()),
            })
        });
        Ok(releases.take(limit).collect())
    }
}

/// What a commit says of the release that it makes.
fn notes(change: &Change) -> String {
    let catalog = change.put.get(FILE_NAME);
    let catalog = catalog.and_then(|text| Catalog::parse(std::str::from_utf8(text).ok()?).ok());
    catalog.map_or_else(String::new, |catalog| {
        format!(
            "{RELEASE}{}\n{PUBLISHED}{}",
            catalog.release, catalog.published_at
        )
    })
}

impl Shelf for HubShelf {
    type Error = HubError;

    fn address(&self) -> String {
        self.api.repository.to_string()
    }

    fn links(&self) -> Links {
        Links::Hub {
            endpoint: self.api.endpoint.to_string(),
            repository: self.api.repository.path(),
        }
    }

    fn index_url(&self) -> Option<String> {
        let kept = self
            .index_url
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    async fn read(&self) -> Result<Snapshot, HubError> {
        let nothing = Snapshot {
            catalog: Catalog::empty(),
            head: Head(String::new()),
        };
        let head = match self.api.branch(MAIN).await? {
            Branch::At(head) => head,
            Branch::Missing => return Ok(nothing),
            Branch::NoRepository if self.create.is_some() => return Ok(nothing),
            Branch::NoRepository => {
                return Err(HubError::NoRepository {
                    address: self.address(),
                });
            }
        };
        let head = Head(head);
        let catalog = match self.file(&head, FILE_NAME).await? {
            None => Catalog::empty(),
            Some(text) => {
                let text = String::from_utf8_lossy(&text);
                Catalog::parse(&text).map_err(|source| HubError::Catalog {
                    address: self.address(),
                    source,
                })?
            }
        };
        if let Some(pages) = &catalog.pages {
            let mut kept = self
                .index_url
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *kept = kept.take().or_else(|| pages.index_url.clone());
        }
        Ok(Snapshot { catalog, head })
    }

    async fn bring(&self, blobs: &[Blob], progress: &dyn Progress) -> Result<Brought, HubError> {
        self.brought(blobs, progress).await
    }

    async fn commit(&self, head: &Head, change: &Change) -> Result<Head, HubError> {
        self.committed(head, change).await
    }

    async fn file(&self, head: &Head, path: &str) -> Result<Option<Vec<u8>>, HubError> {
        if head.0.is_empty() {
            return Ok(None);
        }
        match self.api.path_info(&head.0, path).await? {
            None => Ok(None),
            Some(held) => self.api.content(&head.0, path, &held).await.map(Some),
        }
    }

    /// Asks for all of them at once, and reads several at a time: a Hub counts its API's calls.
    async fn contents(
        &self,
        head: &Head,
        paths: &[&str],
    ) -> Result<BTreeMap<String, Vec<u8>>, HubError> {
        if head.0.is_empty() {
            return Ok(BTreeMap::new());
        }
        let held = self.api.paths_info(&head.0, paths).await?;
        let contents = stream::iter(held).map(|(path, held)| async move {
            let content = self.api.content(&head.0, &path, &held).await?;
            Ok((path, content))
        });
        contents.buffer_unordered(FILES_AT_ONCE).try_collect().await
    }

    async fn files(&self, head: &Head) -> Result<BTreeMap<String, u64>, HubError> {
        if head.0.is_empty() {
            return Ok(BTreeMap::new());
        }
        let tree = self.api.tree(&head.0).await?;
        let sizes = tree
            .into_iter()
            .map(|(path, held)| (path, held.size_bytes()));
        Ok(sizes.collect())
    }

    async fn past(&self, limit: usize) -> Result<Vec<PastRelease>, HubError> {
        self.releases(limit).await
    }
}
