//! Publishes a folder of wheels that have no record to a Hub, for measurements:
//! `publish_bench FOLDER hf://OWNER/NAME`, with `HF_ENDPOINT` and `HF_TOKEN`. Prints what was offered and
//! what went over the wire.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for measurements"
)]

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::release::catalog::{CatalogWheel, Track};
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::wheel::name::WheelName;
use wheelfarm_engine::publish::now;
use wheelfarm_engine::shelf::change::between;
use wheelfarm_engine::shelf::hub::{Credentials, HubOptions, HubShelf, Visibility};
use wheelfarm_engine::shelf::place::{Place, endpoint};
use wheelfarm_engine::shelf::{Blob, Progress, Shelf};

struct Silent;

impl Progress for Silent {
    fn on_progress(&self, _done: u64, _all: u64, _sent: u64) {}
}

/// What a catalog says of a wheel of which only the file is known.
fn wheel(path: &Utf8Path, now: &str) -> CatalogWheel {
    let name: WheelName = path.file_name().unwrap().parse().unwrap();
    let mut file = fs_err::File::open(path).unwrap();
    let (sha256, size_bytes) = Sha256Digest::of_reader(&mut file).unwrap();
    let metadata = fs_err::read(format!("{path}.metadata")).unwrap();
    let tag = &name.python_tags()[0];
    let text = serde_json::json!({
        "file_name": name, "sha256": sha256, "size_bytes": size_bytes,
        "metadata_sha256": Sha256Digest::of(&metadata), "requires_dist": ["torch==2.11.*"],
        "channel": "cu130/torch2.11", "tracks": [],
        "job": format!("{}-{}-cu130-torch2.11-{tag}", name.project(), name.public_version()),
        "package": name.project(),
        "built_against": { "cuda": "13.0", "torch": "2.11.0", "python": tag.replace("cp3", "3.") },
        "uses_torch_cxx_abi": true, "module_archs": {}, "runs_on": {}, "gate": "not-checked",
        "gpu_run": "not-run", "published_at": now,
    });
    serde_json::from_value(text).unwrap()
}

fn blobs(path: &Utf8Path, wheel: &CatalogWheel) -> [Blob; 2] {
    let source = Utf8PathBuf::from(format!("{path}.metadata"));
    let metadata = fs_err::read(&source).unwrap();
    [
        Blob {
            path: wheel.path(),
            source: path.to_owned(),
            sha256: wheel.sha256,
            size_bytes: wheel.size_bytes,
        },
        Blob {
            path: format!("{}.metadata", wheel.path()),
            source,
            sha256: wheel.metadata_sha256,
            size_bytes: u64::try_from(metadata.len()).unwrap(),
        },
    ]
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let folder = Utf8PathBuf::from(words.next().unwrap());
    let place = words.next().unwrap();
    let variables: Vec<_> = std::env::vars_os().collect();
    let Place::Hub(repository) = Place::parse(&place).unwrap() else {
        panic!("`{place}` is on no Hub");
    };
    let options = HubOptions {
        credentials: Credentials::of(&variables),
        create: Some(Visibility::Public),
        ..HubOptions::new(endpoint(None, &variables).unwrap(), repository)
    };
    let shelf = HubShelf::open(options).await.unwrap();
    let now = now();
    let mut wheels = BTreeMap::new();
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = Utf8PathBuf::try_from(entry.unwrap().path()).unwrap();
        if path.extension() == Some("whl") {
            let wheel = wheel(&path, &now);
            wheels.insert(path, wheel);
        }
    }
    let read = shelf.read().await.unwrap();
    let blobs: Vec<Blob> = wheels
        .iter()
        .flat_map(|(path, wheel)| blobs(path, wheel))
        .collect();
    let brought = shelf.bring(&blobs, &Silent).await.unwrap();
    let pinned = wheels.into_values().map(|wheel| CatalogWheel {
        commit: brought.commit.clone(),
        ..wheel
    });
    let catalog = read.catalog.with(pinned, Track::Stable, &now).unwrap();
    let links = shelf.links();
    let layout = Layout {
        catalog: &catalog,
        links: &links,
        index_url: None,
    };
    let mut change = between(None, &layout, "publish");
    change.add = blobs;
    shelf.commit(&read.head, &change).await.unwrap();
    println!("offered_bytes {}", brought.offered_bytes);
    println!("sent_bytes {}", brought.sent_bytes);
}
