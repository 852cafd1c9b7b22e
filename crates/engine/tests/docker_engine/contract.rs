//! The scripted engine stands in for the real one in every other test: here both are asked the
//! same, and must answer alike.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, Engine, EngineErrorKind, ImageRef, Labels, Owned, OwnedContainer, RunHow,
    RunLimits, ScriptedEngine, ScriptedRun, TarSource,
};

use crate::lab::{AMPLE, Lab, with_lab};

/// One container, for either engine.
struct Scenario {
    name: &'static str,
    script: &'static str,
    scripted: ScriptedRun,
    limits: RunLimits,
    /// Whether the user wants it to stop after its first line.
    stops: bool,
}

/// What a caller sees of an engine.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    how: RunHow,
    exit_code: i64,
    lines: Vec<String>,
    second_of_its_name: EngineErrorKind,
    absent_path: EngineErrorKind,
    /// Containers and volumes: while the container is there, and once it is removed.
    owned: [(usize, usize); 2],
    absent_image: bool,
}

fn lines(lines: &[&str]) -> Vec<(Duration, String)> {
    let line = |line: &&str| (Duration::from_millis(1), (*line).to_owned());
    lines.iter().map(line).collect()
}

fn scenarios() -> Vec<Scenario> {
    let plain = |name, script, scripted| Scenario {
        name,
        script,
        scripted,
        limits: AMPLE,
        stops: false,
    };
    vec![
        plain(
            "exit 0",
            "echo one; echo two",
            ScriptedRun {
                lines: lines(&["one", "two"]),
                ..ScriptedRun::default()
            },
        ),
        plain(
            "exit 3",
            "exit 3",
            ScriptedRun {
                exit_code: 3,
                ..ScriptedRun::default()
            },
        ),
        plain(
            "out of memory behind exit 0",
            "(tail /dev/zero); true",
            ScriptedRun {
                lines: lines(&["Killed"]),
                out_of_memory: true,
                ..ScriptedRun::default()
            },
        ),
        plain(
            "out of memory behind exit 1",
            "(tail /dev/zero); exit 1",
            ScriptedRun {
                exit_code: 1,
                lines: lines(&["Killed"]),
                out_of_memory: true,
                ..ScriptedRun::default()
            },
        ),
        Scenario {
            limits: RunLimits {
                silence: Duration::from_secs(1),
                ..AMPLE
            },
            ..plain("silence", "echo one; sleep 600", hanging())
        },
        Scenario {
            limits: RunLimits {
                total: Duration::from_secs(1),
                ..AMPLE
            },
            ..plain("total", "echo one; sleep 600", hanging())
        },
        Scenario {
            limits: RunLimits {
                grace: Duration::from_secs(1),
                ..AMPLE
            },
            stops: true,
            ..plain("a stop that is obeyed", "echo one; sleep 600", hanging())
        },
    ]
}

fn hanging() -> ScriptedRun {
    ScriptedRun {
        lines: lines(&["one"]),
        hangs: true,
        ..ScriptedRun::default()
    }
}

async fn observe<E: Engine>(engine: Arc<E>, spec: ContainerSpec, scenario: &Scenario) -> Seen {
    let labels = spec.labels.clone();
    let count = |owned: Owned| (owned.containers.len(), owned.volumes.len());
    let mut container = OwnedContainer::create(Arc::clone(&engine), spec.clone())
        .await
        .unwrap();
    let second_of_its_name = engine.create(&spec).await.unwrap_err().kind();
    let there = count(engine.owned(&labels).await.unwrap());
    let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
    let mut lines = Vec::new();
    let end = container
        .run_to_end(&scenario.limits, &stop, &at_once, |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            if scenario.stops {
                stop.cancel();
            }
        })
        .await
        .unwrap();
    let absent_path = match container.download("/build/nothing").await {
        Ok(_) => panic!("nothing is there"),
        Err(error) => error.kind(),
    };
    container.remove().await.unwrap();
    container.remove().await.expect("a second time is fine");
    let absent_image = ImageRef::new("wheelfarm-test/absent:1");
    Seen {
        how: end.how,
        exit_code: end.exit_code,
        lines,
        second_of_its_name,
        absent_path,
        owned: [there, count(engine.owned(&labels).await.unwrap())],
        absent_image: engine.image(&absent_image).await.unwrap().is_none(),
    }
}

async fn observe_scripted(lab: &Lab, scenario: &Scenario) -> Seen {
    let engine = Arc::new(ScriptedEngine::default());
    let empty = TarSource::Memory(bytes::Bytes::new());
    let image = engine
        .import_image(empty, &lab.image_name, &Labels::default())
        .await
        .unwrap();
    engine.script_next(scenario.scripted.clone());
    let spec = ContainerSpec {
        image,
        ..lab.spec(scenario.script)
    };
    let seen = observe(Arc::clone(&engine), spec, scenario).await;
    assert_eq!(engine.left_behind(), Vec::<String>::new());
    seen
}

#[tokio::test]
async fn docker_the_scripted_engine_answers_as_the_real_one() {
    with_lab("contract", async |lab| {
        for scenario in scenarios() {
            let spec = lab.spec(scenario.script);
            let real = observe(Arc::clone(&lab.engine), spec, &scenario).await;
            let scripted = observe_scripted(lab, &scenario).await;
            assert_eq!(scripted, real, "{}", scenario.name);
        }
    })
    .await;
}
