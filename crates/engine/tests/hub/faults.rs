//! What a Hub is known to do wrong, one at a time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use test_hub::{Fault, Mode, Options, TestHub, What};
use wheelfarm_engine::shelf::Fault as _;
use wheelfarm_engine::shelf::hub::{HubError, HubNotice, HubOptions, HubShelf, Listener};
use wheelfarm_engine::shelf::{Change, Shelf};

use crate::bench::{
    Heard, REPOSITORY, Wheels, assert_whole, limits, options, plain_tree, publish, shelf, start,
    titles,
};

const COMMIT: &str = "/api/*/commit/main";

async fn published(hub: &TestHub, attempts: u32) -> Result<(), HubError> {
    let shelf = shelf(hub, attempts).await;
    let res = publish(&shelf, &Wheels::new(&[1], 5000)).await;
    assert_whole(hub);
    res.map(drop)
}

fn releases(hub: &TestHub) -> usize {
    titles(hub, "main")
        .iter()
        .filter(|title| title.starts_with("release"))
        .count()
}

/// The second commit to `main` is the release: the first says that wheels are LFS.
fn on_release(what: What) -> Fault {
    Fault::on("POST", COMMIT, what).after(1)
}

#[tokio::test]
async fn an_answer_that_is_lost_to_a_commit_that_landed_is_no_second_commit() {
    for what in [
        What::StatusAfter(500),
        What::StatusAfter(504),
        What::CutAfter,
        What::CutAt(30),
        What::CdnErrorPage(200),
    ] {
        let hub = start(Mode::Lfs).await;
        hub.plant(on_release(what));
        published(&hub, 3).await.unwrap();
        assert_eq!(releases(&hub), 1);
    }
}

#[tokio::test]
async fn a_commit_that_never_lands_is_an_error_and_nothing_else() {
    let hub = start(Mode::Lfs).await;
    hub.plant(on_release(What::CutBefore).times(3));
    let error = published(&hub, 3).await.unwrap_err();
    assert!(matches!(error, HubError::NoCommit { .. }), "{error}");
    assert_eq!(releases(&hub), 0);
    published(&hub, 3).await.unwrap();
    assert_eq!(releases(&hub), 1);
}

#[tokio::test]
async fn a_repository_that_is_busy_is_waited_for() {
    let hub = start(Mode::Lfs).await;
    let busy =
        "Another commit operation is in progress for this repository. Please try again later.";
    hub.plant(on_release(What::status(409, busy)).times(2));
    published(&hub, 4).await.unwrap();
    assert_eq!(releases(&hub), 1);
}

#[tokio::test]
async fn somebody_elses_commit_is_not_written_over() {
    let hub = start(Mode::Lfs).await;
    hub.plant(on_release(What::OtherCommit));
    let error = published(&hub, 3).await.unwrap_err();
    assert!(
        matches!(error, HubError::ChangedMeanwhile { .. }),
        "{error}"
    );
    assert_eq!(releases(&hub), 0);
    published(&hub, 3).await.unwrap();
    assert_eq!(releases(&hub), 1);
    assert!(
        plain_tree(&hub, "main")
            .keys()
            .any(|path| path.starts_with("other/"))
    );
}

/// A change is made on the state that was read, however late.
#[tokio::test]
async fn what_was_read_long_ago_is_not_changed() {
    let hub = start(Mode::Lfs).await;
    published(&hub, 3).await.unwrap();
    let shelf = shelf(&hub, 2).await;
    let old = shelf.read().await.unwrap();
    hub.commit(REPOSITORY, "main", "by hand", &[("notes.txt", b"x")])
        .unwrap();
    let change = Change {
        title: "release 9".to_owned(),
        put: [("README.md".to_owned(), b"other".to_vec())].into(),
        ..Change::default()
    };
    let error = shelf.commit(&old.head, &change).await.unwrap_err();
    assert!(
        matches!(error, HubError::ChangedMeanwhile { .. }),
        "{error}"
    );
    let now = shelf.read().await.unwrap();
    shelf.commit(&now.head, &change).await.unwrap();
}

