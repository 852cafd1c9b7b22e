//! Every single request of a publication is cut in turn, in every way: what is public is the state
//! before or the state after, never with two commits for one change and never with a page that lists a
//! wheel that is not there; and whoever runs it again ends where nothing had gone wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use test_hub::{Door, Fault, Mode, Request, TestHub, What};
use wheelfarm_engine::shelf::Fault as _;
use wheelfarm_engine::shelf::hub::HubError;

use crate::bench::{Wheels, assert_whole, plain_tree, publish, shelf, start, titles};

/// Says to the test's second process that it is that.
const INNER: &str = "WHEELFARM_TEST_HUB_INNER";

/// Runs a test in a process of its own: Xet reads where its cache is, and how long it waits before it
/// tries again, from the environment alone.
pub(crate) async fn with_own_xet<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os(INNER).is_some() {
        return test().await;
    }
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INNER, "1")
        .env("HF_HOME", home.path())
        .env("HF_XET_CLIENT_RETRY_BASE_DELAY", "10ms")
        .env_remove("HF_XET_CACHE")
        .output()
        .unwrap();
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    println!("{said}");
}

/// What goes wrong with one request.
fn faults() -> Vec<What> {
    vec![
        What::CutBefore,
        What::CutAfter,
        What::CutAt(9),
        What::CutAt(200),
        What::status(503, "Service Unavailable"),
        What::StatusAfter(502),
        What::CdnErrorPage(200),
        What::CdnErrorPage(503),
        What::WrongBytes,
        What::OtherCommit,
    ]
}

/// Whether the Hub did what was asked.
fn was_carried_out(request: &Request) -> bool {
    match &request.fault {
        Some(What::Status { .. } | What::CutBefore | What::CdnErrorPage(_)) => false,
        None => request.status.is_some_and(|status| status < 400),
        Some(_) => true,
    }
}

/// How often each upload was carried out.
fn uploads(hub: &TestHub) -> BTreeMap<String, usize> {
    let mut uploads = BTreeMap::new();
    for request in hub.requests() {
        let is_upload = match request.door {
            Door::Cdn => request.method == "PUT",
            Door::Cas => request.path.contains("/xorbs/"),
            Door::Hub | Door::Spaces => false,
        };
        if is_upload && was_carried_out(&request) {
            *uploads.entry(request.path).or_default() += 1;
        }
    }
    uploads
}

/// The tree without what somebody else committed.
fn own_tree(hub: &TestHub) -> BTreeMap<String, String> {
    let mut tree = plain_tree(hub, "main");
    tree.retain(|path, _| !path.starts_with("other/"));
    tree
}

/// What is published in the end, when nothing goes wrong.
struct Sweep {
    mode: Mode,
    requests: u64,
    wheels: Wheels,
    reference: BTreeMap<String, String>,
}

/// Publishes two wheels to a Hub that does nothing wrong: they, the tree, and how many requests it took.
async fn clean(mode: Mode, seed: u64) -> (Wheels, BTreeMap<String, String>, u64) {
    let wheels = Wheels::new(&[2 * seed, 2 * seed + 1], 20_000);
    let hub = start(mode).await;
    let shelf = shelf(&hub, 1).await;
    publish(&shelf, &wheels).await.unwrap().unwrap();
    assert_whole(&hub);
    (wheels, own_tree(&hub), hub.request_count())
}

/// What became of the runs that a fault hit.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    healed: usize,
    failed: usize,
    errors: BTreeSet<String>,
}

impl Sweep {
    async fn new(mode: Mode) -> Self {
        let (wheels, reference, _) = clean(mode, 0).await;
        let (_, _, requests) = clean(mode, 1).await;
        Self {
            mode,
            requests,
            wheels,
            reference,
        }
    }

    /// Other wheels for the next run. What hf-xet once sent somewhere it takes to be there for as long
    /// as it has its cache, and the next Hub may get the port of one that is gone.
    async fn renew(&mut self, seed: u64) {
        if self.mode == Mode::Xet {
            (self.wheels, self.reference, _) = clean(Mode::Lfs, seed).await;
        }
    }

