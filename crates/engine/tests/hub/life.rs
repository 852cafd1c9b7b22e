//! Publications that go well, and what a shelf then says of itself.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use test_hub::{Entry, Limits, Mode, Options, TestHub};
use wheelfarm_core::release::catalog::Track;
use wheelfarm_engine::shelf::hub::{HubError, HubOptions, HubShelf, IndexSpace, space};
use wheelfarm_engine::shelf::{Blob, Fault as _, Shelf};

use crate::bench::{
    Heard, NOW, REPOSITORY, Wheels, assert_whole, change, options, publish, shelf, start, titles,
};

async fn publish_and_read_back(mode: Mode) {
    let hub = start(mode).await;
    let shelf = shelf(&hub, 3).await;
    assert_eq!(shelf.address(), "hf://farm/wheels");
    let empty = shelf.read().await.unwrap();
    assert!(empty.head.0.is_empty() && empty.catalog.wheels.is_empty());
    let wheels = Wheels::new(&[1, 2, 3], 100_000);
    let published = publish(&shelf, &wheels).await.unwrap().unwrap();
    assert_whole(&hub);
    assert_eq!(
        titles(&hub, "main")[1..],
        ["wheels are LFS files", "release 1"]
    );
    assert_eq!(published.brought.unchanged, 0);
    let all: u64 = wheels.blobs.iter().map(|blob| blob.size_bytes).sum();
    assert_eq!(published.brought.offered_bytes, all);
    let sent = published.brought.sent_bytes;
    assert!(
        sent >= wheels.size_bytes() && sent < wheels.size_bytes() + 50_000,
        "{sent}"
    );

    let read = shelf.read().await.unwrap();
    assert_eq!(read.head, published.head);
    assert_eq!(read.catalog.wheels.len(), 3);
    for wheel in read.catalog.wheels.values() {
        assert_eq!(wheel.commit, published.brought.commit);
    }
    let blob = &wheels.blobs[0];
    let content = shelf.file(&read.head, &blob.path).await.unwrap().unwrap();
    assert_eq!(content, fs_err::read(&blob.source).unwrap());
    assert_eq!(shelf.file(&read.head, "nothing").await.unwrap(), None);
    let files = shelf.files(&read.head).await.unwrap();
    assert_eq!(files.get(&blob.path), Some(&blob.size_bytes));
    let tree = hub.tree(REPOSITORY, "main").unwrap();
    assert!(files.keys().eq(tree.keys()), "{files:?}");

    // Nothing is done twice, by this shelf or by one that was opened later.
    let count = hub.commits(REPOSITORY, "main").unwrap().len();
    assert!(publish(&shelf, &wheels).await.unwrap().is_none());
    let again = shelf.bring(&wheels.blobs, &Heard::default()).await.unwrap();
    assert_eq!((again.unchanged, again.sent_bytes), (6, 0));
    assert_eq!(again.commit, published.brought.commit);
    assert_eq!(hub.commits(REPOSITORY, "main").unwrap().len(), count);
    assert_eq!(titles(&hub, "wheels").len(), 3);
}

#[tokio::test]
async fn a_release_is_published_by_lfs() {
    publish_and_read_back(Mode::Lfs).await;
}

#[tokio::test]
async fn a_release_is_published_by_xet() {
    crate::sweep::with_own_xet("life::a_release_is_published_by_xet", || async {
        publish_and_read_back(Mode::Xet).await;
    })
    .await;
}