/// Two machines publish at once: both end up on the shelf, one of them after a second run.
#[tokio::test]
async fn two_machines_do_not_undo_each_other() {
    let hub = Options {
        commit_time: Duration::from_millis(50),
        ..Options::mode(Mode::Lfs)
    };
    let hub = TestHub::start(hub).await.unwrap();
    published(&hub, 3).await.unwrap();
    let (one, two) = (Wheels::new(&[2], 5000), Wheels::new(&[3], 5000));
    let (mut left, mut right) = (1, 1);
    while left + right > 0 {
        let (first, second) = (shelf(&hub, 8).await, shelf(&hub, 8).await);
        let (a, b) = tokio::join!(publish(&first, &one), publish(&second, &two));
        assert_whole(&hub);
        let outcome = |res: Result<_, HubError>| match res {
            Ok(_) => 0,
            Err(HubError::ChangedMeanwhile { .. }) => 1,
            Err(error) => panic!("{error:?}"),
        };
        (left, right) = (outcome(a), outcome(b));
    }
    let shelf = shelf(&hub, 3).await;
    assert_eq!(shelf.read().await.unwrap().catalog.wheels.len(), 3);
    assert_eq!(releases(&hub), 3);
}

#[tokio::test]
async fn a_limit_is_waited_for_and_told_and_a_long_one_is_an_error() {
    let hub = start(Mode::Lfs).await;
    hub.plant(Fault::on(
        "POST",
        "/api/*/preupload/*",
        What::rate_limited(0),
    ));
    hub.plant(on_release(What::rate_limited(0)));
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&told);
    let options = HubOptions {
        listener: Listener::new(move |notice: &HubNotice| {
            if let HubNotice::Waiting { wait, reason, .. } = notice {
                hear.lock().unwrap().push((wait.as_secs(), reason.clone()));
            }
        }),
        ..options(&hub, 3)
    };
    let shelf = HubShelf::open(options).await.unwrap();
    let begun = Instant::now();
    publish(&shelf, &Wheels::new(&[1], 5000)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let told = told.lock().unwrap().clone();
    let want = (
        1,
        "the Hub answered 429: We had to rate limit you".to_owned(),
    );
    assert_eq!(told, [want.clone(), want]);

    let hub = start(Mode::Lfs).await;
    hub.plant(on_release(What::rate_limited(3000)));
    let error = published(&hub, 3).await.unwrap_err();
    assert!(
        matches!(error, HubError::TooManyRequests { wait, .. } if wait.as_secs() == 3001),
        "{error}"
    );
    assert_eq!(releases(&hub), 0);
}

