//! What goes, what stays and what is left, on the scripted engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::clear::{Act, Cleared, End, RoomRequest, clear, make_room};
use super::things::{Inventory, Sizes};
use super::verdict::{Rules, SharedImages, Wanted, When};
use crate::container::{
    ContainerSpec, Engine, EngineErrorKind, ImageRef, Labels, Network, Operation, RootFileSystem,
    SCRIPTED_IMAGE_BYTES, SCRIPTED_TIME_S, ScriptedEngine, ScriptedRun, Volume, labels,
};
use crate::event::Event;
use crate::out_folder::OutFolder;
use crate::store::{self, History, RunFacts, Store};

const DAY_S: u64 = 24 * 3600;

struct Farm {
    _folder: tempfile::TempDir,
    engine: Arc<ScriptedEngine>,
    out: OutFolder,
    wanted: Wanted,
}

impl Farm {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("out");
        let text = |words: [&str; 2]| words.map(str::to_owned);
        Self {
            engine: Arc::default(),
            out: OutFolder::open(&path).unwrap(),
            wanted: Wanted {
                jobs: [text(["a-1", "digest-a"]), text(["b-1", "digest-b"])]
                    .map(Into::into)
                    .into(),
                undone: ["a-1".to_owned()].into(),
                packages: ["a".to_owned(), "b".to_owned()].into(),
                images: ["wheelfarm/torch:needed".to_owned()].into(),
            },
            _folder: folder,
        }
    }

    fn label(&self) -> String {
        self.out.label("test")
    }

    fn own(&self, more: &[(&str, &str)]) -> Labels {
        let own = Labels::default().with(labels::FARM, &self.label());
        more.iter()
            .fold(own, |all, (key, value)| all.with(key, value))
    }

    async fn container(&self, name: &str, labels: Labels) {
        self.engine
            .put_image("wheelfarm/torch:needed", &self.own(&[]));
        let image = ImageRef::new("wheelfarm/torch:needed");
        let image = self.engine.image(&image).await.unwrap().unwrap().id;
        let spec = ContainerSpec {
            name: name.to_owned(),
            image,
            command: Vec::new(),
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            network: Network::Off,
            memory_bytes: 1 << 20,
            milli_cpus: 1000,
            pids_limit: 16,
            root: RootFileSystem::ReadOnly,
            tmpfs: Vec::new(),
            volumes: vec![Volume {
                name: format!("{name}-volume"),
                path: "/build".to_owned(),
                labels: labels.clone(),
            }],
            gpu: None,
            labels,
        };
        let id = self.engine.create(&spec).await.unwrap();
        self.engine.start(&id).await.unwrap();
    }

    fn failed_job(&self, name: &str) -> Utf8PathBuf {
        let folder = self.out.root().join("failed").join(name);
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join("build.log"), "why").unwrap();
        folder
    }

    /// What the container that measures volumes says of each, in the order of `Inventory::take`.
    fn measured(&self, kib: &[u64]) {
        let lines = kib.iter().enumerate();
        self.engine.script_next(ScriptedRun {
            lines: lines
                .map(|(number, kib)| (Duration::ZERO, format!("{kib}\t/volumes/{number}")))
                .collect(),
            ..ScriptedRun::default()
        });
    }

    async fn clear(&self, rules: &Rules, act: Act) -> Vec<Cleared> {
        let inventory = Inventory::take(&self.engine, &self.out, "test", Sizes::Measured);
        let inventory = inventory.await.unwrap();
        let never = CancellationToken::new();
        clear(&self.engine, inventory, &self.wanted, rules, act, &never).await
    }
}

fn rules() -> Rules {
    Rules {
        now_s: SCRIPTED_TIME_S + 2 * DAY_S,
        keep: Duration::from_secs(30 * DAY_S),
        cache_bytes: None,
        shared: SharedImages::Unneeded,
        when: When::Idle,
    }
}

