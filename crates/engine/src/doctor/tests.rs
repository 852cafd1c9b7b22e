//! Looks at folders and at the scripted engine.

use camino::Utf8Path;
use wheelfarm_core::doctor::facts::{GpuWay, Hold, StoreFacts};
use wheelfarm_core::doctor::wants::Wants;

use super::*;
use crate::container::{
    EngineErrorKind, ImageKind, ImageRef, Labels, Operation, ScriptedEngine, ScriptedRun, labels,
};
use crate::farm_folder::FarmFolder;
use crate::out_folder::OutFolder;
use crate::run::{farm_labels, shared_images};

/// The farm of the tests: a bootstrapped Debian, and sources in folders.
fn demo() -> FarmFolder {
    let matrix = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/demo/matrix.yaml");
    FarmFolder::read(&matrix).unwrap()
}

fn farm_request<'a>(farm: &FarmFolder, jobs: &'a [(&'a Job, Need)]) -> FarmRequest<'a> {
    let build = &farm.matrix.build;
    FarmRequest {
        name: farm.matrix.farm.clone(),
        jobs,
        ca_bundle: None,
        facts: FarmFacts {
            matrix: "matrix.yaml".to_owned(),
            wants: Wants::of(jobs, |_| None),
            planned: Vec::new(),
            memory_cap: build.memory,
            jobs: build.jobs,
            disk_reserve_bytes: build.disk_reserve.bytes(),
            certificates: None,
        },
    }
}

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join(name)
    }

    async fn look(
        &self,
        farm: Seen<FarmRequest<'_>>,
        engine: Result<Arc<ScriptedEngine>, EngineError>,
    ) -> Facts {
        let request = Request {
            farm,
            out: self.path("out"),
            cache: self.path("cache"),
            place: Some(PlaceRequest::Folder(self.path("dist"))),
            network: Network::NotAsked,
            proofs: Proofs::AsPackagesSay,
            variables: vec![("PATH".into(), "/usr/bin:/bin".into())],
        };
        look(request, engine).await.unwrap()
    }
}

fn no_farm<'a>() -> Seen<FarmRequest<'a>> {
    Err(Unseen::new("there is no matrix", "name one"))
}

#[tokio::test]
async fn a_look_makes_nothing() {
    let host = Host::new();
    let engine = Arc::new(ScriptedEngine::default());
    let facts = host.look(no_farm(), Ok(Arc::clone(&engine))).await;
    assert_eq!(facts.out.hold, Hold::ToBeMade);
    assert_eq!(facts.out.store, StoreFacts::None);
    assert!(matches!(
        facts.place,
        Some(PlaceFacts::Folder {
            hold: Hold::ToBeMade,
            ..
        })
    ));
    assert_eq!(facts.engine.unwrap().name, "scripted");
    assert!(facts.images.is_err() && facts.leftovers.is_err());
    assert!(facts.machine.memory_bytes.unwrap() > 1 << 28);
    assert!(facts.machine.open_files.is_some() && facts.machine.is_root.is_some());
    assert_eq!(host.folder.path().read_dir().unwrap().count(), 0);
    assert!(engine.left_behind().is_empty());
}

#[tokio::test]
async fn an_engine_that_is_gone_takes_nothing_else_along() {
    let host = Host::new();
    let error = EngineError::new("connect to the Docker engine", EngineErrorKind::Gone);
    let facts = host.look(no_farm(), Err(error)).await;
    let unseen = facts.engine.unwrap_err();
    assert_eq!(unseen.why, "failed to connect to the Docker engine");
    assert!(unseen.hint.contains("systemctl start docker"), "{unseen:?}");
    assert!(!facts.disks.is_empty());
    // One that connects and then says nothing of itself is as good as gone.
    let engine = ScriptedEngine::default();
    engine.fail_next(Operation::Describe, EngineErrorKind::Gone);
    let facts = host.look(no_farm(), Ok(Arc::new(engine))).await;
    assert!(facts.engine.is_err());
}

#[tokio::test]
async fn a_folder_is_free_or_somebody_works_in_it() {
    let host = Host::new();
    let out = OutFolder::open(&host.path("out")).unwrap();
    assert_eq!(farm::out(&host.path("out")).hold, Hold::Busy);
    drop(out);
    assert_eq!(farm::out(&host.path("out")).hold, Hold::Free);
    fs_err::write(host.path("file"), "").unwrap();
    assert!(matches!(
        farm::hold(&host.path("file")),
        Hold::Unwritable(_)
    ));
    fs_err::write(
        host.path("out").join(crate::store::FILE_NAME),
        "no database at all",
    )
    .unwrap();
    let store = farm::out(&host.path("out")).store;
    assert!(matches!(store, StoreFacts::Broken(_)), "{store:?}");
}