#[tokio::test]
async fn commits_of_an_hour_are_counted_whoever_made_them() {
    let hub = start(Mode::Lfs).await;
    hub.create_repo(REPOSITORY, false).unwrap();
    for number in 0..6 {
        hub.commit(
            REPOSITORY,
            "main",
            &format!("{number}"),
            &[("x", &[number])],
        )
        .unwrap();
    }
    let of = |commits_per_hour| HubOptions {
        commits_per_hour,
        ..options(&hub, 3)
    };
    let wheels = Wheels::new(&[1], 5000);
    let tight = HubShelf::open(of(9)).await.unwrap();
    let before = hub.commits(REPOSITORY, "main").unwrap().len();
    let error = publish(&tight, &wheels).await.unwrap_err();
    let HubError::BudgetSpent {
        commits,
        needed,
        limit,
        room_at,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!((*commits, *needed, *limit), (7, 3, 9));
    let room_at: jiff::Timestamp = room_at.parse().unwrap();
    assert!(room_at > jiff::Timestamp::now());
    assert_eq!(hub.commits(REPOSITORY, "main").unwrap().len(), before);
    let wide = HubShelf::open(of(10)).await.unwrap();
    publish(&wide, &wheels).await.unwrap().unwrap();
    let full = HubShelf::open(of(10)).await.unwrap();
    let error = publish(&full, &Wheels::new(&[2], 5000)).await.unwrap_err();
    assert!(
        matches!(error, HubError::BudgetSpent { commits: 10, .. }),
        "{error}"
    );
}

/// A storage's page of excuses passes for success. The wheel is not there then, and is not listed.
#[tokio::test]
async fn a_page_of_a_storage_is_no_upload() {
    let hub = start(Mode::Lfs).await;
    hub.plant(Fault::on("PUT", "/upload/*", What::CdnErrorPage(200)).times(2));
    published(&hub, 3).await.unwrap();
    assert_eq!(releases(&hub), 1);
    let hub = start(Mode::Lfs).await;
    hub.plant(Fault::on("PUT", "/upload/*", What::CdnErrorPage(200)).times(9));
    let error = published(&hub, 3).await.unwrap_err();
    assert!(matches!(error, HubError::Senseless { .. }), "{error}");
    assert_eq!(releases(&hub), 0);
}

#[tokio::test]
async fn a_page_or_other_bytes_in_place_of_a_file_are_not_read() {
    let hub = start(Mode::Lfs).await;
    published(&hub, 3).await.unwrap();
    for what in [What::CdnErrorPage(200), What::WrongBytes, What::CutAt(400)] {
        let shelf = shelf(&hub, 2).await;
        hub.plant(Fault::on("GET", "*/manifest.json", what.clone()).times(9));
        let error = shelf.read().await.unwrap_err();
        assert!(
            matches!(
                error,
                HubError::Senseless { .. } | HubError::Unanswered { .. }
            ),
            "{what:?}: {error}"
        );
        hub.clear_faults();
        hub.plant(Fault::on("GET", "*/manifest.json", what));
        assert_eq!(shelf.read().await.unwrap().catalog.wheels.len(), 1);
        hub.clear_faults();
    }
}

#[tokio::test]
async fn a_hub_that_says_nothing_is_given_up() {
    let hub = start(Mode::Lfs).await;
    let silence = What::Stall {
        after_bytes: 0,
        silence: Duration::from_secs(30),
    };
    hub.plant(Fault::on("GET", "/api/*/revision/main", silence).times(9));
    let mut limits = limits(2);
    limits.stall_limit = Duration::from_millis(100);
    let options = HubOptions {
        limits,
        ..options(&hub, 2)
    };
    let shelf = HubShelf::open(options).await.unwrap();
    let begun = Instant::now();
    let error = shelf.read().await.unwrap_err();
    assert!(matches!(error, HubError::Unanswered { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// A repository whose branch of wheels says otherwise keeps wheels in git, and one that does is refused
/// before anything is sent.
#[tokio::test]
async fn a_hub_that_would_keep_wheels_in_git_gets_none() {
    let hub = start(Mode::Lfs).await;
    hub.create_repo(REPOSITORY, false).unwrap();
    published(&hub, 3).await.unwrap();
    hub.commit(
        REPOSITORY,
        "wheels",
        "by hand",
        &[(".gitattributes", b"*.whl -filter\n")],
    )
    .unwrap();
    let shelf = shelf(&hub, 3).await;
    let other = Wheels::new(&[2], 5000);
    // Text, for what looks like no text is LFS in any case.
    let mut other_text = other;
    let text = "x".repeat(5000);
    fs_err::write(&other_text.blobs[0].source, &text).unwrap();
    other_text.blobs[0].sha256 = wheelfarm_core::digest::Sha256Digest::of(text.as_bytes());
    let error = shelf
        .bring(&other_text.blobs, &Heard::default())
        .await
        .unwrap_err();
    assert!(matches!(error, HubError::NotLfs { .. }), "{error}");
    assert!(error.hint().unwrap().contains(".gitattributes"));
}

/// hf-hub asks once more how to upload, and where the answer is not Xet it puts the wheel into the
/// commit. That is seen, and `main` is not touched.
#[tokio::test]
async fn a_wheel_that_the_library_put_into_the_commit_is_noticed() {
    let name = "faults::a_wheel_that_the_library_put_into_the_commit_is_noticed";
    crate::sweep::with_own_xet(name, || async {
        let hub = start(Mode::Xet).await;
        let basic = What::Status {
            code: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: "{\"transfer\":\"basic\",\"objects\":[]}".to_owned(),
        };
        // The farm asks twice (what the Hub likes, and what it has), then hf-hub.
        hub.plant(Fault::on("POST", "*/objects/batch", basic).after(2));
        let error = published(&hub, 1).await.unwrap_err();
        assert!(matches!(error, HubError::NotLfs { .. }), "{error}");
        assert_eq!(releases(&hub), 0);
        // The next run puts it right.
        published(&hub, 1).await.unwrap();
        assert_eq!(releases(&hub), 1);
    })
    .await;
}

/// What goes through Xet a second time is not sent a second time.
#[tokio::test]
async fn xet_sends_only_what_is_new() {
    let name = "faults::xet_sends_only_what_is_new";
    crate::sweep::with_own_xet(name, || async {
        let hub = start(Mode::Xet).await;
        let shelf = shelf(&hub, 2).await;
        let one = Wheels::new(&[1], 600_000);
        let first = publish(&shelf, &one).await.unwrap().unwrap().brought;
        assert!(first.sent_bytes >= 600_000, "{first:?}");
        // The same bytes with a few others at the end, as the next Python's wheel of the same code.
        let mut two = Wheels::new(&[2], 10);
        let mut content = fs_err::read(&one.blobs[0].source).unwrap();
        content.extend([7; 100]);
        fs_err::write(&two.blobs[0].source, &content).unwrap();
        two.blobs[0].size_bytes = 600_100;
        two.blobs[0].sha256 = wheelfarm_core::digest::Sha256Digest::of(&content);
        two.catalog[0].sha256 = two.blobs[0].sha256;
        two.catalog[0].size_bytes = 600_100;
        let place = two.catalog[0].path();
        two.blobs[0].path.clone_from(&place);
        two.blobs[1].path = format!("{place}.metadata");
        let heard = Heard::default();
        let second = shelf.bring(&two.blobs, &heard).await.unwrap();
        assert!(second.offered_bytes > 600_000, "{second:?}");
        assert!(second.sent_bytes < 300_000, "{second:?}");
        let heard = heard.0.lock().unwrap();
        let (done, all, sent) = *heard.last().unwrap();
        assert_eq!((done, sent), (all, second.sent_bytes));
    })
    .await;
}

/// A Hub that says how long to wait while wheels go through Xet is waited for, by either of its headers.
#[tokio::test]
async fn a_limit_during_an_upload_through_xet_is_waited_for() {
    let name = "faults::a_limit_during_an_upload_through_xet_is_waited_for";
    crate::sweep::with_own_xet(name, || async {
        let retry_after = |seconds: u64| What::Status {
            code: 429,
            headers: vec![("retry-after".to_owned(), seconds.to_string())],
            body: "{\"error\":\"We had to rate limit you\"}".to_owned(),
        };
        let upload = |what| Fault::on("POST", "/api/*/commit/wheels", what);
        let waits = async |hub: &TestHub, seed: u64| {
            let told = Arc::new(Mutex::new(Vec::new()));
            let hear = Arc::clone(&told);
            let options = HubOptions {
                listener: Listener::new(move |notice: &HubNotice| {
                    if let HubNotice::Waiting { wait, .. } = notice {
                        hear.lock().unwrap().push(wait.as_secs());
                    }
                }),
                ..options(hub, 3)
            };
            let shelf = HubShelf::open(options).await.unwrap();
            let res = publish(&shelf, &Wheels::new(&[seed], 5000)).await;
            let told = told.lock().unwrap().clone();
            res.map(|_| told)
        };
        let hub = start(Mode::Xet).await;
        hub.plant(upload(retry_after(1)));
        assert_eq!(waits(&hub, 1).await.unwrap(), [1]);

        // hf-hub does not read this header: the next call meets the limit too, and waits as it says.
        hub.plant(upload(What::rate_limited(0)));
        let branch = Fault::on("GET", "/api/*/revision/wheels", What::rate_limited(0));
        hub.plant(branch.after(1));
        assert_eq!(waits(&hub, 2).await.unwrap(), [0, 1]);

        hub.plant(upload(retry_after(3000)));
        let error = waits(&hub, 3).await.unwrap_err();
        assert!(
            matches!(error, HubError::TooManyRequests { wait, .. } if wait.as_secs() == 3000),
            "{error:?}"
        );
        assert_eq!(releases(&hub), 2);
    })
    .await;
}

/// An account makes one repository at a time, and is told so with the status of one that is there.
#[tokio::test]
async fn a_hub_that_is_busy_with_another_repository_is_asked_again() {
    let hub = start(Mode::Lfs).await;
    let busy = What::status(409, "another conflicting operation is in progress");
    hub.plant(Fault::on("POST", "/api/repos/create", busy).times(2));
    published(&hub, 4).await.unwrap();
    assert_eq!(releases(&hub), 1);
}
