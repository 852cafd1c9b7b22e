//! Changes whose answer is lost, and changes that somebody else makes at the same time.

use std::sync::Arc;

use test_hub::{Fault, Mode, TestHub, What};
use wheelfarm_core::release::catalog::Catalog;
use wheelfarm_core::release::life::pick::WheelGlobs;
use wheelfarm_core::release::life::steps::{self, ClearedOut, Yanks};
use wheelfarm_engine::shelf::any::{AnyError, AnyShelf};
use wheelfarm_engine::shelf::hub::{HubError, HubNotice, HubOptions, HubShelf, Listener, space};
use wheelfarm_engine::shelf::revise::{self, Act, End, ReviseError, Revised};
use wheelfarm_engine::shelf::{Fault as _, Shelf};

use crate::bench::{
    REPOSITORY, Wheels, assert_whole, at_first_wait, options, publish, shelf, start,
};

const COMMIT: &str = "/api/*/commit/main";
const SPACE: &str = "spaces/farm/index";

async fn roll_back<S: Shelf>(shelf: &S, to: &str) -> Result<Revised, ReviseError<S::Error>> {
    let to = to.parse().unwrap();
    revise::roll_back(shelf, Act::Make, to, Yanks::Keep, ClearedOut::Refuse).await
}

/// Publishes so many releases, each with a wheel more: `demo` 1.1, 1.2, …
async fn publish_all(shelf: &impl Shelf, releases: u64) {
    for seed in 1..=releases {
        publish(shelf, &Wheels::new(&[seed], 5000)).await.unwrap();
    }
}

fn release(hub: &TestHub) -> u64 {
    let text = hub.bytes(REPOSITORY, "main", "manifest.json").unwrap();
    Catalog::parse(std::str::from_utf8(&text).unwrap())
        .unwrap()
        .release
}

/// `latest-1` is another release once the change has landed, so whoever repeats it undoes it.
#[tokio::test]
async fn a_return_that_may_have_landed_is_not_to_be_repeated_as_it_was_typed() {
    let hub = Arc::new(start(Mode::Lfs).await);
    publish_all(&shelf(&hub, 3).await, 3).await;
    // The answer to the commit is lost, and then nobody can look what came of it.
    let blind = Arc::clone(&hub);
    let listener = Listener::new(move |notice: &HubNotice| {
        if matches!(notice, HubNotice::Waiting { doing, .. } if doing.starts_with("commit to")) {
            let list = Fault::on("GET", "/api/*/commits/main", What::CutBefore);
            blind.plant(list.times(9));
        }
    });
    let options = HubOptions {
        listener,
        ..options(&hub, 2)
    };
    let shelf = HubShelf::open(options).await.unwrap();
    let before = usize::try_from(hub.request_count()).unwrap();
    hub.plant(Fault::on("POST", COMMIT, What::CutAfter));
    let error = roll_back(&shelf, "latest-1").await.unwrap_err();
    hub.clear_faults();
    assert!(!error.is_bad_input() && !error.is_refusal());
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r"
    failed to see what came of release 4 of `hf://farm/wheels`: roll back to release 2
    hint: `wheelfarm status --from hf://farm/wheels` says: if it has a release 4, `roll back to release 2`, it is done; only if not, run it again with `--to 2`
    ");
    assert_eq!(release(&hub), 4, "it has landed");
    assert_eq!(roll_back(&shelf, "2").await.unwrap().end, End::Nothing);

    // A Hub that cannot be read after the commit leaves the same doubt.
    let asks = |path: &str| path.contains("/paths-info/");
    let requests = hub.requests().into_iter().skip(before);
    let until_commit = requests.take_while(|request| !request.path.ends_with("/commit/main"));
    let count = until_commit.filter(|request| asks(&request.path)).count();
    let check = Fault::on("POST", "/api/*/paths-info/*", What::CutBefore);
    hub.plant(check.after(u64::try_from(count).unwrap()).times(9));
    let error = roll_back(&shelf, "latest-1").await.unwrap_err();
    hub.clear_faults();
    let is_in_doubt = matches!(
        error,
        ReviseError::InDoubt {
            release: 5,
            back_to: Some(3),
            ..
        }
    );
    assert!(is_in_doubt, "{error:?}");
    assert_eq!(release(&hub), 5, "it has landed");
}

#[tokio::test]
async fn a_change_that_was_refused_is_in_no_doubt() {
    let hub = start(Mode::Lfs).await;
    let shelf = shelf(&hub, 2).await;
    publish_all(&shelf, 2).await;
    for (what, hint) in [
        (What::status(403, "no"), "HF_TOKEN"),
        (What::OtherCommit, "nothing was changed"),
    ] {
        hub.plant(Fault::on("POST", COMMIT, what));
        let error = roll_back(&shelf, "latest-1").await.unwrap_err();
        assert!(matches!(error, ReviseError::Shelf(_)), "{error:?}");
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        assert_eq!(release(&hub), 2);
    }
}

