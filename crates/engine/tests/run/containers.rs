//! The container that compiles, as the engine is asked for it.

use std::time::Duration;

use wheelfarm_engine::container::{
    ContainerSpec, GpuAccess, GpuOffer, Network, RootFileSystem, ScriptedEngine, ScriptedRun,
    labels,
};
use wheelfarm_engine::event::Event;
use wheelfarm_engine::out_folder::OutFolder;

use crate::farm::{Farm, ends, good_run, job_id};

/// The containers that are there while job `a` of `farm` compiles.
async fn specs(farm: &Farm) -> Vec<ContainerSpec> {
    farm.engine.script_next(ScriptedRun {
        lines: vec![
            (Duration::from_secs(1), "ready".to_owned()),
            (Duration::from_secs(1), "more".to_owned()),
        ],
        ..good_run("a")
    });
    let mut specs = Vec::new();
    let summary = farm
        .build_and_watch(&mut |event| {
            if matches!(event, Event::Line { text, .. } if text == "ready") {
                specs = farm.engine.specs();
            }
        })
        .await;
    assert_eq!(ends(&summary), ["built"], "{summary:#?}");
    farm.assert_clean();
    specs
}

/// `tests/docker_engine/rights.rs` shows what these mean on a real engine.
#[tokio::test(start_paused = true)]
async fn a_build_gets_no_rights_no_network_and_one_place_to_write() {
    let farm = Farm::new(&["a"]);
    let specs = specs(&farm).await;
    let [spec] = &specs[..] else {
        panic!("{specs:#?}");
    };
    assert_eq!(spec.user.as_deref(), Some("10001:10001"));
    assert_eq!(spec.network, Network::Off);
    assert_eq!(spec.root, RootFileSystem::ReadOnly);
    assert_eq!(spec.gpu, None);
    assert_eq!(spec.memory_bytes, 2 << 30);
    assert!(spec.pids_limit >= 64, "{}", spec.pids_limit);
    let places = spec.volumes.iter().map(|volume| volume.path.as_str());
    assert_eq!(places.collect::<Vec<_>>(), ["/build"]);
    let places = spec.tmpfs.iter().map(|tmpfs| tmpfs.path.as_str());
    assert_eq!(places.collect::<Vec<_>>(), ["/tmp"]);
    // What is not named here, a Hub token for one, never comes into a container.
    let names: Vec<_> = spec.env.keys().collect();
    assert_eq!(names, ["MAX_JOBS", "PROCESS_MEMORY_MIB"]);

    let label = OutFolder::open(&farm.out()).unwrap().label("test");
    let carried: Vec<_> = spec.labels.iter().collect();
    assert!(carried.contains(&(labels::FARM, &label)), "{carried:?}");
    let job = job_id("a");
    assert!(carried.contains(&(labels::JOB, &job)), "{carried:?}");
}

/// The scripted host has 16 GiB, of which it keeps one, and 4 processors.
#[tokio::test(start_paused = true)]
async fn memory_is_given_away_once() {
    let mut farm = Farm::new(&["a", "b", "c"]);
    farm.jobs_at_a_time = 16;
    for package in ["a", "b", "c"] {
        let path = format!("packages/{package}/package.yaml");
        farm.replace(&path, "memory: 2GiB", "memory: 7GiB");
        farm.engine.script_next_of(
            package,
            ScriptedRun {
                lines: vec![(Duration::from_mins(1), "on".to_owned())],
                ..good_run(package)
            },
        );
    }
    let mut held = Vec::new();
    let summary = farm
        .build_and_watch(&mut |event| {
            if let Event::Line { .. } = event {
                let specs = farm.engine.specs();
                held.push(specs.iter().map(|spec| spec.memory_bytes).sum::<u64>());
            }
        })
        .await;
    assert_eq!(ends(&summary), ["built"; 3], "{summary:#?}");
    assert!(held.iter().all(|bytes| *bytes <= 15 << 30), "{held:?}");
    assert!(
        held.iter().any(|bytes| *bytes > 8 << 30),
        "never two at a time: {held:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_asks_for_more_than_there_is_gets_what_there_is() {
    let farm = Farm::new(&["a"]);
    let more = "memory: 64GiB\n      memory-per-process: 32GiB";
    farm.replace("packages/a/package.yaml", "memory: 2GiB", more);
    let specs = specs(&farm).await;
    assert_eq!(specs[0].memory_bytes, 15 << 30);
    let log = farm.out().join("jobs").join(job_id("a")).join("build.log");
    let log = fs_err::read_to_string(log).unwrap();
    let note = "wheelfarm: memory limited to 15360 MiB; the package asks for 64GiB";
    assert!(log.lines().any(|line| line == note), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_gpu_is_given_to_packages_that_wish_for_it() {
    for (wish, offer, want) in [
        ("none", GpuOffer::NvidiaRuntime, None),
        ("auto", GpuOffer::None, None),
        ("auto", GpuOffer::Cdi, Some(GpuOffer::Cdi)),
        (
            "required",
            GpuOffer::NvidiaRuntime,
            Some(GpuOffer::NvidiaRuntime),
        ),
    ] {
        let mut farm = Farm::new(&["a"]);
        farm.engine = ScriptedEngine::default().with_gpu(offer).into();
        farm.package("a", &format!("    gpu: {wish}\n"));
        let specs = specs(&farm).await;
        let want = want.map(|offer| GpuAccess { offer });
        assert_eq!(specs[0].gpu, want, "{wish} {offer:?}");
    }
}