#[tokio::test]
async fn images_that_are_there_need_not_be_made() {
    let host = Host::new();
    let farm = demo();
    let plan = farm.plan().unwrap();
    let jobs: Vec<_> = plan.jobs.iter().map(|job| (job, Need::New)).collect();
    let engine = Arc::new(ScriptedEngine::default());
    let images = async || {
        let facts = host
            .look(Ok(farm_request(&farm, &jobs)), Ok(Arc::clone(&engine)))
            .await;
        facts.images.unwrap()
    };
    // Two jobs of one environment.
    let none = images().await;
    assert_eq!(
        (none.stages_to_make, none.bases.len(), none.torch_from.len()),
        (1, 0, 1)
    );
    engine.put_image("wheelfarm/debian:bookworm", &Labels::default());
    let names = shared_images(&*engine, jobs[0].0, None).await.unwrap();
    let [_, torch, toolkit] = names.as_slice() else {
        panic!("{names:?}")
    };
    let base = images().await;
    assert_eq!(
        (base.stages_to_make, base.bases.len(), base.torch_from.len()),
        (1, 1, 1)
    );
    engine.put_image(torch.as_str(), &Labels::default());
    let torch = images().await;
    assert_eq!(
        (
            torch.stages_to_make,
            torch.torch_from.len(),
            torch.compilers_on.len()
        ),
        (1, 0, 1)
    );
    engine.put_image(toolkit.as_str(), &Labels::default());
    let all = images().await;
    assert_eq!((all.stages_to_make, all.compilers_on.len()), (0, 0));
    // What is up to date wants nothing.
    let done: Vec<_> = plan.jobs.iter().map(|job| (job, Need::UpToDate)).collect();
    let request = farm_request(&farm, &done);
    assert_eq!(
        (request.facts.wants.jobs, request.facts.wants.to_build),
        (2, 0)
    );
    let facts = host.look(Ok(request), Ok(Arc::default())).await;
    assert_eq!(facts.images.unwrap().stages_to_make, 0);
    assert!(facts.network.asked.is_empty());
}

#[tokio::test]
async fn what_runs_left_in_the_engine_is_counted_by_label() {
    let host = Host::new();
    let farm = demo();
    let plan = farm.plan().unwrap();
    let jobs: Vec<_> = plan.jobs.iter().map(|job| (job, Need::New)).collect();
    let engine = Arc::new(ScriptedEngine::default());
    let out = OutFolder::open(&host.path("out")).unwrap();
    let own = farm_labels(&out.label("demo"));
    drop(out);
    engine.put_volume("wheelfarm-build-1", &own);
    engine.put_volume("theirs", &Labels::default().with(labels::FARM, "demo@0123"));
    let facts = host.look(Ok(farm_request(&farm, &jobs)), Ok(engine)).await;
    assert_eq!(facts.leftovers, Ok(1));
}

#[tokio::test]
async fn a_gpu_is_looked_for_in_a_container_that_goes_again() {
    let host = Host::new();
    let farm = demo();
    let plan = farm.plan().unwrap();
    let jobs: Vec<_> = plan.jobs.iter().map(|job| (job, Need::New)).collect();
    let mut survey = ScriptedEngine::default().survey().await.unwrap();
    survey.gpu = GpuWay::NvidiaRuntime;
    let engine = Arc::new(ScriptedEngine::default().with_survey(survey));
    let seen = async || {
        let facts = host
            .look(Ok(farm_request(&farm, &jobs)), Ok(Arc::clone(&engine)))
            .await;
        assert!(
            engine.left_behind().is_empty(),
            "{:?}",
            engine.left_behind()
        );
        facts.gpu.in_container
    };
    // Without an image there is nothing to start.
    assert_eq!(seen().await, None);
    let base = ImageRef::new(format!("{}bookworm", ImageKind::Base.name_start()));
    engine.put_image(base.as_str(), &Labels::default());
    let line = |text: &str| vec![(std::time::Duration::from_millis(1), text.to_owned())];
    engine.script_next(ScriptedRun {
        lines: line("GPU 0: NVIDIA H200 (UUID: GPU-0)"),
        ..ScriptedRun::default()
    });
    assert_eq!(seen().await, Some(Ok("1 with `nvidia-smi -L`".to_owned())));
    engine.script_next(ScriptedRun {
        lines: line("Failed to initialize NVML: Unknown Error"),
        exit_code: 255,
        ..ScriptedRun::default()
    });
    let failed = seen().await.unwrap().unwrap_err();
    assert!(
        failed.contains("255: Failed to initialize NVML"),
        "{failed}"
    );
    engine.fail_next(Operation::Start, EngineErrorKind::GpuUnavailable);
    let refused = seen().await.unwrap().unwrap_err();
    assert!(refused.contains("failed to"), "{refused}");
}
