//! The Rust client, hf-hub 1.0.0, with Xet; and what it does where the Hub has no Xet.

use std::path::Path;

use futures_util::TryStreamExt as _;
use hf_hub::HFClient;
use hf_hub::repository::RepoTypeModel;
use hf_hub::repository::{CommitOperation, RepoTreeEntry};
use test_hub::{Door, Fault, Mode, Options, TestHub, WRITE_TOKEN, What};

const REPO: &str = "farm/wheels";
const WHEEL: &str = "whl/x-1.0+cu128-py3-none-any.whl";

fn client(hub: &TestHub, cache: &Path) -> HFClient {
    HFClient::builder()
        .endpoint(hub.endpoint())
        .token(WRITE_TOKEN)
        .cache_dir(cache)
        .build()
        .unwrap()
}

fn wheel() -> Vec<u8> {
    (0_u32..500_000)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// Makes the repo and commits `.gitattributes` first, then a wheel and a text.
async fn publish(hub: &TestHub, cache: &Path) {
    let client = client(hub, cache);
    for _ in 0..2 {
        client
            .create_repository()
            .repo_id(REPO)
            .repo_type(RepoTypeModel)
            .exist_ok(true)
            .send()
            .await
            .unwrap();
    }
    let repo = client.model("farm", "wheels");
    let attributes: &[u8] = b"*.whl filter=lfs diff=lfs merge=lfs -text\n";
    let commits = [
        vec![CommitOperation::add_bytes(".gitattributes", attributes)],
        vec![
            CommitOperation::add_bytes(WHEEL, wheel()),
            CommitOperation::add_bytes("index.html", &b"<!DOCTYPE html>"[..]),
        ],
    ];
    for operations in commits {
        let parent = hub.commits(REPO, "main").unwrap()[0].id.clone();
        let made = repo
            .create_commit()
            .operations(operations)
            .commit_message("Release")
            .parent_commit(parent)
            .send()
            .await
            .unwrap();
        assert_eq!(
            made.commit_oid,
            Some(hub.commits(REPO, "main").unwrap()[0].id.clone())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hf_hub_publishes_and_reads_back_with_xet() {
    let hub = TestHub::start(Options::mode(Mode::Xet)).await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    publish(&hub, cache.path()).await;
    assert_eq!(hub.bytes(REPO, "main", WHEEL).unwrap(), wheel());
    assert!(
        hub.requests()
            .iter()
            .any(|request| request.door == Door::Cas)
    );

    let client = client(&hub, cache.path());
    let repo = client.model("farm", "wheels");
    let rows: Vec<RepoTreeEntry> = repo
        .list_tree()
        .recursive(true)
        .send()
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let xet = rows.iter().filter(|row| {
        matches!(
            row,
            RepoTreeEntry::File {
                xet_hash: Some(_),
                ..
            }
        )
    });
    assert_eq!((rows.len(), xet.count()), (4, 1));
    let path = repo.download_file().filename(WHEEL).send().await.unwrap();
    assert_eq!(fs_err::read(path).unwrap(), wheel());
    let bytes = repo
        .download_file_to_bytes()
        .filename("index.html")
        .send()
        .await
        .unwrap();
    assert_eq!(&bytes[..], b"<!DOCTYPE html>");
    let missing = repo.download_file().filename("none.whl").send().await;
    assert!(missing.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_the_xet_storage_can_be_cut() {
    let hub = TestHub::start(Options::mode(Mode::Xet)).await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    hub.plant(Fault::on("POST", "/v2/shards", What::CutAfter));
    publish(&hub, cache.path()).await;
    let shards: Vec<Option<u16>> = hub
        .requests()
        .into_iter()
        .filter(|request| request.path == "/v2/shards")
        .map(|request| request.status)
        .collect();
    assert_eq!(shards, [None, Some(200)]);
    assert_eq!(hub.bytes(REPO, "main", WHEEL).unwrap(), wheel());
}

/// The defect that a publisher has to guard against (hub.md section 1.4, a): no error, and the wheel is a
/// regular file that went up in the commit.
#[tokio::test(flavor = "multi_thread")]
async fn hf_hub_puts_a_wheel_into_the_commit_where_there_is_no_xet() {
    let hub = TestHub::start(Options::mode(Mode::Lfs)).await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    publish(&hub, cache.path()).await;
    assert!(!hub.tree(REPO, "main").unwrap()[WHEEL].is_lfs());
    assert!(
        hub.requests()
            .iter()
            .all(|request| request.door == Door::Hub)
    );
}
