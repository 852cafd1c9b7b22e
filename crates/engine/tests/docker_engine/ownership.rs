//! Whose a container is: replaced and removed by its labels, and never another's.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, Engine, EngineErrorKind, GpuAccess, GpuOffer, Labels, OwnedContainer, Volume,
    labels, remove_owned,
};

use crate::lab::{AMPLE, Lab, run, with_lab};

/// A container of its own name and volume, with the label of a job.
fn of_job(lab: &Lab, job: &str, script: &str) -> ContainerSpec {
    let name = lab.name(job);
    let labels = lab.labels().with(labels::JOB, job);
    ContainerSpec {
        volumes: vec![Volume {
            name: name.clone(),
            path: "/build".to_owned(),
            labels: labels.clone(),
        }],
        labels,
        name,
        ..lab.spec(script)
    }
}

async fn count(lab: &Lab, labels: &Labels) -> (usize, usize) {
    let owned = lab.engine.owned(labels).await.unwrap();
    (owned.containers.len(), owned.volumes.len())
}

#[tokio::test]
async fn docker_a_leftover_of_the_same_name_is_replaced() {
    with_lab("leftover", async |lab| {
        let leftover = lab.engine.create(&of_job(lab, "a", "sleep 600")).await;
        let leftover = leftover.unwrap();
        lab.engine.start(&leftover).await.unwrap();
        let again = lab.engine.create(&of_job(lab, "a", "true")).await;
        let error = again.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::NameTaken, "{error:?}");

        let (_, lines) = run(lab, of_job(lab, "a", "echo new; ls /build"), &AMPLE).await;
        assert_eq!(lines, ["new", "out"]);
        assert_eq!(count(lab, &lab.labels()).await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn docker_a_container_of_that_name_with_other_labels_is_left_alone() {
    with_lab("not-ours", async |lab| {
        let theirs = of_job(lab, "theirs", "sleep 600");
        let id = lab.engine.create(&theirs).await.unwrap();
        let ours = ContainerSpec {
            name: theirs.name.clone(),
            ..of_job(lab, "ours", "true")
        };
        let error = OwnedContainer::create(Arc::clone(&lab.engine), ours)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::NameTaken, "{error:?}");
        assert_eq!(count(lab, &theirs.labels).await, (1, 1));
        lab.engine.remove(&id).await.unwrap();
        lab.engine.remove_volume(&theirs.name).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn docker_what_carries_all_labels_is_removed_and_nothing_else() {
    with_lab("owned", async |lab| {
        let mut ids = Vec::new();
        for job in ["a", "b"] {
            let id = lab.engine.create(&of_job(lab, job, "sleep 600")).await;
            let id = id.unwrap();
            lab.engine.start(&id).await.unwrap();
            ids.push(id);
        }
        let of = |job: &str| lab.labels().with(labels::JOB, job);
        remove_owned(&*lab.engine, &of("c")).await.unwrap();
        assert_eq!(count(lab, &lab.labels()).await, (2, 2));
        remove_owned(&*lab.engine, &of("a")).await.unwrap();
        assert_eq!(count(lab, &of("a")).await, (0, 0));
        assert_eq!(count(lab, &of("b")).await, (1, 1));
        remove_owned(&*lab.engine, &lab.labels()).await.unwrap();
        assert_eq!(count(lab, &lab.labels()).await, (0, 0));
        for id in &ids {
            lab.engine.remove(id).await.expect("absent is fine");
            lab.engine.kill(id).await.expect("absent is fine");
        }
    })
    .await;
}

/// A container that is dropped, as by a farm that is killed, is found by the next run.
#[tokio::test]
async fn docker_a_dropped_container_is_found_by_its_labels() {
    with_lab("dropped", async |lab| {
        let container = lab.create(of_job(lab, "a", "sleep 600")).await;
        let never = CancellationToken::new();
        let run = container.run_to_end(&AMPLE, &never, &never, |_| ());
        let cut = tokio::time::timeout(Duration::from_secs(2), run).await;
        assert!(cut.is_err(), "{cut:?}");
        drop(container);
        assert_eq!(count(lab, &lab.labels()).await, (1, 1));
        remove_owned(&*lab.engine, &lab.labels()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn docker_a_gpu_that_is_not_there_is_named_and_the_container_removed() {
    with_lab("gpu", async |lab| {
        let facts = lab.engine.describe().await.unwrap();
        assert!(facts.cpus > 0 && facts.memory_bytes > 0, "{facts:?}");
        // On an engine that has GPUs either way may work, whichever it names.
        let absent: &[GpuOffer] = match facts.gpu {
            GpuOffer::None => &[GpuOffer::NvidiaRuntime, GpuOffer::Cdi],
            GpuOffer::NvidiaRuntime | GpuOffer::Cdi => &[],
        };
        for &offer in absent {
            let spec = ContainerSpec {
                gpu: Some(GpuAccess { offer }),
                ..lab.spec("true")
            };
            let mut container = lab.create(spec).await;
            let never = CancellationToken::new();
            let res = container.run_to_end(&AMPLE, &never, &never, |_| ()).await;
            let error = res.unwrap_err();
            assert_eq!(error.kind(), EngineErrorKind::GpuUnavailable, "{error:?}");
            assert!(error.hint().is_some());
            container.remove().await.unwrap();
            assert_eq!(lab.left_behind().await, Vec::<String>::new());
        }
    })
    .await;
}