/// A second release keeps the first one's links, and a return to the first brings back what it had.
#[tokio::test]
async fn releases_follow_each_other_and_are_remembered() {
    let hub = start(Mode::Lfs).await;
    let shelf = shelf(&hub, 3).await;
    let (one, two) = (Wheels::new(&[1], 10_000), Wheels::new(&[2], 10_000));
    let first = publish(&shelf, &one).await.unwrap().unwrap();
    let second = publish(&shelf, &two).await.unwrap().unwrap();
    assert_whole(&hub);
    assert_ne!(first.brought.commit, second.brought.commit);
    let past = shelf.past(10).await.unwrap();
    let told: Vec<_> = past
        .iter()
        .map(|past| {
            (
                past.release,
                past.published_at.as_str(),
                past.title.as_str(),
            )
        })
        .collect();
    assert_eq!(told, [(2, NOW, "release 2"), (1, NOW, "release 1")]);
    assert_eq!(shelf.past(1).await.unwrap().len(), 1);

    // Without the first wheel, and then with it again though its file is gone from this machine.
    let now = shelf.read().await.unwrap();
    let mut fewer = now.catalog.next(NOW);
    fewer
        .wheels
        .retain(|_, wheel| *wheel != one.catalog[0] && wheel.sha256 != one.catalog[0].sha256);
    let mut removal = change(&shelf, &now.catalog, &fewer, &[]);
    removal.delete.insert("never/was/there".to_owned());
    let head = shelf.commit(&now.head, &removal).await.unwrap();
    assert_whole(&hub);
    assert!(
        shelf
            .file(&head, &one.blobs[0].path)
            .await
            .unwrap()
            .is_none()
    );
    let mut back = shelf
        .read()
        .await
        .unwrap()
        .catalog
        .with(one.catalog.clone(), Track::Stable, NOW)
        .unwrap();
    for wheel in back.wheels.values_mut() {
        wheel.commit = wheel.commit.take().or_else(|| first.brought.commit.clone());
    }
    let from_hub: Vec<Blob> = one
        .blobs
        .iter()
        .map(|blob| Blob {
            source: Utf8PathBuf::new(),
            ..blob.clone()
        })
        .collect();
    let change = change(&shelf, &fewer, &back, &from_hub);
    let puts = hub
        .requests()
        .iter()
        .filter(|request| request.method == "PUT")
        .count();
    shelf.commit(&head, &change).await.unwrap();
    assert_whole(&hub);
    let again = hub
        .requests()
        .iter()
        .filter(|request| request.method == "PUT")
        .count();
    assert_eq!(again, puts);
}