fn told(cleared: &[Cleared]) -> Vec<String> {
    let line = |done: &Cleared| {
        let Cleared { thing, verdict, .. } = done;
        format!(
            "{} {} {}: {}",
            verdict.as_str(),
            thing.kind,
            thing.name,
            verdict.why()
        )
    };
    cleared.iter().map(line).collect()
}

/// Something of each kind, of this farm and of another.
async fn fill(farm: &Farm) {
    let engine = &farm.engine;
    farm.container(
        "goes-on",
        farm.own(&[(labels::JOB, "a-1"), (labels::DIGEST, "digest-a")]),
    )
    .await;
    farm.container(
        "is-done",
        farm.own(&[(labels::JOB, "b-1"), (labels::DIGEST, "digest-b")]),
    )
    .await;
    farm.container(
        "is-other",
        farm.own(&[(labels::JOB, "a-1"), (labels::DIGEST, "old")]),
    )
    .await;
    let theirs = Labels::default().with(labels::FARM, "test@0123456789ab");
    farm.container("theirs", theirs.clone()).await;
    for (name, labels) in [
        (
            "wheelfarm/debian:bookworm",
            Labels::default().with(labels::RECIPE, "r"),
        ),
        ("wheelfarm/toolkit:old", farm.own(&[])),
        ("wheelfarm/job:1", farm.own(&[])),
        ("wheelfarm/proof:1", farm.own(&[])),
        ("me/app:latest", farm.own(&[])),
        ("wheelfarm/job:2", theirs.clone()),
    ] {
        engine.put_image(name, &labels);
    }
    engine.put_unnamed_image("sha256:ours", &farm.own(&[]));
    engine.put_unnamed_image("sha256:theirs", &theirs);
    engine.put_unnamed_image("sha256:nobodys", &Labels::default());
    let kept = |job: &str, digest: &str| {
        Labels::default()
            .with(labels::KEPT, &farm.label())
            .with(labels::JOB, job)
            .with(labels::DIGEST, digest)
    };
    engine.put_volume("kept-good", &kept("a-1", "digest-a"));
    engine.put_volume("kept-old", &kept("a-1", "old"));
    let cache = |package| {
        Labels::default()
            .with(labels::CACHE, &farm.label())
            .with(labels::PACKAGE, package)
    };
    engine.put_volume("cache-a", &cache("a"));
    engine.put_volume("cache-gone", &cache("gone"));
    engine.put_volume("mine", &Labels::default());
    farm.failed_job("a-1");
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_use_goes_and_nothing_of_anybody_else() {
    let farm = Farm::new();
    fill(&farm).await;
    farm.measured(&[1, 2, 3, 10, 20, 3 << 20, 4]);
    let rules = Rules {
        cache_bytes: Some(1 << 30),
        ..rules()
    };
    let shown = farm.clear(&rules, Act::Show).await;
    let before = (farm.engine.left_behind(), farm.engine.images());
    insta::assert_snapshot!(told(&shown).join("\n"));
    let freed: u64 = shown.iter().map(Cleared::freed_bytes).sum();
    let volumes = (2 + 3 + 20 + 4 + (2 << 20)) * 1024;
    assert_eq!(freed, 3 * SCRIPTED_IMAGE_BYTES + volumes);
    assert_eq!(
        before,
        (farm.engine.left_behind(), farm.engine.images()),
        "only shown"
    );

    farm.measured(&[1, 2, 3, 10, 20, 3 << 20, 4]);
    farm.engine.script_next(ScriptedRun {
        lines: ["before 3145728", "after 1048576"]
            .map(|line| (Duration::ZERO, line.to_owned()))
            .into(),
        ..ScriptedRun::default()
    });
    let done = farm.clear(&rules, Act::Do).await;
    assert_eq!(told(&done), told(&shown));
    assert_eq!(done.iter().map(Cleared::freed_bytes).sum::<u64>(), freed);
    assert_eq!(
        farm.engine.left_behind(),
        [
            "goes-on",
            "theirs",
            "cache-a",
            "goes-on-volume",
            "kept-good",
            "mine",
            "theirs-volume"
        ]
    );
    assert_eq!(
        farm.engine.images(),
        [
            "me/app:latest",
            "wheelfarm/debian:bookworm",
            "wheelfarm/job:2",
            "wheelfarm/proof:1",
            "wheelfarm/torch:needed"
        ]
    );
    let images = Engine::images(&*farm.engine).await.unwrap();
    let mut unnamed: Vec<_> = images
        .iter()
        .filter(|image| image.names.is_empty())
        .map(|image| image.id.as_str())
        .collect();
    unnamed.sort_unstable();
    assert_eq!(unnamed, ["sha256:nobodys", "sha256:theirs"]);
    assert!(farm.out.root().join("failed/a-1").is_dir());
}

#[tokio::test(start_paused = true)]
async fn what_is_old_goes_too_and_all_images_when_that_is_asked_for() {
    let farm = Farm::new();
    fill(&farm).await;
    let rules = Rules {
        keep: Duration::ZERO,
        shared: SharedImages::All,
        // The folder is of now.
        now_s: u64::MAX,
        ..rules()
    };
    farm.clear(&rules, Act::Do).await;
    assert!(!farm.out.root().join("failed/a-1").exists());
    assert_eq!(
        farm.engine.images(),
        [
            "me/app:latest",
            "wheelfarm/debian:bookworm",
            "wheelfarm/job:2",
            "wheelfarm/torch:needed"
        ],
        "a container that stays has the last"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_is_told_and_the_rest_goes() {
    let farm = Farm::new();
    farm.engine.put_image("wheelfarm/job:1", &farm.own(&[]));
    farm.engine.put_image("wheelfarm/job:2", &farm.own(&[]));
    farm.engine
        .fail_next(Operation::RemoveImage, EngineErrorKind::Other);
    let done = farm.clear(&rules(), Act::Do).await;
    assert_eq!(
        done.iter().map(|done| done.end.clone()).collect::<Vec<_>>(),
        [
            End::Failed("failed to do RemoveImage by script".to_owned()),
            End::Freed(Some(SCRIPTED_IMAGE_BYTES))
        ]
    );
    assert_eq!(farm.engine.images(), ["wheelfarm/job:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_the_rest() {
    let farm = Farm::new();
    farm.engine.put_image("wheelfarm/job:1", &farm.own(&[]));
    let inventory = Inventory::take(&farm.engine, &farm.out, "test", Sizes::Unknown);
    let inventory = inventory.await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let done = clear(
        &farm.engine,
        inventory,
        &farm.wanted,
        &rules(),
        Act::Do,
        &stop,
    )
    .await;
    assert_eq!(done[0].end, End::NotReached);
    assert_eq!(farm.engine.images(), ["wheelfarm/job:1"]);
}

#[tokio::test(start_paused = true)]
async fn runs_that_ended_long_ago_are_forgotten() {
    let farm = Farm::new();
    let path = farm.out.root().join(store::FILE_NAME);
    let at = |days: u64| {
        let seconds = SCRIPTED_TIME_S + days * DAY_S;
        Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
    };
    let facts = RunFacts {
        pid: 1,
        host: "here".to_owned(),
        program: "wheelfarm".to_owned(),
        engine: "scripted".to_owned(),
    };
    let mut store = Store::open(&path, at(0)).unwrap().store;
    for day in [0, 50] {
        let run = store.begin_run(at(day), &facts).unwrap();
        let elapsed = Duration::from_secs(1);
        store
            .record(run, at(day), &[Event::RunFinished { elapsed }])
            .unwrap();
    }
    drop(store);
    let rules = Rules {
        now_s: SCRIPTED_TIME_S + 60 * DAY_S,
        ..rules()
    };
    let want = ["goes old-runs 1 runs: they are old; what was learned of packages stays"];
    let left = || History::open(&path).unwrap().runs(10).unwrap().len();
    assert_eq!(told(&farm.clear(&rules, Act::Show).await), want);
    assert_eq!(left(), 2);
    assert_eq!(told(&farm.clear(&rules, Act::Do).await), want);
    assert_eq!(left(), 1);
    assert!(farm.clear(&rules, Act::Do).await.is_empty());
}

fn request<'a>(
    farm: &'a Farm,
    missing_bytes: u64,
    running: &[&str],
    stop: &'a CancellationToken,
) -> RoomRequest<'a> {
    RoomRequest {
        missing_bytes,
        wanted: &farm.wanted,
        running: running.iter().map(|job| job.parse().unwrap()).collect(),
        cache_bytes: Some(1 << 40),
        now_s: SCRIPTED_TIME_S + 2 * DAY_S,
        stop,
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_lets_go_of_no_more_than_it_must_and_of_nothing_that_runs() {
    let farm = Farm::new();
    fill(&farm).await;
    let stop = CancellationToken::new();
    farm.engine
        .put_image("wheelfarm/job:0", &farm.own(&[(labels::JOB, "b-1")]));
    farm.measured(&[1, 2, 3, 10, 20, 30, 40]);
    let request = request(&farm, SCRIPTED_IMAGE_BYTES + 1, &["b-1"], &stop);
    let done = make_room(&farm.engine, &farm.out, "test", request)
        .await
        .unwrap();
    assert_eq!(
        told(&done),
        [
            "goes job-image wheelfarm/job:1: the job that it was built for has ended",
            "goes proof-image wheelfarm/proof:1: the next proof makes it again"
        ]
    );
    assert!(farm.engine.images().contains(&"wheelfarm/job:0".to_owned()));
    assert_eq!(
        farm.engine.left_behind().len(),
        13,
        "no container, no volume"
    );
}

#[tokio::test(start_paused = true)]
async fn what_running_jobs_write_to_is_held_by_nobody_else() {
    let farm = Farm::new();
    farm.container("runs", farm.own(&[(labels::JOB, "b-1")]))
        .await;
    let label = farm.label();
    let own = |key, more: (&str, &str)| Labels::default().with(key, &label).with(more.0, more.1);
    for (name, labels) in [
        ("cache-a", own(labels::CACHE, (labels::PACKAGE, "a"))),
        ("kept-idle", own(labels::KEPT, (labels::JOB, "a-1"))),
        ("kept-of-running", own(labels::KEPT, (labels::JOB, "b-1"))),
    ] {
        farm.engine.put_volume(name, &labels);
    }
    farm.engine.script_next(ScriptedRun {
        lines: vec![(Duration::from_mins(5), "1\t/volumes/0".to_owned())],
        ..ScriptedRun::default()
    });
    let stop = CancellationToken::new();
    let request = request(&farm, 3 << 30, &["b-1"], &stop);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        farm.engine.specs()
    };
    let making = make_room(&farm.engine, &farm.out, "test", request);
    let (done, specs) = tokio::join!(making, meanwhile);
    done.unwrap();
    let looks = specs
        .iter()
        .find(|spec| spec.name.starts_with("wheelfarm-volumes-"));
    let volumes = looks.unwrap().volumes.iter();
    let names: Vec<_> = volumes.map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["kept-idle", "cache-a"]);
}

#[tokio::test(start_paused = true)]
async fn caches_shrink_at_last_though_a_build_has_them() {
    let farm = Farm::new();
    let cache = Labels::default()
        .with(labels::CACHE, &farm.label())
        .with(labels::PACKAGE, "a");
    farm.engine.put_volume("cache-a", &cache);
    farm.engine
        .put_image("wheelfarm/torch:needed", &farm.own(&[]));
    farm.measured(&[8 << 20]);
    farm.engine.script_next(ScriptedRun {
        lines: ["before 8388608", "after 5242880"]
            .map(|line| (Duration::ZERO, line.to_owned()))
            .into(),
        ..ScriptedRun::default()
    });
    let stop = CancellationToken::new();
    let request = request(&farm, 3 << 30, &["a-1"], &stop);
    let done = make_room(&farm.engine, &farm.out, "test", request)
        .await
        .unwrap();
    assert_eq!(told(&done), ["shrinks cache cache-a: a job needs the room"]);
    assert_eq!(done[0].freed_bytes(), 3 << 30);
    assert_eq!(farm.engine.left_behind(), ["cache-a"]);
}
