//! A Hub, a few wheels, and a publication as the farm makes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use test_hub::{Entry, Mode, Options, TestHub, WRITE_TOKEN};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::{Catalog, CatalogWheel, Track, file_path};
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_engine::fetch::FetchOptions;
use wheelfarm_engine::shelf::change::between;
use wheelfarm_engine::shelf::hub::{
    Credentials, HubNotice, HubOptions, HubShelf, Listener, Repository, Visibility,
};
use wheelfarm_engine::shelf::{Blob, Brought, Change, Head, Progress, Shelf};

/// The repository that is published to.
pub(crate) const REPOSITORY: &str = "farm/wheels";

/// The time of every release.
pub(crate) const NOW: &str = "2026-11-21T03:00:00Z";

/// Small bounds, so that no test waits.
pub(crate) fn limits(attempts: u32) -> FetchOptions {
    FetchOptions {
        connect_limit: Duration::from_secs(5),
        stall_limit: Duration::from_secs(5),
        attempts,
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_secs(3),
        ..FetchOptions::default()
    }
}

/// The environment that has `token`.
pub(crate) fn credentials(token: &str) -> Credentials {
    Credentials::of(&[("HF_TOKEN".into(), token.into())])
}

/// How a test publishes to `hub`: the repository is made, and failures are tried `attempts` times.
pub(crate) fn options(hub: &TestHub, attempts: u32) -> HubOptions {
    let endpoint = hub.endpoint().parse().unwrap();
    let repository = Repository::parse(REPOSITORY).unwrap();
    HubOptions {
        credentials: credentials(WRITE_TOKEN),
        create: Some(Visibility::Public),
        limits: limits(attempts),
        ..HubOptions::new(endpoint, repository)
    }
}

pub(crate) async fn shelf(hub: &TestHub, attempts: u32) -> HubShelf {
    HubShelf::open(options(hub, attempts)).await.unwrap()
}

/// Hears of the first wait, and does `work` before it is over: what somebody else does meanwhile.
pub(crate) fn at_first_wait<F>(work: impl FnOnce() -> F + Send + 'static) -> Listener
where
    F: Future<Output = ()>,
{
    let apart = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work());
    };
    let apart = Mutex::new(Some(apart));
    Listener::new(move |notice: &HubNotice| {
        let is_wait = matches!(notice, HubNotice::Waiting { .. });
        let apart = apart.lock().unwrap().take_if(|_| is_wait);
        if let Some(apart) = apart {
            std::thread::spawn(apart).join().unwrap();
        }
    })
}

pub(crate) async fn start(mode: Mode) -> TestHub {
    TestHub::start(Options::mode(mode)).await.unwrap()
}

/// Wheels on a disk: each with its METADATA beside it.
#[derive(Debug)]
pub(crate) struct Wheels {
    _folder: tempfile::TempDir,
    pub(crate) catalog: Vec<CatalogWheel>,
    pub(crate) blobs: Vec<Blob>,
}

impl Wheels {
    /// One wheel for each seed, of about `size` bytes that do not pack and do not repeat.
    pub(crate) fn new(seeds: &[u64], size: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        let mut wheels = Self {
            _folder: folder,
            catalog: Vec::new(),
            blobs: Vec::new(),
        };
        for seed in seeds {
            wheels.add(&path, *seed, size);
        }
        wheels
    }

    fn add(&mut self, folder: &Utf8Path, seed: u64, size: usize) {
        let name = format!("demo-1.{seed}+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl");
        let metadata =
            format!("Metadata-Version: 2.1\nName: demo\nVersion: 1.{seed}+cu130torch2.11\n");
        let content = noise(seed, size);
        let put = |name: &str, content: &[u8]| -> (Utf8PathBuf, Sha256Digest, u64) {
            let path = folder.join(name);
            fs_err::write(&path, content).unwrap();
            let size_bytes = u64::try_from(content.len()).unwrap();
            (path, Sha256Digest::of(content), size_bytes)
        };
        let wheel = put(&name, &content);
        let beside = put(&format!("{name}.metadata"), metadata.as_bytes());
        let file_name: WheelName = name.parse().unwrap();
        let place = file_path(&file_name, wheel.1);
        let json = serde_json::json!({
            "file_name": name, "sha256": wheel.1, "size_bytes": wheel.2,
            "metadata_sha256": beside.1, "requires_dist": ["torch==2.11.*"],
            "channel": "cu130/torch2.11", "tracks": [], "job": format!("demo-1.{seed}-cu130-torch2.11-cp311"),
            "package": "demo", "built_against": {"cuda": "13.0", "torch": "2.11.0", "python": "3.11"},
            "uses_torch_cxx_abi": true, "module_archs": {}, "runs_on": {},
            "gate": "passed", "gpu_run": "not-run", "published_at": NOW,
        });
        self.catalog.push(serde_json::from_value(json).unwrap());
        let blob = |(source, sha256, size_bytes), ending: &str| Blob {
            path: format!("{place}{ending}"),
            source,
            sha256,
            size_bytes,
        };
        self.blobs.push(blob(wheel, ""));
        self.blobs.push(blob(beside, ".metadata"));
    }

    /// The wheels without what stands beside them, each behind its wheel.
    pub(crate) fn wheels(&self) -> impl Iterator<Item = &Blob> {
        self.blobs.iter().step_by(2)
    }

    /// Their length together.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.wheels().map(|blob| blob.size_bytes).sum()
    }
}

/// Bytes that look like chance (xorshift), so that Xet finds nothing twice in them.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..=size / 8).flat_map(|_| next()).collect();
    bytes.truncate(size);
    bytes
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<(u64, u64, u64)>>);

