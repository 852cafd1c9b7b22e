//! What earlier runs left: removed when it is the farm's own, kept when it is a record.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wheelfarm_engine::container::{
    ContainerSpec, Engine, EngineErrorKind, ImageId, ImageRef, Labels, Network, Operation,
    RootFileSystem, ScriptedEngine, ScriptedRun, TarSource, Volume, labels,
};
use wheelfarm_engine::out_folder::OutFolder;

use crate::farm::{Farm, ends, good_run, job_id};

async fn some_image(engine: &ScriptedEngine) -> ImageId {
    let name = ImageRef::new("some:image");
    let root = TarSource::Memory(Bytes::new());
    let labels = Labels::default();
    engine.import_image(root, &name, &labels).await.unwrap()
}

/// A container with a volume, as a killed run leaves it.
async fn leave(engine: &ScriptedEngine, name: &str, label: &str) {
    let labels = Labels::default()
        .with(labels::FARM, label)
        .with(labels::JOB, "of-an-older-matrix");
    let spec = ContainerSpec {
        name: name.to_owned(),
        image: some_image(engine).await,
        command: Vec::new(),
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        network: Network::Off,
        memory_bytes: 1 << 30,
        milli_cpus: 1000,
        pids_limit: 64,
        root: RootFileSystem::ReadOnly,
        tmpfs: Vec::new(),
        volumes: vec![Volume {
            name: name.to_owned(),
            path: "/build".to_owned(),
            labels: labels.clone(),
        }],
        gpu: None,
        labels,
    };
    engine.script_next(ScriptedRun::default());
    engine.create(&spec).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_run_left_is_removed_and_nothing_of_another_farm() {
    let farm = Farm::new(&["a"]);
    let label = OutFolder::open(&farm.out()).unwrap().label("test");
    leave(&farm.engine, "ours", &label).await;
    leave(&farm.engine, "theirs", "test@0123456789ab").await;
    farm.engine.script_next(good_run("a"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    assert_eq!(farm.engine.left_behind(), ["theirs", "theirs"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_cannot_be_removed_is_removed_by_the_next_run() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(good_run("a"));
    farm.engine
        .fail_next(Operation::Remove, EngineErrorKind::Other);
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    assert_eq!(farm.engine.left_behind().len(), 2);

    farm.package("a", "    gpu: auto\n");
    farm.write("sources/a/setup.py", "import setuptools  # changed\n");
    farm.engine.script_next(good_run("a"));
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    farm.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_failed_rebuild_leaves_the_record_alone() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(good_run("a"));
    farm.build().await;
    let record = farm.out().join("jobs").join(job_id("a"));
    let manifest = || fs_err::read(record.join("manifest.json")).unwrap();
    let before = (manifest(), farm.names(&format!("jobs/{}", job_id("a"))));

    farm.write("sources/a/setup.py", "import setuptools  # changed\n");
    farm.engine.script_next(ScriptedRun {
        exit_code: 1,
        ..good_run("a")
    });
    let summary = farm.build().await;
    assert_eq!(ends(&summary), ["script"], "{summary:#?}");
    let after = (manifest(), farm.names(&format!("jobs/{}", job_id("a"))));
    assert_eq!(before, after);
    assert_eq!(farm.names("failed"), [job_id("a")]);
    farm.assert_clean();

    farm.engine.script_next(good_run("a"));
    assert_eq!(ends(&farm.build().await), ["built"]);
    assert_ne!(before.0, manifest());
    assert_eq!(farm.names("failed"), Vec::<String>::new());
}

/// A record that a run was killed over: moved aside, its successor not yet in place.
#[tokio::test(start_paused = true)]
async fn a_record_moved_aside_by_a_killed_run_is_up_to_date_again() {
    let farm = Farm::new(&["a"]);
    farm.engine.script_next(good_run("a"));
    farm.build().await;
    let staging = farm.out().join("staging");
    let record = farm.out().join("jobs").join(job_id("a"));
    fs_err::rename(record, staging.join(format!("{}.old", job_id("a")))).unwrap();
    farm.write(&format!("out/staging/{}/build.log", job_id("a")), "half");
    assert_eq!(ends(&farm.build().await), ["up-to-date"]);
    farm.assert_clean();
}

/// Two farms of one host may have the same job, and build it at the same time.
#[tokio::test(start_paused = true)]
async fn two_out_folders_build_the_same_job_side_by_side() {
    let (first, mut second) = (Farm::new(&["a"]), Farm::new(&["a"]));
    second.engine = first.engine.clone();
    for _ in 0..2 {
        first.engine.script_next(ScriptedRun {
            lines: vec![(Duration::from_secs(5), "on".to_owned())],
            ..good_run("a")
        });
    }
    let (one, other) = tokio::join!(first.build(), second.build());
    assert_eq!(ends(&one), ["built"], "{one:#?}");
    assert_eq!(ends(&other), ["built"], "{other:#?}");
    first.assert_clean();
}