async fn indexed(hub: &TestHub, listener: Listener) -> AnyShelf {
    let with = |options| HubOptions {
        listener: listener.clone(),
        ..options
    };
    let index = HubOptions {
        repository: space("farm/index").unwrap(),
        ..options(hub, 3)
    };
    let url = hub.space_url("farm", "index");
    let shelf = AnyShelf::hub(with(options(hub, 3)), Some(with(index)), Some(&url));
    shelf.await.unwrap()
}

async fn yank(shelf: &AnyShelf, glob: &str) -> Result<Revised, ReviseError<AnyError>> {
    let globs = WheelGlobs::new(&[glob.to_owned()]).unwrap();
    let reason = "wrong results".parse().unwrap();
    revise::revise(shelf, Act::Make, |catalog, now| {
        steps::yank(catalog, &globs, &reason, now)
    })
    .await
}

fn yanked(hub: &TestHub) -> usize {
    let page = "whl/cu130/torch2.11/simple/demo/index.html";
    let page = hub.bytes(SPACE, "main", page).unwrap();
    let page = String::from_utf8_lossy(&page).into_owned();
    page.matches("data-yanked").count()
}

#[tokio::test]
async fn a_release_that_is_out_and_not_shown_is_told_as_that() {
    let hub = start(Mode::Lfs).await;
    let shelf = indexed(&hub, Listener::none()).await;
    publish_all(&shelf, 1).await;
    shelf.settle(&Catalog::empty()).await.unwrap();
    // The first time it is read before the change.
    let read = Fault::on("GET", "/api/models/*/revision/main", What::CutBefore);
    hub.plant(read.after(1).times(9));
    let error = yank(&shelf, "demo-1.1*").await.unwrap_err();
    hub.clear_faults();
    assert_eq!((release(&hub), yanked(&hub)), (2, 0));
    let ReviseError::Shelf(error @ AnyError::Space { .. }) = error else {
        panic!("{error:?}");
    };
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("do not make the change again:"), "{hint}");
    let read = shelf.read().await.unwrap();
    shelf.settle(&read.catalog).await.unwrap();
    assert_eq!(yanked(&hub), 1);
}

/// Somebody yanks a wheel while another yank is on its way to the Space.
#[tokio::test]
async fn a_space_does_not_go_back_behind_what_is_out() {
    for (method, path) in [
        ("GET", "/api/spaces/*/revision/main"),
        ("POST", "/api/spaces/*/commit/main"),
    ] {
        let hub = Arc::new(start(Mode::Lfs).await);
        let first = indexed(&hub, Listener::none()).await;
        publish_all(&first, 2).await;
        first.settle(&Catalog::empty()).await.unwrap();
        assert_eq!(yanked(&hub), 0);

        let other = Arc::clone(&hub);
        let listener = at_first_wait(move || async move {
            let shelf = indexed(&other, Listener::none()).await;
            yank(&shelf, "demo-1.2*").await.unwrap();
        });
        let shelf = indexed(&hub, listener).await;
        hub.plant(Fault::on(method, path, What::status(503, "not now")));
        yank(&shelf, "demo-1.1*").await.unwrap();
        assert_eq!((release(&hub), yanked(&hub)), (4, 2), "{path}");
    }
}

/// Two machines publish to a repository that nothing was published to, and the first commit of one has to
/// wait while the other does all of it.
#[tokio::test]
async fn a_first_publication_does_not_undo_another_one() {
    let hub = Arc::new(start(Mode::Lfs).await);
    hub.create_repo(REPOSITORY, false).unwrap();
    let (one, two) = (Wheels::new(&[1], 5000), Wheels::new(&[2], 5000));
    let other = Arc::clone(&hub);
    let options = HubOptions {
        listener: at_first_wait(move || async move {
            let shelf = shelf(&other, 3).await;
            publish(&shelf, &two).await.unwrap().unwrap();
        }),
        ..options(&hub, 3)
    };
    let shelf = HubShelf::open(options).await.unwrap();
    let busy = What::status(409, "Another commit operation is in progress");
    hub.plant(Fault::on("POST", COMMIT, busy));
    let error = publish(&shelf, &one).await.unwrap_err();
    assert!(
        matches!(error, HubError::ChangedMeanwhile { .. }),
        "{error}"
    );
    assert_whole(&hub);
    assert_eq!(shelf.read().await.unwrap().catalog.wheels.len(), 1);
    publish(&shelf, &one).await.unwrap().unwrap();
    assert_whole(&hub);
    assert_eq!(shelf.read().await.unwrap().catalog.wheels.len(), 2);
}