impl Progress for Heard {
    fn on_progress(&self, done_bytes: u64, all_bytes: u64, sent_bytes: u64) {
        let mut heard = self.0.lock().unwrap();
        heard.push((done_bytes, all_bytes, sent_bytes));
    }
}

/// What a publication came to.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) brought: Brought,
    pub(crate) head: Head,
}

/// Publishes: nothing where all is there, and else wheels, then everything that lists them.
pub(crate) async fn publish<S: Shelf>(
    shelf: &S,
    wheels: &Wheels,
) -> Result<Option<Published>, S::Error> {
    let snapshot = shelf.read().await?;
    let is_there = |wheel: &CatalogWheel| {
        snapshot
            .catalog
            .wheels
            .get(&wheel.file_name)
            .is_some_and(|there| there.sha256 == wheel.sha256)
    };
    if wheels.catalog.iter().all(is_there) {
        return Ok(None);
    }
    let next = wheels.catalog.iter().cloned();
    let mut catalog = snapshot.catalog.with(next, Track::Stable, NOW).unwrap();
    let brought = shelf.bring(&wheels.blobs, &Heard::default()).await?;
    for wheel in catalog.wheels.values_mut() {
        wheel.commit = wheel.commit.take().or_else(|| brought.commit.clone());
    }
    let change = change(shelf, &snapshot.catalog, &catalog, &wheels.blobs);
    let head = shelf.commit(&snapshot.head, &change).await?;
    Ok(Some(Published { brought, head }))
}

/// What makes a shelf what `next` says, as a layout would.
pub(crate) fn change(
    shelf: &impl Shelf,
    before: &Catalog,
    next: &Catalog,
    blobs: &[Blob],
) -> Change {
    let (links, index_url) = (shelf.links(), shelf.index_url());
    let layout = |catalog| Layout {
        catalog,
        links: &links,
        index_url: index_url.as_deref(),
    };
    let old = layout(before);
    let old = (before.release > 0).then_some(&old);
    let mut change = between(old, &layout(next), format!("release {}", next.release));
    let gone = before
        .wheels
        .iter()
        .filter(|(name, _)| !next.wheels.contains_key(*name))
        .map(|(_, wheel)| wheel.path());
    change.delete.extend(gone);
    change.add = blobs.to_vec();
    change
}

/// A tree without what differs from one Hub to the next: ids of commits, and addresses.
pub(crate) fn plain_tree(hub: &TestHub, branch: &str) -> BTreeMap<String, String> {
    let Ok(tree) = hub.tree(REPOSITORY, branch) else {
        return BTreeMap::new();
    };
    let plain = tree.iter().map(|(path, entry)| {
        let content = match entry {
            Entry::Lfs { sha256, .. } => format!("lfs {sha256}"),
            Entry::Regular { bytes, .. } => {
                let text = String::from_utf8_lossy(bytes).replace(&hub.endpoint(), "HUB");
                without_commits(&text)
            }
        };
        (path.clone(), content)
    });
    plain.collect()
}

/// Forty hexadecimal digits in a row, and not more, are a commit.
fn without_commits(text: &str) -> String {
    let mut plain = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        if word.len() == 40 {
            plain.push_str("COMMIT");
            plain.push_str(&piece[40..]);
        } else {
            plain.push_str(piece);
        }
    }
    plain
}

/// The commits of a branch that changed what is published.
pub(crate) fn titles(hub: &TestHub, branch: &str) -> Vec<String> {
    let commits = hub.commits(REPOSITORY, branch).unwrap_or_default();
    let mut titles: Vec<String> = commits.into_iter().map(|commit| commit.title).collect();
    titles.reverse();
    titles
}

/// That every link of every page, and every wheel of the catalog, leads to a wheel that is there with
/// its digest.
#[track_caller]
pub(crate) fn assert_whole(hub: &TestHub) {
    let Ok(tree) = hub.tree(REPOSITORY, "main") else {
        return;
    };
    let text = |path: &str| match tree.get(path) {
        Some(Entry::Regular { bytes, .. }) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Entry::Lfs { .. }) | None => String::new(),
    };
    let mut linked = BTreeSet::new();
    let start = format!("{}/{REPOSITORY}/resolve/", hub.endpoint());
    let pages = tree
        .keys()
        .filter(|path| path.starts_with("whl/") || path.starts_with("req/"));
    for page in pages {
        for link in text(page).split(&start).skip(1) {
            let (commit, rest) = link.split_once('/').unwrap();
            let end = rest.find(['"', '<', ' ', '\n']).unwrap_or(rest.len());
            let Some((path, digest)) = rest[..end].split_once("#sha256=") else {
                continue;
            };
            let path = path.replace("%2B", "+");
            check_link(hub, page, (commit, &path, &digest[..64]));
            linked.insert(path);
        }
    }
    let catalog = text("manifest.json");
    let listed = if catalog.is_empty() {
        BTreeSet::new()
    } else {
        let catalog = Catalog::parse(&catalog).unwrap();
        catalog.wheels.values().map(CatalogWheel::path).collect()
    };
    assert_eq!(linked, listed);
    for path in listed {
        assert!(matches!(tree.get(&path), Some(Entry::Lfs { .. })), "{path}");
    }
}

#[track_caller]
fn check_link(hub: &TestHub, page: &str, (commit, path, digest): (&str, &str, &str)) {
    let held = hub.tree(REPOSITORY, commit).unwrap();
    let Some(Entry::Lfs { sha256, .. }) = held.get(path) else {
        panic!("{page}: `{path}` is linked and not an LFS file at {commit}");
    };
    assert_eq!(sha256, digest, "{page}: {path}");
    let bytes = hub.bytes(REPOSITORY, commit, path).unwrap();
    assert_eq!(
        Sha256Digest::of(&bytes).to_string(),
        digest,
        "{page}: {path}"
    );
}