    /// Plants `what` at every request in turn. With one attempt each failure ends the run, as when the
    /// machine goes down; with more the run goes on by itself.
    async fn run(&mut self, what: &What, attempts: u32, tally: &mut Tally) {
        for number in 1.. {
            assert!(number < 10 * self.requests, "no end");
            self.renew(u64::try_from(tally.runs).unwrap() + 2).await;
            let hub = start(self.mode).await;
            hub.plant(Fault::at_request(number, what.clone()));
            let res = publish(&shelf(&hub, attempts).await, &self.wheels).await;
            let was_met = hub.requests().iter().any(|request| request.fault.is_some());
            hub.clear_faults();
            let told = format!(
                "{what:?} at request {number}: {:?}",
                hub.requests().get(usize::try_from(number - 1).unwrap())
            );
            self.check_between(&hub, &told);
            tally.runs += 1;
            match res {
                Ok(_) => tally.healed += usize::from(was_met),
                Err(error) => {
                    tally.failed += 1;
                    assert!(!error.is_refusal(), "{told}: {error}");
                    tally.errors.insert(kind(&error));
                    let again = publish(&shelf(&hub, 1).await, &self.wheels).await;
                    if let Err(error) = again {
                        panic!("{told}: the second run failed: {error:?}");
                    }
                }
            }
            self.check_end(&hub, &told);
            if !was_met {
                break;
            }
        }
    }

    /// After the run that was hit: the state before or the state after, nothing between.
    #[track_caller]
    fn check_between(&self, hub: &TestHub, told: &str) {
        assert_whole(hub);
        let tree = own_tree(hub);
        let releases = titles(hub, "main")
            .iter()
            .filter(|title| *title == "release 1")
            .count();
        assert!(releases <= 1, "{told}: {releases} commits");
        if releases == 1 {
            assert_eq!(tree, self.reference, "{told}");
        } else {
            let listed: Vec<_> = tree
                .keys()
                .filter(|path| !path.starts_with(".git"))
                .collect();
            assert!(
                listed.is_empty() || listed == ["README.md"],
                "{told}: {listed:?}"
            );
        }
    }

    /// After all runs: as if nothing had happened.
    #[track_caller]
    fn check_end(&self, hub: &TestHub, told: &str) {
        assert_whole(hub);
        assert_eq!(own_tree(hub), self.reference, "{told}");
        let count = |branch: &str, wanted: &str| {
            titles(hub, branch)
                .iter()
                .filter(|title| *title == wanted)
                .count()
        };
        assert_eq!(count("main", "release 1"), 1, "{told}");
        assert_eq!(count("main", "wheels are LFS files"), 1, "{told}");
        assert_eq!(count("wheels", "4 files"), 1, "{told}");
        let twice: Vec<_> = uploads(hub)
            .into_iter()
            .filter(|(_, times)| *times > 1)
            .collect();
        assert!(twice.is_empty(), "{told}: {twice:?}");
    }
}

/// The name of an error's variant.
fn kind(error: &HubError) -> String {
    let text = format!("{error:?}");
    text.split([' ', '(', '{']).next().unwrap().to_owned()
}

async fn sweep(mode: Mode, attempts: u32) -> Tally {
    let mut sweep = Sweep::new(mode).await;
    let mut tally = Tally::default();
    for what in faults() {
        sweep.run(&what, attempts, &mut tally).await;
    }
    println!(
        "{mode:?}, {attempts} attempts, {} requests: {tally:?}",
        sweep.requests
    );
    assert!(tally.runs > faults().len() * 10, "{tally:?}");
    tally
}

/// The machine goes down at every request.
#[tokio::test]
async fn conformance_small_hub_every_request_of_an_lfs_publication_may_be_the_last() {
    let tally = sweep(Mode::Lfs, 1).await;
    assert!(tally.failed > 100, "{tally:?}");
}

/// The same, and the run goes on.
#[tokio::test]
async fn conformance_small_hub_every_request_of_an_lfs_publication_may_fail_once() {
    let tally = sweep(Mode::Lfs, 4).await;
    assert!(tally.healed > 10 * tally.failed, "{tally:?}");
}

#[tokio::test]
async fn conformance_small_hub_every_request_of_a_xet_publication_may_be_the_last() {
    let name = "sweep::conformance_small_hub_every_request_of_a_xet_publication_may_be_the_last";
    with_own_xet(name, || async {
        let tally = sweep(Mode::Xet, 1).await;
        assert!(tally.failed > 50, "{tally:?}");
    })
    .await;
}

#[tokio::test]
async fn conformance_small_hub_every_request_of_a_xet_publication_may_fail_once() {
    let name = "sweep::conformance_small_hub_every_request_of_a_xet_publication_may_fail_once";
    with_own_xet(name, || async {
        let tally = sweep(Mode::Xet, 4).await;
        assert!(tally.healed > 10 * tally.failed, "{tally:?}");
    })
    .await;
}

/// A few of the above in seconds: the answer to each call is lost.
#[tokio::test]
async fn a_lost_answer_loses_nothing() {
    let mut sweep = Sweep::new(Mode::Lfs).await;
    let mut tally = Tally::default();
    sweep.run(&What::CutAfter, 4, &mut tally).await;
    assert_eq!(tally.failed, 0, "{tally:?}");
}