/// A Hub counts the calls of its API: many files are asked for in one.
#[tokio::test]
async fn the_contents_of_many_files_are_one_question() {
    let hub = start(Mode::Lfs).await;
    let shelf = shelf(&hub, 3).await;
    let seeds: Vec<u64> = (1..=20).collect();
    let wheels = Wheels::new(&seeds, 1000);
    let published = publish(&shelf, &wheels).await.unwrap().unwrap();
    let beside = wheels.blobs.iter().skip(1).step_by(2);
    let beside: Vec<&Blob> = beside.collect();
    let mut paths: Vec<&str> = beside.iter().map(|blob| blob.path.as_str()).collect();
    paths.push("never/was/there");
    let before = usize::try_from(hub.request_count()).unwrap();
    let contents = shelf.contents(&published.head, &paths).await.unwrap();
    assert_eq!(contents.len(), 20);
    for blob in beside {
        assert_eq!(contents[&blob.path], fs_err::read(&blob.source).unwrap());
    }
    let requests = hub.requests().into_iter().skip(before);
    let asked = requests.filter(|request| request.path.starts_with("/api/"));
    let asked: Vec<_> = asked
        .filter(|it| it.path.contains("/paths-info/"))
        .collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

/// The catalog of a large shelf is too large for git, and is LFS as a wheel is.
#[tokio::test]
async fn large_pages_and_large_wheels_go_their_own_ways() {
    let limits = Limits {
        regular_bytes: 1500,
        multipart_from_bytes: 50_000,
        multipart_part_bytes: 30_000,
        page_rows: 3,
        ..Limits::default()
    };
    let hub = Options {
        limits,
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start(hub).await.unwrap();
    let shelf = shelf(&hub, 3).await;
    let wheels = Wheels::new(&[1, 2, 3, 4], 100_000);
    let published = publish(&shelf, &wheels).await.unwrap().unwrap();
    let tree = hub.tree(REPOSITORY, "main").unwrap();
    assert!(matches!(tree.get("manifest.json"), Some(Entry::Lfs { .. })));
    let read = shelf.read().await.unwrap();
    assert_eq!(read.catalog.wheels.len(), 4);
    let files = shelf.files(&published.head).await.unwrap();
    assert!(files.len() > 12 && files.len() == tree.len());
    for blob in wheels.wheels() {
        let bytes = hub.bytes(REPOSITORY, "main", &blob.path).unwrap();
        assert_eq!(&bytes[..], fs_err::read(&blob.source).unwrap());
    }
    let parts = hub.requests();
    let parts = parts
        .iter()
        .filter(|request| request.method == "PUT" && request.path.ends_with("/4"));
    assert_eq!(parts.count(), 4);
}

#[tokio::test]
async fn other_bytes_at_a_known_path_are_refused() {
    let hub = start(Mode::Lfs).await;
    let shelf = shelf(&hub, 3).await;
    let wheels = Wheels::new(&[1], 10_000);
    publish(&shelf, &wheels).await.unwrap();
    let head = hub.commits(REPOSITORY, "wheels").unwrap()[0].id.clone();
    let mut other = Wheels::new(&[9], 10_000);
    other.blobs[0].path.clone_from(&wheels.blobs[0].path);
    let error = shelf
        .bring(&other.blobs, &Heard::default())
        .await
        .unwrap_err();
    assert!(
        error.is_refusal() && matches!(error, HubError::OtherBytes { .. }),
        "{error}"
    );
    // So are those of a file that was altered after it was recorded, however late that is seen.
    let altered = Wheels::new(&[5], 10_000);
    fs_err::write(&altered.blobs[0].source, vec![7; 10_000]).unwrap();
    let error = shelf
        .bring(&altered.blobs, &Heard::default())
        .await
        .unwrap_err();
    assert!(
        error.is_refusal() && matches!(error, HubError::Altered { .. }),
        "{error}"
    );
    assert_eq!(hub.commits(REPOSITORY, "wheels").unwrap()[0].id, head);
}

#[tokio::test]
async fn a_static_space_shows_indexes_and_nothing_else() {
    let hub = start(Mode::Lfs).await;
    let options = HubOptions {
        repository: space("farm/index").unwrap(),
        ..options(&hub, 3)
    };
    let url = hub.space_url("farm", "index");
    let index = IndexSpace::open(options, Some(&url)).await.unwrap();
    assert_eq!(index.url(), url);
    let page = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    let first = [
        page("whl/a/index.html", "<a>a</a>"),
        page("whl/b/index.html", "<a>b</a>"),
    ];
    let publish = async |files: &BTreeMap<_, _>, title| {
        let there = index.read().await.unwrap();
        index.publish(&there, files, title).await.unwrap()
    };
    let first = BTreeMap::from(first);
    let head = publish(&first, "release 1").await;
    let commits = || hub.commits("spaces/farm/index", "main").unwrap().len();
    let count = commits();
    assert_eq!(publish(&first, "release 1").await, head);
    assert_eq!(commits(), count);
    let second = [page("whl/a/index.html", "<a>c</a>")];
    publish(&second.into(), "release 2").await;
    assert_eq!(commits(), count + 1);
    let tree = hub.tree("spaces/farm/index", "main").unwrap();
    let paths: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            ".gitattributes",
            "README.md",
            "index.html",
            "whl/a/index.html"
        ]
    );
    // For another Hub than the public one, the place has to be said.
    let options = HubOptions {
        repository: space("farm/index").unwrap(),
        ..crate::bench::options(&hub, 3)
    };
    let error = IndexSpace::open(options, None).await.unwrap_err();
    assert!(matches!(error, HubError::SpaceAddress { .. }), "{error}");
}

/// The whole of it as a dataset.
#[tokio::test]
async fn a_dataset_holds_wheels_as_well() {
    let hub = start(Mode::Lfs).await;
    let options = HubOptions {
        repository: "datasets/farm/wheels".parse_as_repository(),
        ..options(&hub, 3)
    };
    let shelf = HubShelf::open(options).await.unwrap();
    publish(&shelf, &Wheels::new(&[1], 10_000)).await.unwrap();
    assert_eq!(shelf.read().await.unwrap().catalog.wheels.len(), 1);
    assert!(hub.has_repo("datasets/farm/wheels").unwrap());
}

trait ParseAsRepository {
    fn parse_as_repository(&self) -> wheelfarm_engine::shelf::hub::Repository;
}

impl ParseAsRepository for str {
    fn parse_as_repository(&self) -> wheelfarm_engine::shelf::hub::Repository {
        wheelfarm_engine::shelf::hub::Repository::parse(self).unwrap()
    }
}
